//! Reports and events of a JSON model product going up, and the platform's acknowledgements of them.

use polylink_plugin_sdk::services::Reason;
use polylink_plugin_sdk::{
    Cause, ClockQuality, DatapointId, Input, Output, Report, ReportBody, Value as Datum, WallTime,
};
use serde_json::{Value, json};

use crate::scenarios::stage::{Cloud, Sent, online, online_encrypted, session_key, setup};

pub const REPORT: &str = "model/property/report";
pub const REPORT_ACK: &str = "model/property/report_ack";
pub const HISTORY: &str = "model/history/data/report";
pub const HISTORY_ACK: &str = "model/history/data/report_ack";
const EVENT: &str = "model/event/lowBattery/report";
const EVENT_ACK: &str = "model/event/lowBattery/report_ack";

/// A report of `n` from this moment.
pub fn report_of(seq: u64, unix_ms: i64, n: i64) -> Report {
    let at = WallTime { unix_ms, quality: ClockQuality::SYNCED };
    let body = ReportBody::Properties(vec![(DatapointId(1), Datum::Int(n))]);
    Report { seq, at, device: 0, cause: Cause::Change, caused_by: None, body }
}

/// Two reports from two minutes ago, in one batch; their moments.
pub fn report_two_minutes_late(cloud: &mut Cloud) -> [i64; 2] {
    let now = cloud.host.now().wall.unix_ms;
    let at = [now - 120_000, now - 119_000];
    cloud.host.deliver(Input::Reports(vec![report_of(71, at[0], 1), report_of(72, at[1], 2)]));
    at
}

#[track_caller]
pub fn check_unsettled(cloud: &mut Cloud) {
    let settled = cloud.host.take_outputs().into_iter().find(|output| matches!(output, Output::Settle(_)));
    assert_eq!(settled, None);
}

/// The platform takes this report, and its seq is settled.
#[track_caller]
pub fn check_ack_settles(cloud: &mut Cloud, sent: &Sent, seq: u64) {
    cloud.ack(REPORT_ACK, 16, &sent.id, 200);
    assert_eq!(cloud.host.expect_settle(), [seq]);
}

/// What an acknowledgement with this payload does to a report: true if it settles it.
#[track_caller]
fn check_code(payload: Value, settles: bool, is_failure: bool) {
    let mut cloud = online(json!({}));
    let seq = cloud.report(7);
    let sent = cloud.expect(REPORT, 16);
    cloud.say_as(REPORT_ACK, &sent.id, 16, payload.clone());
    if settles {
        assert_eq!(cloud.host.expect_settle(), [seq], "{payload}");
    }
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    assert_eq!(cloud.fact("report_errors").is_some(), is_failure, "{payload}");
}

#[test]
fn a_report_is_settled_when_the_platform_has_it_and_not_before() {
    let mut cloud = online(json!({}));
    let values = [(DatapointId(0), Datum::Bool(true)), (DatapointId(2), Datum::Int(-5))];
    let seq = cloud.host.report(values);
    let sent = cloud.expect(REPORT, 16);
    assert_eq!(sent.payload, json!({"switch": true, "temp": -5}));
    assert_eq!((sent.publish.message.qos, sent.publish.message.retain), (1, false));
    cloud.host.published(sent.publish.id);
    cloud.host.expect_silence();
    check_ack_settles(&mut cloud, &sent, seq);
    cloud.host.expect_silence();
}

#[test]
fn an_event_goes_to_its_own_topic() {
    let mut cloud = online(json!({}));
    let seq = cloud.host.report_event(DatapointId(0), [(DatapointId(0), Datum::Int(3))]);
    let sent = cloud.expect(EVENT, 17);
    assert_eq!(sent.payload, json!({"volt": 3}));
    cloud.ack(EVENT_ACK, 17, &sent.id, 200);
    assert_eq!(cloud.host.expect_settle(), [seq]);
}

#[test]
fn each_report_has_a_name_of_its_own_that_only_grows() {
    let mut cloud = online(json!({}));
    let mut last = 0;
    for n in 0..10 {
        cloud.report(n);
        let id = cloud.expect(REPORT, 16).id.as_u64().expect("a number");
        assert!(id > last && id <= 2_147_483_647);
        last = id;
    }
}

