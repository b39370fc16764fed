//! What goes up: reports, events, what was missed meanwhile, and the platform's acknowledgements of them.

use std::collections::BTreeMap;

use polylink_plugin_sdk::session::Level;
use polylink_plugin_sdk::{Cause, ClockQuality, Now, Report, ReportBody, RequestId, hex};
use serde::Serialize;
use serde_json::value::RawValue;

use super::LierdaSession;
use super::connection::Phase;
use super::keys::Enrolment;
use super::uplink::{self, Ended, Entry, Form};
use crate::cipher;
use crate::config::{Content, FullHexFormat, HexEncryptInput, HexUplink, Settings, UplinkAcks};
use crate::datapoints;
use crate::frame::{self, Frame, MAX_MESSAGE, MessageId, raw};
use crate::topics::{ProductKind, Topics};

impl LierdaSession {
    pub(super) fn take_reports(&mut self, reports: Vec<Report>) {
        for report in reports {
            // What was asked for went to the asker with its outcome, the last known values are no news, and those of a
            // full window come again.
            if matches!(report.cause, Cause::Answer | Cause::Snapshot | Cause::Live) {
                self.settle(report.seq);
            } else {
                self.take_report(&report);
            }
        }
    }

    fn take_report(&mut self, report: &Report) {
        let at_ms = (report.at.quality > ClockQuality::UNSET).then_some(report.at.unix_ms);
        let content = if report.device == 0 { self.content_of(report) } else { None };
        match content {
            Some(Said::Now(content)) => self.enqueue(report.seq, at_ms, content),
            Some(Said::ByScript(code, json)) => {
                self.convert_report(report.seq, at_ms, code, self.settings.hex_uplink, &json)
            }
            None => {
                self.told.counters.reports_unsaid += 1;
                self.settle(report.seq);
            }
        }
    }

    /// The words of this product's kind; `None`: it has none.
    fn content_of(&self, report: &Report) -> Option<Said> {
        let (model, settings) = (&self.model, &self.settings);
        Some(match (settings.product_kind, &report.body) {
            (ProductKind::Json, ReportBody::Properties(values)) => {
                let named = datapoints::properties(model, values);
                let ids = values.iter().map(|(id, _)| *id).collect();
                Said::Now(uplink::Content::Properties(ids, not_empty(named)?))
            }
            (ProductKind::Json, ReportBody::Event { id, params }) => {
                let (name, params) = datapoints::event(model, *id, params)?;
                Said::Now(uplink::Content::Event(name, params))
            }
            (ProductKind::Passthrough, ReportBody::Properties(values)) => {
                let named = not_empty(datapoints::properties(model, values))?;
                Said::Now(uplink::Content::Passthrough(datapoints::object(&named)))
            }
            (ProductKind::Passthrough, ReportBody::Event { id, params }) => {
                let (name, params) = datapoints::event(model, *id, params)?;
                Said::Now(uplink::Content::Passthrough(datapoints::passthrough_event(&name, &params)))
            }
            (ProductKind::Passthrough, ReportBody::Raw(bytes)) => {
                let payload = datapoints::passthrough_bytes(bytes, settings.passthrough_data);
                Said::Now(uplink::Content::Passthrough(payload))
            }
            (ProductKind::Hex, ReportBody::Raw(bytes)) => {
                Said::Now(hex_content(settings.hex_uplink, HEX_PROPERTIES, bytes.clone()))
            }
            (ProductKind::Hex, ReportBody::Properties(values)) if settings.script.is_some() => {
                let named = not_empty(datapoints::properties(model, values))?;
                Said::ByScript(HEX_PROPERTIES, datapoints::object(&named))
            }
            (ProductKind::Hex, ReportBody::Event { id, params }) if settings.script.is_some() => {
                let (name, params) = datapoints::event(model, *id, params)?;
                Said::ByScript(HEX_EVENT, datapoints::passthrough_event(&name, &params))
            }
            // The platform's model has no place for bytes, and without a script nobody knows the product's HEX.
            (ProductKind::Json, ReportBody::Raw(_)) | (ProductKind::Hex, _) => return None,
        })
    }

