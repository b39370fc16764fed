//! Each error code of the platform, as the answer to a request and as the refusal of a business message.

use polylink_plugin_sdk::session::Phase;
use serde_json::{Value, json};

use crate::scenarios::cloud::Cloud;

/// A device that is asked for its record again and gets this code.
fn answered(code: i64) -> (Cloud, Value) {
    let mut cloud = Cloud::connected(json!({}));
    cloud.answer(100, json!({"code": 0}));
    cloud.answer(101, json!({"code": 0}));
    let asked = cloud.answer(102, json!({"code": code, "msg": "no"}));
    (cloud, asked["mid"].clone())
}

/// A bound device whose report was acknowledged by the broker and then refused with this code.
fn refused(code: i64) -> (Cloud, Value) {
    let mut cloud = Cloud::online(json!({}));
    let seq = cloud.report(1);
    let sent = cloud.expect_publish(300);
    cloud.host.published(sent.id);
    assert_eq!(cloud.host.expect_settle(), [seq]);
    refuse(&mut cloud, &sent.json(), code);
    (cloud, sent.json())
}

fn refuse(cloud: &mut Cloud, sent: &Value, code: i64) {
    let data = json!({"cmd": "report", "code": code, "msg": "no"});
    cloud.say(json!({"mid": sent["mid"], "from": "system", "time": 1, "action": 300, "data": data}));
}

#[test]
fn undefined_errors_are_retried_after_5_30_and_120_seconds() {
    for code in [-1, 4711] {
        let (mut cloud, first) = answered(code);
        for delay in [5_000, 30_000, 120_000] {
            cloud.host.advance(delay - 1);
            assert_eq!(cloud.count(102), 0);
            cloud.host.advance(1);
            let again = cloud.answer(102, json!({"code": code}));
            assert_ne!(again["mid"], first);
        }
        cloud.host.advance(3_600_000);
        assert_eq!(cloud.count(102), 0);
    }
}

#[test]
fn an_answer_without_a_code_is_an_undefined_error() {
    let mut cloud = Cloud::connected(json!({}));
    cloud.answer(101, json!({}));
    cloud.host.advance(5_000);
    cloud.expect(101);
}

#[test]
fn bad_parameters_missing_permission_and_unsupported_actions_are_given_up() {
    for code in [100, 103, 106] {
        let (mut cloud, _) = answered(code);
        cloud.host.advance(3_600_000);
        assert_eq!(cloud.count(102), 0, "code {code}");
    }
}

#[test]
fn an_unsupported_action_is_used_again_only_on_the_next_connection() {
    let (mut cloud, _) = answered(106);
    cloud.say(json!({"mid": "b", "action": 203, "data": {"group_id": 1, "status": 1}}));
    assert_eq!(cloud.count(102), 0);
    cloud.cut();
    cloud.reconnect();
    cloud.expect(102);
}

#[test]
fn a_wrong_signature_is_tried_once_more_and_then_a_fault_of_the_configuration() {
    let (mut cloud, _) = answered(101);
    assert_eq!(cloud.host.expect_mqtt_disconnect(), cloud.connection);
    cloud.reconnect();
    cloud.answer(102, json!({"code": 101}));
    assert_eq!(cloud.host.status().phase, Phase::Attention);
    cloud.host.take_outputs();
    cloud.host.advance(3_599_999);
    cloud.host.expect_silence();
    cloud.host.advance(1);
    cloud.accept();
}

#[test]
fn an_unreachable_target_is_tried_later_and_later() {
    let (mut cloud, _) = answered(102);
    for delay in [60, 120, 240, 480, 960, 1920, 3600, 3600] {
        cloud.host.advance(delay * 1000 - 1);
        assert_eq!(cloud.count(102), 0);
        cloud.host.advance(1);
        cloud.answer(102, json!({"code": 102}));
    }
}

#[test]
fn an_expired_request_asks_for_the_time_and_is_repeated_once() {
    let (mut cloud, first) = answered(104);
    cloud.answer(100, json!({"code": 0}));
    cloud.host.advance(2_000);
    let again = cloud.answer(102, json!({"code": 104}));
    assert_ne!(again["mid"], first);
    cloud.host.advance(3_600_000);
    assert_eq!(cloud.count(102), 0);
}

#[test]
fn a_blocked_device_pauses_for_an_hour_and_then_asks() {
    let (mut cloud, _) = answered(105);
    cloud.report(1);
    cloud.host.advance(3_599_999);
    let outputs = cloud.count(300);
    assert_eq!(outputs, 0);
    cloud.host.advance(1);
    cloud.expect(102);
    cloud.expect(300);
}

