//! Who the device is: its product type, which the MCU may have to tell, and its bond with an owner.

use polylink_plugin_sdk::value::Values;
use polylink_plugin_sdk::{CommandBody, Now};

use super::converter::Purpose;
use super::jobs::ReplyTo;
use super::{JoylinkSession, Timer};
use crate::config::Settings;
use crate::datapoints;
use crate::timers;
use crate::wire::{Authorization, FeedId, biz};

/// What the device was told when it was bound.
#[derive(Debug, Default)]
pub struct Bond {
    /// By an app.
    pub stored: Option<Authorization>,
    /// In the factory; counts until an app binds the device.
    pub configured: Option<Authorization>,
}

impl Bond {
    /// What counts.
    pub const fn bond(&self) -> Option<&Authorization> {
        match &self.stored {
            Some(stored) => Some(stored),
            None => self.configured.as_ref(),
        }
    }
}

impl JoylinkSession {
    pub(super) const fn bond(&self) -> Option<&Authorization> {
        self.bond.bond()
    }

    /// The product type; `None`: not known yet.
    pub(super) fn product_uuid(&self) -> Option<&str> {
        Some(self.settings.product_uuid.as_str()).filter(|uuid| !uuid.is_empty()).or(self.told_product_uuid.as_deref())
    }

    /// Asks the MCU for the product type, if nobody else has told it (JoyLink V1.79, chapter 11).
    pub(super) fn ask_product_uuid(&mut self, now: Now) {
        if self.product_uuid().is_some() {
            return;
        }
        let Some(property) = self.settings.product_uuid_property else { return };
        let body = CommandBody::Get(vec![property]);
        self.submit(now, 0, biz::UNKNOWN, ReplyTo::ProductUuid, body, Values::new());
    }

    pub(super) fn take_product_uuid(&mut self, now: Now, values: &Values) {
        let Some(property) = self.settings.product_uuid_property else { return };
        let value = values.iter().find(|(id, _)| *id == property);
        let uuid = value.and_then(|(_, value)| datapoints::uuid(value));
        match uuid {
            Some(uuid) => self.adopt_product_uuid(now, Some(&uuid)),
            None => {
                self.note = "the MCU tells no product type of six letters and digits".to_owned();
                self.shows = true;
            }
        }
    }

    /// The MCU reports values; the product type may be among them.
    pub(super) fn hear_product_uuid(&mut self, now: Now, device: u32, values: &Values) {
        let property = self.settings.product_uuid_property;
        let is_told = values.iter().any(|(id, _)| Some(*id) == property);
        if device == 0 && is_told && self.product_uuid().is_none() {
            self.take_product_uuid(now, values);
        }
    }

    /// The question was answered, or not: if the answer was of no use, it is asked again.
    pub(super) fn product_uuid_asked(&mut self, now: Now) {
        if self.product_uuid().is_none() {
            self.timers.set(Timer::ProductUuid, now.monotonic.after(ASK_AGAIN_MS));
        }
    }

    /// Keeps a product type that was told, for a device that has none.
    pub(super) fn adopt_product_uuid(&mut self, _now: Now, uuid: Option<&str>) {
        let Some(uuid) = uuid.filter(|uuid| datapoints::uuid_ok(uuid)) else { return };
        if self.product_uuid().is_none() {
            self.told_product_uuid = Some(uuid.to_owned());
            self.store_product_uuid();
            self.note.clear();
            self.info(format!("the product type is {uuid}"));
            self.shows = true;
        }
    }

    /// Another owner: nothing of the one before is kept but the key pair and the product type.
    pub(super) fn bond_changed(&mut self, now: Now, before: Option<FeedId>) {
        self.shows = true;
        if before == self.bond().map(|bond| bond.feedid) {
            return;
        }
        self.forget_former_owner(now, before);
    }

    fn forget_former_owner(&mut self, now: Now, before: Option<FeedId>) {
        self.forget_askers();
        // What was on its way to the disk is gone with the rest; its app hears nothing, and asks again.
        self.storing.clear();
        self.forget_schedules();
        self.results.clear();
        self.recipes.forget_all();
        self.is_cooking = false;
        self.forget_subdevices();
        if let Some(before) = before {
            self.forget_upgrade(before);
            // What was said in the house of the one is not the other's business.
            self.owner_since = self.clock.unix_ms(now);
            let said = self.uploads.clear();
            self.script.forget(|purpose| matches!(purpose, Purpose::Upload | Purpose::Result(_)));
            self.told.counters.reports_of_former_owner += said.iter().filter(|seq| **seq != 0).count() as u64;
            said.into_iter().for_each(|seq| self.settle(seq));
        }
    }

    /// Factory reset: what belongs to the owner is erased, and the product type if it was told.
    pub(super) fn reset(&mut self, now: Now) {
        let before = self.bond().map(|bond| bond.feedid);
        self.bond.stored = None;
        self.told_product_uuid = None;
        self.forget_owner();
        // Also if a bond from the factory counts again, nothing goes on as before.
        self.forget_former_owner(now, before);
        self.shows = true;
        self.info("reset: the owner is forgotten".to_owned());
        self.open_cloud(now);
        self.ask_product_uuid(now);
    }

    pub(super) fn schedule_settings(&self) -> timers::table::Settings {
        schedule_settings(&self.settings, self.bond())
    }
}

/// What the table of schedules needs to know.
pub fn schedule_settings(settings: &Settings, bond: Option<&Authorization>) -> timers::table::Settings {
    timers::table::Settings {
        feedid: bond.map_or(FeedId::EMPTY, |bond| bond.feedid),
        max_tasks: settings.max_tasks,
        utc_offset_s: settings.timezone_offset_s,
        week_index0: settings.week_index0,
    }
}

/// The MCU is asked for the product type again after so long (not documented; chosen by us).
const ASK_AGAIN_MS: u64 = 10_000;