#[test]
fn only_the_code_200_settles_as_a_number_or_as_text() {
    for payload in [json!({"Code": "200", "Msg": "SUCCESS", "Data": {}}), json!({"Code": 200})] {
        check_code(payload, true, false);
    }
    for payload in [
        json!({"Code": "4001"}),
        json!({"Code": 4001}),
        json!({"Code": 0}),
        json!({"Code": "ok"}),
        json!({"Code": null}),
        json!({"Code": 200.5}),
        json!({"Msg": "SUCCESS"}),
        json!({}),
    ] {
        check_code(payload, false, true);
    }
    // Not an acknowledgement at all.
    for payload in [json!(null), json!("00")] {
        check_code(payload, false, false);
    }
}

#[test]
fn names_are_compared_by_their_text_whichever_json_type_they_have() {
    for kind in ["int", "string"] {
        let mut cloud = online(json!({"message_id_type": kind}));
        for as_text in [false, true] {
            let seq = cloud.report(7);
            let sent = cloud.expect(REPORT, 16);
            assert_eq!(sent.id.is_string(), kind == "string");
            let digits = sent.id.as_str().map_or_else(|| sent.id.to_string(), str::to_owned);
            let id = if as_text { json!(digits) } else { serde_json::from_str(&digits).unwrap() };
            cloud.ack(REPORT_ACK, 16, &id, 200);
            assert_eq!(cloud.host.expect_settle(), [seq]);
        }
    }
}

#[test]
fn an_answer_to_an_unknown_name_is_ignored_and_counted() {
    let mut cloud = online(json!({}));
    cloud.report(7);
    cloud.expect(REPORT, 16);
    for id in [json!(4711), json!("x"), json!(null), json!("")] {
        cloud.ack(REPORT_ACK, 16, &id, 200);
        cloud.ack(REPORT_ACK, 16, &id, 4001);
    }
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    cloud.assert_fact("answers_unmatched", "8");
    assert_eq!(cloud.fact("report_errors"), None);
}

#[test]
fn a_report_refused_three_times_is_given_up_and_counted_while_others_go_on() {
    let mut cloud = online(json!({}));
    let seq = cloud.host.report_event(DatapointId(0), []);
    let first = cloud.expect(EVENT, 17);
    for round in 0..2 {
        cloud.ack(EVENT_ACK, 17, &first.id, 4001);
        let other = cloud.report(round);
        let sent = cloud.expect(REPORT, 16);
        check_ack_settles(&mut cloud, &sent, other);
        cloud.host.advance(9_999);
        cloud.host.expect_silence();
        cloud.host.advance(1);
        let again = cloud.expect(EVENT, 17);
        assert_eq!((&again.id, &again.payload), (&first.id, &first.payload));
    }
    cloud.ack(EVENT_ACK, 17, &first.id, 4001);
    assert_eq!(cloud.host.expect_settle(), [seq]);
    cloud.host.advance(100_000);
    cloud.host.expect_silence();
    cloud.assert_fact("report_errors", "3");
    cloud.assert_fact("reports_refused", "1");
    assert!(cloud.logged("code 4001"));
}

#[test]
fn without_an_answer_a_report_goes_twice_more_under_its_name_and_again_after_a_pause() {
    let mut cloud = online(json!({}));
    let seq = cloud.host.report_event(DatapointId(0), []);
    let first = cloud.expect(EVENT, 17);
    for _ in 0..2 {
        cloud.host.published(first.publish.id);
        cloud.host.advance(9_999);
        cloud.host.expect_silence();
        cloud.host.advance(1);
        assert_eq!(cloud.expect(EVENT, 17).publish.message, first.publish.message);
    }
    cloud.host.advance(10_000);
    cloud.report(1);
    cloud.host.advance(59_999);
    cloud.host.expect_silence();
    cloud.host.advance(1);
    // By now both are more than a minute old.
    let history = cloud.expect(HISTORY, 27);
    assert_ne!(history.id, first.id);
    cloud.ack(HISTORY_ACK, 27, &history.id, 200);
    assert_eq!(cloud.host.expect_settle(), [seq, seq + 1]);
    cloud.host.expect_silence();
}

