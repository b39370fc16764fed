//! Firmware (7, 8): what the cloud orders goes on to the host, which loads and installs it and keeps it over restarts; what
//! becomes of it is told to the cloud. Orders are judged and statuses kept in [`crate::ota`].
//!
//! Invariant: an update that is over is acknowledged to the host as soon as the cloud has nothing to hear of it any more.

use polylink_plugin_sdk::services::ota::{Digest, Event, Failure, Offer, Phase, Request, Target as Whose, Update};
use polylink_plugin_sdk::services::{id, module};
use polylink_plugin_sdk::{Context, Now, Output, Timestamp};

use super::{JoylinkSession, Timer};
use crate::config::OtaTarget;
use crate::ota::{Build, Device, Image, Resumed, Stage, Taken, Target, is_regular_name};
use crate::packet::Kind;
use crate::wire::{Answer, Code, FeedId, OtaAnswer, OtaOrder};

/// What the host has of updates.
pub struct Updates {
    /// True if it can load and install firmware.
    can_install: bool,
    /// True if the MCU tells which firmware it runs.
    mcu_tells_version: bool,
    /// Until then an MCU that tells no version may be starting up.
    mcu_until: Timestamp,
    /// Those that it has, without the ones acknowledged since.
    list: Vec<Update>,
    /// Taken, and not offered before the cloud was answered: "at once, then download" (JoyLink V1.79, OTA). Nor before it is
    /// clear whose it is.
    taken: Option<Box<Offer>>,
}

impl Updates {
    /// What the host says at the start.
    pub fn of(context: &Context) -> Self {
        Self {
            can_install: context.services.contains(&id::OTA),
            mcu_tells_version: !context.facts.mcu_software.is_empty(),
            mcu_until: Timestamp(0),
            list: context.updates.clone(),
            taken: None,
        }
    }

    /// An MCU that is away for a moment still has the firmware that it told.
    pub fn facts_changed(&mut self, facts: &module::Facts) {
        self.mcu_tells_version |= !facts.mcu_software.is_empty();
    }

    fn find(&self, build: &Build) -> Option<&Update> {
        let id = build.id();
        self.list.iter().find(|update| update.id == id)
    }

    /// Takes out those that are over and like this, each with the word to the host that it is done with.
    fn take_over(&mut self, is_it: impl Fn(&Update) -> bool) -> Vec<Output> {
        let over = self.list.extract_if(.., |update| update.phase.is_over() && is_it(update));
        over.map(|update| Output::Ota(Request::Acknowledge(update.id))).collect()
    }
}

impl JoylinkSession {
    /// Number of the firmware that runs.
    pub(super) fn firmware_number(&self) -> u16 {
        self.installed.unwrap_or(0).max(self.settings.firmware_number)
    }

    /// For people: what is under way.
    pub(super) fn upgrade_standing(&self) -> Option<String> {
        let (build, stage, percent) = self.upgrades.standing()?;
        let version = build.version;
        Some(match (stage, self.updates.find(&build)) {
            (_, Some(Update { phase: Phase::Waiting, .. })) => format!("{version}: waiting"),
            (Stage::Downloading, _) => format!("{version}: loading, {percent} %"),
            (Stage::Installing, _) => format!("{version}: being installed"),
        })
    }

    /// An order to load firmware (7). One that cannot be read is answered where it has a number.
    pub(super) fn take_order(&mut self, now: Now, body: &[u8]) {
        match OtaOrder::decode(body) {
            Ok(order) => self.take_firmware_order(now, &order),
            Err(why) => {
                self.drop_input(&format!("a firmware order: {why}"));
                if let Some(serial) = OtaOrder::serial_of(body) {
                    self.tell_cloud(now, Kind::OtaOrder, &OtaAnswer::of(Code::UPGRADE_FAILED, serial).encode());
                }
            }
        }
    }

    fn take_firmware_order(&mut self, now: Now, order: &OtaOrder) {
        let productuuid = self.product_uuid().unwrap_or_default().to_owned();
        let Some(feedid) = self.bond().map(|bond| bond.feedid) else { return };
        let own =
            Device { target: Target::Own(feedid), productuuid: &productuuid, version: Some(self.firmware_number()) };
        let subs = self.gateway.records().map(|record| Device {
            target: Target::Sub(record.feedid()),
            productuuid: record.productuuid(),
            version: record.version(),
        });
        let (answer, taken) = self.upgrades.take_order(now.monotonic, order, std::iter::once(own).chain(subs));
        self.tell_cloud(now, Kind::OtaOrder, &answer.encode());
        match taken {
            Some(Taken::New(image)) => {
                let note = if is_regular_name(&image.versionname) { "" } else { ", an unusual name" };
                let text = format!("firmware {} ({}{note}) was ordered", image.version, image.versionname);
                match self.whose(image.target) {
                    Ok(whose) => {
                        self.info(text);
                        self.updates.taken = Some(Box::new(offer_of(image, whose)));
                    }
                    Err(why) => {
                        self.warn(format!("{text} and is refused: {why}"));
                        self.upgrades.failed(now.monotonic, why);
                    }
                }
            }
            Some(Taken::Again(image)) => {
                let whose = self.whose(image.target).ok();
                self.updates.taken = whose.map(|whose| Box::new(offer_of(image, whose)));
            }
            None => {
                let version = order.firmware.version;
                self.info(format!("an order for firmware {version} was refused: {}", answer.code.text()));
            }
        }
        self.shows = true;
    }

