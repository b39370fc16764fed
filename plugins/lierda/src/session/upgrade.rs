//! Firmware orders (Lierda access protocol 5.3). What the platform orders goes on to the host, which loads and installs it,
//! also over restarts. The platform has no words for progress or failure, and none by which it takes an order back: it takes
//! the first version told after an order for its outcome. So the version of a module is kept back while an order for it is
//! carried out, unless the platform asks, and told when that is over: the new one, or the old one for a failure.

use std::collections::BTreeSet;

use polylink_plugin_sdk::backoff::Backoff;
use polylink_plugin_sdk::random::Random;
use polylink_plugin_sdk::services::id;
use polylink_plugin_sdk::services::ota::{Failure, Phase as UpdatePhase, Request, UPDATES_MAX, Update};
use polylink_plugin_sdk::{ClockQuality, Context, Now, Output, Timestamp};

use super::connection::Phase;
use super::{LierdaSession, Timer, storage};
use crate::config::Content;
use crate::frame::{self, Frame};
use crate::ota::{self, Order, Settled, module_of};

/// What is known of orders.
#[derive(Debug)]
pub struct Upgrades {
    /// True if the host can load and install firmware.
    can_install: bool,
    /// Those that the host has, without the ones acknowledged since.
    list: Vec<Update>,
    /// Orders that are over.
    pub settled: Settled,
    /// Installed ones whose version was waited for in vain.
    overdue: BTreeSet<String>,
    /// Those of whose end the platform was told; it is told again by each connection, and each day.
    told: BTreeSet<String>,
    /// Modules whose version was not told because of an order.
    kept_back: BTreeSet<String>,
    /// An order that this host cannot carry out.
    pub left: Option<Order>,
    /// How often orders that are not carried out are answered by versions.
    answers: Pacer,
    /// How often failures are told: there are orders that fail at once.
    failures: Pacer,
}

/// Lets something happen more and more seldom. A platform that orders by each version that it hears, as the document suggests
/// (4, OTA), would be told versions for ever at the speed of the line; so there is a pause after each time, and a longer one
/// after the next.
#[derive(Debug)]
struct Pacer {
    until: Option<Timestamp>,
    pauses: Backoff,
}

impl Pacer {
    const fn new() -> Self {
        let pauses = Backoff::exponential(PAUSE_MS, LONGEST_PAUSE_MS).reset_after(2 * LONGEST_PAUSE_MS);
        Self { until: None, pauses }
    }

    /// Whether it may happen now, which it does then; else when it may.
    fn pass(&mut self, now: Timestamp, random: &mut Random) -> Result<(), Timestamp> {
        if let Some(until) = self.until.filter(|until| *until > now) {
            return Err(until);
        }
        let pause = self.pauses.failed(now, random);
        self.pauses.connected(now);
        self.until = Some(now.after(pause));
        Ok(())
    }
}

impl Upgrades {
    /// What the host says at the start.
    pub fn of(context: &Context) -> Self {
        Self {
            can_install: context.services.contains(&id::OTA),
            list: context.updates.clone(),
            settled: Settled::default(),
            overdue: BTreeSet::new(),
            told: BTreeSet::new(),
            kept_back: BTreeSet::new(),
            left: None,
            answers: Pacer::new(),
            failures: Pacer::new(),
        }
    }

    /// For people: a module, and what there is for it.
    pub fn shown(&self) -> Option<(String, String)> {
        if let Some(order) = &self.left {
            let text = format!("update {} available, but this host installs none", order.version);
            return Some((order.module.clone(), text));
        }
        let update = self.list.last()?;
        let Update { version, percent, reason, .. } = update;
        let text = match update.phase {
            UpdatePhase::Waiting => format!("{version}: waiting"),
            UpdatePhase::Downloading => format!("{version}: loading, {percent} %"),
            UpdatePhase::Installing => format!("{version}: being installed"),
            UpdatePhase::Finished => format!("{version}: installed"),
            UpdatePhase::Failed(_) => format!("{version}: failed, {reason}"),
        };
        Some((module_of(&update.id).unwrap_or_default().to_owned(), text))
    }

