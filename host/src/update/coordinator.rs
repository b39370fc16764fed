//! [`Coordinator`]: one update at a time over all clouds, from the offer to the result, pure.
//!
//! Who drives it carries out its [`Output`]s in their order and tells what came of them. [`Output::Save`] is on the disk
//! before the next one is begun; so after a power cut at any moment [`Coordinator::restore`] knows what is to be done again,
//! and asks the backend how far that is. Time is an argument.
//!
//! Invariants: at most one operation is beyond waiting; [`Output::Install`] carries a [`Verified`], so it cannot be made
//! without one; each accepted offer ends exactly once, and its end is listed until its asker has acknowledged it.

mod asking;
pub mod output;
mod record;
mod told;

use std::collections::VecDeque;

use polylink_plugin_api::Timestamp;

use super::hook::{Installed, Standing};
use super::manifest::{Target, Verified};
use super::offer::{Moment, Offer};
pub use output::{CancelRefused, Failed, FailedAt, Listed, News, OfferRefused, Outcome, Output, Progress, Subject};
use record::{Ended, Operation, Record, Stage};
use told::Told;

/// See the module.
#[derive(Debug)]
pub struct Coordinator {
    settings: Settings,
    record: Record,
    step: Step,
    outputs: VecDeque<Output>,
    is_healthy: bool,
    told: Told,
}

