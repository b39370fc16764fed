//! Reads the product document: the JSON in which the host describes a product to a plugin. Members that are not known
//! here are ignored.

use serde::Deserialize;

use super::decimal::Number;
use super::{Action, Class, Event, Field, History, Kind, Property, ThingModel};
use crate::DatapointId;

/// Why a product document cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// It is not JSON of the right shape.
    #[error("product document: {0}")]
    Shape(String),
    /// A field has a type that this SDK does not know.
    #[error("product document: `{field}` has the unknown type `{found}`")]
    Type {
        /// The field.
        field: String,
        /// Its type.
        found: String,
    },
    /// A number of a field is wrong.
    #[error("product document: `{field}` has `{member}` = `{found}`, which is not {expected}")]
    Number {
        /// The field.
        field: String,
        /// Which number.
        member: &'static str,
        /// What it is.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// There are not as many labels for the cloud as there are values.
    #[error("product document: `{field}` has {n_values} values, but {n_labels} labels for the cloud")]
    Labels {
        /// The field.
        field: String,
        /// How many values it has.
        n_values: usize,
        /// How many labels there are.
        n_labels: usize,
    },
}

pub fn parse(json: &str) -> Result<ThingModel, DocumentError> {
    let document: Document = serde_json::from_str(json).map_err(|error| DocumentError::Shape(error.to_string()))?;
    let property = |entry: PropertyEntry| {
        Ok(Property {
            field: field(entry.field)?,
            writable: entry.writable,
            class: entry.class,
            history: entry.history,
        })
    };
    let event = |entry: EventEntry| {
        Ok(Event {
            id: DatapointId(entry.id),
            cloud_name: entry.cloud_name.unwrap_or_else(|| entry.name.clone()),
            name: entry.name,
            params: fields(entry.params)?,
        })
    };
    let action = |entry: ActionEntry| {
        Ok(Action {
            id: DatapointId(entry.id),
            cloud_name: entry.cloud_name.unwrap_or_else(|| entry.name.clone()),
            name: entry.name,
            idempotent: entry.idempotent,
            params: fields(entry.params)?,
            returns: fields(entry.returns)?,
        })
    };
    Ok(ThingModel {
        product_key: document.product_key,
        name: document.name,
        raw: document.raw,
        p0_layout: document.p0_layout,
        properties: document.properties.into_iter().map(property).collect::<Result<_, _>>()?,
        events: document.events.into_iter().map(event).collect::<Result<_, _>>()?,
        actions: document.actions.into_iter().map(action).collect::<Result<_, _>>()?,
    })
}

fn fields(entries: Vec<FieldEntry>) -> Result<Vec<Field>, DocumentError> {
    entries.into_iter().map(field).collect()
}

fn field(entry: FieldEntry) -> Result<Field, DocumentError> {
    let kind = kind(&entry)?;
    let n_values = match &kind {
        Kind::Enum { labels } => labels.len(),
        _ => 2,
    };
    let n_labels = entry.cloud_labels.len();
    if n_labels != 0 && n_labels != n_values {
        return Err(DocumentError::Labels { field: entry.name, n_values, n_labels });
    }
    if entry.cloud_shift.unsigned_abs() > SHIFT_MAX {
        return Err(DocumentError::Number {
            field: entry.name,
            member: "cloud_shift",
            found: entry.cloud_shift.to_string(),
            expected: "from -18 to 18",
        });
    }
    Ok(Field {
        id: DatapointId(entry.id),
        cloud_name: entry.cloud_name.unwrap_or_else(|| entry.name.clone()),
        name: entry.name,
        title: entry.title,
        unit: entry.unit,
        kind,
        cloud_labels: entry.cloud_labels,
        cloud_shift: entry.cloud_shift,
    })
}

fn kind(entry: &FieldEntry) -> Result<Kind, DocumentError> {
    let limit = |member: &'static str, text: &Option<String>, scale: u8, otherwise: i64| match text {
        None => Ok(otherwise),
        Some(text) => {
            let number = Number::parse(text).and_then(|number| number.mantissa(scale, 0).ok());
            number.ok_or_else(|| DocumentError::Number {
                field: entry.name.clone(),
                member,
                found: text.clone(),
                expected: "a number with no more digits after the point than `scale`",
            })
        }
    };
    let max_bytes = entry.max_bytes.unwrap_or(usize::MAX);
    let numbers = |scale| -> Result<_, DocumentError> {
        let min = limit("min", &entry.min, scale, i64::MIN)?;
        let max = limit("max", &entry.max, scale, i64::MAX)?;
        Ok((min, max, limit("step", &entry.step, scale, 1)?.max(1)))
    };
    Ok(match entry.kind.as_str() {
        "bool" => Kind::Bool,
        "int" => {
            let (min, max, step) = numbers(0)?;
            Kind::Int { min, max, step }
        }
        "decimal" if entry.scale > SHIFT_MAX => {
            return Err(DocumentError::Number {
                field: entry.name.clone(),
                member: "scale",
                found: entry.scale.to_string(),
                expected: "from 0 to 18",
            });
        }
        "decimal" => {
            let (min, max, step) = numbers(entry.scale)?;
            Kind::Decimal { scale: entry.scale, min, max, step }
        }
        "enum" => Kind::Enum { labels: entry.labels.clone() },
        "text" => Kind::Text { max_bytes },
        "bytes" => Kind::Bytes { max_bytes },
        "json" => Kind::Json { max_bytes },
        found => return Err(DocumentError::Type { field: entry.name.clone(), found: found.to_owned() }),
    })
}

#[derive(Deserialize)]
struct Document {
    product_key: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    raw: bool,
    #[serde(default)]
    p0_layout: Option<String>,
    #[serde(default)]
    properties: Vec<PropertyEntry>,
    #[serde(default)]
    events: Vec<EventEntry>,
    #[serde(default)]
    actions: Vec<ActionEntry>,
}

#[derive(Deserialize)]
struct PropertyEntry {
    #[serde(flatten)]
    field: FieldEntry,
    #[serde(default)]
    writable: bool,
    #[serde(default)]
    class: Class,
    #[serde(default)]
    history: History,
}

#[derive(Deserialize)]
struct FieldEntry {
    id: u32,
    name: String,
    cloud_name: Option<String>,
    #[serde(default)]
    title: String,
    #[serde(default)]
    unit: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    scale: u8,
    min: Option<String>,
    max: Option<String>,
    step: Option<String>,
    #[serde(default)]
    labels: Vec<String>,
    max_bytes: Option<usize>,
    #[serde(default)]
    cloud_labels: Vec<String>,
    #[serde(default)]
    cloud_shift: i8,
}

#[derive(Deserialize)]
struct EventEntry {
    id: u32,
    name: String,
    cloud_name: Option<String>,
    #[serde(default)]
    params: Vec<FieldEntry>,
}

#[derive(Deserialize)]
struct ActionEntry {
    id: u32,
    name: String,
    cloud_name: Option<String>,
    #[serde(default)]
    idempotent: bool,
    #[serde(default)]
    params: Vec<FieldEntry>,
    #[serde(default)]
    returns: Vec<FieldEntry>,
}

/// As many digits as a decimal may have after the point.
const SHIFT_MAX: u8 = 18;
