//! Where the MCU and the clouds meet: last values, change detection, one journal with a cursor for each cloud, and the
//! arbiter of commands.
//!
//! [`Bus`] is pure: no clock, no lock, no thread; what it wants done it returns as [`Effect`]s. [`crate::hub`] puts it
//! behind a lock and carries the effects out.
//!
//! What goes on to the clouds:
//!
//! * A value with `history = "all"`, an alarm or a fault goes on each time the device says it.
//! * A value with `history = "latest"` goes on when it differs from the last one, when the device repeats its state on
//!   purpose ([`Cause::PERIODIC`]), and when a command caused it. Otherwise it is counted as unchanged.
//! * An answer to a query ([`Cause::ANSWER`], and what an outcome carries) goes to the asker by the outcome; to the
//!   others only what it shows to have changed.
//! * Events and raw bytes always go on.
//! * A value that does not fit the thing model is left out, counted, and named in the log.
//! * To an instance that has [`journal::UNSETTLED_MAX`] unsettled reports, the newest values go at once as
//!   [`Cause::LIVE`], beside what waits for it in the journal.

pub mod arbiter;
mod check;
mod cursor;
mod dedupe;
mod durable;
pub mod effect;
pub mod journal;
mod policy;
mod present;
pub mod rate;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use polylink_plugin_api::{
    Cause, Command, CommandBody, CommandOutcome, DatapointId, InstanceId, Now, Origin, OutcomeKind, Property, Report,
    ReportBody, Timestamp, Value, WallTime,
};

use self::arbiter::{Arbiter, Conclusion, Ruling};
pub use self::arbiter::{ArbiterSettings, Asker, Policy};
pub use self::check::CheckError;
pub use self::effect::{Effect, LinkCommand, WatchEvent};
pub use self::journal::{CloudId, JournalLimits, Losses};
use self::journal::{Journal, Record, Weight};
use self::present::{Present, Unseen};
use crate::mcu::LinkResult;
use crate::product::{Class, History, Product};

/// See the module.
#[derive(Debug)]
pub struct Bus {
    product: Option<Arc<Product>>,
    online: bool,
    present: Present,
    journal: Journal,
    arbiter: Arbiter,
    clouds: Vec<Cloud>,
    attached: HashMap<InstanceId, CloudId>,
    counters: Counters,
}

/// What went through the bus since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Reports of the device.
    pub reports: u64,
    /// Values that were not passed on because they had not changed.
    pub unchanged: u64,
    /// Values or reports that did not fit the thing model, or came before the product was known.
    pub misfits: u64,
    /// Commands of clouds and of the command line.
    pub commands: u64,
    /// Commands that were done.
    pub commands_done: u64,
}

/// What one call of [`Bus::take`] hands over.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Handover {
    /// What became of commands, in the order in which it became known.
    pub outcomes: Vec<CommandOutcome>,
    /// What the device said, oldest first.
    pub reports: Vec<Report>,
    /// There is more to take at once.
    pub more: bool,
    /// What this cloud has lost since the start.
    pub losses: Losses,
}

/// How one cloud stands with the bus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CloudUsage {
    /// Reports that wait.
    pub waiting: usize,
    /// Reports that are handed over and not settled.
    pub unsettled: usize,
    /// What it lost.
    pub losses: Losses,
    /// Outcomes it did not take in time.
    pub outcomes_lost: u64,
    /// Reports that were settled since the start.
    pub settled: u64,
    /// When the oldest report that is not settled was said.
    pub oldest_at: Option<WallTime>,
}

#[derive(Debug)]
struct Cloud {
    name: String,
    instance: Option<InstanceId>,
    outcomes: VecDeque<CommandOutcome>,
    outcomes_lost: u64,
    snapshot_due: bool,
    /// What its instance lacks of the present; nothing while there is none.
    unseen: Unseen,
    /// It was woken and has not come yet.
    woken: bool,
}

impl Bus {
    /// A bus without clouds and without a product.
    #[must_use]
    pub fn new(limits: JournalLimits, settings: ArbiterSettings) -> Self {
        Self {
            product: None,
            online: false,
            present: Present::default(),
            journal: Journal::new(limits),
            arbiter: Arbiter::new(settings),
            clouds: Vec::new(),
            attached: HashMap::new(),
            counters: Counters::default(),
        }
    }