#[test]
fn a_device_that_is_not_bound_holds_business_messages_until_the_bind_notice() {
    let (mut cloud, _) = answered(107);
    let seq = cloud.report(1);
    cloud.host.advance(60_000);
    assert_eq!(cloud.count(300), 0);
    cloud.assert_fact("business_messages", "not bound");
    cloud.say(json!({"mid": "b", "action": 203, "data": {"group_id": 1000, "name": "g", "status": 1}}));
    let sent = cloud.expect_publish(300);
    cloud.host.published(sent.id);
    assert_eq!(cloud.host.expect_settle(), [seq]);
}

#[test]
fn a_refused_message_is_retried_where_its_code_says_so() {
    for (code, delays) in
        [(-1, vec![5_000, 30_000, 120_000]), (102, vec![60_000, 120_000, 240_000]), (104, vec![2_000])]
    {
        let (mut cloud, first) = refused(code);
        for delay in delays {
            cloud.host.take_outputs();
            cloud.host.advance(delay - 1);
            assert_eq!(cloud.count(300), 0, "code {code}");
            cloud.host.advance(1);
            let again = cloud.expect(300);
            assert_eq!(again["data"], first["data"]);
            assert_ne!(again["mid"], first["mid"]);
            refuse(&mut cloud, &again, code);
        }
    }
}

#[test]
fn a_message_that_is_given_up_is_counted_and_not_sent_again() {
    for code in [100, 103] {
        let (mut cloud, _) = refused(code);
        cloud.host.advance(2_000);
        cloud.assert_fact("messages_refused", "1");
        cloud.report(2);
        assert_eq!(cloud.expect(300)["data"]["payload"], json!({"n": 2}));
    }
}

#[test]
fn an_unknown_action_300_holds_business_messages_for_this_connection() {
    let (mut cloud, _) = refused(106);
    cloud.report(2);
    cloud.host.advance(600_000);
    assert_eq!(cloud.count(300), 0);
    cloud.cut();
    cloud.reconnect();
    cloud.answer_start_and_keep();
    cloud.expect(300);
}

#[test]
fn a_message_refused_as_unbound_goes_after_the_bind_notice() {
    let (mut cloud, first) = refused(107);
    cloud.report(2);
    cloud.host.advance(600_000);
    assert_eq!(cloud.count(300), 0);
    cloud.say(json!({"mid": "b", "action": 203, "data": {"group_id": 1000, "status": 1}}));
    assert_eq!(cloud.expect(300)["data"], first["data"]);
    assert_eq!(cloud.expect(300)["data"]["payload"], json!({"n": 2}));
}

#[test]
fn a_message_refused_as_blocked_goes_after_an_hour() {
    let (mut cloud, first) = refused(105);
    cloud.host.advance(3_599_999);
    assert_eq!(cloud.count(300), 0);
    cloud.host.advance(1);
    assert_eq!(cloud.expect(300)["data"], first["data"]);
}

#[test]
fn a_message_refused_for_its_signature_goes_on_the_next_connection() {
    let (mut cloud, first) = refused(101);
    cloud.host.expect_mqtt_disconnect();
    cloud.reconnect();
    cloud.answer_start_and_keep();
    assert_eq!(cloud.expect(300)["data"], first["data"]);
}

#[test]
fn a_refusal_before_the_acknowledgement_keeps_the_report_unsettled() {
    let mut cloud = Cloud::online(json!({}));
    let seq = cloud.report(1);
    let sent = cloud.expect_publish(300);
    refuse(&mut cloud, &sent.json(), -1);
    cloud.host.published(sent.id);
    cloud.host.expect_silence();
    cloud.host.advance(5_000);
    let again = cloud.expect_publish(300);
    cloud.host.published(again.id);
    assert_eq!(cloud.host.expect_settle(), [seq]);
}

#[test]
fn a_refusal_after_ten_seconds_finds_nothing_any_more() {
    let mut cloud = Cloud::online(json!({}));
    cloud.report(1);
    let sent = cloud.expect_publish(300);
    cloud.host.published(sent.id);
    cloud.host.advance(10_000);
    cloud.host.take_outputs();
    refuse(&mut cloud, &sent.json(), -1);
    cloud.host.advance(3_600_000);
    assert_eq!(cloud.count(300), 0);
    cloud.assert_fact("answers_unmatched", "1");
}

#[test]
fn a_time_request_that_expires_is_repeated_once_and_not_in_a_circle() {
    let mut cloud = Cloud::connected(json!({}));
    cloud.answer(100, json!({"code": 104}));
    assert_eq!(cloud.count(100), 0);
    cloud.host.advance(2_000);
    cloud.answer(100, json!({"code": 104}));
    cloud.host.advance(60_000);
    assert_eq!(cloud.count(100), 0);
}
