//! [`Upgrades`]: new firmware for the device or a sub-device, as the cloud orders it (7) and is told of it (8).
//!
//! There is one upgrade at a time. Whoever loads and installs images is the engine; it gets the [`Image`] of an order and
//! says how far it is. It keeps what it is at over restarts, and decides whether it goes on ([`Upgrades::resumed`]).
//!
//! The cloud is told of each change of status and at least every `report_s`, while the device is authenticated. Its
//! answers have no number: they belong to the statuses in the order in which these were sent. The last status of an
//! upgrade waits for its answer over restarts.
//!
//! Module map: `image` what an order must be · `stored` what survives a restart.

mod image;
mod stored;

use std::collections::VecDeque;

use polylink_plugin_sdk::Timestamp;

use crate::wire::{Code, FeedId, OtaAnswer, OtaOrder, OtaPhase, OtaStatus};

pub use image::{Build, Device, Image, Target, is_regular_name};
pub use stored::Damaged;

/// What is upgraded, and what the cloud is still to be told of it.
#[derive(Clone, Debug)]
pub struct Upgrades {
    report_ms: u64,
    is_working: bool,
    current: Option<Upgrade>,
    /// Upgrades that are over, and the cloud has not answered that. The oldest first.
    outcomes: VecDeque<Outcome>,
    /// Versions whose last upgrade failed, by device. The oldest first.
    failed: VecDeque<(FeedId, u16)>,
    /// What failed last, since the start.
    rest: Option<Rest>,
    /// Statuses that were sent and may still be answered. The oldest first.
    sent: VecDeque<Sent>,
    n_outcomes: u64,
    n_lost: u64,
    changed: bool,
}

/// An order that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The engine is to begin with this.
    New(Image),
    /// It has this already, and may need the address: that of the former order may be over.
    Again(Image),
}

/// What the engine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It loads the image.
    Downloading,
    /// It installs it.
    Installing,
}

/// What the engine says after a restart about an upgrade that was under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// It goes on with it.
    Continues,
    /// It knows nothing of it.
    Idle,
}

#[derive(Clone, Debug)]
struct Upgrade {
    build: Build,
    productuuid: String,
    /// Number of the firmware that ran when it was ordered.
    from: Option<u16>,
    stage: Stage,
    percent: u8,
    /// Since when there is something that was not sent yet.
    new_since: Option<Timestamp>,
    sent_at: Timestamp,
    /// Statuses sent since the last answer.
    n_unanswered: u32,
}

#[derive(Clone, Debug)]
struct Outcome {
    number: u64,
    build: Build,
    status: OtaStatus,
    due: Timestamp,
    n_sent: u32,
}

/// A firmware that fails each time. The cloud orders it by each heartbeat that tells an older number, which would load the same
/// image for ever; a person who tries again once does not notice.
#[derive(Clone, Copy, Debug)]
struct Rest {
    build: Build,
    n_failed: u32,
    at: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Timestamp,
    /// Number of the outcome; `None`: the upgrade that is under way.
    outcome: Option<u64>,
}

impl Upgrades {
    /// Nothing under way. While something is, the cloud is told at least every so many seconds, 1 to 300.
    #[must_use]
    pub fn new(report_s: u32) -> Self {
        Self {
            report_ms: u64::from(report_s.clamp(1, REPORT_MAX_S)) * 1000,
            is_working: false,
            current: None,
            outcomes: VecDeque::new(),
            failed: VecDeque::new(),
            rest: None,
            sent: VecDeque::new(),
            n_outcomes: 0,
            n_lost: 0,
            changed: false,
        }
    }

    /// Whether what is to be stored differs from the last time that this was asked. Progress alone is not stored.
    pub const fn take_changed(&mut self) -> bool {
        std::mem::replace(&mut self.changed, false)
    }

    /// What is being installed.
    #[must_use]
    pub fn current(&self) -> Option<Build> {
        self.current.as_ref().map(|current| current.build)
    }

    /// How far that is, in percent of the stage.
    #[must_use]
    pub fn standing(&self) -> Option<(Build, Stage, u8)> {
        self.current.as_ref().map(|current| (current.build, current.stage, current.percent))
    }

    /// Whether the cloud has still to hear of this one.
    #[must_use]
    pub fn is_telling(&self, build: &Build) -> bool {
        self.current() == Some(*build) || self.outcomes.iter().any(|outcome| outcome.build == *build)
    }

