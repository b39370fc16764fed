//! Input that makes no sense: each kind is dropped or refused, counted, and changes nothing else.

use polylink_plugin_sdk::session::Level;
use serde_json::{Value, json};

use crate::scenarios::stage::{
    Cloud, DEVICE_SECRET, PRODUCT_ID, below, online, online_encrypted, online_hex, online_passthrough,
};

/// This message on this topic is dropped without a word, and the session goes on.
#[track_caller]
fn check_dropped(topic: &str, message: impl AsRef<[u8]>) {
    let mut cloud = online(json!({"config_properties": ["n"]}));
    cloud.say_bytes(topic, &message);
    check_was_dropped(&mut cloud);
}

#[track_caller]
fn check_was_dropped(cloud: &mut Cloud) {
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    assert_eq!(cloud.fact("input_dropped"), Some("1"));
    cloud.report(1);
    cloud.host.expect_publish();
}

/// Everything the platform says, with the codes that belong there.
const TOPICS: [(&str, &[i64]); 16] = [
    ("downlink", &[1, 3, 4, 7]),
    ("downloadlink", &[4, 7]),
    ("firmware_report_ack", &[8]),
    ("ask_firmware", &[13]),
    ("ota_notify", &[9]),
    ("ask_config", &[14]),
    ("down_config", &[14]),
    ("download_config", &[14]),
    ("update_time_ack", &[29]),
    ("uplink_ack", &[4]),
    ("model/property/ask", &[23]),
    ("model/property/set", &[20]),
    ("model/property/report_ack", &[16]),
    ("model/event/lowBattery/report_ack", &[17]),
    ("model/service/reset", &[21]),
    ("model/hex/downlink", &[22, 24, 25]),
];

#[test]
fn what_is_not_a_json_object_is_dropped() {
    let deep = "[".repeat(100_000);
    let members = format!("{{\"HeaderCtrl\":20,\"Payload\":{deep}");
    for message in [
        "",
        "not json",
        "[]",
        "7",
        "null",
        "\"text\"",
        r#"{"MessageId":1,"HeaderCtrl":20,"#,
        "{\"MessageId\":1,\"HeaderCtrl\":20}}",
        "\u{feff}{\"HeaderCtrl\":20}",
        r#"{"HeaderCtrl":20,"HeaderCtrl":20}"#,
        &deep,
        &members,
    ] {
        check_dropped("model/property/set", message);
    }
    check_dropped("downlink", b"\xFF\xFE\x00");
}