    /// Sets the thing model. If it differs from the one before, values and waiting reports are forgotten, because
    /// their ids mean something else now.
    pub fn set_product(&mut self, product: Arc<Product>) {
        if self.product.as_ref().is_some_and(|before| *before != product) {
            self.present.clear();
            self.journal.clear();
            self.clouds.iter_mut().for_each(|cloud| cloud.unseen.clear());
        }
        self.product = Some(product);
    }

    /// The thing model.
    #[must_use]
    pub fn product(&self) -> Option<&Arc<Product>> {
        self.product.as_ref()
    }

    /// Declares a cloud, or finds the one of this name. Reports are kept for it from now on. The order of declaration
    /// is the order of [`Policy::Priority`].
    pub fn declare(&mut self, name: &str) -> CloudId {
        if let Some(at) = self.clouds.iter().position(|cloud| cloud.name == name) {
            return CloudId(at);
        }
        self.clouds.push(Cloud {
            name: name.to_owned(),
            instance: None,
            outcomes: VecDeque::new(),
            outcomes_lost: 0,
            snapshot_due: false,
            unseen: Unseen::default(),
            woken: false,
        });
        self.journal.add_cursor()
    }

    /// A plugin instance works for this cloud now. It gets the last values first, and then what was not settled.
    pub fn attach(&mut self, cloud: CloudId, instance: InstanceId, effects: &mut Vec<Effect>) {
        self.detach_any(cloud);
        self.journal.admit(cloud);
        if let Some(known) = self.clouds.get_mut(cloud.0) {
            known.instance = Some(instance);
            known.snapshot_due = true;
            self.attached.insert(instance, cloud);
            self.wake(cloud, effects);
        }
    }

    /// This instance works for the cloud no longer; reports are kept for the next one.
    pub fn detach(&mut self, cloud: CloudId, instance: InstanceId) {
        if self.attached.get(&instance) == Some(&cloud) {
            self.detach_any(cloud);
        }
    }

    /// Nobody will work for this cloud until it is attached again; nothing is kept for it.
    pub fn retire(&mut self, cloud: CloudId) {
        self.detach_any(cloud);
        self.journal.retire(cloud);
    }

    /// The device said something.
    pub fn report(
        &mut self,
        now: Now,
        device: u32,
        cause: Cause,
        ticket: Option<u64>,
        body: ReportBody,
        effects: &mut Vec<Effect>,
    ) {
        self.counters.reports += 1;
        let Some(product) = self.product.clone() else {
            self.misfit("a report came before the product was known".to_owned(), effects);
            return;
        };
        if device > DEVICE_MAX {
            self.misfit(format!("a report of subdevice {device}; at most {DEVICE_MAX} are known"), effects);
            return;
        }
        let (body, errors) = check::check_report(&product, body);
        for error in errors {
            self.misfit(format!("left out of a report: {error}"), effects);
        }
        let origin = ticket.and_then(|ticket| Some((self.arbiter.asker_of(ticket)?, ticket)));
        match body {
            Some(ReportBody::Properties(values)) if cause == Cause::ANSWER => {
                self.learn(now, device, values.into(), effects);
            }
            Some(ReportBody::Properties(values)) => {
                let passes = |this: &Self, one: &Property| {
                    origin.is_some()
                        || cause != Cause::CHANGE
                        || !is_latest(&product, one.id)
                        || this.present.differs(device, one)
                };
                self.publish(now, (device, cause, origin), values.into(), passes, effects);
            }
            Some(body) => self.pass_on(now, (device, cause, origin), body, effects),
            None => {}
        }
    }

    /// The link is done with a command.
    pub fn answered(&mut self, now: Now, ticket: u64, result: LinkResult, effects: &mut Vec<Effect>) {
        let asked = self.arbiter.body_of(ticket).map(|(device, body)| (device, matches!(body, CommandBody::Get(_))));
        let result = match (result, asked, self.product.clone()) {
            (LinkResult::Done(values), Some((device, true)), Some(product)) => {
                let (values, errors) = check::check_values(&product, values);
                for error in errors {
                    self.misfit(format!("left out of an answer: {error}"), effects);
                }
                self.learn(now, device, values.clone(), effects);
                LinkResult::Done(values)
            }
            (result, _, _) => result,
        };
        let mut rulings = Vec::new();
        self.arbiter.answered(ticket, result, &mut rulings);
        self.carry_out(rulings, effects);
    }

