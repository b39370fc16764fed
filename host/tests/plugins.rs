//! Real libraries in a real host, without services and without an MCU: what is refused says why, and what misbehaves
//! hurts only itself. Tests wait on conditions, with a limit that only a broken host reaches.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use polylink::bus::{ArbiterSettings, Bus, JournalLimits, Losses, Policy};
use polylink::hub::Hub;
use polylink::plugins::inbox::COMPLETIONS_MAX;
use polylink::plugins::{
    CloudSetup, InstanceStatus, Loaded, Loader, Patience, Phase, PluginEvent, PluginSettings, Plugins, ServiceHost,
};
use polylink::product::{Class, Field, History, Kind, Product, Property};
use polylink::services::{EventSink, OwnedEvent};
use polylink_plugin_api::services::{Module, module};
use polylink_plugin_api::{
    ABI_VERSION, Cause, DatapointId, Extension, ExtensionRef, InstanceId, Now, ReportBody, Timestamp, Value, WallTime,
};

#[test]
fn each_refusal_has_its_own_sentence() {
    check_refused(&file("not-a-plugin"), "`FILE` is not a Polylink plugin: it has no symbol POLYLINK_PLUGIN_ABI");
    let newer = ABI_VERSION + 1000;
    let abi = format!("`FILE` is built for plugin ABI {newer}, this host speaks ABI {ABI_VERSION}; update the host");
    check_refused(&file("wrong-abi"), &abi);
    let service = "plugin `fixture-wants-more` wants polylink.mqtt/99, this host offers polylink.mqtt/1";
    check_refused(&file("wants-more"), service);
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    check_refused(&manifest, "`FILE` is not a Polylink plugin: it is not a shared library");
    check_refused(Path::new("libpolylink_deli.so"), "`FILE` is not an absolute path");
    check_refused(Path::new("/nowhere/libx.so"), "cannot read `FILE`: No such file or directory (os error 2)");
}

#[test]
fn a_plugin_that_is_refused_can_still_be_inspected() {
    let descriptor = Loader::default().inspect(&file("wants-more")).expect("it is a plugin");
    assert_eq!((&*descriptor.name, descriptor.services.len()), ("fixture-wants-more", 1));
}

#[test]
fn a_cloud_whose_plugin_does_not_fit_stays_off_and_the_others_run() {
    let host = Host::with(&[("good", "{}"), ("wants-more", "{}")]);
    let off = host.of("wants-more");
    assert_eq!(off.phase, Phase::Disabled);
    assert!(off.last_fault.contains("this host offers polylink.mqtt/1"), "{}", off.last_fault);
    host.check_good_one_works();
}

