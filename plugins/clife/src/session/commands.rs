//! What comes down: queries, controls, the end of a bond (Clife access document 5.3: 2009, 2011, 2013).

use polylink_plugin_sdk::RequestId;
use polylink_plugin_sdk::session::Level;
use polylink_plugin_sdk::value::Values;
use polylink_plugin_sdk::{Command, CommandBody, DatapointId, Now, Outcome, OutcomeResult, Output};
use serde::Serialize;
use serde_json::value::RawValue;

use super::ClifeSession;
use crate::frame::cmd::{CONTROL, QUERY, UNBOUND};
use crate::frame::{Frame, MsgId, raw};

/// A command that is not answered yet.
#[derive(Debug)]
pub struct Open {
    id: MsgId,
    /// By what it is recognised if it comes again.
    key: String,
    asked: Asked,
}

/// What was asked.
#[derive(Debug)]
enum Asked {
    /// These datapoints; none: all.
    Query(Vec<DatapointId>),
    /// These datapoints are to be set, to these values.
    Control(Values),
}

impl ClifeSession {
    /// True if this command came before: then it is answered as before, or its answer is under way.
    pub(super) fn is_repeated(&mut self, now: Now, frame: &Frame, id: &MsgId) -> bool {
        let key = key_of(frame.cmd, id);
        if self.open.values().any(|open| open.key == key) {
            self.told.counters.commands_repeated += 1;
            return true;
        }
        let Some(answer) = self.answers.find(now.monotonic, &key).map(ToOwned::to_owned) else { return false };
        self.told.counters.commands_repeated += 1;
        let cmd = self.reply_cmd(frame.cmd);
        self.send(now, cmd, id, &answer);
        true
    }

    /// A question for datapoints (2009).
    pub(super) fn take_query(&mut self, now: Now, frame: &Frame, id: &MsgId) {
        let body = match self.open_body(frame) {
            Ok(body) => body,
            Err(why) => return self.drop_input(&why),
        };
        match self.datapoints.query(&body) {
            Err(why) => self.drop_input(&why.to_string()),
            Ok(_) if self.open.len() >= MOST_OPEN => self.drop_input("too many commands are under way"),
            Ok(None) => self.answer(now, frame.cmd, id, &self.datapoints.answer(&Values::new())),
            Ok(Some(ids)) => {
                let body = CommandBody::Get(ids.clone());
                self.submit(frame, id, Asked::Query(ids), body);
            }
        }
    }

    /// Datapoints to set (2011).
    pub(super) fn take_control(&mut self, now: Now, frame: &Frame, id: &MsgId) {
        let body = match self.open_body(frame) {
            Ok(body) => body,
            Err(why) => {
                self.drop_input(&why);
                return self.refuse(now, frame.cmd, id, &[], &why);
            }
        };
        match self.datapoints.control(&body) {
            Err(why) => {
                let named = self.datapoints.named(&body);
                self.refuse(now, frame.cmd, id, &named, &why.to_string());
            }
            Ok(values) => {
                let ids: Vec<DatapointId> = values.iter().map(|(id, _)| *id).collect();
                if self.open.len() >= MOST_OPEN {
                    // Not remembered: a moment later there may be room for it.
                    let refusal = self.datapoints.refusal(&self.known_of(&ids), "too many commands are under way");
                    self.told.counters.commands_refused += 1;
                    let cmd = self.reply_cmd(frame.cmd);
                    return self.send(now, cmd, id, &refusal);
                }
                self.submit(frame, id, Asked::Control(values.clone()), CommandBody::Set(values));
            }
        }
    }

    /// A user has ended the bond (2013). There is nothing of the user's here but the login, if that is wanted.
    pub(super) fn take_unbinding(&mut self, now: Now, frame: &Frame, id: &MsgId) {
        if let Err(why) = self.open_body(frame) {
            return self.drop_input(&why);
        }
        self.info("the platform has ended the bond of this device".to_owned());
        self.answer(now, frame.cmd, id, &done());
        if self.settings.unbind_clears_registration {
            self.forget_login();
            self.disconnect();
            self.end_connection();
            self.register(now);
        }
    }

