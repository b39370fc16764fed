//! Commands to the device and its sub-devices, and their answers (JoyLink, 7.5, 7.9 and 8).

use serde_json::{Value as Json, json};

use super::platform::{About, Platform, State, clock};
use super::product::streams;
use super::seen::{Answer, SubState};
use super::server::Conversation;
use super::session::{COMMAND, SUB_COMMAND, SUB_UPLOAD, UNBIND, VIDEO};
use crate::joylink_wire::fields::{Reader, Writer};
use crate::joylink_wire::timers::FEEDID;

impl Platform {
    /// Sends a command to the device or a sub-device.
    pub fn command(
        &self,
        sub: Option<&str>,
        biz_code: u32,
        json: Option<&Json>,
        booked: bool,
    ) -> Result<String, String> {
        let bytes = self.product.conversion.command(biz_code, json).map_err(|error| error.to_string())?;
        self.command_bytes(sub, biz_code, &bytes, booked)
    }

    /// The same with bytes that need no conversion.
    pub fn command_bytes(
        &self,
        sub: Option<&str>,
        biz_code: u32,
        bytes: &[u8],
        booked: bool,
    ) -> Result<String, String> {
        let state = &mut *self.lock();
        let Some(sub) = sub else {
            return self.ask(state, (COMMAND, biz_code), About::Device, booked, |now, serial| {
                Writer::at(now).word(biz_code).word(serial).bytes(bytes).done()
            });
        };
        let inner = self.product.sub(sub)?.account.access()?.encrypt(bytes);
        self.ask(state, (SUB_COMMAND, biz_code), About::Sub(sub.to_owned()), booked, |now, serial| {
            Writer::at(now).word(biz_code).word(serial).text(sub, FEEDID).bytes(&inner).done()
        })
    }

    pub fn device_answer(&self, state: &mut State, mut fields: Reader) -> Result<(), String> {
        let (biz_code, serial) = (fields.word()?, fields.word()?);
        let asked = self.answered(state, COMMAND, biz_code, serial)?;
        let answer = self.conclude(biz_code, fields.rest(), &self.product.streams);
        self.book(state, asked, answer)
    }

    pub fn sub_answer(&self, state: &mut State, mut fields: Reader) -> Result<(), String> {
        let (biz_code, serial, feedid) = (fields.word()?, fields.word()?, fields.text(FEEDID)?);
        let asked = self.answered(state, SUB_COMMAND, biz_code, serial)?;
        let About::Sub(wanted) = &asked.about else { return Err(format!("answers serial {serial}")) };
        let answer = if *wanted == feedid {
            self.sub_inner(&feedid, fields.rest()).and_then(|bytes| self.conclude(biz_code, &bytes, &[]))
        } else {
            Err(format!("answers for {feedid}, {wanted} was meant"))
        };
        self.book(state, asked, answer)
    }

    /// What is inside a message of a sub-device. A gateway that does not know it has no key and can only say so in clear.
    fn sub_inner(&self, feedid: &str, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let clear = serde_json::from_slice::<Json>(bytes).is_ok_and(|json| json["code"] == NO_SUCH_SUB);
        if clear { Ok(bytes.to_vec()) } else { self.product.sub(feedid)?.account.access()?.decrypt(bytes) }
    }

    pub fn sub_upload(&self, state: &mut State, from: &Conversation, mut fields: Reader) -> Result<(), String> {
        let feedid = fields.text(FEEDID)?;
        let bytes = self.product.sub(&feedid)?.account.access()?.decrypt(fields.rest())?;
        if state.unbound.contains(&feedid) {
            return Err(format!("an upload of sub-device {feedid}, which was unbound"));
        }
        let json = self.product.conversion.read(super::session::SNAPSHOT_ANSWER, &bytes)?;
        let code = self.uploaded(state, Some(&feedid), &json)?;
        let answer = Writer::at(clock(from.ahead_s)).text(&feedid, FEEDID).word(code).done();
        self.reply(state, from, SUB_UPLOAD, &answer);
        Ok(())
    }

    /// Code and JSON of an answer: a failure has a code, a success also the streams that belong to it.
    fn conclude(&self, biz_code: u32, bytes: &[u8], wanted: &[String]) -> Result<Answer, String> {
        let json = self.product.conversion.read(biz_code, bytes)?;
        let code = json["code"].as_i64().ok_or_else(|| format!("an answer without a code: {json}"))?;
        if code == 0 && matches!(biz_code, 102 | 104) {
            streams(&json, wanted)?;
        }
        Ok(Answer { code, json })
    }

