//! Firmware versions told to the platform (Lierda access protocol 5.1, 5.2).

use polylink_plugin_sdk::services::module::Facts;
use polylink_plugin_sdk::session::Level;
use polylink_plugin_sdk::{Now, Timestamp};
use serde::Serialize;
use serde_json::value::RawValue;

use super::connection::Phase;
use super::{LierdaSession, Timer};
use crate::config::Content;
use crate::frame::{self, Frame, MessageId, raw};
use crate::ota::MAIN_MODULE;

/// Versions that the platform has not acknowledged.
#[derive(Debug, Default)]
pub struct Firmware {
    telling: Vec<Telling>,
}

#[derive(Debug)]
struct Telling {
    id: MessageId,
    module: String,
    sent: u32,
    due: Timestamp,
    /// Not to be repeated.
    is_last: bool,
    /// Updates of whose end the platform hears by this.
    ends: Vec<String>,
}

impl Firmware {
    /// When a report is repeated.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.telling.iter().map(|telling| telling.due).min()
    }

    /// The platform has ordered other firmware for this module: it would take what runs now for the outcome.
    pub fn stop_repeating(&mut self, module: &str) {
        self.telling.iter_mut().filter(|telling| telling.module == module).for_each(|telling| telling.is_last = true);
    }

    /// Everything is told again on the next connection.
    pub fn disconnected(&mut self) {
        self.telling.clear();
    }
}

impl LierdaSession {
    /// Tells the versions of all modules, now and again after a day.
    pub(super) fn tell_firmware(&mut self, now: Now) {
        self.timers.set(Timer::Firmware, now.monotonic.after(EVERY_MS));
        for module in self.settings.modules.keys().cloned().collect::<Vec<_>>() {
            self.tell_module(now, module, None);
        }
    }

    /// The platform asks for the versions; the answers carry its name.
    pub(super) fn answer_firmware_query(&mut self, now: Now, frame: &Frame) {
        for module in self.settings.modules.keys().cloned().collect::<Vec<_>>() {
            self.tell_module(now, module, Some(frame.answer_id()));
        }
    }

    /// Tells the version of this module; `id`: that of the platform's question.
    pub(super) fn tell_module(&mut self, now: Now, module: String, id: Option<MessageId>) {
        if !matches!(self.phase, Phase::Online { .. }) || self.version_payload(&module).is_none() {
            return;
        }
        let running = self.running(&module).unwrap_or_default().to_owned();
        let Some(ends) = self.upgrades.ends_to_tell(&module, &running, id.is_some()) else { return };
        let id = id.unwrap_or_else(|| self.new_message_id());
        // What was told of this module before is not worth an answer any more.
        self.firmware.telling.retain(|telling| telling.module != module);
        let due = self.firmware_due(now);
        self.send_version(&id, &module);
        self.firmware.telling.push(Telling { id, module, sent: 1, due, is_last: false, ends });
    }

    fn firmware_due(&mut self, now: Now) -> Timestamp {
        now.monotonic.after(ACK_TIMEOUT_MS + self.random.below(ACK_SPREAD_MS))
    }

    fn send_version(&mut self, id: &MessageId, module: &str) {
        if let Some(payload) = self.version_payload(module) {
            self.send(self.topics.firmware_report(), id, FIRMWARE, &payload, Content::Management);
        }
    }

    /// The version of this module that runs; empty: not known. `None`: there is no such module.
    pub(super) fn running(&self, module: &str) -> Option<&str> {
        Some(self.settings.modules.get(module)?.versions(&self.facts).1)
    }

    /// `None`: the version is not known.
    fn version_payload(&self, module: &str) -> Option<Box<RawValue>> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Payload<'a> {
            hard_ver: &'a str,
            soft_ver: &'a str,
            r#type: u8,
            #[serde(skip_serializing_if = "Option::is_none")]
            module: Option<&'a str>,
        }
        let (hard_ver, soft_ver) = self.settings.modules.get(module)?.versions(&self.facts);
        // The main module has no name on the wire (Lierda access protocol 5.1).
        let module = (module != MAIN_MODULE).then_some(module);
        (!soft_ver.is_empty()).then(|| raw(&Payload { hard_ver, soft_ver, r#type: OVER_HTTP, module }))
    }

    /// Repeats what was not acknowledged in time.
    pub(super) fn repeat_firmware(&mut self, now: Now) {
        if !matches!(self.phase, Phase::Online { .. }) {
            return;
        }
        let is_late = |telling: &Telling| telling.due <= now.monotonic;
        let late: Vec<Telling> = self.firmware.telling.extract_if(.., |telling| is_late(telling)).collect();
        for mut telling in late {
            if telling.is_last {
                continue;
            }
            if telling.sent > RESENDS {
                self.log(Level::Debug, "the platform does not acknowledge a firmware report".to_owned());
                self.told.counters.firmware_unanswered += 1;
                continue;
            }
            telling.sent += 1;
            telling.due = self.firmware_due(now);
            self.send_version(&telling.id, &telling.module);
            self.firmware.telling.push(telling);
        }
    }

    pub(super) fn take_firmware_ack(&mut self, now: Now, frame: &Frame) {
        let id = frame.id.as_ref().map(MessageId::as_str).unwrap_or_default();
        let Some(at) = self.firmware.telling.iter().position(|telling| telling.id.as_str() == id) else {
            self.told.counters.unmatched += 1;
            return;
        };
        let telling = self.firmware.telling.remove(at);
        if !self.clear(now, frame).is_ok_and(|payload| frame::code_ok(&payload, frame::DONE)) {
            self.warn(format!("the platform refused the firmware report of module `{}`", telling.module));
        }
        for id in telling.ends {
            self.acknowledge_update(&id);
        }
    }

    /// Facts of the module changed: versions that differ are told at once.
    pub(super) fn notice_versions(&mut self, now: Now, before: &Facts) {
        let changed: Vec<String> = {
            let differs = |of: &crate::config::VersionOf| of.versions(before) != of.versions(&self.facts);
            self.settings.modules.iter().filter(|(_, of)| differs(of)).map(|(name, _)| name.clone()).collect()
        };
        for module in changed {
            self.tell_module(now, module, None);
        }
        self.forget_reached_order();
        self.withdraw_what_runs();
        self.settle_updates(now);
    }
}

/// Codes of table 2.2 of the Lierda access protocol.
const FIRMWARE: i64 = 8;
/// The only way of transport (Lierda access protocol 5.1).
const OVER_HTTP: u8 = 2;
/// Not documented; chosen by us.
const EVERY_MS: u64 = 86_400_000;
/// Not documented; chosen by us.
const ACK_TIMEOUT_MS: u64 = 10_000;
/// Repeats are spread, or all devices would repeat at once after a fault of the platform (not documented; chosen by us).
const ACK_SPREAD_MS: u64 = 5_000;
/// Once at least, two or three times recommended (Lierda access protocol 5.1).
const RESENDS: u32 = 3;
