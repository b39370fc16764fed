//! Firmware upgrades, up to the point where an update engine would take over.

use polylink_plugin_sdk::services::module;
use polylink_plugin_sdk::{ClockQuality, WallTime};
use serde_json::{Value, json};

use crate::scenarios::cloud::{Cloud, setup};

fn offer(version: &str, kind: &str) -> Value {
    json!({"code": 0, "version": version, "upgrade_type": kind, "file_path": "http://delicloud.com/oss/xxx.zip",
           "checksum": "4C56FF4CE4AAF9573AA5DFF913DF997A"})
}

/// A broadcast to all devices of a type or a model.
fn notice(version: &str, to: &str) -> Value {
    json!({"mid": "n", "from": "", "to": to, "time": 1, "action": 202, "data": {"version": version}})
}

/// A device with a plan for version 1.1.
fn planned(kind: &str, changes: Value) -> Cloud {
    let mut cloud = Cloud::online(changes);
    cloud.say(notice("1.1", "DL3785W"));
    cloud.answer(103, offer("1.1", kind));
    cloud
}

fn stored_plan(cloud: &Cloud) -> Value {
    serde_json::from_slice(cloud.host.stored("ota").expect("a plan is stored")).unwrap()
}

#[test]
fn a_plan_is_drawn_stored_and_shown_and_nothing_pretends_to_be_done() {
    let mut cloud = planned("normal", json!({}));
    cloud.assert_fact("update", "update 1.1 available, waiting for the update engine");
    let plan = stored_plan(&cloud);
    let (random, start) = (plan["random_s"].as_i64().unwrap(), plan["start"].as_i64().unwrap());
    // The virtual clock starts at midnight UTC.
    let now = cloud.host.now().wall.unix_seconds();
    assert!((0..=7200).contains(&random) && start >= now && (start - random) % 86_400 == 0, "{plan}");
    assert_eq!(plan["md5"], "4c56ff4ce4aaf9573aa5dff913df997a");
    cloud.host.advance(3 * 86_400_000);
    assert_eq!(cloud.count(105), 0);
    assert_eq!(stored_plan(&cloud), plan);
}

#[test]
fn the_random_start_survives_restarts_and_repeated_notices() {
    let mut cloud = planned("normal", json!({}));
    let plan = stored_plan(&cloud);
    cloud.host.setup().seed = [99; 32];
    cloud.host.restart();
    cloud.accept();
    cloud.answer_start_keeping_version("1.1");
    cloud.answer(103, offer("1.1", "normal"));
    assert_eq!(stored_plan(&cloud), plan);
    cloud.assert_fact("update", "1.1");
}

#[test]
fn another_version_replaces_the_plan() {
    let mut cloud = planned("normal", json!({}));
    cloud.say(notice("1.2", "KQ"));
    cloud.answer(103, offer("1.2", "normal"));
    assert_eq!(stored_plan(&cloud)["version"], "1.2");
}

#[test]
fn a_plan_waits_for_the_clock() {
    let mut setup = setup(json!({}));
    setup.wall = WallTime { unix_ms: 0, quality: ClockQuality::UNSET };
    let mut cloud = Cloud::started(setup);
    cloud.accept();
    cloud.answer_record(json!({"group_id": 1, "product_version": "1.1"}));
    cloud.answer(103, offer("1.1", "force"));
    assert_eq!(stored_plan(&cloud)["start"], json!(null));
    let asked = cloud.expect(100);
    cloud.say(json!({"mid": asked["mid"], "time": 1_502_867_044, "action": 100, "data": {"code": 0}}));
    let plan = stored_plan(&cloud);
    assert_eq!(plan["start"], 1_502_867_044 + plan["random_s"].as_i64().unwrap());
    assert!(plan["random_s"].as_i64().unwrap() <= 300);
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
fn reaching_the_version_ends_the_plan() {
    let mut cloud = planned("normal", json!({}));
    cloud.host.facts_changed(module::Facts { mcu_software: "1.1".into(), ..Default::default() });
    assert!(cloud.host.stored("ota").is_none() && cloud.fact("update").is_none());
    assert_eq!(cloud.expect(101)["data"]["product_version"], "1.1");
}

#[test]
fn an_offer_that_cannot_be_used_raises_an_alarm_once() {
    for (member, value) in [
        ("file_path", json!("ftp://h/x")),
        ("file_path", json!("http://elsewhere/x")),
        ("checksum", json!("123")),
        ("checksum", json!(null)),
    ] {
        let mut cloud = Cloud::online(json!({"ota_allowed_hosts": ["delicloud.com"]}));
        for round in 0..2 {
            cloud.say(json!({"mid": "n", "action": 202, "data": {"version": "1.1"}}));
            let mut bad = offer("1.1", "normal");
            bad[member] = value.clone();
            cloud.answer(103, bad);
            assert_eq!(cloud.count(105), usize::from(round == 0), "{member} {value}");
        }
        assert!(cloud.host.stored("ota").is_none());
    }
}

#[test]
fn a_forced_upgrade_holds_business_messages_only_where_the_settings_say_so() {
    for (holds, sent) in [(false, 1), (true, 0)] {
        let mut cloud = planned("force", json!({"ota_force_holds_reports": holds}));
        cloud.assert_fact("update_forced", "true");
        cloud.report(1);
        assert_eq!(cloud.count(300), sent);
    }
}

impl Cloud {
    #[track_caller]
    fn answer_start_keeping_version(&mut self, version: &str) {
        self.answer(100, json!({"code": 0}));
        self.answer(101, json!({"code": 0}));
        self.answer_record(json!({"group_id": 1000, "product_version": version}));
    }
}
