//! The rules of the M2M broker (section 6): who may come in, what it must subscribe to, and what it may say.

use super::platform::{ClientAnswer, Kind, Platform, READ_ANSWER, REPORT, Session, TOPICS};
use crate::broker::hooks::Hooks;
use crate::broker::packet::{Connect, Publish};
use crate::lan::frame::{ANSWER, Frame, PLAIN};

/// What is wrong with a message, and whether it ends the connection.
enum Fault {
    Breach(String),
    CutOff(String),
}

impl From<String> for Fault {
    fn from(text: String) -> Self {
        Self::Breach(text)
    }
}

impl Hooks for Platform {
    fn connect(&self, connect: &Connect) -> u8 {
        let mut state = self.lock();
        if connect.level != 3 && !state.behaviour.accept_3_1_1 {
            self.ledger.violation(format!("MQTT level {}, MQIsdp 3 expected", connect.level));
            return UNACCEPTABLE_VERSION;
        }
        if connect.username.as_deref() != Some(&connect.client_id) {
            self.ledger.violation("the user name is not the client id");
        }
        if !connect.clean_session || connect.will.is_some() || connect.keep_alive_s != KEEP_ALIVE_S {
            self.ledger.violation(format!(
                "{connect:?}, will {}; a clean session, {KEEP_ALIVE_S} s and no will expected",
                connect.will.is_some()
            ));
        }
        let known = state.seen.registrations.get(&connect.client_id);
        let right = known.is_some_and(|known| {
            connect.username.as_deref() == Some(&connect.client_id)
                && connect.password.as_deref() == Some(known.passcode.as_bytes())
        });
        if !right {
            return BAD_CREDENTIALS;
        }
        let code = state.behaviour.refuse_connects.pop_front().unwrap_or(0);
        if code == BAD_CREDENTIALS {
            state.seen.registrations.remove(&connect.client_id);
        }
        code
    }

    fn presence(&self, client: &str, online: bool) {
        let mut state = self.lock();
        let product_key = state.seen.registrations.get(client).map(|known| known.product_key.clone());
        if online {
            state.session = Some(Session {
                did: client.to_owned(),
                product_key: product_key.unwrap_or_default(),
                n_subscribed: 0,
                unacknowledged: false,
            });
            // Only the third subscription makes it count.
            self.ledger.presence(false);
        } else if state.session.as_ref().is_some_and(|session| session.did == client) {
            state.session = None;
            self.ledger.presence(false);
        }
    }

    fn subscribe(&self, client: &str, filter: &str, qos: u8) -> Option<u8> {
        let mut state = self.lock();
        let session = state.session.as_mut().filter(|session| session.did == client)?;
        if session.unacknowledged {
            self.ledger.violation(format!("subscribed to {filter:?} before the last one was acknowledged"));
        }
        let topics: [String; TOPICS] = [
            format!("ser2cli_noti/{}", session.product_key),
            format!("ser2cli_res/{client}"),
            format!("app2dev/{client}/#"),
        ];
        let next = topics.get(session.n_subscribed);
        if next.is_none_or(|next| next != filter) {
            self.ledger.violation(format!("subscribed to {filter:?}, {next:?} is next"));
            return None;
        }
        if qos != 0 {
            self.ledger.violation(format!("subscribed to {filter:?} with QoS {qos}"));
        }
        session.n_subscribed += 1;
        Some(0)
    }

    fn acknowledge(&self, client: &str, filters: &[(String, u8)]) -> bool {
        if filters.len() != 1 {
            self.ledger.violation(format!("{} topics in one SUBSCRIBE, one expected", filters.len()));
        }
        let mut state = self.lock();
        let silent = state.behaviour.silent_subacks > 0;
        state.behaviour.silent_subacks = state.behaviour.silent_subacks.saturating_sub(1);
        let Some(session) = state.session.as_mut().filter(|session| session.did == client) else { return !silent };
        session.unacknowledged |= silent;
        if session.n_subscribed == TOPICS && !session.unacknowledged {
            self.ledger.presence(true);
        }
        !silent
    }

    fn message(&self, client: &str, message: &Publish) -> Result<(), String> {
        match self.take(client, message) {
            Ok(()) => Ok(()),
            Err(Fault::CutOff(text)) => Err(text),
            Err(Fault::Breach(text)) => {
                self.ledger.violation(format!("on {}: {text}", message.topic));
                Ok(())
            }
        }
    }

    fn violation(&self, text: &str) {
        self.ledger.violation(text);
    }

    fn routes(&self) -> bool {
        false
    }
}

