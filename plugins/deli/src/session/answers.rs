//! What the session asks of the platform (100 to 103), and what follows from the answers to 1xx.

use polylink_plugin_sdk::services::module;
use polylink_plugin_sdk::{Now, Output};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::connection::Phase;
use super::{DeliSession, Timer, clock};
use crate::binding::DeviceRecord;
use crate::commands::FAILED;
use crate::message::{Envelope, integer, raw};
use crate::ota::Firmware;
use crate::reaction::Reaction;
use crate::requests::{self, Request};

/// `code` of a content; what names none is an undefined error.
pub fn code_of(envelope: &Envelope) -> i64 {
    #[derive(Deserialize)]
    struct Members<'a> {
        #[serde(borrow, default)]
        code: Option<&'a RawValue>,
    }
    envelope.data_as::<Members<'_>>().and_then(|members| integer(members.code?)).unwrap_or(FAILED)
}

impl DeliSession {
    pub(super) fn ask_time(&mut self, now: Now) {
        self.ask(Request::new(requests::TIME, None));
        self.timers.set(Timer::Time, now.monotonic.after(TIME_EVERY_MS));
    }

    pub(super) fn ask_info(&mut self) {
        let data = self.info_data();
        self.ask(Request::new(requests::DEVICE_INFO, Some(data)));
    }

    /// Content of action 101.
    pub(super) fn info_data(&self) -> Box<RawValue> {
        #[derive(serde::Serialize)]
        struct Info<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            name: Option<&'a str>,
            /// The one member that is not optional: empty as long as no version is known.
            product_version: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            properties: Option<&'a serde_json::Map<String, serde_json::Value>>,
        }
        let info = Info {
            name: self.bond.adopted_name.as_deref().or(self.settings.device_name.as_deref()),
            product_version: self.version(),
            properties: self.settings.properties.as_ref(),
        };
        raw(&info)
    }

    /// Asks for what the platform knows of the device, and plans the next time.
    pub(super) fn ask_query(&mut self, now: Now) {
        self.ask(Request::new(requests::DEVICE_QUERY, None));
        let delay = QUERY_EVERY_MS - QUERY_SPREAD_MS + self.random.below(2 * QUERY_SPREAD_MS + 1);
        self.timers.set(Timer::Query, now.monotonic.after(delay));
    }

    pub(super) fn take_response(&mut self, now: Now, envelope: &Envelope) {
        let code = code_of(envelope);
        let Some(mid) = &envelope.mid else { return };
        let Some(answered) = self.requests.answered(now.monotonic, mid.as_str(), code) else { return };
        let action = answered.request.action;
        if action == requests::DEVICE_QUERY {
            self.open_business();
        }
        if action == requests::UNBIND {
            self.take_unbind_answer(now, code);
        } else if code != 0 && !answered.again {
            self.told.counters.requests_given_up += 1;
            self.warn(format!("the platform answered action {action} with code {code}, given up"));
        }
        match answered.reaction {
            Reaction::Ok => {
                if action == requests::DEVICE_INFO {
                    self.acknowledge_success(answered.request.data.as_deref());
                }
                self.take_good_answer(now, action, envelope);
            }
            // Unbinding is repeated whatever the code; and a time request that expired must not ask for the time.
            Reaction::ResyncTime if action == requests::TIME => {}
            reaction if action != requests::UNBIND => self.react(now, reaction),
            _ => {}
        }
    }

    /// What an error code means for the session as a whole, whatever it answered.
    pub(super) fn react(&mut self, now: Now, reaction: Reaction) {
        match reaction {
            Reaction::Reconnect => self.signature_refused(now),
            Reaction::ResyncTime => self.ask_time(now),
            Reaction::Stop => {
                self.warn("the platform has blocked the device (code 105), business messages wait an hour".to_owned());
                self.blocked_until = Some(now.monotonic.after(BLOCKED_MS));
                self.timers.set(Timer::Unblock, now.monotonic.after(BLOCKED_MS));
            }
            Reaction::WaitForBind => self.bond.waits_for_notice = true,
            Reaction::Ok | Reaction::Retry | Reaction::GiveUp | Reaction::RetryLater => {}
        }
    }

    pub(super) fn unblock(&mut self, now: Now) {
        self.blocked_until = None;
        if matches!(self.phase, Phase::Online(_)) {
            self.ask_query(now);
        }
    }

    fn take_good_answer(&mut self, now: Now, action: i64, envelope: &Envelope) {
        match action {
            requests::TIME => self.take_time(now, envelope.time),
            requests::DEVICE_QUERY => {
                if let Some(record) = envelope.data.as_deref().and_then(DeviceRecord::parse) {
                    self.take_record(now, record);
                }
            }
            requests::FIRMWARE_QUERY => {
                if let Some(data) = envelope.data.as_deref() {
                    let firmware = Firmware::parse(data, &self.settings.ota);
                    self.take_firmware(now, firmware);
                }
            }
            _ => {}
        }
    }

    fn take_time(&mut self, now: Now, time: Option<i64>) {
        let Some(time) = time else {
            self.drop_input("the answer to action 100 carries no time");
            return;
        };
        if let Some(unix_ms) = clock::correct(&mut self.clock, now, time) {
            self.outputs.push(Output::Module(module::Request::OfferTime(unix_ms)));
        }
        self.offer_held(now);
    }

    fn take_record(&mut self, now: Now, record: DeviceRecord) {
        if record.unlocked != self.bond.unlocked {
            self.info(format!("the platform has {} the device", if record.unlocked { "unlocked" } else { "locked" }));
        }
        self.bond.unlocked = record.unlocked;
        if let Some(name) = record.name {
            self.adopt_name(name);
        }
        self.reconcile(now, &record.organisation);
        if self.bond.is_bound() {
            self.bond.waits_for_notice = false;
        }
        self.consider_version(record.product_version.as_deref());
    }
}

/// The clock is set again after so long (not documented; chosen by us).
const TIME_EVERY_MS: u64 = 24 * 3_600_000;
/// At least daily (Deli access document, 102).
const QUERY_EVERY_MS: u64 = 24 * 3_600_000;
/// One hour more or less, so that devices spread (not documented; chosen by us).
const QUERY_SPREAD_MS: u64 = 3_600_000;
/// Business messages wait so long after code 105 (not documented; chosen by us).
const BLOCKED_MS: u64 = 3_600_000;
