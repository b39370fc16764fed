//! Whether the JSON Schema of a plugin's settings says what its code does. Each function fails the test if not.

use std::collections::BTreeSet;
use std::fmt::Debug;

use serde_json::{Value, json};

/// The schema describes exactly the keys that the code knows, each with a type and with titles in English and Chinese, and its
/// defaults are those of the code.
///
/// `required` are settings with no more than what must be given, and `parse` reads settings; its error for a key that does not
/// exist has to list the keys that do, as [`crate::settings::parse`] makes it.
#[track_caller]
pub fn has_the_keys_and_defaults_of_the_code<T: Debug>(
    schema: &str,
    required: &Value,
    parse: impl Fn(&Value) -> Result<T, String>,
) {
    let schema = read(schema);
    let properties = schema["properties"].as_object().expect("a schema has properties");
    let described: BTreeSet<&str> = properties.keys().map(String::as_str).collect();
    let mut unknown = required.clone();
    unknown["no_such_key"] = json!(1);
    let error = parse(&unknown).expect_err("an unknown key");
    let known: BTreeSet<&str> = error.split('`').skip(3).step_by(2).collect();
    assert_eq!(described, known, "the keys of the schema, and those of the code");
    assert_eq!(schema["additionalProperties"], Value::Bool(false), "additionalProperties");

    let mut explicit = required.clone();
    for (key, property) in properties {
        for title in ["title", "x-title-zh", "type"] {
            assert!(property[title].as_str().is_some_and(|text| !text.is_empty()), "{key} has no {title}");
        }
        if let Some(default) = property.get("default").filter(|_| explicit.get(key).is_none()) {
            explicit[key] = default.clone();
        }
    }
    let shown = |settings: &Value| format!("{:?}", parse(settings).expect("usable settings"));
    assert_eq!(shown(&explicit), shown(required), "with the defaults of the schema, and with those of the code");
}

/// The code takes each value of an enum, each bound and both truth values, and refuses what is beyond them or of another type,
/// by an error that names the key. `changed` reads usable settings in which this key has this value.
///
/// Values of an enum must lead to different settings, as [`Debug`] shows them, except for those of the keys in `hidden`.
/// Returns the number of enums.
#[track_caller]
pub fn takes_what_the_code_takes<T: Debug>(
    schema: &str,
    hidden: &[&str],
    changed: impl Fn(&str, &Value) -> Result<T, String>,
) -> usize {
    let takes = |key: &str, value: &Value| {
        let result = changed(key, value);
        assert!(result.is_ok(), "{key} = {value}: {result:?}");
    };
    let refuses = |key: &str, value: &Value| {
        let error = changed(key, value).expect_err(&format!("{key} = {value}"));
        assert!(error.contains(key), "{error}");
    };
    let mut n_enums = 0;
    for (key, property) in read(schema)["properties"].as_object().expect("a schema has properties") {
        let is_text = property["type"] == "string";
        if let Some(values) = property["enum"].as_array() {
            n_enums += 1;
            values.iter().for_each(|value| takes(key, value));
            let distinct: BTreeSet<String> = values.iter().map(|value| format!("{:?}", changed(key, value))).collect();
            assert!(hidden.contains(&key.as_str()) || distinct.len() == values.len(), "{key}");
            refuses(key, &if is_text { json!("other") } else { json!(i64::MAX) });
        }
        for (bound, beyond) in [("minimum", -1), ("maximum", 1)] {
            if let Some(bound) = property[bound].as_i64() {
                takes(key, &json!(bound));
                refuses(key, &json!(bound + beyond));
            }
        }
        if property["type"] == "boolean" {
            takes(key, &json!(true));
            takes(key, &json!(false));
        }
        refuses(key, &if is_text { json!(7) } else { json!("seven") });
    }
    n_enums
}

fn read(schema: &str) -> Value {
    serde_json::from_str(schema).expect("a schema is JSON")
}