    /// How many last statuses the cloud was never told, or never answered: those of upgrades before the last four, and
    /// those that were sent ten times.
    #[must_use]
    pub const fn n_lost(&self) -> u64 {
        self.n_lost
    }

    /// Takes an order (7): what to answer, and what the engine is to hear of it. `devices` are those that may be upgraded.
    ///
    /// Code 6 if it is for nobody of them, or unusable ([`Image`]), or not newer than what runs: the cloud orders what is
    /// newer than the heartbeats say, so anything else is a mistake. The version that runs is taken only if the last
    /// upgrade to it failed, as a repair. What failed twice or more has to rest meanwhile (6 too). Code 22 while another upgrade is under way; the same order again is a success,
    /// which may have another address, and nothing new is told of. What is ordered again after it had ended needs no word
    /// of that end any more.
    pub fn take_order<'a>(
        &mut self,
        now: Timestamp,
        order: &OtaOrder,
        devices: impl IntoIterator<Item = Device<'a>>,
    ) -> (OtaAnswer, Option<Taken>) {
        let answer = |code| OtaAnswer::of(code, order.serial);
        let firmware = &order.firmware;
        let device = devices.into_iter().find(|device| device.target.feedid() == firmware.feedid);
        let image = device.as_ref().and_then(|device| Some((Image::of(firmware, device)?, device.version)));
        let Some((image, running)) = image else { return (answer(Code::UPGRADE_FAILED), None) };
        match &self.current {
            Some(current) if current.build == image.build() => {
                return (answer(Code::SUCCESS), Some(Taken::Again(image)));
            }
            _ if !self.is_wanted(&image, running) => return (answer(Code::UPGRADE_FAILED), None),
            Some(_) => return (answer(Code::DOWNLOADING), None),
            None if self.rest.is_some_and(|rest| rest.holds(image.build(), now)) => {
                return (answer(Code::UPGRADE_FAILED), None);
            }
            None => {}
        }
        let build = image.build();
        self.outcomes.retain(|outcome| outcome.build != build);
        self.current = Some(Upgrade::new(build, image.productuuid.clone(), running, now));
        self.changed = true;
        (answer(Code::SUCCESS), Some(Taken::New(image)))
    }

    /// The engine is so far. Returns whether it should be at anything.
    pub fn progress(&mut self, now: Timestamp, stage: Stage, percent: u8) -> bool {
        let Some(current) = &mut self.current else { return false };
        if current.stage != stage {
            current.stage = stage;
            current.new_since = Some(now);
            self.changed = true;
        }
        current.percent = percent.min(100);
        true
    }

    /// The new firmware runs. Returns whether there was any.
    pub fn finished(&mut self, now: Timestamp) -> bool {
        let Some(current) = self.current.take() else { return false };
        self.failed.retain(|(feedid, _)| *feedid != current.build.feedid);
        self.end(now, Upgrade { percent: 100, ..current }, OtaPhase::Finished, "finished");
        true
    }

    /// The old firmware goes on, for this reason, which the cloud shows to people. Returns whether there was another.
    pub fn failed(&mut self, now: Timestamp, why: &str) -> bool {
        let Some(current) = self.current.take() else { return false };
        let Build { feedid, version, .. } = current.build;
        self.failed.retain(|(failed, _)| *failed != feedid);
        if self.failed.len() >= FAILED_MAX {
            self.failed.pop_front();
        }
        self.failed.push_back((feedid, version));
        self.rest = Some(Rest::after(self.rest, current.build, now));
        self.end(now, current, OtaPhase::Failed, why);
        true
    }

    /// After a restart: what the device to be upgraded runs now, if that is known, and what the engine says.
    ///
    /// An engine that goes on says how it ends. Of one that knows nothing of it: the ordered version runs, so it has
    /// finished; otherwise it failed. If the ordered version ran already when it was ordered, as a repair, that says
    /// nothing, and one that was installing has finished.
    pub fn resumed(&mut self, now: Timestamp, running: Option<u16>, engine: Resumed) {
        let Some(current) = &mut self.current else { return };
        let runs = running == Some(current.build.version);
        match (engine, current.stage) {
            (Resumed::Continues, _) => {
                current.new_since = Some(now);
                false
            }
            _ if runs && current.from != running => self.finished(now),
            (Resumed::Idle, Stage::Installing) if runs => self.finished(now),
            (Resumed::Idle, Stage::Installing) => self.failed(now, "the new version did not start"),
            (Resumed::Idle, Stage::Downloading) => self.failed(now, "the download was broken off by a restart"),
        };
    }

    /// After a restart: the engine is at this, which was not written down here before the power went. `running` is what the
    /// device runs now.
    pub fn adopt(&mut self, now: Timestamp, build: Build, productuuid: String, running: Option<u16>) {
        self.current.get_or_insert_with(|| Upgrade::new(build, productuuid, running, now));
        self.changed = true;
    }

    /// This one is no longer bound: nothing of it is told any more. Returns what the engine is to stop.
    pub fn forget(&mut self, feedid: FeedId) -> Option<Build> {
        let n_outcomes = self.outcomes.len() + self.failed.len();
        self.outcomes.retain(|outcome| outcome.status.feedid != feedid);
        self.failed.retain(|(failed, _)| *failed != feedid);
        let stops = self.current.take_if(|current| current.build.feedid == feedid).map(|current| current.build);
        self.changed |= stops.is_some() || self.outcomes.len() + self.failed.len() != n_outcomes;
        stops
    }

    /// The cloud let the device in: all that it was not told, or did not answer, is sent now.
    pub fn authenticated(&mut self, now: Timestamp) {
        self.is_working = true;
        self.sent.clear();
        self.outcomes.iter_mut().for_each(|outcome| outcome.due = now);
        if let Some(current) = &mut self.current {
            (current.new_since, current.n_unanswered) = (Some(now), 0);
        }
    }

    /// The connection is gone: nothing is sent until the next authentication.
    pub fn disconnected(&mut self) {
        self.is_working = false;
        self.sent.clear();
    }

    /// A status to send now (8). To be asked until there is none.
    pub fn poll(&mut self, now: Timestamp) -> Option<OtaStatus> {
        self.forget_sent(now);
        if !self.is_working || self.sent.len() >= SENT_MAX {
            return None;
        }
        let is_lost = |outcome: &Outcome| outcome.due <= now && outcome.n_sent >= OUTCOME_TRIES;
        while let Some(at) = self.outcomes.iter().position(is_lost) {
            self.outcomes.remove(at);
            self.n_lost += 1;
            self.changed = true;
        }
        if let Some(outcome) = self.outcomes.iter_mut().find(|outcome| outcome.due <= now) {
            outcome.n_sent += 1;
            outcome.due = now.after(delay_ms(outcome.n_sent, RETRY_MAX_MS));
            self.sent.push_back(Sent { at: now, outcome: Some(outcome.number) });
            return Some(outcome.status.clone());
        }
        let report_ms = self.report_ms;
        let current = self.current.as_mut().filter(|current| current.due(report_ms) <= now)?;
        (current.new_since, current.sent_at) = (None, now);
        current.n_unanswered = current.n_unanswered.saturating_add(1);
        self.sent.push_back(Sent { at: now, outcome: None });
        Some(current.status())
    }

    /// When to ask [`Upgrades::poll`] next; `None`: when something happens.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        if !self.is_working {
            return None;
        }
        let outcomes = self.outcomes.iter().map(|outcome| outcome.due);
        let due = outcomes.chain(self.current.as_ref().map(|current| current.due(self.report_ms))).min()?;
        let room = self.sent.front().filter(|_| self.sent.len() >= SENT_MAX).map(|sent| sent.at.after(ANSWER_MS));
        Some(room.map_or(due, |room| due.max(room)))
    }

    /// A status was answered; whether one was to be. Its code does not matter: to say the same again would not change it.
    pub fn answered(&mut self, now: Timestamp) -> bool {
        self.forget_sent(now);
        let Some(Sent { outcome, .. }) = self.sent.pop_front() else { return false };
        match outcome {
            Some(number) => {
                let n_before = self.outcomes.len();
                self.outcomes.retain(|outcome| outcome.number != number);
                self.changed |= self.outcomes.len() != n_before;
            }
            None => {
                if let Some(current) = &mut self.current {
                    current.n_unanswered = 0;
                }
            }
        }
        true
    }

    fn is_wanted(&self, image: &Image, running: Option<u16>) -> bool {
        let is_repair = || self.failed.contains(&(image.target.feedid(), image.version));
        running.is_none_or(|running| image.version > running || image.version == running && is_repair())
    }

    fn end(&mut self, now: Timestamp, ended: Upgrade, status: OtaPhase, why: &str) {
        if self.outcomes.len() >= OUTCOMES_MAX {
            self.outcomes.pop_front();
            self.n_lost += 1;
        }
        self.n_outcomes += 1;
        let Upgrade { build, productuuid, percent: progress, .. } = ended;
        let status = OtaStatus { feedid: build.feedid, productuuid, status, status_desc: described(why), progress };
        self.outcomes.push_back(Outcome::new(self.n_outcomes, build, status, now));
        self.changed = true;
    }

    /// What was sent too long ago will not be answered.
    fn forget_sent(&mut self, now: Timestamp) {
        self.sent.retain(|sent| now.since(sent.at) < ANSWER_MS);
    }
}