    /// What the host calls the device to be upgraded, or why there will be no upgrade.
    fn whose(&self, target: Target) -> Result<Whose, &'static str> {
        if !self.updates.can_install {
            return Err(NO_ENGINE);
        }
        match target {
            Target::Sub(feedid) => {
                let device = self.gateway.by_feedid(feedid.as_str()).and_then(|record| record.device());
                device.map(Whose::Subdevice).ok_or(Code::SUB_DEVICE_OFFLINE.text())
            }
            Target::Own(_) => Ok(self.own()),
        }
    }

    /// Whose the firmware of the device itself is.
    fn own(&self) -> Whose {
        match self.settings.ota_target {
            OtaTarget::Mcu => Whose::Mcu,
            OtaTarget::Auto if self.updates.mcu_tells_version => Whose::Mcu,
            OtaTarget::Auto | OtaTarget::Module => Whose::Module,
        }
    }

    /// An MCU may take a while until it says what it runs.
    pub(super) fn wait_for_mcu(&mut self, now: Now) {
        self.updates.mcu_until = now.monotonic.after(MCU_MS);
    }

    /// The cloud was answered: the host may begin.
    pub(super) fn offer_firmware(&mut self, now: Now) {
        let until = self.updates.mcu_until;
        let is_unclear =
            self.settings.ota_target == OtaTarget::Auto && !self.updates.mcu_tells_version && now.monotonic < until;
        let Some(mut offer) = self.updates.taken.take() else { return };
        if !matches!(offer.target, Whose::Subdevice(_)) {
            if is_unclear {
                // It may be the MCU's, which the module must not take for its own.
                self.updates.taken = Some(offer);
                return self.timers.set(Timer::Mcu, until);
            }
            offer.target = self.own();
        }
        // An offer changes nothing while the host still has the one that ended.
        let former = self.updates.take_over(|update| update.id == offer.id);
        self.outputs.extend(former);
        self.outputs.push(Output::Ota(Request::Offer(offer)));
        self.timers.set(Timer::Offer, now.monotonic.after(OFFER_MS));
    }

    /// A host that takes no offer says so to nobody but the operator.
    pub(super) fn offer_was_lost(&mut self, now: Now) {
        if self.upgrades.current().is_some_and(|build| self.updates.find(&build).is_none()) {
            self.upgrades.failed(now.monotonic, NOT_TAKEN);
            self.shows = true;
        }
    }

    pub(super) fn take_updates(&mut self, now: Now, event: Event) {
        let Event::Changed(list) = event;
        self.updates.list = list;
        self.follow_updates(now);
    }

    /// After a restart: what became of the upgrade that was under way.
    pub(super) fn resume_upgrade(&mut self, now: Now) {
        if let Some(build) = self.upgrades.current() {
            let is_known = self.updates.find(&build).is_some();
            let engine = if is_known { Resumed::Continues } else { Resumed::Idle };
            let running = self.bound(build.feedid).and_then(|(_, running)| running);
            self.upgrades.resumed(now.monotonic, running, engine);
        } else {
            // One that is over may have been told; of one that goes on the cloud waits to hear.
            let goes_on = self.updates.list.iter().filter(|update| !update.phase.is_over());
            let mut builds = goes_on.filter_map(|update| Build::of_id(&update.id));
            let found = builds.find_map(|build| Some((build, self.bound(build.feedid)?)));
            if let Some((build, (productuuid, running))) = found {
                self.upgrades.adopt(now.monotonic, build, productuuid, running);
            }
        }
        self.follow_updates(now);
    }

    /// Product type of the device or of a subdevice that is bound, and number of the firmware that it runs.
    fn bound(&self, feedid: FeedId) -> Option<(String, Option<u16>)> {
        if self.bond().is_some_and(|bond| bond.feedid == feedid) {
            return Some((self.product_uuid().unwrap_or_default().to_owned(), Some(self.firmware_number())));
        }
        let record = self.gateway.by_feedid(feedid.as_str())?;
        Some((record.productuuid().to_owned(), record.version()))
    }

    fn follow_updates(&mut self, now: Now) {
        self.note_installed();
        let Some(build) = self.upgrades.current() else { return };
        let time = now.monotonic;
        let version = build.version;
        match self.updates.find(&build).map(|update| (update.phase, update.percent, update.reason.clone())) {
            None if self.updates.taken.is_some() => {}
            None => {
                self.warn(format!("firmware {version} is not installed: {NOT_TAKEN}"));
                self.upgrades.failed(time, NOT_TAKEN);
            }
            Some((Phase::Waiting, ..)) => drop(self.upgrades.progress(time, Stage::Downloading, 0)),
            Some((Phase::Downloading, percent, _)) => drop(self.upgrades.progress(time, Stage::Downloading, percent)),
            Some((Phase::Installing, percent, _)) => drop(self.upgrades.progress(time, Stage::Installing, percent)),
            Some((Phase::Finished, ..)) => {
                self.info(format!("firmware {version} is installed"));
                self.upgrades.finished(time);
            }
            Some((Phase::Failed(failure), _, reason)) => {
                let why = said_of(failure, &reason);
                self.warn(format!("firmware {version} is not installed: {why}"));
                self.upgrades.failed(time, &why);
            }
        }
        self.shows = true;
    }

    /// What runs now, whoever ordered it: an owner who is gone meanwhile does not take the firmware along.
    fn note_installed(&mut self) {
        let is_own = |update: &&Update| !matches!(update.target, Whose::Subdevice(_));
        let finished = self.updates.list.iter().filter(is_own).filter(|update| update.phase == Phase::Finished);
        let newest = finished.filter_map(|update| Build::of_id(&update.id)).map(|build| build.version).max();
        if let Some(number) = newest.filter(|number| *number > self.firmware_number()) {
            self.installed = Some(number);
            self.store_installed(number);
        }
    }

    /// An answer to what the cloud was told of an upgrade (8).
    pub(super) fn take_upgrade_answer(&mut self, now: Now, body: &[u8]) {
        match Answer::decode(body) {
            Ok(_) if self.upgrades.answered(now.monotonic) => {}
            Ok(_) => self.told.counters.unmatched += 1,
            Err(why) => self.drop_input(&format!("an answer about firmware: {why}")),
        }
    }

    /// This one is no longer bound.
    pub(super) fn forget_upgrade(&mut self, feedid: FeedId) {
        if let Some(build) = self.upgrades.forget(feedid).filter(|_| self.updates.can_install) {
            self.updates.taken = None;
            self.outputs.push(Output::Ota(Request::Cancel(build.id())));
        }
    }

    /// Lets the host forget what is over and known to the cloud, or nobody's any more.
    pub(super) fn acknowledge_updates(&mut self) {
        let upgrades = &self.upgrades;
        let is_told = |update: &Update| !Build::of_id(&update.id).is_some_and(|build| upgrades.is_telling(&build));
        let done = self.updates.take_over(is_told);
        self.outputs.extend(done);
    }
}