    /// The version of this module is about to be told: the updates of whose end the platform hears by it. `None`: nothing
    /// is to be told now, as nobody asked.
    pub fn ends_to_tell(&mut self, module: &str, running: &str, asked: bool) -> Option<Vec<String>> {
        let is_settling = self.is_settling(module, running);
        if is_settling && !asked {
            self.kept_back.insert(module.to_owned());
            return None;
        }
        if is_settling {
            return Some(Vec::new());
        }
        self.kept_back.remove(module);
        let ends: Vec<String> =
            self.of_module(module).filter(|update| update.phase.is_over()).map(|update| update.id.clone()).collect();
        self.told.extend(ends.iter().cloned());
        Some(ends)
    }

    /// True while what runs does not say yet how the orders for this module end.
    fn is_settling(&self, module: &str, running: &str) -> bool {
        let installed = self.of_module(module).rfind(|update| update.phase == UpdatePhase::Finished);
        self.of_module(module).any(|update| !update.phase.is_over())
            || installed.is_some_and(|update| self.awaits_version(update, running))
    }

    /// An MCU may need a moment to say that it runs something else now.
    fn awaits_version(&self, installed: &Update, running: &str) -> bool {
        installed.version != running && !self.overdue.contains(&installed.id)
    }

    /// Modules of which something is to be told.
    fn untold(&self) -> BTreeSet<String> {
        let over = self.list.iter().filter(|update| update.phase.is_over() && !self.told.contains(&update.id));
        let over = over.filter_map(|update| module_of(&update.id)).map(str::to_owned);
        over.chain(self.kept_back.iter().cloned()).collect()
    }

    /// True if the version of this module says that an order failed, and nobody heard it yet.
    fn tells_failure(&self, module: &str, running: &str) -> bool {
        let is_failed = |update: &Update| matches!(update.phase, UpdatePhase::Failed(_));
        !self.is_settling(module, running)
            && self.of_module(module).any(|update| is_failed(update) && !self.told.contains(&update.id))
    }

    fn of_module<'a>(&'a self, module: &str) -> impl DoubleEndedIterator<Item = &'a Update> {
        self.list.iter().filter(move |update| module_of(&update.id) == Some(module))
    }
}

impl LierdaSession {
    /// An order (9). It is acknowledged first, also if it is not carried out (Lierda access protocol 5.3.1).
    pub(super) fn take_order(&mut self, now: Now, frame: &Frame) {
        let payload = match self.clear(now, frame) {
            Ok(payload) => payload,
            Err(why) => return self.drop_input(&why),
        };
        let Some(down_id) = ota::down_id(&payload) else { return self.drop_input("a firmware order without a DownID") };
        let answer = frame::ota_ack(&down_id);
        self.send(self.topics.ota_notify_ack(), &frame.answer_id(), ORDER, &answer, Content::Management);
        match Order::parse(&payload, &self.settings.ota) {
            Ok(order) => self.consider_order(now, order),
            Err(why) => self.refuse_order(now, &why.to_string()),
        }
    }

    fn consider_order(&mut self, now: Now, order: Order) {
        let Some(running) = self.running(&order.module) else {
            return self.refuse_order(now, &format!("the device has no module `{}`", order.module));
        };
        if !ota::wanted(running, &order) {
            self.info(format!("the firmware {} that the platform orders runs already", order.version));
            self.drop_left_order(&order.module);
            // What runs is to stay, so nothing else is to be loaded either.
            self.withdraw(&order.module, |phase| matches!(phase, UpdatePhase::Waiting | UpdatePhase::Downloading));
            self.answer_by_versions(now);
        } else if self.upgrades.can_install {
            self.offer_order(now, &order);
        } else {
            self.leave_order(order);
        }
    }

    /// There is no refusal: the platform learns it by the version that goes on to run.
    fn refuse_order(&mut self, now: Now, why: &str) {
        self.warn(format!("a firmware order is not taken: {why}"));
        self.told.counters.orders_refused += 1;
        self.answer_by_versions(now);
    }

    /// Tells what runs in answer to an order that is not carried out.
    pub(super) fn answer_by_versions(&mut self, now: Now) {
        match self.upgrades.answers.pass(now.monotonic, &mut self.random) {
            Ok(()) => self.tell_firmware(now),
            Err(until) => self.timers.set(Timer::Answer, until),
        }
    }