    /// The MCU answers, or has fallen silent.
    pub fn set_online(&mut self, online: bool, effects: &mut Vec<Effect>) {
        if self.online != online {
            self.online = online;
            effects.push(Effect::Watch(WatchEvent::Online(online)));
        }
        let mut rulings = Vec::new();
        self.arbiter.set_online(online, &mut rulings);
        self.carry_out(rulings, effects);
    }

    /// An instance asks for something. Returns the ticket of the first command; 0 if the instance is not attached.
    pub fn submit(&mut self, now: Now, from: InstanceId, commands: &[Command], effects: &mut Vec<Effect>) -> u64 {
        match self.attached.get(&from) {
            Some(&cloud) => self.ask(now, Asker::Cloud(cloud), from, commands, effects),
            None => 0,
        }
    }

    /// The command line asks for something. [`Effect::Answer`] with the returned ticket follows, perhaps at once.
    pub fn submit_locally(&mut self, now: Now, command: &Command, effects: &mut Vec<Effect>) -> u64 {
        self.ask(now, Asker::Local, InstanceId(0), std::slice::from_ref(command), effects)
    }

    /// The cloud of this instance has these reports.
    pub fn settle(&mut self, instance: InstanceId, seqs: &[u64], effects: &mut Vec<Effect>) {
        if let Some(&cloud) = self.attached.get(&instance) {
            let was_held_up = !self.journal.has_more(cloud);
            self.journal.settle(cloud, seqs);
            if was_held_up && self.journal.has_more(cloud) {
                self.wake(cloud, effects);
            }
        }
    }

    /// What this instance has not been given yet.
    pub fn take(&mut self, now: Now, instance: InstanceId) -> Handover {
        let Some(&cloud) = self.attached.get(&instance) else { return Handover::default() };
        let known = &mut self.clouds[cloud.0];
        known.woken = false;
        let n = known.outcomes.len().min(BATCH_MAX);
        let outcomes = known.outcomes.drain(..n).collect();
        let mut reports = Vec::new();
        if std::mem::take(&mut known.snapshot_due) {
            reports.extend(self.present.snapshot(now));
            known.unseen.clear();
        }
        for handed in self.journal.take(cloud, BATCH_MAX) {
            let origin = self.origin_of(handed.origin);
            self.clouds[cloud.0].unseen.given(&handed.report, &self.present);
            reports.push(Report { origin, ..handed.report });
        }
        if self.journal.is_full(cloud) {
            reports.extend(self.clouds[cloud.0].unseen.take(&self.present));
        }
        let more = self.journal.has_more(cloud) || !self.clouds[cloud.0].outcomes.is_empty();
        Handover { outcomes, reports, more, losses: self.journal.losses(cloud) }
    }

