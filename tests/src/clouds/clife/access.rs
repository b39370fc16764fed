//! Who may come to the broker, what it may subscribe to, and where it may publish (Clife protocol, 2, 6 and 7.6).

use super::commands::WILL;
use super::platform::{Platform, Session, State, downward_topic, keep, upward_topic};
use super::registration::KEEP_ALIVE_S;
use super::{DEV_ID, frame};
use crate::broker::hooks::Hooks;
use crate::broker::packet::{Connect, Publish};

impl Hooks for Platform {
    fn connect(&self, connect: &Connect) -> u8 {
        if connect.level != 4 {
            self.ledger.violation(format!("MQTT level {}, 3.1.1 expected", connect.level));
            return UNACCEPTABLE_VERSION;
        }
        let mut state = self.lock();
        if let Err(code) = admitted(&state, connect) {
            return code;
        }
        if connect.clean_session != self.product.clean_session || connect.keep_alive_s != KEEP_ALIVE_S {
            self.ledger.violation(format!(
                "{connect:?}; clean {} and keep {KEEP_ALIVE_S} s expected",
                self.product.clean_session
            ));
        }
        if let Some(code) = state.behaviour.refuse_connects.pop_front() {
            return code;
        }
        drop(state);
        if let Some(will) = &connect.will
            && let Err(breach) = self.willed(will)
        {
            self.ledger.violation(format!("will: {breach}"));
        }
        0
    }

    fn presence(&self, _client: &str, online: bool) {
        let mut state = self.lock();
        state.n_connections += u64::from(online);
        state.session = online.then(Session::default);
        drop(state);
        // Only its connection request makes it count.
        self.ledger.presence(false);
        self.changed();
    }

    fn subscribe(&self, client: &str, filter: &str, qos: u8) -> Option<u8> {
        if filter != downward_topic() {
            self.ledger.violation(format!("{client} subscribed to {filter:?}"));
            return None;
        }
        if qos != 1 {
            self.ledger.violation(format!("subscribed with QoS {qos}, 1 expected"));
        }
        let mut state = self.lock();
        let refused = state.behaviour.refuse_subscriptions > 0;
        state.behaviour.refuse_subscriptions = state.behaviour.refuse_subscriptions.saturating_sub(1);
        (!refused).then_some(qos)
    }

    fn message(&self, _client: &str, message: &Publish) -> Result<(), String> {
        if message.topic != upward_topic() {
            return Err(format!("published on {:?}", message.topic));
        }
        if let Err(breach) = self.take(message) {
            self.ledger.violation(breach);
        }
        Ok(())
    }

    fn will(&self, _client: &str, will: &Publish) {
        // What cannot be read was wrong when it was left, which has been said, or is under a secret that is dead by now.
        if let Ok(frame) = self.frame(&will.payload) {
            keep(&mut self.lock().seen.delivered_wills, frame);
            self.changed();
        }
    }

    fn violation(&self, text: &str) {
        self.ledger.violation(text);
    }
}

impl Platform {
    fn willed(&self, will: &Publish) -> Result<(), String> {
        if will.topic != upward_topic() || will.qos != 1 || will.retain {
            let Publish { topic, qos, retain, .. } = will;
            return Err(format!("on {topic:?} with QoS {qos}, retain {retain}; QoS 1 on the upward topic expected"));
        }
        let frame = self.frame(&will.payload)?;
        if frame.cmd != WILL {
            return Err(format!("cmd {}, {WILL} expected", frame.cmd));
        }
        frame::members(&frame.body, &["devId"], &[])?;
        if frame.body["devId"] != DEV_ID {
            return Err(format!("of another device: {}", frame.body));
        }
        let mut state = self.lock();
        state.own_ids.take(frame.id, frame.cmd, &frame.body)?;
        keep(&mut state.seen.wills, frame);
        drop(state);
        self.changed();
        Ok(())
    }
}

/// Whether these are the credentials that were given last, or the code they are refused with.
fn admitted(state: &State, connect: &Connect) -> Result<(), u8> {
    let given = state.credentials.as_ref().filter(|given| given.client == connect.client_id);
    let given = given.ok_or(NOT_AUTHORIZED)?;
    let right = connect.username.as_deref() == Some(&given.user)
        && connect.password.as_deref() == Some(given.password.as_bytes());
    if right { Ok(()) } else { Err(BAD_CREDENTIALS) }
}

/// CONNACK codes (MQTT 3.1.1, 3.2.2.3). Which one is used for what is not documented; chosen by us: 5 for a client that is
/// unknown, 4 for a wrong user name or password.
const UNACCEPTABLE_VERSION: u8 = 1;
const BAD_CREDENTIALS: u8 = 4;
const NOT_AUTHORIZED: u8 = 5;
