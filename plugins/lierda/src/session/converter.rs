//! The product's script, which knows its HEX: reports become bytes by `encode(code, json)`, commands become JSON by
//! `decode(code, bytes)`. The host runs it; what waits for it keeps its order.

use std::collections::{BTreeMap, VecDeque};

use polylink_plugin_sdk::services::script::{Event, Request, Value};
use polylink_plugin_sdk::services::{Failure, Reason};
use polylink_plugin_sdk::{Fault, Now, Output, RequestId};
use serde_json::value::RawValue;

use super::reports::hex_content;
use super::{LierdaSession, Timer, uplink};
use crate::config::HexUplink;

/// The script and what waits for it.
#[derive(Debug, Default)]
pub struct Converter {
    script: Option<RequestId>,
    ready: bool,
    waiting: VecDeque<(RequestId, Call)>,
    running: BTreeMap<RequestId, Call>,
}

/// One call of the script.
#[derive(Clone, Debug)]
pub struct Call {
    function: &'static str,
    code: i64,
    input: Vec<u8>,
    purpose: Purpose,
}

/// Who waits for a call.
#[derive(Clone, Debug)]
pub enum Purpose {
    /// A report on its way up.
    Report {
        /// To be settled; 0: nobody waits for it.
        seq: u64,
        /// Unix milliseconds of what it says.
        at_ms: Option<i64>,
        /// How it goes up.
        form: HexUplink,
    },
    /// A command, open under the same id.
    Command,
}

impl Converter {
    /// For operators; `None`: the product has no script.
    pub const fn standing(&self) -> Option<&'static str> {
        match (self.script, self.ready) {
            (None, _) => None,
            (Some(_), false) => Some("loading"),
            (Some(_), true) => Some("ready"),
        }
    }

    fn is_full(&self) -> bool {
        self.waiting.len() + self.running.len() >= MOST
    }

    /// True if the script may be given the next call.
    fn has_room(&self) -> bool {
        let size = |call: &Call| call.input.len();
        let bytes = self.running.values().map(size).sum::<usize>();
        let next = self.waiting.front().map_or(0, |(_, call)| size(call));
        self.running.len() < WINDOW && (self.running.is_empty() || bytes + next <= WINDOW_BYTES)
    }
}

impl LierdaSession {
    pub(super) fn load_script(&mut self) {
        let Some(source) = self.settings.script.clone() else { return };
        let script = self.next_id();
        self.converter.script = Some(script);
        self.converter.ready = false;
        let request = Request::Load { script, name: "lierda".to_owned(), source };
        self.outputs.push(Output::Script(request));
    }

    pub(super) fn unload_script(&mut self) {
        if let Some(script) = self.converter.script.take() {
            self.outputs.push(Output::Script(Request::Unload(script)));
        }
        self.converter = Converter::default();
    }

    /// A report for the script. Without room it is left with the host.
    pub(super) fn convert_report(&mut self, seq: u64, at_ms: Option<i64>, code: i64, form: HexUplink, json: &RawValue) {
        if self.converter.is_full() {
            self.told.counters.reports_left += 1;
            return;
        }
        let id = self.next_id();
        let purpose = Purpose::Report { seq, at_ms, form };
        self.convert(id, "encode", code, json.get().as_bytes().to_vec(), purpose);
    }

    /// What a HEX command has read or returned, as a message of its own.
    pub(super) fn convert_answer(&mut self, code: i64, json: &RawValue) {
        self.convert_report(0, None, code, HexUplink::Framed, json);
    }

    /// A call for the script; commands are bounded by who waits for them.
    pub(super) fn convert(
        &mut self,
        id: RequestId,
        function: &'static str,
        code: i64,
        input: Vec<u8>,
        purpose: Purpose,
    ) {
        self.converter.waiting.push_back((id, Call { function, code, input, purpose }));
    }

    /// Gives the script what it can take.
    pub(super) fn convert_waiting(&mut self) {
        let Some(script) = self.converter.script.filter(|_| self.converter.ready) else { return };
        while self.converter.has_room() {
            let Some((id, call)) = self.converter.waiting.pop_front() else { return };
            let args = vec![Value::Int(call.code), Value::Bytes(call.input.clone())];
            let request = Request::Call { script, id, function: call.function.to_owned(), args };
            self.outputs.push(Output::Script(request));
            self.converter.running.insert(id, call);
        }
    }