    /// Passes an order on to the host, in place of others for its module that have not begun.
    fn offer_order(&mut self, now: Now, order: &Order) {
        let Some(of) = self.settings.modules.get(&order.module) else { return };
        let offer = match order.offer(of.target(&self.facts), self.settings.down_id_in) {
            Ok(offer) => offer,
            Err(why) => return self.refuse_order(now, &why.to_string()),
        };
        if let Some(known) = self.upgrades.list.iter().find(|update| update.id == offer.id) {
            if known.phase.is_over() {
                // The platform seems not to have heard of it.
                self.answer_by_versions(now);
            } else if known.version == offer.version {
                // Perhaps it has another address by now.
                self.outputs.push(Output::Ota(Request::Offer(Box::new(offer))));
            }
            return;
        }
        let unix_s = unix_s(now);
        let mut changed = self.upgrades.settled.date(unix_s);
        let rests = self.upgrades.settled.rests(&offer.id, unix_s);
        if !rests {
            let list = &self.upgrades.list;
            let is_listed = |id: &str| list.iter().any(|update| update.id == id);
            changed |= self.upgrades.settled.forget_others(&order.module, is_listed);
        }
        if changed {
            self.store_settled();
        }
        if self.upgrades.list.len() >= UPDATES_MAX {
            return self.refuse_order(now, "the host has as many updates as it takes");
        }
        if rests {
            let why = format!("what became of {} for module `{}` was told lately", order.version, order.module);
            return self.refuse_order(now, &why);
        }
        self.info(format!("update {} for module `{}` ordered", order.version, order.module));
        self.withdraw(&order.module, |phase| phase == UpdatePhase::Waiting);
        self.firmware.stop_repeating(&order.module);
        self.outputs.push(Output::Ota(Request::Offer(Box::new(offer))));
    }

    /// Keeps an order that this host cannot carry out: the platform will not repeat it to one that can.
    fn leave_order(&mut self, order: Order) {
        if self.upgrades.left.as_ref().is_some_and(|left| left.down_id == order.down_id) {
            return;
        }
        self.info(format!(
            "update {} for module `{}` ordered, but this host installs none",
            order.version, order.module
        ));
        self.put(storage::ORDER, &order);
        self.upgrades.left = Some(order);
        self.shows = true;
    }

    fn drop_left_order(&mut self, module: &str) {
        if self.upgrades.left.as_ref().is_some_and(|order| order.module == module) {
            self.upgrades.left = None;
            self.shows = true;
            self.remove(storage::ORDER);
        }
    }

    /// An order that was left and whose version runs by now is done.
    pub(super) fn forget_reached_order(&mut self) {
        let Some(order) = &self.upgrades.left else { return };
        if self.running(&order.module) == Some(order.version.as_str()) {
            let module = order.module.clone();
            self.info(format!("update {} of module `{module}` runs", order.version));
            self.drop_left_order(&module);
        }
    }

    /// The host can install now what another one could not.
    pub(super) fn offer_left_order(&mut self, now: Now) {
        if self.upgrades.can_install
            && let Some(order) = self.upgrades.left.take()
        {
            self.remove(storage::ORDER);
            self.consider_order(now, order);
        }
    }

    fn withdraw(&mut self, module: &str, is_early: impl Fn(UpdatePhase) -> bool) {
        let withdrawn = self.upgrades.of_module(module).filter(|update| is_early(update.phase));
        self.outputs.extend(withdrawn.map(|update| Output::Ota(Request::Cancel(update.id.clone()))));
    }

    /// What runs changed: an update that brings nothing else is not needed.
    pub(super) fn withdraw_what_runs(&mut self) {
        let is_needless = |update: &&Update| {
            update.phase == UpdatePhase::Waiting
                && module_of(&update.id).and_then(|module| self.running(module)) == Some(update.version.as_str())
        };
        let needless = self.upgrades.list.iter().filter(is_needless);
        let needless: Vec<_> = needless.map(|update| Output::Ota(Request::Cancel(update.id.clone()))).collect();
        self.outputs.extend(needless);
    }

    pub(super) fn take_updates(&mut self, now: Now, list: Vec<Update>) {
        self.upgrades.list = list;
        let list = &self.upgrades.list;
        let is_listed = |id: &String| list.iter().any(|update| update.id == *id);
        self.upgrades.overdue.retain(is_listed);
        self.upgrades.told.retain(is_listed);
        self.settle_updates(now);
    }

