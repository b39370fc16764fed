//! Hands each message of the platform to who knows it.

use polylink_plugin_sdk::Now;
use polylink_plugin_sdk::session::Level;
use serde_json::value::RawValue;

use super::authentication::AUTH;
use super::connection::Phase;
use super::keys::{OpenError, PREVIOUS_MS};
use super::{LierdaSession, storage};
use crate::auth::SessionMaterial;
use crate::frame::{self, Frame, MessageId, raw, text};
use crate::topics::{self, Topic};

impl LierdaSession {
    pub(super) fn take_message(&mut self, now: Now, topic: &str, payload: &[u8]) {
        let kind = match self.topics.classify(topic) {
            Some(kind) => kind,
            None => return self.drop_input("its topic is not one of this device"),
        };
        // Under the wildcard our own messages come back.
        if kind == Topic::Own {
            return;
        }
        let frame = match Frame::decode(payload) {
            Ok(frame) => frame,
            Err(error) => return self.drop_input(&error.to_string()),
        };
        if !topics::allowed(&kind, frame.header_ctrl) {
            return self.drop_input(&format!("HeaderCtrl {} does not belong to its topic", frame.header_ctrl));
        }
        if !frame.version_ok {
            if self.told.counters.other_version == 0 {
                self.warn("a message names another protocol version than 2 (further ones are only counted)".to_owned());
            }
            self.told.counters.other_version += 1;
        }
        if let Phase::Authenticating { .. } = self.phase {
            return match frame.header_ctrl {
                AUTH => self.take_authentication(now, &frame),
                _ => self.drop_input("it is no answer to an authentication"),
            };
        }
        match kind {
            Topic::Downlink | Topic::Downloadlink => self.take_downlink(now, &kind, &frame),
            Topic::UplinkAck
            | Topic::PropertyReportAck
            | Topic::EventReportAck(_)
            | Topic::HistoryReportAck
            | Topic::HexReportAck => self.take_report_ack(now, &frame, true),
            Topic::HexAck => self.take_report_ack(now, &frame, false),
            Topic::FirmwareReportAck => self.take_firmware_ack(now, &frame),
            Topic::UpdateTimeAck => match self.clear(now, &frame) {
                Ok(payload) => self.take_time(now, &frame, &payload),
                Err(why) => self.drop_input(&why),
            },
            Topic::PropertyAsk => self.take_ask(now, &frame),
            Topic::PropertySet | Topic::Service(_) | Topic::HexDownlink => {
                self.take_command(now, &kind, &frame);
            }
            Topic::AskFirmware => self.answer_firmware_query(now, &frame),
            Topic::OtaNotify => self.take_order(now, &frame),
            Topic::AskConfig => self.read_device_settings(now, frame.answer_id()),
            Topic::DownConfig | Topic::DownloadConfig => match self.clear(now, &frame) {
                Ok(payload) => self.write_device_settings(now, frame.answer_id(), &payload),
                Err(why) => self.drop_input(&why),
            },
            Topic::Own => {}
        }
    }

    fn take_downlink(&mut self, now: Now, kind: &Topic, frame: &Frame) {
        match frame.header_ctrl {
            AUTH => self.drop_input("an answer to an authentication that nobody asked for"),
            NEW_SESSION => self.take_new_session(now, frame),
            // The platform's text once calls a passthrough downlink 4; then only `Code` tells it from an acknowledgement.
            UPLINK if self.clear(now, frame).is_ok_and(|payload| frame::has_code(&payload)) => {
                self.take_report_ack(now, frame, true)
            }
            _ => self.take_command(now, kind, frame),
        }
    }

    /// The platform begins a new session (Lierda access protocol 4.4).
    fn take_new_session(&mut self, now: Now, frame: &Frame) {
        if !self.settings.encrypted {
            self.told.counters.dropped_input += 1;
            return self.warn("the platform begins an encrypted session, and `encrypted` is not set".to_owned());
        }
        let Some(material) = frame.payload.as_deref().and_then(SessionMaterial::parse) else {
            return self.drop_input("a new session without SessionID and Nonce");
        };
        self.shows = true;
        match self.enrolment.renew(&self.settings, material, Some(now.monotonic.after(PREVIOUS_MS))) {
            Ok(warning) => {
                warning.into_iter().for_each(|warning| self.warn(warning));
                self.store_enrolment();
                self.info("the platform has begun a new session; reports go by its key".to_owned());
            }
            Err(why) => self.warn(format!("the new session of the platform is of no use: {why}")),
        }
    }

    /// The payload of a JSON command, decrypted if need be.
    pub(super) fn clear(&mut self, now: Now, frame: &Frame) -> Result<Box<RawValue>, String> {
        let payload = frame.payload.as_deref().ok_or("it has no payload")?;
        let Some(text) = text(payload) else { return Ok(payload.to_owned()) };
        if text.is_empty() {
            return Ok(raw(&EMPTY));
        }
        if !self.settings.encrypted {
            return Err("its payload is a text, and the product is not encrypted".to_owned());
        }
        let is_object = |plain: &[u8]| {
            serde_json::from_slice::<&RawValue>(plain).is_ok_and(|json| json.get().starts_with(['{', '"']))
        };
        let plain = self.open(now, &text, is_object).map_err(|error| error.to_string())?;
        let plain = String::from_utf8(plain).map_err(|error| error.to_string())?;
        RawValue::from_string(plain).map_err(|error| error.to_string())
    }

    /// Decrypts. What was of no use is counted by the caller.
    pub(super) fn open(
        &mut self,
        now: Now,
        text: &str,
        makes_sense: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<u8>, OpenError> {
        let opened = self.enrolment.open(now, text, makes_sense)?;
        if opened.renewed {
            self.shows = true;
            self.store_enrolment();
        }
        Ok(opened.payload)
    }

    /// A name for a message of the device.
    pub(super) fn new_message_id(&mut self) -> MessageId {
        let (id, mark) = self.ids.next();
        self.store_mark(mark);
        MessageId::new(id, self.settings.message_id_type)
    }

    /// Names up to this one may be given without writing to the flash again.
    pub(super) fn store_mark(&mut self, mark: Option<u32>) {
        if let Some(mark) = mark {
            self.put(storage::MESSAGE_ID_MARK, &mark);
        }
    }

    /// Counts what came in and is of no use.
    pub(super) fn drop_input(&mut self, why: &str) {
        self.told.counters.dropped_input += 1;
        self.log(Level::Debug, format!("a message was dropped: {why}"));
    }
}

/// An empty object.
const EMPTY: std::collections::BTreeMap<&str, &str> = std::collections::BTreeMap::new();
/// New session (Lierda access protocol, table 2.2).
const NEW_SESSION: i64 = 3;
/// Passthrough uplink (Lierda access protocol, table 2.2).
const UPLINK: i64 = 4;