    /// Takes it on its way up, or leaves it with the host if there is no room.
    pub(super) fn enqueue(&mut self, seq: u64, at_ms: Option<i64>, content: uplink::Content) {
        if !self.uplink.take(seq, at_ms, content) {
            self.told.counters.reports_left += 1;
        }
    }

    pub(super) fn settle(&mut self, seq: u64) {
        if seq != 0 {
            self.settled.push(seq);
        }
    }

    pub(super) fn send_reports(&mut self, now: Now) {
        if !matches!(self.phase, Phase::Online { .. }) {
            return;
        }
        let unix_ms = (now.wall.quality > ClockQuality::UNSET).then_some(now.wall.unix_ms);
        loop {
            let publish = self.next_id();
            let (ids, kind) = (&mut self.ids, self.settings.message_id_type);
            let mut mark = None;
            let name = || {
                let (id, new_mark) = ids.next();
                mark = new_mark;
                MessageId::new(id, kind)
            };
            let Some(frame) = self.uplink.send_next(now.monotonic, unix_ms, publish, name) else { return };
            let (topic, payload) = encode(&self.topics, &self.settings, &self.enrolment, frame);
            self.store_mark(mark);
            if payload.len() > MAX_MESSAGE {
                self.take_unpublishable(publish, "it is larger than the platform takes");
                continue;
            }
            self.publish(publish, topic, payload);
        }
    }

    /// The broker has it.
    pub(super) fn take_published(&mut self, publish: RequestId) {
        let ended = self.uplink.published(publish, self.settings.uplink_acks == UplinkAcks::Broker);
        self.end(ended);
    }

    /// It can never be published.
    pub(super) fn take_unpublishable(&mut self, publish: RequestId, why: &str) {
        let ended = self.uplink.give_up(publish);
        if ended.refused > 0 {
            self.warn(format!("a report cannot be sent: {why}"));
        }
        self.end(ended);
    }

    /// An acknowledgement of the platform; full HEX messages have no name, and are acknowledged in order.
    pub(super) fn take_report_ack(&mut self, now: Now, frame: &Frame, has_name: bool) {
        let payload = match self.clear(now, frame) {
            Ok(payload) => payload,
            Err(why) => return self.drop_input(&why),
        };
        let ok = frame::code_ok(&payload, frame::DONE);
        let name = frame.id.as_ref().map(MessageId::as_str).unwrap_or_default();
        let Some(ended) = self.uplink.answered(now.monotonic, has_name.then_some(name), ok) else {
            self.told.counters.unmatched += 1;
            return;
        };
        if !ok {
            let code = frame::code(&payload).map_or_else(|| "none".to_owned(), |code| code.to_string());
            self.told.counters.reports_failed += 1;
            if ended.refused > 0 {
                self.warn(format!("the platform refused a report three times (code {code}); it is given up"));
            } else {
                self.log(Level::Debug, format!("the platform refused a report (code {code}); it is tried again"));
            }
        }
        self.end(ended);
    }

    fn end(&mut self, ended: Ended) {
        self.told.counters.reports_refused += ended.refused as u64;
        self.settled.extend(ended.settled);
    }

    /// A payload of ours as it is sent.
    pub(super) fn sealed(&self, payload: &RawValue, content: Content) -> Box<RawValue> {
        seal(&self.settings, &self.enrolment, content, payload.get().as_bytes()).unwrap_or_else(|| payload.to_owned())
    }
}

/// What a report is, before it is on its way.
enum Said {
    Now(uplink::Content),
    /// The script has to say it: 18 or 19, and the JSON.
    ByScript(i64, Box<RawValue>),
}

/// HEX bytes as this product sends them.
pub fn hex_content(form: HexUplink, header_ctrl: i64, bytes: Vec<u8>) -> uplink::Content {
    match form {
        HexUplink::Framed => uplink::Content::Hex(header_ctrl, bytes),
        HexUplink::Full => uplink::Content::FullHex(bytes),
    }
}

