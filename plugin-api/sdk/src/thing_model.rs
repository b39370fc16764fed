//! [`ThingModel`]: what the product has, under this cloud's names, and the JSON of its values.
//!
//! Numbers never pass through floating point: [`Field::to_json`] and [`Field::from_json`] work on their digits. The
//! host checks range, step, length and access of every value, for all clouds; here only the form is checked.

mod decimal;
mod document;
mod json;

#[cfg(test)]
mod tests;

use crate::{DatapointId, Fault};

pub use document::DocumentError;
pub use json::ValueError;

/// One kind of device, as one cloud names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThingModel {
    /// The product key that the MCU names.
    pub product_key: String,
    /// For people.
    pub name: String,
    /// Whether uninterpreted bytes pass in both directions.
    pub raw: bool,
    /// How the product's payloads are laid out in the Gizwits datapoint format: the JSON of its datapoint file, for a
    /// product that was taken over from one. Attributes and properties are matched by name.
    pub p0_layout: Option<String>,
    /// Properties.
    pub properties: Vec<Property>,
    /// Events.
    pub events: Vec<Event>,
    /// Actions.
    pub actions: Vec<Action>,
}

/// A named, typed datum: of a property, or a parameter of an event or action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its number among its siblings.
    pub id: DatapointId,
    /// Its name in the product.
    pub name: String,
    /// Its identifier at this cloud; the same as `name` unless the configuration maps it.
    pub cloud_name: String,
    /// For people; may be empty.
    pub title: String,
    /// Unit symbol; may be empty.
    pub unit: String,
    /// Type and limits.
    pub kind: Kind,
    /// The cloud's words for the values of a bool (off, on) or an enum; empty: `true` and `false`, or the product's
    /// labels.
    pub cloud_labels: Vec<String>,
    /// The cloud's number is the value times ten to this power.
    pub cloud_shift: i8,
}

/// Type and limits of a field. Limits are inclusive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// On or off.
    Bool,
    /// Whole numbers.
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
    /// One of these labels.
    Enum {
        /// The product's labels.
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
    /// What kind of news it carries.
    pub class: Class,
    /// What is kept of it for a cloud that is behind.
    pub history: History,
}

/// What kind of news a property carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// An ordinary value.
    #[default]
    Value,
    /// An alarm.
    Alarm,
    /// A fault of the device.
    Fault,
}

/// What is kept of a property for a cloud that is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum History {
    /// The newest value.
    #[default]
    Latest,
    /// Every value.
    All,
}

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number.
    pub id: DatapointId,
    /// Its name in the product.
    pub name: String,
    /// Its identifier at this cloud.
    pub cloud_name: String,
    /// Its parameters.
    pub params: Vec<Field>,
}

/// Something the device can be told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Its number.
    pub id: DatapointId,
    /// Its name in the product.
    pub name: String,
    /// Its identifier at this cloud.
    pub cloud_name: String,
    /// May be carried out twice without harm.
    pub idempotent: bool,
    /// Its parameters.
    pub params: Vec<Field>,
    /// What it returns.
    pub returns: Vec<Field>,
}

impl ThingModel {
    /// Reads [`crate::Context::product`].
    ///
    /// # Errors
    /// The document is not one; the host and this SDK disagree about its form.
    pub fn parse(json: &str) -> Result<Self, DocumentError> {
        document::parse(json)
    }

    /// The property with this number.
    #[must_use]
    pub fn property(&self, id: DatapointId) -> Option<&Property> {
        // Numbers are positions, but a document with gaps is none the worse.
        let at_its_position = self.properties.get(id.0 as usize).filter(|property| property.field.id == id);
        at_its_position.or_else(|| self.properties.iter().find(|property| property.field.id == id))
    }

    /// The property with this name in the product.
    #[must_use]
    pub fn property_named(&self, name: &str) -> Option<&Property> {
        self.properties.iter().find(|property| property.field.name == name)
    }

    /// The property with this identifier at this cloud.
    #[must_use]
    pub fn property_of_cloud(&self, cloud_name: &str) -> Option<&Property> {
        self.properties.iter().find(|property| property.field.cloud_name == cloud_name)
    }

    /// The event with this number.
    #[must_use]
    pub fn event(&self, id: DatapointId) -> Option<&Event> {
        self.events.iter().find(|event| event.id == id)
    }

    /// The event with this identifier at this cloud.
    #[must_use]
    pub fn event_of_cloud(&self, cloud_name: &str) -> Option<&Event> {
        self.events.iter().find(|event| event.cloud_name == cloud_name)
    }

    /// The action with this number.
    #[must_use]
    pub fn action(&self, id: DatapointId) -> Option<&Action> {
        self.actions.iter().find(|action| action.id == id)
    }

    /// The action with this identifier at this cloud.
    #[must_use]
    pub fn action_of_cloud(&self, cloud_name: &str) -> Option<&Action> {
        self.actions.iter().find(|action| action.cloud_name == cloud_name)
    }
}

impl Event {
    /// The parameter with this number.
    #[must_use]
    pub fn param(&self, id: DatapointId) -> Option<&Field> {
        self.params.iter().find(|field| field.id == id)
    }
}

impl Action {
    /// The parameter with this identifier at this cloud.
    #[must_use]
    pub fn param_of_cloud(&self, cloud_name: &str) -> Option<&Field> {
        self.params.iter().find(|field| field.cloud_name == cloud_name)
    }

    /// The returned field with this number.
    #[must_use]
    pub fn returned(&self, id: DatapointId) -> Option<&Field> {
        self.returns.iter().find(|field| field.id == id)
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

impl From<DocumentError> for Fault {
    fn from(error: DocumentError) -> Self {
        Self::product(error.to_string())
    }
}