impl Upgrade {
    const fn new(build: Build, productuuid: String, from: Option<u16>, now: Timestamp) -> Self {
        let stage = Stage::Downloading;
        Self { build, productuuid, from, stage, percent: 0, new_since: Some(now), sent_at: now, n_unanswered: 0 }
    }

    fn due(&self, report_ms: u64) -> Timestamp {
        let delay = if self.n_unanswered == 0 { report_ms } else { delay_ms(self.n_unanswered, report_ms) };
        self.new_since.unwrap_or_else(|| self.sent_at.after(delay))
    }

    fn status(&self) -> OtaStatus {
        let (status, why) = match self.stage {
            Stage::Downloading => (OtaPhase::Downloading, "downloading"),
            Stage::Installing => (OtaPhase::Installing, "installing"),
        };
        let (feedid, productuuid) = (self.build.feedid, self.productuuid.clone());
        OtaStatus { feedid, productuuid, status, status_desc: why.to_owned(), progress: self.percent }
    }
}

impl Rest {
    fn after(former: Option<Self>, build: Build, at: Timestamp) -> Self {
        let former = former.filter(|former| former.build == build && at.since(former.at) < 2 * REST_MAX_MS);
        Self { build, n_failed: former.map_or(0, |former| former.n_failed).saturating_add(1), at }
    }

