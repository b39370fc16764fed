//! Commands to the device, and whether its answers fit them (Lierda protocol, 5, 6 and 8).

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::envelope::id_text;
use super::platform::{Frame, Platform, State, keep};
use super::{payload, session, topics};

/// A command that was sent.
#[derive(Debug)]
pub(super) struct Asked {
    id: Json,
    /// None for bytes that a test made itself and that have none.
    code: Option<i64>,
    /// Where it was sent, below the device's own.
    topics: Vec<String>,
    /// Payload in clear.
    payload: Json,
    /// Made by a test, perhaps wrong: answers are judged by their form, and not booked.
    raw: bool,
    /// How often it was sent to each of its topics.
    n_sent: u32,
    answered: BTreeMap<String, Answered>,
}

#[derive(Debug, Default)]
struct Answered {
    n: u32,
    /// Connection of the last one.
    connection: u64,
}

impl Platform {
    /// Sends a command to all of these topics under one MessageId, and returns that.
    pub fn ask(&self, code: i64, topics: &[&str], payload: &Json) -> Result<String, String> {
        self.reaches(topics)?;
        let (id, sent) = {
            let mut state = self.lock();
            if state.asked.len() >= MAX_ASKED {
                return Err(format!("more than {MAX_ASKED} commands"));
            }
            let sent = self.sealed(&state, code, payload)?;
            let id = state.next_id();
            let asked = Asked {
                id: id.clone(),
                code: Some(code),
                topics: topics.iter().map(|&topic| topic.to_owned()).collect(),
                payload: payload.clone(),
                raw: false,
                n_sent: 1,
                answered: BTreeMap::new(),
            };
            state.asked.insert(id_text(&id), asked);
            (id, sent)
        };
        self.ledger.command_sent(&id_text(&id));
        for topic in topics {
            self.publish(topic, &id, code, &sent);
        }
        Ok(id_text(&id))
    }

    /// Sends a command a second time, under the same MessageId and to the same topics.
    pub fn repeat(&self, id: &str) -> Result<(), String> {
        let (id, code, topics, sent) = {
            let mut state = self.lock();
            let asked = state.asked.get_mut(id).ok_or_else(|| format!("there is no command {id}"))?;
            asked.n_sent += 1;
            let (id, code) = (asked.id.clone(), asked.code.ok_or("bytes are not repeated")?);
            let (topics, payload) = (asked.topics.clone(), asked.payload.clone());
            (id, code, topics, self.sealed(&state, code, &payload)?)
        };
        for topic in &topics {
            self.publish(topic, &id, code, &sent);
        }
        Ok(())
    }

    /// Sends bytes, right or wrong. If the device answers them, that is no breach as long as the answer is in order.
    pub fn deliver_raw(&self, topic: &str, bytes: &[u8]) -> Result<(), String> {
        // A device that authenticates has subscribed to this one topic.
        if topic != "downlink" || !self.lock().auth_subscribed {
            self.reaches(&[topic])?;
        }
        if let Ok(Json::Object(members)) = serde_json::from_slice(bytes) {
            let code = members.get("HeaderCtrl");
            let digits = |code: &Json| code.as_str().and_then(|digits| digits.parse().ok());
            let id = members.get("MessageId").cloned().unwrap_or_else(|| json!(""));
            let code = code.and_then(|code| code.as_i64().or_else(|| digits(code)));
            let payload = members.get("Payload").cloned().unwrap_or(Json::Null);
            let mut state = self.lock();
            let asked = state.asked.entry(id_text(&id)).or_insert_with(|| Asked {
                id,
                code,
                topics: Vec::new(),
                payload: Json::Null,
                raw: true,
                n_sent: 0,
                answered: BTreeMap::new(),
            });
            asked.n_sent += 1;
            // Bytes with the id of a real command count as its repetition.
            if asked.raw {
                (asked.code, asked.payload) = (code, payload);
                asked.topics.push(topic.to_owned());
            }
        }
        self.publish_raw(topic, bytes);
        Ok(())
    }

