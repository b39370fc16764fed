//! Passthrough products: payloads of any form up, and down on a topic with two names.

use polylink_plugin_sdk::{
    Cause, ClockQuality, CommandBody, DatapointId, Input, Outcome, OutcomeResult, ReportBody, Value as Datum,
};
use serde_json::{Value, json};

use crate::scenarios::stage::{Cloud, online, online_passthrough, product, setup_of};

const DOWN: &str = "downlink";
const DOWN_ACK: &str = "downlink_ack";
const DOWNLOAD: &str = "downloadlink";
const DOWNLOAD_ACK: &str = "downloadlink_ack";

fn done() -> Value {
    json!({"Code": "200", "Msg": "SUCCESS"})
}

fn failed() -> Value {
    json!({"Code": "4001", "Msg": "Failed"})
}

/// A device that speaks raw gets these bytes of this payload.
#[track_caller]
fn check_bytes(settings: Value, payload: Value, bytes: &[u8]) {
    let mut cloud = online_passthrough(true, settings);
    let id = cloud.say(DOWN, 7, payload);
    let (command, submitted) = cloud.host.expect_submit();
    assert_eq!(submitted.body, CommandBody::Raw(bytes.to_vec()));
    cloud.host.expect_silence();
    cloud.host.command_done(command);
    assert_eq!(cloud.expect_frame(DOWN_ACK, 7), (id, done()));
}

/// A device that speaks raw says these bytes, which go up as this payload.
#[track_caller]
fn check_uplink(settings: Value, bytes: &[u8], payload: Value) {
    let mut cloud = online_passthrough(true, settings);
    let seq = cloud.host.report_body(Cause::Change, None, ReportBody::Raw(bytes.to_vec()));
    let sent = cloud.expect("uplink", 4);
    assert_eq!(sent.payload, payload);
    cloud.host.published(sent.publish.id);
    cloud.host.expect_silence();
    cloud.ack("uplink_ack", 4, &sent.id, 200);
    assert_eq!(cloud.host.expect_settle(), [seq]);
}

#[test]
fn bytes_go_up_as_hex_or_as_text() {
    check_uplink(json!({}), &[0, 0xAB], json!({"data": "00ab"}));
    check_uplink(json!({"passthrough_data": "text"}), "h\u{e9}\n".as_bytes(), json!({"data": "h\u{e9}\n"}));
    check_uplink(json!({"passthrough_data": "text"}), &[0xFF], json!({"data": "ff"}));
}

