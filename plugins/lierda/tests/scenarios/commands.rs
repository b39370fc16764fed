//! Commands to a JSON model product: properties to set and to read, services; carried out once and acknowledged.

use polylink_plugin_sdk::{
    CommandBody, DatapointId, Input, Outcome, OutcomeResult, RequestId, Value as Datum, value::Values,
};
use serde_json::{Value, json};

use crate::scenarios::stage::{Cloud, below, online, online_encrypted, setup};

const SET: &str = "model/property/set";
const SET_ACK: &str = "model/property/set_ack";
const ASK: &str = "model/property/ask";
const REPORT: &str = "model/property/report";
const SERVICE: &str = "model/service/switch";
const SERVICE_ACK: &str = "model/service/switch/ack";

fn set_n(value: Value) -> Value {
    json!({"params": [{"identify": "n", "value": value}]})
}

fn done(data: Value) -> Value {
    json!({"Code": "200", "Msg": "SUCCESS", "Data": data})
}

fn done_without_data() -> Value {
    json!({"Code": "200", "Msg": "SUCCESS"})
}

fn failed() -> Value {
    json!({"Code": "4001", "Msg": "Failed"})
}

fn values_of(values: &[(u32, i64)]) -> Values {
    values.iter().map(|(id, value)| (DatapointId(*id), Datum::Int(*value))).collect()
}

/// The device did what it was asked, and says so much.
#[track_caller]
fn carried_out(cloud: &mut Cloud, id: RequestId, values: &[(u32, i64)]) {
    let outcome = Outcome { result: OutcomeResult::Done, values: values_of(values), document: None };
    cloud.host.deliver(Input::Outcome(id, outcome));
}

/// This command never reaches the device, and is acknowledged as failed if there is an acknowledgement for it.
#[track_caller]
fn check_refused(topic: &str, header_ctrl: i64, payload: Value, ack: Option<&str>) {
    let mut cloud = online(json!({}));
    let id = cloud.say(topic, header_ctrl, payload);
    if let Some(ack) = ack {
        assert_eq!(cloud.expect_frame(ack, header_ctrl), (id, failed()));
    }
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    let (refused, dropped) = (cloud.fact("commands_refused"), cloud.fact("input_dropped"));
    assert!(refused == Some("1") || dropped == Some("1"), "{refused:?} {dropped:?}");
}

#[test]
fn a_name_that_the_platform_uses_again_later_is_another_command_for_the_host() {
    let mut cloud = online(json!({}));
    let mut names = Vec::new();
    for _ in 0..2 {
        cloud.say_as(SET, &json!(7), 20, set_n(json!(5)));
        let (id, command) = cloud.host.expect_submit();
        names.push(command.message_id);
        carried_out(&mut cloud, id, &[]);
        cloud.expect_frame(SET_ACK, 20);
        cloud.host.advance(11 * 60_000);
    }
    assert!(!names[0].is_empty() && names[0] != names[1], "{names:?}");
}

#[test]
fn a_set_is_carried_out_and_its_values_come_back_as_they_came() {
    let mut cloud = online(json!({}));
    let params = json!([{"identify": "n", "value": "100"}, {"identify": "switch", "value": 1}]);
    let id = cloud.say(SET, 20, json!({"params": params}));
    let (command, values) = cloud.host.expect_set();
    assert_eq!(values, [(DatapointId(1), Datum::Int(100)), (DatapointId(0), Datum::Bool(true))]);
    cloud.host.expect_silence();
    cloud.host.command_done(command);
    assert_eq!(cloud.expect_frame(SET_ACK, 20), (id, done(json!({"n": "100", "switch": 1}))));
    // The changed value is a report of its own, under a new name.
    cloud.host.report_caused_by(command, [(DatapointId(1), Datum::Int(100))]);
    let (report, payload) = cloud.expect_frame(REPORT, 16);
    assert_eq!(payload, json!({"n": 100}));
    assert!(report.as_i64() < Some(1_000), "{report}");
    cloud.host.expect_silence();
}

