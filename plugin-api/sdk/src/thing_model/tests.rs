use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;
use crate::Value;

#[test]
fn the_product_document_is_read_with_its_defaults() {
    let model = model();
    assert_eq!((model.product_key.as_str(), model.raw), ("pk-1", false));
    let target = model.property_of_cloud("temp").expect("the property is mapped");
    assert_eq!(target.field.kind, Kind::Decimal { scale: 1, min: 160, max: 300, step: 5 });
    assert_eq!((target.writable, target.class, target.history), (true, Class::Value, History::Latest));
    assert_eq!(model.property(DatapointId(5)).map(|property| property.field.name.as_str()), Some("blob"));
    assert_eq!(model.property_named("mode").map(|property| property.class), Some(Class::Alarm));
    assert_eq!(model.event_of_cloud("leak").map(|event| event.params.len()), Some(1));
    let action = model.action_of_cloud("doReset").expect("the action is mapped");
    assert_eq!(action.param_of_cloud("depth").map(|field| field.id), Some(DatapointId(0)));
    assert!(model.property(DatapointId(99)).is_none());
}

#[test]
fn a_document_that_cannot_be_used_is_refused_by_name() {
    check_document(r#"{"name":"x"}"#, "product document: missing field `product_key` at line 1 column 12");
    check_document(
        r#"{"product_key":"k","properties":[{"id":0,"name":"a","type":"complex"}]}"#,
        "product document: `a` has the unknown type `complex`",
    );
    check_document(
        r#"{"product_key":"k","properties":[{"id":0,"name":"a","type":"int","min":"0.5"}]}"#,
        "product document: `a` has `min` = `0.5`, which is not a number with no more digits after the point than `scale`",
    );
    check_document(
        r#"{"product_key":"k","properties":[{"id":0,"name":"a","type":"enum","labels":["x","y"],"cloud_labels":["0"]}]}"#,
        "product document: `a` has 2 values, but 1 labels for the cloud",
    );
    check_document(
        r#"{"product_key":"k","properties":[{"id":0,"name":"a","type":"int","cloud_shift":19}]}"#,
        "product document: `a` has `cloud_shift` = `19`, which is not from -18 to 18",
    );
}

#[test]
fn values_become_json_with_the_clouds_labels_and_shift() {
    check("power", Value::Bool(true), "true");
    check("fan", Value::Bool(false), "\"off\"");
    check("target", Value::Decimal { mantissa: 215, scale: 1 }, "215");
    check("count", Value::Int(i64::MIN), "-9223372036854775808");
    check("mode", Value::Enum(1), "\"1\"");
    check("blob", Value::Bytes(vec![0xDE, 0xAD, 0]), "\"dead00\"");
    check("note", Value::Text("a \"b\"\n".to_owned()), r#""a \"b\"\n""#);
    check("extra", Value::Json(r#"{"a":[1.50]}"#.to_owned()), r#"{"a":[1.50]}"#);
    check("price", Value::Decimal { mantissa: 2150, scale: 2 }, "21.50");
    check("far", Value::Int(12), "0.012");
    check("near", Value::Int(-3), "-3000");
}

#[test]
fn the_other_ways_of_writing_a_value_are_understood() {
    for (field, json, value) in [
        ("power", "1", Value::Bool(true)),
        ("power", "\"0\"", Value::Bool(false)),
        ("power", "\"true\"", Value::Bool(true)),
        ("fan", "1", Value::Bool(true)),
        ("count", "\"42\"", Value::Int(42)),
        ("count", "42.000", Value::Int(42)),
        ("count", "4.2e1", Value::Int(42)),
        ("count", "-0", Value::Int(0)),
        ("target", "\"215\"", Value::Decimal { mantissa: 215, scale: 1 }),
        ("price", "21.5", Value::Decimal { mantissa: 2150, scale: 2 }),
        ("price", "0.1", Value::Decimal { mantissa: 10, scale: 2 }),
        ("mode", "0", Value::Enum(0)),
        ("blob", "\"DEad\"", Value::Bytes(vec![0xDE, 0xAD])),
        ("near", "5000", Value::Int(5)),
    ] {
        assert_eq!(from_json(field, json), Ok(value), "{field} {json}");
    }
}

#[test]
fn what_means_no_value_is_refused_with_what_would_be_taken() {
    for (field, json, says) in [
        ("power", "2", "`power` takes true or false, not 2"),
        ("fan", "\"dim\"", "`fan` takes one of off, on, not dim"),
        ("count", "9223372036854775808", "`count` takes 64-bit numbers, and 9223372036854775808 is beyond them"),
        ("count", &"9".repeat(60), &format!("`count` takes 64-bit numbers, and {}… is beyond them", "9".repeat(40))),
        ("count", "1.5", "`count` takes numbers with at most 0 digits after the point, not 1.5"),
        ("count", "null", "`count` takes a whole number, not null"),
        ("count", "\"\"", "`count` takes a whole number, not "),
        ("count", "true", "`count` takes a whole number, not true"),
        ("count", "1e999999999", "`count` takes a whole number, not 1e999999999"),
        ("target", "21.55", "`temp` takes numbers with at most 0 digits after the point, not 21.55"),
        ("price", "0.123", "`price` takes numbers with at most 2 digits after the point, not 0.123"),
        ("mode", "7", "`mode` takes one of 0, 1, not 7"),
        ("blob", "\"abc\"", "`blob` takes bytes as hexadecimal text, not abc"),
        ("note", "5", "`note` takes text, not 5"),
        ("power", "{\"a\":1}", "`power` takes true or false, not {\"a\":1}"),
    ] {
        assert_eq!(from_json(field, json).map_err(|error| error.to_string()), Err(says.to_owned()), "{field} {json}");
    }
}

#[test]
fn a_value_of_another_type_has_no_json() {
    let refused = field("count").to_json(&Value::Bool(true)).map_err(|error| error.to_string());
    assert_eq!(refused.map(|json| json.to_string()), Err("`count` takes int, not bool".to_owned()));
    let refused = field("mode").to_json(&Value::Enum(9)).map_err(|error| error.to_string());
    assert_eq!(refused.map(|json| json.to_string()), Err("`mode` takes one of 0, 1, not 9".to_owned()));
    assert!(field("extra").to_json(&Value::Json("{".to_owned())).is_err());
}

proptest! {
    #[test]
    fn every_number_survives_the_cloud(mantissa: i64, scale in 0_u8..=18, shift in -18_i8..=18) {
        let value = Value::Decimal { mantissa, scale };
        let kind = Kind::Decimal { scale, min: i64::MIN, max: i64::MAX, step: 1 };
        let field = Field { kind, cloud_shift: shift, ..field("price") };
        let json = field.to_json(&value).expect("a decimal has JSON");
        prop_assert_eq!(field.from_json(&json), Ok(value));
    }

    #[test]
    fn every_text_and_all_bytes_survive_the_cloud(text: String, bytes: Vec<u8>) {
        for (name, value) in [("note", Value::Text(text)), ("blob", Value::Bytes(bytes))] {
            let json = field(name).to_json(&value).expect("it has JSON");
            prop_assert_eq!(field(name).from_json(&json), Ok(value));
        }
    }

    #[test]
    fn no_text_panics_any_field(text: String, numberish in "-?[0-9]{0,50}([.][0-9]{0,50})?([eE]-?[0-9]{0,12})?") {
        for property in model().properties {
            for text in [&text, &numberish] {
                let _ = property.field.from_text(text);
                if let Ok(json) = serde_json::from_str::<Box<RawValue>>(text) {
                    let _ = property.field.from_json(&json);
                }
            }
        }
    }

    #[test]
    fn no_text_panics_the_document(text in "\\PC*", braces in r#"[\[\]{}":,0-9a-z]*"#) {
        let _ = (ThingModel::parse(&text), ThingModel::parse(&braces));
    }
}

/// The value has this JSON, and the JSON means the value.
#[track_caller]
fn check(name: &str, value: Value, json: &str) {
    let written = field(name).to_json(&value).expect("the value has JSON");
    assert_eq!(written.get(), json);
    assert_eq!(from_json(name, json), Ok(value));
}

#[track_caller]
fn check_document(json: &str, says: &str) {
    assert_eq!(ThingModel::parse(json).map_err(|error| error.to_string()), Err(says.to_owned()));
}

fn from_json(name: &str, json: &str) -> Result<Value, ValueError> {
    field(name).from_json(&RawValue::from_string(json.to_owned()).expect("the test gives JSON"))
}

fn field(name: &str) -> Field {
    model().property_named(name).expect("the test's model has it").field.clone()
}

fn model() -> ThingModel {
    ThingModel::parse(DOCUMENT).expect("the test's document is right")
}

const DOCUMENT: &str = r#"{"product_key":"pk-1","name":"Lamp","raw":false,"unknown":{"a":1},
    "properties":[
        {"id":0,"name":"power","cloud_name":"power","type":"bool","writable":true,"history":"latest","class":"value"},
        {"id":1,"name":"target","cloud_name":"temp","type":"decimal","scale":1,"min":"16.0","max":"30.0","step":"0.5",
         "writable":true,"cloud_shift":1},
        {"id":2,"name":"mode","type":"enum","labels":["auto","cool"],"cloud_labels":["0","1"],"class":"alarm"},
        {"id":3,"name":"count","type":"int","unit":"l","title":"Count"},
        {"id":4,"name":"note","type":"text","max_bytes":64},
        {"id":5,"name":"blob","type":"bytes","max_bytes":64},
        {"id":6,"name":"extra","type":"json","max_bytes":64,"history":"all"},
        {"id":7,"name":"price","type":"decimal","scale":2},
        {"id":8,"name":"far","type":"int","cloud_shift":-3},
        {"id":9,"name":"near","type":"int","cloud_shift":3},
        {"id":10,"name":"fan","type":"bool","cloud_labels":["off","on"]}],
    "events":[{"id":0,"name":"leak","params":[{"id":0,"name":"rate","type":"int"}]}],
    "actions":[{"id":0,"name":"reset","cloud_name":"doReset","params":[{"id":0,"name":"depth","type":"int"}]}]}"#;
