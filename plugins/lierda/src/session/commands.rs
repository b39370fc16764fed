//! What comes down: properties to set and to read, services, passthrough, HEX; each carried out once and acknowledged.

use polylink_plugin_sdk::session::Level;
use polylink_plugin_sdk::url::Endpoint;
use polylink_plugin_sdk::{Command, CommandBody, DatapointId, Now, Outcome, OutcomeResult, Output, RequestId, hex};
use serde_json::value::RawValue;

use super::LierdaSession;
use super::converter::Purpose;
use super::reports::{HEX_PROPERTIES, HEX_RESULT};
use crate::config::{Content, HexEncryptInput};
use crate::datapoints::{self, BadCommand, NamedValues};
use crate::frame::{self, Frame, MessageId, text};
use crate::topics::Topic;

/// A command that is not answered yet.
#[derive(Debug)]
pub struct Open {
    /// What is to be answered.
    pub request: Request,
    /// What is being done.
    pub step: Step,
}

/// What is to be answered, and where.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its code, which the answer repeats.
    pub header_ctrl: i64,
    /// Its name, which the answer repeats.
    pub id: MessageId,
    /// Topics of the answer: a command may come by two names of one topic.
    pub topics: Vec<String>,
    /// By what it is recognised if it comes again; empty: by nothing.
    pub key: String,
    /// By what the host recognises it, also after a restart: it forgets nothing by time, and the platform may use a name
    /// again.
    pub command: String,
}

/// What is being done for a command.
#[derive(Debug)]
pub enum Step {
    /// The device sets properties; as they came, for the answer.
    Set(NamedValues),
    /// The device reads properties; the answer is a report.
    Ask,
    /// The device runs an action.
    Service(DatapointId),
    /// The device gets a passthrough message.
    Pass,
    /// The device runs an action for a passthrough message.
    PassService(DatapointId),
    /// The script reads the HEX of a command.
    Decode,
    /// The device sets properties, or gets bytes, for a HEX command.
    Hex,
    /// The device reads properties for a HEX command.
    HexAsk,
    /// The device runs an action for a HEX command: it, and its name.
    HexService(DatapointId, String),
    /// The device reads what the platform sees as settings. The move to another broker comes after the answer.
    ReadSettings(Option<Endpoint>),
    /// The device sets what the platform sees as settings; then they are read.
    WriteSettings(Option<Endpoint>),
}

impl LierdaSession {
    /// A command that is acknowledged: 7, 20, 21, 22, 24, 25.
    pub(super) fn take_command(&mut self, now: Now, kind: &Topic, frame: &Frame) {
        let topic = self.topics.ack_topic(kind, self.settings.passthrough_ack_topic);
        let Some(topic) = topic else { return self.drop_input("a command that is answered nowhere") };
        let service = if let Topic::Service(service) = kind { service.as_str() } else { "" };
        let id = frame.answer_id();
        let is_passthrough = matches!(kind, Topic::Downlink | Topic::Downloadlink);
        let code = if is_passthrough { DOWNLINK } else { frame.header_ctrl };
        let key = frame.id.as_ref().map(|id| format!("{code}/{service}/{}", id.as_str())).unwrap_or_default();
        if !key.is_empty() {
            if let Some(answer) = self.answers.find(now.monotonic, &key).map(ToOwned::to_owned) {
                self.told.counters.commands_repeated += 1;
                return self.send(topic, &id, frame.header_ctrl, &answer, Content::Management);
            }
            if let Some(open) = self.open.values_mut().find(|open| open.request.key == key) {
                self.told.counters.commands_repeated += 1;
                if !open.request.topics.contains(&topic) {
                    open.request.topics.push(topic);
                }
                return;
            }
        }
        let command = if key.is_empty() { String::new() } else { format!("{key}@{}", era(now)) };
        let request = Request { header_ctrl: frame.header_ctrl, id, topics: vec![topic], key, command };
        if self.open.len() >= MAX_OPEN {
            // Not remembered: a moment later there may be room for it.
            let request = Request { key: String::new(), ..request };
            return self.refuse(now, request, "too many commands are under way");
        }
        if *kind == Topic::HexDownlink {
            return self.take_hex_command(now, request, frame);
        }
        let payload = match self.clear(now, frame) {
            Ok(payload) => payload,
            Err(why) => return self.unreadable(&request, &why),
        };
        let wanted = match kind {
            Topic::PropertySet => datapoints::set(&self.model, &payload)
                .map(|set| (CommandBody::Set(set.values), Step::Set(set.received))),
            Topic::Service(service) => datapoints::service(&self.model, service, &payload)
                .map(|(action, params)| (CommandBody::Invoke { action, params }, Step::Service(action))),
            _ => self.passthrough(&payload),
        };
        match wanted {
            Ok((body, step)) => self.submit(request, step, body),
            Err(why) => self.refuse(now, request, &why.to_string()),
        }
    }

