//! Reports up, commands of applications down, answers up.

use polylink_plugin_sdk::services::Reason;
use polylink_plugin_sdk::{
    Cause, CommandBody, DatapointId, Input, Outcome, OutcomeResult, Report, ReportBody, Value as Datum,
};
use serde_json::{Value, json};

use crate::scenarios::cloud::{Cloud, product, setup};

fn command(mid: &str, data: Value) -> Value {
    json!({"mid": mid, "from": "app7", "time": 1, "action": 301, "data": data})
}

#[test]
fn a_command_sets_properties_and_its_outcome_goes_to_who_asked() {
    let mut cloud = Cloud::online(json!({}));
    cloud.say(command("a1", json!({"cmd": "set", "payload": {"switch": true, "n": 5}})));
    let (id, submitted) = cloud.host.expect_submit();
    let values = vec![(DatapointId(0), Datum::Bool(true)), (DatapointId(1), Datum::Int(5))];
    assert_eq!(submitted.body, CommandBody::Set(values));
    cloud.host.command_done(id);
    let answer = cloud.expect(300);
    assert_eq!((&answer["mid"], &answer["to"]), (&json!("a1"), &json!("app7")));
    assert_eq!(answer["data"], json!({"cmd": "set", "payload": {"code": 0, "msg": ""}}));
}

#[test]
fn reports_and_commands_pass_behind_the_abi_as_well() {
    let mut cloud = Cloud::started_behind_the_abi(setup(json!({})));
    cloud.accept();
    cloud.answer_start(json!({"group_id": 1000}));
    let seq = cloud.report(7);
    let sent = cloud.expect_publish(300);
    cloud.host.published(sent.id);
    assert_eq!(cloud.host.expect_settle(), [seq]);
    cloud.say(command("a1", json!({"cmd": "set", "payload": {"n": 5}})));
    let (id, _) = cloud.host.expect_set();
    cloud.host.command_done(id);
    assert_eq!(cloud.expect(300)["data"]["payload"]["code"], 0);
    cloud.host.stop();
    cloud.host.expect_mqtt_disconnect();
}

#[test]
fn members_beside_cmd_are_the_payload_where_there_is_none() {
    let mut cloud = Cloud::online(json!({}));
    cloud.say(command("a1", json!({"cmd": "set", "n": 5})));
    assert_eq!(cloud.host.expect_set().1, [(DatapointId(1), Datum::Int(5))]);
}

#[test]
fn a_command_that_comes_twice_carries_the_same_message_id() {
    let mut cloud = Cloud::online(json!({}));
    let ids: Vec<String> = ["a1", "a1", "a2"]
        .map(|mid| {
            cloud.say(command(mid, json!({"cmd": "set", "payload": {"n": 5}})));
            cloud.host.expect_submit().1.message_id
        })
        .into();
    assert!(ids[0] == ids[1] && ids[1] != ids[2] && !ids[0].is_empty(), "{ids:?}");
}

#[test]
fn reading_answers_with_the_values() {
    let mut cloud = Cloud::online(json!({"answer_commands": false}));
    cloud.say(command("a1", json!({"cmd": "get", "payload": {"names": ["n"]}})));
    let (id, submitted) = cloud.host.expect_submit();
    assert_eq!(submitted.body, CommandBody::Get(vec![DatapointId(1)]));
    let values = vec![(DatapointId(1), Datum::Int(7))];
    cloud.host.deliver(Input::Outcome(id, Outcome { result: OutcomeResult::Done, values, document: None }));
    let expected = json!({"cmd": "get", "payload": {"code": 0, "msg": "", "values": {"n": 7}}});
    assert_eq!(cloud.expect(300)["data"], expected);
}

#[test]
fn an_action_is_called_by_its_name_and_returns_its_values() {
    let mut cloud = Cloud::online(json!({}));
    cloud.say(command("a1", json!({"cmd": "cleanup"})));
    let (id, submitted) = cloud.host.expect_submit();
    assert_eq!(submitted.body, CommandBody::Invoke { action: DatapointId(0), params: Vec::new() });
    let values = vec![(DatapointId(0), Datum::Int(3))];
    cloud.host.deliver(Input::Outcome(id, Outcome { result: OutcomeResult::Done, values, document: None }));
    assert_eq!(cloud.expect(300)["data"]["payload"]["values"], json!({"freed": 3}));
}

