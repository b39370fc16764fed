//! The JSON of one value, both ways.
//!
//! Out: bools as `true` and `false`, numbers as numbers, enums as their label, bytes as lower-case hexadecimal text; with
//! `cloud_labels` and `cloud_shift` applied. In: that, and what clouds make of it: numbers as text, bools as 0, 1, "0",
//! "1", "true", "false".

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::decimal::{Number, Plain, Unfit};
use super::{Field, Kind};
use crate::{Value, hex};

/// Why a value has no JSON here, or some JSON is no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Another type.
    #[error("`{field}` takes {expected}, not {found}")]
    Type {
        /// The cloud's identifier of the field.
        field: String,
        /// What it takes.
        expected: Cow<'static, str>,
        /// What came, shortened.
        found: String,
    },
    /// A number does not fit 64 bits.
    #[error("`{field}` takes 64-bit numbers, and {found} is beyond them")]
    Large {
        /// The cloud's identifier of the field.
        field: String,
        /// What came, shortened.
        found: String,
    },
    /// A number has digits where the field has none.
    #[error("`{field}` takes numbers with at most {places} digits after the point, not {found}")]
    Fraction {
        /// The cloud's identifier of the field.
        field: String,
        /// How many digits may follow the point, at the cloud.
        places: u8,
        /// What came, shortened.
        found: String,
    },
}

impl Field {
    /// The value as JSON for the cloud.
    ///
    /// # Errors
    /// The value is of another type, has no label, or claims to be JSON and is not.
    pub fn to_json(&self, value: &Value) -> Result<Box<RawValue>, ValueError> {
        let text = self.to_text(value)?;
        let quoted = match value {
            Value::Enum(_) | Value::Text(_) | Value::Bytes(_) => true,
            Value::Bool(_) => !self.cloud_labels.is_empty(),
            Value::Int(_) | Value::Decimal { .. } | Value::Json(_) => false,
        };
        let json = if quoted { quote(&text) } else { text.into_owned() };
        RawValue::from_string(json).map_err(|_| self.type_error("a JSON document", "text that is none"))
    }

    /// The value as bare text for the cloud: what [`Self::to_json`] gives, without quotes.
    ///
    /// # Errors
    /// The value is of another type, or has no label.
    pub fn to_text<'a>(&'a self, value: &'a Value) -> Result<Cow<'a, str>, ValueError> {
        let number = |mantissa, scale: u8| {
            let exponent = i32::from(self.cloud_shift) - i32::from(scale);
            Cow::Owned(Plain { mantissa, exponent }.to_string())
        };
        Ok(match (&self.kind, value) {
            (Kind::Bool, Value::Bool(on)) => match self.cloud_labels.get(usize::from(*on)) {
                Some(label) => label.into(),
                None => if *on { "true" } else { "false" }.into(),
            },
            (Kind::Int { .. }, Value::Int(mantissa)) => number(*mantissa, 0),
            (Kind::Decimal { .. }, Value::Decimal { mantissa, scale }) => number(*mantissa, *scale),
            (Kind::Enum { labels }, Value::Enum(index)) => {
                let label = self.labels(labels).get(*index as usize);
                label.ok_or_else(|| self.label_error(labels, &index.to_string()))?.into()
            }
            (Kind::Text { .. }, Value::Text(text)) | (Kind::Json { .. }, Value::Json(text)) => text.into(),
            (Kind::Bytes { .. }, Value::Bytes(bytes)) => hex::lower(bytes).into(),
            (kind, value) => return Err(self.type_error(kind.name(), kind_of(value))),
        })
    }

    /// The value that some JSON of the cloud means.
    ///
    /// # Errors
    /// It means none for this field. Range and length are not checked here; the host does that.
    pub fn from_json(&self, json: &RawValue) -> Result<Value, ValueError> {
        let json = json.get().trim();
        if matches!(self.kind, Kind::Json { .. }) {
            return Ok(Value::Json(json.to_owned()));
        }
        if json.starts_with('"') {
            let text: String = serde_json::from_str(json).map_err(|_| self.expected(json))?;
            return self.from_text(&text);
        }
        // A bare literal is no text, whatever it would mean as one.
        if matches!(self.kind, Kind::Text { .. } | Kind::Bytes { .. }) || json.starts_with(['{', '[', 'n']) {
            return Err(self.expected(json));
        }
        self.from_text(json)
    }