impl Platform {
    fn take(&self, did: &str, message: &Publish) -> Result<(), Fault> {
        if message.qos != 0 || message.retain {
            return Err(Fault::Breach(format!("QoS {} and retain {}", message.qos, message.retain)));
        }
        let subscribed = self.lock().session.as_ref().is_some_and(|session| session.n_subscribed == TOPICS);
        if !subscribed {
            return Err(Fault::Breach("said before all subscriptions".to_owned()));
        }
        let mut levels = message.topic.split('/');
        match (levels.next(), levels.next(), levels.next(), levels.next()) {
            (Some("cli2ser_req"), None, ..) => self.count(&message.payload),
            (Some("dev2app"), Some(from), None, _) if from == did => self.to_all(&message.payload),
            (Some("dev2app"), Some(from), Some(client), None) if from == did => {
                self.to_client(client, &message.payload)
            }
            _ => Err(Fault::CutOff(format!("published on {:?}", message.topic))),
        }
    }

    /// A device asks how many apps there are.
    fn count(&self, payload: &[u8]) -> Result<(), Fault> {
        if payload != ASK_COUNT {
            return Err(Fault::Breach(format!("{payload:02x?}, {ASK_COUNT:02x?} expected")));
        }
        let count = {
            let mut state = self.lock();
            state.seen.count_requests += 1;
            (!state.behaviour.silent_count).then_some(state.behaviour.app_count)
        };
        self.changed();
        // The asking device is online, or it could not have asked.
        count.map_or(Ok(()), |count| self.push(0x0210, &count.to_be_bytes()).map_err(Fault::Breach))
    }

    /// A report, or an answer to a request without a sequence number, which the reference tells to all.
    fn to_all(&self, payload: &[u8]) -> Result<(), Fault> {
        let frame = Frame::exact(payload)?;
        if frame.cmd != PLAIN {
            return Err(Fault::Breach(format!("command {:#04x}, only 0x91 goes to all", frame.cmd)));
        }
        if frame.payload.first() != Some(&REPORT) {
            return self.plain_answer(None, &frame.payload);
        }
        let values = self.schema.read_status(REPORT, &frame.payload)?;
        let counter = self.schema.number(&self.counter, &values).and_then(|counter| u32::try_from(counter).ok());
        self.ledger.arrived(counter.ok_or_else(|| format!("{} is no 32-bit number: {values:?}", self.counter))?);
        Ok(())
    }

    /// An answer to one client.
    fn to_client(&self, client: &str, payload: &[u8]) -> Result<(), Fault> {
        let frame = Frame::exact(payload)?;
        match frame.cmd {
            ANSWER => self.numbered_answer(client, &frame),
            PLAIN => self.plain_answer(Some(client), &frame.payload),
            other => Err(Fault::Breach(format!("command {other:#04x}, 0x94 or 0x91 goes to a client"))),
        }
    }

    fn numbered_answer(&self, client: &str, frame: &Frame) -> Result<(), Fault> {
        let (sn, p0) = frame.answer()?;
        let mut state = self.lock();
        let asked = state.asked.get_mut(&(client.to_owned(), sn));
        let asked = asked.ok_or_else(|| format!("sn {sn}, which this client did not ask"))?;
        if std::mem::replace(&mut asked.answered, true) {
            return Err(Fault::Breach(format!("sn {sn} a second time")));
        }
        self.fits(asked.kind, p0)?;
        let booked = asked.booked;
        state.seen.note_answer(client, ClientAnswer { sn: Some(sn), p0: p0.to_vec() });
        drop(state);
        if booked {
            self.ledger.command_answered(&sn.to_string(), Ok(()));
        }
        self.changed();
        Ok(())
    }

    /// The answer to the oldest request of its kind, of this client or of any.
    fn plain_answer(&self, client: Option<&str>, p0: &[u8]) -> Result<(), Fault> {
        let kind = if p0.is_empty() { Kind::Control } else { Kind::Read };
        let mut state = self.lock();
        let fits = |(asker, asked): &(String, Kind)| *asked == kind && client.is_none_or(|client| client == asker);
        let at = state.plain.iter().position(fits);
        let (asker, _) = at
            .and_then(|at| state.plain.remove(at))
            .ok_or_else(|| format!("0x91 with {p0:02x?}, which is no report and which nobody asked for"))?;
        self.fits(kind, p0)?;
        state.seen.note_answer(&asker, ClientAnswer { sn: None, p0: p0.to_vec() });
        drop(state);
        self.changed();
        Ok(())
    }

    /// Nothing answers a control, the whole status a read (4.5).
    fn fits(&self, kind: Kind, p0: &[u8]) -> Result<(), Fault> {
        match kind {
            Kind::Control if p0.is_empty() => Ok(()),
            Kind::Control => Err(Fault::Breach(format!("a control was answered with {p0:02x?}"))),
            Kind::Read => Ok(self.schema.read_status(READ_ANSWER, p0).map(drop)?),
        }
    }
}

/// How many apps are there? (6.3)
const ASK_COUNT: &[u8] = &[0, 0, 0, 3, 0x02, 0x0F];
/// Keep-alive of a device (6.1).
const KEEP_ALIVE_S: u16 = 120;
/// CONNACK codes (MQTT 3.1, 3.2).
const UNACCEPTABLE_VERSION: u8 = 1;
const BAD_CREDENTIALS: u8 = 4;
