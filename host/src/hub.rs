//! The bus as everybody shares it: [`Bus`] behind a lock, and what carries its effects out.
//!
//! The lock is held for the bus's own work and for putting commands into the link's mailbox, in their order; never while a
//! plugin or a watcher is told something.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use polylink_plugin_api::{Command, CommandOutcome, InstanceId, Now, Timestamp};
use tokio::sync::{Notify, broadcast, oneshot};
use tracing::{debug, warn};

use crate::bus::rate::Rate;
use crate::bus::{Bus, CloudId, Effect, Handover, LinkCommand, WatchEvent};
use crate::disk::Disk;
use crate::mcu::{LinkOutput, LinkResult};
use crate::spool::{FlashDone, FlashJob, Spool, SpoolUsage};

/// Reads the clock.
pub type NowSource = Arc<dyn Fn() -> Now + Send + Sync>;

/// Gives a command to the link's task, without waiting; false: there is no room or nobody there.
pub type LinkSender = Box<dyn Fn(LinkCommand) -> bool + Send + Sync>;

/// Wakes the thread of one plugin instance.
pub trait Waker: Send + Sync {
    /// The bus has something for it. Must not block, and must not call the hub.
    fn wake(&self);
}

/// See the module. Every method may be called from any thread.
pub struct Hub {
    shared: Mutex<Shared>,
    now: NowSource,
    link: LinkSender,
    wakers: Mutex<HashMap<InstanceId, Arc<dyn Waker>>>,
    answers: Mutex<HashMap<u64, oneshot::Sender<CommandOutcome>>>,
    watchers: broadcast::Sender<Arc<WatchEvent>>,
    complaints: Mutex<Rate>,
    deadline: Notify,
    spool_deadline: Notify,
    /// Held while flash is written.
    flash: tokio::sync::Mutex<()>,
}

/// What changes together.
struct Shared {
    bus: Bus,
    /// Keeps the journal on disks; none: it is in RAM alone.
    spool: Option<Spool>,
}

impl Hub {
    /// A hub over this bus.
    #[must_use]
    pub fn new(bus: Bus, now: NowSource, link: LinkSender) -> Arc<Self> {
        Arc::new(Self {
            shared: Mutex::new(Shared { bus, spool: None }),
            now,
            link,
            wakers: Mutex::default(),
            answers: Mutex::default(),
            watchers: broadcast::Sender::new(WATCH_BACKLOG),
            complaints: Mutex::new(Rate::new(COMPLAINTS_PER_SECOND, COMPLAINTS_BURST)),
            deadline: Notify::new(),
            spool_deadline: Notify::new(),
            flash: tokio::sync::Mutex::default(),
        })
    }

    /// From now on the journal is kept on disks. To be called before the first report.
    pub fn keep_in(&self, spool: Spool) {
        let mut shared = self.lock();
        shared.bus.record_changes();
        shared.spool = Some(spool);
    }

    /// Declares the clouds of the product that the bus has, in this order, and gives back what an earlier process kept for
    /// them.
    pub fn restore(&self, clouds: &[String]) {
        self.change(|bus, _| {
            clouds.iter().for_each(|name| {
                bus.declare(name);
            })
        });
        let now = self.now().monotonic;
        let mut shared = self.lock();
        let Shared { bus, spool } = &mut *shared;
        if let Some(spool) = spool {
            spool.restore(bus, now);
            self.spool_deadline.notify_one();
        }
    }

    /// How the journal on disks stands; none: it is in RAM alone.
    #[must_use]
    pub fn spool_usage(&self) -> Option<SpoolUsage> {
        self.lock().spool.as_ref().map(Spool::usage)
    }

    /// The current time, as the bus sees it.
    #[must_use]
    pub fn now(&self) -> Now {
        (self.now)()
    }

    /// Looks at the bus, briefly.
    pub fn look<R>(&self, look: impl FnOnce(&Bus) -> R) -> R {
        look(&self.lock().bus)
    }

