//! Input that makes no sense: each kind is dropped or answered, counted, and changes nothing else.

use polylink_plugin_sdk::session::Phase;
use serde_json::{Value, json};

use crate::scenarios::cloud::Cloud;

fn check_dropped(payload: impl AsRef<[u8]>) {
    let mut cloud = Cloud::online(json!({}));
    cloud.say_bytes(&payload);
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    cloud.assert_fact("input_dropped", "1");
    cloud.report(1);
    cloud.expect(300);
}

fn check_answer(message: Value, action: i64, code: i64, msg: &str) {
    let mut cloud = Cloud::online(json!({}));
    cloud.say(message);
    let answer = cloud.expect(action);
    assert_eq!((&answer["data"]["code"], &answer["data"]["msg"]), (&json!(code), &json!(msg)));
    cloud.host.expect_silence();
}

#[test]
fn what_is_not_a_json_object_is_dropped() {
    for payload in ["", "not json", "[]", "7", "null", r#"{"mid":"m","action":200,"#, "{\"mid\":“m”,\"action\":200}"]
    {
        check_dropped(payload);
    }
    check_dropped(b"\xff\xfe\x00");
}

#[test]
fn a_message_without_a_usable_action_is_dropped() {
    for action in [json!(null), json!("x"), json!({}), json!(1.5)] {
        check_dropped(json!({"mid": "m", "action": action}).to_string());
    }
}

#[test]
fn a_message_over_256_kib_is_dropped() {
    check_dropped(json!({"mid": "m", "action": 299, "data": "x".repeat(256 * 1024)}).to_string());
}

#[test]
fn a_message_for_somebody_else_is_dropped() {
    let message = json!({"mid": "m", "from": "u", "to": "DL3785W_999", "action": 299});
    check_dropped(message.to_string());
    let mut cloud = Cloud::online(json!({"check_to": false}));
    cloud.say(message);
    cloud.expect(299);
}

#[test]
fn actions_of_other_parties_are_dropped() {
    for action in [-1, 0, 99, 302, 399, 400, 500, i64::MAX] {
        check_dropped(json!({"mid": "m", "from": "u", "action": action}).to_string());
    }
}

#[test]
fn notices_with_unusable_content_are_dropped() {
    for action in [202, 203, 204, 205] {
        for data in [json!(null), json!([]), json!("x"), json!({}), json!({"status": "?", "version": 7})] {
            check_dropped(json!({"mid": "m", "action": action, "data": data}).to_string());
        }
    }
}

#[test]
fn unusable_content_of_a_request_is_a_bad_parameter() {
    for action in [200, 201] {
        for data in [json!(null), json!([]), json!("x"), json!({"cmd": 7})] {
            check_answer(
                json!({"mid": "m", "from": "u", "action": action, "data": data}),
                action,
                100,
                "bad parameter",
            );
        }
    }
}

#[test]
fn an_unknown_request_of_the_platform_is_answered() {
    for action in [206, 208, 299] {
        check_answer(json!({"mid": "m", "from": "u", "action": action}), action, 106, "unsupported action");
    }
}

#[test]
fn an_answer_to_nothing_is_ignored_and_counted() {
    let mut cloud = Cloud::online(json!({"unbind_supported": true}));
    for action in [100, 104, 199] {
        cloud.say(json!({"mid": "nobody", "action": action, "data": {"code": 0}}));
    }
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    cloud.assert_fact("answers_unmatched", "3");
    assert!(cloud.fact("wiped").is_none());
}

#[test]
fn a_numeric_mid_is_answered_as_the_same_number() {
    let mut cloud = Cloud::online(json!({}));
    cloud.say_bytes(r#"{"mid":512345678901234567,"from":9007199254740993,"action":"299"}"#);
    let answer = cloud.host.expect_publish();
    assert!(answer.text().contains(r#""mid":512345678901234567,"#), "{}", answer.text());
    assert!(answer.text().contains(r#""to":"9007199254740993""#), "{}", answer.text());
}

#[test]
fn damaged_stored_values_count_as_absent() {
    let mut setup = crate::scenarios::cloud::setup(json!({}));
    for key in ["organisation", "applications", "name", "ota", "queue"] {
        setup.stored.insert(key.to_owned(), vec![0xFF, 0x00, b'{']);
    }
    let mut cloud = Cloud::started(setup);
    cloud.accept();
    cloud.answer_start(json!({"group_id": 1000}));
    assert!(cloud.fact("wiped").is_none() && cloud.fact("update").is_none());
}

#[test]
fn a_store_that_cannot_write_is_told_and_does_not_stop_the_session() {
    let mut cloud = Cloud::connected(json!({}));
    cloud.host.fail_store(true);
    cloud.answer_start(json!({"group_id": 1000}));
    assert!(cloud.host.logs().iter().any(|(_, line)| line.contains("could not be stored")));
    assert_eq!(cloud.host.status().phase, Phase::Online);
}

#[test]
fn messages_of_an_earlier_connection_are_ignored() {
    let mut cloud = Cloud::online(json!({}));
    let old = cloud.connection;
    cloud.cut();
    cloud.reconnect();
    cloud.host.take_outputs();
    cloud.host.mqtt_message(old, "t", r#"{"mid":"m","from":"u","action":299}"#);
    cloud.host.mqtt_closed(old, polylink_plugin_sdk::services::Reason::ConnectionLost);
    cloud.host.expect_silence();
    assert_eq!(cloud.host.status().phase, Phase::Online);
}