fn not_empty(values: datapoints::NamedValues) -> Option<datapoints::NamedValues> {
    (!values.is_empty()).then_some(values)
}

/// Topic and message of a frame of reports.
fn encode(topics: &Topics, settings: &Settings, enrolment: &Enrolment, frame: &uplink::Frame) -> (String, Vec<u8>) {
    let name = frame.id.clone().unwrap_or(MessageId::MISSING);
    let (topic, header_ctrl, payload) = match (frame.form, &frame.entries[0].content) {
        (Form::History, _) => (topics.history_report(), HISTORY, history(&frame.entries)),
        (_, uplink::Content::Properties(_, values)) => {
            (topics.property_report(), PROPERTIES, datapoints::object(values))
        }
        (_, uplink::Content::Event(name, params)) => (topics.event_report(name), EVENT, datapoints::object(params)),
        (_, uplink::Content::Passthrough(payload)) => (topics.uplink(), UPLINK, payload.clone()),
        (_, uplink::Content::Hex(header_ctrl, bytes)) => {
            let input = match settings.hex_encrypt_input {
                HexEncryptInput::Utf8Text => hex::upper(bytes).into_bytes(),
                HexEncryptInput::RawBytes => bytes.clone(),
            };
            let payload =
                seal(settings, enrolment, Content::Application, &input).unwrap_or_else(|| raw(&hex::upper(bytes)));
            return (topics.hex_report(), frame::encode(&name, *header_ctrl, &payload));
        }
        (_, uplink::Content::FullHex(bytes)) => {
            let message = match settings.full_hex_format {
                FullHexFormat::JsonString => format!("\"{}\"", hex::upper(bytes)).into_bytes(),
                FullHexFormat::BareText => hex::upper(bytes).into_bytes(),
                FullHexFormat::Binary => bytes.clone(),
            };
            return (topics.hex_full(), message);
        }
    };
    let payload = seal(settings, enrolment, Content::Application, payload.get().as_bytes()).unwrap_or(payload);
    (topic, frame::encode(&name, header_ctrl, &payload))
}

/// Encrypted by the current session key, if that is due.
fn seal(settings: &Settings, enrolment: &Enrolment, content: Content, plain: &[u8]) -> Option<Box<RawValue>> {
    let session = enrolment.session().filter(|_| settings.encrypts(content))?;
    Some(raw(&cipher::encrypt_hex(&session.current, plain)))
}

/// Reports with their times (Lierda access protocol 4.3.1.4).
fn history(entries: &[Entry]) -> Box<RawValue> {
    #[derive(Serialize)]
    struct Payload<'a> {
        params: [Part<'a>; 1],
    }
    #[derive(Default, Serialize)]
    struct Part<'a> {
        properties: Vec<BTreeMap<&'a str, Timed>>,
        events: Vec<BTreeMap<&'a str, Timed>>,
    }
    #[derive(Serialize)]
    struct Timed {
        value: Box<RawValue>,
        time: i64,
    }
    let mut part = Part::default();
    for entry in entries {
        let time = entry.at_ms.unwrap_or_default();
        match &entry.content {
            uplink::Content::Properties(_, values) => {
                let timed = values.iter().map(|(name, value)| (name.as_str(), Timed { value: value.clone(), time }));
                part.properties.push(timed.collect());
            }
            uplink::Content::Event(name, params) => {
                let timed = Timed { value: datapoints::object(params), time };
                part.events.push(BTreeMap::from([(name.as_str(), timed)]));
            }
            // Only the JSON model has a history.
            uplink::Content::Passthrough(_) | uplink::Content::Hex(..) | uplink::Content::FullHex(_) => {}
        }
    }
    raw(&Payload { params: [part] })
}

/// Codes of table 2.2 of the Lierda access protocol.
const UPLINK: i64 = 4;
const PROPERTIES: i64 = 16;
const EVENT: i64 = 17;
const HISTORY: i64 = 27;
/// HEX property report.
pub const HEX_PROPERTIES: i64 = 18;
/// HEX event.
const HEX_EVENT: i64 = 19;
/// HEX service result.
pub const HEX_RESULT: i64 = 26;