    fn holds(&self, build: Build, now: Timestamp) -> bool {
        let rest_ms = match self.n_failed {
            0 | 1 => 0,
            n => REST_MS.checked_shl((n - 2).min(16)).unwrap_or(REST_MAX_MS).min(REST_MAX_MS),
        };
        self.build == build && now.since(self.at) < rest_ms
    }
}

impl Outcome {
    const fn new(number: u64, build: Build, status: OtaStatus, due: Timestamp) -> Self {
        Self { number, build, status, due, n_sent: 0 }
    }
}

/// Until something is sent once more, after it was sent so many times.
fn delay_ms(n_sent: u32, most: u64) -> u64 {
    ANSWER_MS.checked_shl(n_sent.saturating_sub(1).min(16)).unwrap_or(most).min(most)
}

/// A reason as the cloud gets it: of one line and not too long.
fn described(why: &str) -> String {
    let line = |c: char| if c.is_control() { ' ' } else { c };
    let text: String = why.trim().chars().take(DESCRIPTION_MAX).map(line).collect();
    if text.is_empty() { Code::UPGRADE_FAILED.text().to_owned() } else { text }
}

/// Longest silence that can be asked for (not documented; chosen by us: half of the ten minutes after which the cloud
/// counts an upgrade as failed, JoyLink V1.79, OTA).
const REPORT_MAX_S: u32 = 300;

/// How long the cloud may take to answer a status (not documented; chosen by us, as for other messages). Afterwards it is
/// sent again, with growing delays.
const ANSWER_MS: u64 = 10_000;

/// Longest delay until a last status is sent again (not documented; chosen by us).
const RETRY_MAX_MS: u64 = 60_000;

/// How often a last status is sent (not documented; chosen by us: for some minutes, as there are clouds that answer under
/// another type). Then it is dropped and counted.
const OUTCOME_TRIES: u32 = 10;

/// Upgrades that are over, and the cloud does not know it (not documented; chosen by us). Beyond, the oldest is dropped
/// and counted.
const OUTCOMES_MAX: usize = 4;

/// Failed versions that are remembered (not documented; chosen by us). Beyond, the oldest is forgotten: it cannot be
/// repaired by the same version.
const FAILED_MAX: usize = 16;

/// How long a firmware rests that has failed twice; twice that after each further time (not documented; chosen by us).
const REST_MS: u64 = 60_000;

/// The longest such rest (not documented; chosen by us).
const REST_MAX_MS: u64 = 3_600_000;

/// Statuses on their way (not documented; chosen by us). What is to be said beyond that waits.
const SENT_MAX: usize = 8;

/// Characters of a reason (not documented; chosen by us: a sentence).
const DESCRIPTION_MAX: usize = 128;

#[cfg(test)]
mod tests;
