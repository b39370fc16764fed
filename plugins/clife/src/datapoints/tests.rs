use proptest::prelude::*;
use serde_json::json;

use super::*;

const PRODUCT: &str = r#"{"product_key":"k","name":"lamp","raw":false,
  "properties":[
    {"id":0,"name":"power","cloud_name":"1","type":"bool","writable":true},
    {"id":1,"name":"target","cloud_name":"2","type":"int","min":"0","max":"9223372036854775807","step":"1","writable":true},
    {"id":2,"name":"mode","cloud_name":"3","type":"enum","labels":["cool","heat"],"cloud_labels":["0","-1"],"writable":true},
    {"id":3,"name":"fan","cloud_name":"4","type":"enum","labels":["auto","7","07"],"writable":true},
    {"id":4,"name":"lock","cloud_name":"5","type":"bool","writable":true,"cloud_labels":["0","1"]},
    {"id":5,"name":"air","cloud_name":"6","type":"decimal","scale":1,"min":"16.0","max":"30.0","step":"0.5","writable":true},
    {"id":6,"name":"tenths","cloud_name":"7","type":"decimal","scale":1,"min":"0.0","max":"30.0","step":"0.1","writable":true,"cloud_shift":1},
    {"id":7,"name":"note","cloud_name":"4294967295","type":"text","max_bytes":100,"writable":true},
    {"id":8,"name":"code","cloud_name":"0","type":"bytes","max_bytes":100,"writable":true},
    {"id":9,"name":"plan","cloud_name":"8","type":"json","max_bytes":100,"writable":true},
    {"id":10,"name":"late","cloud_name":"01","type":"bool","writable":true},
    {"id":11,"name":"twin","cloud_name":"1","type":"bool","writable":true},
    {"id":12,"name":"word","cloud_name":"word","type":"bool","writable":true},
    {"id":13,"name":"huge","cloud_name":"4294967296","type":"bool","writable":true}],
  "events":[],"actions":[]}"#;

fn datapoints() -> Datapoints {
    Datapoints::new(ThingModel::parse(PRODUCT).unwrap()).0
}

