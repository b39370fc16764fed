//! Recipes (11): step by step, with progress (16) after each.

use polylink_plugin_sdk::services::module;
use polylink_plugin_sdk::services::script::Value as Argument;
use polylink_plugin_sdk::{OutcomeResult, RequestId};
use serde_json::{Value, json};

use crate::packet::Kind;
use crate::scenarios::stage::{Stage, bound, jds2pri, n, pri2jds, scripted};
use crate::wire::{Code, RecipeReport, SerialAnswer};

/// A recipe that sets `n` to these, told in another order than it is to be done in.
fn recipe(values: &[i64]) -> String {
    let step = |(index, value): (usize, &i64)| json!({"id": 100 + index, "index": index, "streams": [{"stream_id": "n", "current_value": value}]});
    let mut steps: Vec<Value> = values.iter().enumerate().map(step).collect();
    steps.reverse();
    json!({"at": 1_704_067_200_000_i64, "code": 1050, "feed_id": 7, "task_id": 55, "subTask": steps}).to_string()
}

/// The MCU gets this step.
#[track_caller]
fn expect_step(stage: &mut Stage, value: i64) -> RequestId {
    let (id, values) = stage.host.expect_set();
    assert_eq!(values, [n(value)]);
    id
}

/// The next packet is the progress of the recipe; the results of its steps. It is answered.
#[track_caller]
fn expect_progress(stage: &mut Stage) -> Vec<String> {
    let RecipeReport { serial, report } = RecipeReport::decode(&stage.expect(Kind::RecipeProgress)).expect("a report");
    stage.send(Kind::RecipeProgress, &SerialAnswer { serial, code: Code::SUCCESS }.encode());
    results(&report)
}

#[track_caller]
fn results(report: &[u8]) -> Vec<String> {
    let report: Value = serde_json::from_slice(report).expect("JSON");
    assert_eq!(report["task_id"], "55");
    let result = |(at, step): (usize, &Value)| {
        assert_eq!((&step["id"], &step["index"]), (&json!((100 + at).to_string()), &json!(at.to_string())));
        let was_run = step["result"] != "-1";
        assert_eq!(step["startTime"].as_str().unwrap().starts_with("2024-01-01 08:0"), was_run, "{step}");
        step["result"].as_str().expect("a text").to_owned()
    };
    report["subTask"].as_array().expect("steps").iter().enumerate().map(result).collect()
}

#[track_caller]
fn code(answer: (u32, Vec<u8>)) -> Value {
    assert_eq!(answer.0, 150);
    serde_json::from_slice::<Value>(&answer.1).expect("JSON")["code"].clone()
}

#[test]
fn a_recipe_is_answered_at_once_and_then_done_step_by_step() {
    let mut stage = Stage::working(bound(json!({})));
    let serial = stage.command(1050, recipe(&[11, 12, 13]));
    assert_eq!(code(stage.expect_answer(serial)), 0);
    for (value, progress) in [(11, ["0", "-1", "-1"]), (12, ["0", "0", "-1"]), (13, ["0", "0", "0"])] {
        let id = expect_step(&mut stage, value);
        stage.host.expect_silence();
        stage.host.advance(400);
        stage.host.command_done(id);
        assert_eq!(expect_progress(&mut stage), progress);
    }
    stage.host.expect_silence();
}

#[test]
fn a_step_that_fails_ends_the_recipe() {
    let mut stage = Stage::working(bound(json!({})));
    let serial = stage.command(1050, recipe(&[11, 12, 13]));
    stage.expect_answer(serial);
    let id = expect_step(&mut stage, 11);
    stage.host.command_done(id);
    expect_progress(&mut stage);
    let id = expect_step(&mut stage, 12);
    stage.host.command_ended(id, OutcomeResult::TimedOut);
    assert_eq!(expect_progress(&mut stage), ["0", "1", "-1"]);
    stage.host.expect_silence();
    let serial = stage.command(1050, recipe(&[14]));
    assert_eq!(code(stage.expect_answer(serial)), 0, "and there is room for the next");
    expect_step(&mut stage, 14);
}

#[test]
fn a_step_that_makes_no_sense_fails_without_the_mcu() {
    let mut stage = Stage::working(bound(json!({})));
    let serial = stage.command(1050, recipe(&[11]).replace("\"n\"", "\"nothing\""));
    assert_eq!(code(stage.expect_answer(serial)), 0);
    assert_eq!(expect_progress(&mut stage), ["1"]);
    stage.host.expect_silence();
}