    /// Notes updates that are over, and tells the platform by the versions of their modules.
    pub(super) fn settle_updates(&mut self, now: Now) {
        if matches!(self.phase, Phase::Idle) {
            return;
        }
        let over: Vec<Update> = self.upgrades.list.iter().filter(|update| update.phase.is_over()).cloned().collect();
        let mut any_awaited = false;
        for update in over {
            let running = module_of(&update.id).and_then(|module| self.running(module));
            let Some(running) = running.filter(|_| update.phase != FAILED_AS_ASKED) else {
                // Nobody waits to hear of it.
                self.acknowledge_update(&update.id);
                continue;
            };
            let is_awaited = update.phase == UpdatePhase::Finished && self.upgrades.awaits_version(&update, running);
            let is_unknown = running.is_empty();
            any_awaited |= is_awaited;
            if !self.upgrades.settled.contains(&update.id) {
                self.note_end(now, &update);
            }
            if is_unknown && !is_awaited {
                // The version is told when it is known, whatever the host remembers.
                self.acknowledge_update(&update.id);
            }
        }
        if !any_awaited {
            self.timers.clear(&Timer::Installed);
        } else if self.timers.at(&Timer::Installed).is_none() {
            self.timers.set(Timer::Installed, now.monotonic.after(VERSION_TIMEOUT_MS));
        }
        let is_online = matches!(self.phase, Phase::Online { .. });
        let (failed, others): (Vec<_>, Vec<_>) = self.upgrades.untold().into_iter().partition(|module| {
            is_online && self.running(module).is_some_and(|running| self.upgrades.tells_failure(module, running))
        });
        for module in others {
            self.tell_module(now, module, None);
        }
        if failed.is_empty() {
            self.timers.clear(&Timer::Failed);
            return;
        }
        match self.upgrades.failures.pass(now.monotonic, &mut self.random) {
            Ok(()) => failed.into_iter().for_each(|module| self.tell_module(now, module, None)),
            Err(until) => self.timers.set(Timer::Failed, until),
        }
    }

    fn note_end(&mut self, now: Now, update: &Update) {
        let Update { id, version, phase, reason, .. } = update;
        let module = module_of(id).unwrap_or_default();
        match phase {
            UpdatePhase::Failed(failure) => {
                let why = if reason.is_empty() { failure.text() } else { reason };
                self.warn(format!("update {version} of module `{module}` failed, the old firmware goes on: {why}"));
            }
            _ => self.info(format!("update {version} of module `{module}` is installed")),
        }
        self.upgrades.settled.note(id, unix_s(now));
        self.store_settled();
    }

    /// What was installed had its time to say that it runs.
    pub(super) fn waited_for_version(&mut self, now: Now) {
        let installed = self.upgrades.list.iter().filter(|update| update.phase == UpdatePhase::Finished);
        let overdue: Vec<Update> = installed
            .filter(|update| module_of(&update.id).and_then(|module| self.running(module)) != Some(&update.version))
            .cloned()
            .collect();
        for Update { id, version, .. } in overdue {
            if self.upgrades.overdue.insert(id) {
                self.warn(format!("what was installed does not call itself {version}, as the platform does"));
            }
        }
        self.settle_updates(now);
    }

    /// The platform has heard how this one ended.
    pub(super) fn acknowledge_update(&mut self, id: &str) {
        if self.upgrades.list.extract_if(.., |update| update.id == id).next().is_some() {
            self.shows = true;
            self.outputs.push(Output::Ota(Request::Acknowledge(id.to_owned())));
        }
    }

    fn store_settled(&mut self) {
        let settled = self.upgrades.settled.clone();
        self.put(storage::SETTLED, &settled);
    }
}

/// The time, if the clock is good enough to be stored.
fn unix_s(now: Now) -> Option<i64> {
    (now.wall.quality != ClockQuality::UNSET).then(|| now.wall.unix_seconds())
}

/// We took it back ourselves.
const FAILED_AS_ASKED: UpdatePhase = UpdatePhase::Failed(Failure::Cancelled);
/// Code of table 2.2 of the Lierda access protocol.
const ORDER: i64 = 9;
/// Time for new firmware to say its version after it was installed (not documented; chosen by us: an MCU starts anew first).
const VERSION_TIMEOUT_MS: u64 = 60_000;
/// After the first time, doubled after each (not documented; chosen by us: a person who tries again does not notice it).
const PAUSE_MS: u64 = 1_000;
/// The longest such pause (not documented; chosen by us: versions are told daily anyway).
const LONGEST_PAUSE_MS: u64 = 3_600_000;