    /// When [`Bus::timeout`] is wanted.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.arbiter.next_timeout()
    }

    /// Ends commands that are past their deadline.
    pub fn timeout(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let mut rulings = Vec::new();
        self.arbiter.timeout(now, &mut rulings);
        self.carry_out(rulings, effects);
    }

    /// Whether the MCU answers.
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.online
    }

    /// The last values, by device and datapoint.
    pub fn values(&self) -> impl Iterator<Item = (u32, DatapointId, &Value)> {
        self.present.iter()
    }

    /// The last value of one datapoint, and when it was said first.
    #[must_use]
    pub fn value(&self, device: u32, id: DatapointId) -> Option<(&Value, WallTime)> {
        self.present.get(device, id)
    }

    /// What went through.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Reports and bytes in the journal.
    #[must_use]
    pub fn journal_usage(&self) -> (usize, usize) {
        self.journal.usage()
    }

    /// How this cloud stands.
    #[must_use]
    pub fn cloud_usage(&self, cloud: CloudId) -> CloudUsage {
        let (waiting, unsettled) = self.journal.backlog(cloud);
        let outcomes_lost = self.clouds.get(cloud.0).map_or(0, |known| known.outcomes_lost);
        CloudUsage {
            waiting,
            unsettled,
            losses: self.journal.losses(cloud),
            outcomes_lost,
            settled: self.journal.n_settled(cloud),
            oldest_at: self.journal.oldest_at(cloud),
        }
    }

    fn detach_any(&mut self, cloud: CloudId) {
        if let Some(known) = self.clouds.get_mut(cloud.0)
            && let Some(instance) = known.instance.take()
        {
            known.outcomes.clear();
            known.unseen.clear();
            known.woken = false;
            self.attached.remove(&instance);
            self.journal.rewind(cloud);
        }
    }

    fn ask(
        &mut self,
        now: Now,
        asker: Asker,
        instance: InstanceId,
        commands: &[Command],
        effects: &mut Vec<Effect>,
    ) -> u64 {
        let mut first = 0;
        for command in commands {
            self.counters.commands += 1;
            let mut rulings = Vec::new();
            let product = self.product.as_ref();
            let ticket = self.arbiter.submit(now.monotonic, asker, instance, product, command, &mut rulings);
            first = if first == 0 { ticket } else { first };
            let (from, body) = (self.name_of(asker), command.body.clone());
            effects.push(Effect::Watch(WatchEvent::Command { ticket, from, body }));
            self.carry_out(rulings, effects);
        }
        first
    }

    fn carry_out(&mut self, rulings: Vec<Ruling>, effects: &mut Vec<Effect>) {
        for ruling in rulings {
            match ruling {
                Ruling::Send(command) => effects.push(Effect::Send(command)),
                Ruling::Over(conclusion) => self.conclude(conclusion, effects),
            }
        }
    }

    fn conclude(&mut self, Conclusion { asker, instance, outcome }: Conclusion, effects: &mut Vec<Effect>) {
        self.counters.commands_done += u64::from(outcome.kind == OutcomeKind::DONE);
        effects.push(Effect::Watch(WatchEvent::Outcome {
            ticket: outcome.ticket,
            from: self.name_of(asker),
            kind: kind_name(outcome.kind),
            reason: outcome.reason.to_string(),
            values: outcome.values.to_vec(),
        }));
        match asker {
            Asker::Local => effects.push(Effect::Answer(outcome)),
            Asker::Cloud(cloud) => {
                let known = &mut self.clouds[cloud.0];
                if known.instance != Some(instance) {
                    // The incarnation that asked is gone; the next one does not know the ticket.
                } else if known.outcomes.len() >= OUTCOMES_MAX {
                    known.outcomes_lost += 1;
                } else {
                    known.outcomes.push_back(outcome);
                    self.wake(cloud, effects);
                }
            }
        }
    }

    /// Values that were read: to everybody only what has changed.
    fn learn(&mut self, now: Now, device: u32, values: Vec<Property>, effects: &mut Vec<Effect>) {
        self.publish(
            now,
            (device, Cause::CHANGE, None),
            values,
            |this, one| this.present.differs(device, one),
            effects,
        );
    }

    fn publish(
        &mut self,
        now: Now,
        (device, cause, origin): (u32, Cause, Option<(Asker, u64)>),
        mut values: Vec<Property>,
        passes: impl Fn(&Self, &Property) -> bool,
        effects: &mut Vec<Effect>,
    ) {
        let n = values.len();
        values.retain(|one| passes(self, one));
        self.counters.unchanged += (n - values.len()) as u64;
        for one in &values {
            if self.present.differs(device, one) {
                if origin.is_none() && cause == Cause::CHANGE {
                    self.arbiter.changed_locally(now.monotonic, device, one.id);
                }
                self.present.set(device, one, now.wall);
                for cloud in self.clouds.iter_mut().filter(|cloud| cloud.instance.is_some()) {
                    cloud.unseen.said(device, one.id);
                }
            }
        }
        if !values.is_empty() {
            self.pass_on(now, (device, cause, origin), ReportBody::Properties(values.into()), effects);
        }
    }

    fn pass_on(
        &mut self,
        now: Now,
        (device, cause, origin): (u32, Cause, Option<(Asker, u64)>),
        body: ReportBody,
        effects: &mut Vec<Effect>,
    ) {
        let from = origin.map_or_else(String::new, |(asker, _)| self.name_of(asker));
        effects.push(Effect::Watch(WatchEvent::Report {
            at: now.wall,
            device,
            cause,
            origin: from,
            body: body.clone(),
        }));
        let origin = origin.and_then(|(asker, ticket)| match asker {
            Asker::Cloud(cloud) => Some((cloud, ticket)),
            Asker::Local => None,
        });
        let (weight, latest) = self.weigh(&body);
        let said_ms = i64::try_from(now.monotonic.0).unwrap_or(i64::MAX);
        self.journal.push(Record { at: now.wall, said_ms, device, cause, origin, body, weight, latest });
        for cloud in (0..self.clouds.len()).map(CloudId) {
            if self.has_more(cloud) {
                self.wake(cloud, effects);
            }
        }
    }

    /// Whether [`Bus::take`] would hand over reports.
    fn has_more(&self, cloud: CloudId) -> bool {
        let shows = || self.journal.is_full(cloud) && !self.clouds[cloud.0].unseen.is_empty();
        self.journal.has_more(cloud) || shows()
    }

    fn weigh(&self, body: &ReportBody) -> (Weight, Box<[DatapointId]>) {
        let (ReportBody::Properties(values), Some(product)) = (body, &self.product) else {
            return (Weight::History, Box::default());
        };
        let weight = |one: &Property| match product.properties.get(one.id.0 as usize) {
            Some(property) if property.class != Class::Value => Weight::Alarm,
            Some(property) if property.history == History::Latest => Weight::Latest,
            _ => Weight::History,
        };
        let latest = values.iter().filter(|one| weight(one) == Weight::Latest).map(|one| one.id).collect();
        (values.iter().map(weight).max().unwrap_or(Weight::Latest), latest)
    }

    fn wake(&mut self, cloud: CloudId, effects: &mut Vec<Effect>) {
        let known = &mut self.clouds[cloud.0];
        if let (Some(instance), false) = (known.instance, known.woken) {
            known.woken = true;
            effects.push(Effect::Wake(instance));
        }
    }

    /// The incarnation that works for the asking cloud now stands for the one that asked.
    fn origin_of(&self, origin: Option<(CloudId, u64)>) -> Origin {
        let instance = origin.and_then(|(cloud, _)| self.clouds[cloud.0].instance);
        match (instance, origin) {
            (Some(instance), Some((_, ticket))) => Origin { instance, ticket },
            _ => Origin::default(),
        }
    }

    fn name_of(&self, asker: Asker) -> String {
        match asker {
            Asker::Local => "local".to_owned(),
            Asker::Cloud(cloud) => self.clouds[cloud.0].name.clone(),
        }
    }

    fn misfit(&mut self, text: String, effects: &mut Vec<Effect>) {
        self.counters.misfits += 1;
        effects.push(Effect::Complain(text));
    }
}

fn is_latest(product: &Product, id: DatapointId) -> bool {
    let property = product.properties.get(id.0 as usize);
    property.is_some_and(|property| property.history == History::Latest && property.class == Class::Value)
}

fn kind_name(kind: OutcomeKind) -> &'static str {
    match kind {
        OutcomeKind::DONE => "done",
        OutcomeKind::UNREACHABLE => "unreachable",
        OutcomeKind::TIMED_OUT => "timed out",
        OutcomeKind::SUPERSEDED => "superseded",
        _ => "refused",
    }
}

/// Numbered reports, and outcomes, in one call of a plugin; what shows the present comes beside them, at most one report
/// for each device. Not documented; chosen by us: a call stays far below its time budget.
pub const BATCH_MAX: usize = 64;

/// Outcomes that wait for one instance. Only a plugin that asks without end and never returns gets there; further
/// outcomes are lost and counted. Not documented; chosen by us.
const OUTCOMES_MAX: usize = 1024;

/// Highest index of a subdevice; reports of others are left out and counted. It bounds the memory for last values. Not
/// documented; chosen by us.
const DEVICE_MAX: u32 = 255;

#[cfg(test)]
pub(crate) use tests::product as test_product;

#[cfg(test)]
mod tests;