    fn passthrough(&self, payload: &RawValue) -> Result<(CommandBody, Step), BadCommand> {
        let body = datapoints::passthrough(&self.model, self.settings.passthrough_data, payload)?;
        let step = match body {
            CommandBody::Invoke { action, .. } => Step::PassService(action),
            _ => Step::Pass,
        };
        Ok((body, step))
    }

    fn take_hex_command(&mut self, now: Now, request: Request, frame: &Frame) {
        let bytes = match self.hex_bytes(now, frame) {
            Ok(bytes) => bytes,
            Err(why) => return self.unreadable(&request, &why),
        };
        if self.settings.script.is_some() {
            let id = self.next_id();
            self.convert(id, "decode", frame.header_ctrl, bytes, Purpose::Command);
            self.open.insert(id, Open { request, step: Step::Decode });
        } else {
            self.submit(request, Step::Hex, CommandBody::Raw(bytes));
        }
    }

    /// The bytes of a HEX command (Lierda access protocol 4.3.2.2).
    fn hex_bytes(&mut self, now: Now, frame: &Frame) -> Result<Vec<u8>, String> {
        const NO_HEX: &str = "its payload is not an even number of hexadecimal digits";
        let digits = frame.payload.as_deref().and_then(text).ok_or("its payload is no text")?;
        if !self.settings.encrypted {
            return hex::decode(&digits).filter(|bytes| !bytes.is_empty()).ok_or_else(|| NO_HEX.to_owned());
        }
        let is_text = self.settings.hex_encrypt_input == HexEncryptInput::Utf8Text;
        let digits_of = |plain: &[u8]| std::str::from_utf8(plain).ok().and_then(hex::decode);
        let makes_sense = |plain: &[u8]| !plain.is_empty() && (!is_text || digits_of(plain).is_some());
        let plain = self.open(now, &digits, makes_sense).map_err(|error| error.to_string())?;
        if is_text { digits_of(&plain).ok_or_else(|| NO_HEX.to_owned()) } else { Ok(plain) }
    }

    /// The script has read the HEX of a command, or could not.
    pub(super) fn take_decoded(&mut self, now: Now, id: RequestId, decoded: Result<Box<RawValue>, String>) {
        let Some(Open { request, .. }) = self.open.remove(&id) else { return };
        let decoded = match decoded {
            Ok(decoded) => decoded,
            Err(why) => return self.refuse(now, request, &why),
        };
        let model = &self.model;
        let wanted = match request.header_ctrl {
            HEX_SET => datapoints::set_object(model, &decoded).map(|set| (CommandBody::Set(set.values), Step::Hex)),
            HEX_SERVICE => datapoints::decoded_service(model, &decoded)
                .map(|(action, name, params)| (CommandBody::Invoke { action, params }, Step::HexService(action, name))),
            _ => match datapoints::ask_list(model, &decoded) {
                Ok(Some(ids)) => Ok((CommandBody::Get(ids), Step::HexAsk)),
                Ok(None) => Err(BadCommand::Nothing),
                Err(why) => Err(why),
            },
        };
        match wanted {
            Ok((body, step)) => self.submit(request, step, body),
            Err(why) => self.refuse(now, request, &why.to_string()),
        }
    }

    /// A question for properties (23); its answer is a report under its name (Lierda access protocol 4.3.1.6).
    pub(super) fn take_ask(&mut self, now: Now, frame: &Frame) {
        let payload = match self.clear(now, frame) {
            Ok(payload) => payload,
            Err(why) => return self.drop_input(&why),
        };
        let request = Request {
            header_ctrl: PROPERTY_REPORT,
            id: frame.answer_id(),
            topics: vec![self.topics.property_report()],
            key: String::new(),
            command: String::new(),
        };
        match datapoints::ask(&self.model, &payload) {
            Err(why) => self.drop_input(&why.to_string()),
            Ok(_) if self.open.len() >= MAX_OPEN => self.drop_input("too many commands are under way"),
            Ok(None) => self.report_to_asker(&request, &[]),
            Ok(Some(ids)) => self.submit(request, Step::Ask, CommandBody::Get(ids)),
        }
    }

