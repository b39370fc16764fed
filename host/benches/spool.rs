//! What the journal on disks costs for each report, against a plain append of the same reports to a file in the same run: time,
//! and bytes written for each byte of a report.
//!
//! `cargo bench -p polylink --bench spool`. Both write into one directory of the system's temporary one; the flash tier
//! is synced for real. A bus without a journal on disks is run beside it and taken off, so that the time is the
//! journal's alone.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polylink::bus::{ArbiterSettings, Bus, JournalLimits, Policy};
use polylink::disk::{Directory, Disk};
use polylink::product::{Class, Field, History, Kind, Product, Property as Known};
use polylink::spool::{SEGMENT_BYTES, Spool, SpoolSettings, SpoolUsage};
use polylink_plugin_api::{Cause, DatapointId, InstanceId, Now, Property, ReportBody, Timestamp, Value, WallTime};

fn main() {
    let path = std::env::temp_dir().join(format!("polylink-bench-spool-{}", std::process::id()));
    fs::create_dir_all(&path).expect("the temporary directory takes files");
    for n_clouds in [1, 5] {
        for (name, n_away) in [("all keep up", 0), ("one is away", 1)] {
            let (with, usage) = run(&path, n_clouds, n_away, true);
            let (without, _) = run(&path, n_clouds, n_away, false);
            let per_report = usage.report_bytes as f64 / REPORTS as f64;
            let plain = plain_append(&path, per_report as usize);
            let ratio = |bytes: u64| bytes as f64 / usage.report_bytes as f64;
            println!(
                "{n_clouds} clouds, {name}: {:.1} x the time of a plain append ({plain:.0} ns); {per_report:.0} bytes a report; \
                 for each byte of a report {:.2} written to memory, {:.2} to flash; {} syncs for {REPORTS} reports",
                (with - without).max(0.0) / plain,
                ratio(usage.memory_written),
                ratio(usage.flash_written),
                usage.flash_syncs,
            );
        }
    }
    let _ = fs::remove_dir_all(&path);
}

/// Nanoseconds per report, and what the journal says. Ten reports a second of the bus's own time.
fn run(path: &Path, n_clouds: usize, n_away: usize, kept: bool) -> (f64, SpoolUsage) {
    let (memory, flash) = (Arc::new(Directory::new(path.join("run"))), Directory::new(path.join("flash")));
    for disk in [&*memory, &flash] {
        let _ = fs::remove_dir_all(disk.path());
    }
    let limits = JournalLimits { max_reports: 20_000, max_bytes: 4 << 20 };
    let mut bus = Bus::new(limits, ArbiterSettings { policy: Policy::LastWriter, deadline_ms: 5000 });
    let settings = SpoolSettings {
        flash: true,
        flash_max_bytes: 16 << 20,
        max_age_ms: 30 * 86_400_000,
        spill_after_ms: 5000,
        sync_interval_ms: 5000,
        segment_bytes: SEGMENT_BYTES,
    };
    let mut spool = Spool::open(settings, Arc::clone(&memory) as Arc<dyn Disk>, &flash, Timestamp(0));
    if kept {
        bus.record_changes();
    }
    bus.set_product(Arc::new(product()));
    let instances: Vec<InstanceId> = (1..=n_clouds as u64).map(InstanceId).collect();
    let clouds: Vec<_> = instances.iter().map(|one| bus.declare(&format!("cloud {}", one.0))).collect();
    spool.restore(&mut bus, Timestamp(0));
    let mut effects = Vec::new();
    for (&cloud, &instance) in clouds.iter().zip(&instances) {
        bus.attach(cloud, instance, &mut effects);
    }
    let began = Instant::now();
    let mut on_flash = Duration::ZERO;
    for n in 0..REPORTS {
        let now = Now {
            monotonic: Timestamp(n as u64 * 100),
            wall: WallTime { unix_ms: 1_700_000_000_000 + n * 100, ..WallTime::default() },
            utc_offset_s: 0,
        };
        effects.clear();
        bus.report(now, 0, Cause::CHANGE, None, body(n), &mut effects);
        if kept {
            spool.follow(&mut bus, now.monotonic);
        }
        for &instance in instances.iter().skip(n_away) {
            let seqs: Vec<u64> = bus.take(now, instance).reports.iter().map(|report| report.seq).collect();
            bus.settle(instance, &seqs, &mut effects);
            if kept {
                spool.follow(&mut bus, now.monotonic);
            }
        }
        if kept
            && spool.next_timeout(&bus).is_some_and(|due| due <= now.monotonic)
            && let Some(job) = spool.tick(&mut bus, now.monotonic)
        {
            // Another thread's work, so not the reports' time.
            let started = Instant::now();
            let done = job.carry_out(&flash);
            on_flash += started.elapsed();
            spool.done(done, now.monotonic);
        }
    }
    ((began.elapsed() - on_flash).as_secs_f64() * 1e9 / REPORTS as f64, spool.usage())
}

/// Nanoseconds for one `write` of so many bytes at the end of a file.
fn plain_append(path: &Path, n_bytes: usize) -> f64 {
    let bytes = vec![7; n_bytes];
    let mut file = OpenOptions::new().create(true).append(true).open(path.join("plain")).expect("a file can be made");
    let began = Instant::now();
    for _ in 0..REPORTS {
        file.write_all(&bytes).expect("there is room");
    }
    began.elapsed().as_secs_f64() * 1e9 / REPORTS as f64
}

/// Four properties, all of them new.
fn body(n: i64) -> ReportBody {
    ReportBody::Properties((0..4).map(|id| Property { id: DatapointId(id), value: Value::Int(n) }).collect())
}

fn product() -> Product {
    let kind = || Kind::Int { min: 0, max: i64::MAX, step: 1 };
    let field = |id: u32| Field { name: format!("p{id}"), title: String::new(), unit: String::new(), kind: kind() };
    let known = |id| Known { field: field(id), writable: false, history: History::All, class: Class::Value };
    Product {
        key: String::new(),
        name: String::new(),
        properties: (0..4).map(known).collect(),
        events: Vec::new(),
        actions: Vec::new(),
        raw: false,
    }
}

/// Reports of a run; fewer than the journal holds, so that nothing is lost.
const REPORTS: i64 = 15_000;
