//! Commands of the cloud and of apps for a product without a script: standard JSON becomes datapoints, and what the device
//! looks like then becomes the answer.

use polylink_plugin_sdk::value::Values;
use polylink_plugin_sdk::{
    Command, CommandBody, DatapointId, Input, Outcome, OutcomeResult, RequestId, Value as Datum,
};
use serde_json::{Value, json};

use crate::packet::Kind;
use crate::scenarios::stage::{App, Stage, bond, bound, control, heat, n, streams, streams_in, switch, unbound};
use crate::wire::recipe::Progress;
use crate::wire::{Code, RecipeReport, SerialAnswer, biz};

fn working() -> Stage {
    Stage::working(bound(json!({"panel_results": false})))
}

fn done(values: Values) -> Outcome {
    Outcome { result: OutcomeResult::Done, values, document: None }
}

/// The code that an answer to the cloud, and one to an app, tell when the MCU ends a command like this.
#[track_caller]
fn check_code(result: OutcomeResult, code: i64) {
    let mut stage = working();
    let serial = stage.command(biz::CONTROL, control(json!({"n": 5})));
    let (id, _) = stage.host.expect_set();
    stage.host.command_ended(id, result.clone());
    let (biz, content) = stage.expect_answer(serial);
    let answer: Value = serde_json::from_slice(&content).unwrap();
    assert_eq!((biz, &answer["code"]), (102, &json!(code)), "{answer}");

    let mut app = App::new();
    app.control(&mut stage, json!({"n": 5}));
    let (id, _) = stage.host.expect_set();
    stage.host.command_ended(id, result);
    let answer = app.expect_json(&mut stage);
    assert_eq!(answer["code"], code, "{answer}");
    assert!(code == 0 || answer["msg"].is_string(), "{answer}");
    if code == 0 {
        stage.expect_upload();
    }
    stage.host.expect_silence();
    stage.assert_count("commands_refused", if code == 0 { 0 } else { 2 });
}

#[test]
fn what_became_of_a_command_is_told_in_the_codes_of_the_document() {
    check_code(OutcomeResult::Done, 0);
    check_code(OutcomeResult::Refused("too hot".to_owned()), 2);
    check_code(OutcomeResult::Superseded, 2);
    check_code(OutcomeResult::TimedOut, 10);
    check_code(OutcomeResult::Unreachable, 11);
}

#[test]
fn a_control_of_the_cloud_is_answered_with_all_values_when_the_mcu_has_obeyed() {
    let mut stage = working();
    let serial = stage.command(biz::CONTROL, control(json!({"n": "5", "switch": 1})));
    let (id, command) = stage.host.expect_submit();
    let wanted = CommandBody::Set(vec![n(5), switch(true)]);
    assert_eq!(command, Command { deadline_ms: 500, ..Command::new(wanted) });
    stage.host.expect_silence();
    stage.host.command_done(id);
    let (biz, content) = stage.expect_answer(serial);
    assert_eq!((biz, streams(&content)), (102, json!({"n": 5, "switch": 1, "heat": 20})));
    stage.host.expect_silence();
}

#[test]
fn what_the_mcu_reported_of_a_command_counts_more_than_what_was_wanted() {
    let mut stage = working();
    let serial = stage.command(biz::CONTROL, control(json!({"n": 99})));
    let (id, _) = stage.host.expect_set();
    // As far as it goes.
    stage.host.report_caused_by(id, [n(50)]);
    assert_eq!(stage.expect_streams()["n"], 50);
    stage.host.command_done(id);
    assert_eq!(streams(&stage.expect_answer(serial).1)["n"], 50);
}

#[test]
fn a_snapshot_is_asked_of_the_mcu() {
    let mut stage = working();
    let serial = stage.command(biz::SNAPSHOT, b"");
    let (id, command) = stage.host.expect_submit();
    assert_eq!(command.body, CommandBody::Get(Vec::new()));
    stage.host.deliver(Input::Outcome(id, done(vec![heat(33)])));
    let (biz, content) = stage.expect_answer(serial);
    assert_eq!((biz, streams(&content)), (104, json!({"n": 1, "heat": 33})));
}

