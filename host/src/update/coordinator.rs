//! [`Coordinator`]: one update at a time over all clouds, from the offer to the result, pure.
//!
//! Who drives it carries out its [`Output`]s in their order and tells what came of them. [`Output::Save`] is on the disk
//! before the next one is begun; so after a power cut at any moment [`Coordinator::restore`] knows what is to be done again,
//! and asks the backend how far that is. Time is an argument.
//!
//! Invariants: at most one operation is beyond waiting; [`Output::Install`] carries a [`Verified`], so it cannot be made
//! without one; each accepted offer ends exactly once, and its end is told until its asker has acknowledged it.

pub mod output;
mod record;

use std::collections::VecDeque;

use polylink_plugin_api::Timestamp;

use super::hook::{Installed, Standing};
use super::manifest::{Target, Verified};
use super::offer::{Moment, Offer};
pub use output::{CancelRefused, FailedAt, News, OfferRefused, Outcome, Output};
use record::{Ended, Operation, Record, Stage};

/// See the module.
#[derive(Debug)]
pub struct Coordinator {
    settings: Settings,
    record: Record,
    step: Step,
    outputs: VecDeque<Output>,
    is_healthy: bool,
    percent: Option<u8>,
}

/// How patient it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long what is on trial may take to become healthy.
    pub health_ms: u64,
}

/// What is being done for the active operation just now. Not remembered: it follows from [`Stage`] after a reboot.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Idle,
    Loading,
    Verifying,
    Installing,
    Asking,
    Restarting,
    /// Until then it must be healthy; from `again` on a confirmation that failed is tried again.
    Trial {
        until: Timestamp,
        again: Timestamp,
    },
    Confirming {
        until: Option<Timestamp>,
    },
    RollingBack {
        why: String,
    },
}

impl Coordinator {
    /// Goes on with what is remembered: what was saved last; none or damaged: nothing. [`Coordinator::start`] follows.
    #[must_use]
    pub fn restore(settings: Settings, saved: Option<&[u8]>) -> Self {
        let record = saved.and_then(Record::decode).unwrap_or_default();
        Self { settings, record, step: Step::Idle, outputs: VecDeque::new(), is_healthy: false, percent: None }
    }

    /// Begins after a start of the host.
    pub fn start(&mut self, moment: &Moment) {
        let active = self.record.active.as_ref();
        self.outputs.push_back(Output::Clean { keep: active.map(|operation| operation.id) });
        if let Some(Operation { id, offer, stage, .. }) = active {
            let (id, offer) = (*id, offer.clone());
            match stage {
                Stage::Waiting | Stage::Loading => self.load(id, offer),
                Stage::Installing { .. } | Stage::Restarting { .. } => {
                    self.step = Step::Asking;
                    self.outputs.push_back(Output::Ask { id, target: offer.target });
                }
            }
        }
        for ended in &self.record.ended {
            self.outputs.push_back(told(ended));
        }
        self.timeout(moment);
    }

