//! Scripts between a session and the host, through the real types of the ABI.

use super::{ask, check, host, load, seen};
use crate::services::script::{Event, Request, Value};
use crate::services::{Failure, Reason, script};
use crate::{Input, Output, RequestId};

#[test]
fn a_script_is_called_by_the_sessions_ids_and_its_values_cross_unchanged() {
    let values = [Value::Nil, Value::Bool(true), Value::Int(-7), Value::Bytes(vec![0, 255])];
    let mut host = host();
    ask(&mut host, [load(4), call(4, 4, &values)]);
    let (script, name, source) = host.expect_script_load();
    assert_eq!((name.as_str(), source.as_str()), ("product", "return"));
    let asked = host.expect_script_call();
    assert_eq!((asked.script, asked.function.as_str(), &asked.args[..]), (script, "jds2pri", &values[..]));
    host.script_loaded(script);
    host.script_returned(asked.id, values.clone());
    check(&[
        Input::Script(Event::Loaded(RequestId(4))),
        Input::Script(Event::Returned(RequestId(4), Ok(values.to_vec()))),
    ]);
    host.script_returned(asked.id, []);
    check(&[]);
}

#[test]
fn a_script_that_could_not_be_loaded_is_not_there() {
    let mut host = host();
    ask(&mut host, [load(1)]);
    let (script, _, _) = host.expect_script_load();
    host.script_load_failed(script, Reason::Invalid);
    assert!(matches!(&seen()[..], [Input::Script(Event::LoadFailed(RequestId(1), Failure { reason, .. }))]
        if *reason == Reason::Invalid));
    ask(&mut host, [call(1, 2, &[])]);
    check_failed(2, Reason::UnknownHandle);
}

#[test]
fn calls_of_a_script_that_was_unloaded_are_answered_and_later_ones_are_refused() {
    let mut host = host();
    ask(&mut host, [load(1), call(1, 2, &[]), Output::Script(Request::Unload(RequestId(1))), call(1, 3, &[])]);
    let (script, _, _) = host.expect_script_load();
    let asked = host.expect_script_call();
    assert_eq!(host.expect_script_unload(), script);
    host.expect_silence();
    check_failed(3, Reason::UnknownHandle);
    host.script_failed(asked.id, Reason::Closed);
    check_failed(2, Reason::Closed);
}

#[test]
fn arguments_that_cannot_cross_are_refused_without_asking_the_host() {
    let mut host = host();
    ask(&mut host, [load(1), call(1, 2, &[Value::Int(i64::MAX)]), call(1, 3, &vec![Value::Nil; 17])]);
    host.expect_script_load();
    host.expect_silence();
    let refused = seen();
    assert_eq!(refused.len(), 2);
    assert!(matches!(&refused[0], Input::Script(Event::Returned(RequestId(2), Err(failure)))
        if failure.reason == Reason::Invalid && failure.text.contains("2^53")));
}

#[test]
fn an_id_that_is_used_again_unloads_the_script_that_had_it() {
    let mut host = host();
    ask(&mut host, [load(1), load(1)]);
    let (old, _, _) = host.expect_script_load();
    let (new, _, _) = host.expect_script_load();
    assert_eq!(host.expect_script_unload(), old);
    host.script_loaded(old);
    check(&[]);
    host.script_loaded(new);
    check(&[Input::Script(Event::Loaded(RequestId(1)))]);
}

#[test]
fn the_transcript_shows_calls_and_not_the_text_of_scripts() {
    let mut host = host();
    ask(&mut host, [load(1), call(1, 2, &[Value::Int(1002), Value::text("{}"), Value::Bytes(vec![7]), Value::Nil])]);
    let transcript = host.transcript();
    assert!(transcript.contains("product, 6 bytes"), "{transcript}");
    assert!(transcript.contains("jds2pri(1002, `{}`, 0x07, nil)"), "{transcript}");
}

#[track_caller]
fn check_failed(id: u64, expected: Reason) {
    let [Input::Script(Event::Returned(RequestId(found), Err(failure)))] = &seen()[..] else {
        panic!("the call was not answered with a failure");
    };
    assert_eq!((*found, failure.reason), (id, expected));
}

fn call(script: u64, id: u64, args: &[Value]) -> Output {
    let (script, id, function) = (RequestId(script), RequestId(id), "jds2pri".to_owned());
    Output::Script(script::Request::Call { script, id, function, args: args.to_vec() })
}
