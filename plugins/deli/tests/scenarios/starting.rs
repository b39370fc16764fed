//! The start sequence, the clock, and what happens by the day.

use polylink_plugin_sdk::services::module;
use polylink_plugin_sdk::{ClockQuality, WallTime};
use serde_json::json;

use crate::scenarios::cloud::{Cloud, DEVICE, setup};

#[test]
fn the_start_sequence_is_time_info_query_without_waiting() {
    let mut cloud = Cloud::connected(json!({"device_name": "lamp", "properties": {"p1": "val1"}}));
    let time = cloud.expect(100);
    assert_eq!((&time["from"], &time["to"], &time["data"]), (&json!(DEVICE), &json!("system"), &json!(null)));
    assert!(time["mid"].as_str().is_some_and(|mid| mid.len() <= 32 && mid.bytes().all(|digit| digit.is_ascii_digit())));
    let info = cloud.expect(101);
    assert_eq!(info["data"], json!({"name": "lamp", "product_version": "1.0", "properties": {"p1": "val1"}}));
    cloud.expect(102);
}

#[test]
fn business_messages_wait_for_the_device_record() {
    let mut cloud = Cloud::connected(json!({}));
    cloud.report(1);
    assert_eq!(cloud.count(300), 0);
    let mut cloud = Cloud::connected(json!({}));
    cloud.report(1);
    cloud.answer_record(json!({"group_id": 1000}));
    let message = cloud.expect(300);
    assert_eq!(message["data"], json!({"cmd": "report", "payload": {"n": 1}}));
    assert_eq!(message["to"], "");
}

#[test]
fn business_messages_wait_ten_seconds_at_most() {
    let mut cloud = Cloud::connected(json!({}));
    cloud.report(1);
    cloud.host.advance(9_999);
    assert_eq!(cloud.count(300), 0);
    cloud.host.advance(1);
    assert_eq!(cloud.count(300), 1);
}

#[test]
fn a_silent_platform_is_asked_three_times_under_the_same_name() {
    let mut cloud = Cloud::connected(json!({}));
    let asked: Vec<_> = (0..3)
        .map(|_| {
            let asked = cloud.expect(102);
            cloud.host.advance(30_000);
            asked["mid"].clone()
        })
        .collect();
    assert!(asked.windows(2).all(|pair| pair[0] == pair[1]), "{asked:?}");
    cloud.host.take_outputs();
    cloud.host.advance(4_999);
    assert_eq!(cloud.count(102), 0);
    cloud.host.advance(1);
    assert_ne!(cloud.expect(102)["mid"], asked[0]);
}

#[test]
fn a_clock_that_was_never_set_says_zero_and_is_set_by_the_platform() {
    let mut setup = setup(json!({}));
    setup.wall = WallTime { unix_ms: 77_000, quality: ClockQuality::UNSET };
    let mut cloud = Cloud::started(setup);
    cloud.accept();
    let asked = cloud.expect(100);
    assert_eq!(asked["time"], 0);
    cloud
        .say(json!({"from": "system", "mid": asked["mid"], "time": 1_502_867_044, "action": 100, "data": {"code": 0}}));
    assert_eq!(cloud.host.expect_module(), module::Request::OfferTime(1_502_867_044_000));
    cloud.host.take_outputs();
    cloud.host.advance(5_000);
    cloud.say(json!({"mid": "x", "from": "u", "action": 299}));
    assert_eq!(cloud.expect(299)["time"], 1_502_867_049);
}

#[test]
fn small_corrections_of_the_clock_are_ignored() {
    let mut cloud = Cloud::connected(json!({}));
    let asked = cloud.expect(100);
    let time = cloud.host.now().wall.unix_seconds() + 1;
    cloud.say(json!({"mid": asked["mid"], "time": time, "action": 100, "data": {"code": 0}}));
    assert!(!cloud.host.transcript().contains("OfferTime"), "offered");
}

#[test]
fn the_record_and_the_time_are_asked_again_about_once_a_day() {
    let mut cloud = Cloud::online(json!({}));
    let mut last = cloud.host.now().monotonic.0;
    for _ in 0..5 {
        cloud.host.advance(23 * 3_600_000 - 1 - (cloud.host.now().monotonic.0 - last));
        assert_eq!(cloud.count(102), 0);
        let step = cloud.host.now().monotonic.0;
        while cloud.host.now().monotonic.0 < step + 2 * 3_600_000 + 2 {
            cloud.host.advance_to_next_timeout();
            if cloud.host.transcript().lines().rev().take(3).any(|line| line.contains(r#""action":102"#)) {
                break;
            }
        }
        last = cloud.host.now().monotonic.0;
        cloud.answer_record(json!({"group_id": 1000}));
    }
    assert!(cloud.host.transcript().matches(r#""action":100"#).count() >= 5);
}

#[test]
fn a_version_that_is_not_known_yet_is_told_as_empty() {
    let mut setup = setup(json!({}));
    setup.facts.mcu_software.clear();
    let mut cloud = Cloud::started(setup);
    cloud.accept();
    assert_eq!(cloud.expect(101)["data"], json!({"product_version": ""}));
}

#[test]
fn a_changed_version_is_told_at_once() {
    let mut cloud = Cloud::online(json!({}));
    let facts = module::Facts { mcu_software: "1.1".into(), mcu_online: true, ..Default::default() };
    cloud.host.facts_changed(facts.clone());
    assert_eq!(cloud.expect(101)["data"], json!({"product_version": "1.1"}));
    cloud.host.facts_changed(module::Facts { mcu_online: false, ..facts });
    assert_eq!(cloud.count(101), 0);
}

#[test]
fn the_name_given_by_the_platform_is_adopted_and_kept() {
    let mut cloud = Cloud::connected(json!({"device_name": "lamp"}));
    cloud.answer_record(json!({"group_id": 1000, "name": "前台"}));
    cloud.host.restart();
    cloud.accept();
    assert_eq!(cloud.expect(101)["data"]["name"], "前台");
}

#[test]
fn actions_that_the_product_does_not_support_are_not_used() {
    let mut cloud = Cloud::connected(json!({"supported_actions": [101, 300]}));
    cloud.report(1);
    cloud.expect(101);
    cloud.expect(300);
    assert_eq!(cloud.count(100) + cloud.count(102), 0);
    cloud.say(json!({"mid": "x", "from": "u", "action": 200, "data": {"cmd": "cleanup"}}));
    assert_eq!(cloud.expect(200)["data"]["code"], 106);
}
