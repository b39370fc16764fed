//! Versions that are told (8, 13), orders of other ones (9), and the platform's time (29).

use polylink_plugin_sdk::services::module;
use polylink_plugin_sdk::{ClockQuality, WallTime};
use serde_json::{Value, json};

use crate::scenarios::stage::{Cloud, online, setup};

const DAY_MS: u64 = 86_400_000;

fn facts(software: &str) -> module::Facts {
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

/// A usual order with these members changed; null removes one.
fn order(changes: Value) -> Value {
    let mut order = json!({
        "Type": 2, "Url": "http://files/fw.bin", "SoftVer": "2.0", "SoftSize": 1000,
        "MD5": "0CC175B9C0F1B6A831C399E269772661", "DownID": "33367341", "firmwareName": "固件.bin",
    });
    for (key, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(order.as_object_mut().unwrap().remove(key)),
            value => order[key] = value.clone(),
        }
    }
    order
}

/// The order is acknowledged by its DownID and its name.
#[track_caller]
fn say_order(cloud: &mut Cloud, order: Value) {
    let down_id = order["DownID"].clone();
    let id = cloud.say("ota_notify", 9, order);
    assert_eq!(cloud.expect_frame("ota_notify_ack", 9), (id, json!({"DownID": down_id})));
}

#[test]
fn an_order_is_acknowledged_and_kept_until_its_version_runs() {
    let mut cloud = online(json!({}));
    say_order(&mut cloud, order(json!({})));
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    cloud.assert_fact("update", "2.0");
    cloud.assert_fact("update_module", "default");
    cloud.host.restart();
    cloud.come_online();
    cloud.assert_fact("update", "2.0");
    cloud.answer_start();
    cloud.host.facts_changed(facts("2.0"));
    assert_eq!(cloud.expect_frame("firmware_report", 8).1["SoftVer"], "2.0");
    assert_eq!((cloud.fact("update"), cloud.host.stored("order")), (None, None));
}

#[test]
fn an_order_whose_version_runs_after_the_restart_is_done() {
    let mut cloud = online(json!({}));
    say_order(&mut cloud, order(json!({})));
    cloud.host.setup().facts = facts("2.0");
    cloud.host.restart();
    cloud.come_online();
    assert_eq!((cloud.fact("update"), cloud.host.stored("order")), (None, None));
    assert_eq!(cloud.expect_frame("firmware_report", 8).1["SoftVer"], "2.0");
}

#[test]
fn versions_are_equal_or_not_and_an_older_one_is_another_one() {
    let check = |version: &str, wanted: bool| {
        let mut cloud = online(json!({}));
        say_order(&mut cloud, order(json!({"SoftVer": version})));
        assert_eq!(cloud.count("firmware_report"), 0);
        cloud.host.advance(1_000);
        assert_eq!(cloud.fact("update").is_some(), wanted, "{version}");
    };
    check("1.0", false);
    for version in ["0.9", "1.00", "1.0 ", "v1.0", "2.0"] {
        check(version, true);
    }
}

#[test]
fn an_order_that_cannot_be_carried_out_is_acknowledged_and_answered_by_the_version_that_runs() {
    let changes = json!({"ota_allowed_hosts": ["files"], "ota_max_bytes": 1_000});
    for change in [
        json!({"Type": 1}),
        json!({"Type": null}),
        json!({"Module": "unknown"}),
        json!({"Module": 7}),
        json!({"Url": "ftp://files/fw"}),
        json!({"Url": "http://elsewhere/fw"}),
        json!({"Url": null}),
        json!({"Url": 7}),
        json!({"SoftVer": null}),
        json!({"SoftVer": ""}),
        json!({"SoftSize": 0}),
        json!({"SoftSize": -1}),
        json!({"SoftSize": 1001}),
        json!({"SoftSize": "many"}),
        json!({"MD5": 1}),
        json!({"MD5": null}),
        json!({"MD5": "0CC1"}),
    ] {
        let mut cloud = online(changes.clone());
        say_order(&mut cloud, order(change.clone()));
        assert_eq!(cloud.expect_frame("firmware_report", 8).1["SoftVer"], "1.0", "{change}");
        cloud.host.expect_silence();
        cloud.host.advance(1_000);
        assert_eq!((cloud.fact("update"), cloud.fact("orders_refused")), (None, Some("1")), "{change}");
    }
    let mut cloud = online(json!({"ota_require_md5": false}));
    say_order(&mut cloud, order(json!({"MD5": 1})));
    cloud.host.advance(1_000);
    cloud.assert_fact("update", "2.0");
}

#[test]
fn an_order_without_a_down_id_is_dropped_without_a_word() {
    let mut cloud = online(json!({}));
    let long = "x".repeat(10_000);
    for order in [
        order(json!({"DownID": null})),
        order(json!({"DownID": 7})),
        order(json!({"DownID": ""})),
        json!("x"),
        json!([]),
    ] {
        cloud.say("ota_notify", 9, order);
    }
    cloud.say("ota_notify", 9, order(json!({"DownID": long})));
    cloud.say_bytes("ota_notify", r#"{"MessageId":1,"HeaderCtrl":9}"#);
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    cloud.assert_fact("input_dropped", "7");
}

#[test]
fn the_same_order_changes_nothing_and_another_one_takes_its_place() {
    let mut cloud = online(json!({}));
    say_order(&mut cloud, order(json!({})));
    say_order(&mut cloud, order(json!({"SoftVer": "2.1"})));
    cloud.host.advance(1_000);
    cloud.assert_fact("update", "2.0");
    say_order(&mut cloud, order(json!({"SoftVer": "3.0", "DownID": "other"})));
    cloud.host.advance(1_000);
    cloud.assert_fact("update", "3.0");
    // The platform has changed its mind: what runs is right.
    say_order(&mut cloud, order(json!({"SoftVer": "1.0", "DownID": "third"})));
    cloud.host.advance(1_000);
    assert_eq!((cloud.fact("update"), cloud.host.stored("order")), (None, None));
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
