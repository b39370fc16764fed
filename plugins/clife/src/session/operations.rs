//! File operations (Clife access document 4.3.2.8): a request is checked as a whole, and what can begin does; one operation
//! at a time. The host loads, compares, installs and uploads; `upgrade` and `log_upload` pass on what it says, `events` tells
//! the platform.

use std::collections::{BTreeMap, BTreeSet};

use polylink_plugin_sdk::services::ota::Update;
use polylink_plugin_sdk::services::{id, store};
use polylink_plugin_sdk::session::Level;
use polylink_plugin_sdk::{Context, Now, Output, RequestId};
use serde::{Deserialize, Serialize};

use super::events::Told;
use super::profile::Profile;
use super::subdevices::AWAY;
use super::{ClifeSession, Timer, known_ms, storage};
use crate::files::{
    Event, FileMode, FileType, Happening, Installed, Kind, MODULE, Operation, Order, Request, Stage, Verdict, Versions,
    Window, judge,
};
use crate::frame::{Frame, MsgId, cmd, raw};

/// What is known of file operations.
#[derive(Debug, Default)]
pub struct Files {
    /// True if the host can load and install firmware.
    can_install: bool,
    /// True if the host can send its log.
    can_send_logs: bool,
    /// The updates that the host has.
    pub updates: Vec<Update>,
    /// The operation that waits or goes on.
    pub running: Option<Running>,
    /// The profile that is loaded, or that the device is told.
    pub profile: Option<Profile>,
    /// The host's upload, which may outlast its operation.
    pub upload: Option<RequestId>,
    /// What the broker does not have yet; bounded by the required events of one operation and a few more.
    pub told: Vec<Told>,
    /// The version of the product that upgrades have brought.
    pub product_ver: Option<i64>,
    /// What the platform was told to run without having asked.
    pub reported: Option<Event>,
    /// When the platform was asked for an upgrade, Unix milliseconds.
    pub asked_ms: Option<i64>,
}

/// An operation that is not over, or not told to its end.
#[derive(Debug)]
pub struct Running {
    pub order: Order,
    /// May be ahead of what the platform was told.
    pub operation: Operation,
    /// Numbers of subdevices that left since, of those whose firmware was ordered.
    pub gone: BTreeSet<u32>,
}

impl Running {
    pub const fn new(order: Order, operation: Operation) -> Self {
        Self { order, operation, gone: BTreeSet::new() }
    }
}

/// The version of the product that upgrades have brought, as it is stored.
#[derive(Deserialize, Serialize)]
pub struct ProductVersion {
    /// The setting of that time. With another one the device was made anew.
    pub instead_of: u32,
    pub product_ver: i64,
}

impl Files {
    /// What the host says at the start.
    pub fn of(context: &Context) -> Self {
        let offers = |service| context.services.contains(&service);
        Self {
            can_install: offers(id::OTA),
            can_send_logs: offers(id::LOGS),
            updates: context.updates.clone(),
            ..Self::default()
        }
    }

    /// For people; `None` if there is nothing to say.
    pub fn text(&self) -> Option<String> {
        let Running { order, operation, .. } = self.running.as_ref()?;
        let what = match order.request.kind()? {
            Kind::Upload => "upload of the log".to_owned(),
            Kind::Download => "profile".to_owned(),
            Kind::Upgrade => {
                order.request.product_ver.map_or_else(String::new, |version| format!("upgrade to version {version}"))
            }
        };
        let standing = match operation.stage() {
            Stage::Waiting => "waiting",
            Stage::Transferring => "under way",
            Stage::Transferred | Stage::Verified => "loaded",
            Stage::Installing => "being installed",
            Stage::Over => "over",
        };
        Some(format!("{what}: {standing}"))
    }
}

impl ClifeSession {
    /// A request for a file operation (2019).
    pub(super) fn take_file_request(&mut self, now: Now, frame: &Frame, id: &MsgId) {
        let key = format!("{}/{}", frame.cmd, id.as_str());
        if let Some(answer) = self.answers.find(now.monotonic, &key).map(ToOwned::to_owned) {
            self.told.counters.commands_repeated += 1;
            // A repeated operation says nothing again; a repeated question is answered.
            if answer.get() != NOTHING {
                self.send(now, cmd::FILE_ANSWER, id, &answer);
            }
            return;
        }
        // It may go on for longer than answers are kept, and over restarts.
        if self.files.running.as_ref().is_some_and(|running| running.order.id == *id) {
            self.told.counters.commands_repeated += 1;
            return;
        }
        let mut is_question = false;
        let event = match self.open_body(frame) {
            Err(why) => {
                self.drop_input(&why);
                Some(Event::failure("decrypt error".to_owned()))
            }
            Ok(body) => match Request::parse(&body) {
                Err(bad) => Some(self.refuse_files(bad.event(), &bad)),
                Ok(request) => {
                    is_question = request.file_mode == FileMode::Query;
                    self.judge_files(now, id, request)
                }
            },
        };
        let body = event.map(|event| event.body());
        if let Some(body) = &body {
            self.send(now, cmd::FILE_ANSWER, id, body);
        }
        self.answers.keep(now.monotonic, key, body.filter(|_| is_question).unwrap_or_else(|| raw(&())));
    }