#[test]
fn a_second_recipe_meanwhile_and_one_without_steps_are_refused() {
    let mut stage = Stage::working(bound(json!({})));
    let serial = stage.command(1050, recipe(&[11, 12]));
    stage.expect_answer(serial);
    let id = expect_step(&mut stage, 11);
    let serial = stage.command(1050, recipe(&[21]));
    assert_eq!(code(stage.expect_answer(serial)), 17);
    stage.host.expect_silence();
    stage.host.command_done(id);
    assert_eq!(expect_progress(&mut stage), ["0", "-1"]);
    let id = expect_step(&mut stage, 12);
    stage.host.command_done(id);
    expect_progress(&mut stage);
    for wrong in [recipe(&[]), "nonsense".to_owned()] {
        let serial = stage.command(1050, wrong);
        assert_eq!(code(stage.expect_answer(serial)), 8);
    }
    stage.host.expect_silence();
}

#[test]
fn a_recipe_in_the_products_bytes_is_read_and_answered_through_its_script() {
    let mut stage = Stage::working(scripted(json!({})));
    let serial = stage.command(1050, b"\x01\x02");
    let call = stage.host.expect_script_call();
    assert_eq!((call.function.as_str(), &call.args[0]), ("pri2jds", &Argument::Int(1050)));
    stage.host.script_returned(call.id, pri2jds(recipe(&[11]), 1050));
    let id = expect_step(&mut stage, 11);
    let call = stage.host.expect_script_call();
    assert_eq!((call.function.as_str(), &call.args[0]), ("jds2pri", &Argument::Int(150)));
    stage.host.script_returned(call.id, jds2pri(b"taken"));
    assert_eq!(stage.expect_answer(serial), (150, b"taken".to_vec()));
    stage.host.command_done(id);
    assert_eq!(expect_progress(&mut stage), ["0"]);
}

#[test]
fn an_answer_to_a_recipe_that_the_script_cannot_put_into_bytes_has_a_code() {
    let mut stage = Stage::working(scripted(json!({})));
    let serial = stage.command(1050, b"\x01\x02");
    let call = stage.host.expect_script_call();
    stage.host.script_returned(call.id, pri2jds(recipe(&[11]), 1050));
    let call = stage.host.expect_script_call();
    stage.host.script_returned(call.id, [Argument::Int(-1)]);
    assert_eq!(code(stage.expect_answer(serial)), 14);
}

#[test]
fn a_recipe_goes_on_without_a_connection_and_its_progress_is_told_later() {
    let mut stage = Stage::working(bound(json!({})));
    let serial = stage.command(1050, recipe(&[11, 12]));
    stage.expect_answer(serial);
    let id = expect_step(&mut stage, 11);
    stage.cut();
    stage.host.command_done(id);
    let id = expect_step(&mut stage, 12);
    stage.host.command_done(id);
    stage.reconnect();
    stage.expect_upload();
    assert_eq!(expect_progress(&mut stage), ["0", "-1"]);
    assert_eq!(expect_progress(&mut stage), ["0", "0"]);
}

#[test]
fn a_reset_ends_a_recipe_and_its_last_step_is_not_taken_for_one_of_the_next() {
    let mut stage = Stage::working(bound(json!({
        "feedid": crate::scenarios::stage::FEEDID,
        "accesskey": crate::scenarios::stage::ACCESSKEY,
        "localkey": crate::scenarios::stage::LOCALKEY,
        "joylink_servers": [crate::scenarios::stage::SERVER],
    })));
    let serial = stage.command(1050, recipe(&[11, 12]));
    stage.expect_answer(serial);
    let before = expect_step(&mut stage, 11);
    // The bond from the factory counts then, which is the same one.
    stage.host.module_event(module::Event::Reset);
    stage.host.expect_tcp_close();
    stage.come_in();
    stage.expect_upload();
    stage.accept_upload();
    let serial = stage.command(1050, recipe(&[21]));
    assert_eq!(code(stage.expect_answer(serial)), 0);
    let id = expect_step(&mut stage, 21);
    stage.host.command_ended(before, OutcomeResult::TimedOut);
    stage.host.expect_silence();
    stage.host.command_done(id);
    assert_eq!(expect_progress(&mut stage), ["0"]);
}
