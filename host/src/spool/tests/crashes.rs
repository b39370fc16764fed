//! Proof by enumeration: a run is taken step by step, and the next host is started from every state that killing the
//! process or cutting the power can leave at any moment of it.

use super::*;
use crate::disk::simulated::{Cut, Fate};

/// A run with what was promised after each step.
struct Run {
    memory: Simulated,
    flash: Simulated,
    host: Host,
    said: i64,
    steps: Vec<Step>,
    /// Of each cloud: everything that it has settled, by number.
    settled: [BTreeMap<u64, BTreeMap<u32, i64>>; 2],
    /// Of each cloud: reports with history that the MCU had acknowledged, and are neither settled nor safe to forget.
    open: [BTreeMap<i64, u32>; 2],
    /// The reports that flash has for sure.
    safe: [BTreeMap<i64, u32>; 2],
}

/// What holds when so many operations were done.
#[derive(Clone)]
struct Step {
    memory: usize,
    flash: usize,
    open: [BTreeMap<i64, u32>; 2],
    safe: [BTreeMap<i64, u32>; 2],
    said: i64,
}

impl Run {
    fn new(settings: SpoolSettings) -> Self {
        let (memory, flash) = (Simulated::new(), Simulated::new());
        let host = Host::with(settings, product(), &CLOUDS, &memory, &flash);
        let mut run = Self {
            memory,
            flash,
            host,
            said: 0,
            steps: Vec::new(),
            settled: Default::default(),
            open: Default::default(),
            safe: Default::default(),
        };
        run.step();
        run
    }

    fn step(&mut self) {
        let usage = self.host.spool.usage();
        if usage.tier == "flash" && self.host.spool.outgoing.is_empty() {
            self.safe = self.open.clone();
        } else {
            for (safe, open) in self.safe.iter_mut().zip(&self.open) {
                // In memory nothing is safe from a power cut; on flash what is safe is so until it is settled.
                safe.retain(|value, _| usage.tier == "flash" && open.contains_key(value));
            }
        }
        self.steps.push(Step {
            memory: self.memory.n_operations(),
            flash: self.flash.n_operations(),
            open: self.open.clone(),
            safe: self.safe.clone(),
            said: self.said,
        });
    }

    /// One more report, of this datapoint.
    fn say(&mut self, id: u32) {
        self.said += 1;
        self.host.say(&[(id, self.said), (MODE, self.said)]);
        if id != LEVEL {
            for open in &mut self.open {
                open.insert(self.said, id);
            }
        }
        self.host.tick();
        self.step();
    }

    /// This cloud takes what there is, and settles all of it, or the first of them.
    fn take(&mut self, cloud: usize, n: usize) {
        let given = self.host.take(cloud);
        let settled: Vec<u64> = given.iter().map(|(seq, _)| *seq).take(n).collect();
        for (seq, values) in given.into_iter().take(n) {
            self.open[cloud].retain(|value, _| !values.values().any(|other| other == value));
            self.settled[cloud].insert(seq, values);
        }
        // Before the host knows: from now on nobody may rely on them.
        self.steps.iter_mut().next_back().into_iter().for_each(|step| {
            step.open = self.open.clone();
            step.safe
                .iter_mut()
                .zip(&self.open)
                .for_each(|(safe, open)| safe.retain(|value, _| open.contains_key(value)));
        });
        self.host.settle(cloud, &settled);
        self.host.bus.detach(self.host.bus_cloud(cloud), InstanceId(cloud as u64 + 1));
        self.host.bus.attach(self.host.bus_cloud(cloud), InstanceId(cloud as u64 + 1), &mut Vec::new());
        self.host.follow();
        self.step();
    }

    fn wait(&mut self, ms: u64) {
        let until = self.host.now + ms;
        while self.host.now < until {
            let step =
                self.host.spool.next_timeout(&self.host.bus).map_or(until, |due| due.0.clamp(self.host.now + 1, until));
            self.host.wait(step - self.host.now);
            self.step();
        }
    }

