//! Firmware: versions told to the platform, and its orders (Lierda access protocol 5). There is no update engine in the
//! host yet, so an order is checked, stored and shown, and nothing is loaded or installed: the platform goes on to hear
//! the version that really runs.

use polylink_plugin_sdk::services::module::Facts;
use polylink_plugin_sdk::session::Level;
use polylink_plugin_sdk::{Now, Timestamp};
use serde::Serialize;
use serde_json::value::RawValue;

use super::connection::Phase;
use super::{LierdaSession, Timer, storage};
use crate::config::Content;
use crate::frame::{self, Frame, MessageId, raw};
use crate::ota::{self, MAIN_MODULE, Order, Pending};

/// Versions that the platform has not acknowledged, and what it wants.
#[derive(Debug, Default)]
pub struct Firmware {
    telling: Vec<Telling>,
    /// An order that is not carried out yet.
    pub pending: Option<Pending>,
}

#[derive(Debug)]
struct Telling {
    id: MessageId,
    module: String,
    sent: u32,
    due: Timestamp,
}

impl Firmware {
    /// When a report is repeated.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.telling.iter().map(|telling| telling.due).min()
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

    fn tell_module(&mut self, now: Now, module: String, id: Option<MessageId>) {
        if !matches!(self.phase, Phase::Online { .. }) || self.version_payload(&module).is_none() {
            return;
        }
        let id = id.unwrap_or_else(|| self.new_message_id());
        // What was told of this module before is not worth an answer any more.
        self.firmware.telling.retain(|telling| telling.module != module);
        let due = self.firmware_due(now);
        self.send_version(&id, &module);
        self.firmware.telling.push(Telling { id, module, sent: 1, due });
    }

    fn firmware_due(&mut self, now: Now) -> Timestamp {
        now.monotonic.after(ACK_TIMEOUT_MS + self.random.below(ACK_SPREAD_MS))
    }

    fn send_version(&mut self, id: &MessageId, module: &str) {
        if let Some(payload) = self.version_payload(module) {
            self.send(self.topics.firmware_report(), id, FIRMWARE, &payload, Content::Management);
        }
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
    }

    /// An order (9). It is acknowledged first, also if it is not carried out (Lierda access protocol 5.3.1).
    pub(super) fn take_order(&mut self, now: Now, frame: &Frame) {
        let payload = match self.clear(now, frame) {
            Ok(payload) => payload,
            Err(why) => return self.drop_input(&why),
        };
        let Some(down_id) = ota::down_id(&payload) else { return self.drop_input("a firmware order without a DownID") };
        let answer = frame::ota_ack(&down_id);
        self.send(self.topics.ota_notify_ack(), &frame.answer_id(), ORDER, &answer, Content::Management);
        let order = Order::parse(&payload, &self.settings.ota).map_err(|error| error.to_string());
        let order = order.and_then(|order| match self.settings.modules.get(&order.module) {
            Some(of) => Ok((of.versions(&self.facts).1.to_owned(), order)),
            None => Err(format!("the device has no module `{}`", order.module)),
        });
        match order {
            Err(why) => {
                self.warn(format!("a firmware order is not taken: {why}"));
                self.told.counters.orders_refused += 1;
                // There is no refusal: the platform learns it by the version that goes on to run.
                self.tell_firmware(now);
            }
            Ok((installed, order)) if !ota::wanted(&installed, &order) => {
                self.info(format!("the firmware {} that the platform orders runs already", order.version));
                self.drop_order_for(&order.module);
            }
            Ok((_, order)) => self.keep_order(order),
        }
    }

    fn keep_order(&mut self, order: Order) {
        if self.firmware.pending.as_ref().is_some_and(|pending| pending.order.down_id == order.down_id) {
            return;
        }
        self.info(format!(
            "update {} for module `{}` ordered, waiting for the update engine",
            order.version, order.module
        ));
        let pending = Pending { order, handed_over: false };
        self.put(storage::ORDER, &pending);
        self.firmware.pending = Some(pending);
        self.shows = true;
    }

    fn drop_order_for(&mut self, module: &str) {
        if self.firmware.pending.as_ref().is_some_and(|pending| pending.order.module == module) {
            self.firmware.pending = None;
            self.shows = true;
            self.remove(storage::ORDER);
        }
    }

    /// An order whose version runs by now is done.
    pub(super) fn forget_reached_order(&mut self) {
        let Some(order) = self.firmware.pending.as_ref().map(|pending| pending.order.clone()) else { return };
        let runs = self.settings.modules.get(&order.module).map(|of| of.versions(&self.facts).1 == order.version);
        if runs == Some(true) {
            self.info(format!("update {} of module `{}` runs", order.version, order.module));
            self.drop_order_for(&order.module);
        }
    }
}

/// Codes of table 2.2 of the Lierda access protocol.
const FIRMWARE: i64 = 8;
const ORDER: i64 = 9;
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
