//! Between the product's values and P0 payloads: what apps read and write are bytes, whose layout the product's
//! datapoint file tells.
//!
//! Invariant: every attribute of the layout has a property of its type, so each payload that can be read can be told to
//! the host, and each value of such a property has a place in a payload. Ranges, steps and access of properties are
//! checked by the host.

mod matching;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use polylink_p0::{Access, Attribute, DataType, Decimal, Format, P0Error, Packet, Raw, Scaling, Schema};
use polylink_plugin_sdk::thing_model::{Field, ThingModel, ValueError};
use polylink_plugin_sdk::value::Values;
use polylink_plugin_sdk::{DatapointId, Value};

pub use matching::LayoutError;

/// The layout of one product's payloads, and the last known value of each attribute.
#[derive(Clone, Debug)]
pub struct Datapoints {
    layout: Schema,
    /// The property of each attribute.
    fields: BTreeMap<u8, Field>,
    /// The attribute of each property that has one.
    attributes: BTreeMap<DatapointId, u8>,
    notes: Vec<String>,
    /// The last known values, as they travel.
    shadow: BTreeMap<u8, Raw>,
}

/// What an app wants of the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceCommand {
    /// Set these; never empty.
    Set(Values),
    /// Read these, never none, and answer with [`Datapoints::read_answer`].
    Get {
        /// What to read.
        properties: Vec<DatapointId>,
        /// How to answer.
        asked: Asked,
    },
    /// Bytes for the MCU.
    Raw(Vec<u8>),
    /// Nothing that concerns the device: a control without flags, which is acknowledged like any (the vendor's module
    /// passes it on, and MCUs acknowledge it), or a read of nothing, which is answered with `answer`.
    Nothing {
        /// The payload that answers.
        answer: Option<Vec<u8>>,
    },
}

/// Which attributes a read asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked(Vec<u8>);

/// Why a payload of an app is no command. The sender gets no answer; the caller counts it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Not a payload of this product, or one that sets what only the device changes.
    #[error(transparent)]
    Payload(#[from] P0Error),
    /// A payload that only devices send.
    #[error("action 0x{0:02X} comes from devices, not to them")]
    Direction(u8),
    /// A number between the steps of its property.
    #[error(transparent)]
    Value(#[from] ValueError),
}

impl Datapoints {
    /// Matches the layout, the JSON of a datapoint file, with the product. An attribute belongs to the property with its
    /// name at this cloud, else to the one with its name in the product. A property without attribute is left out, see
    /// [`Self::notes`].
    ///
    /// # Errors
    /// The file is none, or one of its attributes has no property of its type.
    pub fn new(model: &ThingModel, layout_json: &str) -> Result<Self, LayoutError> {
        let layout = Schema::parse(layout_json)?;
        let fields = matching::fields(model, &layout)?;
        let attributes: BTreeMap<_, _> = fields.iter().map(|(id, field)| (field.id, *id)).collect();
        let notes = matching::notes(model, &layout, &attributes);
        Ok(Self { layout, fields, attributes, notes, shadow: BTreeMap::new() })
    }

    /// What apps will not see, for the log: once, when the product becomes known.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Attributes whose value is not known yet. Until there are none, a product of fixed length has no report.
    pub fn unknown(&self) -> impl Iterator<Item = &str> {
        let unknown = self.layout.attributes().iter().filter(|attribute| !self.shadow.contains_key(&attribute.id));
        unknown.map(|attribute| attribute.name.as_str())
    }

    /// The report of these values. A payload of fixed length holds all attributes, so the last known values stand beside
    /// the new ones; one of variable length holds only the new ones. `None`: no value has a place in it, or, at fixed
    /// length, some attribute was never reported. `problem` gets the values that have no place.
    pub fn report(&mut self, values: &[(DatapointId, Value)], problem: impl FnMut(String)) -> Option<Vec<u8>> {
        let reported = self.learn(values, problem);
        if reported.is_empty() {
            return None;
        }
        let told = match self.layout.format() {
            Format::Fixed => self.known(|_| true),
            Format::VarLen => self.known(|id| reported.contains(&id)),
        };
        self.layout.encode(&Packet::Report(told)).ok()
    }

    /// The answer to a read, with what the device answered. At fixed length it is complete, or `None` while some
    /// attribute was never reported: apps would take zeros for values. At variable length it holds what was asked; the
    /// flag of an attribute that nobody knows is left out (not documented; chosen by us: a flag without a value would
    /// shift all values behind it).
    pub fn read_answer(
        &mut self,
        asked: &Asked,
        values: &[(DatapointId, Value)],
        problem: impl FnMut(String),
    ) -> Option<Vec<u8>> {
        self.learn(values, problem);
        let told = self.known(|id| asked.0.contains(&id));
        self.layout.encode(&Packet::ReadAnswer(told)).ok()
    }

    /// What an app's payload wants. Flags without an attribute are ignored, as MCUs do.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub fn command(&self, payload: &[u8]) -> Result<DeviceCommand, CommandError> {
        let direction = || CommandError::Direction(payload.first().copied().unwrap_or_default());
        match self.layout.decode(payload)? {
            Packet::Control(values) => self.set(payload, &values),
            Packet::Read(ids) => self.get(ids),
            Packet::TransparentDown(bytes) => Ok(DeviceCommand::Raw(bytes)),
            Packet::ReadAnswer(_) | Packet::Report(_) | Packet::TransparentUp(_) => Err(direction()),
        }
    }

    /// The payload of uninterpreted bytes from the MCU.
    #[must_use]
    pub fn transparent(bytes: &[u8]) -> Vec<u8> {
        [&[TRANSPARENT_UP], bytes].concat()
    }

    fn set(&self, payload: &[u8], values: &[(u8, Raw)]) -> Result<DeviceCommand, CommandError> {
        self.check_access(payload, values)?;
        let mut set = Values::with_capacity(values.len());
        for (id, raw) in values {
            let (Some(attribute), Some(field)) = (self.layout.attribute(*id), self.fields.get(id)) else { continue };
            set.push((field.id, down(field, attribute, raw)?));
        }
        Ok(if set.is_empty() { DeviceCommand::Nothing { answer: None } } else { DeviceCommand::Set(set) })
    }

    fn get(&self, ids: Vec<u8>) -> Result<DeviceCommand, CommandError> {
        let properties: Vec<_> = ids.iter().filter_map(|id| self.fields.get(id)).map(|field| field.id).collect();
        if properties.is_empty() {
            let answer = self.layout.encode(&Packet::ReadAnswer(Vec::new()))?;
            return Ok(DeviceCommand::Nothing { answer: Some(answer) });
        }
        Ok(DeviceCommand::Get { properties, asked: Asked(ids) })
    }

    /// Refuses a control that flags what only the device changes.
    fn check_access(&self, payload: &[u8], values: &[(u8, Raw)]) -> Result<(), P0Error> {
        let mut flagged = self.layout.attributes().iter().filter(|attribute| match self.layout.format() {
            Format::VarLen => values.iter().any(|(id, _)| *id == attribute.id),
            Format::Fixed => self.is_flagged(payload, attribute.id),
        });
        match flagged.find(|attribute| attribute.access != Access::Writable) {
            Some(attribute) => Err(P0Error::NotWritable(attribute.name.clone())),
            None => Ok(()),
        }
    }

    /// Whether a control of fixed length, which was read without error, has this flag. Flags reach to the end of the
    /// byte with the last writable attribute, and follow the action code, the highest first.
    fn is_flagged(&self, payload: &[u8], id: u8) -> bool {
        let writable = self.layout.attributes().iter().filter(|attribute| attribute.access == Access::Writable);
        let flag_bytes = writable.map(|attribute| usize::from(attribute.id) / 8 + 1).max().unwrap_or(0);
        let from_end = usize::from(id) / 8;
        from_end < flag_bytes && payload.get(flag_bytes - from_end).is_some_and(|byte| byte >> (id % 8) & 1 == 1)
    }

    /// Takes new values over; answers the attributes they belong to.
    fn learn(&mut self, values: &[(DatapointId, Value)], mut problem: impl FnMut(String)) -> Vec<u8> {
        let mut learnt = Vec::with_capacity(values.len());
        for (property, value) in values {
            let Some(id) = self.attributes.get(property) else { continue };
            let (Some(attribute), Some(field)) = (self.layout.attribute(*id), self.fields.get(id)) else { continue };
            match up(field, attribute, value) {
                Ok(raw) => {
                    self.shadow.insert(*id, raw);
                    learnt.push(*id);
                }
                Err(error) => problem(error),
            }
        }
        learnt
    }

    fn known(&self, wanted: impl Fn(u8) -> bool) -> Vec<(u8, Raw)> {
        self.shadow.iter().filter(|(id, _)| wanted(**id)).map(|(id, raw)| (*id, raw.clone())).collect()
    }
}