    /// Changes the bus, and carries out what follows.
    pub fn change<R>(&self, change: impl FnOnce(&mut Bus, &mut Vec<Effect>) -> R) -> R {
        let mut effects = Vec::new();
        let (result, before, after) = {
            let mut shared = self.lock();
            let Shared { bus, spool } = &mut *shared;
            let before = bus.next_timeout();
            let spool_before = spool.as_ref().and_then(|spool| spool.next_timeout(bus));
            let result = change(bus, &mut effects);
            self.send(bus, &mut effects);
            // Before anything else is told of it, above all the MCU: what it is told to be taken must be kept.
            if let Some(spool) = spool.as_mut().filter(|_| bus.has_changes()) {
                spool.follow(bus, self.now().monotonic);
                let due = spool.next_timeout(bus);
                if due.is_some_and(|due| spool_before.is_none_or(|before| due < before)) {
                    self.spool_deadline.notify_one();
                }
            }
            (result, before, bus.next_timeout())
        };
        self.carry_out(effects);
        if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
            self.deadline.notify_one();
        }
        result
    }

    /// What the link says and the bus cares about; the rest is for the caller.
    pub fn link_output(&self, now: Now, output: LinkOutput) {
        match output {
            LinkOutput::Report { device, cause, ticket, body } => {
                self.change(|bus, effects| bus.report(now, device, cause, ticket, body, effects));
            }
            LinkOutput::Outcome { ticket, result } => {
                self.change(|bus, effects| bus.answered(now, ticket, result, effects));
            }
            LinkOutput::Online(online) => self.change(|bus, effects| bus.set_online(online, effects)),
            _ => {}
        }
    }

    /// Asks the device for something, from the command line.
    pub fn submit_locally(&self, command: &Command) -> oneshot::Receiver<CommandOutcome> {
        let (sender, receiver) = oneshot::channel();
        let now = self.now();
        // The answer may come before the ticket is known here, so its slot is made under the bus's lock.
        self.change(|bus, effects| {
            let ticket = bus.submit_locally(now, command, effects);
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.insert(ticket, sender);
        });
        receiver
    }

    /// Everything that happens from now on. A slow watcher misses events and is told how many.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<Arc<WatchEvent>> {
        self.watchers.subscribe()
    }

    /// An instance begins to work for a cloud.
    pub fn attach(&self, cloud: CloudId, instance: InstanceId, waker: Arc<dyn Waker>) {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner).insert(instance, waker);
        self.change(|bus, effects| bus.attach(cloud, instance, effects));
    }

    /// It works no longer; with `for_good`, nothing is kept for its cloud.
    pub fn detach(&self, cloud: CloudId, instance: InstanceId, for_good: bool) {
        self.change(|bus, _| bus.detach(cloud, instance));
        if for_good {
            self.change(|bus, _| bus.retire(cloud));
        }
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner).remove(&instance);
    }

    /// See [`Bus::submit`].
    pub fn submit(&self, from: InstanceId, commands: &[Command]) -> u64 {
        let now = self.now();
        self.change(|bus, effects| bus.submit(now, from, commands, effects))
    }

    /// See [`Bus::settle`].
    pub fn settle(&self, instance: InstanceId, seqs: &[u64]) {
        self.change(|bus, effects| bus.settle(instance, seqs, effects));
    }

    /// See [`Bus::take`].
    #[must_use]
    pub fn take(&self, instance: InstanceId) -> Handover {
        let now = self.now();
        self.lock().bus.take(now, instance)
    }

    /// Ends commands that are past their deadline, for ever. One task of the I/O runtime.
    pub async fn keep_deadlines(self: Arc<Self>) {
        loop {
            match self.look(Bus::next_timeout) {
                None => self.deadline.notified().await,
                Some(due) => {
                    let wait = Duration::from_millis(due.since(self.now().monotonic));
                    if tokio::time::timeout(wait, self.deadline.notified()).await.is_err() {
                        let now = self.now().monotonic;
                        self.change(|bus, effects| bus.timeout(now, effects));
                    }
                }
            }
        }
    }

    /// Brings the journal to flash when it is due, for ever. One task of the I/O runtime.
    pub async fn keep_spool(self: Arc<Self>, flash: Arc<dyn Disk>) {
        loop {
            let wait = {
                let _writing = self.flash.lock().await;
                let (job, due) = self.with_spool(|spool, bus, now| (spool.tick(bus, now), spool.next_timeout(bus)));
                match job {
                    Some(job) => {
                        self.write_to_flash(job, &flash).await;
                        continue;
                    }
                    None => due.map(|due| Duration::from_millis(due.since(self.now().monotonic))),
                }
            };
            let wait = wait.unwrap_or(IDLE).max(SPOOL_PAUSE);
            // Both ends of the wait mean the same.
            let _ = tokio::time::timeout(wait, self.spool_deadline.notified()).await;
        }
    }

    /// The host ends in order: what waits for clouds goes to flash, since the machine may end, too.
    pub async fn finish_spool(&self, flash: &Arc<dyn Disk>) {
        let _writing = self.flash.lock().await;
        if let Some(job) = self.with_spool(|spool, bus, now| spool.finish(bus, now)) {
            self.write_to_flash(job, flash).await;
        }
    }

    async fn write_to_flash(&self, job: FlashJob, flash: &Arc<dyn Disk>) {
        let flash = Arc::clone(flash);
        let done = tokio::task::spawn_blocking(move || job.carry_out(&*flash)).await;
        let done = done.unwrap_or_else(|error| FlashDone::failed(std::io::Error::other(error)));
        self.with_spool(|spool, _, now| spool.done(done, now));
    }

    fn with_spool<R: Default>(&self, work: impl FnOnce(&mut Spool, &mut Bus, Timestamp) -> R) -> R {
        let now = self.now().monotonic;
        let mut shared = self.lock();
        let Shared { bus, spool } = &mut *shared;
        spool.as_mut().map(|spool| work(spool, bus, now)).unwrap_or_default()
    }

    /// Gives commands to the link while the bus is locked, so that they get there in the order that the bus decided;
    /// [`LinkSender`] does not wait.
    fn send(&self, bus: &mut Bus, effects: &mut Vec<Effect>) {
        let mut waiting = VecDeque::from(std::mem::take(effects));
        while let Some(effect) = waiting.pop_front() {
            let Effect::Send(command) = effect else {
                effects.push(effect);
                continue;
            };
            let ticket = command.ticket;
            debug!(ticket, device = command.device, "command goes to the MCU");
            if !(self.link)(command) {
                let mut further = Vec::new();
                bus.answered(self.now(), ticket, LinkResult::Unreachable, &mut further);
                waiting.extend(further);
            }
        }
    }

    fn carry_out(&self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                // `send` has taken these.
                Effect::Send(_) => {}
                Effect::Wake(instance) => {
                    let waker = self.wakers.lock().unwrap_or_else(PoisonError::into_inner).get(&instance).cloned();
                    waker.inspect(|waker| waker.wake());
                }
                Effect::Answer(outcome) => {
                    let slot = self.answers.lock().unwrap_or_else(PoisonError::into_inner).remove(&outcome.ticket);
                    if let Some(slot) = slot {
                        // The asker may have gone; then nobody misses the answer.
                        let _ = slot.send(outcome);
                    }
                }
                Effect::Watch(event) => {
                    if let WatchEvent::Outcome { ticket, kind, reason, .. } = &event {
                        debug!(ticket, kind, reason, "command is over");
                    }
                    if self.watchers.receiver_count() > 0 {
                        // Only the last watcher's leaving in between makes this fail.
                        let _ = self.watchers.send(Arc::new(event));
                    }
                }
                Effect::Complain(text) => {
                    let now = self.now().monotonic;
                    if self.complaints.lock().unwrap_or_else(PoisonError::into_inner).allow(now) {
                        warn!("{text}");
                    }
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // The bus keeps its invariants at every point where it could panic, so a poisoned one is still sound.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wait while the journal wants nothing; any long time does.
const IDLE: Duration = Duration::from_secs(3600);

/// Least time between two looks at the journal on disks: a journal that is always due must not take a processor.
/// Chosen by us.
const SPOOL_PAUSE: Duration = Duration::from_millis(10);

/// Events kept for a slow watcher. Not documented; chosen by us.
const WATCH_BACKLOG: usize = 256;

/// Lines about misfitting reports a second on average, and at once; all of them are counted. Not documented; chosen by
/// us.
const COMPLAINTS_PER_SECOND: u32 = 1;
/// See [`COMPLAINTS_PER_SECOND`].
const COMPLAINTS_BURST: u32 = 10;

#[cfg(test)]
mod tests {
    use polylink_plugin_api::{Cause, DatapointId, Property, ReportBody, Value, WallTime};

    use super::*;
    use crate::bus::{ArbiterSettings, JournalLimits, Policy};
    use crate::disk::simulated::Simulated;
    use crate::spool::{SEGMENT_BYTES, SpoolSettings};

    #[tokio::test(start_paused = true)]
    async fn a_first_report_wakes_who_brings_the_journal_to_flash() {
        let began = tokio::time::Instant::now();
        let now = move || {
            let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            Now { monotonic: Timestamp(ms), wall: WallTime::default(), utc_offset_s: 0 }
        };
        let limits = JournalLimits { max_reports: 100, max_bytes: 1 << 20 };
        let bus = Bus::new(limits, ArbiterSettings { policy: Policy::LastWriter, deadline_ms: 5000 });
        let hub = Hub::new(bus, Arc::new(now), Box::new(|_| true));
        let (memory, flash) = (Simulated::new(), Simulated::new());
        let settings = SpoolSettings {
            flash: true,
            flash_max_bytes: 1 << 20,
            max_age_ms: 1 << 40,
            spill_after_ms: 5000,
            sync_interval_ms: 5000,
            segment_bytes: SEGMENT_BYTES,
        };
        hub.keep_in(Spool::open(settings, Arc::new(memory.clone()), &flash, Timestamp(0)));
        hub.change(|bus, _| bus.set_product(Arc::new(crate::bus::test_product())));
        hub.restore(&["a".to_owned()]);
        tokio::spawn(Arc::clone(&hub).keep_spool(Arc::new(flash.clone())));
        // The task has looked and sleeps.
        tokio::time::advance(Duration::from_secs(100)).await;
        tokio::task::yield_now().await;
        let value = Property { id: DatapointId(2), value: Value::Int(1) };
        let report = ReportBody::Properties(vec![value].into());
        let now = hub.now();
        hub.change(|bus, effects| bus.report(now, 0, Cause::CHANGE, None, report, effects));
        assert!(memory.n_operations() > 0, "it is kept before anything else happens");
        let looks = async {
            // The clock goes on by itself only while nobody works, also on another thread.
            while flash.n_operations() == 0 {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        // Of the paused clock; a task that is not woken would sleep for an hour.
        tokio::time::timeout(Duration::from_secs(600), looks).await.expect("flash is used");
    }
}
