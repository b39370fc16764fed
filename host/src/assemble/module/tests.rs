//! The module without plugins: what the MCU and plugins are told, and what the program for the network is called with.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::super::network::serve;
use super::*;
use crate::mcu::UserEvent;
use crate::module::hook::Job;
use crate::module::modes::{Answer, Phase};
use crate::services::clock::Zone;

/// A module with a directory of its own; with a program if it has a text.
struct Bench {
    module: Arc<ModuleSide>,
    directory: PathBuf,
}

impl Bench {
    fn new(program: Option<&str>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("polylink-module-{}-{number}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        if let Some(text) = program {
            fs::write(directory.join("program"), text).unwrap();
        }
        let module = Self::start(&directory, program.is_some());
        Self { module, directory }
    }

    /// The host begins in this directory.
    fn start(directory: &std::path::Path, has_program: bool) -> Arc<ModuleSide> {
        let mut config = HostConfig::default();
        config.host.state_dir = directory.to_owned();
        // The program itself needs no right to be executed: nobody else may write it while it begins.
        config.network.hook = has_program.then(|| directory.join("program"));
        Arc::new(ModuleSide::new(&config, Clock::new(Zone::Fixed(0))))
    }

    fn bindable_for(self, seconds: Option<u32>) -> Self {
        self.module.identified(Identity { bind_window_s: seconds, ..Identity::default() });
        self
    }

    fn in_soft_ap(self) -> Self {
        self.answers(Phase::ConfigureSoftAp, Answer::Accepted);
        self.module.take_news();
        self
    }

    fn answers(&self, phase: Phase, answer: Answer) {
        let now = self.module.now();
        self.module.lock().modes.answered(now, phase, answer);
    }

    /// The calls that wait.
    async fn calls(&self) -> Vec<Job> {
        let mut jobs = Vec::new();
        while let Ok(job) = tokio::time::timeout(Duration::ZERO, self.module.calls.next()).await {
            jobs.push(job);
        }
        jobs
    }