    fn submit(&mut self, frame: &Frame, id: &MsgId, asked: Asked, body: CommandBody) {
        let request = self.next_id();
        let key = key_of(frame.cmd, id);
        let mut command = Command::new(body);
        command.deadline_ms = DEADLINE_MS;
        // The host remembers commands longer than a number is good for: one that a broker brings again, perhaps to a
        // session that knows nothing of it, is of the same moment, a new one under an old number is not.
        command.message_id = match frame.timestamp {
            Some(timestamp) => format!("{key}/{timestamp}"),
            None => key.clone(),
        };
        self.open.insert(request, Open { id: id.clone(), key, asked });
        self.outputs.push(Output::Submit(request, command));
    }

    pub(super) fn take_outcome(&mut self, now: Now, request: RequestId, outcome: &Outcome) {
        let Some(Open { id, asked, .. }) = self.open.remove(&request) else { return };
        let done = outcome.result == OutcomeResult::Done;
        self.known.extend(outcome.values.iter().cloned());
        match asked {
            // Where the device does not answer, what it said last is still what is known.
            Asked::Query(ids) => {
                let values = if done { outcome.values.clone() } else { self.known_of(&ids) };
                self.answer(now, QUERY, &id, &self.datapoints.answer(&values));
            }
            Asked::Control(mut values) if done => {
                // The device may say that it has set something else than it was told.
                for (id, value) in &mut values {
                    let said = outcome.values.iter().find(|(other, _)| other == id);
                    said.into_iter().for_each(|(_, said)| value.clone_from(said));
                }
                self.answer(now, CONTROL, &id, &self.datapoints.answer(&values));
            }
            Asked::Control(values) => {
                let ids: Vec<DatapointId> = values.iter().map(|(id, _)| *id).collect();
                let why = match &outcome.result {
                    OutcomeResult::Refused(why) => why.as_str(),
                    OutcomeResult::Unreachable => "the device does not answer its module",
                    OutcomeResult::TimedOut => "timeout",
                    OutcomeResult::Superseded => "a later command took its place",
                    OutcomeResult::Done => "",
                };
                self.refuse(now, CONTROL, &id, &ids, why);
            }
        }
    }

    /// What is known of these datapoints; none: of all.
    fn known_of(&self, ids: &[DatapointId]) -> Values {
        let wanted = |id: &DatapointId| ids.is_empty() || ids.contains(id);
        self.known.iter().filter(|(id, _)| wanted(id)).map(|(id, value)| (*id, value.clone())).collect()
    }

    fn refuse(&mut self, now: Now, cmd: i64, id: &MsgId, ids: &[DatapointId], why: &str) {
        self.told.counters.commands_refused += 1;
        self.log(Level::Debug, format!("a command of the platform was refused: {why}"));
        let values = if ids.is_empty() { Values::new() } else { self.known_of(ids) };
        self.answer(now, cmd, id, &self.datapoints.refusal(&values, why));
    }

    fn answer(&mut self, now: Now, cmd: i64, id: &MsgId, body: &RawValue) {
        let reply = self.reply_cmd(cmd);
        self.send(now, reply, id, body);
        self.answers.keep(now.monotonic, key_of(cmd, id), body.to_owned());
    }

    /// The command of the answer to a command.
    fn reply_cmd(&self, cmd: i64) -> i64 {
        match cmd {
            QUERY => self.settings.query_reply_cmd,
            CONTROL => self.settings.control_reply_cmd,
            _ => UNBOUND,
        }
    }
}

/// `{"respCode": 0, "respCont": "ok"}`.
fn done() -> Box<RawValue> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        resp_code: i64,
        resp_cont: &'static str,
    }
    raw(&Body { resp_code: 0, resp_cont: "ok" })
}

fn key_of(cmd: i64, id: &MsgId) -> String {
    format!("{cmd}/{}", id.as_str())
}

/// Commands under way at once; further ones are refused (not documented; chosen by us).
pub const MOST_OPEN: usize = 64;
/// The application has so long (not documented; chosen by us).
const DEADLINE_MS: u32 = 5_000;
