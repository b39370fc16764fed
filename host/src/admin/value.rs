//! Values as people type them.

use polylink_plugin_api::Value;

use crate::config::decimal::mantissa;
use crate::product::{Field, Kind, ValueError};

/// Reads a value for this field: `on`, `21.5`, an enum's label, bytes as hex.
///
/// # Errors
/// What the field takes, and what was typed.
pub fn parse_value(field: &Field, text: &str) -> Result<Value, ValueError> {
    let value = match &field.kind {
        Kind::Bool => match text {
            "true" | "on" | "1" => Some(Value::Bool(true)),
            "false" | "off" | "0" => Some(Value::Bool(false)),
            _ => None,
        },
        Kind::Int { .. } => mantissa(text, 0).map(Value::Int),
        Kind::Decimal { scale, .. } => {
            mantissa(text, *scale).map(|mantissa| Value::Decimal { mantissa, scale: *scale })
        }
        Kind::Enum { labels } => {
            (0u32..).zip(labels).find(|(_, label)| *label == text).map(|(index, _)| Value::Enum(index))
        }
        Kind::Text { .. } => Some(Value::text(text)),
        Kind::Bytes { .. } => bytes_of_hex(text).map(Value::bytes),
        Kind::Json { .. } => serde_json::from_str::<&serde_json::value::RawValue>(text).ok().map(|_| Value::json(text)),
    };
    let value = value.ok_or_else(|| ValueError::Range {
        field: field.name.clone(),
        expected: match field.kind {
            Kind::Bytes { max_bytes } => format!("at most {max_bytes} bytes as pairs of hex digits"),
            _ => field.kind.to_string(),
        },
        found: crate::config::tree::quote(text),
    })?;
    field.check(&value)?;
    Ok(value)
}

/// A value as people read it: an enum by its label, everything else as [`Value`] shows it.
#[must_use]
pub fn show_value(field: &Field, value: &Value) -> String {
    match (&field.kind, value) {
        (Kind::Enum { labels }, Value::Enum(index)) => {
            labels.get(*index as usize).cloned().unwrap_or_else(|| index.to_string())
        }
        _ => value.to_string(),
    }
}

fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text.chars().filter(|c| *c != ' ').map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    let pairs = digits.chunks(2);
    pairs.map(|pair| if let [high, low] = pair { u8::try_from(high * 16 + low).ok() } else { None }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field(kind: Kind) -> Field {
        Field { name: "x".into(), title: String::new(), unit: String::new(), kind }
    }

    #[track_caller]
    fn check(kind: Kind, text: &str, expected: Result<Value, &str>) {
        let found = parse_value(&field(kind), text).map_err(|error| error.to_string());
        assert_eq!(found, expected.map_err(str::to_owned));
    }

    #[test]
    fn typed_values_have_the_form_of_their_field() {
        check(Kind::Bool, "on", Ok(Value::Bool(true)));
        check(Kind::Int { min: -5, max: 5, step: 1 }, "-3", Ok(Value::Int(-3)));
        let target = Kind::Decimal { scale: 1, min: 160, max: 300, step: 5 };
        check(target, "21", Ok(Value::Decimal { mantissa: 210, scale: 1 }));
        check(Kind::Enum { labels: vec!["auto".into(), "cool".into()] }, "cool", Ok(Value::Enum(1)));
        check(Kind::Bytes { max_bytes: 4 }, "de ad00", Ok(Value::bytes([0xDE, 0xAD, 0])));
        check(Kind::Json { max_bytes: 40 }, "{\"a\": 1}", Ok(Value::json("{\"a\": 1}")));
    }

    #[test]
    fn what_does_not_fit_is_answered_with_what_would() {
        let target = Kind::Decimal { scale: 1, min: 160, max: 300, step: 5 };
        check(target.clone(), "21.3", Err("`x` takes 16.0 to 30.0 in steps of 0.5, not 21.3"));
        check(target, "warm", Err("`x` takes 16.0 to 30.0 in steps of 0.5, not \"warm\""));
        check(Kind::Enum { labels: vec!["auto".into()] }, "7", Err("`x` takes one of auto, not \"7\""));
        check(
            Kind::Bytes { max_bytes: 4 },
            "abc",
            Err("`x` takes at most 4 bytes as pairs of hex digits, not \"abc\""),
        );
        check(Kind::Bool, "ja", Err("`x` takes true or false, not \"ja\""));
    }

    proptest! {
        #[test]
        fn no_text_can_panic_it(text: String) {
            for kind in [Kind::Bytes { max_bytes: 8 }, Kind::Decimal { scale: 18, min: i64::MIN, max: i64::MAX, step: 1 }] {
                let _ = parse_value(&field(kind), &text);
            }
        }
    }
}