    /// An instance offers an image. `random` is drawn for it.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn offer(&mut self, moment: &Moment, offer: Offer, random: u64) -> Result<u64, OfferRefused> {
        let texts = [&offer.asker, &offer.reference, &offer.version, &offer.url];
        if texts.iter().any(|text| text.len() > TEXT_MAX) || offer.digests.len() > DIGESTS_MAX {
            return Err(OfferRefused::TooLong);
        }
        let is_same = |operation: &&Operation| {
            operation.offer.asker == offer.asker && operation.offer.reference == offer.reference
        };
        if let Some(known) = self.record.active.iter().chain(&self.record.waiting).find(is_same) {
            return Ok(known.id);
        }
        let ended = self.record.ended.iter();
        if let Some(known) =
            ended.clone().find(|ended| ended.asker == offer.asker && ended.reference == offer.reference)
        {
            let id = known.id;
            self.outputs.push_back(told(known));
            return Ok(id);
        }
        let start = offer.schedule.start(moment, random);
        let is_due = is_due(&offer, start, moment);
        let active = self.record.active.as_ref();
        // Whoever wants it now is told to come again; whoever waits anyway waits a little longer.
        if active.is_some_and(|active| is_due || active.offer.asker == offer.asker) {
            return Err(OfferRefused::Busy);
        }
        let replaced = self.record.waiting.iter().position(|waiting| waiting.offer.asker == offer.asker);
        if replaced.is_none() && self.record.waiting.len() >= WAITING_MAX {
            return Err(OfferRefused::Full);
        }
        if let Some(at) = replaced {
            let old = self.record.waiting.remove(at);
            self.ended(old, Outcome::Cancelled);
        }
        let id = self.record.next_id.max(1);
        self.record.next_id = id + 1;
        let operation = Operation { id, offer, drawn: random, start, stage: Stage::Waiting };
        let (asker, reference) = (operation.offer.asker.clone(), operation.offer.reference.clone());
        self.record.waiting.push(operation);
        self.save();
        if !is_due {
            self.outputs.push_back(Output::Tell { asker, id, reference, news: News::Waiting(start) });
        }
        self.timeout(moment);
        Ok(id)
    }

    /// An instance takes its offer back.
    ///
    /// # Errors
    /// Why it goes on.
    pub fn cancel(&mut self, moment: &Moment, asker: &str, id: u64) -> Result<(), CancelRefused> {
        let is_it = |operation: &Operation| operation.id == id && operation.offer.asker == asker;
        if let Some(at) = self.record.waiting.iter().position(is_it) {
            let operation = self.record.waiting.remove(at);
            self.ended(operation, Outcome::Cancelled);
            return Ok(());
        }
        let active = self.record.active.as_ref().filter(|active| is_it(active)).ok_or(CancelRefused::Unknown)?;
        match self.step {
            Step::Loading | Step::Verifying => {
                self.stop_loading();
                self.end(moment, Outcome::Cancelled);
                Ok(())
            }
            // An MCU can be told to forget what it has; whether it does, the end of the installation tells.
            Step::Installing if active.offer.target != Target::Module => {
                self.outputs.push_back(Output::StopInstalling { id });
                Ok(())
            }
            _ => Err(CancelRefused::TooLate),
        }
    }

    /// An asker knows how its update ended.
    pub fn acknowledged(&mut self, asker: &str, id: u64) {
        let before = self.record.ended.len();
        self.record.ended.retain(|ended| ended.id != id || ended.asker != asker);
        if self.record.ended.len() != before {
            self.save();
        }
    }

    /// An instance has started, and may have missed what was said.
    pub fn asker_started(&mut self, asker: &str) {
        let missed = self.record.ended.iter().filter(|ended| ended.asker == asker).map(told);
        self.outputs.extend(missed);
    }

    /// So much of the file is here.
    pub fn loading(&mut self, id: u64, percent: Option<u8>) {
        if self.is_at(id, &Step::Loading) && (percent.is_none() || percent != self.percent) {
            self.percent = percent;
            self.tell(News::Loading(percent));
        }
    }

    /// The file is here, or will not come.
    pub fn loaded(&mut self, moment: &Moment, id: u64, loaded: Result<(), String>) {
        if !self.is_at(id, &Step::Loading) {
            return;
        }
        match (loaded, self.target()) {
            (Ok(()), Some(target)) => {
                self.step = Step::Verifying;
                self.outputs.push_back(Output::Verify { id, target });
            }
            (Ok(()), None) => {}
            (Err(why), _) => self.fail(moment, FailedAt::Loading, why),
        }
    }

    /// The file may be installed, or may not.
    pub fn verified(&mut self, moment: &Moment, id: u64, verified: Result<Verified, String>) {
        if !self.is_at(id, &Step::Verifying) {
            return;
        }
        let proof = match verified {
            Ok(proof) => proof,
            Err(why) => return self.fail(moment, FailedAt::Verifying, why),
        };
        let Some(active) = &mut self.record.active else { return };
        let before = if let Stage::Installing { n, .. } = active.stage { n } else { 0 };
        if before >= INSTALLS_MAX {
            let why = format!("it was interrupted {before} times");
            return self.fail(moment, FailedAt::Installing, why);
        }
        let counter = proof.manifest().map(|manifest| manifest.counter);
        active.stage = Stage::Installing { counter, n: before + 1 };
        let (target, device) = (active.offer.target, active.offer.device);
        (self.step, self.percent) = (Step::Installing, None);
        self.save();
        self.tell(News::Verified);
        self.outputs.push_back(Output::Install { id, target, device, proof });
    }

    /// So much is installed.
    pub fn installing(&mut self, id: u64, percent: Option<u8>) {
        if self.is_at(id, &Step::Installing) && percent != self.percent {
            self.percent = percent;
            self.tell(News::Installing(percent));
        }
    }

    /// It is installed, or is not.
    pub fn installed(&mut self, moment: &Moment, id: u64, installed: Result<Installed, String>) {
        if !self.is_at(id, &Step::Installing) {
            return;
        }
        match installed {
            Ok(Installed::NeedsRestart) => self.restart(),
            Ok(Installed::Runs) => self.confirm(None),
            Err(why) => self.fail(moment, FailedAt::Installing, why),
        }
    }

    /// How the backend stands.
    pub fn standing(&mut self, moment: &Moment, id: u64, standing: Result<Standing, String>) {
        if !self.is_at(id, &Step::Asking) {
            return;
        }
        let Some(active) = &self.record.active else { return };
        let (stage, target) = (active.stage, active.offer.target);
        match (standing, stage) {
            (Ok(Standing::OnTrial), _) => {
                let until = moment.now.after(self.settings.health_ms);
                self.step = Step::Trial { until, again: moment.now };
                // Once it is confirmed, nothing must look as if it were still to be installed.
                if let (Some(active), Stage::Installing { counter, .. }) = (&mut self.record.active, stage) {
                    active.stage = Stage::Restarting { counter, n: 1 };
                    self.save();
                }
                if self.is_healthy {
                    self.confirm(Some(until));
                }
            }
            (Ok(Standing::SteppedBack), _) => {
                self.fail(moment, FailedAt::Trial, "the new version did not come up".to_owned());
            }
            // The restart has not happened, or not in the way that makes it run.
            (Ok(Standing::NotStarted), _) => self.restart(),
            (Ok(Standing::Settled), Stage::Restarting { .. }) => self.confirm(None),
            // Nothing of it is there: the file is, so it is done again.
            (Ok(Standing::Settled), _) => {
                self.step = Step::Verifying;
                self.outputs.push_back(Output::Verify { id, target });
            }
            (Err(why), _) => self.fail(moment, FailedAt::Installing, why),
        }
    }

    /// What runs does what it should.
    pub fn healthy(&mut self) {
        self.is_healthy = true;
        if let Step::Trial { until, .. } = self.step {
            self.confirm(Some(until));
        }
    }

    /// It is confirmed, or could not be.
    pub fn confirmed(&mut self, moment: &Moment, id: u64, confirmed: Result<(), String>) {
        let Step::Confirming { until } = self.step else { return };
        if self.record.active.as_ref().is_none_or(|active| active.id != id) {
            return;
        }
        match (confirmed, until) {
            (Ok(()), _) => self.end(moment, Outcome::Succeeded),
            // Nothing can be taken back, and nothing is to be: it runs.
            (Err(_), None) => self.end(moment, Outcome::Succeeded),
            (Err(_), Some(until)) => self.step = Step::Trial { until, again: moment.now.after(CONFIRM_AGAIN_MS) },
        }
    }

    /// What ran before will run after the next restart, or cannot.
    pub fn rolled_back(&mut self, moment: &Moment, id: u64, rolled_back: Result<(), String>) {
        let is_it = self.record.active.as_ref().is_some_and(|active| active.id == id);
        let Step::RollingBack { why } = &self.step else { return };
        if !is_it {
            return;
        }
        let mut why = why.clone();
        if let Err(also) = rolled_back {
            // Its tries run out by themselves.
            why += &format!(", and cannot be taken back at once: {also}");
        }
        self.fail(moment, FailedAt::Trial, why);
        self.outputs.push_back(Output::Restart { id });
    }

    /// What was to be saved is not. Nothing is begun that could not be gone on with.
    pub fn not_saved(&mut self, moment: &Moment, why: &str) {
        let before = self.outputs.len();
        // A restart is made all the same: of what is installed the backend remembers enough.
        self.outputs.retain(|output| !matches!(output, Output::Load { .. } | Output::Install { .. }));
        if self.outputs.len() != before {
            self.fail(moment, FailedAt::Recording, format!("it cannot be recorded: {why}"));
        }
    }

    /// What is due.
    pub fn timeout(&mut self, moment: &Moment) {
        match self.step {
            Step::Trial { until, .. } if until <= moment.now => {
                let s = self.settings.health_ms / 1000;
                self.roll_back(format!("the new version was not healthy within {s} s"));
            }
            Step::Trial { until, again } if self.is_healthy && again <= moment.now => self.confirm(Some(until)),
            Step::Loading if self.record.active.as_ref().is_some_and(|active| is_late(&active.offer, moment)) => {
                self.stop_loading();
                self.fail(moment, FailedAt::Deadline, "the time to load it is over".to_owned());
            }
            _ => {}
        }
        self.next(moment);
    }

    /// When [`Coordinator::timeout`] is wanted. Where that hangs on the wall clock, at least once a minute, as that clock
    /// may be set meanwhile.
    #[must_use]
    pub fn next_timeout(&self, moment: &Moment) -> Option<Timestamp> {
        let own = match self.step {
            Step::Trial { until, again } if self.is_healthy => Some(until.min(again)),
            Step::Trial { until, .. } => Some(until),
            _ => None,
        };
        let at = |unix_s: i64| {
            let ms = moment.unix_s.map_or(u64::MAX, |now| u64::try_from(unix_s.saturating_sub(now)).unwrap_or(0));
            moment.now.after(ms.saturating_mul(1000).min(CLOCK_MS))
        };
        let load_by = self.record.active.as_ref().filter(|_| self.step == Step::Loading);
        let load_by = load_by.and_then(|active| active.offer.load_by).map(at);
        let starts = self.record.waiting.iter().filter(|_| self.record.active.is_none());
        let starts = starts.map(|waiting| waiting.start.map_or_else(|| moment.now.after(CLOCK_MS), at));
        own.into_iter().chain(load_by).chain(starts).min()
    }

    /// What is to be done.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The operation that is under way, for people: its number, its asker, its version.
    #[must_use]
    pub fn active(&self) -> Option<(u64, &str, &str)> {
        self.record.active.as_ref().map(|active| (active.id, &*active.offer.asker, &*active.offer.version))
    }

    /// Lets the turn of what waits come.
    fn next(&mut self, moment: &Moment) {
        let mut changed = false;
        for waiting in &mut self.record.waiting {
            if waiting.start.is_none() {
                waiting.start = waiting.offer.schedule.start(moment, waiting.drawn);
                changed |= waiting.start.is_some();
            }
        }
        while let Some(at) = self.record.waiting.iter().position(|waiting| is_late(&waiting.offer, moment)) {
            let late = self.record.waiting.remove(at);
            let why = "its time was over before its turn came".to_owned();
            self.ended(late, Outcome::Failed { at: FailedAt::Deadline, why });
        }
        if self.record.active.is_none() {
            let due = self.record.waiting.iter().enumerate();
            let due = due.filter(|(_, waiting)| is_due(&waiting.offer, waiting.start, moment));
            // Whoever was due first; those that never wait are due since ever.
            if let Some((at, _)) = due.min_by_key(|(_, waiting)| (waiting.start, waiting.id)) {
                let mut operation = self.record.waiting.remove(at);
                operation.stage = Stage::Loading;
                let (id, offer) = (operation.id, operation.offer.clone());
                self.record.active = Some(operation);
                self.save();
                return self.load(id, offer);
            }
        }
        if changed {
            self.save();
        }
    }

    fn load(&mut self, id: u64, offer: Offer) {
        (self.step, self.percent) = (Step::Loading, None);
        self.outputs.push_back(Output::Load { id, offer });
    }

    fn stop_loading(&mut self) {
        if let (Step::Loading, Some(active)) = (&self.step, &self.record.active) {
            self.outputs.push_back(Output::StopLoading { id: active.id });
        }
    }

    fn roll_back(&mut self, why: String) {
        if let Some(Operation { id, .. }) = &self.record.active {
            self.step = Step::RollingBack { why };
            self.outputs.push_back(Output::RollBack { id: *id });
        }
    }

    fn restart(&mut self) {
        let Some(active) = &mut self.record.active else { return };
        let id = active.id;
        let (counter, n) = match active.stage {
            Stage::Restarting { counter, n } => (counter, n),
            Stage::Installing { counter, .. } => (counter, 0),
            Stage::Waiting | Stage::Loading => (None, 0),
        };
        if n >= RESTARTS_MAX {
            return self.roll_back(format!("{n} restarts did not bring the new version up"));
        }
        active.stage = Stage::Restarting { counter, n: n + 1 };
        self.step = Step::Restarting;
        self.save();
        self.tell(News::Restarting);
        self.outputs.push_back(Output::Restart { id });
    }

    /// `until`: it is on trial until then.
    fn confirm(&mut self, until: Option<Timestamp>) {
        let Some(Operation { id, offer, stage, .. }) = &self.record.active else { return };
        let counter = match stage {
            Stage::Installing { counter, .. } | Stage::Restarting { counter, .. } => *counter,
            Stage::Waiting | Stage::Loading => None,
        };
        self.step = Step::Confirming { until };
        let confirm = Output::Confirm { id: *id, target: offer.target, counter, on_trial: until.is_some() };
        self.outputs.push_back(confirm);
    }

    fn fail(&mut self, moment: &Moment, at: FailedAt, why: String) {
        let why = why.chars().take(WHY_MAX).collect();
        self.end(moment, Outcome::Failed { at, why });
    }

    fn end(&mut self, moment: &Moment, outcome: Outcome) {
        if let Some(operation) = self.record.active.take() {
            self.step = Step::Idle;
            self.ended(operation, outcome);
            self.outputs.push_back(Output::Clean { keep: None });
            self.next(moment);
        }
    }

    /// Remembers the end of an operation, and tells it then.
    fn ended(&mut self, operation: Operation, outcome: Outcome) {
        let Operation { id, offer: Offer { asker, reference, .. }, .. } = operation;
        let ended = Ended { id, asker, reference, outcome };
        self.record.ended.push(ended.clone());
        if self.record.ended.len() > ENDED_MAX {
            self.record.ended.remove(0);
        }
        self.save();
        self.outputs.push_back(told(&ended));
    }

    fn save(&mut self) {
        self.outputs.push_back(Output::Save(self.record.encode()));
    }

    fn tell(&mut self, news: News) {
        if let Some(Operation { id, offer, .. }) = &self.record.active {
            let (asker, reference) = (offer.asker.clone(), offer.reference.clone());
            self.outputs.push_back(Output::Tell { asker, id: *id, reference, news });
        }
    }

    fn is_at(&self, id: u64, step: &Step) -> bool {
        self.step == *step && self.record.active.as_ref().is_some_and(|active| active.id == id)
    }

    fn target(&self) -> Option<Target> {
        self.record.active.as_ref().map(|active| active.offer.target)
    }
}

