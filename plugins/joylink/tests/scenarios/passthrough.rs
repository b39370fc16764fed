//! Commands for a product whose MCU speaks the product's own bytes: they pass as they are, and so do its answers.

use polylink_plugin_sdk::{Cause, Command, CommandBody, Input, Outcome, OutcomeResult, ReportBody, RequestId};
use serde_json::{Value, json};

use crate::packet::Kind;
use crate::scenarios::stage::{App, Stage, raw};
use crate::wire::biz;

fn working() -> Stage {
    Stage::working(raw(json!({"panel_results": false})))
}

/// The MCU is to be told these bytes; the command.
#[track_caller]
fn expect_bytes(stage: &mut Stage, bytes: &[u8]) -> RequestId {
    let (id, command) = stage.host.expect_submit();
    assert_eq!(command, Command { deadline_ms: 500, ..Command::new(CommandBody::Raw(bytes.to_vec())) });
    id
}

/// The MCU says this because of a command; the report's number.
#[track_caller]
fn say_because(stage: &mut Stage, id: RequestId, bytes: &[u8]) -> u64 {
    stage.host.report_body(Cause::Change, Some(id), ReportBody::Raw(bytes.to_vec()))
}

#[test]
fn an_answer_before_the_outcome_waits_for_it() {
    let mut stage = working();
    let serial = stage.command(biz::CONTROL, b"\x01go");
    let id = expect_bytes(&mut stage, b"\x01go");
    say_because(&mut stage, id, b"went");
    assert_eq!(stage.expect_upload(), b"went");
    stage.host.expect_silence();
    stage.host.command_done(id);
    assert_eq!(stage.expect_answer(serial), (102, b"went".to_vec()));
    stage.host.expect_silence();
}

#[test]
fn an_answer_after_the_outcome_is_waited_for() {
    let mut stage = working();
    let serial = stage.command(biz::CONTROL, b"go");
    let id = expect_bytes(&mut stage, b"go");
    stage.host.command_done(id);
    stage.host.expect_silence();
    stage.host.advance(499);
    stage.host.expect_silence();
    let seq = stage.host.report_body(Cause::Answer, Some(id), ReportBody::Raw(b"went".to_vec()));
    assert_eq!(stage.expect_answer(serial), (102, b"went".to_vec()));
    assert_eq!(stage.host.expect_settle(), [seq]);
    stage.host.expect_silence();
}

#[test]
fn an_answer_that_comes_with_the_outcome_counts() {
    let mut stage = working();
    let serial = stage.command(biz::CONTROL, b"go");
    let id = expect_bytes(&mut stage, b"go");
    let document = Some(b"went".to_vec());
    stage.host.deliver(Input::Outcome(id, Outcome { result: OutcomeResult::Done, values: Vec::new(), document }));
    assert_eq!(stage.expect_answer(serial), (102, b"went".to_vec()));
}

#[test]
fn an_mcu_that_obeys_without_a_word_has_said_what_it_said_last() {
    let mut stage = working();
    let serial = stage.command(biz::CONTROL, b"go");
    let id = expect_bytes(&mut stage, b"go");
    stage.host.command_done(id);
    stage.host.advance(500);
    assert_eq!(stage.expect_answer(serial), (102, b"raw".to_vec()));
    say_because(&mut stage, id, b"late");
    assert_eq!(stage.expect_upload(), b"late");
    stage.host.expect_silence();
}

#[test]
fn an_mcu_that_never_said_anything_has_just_obeyed() {
    let mut stage = Stage::connected(raw(json!({})));
    let serial = stage.command(biz::CONTROL, b"go");
    let id = expect_bytes(&mut stage, b"go");
    stage.host.command_done(id);
    stage.host.advance(500);
    let (_, content) = stage.expect_answer(serial);
    assert_eq!(serde_json::from_slice::<Value>(&content).unwrap()["code"], 0);
}

#[test]
fn what_the_mcu_did_not_take_is_told_as_a_code() {
    for (result, code) in [
        (OutcomeResult::Refused(String::new()), 2),
        (OutcomeResult::TimedOut, 10),
        (OutcomeResult::Unreachable, 11),
        (OutcomeResult::Superseded, 2),
    ] {
        let mut stage = working();
        let serial = stage.command(biz::CONTROL, b"go");
        let id = expect_bytes(&mut stage, b"go");
        stage.host.command_ended(id, result);
        let (_, content) = stage.expect_answer(serial);
        assert_eq!(serde_json::from_slice::<Value>(&content).unwrap()["code"], code);
        stage.host.expect_silence();
    }
}

#[test]
fn an_app_speaks_the_same_bytes() {
    let mut stage = working();
    let mut app = App::new();
    let serial = app.command(&mut stage, biz::CONTROL, b"go");
    let id = expect_bytes(&mut stage, b"go");
    stage.host.command_done(id);
    say_because(&mut stage, id, b"went");
    assert_eq!(app.expect_answer(&mut stage, serial), (102, b"went".to_vec()));
}

#[test]
fn json_of_an_app_is_not_supported() {
    let mut stage = working();
    let mut app = App::new();
    app.control(&mut stage, json!({"n": 5}));
    assert_eq!(app.expect_json(&mut stage)["code"], -4);
    app.ask(&mut stage);
    assert_eq!(app.expect_json(&mut stage)["code"], -4);
    stage.host.expect_silence();
}

#[test]
fn a_snapshot_without_bytes_is_what_the_mcu_said_last() {
    let mut stage = working();
    let serial = stage.command(biz::SNAPSHOT, b"");
    assert_eq!(stage.expect_answer(serial), (104, b"raw".to_vec()));
    let serial = stage.command(biz::SNAPSHOT, b"all?");
    let id = expect_bytes(&mut stage, b"all?");
    stage.host.command_done(id);
    say_because(&mut stage, id, b"all!");
    assert_eq!(stage.expect_answer(serial), (104, b"all!".to_vec()));

    let mut silent = Stage::connected(raw(json!({})));
    let serial = silent.command(biz::SNAPSHOT, b"");
    let (_, content) = silent.expect_answer(serial);
    assert_eq!(serde_json::from_slice::<Value>(&content).unwrap()["code"], 10);
}

#[test]
fn a_recipe_is_the_mcu_s() {
    let mut stage = working();
    let serial = stage.command(biz::RECIPE, b"cake");
    let id = expect_bytes(&mut stage, b"cake");
    stage.host.command_done(id);
    say_because(&mut stage, id, b"mmh");
    assert_eq!(stage.expect_answer(serial), (150, b"mmh".to_vec()));
}

#[test]
fn several_commands_at_once_have_each_its_own_answer() {
    let mut stage = working();
    let serials = [stage.command(biz::CONTROL, b"a"), stage.command(biz::CONTROL, b"b")];
    let ids = [expect_bytes(&mut stage, b"a"), expect_bytes(&mut stage, b"b")];
    stage.host.command_done(ids[0]);
    stage.host.command_done(ids[1]);
    say_because(&mut stage, ids[1], b"B");
    assert_eq!(stage.expect_answer(serials[1]).1, b"B");
    say_because(&mut stage, ids[0], b"A");
    assert_eq!(stage.expect_upload(), b"B");
    assert_eq!(stage.expect_answer(serials[0]).1, b"A");
    assert_eq!(stage.take_kinds(), [Kind::Upload]);
}