#[test]
fn what_became_of_a_command_is_told_as_it_is() {
    for (result, says) in [
        (OutcomeResult::Refused("out of range".into()), "out of range"),
        (OutcomeResult::Unreachable, "does not answer"),
        (OutcomeResult::TimedOut, "timeout"),
        (OutcomeResult::Superseded, "took its place"),
    ] {
        let mut cloud = Cloud::online(json!({}));
        cloud.say(command("a1", json!({"cmd": "set", "payload": {"n": 5}})));
        let (id, _) = cloud.host.expect_submit();
        cloud.host.command_ended(id, result);
        let payload = cloud.expect(300)["data"]["payload"].clone();
        assert_eq!(payload["code"], -1);
        assert!(payload["msg"].as_str().unwrap().contains(says), "{payload}");
    }
}

#[test]
fn a_command_with_a_bad_payload_never_reaches_the_device() {
    let mut cloud = Cloud::online(json!({}));
    cloud.say(command("a1", json!({"cmd": "set", "payload": {"unknown": 5}})));
    let payload = cloud.expect(300)["data"]["payload"].clone();
    assert_eq!(payload["code"], 100);
    assert!(payload["msg"].as_str().unwrap().contains("`unknown`"), "{payload}");
    cloud.host.expect_silence();
}

#[test]
fn an_unknown_command_is_counted_and_never_answered() {
    let mut cloud = Cloud::online(json!({}));
    cloud.say(command("a1", json!({"cmd": "user_sync", "payload": {"users": []}})));
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    cloud.assert_fact("commands_unknown", "1");
}

#[test]
fn a_raw_product_gets_unknown_commands_whole() {
    let mut setup = setup(json!({}));
    setup.product = product(true).to_string();
    let mut cloud = Cloud::started(setup);
    cloud.accept();
    cloud.answer_start(json!({"group_id": 1000}));
    cloud.say(command(
        "a1",
        json!({"cmd": "user_sync", "payload": {"users": [{"user_id": 9_007_199_254_740_993_i64}]}}),
    ));
    let whole = br#"{"cmd":"user_sync","payload":{"users":[{"user_id":9007199254740993}]}}"#.to_vec();
    assert_eq!(cloud.host.expect_submit().1.body, CommandBody::Raw(whole));
    cloud.host.report_body(Cause::Change, None, ReportBody::Raw(vec![1, 0]));
    assert_eq!(cloud.expect(300)["data"], json!({"cmd": "raw", "payload": {"raw": "0100"}}));
}

#[test]
fn without_answers_only_reading_is_answered() {
    let mut cloud = Cloud::online(json!({"answer_commands": false}));
    cloud.say(command("a1", json!({"cmd": "set", "payload": {"n": 5}})));
    let (id, _) = cloud.host.expect_submit();
    cloud.host.command_done(id);
    cloud.host.expect_silence();
}

#[test]
fn at_most_64_commands_run_at_once() {
    let mut cloud = Cloud::online(json!({}));
    for n in 0..65 {
        cloud.say(command(&format!("a{n}"), json!({"cmd": "set", "payload": {"n": 5}})));
    }
    let answer = cloud.expect(300);
    assert_eq!((&answer["mid"], &answer["data"]["payload"]["msg"]), (&json!("a64"), &json!("busy")));
}

#[test]
fn an_answer_that_could_not_be_sent_survives_a_restart() {
    let mut cloud = Cloud::online(json!({}));
    cloud.say(command("a1", json!({"cmd": "set", "payload": {"n": 5}})));
    let (id, _) = cloud.host.expect_submit();
    cloud.cut();
    cloud.host.command_done(id);
    cloud.host.stop();
    cloud.host.restart();
    cloud.accept();
    cloud.answer_start_and_keep();
    let answer = cloud.expect(300);
    assert_eq!((&answer["mid"], &answer["to"]), (&json!("a1"), &json!("app7")));
    cloud.host.advance(10_000);
    assert!(cloud.host.stored("queue").is_none());
}

#[test]
fn an_answer_that_was_not_acknowledged_is_sent_again_after_a_restart() {
    let mut cloud = Cloud::online(json!({}));
    cloud.say(command("a1", json!({"cmd": "get"})));
    let (id, _) = cloud.host.expect_submit();
    cloud.host.command_done(id);
    let sent = cloud.expect(300);
    cloud.host.stop();
    cloud.host.restart();
    cloud.accept();
    cloud.answer_start_and_keep();
    assert_eq!(cloud.expect(300)["mid"], sent["mid"]);
}

