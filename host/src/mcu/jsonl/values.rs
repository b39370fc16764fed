//! The product's values as JSON text. Numbers go from text to decimal and back without a float in between.

use polylink_p0::Decimal;
use polylink_plugin_api::{DatapointId, Property, Value};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

use crate::product::{Field, Kind};

/// Members of a JSON object, each as its text.
pub(super) type Members = BTreeMap<String, Box<RawValue>>;

/// The values of the fields named by the members, ascending by id; `problem` gets what does not fit.
pub(super) fn read<'f>(
    members: &Members,
    fields: impl Iterator<Item = &'f Field>,
    mut problem: impl FnMut(String),
) -> Vec<Property> {
    let mut properties = Vec::new();
    let mut known = 0;
    for (id, field) in (0u32..).zip(fields) {
        let Some(text) = members.get(&field.name) else { continue };
        known += 1;
        match value(field, text.get()) {
            Ok(value) => properties.push(Property { id: DatapointId(id), value }),
            Err(error) => problem(error),
        }
    }
    if known < members.len() {
        problem(format!("{} of {} members are not in the thing model", members.len() - known, members.len()));
    }
    properties
}

/// The value that a JSON text means for a field. Decimals are rounded to the field's digits, halves up: a
/// microcontroller prints 21.299999 for 21.3.
pub(super) fn value(field: &Field, json: &str) -> Result<Value, String> {
    let wrong = || {
        let shown: String = json.chars().take(40).collect();
        format!("`{}` takes {}, not {shown}", field.name, accepted(&field.kind))
    };
    let string = || serde_json::from_str::<String>(json).map_err(|_| wrong());
    let number = || Decimal::parse(json).map_err(|_| wrong());
    let value = match &field.kind {
        Kind::Bool => match json {
            "true" | "1" => Value::Bool(true),
            "false" | "0" => Value::Bool(false),
            _ => return Err(wrong()),
        },
        Kind::Int { .. } => Value::Int(number()?.exactly(0).ok_or_else(wrong)?.mantissa),
        Kind::Decimal { scale, .. } => {
            let Decimal { mantissa, scale } = number()?.rounded(*scale).ok_or_else(wrong)?;
            Value::Decimal { mantissa, scale }
        }
        Kind::Enum { labels } if json.starts_with('"') => {
            let label = string()?;
            let index = labels.iter().position(|known| *known == label).ok_or_else(wrong)?;
            Value::Enum(u32::try_from(index).map_err(|_| wrong())?)
        }
        Kind::Enum { .. } => Value::Enum(json.parse().map_err(|_| wrong())?),
        Kind::Text { .. } => Value::text(string()?),
        Kind::Bytes { .. } => Value::bytes(unhex(&string()?).ok_or_else(wrong)?),
        Kind::Json { .. } => Value::json(json),
    };
    field.check(&value).map_err(|error| error.to_string())?;
    Ok(value)
}

/// The JSON text of a value, on one line.
pub(super) fn text(field: &Field, value: &Value) -> String {
    match (value, &field.kind) {
        (Value::Enum(index), Kind::Enum { labels }) => match labels.get(*index as usize) {
            Some(label) => quoted(label),
            None => index.to_string(),
        },
        (Value::Text(text), _) => quoted(text),
        (Value::Bytes(bytes), _) => quoted(&hex(bytes)),
        // Line ends stand only between the tokens of a JSON document, so they may become spaces.
        (Value::Json(text), _) => text.replace(['\n', '\r'], " "),
        (value, _) => value.to_string(),
    }
}

/// A JSON string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Bytes from hex of either case.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pair = |pair: &[u8]| Some((digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?) as u8);
    text.as_bytes().chunks(2).map(pair).collect()
}

const fn accepted(kind: &Kind) -> &'static str {
    match kind {
        Kind::Bool => "true, false, 1 or 0",
        Kind::Int { .. } => "a whole number",
        Kind::Decimal { .. } => "a number of at most 18 decimals",
        Kind::Enum { .. } => "one of its labels as text, or the label's index",
        Kind::Text { .. } => "text",
        Kind::Bytes { .. } => "bytes as hex text",
        Kind::Json { .. } => "JSON",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(kind: Kind) -> Field {
        Field { name: "x".into(), title: String::new(), unit: String::new(), kind }
    }

    fn target() -> Kind {
        Kind::Decimal { scale: 1, min: 160, max: 300, step: 5 }
    }

    #[track_caller]
    fn check(kind: Kind, json: &str, expected: Value, back: &str) {
        let field = field(kind);
        assert_eq!(value(&field, json), Ok(expected.clone()));
        assert_eq!(text(&field, &expected), back);
    }

    #[track_caller]
    fn check_refused(kind: Kind, json: &str, message: &str) {
        assert_eq!(value(&field(kind), json).unwrap_err(), message);
    }

    #[test]
    fn each_kind_of_value_goes_both_ways() {
        let labels = || Kind::Enum { labels: vec!["auto".into(), "cool \"x\"".into()] };
        check(Kind::Bool, "true", Value::Bool(true), "true");
        check(Kind::Bool, "0", Value::Bool(false), "false");
        check(Kind::Int { min: -5, max: 5, step: 1 }, "-3.0", Value::Int(-3), "-3");
        check(target(), "21.5", Value::Decimal { mantissa: 215, scale: 1 }, "21.5");
        check(target(), "2.15e1", Value::Decimal { mantissa: 215, scale: 1 }, "21.5");
        check(target(), "21.4999999", Value::Decimal { mantissa: 215, scale: 1 }, "21.5");
        check(labels(), r#""cool \"x\"""#, Value::Enum(1), r#""cool \"x\"""#);
        check(labels(), "0", Value::Enum(0), r#""auto""#);
        check(Kind::Text { max_bytes: 9 }, r#""gr\u00fcn""#, Value::text("grün"), "\"grün\"");
        check(Kind::Bytes { max_bytes: 2 }, r#""Ff00""#, Value::bytes([0xFF, 0]), r#""ff00""#);
        check(Kind::Json { max_bytes: 99 }, r#"{"a":1e400}"#, Value::json(r#"{"a":1e400}"#), r#"{"a":1e400}"#);
    }

    #[test]
    fn a_large_whole_number_keeps_all_its_digits() {
        let kind = Kind::Int { min: 0, max: i64::MAX, step: 1 };
        check(kind, "9007199254740993", Value::Int(9_007_199_254_740_993), "9007199254740993");
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_would() {
        check_refused(Kind::Bool, "2", "`x` takes true, false, 1 or 0, not 2");
        check_refused(Kind::Int { min: 0, max: 9, step: 1 }, "2.5", "`x` takes a whole number, not 2.5");
        check_refused(target(), "\"21.5\"", "`x` takes a number of at most 18 decimals, not \"21.5\"");
        check_refused(target(), "21.3", "`x` takes 16.0 to 30.0 in steps of 0.5, not 21.3");
        check_refused(Kind::Bytes { max_bytes: 1 }, "\"0\"", "`x` takes bytes as hex text, not \"0\"");
        check_refused(Kind::Text { max_bytes: 1 }, "\"ab\"", "`x` takes at most 1 bytes of text, not 2 bytes");
        let kind = Kind::Enum { labels: vec!["auto".into()] };
        check_refused(kind, "\"dry\"", "`x` takes one of its labels as text, or the label's index, not \"dry\"");
    }

    #[test]
    fn a_document_with_line_ends_stays_on_one_line() {
        let document = Value::json("{\r\n\"a\": 1}");
        assert_eq!(text(&field(Kind::Json { max_bytes: 99 }), &document), "{  \"a\": 1}");
    }
}
