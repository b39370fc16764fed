use polylink_plugin_sdk::{OutcomeResult, Value};
use proptest::prelude::*;

use super::*;

const PRODUCT: &str = r#"{"product_key":"k","name":"lamp","raw":false,
  "properties":[
    {"id":0,"name":"power","cloud_name":"switch","type":"bool","writable":true,"cloud_labels":["off","on"]},
    {"id":1,"name":"target","cloud_name":"temp","type":"decimal","scale":1,"min":"16.0","max":"30.0","step":"0.5","writable":true},
    {"id":2,"name":"count","cloud_name":"count","type":"int","min":"0","max":"9223372036854775807","step":"1","writable":true},
    {"id":3,"name":"mode","cloud_name":"mode","type":"enum","labels":["cool","heat"],"cloud_labels":["0","1"],"writable":true},
    {"id":4,"name":"note","cloud_name":"note","type":"text","max_bytes":100,"writable":true},
    {"id":5,"name":"tenths","cloud_name":"tenths","type":"decimal","scale":1,"min":"0.0","max":"30.0","step":"0.1","writable":true,"cloud_shift":1},
    {"id":6,"name":"plan","cloud_name":"plan","type":"json","max_bytes":100,"writable":true}],
  "events":[{"id":0,"name":"alarm","cloud_name":"smoke","params":[{"id":0,"name":"level","cloud_name":"lv","type":"int","min":"0","max":"10","step":"1"}]}],
  "actions":[
    {"id":0,"name":"clean","cloud_name":"cleanup","idempotent":false,
     "params":[{"id":0,"name":"depth","cloud_name":"d","type":"int","min":"0","max":"10","step":"1"}],
     "returns":[{"id":0,"name":"freed","cloud_name":"f","type":"int","min":"0","max":"10","step":"1"}]},
    {"id":1,"name":"both","cloud_name":"switch","idempotent":false,"params":[],"returns":[]}]}"#;

fn model() -> ThingModel {
    ThingModel::parse(PRODUCT).unwrap()
}

fn raw_model() -> ThingModel {
    ThingModel::parse(&PRODUCT.replace("\"raw\":false", "\"raw\":true")).unwrap()
}