#[test]
fn an_action_runs_with_its_parameters_and_what_it_returned_is_told() {
    let mut stage = working();
    let serial = stage.command(biz::CONTROL, control(json!({"clean": r#"{"d":2}"#})));
    let (id, command) = stage.host.expect_submit();
    let params = vec![(DatapointId(0), Datum::Int(2))];
    assert_eq!(command.body, CommandBody::Invoke { action: DatapointId(0), params });
    stage.host.deliver(Input::Outcome(id, done(vec![(DatapointId(0), Datum::Int(7))])));
    let answer = streams(&stage.expect_answer(serial).1);
    assert_eq!(answer, json!({"n": 1, "heat": 20, "clean": r#"{"f":7}"#}));
    // What an action returned is no property.
    stage.host.report([n(2)]);
    assert_eq!(stage.expect_streams(), json!({"n": 2, "heat": 20}));
}

#[test]
fn an_app_controls_and_asks_by_json() {
    let mut stage = working();
    let mut app = App::new();
    app.control(&mut stage, json!({"n": 5}));
    let (id, values) = stage.host.expect_set();
    assert_eq!(values, [n(5)]);
    stage.host.command_done(id);
    let answer = app.expect_json(&mut stage);
    assert_eq!((&answer["code"], streams_in(&answer["data"])), (&json!(0), json!({"n": 5, "heat": 20})));
    // The cloud hears of it, also if the MCU says no more than that it obeyed.
    assert_eq!(stage.expect_streams(), json!({"n": 5, "heat": 20}));

    app.ask(&mut stage);
    let (id, command) = stage.host.expect_submit();
    assert_eq!(command.body, CommandBody::Get(Vec::new()));
    stage.host.deliver(Input::Outcome(id, done(vec![n(6)])));
    assert_eq!(streams_in(&app.expect_json(&mut stage)["data"]), json!({"n": 6, "heat": 20}));
    stage.host.expect_silence();
    stage.assert_count("app_requests", 2);
}

#[test]
fn an_app_may_also_send_what_the_cloud_sends() {
    let mut stage = working();
    let mut app = App::new();
    let serial = app.command(&mut stage, biz::CONTROL, control(json!({"n": 5})));
    let (id, _) = stage.host.expect_set();
    stage.host.command_done(id);
    let (biz, content) = app.expect_answer(&mut stage, serial);
    assert_eq!((biz, streams(&content)), (102, json!({"n": 5, "heat": 20})));

    let serial = app.command(&mut stage, biz::SNAPSHOT, b"");
    let (id, _) = stage.host.expect_submit();
    stage.host.command_ended(id, OutcomeResult::TimedOut);
    let (biz, content) = app.expect_answer(&mut stage, serial);
    let answer: Value = serde_json::from_slice(&content).unwrap();
    assert_eq!((biz, &answer["code"]), (104, &json!(10)));
}

#[test]
fn apps_are_served_also_without_a_cloud() {
    let mut stage = working();
    stage.cut();
    let mut app = App::new();
    app.control(&mut stage, json!({"n": 5}));
    let (id, _) = stage.host.expect_set();
    stage.host.command_done(id);
    assert_eq!(app.expect_json(&mut stage)["code"], 0);
}

#[test]
fn each_asker_gets_its_own_answer_whatever_the_order() {
    let mut stage = working();
    let (mut one, mut two) = (App::at("192.0.2.7:1111"), App::at("192.0.2.8:2222"));
    one.control(&mut stage, json!({"n": 5}));
    two.ask(&mut stage);
    let serial = stage.command(biz::CONTROL, control(json!({"n": 7})));
    let ids: Vec<RequestId> = (0..3).map(|_| stage.host.expect_submit().0).collect();
    stage.host.command_ended(ids[2], OutcomeResult::TimedOut);
    stage.host.command_ended(ids[1], OutcomeResult::Unreachable);
    stage.host.command_done(ids[0]);
    assert_eq!(two.expect_json(&mut stage)["code"], 11);
    assert_eq!(one.expect_json(&mut stage)["code"], 0);
    assert_eq!(stage.expect_answer(serial).0, 102);
    stage.expect_upload();
    stage.host.expect_silence();
}

/// A control that cannot be passed on is refused with code 4, and the MCU hears nothing of it.
#[track_caller]
fn check_refused(content: impl AsRef<[u8]>) {
    let mut stage = working();
    let serial = stage.command(biz::CONTROL, &content);
    let (_, answer) = stage.expect_answer(serial);
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["code"], 4, "{}", String::from_utf8_lossy(content.as_ref()));
    stage.host.expect_silence();
    stage.assert_count("commands_refused", 1);
}

#[test]
fn a_control_that_cannot_be_passed_on_is_refused() {
    for content in [&b""[..], b"\xFF", b"{}", b"[]", b"null", br#"{"streams":7}"#, br#"{"streams":[7]}"#] {
        check_refused(content);
    }
    for values in [
        json!({}),
        json!({"unknown": 1}),
        json!({"n": 1, "unknown": 1}),
        json!({"n": "many"}),
        json!({"mode": "boil"}),
        json!({"temp": 1.23}),
        json!({"alarm": 1}),
        json!({"clean": "{\"d\":1}", "n": 1}),
        json!({"clean": "{\"x\":1}"}),
        json!({"clean": 7}),
    ] {
        check_refused(control(values));
    }
}

#[test]
fn a_command_whose_code_is_not_known_is_dropped() {
    let mut stage = working();
    for code in [0, 102, 104, 1003, 1060, u32::MAX] {
        stage.command(code, control(json!({"n": 5})));
    }
    stage.host.expect_silence();
    stage.assert_count("input_dropped", 6);

    let mut app = App::new();
    for code in [0, 102, 1060] {
        app.command(&mut stage, code, control(json!({"n": 5})));
    }
    stage.host.expect_silence();
}

#[test]
fn only_so_many_requests_are_open_at_once() {
    let mut stage = working();
    let ids: Vec<RequestId> = (0..64)
        .map(|_| {
            stage.command(biz::CONTROL, control(json!({"n": 5})));
            stage.host.expect_set().0
        })
        .collect();
    let serial = stage.command(biz::CONTROL, control(json!({"n": 6})));
    let (_, answer) = stage.expect_answer(serial);
    assert_eq!(serde_json::from_slice::<Value>(&answer).unwrap()["code"], 17);
    let mut app = App::new();
    app.control(&mut stage, json!({"n": 7}));
    assert_eq!(app.expect_json(&mut stage)["code"], 17);
    app.command(&mut stage, biz::SNAPSHOT, b"");
    stage.host.take_outputs();
    stage.send(Kind::VideoAddress, &video());
    assert_eq!(stage.take_kinds(), [Kind::VideoAnswer]);

    stage.host.command_done(ids[0]);
    stage.host.take_outputs();
    app.control(&mut stage, json!({"n": 8}));
    assert_eq!(stage.host.expect_set().1, [n(8)]);
}

/// Where a video goes.
fn video() -> Vec<u8> {
    let stream = json!({"stream_id": "push_stream", "current_value": "{}"});
    let content = json!({"feed_id": 1, "control": [stream]}).to_string().into_bytes();
    crate::wire::Script { biz_code: biz::CONTROL, serial: 1, content }.encode()
}

#[test]
fn an_answer_that_comes_after_the_connection_broke_goes_to_the_next() {
    let mut stage = working();
    let serial = stage.command(biz::CONTROL, control(json!({"n": 5})));
    let (id, _) = stage.host.expect_set();
    stage.cut();
    stage.reconnect();
    stage.expect_upload();
    stage.host.command_done(id);
    assert_eq!(streams(&stage.expect_answer(serial).1), json!({"n": 5, "heat": 20}));
}

#[test]
fn an_answer_for_which_there_is_no_connection_is_counted() {
    let mut stage = working();
    stage.command(biz::CONTROL, control(json!({"n": 5})));
    let (id, _) = stage.host.expect_set();
    stage.cut();
    stage.host.command_done(id);
    stage.host.expect_silence();
    stage.assert_count("answers_lost", 1);
}

#[test]
fn a_command_of_the_owner_before_is_not_answered_to_the_next_one() {
    let mut stage = Stage::working(bound(json!({"panel_results": false, "rebind": "allow"})));
    stage.command(biz::CONTROL, control(json!({"n": 5})));
    let (id, _) = stage.host.expect_set();
    let mut app = App::new();
    app.discover(&mut stage);
    app.authorize(&mut stage, &bond(json!({"feedid": "2002"})));
    app.expect_code(&mut stage, Kind::Authorization);
    stage.accept();
    stage.host.take_outputs();
    stage.let_in();
    stage.expect_upload();
    stage.host.command_done(id);
    stage.host.expect_silence();
}

#[test]
fn an_app_s_control_may_be_switched_off() {
    let mut with = unbound(json!({}));
    with.stored.insert("bond".to_owned(), bond(json!({"lancon": 0})).to_string().into_bytes());
    let mut stage = Stage::working(with);
    let mut app = App::new();
    app.control(&mut stage, json!({"n": 5}));
    app.command(&mut stage, biz::CONTROL, control(json!({"n": 5})));
    stage.host.expect_silence();
    stage.assert_count("lan_lancon", 2);
    assert_eq!(app.discover(&mut stage)["lancon"], 0);
    // The cloud may.
    stage.command(biz::CONTROL, control(json!({"n": 5})));
    stage.host.expect_set();
}

/// A recipe of two steps, `n` = 5 and `n` = 6.
fn recipe() -> String {
    let step = |index: i64| json!({"id": 10 + index, "index": index, "streams": [{"stream_id": "n", "current_value": 4 + index}]});
    json!({"at": 1, "code": 1050, "feed_id": 1, "task_id": 9, "subTask": [step(1), step(2)]}).to_string()
}

#[test]
fn a_recipe_is_answered_at_once_and_carried_out_step_by_step() {
    let mut stage = working();
    let serial = stage.command(biz::RECIPE, recipe());
    let (biz, content) = stage.expect_answer(serial);
    assert_eq!((biz, serde_json::from_slice::<Value>(&content).unwrap()["code"].clone()), (150, json!(0)));
    for (value, n_over) in [(5, 1), (6, 2)] {
        let (id, values) = stage.host.expect_set();
        assert_eq!(values, [n(value)]);
        stage.host.command_done(id);
        let report = RecipeReport::decode(&stage.expect(Kind::RecipeProgress)).unwrap();
        let progress = Progress::decode(&report.report).unwrap();
        let results: Vec<&str> = progress.sub_tasks.iter().map(|step| step.result.as_str()).collect();
        assert_eq!(results, [["0", "-1"], ["0", "0"]][n_over - 1]);
        let answer = SerialAnswer { serial: report.serial, code: Code::SUCCESS };
        stage.send(Kind::RecipeProgress, &answer.encode());
    }
    stage.host.expect_silence();
}

#[test]
fn a_recipe_that_cannot_be_read_or_comes_beside_another_is_refused() {
    let mut stage = working();
    let serial = stage.command(biz::RECIPE, control(json!({"n": 5})));
    let (biz, content) = stage.expect_answer(serial);
    assert_eq!((biz, serde_json::from_slice::<Value>(&content).unwrap()["code"].clone()), (150, json!(8)));
    stage.command(biz::RECIPE, recipe());
    stage.host.take_outputs();
    let serial = stage.command(biz::RECIPE, recipe());
    let (_, content) = stage.expect_answer(serial);
    assert_eq!(serde_json::from_slice::<Value>(&content).unwrap()["code"], 17);
}

#[test]
fn a_recipe_of_an_app_is_the_same() {
    let mut stage = working();
    let mut app = App::new();
    let serial = app.command(&mut stage, biz::RECIPE, recipe());
    let (biz, content) = app.expect_answer(&mut stage, serial);
    assert_eq!((biz, serde_json::from_slice::<Value>(&content).unwrap()["code"].clone()), (150, json!(0)));
    assert_eq!(stage.host.expect_set().1, [n(5)]);
}