    fn report_to_asker(&mut self, request: &Request, values: &[(String, Box<RawValue>)]) {
        let payload = datapoints::object(values);
        for topic in &request.topics {
            self.send(topic.clone(), &request.id, request.header_ctrl, &payload, Content::Application);
        }
    }

    pub(super) fn submit(&mut self, request: Request, step: Step, body: CommandBody) {
        let id = self.next_id();
        let mut command = Command::new(body);
        command.message_id.clone_from(&request.command);
        self.open.insert(id, Open { request, step });
        self.outputs.push(Output::Submit(id, command));
    }

    pub(super) fn take_outcome(&mut self, now: Now, id: RequestId, outcome: &Outcome) {
        let Some(Open { request, step }) = self.open.remove(&id) else { return };
        let done = outcome.result == OutcomeResult::Done;
        if !done {
            self.log(Level::Debug, format!("the device did not carry out a command: {}", reason(&outcome.result)));
        }
        match step {
            Step::ReadSettings(other) => self.device_settings_read(now, &request, other, &outcome.values),
            Step::WriteSettings(other) => self.read_settings(now, request, other),
            Step::Ask if done => {
                let values = datapoints::properties(&self.model, &outcome.values);
                self.report_to_asker(&request, &values);
            }
            Step::Ask => self.told.counters.commands_refused += 1,
            _ if !done => {
                self.told.counters.commands_refused += 1;
                self.answer(now, request, false, None);
            }
            Step::Set(received) => {
                let data = datapoints::object(&received);
                self.answer(now, request, true, Some(&data));
            }
            Step::Service(action) | Step::PassService(action) => {
                let outputs = datapoints::outputs(&self.model, action, outcome);
                let data = (!outputs.is_empty()).then(|| datapoints::object(&outputs));
                self.answer(now, request, true, data.as_deref());
            }
            Step::Pass | Step::Hex | Step::Decode => self.answer(now, request, true, None),
            Step::HexAsk => {
                self.answer(now, request, true, None);
                let values = datapoints::properties(&self.model, &outcome.values);
                self.convert_answer(HEX_PROPERTIES, &datapoints::object(&values));
            }
            Step::HexService(action, name) => {
                self.answer(now, request, true, None);
                let outputs = datapoints::outputs(&self.model, action, outcome);
                let result = datapoints::service_result(&name, &outputs);
                self.convert_answer(HEX_RESULT, &result);
            }
        }
    }

    fn refuse(&mut self, now: Now, request: Request, why: &str) {
        self.told.counters.commands_refused += 1;
        self.log(Level::Debug, format!("a command of the platform was refused: {why}"));
        self.answer(now, request, false, None);
    }

    /// What cannot be decrypted or read is answered in clear, and not remembered: by another key it might be read.
    fn unreadable(&mut self, request: &Request, why: &str) {
        self.drop_input(why);
        let payload = frame::ack(false, None);
        for topic in &request.topics {
            self.send(topic.clone(), &request.id, request.header_ctrl, &payload, Content::Never);
        }
    }

    fn answer(&mut self, now: Now, request: Request, ok: bool, data: Option<&RawValue>) {
        let payload = frame::ack(ok, data);
        for topic in &request.topics {
            self.send(topic.clone(), &request.id, request.header_ctrl, &payload, Content::Management);
        }
        if !request.key.is_empty() {
            self.answers.keep(now.monotonic, request.key, payload);
        }
    }
}

/// Changes every ten minutes, and not with a restart: longer than an answer is kept, much shorter than names last.
fn era(now: Now) -> i64 {
    now.wall.unix_ms.div_euclid(ERA_MS)
}

fn reason(result: &OutcomeResult) -> &str {
    match result {
        OutcomeResult::Done => "done",
        OutcomeResult::Refused(why) => why,
        OutcomeResult::Unreachable => "the MCU cannot be reached",
        OutcomeResult::TimedOut => "the MCU did not answer in time",
        OutcomeResult::Superseded => "a later command took its place",
    }
}

/// So long a command that comes again is answered as before (not documented; chosen by us).
pub const KEPT_MS: u64 = 300_000;
/// Twice as long (not documented; chosen by us).
const ERA_MS: i64 = 600_000;
/// Commands under way at once; further ones are refused (not documented; chosen by us).
pub const MAX_OPEN: usize = 64;
/// Codes of table 2.2 of the Lierda access protocol.
const DOWNLINK: i64 = 7;
const PROPERTY_REPORT: i64 = 16;
const HEX_SET: i64 = 22;
const HEX_SERVICE: i64 = 24;
