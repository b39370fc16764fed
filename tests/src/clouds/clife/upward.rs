//! What the device says on its upward topic: how it is judged, booked and answered (Clife protocol, 3 and 7).

use serde_json::json;

use super::behaviour::Connecting;
use super::commands::{CONNECT, CONNECTED, EVENT, REPORT, UNBOUND, WILL};
use super::platform::{Frame, Platform, keep};
use super::{DEV_ID, DEV_MAC, frame, points};
use crate::broker::packet::Publish;

impl Platform {
    /// Takes a message of the device; an error is a breach in words.
    pub fn take(&self, message: &Publish) -> Result<(), String> {
        if message.qos != 1 || message.retain {
            let Publish { qos, retain, .. } = message;
            self.ledger.violation(format!("published with QoS {qos}, retain {retain}; QoS 1 without it expected"));
        }
        let frame = self.frame(&message.payload)?;
        {
            let mut state = self.lock();
            keep(&mut state.seen.frames, frame.clone());
            // What was under way when the last connection broke comes first, as MQTT wants it.
            let session = state.session.as_ref().filter(|_| frame.cmd != CONNECT && !message.dup);
            let breach = session.and_then(|session| match (session.greeted, session.refused) {
                (false, _) => Some("before its connection request (2004)"),
                (true, true) => Some("although its connection request was refused"),
                (true, false) => None,
            });
            if let Some(breach) = breach {
                self.ledger.violation(format!("sent {} {breach}", frame.cmd));
            }
        }
        self.changed();
        match frame.cmd {
            CONNECT => self.greeted(&frame),
            REPORT => self.reported(&frame, message.dup),
            UNBOUND => self.answered(&frame, message.dup),
            EVENT => self.told(&frame, message.dup),
            WILL => Err("sent 2014 itself, which is for its will".to_owned()),
            other => Err(format!("cmd {other}, which no device sends")),
        }
    }

    /// Reads a frame of the device, and decrypts it.
    pub fn frame(&self, bytes: &[u8]) -> Result<Frame, String> {
        let frame = frame::parse(bytes, self.product.timestamp_as_text)?;
        let body = self.open(&frame.data).map_err(|fault| format!("{} {}: {fault}", frame.cmd, frame.id))?;
        Ok(Frame { cmd: frame.cmd, id: frame.id, timestamp: frame.timestamp, body })
    }

    fn greeted(&self, frame: &Frame) -> Result<(), String> {
        let body = &frame.body;
        frame::members(body, &["devId", "devMac", "profileVer"], &[])?;
        frame::text(body, "profileVer")?;
        let mac = frame::text(body, "devMac")?.unwrap_or_default();
        if frame::text(body, "devId")? != Some(DEV_ID) || !mac.eq_ignore_ascii_case(DEV_MAC) {
            return Err(format!("connection request of another device: {body}"));
        }
        if !self.subscribed() {
            return Err("connection request before the subscription, so the answer would be lost".to_owned());
        }
        let mut state = self.lock();
        state.own_ids.take(frame.id, frame.cmd, body)?;
        let scripted = state.behaviour.connects.pop_front();
        let code = if let Some(Connecting::Code(code)) = scripted { code } else { 0 };
        let delay = state.behaviour.connect_delay;
        if let Some(session) = &mut state.session {
            session.greeted = true;
            // Until a late answer has arrived, the device may go on.
            session.refused = code != 0 && delay.is_zero();
        }
        let id = if scripted == Some(Connecting::WrongMsgId) { frame.id + 1 } else { frame.id };
        let text = if code == 0 { "ok" } else { "scripted" };
        let bytes = self.downward(&state, CONNECTED, id, &json!({"respCode": code, "respCont": text}))?;
        drop(state);
        self.ledger.presence(code == 0);
        if scripted == Some(Connecting::Silence) {
            return Ok(());
        }
        if delay.is_zero() {
            self.publish(&bytes);
        } else if let Some(broker) = self.broker() {
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                broker.publish(&super::platform::downward_topic(), &bytes, 1);
            });
        }
        Ok(())
    }

    fn reported(&self, frame: &Frame, dup: bool) -> Result<(), String> {
        if self.lock().asked.contains_key(&frame.id) {
            // An answer repeats what was reported before or will be, so nothing arrives with it.
            return self.answered(frame, dup);
        }
        frame::members(&frame.body, &["params"], &[])?;
        let values = points::parse(&frame.body["params"], &self.product)?;
        if values.is_empty() {
            return Err("a report of nothing".to_owned());
        }
        self.lock().own_ids.take(frame.id, frame.cmd, &frame.body)?;
        if let Some(value) = self.counter.as_ref().and_then(|id| values.get(id)) {
            let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
            self.ledger.arrived(number.ok_or_else(|| format!("the counter is {value}, no 32-bit number"))?);
        }
        Ok(())
    }
}