#[test]
fn bytes_come_down_as_hex_as_text_or_whole() {
    check_bytes(json!({}), json!({"data": "00aB"}), &[0, 0xAB]);
    check_bytes(json!({"passthrough_data": "text"}), json!({"data": "h\u{e9}"}), "h\u{e9}".as_bytes());
    check_bytes(json!({}), json!({"to": 2}), br#"{"to":2}"#);
}

#[test]
fn a_product_with_datapoints_is_an_object_of_them_both_ways() {
    let mut cloud = online_passthrough(false, json!({}));
    let seq = cloud.report(7);
    let sent = cloud.expect("uplink", 4);
    assert_eq!(sent.payload, json!({"n": 7}));
    cloud.ack("uplink_ack", 4, &sent.id, 200);
    assert_eq!(cloud.host.expect_settle(), [seq]);
    cloud.host.report_event(DatapointId(0), [(DatapointId(0), Datum::Int(3))]);
    assert_eq!(cloud.expect("uplink", 4).payload, json!({"event": "lowBattery", "params": {"volt": 3}}));
    let id = cloud.say(DOWN, 7, json!({"n": "5"}));
    let (command, values) = cloud.host.expect_set();
    assert_eq!(values, [(DatapointId(1), Datum::Int(5))]);
    cloud.host.command_done(command);
    assert_eq!(cloud.expect_frame(DOWN_ACK, 7), (id, done()));
}

#[test]
fn what_an_action_returns_is_the_data_of_its_acknowledgement() {
    let mut product = product(false);
    product["actions"][0]["cloud_name"] = json!("turn");
    let mut cloud = Cloud::online(setup_of(product, json!({"product_kind": "passthrough"})));
    let id = cloud.say(DOWN, 7, json!({"turn": {"on": 1}}));
    let (command, submitted) = cloud.host.expect_submit();
    let params = vec![(DatapointId(0), Datum::Int(1))];
    assert_eq!(submitted.body, CommandBody::Invoke { action: DatapointId(0), params });
    let values = vec![(DatapointId(0), Datum::Int(1))];
    cloud.host.deliver(Input::Outcome(command, Outcome { result: OutcomeResult::Done, values, document: None }));
    let expected = json!({"Code": "200", "Msg": "SUCCESS", "Data": {"state": 1}});
    assert_eq!(cloud.expect_frame(DOWN_ACK, 7), (id, expected));
}

#[test]
fn what_fits_nothing_or_is_not_carried_out_has_failed() {
    let mut cloud = online_passthrough(false, json!({}));
    for payload in [json!({"colour": 1}), json!({}), json!([]), json!("00"), json!(null), json!(7)] {
        let id = cloud.say(DOWN, 7, payload.clone());
        assert_eq!(cloud.expect_frame(DOWN_ACK, 7), (id, failed()), "{payload}");
    }
    let id = cloud.say(DOWN, 7, json!({"n": 5}));
    let (command, _) = cloud.host.expect_set();
    cloud.host.command_ended(command, OutcomeResult::Unreachable);
    assert_eq!(cloud.expect_frame(DOWN_ACK, 7), (id, failed()));
    let mut cloud = online_passthrough(true, json!({}));
    let id = cloud.say(DOWN, 7, json!({"data": "0g"}));
    assert_eq!(cloud.expect_frame(DOWN_ACK, 7), (id, failed()));
}

#[test]
fn a_downlink_is_acknowledged_on_the_topic_it_came_on_unless_the_settings_say_otherwise() {
    for (setting, on_downlink, on_downloadlink) in [
        ("auto", DOWN_ACK, DOWNLOAD_ACK),
        ("downlink_ack", DOWN_ACK, DOWN_ACK),
        ("downloadlink_ack", DOWNLOAD_ACK, DOWNLOAD_ACK),
    ] {
        let mut cloud = online_passthrough(true, json!({"passthrough_ack_topic": setting}));
        for (topic, ack) in [(DOWN, on_downlink), (DOWNLOAD, on_downloadlink)] {
            let id = cloud.say(topic, 7, json!({"data": "00"}));
            let (command, _) = cloud.host.expect_submit();
            cloud.host.command_done(command);
            assert_eq!(cloud.expect_frame(ack, 7), (id, done()), "{setting}");
            cloud.host.expect_silence();
        }
    }
}

#[test]
fn a_downlink_that_comes_on_both_topics_is_carried_out_once_and_acknowledged_on_both() {
    // The second one comes while the first runs.
    let mut cloud = online_passthrough(true, json!({}));
    let id = cloud.say(DOWN, 7, json!({"data": "00"}));
    let (command, _) = cloud.host.expect_submit();
    cloud.say_as(DOWNLOAD, &id, 7, json!({"data": "00"}));
    cloud.host.expect_silence();
    cloud.host.command_done(command);
    assert_eq!(cloud.expect_frame(DOWN_ACK, 7), (id.clone(), done()));
    assert_eq!(cloud.expect_frame(DOWNLOAD_ACK, 7), (id, done()));
    cloud.host.expect_silence();
    // It comes after the first is done.
    let id = cloud.say(DOWNLOAD, 7, json!({"data": "00"}));
    let (command, _) = cloud.host.expect_submit();
    cloud.host.command_done(command);
    assert_eq!(cloud.expect_frame(DOWNLOAD_ACK, 7), (id.clone(), done()));
    cloud.say_as(DOWN, &id, 7, json!({"data": "00"}));
    assert_eq!(cloud.expect_frame(DOWN_ACK, 7), (id, done()));
    cloud.host.expect_silence();
}

#[test]
fn with_one_acknowledgement_topic_both_are_acknowledged_there() {
    let mut cloud = online_passthrough(true, json!({"passthrough_ack_topic": "downlink_ack"}));
    let id = cloud.say(DOWN, 7, json!({"data": "00"}));
    cloud.say_as(DOWNLOAD, &id, 7, json!({"data": "00"}));
    let (command, _) = cloud.host.expect_submit();
    cloud.host.command_done(command);
    assert_eq!(cloud.expect_frame(DOWN_ACK, 7), (id, done()));
    cloud.host.expect_silence();
}

#[test]
fn a_4_on_a_downlink_topic_is_a_downlink_without_a_code_and_an_acknowledgement_with_one() {
    for topic in [DOWN, DOWNLOAD] {
        let mut cloud = online_passthrough(true, json!({}));
        let id = cloud.say(topic, 4, json!({"data": "00"}));
        let (command, submitted) = cloud.host.expect_submit();
        assert_eq!(submitted.body, CommandBody::Raw(vec![0]));
        cloud.host.command_done(command);
        assert_eq!(cloud.expect_frame(&format!("{topic}_ack"), 4), (id.clone(), done()));
        // By the other code it is the same downlink.
        cloud.say_as(topic, &id, 7, json!({"data": "00"}));
        assert_eq!(cloud.expect_frame(&format!("{topic}_ack"), 7), (id, done()));
        let seq = cloud.host.report_body(Cause::Change, None, ReportBody::Raw(vec![1]));
        let sent = cloud.expect("uplink", 4);
        cloud.ack(topic, 4, &sent.id, 200);
        assert_eq!(cloud.host.expect_settle(), [seq]);
        cloud.ack(topic, 4, &json!(4711), 200);
        cloud.host.expect_silence();
    }
}

#[test]
fn an_acknowledgement_by_a_4_may_be_encrypted_or_say_nothing_sensible() {
    let mut cloud = online_passthrough(true, json!({"encrypted": true}));
    let seq = cloud.host.report_body(Cause::Change, None, ReportBody::Raw(vec![1]));
    let sent = cloud.expect("uplink", 4);
    cloud.say_as(DOWN, &sent.id, 4, json!({"Code": "what"}));
    cloud.host.advance(10_000);
    assert_eq!(cloud.expect("uplink", 4).id, sent.id);
    let sealed_ack = cloud.seal(r#"{"Code":"200"}"#);
    cloud.say_as(DOWN, &sent.id, 4, sealed_ack);
    assert_eq!(cloud.host.expect_settle(), [seq]);
    cloud.host.expect_silence();
    // Without a code it is a downlink.
    cloud.say_sealed(DOWN, 4, json!({"data": "00"}));
    assert_eq!(cloud.host.expect_submit().1.body, CommandBody::Raw(vec![0]));
}

#[test]
fn an_uplink_is_repeated_and_refused_like_any_report_and_is_never_history() {
    let mut cloud = online_passthrough(false, json!({}));
    cloud.cut();
    let seq = cloud.report(7);
    let later = cloud.host.now().wall.unix_ms + 86_400_000;
    cloud.host.set_wall(later, ClockQuality::SYNCED);
    cloud.reconnect();
    let sent = cloud.expect("uplink", 4);
    cloud.host.advance(10_000);
    assert_eq!(cloud.expect("uplink", 4).id, sent.id);
    for _ in 0..2 {
        cloud.ack("uplink_ack", 4, &sent.id, 4001);
        cloud.host.advance(10_000);
        assert_eq!(cloud.expect("uplink", 4).payload, json!({"n": 7}));
    }
    cloud.ack("uplink_ack", 4, &sent.id, 4001);
    assert_eq!(cloud.host.expect_settle(), [seq]);
}

#[test]
fn an_uplink_larger_than_a_message_may_be_is_given_up_and_counted() {
    let mut cloud = online_passthrough(true, json!({}));
    let seq = cloud.host.report_body(Cause::Change, None, ReportBody::Raw(vec![0; 140_000]));
    assert_eq!(cloud.host.expect_settle(), [seq]);
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    cloud.assert_fact("reports_refused", "1");
    // Encryption doubles it.
    let mut cloud = online_passthrough(true, json!({"encrypted": true}));
    let seq = cloud.host.report_body(Cause::Change, None, ReportBody::Raw(vec![0; 70_000]));
    assert_eq!(cloud.host.expect_settle(), [seq]);
}

#[test]
fn an_encrypted_product_encrypts_uplinks_and_decrypts_downlinks() {
    let mut cloud = online_passthrough(true, json!({"encrypted": true}));
    cloud.host.report_body(Cause::Change, None, ReportBody::Raw(vec![1]));
    let sent = cloud.expect("uplink", 4);
    assert_eq!(cloud.open(&sent.payload), r#"{"data":"01"}"#);
    let sealed_ack = cloud.seal(r#"{"Code":"200"}"#);
    cloud.say_as("uplink_ack", &sent.id, 4, sealed_ack);
    cloud.host.expect_settle();
    let id = cloud.say_sealed(DOWN, 7, json!({"data": "00aB"}));
    let (command, submitted) = cloud.host.expect_submit();
    assert_eq!(submitted.body, CommandBody::Raw(vec![0, 0xAB]));
    cloud.host.command_done(command);
    assert_eq!(cloud.expect_frame(DOWN_ACK, 7), (id, done()));
}

#[test]
fn a_downlink_that_cannot_be_decrypted_has_failed_and_is_acknowledged_in_clear() {
    let mut cloud = online_passthrough(true, json!({"encrypted": true}));
    let no_json = cloud.seal("0001");
    for payload in [json!("0"), json!("00"), json!("00000000000000000000000000000000"), no_json] {
        let id = cloud.say(DOWNLOAD, 7, payload.clone());
        assert_eq!(cloud.expect_frame(DOWNLOAD_ACK, 7), (id, failed()), "{payload}");
    }
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    cloud.assert_fact("input_dropped", "4");
}

#[test]
fn a_device_of_another_kind_takes_passthrough_downlinks_as_well() {
    let mut cloud = online(json!({}));
    let id = cloud.say(DOWN, 7, json!({"n": 5}));
    let (command, _) = cloud.host.expect_set();
    cloud.host.command_done(command);
    assert_eq!(cloud.expect_frame(DOWN_ACK, 7), (id, done()));
}

#[test]
fn codes_that_do_not_belong_to_a_downlink_topic_are_dropped_without_an_answer() {
    let mut cloud = online_passthrough(true, json!({}));
    for (topic, header_ctrl) in [(DOWN, 20), (DOWN, 2), (DOWN, 8), (DOWNLOAD, 1), (DOWNLOAD, 3), (DOWNLOAD, 16)] {
        cloud.say(topic, header_ctrl, json!({"data": "00"}));
    }
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    cloud.assert_fact("input_dropped", "6");
}

#[test]
fn at_most_64_downlinks_run_at_once() {
    let mut cloud = online_passthrough(true, json!({}));
    for _ in 0..64 {
        cloud.say(DOWN, 7, json!({"data": "00"}));
        cloud.host.expect_submit();
    }
    let id = cloud.say(DOWN, 7, json!({"data": "00"}));
    assert_eq!(cloud.expect_frame(DOWN_ACK, 7), (id, failed()));
}
