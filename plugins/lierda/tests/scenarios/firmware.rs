//! Versions that are told (8, 13), and the platform's time (29).

use polylink_plugin_sdk::services::module;
use polylink_plugin_sdk::{ClockQuality, WallTime};
use serde_json::{Value, json};

use crate::scenarios::stage::{Cloud, online, setup};

const DAY_MS: u64 = 86_400_000;

pub fn facts(software: &str) -> module::Facts {
    module::Facts {
        mcu_software: software.into(),
        mcu_hardware: "hw1".into(),
        module_software: "m7".into(),
        module_hardware: "mh".into(),
        mcu_online: true,
        ..Default::default()
    }
}

#[test]
fn the_version_is_told_after_each_connection_as_the_protocol_prints_it() {
    let mut cloud = Cloud::connected(setup(json!({})));
    let sent = cloud.expect("firmware_report", 8);
    assert!(sent.publish.text().contains(r#""HeaderCtrl":8,"Payload":{"HardVer":"hw1","SoftVer":"1.0","Type":2},"#));
    cloud.ack("firmware_report_ack", 8, &sent.id, 200);
    cloud.cut();
    cloud.reconnect();
    assert_ne!(cloud.expect("firmware_report", 8).id, sent.id);
}

#[test]
fn each_module_has_a_report_of_its_own() {
    let mut setup = setup(json!({"modules": {"default": "device", "wifi": "module"}}));
    setup.facts = facts("1.0");
    let mut cloud = Cloud::connected(setup);
    let told = [cloud.expect("firmware_report", 8), cloud.expect("firmware_report", 8)];
    assert_ne!(told[0].id, told[1].id);
    assert_eq!(told[0].payload, json!({"HardVer": "hw1", "SoftVer": "1.0", "Type": 2}));
    assert_eq!(told[1].payload, json!({"HardVer": "mh", "SoftVer": "m7", "Type": 2, "Module": "wifi"}));
    // A query gives them its name, and each is acknowledged.
    cloud.host.take_outputs();
    let id = cloud.say("ask_firmware", 13, json!(""));
    let answers = [cloud.expect_frame("firmware_report", 8), cloud.expect_frame("firmware_report", 8)];
    assert_eq!(answers.map(|(id, _)| id), [id.clone(), id.clone()]);
    cloud.ack("firmware_report_ack", 8, &id, 200);
    cloud.ack("firmware_report_ack", 8, &id, 200);
    cloud.host.advance(60_000);
    assert_eq!(cloud.count("firmware_report"), 0);
}

#[test]
fn a_report_without_an_answer_is_sent_four_times_under_its_name_and_then_left() {
    let mut cloud = Cloud::connected(setup(json!({})));
    let (id, payload) = cloud.expect_frame("firmware_report", 8);
    let sent = |cloud: &Cloud| cloud.host.transcript().matches("/firmware_report,").count();
    for n in 1..=3 {
        let mut waited = 0;
        while sent(&cloud) == n {
            waited += cloud.host.advance_to_next_timeout();
        }
        assert!((10_000..15_000).contains(&waited), "{waited}");
        assert_eq!(cloud.expect_frame("firmware_report", 8), (id.clone(), payload.clone()));
    }
    cloud.host.advance(60_000);
    assert_eq!(cloud.count("firmware_report"), 0);
    cloud.assert_fact("firmware_reports_unanswered", "1");
}

#[test]
fn a_report_that_is_refused_is_told_and_not_repeated() {
    for ack in [json!({"Code": "4001"}), json!({"Code": 500}), json!({}), json!({"Code": "ok"})] {
        let mut cloud = Cloud::connected(setup(json!({})));
        let (id, _) = cloud.expect_frame("firmware_report", 8);
        cloud.say_as("firmware_report_ack", &id, 8, ack);
        cloud.host.advance(60_000);
        assert_eq!(cloud.count("firmware_report"), 0);
        assert!(cloud.logged("refused the firmware report"));
    }
}

#[test]
fn an_answer_is_recognised_by_the_text_of_its_name() {
    let mut cloud = Cloud::connected(setup(json!({})));
    let (id, _) = cloud.expect_frame("firmware_report", 8);
    cloud.say_as("firmware_report_ack", &json!("other"), 8, json!({"Code": 200}));
    cloud.say_as("firmware_report_ack", &json!(id.to_string()), 8, json!({"Code": 200}));
    cloud.host.advance(60_000);
    assert_eq!(cloud.count("firmware_report"), 0);
    cloud.assert_fact("answers_unmatched", "1");
}

#[test]
fn versions_and_the_time_come_again_every_day() {
    let mut cloud = online(json!({}));
    for _ in 0..3 {
        // A little was spent in coming online.
        cloud.host.advance(DAY_MS - 1_001);
        cloud.host.expect_silence();
        cloud.host.advance(1);
        cloud.answer_start();
        cloud.host.expect_silence();
        cloud.host.advance(1_000);
    }
}

#[test]
fn a_changed_version_is_told_at_once_and_one_that_is_not_known_is_not() {
    let mut with = setup(json!({"modules": {"default": "mcu"}}));
    with.facts.mcu_software.clear();
    let mut cloud = Cloud::connected(with);
    assert_eq!(cloud.count("firmware_report"), 0);
    cloud.host.facts_changed(facts("1.1"));
    assert_eq!(cloud.expect_frame("firmware_report", 8).1["SoftVer"], "1.1");
    cloud.host.facts_changed(module::Facts { mcu_online: false, ..facts("1.1") });
    assert_eq!(cloud.count("firmware_report"), 0);
    cloud.say_as("ask_firmware", &json!("q"), 13, json!({}));
    assert_eq!(cloud.expect_frame("firmware_report", 8).0, "q");
}

/// The device asks for the time, and this answer comes after so many milliseconds; what is offered to the host.
#[track_caller]
fn offered(delay_ms: u64, answer: impl Fn(i64) -> Value) -> Option<i64> {
    let mut setup = setup(json!({}));
    setup.wall = WallTime { unix_ms: 77_000, quality: ClockQuality::UNSET };
    let mut cloud = Cloud::connected(setup);
    let (firmware, _) = cloud.expect_frame("firmware_report", 8);
    cloud.ack("firmware_report_ack", 8, &firmware, 200);
    let (id, payload) = cloud.expect_frame("update_time", 29);
    assert_eq!(payload, "");
    cloud.host.advance(delay_ms);
    cloud.say_as("update_time_ack", &id, 29, answer(1_683_276_541_000));
    let offered = cloud.host.transcript().contains("OfferTime").then(|| cloud.host.expect_module());
    // A second answer is none.
    cloud.say_as("update_time_ack", &id, 29, answer(1));
    cloud.host.expect_silence();
    offered.map(|request| match request {
        module::Request::OfferTime(unix_ms) => unix_ms,
        request => panic!("{request:?}"),
    })
}

fn time(unix_ms: i64) -> Value {
    json!({"Code": "200", "Msg": "SUCCESS", "Data": {"timestamp": unix_ms, "timezone": "Asia/Shanghai"}})
}

#[test]
fn the_platforms_time_is_taken_with_half_the_way_added() {
    assert_eq!(offered(0, time), Some(1_683_276_541_000));
    assert_eq!(offered(3_000, time), Some(1_683_276_542_500));
    assert_eq!(offered(10_000, time), Some(1_683_276_546_000));
    let code = |unix_ms| json!({"Code": 200, "Data": {"timestamp": unix_ms}});
    assert_eq!(offered(0, code), Some(1_683_276_541_000));
}

#[test]
fn a_time_that_is_late_or_none_is_dropped() {
    assert_eq!(offered(10_001, time), None);
    assert_eq!(offered(0, |_| time(0)), None);
    assert_eq!(offered(0, |_| time(-1)), None);
    for answer in [
        json!({"Code": "4001", "Data": {"timestamp": 1_683_276_541_000_i64}}),
        json!({"Data": {"timestamp": 1_683_276_541_000_i64}}),
        json!({"Code": "200", "Data": {}}),
        json!({"Code": "200"}),
        json!({"Code": "200", "Data": {"timestamp": "soon"}}),
        json!(""),
        json!([]),
    ] {
        assert_eq!(offered(0, |_| answer.clone()), None, "{answer}");
    }
    assert_eq!(offered(0, |_| time(i64::MAX)), Some(i64::MAX));
}

#[test]
fn a_time_zone_is_shown_whatever_it_is_but_not_a_very_long_one() {
    let zone = |zone: &str| {
        let mut cloud = Cloud::connected(setup(json!({})));
        let (id, _) = cloud.expect_frame("update_time", 29);
        let answer = json!({"Code": "200", "Data": {"timestamp": 1_683_276_541_000_i64, "timezone": zone}});
        cloud.say_as("update_time_ack", &id, 29, answer);
        cloud.host.advance(1_000);
        cloud.fact("timezone").map(str::to_owned)
    };
    assert_eq!(zone("Asia/Shanghai").as_deref(), Some("Asia/Shanghai"));
    assert_eq!(zone("Moon/Tycho").as_deref(), Some("Moon/Tycho"));
    assert_eq!(zone(&"x".repeat(65)), None);
}

#[test]
fn an_answer_about_the_time_belongs_to_its_connection() {
    let mut cloud = Cloud::connected(setup(json!({})));
    let (id, _) = cloud.expect_frame("update_time", 29);
    cloud.cut();
    cloud.reconnect();
    assert_ne!(cloud.expect_frame("update_time", 29).0, id);
    cloud.say_as("update_time_ack", &id, 29, time(1_683_276_541_000));
    assert!(!cloud.host.transcript().contains("OfferTime"));
}
