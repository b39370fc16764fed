//! Firmware upgrades: what the platform offers goes to the host, and what became of it to the platform.

use polylink_plugin_sdk::services::ota::{Digest, Failure, Offer, Phase, Request, Target, Update};
use polylink_plugin_sdk::services::{id, module};
use polylink_plugin_sdk::testing::Setup;
use polylink_plugin_sdk::{ClockQuality, Output, WallTime};
use serde_json::{Value, json};

use crate::scenarios::cloud::{Cloud, setup};

const MD5: &str = "4C56FF4CE4AAF9573AA5DFF913DF997A";

fn order(version: &str, kind: &str) -> Value {
    json!({"code": 0, "version": version, "upgrade_type": kind, "file_path": "http://delicloud.com/oss/xxx.zip",
           "checksum": MD5})
}

/// A broadcast to all devices of a type or a model.
fn notice(version: &str, to: &str) -> Value {
    json!({"mid": "n", "from": "", "to": to, "time": 1, "action": 202, "data": {"version": version}})
}

/// A device that got an order for version 1.1.
fn ordered(kind: &str, changes: Value) -> Cloud {
    let mut cloud = Cloud::online(changes);
    cloud.order("1.1", kind);
    cloud
}

/// A device whose host has this update.
fn with(kind: &str, phase: Phase, changes: Value) -> (Cloud, Update) {
    let mut cloud = ordered(kind, changes);
    let offer = cloud.expect_offer();
    let update = Update { id: offer.id, target: offer.target, version: offer.version, phase, ..Update::default() };
    cloud.host.updates_changed(vec![update.clone()]);
    (cloud, update)
}

impl Cloud {
    #[track_caller]
    fn order(&mut self, version: &str, kind: &str) {
        self.say(notice(version, "DL3785W"));
        self.answer(103, order(version, kind));
    }

