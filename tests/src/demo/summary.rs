//! What came out of a run: the object of `--json`, and the same for people.

use serde::Serialize;
use std::collections::BTreeMap;

/// The outcome of a run.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Nothing lost, every command done, nobody broke a protocol.
    pub ok: bool,
    /// The simulated MCU's side.
    pub mcu: Mcu,
    /// Each cloud's side.
    pub clouds: BTreeMap<String, Cloud>,
    /// What the host cost.
    pub host: Host,
    /// Why `ok` is false, in words; shown on standard error.
    #[serde(skip)]
    pub problems: Vec<String>,
}

/// The simulated MCU's side.
#[derive(Debug, Serialize)]
pub struct Mcu {
    /// Different reports, repetitions not counted.
    pub reports_sent: u64,
    /// Controls obeyed.
    pub commands_received: usize,
}

/// One cloud's side.
#[derive(Debug, Serialize)]
pub struct Cloud {
    /// Connected when the run ended.
    pub online: bool,
    /// Reports that the module acknowledged to the MCU.
    pub expected: usize,
    /// Those of them that arrived.
    pub arrived: usize,
    /// Those that did not.
    pub lost: usize,
    /// Arrivals beyond the first.
    pub duplicates: usize,
    /// First arrivals after a later report's.
    pub out_of_order: usize,
    /// Commands this cloud sent.
    pub commands_sent: usize,
    /// Commands the device said it had done.
    pub commands_done: usize,
    /// Commands that the MCU obeyed, whichever cloud sent them, whose result this cloud has seen in a report.
    pub results_seen: usize,
    /// From the last byte on the serial line to the arrival.
    pub latency_ms: Latency,
}

/// Milliseconds; none if nothing arrived.
#[derive(Debug, Serialize)]
pub struct Latency {
    /// Half of the reports were faster.
    pub p50: Option<f64>,
    /// 99 of 100 were faster.
    pub p99: Option<f64>,
    /// The slowest.
    pub max: Option<f64>,
}

/// What the host cost.
#[derive(Debug, Serialize)]
pub struct Host {
    /// From its start until the MCU had answered and the first cloud was online.
    pub ready_ms: u64,
    /// Memory at the end, proportional set size.
    pub pss_kb: u64,
    /// Threads at the end.
    pub threads: u64,
    /// Processor time per report of the MCU, commands and everything else included.
    pub cpu_us_per_report: Option<u64>,
    /// Bytes of the binary and of the plugins in use.
    pub installed_bytes: u64,
}

impl Summary {
    /// Prints it, as one JSON object or for people, and the problems on standard error.
    pub fn show(&self, json: bool) {
        if json {
            println!("{}", serde_json::to_string(self).expect("numbers and texts are always JSON"));
        } else {
            self.show_to_people();
        }
        for problem in &self.problems {
            eprintln!("demo: {problem}");
        }
    }

    fn show_to_people(&self) {
        println!(
            "\n{}",
            if self.ok { "Everything arrived and every command was done." } else { "Something went wrong." }
        );
        println!("  mcu      {} reports sent, {} commands received", self.mcu.reports_sent, self.mcu.commands_received);
        for (name, cloud) in &self.clouds {
            let Latency { p50, p99, max } = cloud.latency_ms;
            println!(
                "  {name:<8} {} of {} reports arrived, {} lost, {} twice, {} out of order; {} of {} commands done, \
                 {} results seen",
                cloud.arrived,
                cloud.expected,
                cloud.lost,
                cloud.duplicates,
                cloud.out_of_order,
                cloud.commands_done,
                cloud.commands_sent,
                cloud.results_seen
            );
            if let (Some(p50), Some(p99), Some(max)) = (p50, p99, max) {
                println!(
                    "           serial line to cloud: half within {p50:.2} ms, 99 % within {p99:.2} ms, all within {max:.2} ms"
                );
            }
        }
        let Host { ready_ms, pss_kb, threads, cpu_us_per_report, installed_bytes } = self.host;
        let cpu = cpu_us_per_report.map_or_else(|| "-".to_owned(), |cpu| cpu.to_string());
        println!(
            "  host     ready after {ready_ms} ms, {pss_kb} kB of memory, {threads} threads, {cpu} µs of CPU per report, {:.2} MB installed",
            installed_bytes as f64 / 1e6
        );
    }
}
