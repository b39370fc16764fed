//! Commands for subdevices, by the cloud (111) and by apps (103, 104), each under the right key.

use polylink_plugin_sdk::OutcomeResult;
use polylink_plugin_sdk::services::subdevices::Subdevice;
use serde_json::{Value, json};

use super::talk::{
    accesskey_of, command, expect_answer, expect_upload, feedid_of, joined, localkey_of, report, unbind, with_bound,
};
use crate::packet::Kind;
use crate::scenarios::life::feedid;
use crate::scenarios::stage::{App, Stage, control, streams_in};
use crate::wire::SubScript;

/// An app asks for JSON (103); the answer.
#[track_caller]
fn json_of(stage: &mut Stage, app: &mut App, name: &str, command: Value, during: impl FnOnce(&mut Stage)) -> Value {
    let mut request = command;
    request["feedid"] = json!(name);
    app.send(stage, Kind::SubJson, request.to_string().as_bytes());
    during(stage);
    serde_json::from_slice(&app.expect(stage, Kind::SubJson)).expect("JSON")
}

/// An app commands in bytes (104); the answer, under the key of the subdevice.
#[track_caller]
fn bytes_of(
    stage: &mut Stage,
    app: &mut App,
    mac: &str,
    biz: u32,
    content: &[u8],
    during: impl FnOnce(&mut Stage),
) -> (u32, Value) {
    let request = SubScript::seal(biz, 31, feedid(&feedid_of(mac)), &localkey_of(mac).cipher_key(), content);
    app.send(stage, Kind::SubScript, &request.encode());
    during(stage);
    let answer = SubScript::decode(&app.expect(stage, Kind::SubScript)).expect("an answer");
    assert_eq!((answer.serial, answer.feedid.as_str()), (31, feedid_of(mac).as_str()));
    let content = answer.open(&localkey_of(mac).cipher_key()).expect("under its key");
    (answer.biz_code, serde_json::from_slice(&content).expect("JSON"))
}

/// The subdevice with index 2 obeys.
#[track_caller]
fn obeys(stage: &mut Stage) {
    let (id, command) = stage.host.expect_submit();
    assert_eq!(command.device, 2);
    stage.host.command_done(id);
}

#[track_caller]
fn ends(result: OutcomeResult) -> impl FnOnce(&mut Stage) {
    move |stage| {
        let (id, _) = stage.host.expect_submit();
        stage.host.command_ended(id, result);
    }
}

fn control_of(value: i64) -> Value {
    json!({"cmd": 5, "data": serde_json::from_slice::<Value>(&control(json!({"n": value}))).expect("JSON")})
}

#[test]
fn the_cloud_controls_a_subdevice_and_asks_what_it_looks_like() {
    let (mut stage, _) = with_bound(&["a1", "b2"]);
    command(&mut stage, "b2", 1002, &control(json!({"n": 5})));
    obeys(&mut stage);
    let (biz, answer) = expect_answer(&mut stage, "b2");
    assert_eq!((biz, &answer["code"], streams_in(&answer["streams"])), (102, &json!(0), json!({"n": 5})));
    assert_eq!(expect_upload(&mut stage, "b2"), json!({"n": 5}), "it is known for the first time");
    command(&mut stage, "b2", 1004, b"");
    obeys(&mut stage);
    let (biz, answer) = expect_answer(&mut stage, "b2");
    assert_eq!((biz, streams_in(&answer["streams"])), (104, json!({"n": 5})));
    stage.host.expect_silence();
}

#[test]
fn an_app_controls_a_subdevice_in_json_and_in_bytes() {
    let (mut stage, mut app) = with_bound(&["a1", "b2"]);
    let answer = json_of(&mut stage, &mut app, &feedid_of("b2"), control_of(6), obeys);
    assert_eq!((&answer["code"], &answer["feedid"]), (&json!(0), &json!(feedid_of("b2"))));
    assert_eq!(streams_in(&answer["data"]), json!({"n": 6}));
    let answer = json_of(&mut stage, &mut app, "B2", json!({"cmd": 4, "data": {}}), obeys);
    assert_eq!(streams_in(&answer["data"]), json!({"n": 6}), "its address will do");
    let (biz, answer) = bytes_of(&mut stage, &mut app, "b2", 1002, &control(json!({"n": 7})), obeys);
    assert_eq!((biz, streams_in(&answer["streams"])), (102, json!({"n": 7})));
    let (biz, answer) = bytes_of(&mut stage, &mut app, "b2", 1004, b"", obeys);
    assert_eq!((biz, streams_in(&answer["streams"])), (104, json!({"n": 7})));
}

