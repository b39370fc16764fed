//! A host by hand: a bus with two clouds, a spool and two simulated disks, taken through a run step by step; and what every
//! moment of the run leaves to the next host.
//!
//! Each report carries its own number as the value, so that what arrives can be held against what was said.

mod crashes;
mod failures;
mod tiers;

use std::collections::BTreeMap;
use std::sync::Arc;

use polylink_plugin_api::{
    Cause, DatapointId, InstanceId, Now, Property as Said, ReportBody, Timestamp, Value, WallTime,
};

use super::*;
use crate::bus::{ArbiterSettings, JournalLimits, Policy};
use crate::disk::simulated::Simulated;
use crate::product::{Class, Field, History, Kind, Product, Property};

const SETTINGS: SpoolSettings = SpoolSettings {
    flash: true,
    flash_max_bytes: 16 << 20,
    max_age_ms: 30 * 86_400_000,
    spill_after_ms: 5000,
    sync_interval_ms: 5000,
    segment_bytes: SEGMENT_BYTES,
};

/// A value of which every one counts, one of which the last counts, an alarm, and a second one of which the last counts.
const COUNT: u32 = 0;
const LEVEL: u32 = 1;
const SMOKE: u32 = 2;
const MODE: u32 = 3;

/// The clouds of every host here.
const CLOUDS: [&str; 2] = ["a", "b"];

fn product() -> Product {
    let property = |name: &str, history, class| Property {
        field: Field {
            name: name.into(),
            title: String::new(),
            unit: String::new(),
            kind: Kind::Int { min: 0, max: i64::MAX, step: 1 },
        },
        writable: false,
        history,
        class,
    };
    Product {
        key: "k".into(),
        name: "n".into(),
        properties: vec![
            property("count", History::All, Class::Value),
            property("level", History::Latest, Class::Value),
            property("smoke", History::All, Class::Alarm),
            property("mode", History::Latest, Class::Value),
        ],
        events: Vec::new(),
        actions: Vec::new(),
        raw: true,
    }
}

/// One process.
struct Host {
    bus: Bus,
    spool: Spool,
    memory: Simulated,
    flash: Simulated,
    now: u64,
    /// How many operations each disk had seen when the other's turn came.
    turns: Vec<(usize, usize)>,
}

/// The reports that a cloud is given: number, and values by datapoint.
type Given = Vec<(u64, BTreeMap<u32, i64>)>;

impl Host {
    fn start(memory: &Simulated, flash: &Simulated) -> Self {
        Self::with(SETTINGS, product(), &CLOUDS, memory, flash)
    }

    fn with(settings: SpoolSettings, product: Product, clouds: &[&str], memory: &Simulated, flash: &Simulated) -> Self {
        let limits = JournalLimits { max_reports: 10_000, max_bytes: 4 << 20 };
        let mut bus = Bus::new(limits, ArbiterSettings { policy: Policy::LastWriter, deadline_ms: 5000 });
        bus.record_changes();
        let mut spool = Spool::open(settings, Arc::new(memory.clone()), flash, Timestamp(1000));
        bus.set_product(Arc::new(product));
        clouds.iter().for_each(|name| {
            bus.declare(name);
        });
        spool.restore(&mut bus, Timestamp(1000));
        let (memory, flash) = (memory.clone(), flash.clone());
        let mut host = Self { bus, spool, memory, flash, now: 1000, turns: Vec::new() };
        for (name, at) in clouds.iter().zip(1..) {
            let cloud = host.bus.declare(name);
            host.bus.attach(cloud, InstanceId(at), &mut Vec::new());
        }
        host.follow();
        host
    }

    fn follow(&mut self) {
        self.spool.follow(&mut self.bus, Timestamp(self.now));
    }

    fn clock(&self) -> Now {
        let wall = WallTime { unix_ms: 1_700_000_000_000, ..WallTime::default() };
        Now { monotonic: Timestamp(self.now), wall, utc_offset_s: 0 }
    }

    /// The MCU says these values; when this returns, it has its acknowledgement.
    fn say(&mut self, values: &[(u32, i64)]) {
        let list = values.iter().map(|&(id, value)| Said { id: DatapointId(id), value: Value::Int(value) });
        let body = ReportBody::Properties(list.collect());
        let now = self.clock();
        self.bus.report(now, 0, Cause::CHANGE, None, body, &mut Vec::new());
        self.follow();
    }

    /// What this cloud is given now, without snapshots.
    fn take(&mut self, cloud: usize) -> Given {
        let now = self.clock();
        let mut given = Vec::new();
        loop {
            let handover = self.bus.take(now, InstanceId(cloud as u64 + 1));
            for report in handover.reports.into_iter().filter(|report| report.seq > 0) {
                let ReportBody::Properties(list) = report.body else { continue };
                let value = |one: &Said| match one.value {
                    Value::Int(value) => (one.id.0, value),
                    _ => panic!("only whole numbers are said here"),
                };
                given.push((report.seq, list.iter().map(value).collect()));
            }
            if !handover.more {
                return given;
            }
        }
    }

    fn settle(&mut self, cloud: usize, seqs: &[u64]) {
        self.bus.settle(InstanceId(cloud as u64 + 1), seqs, &mut Vec::new());
        self.follow();
    }

    /// This cloud takes and settles everything.
    fn keep_up(&mut self, cloud: usize) -> Given {
        let mut all = Given::new();
        loop {
            let given = self.take(cloud);
            if given.is_empty() {
                return all;
            }
            let seqs: Vec<u64> = given.iter().map(|(seq, _)| *seq).collect();
            self.settle(cloud, &seqs);
            all.extend(given);
        }
    }

    /// Time passes, and what is due is done.
    fn wait(&mut self, ms: u64) {
        let until = self.now + ms;
        loop {
            let due = self.spool.next_timeout(&self.bus).map_or(u64::MAX, |due| due.0.max(self.now));
            self.now = due.min(until);
            if due > until {
                return;
            }
            self.tick();
            assert!(
                self.spool.next_timeout(&self.bus).is_none_or(|next| next.0 > self.now),
                "the spool wants to be called again and again: {:?}",
                self.spool.usage()
            );
        }
    }

    /// What is due now.
    fn tick(&mut self) {
        while let Some(job) = self.spool.tick(&mut self.bus, Timestamp(self.now)) {
            self.turn();
            let done = job.carry_out(&self.flash);
            self.turn();
            self.spool.done(done, Timestamp(self.now));
        }
    }

    fn turn(&mut self) {
        self.turns.push((self.memory.n_operations(), self.flash.n_operations()));
    }

    fn stop(&mut self) {
        if let Some(job) = self.spool.finish(&mut self.bus, Timestamp(self.now)) {
            let done = job.carry_out(&self.flash);
            self.spool.done(done, Timestamp(self.now));
        }
    }

    fn tier(&self) -> &'static str {
        self.spool.usage().tier
    }
}

fn values(given: &Given, id: u32) -> Vec<i64> {
    given.iter().filter_map(|(_, values)| values.get(&id).copied()).collect()
}

fn n_segments(disk: &Simulated) -> usize {
    disk.files().keys().filter(|name| name.ends_with(".plj")).count()
}