    /// Whether a frame of the device has the MessageId of a command with this code.
    pub fn is_answer(&self, frame: &Frame, code: i64) -> bool {
        self.lock().asked.get(&id_text(&frame.id)).is_some_and(|asked| asked.code == Some(code))
    }

    /// Judges the answer to a command, and books what it says.
    pub fn answered(&self, frame: &Frame, dup: bool) -> Result<(), String> {
        let id = id_text(&frame.id);
        let mut guard = self.lock();
        let state = &mut *guard;
        let connection = state.n_connections;
        let asked = state.asked.get_mut(&id).ok_or_else(|| format!("answer to {id}, which was never sent"))?;
        let judged = asked.judge(frame)?;
        let module = if asked.code == Some(VERSIONS) { payload::firmware(&frame.payload)?.0 } else { "" };
        let first = asked.answered.is_empty();
        let answered = asked.answered.entry(format!("{} {module}", frame.topic)).or_default();
        if answered.n < asked.n_sent {
            answered.n += 1;
        } else if !dup && answered.connection == connection {
            return Err(format!("{id} was answered {} times, and once more", answered.n));
        } // Else the transport repeats what it never saw acknowledged.
        answered.connection = connection;
        let (code, raw) = (asked.code, asked.raw);
        if first && judged.is_ok() {
            state.accepted(code, frame);
        }
        if state.seen.answers.len() < MAX_ASKED {
            state.seen.answers.entry(id.clone()).or_insert_with(|| frame.clone());
        }
        drop(guard);
        self.changed();
        let before = self.ledger.with(|entries| entries.commands.get(&id).and_then(|sent| sent.answer.clone()));
        if !raw && before.is_none_or(|(before, _)| before != judged) {
            self.ledger.command_answered(&id, judged);
        }
        Ok(())
    }

    /// Tells the device the material of a new session.
    pub fn renew_session(&self) -> Result<(), String> {
        self.reaches(&["downlink"])?;
        let (id, payload) = {
            let mut state = self.lock();
            let (session_id, nonce) = state.next_session();
            if self.product.encrypted {
                let key = state.session_key(self.product.choices, &session_id, nonce)?;
                state.keys.renew(key);
            }
            (state.next_id(), json!({"SessionID": session_id, "Nonce": nonce}))
        };
        self.publish("downlink", &id, SESSION, &payload);
        Ok(())
    }

    fn sealed(&self, state: &State, code: i64, payload: &Json) -> Result<Json, String> {
        let behaviour = &state.behaviour;
        if !self.product.encrypted || behaviour.clear_commands || !ENCRYPTED.contains(&code) {
            Ok(payload.clone())
        } else if behaviour.wrong_key_commands {
            session::seal_wrongly(payload, self.content(code))
        } else {
            state.keys.seal(payload, self.content(code), behaviour.old_key_commands)
        }
    }
}

impl State {
    /// SessionID and Nonce that come next.
    pub fn next_session(&mut self) -> (String, u32) {
        self.n_sessions += 1;
        let made = || (format!("{:08X}", FIRST_SESSION.wrapping_add(self.n_sessions)), 3 * self.n_sessions);
        self.behaviour.sessions.pop_front().unwrap_or_else(made)
    }

    /// The device has accepted a command; what follows from that.
    fn accepted(&mut self, code: Option<i64>, frame: &Frame) {
        match code {
            Some(HEX_CALL) => self.open_calls += 1,
            Some(ORDER) => {
                let down_id = payload::order_ack(&frame.payload).unwrap_or_default();
                let upgrade = self.seen.upgrades.iter_mut().rev().find(|upgrade| upgrade.down_id == down_id);
                if let Some(upgrade) = upgrade {
                    upgrade.acknowledged = true;
                }
            }
            _ => {}
        }
    }

    /// Remembers a frame of the device.
    pub fn note(&mut self, frame: &Frame) {
        keep(&mut self.seen.frames, frame.clone());
    }
}