#[test]
fn an_event_is_a_message_of_its_own() {
    let mut cloud = Cloud::online(json!({}));
    let seq = cloud.host.report_event(DatapointId(0), []);
    let sent = cloud.expect_publish(300);
    assert_eq!(sent.json()["data"], json!({"cmd": "smoke", "payload": {}}));
    cloud.host.published(sent.id);
    assert_eq!(cloud.host.expect_settle(), [seq]);
}

#[test]
fn answers_to_a_get_and_last_known_values_are_not_reported_again() {
    let mut cloud = Cloud::online(json!({}));
    let body = ReportBody::Properties(vec![(DatapointId(1), Datum::Int(7))]);
    let seq = cloud.host.report_body(Cause::Answer, None, body);
    assert_eq!(cloud.host.expect_settle(), [seq]);
    cloud.host.snapshot([(DatapointId(1), Datum::Int(7))]);
    cloud.host.expect_silence();
}

#[test]
fn values_that_are_given_while_the_window_is_full_are_not_reported() {
    let mut cloud = Cloud::online(json!({}));
    cloud.host.live([(DatapointId(1), Datum::Int(7))]);
    cloud.host.expect_silence();
}

#[test]
fn every_report_of_a_thousand_a_second_is_sent_in_order_and_settled() {
    let mut cloud = Cloud::online(json!({}));
    let wall = cloud.host.now().wall;
    let mut settled = Vec::new();
    let mut counts = Vec::new();
    for batch in 0..200_u64 {
        let report = |n: u64| {
            let count = i64::try_from(n).unwrap();
            let body = ReportBody::Properties(vec![(DatapointId(1), Datum::Int(count))]);
            Report { seq: n, at: wall, device: 0, cause: Cause::Change, caused_by: None, body }
        };
        cloud.host.deliver(Input::Reports((batch * 50 + 1..=batch * 50 + 50).map(report).collect()));
        for _ in 0..50 {
            let sent = cloud.expect_publish(300);
            counts.push(sent.json()["data"]["payload"]["n"].as_u64().unwrap());
            cloud.host.published(sent.id);
            settled.extend(cloud.host.expect_settle());
        }
        cloud.host.advance(50);
    }
    let all: Vec<u64> = (1..=10_000).collect();
    assert!(counts == all && settled == all);
}

#[test]
fn a_report_larger_than_a_message_may_be_is_given_up_and_counted() {
    let mut cloud = Cloud::online(json!({}));
    let seq = cloud.host.report_body(Cause::Change, None, ReportBody::Raw(vec![0; 200_000]));
    assert_eq!(cloud.host.expect_settle(), [seq]);
    cloud.host.advance(1_000);
    cloud.assert_fact("messages_refused", "1");
}

#[test]
fn a_publish_that_the_host_does_not_take_is_tried_again() {
    let mut cloud = Cloud::online(json!({}));
    let seq = cloud.report(1);
    let sent = cloud.expect_publish(300);
    cloud.host.publish_failed(sent.id, Reason::Quota);
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    let again = cloud.expect_publish(300);
    assert_eq!(again.json()["mid"], sent.json()["mid"]);
    cloud.host.published(again.id);
    assert_eq!(cloud.host.expect_settle(), [seq]);
}

#[test]
fn a_publish_that_the_host_never_takes_is_given_up_and_counted() {
    let mut cloud = Cloud::online(json!({}));
    let seq = cloud.report(1);
    let sent = cloud.expect_publish(300);
    cloud.host.publish_failed(sent.id, Reason::Invalid);
    assert_eq!(cloud.host.expect_settle(), [seq]);
    cloud.host.advance(1_000);
    cloud.assert_fact("messages_refused", "1");
}

#[test]
fn an_answer_that_is_too_large_says_so() {
    let mut cloud = Cloud::online(json!({}));
    cloud.say(command("a1", json!({"cmd": "cleanup"})));
    let (id, _) = cloud.host.expect_submit();
    let document = Some(vec![0xFF; 200_000]);
    cloud.host.deliver(Input::Outcome(id, Outcome { result: OutcomeResult::Done, values: Vec::new(), document }));
    assert_eq!(cloud.expect(300)["data"]["payload"]["msg"], "the answer is too large");
}

#[test]
fn a_pause_that_ends_while_messages_are_held_does_not_make_the_session_restless() {
    let mut cloud = Cloud::online(json!({}));
    cloud.report(1);
    let sent = cloud.expect_publish(300);
    cloud.host.publish_failed(sent.id, Reason::Quota);
    cloud.say(json!({"mid": "b", "action": 203, "data": {"group_id": 1000, "status": 0}}));
    cloud.host.advance(20_000);
    assert_eq!(cloud.count(300), 0);
}
