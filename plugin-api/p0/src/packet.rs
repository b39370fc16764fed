//! [`Packet`]: one P0 payload, and the two functions between it and bytes.

use crate::schema::{DataType, Format, Schema};
use crate::{fixed, varlen};

/// One P0 payload. Attributes stand in ascending order of id, each once; the encoder takes them in any order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// Towards the device: set these.
    Control(Vec<(u8, Raw)>),
    /// Towards the device: tell these. A product of fixed length always tells all.
    Read(Vec<u8>),
    /// From the device: the answer to a read.
    ReadAnswer(Vec<(u8, Raw)>),
    /// From the device: its status.
    Report(Vec<(u8, Raw)>),
    /// Towards the device: bytes that nobody interprets.
    TransparentDown(Vec<u8>),
    /// From the device: bytes that nobody interprets.
    TransparentUp(Vec<u8>),
}

/// A value as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Raw {
    /// Of a bool.
    Bool(bool),
    /// Index of a label. Devices may send an index without label.
    Enum(u32),
    /// The *x* of a number. Devices may send one outside its limits.
    Number(u32),
    /// Bytes of a binary: exactly its length when decoded, at most that to encode (padded with zeros).
    Bytes(Vec<u8>),
}

/// Why bytes are no payload of this product, or a packet cannot become one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum P0Error {
    /// No bytes at all.
    #[error("the payload is empty; it begins with an action code")]
    Empty,
    /// An action code that this crate does not know.
    #[error("action 0x{0:02X} is unknown; known: 0x01 to 0x06, 0x11 to 0x14")]
    Action(u8),
    /// An action code of the other format.
    #[error("action 0x{action:02X} does not belong to a product of {format:?} payloads")]
    OtherFormat {
        /// What came.
        action: u8,
        /// What the schema says.
        format: Format,
    },
    /// Bytes are missing.
    #[error("the payload has {got} bytes after its action code; {wanted} are needed")]
    Short {
        /// At least so many.
        wanted: usize,
        /// What came.
        got: usize,
    },
    /// No attribute has this id.
    #[error("the product has no attribute with id {0}")]
    NoSuchAttribute(u8),
    /// One attribute twice in one packet.
    #[error("{0} stands in the packet twice")]
    Twice(String),
    /// A control of an attribute that only the device changes.
    #[error("{0} is not writable")]
    NotWritable(String),
    /// A value of another type.
    #[error("{name} takes {expected}, not {found}")]
    Type {
        /// The attribute.
        name: String,
        /// What it takes.
        expected: &'static str,
        /// What came.
        found: &'static str,
    },
    /// A value that its bits or bytes cannot hold.
    #[error("{name} takes at most {most}, not {found}")]
    TooWide {
        /// The attribute.
        name: String,
        /// Largest number, or bytes.
        most: u64,
        /// What came.
        found: u64,
    },
    /// A status of fixed length tells all attributes, and this one is missing.
    #[error("{0} is missing; a status of fixed length holds every attribute")]
    Incomplete(String),
}

impl Schema {
    /// Reads a payload. Bytes beyond its end are ignored: generated MCU code pads its answers.
    ///
    /// # Errors
    /// If the payload is too short or of another format.
    pub fn decode(&self, payload: &[u8]) -> Result<Packet, P0Error> {
        let (&action, rest) = payload.split_first().ok_or(P0Error::Empty)?;
        match (action, self.format()) {
            (TRANSPARENT_DOWN, _) => Ok(Packet::TransparentDown(rest.to_vec())),
            (TRANSPARENT_UP, _) => Ok(Packet::TransparentUp(rest.to_vec())),
            (FIXED_CONTROL, Format::Fixed) => fixed::decode_control(self, rest).map(Packet::Control),
            (FIXED_READ, Format::Fixed) => {
                Ok(Packet::Read(self.attributes().iter().map(|attribute| attribute.id).collect()))
            }
            (FIXED_ANSWER, Format::Fixed) => fixed::decode_status(self, rest).map(Packet::ReadAnswer),
            (FIXED_REPORT, Format::Fixed) => fixed::decode_status(self, rest).map(Packet::Report),
            (VAR_CONTROL, Format::VarLen) => varlen::decode(self, rest).map(Packet::Control),
            (VAR_READ, Format::VarLen) => varlen::decode_flags(self, rest).map(Packet::Read),
            (VAR_ANSWER, Format::VarLen) => varlen::decode(self, rest).map(Packet::ReadAnswer),
            (VAR_REPORT, Format::VarLen) => varlen::decode(self, rest).map(Packet::Report),
            (FIXED_CONTROL..=FIXED_REPORT | VAR_CONTROL..=VAR_REPORT, format) => {
                Err(P0Error::OtherFormat { action, format })
            }
            _ => Err(P0Error::Action(action)),
        }
    }