/// What it can do, and how patient it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What there is a backend for.
    pub targets: Vec<Target>,
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
    /// `again`: it was refused, and is asked for then.
    Restarting {
        again: Option<Timestamp>,
    },
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
        let record = saved.map_or_else(Record::default, |saved| {
            Record::decode(saved).unwrap_or_else(|| {
                tracing::error!("the record of updates is damaged; what was under way is forgotten");
                Record::default()
            })
        });
        let (step, outputs) = (Step::Idle, VecDeque::new());
        Self { settings, record, step, outputs, is_healthy: false, told: Told::default() }
    }

    /// Begins after a start of the host, when the product is known, or has become another one: what was not installed yet
    /// was for the other.
    pub fn start(&mut self, moment: &Moment, product: &str) {
        self.outputs.clear();
        self.step = Step::Idle;
        if self.record.product != product {
            let has_begun = |stage: &Stage| !matches!(stage, Stage::Waiting | Stage::Loading);
            let active = self.record.active.take().filter(|active| has_begun(&active.stage));
            let next_id = self.record.next_id;
            self.record = Record { product: product.to_owned(), next_id, active, ..Record::default() };
            self.save();
        }
        let active = self.record.active.as_ref();
        self.outputs.push_back(Output::Clean { keep: active.map(|operation| operation.id) });
        if let Some(operation) = active {
            match operation.stage {
                Stage::Waiting | Stage::Loading => self.load(),
                Stage::Installing { .. } | Stage::Restarting { .. } => {
                    self.step = Step::Asking;
                    self.outputs.push_back(Output::Ask(operation.subject()));
                }
            }
        }
        self.timeout(moment);
    }

    /// So much of the file is here.
    pub fn loading(&mut self, moment: &Moment, id: u64, percent: Option<u8>) {
        if self.is_at(id, &Step::Loading) {
            self.told.progress(percent, News::Loading(percent));
            self.tell_progress(moment);
        }
    }

    /// The file is here, or will not come.
    pub fn loaded(&mut self, moment: &Moment, id: u64, loaded: Result<(), Failed>) {
        if !self.is_at(id, &Step::Loading) {
            return;
        }
        self.told.end();
        match loaded {
            Ok(()) => self.verify(),
            Err(failed) => self.fail(moment, failed),
        }
    }

    /// The file may be installed, or may not.
    pub fn verified(&mut self, moment: &Moment, id: u64, verified: Result<Verified, Failed>) {
        if !self.is_at(id, &Step::Verifying) {
            return;
        }
        let proof = match verified {
            Ok(proof) => proof,
            Err(failed) => return self.fail(moment, failed),
        };
        let Some(active) = &mut self.record.active else { return };
        let before = if let Stage::Installing { n, .. } = active.stage { n } else { 0 };
        if before >= INSTALLS_MAX {
            let why = format!("it was interrupted {before} times");
            return self.fail(moment, Failed::new(FailedAt::Installing, why));
        }
        let counter = proof.manifest().map(|manifest| manifest.counter);
        active.stage = Stage::Installing { counter, n: before + 1 };
        let subject = active.subject();
        self.step = Step::Installing;
        self.told.begin();
        self.save();
        self.tell(News::Verified);
        self.outputs.push_back(Output::Install { subject, proof });
    }

    /// So much is installed.
    pub fn installing(&mut self, moment: &Moment, id: u64, percent: Option<u8>) {
        if self.is_at(id, &Step::Installing) {
            self.told.progress(percent, News::Installing(percent));
            self.tell_progress(moment);
        }
    }

    /// It is installed, or is not.
    pub fn installed(&mut self, moment: &Moment, id: u64, installed: Result<Installed, String>) {
        if !self.is_at(id, &Step::Installing) {
            return;
        }
        self.told.end();
        match installed {
            Ok(Installed::NeedsRestart) => self.restart(),
            Ok(Installed::Runs) => self.confirm(None),
            Err(why) => self.fail(moment, Failed::new(FailedAt::Installing, why)),
        }
    }

    /// How the backend stands.
    pub fn standing(&mut self, moment: &Moment, id: u64, standing: Result<Standing, String>) {
        if !self.is_at(id, &Step::Asking) {
            return;
        }
        let Some(active) = &self.record.active else { return };
        let stage = active.stage;
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
                self.fail(moment, Failed::new(FailedAt::Trial, "the new version did not come up"));
            }
            // The restart has not happened, or not in the way that makes it run.
            (Ok(Standing::NotStarted), _) => self.restart(),
            (Ok(Standing::Settled), Stage::Restarting { .. }) => self.confirm(None),
            // Nothing of it is there: the file is, so it is done again.
            (Ok(Standing::Settled), _) => self.verify(),
            (Err(why), _) => self.fail(moment, Failed::new(FailedAt::Installing, why)),
        }
    }

    /// The restart was refused: a device may be busy with something that must not be cut off.
    pub fn not_restarted(&mut self, moment: &Moment, id: u64) {
        if self.is_at(id, &Step::Restarting { again: None }) {
            self.step = Step::Restarting { again: Some(moment.now.after(RESTART_AGAIN_MS)) };
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
        let subject = self.record.active.as_ref().map(Operation::subject).filter(|subject| subject.id == id);
        let (Step::RollingBack { why }, Some(subject)) = (&self.step, subject) else { return };
        let mut why = why.clone();
        if let Err(also) = rolled_back {
            // Its tries run out by themselves.
            why += &format!(", and cannot be taken back at once: {also}");
        }
        self.fail(moment, Failed::new(FailedAt::Trial, why));
        self.outputs.push_back(Output::Restart(subject));
    }

    /// What was to be saved is not. Nothing is begun that could not be gone on with.
    pub fn not_saved(&mut self, moment: &Moment, why: &str) {
        let before = self.outputs.len();
        // A restart is made all the same: of what is installed the backend remembers enough.
        self.outputs.retain(|output| !matches!(output, Output::Load { .. } | Output::Install { .. }));
        if self.outputs.len() != before {
            self.fail(moment, Failed::new(FailedAt::Recording, format!("it cannot be recorded: {why}")));
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
            Step::Restarting { again: Some(again) } if again <= moment.now => {
                self.step = Step::Restarting { again: None };
                self.outputs.extend(self.record.active.as_ref().map(|active| Output::Restart(active.subject())));
            }
            _ => {}
        }
        self.tell_progress(moment);
        self.next(moment);
    }

    /// When [`Coordinator::timeout`] is wanted. Where that hangs on the wall clock, at least once a minute, as that clock
    /// may be set meanwhile.
    #[must_use]
    pub fn next_timeout(&self, moment: &Moment) -> Option<Timestamp> {
        let own = match self.step {
            Step::Trial { until, again } if self.is_healthy => Some(until.min(again)),
            Step::Trial { until, .. } => Some(until),
            Step::Restarting { again } => again,
            _ => None,
        };
        let at = |unix_s: i64| {
            let ms = moment.unix_s.map_or(u64::MAX, |now| u64::try_from(unix_s.saturating_sub(now)).unwrap_or(0));
            moment.now.after(ms.saturating_mul(1000).min(CLOCK_MS))
        };
        // Of several, the clock's next minute is soon enough for those whose time will be over.
        let is_free = self.record.active.is_none();
        let starts = self.record.waiting.iter().map(|waiting| match waiting.start {
            Some(start) if is_free => at(start),
            Some(_) => moment.now.after(CLOCK_MS),
            None => {
                let delay_ms = waiting.offer.schedule.delay_s(waiting.drawn).saturating_mul(1000);
                let due = waiting.since.after(delay_ms);
                if is_free && due > moment.now {
                    due.min(moment.now.after(CLOCK_MS))
                } else {
                    moment.now.after(CLOCK_MS)
                }
            }
        });
        own.into_iter().chain(self.told.due(moment.now)).chain(starts).min()
    }

    /// What is to be done.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
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
        while let Some(at) = self.record.waiting.iter().position(|waiting| waiting.offer.schedule.is_over(moment)) {
            let late = self.record.waiting.remove(at);
            let why = "its time was over before its turn came".to_owned();
            self.ended(late, Outcome::Failed { at: FailedAt::Deadline, why });
        }
        if self.record.active.is_none() {
            let due = self.record.waiting.iter().enumerate().filter(|(_, waiting)| waiting.is_due(moment));
            // Whoever was due first.
            if let Some((at, _)) = due.min_by_key(|(_, waiting)| (waiting.start, waiting.id)) {
                let mut operation = self.record.waiting.remove(at);
                operation.stage = Stage::Loading;
                self.record.active = Some(operation);
                self.save();
                return self.load();
            }
        }
        if changed {
            self.save();
        }
    }

    fn load(&mut self) {
        let Some(Operation { id, offer, .. }) = &self.record.active else { return };
        let load = Output::Load { id: *id, offer: offer.clone() };
        self.step = Step::Loading;
        self.told.begin();
        self.tell(News::Loading(None));
        self.outputs.push_back(load);
    }

    fn verify(&mut self) {
        if let Some(active) = &self.record.active {
            self.step = Step::Verifying;
            self.outputs.push_back(Output::Verify(active.subject()));
        }
    }

    fn roll_back(&mut self, why: String) {
        if let Some(active) = &self.record.active {
            self.step = Step::RollingBack { why };
            self.outputs.push_back(Output::RollBack(active.subject()));
        }
    }

    fn restart(&mut self) {
        let Some(active) = &mut self.record.active else { return };
        let subject = active.subject();
        let (counter, n) = match active.stage {
            Stage::Restarting { counter, n } => (counter, n),
            Stage::Installing { counter, .. } => (counter, 0),
            Stage::Waiting | Stage::Loading => (None, 0),
        };
        if n >= RESTARTS_MAX {
            return self.roll_back(format!("{n} restarts did not bring the new version up"));
        }
        active.stage = Stage::Restarting { counter, n: n + 1 };
        self.step = Step::Restarting { again: None };
        self.save();
        self.tell(News::Restarting);
        self.outputs.push_back(Output::Restart(subject));
    }

    /// `until`: it is on trial until then.
    fn confirm(&mut self, until: Option<Timestamp>) {
        let Some(active) = &self.record.active else { return };
        let counter = match active.stage {
            Stage::Installing { counter, .. } | Stage::Restarting { counter, .. } => counter,
            Stage::Waiting | Stage::Loading => None,
        };
        self.step = Step::Confirming { until };
        let confirm = Output::Confirm { subject: active.subject(), counter, on_trial: until.is_some() };
        self.outputs.push_back(confirm);
    }

    fn fail(&mut self, moment: &Moment, Failed { at, why }: Failed) {
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
        let Operation { id, offer, .. } = operation;
        let Offer { asker, reference, target, device, version, .. } = offer;
        let ended = Ended {
            id,
            asker: asker.clone(),
            reference: reference.clone(),
            target,
            device,
            version,
            outcome: outcome.clone(),
        };
        self.record.ended.push(ended);
        if self.record.ended.len() > ENDED_MAX {
            self.record.ended.remove(0);
        }
        self.save();
        self.outputs.push_back(Output::Tell { asker, id, reference, news: News::Ended(outcome) });
    }

    /// At most one is on its way: what an asker did meanwhile may be on the disk before what was decided until then is begun.
    fn save(&mut self) {
        let bytes = self.record.encode();
        match self.outputs.iter_mut().find(|output| matches!(output, Output::Save(_))) {
            Some(before) => *before = Output::Save(bytes),
            None => self.outputs.push_back(Output::Save(bytes)),
        }
    }

    fn tell(&mut self, news: News) {
        if let Some(Operation { id, offer, .. }) = &self.record.active {
            let (asker, reference) = (offer.asker.clone(), offer.reference.clone());
            self.outputs.push_back(Output::Tell { asker, id: *id, reference, news });
        }
    }

    /// Tells progress, though seldom.
    fn tell_progress(&mut self, moment: &Moment) {
        if let Some(news) = self.told.take(moment.now) {
            self.tell(news);
        }
    }

    fn is_at(&self, id: u64, step: &Step) -> bool {
        self.step == *step && self.record.active.as_ref().is_some_and(|active| active.id == id)
    }
}

/// Ends that are remembered until they are acknowledged; beyond, the oldest is forgotten. Chosen by us: as many as four
/// clouds may have; what a cloud that is not configured any more left must not fill the record.
const ENDED_MAX: usize = 64;

/// Characters of a reason. Chosen by us: clouds show it to people.
const WHY_MAX: usize = 300;

/// Installations of one operation that a power cut may interrupt. Chosen by us: an image that resets the device while it is
/// installed would do so for ever.
const INSTALLS_MAX: u32 = 3;

/// Restarts that are asked for until what was installed runs. Chosen by us.
const RESTARTS_MAX: u32 = 3;

/// Pause after a restart that was refused. Chosen by us.
const RESTART_AGAIN_MS: u64 = 60_000;

/// Pause after a confirmation that failed. Chosen by us.
const CONFIRM_AGAIN_MS: u64 = 10_000;

/// How often the wall clock is looked at while something waits for it. Chosen by us.
const CLOCK_MS: u64 = 60_000;

#[cfg(test)]
mod tests;