    async fn phases(&self) -> Vec<Phase> {
        self.calls().await.into_iter().map(|job| job.phase).collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn interface(ipv4: &str) -> Interface {
    Interface {
        name: "wlan0".into(),
        mac: [2, 0, 0x5E, 0x10, 0x20, 0x30],
        ipv4: ipv4.into(),
        broadcast: "".into(),
        ipv6: Vec::new().into(),
        wireless: true,
        signal_dbm: -60,
    }
}

#[test]
fn the_signal_in_percent_is_linear_between_its_ends() {
    for (dbm, expected) in [(0, 0), (-120, 0), (-100, 0), (-75, 50), (-50, 100), (-20, 100)] {
        assert_eq!(percent(dbm), expected, "{dbm} dBm");
    }
}

#[test]
fn the_binding_window_shows_in_facts_and_status_word() {
    for (seconds, bindable) in [(None, true), (Some(60), true)] {
        let bench = Bench::new(None).bindable_for(seconds);
        assert_eq!(bench.module.facts().bindable, bindable);
        assert_eq!(bench.module.state(false, &[]).bindable, bindable);
        assert_eq!(bench.module.next_timeout().is_some(), seconds.is_some());
    }
    assert!(!Bench::new(None).module.facts().bindable, "the MCU has said nothing yet");
}

#[test]
fn a_user_who_wants_to_bind_or_configure_opens_the_window_with_and_without_a_program() {
    for event in [UserEvent::Bind, UserEvent::Configure(1), UserEvent::Configure(9)] {
        let bench = Bench::new(None).bindable_for(Some(60));
        bench.module.user(event);
        let news = bench.module.take_news();
        assert_eq!(news, News { changed: true, bind_window: Some(60), ..News::default() });
        assert_eq!(bench.module.take_news(), News::default(), "told once");
    }
}

#[tokio::test]
async fn without_a_program_nothing_is_called_and_no_network_is_joined() {
    let bench = Bench::new(None);
    bench.module.user(UserEvent::Configure(1));
    bench.module.user(UserEvent::ProductionTest);
    bench.module.user(UserEvent::Reset);
    assert!(!bench.module.join("mcu", "Home", "secret"));
    assert!(!bench.module.end_production_test("lan"));
    assert!(bench.calls().await.is_empty());
}

#[tokio::test]
async fn the_users_wishes_become_calls() {
    let bench = Bench::new(Some(""));
    for (event, phases) in [
        (UserEvent::Configure(1), vec![Phase::ConfigureSoftAp]),
        (UserEvent::Configure(2), vec![Phase::ConfigureAirLink]),
        (UserEvent::Configure(3), vec![]),
        (UserEvent::ProductionTest, vec![Phase::ProductionTest]),
        (UserEvent::Reset, vec![Phase::Reset]),
        (UserEvent::Network { ssid: "Home".into(), password: Redacted("secret".into()) }, vec![Phase::Join]),
        (UserEvent::Unbind, vec![]),
    ] {
        bench.module.user(event.clone());
        assert_eq!(bench.phases().await, phases, "{event:?}");
    }
}

#[tokio::test]
async fn a_network_is_taken_only_during_onboarding_and_only_one_at_a_time() {
    let bench = Bench::new(Some(""));
    assert!(!bench.module.join_network("lan", "Home", "secret"), "onboarding is not open");
    let bench = bench.in_soft_ap();
    assert!(bench.module.facts().onboarding);
    for (ssid, password) in [("", "secret"), (&*"x".repeat(33), ""), ("Home", &*"x".repeat(65)), ("Ho\0me", "")] {
        assert!(!bench.module.join_network("lan", ssid, password), "{ssid:?}");
    }
    assert!(bench.module.join_network("lan", "Ho\"me", "secret"));
    assert!(bench.module.join_network("lan", "Ho\"me", "secret"), "an application says it again");
    assert!(!bench.module.join_network("lan", "Other", "secret"));
    let told = r#"{"password":"secret","ssid":"Ho\"me"}"#;
    assert_eq!(bench.calls().await, [Job { phase: Phase::Join, input: Some(Redacted(told.to_owned())) }]);
}

#[test]
fn the_access_points_own_address_is_no_network() {
    let bench = Bench::new(Some("")).in_soft_ap();
    let state = bench.module.state(false, &[interface("10.10.100.254")]);
    let bits = (state.network, state.access_point, state.station, state.onboarding);
    assert_eq!((bits, state.ip.as_str()), ((false, true, false, true), ""));
    let state = bench.module.state(false, &[interface("10.10.100.254"), interface("192.168.1.50")]);
    let shown = (state.network, state.station, state.ip.as_str(), state.mac.as_str());
    assert_eq!(shown, (true, true, "192.168.1.50", "02005E102030"));
}

#[test]
fn a_cable_is_the_network_only_of_a_module_without_a_radio() {
    for (has_radio, refused) in [(true, false), (false, true)] {
        let bench = Bench::new(Some(""));
        let cable = Interface { wireless: false, ..interface("192.168.1.50") };
        bench.module.network(&[cable], has_radio, true);
        assert_eq!(bench.module.lock().modes.configure(2).is_err(), refused, "AirLink is refused while connected");
    }
}

#[test]
fn the_production_test_shows_in_the_status_word_and_ends_without_a_station() {
    let bench = Bench::new(Some("")).bindable_for(Some(60));
    let up = [interface("192.168.1.50")];
    bench.module.user(UserEvent::ProductionTest);
    bench.answers(Phase::ProductionTest, Answer::Accepted);
    let state = bench.module.state(true, &up);
    assert!(state.production_test && state.station && !state.access_point && !state.onboarding);
    assert!(bench.module.end_production_test("lan"));
    bench.answers(Phase::ProductionTestEnd, Answer::Accepted);
    let state = bench.module.state(true, &up);
    assert!(!state.production_test && !state.station && state.access_point && !state.onboarding);
}

#[test]
fn a_restart_is_refused_while_another_cloud_is_online_or_the_module_is_young() {
    let bench = Bench::new(None);
    bench.module.online(vec!["gizwits".into(), "deli".into()]);
    assert!(!bench.module.request_restart("gizwits", "no answer"));
    bench.module.online(vec!["gizwits".into()]);
    assert!(!bench.module.request_restart("gizwits", "no answer"), "it has just begun");
    assert_eq!(bench.module.take_news(), News::default());
}

#[test]
fn a_named_cloud_is_news_once_and_a_reset_forgets_it() {
    let bench = Bench::new(None);
    bench.module.third_party_cloud("gizwits", "JD", "uuid=1");
    assert!(bench.module.take_news().named && bench.module.is_named("jd"));
    bench.module.third_party_cloud("gizwits", "JD", "uuid=1");
    assert!(!bench.module.take_news().named);
    bench.module.user(UserEvent::Reset);
    assert!(!bench.module.is_named("jd"));
}

/// Calls the program until it has answered a join.
async fn until_joined(module: &Arc<ModuleSide>, in_time: Duration) {
    let serving = tokio::spawn(serve(Arc::clone(module)));
    let joined = async {
        while module.lock().joining.is_some() {
            module.changed.notified().await;
        }
    };
    tokio::time::timeout(in_time, joined).await.expect("the program answers");
    serving.abort();
}

#[tokio::test]
async fn a_network_that_was_joined_is_told_once_also_in_the_next_life() {
    let bench = Bench::new(Some("#!/bin/sh\nexit 0\n"));
    let program = bench.directory.join("program");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let bench = bench.in_soft_ap();
    assert!(bench.module.join_network("lan", "Home", "secret"));
    until_joined(&bench.module, Duration::from_secs(20)).await;
    assert!(!bench.module.facts().onboarding);
    assert!(bench.module.marker.is_set());

    let next_life = Bench::start(&bench.directory, true);
    next_life.network(&[], true, true);
    next_life.network(&[interface("192.168.1.50")], true, false);
    assert!(!next_life.take_news().joined, "no plugin runs yet");
    next_life.network(&[interface("192.168.1.50")], true, true);
    assert!(next_life.take_news().joined);
    super::super::network::forget_join(Arc::clone(&next_life)).await;
    assert!(!Bench::start(&bench.directory, true).marker.is_set());
}

#[tokio::test]
async fn a_program_that_refuses_leaves_onboarding_open_and_no_marker() {
    let bench = Bench::new(Some("no program")).in_soft_ap();
    assert!(bench.module.join_network("lan", "Home", "secret"));
    let hook = bench.module.hook.clone().unwrap();
    let job = bench.module.calls.next().await;
    super::super::network::serve_one(&bench.module, &hook, &job).await;
    assert!(bench.module.facts().onboarding && !bench.module.marker.is_set());
}
