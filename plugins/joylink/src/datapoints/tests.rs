use proptest::prelude::*;

use super::*;
use crate::wire::WireError;
use crate::wire::standard::Control;

const PRODUCT: &str = r#"{"product_key":"k","name":"oven","raw":false,
  "properties":[
    {"id":0,"name":"power","cloud_name":"switch","type":"bool","writable":true},
    {"id":1,"name":"fan","cloud_name":"fan","type":"bool","writable":true,"cloud_labels":["off","on"]},
    {"id":2,"name":"count","cloud_name":"count","type":"int","writable":true},
    {"id":3,"name":"target","cloud_name":"temp","type":"decimal","scale":1,"writable":true,"cloud_shift":1},
    {"id":4,"name":"mode","cloud_name":"mode","type":"enum","labels":["bake","grill"],"cloud_labels":["0","1"],"writable":true},
    {"id":5,"name":"note","cloud_name":"note","type":"text","max_bytes":100,"writable":true},
    {"id":6,"name":"blob","cloud_name":"blob","type":"bytes","max_bytes":100,"writable":true},
    {"id":7,"name":"push","cloud_name":"push_stream","type":"json","max_bytes":100,"writable":true},
    {"id":8,"name":"price","cloud_name":"price","type":"decimal","scale":2,"writable":true}],
  "events":[{"id":0,"name":"hot","cloud_name":"alarm","params":[
    {"id":0,"name":"level","cloud_name":"lv","type":"int"},{"id":1,"name":"inside","cloud_name":"in","type":"bool"}]}],
  "actions":[
    {"id":0,"name":"clean","cloud_name":"cleanup","idempotent":false,
     "params":[{"id":0,"name":"depth","cloud_name":"d","type":"int"}],
     "returns":[{"id":0,"name":"freed","cloud_name":"f","type":"int"}]},
    {"id":1,"name":"beep","cloud_name":"beep","idempotent":true,"params":[],"returns":[]}]}"#;

fn model() -> ThingModel {
    ThingModel::parse(PRODUCT).unwrap()
}

fn stream(name: &str, value: &str) -> Stream {
    Stream { stream_id: name.to_owned(), current_value: Json::new(value).unwrap() }
}

fn set(id: u32, value: Value) -> Result<CommandBody, &'static str> {
    Ok(CommandBody::Set(vec![(DatapointId(id), value)]))
}

fn invoke(id: u32, params: &[i64]) -> Result<CommandBody, &'static str> {
    let params = params.iter().map(|value| (DatapointId(0), Value::Int(*value))).collect();
    Ok(CommandBody::Invoke { action: DatapointId(id), params })
}

/// What these streams want, or what the error says.
#[track_caller]
fn check(streams: &[(&str, &str)], expected: Result<CommandBody, &str>) {
    let streams: Vec<Stream> = streams.iter().map(|(name, value)| stream(name, value)).collect();
    let wanted = control(&model(), &streams).map_err(|error| error.to_string());
    assert_eq!(wanted, expected.map_err(ToOwned::to_owned), "{streams:?}");
}

