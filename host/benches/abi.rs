//! What the border between host and plugin costs, as a ratio to a trait object of the same program.
//!
//! `cargo bench -p polylink --bench abi`; the library, that of the template plugin, is built by cargo on the way. The
//! baseline takes the same batch over a `dyn` call and copies each report into its own types, as any plugin must that
//! keeps it: the ratio is what the layout-checked call, the panic guard and the SDK's driver cost on top. The plugin is
//! made and never started, so no service is asked for anything; both sides keep as many reports as the template does.

use std::collections::VecDeque;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use polylink::plugins::Loader;
use polylink::services::Services;
use polylink_plugin_api::abi_stable::sabi_trait::TD_Opaque;
use polylink_plugin_api::abi_stable::std_types::{ROption, RResult, RSlice, RStr};
use polylink_plugin_api::{
    Cause, Command as Wish, DatapointId, ExtensionRef, Host, HostBox, InstanceId, LogLevel, Now, Origin, PluginBox,
    PluginConfig, Property, Report, ReportBody, Status, Value, WallTime,
};

fn main() {
    let library = build();
    let mut plugin = load(&library);
    let mut baseline: Box<dyn Baseline> = Box::new(Copies::default());
    let batch: Vec<Report> = (1..=BATCH).map(report).collect();

    let call = best(|| {
        expect_ok(plugin.timeout(now()));
        black_box(plugin.next_timeout());
    });
    let plain = best(|| {
        baseline.timeout(black_box(now()));
        black_box(baseline.next_timeout());
    });
    println!("timeout and next_timeout: {call:.0} ns, {:.1} x a dyn call ({plain:.1} ns)", call / plain);

    let per_report = best(|| expect_ok(plugin.reports(now(), RSlice::from_slice(&batch)))) / BATCH as f64;
    let copied = best(|| baseline.reports(now(), black_box(&batch))) / BATCH as f64;
    let ratio = per_report / copied;
    println!("reports, {BATCH} in a batch: {per_report:.0} ns each, {ratio:.1} x the copies ({copied:.0} ns)");
}

/// Nanoseconds per call, the best of some rounds.
fn best(mut call: impl FnMut()) -> f64 {
    let round = |_| {
        let began = Instant::now();
        (0..CALLS).for_each(|_| call());
        began.elapsed().as_secs_f64() * 1e9 / CALLS as f64
    };
    (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min)
}

/// What a plugin would be without a border.
trait Baseline {
    fn reports(&mut self, now: Now, batch: &[Report]);
    fn timeout(&mut self, now: Now);
    fn next_timeout(&self) -> Option<u64>;
}

#[derive(Default)]
struct Copies {
    kept: VecDeque<Copied>,
    last: u64,
}

struct Copied {
    _seq: u64,
    _values: Vec<(DatapointId, Value)>,
}

impl Baseline for Copies {
    fn reports(&mut self, _now: Now, batch: &[Report]) {
        for report in batch {
            let ReportBody::Properties(properties) = &report.body else { continue };
            let values = properties.iter().map(|property| (property.id, property.value.clone())).collect();
            if self.kept.len() >= KEPT {
                self.kept.pop_front();
            }
            self.kept.push_back(Copied { _seq: report.seq, _values: values });
        }
    }

    fn timeout(&mut self, now: Now) {
        self.last = now.monotonic.0;
    }

    fn next_timeout(&self) -> Option<u64> {
        (self.last > 0).then_some(self.last)
    }
}

/// A host that does nothing but say that its tables are there.
#[derive(Clone)]
struct Idle;

impl Host for Idle {
    fn log(&self, _level: LogLevel, _message: RStr<'_>) {}

    fn submit(&self, _commands: RSlice<'_, Wish>) -> u64 {
        0
    }

    fn settle(&self, _seqs: RSlice<'_, u64>) {}

    fn status(&self, _status: Status) {}

    fn wake(&self, _token: u64) {}

    fn extension(&self, id: RStr<'_>) -> ROption<ExtensionRef> {
        Services::table(id.as_str()).into()
    }
}

fn load(library: &Path) -> PluginBox {
    let loaded = Loader::default().load(library, Services::OFFERED).expect("the template fits this host");
    let config = PluginConfig {
        instance: InstanceId(u64::MAX),
        name: "bench".into(),
        settings: r#"{"host":"broker.example"}"#.into(),
        product: r#"{"product_key":"bench","properties":[]}"#.into(),
        seed: [0; 32],
    };
    loaded.create(HostBox::from_value(Idle, TD_Opaque), config).expect("the settings are right")
}

/// Builds the template in the profile of this bench. Cargo holds no lock while it runs a bench.
fn build() -> PathBuf {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "-p", "polylink-template", "--message-format=json-render-diagnostics", "--manifest-path"]);
    cargo.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"));
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let built = cargo.stderr(Stdio::inherit()).output().expect("cargo runs");
    assert!(built.status.success(), "cargo build: {}", built.status);
    let messages = String::from_utf8_lossy(&built.stdout);
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut files = messages.flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default());
    let library = files
        .find_map(|file| file.as_str().filter(|file| file.ends_with("/libpolylink_template.so")).map(PathBuf::from));
    library.expect("cargo names the library that it built")
}

fn report(seq: u64) -> Report {
    let property = |id| Property { id: DatapointId(id), value: Value::Int(i64::from(id)) };
    Report {
        seq,
        at: WallTime::default(),
        device: 0,
        cause: Cause::CHANGE,
        origin: Origin::default(),
        body: ReportBody::Properties((0..4).map(property).collect()),
    }
}

fn now() -> Now {
    Now::default()
}

fn expect_ok<T, E: std::fmt::Debug>(result: RResult<T, E>) -> T {
    result.into_result().expect("the template has no reason to fail")
}

/// Reports in a call: what the host hands over at most.
const BATCH: u64 = 64;
/// Reports kept: as many as the template keeps while it is offline.
const KEPT: usize = 512;
/// Calls in a round.
const CALLS: u32 = 2_000;
/// Rounds; the best counts, because other work on the machine only adds.
const ROUNDS: usize = 7;