    /// The next host, from what a kill leaves within each step.
    fn check_kills(&self) -> usize {
        let mut n = 0;
        for pair in self.steps.windows(2) {
            let [before, after] = pair else { continue };
            for (memory, flash) in self.moments(before, after) {
                for (in_memory, on_flash) in
                    [(Fate::Kept, Fate::Kept), (Fate::Begun, Fate::Kept), (Fate::Kept, Fate::Begun)]
                {
                    // Of one write at most, and of one that is not over, there is a part.
                    let (is_first_memory, is_first_flash) = (memory == before.memory, flash == before.flash);
                    if (in_memory == Fate::Begun && is_first_memory) || (on_flash == Fate::Begun && is_first_flash) {
                        continue;
                    }
                    let cut = |operations, newest| Cut { operations, names: usize::MAX, newest, others: Fate::Kept };
                    let memory_disk = self.memory.after(cut(memory, in_memory));
                    let flash_disk = self.flash.after(cut(flash, on_flash));
                    let what = format!("killed at {memory} {in_memory:?}, {flash} {on_flash:?}");
                    self.check(&what, &memory_disk, &flash_disk, &before.open, after.said);
                    n += 1;
                }
            }
        }
        n
    }

    /// How many operations the disks have seen at each moment of a step; only one of them is at work at a time.
    fn moments(&self, before: &Step, after: &Step) -> Vec<(usize, usize)> {
        let within = |turn: &&(usize, usize)| {
            (before.memory..=after.memory).contains(&turn.0) && (before.flash..=after.flash).contains(&turn.1)
        };
        let mut at = (before.memory, before.flash);
        let mut moments = vec![at];
        for &(memory, flash) in self.host.turns.iter().filter(within).chain([&(after.memory, after.flash)]) {
            assert!(memory == at.0 || flash == at.1, "two disks at a time");
            moments.extend((at.0 + 1..=memory).map(|memory| (memory, flash)));
            moments.extend((at.1 + 1..=flash).map(|flash| (memory, flash)));
            at = (memory, flash);
        }
        moments
    }

    /// The next host, from what a power cut leaves within each step.
    fn check_power_cuts(&self) -> usize {
        let cuts = self.flash.power_cuts();
        for cut in &cuts {
            // The step under way when the operation after the cut began; what it promised before holds.
            let at = self.steps.iter().rposition(|step| step.flash <= cut.operations).unwrap_or(0);
            let promised = |from: usize| &self.steps[from].safe;
            // Steps without an operation on flash take promises back, so the weakest of them counts.
            let mut safe = promised(at).clone();
            let same = (0..self.steps.len()).filter(|step| self.steps[*step].flash == cut.operations);
            for step in same.chain(self.steps.get(at + 1).map(|_| at + 1)) {
                safe.iter_mut()
                    .zip(promised(step))
                    .for_each(|(safe, other)| safe.retain(|value, _| other.contains_key(value)));
            }
            let said = self.steps.get(at + 1).map_or(self.said, |step| step.said);
            self.check(&format!("{cut:?}"), &Simulated::new(), &self.flash.after(*cut), &safe, said);
        }
        cuts.len()
    }

    fn check(&self, what: &str, memory: &Simulated, flash: &Simulated, promised: &[BTreeMap<i64, u32>; 2], said: i64) {
        let mut host = Host::with(self.host.spool.settings, product(), &CLOUDS, memory, flash);
        for (cloud, promised) in promised.iter().enumerate() {
            let given = host.take(cloud);
            assert!(given.is_sorted_by_key(|(seq, _)| *seq), "{what}: out of order");
            for id in [COUNT, LEVEL, SMOKE, MODE] {
                let values = values(&given, id);
                assert!(values.is_sorted() && values.iter().all(|value| *value <= said), "{what}: {id} is {values:?}");
                for (value, _) in promised.iter().filter(|(_, of)| **of == id) {
                    assert!(
                        values.contains(value),
                        "{what}: cloud {cloud} has lost {value} of {id}, it gets {values:?}"
                    );
                }
            }
        }
        // It goes on, whatever it has found: what is said now survives the next crash.
        host.say(&[(COUNT, 1_000_000)]);
        let mut next = Host::start(memory, flash);
        (0..2)
            .for_each(|cloud| assert!(values(&next.take(cloud), COUNT).contains(&1_000_000), "{what}: does not go on"));
    }
}