#[test]
fn values_are_texts_or_numbers_under_the_names_of_the_cloud_and_can_be_set_like_that() {
    let decimal = |mantissa, scale| Value::Decimal { mantissa, scale };
    for (id, value, name, json) in [
        (0, Value::Bool(true), "switch", "1"),
        (0, Value::Bool(false), "switch", "0"),
        (1, Value::Bool(false), "fan", r#""off""#),
        (2, Value::Int(i64::MIN), "count", "-9223372036854775808"),
        (3, decimal(215, 1), "temp", "215"),
        (4, Value::Enum(1), "mode", r#""1""#),
        (5, Value::Text("热 \"x\"".to_owned()), "note", r#""热 \"x\"""#),
        (6, Value::Bytes(vec![0xDE, 0]), "blob", r#""de00""#),
        (7, Value::Json(r#"{"a":[1.50]}"#.to_owned()), "push_stream", r#""{\"a\":[1.50]}""#),
        (8, decimal(2150, 2), "price", "21.50"),
    ] {
        assert_eq!(streams(&model(), [(&DatapointId(id), &value)]), [stream(name, json)]);
        check(&[(name, json)], set(id, value));
    }
}

#[test]
fn values_that_the_product_has_not_are_not_told() {
    let values =
        [(DatapointId(99), Value::Int(1)), (DatapointId(2), Value::Bool(true)), (DatapointId(4), Value::Enum(2))];
    assert_eq!(streams(&model(), values.iter().map(|(id, value)| (id, value))), []);
}

#[test]
fn the_other_ways_of_writing_a_value_are_understood() {
    for (name, json, id, value) in [
        ("switch", r#""1""#, 0, Value::Bool(true)),
        ("switch", "false", 0, Value::Bool(false)),
        ("switch", r#""true""#, 0, Value::Bool(true)),
        ("fan", "1", 1, Value::Bool(true)),
        ("count", r#""-7""#, 2, Value::Int(-7)),
        ("temp", r#""215""#, 3, Value::Decimal { mantissa: 215, scale: 1 }),
        ("mode", "0", 4, Value::Enum(0)),
        ("push_stream", r#"{"a":1}"#, 7, Value::Json(r#"{"a":1}"#.to_owned())),
        ("push_stream", "7", 7, Value::Json("7".to_owned())),
    ] {
        check(&[(name, json)], set(id, value));
    }
    check(&[("count", "1"), ("count", "2")], set(2, Value::Int(2)));
    let both = vec![(DatapointId(2), Value::Int(5)), (DatapointId(0), Value::Bool(true))];
    check(&[("switch", "1"), ("count", "5")], Ok(CommandBody::Set(both)));
}

#[test]
fn one_stream_that_does_not_fit_refuses_them_all() {
    check(&[], Err("nothing to set"));
    check(&[("switch", "1"), ("unknown", "1")], Err("`unknown` is not known"));
    check(&[("alarm", "1")], Err("`alarm` is not known"));
    check(&[("switch", "2"), ("count", "1")], Err("`switch` takes true or false, not 2"));
    check(&[("count", "1.5")], Err("`count` takes numbers with at most 0 digits after the point, not 1.5"));
    check(&[("note", "5")], Err("`note` takes text, not 5"));
    check(&[("push_stream", r#""rtsp""#)], Err("`push_stream` takes a JSON document, not rtsp"));
    check(&[("cleanup", "1"), ("switch", "1")], Err("`cleanup` is an action, which has to come alone"));
    assert_eq!(BadCommand::Nothing.code(), Code::PROPERTY_FAILED);
    let long = control(&model(), &[stream(&"é".repeat(99), "1")]);
    assert_eq!(long, Err(BadCommand::Unknown("é".repeat(40))));
}

#[test]
fn a_stream_with_the_name_of_an_action_runs_it() {
    for none in ["1", r#""1""#, r#""""#, "null", "{}", r#""{}""#] {
        check(&[("beep", none)], invoke(1, &[]));
        check(&[("cleanup", none)], invoke(0, &[]));
    }
    check(&[("cleanup", r#"{"d":3}"#)], invoke(0, &[3]));
    check(&[("cleanup", r#""{\"d\":\"3\"}""#)], invoke(0, &[3]));
    check(&[("cleanup", r#"{"x":3}"#)], Err("`cleanup.x` is not known"));
    check(&[("cleanup", r#"{"d":true}"#)], Err("`d` takes a whole number, not true"));
    for wrong in ["0", "[]", "\"x\"", "\"[1]\"", "\"{\""] {
        check(&[("cleanup", wrong)], Err("`cleanup` takes an object of its parameters"));
    }
}

#[test]
fn events_and_what_actions_return_are_texts_that_hold_an_object() {
    let params =
        vec![(DatapointId(1), Value::Bool(true)), (DatapointId(0), Value::Int(3)), (DatapointId(9), Value::Int(0))];
    let alarm = event(&model(), DatapointId(0), &params).unwrap();
    assert_eq!(alarm, stream("alarm", r#""{\"in\":1,\"lv\":3}""#));
    assert_eq!(event(&model(), DatapointId(7), &params), None);

    let values = vec![(DatapointId(0), Value::Int(12))];
    let outcome = Outcome { result: OutcomeResult::Done, values, document: None };
    assert_eq!(returned(&model(), DatapointId(0), &outcome), Some(stream("cleanup", r#""{\"f\":12}""#)));
    assert_eq!(returned(&model(), DatapointId(1), &outcome), None);
    assert_eq!(returned(&model(), DatapointId(7), &outcome), None);
}

#[test]
fn a_request_for_video_sets_the_property_that_takes_it() {
    let request = br#"{"control":[{"stream_id":"push_stream",
      "current_value":"{\"resolution\":240,\"address\":\"rtsp://192.0.2.1/a\"}"}],"feed_id":1,"attribute":{}}"#;
    let request = VideoRequest::decode(request).unwrap();
    let expected = Value::Json(r#"{"resolution":240,"address":"rtsp://192.0.2.1/a"}"#.to_owned());
    assert_eq!(push_stream(&model(), &request).map_err(|_| ""), set(7, expected));
    let without = ThingModel::parse(&PRODUCT.replace("push_stream", "other")).unwrap();
    let error = push_stream(&without, &request).unwrap_err();
    assert_eq!(error, BadCommand::Unknown("push_stream".to_owned()));
    let results = [Code::SUCCESS, Code::MCU_LOST, error.code(), Code::MCU_TIMEOUT].map(video_result);
    assert_eq!(results, [0, -3, -4, -5]);
}

#[test]
fn an_outcome_has_a_code() {
    let refused = OutcomeResult::Refused("no".to_owned());
    for (result, expected) in [
        (OutcomeResult::Done, 0),
        (refused, 2),
        (OutcomeResult::Superseded, 2),
        (OutcomeResult::TimedOut, 10),
        (OutcomeResult::Unreachable, 11),
    ] {
        assert_eq!(code(&result).0, expected, "{result:?}");
    }
}

#[test]
fn answers_and_uploads_are_standard_json() {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let streams = || vec![stream("switch", "1")];
    let told = r#""streams":[{"stream_id":"switch","current_value":1}]"#;
    assert_eq!(text(snapshot(streams())), format!(r#"{{"code":0,{told}}}"#));
    assert_eq!(text(snapshot(Vec::new())), r#"{"code":0,"streams":[]}"#);
    let done = answer(Code::SUCCESS, None, Some(streams()));
    assert_eq!(text(done), format!(r#"{{"code":0,{told},"msg":"success"}}"#));
    let refused = answer(Code::REFUSED, Some("the door is open"), None);
    assert_eq!(text(refused), r#"{"code":2,"msg":"the door is open"}"#);
}

#[test]
fn a_control_is_read_with_and_without_the_frame_of_local_control() {
    let wanted = |snapshot: Option<&str>| {
        Ok(Control { streams: vec![stream("switch", "\"1\"")], snapshot: snapshot.and_then(Json::new) })
    };
    let streams = r#""streams":[{"stream_id":"switch","current_value":"1"}]"#;
    for (json, expected) in [
        (format!("{{{streams}}}"), wanted(None)),
        (format!(r#"{{{streams},"snapshot":[],"at":5}}"#), wanted(Some("[]"))),
        (format!(r#"{{"cmd":5,"data":{{{streams},"snapshot":[1]}}}}"#), wanted(Some("[1]"))),
        ("[]".to_owned(), Err(WireError::Members)),
        (r#"{"streams":{}}"#.to_owned(), Err(WireError::Members)),
        (r#"{"streams":[["switch",1]]}"#.to_owned(), Err(WireError::Members)),
        (r#"{"cmd":4,"data":{}}"#.to_owned(), Err(WireError::Members)),
        (r#"{"data":[]}"#.to_owned(), Err(WireError::Members)),
        (String::new(), Err(WireError::Json)),
    ] {
        assert_eq!(Control::decode(json.as_bytes()), expected, "{json}");
    }
}

/// The vectors of conversion scripts, whose JSON is standard JSON (`tests/vectors/joylink.json`, computed), and one
/// packet with an answer in it.
#[test]
fn the_json_of_the_vectors_is_understood() {
    let file: serde_json::Value = serde_json::from_str(include_str!("../../tests/vectors/joylink.json")).unwrap();
    let (mut n_controls, mut n_said) = (0, 0);
    for vector in file["vectors"].as_array().unwrap().iter().filter(|vector| vector["kind"] == "lua") {
        let (input, expected) = (&vector["input"], &vector["expected"]);
        if input["function"] == "jds2pri" && input["args"]["bizcode"] == 1002 {
            let control = Control::decode(input["args"]["cmd"].as_str().unwrap().as_bytes()).unwrap();
            assert_eq!(control.streams, [stream("switch", r#""1""#)]);
            n_controls += 1;
        }
        if let Some(json) = expected["json"].as_str().filter(|json| !json.is_empty()) {
            let said = Said::decode(json.as_bytes()).unwrap();
            assert!(said.code.is_success() && said.streams.is_some_and(|streams| streams.len() == 1), "{json}");
            n_said += 1;
        }
    }
    assert_eq!((n_controls, n_said), (1, 2));
    let answer = br#"{"code":0,"streams":[{"current_value":"1","stream_id":"switch"}],"msg":"done"}"#;
    let expected =
        Said { code: Code(0), streams: Some(vec![stream("switch", r#""1""#)]), msg: Some("done".to_owned()) };
    assert_eq!(Said::decode(answer), Ok(expected));
}

#[test]
fn a_product_type_is_six_letters_or_digits_as_text_or_bytes() {
    for (value, expected) in [
        (Value::Text("XDFSSD".to_owned()), Some("XDFSSD")),
        (Value::Text(" a1B2c3\n".to_owned()), Some("a1B2c3")),
        (Value::Bytes(b"XDFSSD\0\0".to_vec()), Some("XDFSSD")),
        (Value::Text("XDFSS".to_owned()), None),
        (Value::Text("XDF-SD".to_owned()), None),
        (Value::Text("éaaaa".to_owned()), None),
        (Value::Bytes(vec![0; 6]), None),
        (Value::Bytes(vec![0xFF; 6]), None),
        (Value::Int(123_456), None),
    ] {
        assert_eq!(uuid(&value).as_deref(), expected, "{value:?}");
    }
}

fn any_value() -> impl Strategy<Value = (u32, Value)> {
    prop_oneof![
        (0..2_u32, any::<bool>()).prop_map(|(id, on)| (id, Value::Bool(on))),
        any::<i64>().prop_map(|number| (2, Value::Int(number))),
        any::<i64>().prop_map(|mantissa| (3, Value::Decimal { mantissa, scale: 1 })),
        (0..2_u32).prop_map(|index| (4, Value::Enum(index))),
        any::<String>().prop_map(|text| (5, Value::Text(text))),
        any::<Vec<u8>>().prop_map(|bytes| (6, Value::Bytes(bytes))),
        any::<String>().prop_map(|text| (7, Value::Json(serde_json::to_string(&text).unwrap()))),
        any::<i64>().prop_map(|mantissa| (8, Value::Decimal { mantissa, scale: 2 })),
    ]
}

proptest! {
    #[test]
    fn what_is_told_can_be_set((id, value) in any_value()) {
        let told = streams(&model(), [(&DatapointId(id), &value)]);
        prop_assert_eq!(told.len(), 1);
        let json = told[0].current_value.get();
        prop_assert!(!json.starts_with(['{', '[', 't', 'f', 'n']), "{} is neither text nor number", json);
        prop_assert_eq!(control(&model(), &told), Ok(CommandBody::Set(vec![(DatapointId(id), value)])));
    }

    #[test]
    fn standard_json_survives_the_wire((id, value) in any_value(), code: i32, msg: Option<String>) {
        let streams = streams(&model(), [(&DatapointId(id), &value)]);
        let control = Control { streams: streams.clone(), snapshot: Some(Json::empty_object()) };
        prop_assert_eq!(Control::decode(&control.encode()), Ok(control));
        let said = Said { code: Code(code), streams: Some(streams), msg };
        prop_assert_eq!(Said::decode(&said.encode()), Ok(said));
    }

    #[test]
    fn no_streams_panic(
        names in proptest::collection::vec("switch|fan|count|temp|mode|note|blob|push_stream|cleanup|beep|[a-z]{0,3}", 0..4),
        json in r#"-?[0-9]{1,30}(\.[0-9]{1,30})?(e-?[0-9]{1,9})?|true|null|"[\PC&&[^"\\]]*"|\{"d":[0-9]{1,25}\}|"\{\}""#,
        bytes: Vec<u8>,
        noise in r#"[\[\]{}":,a-z_0-9 ]{0,60}"#,
    ) {
        let value = Json::new(json).unwrap_or_else(Json::empty_object);
        let streams: Vec<Stream> =
            names.iter().map(|name| Stream { stream_id: name.clone(), current_value: value.clone() }).collect();
        let _ = control(&model(), &streams);
        for bytes in [bytes.as_slice(), noise.as_bytes()] {
            let _ = (Control::decode(bytes), Said::decode(bytes));
        }
    }
}
