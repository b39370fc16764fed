//! The product's script, which knows its HEX: reports become bytes by `encode(code, json)`, commands become JSON by
//! `decode(code, bytes)`. The host runs it; what waits for it keeps its order.

use polylink_plugin_sdk::product_script::{Call, News};
use polylink_plugin_sdk::services::Failure;
use polylink_plugin_sdk::services::script::{Event, Value};
use polylink_plugin_sdk::{Fault, Now, Output, RequestId};
use serde_json::value::RawValue;

use super::reports::hex_content;
use super::{LierdaSession, uplink};
use crate::config::HexUplink;

/// Who waits for a call.
#[derive(Clone, Debug)]
pub enum Purpose {
    /// A report on its way up.
    Report {
        /// 18, 19 or 26.
        code: i64,
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

impl LierdaSession {
    pub(super) fn load_script(&mut self) {
        let script = self.next_id();
        self.outputs.extend(self.script.load(script).map(Output::Script));
    }

    pub(super) fn unload_script(&mut self) {
        self.outputs.extend(self.script.unload().map(Output::Script));
    }

    /// A report for the script. Without room it is left with the host.
    pub(super) fn convert_report(&mut self, seq: u64, at_ms: Option<i64>, code: i64, form: HexUplink, json: &RawValue) {
        if self.script.n_open() >= MOST {
            self.told.counters.reports_left += 1;
            return;
        }
        let id = self.next_id();
        let purpose = Purpose::Report { code, seq, at_ms, form };
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
        self.script.call(id, Call { function, args: vec![Value::Int(code), Value::Bytes(input)], purpose });
    }

    /// Gives the script what it can take.
    pub(super) fn convert_waiting(&mut self, now: Now) {
        if self.script.is_due(now.monotonic) {
            self.load_script();
        }
        while let Some(request) = self.script.poll() {
            self.outputs.push(Output::Script(request));
        }
    }

    pub(super) fn take_script(&mut self, now: Now, event: Event) {
        match self.script.take(now.monotonic, event) {
            Some(News::Loaded) => {
                self.shows = true;
                self.info("the product's script is loaded".to_owned());
            }
            Some(News::Unusable(failure)) => {
                self.fault = Some(Fault::settings(format!("settings.script: {}", failure.text)));
            }
            Some(News::Lost(failure)) => self.script_lost(&failure),
            Some(News::Returned(id, call, values)) => self.converted(now, id, call, values),
            Some(News::Failed(id, call, failure)) => match call.purpose {
                Purpose::Report { seq, .. } => self.unsaid(seq, &failure.text),
                Purpose::Command => self.take_decoded(now, id, Err(failure.text)),
            },
            None => {}
        }
    }

    fn script_lost(&mut self, failure: &Failure) {
        self.shows = true;
        self.warn(format!("the product's script is gone and is loaded again: {}", failure.text));
    }

    fn converted(&mut self, now: Now, id: RequestId, call: Call<Purpose>, values: Vec<Value>) {
        let text = match values.into_iter().next() {
            Some(Value::Bytes(bytes)) => Ok(bytes),
            _ => Err(format!("`{}` of the script returns no string", call.function)),
        };
        match call.purpose {
            Purpose::Report { code, seq, at_ms, form } => match text {
                Ok(bytes) => self.enqueue(seq, at_ms, hex_content(form, code, bytes)),
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
