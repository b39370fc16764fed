//! Firmware upgrades, up to the point where the image would be offered to the host: there is no update engine yet, so a
//! plan is checked, drawn, stored and shown, and nothing is loaded, installed or reported as done or failed.

use polylink_plugin_sdk::Now;
use polylink_plugin_sdk::session::Level;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::connection::Phase;
use super::{DeliSession, clock, storage};
use crate::config::OtaSettings;
use crate::message::{Envelope, said};
use crate::ota::{Firmware, FirmwareError, Plan, wants_query};
use crate::requests::{self, Request};

/// What is known of a coming upgrade.
#[derive(Debug, Default)]
pub struct Upgrade {
    /// The plan, if there is one.
    pub plan: Option<Plan>,
}

impl Upgrade {
    /// A forced upgrade makes the device "not usable" until it is done. As long as nothing can do it, that is obeyed
    /// only where the settings say so.
    pub fn holds_messages(&self, settings: &OtaSettings) -> bool {
        settings.force_holds_reports && self.plan.as_ref().is_some_and(|plan| plan.forced)
    }
}

impl DeliSession {
    /// The firmware version that runs; empty: not known.
    pub(super) fn version(&self) -> &str {
        let facts = [self.facts.mcu_software.as_str(), self.facts.module_software.as_str()];
        let known = facts.into_iter().find(|version| !version.is_empty()).unwrap_or_default();
        self.settings.product_version.as_deref().unwrap_or(known)
    }

    pub(super) fn take_upgrade_notice(&mut self, envelope: &Envelope) {
        #[derive(Deserialize)]
        struct Members<'a> {
            #[serde(borrow, default)]
            version: Option<&'a RawValue>,
        }
        let version = envelope.data_as::<Members<'_>>().and_then(|members| said(members.version));
        match version {
            Some(version) => self.consider_version(Some(&version)),
            None => self.drop_input("upgrade notice 202 without a version"),
        }
    }

    /// Asks for the firmware if the version differs from what runs and from what is planned already.
    pub(super) fn consider_version(&mut self, offered: Option<&str>) {
        if wants_query(self.version(), offered, self.settings.ota.only_newer) && matches!(self.phase, Phase::Online(_))
        {
            self.ask(Request::new(requests::FIRMWARE_QUERY, None));
        }
    }

    pub(super) fn take_firmware(&mut self, now: Now, firmware: Result<Firmware, FirmwareError>) {
        match firmware {
            Ok(firmware) if !wants_query(self.version(), Some(&firmware.version), self.settings.ota.only_newer) => {
                self.forget_reached_plan();
            }
            Ok(firmware) => {
                let random = &mut self.random;
                let draw = |most: u32| u32::try_from(random.below(u64::from(most) + 1)).unwrap_or(most);
                let mut plan = Plan::of(firmware, self.upgrade.plan.as_ref(), &self.settings.ota, draw);
                plan.schedule(clock::unix_s(&self.clock, now), now.utc_offset_s, &self.settings.ota);
                if self.upgrade.plan.as_ref() != Some(&plan) {
                    self.info(format!("update {} available, waiting for the update engine", plan.version));
                    self.store_plan(plan);
                }
            }
            Err(error) => {
                self.log(Level::Error, format!("the firmware that the platform offers is not taken: {error}"));
                self.alarm(now, UPGRADE_FAILED, &error.to_string());
            }
        }
    }

    /// Gives a plan its start once the clock is set.
    pub(super) fn schedule_upgrade(&mut self, now: Now) {
        let unix_s = clock::unix_s(&self.clock, now);
        let Some(mut plan) = self.upgrade.plan.clone() else { return };
        if plan.schedule(unix_s, now.utc_offset_s, &self.settings.ota) {
            self.store_plan(plan);
        }
    }

    /// A plan whose version runs by now is done.
    pub(super) fn forget_reached_plan(&mut self) {
        let version = self.version().trim().to_owned();
        if self.upgrade.plan.as_ref().is_some_and(|plan| plan.version == version) {
            self.upgrade.plan = None;
            self.remove(storage::OTA);
        }
    }

    fn store_plan(&mut self, plan: Plan) {
        let stored = serde_json::to_vec(&plan).expect("texts and numbers always become JSON");
        self.put(storage::OTA, stored);
        self.upgrade.plan = Some(plan);
    }

    fn alarm(&mut self, now: Now, code: i64, message: &str) {
        if self.settings.supports(requests::ALARM) && !self.bond.unbinding {
            self.requests.alarm(now.monotonic, code, message);
        }
    }
}

/// "Device alarm: upgrade failed" (Deli access document, error codes).
const UPGRADE_FAILED: i64 = 200;
