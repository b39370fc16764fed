use polylink_plugin_sdk::{Cause, Value, WallTime};
use proptest::prelude::*;

use super::*;

const PRODUCT: &str = r#"{"product_key":"k","name":"lamp","raw":false,
  "properties":[
    {"id":0,"name":"power","cloud_name":"switch","type":"bool","writable":true,"cloud_labels":["off","on"]},
    {"id":1,"name":"target","cloud_name":"target","type":"decimal","scale":1,"min":"16.0","max":"30.0","step":"0.5","writable":true,"cloud_shift":1},
    {"id":2,"name":"count","cloud_name":"count","type":"int","min":"0","max":"9223372036854775807","step":"1","writable":true}],
  "events":[{"id":0,"name":"alarm","cloud_name":"smoke","params":[{"id":0,"name":"level","cloud_name":"lv","type":"int","min":"0","max":"10","step":"1"}]}],
  "actions":[{"id":0,"name":"clean","cloud_name":"cleanup","idempotent":false,
    "params":[{"id":0,"name":"depth","cloud_name":"d","type":"int","min":"0","max":"10","step":"1"}],
    "returns":[{"id":0,"name":"freed","cloud_name":"f","type":"int","min":"0","max":"10","step":"1"}]}]}"#;

fn model(raw: bool) -> ThingModel {
    ThingModel::parse(&PRODUCT.replace("\"raw\":false", &format!("\"raw\":{raw}"))).unwrap()
}