fn json_of(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

/// These values as they go up, and that they come back as the same.
#[track_caller]
fn check_both_ways(values: &[(u32, Value)], params: &str) {
    let values: Values = values.iter().cloned().map(|(id, value)| (DatapointId(id), value)).collect();
    let body = datapoints().body(&values).expect("values that the platform knows");
    assert_eq!(body.get(), format!(r#"{{"params":[{params}]}}"#));
    assert_eq!(datapoints().control(&body), Ok(values), "{params}");
}

/// What a control with these members of `params` sets.
#[track_caller]
fn check_control(params: &str, expected: Result<&[(u32, Value)], BadCommand>) {
    let seen = datapoints().control(&json_of(&format!(r#"{{"params":{params}}}"#)));
    let expected = expected.map(|values| values.iter().cloned().map(|(id, value)| (DatapointId(id), value)).collect());
    assert_eq!(seen, expected, "{params}");
}

#[track_caller]
fn check_query(body: &str, expected: Result<Option<&[u32]>, BadCommand>) {
    let expected = expected.map(|ids| ids.map(|ids| ids.iter().copied().map(DatapointId).collect()));
    assert_eq!(datapoints().query(&json_of(body)), expected, "{body}");
}

fn unknown(name: &str) -> BadCommand {
    BadCommand::Unknown(name.to_owned())
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[test]
fn a_report_is_the_one_of_the_public_virtual_device() {
    check_both_ways(&[(0, Value::Bool(true)), (1, Value::Int(25))], r#"{"1":true},{"2":25}"#);
}

/// Those of kind `params_shape`, each of which names where it comes from.
#[test]
fn a_control_means_what_the_vectors_say_of_its_list() {
    let file: serde_json::Value = serde_json::from_str(include_str!("../../tests/vectors/clife.json")).unwrap();
    let shapes = file["vectors"].as_array().unwrap().iter().filter(|vector| vector["kind"] == "params_shape");
    let mut n_shapes = 0;
    for vector in shapes {
        n_shapes += 1;
        let map = &vector["expected"]["map"];
        let expected = vec![
            (DatapointId(0), Value::Bool(map["1"].as_bool().unwrap())),
            (DatapointId(1), Value::Int(map["2"].as_i64().unwrap())),
        ];
        let body = raw(&json!({ "params": vector["input"]["params"] }));
        assert_eq!(datapoints().control(&body), Ok(expected), "{}", vector["id"]);
    }
    assert_eq!(n_shapes, 2);
}

#[test]
fn a_datapoint_that_comes_twice_means_what_it_says_last() {
    check_control(r#"[{"2":1,"1":true},{"2":2}]"#, Ok(&[(0, Value::Bool(true)), (1, Value::Int(2))]));
    check_control(r#"[{"2":1,"2":2}]"#, Ok(&[(1, Value::Int(2))]));
    check_control(r#"[{"2":1," 2":2,"2\t":3}]"#, Ok(&[(1, Value::Int(3))]));
}

#[test]
fn blanks_around_member_names_do_not_count() {
    let body = json_of(r#"{" params ":[{" 1":true,"2 ":25}]}"#);
    let values = vec![(DatapointId(0), Value::Bool(true)), (DatapointId(1), Value::Int(25))];
    assert_eq!(datapoints().control(&body), Ok(values));
    check_query(r#"{"params\n":["2"]}"#, Ok(Some(&[1])));
    check_control(r#"[{"1 1":true}]"#, Err(unknown("1 1")));
}

#[test]
fn whatever_is_not_the_very_number_of_a_datapoint_is_unknown() {
    for name in ["9", "01", "001", "+1", "-1", "1.0", "1e0", "0x1", "", "one", "word", "１", "4294967296", "4294967297"]
    {
        check_control(&format!(r#"[{{"1":true}},{{"{name}":true}}]"#), Err(unknown(name)));
    }
    let long = "9".repeat(1000);
    check_control(&format!(r#"[{{"{long}":true}}]"#), Err(unknown(&long[..40])));
    check_control(r#"[{"4294967295":"x"}]"#, Ok(&[(7, text("x"))]));
}

#[test]
fn properties_whose_name_is_no_number_or_anothers_are_named_and_not_told() {
    let (datapoints, nameless) = Datapoints::new(ThingModel::parse(PRODUCT).unwrap());
    assert_eq!(nameless, ["late", "twin", "word", "huge"]);
    let on = |id| (DatapointId(id), Value::Bool(true));
    assert!(datapoints.body(&vec![on(10), on(11), on(12), on(13), on(77)]).is_none());
    let body = datapoints.body(&vec![on(11), on(0), on(12)]).unwrap();
    assert_eq!(body.get(), r#"{"params":[{"1":true}]}"#);
    assert_eq!(datapoints.answer(&vec![on(11)]).get(), r#"{"params":[]}"#);
}

#[test]
fn labels_that_are_numbers_travel_as_numbers_and_others_as_text() {
    let mode = |index| (2, Value::Enum(index));
    let fan = |index| (3, Value::Enum(index));
    check_both_ways(&[mode(0)], r#"{"3":0}"#);
    check_both_ways(&[mode(1)], r#"{"3":-1}"#);
    check_both_ways(&[fan(0)], r#"{"4":"auto"}"#);
    check_both_ways(&[fan(1)], r#"{"4":7}"#);
    check_both_ways(&[fan(2)], r#"{"4":"07"}"#);
    check_both_ways(&[(4, Value::Bool(false))], r#"{"5":0}"#);
    check_both_ways(&[(4, Value::Bool(true))], r#"{"5":1}"#);
    // Only labels: a text of digits is a text.
    check_both_ways(&[(7, text("7"))], r#"{"4294967295":"7"}"#);
    check_both_ways(&[(8, Value::Bytes(vec![0x12]))], r#"{"0":"12"}"#);
}

#[test]
fn a_label_or_a_number_may_come_as_a_text_all_the_same() {
    check_control(
        r#"[{"3":"-1"},{"4":"7"},{"5":"1"}]"#,
        Ok(&[(2, Value::Enum(1)), (3, Value::Enum(1)), (4, Value::Bool(true))]),
    );
    check_control(
        r#"[{"1":1},{"2":"25"},{"5":true}]"#,
        Ok(&[(0, Value::Bool(true)), (1, Value::Int(25)), (4, Value::Bool(true))]),
    );
}

#[test]
fn decimals_and_large_numbers_keep_their_digits_both_ways() {
    let tenths = |mantissa| Value::Decimal { mantissa, scale: 1 };
    check_both_ways(&[(5, tenths(215))], r#"{"6":21.5}"#);
    check_both_ways(&[(6, tenths(215))], r#"{"7":215}"#);
    check_both_ways(&[(1, Value::Int(9_007_199_254_740_993))], r#"{"2":9007199254740993}"#);
    check_both_ways(&[(9, Value::Json(r#"{"a": 1e2}"#.to_owned()))], r#"{"8":{"a": 1e2}}"#);
    check_control(r#"[{"6":"21.50"}]"#, Ok(&[(5, tenths(215))]));
}

#[test]
fn one_value_that_does_not_fit_refuses_a_whole_control() {
    for (name, value) in [
        ("2", "1.5"),
        ("2", "true"),
        ("2", "null"),
        ("2", "[]"),
        ("2", "9223372036854775808"),
        ("1", "2"),
        ("1", "\"on\""),
        ("3", "1"),
        ("4", "8"),
        ("6", "21.55"),
        ("4294967295", "7"),
        ("0", "\"0\""),
    ] {
        let body = json_of(&format!(r#"{{"params":[{{"1":true}},{{"{name}":{value}}}]}}"#));
        let refused = datapoints().control(&body);
        assert!(matches!(&refused, Err(BadCommand::Value(named, _)) if named == name), "{name} {value}: {refused:?}");
    }
}

#[test]
fn a_control_of_another_form_is_refused() {
    for params in
        ["null", "true", "\"1\"", r#"{"1":true}"#, "[1]", r#"["1"]"#, r#"[["1",true]]"#, r#"[{"1":true},null]"#]
    {
        check_control(params, Err(BadCommand::Form));
    }
    for body in ["{}", r#"{"param":[{"1":true}]}"#, "[]", "null"] {
        assert_eq!(datapoints().control(&json_of(body)), Err(BadCommand::Form), "{body}");
    }
    check_control("[]", Err(BadCommand::Nothing));
    check_control("[{},{}]", Err(BadCommand::Nothing));
}

#[test]
fn a_refused_control_names_its_known_datapoints_all_the_same() {
    let named = |body: &str| datapoints().named(&json_of(body)).into_iter().map(|id| id.0).collect::<Vec<_>>();
    assert_eq!(named(r#"{"params":[{"9":1,"2":"x"},{" 1":true},{"2":5}]}"#), [0, 1]);
    assert_eq!(named(r#"{"params":[{"1":true},7]}"#), [0]);
    assert_eq!(named(r#"{"params":[]}"#), [0; 0]);
    assert_eq!(named("[]"), [0; 0]);
}

#[test]
fn a_query_names_numbers_in_either_type_and_nothing_means_everything() {
    for everything in ["{}", r#"{"params":[]}"#, r#"{"params":null}"#, r#"{"other":1}"#] {
        check_query(everything, Ok(Some(&[])));
    }
    check_query(r#"{"params":["1","2"]}"#, Ok(Some(&[0, 1])));
    check_query(r#"{"params":[2,1]}"#, Ok(Some(&[0, 1])));
    check_query(r#"{"params":["2",2,"\u0032"]}"#, Ok(Some(&[1])));
}

#[test]
fn a_query_leaves_out_what_is_unknown_and_asks_for_nothing_if_nothing_is_left() {
    check_query(r#"{"params":["99","2","01",2.0,"word","",true,null]}"#, Ok(Some(&[1])));
    check_query(r#"{"params":["99",-1]}"#, Ok(None));
    check_query(&format!(r#"{{"params":[{}]}}"#, "9".repeat(1000)), Ok(None));
}

#[test]
fn a_query_of_another_form_is_refused() {
    for body in [
        "[]",
        "null",
        r#"{"params":1}"#,
        r#"{"params":"1"}"#,
        r#"{"params":{"1":true}}"#,
        r#"{"params":[["1"]]}"#,
        r#"{"params":["1",{"2":1}]}"#,
    ] {
        check_query(body, Err(BadCommand::Form));
    }
}

#[test]
fn an_answer_tells_what_there_is_and_a_refusal_also_why() {
    let values = vec![(DatapointId(0), Value::Bool(false))];
    assert_eq!(datapoints().answer(&values).get(), r#"{"params":[{"1":false}]}"#);
    assert_eq!(datapoints().answer(&Vec::new()).get(), r#"{"params":[]}"#);
    let refusal = datapoints().refusal(&values, "not \"now\"");
    assert_eq!(refusal.get(), r#"{"params":[{"1":false}],"respCode":-1,"respCont":"not \"now\""}"#);
}

/// JSON of any shape, with the names of the product in it here and there.
fn any_json() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("params"),
        Just(" params"),
        Just("1"),
        Just("2"),
        Just(" 2"),
        Just("3"),
        Just("6"),
        Just("01"),
        Just("99"),
        Just("4294967295"),
    ];
    let leaf = prop_oneof![
        name.clone().prop_map(|name| format!("{name:?}")),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| serde_json::to_string(&number).unwrap()),
        "\\PC{0,8}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        prop_oneof![Just("null"), Just("true"), Just("1e400"), Just("-0"), Just("\"\""), Just("\"\\ud800\"")]
            .prop_map(str::to_owned),
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
    fn no_json_of_the_cloud_can_panic(json in any_json()) {
        for body in [json.clone(), format!(r#"{{"params":{json}}}"#), format!(r#"{{"params":[{json}]}}"#)] {
            let body = json_of(&body);
            let control = datapoints().control(&body);
            let _ = (datapoints().query(&body), datapoints().named(&body));
            // What is taken can be told again.
            prop_assert!(control.is_err() || datapoints().body(&control.unwrap()).is_some());
        }
    }

    #[test]
    fn whole_numbers_keep_all_their_digits_both_ways(number: i64, quoted: bool) {
        let digits = if quoted { format!("\"{number}\"") } else { number.to_string() };
        let values = vec![(DatapointId(1), Value::Int(number))];
        let control = datapoints().control(&json_of(&format!(r#"{{"params":[{{"2":{digits}}}]}}"#)));
        prop_assert_eq!(control.as_ref(), Ok(&values));
        let body = datapoints().body(&values).unwrap();
        prop_assert_eq!(body.get(), format!(r#"{{"params":[{{"2":{number}}}]}}"#));
    }

    #[test]
    fn texts_keep_all_their_characters_both_ways(content in "\\PC{0,40}") {
        let values = vec![(DatapointId(7), Value::Text(content))];
        prop_assert_eq!(datapoints().control(&datapoints().body(&values).unwrap()), Ok(values));
    }
}