impl Host {
    fn bus_cloud(&self, cloud: usize) -> CloudId {
        CloudId(cloud)
    }
}

/// Segments of a few reports, and room for a few segments: what else takes hours happens all the time.
const SMALL: SpoolSettings = SpoolSettings { segment_bytes: 150, flash_max_bytes: 900, ..SETTINGS };

/// Cloud a keeps up, cloud b is away, comes back, goes away again: both tiers and each way between them.
fn run(settings: SpoolSettings) -> Run {
    let mut run = Run::new(settings);
    for round in 0..4 {
        run.say(COUNT);
        run.say(LEVEL);
        run.take(0, usize::MAX);
        run.wait(1500);
        run.say(if round == 2 { SMOKE } else { COUNT });
        run.take(0, 1);
    }
    run.wait(5000);
    run.say(SMOKE);
    run.say(COUNT);
    run.take(1, 3);
    run.say(LEVEL);
    run.wait(6000);
    run.take(0, usize::MAX);
    run.take(1, usize::MAX);
    run.wait(3000);
    run.say(COUNT);
    run.take(1, usize::MAX);
    run.wait(8000);
    for round in 0..24 {
        run.say(if round % 2 == 0 { SMOKE } else { COUNT });
        run.take(round % 2, 1);
        run.wait(3000);
    }
    run
}

#[test]
fn a_host_that_is_killed_at_any_moment_has_lost_nothing_that_it_acknowledged() {
    for settings in [SETTINGS, SMALL] {
        let run = run(settings);
        assert!(run.flash.n_operations() > 10, "flash was not used");
        let n = run.check_kills();
        assert!(n > 100, "{n} states are too few to prove anything");
    }
}

#[test]
fn a_power_cut_at_any_moment_costs_nothing_that_was_synced() {
    for settings in [SETTINGS, SMALL] {
        let run = run(settings);
        assert!(run.steps.iter().any(|step| step.safe[1].len() > 3), "nothing was ever safe");
        let n = run.check_power_cuts();
        assert!(n > 200, "{n} states are too few to prove anything");
    }
}

#[test]
fn a_host_that_is_killed_while_it_takes_up_what_was_left_has_lost_nothing() {
    let first = run(SMALL);
    let last = first.steps.last().cloned().unwrap_or_else(|| panic!("a run has steps"));
    for on_flash_only in [false, true] {
        let fresh = |disk: &Simulated| {
            Simulated::with_files(disk.files().iter().map(|(name, bytes)| (name.as_str(), bytes.clone())))
        };
        let memory = if on_flash_only { Simulated::new() } else { fresh(&first.memory) };
        let flash = fresh(&first.flash);
        let promised = if on_flash_only { &last.safe } else { &last.open };
        let mut host = Host::start(&memory, &flash);
        host.tick();
        host.wait(20_000);
        for cut in memory.kills() {
            let none = Cut { operations: 0, ..cut };
            first.check("killed at the start", &memory.after(cut), &flash.after(none), promised, last.said);
        }
        let all = Cut { operations: memory.n_operations(), names: usize::MAX, newest: Fate::Kept, others: Fate::Kept };
        for cut in flash.kills() {
            first.check("killed after the start", &memory.after(all), &flash.after(cut), promised, last.said);
        }
        if on_flash_only {
            for cut in flash.power_cuts() {
                first.check(
                    &format!("cut after the start {cut:?}"),
                    &Simulated::new(),
                    &flash.after(cut),
                    promised,
                    last.said,
                );
            }
        }
    }
}