/// The value as it travels.
fn up(field: &Field, attribute: &Attribute, value: &Value) -> Result<Raw, String> {
    let name = &attribute.name;
    let too_large = |most: u64| format!("{name}: payloads have no room for more than {most}");
    match (&attribute.data_type, value) {
        (DataType::Bool, Value::Bool(value)) => Ok(Raw::Bool(*value)),
        (DataType::Enum { bits, .. }, Value::Enum(index)) => {
            let most = (1_u64 << bits) - 1;
            if u64::from(*index) > most { Err(too_large(most)) } else { Ok(Raw::Enum(*index)) }
        }
        (DataType::Binary { bytes }, Value::Bytes(value)) => {
            if value.len() > usize::from(*bytes) {
                return Err(format!("{name}: payloads have no room for more than {bytes} bytes"));
            }
            Ok(Raw::Bytes(value.clone()))
        }
        (DataType::Number { scaling, bytes }, value) => {
            let text = field.to_text(value).map_err(|error| format!("{name}: {error}"))?;
            let y = Decimal::parse(&text).map_err(|error| format!("{name}: {error}"))?;
            // Devices do report values outside the limits that a layout has for controls; apps are to see them.
            let widest = u32::MAX >> (32 - 8 * u32::from(*bytes));
            let unlimited = Scaling::new(scaling.step(), scaling.to_y(0), 0, widest);
            let x = unlimited.and_then(|scaling| scaling.to_x(y));
            x.map(Raw::Number).map_err(|error| format!("{name}: {error}"))
        }
        _ => Err(format!("{name}: the value is of another type")),
    }
}

/// The value that some bits or bytes mean. Only the form of a number is checked: the host knows the limits.
fn down(field: &Field, attribute: &Attribute, raw: &Raw) -> Result<Value, ValueError> {
    Ok(match (raw, &attribute.data_type) {
        (Raw::Bool(value), _) => Value::Bool(*value),
        (Raw::Bytes(bytes), _) => Value::Bytes(bytes.clone()),
        (Raw::Number(x), DataType::Number { scaling, .. }) => {
            return field.from_text(&scaling.to_y(*x).shortest().to_string());
        }
        (Raw::Enum(index) | Raw::Number(index), _) => Value::Enum(*index),
    })
}

/// Action code of uninterpreted bytes from the device (Gizwits datapoint protocol 4.0.0).
const TRANSPARENT_UP: u8 = 0x06;