#[test]
fn a_panic_in_any_entry_is_contained_and_after_three_the_plugin_stays_off() {
    for place in ["create", "start", "reports", "outcome", "event", "timeout"] {
        check_stays_off(&format!(r#"{{"do":"panic","in":"{place}"}}"#), 3, "as told, in ");
    }
}

#[test]
fn a_fault_is_tried_again_and_one_that_gives_up_is_not() {
    check_stays_off(r#"{"do":"fault","in":"event"}"#, 3, "failed as told, in event");
    check_stays_off(r#"{"do":"give-up","in":"reports"}"#, 1, "gave up as told, in reports");
    check_stays_off(r#"{"do":"wrong-settings"}"#, 1, "`port` is missing; a number from 1 to 65535 would be accepted");
}

#[test]
fn after_one_panic_the_plugin_begins_anew_and_gets_what_it_did_not_settle() {
    let host = Host::with(&[("good", "{}"), ("panics-once", r#"{"do":"panic","in":"reports","once":true}"#)]);
    host.wait_for("panics-once", "online", |status| status.said.text == "here");
    host.say(7);
    host.wait_for("panics-once", "failed", |status| status.faults == 1);
    host.wait_for("panics-once", "given the report again", |status| reports(status) == 1);
    assert_eq!(host.services.open.lock().unwrap().len(), 2, "what the failed incarnation had open is closed");
    host.check_good_one_works();
}

#[test]
fn a_panic_at_the_end_of_a_life_does_not_hold_up_the_host() {
    for place in ["stop", "drop"] {
        let host = Host::with(&[("bad", &format!(r#"{{"do":"panic","in":"{place}"}}"#))]);
        host.wait_for("bad", "online", |status| status.said.text == "here");
        assert_eq!(host.plugins.stop(LIMIT), Vec::<String>::new());
    }
}

#[test]
fn a_call_that_never_returns_is_quarantined_and_its_handles_are_closed() {
    let host = Host::with(&[("good", "{}"), ("bad", r#"{"do":"loop","in":"event"}"#)]);
    host.wait_for("bad", "online", |status| status.said.text == "here");
    let instance = host.of("bad").instance.expect("it works");
    host.stir();
    host.wait_for("bad", "quarantined", |status| status.phase == Phase::Quarantined && status.instance.is_none());
    assert!(host.of("bad").last_fault.contains("`event` has not returned"), "{}", host.of("bad").last_fault);
    host.wait_until("its handles are closed", || !host.services.open.lock().unwrap().contains(&instance));
    let quarantined = |event: &PluginEvent| matches!(event, PluginEvent::Quarantined { cloud, .. } if cloud == "bad");
    host.wait_until("who runs the process is told", || host.events.lock().unwrap().iter().any(quarantined));
    host.check_good_one_works();
    host.wait_until("it alone is left behind", || host.plugins.stop(Duration::from_millis(1)) == ["bad"]);
}

#[test]
fn a_stuck_call_that_returns_after_all_ends_that_life_and_the_next_one_works() {
    let host = Host::with(&[("late", r#"{"do":"stall","ms":400,"in":"reports","once":true}"#)]);
    host.wait_for("late", "online", |status| status.said.text == "here");
    host.say(1);
    host.wait_for("late", "back", |status| status.phase == Phase::Started && reports(status) == 1);
    let late = host.of("late");
    assert_eq!(late.faults, 1);
    assert!(late.last_fault.contains("`reports` returned after it was given up as stuck"), "{}", late.last_fault);
}

#[test]
fn floods_are_bounded_and_counted() {
    let host = Host::with(&[
        ("good", "{}"),
        ("commands", r#"{"do":"flood-commands","n":1000}"#),
        ("log", r#"{"do":"flood-log","n":1000}"#),
        ("status", r#"{"do":"flood-status","n":50}"#),
        ("busy", r#"{"do":"busy"}"#),
    ]);
    host.wait_for("commands", "told what became of each", |status| fact(status, "outcomes") == 1000);
    host.wait_for("log", "muted", |status| status.log_lines_left_out > 0);
    host.wait_for("status", "online", |status| status.said.text == "here");
    host.wait_for("busy", "online", |status| status.said.text == "here");
    host.check_good_one_works();
}

#[test]
fn answers_without_end_fail_the_instance_instead_of_filling_memory() {
    let host = Host::with(&[("asks-too-much", "{}")]);
    host.wait_for("asks-too-much", "online", |status| status.said.text == "here");
    host.wait_until("more answers wait than may", || {
        (0..COMPLETIONS_MAX).for_each(|_| host.stir());
        host.of("asks-too-much").faults > 0
    });
    let failed = host.of("asks-too-much");
    assert!(failed.last_fault.contains("faster than it hears their answers"), "{}", failed.last_fault);
}

#[test]
fn a_plugin_that_settles_nothing_gets_no_more_than_256_and_the_journal_stays_bounded() {
    let host = Host::with(&[("good", "{}"), ("bad", r#"{"do":"hoard"}"#)]);
    host.wait_for("bad", "online", |status| status.said.text == "here");
    (0..3000).for_each(|n| host.say(n));
    host.wait_for("bad", "full", |status| status.usage.unsettled == 256);
    host.check_good_one_works();
    let bad = host.of("bad").usage;
    let (kept, bytes) = host.hub.look(Bus::journal_usage);
    assert!(kept <= LIMITS.max_reports && bytes <= LIMITS.max_bytes && bad.unsettled <= 256, "{bad:?}");
    assert!(bad.losses.history > 0, "what it could not take is counted: {bad:?}");
}

#[test]
fn a_plugin_with_threads_of_its_own_is_served_and_ignored_after_its_end() {
    let host = Host::with(&[("raw-threads", "{}")]);
    host.wait_for("raw-threads", "answered", |status| fact(status, "outcomes") > 3 && fact(status, "wakes") > 3);
    assert_eq!(host.plugins.stop(LIMIT), Vec::<String>::new());
    let asked = host.hub.look(Bus::counters).commands;
    // Its thread goes on calling; each call passes through the bus's lock before one of ours that begins later.
    for n in 0..1000 {
        host.say(n);
    }
    assert_eq!(host.hub.look(Bus::counters).commands, asked);
}

#[test]
fn an_operator_can_switch_a_disabled_cloud_on_again() {
    let host = Host::with(&[("given-up", r#"{"do":"give-up","once":true}"#)]);
    host.wait_for("given-up", "off", |status| status.phase == Phase::Disabled);
    host.wait_until("it is on again", || {
        host.plugins.enable("given-up");
        host.of("given-up").phase == Phase::Started
    });
    assert!(!host.plugins.enable("nobody"));
}

#[test]
fn a_cloud_that_waits_to_be_named_starts_once_and_nothing_is_kept_for_it_before() {
    let host = Host::with(&[("good", "{}"), ("waits-for-jd", "{}")]);
    host.say(1);
    host.check_good_one_works();
    let waiting = host.of("waits-for-jd");
    assert_eq!((waiting.phase, waiting.waits_for.as_deref()), (Phase::Loaded, Some("JD")));
    assert_eq!(waiting.usage.waiting, 0);
    host.plugins.start_named(|_| false);
    assert_eq!(host.of("waits-for-jd").phase, Phase::Loaded);
    host.plugins.start_named(|name| name == "JD");
    host.plugins.start_named(|name| name == "JD");
    host.wait_for("waits-for-jd", "online", |status| status.said.text == "here");
    let started = |event: &&PluginEvent| matches!(event, PluginEvent::Started { cloud } if cloud == "waits-for-jd");
    let n_started = || host.events.lock().unwrap().iter().filter(started).count();
    // It says that it is there before the host tells that it has started.
    host.wait_until("word that it has started", || n_started() > 0);
    // Whatever a second start would do it does before the plugin hears of this.
    host.say(2);
    host.wait_for("waits-for-jd", "served", |status| status.usage.settled > 0 || status.usage.unsettled > 0);
    assert_eq!(n_started(), 1);
    assert_eq!(host.of("waits-for-jd").waits_for, None);
}

#[test]
fn another_library_takes_the_place_of_one_that_works_and_no_report_is_lost() {
    let host = Host::with(&[("good", "{}"), ("swapped", "{}")]);
    host.wait_for("swapped", "online", |status| status.said.text == "here");
    assert_eq!(host.of("swapped").version, env!("CARGO_PKG_VERSION"));
    let (n, done) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        // Also when something below fails.
        let _end = Raise(&done);
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                // Never more than the journal takes.
                if host.of("swapped").usage.waiting < LIMITS.max_reports / 2 {
                    host.say(i64::try_from(n.fetch_add(1, Ordering::SeqCst)).expect("small"));
                }
            }
        });
        for (with, version) in [(newer(), NEWER), (older(), env!("CARGO_PKG_VERSION")), (newer(), NEWER)] {
            let before = host.of("swapped").usage.settled;
            assert!(host.plugins.replace("swapped", Ok(with), false, LIMIT));
            assert_eq!(host.of("swapped").version, version);
            host.wait_for("swapped", "served", |status| status.usage.settled > before && reports(status) > 0);
        }
    });
    host.wait_for("swapped", "given the rest", |status| status.usage.settled == n.load(Ordering::SeqCst));
    assert_eq!(host.of("swapped").usage.losses, Losses::default());
    assert_eq!(host.of("swapped").faults, 0);
    host.check_good_one_works();
}

#[test]
fn what_waited_for_a_plugin_that_gives_up_on_trial_is_for_the_one_that_follows() {
    for (on_trial, waiting) in [(true, 3), (false, 0)] {
        let host = Host::with(&[("swapped", r#"{"do": "give-up", "in": "reports", "only": "9.0.0"}"#)]);
        host.wait_for("swapped", "online", |status| status.said.text == "here");
        assert!(host.plugins.replace("swapped", Ok(newer()), on_trial, LIMIT));
        host.wait_for("swapped", "online again", |status| status.said.text == "here");
        host.say(1);
        host.wait_for("swapped", "off", |status| status.phase == Phase::Disabled);
        host.say(2);
        host.say(3);
        host.wait_for("swapped", "kept or forgotten", |status| status.usage.waiting == waiting);
        host.plugins.trial_is_over("fixture-misbehaving");
        assert_eq!(host.of("swapped").usage.waiting, 0, "nobody follows");
    }
}

#[test]
fn a_plugin_that_is_stuck_is_replaced_all_the_same() {
    let stuck = format!(r#"{{"do":"loop","in":"reports","only":"{}"}}"#, env!("CARGO_PKG_VERSION"));
    let host = Host::with(&[("good", "{}"), ("swapped", &stuck)]);
    host.wait_for("swapped", "online", |status| status.said.text == "here");
    host.say(1);
    host.wait_for("swapped", "given it", |status| status.usage.unsettled == 1);
    assert!(host.plugins.replace("swapped", Ok(newer()), false, Duration::from_millis(1)));
    host.wait_for("swapped", "given it again", |status| reports(status) == 1 && status.usage.settled == 1);
    host.check_good_one_works();
}

#[test]
fn a_cloud_without_a_plugin_gets_one_and_loses_it_again() {
    let host = Host::with(&[("good", "{}"), ("wants-more", "{}")]);
    assert_eq!(host.of("wants-more").phase, Phase::Disabled);
    assert!(host.plugins.replace("wants-more", Ok(newer()), false, LIMIT));
    host.wait_for("wants-more", "online", |status| status.said.text == "here");
    host.say(1);
    host.wait_for("wants-more", "served", |status| status.usage.settled > 0);
    let why = "it was not good";
    assert!(host.plugins.replace("wants-more", Err(why.to_owned()), false, LIMIT));
    host.say(2);
    host.check_good_one_works();
    let off = host.of("wants-more");
    assert_eq!((off.phase, off.last_fault.as_str(), off.usage.waiting), (Phase::Disabled, why, 0));
}

#[test]
fn one_that_waits_to_be_named_waits_on_with_another_library() {
    let host = Host::with(&[("good", "{}"), ("waits-for-jd", "{}")]);
    assert!(host.plugins.replace("waits-for-jd", Ok(newer()), false, LIMIT));
    let waiting = host.of("waits-for-jd");
    assert_eq!((waiting.phase, waiting.waits_for.as_deref()), (Phase::Loaded, Some("JD")));
    host.plugins.start_named(|name| name == "JD");
    host.wait_for("waits-for-jd", "online", |status| status.said.text == "here" && status.version == NEWER);
}

#[test]
fn when_all_are_stopped_no_other_library_begins() {
    let host = Host::with(&[("good", "{}")]);
    host.wait_for("good", "online", |status| status.said.text == "here");
    assert_eq!(host.plugins.stop(LIMIT), Vec::<String>::new());
    assert!(!host.plugins.replace("good", Ok(newer()), false, LIMIT));
    assert!(!host.plugins.replace("nobody", Ok(newer()), false, LIMIT));
    assert_eq!(host.services.open.lock().unwrap().len(), 0);
    assert_eq!(host.of("good").phase, Phase::Loaded);
}

/// A host with these clouds: names and settings. One called `waits-…` waits for the cloud JD to be named. The plugin is the fixture of that name, else the misbehaving one.
struct Host {
    hub: Arc<Hub>,
    services: Arc<NoServices>,
    plugins: Plugins,
    events: Arc<Mutex<Vec<PluginEvent>>>,
}

impl Host {
    fn with(clouds: &[(&str, &str)]) -> Self {
        let since = Instant::now();
        let now = move || Now {
            monotonic: Timestamp(u64::try_from(since.elapsed().as_millis()).expect("a short test")),
            wall: WallTime::default(),
            utc_offset_s: 0,
        };
        let mut bus = Bus::new(LIMITS, ArbiterSettings { policy: Policy::LastWriter, deadline_ms: 5000 });
        bus.set_product(Arc::new(product()));
        let hub = Hub::new(bus, Arc::new(now), Box::new(|_| false));
        let services = Arc::new(NoServices::default());
        let settings = PluginSettings {
            directories: vec![FIXTURES.clone()],
            installed: BTreeMap::new(),
            call_warn_ms: 50,
            call_quarantine_ms: 200,
            patience: Patience { backoff_first_ms: 1, backoff_max_ms: 4, faults_max: 3, faults_window_ms: 600_000 },
            stop_grace_ms: 10,
        };
        let clouds = clouds.iter().map(|(name, settings)| CloudSetup {
            name: (*name).to_owned(),
            plugin: format!("fixture-{}", if file(name).exists() { name } else { "misbehaving" }),
            settings: (*settings).to_owned(),
            product: "{}".to_owned(),
            start_when: name.starts_with("waits-").then(|| "JD".to_owned()),
        });
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&events);
        let on_event = move |event| heard.lock().unwrap().push(event);
        let loader = Loader::default();
        let plugins =
            Plugins::load(settings, clouds.collect(), &loader, Arc::clone(&hub), Arc::clone(&services) as _, on_event);
        let plugins = plugins.expect("the system gives threads");
        plugins.start_all();
        Self { hub, services, plugins, events }
    }

    /// The device says a number that has history.
    fn say(&self, n: i64) {
        let values = vec![polylink_plugin_api::Property { id: DatapointId(0), value: Value::Int(n) }];
        let now = self.hub.now();
        let body = ReportBody::Properties(values.into());
        self.hub.change(|bus, effects| bus.report(now, 0, Cause::CHANGE, None, body, effects));
    }

    /// Every instance gets an event of a service.
    fn stir(&self) {
        for sink in self.services.sinks.lock().unwrap().iter() {
            sink.complete(OwnedEvent { source: Module::ID, kind: module::RESET, ..OwnedEvent::default() });
        }
    }

    fn of(&self, cloud: &str) -> InstanceStatus {
        self.plugins.status().into_iter().find(|status| status.cloud == cloud).expect("a configured cloud")
    }

    #[track_caller]
    fn wait_for(&self, cloud: &str, what: &str, holds: impl Fn(&InstanceStatus) -> bool) {
        let limit = Instant::now() + LIMIT;
        while !holds(&self.of(cloud)) {
            assert!(Instant::now() < limit, "{cloud} never came to be {what}: {:?}", self.of(cloud));
            std::thread::yield_now();
        }
    }

    #[track_caller]
    fn wait_until(&self, what: &str, holds: impl Fn() -> bool) {
        let limit = Instant::now() + LIMIT;
        while !holds() {
            assert!(Instant::now() < limit, "it never came to pass that {what}");
            std::thread::yield_now();
        }
    }

    /// The well-behaved cloud `good` still gets what the device says, and has never failed.
    #[track_caller]
    fn check_good_one_works(&self) {
        self.wait_for("good", "online", |status| status.said.text == "here");
        let before = reports(&self.of("good"));
        self.say(1);
        self.wait_for("good", "given the report", |status| reports(status) > before);
        assert_eq!(self.of("good").faults, 0);
    }
}

/// This file is refused with this sentence.
#[track_caller]
fn check_refused(path: &Path, sentence: &str) {
    let refused = Loader::default().load(path, &["polylink.mqtt/1"]).expect_err("it is refused").to_string();
    assert_eq!(refused, sentence.replace("FILE", &path.display().to_string()));
}

/// A plugin with these settings fails so often and stays off then, for this reason; the other one does not notice.
#[track_caller]
fn check_stays_off(settings: &str, faults: u64, reason: &str) {
    let host = Host::with(&[("good", "{}"), ("bad", settings)]);
    host.wait_until("it stays off", || {
        host.say(7);
        host.stir();
        host.of("bad").phase == Phase::Disabled
    });
    let bad = host.of("bad");
    assert_eq!(bad.faults, faults, "{settings}");
    assert!(bad.last_fault.contains(reason), "{} does not say {reason}", bad.last_fault);
    host.wait_for("bad", "without anything that is kept for it", |status| {
        (status.usage.waiting, status.usage.unsettled) == (0, 0)
    });
    host.check_good_one_works();
    host.wait_until("its handles are closed", || host.services.open.lock().unwrap().len() == 1);
}

/// Raises a flag at the end of its life.
struct Raise<'a>(&'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The misbehaving plugin in its later version, from a library of its own.
fn newer() -> Loaded {
    Loader::default().load(&file("misbehaving-newer"), &[]).expect("it is a plugin")
}

fn older() -> Loaded {
    Loader::default().load(&file("misbehaving"), &[]).expect("it is a plugin")
}

fn fact(status: &InstanceStatus, name: &str) -> u64 {
    let fact = status.said.facts.iter().find(|fact| fact.0 == name);
    fact.and_then(|fact| fact.1.parse().ok()).unwrap_or_default()
}

fn reports(status: &InstanceStatus) -> u64 {
    fact(status, "reports")
}

fn product() -> Product {
    let kind = Kind::Int { min: 0, max: 1_000_000, step: 1 };
    let field = Field { name: "count".to_owned(), title: String::new(), unit: String::new(), kind };
    Product {
        key: "k".to_owned(),
        name: "n".to_owned(),
        properties: vec![Property { field, writable: true, history: History::All, class: Class::Value }],
        events: Vec::new(),
        actions: Vec::new(),
        raw: false,
    }
}

fn file(fixture: &str) -> PathBuf {
    FIXTURES.join(format!("libpolylink_fixture_{}.so", fixture.replace('-', "_")))
}

/// Where cargo puts the fixtures, which this builds once.
static FIXTURES: LazyLock<PathBuf> = LazyLock::new(|| {
    let test = std::env::current_exe().expect("this test runs from a file");
    let profile = test.parent().and_then(Path::parent).expect("cargo's target/<profile>/deps").to_owned();
    let target = profile.parent().expect("cargo's target");
    let mut cargo = Process::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "--quiet", "--target-dir"]).arg(target);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    for name in ["misbehaving", "misbehaving-newer", "not-a-plugin", "raw-threads", "wants-more", "wrong-abi"] {
        cargo.arg(format!("--package=polylink-fixture-{name}"));
    }
    assert!(cargo.status().expect("cargo runs").success(), "the fixtures do not build");
    profile
});

/// Services that only know who is open.
#[derive(Default)]
struct NoServices {
    open: Mutex<HashSet<InstanceId>>,
    sinks: Mutex<Vec<Arc<dyn EventSink>>>,
}

impl ServiceHost for NoServices {
    fn open(&self, _: &str, sink: Arc<dyn EventSink>) -> InstanceId {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let id = InstanceId(LAST.fetch_add(1, Ordering::SeqCst) + 1);
        self.open.lock().unwrap().insert(id);
        self.sinks.lock().unwrap().push(sink);
        id
    }

    fn close(&self, instance: InstanceId) {
        self.open.lock().unwrap().remove(&instance);
    }

    fn drain(&self, _: InstanceId, _: Duration) {}

    fn table(&self, _: &str) -> Option<ExtensionRef> {
        None
    }

    fn offered(&self) -> &'static [&'static str] {
        &["polylink.mqtt/1"]
    }
}

const LIMITS: JournalLimits = JournalLimits { max_reports: 1000, max_bytes: 1 << 20 };

/// Version of the later library.
const NEWER: &str = "9.0.0";

/// Far beyond what anything here takes on the slowest machine.
const LIMIT: Duration = Duration::from_secs(60);