    #[track_caller]
    fn expect_offer(&mut self) -> Offer {
        match self.host.expect_ota() {
            Request::Offer(offer) => *offer,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn becomes(&mut self, update: &Update, phase: Phase) {
        let reason = if let Phase::Failed(_) = phase { "because".to_owned() } else { String::new() };
        self.host.updates_changed(vec![Update { phase, percent: 50, reason, ..update.clone() }]);
    }

    #[track_caller]
    fn restart_online(&mut self, newest: &str) {
        self.host.restart();
        self.accept();
        self.answer(101, json!({"code": 0}));
        self.answer_record(json!({"group_id": 1000, "product_version": newest}));
    }

    #[track_caller]
    fn expect_nothing_about_updates(&mut self) {
        let asked = self.host.take_outputs();
        assert!(!asked.iter().any(|output| matches!(output, Output::Ota(_))), "{asked:?}");
    }
}

fn acknowledge(update: &Update) -> Request {
    Request::Acknowledge(update.id.clone())
}

#[test]
fn an_order_becomes_an_offer_for_a_moment_of_the_next_night() {
    let mut cloud = ordered("normal", json!({}));
    let offer = cloud.expect_offer();
    // The virtual clock starts at midnight UTC.
    let now = cloud.host.now().wall.unix_ms;
    let after_midnight = offer.not_before_ms.rem_euclid(86_400_000);
    assert!(after_midnight <= 7_200_000 && (now..now + 2 * 86_400_000).contains(&offer.not_before_ms), "{offer:?}");
    let md5 = [0x4C, 0x56, 0xFF, 0x4C, 0xE4, 0xAA, 0xF9, 0x57, 0x3A, 0xA5, 0xDF, 0xF9, 0x13, 0xDF, 0x99, 0x7A];
    let expected = Offer {
        id: format!("normal:{}:1.1", MD5.to_ascii_lowercase()),
        target: Target::Mcu,
        version: "1.1".to_owned(),
        url: "http://delicloud.com/oss/xxx.zip".to_owned(),
        digests: vec![Digest::Md5(md5)],
        not_before_ms: offer.not_before_ms,
        ..Offer::default()
    };
    assert_eq!(offer, expected);
    cloud.host.expect_silence();
}

#[test]
fn a_forced_upgrade_starts_within_minutes() {
    let offer = ordered("force", json!({"ota_force_spread_s": 60})).expect_offer();
    assert_eq!((offer.not_before_ms, offer.spread_ms), (0, 60_000));
}

#[test]
fn whose_firmware_it_is_follows_from_the_version_that_the_platform_is_told() {
    for (changes, mcu, module, target, told) in [
        (json!({}), "1.0", "7.0", Target::Mcu, "1.0"),
        (json!({}), "", "7.0", Target::Module, "7.0"),
        (json!({"ota_target": "module"}), "1.0", "7.0", Target::Module, "7.0"),
        (json!({"ota_target": "mcu"}), "", "7.0", Target::Mcu, ""),
        (json!({"ota_target": "module", "product_version": "5"}), "1.0", "7.0", Target::Module, "5"),
    ] {
        let mut setup = setup(changes.clone());
        setup.facts.mcu_software = mcu.to_owned();
        setup.facts.module_software = module.to_owned();
        let mut cloud = Cloud::started(setup);
        cloud.accept();
        assert_eq!(cloud.expect(101)["data"]["product_version"], told, "{changes}");
        cloud.order("9", "force");
        // An MCU that says nothing may be starting up.
        cloud.host.advance(60_000);
        assert_eq!(cloud.expect_offer().target, target, "{changes}");
    }
}

#[test]
fn an_mcu_that_starts_up_has_a_minute_to_say_its_version_before_firmware_counts_as_the_modules() {
    for (version, target) in [("1.0", Some(Target::Mcu)), ("1.1", None), ("", Some(Target::Module))] {
        let mut setup = setup(json!({}));
        setup.facts.mcu_software.clear();
        let mut cloud = Cloud::started(setup);
        cloud.accept();
        cloud.order("1.1", "force");
        cloud.expect_nothing_about_updates();
        cloud.host.advance(1_000);
        cloud.assert_fact("update", "1.1: waiting for the MCU");
        cloud.host.facts_changed(module::Facts { mcu_software: version.to_owned(), ..Default::default() });
        if version.is_empty() {
            cloud.host.advance(58_999);
            cloud.expect_nothing_about_updates();
            cloud.host.advance(1);
        }
        match target {
            Some(target) => assert_eq!(cloud.expect_offer().target, target),
            None => cloud.host.advance(60_000),
        }
        cloud.expect_nothing_about_updates();
    }
}

#[test]
fn progress_is_shown_and_not_told() {
    let (mut cloud, update) = with("normal", Phase::Waiting, json!({}));
    cloud.assert_fact("update", "1.1: waiting");
    cloud.becomes(&update, Phase::Downloading);
    cloud.assert_fact("update", "1.1: loading, 50 %");
    cloud.becomes(&update, Phase::Installing);
    cloud.assert_fact("update", "1.1: being installed");
    cloud.host.expect_silence();
}

#[test]
fn a_success_is_told_by_the_new_version_and_acknowledged_once_the_platform_has_it() {
    let (mut cloud, update) = with("normal", Phase::Installing, json!({}));
    cloud.host.facts_changed(module::Facts { mcu_software: "1.1".into(), ..Default::default() });
    cloud.answer(101, json!({"code": 0}));
    cloud.host.expect_silence();
    cloud.becomes(&update, Phase::Finished);
    assert_eq!(cloud.expect(101)["data"]["product_version"], "1.1");
    cloud.host.expect_silence();
    // Nothing is acknowledged by silence; the same question comes again.
    cloud.host.advance(30_000);
    cloud.answer(101, json!({"code": 0}));
    assert_eq!(cloud.host.expect_ota(), acknowledge(&update));
    cloud.host.updates_changed(Vec::new());
    cloud.host.expect_silence();
    assert!(cloud.fact("update").is_none());
}

#[test]
fn a_success_after_a_restart_is_told_by_the_start_sequence() {
    let (mut cloud, update) = with("force", Phase::Installing, json!({}));
    cloud.host.setup().updates = vec![Update { phase: Phase::Finished, ..update.clone() }];
    cloud.host.setup().facts.mcu_software = "1.1".to_owned();
    cloud.host.restart();
    cloud.accept();
    assert_eq!(cloud.answer(101, json!({"code": -1}))["data"]["product_version"], "1.1");
    cloud.host.advance(5_000);
    cloud.answer(101, json!({"code": 0}));
    assert_eq!(cloud.host.expect_ota(), acknowledge(&update));
}

#[test]
fn every_kind_of_failure_raises_the_alarm_and_is_acknowledged_with_its_answer() {
    for (failure, says) in [
        (Failure::Other, "1.1: it failed: because"),
        (Failure::Unsupported, "1.1: this device cannot install it: because"),
        (Failure::Policy, "1.1: the owner's rules forbid it: because"),
        (Failure::Download, "1.1: it could not be loaded: because"),
        (Failure::Digest, "1.1: it is not what was promised: because"),
        (Failure::Space, "1.1: it is too large: because"),
        (Failure::Install, "1.1: it could not be installed: because"),
        (Failure::TooLate, "1.1: its time was over: because"),
    ] {
        let (mut cloud, update) = with("normal", Phase::Installing, json!({}));
        cloud.becomes(&update, Phase::Failed(failure));
        cloud.becomes(&update, Phase::Failed(failure));
        let asked = cloud.expect(105);
        assert_eq!(asked["data"], json!({"code": 200, "msg": says}));
        cloud.host.expect_silence();
        // Text 1.1 misprints the action of the answer.
        cloud.say(json!({"mid": asked["mid"], "action": 104, "data": {"code": 0}}));
        assert_eq!(cloud.host.expect_ota(), acknowledge(&update));
        cloud.host.expect_silence();
    }
}

#[test]
fn an_alarm_that_nobody_answers_is_said_three_times_and_then_acknowledged() {
    let (mut cloud, update) = with("normal", Phase::Installing, json!({}));
    cloud.becomes(&update, Phase::Failed(Failure::Install));
    cloud.host.advance(89_000);
    assert_eq!(cloud.count(105), 3);
    cloud.host.advance(1_000);
    assert_eq!(cloud.host.expect_ota(), acknowledge(&update));
}

#[test]
fn a_failure_while_away_is_told_after_the_next_connection() {
    let (mut cloud, update) = with("normal", Phase::Installing, json!({}));
    cloud.cut();
    cloud.becomes(&update, Phase::Failed(Failure::Install));
    cloud.reconnect();
    cloud.answer(105, json!({"code": 0}));
    assert_eq!(cloud.host.expect_ota(), acknowledge(&update));
}

#[test]
fn a_failure_that_was_not_acknowledged_is_told_after_a_restart() {
    let (mut cloud, update) = with("normal", Phase::Installing, json!({}));
    cloud.becomes(&update, Phase::Failed(Failure::Install));
    cloud.host.restart();
    cloud.accept();
    cloud.answer(105, json!({"code": 0}));
    assert_eq!(cloud.host.expect_ota(), acknowledge(&update));
}

#[test]
fn a_second_failure_within_minutes_is_told_when_the_alarm_may_be_raised_again() {
    let (mut cloud, update) = with("normal", Phase::Installing, json!({}));
    cloud.becomes(&update, Phase::Failed(Failure::Download));
    cloud.answer(105, json!({"code": 0}));
    assert_eq!(cloud.host.expect_ota(), acknowledge(&update));
    let next = Update { id: "force:1.2".to_owned(), version: "1.2".to_owned(), ..update };
    cloud.becomes(&next, Phase::Failed(Failure::Digest));
    cloud.host.advance(599_000);
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    assert_eq!(cloud.answer(105, json!({"code": 0}))["data"]["msg"], "1.2: it is not what was promised: because");
    assert_eq!(cloud.host.expect_ota(), acknowledge(&next));
}

#[test]
fn a_firmware_that_failed_is_not_tried_again_for_a_day_unless_another_one_comes() {
    let (mut cloud, update) = with("normal", Phase::Installing, json!({}));
    cloud.becomes(&update, Phase::Failed(Failure::Install));
    cloud.answer(105, json!({"code": 0}));
    cloud.host.updates_changed(Vec::new());
    cloud.host.restart();
    cloud.accept();
    cloud.answer_start(json!({"group_id": 1000}));
    cloud.order("1.1", "normal");
    cloud.host.expect_silence();
    cloud.order("1.1", "force");
    assert_eq!(cloud.expect_offer().id, update.id.replace("normal", "force"));
    assert!(cloud.host.stored("ota").is_none());
    cloud.order("1.1", "normal");
    assert_eq!(cloud.expect_offer().id, update.id);
}

#[test]
fn a_firmware_that_does_not_bring_the_promised_version_is_not_installed_for_ever() {
    let (mut cloud, update) = with("normal", Phase::Installing, json!({}));
    cloud.becomes(&update, Phase::Finished);
    cloud.answer(101, json!({"code": 0}));
    assert_eq!(cloud.host.expect_ota(), acknowledge(&update));
    cloud.host.updates_changed(Vec::new());
    cloud.order("1.1", "normal");
    cloud.host.expect_silence();
    cloud.host.advance(86_400_000);
    cloud.host.take_outputs();
    cloud.order("1.1", "normal");
    assert_eq!(cloud.expect_offer().id, update.id);
}

#[test]
fn an_order_that_comes_again_begins_when_it_was_to_begin_also_after_a_restart() {
    for phase in [Phase::Waiting, Phase::Downloading, Phase::Installing] {
        let mut cloud = ordered("normal", json!({}));
        let offer = cloud.expect_offer();
        let update = Update { id: offer.id.clone(), version: "1.1".to_owned(), phase, ..Update::default() };
        cloud.host.updates_changed(vec![update]);
        cloud.order("1.1", "normal");
        cloud.host.expect_silence();
        cloud.host.setup().seed = [99; 32];
        cloud.restart_online("1.1");
        cloud.answer(103, order("1.1", "normal"));
        // The host compares; the address may be another one.
        if phase == Phase::Installing {
            cloud.expect_nothing_about_updates();
        } else {
            assert_eq!(cloud.expect_offer(), offer);
        }
        cloud.order("1.1", "normal");
        cloud.expect_nothing_about_updates();
    }
}

#[test]
fn another_address_for_the_same_firmware_is_passed_on() {
    for kind in ["normal", "force"] {
        let mut cloud = ordered(kind, json!({}));
        let offer = cloud.expect_offer();
        let update = Update { id: offer.id.clone(), version: "1.1".to_owned(), ..Update::default() };
        cloud.host.updates_changed(vec![update]);
        let mut elsewhere = order("1.1", kind);
        elsewhere["file_path"] = json!("http://delicloud.com/oss/xxx.zip?expires=2");
        cloud.say(notice("1.1", "DL3785W"));
        cloud.answer(103, elsewhere);
        assert_eq!(
            cloud.expect_offer(),
            Offer { url: "http://delicloud.com/oss/xxx.zip?expires=2".to_owned(), ..offer }
        );
        cloud.host.expect_silence();
    }
}

#[test]
fn a_firmware_that_was_taken_back_and_comes_again_begins_when_it_was_to_begin() {
    let (mut cloud, update) = with("normal", Phase::Waiting, json!({}));
    cloud.say(notice("1.3", "KQ"));
    cloud.answer(103, order("1.0", "normal"));
    assert_eq!(cloud.host.expect_ota(), Request::Cancel(update.id.clone()));
    cloud.host.updates_changed(Vec::new());
    cloud.host.setup().seed = [99; 32];
    let plan: Value = serde_json::from_slice(cloud.host.stored("ota_plan").unwrap()).unwrap();
    cloud.host.restart();
    cloud.accept();
    cloud.answer_start(json!({"group_id": 1000}));
    cloud.order("1.1", "normal");
    assert_eq!(json!({"id": update.id, "not_before_ms": cloud.expect_offer().not_before_ms}), plan);
}

#[test]
fn another_order_replaces_one_that_waits_and_follows_one_that_began() {
    for (phase, is_cancelled) in [(Phase::Waiting, true), (Phase::Downloading, false), (Phase::Installing, false)] {
        for (version, kind) in [("1.2", "normal"), ("1.1", "force")] {
            let (mut cloud, update) = with("normal", phase, json!({}));
            cloud.order(version, kind);
            if is_cancelled {
                assert_eq!(cloud.host.expect_ota(), Request::Cancel(update.id.clone()));
            }
            assert_eq!(cloud.expect_offer().version, version);
            cloud.host.expect_silence();
            cloud.becomes(&update, Phase::Failed(Failure::Cancelled));
            assert_eq!(cloud.host.expect_ota(), acknowledge(&update));
            cloud.host.expect_silence();
        }
    }
}

#[test]
fn an_order_for_what_runs_takes_back_what_waits() {
    let (mut cloud, update) = with("normal", Phase::Waiting, json!({}));
    cloud.order("1.3", "normal");
    cloud.host.take_outputs();
    cloud.say(notice("1.3", "KQ"));
    cloud.answer(103, order("1.0", "normal"));
    assert_eq!(cloud.host.expect_ota(), Request::Cancel(update.id));
}

#[test]
fn reaching_the_version_takes_back_what_waits() {
    let (mut cloud, update) = with("normal", Phase::Waiting, json!({}));
    cloud.host.facts_changed(module::Facts { mcu_software: "1.1".into(), ..Default::default() });
    assert_eq!(cloud.host.expect_ota(), Request::Cancel(update.id));
    assert_eq!(cloud.expect(101)["data"]["product_version"], "1.1");
}

#[test]
fn a_normal_upgrade_waits_for_the_clock() {
    let mut setup = setup(json!({}));
    setup.wall = WallTime { unix_ms: 0, quality: ClockQuality::UNSET };
    let mut cloud = Cloud::started(setup);
    cloud.accept();
    let asked = cloud.expect(100);
    cloud.answer(101, json!({"code": 0}));
    cloud.answer_record(json!({"group_id": 1, "product_version": "1.1"}));
    cloud.answer(103, order("1.1", "normal"));
    cloud.assert_fact("update", "1.1: waiting for the clock");
    cloud.expect_nothing_about_updates();
    cloud.say(json!({"mid": asked["mid"], "time": 1_502_867_044, "action": 100, "data": {"code": 0}}));
    assert!(cloud.expect_offer().not_before_ms > 1_502_867_044_000);
}

#[test]
fn a_firmware_that_failed_before_the_clock_was_set_rests_from_then_on() {
    let mut setup = setup(json!({}));
    setup.wall = WallTime { unix_ms: 0, quality: ClockQuality::UNSET };
    setup.stored.insert("ota".to_owned(), br#"{"id":"force:0:1","at":null}"#.to_vec());
    let mut cloud = Cloud::started(setup);
    cloud.accept();
    cloud.order("1.1", "force");
    let offer = cloud.expect_offer();
    let update = Update { id: offer.id, version: offer.version, ..Update::default() };
    cloud.becomes(&update, Phase::Failed(Failure::Install));
    cloud.host.updates_changed(Vec::new());
    for day in 0..2 {
        cloud.host.set_wall(1_502_867_044_000 + day * 86_400_000, ClockQuality::SYNCED);
        cloud.order("1.1", "force");
        if day == 0 {
            cloud.expect_nothing_about_updates();
        } else {
            cloud.expect_offer();
        }
    }
}

#[test]
fn a_version_that_runs_already_is_not_asked_for() {
    let mut cloud = Cloud::connected(json!({}));
    cloud.answer_record(json!({"group_id": 1000, "product_version": " 1.0 "}));
    assert_eq!(cloud.count(103), 0);
    let mut cloud = Cloud::online(json!({"ota_only_newer": true}));
    cloud.say(notice("0.9", ""));
    assert_eq!(cloud.count(103), 0);
}

#[test]
fn an_order_that_cannot_be_used_raises_an_alarm_once() {
    for (member, value) in [
        ("file_path", json!("ftp://h/x")),
        ("file_path", json!("http://elsewhere/x")),
        ("checksum", json!("123")),
        ("checksum", json!(null)),
    ] {
        let mut cloud = Cloud::online(json!({"ota_allowed_hosts": ["delicloud.com"]}));
        for round in 0..2 {
            cloud.say(json!({"mid": "n", "action": 202, "data": {"version": "1.1"}}));
            let mut bad = order("1.1", "normal");
            bad[member] = value.clone();
            cloud.answer(103, bad);
            assert_eq!(cloud.count(105), usize::from(round == 0), "{member} {value}");
        }
    }
}

#[test]
fn a_forced_upgrade_holds_business_messages_until_it_is_over() {
    for (kind, changes, held) in [
        ("force", json!({}), true),
        ("force", json!({"ota_force_holds_reports": false}), false),
        ("normal", json!({}), false),
    ] {
        let (mut cloud, update) = with(kind, Phase::Waiting, changes);
        cloud.report(1);
        assert_eq!(cloud.count(300), usize::from(!held), "{kind}");
        cloud.becomes(&update, Phase::Failed(Failure::Install));
        assert_eq!(cloud.count(300), usize::from(held), "{kind}");
    }
}

#[test]
fn without_the_service_the_firmware_is_asked_for_and_shown_and_nothing_pretends_to_be_done() {
    let setup = Setup { services: vec![id::MQTT, id::HTTP, id::STORE, id::MODULE], ..setup(json!({})) };
    let mut cloud = Cloud::started(setup);
    cloud.accept();
    cloud.answer_start(json!({"group_id": 1000}));
    cloud.order("1.1", "force");
    cloud.assert_fact("update", "1.1: this host installs none");
    cloud.report(1);
    assert_eq!(cloud.count(300), 1);
    cloud.host.advance(3 * 86_400_000);
    assert_eq!(cloud.count(105), 0);
    cloud.say(notice("1.2", "KQ"));
    cloud.answer(103, order("1.0", "force"));
    assert!(cloud.fact("update").is_none());
}