fn settings() -> Settings {
    Settings::parse(r#"{"product_type":"T","product_model":"M","serial":"1","product_secret":"s"}"#, "").unwrap()
}

fn check_report(device: u32, body: ReportBody, expected: Option<&str>) {
    let one = Report { seq: 1, at: WallTime::default(), device, cause: Cause::Change, caused_by: None, body };
    let content = report(&model(true), &settings(), &one);
    assert_eq!(content.as_deref().map(RawValue::get), expected);
}

fn check_wanted(raw: bool, cmd: &str, payload: &str, expected: Option<Result<Wanted, &str>>) {
    let payload = RawValue::from_string(payload.to_owned()).unwrap();
    let instruction = Instruction { cmd: cmd.to_owned(), payload };
    let seen = wanted(&model(raw), &settings(), &instruction);
    match (seen, expected) {
        (Some(Err(error)), Some(Err(says))) => assert!(error.to_string().contains(says), "{error}"),
        (seen, expected) => {
            assert_eq!(
                seen.map(|seen| seen.map_err(|error| error.to_string())),
                expected.map(|result| result.map_err(str::to_owned))
            );
        }
    }
}

#[test]
fn a_report_carries_its_values_under_this_clouds_names_labels_and_scales() {
    let values = vec![
        (DatapointId(0), Value::Bool(true)),
        (DatapointId(1), Value::Decimal { mantissa: 215, scale: 1 }),
        (DatapointId(2), Value::Int(512_345_678_901_234_567)),
    ];
    let expected = r#"{"cmd":"report","payload":{"count":512345678901234567,"switch":"on","target":215}}"#;
    check_report(0, ReportBody::Properties(values), Some(expected));
}

#[test]
fn an_event_is_a_command_of_its_own_and_bytes_are_hex() {
    let params = vec![(DatapointId(0), Value::Int(3))];
    check_report(0, ReportBody::Event { id: DatapointId(0), params }, Some(r#"{"cmd":"smoke","payload":{"lv":3}}"#));
    check_report(0, ReportBody::Raw(vec![0, 0xAB, 0]), Some(r#"{"cmd":"raw","payload":{"raw":"00ab00"}}"#));
}

#[test]
fn what_has_no_words_here_is_not_sent() {
    check_report(1, ReportBody::Raw(vec![1]), None);
    check_report(0, ReportBody::Properties(vec![(DatapointId(9), Value::Int(1))]), None);
    check_report(0, ReportBody::Event { id: DatapointId(9), params: Vec::new() }, None);
}

#[test]
fn set_get_and_actions_are_told_apart_by_their_command() {
    let set =
        Wanted::Set(vec![(DatapointId(0), Value::Bool(false)), (DatapointId(2), Value::Int(9_007_199_254_740_993))]);
    check_wanted(false, "set", r#"{"count":9007199254740993,"switch":"off"}"#, Some(Ok(set)));
    check_wanted(false, "get", "{}", Some(Ok(Wanted::Get(Vec::new()))));
    let two = Wanted::Get(vec![DatapointId(0), DatapointId(1)]);
    check_wanted(false, "get", r#"{"names":["target","switch","switch"]}"#, Some(Ok(two)));
    let invoke = Wanted::Invoke(DatapointId(0), vec![(DatapointId(0), Value::Int(4))]);
    check_wanted(false, "cleanup", r#"{"d":4}"#, Some(Ok(invoke)));
}

#[test]
fn unknown_commands_are_for_raw_products_only() {
    check_wanted(false, "user_sync", r#"{"users":[]}"#, None);
    let whole = br#"{"cmd":"user_sync","payload":{"users":[]}}"#.to_vec();
    check_wanted(true, "user_sync", r#"{"users":[]}"#, Some(Ok(Wanted::Raw(whole))));
}

#[test]
fn a_bad_payload_says_what_is_wrong_with_it() {
    for payload in ["[]", "7", "null", "\"{}\""] {
        check_wanted(false, "set", payload, Some(Err("not an object")));
    }
    check_wanted(false, "set", "{}", Some(Err("nothing to set")));
    check_wanted(false, "set", r#"{"swich":"on"}"#, Some(Err("`swich`")));
    check_wanted(false, "set", r#"{"switch":"up"}"#, Some(Err("switch")));
    check_wanted(false, "get", r#"{"names":"switch"}"#, Some(Err("`names`")));
    check_wanted(false, "get", r#"{"names":["nope"]}"#, Some(Err("`nope`")));
    check_wanted(false, "cleanup", r#"{"x":1}"#, Some(Err("`x`")));
}

#[test]
fn an_outcome_is_answered_with_code_reason_and_values() {
    let outcome = Outcome {
        result: OutcomeResult::Done,
        values: vec![(DatapointId(0), Value::Int(7))],
        document: Some(b"{\"log\":[1]}".to_vec()),
    };
    let values = outcome_values(&model(false), CommandKind::Action(DatapointId(0)), &outcome);
    assert_eq!(
        answer("cleanup", 0, "", &values).get(),
        r#"{"cmd":"cleanup","payload":{"code":0,"msg":"","values":{"document":{"log":[1]},"f":7}}}"#
    );
    assert_eq!(answer("set", -1, "no", &[]).get(), r#"{"cmd":"set","payload":{"code":-1,"msg":"no"}}"#);
}

proptest! {
    #[test]
    fn no_payload_can_panic_the_mapping(cmd in "set|get|cleanup|x", payload in "[\\[\\]{}:,\"a-z0-9.eE+-]{0,60}", raw: bool) {
        if let Ok(payload) = RawValue::from_string(payload) {
            let _ = wanted(&model(raw), &settings(), &Instruction { cmd, payload });
        }
    }

    #[test]
    fn every_set_value_comes_back_as_the_same_report(count in 0..=i64::MAX, on: bool) {
        let label = if on { "on" } else { "off" };
        let payload = RawValue::from_string(format!(r#"{{"count":{count},"switch":"{label}"}}"#)).unwrap();
        let text = payload.get().to_owned();
        let wanted = wanted(&model(false), &settings(), &Instruction { cmd: "set".into(), payload });
        let Some(Ok(Wanted::Set(values))) = wanted else { panic!("not a set") };
        let report = Report { seq: 1, at: WallTime::default(), device: 0, cause: Cause::Change, caused_by: None, body: ReportBody::Properties(values) };
        let content = super::report(&model(false), &settings(), &report).unwrap();
        prop_assert_eq!(content.get(), format!(r#"{{"cmd":"report","payload":{text}}}"#));
    }
}
