//! Commands for a product whose script makes standard JSON of its bytes, and bytes of JSON.

use polylink_plugin_sdk::services::Reason;
use polylink_plugin_sdk::services::script::Value;
use polylink_plugin_sdk::{CommandBody, OutcomeResult};
use serde_json::json;

use crate::scenarios::stage::{App, Stage, control, jds2pri, n, pri2jds, scripted, streams};
use crate::wire::biz;

fn working() -> Stage {
    Stage::working(scripted(json!({"panel_results": false})))
}

/// The script is to make JSON of these bytes; the call.
#[track_caller]
fn expect_decoding(stage: &mut Stage, biz: u32, bytes: &[u8]) -> polylink_plugin_sdk::RequestId {
    let call = stage.host.expect_script_call();
    let length = i64::try_from(bytes.len()).unwrap();
    assert_eq!(call.function, "pri2jds");
    assert_eq!(call.args, [Value::Int(i64::from(biz)), Value::Int(length), Value::Bytes(bytes.to_vec())]);
    call.id
}

/// The script is to make bytes of JSON; the call, and the JSON.
#[track_caller]
fn expect_encoding(stage: &mut Stage, biz: u32) -> (polylink_plugin_sdk::RequestId, Vec<u8>) {
    let call = stage.host.expect_script_call();
    let [Value::Int(told), Value::Bytes(json)] = &call.args[..] else { panic!("{call:?}") };
    assert_eq!((call.function.as_str(), *told), ("jds2pri", i64::from(biz)));
    (call.id, json.clone())
}

#[test]
fn the_script_reads_a_command_and_writes_its_answer() {
    let mut stage = working();
    let serial = stage.command(biz::CONTROL, b"\x01\x00five");
    let call = expect_decoding(&mut stage, 1002, b"\x01\x00five");
    stage.host.expect_silence();
    stage.host.script_returned(call, pri2jds(control(json!({"n": 5})), 1002));
    let (id, values) = stage.host.expect_set();
    assert_eq!(values, [n(5)]);
    stage.host.command_done(id);
    let (call, json) = expect_encoding(&mut stage, 102);
    assert_eq!(streams(&json), json!({"n": 5, "heat": 20}));
    stage.host.expect_silence();
    stage.host.script_returned(call, jds2pri(b"\x00ok"));
    assert_eq!(stage.expect_answer(serial), (102, b"\x00ok".to_vec()));
    stage.host.expect_silence();
}

#[test]
fn an_app_s_bytes_are_read_by_the_script_and_its_json_is_not() {
    let mut stage = working();
    let mut app = App::new();
    let serial = app.command(&mut stage, biz::CONTROL, b"five");
    let call = expect_decoding(&mut stage, 1002, b"five");
    stage.host.script_returned(call, pri2jds(control(json!({"n": 5})), 1002));
    let (id, _) = stage.host.expect_set();
    stage.host.command_done(id);
    let (call, _) = expect_encoding(&mut stage, 102);
    stage.host.script_returned(call, jds2pri(b"ok"));
    assert_eq!(app.expect_answer(&mut stage, serial), (102, b"ok".to_vec()));
    stage.convert_upload(b"five");
    stage.expect_upload();
    stage.accept_upload();

    app.control(&mut stage, json!({"n": 6}));
    let (id, _) = stage.host.expect_set();
    stage.host.command_done(id);
    assert_eq!(app.expect_json(&mut stage)["code"], 0);
    stage.convert_upload(b"six");
    stage.expect_upload();
    stage.host.expect_silence();
}

#[test]
fn a_snapshot_is_asked_without_the_script_and_answered_with_it() {
    let mut stage = working();
    let serial = stage.command(biz::SNAPSHOT, b"");
    let (id, command) = stage.host.expect_submit();
    assert_eq!(command.body, CommandBody::Get(Vec::new()));
    stage.host.command_done(id);
    let (call, json) = expect_encoding(&mut stage, 104);
    assert_eq!(streams(&json), json!({"n": 1, "heat": 20}));
    stage.host.script_returned(call, jds2pri(b"all"));
    assert_eq!(stage.expect_answer(serial), (104, b"all".to_vec()));
}

#[test]
fn only_so_many_of_the_bytes_count_as_the_script_says() {
    let mut stage = working();
    let serial = stage.command(biz::SNAPSHOT, b"");
    let (id, _) = stage.host.expect_submit();
    stage.host.command_done(id);
    let (call, _) = expect_encoding(&mut stage, 104);
    stage.host.script_returned(call, [Value::Int(0), Value::Int(2), Value::Bytes(b"all".to_vec())]);
    assert_eq!(stage.expect_answer(serial), (104, b"al".to_vec()));
}

/// The answer to a command that did not get as far as to bytes of the script's.
#[track_caller]
fn check_code(stage: &mut Stage, serial: u32, code: i64) {
    let (_, content) = stage.expect_answer(serial);
    let answer: serde_json::Value = serde_json::from_slice(&content).unwrap();
    assert_eq!(answer["code"], code);
    stage.host.expect_silence();
}

#[test]
fn a_command_that_the_script_cannot_read_is_refused() {
    let mut stage = working();
    let returns: [Vec<Value>; 7] = [
        vec![],
        vec![Value::Int(-1), Value::Bytes(vec![]), Value::Int(1002)],
        vec![Value::Int(0)],
        vec![Value::Int(0), Value::Int(7)],
        vec![Value::Bytes(vec![])],
        vec![Value::Nil, Value::Nil, Value::Nil],
        vec![Value::Bool(true), Value::Bytes(control(json!({"n": 5})))],
    ];
    for values in returns {
        let serial = stage.command(biz::CONTROL, b"x");
        let call = expect_decoding(&mut stage, 1002, b"x");
        stage.host.script_returned(call, values);
        check_code(&mut stage, serial, 14);
    }
    let serial = stage.command(biz::CONTROL, b"x");
    let call = expect_decoding(&mut stage, 1002, b"x");
    stage.host.script_failed(call, Reason::Other);
    check_code(&mut stage, serial, 14);
    stage.assert_count("conversions_failed", 8);
    assert_eq!(stage.host.logs().iter().filter(|(_, line)| line.contains("cannot convert")).count(), 1);
}