fn offer_of(image: Image, target: Whose) -> Offer {
    let id = image.build().id();
    // The host compares it with what runs: a subdevice's is a number here.
    let is_name = !matches!(target, Whose::Subdevice(_)) && is_regular_name(&image.versionname);
    let version = if is_name { image.versionname } else { image.version.to_string() };
    let digests = vec![Digest::Crc32Plain(image.crc32)];
    Offer { id, target, version, url: image.url, digests, ..Offer::default() }
}

/// Why it failed, in the cloud's words and with its code for them, and in the host's.
fn said_of(failure: Failure, reason: &str) -> String {
    let code = match failure {
        Failure::Unsupported => Code::OPERATION_NOT_SUPPORTED,
        Failure::Policy => Code::REFUSED,
        Failure::Download => Code::SERVER_UNREACHABLE,
        Failure::Digest => Code::FILE_DAMAGED,
        Failure::Space => Code::OUT_OF_MEMORY,
        Failure::Install | Failure::Cancelled | Failure::TooLate | Failure::Other => Code::UPGRADE_FAILED,
    };
    let text = format!("{} ({})", code.text(), code.0);
    if reason.is_empty() { text } else { format!("{text}: {reason}") }
}

/// Said to people by the cloud.
const NO_ENGINE: &str = "operation not supported (100): this device installs no firmware";
/// As above.
const NOT_TAKEN: &str = "this device does not take it";
/// So long the host may take to show what it was offered (not documented; chosen by us: it does at once).
const OFFER_MS: u64 = 60_000;
/// So long after the start firmware waits for an MCU to say its version (not documented; chosen by us: an MCU starts within
/// seconds, and nobody waits for firmware).
const MCU_MS: u64 = 60_000;