fn told(ended: &Ended) -> Output {
    let Ended { id, asker, reference, outcome } = ended.clone();
    Output::Tell { asker, id, reference, news: News::Ended(outcome) }
}

fn is_due(offer: &Offer, start: Option<i64>, moment: &Moment) -> bool {
    let has_come = start.zip(moment.unix_s).is_some_and(|(start, now)| start <= now);
    matches!(offer.schedule, super::offer::Schedule::Now) || has_come
}

fn is_late(offer: &Offer, moment: &Moment) -> bool {
    offer.load_by.zip(moment.unix_s).is_some_and(|(load_by, now)| load_by <= now)
}

/// Updates that wait for their turn, one for each asker. Chosen by us: more than clouds at one device.
pub(super) const WAITING_MAX: usize = 8;

/// Ends that are remembered until they are acknowledged; beyond, the oldest is forgotten. Chosen by us: an asker that never
/// acknowledges must not fill the record.
const ENDED_MAX: usize = 16;

/// Longest text of an offer. Chosen by us: the longest address that the clouds' plugins take.
pub(super) const TEXT_MAX: usize = 2048;

/// Digests of an offer. Chosen by us: more than there are kinds.
const DIGESTS_MAX: usize = 8;

/// Characters of a reason. Chosen by us: clouds show it to people.
const WHY_MAX: usize = 300;

/// Installations of one operation that a power cut may interrupt. Chosen by us: an image that resets the device while it is
/// installed would do so for ever.
const INSTALLS_MAX: u32 = 3;

/// Restarts that are asked for until what was installed runs. Chosen by us.
const RESTARTS_MAX: u32 = 3;

/// Pause after a confirmation that failed. Chosen by us.
const CONFIRM_AGAIN_MS: u64 = 10_000;

/// How often the wall clock is looked at while something waits for it. Chosen by us.
const CLOCK_MS: u64 = 60_000;

#[cfg(test)]
mod tests;