impl Asked {
    /// Whether an answer is in order, and what it says.
    fn judge(&self, frame: &Frame) -> Result<Result<(), String>, String> {
        let misfit = |what: &str| format!("{what} in the answer to {} ({:?}): {frame:?}", self.id, self.code);
        if self.id != frame.id {
            return Err(misfit("another type of MessageId"));
        }
        if !self.topics.iter().any(|topic| topics::answer(topic) == frame.topic) {
            return Err(misfit("another topic"));
        }
        let expected = match self.code {
            Some(QUERY) => Some(PROPERTIES),
            Some(VERSIONS) => Some(FIRMWARE),
            // A test sends it downwards, where the vendor's text takes it for 7 in one place (Lierda protocol, 12).
            Some(UPLINK) => Some(PASSTHROUGH),
            other => other,
        };
        if expected.is_some_and(|expected| expected != frame.code) {
            return Err(misfit("another HeaderCtrl"));
        }
        match frame.code {
            ORDER => {
                let down_id = payload::order_ack(&frame.payload)?;
                if self.payload["DownID"] == down_id { Ok(Ok(())) } else { Err(misfit("another DownID")) }
            }
            SETTINGS => {
                let reported = payload::settings(&frame.payload)?;
                let written = self.payload["Settings"].as_object();
                let kept = written.into_iter().flatten().find(|(key, value)| reported.get(*key) != Some(*value));
                Ok(kept.map_or(Ok(()), |(key, _)| Err(format!("{key} was not written"))))
            }
            FIRMWARE => payload::firmware(&frame.payload).map(|_| Ok(())),
            PROPERTIES => {
                let reported = payload::properties(&frame.payload)?;
                let asked = self.payload["params"].as_array().filter(|asked| !asked.is_empty());
                match reported.keys().find(|name| asked.is_some_and(|asked| !asked.contains(&json!(name)))) {
                    Some(unasked) => Err(misfit(&format!("{unasked:?}, which was not asked for,"))),
                    None => Ok(Ok(())),
                }
            }
            SET if !self.raw => match payload::ack(&frame.payload)? {
                Err(refusal) => Ok(Err(refusal)),
                Ok(data) if data.clone().unwrap_or_default() == requested(&self.payload) => Ok(Ok(())),
                Ok(_) => Err(misfit("not the values that were set")),
            },
            _ => Ok(payload::ack(&frame.payload)?.map(drop)),
        }
    }
}

/// The map of a property set.
fn requested(payload: &Json) -> Map<String, Json> {
    let params = payload["params"].as_array().into_iter().flatten();
    params.filter_map(|param| Some((param["identify"].as_str()?.to_owned(), param["value"].clone()))).collect()
}

/// Command codes (Lierda protocol, 6.1).
pub(super) const SESSION: i64 = 3;
pub(super) const UPLINK: i64 = 4;
pub(super) const PASSTHROUGH: i64 = 7;
pub(super) const FIRMWARE: i64 = 8;
pub(super) const ORDER: i64 = 9;
pub(super) const VERSIONS: i64 = 13;
pub(super) const SETTINGS: i64 = 14;
pub(super) const PROPERTIES: i64 = 16;
pub(super) const SET: i64 = 20;
pub(super) const CALL: i64 = 21;
pub(super) const HEX_SET: i64 = 22;
pub(super) const QUERY: i64 = 23;
pub(super) const HEX_CALL: i64 = 24;
pub(super) const HEX_QUERY: i64 = 25;
/// Commands whose payload an encrypted product gets encrypted: those of applications (Lierda protocol, 7.3).
const ENCRYPTED: &[i64] = &[PASSTHROUGH, SET, CALL, HEX_SET, QUERY, HEX_CALL, HEX_QUERY];
/// Chosen by us: eight digits, as in the sample of the vendor's document.
const FIRST_SESSION: u32 = 0x4655_4300;
/// Commands remembered, answered ones included; more are refused to the test. Chosen by us.
const MAX_ASKED: usize = 1_000_000;