#[test]
fn commands_pass_behind_the_abi_as_well() {
    let mut cloud = Cloud::started_behind_the_abi(setup(json!({})));
    cloud.come_online();
    let id = cloud.say(SET, 20, set_n(json!(5)));
    let (command, values) = cloud.host.expect_set();
    assert_eq!(values, values_of(&[(1, 5)]));
    cloud.host.command_done(command);
    assert_eq!(cloud.expect_frame(SET_ACK, 20), (id, done(json!({"n": 5}))));
}

#[test]
fn one_wrong_part_of_a_set_keeps_all_of_it_from_the_device() {
    let with = |other: Value| json!({"params": [{"identify": "n", "value": 5}, other]});
    check_refused(SET, 20, with(json!({"identify": "colour", "value": 1})), Some(SET_ACK));
    check_refused(SET, 20, with(json!({"identify": "switch", "value": "maybe"})), Some(SET_ACK));
    check_refused(SET, 20, with(json!({"identify": "temp", "value": 1.5})), Some(SET_ACK));
}

#[test]
fn what_the_device_does_not_carry_out_has_failed() {
    for result in [
        // Read-only or out of range, says the host, which knows both.
        OutcomeResult::Refused("`temp` is read-only".to_owned()),
        OutcomeResult::Unreachable,
        OutcomeResult::TimedOut,
        OutcomeResult::Superseded,
    ] {
        let mut cloud = online(json!({}));
        for (topic, header_ctrl, payload, ack) in [
            (SET, 20, json!({"params": [{"identify": "temp", "value": 9}]}), SET_ACK),
            (SERVICE, 21, json!({"servicIdentify": "switch"}), SERVICE_ACK),
        ] {
            let id = cloud.say(topic, header_ctrl, payload);
            let (command, _) = cloud.host.expect_submit();
            cloud.host.command_ended(command, result.clone());
            assert_eq!(cloud.expect_frame(ack, header_ctrl), (id, failed()), "{result:?}");
        }
        cloud.host.advance(1_000);
        cloud.assert_fact("commands_refused", "2");
    }
}

