//! A plugin's settings against the plugin's own JSON Schema.
//!
//! The subset: `type`, `properties`, `required`, `enum`, `minimum`, `maximum`, `minLength`, `maxLength`, `minItems`,
//! `maxItems`, `items`, `additionalProperties` (false unless the schema says otherwise), and `x-secret`, which marks a
//! setting whose value nobody is shown. Other words are for people and are passed over.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::error::{Problem, nearest};
use super::read::one_of;
use super::tree::quote;

/// Something that the schema does not accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The dotted key within the settings; empty for the settings as a whole.
    pub key: String,
    /// What is wrong.
    pub problem: Problem,
}

/// Checks settings. `secrets` are the keys whose values must not be shown; those with `x-secret` are not shown either.
#[must_use]
pub fn check(settings: &Value, schema: &str, secrets: &BTreeSet<String>) -> Vec<Finding> {
    match serde_json::from_str::<Value>(schema) {
        Ok(schema @ Value::Object(_)) => {
            let mut checker = Checker { secrets, findings: Vec::new() };
            checker.value("", settings, &schema);
            checker.findings
        }
        _ => vec![Finding {
            key: String::new(),
            problem: Problem::Other("cannot be checked: the plugin's settings schema is no JSON object".to_owned()),
        }],
    }
}

/// The dotted keys of the texts that the schema calls secret.
#[must_use]
pub fn secret_keys(settings: &Value, schema: &str) -> Vec<String> {
    let mut keys = Vec::new();
    if let Ok(schema) = serde_json::from_str::<Value>(schema) {
        collect_secrets("", settings, &schema, &mut keys);
    }
    keys
}

struct Checker<'a> {
    secrets: &'a BTreeSet<String>,
    findings: Vec<Finding>,
}

impl Checker<'_> {
    fn value(&mut self, key: &str, value: &Value, schema: &Value) {
        // A reference that could not be resolved has been reported where it stands.
        if value.is_null() {
            return;
        }
        if let Some(expected) = unacceptable(value, schema) {
            let hidden = self.secrets.contains(key) || is_secret(schema);
            let found = if hidden { "<secret>".to_owned() } else { describe(value) };
            self.add(key, Problem::Unacceptable { found, expected });
            return;
        }
        match value {
            Value::Object(members) => self.object(key, members, schema),
            Value::Array(items) => {
                if let Some(schema) = schema.get("items") {
                    for (index, item) in items.iter().enumerate() {
                        self.value(&join(key, &index.to_string()), item, schema);
                    }
                }
            }
            _ => {}
        }
    }

    fn object(&mut self, key: &str, members: &Map<String, Value>, schema: &Value) {
        let nothing = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&nothing);
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        for name in required.filter_map(Value::as_str).filter(|name| !members.contains_key(*name)) {
            let expected = properties.get(name).map_or("a value".to_owned(), expected);
            self.add(&join(key, name), Problem::Missing { expected });
        }
        let additional = schema.get("additionalProperties");
        for (name, value) in members {
            match (properties.get(name), additional) {
                (Some(schema), _) => self.value(&join(key, name), value, schema),
                (None, Some(Value::Bool(true))) => {}
                (None, Some(schema @ Value::Object(_))) => self.value(&join(key, name), value, schema),
                (None, _) => {
                    let problem = Problem::UnknownKey {
                        suggestion: nearest(name, properties.keys().map(String::as_str)),
                        known: properties.keys().cloned().collect(),
                    };
                    self.add(&join(key, name), problem);
                }
            }
        }
    }

    fn add(&mut self, key: &str, problem: Problem) {
        self.findings.push(Finding { key: key.to_owned(), problem });
    }
}

