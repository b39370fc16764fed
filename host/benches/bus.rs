//! What the bus costs for each report, as a ratio to copying the report in the same run.
//!
//! `cargo bench -p polylink --bench bus`. The baseline clones the report once for each cloud into a queue, which no
//! design without shared values could avoid; a ratio of 3 means that journal, cursors, change detection and locks cost
//! twice that on top.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use polylink::bus::{ArbiterSettings, Bus, JournalLimits, Policy};
use polylink::product::{Class, Field, History, Kind, Product, Property as Known};
use polylink_plugin_api::{Cause, DatapointId, InstanceId, Now, Property, ReportBody, Timestamp, Value, WallTime};

fn main() {
    for n_clouds in [1, 5] {
        for (name, history, away) in [
            ("history = all, clouds keep up", History::All, false),
            ("history = latest, clouds keep up", History::Latest, false),
            ("history = latest, clouds are away", History::Latest, true),
            ("history = all, clouds are away, journal full", History::All, true),
        ] {
            let baseline = best(|| copies(n_clouds));
            let bus = best(|| through_the_bus(n_clouds, history, away));
            let ratio = bus / baseline;
            println!("{n_clouds} clouds, {name}: {bus:.0} ns per report, {ratio:.1} x the copies ({baseline:.0} ns)");
        }
    }
}

/// Nanoseconds per report, the best of some rounds.
fn best(mut round: impl FnMut() -> f64) -> f64 {
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}

fn timed(mut one: impl FnMut(i64)) -> f64 {
    let began = Instant::now();
    (0..REPORTS).for_each(&mut one);
    began.elapsed().as_secs_f64() * 1e9 / REPORTS as f64
}

fn copies(n_clouds: usize) -> f64 {
    let mut queues: Vec<VecDeque<ReportBody>> = vec![VecDeque::new(); n_clouds];
    timed(|n| {
        let said = body(n);
        for queue in &mut queues {
            queue.push_back(said.clone());
            black_box(queue.pop_front());
        }
    })
}

fn through_the_bus(n_clouds: usize, history: History, away: bool) -> f64 {
    let limits = JournalLimits { max_reports: 20_000, max_bytes: 4 << 20 };
    let mut bus = Bus::new(limits, ArbiterSettings { policy: Policy::LastWriter, deadline_ms: 5000 });
    bus.set_product(Arc::new(product(history)));
    let mut effects = Vec::new();
    let instances: Vec<InstanceId> = (1..=n_clouds as u64).map(InstanceId).collect();
    for &instance in &instances {
        let cloud = bus.declare(&format!("cloud {}", instance.0));
        bus.attach(cloud, instance, &mut effects);
    }
    timed(|n| {
        effects.clear();
        bus.report(now(n), 0, Cause::CHANGE, None, body(n), &mut effects);
        if !away {
            for &instance in &instances {
                let reports = bus.take(now(n), instance).reports;
                let seqs: Vec<u64> = reports.iter().map(|report| report.seq).collect();
                bus.settle(instance, &seqs, &mut effects);
            }
        }
        black_box(&effects);
    })
}

fn now(n: i64) -> Now {
    Now { monotonic: Timestamp(n.unsigned_abs()), wall: WallTime::default(), utc_offset_s: 0 }
}

/// Four properties, all of them new.
fn body(n: i64) -> ReportBody {
    ReportBody::Properties((0..4).map(|id| Property { id: DatapointId(id), value: Value::Int(n) }).collect())
}

fn product(history: History) -> Product {
    let kind = || Kind::Int { min: 0, max: i64::MAX, step: 1 };
    let field = |id: u32| Field { name: format!("p{id}"), title: String::new(), unit: String::new(), kind: kind() };
    let known = |id| Known { field: field(id), writable: false, history, class: Class::Value };
    Product {
        key: String::new(),
        name: String::new(),
        properties: (0..4).map(known).collect(),
        events: Vec::new(),
        actions: Vec::new(),
        raw: false,
    }
}

/// Reports in a round; the journal is filled several times over.
const REPORTS: i64 = 60_000;
/// Rounds; the best counts, because other work on the machine only adds.
const ROUNDS: usize = 5;