#[test]
fn where_the_broker_is_believed_its_word_settles() {
    let mut cloud = online(json!({"uplink_acks": "broker"}));
    let seq = cloud.report(7);
    let sent = cloud.expect(REPORT, 16);
    cloud.host.published(sent.publish.id);
    assert_eq!(cloud.host.expect_settle(), [seq]);
    // What the platform says of it later changes nothing.
    cloud.ack(REPORT_ACK, 16, &sent.id, 4001);
    cloud.host.advance(100_000);
    cloud.host.expect_silence();
}

#[test]
fn where_the_broker_is_believed_the_platforms_word_is_as_good() {
    let mut cloud = online(json!({"uplink_acks": "broker"}));
    let seq = cloud.report(7);
    let sent = cloud.expect(REPORT, 16);
    check_ack_settles(&mut cloud, &sent, seq);
    cloud.host.published(sent.publish.id);
    cloud.host.expect_silence();
}

#[test]
fn a_publish_that_the_host_does_not_take_is_tried_again() {
    let mut cloud = online(json!({}));
    let seq = cloud.report(7);
    let sent = cloud.expect(REPORT, 16);
    cloud.host.publish_failed(sent.publish.id, Reason::Quota);
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    let again = cloud.expect(REPORT, 16);
    check_ack_settles(&mut cloud, &again, seq);
}

#[test]
fn a_publish_that_the_host_never_takes_is_given_up_and_counted() {
    let mut cloud = online(json!({}));
    let seq = cloud.report(7);
    let sent = cloud.expect(REPORT, 16);
    cloud.host.publish_failed(sent.publish.id, Reason::Invalid);
    assert_eq!(cloud.host.expect_settle(), [seq]);
    cloud.host.advance(100_000);
    cloud.host.expect_silence();
    cloud.assert_fact("reports_refused", "1");
}

#[test]
fn what_the_platform_has_no_words_for_is_counted_and_settled() {
    let mut cloud = online(json!({}));
    let raw = cloud.host.report_body(Cause::Change, None, ReportBody::Raw(vec![1]));
    assert_eq!(cloud.host.expect_settle(), [raw]);
    let unknown = cloud.host.report([(DatapointId(77), Datum::Int(1))]);
    assert_eq!(cloud.host.expect_settle(), [unknown]);
    let event = cloud.host.report_event(DatapointId(77), []);
    assert_eq!(cloud.host.expect_settle(), [event]);
    let of_another = Report { device: 2, ..report_of(99, 0, 1) };
    cloud.host.deliver(Input::Reports(vec![of_another]));
    assert_eq!(cloud.host.expect_settle(), [99]);
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    cloud.assert_fact("reports_without_words", "4");
}

#[test]
fn an_answer_to_a_question_and_values_that_are_no_news_are_not_reported() {
    let mut cloud = online(json!({}));
    let values = || [(DatapointId(1), Datum::Int(7))];
    let seq = cloud.host.report_body(Cause::Answer, None, ReportBody::Properties(values().into()));
    assert_eq!(cloud.host.expect_settle(), [seq]);
    cloud.host.snapshot(values());
    cloud.host.live(values());
    cloud.host.expect_silence();
    cloud.host.report_body(Cause::Periodic, None, ReportBody::Properties(values().into()));
    assert_eq!(cloud.expect(REPORT, 16).payload, json!({"n": 7}));
}

#[test]
fn more_reports_than_there_is_room_for_are_left_with_the_host_and_counted() {
    let mut cloud = online(json!({}));
    cloud.cut();
    let now = cloud.host.now().wall.unix_ms;
    cloud.host.deliver(Input::Reports((1..=520).map(|seq| report_of(seq, now, 1)).collect()));
    check_unsettled(&mut cloud);
    cloud.host.advance(400_000);
    cloud.assert_fact("reports_left_with_host", "8");
}