#[test]
fn what_the_script_makes_of_a_command_is_judged_as_if_it_had_come() {
    let mut stage = working();
    for json in [control(json!({"unknown": 1})), b"{}".to_vec(), b"\xFF".to_vec(), vec![]] {
        let serial = stage.command(biz::CONTROL, b"x");
        let call = expect_decoding(&mut stage, 1002, b"x");
        stage.host.script_returned(call, pri2jds(json, 1002));
        check_code(&mut stage, serial, 4);
    }
}

#[test]
fn an_answer_that_the_script_cannot_write_is_told_as_a_code() {
    let mut stage = working();
    let returns: [Vec<Value>; 5] = [
        vec![],
        vec![Value::Int(-1), Value::Int(0), Value::Bytes(vec![])],
        vec![Value::Int(0), Value::Int(4), Value::Bytes(b"abc".to_vec())],
        vec![Value::Int(0), Value::Int(-1), Value::Bytes(b"abc".to_vec())],
        vec![Value::Int(0), Value::Bytes(b"abc".to_vec()), Value::Int(3)],
    ];
    for values in returns {
        let serial = stage.command(biz::SNAPSHOT, b"");
        let (id, _) = stage.host.expect_submit();
        stage.host.command_done(id);
        let (call, _) = expect_encoding(&mut stage, 104);
        stage.host.script_returned(call, values);
        check_code(&mut stage, serial, 14);
    }
}

#[test]
fn a_command_that_the_mcu_refuses_needs_no_script_for_its_answer() {
    let mut stage = working();
    let serial = stage.command(biz::CONTROL, b"x");
    let call = expect_decoding(&mut stage, 1002, b"x");
    stage.host.script_returned(call, pri2jds(control(json!({"n": 5})), 1002));
    let (id, _) = stage.host.expect_set();
    stage.host.command_ended(id, OutcomeResult::TimedOut);
    check_code(&mut stage, serial, 10);
}

#[test]
fn a_recipe_is_read_and_answered_by_the_script() {
    let mut stage = working();
    let serial = stage.command(biz::RECIPE, b"cake");
    let call = expect_decoding(&mut stage, 1050, b"cake");
    let steps = json!([{"id": 1, "index": 1, "streams": [{"stream_id": "n", "current_value": 5}]}]);
    let recipe = json!({"at": 1, "code": 1050, "feed_id": 1, "task_id": 9, "subTask": steps});
    stage.host.script_returned(call, pri2jds(recipe.to_string(), 1050));
    assert_eq!(stage.host.expect_set().1, [n(5)]);
    let (call, json) = expect_encoding(&mut stage, 150);
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&json).unwrap()["code"], 0);
    stage.host.script_returned(call, jds2pri(b"yes"));
    assert_eq!(stage.expect_answer(serial), (150, b"yes".to_vec()));
}

#[test]
fn a_script_that_is_gone_is_loaded_again_and_what_waited_goes_on() {
    let mut stage = working();
    let serial = stage.command(biz::CONTROL, b"x");
    let call = expect_decoding(&mut stage, 1002, b"x");
    stage.host.script_failed(call, Reason::UnknownHandle);
    assert_eq!(stage.fact("script"), Some("loading"));
    assert!(stage.logged("is gone and is loaded again"));
    let seq = stage.host.report([n(2)]);
    stage.host.expect_silence();
    stage.host.advance(60_000);
    let (script, ..) = stage.host.expect_script_load();
    stage.host.script_loaded(script);
    assert_eq!(stage.fact("script"), Some("ready"));
    let call = expect_decoding(&mut stage, 1002, b"x");
    stage.host.script_returned(call, pri2jds(control(json!({"n": 5})), 1002));
    stage.host.expect_set();
    stage.convert_upload(b"two");
    stage.host.take_outputs();
    stage.accept_upload();
    assert_eq!(stage.host.expect_settle(), [seq]);
    let _ = serial;
}

#[test]
fn a_call_that_takes_too_long_fails_like_any_other() {
    let mut stage = working();
    let serial = stage.command(biz::CONTROL, b"x");
    let call = expect_decoding(&mut stage, 1002, b"x");
    stage.host.script_failed(call, Reason::Timeout);
    check_code(&mut stage, serial, 14);
    assert_eq!(stage.fact("script"), Some("ready"));
    stage.command(biz::CONTROL, b"y");
    expect_decoding(&mut stage, 1002, b"y");
}

#[test]
fn commands_that_the_script_has_not_read_count_as_open() {
    let mut stage = working();
    for _ in 0..64 {
        stage.command(biz::CONTROL, b"x");
    }
    stage.host.take_outputs();
    let serial = stage.command(biz::CONTROL, b"x");
    check_code(&mut stage, serial, 17);
}

#[test]
fn no_command_is_read_by_a_script_for_an_owner_who_is_gone() {
    let mut stage = working();
    stage.command(biz::CONTROL, b"x");
    let call = expect_decoding(&mut stage, 1002, b"x");
    stage.host.module_event(polylink_plugin_sdk::services::module::Event::Reset);
    stage.host.take_outputs();
    stage.host.script_returned(call, pri2jds(control(json!({"n": 5})), 1002));
    stage.host.expect_silence();
}