fn json(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

fn text(values: &NamedValues) -> String {
    object(values).get().to_owned()
}

/// What a command 20 sets, or why not.
#[track_caller]
fn check_set(payload: &str, expected: Result<&[(u32, Value)], BadCommand>) {
    let seen = set(&model(), &json(payload)).map(|set| set.values);
    let expected = expected.map(|values| values.iter().cloned().map(|(id, value)| (DatapointId(id), value)).collect());
    assert_eq!(seen, expected, "{payload}");
}

#[track_caller]
fn check_ask(payload: &str, expected: Result<Option<&[u32]>, BadCommand>) {
    let expected = expected.map(|ids| ids.map(|ids| ids.iter().copied().map(DatapointId).collect()));
    assert_eq!(ask(&model(), &json(payload)), expected, "{payload}");
}

#[track_caller]
fn check_service(named: &str, payload: &str, expected: Result<(u32, Values), BadCommand>) {
    let expected = expected.map(|(id, values)| (DatapointId(id), values));
    assert_eq!(service(&model(), named, &json(payload)), expected, "{payload}");
}

#[track_caller]
fn check_passthrough(model: &ThingModel, data: PassthroughData, payload: &str, expected: Result<CommandBody, &str>) {
    let seen = passthrough(model, data, &json(payload)).map_err(|error| error.to_string());
    assert_eq!(seen, expected.map_err(str::to_owned), "{payload}");
}

fn unknown(name: &str) -> BadCommand {
    BadCommand::Unknown(name.to_owned())
}

fn is_bad_value<T: std::fmt::Debug>(result: Result<T, BadCommand>) -> bool {
    matches!(result, Err(BadCommand::Value(_)))
}

#[test]
fn values_go_up_under_this_clouds_names_labels_and_scales_with_all_their_digits() {
    let values = vec![
        (DatapointId(0), Value::Bool(true)),
        (DatapointId(1), Value::Decimal { mantissa: 215, scale: 1 }),
        (DatapointId(2), Value::Int(9_007_199_254_740_993)),
        (DatapointId(3), Value::Enum(1)),
        (DatapointId(4), Value::Text("\u{0}\"é".to_owned())),
        (DatapointId(5), Value::Decimal { mantissa: 215, scale: 1 }),
        (DatapointId(6), Value::Json(r#"{"a": 1e2}"#.to_owned())),
    ];
    let expected = r#"{"count":9007199254740993,"mode":"1","note":"\u0000\"é","plan":{"a": 1e2},"switch":"on","temp":21.5,"tenths":215}"#;
    assert_eq!(text(&properties(&model(), &values)), expected);
}

#[test]
fn what_the_product_document_does_not_know_is_left_out() {
    let values =
        vec![(DatapointId(77), Value::Int(1)), (DatapointId(3), Value::Enum(9)), (DatapointId(2), Value::Int(1))];
    assert_eq!(text(&properties(&model(), &values)), r#"{"count":1}"#);
    assert!(event(&model(), DatapointId(9), &Values::new()).is_none());
    let outcome =
        Outcome { result: OutcomeResult::Done, values: vec![(DatapointId(0), Value::Int(1))], document: None };
    assert!(outputs(&model(), DatapointId(9), &outcome).is_empty());
}

#[test]
fn events_and_outputs_carry_their_own_fields() {
    let (name, params) = event(&model(), DatapointId(0), &vec![(DatapointId(0), Value::Int(7))]).unwrap();
    assert_eq!((name.as_str(), text(&params).as_str()), ("smoke", r#"{"lv":7}"#));
    assert_eq!(passthrough_event(&name, &params).get(), r#"{"event":"smoke","params":{"lv":7}}"#);
    let values = vec![(DatapointId(0), Value::Int(3)), (DatapointId(1), Value::Int(4))];
    let outcome = Outcome { result: OutcomeResult::Done, values, document: None };
    let returned = outputs(&model(), DatapointId(0), &outcome);
    assert_eq!(text(&returned), r#"{"f":3}"#);
    assert_eq!(service_result("cleanup", &returned).get(), r#"{"service":"cleanup","data":{"f":3}}"#);
}

#[test]
fn a_set_takes_values_as_the_model_says_whatever_json_type_they_come_with() {
    for value in ["9007199254740993", "\"9007199254740993\""] {
        let payload = format!(r#"{{"params":[{{"identify":"count","value":{value}}}]}}"#);
        check_set(&payload, Ok(&[(2, Value::Int(9_007_199_254_740_993))]));
        let received = set(&model(), &json(&payload)).unwrap().received;
        assert_eq!(text(&received), format!(r#"{{"count":{value}}}"#), "the answer repeats it as it came");
    }
    check_set(
        r#"{"params":[{"identify":"temp","value":"21.50"},{"identify":"tenths","value":215},
            {"identify":"switch","value":"on"},{"identify":"mode","value":"1"},{"identify":"note","value":"é"}]}"#,
        Ok(&[
            (3, Value::Enum(1)),
            (4, Value::Text("é".to_owned())),
            (0, Value::Bool(true)),
            (1, Value::Decimal { mantissa: 215, scale: 1 }),
            (5, Value::Decimal { mantissa: 215, scale: 1 }),
        ]),
    );
}

#[test]
fn a_name_that_comes_twice_means_what_it_says_last() {
    check_set(
        r#"{"params":[{"identify":"count","value":1},{"identify":"count","value":2}]}"#,
        Ok(&[(2, Value::Int(2))]),
    );
}

#[test]
fn one_wrong_part_refuses_a_whole_set() {
    let with = |other: &str| format!(r#"{{"params":[{{"identify":"count","value":1}},{other}]}}"#);
    check_set(&with(r#"{"identify":"colour","value":1}"#), Err(unknown("colour")));
    let long = "x".repeat(1000);
    check_set(&with(&format!(r#"{{"identify":"{long}","value":1}}"#)), Err(unknown(&long[..40])));
    for value in ["1.5", "\"\"", "\"one\"", "null", "[]", "{}", "true", "9223372036854775808", "1e99"] {
        let payload = with(&format!(r#"{{"identify":"count","value":{value}}}"#));
        assert!(is_bad_value(set(&model(), &json(&payload))), "{payload}");
    }
    for (name, value) in [("temp", "21.55"), ("mode", "\"2\""), ("mode", "[]"), ("switch", "\"On\""), ("note", "7")] {
        let payload = with(&format!(r#"{{"identify":"{name}","value":{value}}}"#));
        assert!(is_bad_value(set(&model(), &json(&payload))), "{payload}");
    }
}

#[test]
fn a_set_of_another_form_is_refused() {
    for payload in [
        "\"\"",
        "null",
        "[]",
        r#"[[{"identify":"count","value":1}]]"#,
        "{}",
        r#"{"params":null}"#,
        r#"{"params":{"count":1}}"#,
        r#"{"params":[["count",1]]}"#,
        r#"{"params":["count"]}"#,
        r#"{"params":[{"identify":"count"}]}"#,
        r#"{"params":[{"value":1}]}"#,
        r#"{"params":[{"identify":7,"value":1}]}"#,
        r#"{"params":[{"identify":"count","value":1}],"params":[]}"#,
    ] {
        assert!(set(&model(), &json(payload)).is_err(), "{payload}");
    }
    check_set(r#"{"params":[]}"#, Err(BadCommand::Nothing));
    check_set("7", Err(BadCommand::Form));
}

#[test]
fn a_question_names_what_is_wanted_and_nothing_means_everything() {
    for everything in ["{}", "\"\"", r#"{"params":[]}"#, r#"{"params":null}"#, r#"{"other":1}"#] {
        check_ask(everything, Ok(Some(&[])));
    }
    check_ask(r#"{"params":["temp","count","temp","colour"]}"#, Ok(Some(&[1, 2])));
    check_ask(r#"{"params":["colour"]}"#, Ok(None));
    for payload in [r#"{"params":"temp"}"#, r#"{"params":[1]}"#, r#"{"params":{}}"#, "[]", "[[\"temp\"]]", "\"x\"", "7"]
    {
        check_ask(payload, Err(BadCommand::Form));
    }
}

#[test]
fn a_script_names_what_is_asked_in_a_bare_list() {
    let check = |names: &str, expected: Result<Option<&[u32]>, BadCommand>| {
        let expected = expected.map(|ids| ids.map(|ids| ids.iter().copied().map(DatapointId).collect()));
        assert_eq!(ask_list(&model(), &json(names)), expected, "{names}");
    };
    check("[]", Ok(Some(&[])));
    check(r#"["count","colour"]"#, Ok(Some(&[2])));
    check(r#"["colour"]"#, Ok(None));
    for names in ["{}", "[1]", "null", "\"count\""] {
        check(names, Err(BadCommand::Form));
    }
}

#[test]
fn a_service_is_named_by_its_topic_and_the_payload_may_agree_in_three_spellings() {
    let expected = || Ok((0, vec![(DatapointId(0), Value::Int(3))]));
    for member in ["servicIdentify", "serviceIdentify", "serviceIdentifier"] {
        check_service("cleanup", &format!(r#"{{"{member}":"cleanup","params":{{"d":"3"}}}}"#), expected());
        check_service(
            "cleanup",
            &format!(r#"{{"{member}":"switch","params":{{"d":3}}}}"#),
            Err(BadCommand::OtherService),
        );
    }
    check_service("cleanup", r#"{"params":{"d":3}}"#, expected());
    check_service("cleanup", r#"{"servicIdentify":null,"params":{"d":3}}"#, expected());
    for params in ["", r#","params":{}"#, r#","params":"""#, r#","params":null"#, r#","params":{ }"#] {
        check_service("cleanup", &format!(r#"{{"servicIdentify":"cleanup"{params}}}"#), Ok((0, Vec::new())));
    }
}

#[test]
fn a_service_of_another_form_is_refused() {
    check_service("erase", r#"{"params":{}}"#, Err(unknown("erase")));
    check_service("cleanup", r#"{"params":{"x":1}}"#, Err(unknown("x")));
    for payload in
        ["[]", "7", "\"x\"", r#"{"servicIdentify":7}"#, r#"{"params":[1]}"#, r#"{"params":"d"}"#, r#"{"params":1}"#]
    {
        check_service("cleanup", payload, Err(BadCommand::Form));
    }
    assert!(is_bad_value(service(&model(), "cleanup", &json(r#"{"params":{"d":"deep"}}"#))));
}

#[test]
fn a_script_names_service_and_parameters() {
    let decoded = |text: &str| decoded_service(&model(), &json(text));
    let expected = (DatapointId(0), "cleanup".to_owned(), vec![(DatapointId(0), Value::Int(3))]);
    assert_eq!(decoded(r#"{"service":"cleanup","params":{"d":3}}"#), Ok(expected));
    assert_eq!(decoded(r#"{"service":"erase"}"#), Err(unknown("erase")));
    for text in ["{}", "[\"cleanup\"]", r#"{"service":1}"#, r#"{"service":"cleanup","params":[]}"#] {
        assert_eq!(decoded(text), Err(BadCommand::Form), "{text}");
    }
}

#[test]
fn bytes_go_up_as_hex_or_as_text_where_they_are_text() {
    let check = |bytes: &[u8], data, expected: &str| assert_eq!(passthrough_bytes(bytes, data).get(), expected);
    check(&[0, 0xAB], PassthroughData::Hex, r#"{"data":"00ab"}"#);
    check("hé\"".as_bytes(), PassthroughData::Text, r#"{"data":"hé\""}"#);
    check(&[0xFF, 0], PassthroughData::Text, r#"{"data":"ff00"}"#);
    check(&[], PassthroughData::Hex, r#"{"data":""}"#);
}

#[test]
fn a_device_that_speaks_raw_gets_the_bytes_of_data_or_the_whole_payload() {
    let (hex, text) = (PassthroughData::Hex, PassthroughData::Text);
    let check = |data, payload: &str, expected: Result<&[u8], &str>| {
        check_passthrough(&raw_model(), data, payload, expected.map(|bytes| CommandBody::Raw(bytes.to_vec())));
    };
    check(hex, r#"{"data":"00aB"}"#, Ok(&[0, 0xAB]));
    check(text, r#"{"data":"00aB"}"#, Ok(b"00aB"));
    check(text, r#"{"data":"\u0000é"}"#, Ok("\u{0}é".as_bytes()));
    check(hex, r#"{"data":7}"#, Ok(br#"{"data":7}"#));
    check(hex, r#"{"data":"00","to":2}"#, Ok(br#"{"data":"00","to":2}"#));
    check(hex, r#"{"n":9007199254740993}"#, Ok(br#"{"n":9007199254740993}"#));
    for odd in [r#"{"data":"0"}"#, r#"{"data":"0g"}"#] {
        check(hex, odd, Err("`data` is not an even number of hexadecimal digits"));
    }
    check(hex, "[1]", Err("the payload has not the form of this command"));
}

#[test]
fn another_device_gets_properties_to_set_or_its_one_action() {
    let check = |payload: &str, expected: Result<CommandBody, &str>| {
        check_passthrough(&model(), PassthroughData::Hex, payload, expected);
    };
    let values = vec![(DatapointId(2), Value::Int(5)), (DatapointId(0), Value::Bool(true))];
    check(r#"{"count":5,"switch":"on"}"#, Ok(CommandBody::Set(values)));
    let params = vec![(DatapointId(0), Value::Int(3))];
    check(r#"{"cleanup":{"d":3}}"#, Ok(CommandBody::Invoke { action: DatapointId(0), params }));
    check(r#"{"cleanup":""}"#, Ok(CommandBody::Invoke { action: DatapointId(0), params: Vec::new() }));
    // A property goes before an action of the same name.
    check(r#"{"switch":"off"}"#, Ok(CommandBody::Set(vec![(DatapointId(0), Value::Bool(false))])));
    check(r#"{"cleanup":{},"count":5}"#, Err("`cleanup` is not known"));
    check(r#"{"data":"00"}"#, Err("`data` is not known"));
    check("{}", Err("nothing to set"));
    check("[]", Err("the payload has not the form of this command"));
}

#[test]
fn an_empty_payload_says_nothing() {
    for payload in ["\"\"", "{}", "{ \n}", "null", " null "] {
        assert!(is_empty(&json(payload)), "{payload}");
    }
    for payload in ["[]", "0", "\" \"", "{\"a\":1}", "false"] {
        assert!(!is_empty(&json(payload)), "{payload}");
    }
}

/// JSON of any shape, with the names of the product in it here and there.
fn any_json() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("params"),
        Just("identify"),
        Just("value"),
        Just("servicIdentify"),
        Just("serviceIdentify"),
        Just("count"),
        Just("temp"),
        Just("switch"),
        Just("mode"),
        Just("cleanup"),
        Just("service"),
        Just("d"),
        Just("data"),
        Just("x"),
    ];
    let leaf = prop_oneof![
        name.clone().prop_map(|name| format!("{name:?}")),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| serde_json::to_string(&number).unwrap()),
        "\\PC{0,8}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        prop_oneof![Just("null"), Just("true"), Just("1e400"), Just("-0"), Just("\"\"")].prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 32, 4, move |inner| {
        let member = (name.clone(), inner.clone()).prop_map(|(name, value)| format!("\"{name}\":{value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(member, 0..4).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

proptest! {
    #[test]
    fn no_json_of_the_cloud_can_panic(payload in any_json(), named in "cleanup|switch|x") {
        let payload = json(&payload);
        for model in [model(), raw_model()] {
            let _ = set(&model, &payload);
            let _ = set_object(&model, &payload);
            let _ = ask(&model, &payload);
            let _ = ask_list(&model, &payload);
            let _ = service(&model, &named, &payload);
            let _ = decoded_service(&model, &payload);
            let _ = passthrough(&model, PassthroughData::Hex, &payload);
            let _ = passthrough(&model, PassthroughData::Text, &payload);
        }
    }

    #[test]
    fn whole_numbers_keep_all_their_digits_both_ways(number: i64, quoted: bool) {
        let digits = if quoted { format!("\"{number}\"") } else { number.to_string() };
        let payload = json(&format!(r#"{{"count":{digits}}}"#));
        let set = set_object(&model(), &payload).unwrap();
        prop_assert_eq!(&set.values, &vec![(DatapointId(2), Value::Int(number))]);
        prop_assert_eq!(text(&set.received), payload.get());
        prop_assert_eq!(text(&properties(&model(), &set.values)), format!(r#"{{"count":{number}}}"#));
    }
}