    pub(super) fn take_script(&mut self, now: Now, event: Event) {
        match event {
            Event::Loaded(script) if self.converter.script == Some(script) => {
                self.converter.ready = true;
                self.shows = true;
                self.info("the product's script is loaded".to_owned());
            }
            Event::LoadFailed(script, failure) if self.converter.script == Some(script) => {
                self.script_refused(now, &failure);
            }
            Event::Returned(id, result) => {
                let Some(call) = self.converter.running.remove(&id) else { return };
                match result {
                    Ok(values) => self.converted(now, id, call, values),
                    Err(failure) => self.conversion_failed(now, id, call, &failure),
                }
            }
            Event::Loaded(_) | Event::LoadFailed(..) => {}
        }
    }

    fn script_refused(&mut self, now: Now, failure: &Failure) {
        match failure.reason {
            // The host has no room for it at present.
            Reason::Quota => {
                self.warn(format!("the product's script cannot be loaded now: {}", failure.text));
                self.timers.set(Timer::Script, now.monotonic.after(RELOAD_MS));
            }
            _ => self.fault = Some(Fault::settings(format!("settings.script: {}", failure.text))),
        }
    }

    fn converted(&mut self, now: Now, id: RequestId, call: Call, values: Vec<Value>) {
        let text = match values.into_iter().next() {
            Some(Value::Bytes(bytes)) => Ok(bytes),
            _ => Err(format!("`{}` of the script returns no string", call.function)),
        };
        match call.purpose {
            Purpose::Report { seq, at_ms, form } => match text {
                Ok(bytes) => self.enqueue(seq, at_ms, hex_content(form, call.code, bytes)),
                Err(why) => self.unsaid(seq, &why),
            },
            Purpose::Command => {
                let decoded = text.and_then(|bytes| {
                    let json = String::from_utf8(bytes).map_err(|error| error.to_string())?;
                    RawValue::from_string(json).map_err(|_| "`decode` of the script returns no JSON".to_owned())
                });
                self.take_decoded(now, id, decoded);
            }
        }
    }

    fn conversion_failed(&mut self, now: Now, id: RequestId, call: Call, failure: &Failure) {
        let is_gone = matches!(failure.reason, Reason::UnknownHandle | Reason::Timeout | Reason::Closed);
        if is_gone && self.converter.ready {
            self.warn(format!("the product's script is gone and is loaded again: {}", failure.text));
            self.converter.ready = false;
            self.shows = true;
            self.timers.set(Timer::Script, now.monotonic.after(RELOAD_MS));
        }
        if is_gone && failure.reason != Reason::Timeout {
            // It was not this call that ended the script. Ids grow, so they tell its place.
            let place = self.converter.waiting.partition_point(|(waiting, _)| *waiting < id);
            self.converter.waiting.insert(place, (id, call));
            return;
        }
        match call.purpose {
            Purpose::Report { seq, .. } => self.unsaid(seq, &failure.text),
            Purpose::Command => self.take_decoded(now, id, Err(failure.text.clone())),
        }
    }

    /// The script has no words for a report; a second time it would have none either.
    fn unsaid(&mut self, seq: u64, why: &str) {
        if self.told.counters.conversions_failed == 0 {
            self.warn(format!("the product's script cannot convert a report (further ones are only counted): {why}"));
        }
        self.told.counters.conversions_failed += 1;
        self.settle(seq);
    }
}

/// Calls that wait or run; reports beyond them are left with the host (not documented; chosen by us).
const MOST: usize = uplink::MOST;
/// Calls that run at once: half of what the host lets wait.
const WINDOW: usize = 32;
/// Bytes for the script at once, roughly: half of what the host lets wait. What is beyond it there is refused, and lost.
const WINDOW_BYTES: usize = 512 * 1024;
/// Pause before a script is loaded again (not documented; chosen by us).
const RELOAD_MS: u64 = 60_000;