/// Everybody who asks gets this code.
#[track_caller]
fn check_code(stage: &mut Stage, app: &mut App, code: i64, end: Option<OutcomeResult>) {
    let during = |stage: &mut Stage| {
        if let Some(end) = &end {
            ends(end.clone())(stage);
        }
    };
    command(stage, "b2", 1002, &control(json!({"n": 5})));
    during(stage);
    assert_eq!(expect_answer(stage, "b2").1["code"], code);
    let answer = json_of(stage, app, &feedid_of("b2"), control_of(6), during);
    assert_eq!((&answer["code"], &answer["feedid"]), (&json!(code), &json!(feedid_of("b2"))));
    let (biz, answer) = bytes_of(stage, app, "b2", 1004, b"", during);
    assert_eq!((biz, &answer["code"]), (104, &json!(code)));
    stage.host.expect_silence();
}

#[test]
fn a_subdevice_that_is_away_or_silent_or_refuses_has_a_code_of_its_own() {
    let (mut stage, mut app) = with_bound(&["a1", "b2"]);
    check_code(&mut stage, &mut app, 21, Some(OutcomeResult::TimedOut));
    check_code(&mut stage, &mut app, 20, Some(OutcomeResult::Unreachable));
    check_code(&mut stage, &mut app, 2, Some(OutcomeResult::Refused("busy".to_owned())));
    stage.host.subdevices_changed(vec![joined(1, "a1"), Subdevice { online: false, ..joined(2, "b2") }]);
    check_code(&mut stage, &mut app, 20, None);
    stage.host.subdevices_changed(vec![joined(1, "a1")]);
    check_code(&mut stage, &mut app, 20, None);
}

#[test]
fn a_subdevice_that_nobody_knows_has_no_key() {
    let (mut stage, mut app) = with_bound(&["a1"]);
    command(&mut stage, "b2", 1002, &control(json!({"n": 5})));
    let answer = SubScript::decode(&stage.expect(Kind::SubCommand)).expect("an answer");
    let said: Value = serde_json::from_slice(&answer.sealed).expect("JSON");
    assert_eq!((answer.biz_code, answer.serial, &said["code"]), (102, 77, &json!(19)));
    let answer = json_of(&mut stage, &mut app, "nobody", control_of(6), |_| {});
    assert_eq!((&answer["code"], &answer["feedid"]), (&json!(19), &json!("nobody")));
}

#[test]
fn commands_under_a_wrong_key_are_dropped() {
    let (mut stage, mut app) = with_bound(&["a1", "b2"]);
    for key in [accesskey_of("a1"), localkey_of("b2")] {
        let request = SubScript::seal(1002, 77, feedid(&feedid_of("b2")), &key.cipher_key(), &control(json!({"n": 5})));
        stage.send(Kind::SubCommand, &request.encode());
    }
    let key = accesskey_of("b2").cipher_key();
    let request = SubScript::seal(1002, 31, feedid(&feedid_of("b2")), &key, &control(json!({"n": 5})));
    app.send(&mut stage, Kind::SubScript, &request.encode());
    stage.host.expect_silence();
    stage.assert_count("input_dropped", 3);
}

#[test]
fn reports_of_subdevices_go_up_under_their_keys_and_those_of_strangers_are_settled_and_counted() {
    let (mut stage, _) = with_bound(&["a1", "b2"]);
    let seq = report(&mut stage, 2, 8);
    assert_eq!(expect_upload(&mut stage, "b2"), json!({"n": 8}));
    assert_eq!(stage.host.expect_settle(), [seq]);
    stage.host.expect_silence();
    let seq = report(&mut stage, 2, 9);
    assert_eq!(expect_upload(&mut stage, "b2"), json!({"n": 9}));
    assert_eq!(stage.host.expect_settle(), [seq]);
    let result = stage.expect_result();
    assert_eq!((result.feedid.as_str(), result.controltype), (feedid_of("b2").as_str(), 1));
    let seq = report(&mut stage, 9, 1);
    assert_eq!(stage.host.expect_settle(), [seq]);
    stage.host.expect_silence();
    stage.assert_count("reports_without_owner", 1);
}

#[test]
fn a_command_under_way_when_its_subdevice_is_unbound_is_answered_without_what_it_looks_like() {
    let (mut stage, _) = with_bound(&["a1"]);
    report(&mut stage, 1, 9);
    stage.settle_down();
    command(&mut stage, "a1", 1002, &control(json!({"n": 5})));
    let (id, _) = stage.host.expect_submit();
    unbind(&mut stage, &["a1"]);
    stage.host.command_ended(id, OutcomeResult::Done);
    for output in stage.host.take_outputs() {
        assert!(!format!("{output:?}").contains("streams"), "{output:?}");
    }
}
