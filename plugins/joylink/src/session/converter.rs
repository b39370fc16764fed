//! The product's script: `pri2jds(bizcode, length, bytes)` makes JSON of the product's bytes, `jds2pri(bizcode, json)`
//! bytes of JSON. JD runs the same two functions in its cloud, where commands become bytes and answers become JSON; here it is
//! the other way round, so the script of a product has to know both.

use polylink_plugin_sdk::product_script::{Call, News};
use polylink_plugin_sdk::services::Failure;
use polylink_plugin_sdk::services::script::{Event, Value};
use polylink_plugin_sdk::{Fault, Now, Output, RequestId};

use super::JoylinkSession;
use super::jobs::ReplyTo;
use crate::wire::{AsyncResult, Code};

/// What a call is for.
#[derive(Clone, Debug)]
pub enum Purpose {
    /// A command becomes JSON.
    Command {
        /// Whom it is for.
        device: u32,
        /// What is asked.
        biz: u32,
        /// Who is answered.
        to: ReplyTo,
    },
    /// The answer of this job becomes bytes.
    Answer(RequestId),
    /// The upload that is being put into words becomes bytes.
    Upload,
    /// What follows an asynchronous result becomes bytes.
    Result(Box<AsyncResult>),
    /// What the cloud is told of a recipe it has given.
    RecipeTaken(ReplyTo),
}

impl JoylinkSession {
    pub(super) fn load_script(&mut self) {
        let script = self.next_id();
        self.outputs.extend(self.script.load(script).map(Output::Script));
    }

    /// A command for the script to read.
    pub(super) fn decode(&mut self, device: u32, biz: u32, content: Vec<u8>, to: ReplyTo) {
        let length = i64::try_from(content.len()).unwrap_or(i64::MAX);
        let args = vec![Value::Int(i64::from(biz)), Value::Int(length), Value::Bytes(content)];
        self.n_decoding += 1;
        self.call("pri2jds", args, Purpose::Command { device, biz, to });
    }

    /// JSON for the script to put into bytes.
    pub(super) fn encode(&mut self, biz: u32, json: Vec<u8>, purpose: Purpose) {
        self.call("jds2pri", vec![Value::Int(i64::from(biz)), Value::Bytes(json)], purpose);
    }

    fn call(&mut self, function: &'static str, args: Vec<Value>, purpose: Purpose) {
        let id = self.next_id();
        self.script.call(id, Call { function, args, purpose });
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
            Some(News::Returned(_, call, values)) => {
                let result = if call.function == "pri2jds" { json(values) } else { bytes(values) };
                self.converted(now, call.purpose, result);
            }
            Some(News::Failed(_, call, failure)) => self.converted(now, call.purpose, Err(failure.text)),
            None => {}
        }
    }

    fn script_lost(&mut self, failure: &Failure) {
        self.shows = true;
        self.warn(format!("the product's script is gone and is loaded again: {}", failure.text));
    }

    fn converted(&mut self, now: Now, purpose: Purpose, result: Result<Vec<u8>, String>) {
        if let Err(why) = &result {
            if self.told.counters.conversions_failed == 0 {
                self.warn(format!("the product's script cannot convert (further ones are only counted): {why}"));
            }
            self.told.counters.conversions_failed += 1;
        }
        if matches!(purpose, Purpose::Command { .. }) {
            self.n_decoding -= 1;
        }
        match (purpose, result) {
            (Purpose::Command { device, biz, to }, Ok(json)) => self.take_json(now, device, biz, &json, to),
            (Purpose::Command { device, biz, to }, Err(_)) => {
                self.refuse(now, device, biz, to, Code::SCRIPT_EXECUTION);
            }
            (Purpose::Answer(id), result) => self.encoded(now, id, result.map_err(|_| Code::SCRIPT_EXECUTION)),
            (Purpose::Upload, Ok(bytes)) => self.upload(now, &bytes),
            (Purpose::Upload, Err(_)) => self.give_up_upload(),
            (Purpose::Result(head), Ok(content)) => self.push_result(AsyncResult { content, ..*head }),
            (Purpose::Result(_), Err(_)) => self.told.counters.results_lost += 1,
            (Purpose::RecipeTaken(to), Ok(bytes)) => self.send_bytes(now, crate::wire::biz::RECIPE, &to, bytes),
            (Purpose::RecipeTaken(to), Err(_)) => {
                self.refuse(now, 0, crate::wire::biz::RECIPE, to, Code::SCRIPT_EXECUTION);
            }
        }
    }
}

/// What `pri2jds` returns: 0, the JSON, and what it is about.
fn json(values: Vec<Value>) -> Result<Vec<u8>, String> {
    let mut values = values.into_iter();
    match (values.next(), values.next()) {
        (Some(Value::Int(0)), Some(Value::Bytes(json))) => Ok(json),
        (Some(Value::Int(error)), _) if error != 0 => Err(format!("`pri2jds` returned the error {error}")),
        _ => Err("`pri2jds` returned something else than 0, text and bizcode".to_owned()),
    }
}

/// What `jds2pri` returns: 0, the length, and the bytes.
fn bytes(values: Vec<Value>) -> Result<Vec<u8>, String> {
    let mut values = values.into_iter();
    match (values.next(), values.next(), values.next()) {
        (Some(Value::Int(0)), Some(Value::Int(length)), Some(Value::Bytes(mut bytes))) => {
            let length = usize::try_from(length).ok().filter(|length| *length <= bytes.len());
            bytes.truncate(length.ok_or("`jds2pri` returned a length that its bytes do not have")?);
            Ok(bytes)
        }
        (Some(Value::Int(error)), ..) if error != 0 => Err(format!("`jds2pri` returned the error {error}")),
        _ => Err("`jds2pri` returned something else than 0, length and bytes".to_owned()),
    }
}
