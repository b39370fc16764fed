//! The thing model: what a product can report and be told, and the one place where values are checked for all clouds.
//!
//! Pure: no I/O, no clock.

mod digest;
pub mod gizwits_import;

use polylink_plugin_api::Value;

/// One kind of device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// The product key that the MCU names.
    pub key: String,
    /// For people.
    pub name: String,
    /// Properties; a property's id is its position here.
    pub properties: Vec<Property>,
    /// Events; ids are positions.
    pub events: Vec<Event>,
    /// Actions; ids are positions.
    pub actions: Vec<Action>,
    /// Whether uninterpreted bytes pass in both directions.
    pub raw: bool,
}

/// A named, typed datum: a property, or a parameter of an event or action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name in this product: `a-z`, `A-Z`, digits, `_`; unique among its siblings.
    pub name: String,
    /// For people; may be empty.
    pub title: String,
    /// Unit symbol; may be empty.
    pub unit: String,
    /// Type and limits.
    pub kind: Kind,
}

/// Type and limits of a field. Limits are inclusive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// On or off.
    Bool,
    /// Whole numbers `min`, `min + step`, …, `max`.
    Int {
        /// Least.
        min: i64,
        /// Greatest.
        max: i64,
        /// At least 1.
        step: i64,
    },
    /// Decimals with exactly `scale` digits after the point; limits are mantissas of that scale.
    Decimal {
        /// Digits after the point, at most 18.
        scale: u8,
        /// Least mantissa.
        min: i64,
        /// Greatest mantissa.
        max: i64,
        /// Step of the mantissa, at least 1.
        step: i64,
    },
    /// One of these labels, by index.
    Enum {
        /// Labels, unique.
        labels: Vec<String>,
    },
    /// UTF-8 text of at most so many bytes.
    Text {
        /// Bytes.
        max_bytes: usize,
    },
    /// At most so many bytes.
    Bytes {
        /// Bytes.
        max_bytes: usize,
    },
    /// A JSON document of at most so many bytes.
    Json {
        /// Bytes.
        max_bytes: usize,
    },
}

/// A datapoint that has a current value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// Name, type, limits.
    pub field: Field,
    /// Clouds may set it.
    pub writable: bool,
    /// What is kept for a cloud that is behind.
    pub history: History,
    /// How important a change is.
    pub class: Class,
}

/// What is kept of a property for a cloud that is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum History {
    /// The newest value replaces older ones that wait.
    #[default]
    Latest,
    /// Every value is delivered.
    All,
}

/// What kind of news a datapoint carries. Alarms and faults are never coalesced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Class {
    /// An ordinary value.
    #[default]
    Value,
    /// An alarm.
    Alarm,
    /// A fault of the device.
    Fault,
}

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// For people.
    pub title: String,
    /// Its parameters; ids are positions.
    pub params: Vec<Field>,
}

/// Something the device can be told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Its name.
    pub name: String,
    /// For people.
    pub title: String,
    /// May be carried out twice without harm, so it may be sent again.
    pub idempotent: bool,
    /// Its parameters; ids are positions.
    pub params: Vec<Field>,
    /// What it returns; ids are positions.
    pub returns: Vec<Field>,
}

/// Why a value does not fit a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Another type.
    #[error("`{field}` takes {expected}, not {found}")]
    Type {
        /// The field.
        field: String,
        /// What it takes.
        expected: &'static str,
        /// What came.
        found: &'static str,
    },
    /// Out of range, off the step, too long, no such label.
    #[error("`{field}` takes {expected}, not {found}")]
    Range {
        /// The field.
        field: String,
        /// What it takes, such as `16.0 to 30.0 in steps of 0.5`.
        expected: String,
        /// What came.
        found: String,
    },
}

impl Field {
    /// Whether the value fits: its type exactly (a decimal with the field's scale), its range, step and length.
    ///
    /// # Errors
    /// What the field takes, and what came.
    pub fn check(&self, value: &Value) -> Result<(), ValueError> {
        let fits = match (&self.kind, value) {
            (Kind::Bool, Value::Bool(_)) => true,
            (Kind::Int { min, max, step }, Value::Int(value)) => on_grid(*value, *min, *max, *step),
            (Kind::Decimal { scale, min, max, step }, Value::Decimal { mantissa, scale: found }) => {
                scale == found && on_grid(*mantissa, *min, *max, *step)
            }
            (Kind::Enum { labels }, Value::Enum(index)) => (*index as usize) < labels.len(),
            (Kind::Text { max_bytes }, Value::Text(text)) => text.len() <= *max_bytes,
            (Kind::Bytes { max_bytes }, Value::Bytes(bytes)) => bytes.len() <= *max_bytes,
            (Kind::Json { max_bytes }, Value::Json(text)) => text.len() <= *max_bytes,
            (kind, value) => {
                return Err(ValueError::Type { field: self.name.clone(), expected: kind.name(), found: value.kind() });
            }
        };
        if fits {
            return Ok(());
        }
        let found = match value {
            Value::Text(text) | Value::Json(text) => format!("{} bytes", text.len()),
            Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
            value => value.to_string(),
        };
        Err(ValueError::Range { field: self.name.clone(), expected: self.kind.to_string(), found })
    }
}