#[test]
fn every_report_of_a_thousand_a_second_is_sent_in_order_and_settled() {
    let mut cloud = online(json!({}));
    let mut settled = Vec::new();
    let mut told = Vec::new();
    for batch in 0..100_u64 {
        let now = cloud.host.now().wall.unix_ms;
        let report = |seq: u64| report_of(seq, now, i64::try_from(seq).unwrap());
        cloud.host.deliver(Input::Reports((batch * 50 + 1..=batch * 50 + 50).map(report).collect()));
        for _ in 0..50 {
            let sent = cloud.expect(REPORT, 16);
            told.push(sent.payload["n"].as_u64().unwrap());
            cloud.ack(REPORT_ACK, 16, &sent.id, 200);
            settled.extend(cloud.host.expect_settle());
        }
        cloud.host.advance(50);
    }
    let all: Vec<u64> = (1..=5_000).collect();
    assert!(told == all && settled == all);
}

#[test]
fn reports_pass_behind_the_abi_as_well() {
    let mut cloud = Cloud::started_behind_the_abi(setup(json!({})));
    cloud.come_online();
    let seq = cloud.report(7);
    let sent = cloud.expect(REPORT, 16);
    check_ack_settles(&mut cloud, &sent, seq);
}

#[test]
fn an_encrypted_product_encrypts_reports_events_and_history() {
    let mut cloud = online_encrypted(json!({}));
    let seq = cloud.report(7);
    let (id, payload) = cloud.expect_sealed(REPORT, 16);
    assert_eq!(payload, json!({"n": 7}));
    // The platform's acknowledgement may be encrypted, or not.
    let ack = cloud.seal(r#"{"Code":"200","Msg":"SUCCESS"}"#);
    cloud.say_as(REPORT_ACK, &id, 16, ack);
    assert_eq!(cloud.host.expect_settle(), [seq]);
    let event = cloud.host.report_event(DatapointId(0), [(DatapointId(0), Datum::Int(3))]);
    let (id, payload) = cloud.expect_sealed(EVENT, 17);
    assert_eq!(payload, json!({"volt": 3}));
    cloud.ack(EVENT_ACK, 17, &id, 200);
    assert_eq!(cloud.host.expect_settle(), [event]);
    report_two_minutes_late(&mut cloud);
    let (id, payload) = cloud.expect_sealed(HISTORY, 27);
    assert_eq!(payload["params"][0]["properties"].as_array().unwrap().len(), 2);
    cloud.ack(HISTORY_ACK, 27, &id, 200);
    assert_eq!(cloud.host.expect_settle(), [71, 72]);
}

#[test]
fn what_is_encrypted_is_the_compact_json() {
    let mut cloud = online_encrypted(json!({}));
    cloud.host.report([(DatapointId(2), Datum::Int(99)), (DatapointId(0), Datum::Bool(false))]);
    let sent = cloud.expect(REPORT, 16);
    assert_eq!(cloud.open(&sent.payload), r#"{"switch":false,"temp":99}"#);
}

#[test]
fn a_report_that_is_repeated_after_a_new_session_goes_by_the_new_key() {
    let mut cloud = online_encrypted(json!({}));
    cloud.report(7);
    let (id, _) = cloud.expect_sealed(REPORT, 16);
    cloud.say("downlink", 3, json!({"SessionID": "0A0B0C0D", "Nonce": 300}));
    cloud.session = ("0A0B0C0D".to_owned(), 300);
    assert_eq!(cloud.key(), session_key("0A0B0C0D", 300));
    cloud.host.advance(10_000);
    let (again, payload) = cloud.expect_sealed(REPORT, 16);
    assert_eq!((again, payload), (id, json!({"n": 7})));
}

#[test]
fn an_acknowledgement_that_cannot_be_decrypted_is_dropped_and_counted() {
    let mut cloud = online_encrypted(json!({}));
    let seq = cloud.report(7);
    let (id, _) = cloud.expect_sealed(REPORT, 16);
    for payload in ["0", "zz", "00", "00000000000000000000000000000000"] {
        cloud.say_as(REPORT_ACK, &id, 16, json!(payload));
    }
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    cloud.assert_fact("input_dropped", "4");
    assert_eq!(cloud.fact("report_errors"), None);
    cloud.ack(REPORT_ACK, 16, &id, 200);
    assert_eq!(cloud.host.expect_settle(), [seq]);
}