#[test]
fn an_answer_repeats_the_name_with_its_json_type() {
    for id in ["1231", "\"1231\"", "\"a\\\"b\"", "9007199254740993", "1.50", "-7"] {
        let mut cloud = online(json!({}));
        let frame = format!(r#"{{"MessageId":{id},"HeaderCtrl":"20","Payload":{},"Version":"2.0"}}"#, set_n(json!(5)));
        cloud.say_bytes(SET, frame);
        let (command, _) = cloud.host.expect_set();
        cloud.host.command_done(command);
        let answer = cloud.host.expect_publish_on(&below(SET_ACK));
        assert!(answer.text().starts_with(&format!(r#"{{"MessageId":{id},"HeaderCtrl":20,"#)), "{}", answer.text());
    }
}

#[test]
fn a_command_without_a_name_is_carried_out_and_answered_each_time() {
    let mut cloud = online(json!({}));
    let frame = json!({"HeaderCtrl": 20, "Payload": set_n(json!(5)), "Version": "2.0"}).to_string();
    for _ in 0..2 {
        cloud.say_bytes(SET, &frame);
        let (command, _) = cloud.host.expect_set();
        cloud.host.command_done(command);
        assert_eq!(cloud.expect_frame(SET_ACK, 20), (json!(""), done(json!({"n": 5}))));
    }
}

#[test]
fn a_command_that_comes_again_is_answered_as_before_and_not_carried_out_again() {
    let mut cloud = online(json!({}));
    for code in [200, 4001] {
        let payload = set_n(if code == 200 { json!("5") } else { json!("many") });
        let id = cloud.say(SET, 20, payload.clone());
        if code == 200 {
            let (command, _) = cloud.host.expect_set();
            cloud.host.command_done(command);
        }
        let (_, first) = cloud.expect_frame(SET_ACK, 20);
        cloud.host.advance(200_000);
        cloud.say_as(SET, &id, 20, payload.clone());
        assert_eq!(cloud.expect_frame(SET_ACK, 20), (id.clone(), first.clone()));
        // The same text as another JSON type is the same name.
        cloud.say_as(SET, &json!(id.to_string()), 20, payload.clone());
        assert_eq!(cloud.expect_frame(SET_ACK, 20), (json!(id.to_string()), first));
        assert_eq!(cloud.count(SET_ACK), 0);
    }
    cloud.host.advance(1_000);
    cloud.assert_fact("commands_repeated", "4");
}

#[test]
fn a_command_that_comes_again_much_later_is_a_new_one() {
    let mut cloud = online(json!({}));
    let id = cloud.say(SET, 20, set_n(json!(5)));
    let (command, _) = cloud.host.expect_set();
    cloud.host.command_done(command);
    cloud.host.advance(300_000);
    cloud.say_as(SET, &id, 20, set_n(json!(5)));
    cloud.host.expect_set();
}

#[test]
fn a_command_that_comes_again_while_it_runs_is_neither_carried_out_nor_answered_twice() {
    let mut cloud = online(json!({}));
    let id = cloud.say(SET, 20, set_n(json!(5)));
    let (command, _) = cloud.host.expect_set();
    cloud.say_as(SET, &id, 20, set_n(json!(5)));
    cloud.host.expect_silence();
    cloud.host.command_done(command);
    cloud.expect(SET_ACK, 20);
    cloud.host.expect_silence();
}

#[test]
fn the_same_name_on_another_topic_is_another_command() {
    let mut cloud = online(json!({}));
    let id = cloud.say(SET, 20, set_n(json!(5)));
    cloud.host.expect_set();
    for (service, action) in [("switch", 0), ("reset", 1)] {
        cloud.say_as(&format!("model/service/{service}"), &id, 21, json!({}));
        let (_, command) = cloud.host.expect_submit();
        assert_eq!(command.body, CommandBody::Invoke { action: DatapointId(action), params: Vec::new() });
    }
}

#[test]
fn the_host_is_told_the_name_of_a_command_so_that_it_may_know_it_again() {
    let mut cloud = online(json!({}));
    let mut names = Vec::new();
    for _ in 0..2 {
        cloud.say(SET, 20, set_n(json!(5)));
        names.push(cloud.host.expect_submit().1.message_id);
    }
    assert!(names[0] != names[1] && !names[0].is_empty(), "{names:?}");
}

#[test]
fn a_question_is_answered_by_a_report_under_its_own_name() {
    let mut cloud = online(json!({}));
    let id = cloud.say(ASK, 23, json!({"params": ["temp", "n", "colour"]}));
    let (command, submitted) = cloud.host.expect_submit();
    assert_eq!(submitted.body, CommandBody::Get(vec![DatapointId(1), DatapointId(2)]));
    carried_out(&mut cloud, command, &[(1, 7), (2, 21)]);
    assert_eq!(cloud.expect_frame(REPORT, 16), (id.clone(), json!({"n": 7, "temp": 21})));
    // The platform acknowledges it like any report; nothing waits for that.
    cloud.ack("model/property/report_ack", 16, &id, 200);
    cloud.host.advance(60_000);
    cloud.host.expect_silence();
}

#[test]
fn a_question_for_nothing_means_everything() {
    for payload in [json!({}), json!(""), json!({"params": []}), json!({"params": null})] {
        let mut cloud = online(json!({}));
        let id = cloud.say(ASK, 23, payload);
        let (command, submitted) = cloud.host.expect_submit();
        assert_eq!(submitted.body, CommandBody::Get(Vec::new()));
        carried_out(&mut cloud, command, &[(1, 7)]);
        assert_eq!(cloud.expect_frame(REPORT, 16), (id, json!({"n": 7})));
    }
}

#[test]
fn a_question_for_unknown_names_only_has_an_empty_answer() {
    let mut cloud = online(json!({}));
    let id = cloud.say(ASK, 23, json!({"params": ["colour"]}));
    assert_eq!(cloud.expect_frame(REPORT, 16), (id, json!({})));
    cloud.host.expect_silence();
}

#[test]
fn a_question_that_cannot_be_understood_has_no_answer() {
    for payload in [json!({"params": "temp"}), json!([]), json!("00"), json!(null)] {
        check_refused(ASK, 23, payload, None);
    }
}

#[test]
fn a_question_that_the_device_does_not_answer_has_no_answer() {
    let mut cloud = online(json!({}));
    cloud.say(ASK, 23, json!({}));
    let (command, _) = cloud.host.expect_submit();
    cloud.host.command_ended(command, OutcomeResult::TimedOut);
    cloud.host.expect_silence();
}

#[test]
fn a_service_is_known_by_its_topic_and_returns_its_outputs_as_data() {
    for member in ["servicIdentify", "serviceIdentify", "serviceIdentifier", "other"] {
        let mut cloud = online(json!({}));
        let id = cloud.say(SERVICE, 21, json!({member: "switch", "params": {"on": "1"}}));
        let (command, submitted) = cloud.host.expect_submit();
        assert_eq!(submitted.body, CommandBody::Invoke { action: DatapointId(0), params: values_of(&[(0, 1)]) });
        carried_out(&mut cloud, command, &[(0, 1)]);
        assert_eq!(cloud.expect_frame(SERVICE_ACK, 21), (id, done(json!({"state": 1}))), "{member}");
    }
}

#[test]
fn a_service_that_returns_nothing_is_acknowledged_without_data() {
    let mut cloud = online(json!({}));
    let id = cloud.say("model/service/reset", 21, json!({"servicIdentify": "reset", "params": {}}));
    let (command, _) = cloud.host.expect_submit();
    cloud.host.command_done(command);
    assert_eq!(cloud.expect_frame("model/service/reset/ack", 21), (id, done_without_data()));
}

#[test]
fn a_service_call_that_does_not_fit_has_failed() {
    for payload in [
        json!({"servicIdentify": "reset", "params": {"on": 1}}),
        json!({"params": {"off": 1}}),
        json!({"params": {"on": "yes"}}),
        json!({"params": [1]}),
        json!({"servicIdentify": 7}),
    ] {
        check_refused(SERVICE, 21, payload, Some(SERVICE_ACK));
    }
    check_refused("model/service/explode", 21, json!({}), Some("model/service/explode/ack"));
}

#[test]
fn a_payload_that_is_missing_or_of_another_type_has_failed() {
    for payload in [json!(null), json!(7), json!([]), json!("00"), json!(true)] {
        check_refused(SET, 20, payload.clone(), Some(SET_ACK));
        check_refused(SERVICE, 21, payload, Some(SERVICE_ACK));
    }
    let mut cloud = online(json!({}));
    cloud.say_bytes(SET, r#"{"MessageId":7,"HeaderCtrl":20}"#);
    assert_eq!(cloud.expect_frame(SET_ACK, 20), (json!(7), failed()));
}

#[test]
fn a_code_that_does_not_belong_to_its_topic_is_dropped_without_an_answer() {
    for (topic, header_ctrl) in [(SET, 21), (SET, 22), (SET, 5), (SET, -20), (SERVICE, 20), (ASK, 20), (REPORT, 16)] {
        let mut cloud = online(json!({}));
        cloud.say(topic, header_ctrl, set_n(json!(5)));
        cloud.host.expect_silence();
    }
    let mut cloud = online(json!({}));
    for message in ["", "[]", "{", r#"{"MessageId":1}"#, r#"{"HeaderCtrl":"twenty"}"#, "\u{0}\u{ff}"] {
        cloud.say_bytes(SET, message);
    }
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    cloud.assert_fact("input_dropped", "6");
}

#[test]
fn at_most_64_commands_run_at_once() {
    let mut cloud = online(json!({}));
    let mut running = Vec::new();
    for n in 0..64 {
        cloud.say(SET, 20, set_n(json!(n)));
        running.push(cloud.host.expect_set().0);
    }
    let id = cloud.say(SERVICE, 21, json!({}));
    assert_eq!(cloud.expect_frame(SERVICE_ACK, 21), (id, failed()));
    cloud.say(ASK, 23, json!({}));
    cloud.host.expect_silence();
    cloud.host.command_done(running[0]);
    cloud.expect(SET_ACK, 20);
    cloud.say(SERVICE, 21, json!({}));
    cloud.host.expect_submit();
}

#[test]
fn a_command_that_ends_after_the_connection_is_answered_when_it_comes_again() {
    let mut cloud = online(json!({}));
    let id = cloud.say(SET, 20, set_n(json!(5)));
    let (command, _) = cloud.host.expect_set();
    cloud.cut();
    cloud.host.command_done(command);
    cloud.host.expect_silence();
    cloud.reconnect();
    cloud.answer_start();
    cloud.say_as(SET, &id, 20, set_n(json!(5)));
    assert_eq!(cloud.expect_frame(SET_ACK, 20), (id, done(json!({"n": 5}))));
    cloud.host.expect_silence();
}

#[test]
fn an_encrypted_command_is_decrypted_and_acknowledged_in_clear() {
    let mut cloud = online_encrypted(json!({}));
    let id = cloud.say_sealed(SET, 20, set_n(json!("5")));
    let (command, values) = cloud.host.expect_set();
    assert_eq!(values, values_of(&[(1, 5)]));
    cloud.host.command_done(command);
    assert_eq!(cloud.expect_frame(SET_ACK, 20), (id, done(json!({"n": "5"}))));
    let id = cloud.say_sealed(SERVICE, 21, json!({"servicIdentify": "switch", "params": {"on": 1}}));
    let (command, _) = cloud.host.expect_submit();
    carried_out(&mut cloud, command, &[(0, 1)]);
    assert_eq!(cloud.expect_frame(SERVICE_ACK, 21), (id, done(json!({"state": 1}))));
    // The answer to a question is application data.
    let id = cloud.say_sealed(ASK, 23, json!({"params": ["n"]}));
    let (command, _) = cloud.host.expect_submit();
    carried_out(&mut cloud, command, &[(1, 7)]);
    assert_eq!(cloud.expect_sealed(REPORT, 16), (id, json!({"n": 7})));
}

#[test]
fn an_encrypted_product_takes_clear_commands_as_well() {
    let mut cloud = online_encrypted(json!({}));
    cloud.say(SET, 20, set_n(json!(5)));
    cloud.host.expect_set();
}

#[test]
fn with_all_encrypted_acknowledgements_are_too() {
    let mut cloud = Cloud::connected(setup(json!({"encrypted": true, "encrypt_scope": "all"})));
    cloud.host.take_outputs();
    let id = cloud.say_sealed(SET, 20, set_n(json!(5)));
    let (command, _) = cloud.host.expect_set();
    cloud.host.command_done(command);
    assert_eq!(cloud.expect_sealed(SET_ACK, 20), (id.clone(), done(json!({"n": 5}))));
    cloud.say_as(SET, &id, 20, set_n(json!(5)));
    assert_eq!(cloud.expect_sealed(SET_ACK, 20), (id, done(json!({"n": 5}))));
}

#[test]
fn what_cannot_be_decrypted_has_failed_and_is_acknowledged_in_clear() {
    for scope in ["app_data", "all"] {
        let mut cloud = Cloud::connected(setup(json!({"encrypted": true, "encrypt_scope": scope})));
        cloud.host.take_outputs();
        let no_json = cloud.seal("{\"params\"");
        let no_object = cloud.seal("7");
        let no_utf8 = cloud.seal([0xFF, 0xFE]);
        let bad = ["0", "zz", "0011", "00000000000000000000000000000000"].map(|payload| json!(payload));
        for payload in bad.into_iter().chain([no_json, no_object, no_utf8]) {
            for (topic, header_ctrl, ack) in [(SET, 20, SET_ACK), (SERVICE, 21, SERVICE_ACK)] {
                let id = cloud.say(topic, header_ctrl, payload.clone());
                assert_eq!(cloud.expect_frame(ack, header_ctrl), (id, failed()), "{payload}");
            }
            cloud.say(ASK, 23, payload);
        }
        cloud.host.expect_silence();
        cloud.host.advance(1_000);
        cloud.assert_fact("input_dropped", "21");
    }
}

#[test]
fn a_command_that_could_not_be_decrypted_may_come_again() {
    let mut cloud = online_encrypted(json!({}));
    let id = cloud.say(SET, 20, json!("00"));
    cloud.expect(SET_ACK, 20);
    let sealed = cloud.seal(set_n(json!(5)).to_string());
    cloud.say_as(SET, &id, 20, sealed);
    cloud.host.expect_set();
}