    /// What is answered at once; `None`: it is under way.
    fn judge_files(&mut self, now: Now, id: &MsgId, request: Request) -> Option<Event> {
        let installed = self.installed();
        if request.file_mode == FileMode::Query {
            return Some(Event::versions(&installed));
        }
        let window = match request.window() {
            Err(why) => return Some(self.refuse_files(Event::failure(why.to_string()), &why)),
            Ok(window) => window,
        };
        let is_uploading = request.file_mode == FileMode::Up && self.files.upload.is_some();
        if self.files.running.is_some() || is_uploading {
            return Some(self.refuse_files(Event::busy(), &"another one is not over"));
        }
        match judge(&request, &installed, &self.settings.files) {
            Verdict::TellVersions => Some(Event::versions(&installed)),
            Verdict::Refuse(refusal) => Some(self.refuse_files(refusal.event(), &refusal)),
            Verdict::Proceed => match self.begin_files(now, id, request, window) {
                Err(why) => Some(self.refuse_files(Event::failure(why.to_owned()), &why)),
                Ok(()) => None,
            },
        }
    }

    fn refuse_files(&mut self, event: Event, why: &dyn std::fmt::Display) -> Event {
        self.told.counters.files_refused += 1;
        self.log(Level::Warn, format!("a file operation of the platform was refused: {why}"));
        event
    }