/// What is expected instead, if the value itself is not acceptable; its members are not looked at.
fn unacceptable(value: &Value, schema: &Value) -> Option<String> {
    let types = type_names(schema);
    if !types.is_empty() && !types.iter().any(|name| has_type(value, name)) {
        return Some(expected(schema));
    }
    if schema.get("enum").and_then(Value::as_array).is_some_and(|words| !words.contains(value)) {
        return Some(expected(schema));
    }
    let length = match value {
        Value::String(text) => Some((text.chars().count(), "minLength", "maxLength")),
        Value::Array(items) => Some((items.len(), "minItems", "maxItems")),
        _ => None,
    };
    let fits = match (value, length) {
        (Value::Number(_), _) => in_range(value, schema),
        (_, Some((length, least, most))) => {
            let bound = |word: &str| schema.get(word).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
            bound(least).is_none_or(|least| length >= least) && bound(most).is_none_or(|most| length <= most)
        }
        _ => true,
    };
    (!fits).then(|| expected(schema))
}

fn in_range(value: &Value, schema: &Value) -> bool {
    let bound = |word: &str| schema.get(word);
    match (value.as_i64(), value.as_f64()) {
        // Whole numbers are compared as such where the bound is one too.
        (Some(number), _) => {
            bound("minimum").is_none_or(|least| {
                least.as_i64().map_or(least.as_f64().is_none_or(|l| number as f64 >= l), |l| number >= l)
            }) && bound("maximum").is_none_or(|most| {
                most.as_i64().map_or(most.as_f64().is_none_or(|m| number as f64 <= m), |m| number <= m)
            })
        }
        (None, Some(number)) => {
            bound("minimum").and_then(Value::as_f64).is_none_or(|least| number >= least)
                && bound("maximum").and_then(Value::as_f64).is_none_or(|most| number <= most)
        }
        _ => true,
    }
}

/// What the schema accepts, for messages.
#[must_use]
pub fn expected(schema: &Value) -> String {
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return one_of(&words.iter().map(Value::to_string).collect::<Vec<_>>());
    }
    let names: Vec<String> = type_names(schema).iter().map(|name| type_phrase(name).to_owned()).collect();
    let phrase = if names.is_empty() { "a value".to_owned() } else { one_of(&names) };
    let bound = |word: &str| schema.get(word).filter(|bound| bound.is_number()).map(Value::to_string);
    let range = |least: Option<String>, most: Option<String>, unit: &str| match (least, most) {
        (Some(least), Some(most)) if unit.is_empty() => format!(" from {least} to {most}"),
        (Some(least), Some(most)) => format!(" of {least} to {most}{unit}"),
        (Some(least), None) => format!(" of at least {least}{unit}"),
        (None, Some(most)) => format!(" of at most {most}{unit}"),
        (None, None) => String::new(),
    };
    let number = range(bound("minimum"), bound("maximum"), "");
    let length = range(bound("minLength"), bound("maxLength"), " characters");
    let items = range(bound("minItems"), bound("maxItems"), " items");
    format!("{phrase}{number}{length}{items}")
}

fn type_names(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn has_type(value: &Value, name: &str) -> bool {
    match name {
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

fn type_phrase(name: &str) -> &str {
    match name {
        "boolean" => "true or false",
        "integer" => "a whole number",
        "number" => "a number",
        "string" => "a text",
        "array" => "a list",
        "object" => "a table",
        other => other,
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a table".to_owned(),
        scalar => scalar.to_string(),
    }
}

fn is_secret(schema: &Value) -> bool {
    schema.get("x-secret") == Some(&Value::Bool(true))
}

fn collect_secrets(key: &str, value: &Value, schema: &Value, keys: &mut Vec<String>) {
    if is_secret(schema) {
        keys.push(key.to_owned());
        return;
    }
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let schema =
                    schema.get("properties").and_then(|all| all.get(name)).or(schema.get("additionalProperties"));
                if let Some(schema) = schema {
                    collect_secrets(&join(key, name), value, schema, keys);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for (index, item) in items.iter().enumerate() {
                    collect_secrets(&join(key, &index.to_string()), item, schema, keys);
                }
            }
        }
        _ => {}
    }
}

fn join(parent: &str, key: &str) -> String {
    if parent.is_empty() { key.to_owned() } else { format!("{parent}.{key}") }
}
