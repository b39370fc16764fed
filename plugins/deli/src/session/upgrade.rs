//! Firmware upgrades. What the platform offers goes on to the host, which loads and installs it at its time and over
//! restarts; what became of it is told in the platform's words: a success by action 101 with the new version, a failure by
//! alarm 105. There are no words for progress, and none by which the platform takes an offer back.

use polylink_plugin_sdk::services::id;
use polylink_plugin_sdk::services::ota::{Failure, Phase as UpdatePhase, Request as OtaRequest, Target, Update};
use polylink_plugin_sdk::session::Level;
use polylink_plugin_sdk::{Context, Now, Output, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::connection::Phase;
use super::{DeliSession, Timer, clock, storage};
use crate::config::{OtaSettings, OtaTarget};
use crate::message::{Envelope, said};
use crate::ota::{Firmware, FirmwareError, Plan, Settled, is_forced, wants_query};
use crate::requests::{self, Request};

/// What is known of upgrades.
#[derive(Debug, Default)]
pub struct Upgrade {
    /// True if the host can load and install firmware.
    can_install: bool,
    /// Those that the host has, without the ones acknowledged since.
    list: Vec<Update>,
    /// Ids of failed ones for which the alarm was raised.
    raised: Vec<String>,
    /// The last one that was over.
    pub settled: Option<Settled>,
    /// When the last one that was offered begins.
    pub plan: Option<Plan>,
    /// From where it is loaded; `None`: that was before a restart.
    address: Option<String>,
    /// One that cannot be offered yet, and for what it waits.
    held: Option<(Firmware, &'static str)>,
    /// Until then an MCU that has not said its version may be starting up.
    mcu_until: Timestamp,
    /// Version that this host cannot install.
    out_of_reach: Option<String>,
}

impl Upgrade {
    /// What the host says at the start.
    pub fn of(context: &Context) -> Self {
        let can_install = context.services.contains(&id::OTA);
        Self { can_install, list: context.updates.clone(), ..Self::default() }
    }

    /// A forced upgrade makes the device "not usable" until it is done (Deli access document, 103).
    pub fn holds_messages(&self, settings: &OtaSettings) -> bool {
        settings.force_holds_reports && self.list.iter().any(|update| is_forced(&update.id) && !update.phase.is_over())
    }

    /// For people; `None` if there is nothing to say.
    pub fn text(&self) -> Option<String> {
        let Some(update) = self.list.last() else {
            let held = self.held.as_ref().map(|(firmware, what)| format!("{}: waiting for {what}", firmware.version));
            let out_of_reach =
                || self.out_of_reach.as_ref().map(|version| format!("{version}: this host installs none"));
            return held.or_else(out_of_reach);
        };
        let Update { version, percent, reason, .. } = update;
        Some(match update.phase {
            UpdatePhase::Waiting => format!("{version}: waiting"),
            UpdatePhase::Downloading => format!("{version}: loading, {percent} %"),
            UpdatePhase::Installing => format!("{version}: being installed"),
            UpdatePhase::Finished => format!("{version}: installed"),
            UpdatePhase::Failed(_) => format!("{version}: failed, {reason}"),
        })
    }

    /// Those that can still be taken back, but for the one with this id.
    fn waiting<'a>(&'a self, but: Option<&'a str>) -> impl Iterator<Item = &'a Update> {
        let is_other = move |update: &&Update| Some(update.id.as_str()) != but;
        self.list.iter().filter(|update| update.phase == UpdatePhase::Waiting).filter(is_other)
    }
}

impl DeliSession {
    /// The firmware version that runs; empty: not known.
    pub(super) fn version(&self) -> &str {
        let known = match self.target() {
            Target::Mcu => &self.facts.mcu_software,
            _ => &self.facts.module_software,
        };
        self.settings.product_version.as_deref().unwrap_or(known)
    }

    /// Whose firmware the platform offers. It knows one version of the device only.
    fn target(&self) -> Target {
        match self.settings.ota.target {
            Some(OtaTarget::Module) => Target::Module,
            Some(OtaTarget::Mcu) => Target::Mcu,
            None if self.facts.mcu_software.is_empty() => Target::Module,
            None => Target::Mcu,
        }
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

    /// Asks for the firmware if the version differs from what runs.
    pub(super) fn consider_version(&mut self, offered: Option<&str>) {
        if wants_query(self.version(), offered, self.settings.ota.only_newer) && matches!(self.phase, Phase::Online(_))
        {
            self.ask(Request::new(requests::FIRMWARE_QUERY, None));
        }
    }

    pub(super) fn take_firmware(&mut self, now: Now, firmware: Result<Firmware, FirmwareError>) {
        match firmware {
            Ok(firmware) if wants_query(self.version(), Some(&firmware.version), self.settings.ota.only_newer) => {
                self.offer(now, firmware);
            }
            Ok(_) => {
                self.upgrade.held = None;
                self.upgrade.out_of_reach = None;
                self.withdraw(None);
            }
            Err(error) => {
                self.log(Level::Error, format!("the firmware that the platform offers is not taken: {error}"));
                // The same code is not raised again within minutes, and this offer will come again.
                let _ = self.alarm(now, &error.to_string());
            }
        }
    }

    /// Passes a firmware on to the host, in place of others that did not begin.
    fn offer(&mut self, now: Now, firmware: Firmware) {
        if !self.upgrade.can_install {
            if self.upgrade.out_of_reach.as_ref() != Some(&firmware.version) {
                self.info(format!("update {} is available, but this host installs none", firmware.version));
            }
            self.upgrade.out_of_reach = Some(firmware.version);
            return;
        }
        let id = firmware.id();
        self.withdraw(Some(&id));
        self.upgrade.held = None;
        let unix_s = clock::unix_s(&self.clock, now);
        self.date_settled(unix_s);
        let is_settled = self.upgrade.settled.as_ref().is_some_and(|settled| settled.holds(&id, unix_s));
        let known = self.upgrade.list.iter().find(|update| update.id == id).map(|update| update.phase);
        let is_to_load = known.is_none_or(|phase| matches!(phase, UpdatePhase::Waiting | UpdatePhase::Downloading));
        if is_settled || !is_to_load {
            return;
        }
        if known.is_some() {
            return self.offer_again(firmware);
        }
        if self.settings.ota.target.is_none()
            && self.facts.mcu_software.is_empty()
            && now.monotonic < self.upgrade.mcu_until
        {
            // It may be the MCU's, which the module must not take for its own.
            self.upgrade.held = Some((firmware, "the MCU"));
            return self.timers.set(Timer::Mcu, self.upgrade.mcu_until);
        }
        if self.upgrade.settled.take().is_some() {
            self.remove(storage::OTA);
        }
        // What was withdrawn and comes again has its moment already.
        let plan = self.upgrade.plan.as_ref().filter(|plan| plan.id == id).map(|plan| plan.not_before_ms);
        let plan = plan.filter(|not_before_ms| unix_s.is_some_and(|unix_s| not_before_ms.div_euclid(1000) >= unix_s));
        let random = &mut self.random;
        let draw = |most: u32| u32::try_from(random.below(u64::from(most) + 1)).unwrap_or(most);
        let start = plan.or_else(|| firmware.start(unix_s, now.utc_offset_s, &self.settings.ota, draw));
        let Some(not_before_ms) = start else {
            self.upgrade.held = Some((firmware, "the clock"));
            return;
        };
        if plan.is_none() {
            let plan = Plan { id, not_before_ms };
            self.put(storage::OTA_PLAN, serde_json::to_vec(&plan).expect("texts and numbers always become JSON"));
            self.upgrade.plan = Some(plan);
        }
        self.pass_on(firmware, not_before_ms);
    }

    /// The host has this one, but perhaps not the address: addresses may be valid for a while only.
    fn offer_again(&mut self, firmware: Firmware) {
        let id = firmware.id();
        let plan = self.upgrade.plan.as_ref().filter(|plan| plan.id == id);
        // Without the plan it would be another offer, which the host does not take under this id.
        if let Some(not_before_ms) = plan.map(|plan| plan.not_before_ms)
            && self.upgrade.address.as_ref() != Some(&firmware.url)
        {
            self.pass_on(firmware, not_before_ms);
        }
    }

    fn pass_on(&mut self, firmware: Firmware, not_before_ms: i64) {
        self.upgrade.address = Some(firmware.url.clone());
        let offer = firmware.offer(self.target(), not_before_ms, &self.settings.ota);
        self.outputs.push(Output::Ota(OtaRequest::Offer(Box::new(offer))));
    }

    /// The clock is set, or the MCU had its time: what waited for that can be offered, if it is still wanted.
    pub(super) fn offer_held(&mut self, now: Now) {
        if let Some((firmware, _)) = self.upgrade.held.take() {
            self.take_firmware(now, Ok(firmware));
        }
    }

    /// The MCU may take a while until it says what it runs.
    pub(super) fn wait_for_mcu(&mut self, now: Now) {
        self.upgrade.mcu_until = now.monotonic.after(MCU_MS);
    }

    /// Takes back what did not begin, but for the update with this id.
    fn withdraw(&mut self, but: Option<&str>) {
        let withdrawn = self.upgrade.waiting(but).map(|update| Output::Ota(OtaRequest::Cancel(update.id.clone())));
        self.outputs.extend(withdrawn);
    }

    /// What runs changed, or is known for the first time: an update that brings nothing else is not needed.
    pub(super) fn withdraw_what_runs(&mut self) {
        let version = self.version().trim();
        let needless = self.upgrade.waiting(None).filter(|update| update.version == version);
        let needless: Vec<Output> = needless.map(|update| Output::Ota(OtaRequest::Cancel(update.id.clone()))).collect();
        self.outputs.extend(needless);
    }

    pub(super) fn take_updates(&mut self, now: Now, list: Vec<Update>) {
        let is_finished = |update: &Update| update.phase == UpdatePhase::Finished;
        let has_news =
            list.iter().filter(|update| is_finished(update)).any(|update| !self.upgrade.list.contains(update));
        self.upgrade.list = list;
        if has_news && matches!(self.phase, Phase::Online(_)) {
            self.ask_info();
        }
        self.settle_updates(now);
    }

    /// Notes updates that are over, and raises the alarm for those that failed.
    pub(super) fn settle_updates(&mut self, now: Now) {
        if matches!(self.phase, Phase::Idle) {
            return;
        }
        let over: Vec<Update> = self.upgrade.list.iter().filter(|update| update.phase.is_over()).cloned().collect();
        for update in over {
            let UpdatePhase::Failed(failure) = update.phase else {
                // The success is told by 101, and acknowledged by its answer.
                if self.settings.supports(requests::DEVICE_INFO) {
                    self.note_settled(now, update.id);
                } else {
                    self.acknowledge(&update.id);
                }
                continue;
            };
            if failure == Failure::Cancelled {
                self.acknowledge(&update.id);
                continue;
            }
            if self.upgrade.raised.contains(&update.id) || self.bond.unbinding {
                continue;
            }
            self.note_settled(now, update.id.clone());
            if let Some(later) = self.alarm(now, &said_of(&update, failure)) {
                self.timers.set(Timer::Alarm, later);
            } else {
                self.warn(format!("update {} failed: {}", update.version, update.reason));
                self.upgrade.raised.push(update.id);
            }
        }
    }

    /// Acknowledges failures whose alarm was answered, or was said often enough.
    pub(super) fn acknowledge_failures(&mut self) {
        if !self.upgrade.raised.is_empty() && !self.requests.is_asking(requests::ALARM) {
            for id in std::mem::take(&mut self.upgrade.raised) {
                self.acknowledge(&id);
            }
        }
    }

    /// The platform has taken action 101 with this content.
    pub(super) fn acknowledge_success(&mut self, told: Option<&RawValue>) {
        if told.map(RawValue::get) != Some(self.info_data().get()) {
            return;
        }
        let finished = self.upgrade.list.iter().filter(|update| update.phase == UpdatePhase::Finished);
        let finished: Vec<String> = finished.map(|update| update.id.clone()).collect();
        for id in finished {
            self.acknowledge(&id);
        }
    }

    fn acknowledge(&mut self, id: &str) {
        self.upgrade.list.retain(|update| update.id != id);
        self.outputs.push(Output::Ota(OtaRequest::Acknowledge(id.to_owned())));
    }

    /// A device whose version does not become the one that was promised must not install the same firmware for ever.
    fn note_settled(&mut self, now: Now, id: String) {
        if self.upgrade.settled.as_ref().is_none_or(|settled| settled.id != id) {
            self.store_settled(Settled { id, at: clock::unix_s(&self.clock, now) });
        }
    }

    /// A device without a clock of its own notes an update before it knows the time.
    fn date_settled(&mut self, unix_s: Option<i64>) {
        if let Some(settled) = self.upgrade.settled.take_if(|settled| settled.at.is_none() && unix_s.is_some()) {
            self.store_settled(Settled { at: unix_s, ..settled });
        }
    }

    fn store_settled(&mut self, settled: Settled) {
        let stored = serde_json::to_vec(&settled).expect("texts and numbers always become JSON");
        self.put(storage::OTA, stored);
        self.upgrade.settled = Some(settled);
    }

    /// Raises the alarm "upgrade failed"; if that is too early, returns when it may be.
    fn alarm(&mut self, now: Now, message: &str) -> Option<Timestamp> {
        if !self.settings.supports(requests::ALARM) || self.bond.unbinding {
            return None;
        }
        self.requests.alarm(now.monotonic, UPGRADE_FAILED, message)
    }
}

/// Why it failed, for the platform's people.
fn said_of(update: &Update, failure: Failure) -> String {
    let kind = failure.text();
    let Update { version, reason, .. } = update;
    let message = if reason.is_empty() { format!("{version}: {kind}") } else { format!("{version}: {kind}: {reason}") };
    message.chars().take(LONGEST_REASON).collect()
}

/// "Device alarm: upgrade failed" (Deli access document, error codes).
const UPGRADE_FAILED: i64 = 200;
/// Longest reason told to the platform in characters (not documented; chosen by us).
const LONGEST_REASON: usize = 256;
/// So long after the start firmware waits for an MCU to say its version (not documented; chosen by us: an MCU starts within
/// seconds, and nobody waits for firmware).
const MCU_MS: u64 = 60_000;
