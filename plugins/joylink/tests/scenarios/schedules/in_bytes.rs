//! Steps of products that do not speak JSON: their commands go through the script, or to the MCU as they are.

use polylink_plugin_sdk::services::script::Value as Argument;
use polylink_plugin_sdk::{Cause, CommandBody, Output, ReportBody, RequestId};
use serde_json::json;

use super::tasks::{add, task};
use crate::packet::Kind;
use crate::scenarios::life::request_bytes;
use crate::scenarios::stage::{Stage, control, jds2pri, n, pri2jds, raw, scripted};
use crate::timers::wire::{Body, Message, Request, StepResult};

/// The cloud adds a countdown that does this at once.
#[track_caller]
fn begin(stage: &mut Stage, command: &[u8]) {
    let commands = vec![command.to_vec()];
    let body = Body::Countdown { interval_s: 9_000, action_commands: commands, stop_commands: vec![] };
    let (bytes, _) = request_bytes(add([task(7, body)]));
    stage.send(Kind::Timers, &bytes);
    stage.expect(Kind::Timers);
}

/// The next packet is the result of a step.
#[track_caller]
fn expect_result(stage: &mut Stage) -> StepResult {
    let body = stage.expect(Kind::Timers);
    let message: Message<Request> = Request::decode(&[&[0; 4][..], &body].concat()).expect("results");
    let Request::Results(results) = message.content else { panic!("no results: {message:?}") };
    assert_eq!(results.len(), 1);
    results[0]
}

#[track_caller]
fn returns(stage: &mut Stage, function: &str, biz: i64, values: [Argument; 3]) {
    let call = stage.host.expect_script_call();
    assert_eq!((call.function.as_str(), &call.args[0]), (function, &Argument::Int(biz)));
    stage.host.script_returned(call.id, values);
}

#[test]
fn the_script_reads_commands_and_puts_results_into_bytes() {
    let mut stage = Stage::working(scripted(json!({})));
    begin(&mut stage, b"\x01\x47");
    returns(&mut stage, "pri2jds", 1002, pri2jds(control(json!({"n": 71})), 1002));
    let (id, values) = stage.host.expect_set();
    assert_eq!(values, [n(71)]);
    stage.host.command_done(id);
    assert_eq!(expect_result(&mut stage), StepResult { id: 7, step: 1, code: 0 });
    for bytes in [b"first", b"other"] {
        returns(&mut stage, "jds2pri", 104, jds2pri(bytes));
    }
    let result = stage.expect_result();
    assert_eq!((result.controltype, result.id.as_str()), (0, "7"));
    let upload = stage.expect_upload();
    assert!(result.content != upload && [&result.content, &upload].iter().all(|said| said.len() == 5));
    stage.host.expect_silence();
}

#[test]
fn a_command_that_the_script_cannot_read_fails_its_step() {
    let mut stage = Stage::working(scripted(json!({})));
    begin(&mut stage, b"\x01\x47");
    let call = stage.host.expect_script_call();
    stage.host.script_returned(call.id, [Argument::Int(-1)]);
    assert_eq!(expect_result(&mut stage), StepResult { id: 7, step: 1, code: 14 });
}

#[test]
fn the_mcu_of_a_raw_product_gets_the_bytes_and_what_it_says_is_the_result() {
    let mut stage = Stage::working(raw(json!({})));
    begin(&mut stage, b"\x01\x47");
    let (id, command): (RequestId, _) = stage.host.expect_submit();
    assert_eq!(command.body, CommandBody::Raw(b"\x01\x47".to_vec()));
    stage.host.report_body(Cause::Answer, Some(id), ReportBody::Raw(b"\x02\x47".to_vec()));
    stage.host.command_done(id);
    assert_eq!(expect_result(&mut stage), StepResult { id: 7, step: 1, code: 0 });
    assert_eq!(stage.expect_upload(), b"\x02\x47");
    assert_eq!(stage.expect_result().content, b"\x02\x47");
    let silent: Vec<Output> = stage.host.take_outputs();
    assert!(silent.iter().all(|output| matches!(output, Output::Settle(_))), "{silent:?}");
}