    /// Writes a payload. Widths and types are checked, the limits of numbers are not: [`crate::Scaling::to_x`] does that.
    ///
    /// # Errors
    /// If a value does not fit its attribute, or the packet is not complete.
    pub fn encode(&self, packet: &Packet) -> Result<Vec<u8>, P0Error> {
        let fixed = self.format() == Format::Fixed;
        let (action, rest) = match packet {
            Packet::TransparentDown(bytes) => (TRANSPARENT_DOWN, bytes.clone()),
            Packet::TransparentUp(bytes) => (TRANSPARENT_UP, bytes.clone()),
            Packet::Read(_) if fixed => (FIXED_READ, Vec::new()),
            Packet::Read(ids) => (VAR_READ, varlen::encode_flags(self, ids)?),
            Packet::Control(values) if fixed => (FIXED_CONTROL, fixed::encode_control(self, values)?),
            Packet::Control(values) => (VAR_CONTROL, varlen::encode(self, values, true)?),
            Packet::ReadAnswer(values) if fixed => (FIXED_ANSWER, fixed::encode_status(self, values)?),
            Packet::ReadAnswer(values) => (VAR_ANSWER, varlen::encode(self, values, false)?),
            Packet::Report(values) if fixed => (FIXED_REPORT, fixed::encode_status(self, values)?),
            Packet::Report(values) => (VAR_REPORT, varlen::encode(self, values, false)?),
        };
        let mut payload = Vec::with_capacity(1 + rest.len());
        payload.push(action);
        payload.extend(rest);
        Ok(payload)
    }

    /// Puts the values in ascending order of id and checks each against its attribute.
    pub(crate) fn sorted<'v>(&self, values: &'v [(u8, Raw)]) -> Result<Vec<&'v (u8, Raw)>, P0Error> {
        let mut sorted: Vec<_> = values.iter().collect();
        sorted.sort_by_key(|(id, _)| *id);
        for (index, (id, value)) in sorted.iter().enumerate() {
            let attribute = self.attribute(*id).ok_or(P0Error::NoSuchAttribute(*id))?;
            let name = || attribute.name.clone();
            if index > 0 && sorted[index - 1].0 == *id {
                return Err(P0Error::Twice(name()));
            }
            let (most, found) = match (&attribute.data_type, value) {
                (DataType::Bool, Raw::Bool(_)) => continue,
                (DataType::Enum { bits, .. }, Raw::Enum(index)) => ((1_u64 << bits) - 1, u64::from(*index)),
                (DataType::Number { bytes, .. }, Raw::Number(x)) => ((1_u64 << (8 * bytes)) - 1, u64::from(*x)),
                (DataType::Binary { bytes }, Raw::Bytes(value)) => (u64::from(*bytes), value.len() as u64),
                (data_type, value) => {
                    let expected = data_type.name();
                    return Err(P0Error::Type { name: name(), expected, found: value.name() });
                }
            };
            if found > most {
                return Err(P0Error::TooWide { name: name(), most, found });
            }
        }
        Ok(sorted)
    }
}

impl DataType {
    const fn name(&self) -> &'static str {
        match self {
            Self::Bool => "a bool",
            Self::Enum { .. } => "an enum index",
            Self::Number { .. } => "a number",
            Self::Binary { .. } => "bytes",
        }
    }
}

impl Raw {
    const fn name(&self) -> &'static str {
        match self {
            Self::Bool(_) => "a bool",
            Self::Enum(_) => "an enum index",
            Self::Number(_) => "a number",
            Self::Bytes(_) => "bytes",
        }
    }

    /// The number that a bit area holds for a bool or an enum.
    pub(crate) const fn bits(&self) -> u32 {
        match self {
            Self::Bool(value) => *value as u32,
            Self::Enum(value) | Self::Number(value) => *value,
            Self::Bytes(_) => 0,
        }
    }

    /// A bool or enum from a bit area.
    pub(crate) const fn from_bits(data_type: &DataType, bits: u32) -> Self {
        match data_type {
            DataType::Bool => Self::Bool(bits != 0),
            _ => Self::Enum(bits),
        }
    }

    /// A number or binary from its bytes.
    pub(crate) fn from_bytes(data_type: &DataType, bytes: &[u8]) -> Self {
        match data_type {
            DataType::Binary { .. } => Self::Bytes(bytes.to_vec()),
            _ => Self::Number(bytes.iter().fold(0, |x, byte| x << 8 | u32::from(*byte))),
        }
    }

    /// Writes a number or binary into its bytes; a shorter binary leaves zeros at the end.
    pub(crate) fn write(&self, into: &mut [u8]) {
        match self {
            Self::Bytes(bytes) => into.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from),
            value => {
                let bytes = value.bits().to_be_bytes();
                into.iter_mut().rev().zip(bytes.iter().rev()).for_each(|(to, from)| *to = *from);
            }
        }
    }
}

/// Reads `width` bits, at most 32, from an area that is one big-endian integer.
pub(crate) fn read_bits(area: &[u8], at: usize, width: usize) -> u32 {
    (0..width).fold(0, |value, bit| {
        let index = at + bit;
        let byte = area.len().checked_sub(1 + index / 8).map_or(0, |place| area[place]);
        value | u32::from(byte >> (index % 8) & 1) << bit
    })
}

/// Writes `width` bits, at most 32, into an area of zeros that is one big-endian integer.
pub(crate) fn write_bits(area: &mut [u8], at: usize, width: usize, value: u32) {
    for bit in 0..width {
        let index = at + bit;
        if let Some(place) = area.len().checked_sub(1 + index / 8) {
            area[place] |= ((value >> bit & 1) as u8) << (index % 8);
        }
    }
}

// Action codes (Gizwits datapoint protocol 4.0.0; the 0x1x codes come with variable-length products).
const FIXED_CONTROL: u8 = 0x01;
const FIXED_READ: u8 = 0x02;
const FIXED_ANSWER: u8 = 0x03;
const FIXED_REPORT: u8 = 0x04;
const TRANSPARENT_DOWN: u8 = 0x05;
const TRANSPARENT_UP: u8 = 0x06;
const VAR_CONTROL: u8 = 0x11;
const VAR_READ: u8 = 0x12;
const VAR_ANSWER: u8 = 0x13;
const VAR_REPORT: u8 = 0x14;