    /// 113: unbinds sub-devices.
    pub fn unbind(&self, feedids: &[&str]) -> Result<String, String> {
        let sub = |feedid: &&str| SubState { version: 0, rssi: 0, feedid: (*feedid).to_owned(), state: UNBOUND };
        let subs: Vec<SubState> = feedids.iter().map(sub).collect();
        let state = &mut *self.lock();
        self.ask(state, (UNBIND, 1060), About::Unbind(subs.clone()), false, |now, serial| {
            let to = Writer::at(now).word(1060).word(serial).short(subs.len() as u16);
            let write = |to: Writer, sub: &SubState| {
                to.short(sub.version).short(sub.rssi).text(&sub.feedid, FEEDID).byte(sub.state)
            };
            subs.iter().fold(to, write).done()
        })
    }

    pub fn unbind_answer(&self, state: &mut State, mut fields: Reader) -> Result<(), String> {
        let (biz_code, serial) = (fields.word()?, fields.word()?);
        let asked = self.answered(state, UNBIND, biz_code, serial)?;
        let About::Unbind(wanted) = asked.about.clone() else { return Err(format!("answers serial {serial}")) };
        let mut read = || -> Result<Vec<SubState>, String> {
            let n = fields.short()?;
            let mut subs = Vec::new();
            for _ in 0..n {
                let (version, rssi) = (fields.short()?, fields.short()?);
                subs.push(SubState { version, rssi, feedid: fields.text(FEEDID)?, state: fields.byte()? });
            }
            fields.end().map(|()| subs)
        };
        let answer = read().and_then(|subs| {
            let same = subs.iter().map(|sub| &sub.feedid).eq(wanted.iter().map(|sub| &sub.feedid));
            if !same || subs.iter().any(|sub| !matches!(sub.state, UNBOUND | UNKNOWN)) {
                return Err(format!("{subs:?} answers {wanted:?}"));
            }
            let removed = subs.iter().filter(|sub| sub.state == UNBOUND);
            state.unbound.extend(removed.map(|sub| sub.feedid.clone()));
            let list: Vec<Json> = subs.iter().map(|sub| json!({"feedid": sub.feedid, "state": sub.state})).collect();
            Ok(Answer { code: 0, json: json!(list) })
        });
        self.book(state, asked, answer)
    }

    /// 200: where video is to go.
    pub fn push_video(&self, resolution: u32, address: &str) -> Result<String, String> {
        let value = json!({"resolution": resolution, "address": address}).to_string();
        let state = &mut *self.lock();
        let attribute = json!({"serial": state.seen.answers.len()});
        let feed_id: u64 = self.product.device.feedid.parse().unwrap_or_default();
        let command = json!({
            "control": [{"stream_id": "push_stream", "current_value": value}],
            "feed_id": feed_id, "attribute": attribute,
        });
        self.ask(state, (VIDEO, 1002), About::Video(attribute), false, |now, serial| {
            Writer::at(now).word(1002).word(serial).bytes(command.to_string().as_bytes()).done()
        })
    }

    pub fn video_answer(&self, state: &mut State, mut fields: Reader) -> Result<(), String> {
        let (biz_code, serial) = (fields.word()?, fields.word()?);
        let asked = self.answered(state, VIDEO, biz_code, serial)?;
        let About::Video(attribute) = asked.about.clone() else { return Err(format!("answers serial {serial}")) };
        let answer =
            serde_json::from_slice::<Json>(fields.rest()).map_err(|error| error.to_string()).and_then(|json| {
                let code = json["result"].as_i64().ok_or_else(|| format!("no result in {json}"))?;
                let right = json["attribute"] == attribute
                    && json["control_resp"].is_string()
                    && json["resolution"].is_array()
                    && json["device"]["feed_id"] == self.product.device.feedid.as_str();
                if right { Ok(Answer { code, json }) } else { Err(format!("an answer of {json}")) }
            });
        // The device's key is in it, and violations are printed.
        self.book(state, asked, answer.map_err(|fault| fault.replace(&self.product.device.accesskey, "<secret>")))
    }
}

/// States of a sub-device (JoyLink, 8.1).
const UNBOUND: u8 = 2;
const UNKNOWN: u8 = 3;
/// No such sub-device (JoyLink, 13).
const NO_SUCH_SUB: u8 = 19;