    /// The value that some bare text of the cloud means.
    ///
    /// # Errors
    /// As [`Self::from_json`].
    pub fn from_text(&self, text: &str) -> Result<Value, ValueError> {
        match &self.kind {
            Kind::Bool => {
                let label = self.cloud_labels.iter().position(|label| label == text);
                match (label, text) {
                    (Some(index), _) => Ok(Value::Bool(index == 1)),
                    (None, "1" | "true") => Ok(Value::Bool(true)),
                    (None, "0" | "false") => Ok(Value::Bool(false)),
                    _ => Err(self.expected(text)),
                }
            }
            Kind::Int { .. } => self.number(text, 0).map(Value::Int),
            Kind::Decimal { scale, .. } => {
                self.number(text, *scale).map(|mantissa| Value::Decimal { mantissa, scale: *scale })
            }
            Kind::Enum { labels } => {
                let index = self.labels(labels).iter().position(|label| label == text);
                let index = index.and_then(|index| u32::try_from(index).ok());
                index.map(Value::Enum).ok_or_else(|| self.label_error(labels, text))
            }
            Kind::Text { .. } => Ok(Value::Text(text.to_owned())),
            Kind::Bytes { .. } => hex::decode(text).map(Value::Bytes).ok_or_else(|| self.expected(text)),
            Kind::Json { .. } => match serde_json::from_str::<&RawValue>(text) {
                Ok(json) => Ok(Value::Json(json.get().to_owned())),
                Err(_) => Err(self.expected(text)),
            },
        }
    }

    fn number(&self, text: &str, scale: u8) -> Result<i64, ValueError> {
        let number = Number::parse(text).ok_or_else(|| self.beyond_or_no_number(text))?;
        let back = self.cloud_shift.checked_neg().unwrap_or_default();
        number.mantissa(scale, back).map_err(|unfit| match unfit {
            Unfit::Large => ValueError::Large { field: self.cloud_name.clone(), found: shortened(text) },
            Unfit::Fraction => {
                let places = i16::from(scale) - i16::from(self.cloud_shift);
                let places = u8::try_from(places).unwrap_or(0);
                ValueError::Fraction { field: self.cloud_name.clone(), places, found: shortened(text) }
            }
        })
    }

    /// A long row of digits is a number all the same.
    fn beyond_or_no_number(&self, text: &str) -> ValueError {
        let digits = text.strip_prefix('-').unwrap_or(text);
        if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return ValueError::Large { field: self.cloud_name.clone(), found: shortened(text) };
        }
        self.expected(text)
    }

    fn labels<'a>(&'a self, labels: &'a [String]) -> &'a [String] {
        if self.cloud_labels.is_empty() { labels } else { &self.cloud_labels }
    }

    fn label_error(&self, labels: &[String], found: &str) -> ValueError {
        let expected = format!("one of {}", self.labels(labels).join(", "));
        ValueError::Type { field: self.cloud_name.clone(), expected: expected.into(), found: shortened(found) }
    }

    fn expected(&self, found: &str) -> ValueError {
        let expected = match &self.kind {
            Kind::Bool if self.cloud_labels.is_empty() => "true or false",
            Kind::Bool => {
                let expected = format!("one of {}", self.cloud_labels.join(", "));
                let (field, found) = (self.cloud_name.clone(), shortened(found));
                return ValueError::Type { field, expected: expected.into(), found };
            }
            Kind::Int { .. } => "a whole number",
            Kind::Decimal { .. } => "a number",
            Kind::Enum { labels } => return self.label_error(labels, found),
            Kind::Text { .. } => "text",
            Kind::Bytes { .. } => "bytes as hexadecimal text",
            Kind::Json { .. } => "a JSON document",
        };
        self.type_error(expected, &shortened(found))
    }

    fn type_error(&self, expected: &'static str, found: &str) -> ValueError {
        ValueError::Type { field: self.cloud_name.clone(), expected: expected.into(), found: found.to_owned() }
    }
}

/// Text as a JSON string.
fn quote(text: &str) -> String {
    // A string has no member that could fail to be written.
    serde_json::to_string(text).unwrap_or_default()
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Decimal { .. } => "decimal",
        Value::Enum(_) => "enum",
        Value::Text(_) => "text",
        Value::Bytes(_) => "bytes",
        Value::Json(_) => "json",
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Characters of a wrong value that an error repeats. Not documented; chosen by us.
const SHOWN_MAX: usize = 40;