impl Kind {
    /// The type's name in product files.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int { .. } => "int",
            Self::Decimal { .. } => "decimal",
            Self::Enum { .. } => "enum",
            Self::Text { .. } => "text",
            Self::Bytes { .. } => "bytes",
            Self::Json { .. } => "json",
        }
    }
}

/// What a value may be, for messages: `16.0 to 30.0 in steps of 0.5`.
impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bool => f.write_str("true or false"),
            Self::Int { min, max, step: 1 } => write!(f, "{min} to {max}"),
            Self::Int { min, max, step } => write!(f, "{min} to {max} in steps of {step}"),
            Self::Decimal { scale, min, max, step } => {
                let decimal = |mantissa| Value::Decimal { mantissa, scale: *scale };
                write!(f, "{} to {}", decimal(*min), decimal(*max))?;
                if *step == 1 {
                    write!(f, " with {scale} decimals")
                } else {
                    write!(f, " in steps of {}", decimal(*step))
                }
            }
            Self::Enum { labels } => write!(f, "one of {}", labels.join(", ")),
            Self::Text { max_bytes } => write!(f, "at most {max_bytes} bytes of text"),
            Self::Bytes { max_bytes } => write!(f, "at most {max_bytes} bytes"),
            Self::Json { max_bytes } => write!(f, "at most {max_bytes} bytes of JSON"),
        }
    }
}

impl Product {
    /// The property of this name, with its id.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<(u32, &Property)> {
        (0u32..).zip(&self.properties).find(|(_, property)| property.field.name == name)
    }
}

fn on_grid(value: i64, min: i64, max: i64, step: i64) -> bool {
    value >= min && value <= max && (i128::from(value) - i128::from(min)) % i128::from(step.max(1)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: Kind, accepted: &[Value], refused: &[(Value, &str)]) {
        let field = Field { name: "x".into(), title: String::new(), unit: String::new(), kind };
        for value in accepted {
            assert_eq!(field.check(value), Ok(()), "{value:?}");
        }
        for (value, message) in refused {
            assert_eq!(field.check(value).unwrap_err().to_string(), format!("`x` takes {message}"), "{value:?}");
        }
    }

    fn decimal(mantissa: i64, scale: u8) -> Value {
        Value::Decimal { mantissa, scale }
    }

    #[test]
    fn a_number_is_within_its_limits_and_on_its_step_counted_from_the_least() {
        check(
            Kind::Int { min: 1, max: 9, step: 4 },
            &[Value::Int(1), Value::Int(5), Value::Int(9)],
            &[
                (Value::Int(4), "1 to 9 in steps of 4, not 4"),
                (Value::Int(-3), "1 to 9 in steps of 4, not -3"),
                (Value::Int(13), "1 to 9 in steps of 4, not 13"),
                (decimal(50, 1), "int, not decimal"),
            ],
        );
    }

    #[test]
    fn limits_at_the_ends_of_64_bits_do_not_overflow() {
        let whole = Kind::Int { min: i64::MIN, max: i64::MAX, step: 2 };
        check(whole, &[Value::Int(i64::MIN), Value::Int(i64::MAX - 1)], &[]);
    }

    #[test]
    fn a_decimal_has_exactly_the_digits_of_its_field() {
        check(
            Kind::Decimal { scale: 1, min: 160, max: 300, step: 5 },
            &[decimal(160, 1), decimal(215, 1), decimal(300, 1)],
            &[
                (decimal(2150, 2), "16.0 to 30.0 in steps of 0.5, not 21.50"),
                (decimal(213, 1), "16.0 to 30.0 in steps of 0.5, not 21.3"),
                (Value::Int(20), "decimal, not int"),
            ],
        );
    }

    #[test]
    fn an_enum_is_an_index_of_its_labels() {
        let kind = Kind::Enum { labels: vec!["auto".into(), "cool".into()] };
        check(kind, &[Value::Enum(0), Value::Enum(1)], &[(Value::Enum(2), "one of auto, cool, not 2")]);
    }

    #[test]
    fn lengths_count_bytes_and_messages_do_not_repeat_the_content() {
        let long = Value::text("grüner");
        check(Kind::Text { max_bytes: 6 }, &[Value::text("grün")], &[(long, "at most 6 bytes of text, not 7 bytes")]);
        let bytes = Value::bytes([1, 0, 0]);
        check(Kind::Bytes { max_bytes: 2 }, &[Value::bytes([1, 0])], &[(bytes, "at most 2 bytes, not 3 bytes")]);
        let json = Value::json("[1,2]");
        check(Kind::Json { max_bytes: 4 }, &[Value::json("[1]")], &[(json, "at most 4 bytes of JSON, not 5 bytes")]);
    }

    #[test]
    fn a_bool_is_nothing_else() {
        check(
            Kind::Bool,
            &[Value::Bool(true)],
            &[(Value::Int(1), "bool, not int"), (Value::text("true"), "bool, not text")],
        );
    }
}