    /// Begins an operation, or says why that is impossible here.
    fn begin_files(&mut self, now: Now, id: &MsgId, request: Request, window: Window) -> Result<(), &'static str> {
        let is_all = |usable: fn(FileType) -> bool| request.file_info.iter().all(|file| usable(file.file_type));
        let unix_ms = known_ms(now.wall).or_else(|| self.clock.unix_ms(now));
        match request.file_mode {
            FileMode::Up if !self.files.can_send_logs || !is_all(|kind| kind == FileType::Log) => return Err(NO_FILE),
            FileMode::Up => {}
            _ if !is_all(|kind| kind.is_firmware() || kind == FileType::Profile) => return Err(NO_PLACE),
            _ if !is_all(FileType::is_firmware) && self.profile_property().is_none() => return Err(NO_PLACE),
            _ if request.is_upgrade() && !self.files.can_install => return Err(NOT_AVAILABLE),
            _ if request.upgrades().any(|file| self.is_away(file.dev_num)) => return Err(AWAY),
            // The host keeps the moment, over restarts.
            _ if window.begin_in_s > 0 && unix_ms.is_none() => return Err(NO_CLOCK),
            _ => {}
        }
        let kind = request.kind().unwrap_or(Kind::Download);
        let begins_with_firmware = request.begins_with_firmware();
        let ms = |seconds: u64| i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX);
        let at = |seconds: u64| unix_ms.map(|unix_ms| unix_ms.saturating_add(ms(seconds)));
        let order = Order {
            device: self.device(),
            id: id.clone(),
            name: self.new_id().as_str().to_owned(),
            request,
            received_ms: unix_ms.unwrap_or(now.wall.unix_ms),
            begin_ms: Some(window.begin_in_s).filter(|&seconds| seconds > 0).and_then(at),
            deadline_ms: window.deadline_in_s.and_then(at),
            handed: 0,
            stage: Stage::Waiting,
        };
        if storage::json(&order).len() > LARGEST_ORDER {
            return Err(TOO_LARGE);
        }
        if let Some(seconds) = window.deadline_in_s {
            self.timers.set(Timer::Deadline, now.monotonic.after(seconds.saturating_mul(1000)));
        }
        self.files.running = Some(Running::new(order, Operation::new(kind)));
        self.shows = true;
        match kind {
            Kind::Upgrade => self.info("the platform ordered an upgrade".to_owned()),
            Kind::Download => self.info("the platform ordered a profile".to_owned()),
            Kind::Upload => {}
        }
        // The host waits with firmware.
        if window.begin_in_s > 0 && !begins_with_firmware {
            self.timers.set(Timer::Begin, now.monotonic.after(window.begin_in_s.saturating_mul(1000)));
            self.store_order();
        } else {
            self.begin_next(now);
        }
        Ok(())
    }

    /// Goes on where the device was before it was restarted.
    pub(super) fn resume_files(&mut self, now: Now) {
        self.drop_strays();
        let Some(Running { order, .. }) = &self.files.running else { return };
        let left_ms = |at: i64| u64::try_from(at.saturating_sub(now.wall.unix_ms)).unwrap_or(0);
        let clock_is_set = known_ms(now.wall).is_some();
        if let Some(deadline_ms) = order.deadline_ms.filter(|_| clock_is_set) {
            self.timers.set(Timer::Deadline, now.monotonic.after(left_ms(deadline_ms)));
        }
        let is_upload = order.request.file_mode == FileMode::Up;
        let has_begun = order.handed > 0;
        let is_possible = if is_upload {
            self.files.can_send_logs
        } else {
            let has_profile = order.request.file_info.iter().any(|file| file.file_type == FileType::Profile);
            (self.files.can_install || !order.request.is_upgrade())
                && (self.profile_property().is_some() || !has_profile)
        };
        if !is_possible || is_upload && has_begun {
            // Nobody knows what became of an upload, or this host knows nothing of what another one began.
            self.happens(now, Happening::TransferFailed);
        } else if !has_begun {
            let wait_ms = order.begin_ms.filter(|_| clock_is_set).map_or(0, left_ms);
            self.timers.set(Timer::Begin, now.monotonic.after(wait_ms));
        } else if self.is_at_profile() {
            self.load_profile();
        } else {
            self.resume_update(now);
        }
    }

    /// The time has come for what the host does not wait with.
    pub(super) fn begin_waiting(&mut self, now: Now) {
        if self.files.running.as_ref().is_some_and(|running| running.order.handed == 0) {
            self.begin_next(now);
        }
    }

    /// The next file of the operation has its turn.
    pub(super) fn begin_next(&mut self, now: Now) {
        let Some(Running { order, .. }) = &self.files.running else { return };
        let Some(next) = order.request.file_info.get(order.handed) else { return };
        match next.file_type {
            _ if order.request.file_mode == FileMode::Up => self.upload_next(),
            FileType::Profile => self.profile_next(),
            _ => self.offer_next(now),
        }
    }

    /// The transfer should be complete. An installation goes on.
    pub(super) fn end_transfer(&mut self, now: Now) {
        let Some(Running { order, .. }) = &self.files.running else { return };
        let has_begun = order.handed > 0;
        if order.request.file_mode == FileMode::Up {
            self.happens(now, Happening::TransferFailed);
        } else if has_begun && !self.is_at_profile() {
            self.cancel_update();
        } else if self.stop_loading_profile() || !has_begun {
            self.happens(now, Happening::TransferFailed);
        }
    }

    pub(super) fn store_order(&mut self) {
        if let Some(Running { order, .. }) = &self.files.running {
            let stored = storage::json(order);
            self.put_bytes(storage::ORDER, stored);
        }
    }

    /// An operation that is over and told to its end is forgotten.
    pub(super) fn end_operation(&mut self, now: Now) {
        let Some(running) = self.files.running.take_if(|running| {
            let is_told = self.files.told.iter().all(|told| told.id != running.order.id);
            running.operation.is_over() && is_told
        }) else {
            return;
        };
        self.shows = true;
        for timer in [Timer::Deadline, Timer::Begin, Timer::Offer, Timer::Profile] {
            self.timers.clear(&timer);
        }
        let id = self.next_id();
        self.outputs.push(Output::Store(id, store::Request::Remove(storage::ORDER.to_owned())));
        if self.forget_updates(&running.order) {
            self.report_versions();
        }
        self.stop_loading_profile();
        let what = match running.order.request.kind() {
            Some(Kind::Upload) => "upload",
            Some(Kind::Upgrade) => "upgrade",
            _ => "profile",
        };
        self.info(format!("the {what} that the platform ordered is over"));
        self.consider_asking(now);
    }

    /// What runs.
    pub(super) fn installed(&self) -> Installed {
        let facts = &self.facts;
        let versions =
            |software: &String, hardware: &String| Versions { software: software.clone(), hardware: hardware.clone() };
        let mut modules = BTreeMap::from([(MODULE, versions(&facts.module_software, &facts.module_hardware))]);
        if !facts.mcu_software.is_empty() {
            let number = self.settings.files.dev_nums.mcu();
            modules.insert(number, versions(&facts.mcu_software, &facts.mcu_hardware));
        }
        modules.extend(self.subdevice_versions());
        let product_ver = self.files.product_ver.unwrap_or_else(|| i64::from(self.settings.product_ver));
        Installed { product_ver, modules }
    }
}

/// What is kept of the answer to an operation, which is not to be given again.
const NOTHING: &str = "null";
/// There is nothing to upload (not documented; chosen by us).
const NO_FILE: &str = "no file";
/// A file that is no firmware: a profile, or a picture (not documented; chosen by us).
const NO_PLACE: &str = "this device has no place for such a file";
/// Not documented; chosen by us.
const NOT_AVAILABLE: &str = "not available on this device";
/// Not documented; chosen by us.
const NO_CLOCK: &str = "the clock of this device is not set";
/// Not documented; chosen by us.
const TOO_LARGE: &str = "the request is too large";
/// Bytes of an order, of which the store takes 64 KiB.
const LARGEST_ORDER: usize = 60 * 1024;
