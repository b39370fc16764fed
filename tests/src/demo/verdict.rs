//! The end of a run: what arrived, what was done, what it cost.

use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use crate::clouds::SimCloud;
use crate::mcu::log::McuLog;
use crate::rig::stats::Stats;

/// What the host cost.
#[derive(Debug, Clone, Copy)]
pub struct HostCosts {
    /// From its start until every cloud was online.
    pub ready: Duration,
    /// At the end of the run.
    pub at_end: Stats,
    /// Processor time since it was ready.
    pub cpu: Duration,
    /// Reports taken in that time.
    pub reports: usize,
    /// The program and the plugins of the run.
    pub installed_bytes: u64,
}

/// The whole judgement.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Nothing lost and every command done.
    pub ok: bool,
    /// For programs.
    pub json: Json,
}

/// Judges a run by the reports that the host acknowledged to the MCU.
pub fn judge(mcu: &McuLog, clouds: &[(&str, &dyn SimCloud)], costs: Option<HostCosts>) -> Verdict {
    let mut ok = costs.is_some() && !mcu.acknowledged.is_empty();
    let mut by_cloud = Map::new();
    for (name, cloud) in clouds {
        let sent = mcu.acknowledged.iter().map(|report| (report.counter, report.sent));
        let entry = cloud.ledger().with(|entries| {
            let verdict = entries.judge(sent);
            let (commands_sent, commands_done) = (entries.commands_sent(), entries.commands_done());
            ok &= verdict.lost == 0 && commands_done == commands_sent && commands_sent > 0;
            json!({
                "online": entries.online,
                "expected": verdict.expected,
                "arrived": verdict.arrived,
                "lost": verdict.lost,
                "duplicates": verdict.duplicates,
                "out_of_order": verdict.out_of_order,
                "commands_sent": commands_sent,
                "commands_done": commands_done,
                "latency_ms": {
                    "p50": verdict.latency_ms(50),
                    "p99": verdict.latency_ms(99),
                    "max": verdict.latency_ms(100),
                },
            })
        });
        by_cloud.insert((*name).to_owned(), entry);
    }
    let host = costs.map(|costs| {
        let cpu_us = costs.cpu.as_secs_f64() * 1e6 / costs.reports.max(1) as f64;
        json!({
            "ready_ms": (costs.ready.as_secs_f64() * 1e4).round() / 10.0,
            "pss_kb": costs.at_end.pss_kb,
            "threads": costs.at_end.threads,
            "cpu_us_per_report": (cpu_us * 10.0).round() / 10.0,
            "installed_bytes": costs.installed_bytes,
        })
    });
    let mcu = json!({"reports_sent": mcu.reports_sent, "commands_received": mcu.commands.len()});
    Verdict { ok, json: json!({"ok": ok, "mcu": mcu, "clouds": by_cloud, "host": host}) }
}

/// The judgement for people.
pub fn lines(verdict: &Verdict) -> Vec<String> {
    let json = &verdict.json;
    let mut lines = Vec::new();
    for (name, cloud) in json["clouds"].as_object().into_iter().flatten() {
        let latency = &cloud["latency_ms"];
        lines.push(format!(
            "{name}: {} of {} reports arrived, {} lost, {} twice, {} out of order; {} of {} commands done; \
             latency p50 {} p99 {} max {} ms",
            cloud["arrived"],
            cloud["expected"],
            cloud["lost"],
            cloud["duplicates"],
            cloud["out_of_order"],
            cloud["commands_done"],
            cloud["commands_sent"],
            latency["p50"],
            latency["p99"],
            latency["max"]
        ));
    }
    let host = &json["host"];
    if host.is_object() {
        lines.push(format!(
            "host: ready after {} ms, {} kB of memory, {} threads, {} µs of processor a report, {} bytes installed",
            host["ready_ms"], host["pss_kb"], host["threads"], host["cpu_us_per_report"], host["installed_bytes"]
        ));
    }
    lines.push(if verdict.ok { "ok: nothing lost, every command done" } else { "not ok" }.to_owned());
    lines
}