#[test]
fn a_message_without_a_usable_code_is_dropped() {
    for header_ctrl in [json!(null), json!("x"), json!(""), json!({}), json!(20.5), json!(true), json!("20 ")] {
        check_dropped("model/property/set", json!({"MessageId": 1, "HeaderCtrl": header_ctrl}).to_string());
    }
    check_dropped("model/property/set", r#"{"MessageId":1,"Payload":{}}"#);
}

#[test]
fn a_code_that_does_not_belong_to_its_topic_is_dropped_and_not_answered() {
    for (topic, allowed) in TOPICS {
        for header_ctrl in (-1..40).filter(|header_ctrl| !allowed.contains(header_ctrl)) {
            let mut cloud = online(json!({}));
            let payload = json!({"params": [{"identify": "n", "value": 1}], "DownID": "d", "Code": "200"});
            cloud.say(topic, header_ctrl, payload);
            cloud.host.expect_silence();
        }
        check_dropped(topic, r#"{"MessageId":1,"HeaderCtrl":9223372036854775807,"Payload":{}}"#);
    }
}

#[test]
fn a_code_may_be_digits_in_a_text() {
    let mut cloud = online(json!({}));
    cloud.say_bytes("ask_config", r#"{"MessageId":"7","HeaderCtrl":"14","Payload":{},"Version":"2.0"}"#);
    assert_eq!(cloud.expect_frame("config_report", 14).0, "7");
}

#[test]
fn a_topic_that_is_not_the_devices_is_dropped() {
    let mut cloud = online(json!({}));
    let message = r#"{"MessageId":1,"HeaderCtrl":20,"Payload":{}}"#;
    let others = ["", "/", "/sys/device/auth", &format!("/sys/7ED01E2A/{PRODUCT_ID}/OTHER/model/property/set")];
    for topic in others.into_iter().map(str::to_owned).chain([below("unknown"), below("model/service/a/b"), below("")])
    {
        cloud.host.mqtt_message(cloud.connection, &topic, message);
    }
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    cloud.assert_fact("input_dropped", "7");
}

#[test]
fn a_message_over_256_kib_is_dropped() {
    let message = |n| format!(r#"{{"MessageId":1,"HeaderCtrl":14,"Payload":{{}},"x":"{}"}}"#, "x".repeat(n));
    let overhead = message(0).len();
    check_dropped("ask_config", message(256 * 1024 - overhead + 1));
    let mut cloud = online(json!({}));
    cloud.say_bytes("ask_config", message(256 * 1024 - overhead));
    cloud.expect("config_report", 14);
}

#[test]
fn what_the_device_itself_says_comes_back_under_the_wildcard_and_means_nothing() {
    let own = [
        "uplink",
        "firmware_report",
        "config_report",
        "update_time",
        "ota_notify_ack",
        "downlink_ack",
        "downloadlink_ack",
    ];
    let mut cloud = online_passthrough(false, json!({"use_plus_wildcard": true}));
    for topic in own {
        for header_ctrl in [4, 7, 8, 9, 13, 14, 29] {
            cloud.say(topic, header_ctrl, json!({"n": 1, "DownID": "d", "Settings": {}}));
        }
        cloud.say_bytes(topic, "not json");
    }
    cloud.report(1);
    let report = cloud.host.expect_publish();
    cloud.say_bytes("uplink", &report.message.payload);
    cloud.host.expect_silence();
    let n_logs = cloud.host.logs().len();
    cloud.host.advance(1_000);
    assert_eq!((cloud.fact("input_dropped"), cloud.fact("answers_unmatched")), (None, None));
    assert_eq!(cloud.host.logs().len(), n_logs);
    // What the platform says still arrives.
    cloud.say("ask_config", 14, json!({}));
    cloud.expect("config_report", 14);
}

#[test]
fn a_command_without_a_name_is_carried_out_and_answered_with_an_empty_one() {
    for id in [json!(null), json!(""), json!([]), json!({"a": 1}), json!(true), json!("x".repeat(1_000))] {
        let mut cloud = online(json!({}));
        for _ in 0..2 {
            cloud.say_as("model/property/set", &id, 20, json!({"params": [{"identify": "n", "value": 1}]}));
            let (command, _) = cloud.host.expect_set();
            cloud.host.command_done(command);
            assert_eq!(cloud.expect_frame("model/property/set_ack", 20).0, "");
        }
    }
    let mut cloud = online(json!({}));
    cloud.say_bytes("ask_config", r#"{"HeaderCtrl":14}"#);
    assert_eq!(cloud.expect_frame("config_report", 14).0, "");
    cloud.say_bytes("ask_firmware", r#"{"HeaderCtrl":13}"#);
    assert_eq!(cloud.expect_frame("firmware_report", 8).0, "");
}

#[test]
fn a_name_is_repeated_digit_by_digit() {
    let mut cloud = online(json!({}));
    for id in ["123456789012345678901234567890", "-0", "1.50", "1e3", "\"007\"", "\"\u{1F4A1}\""] {
        cloud.say_bytes("ask_config", format!(r#"{{"MessageId":{id},"HeaderCtrl":14,"Payload":{{}}}}"#));
        let publish = cloud.host.expect_publish();
        assert!(publish.text().starts_with(&format!(r#"{{"MessageId":{id},"#)), "{}", publish.text());
    }
}

#[test]
fn a_command_whose_payload_is_missing_or_of_another_form_is_refused() {
    let payloads = [json!(null), json!([]), json!(7), json!(true), json!("ABC"), json!("x")];
    let check = |cloud: &mut Cloud, topic: &str, ack: &str, header_ctrl: i64| {
        for payload in &payloads {
            let id = cloud.say(topic, header_ctrl, payload.clone());
            let refused = (id, json!({"Code": "4001", "Msg": "Failed"}));
            assert_eq!(cloud.expect_frame(ack, header_ctrl), refused, "{topic} {payload}");
            cloud.host.expect_silence();
        }
        cloud.say_bytes(topic, format!(r#"{{"MessageId":5,"HeaderCtrl":{header_ctrl}}}"#));
        assert_eq!(cloud.expect_frame(ack, header_ctrl).1["Code"], "4001");
    };
    for mut cloud in [online(json!({})), online_encrypted(json!({}))] {
        check(&mut cloud, "model/property/set", "model/property/set_ack", 20);
        check(&mut cloud, "model/service/reset", "model/service/reset/ack", 21);
    }
    check(&mut online_passthrough(false, json!({})), "downlink", "downlink_ack", 7);
    for header_ctrl in [22, 24, 25] {
        check(&mut online_hex(json!({})), "model/hex/downlink", "model/hex/downlink_ack", header_ctrl);
    }
}

#[test]
fn an_answer_to_nothing_is_ignored_and_counted() {
    let mut cloud = online(json!({}));
    for (topic, header_ctrl) in [
        ("firmware_report_ack", 8),
        ("update_time_ack", 29),
        ("model/property/report_ack", 16),
        ("model/event/lowBattery/report_ack", 17),
        ("model/history/data/report_ack", 27),
    ] {
        cloud.ack(topic, header_ctrl, &json!("nobody"), 200);
        cloud.ack(topic, header_ctrl, &json!(null), 4001);
    }
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    cloud.assert_fact("answers_unmatched", "10");
}

#[test]
fn another_version_of_the_protocol_is_told_once_and_taken() {
    let mut cloud = online(json!({}));
    let say = |cloud: &mut Cloud, version: Value| {
        cloud.say_bytes("ask_config", json!({"MessageId": 1, "HeaderCtrl": 14, "Version": version}).to_string());
        cloud.expect("config_report", 14);
    };
    for version in [json!("2.0"), json!("2.1"), json!("2.")] {
        say(&mut cloud, version);
    }
    cloud.say_bytes("ask_config", r#"{"MessageId":1,"HeaderCtrl":14}"#);
    cloud.expect("config_report", 14);
    cloud.host.advance(1_000);
    assert_eq!(cloud.fact("other_version"), None);
    for version in [json!("1.0"), json!("3"), json!(2.0)] {
        say(&mut cloud, version);
    }
    cloud.host.advance(1_000);
    cloud.assert_fact("other_version", "3");
    let warnings = cloud.host.logs().iter().filter(|(level, text)| *level == Level::Warn && text.contains("version"));
    assert_eq!(warnings.count(), 1);
}

#[test]
fn an_authentication_that_nobody_asked_for_changes_nothing() {
    let mut cloud = online_encrypted(json!({}));
    let reply = json!({"Code": 0, "DeviceSecret": DEVICE_SECRET, "SessionID": "x", "Nonce": 1});
    cloud.say("downlink", 1, reply);
    cloud.host.expect_silence();
    cloud.report(1);
    cloud.expect_sealed("model/property/report", 16);
}
