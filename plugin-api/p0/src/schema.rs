//! [`Schema`]: the attributes of one product and where each of them lies in a payload.
//!
//! A schema exists only if its layout is sound: ids unique, no two attributes on the same bits, everything inside
//! bounds, the writable section first. What the codecs compute from it therefore cannot go out of range.

use crate::scaling::{ScaleError, Scaling};

/// The attributes of a product, in ascending order of id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// The product key that the file names; empty if it names none.
    pub product_key: String,
    /// The product's name, for people; may be empty.
    pub name: String,
    format: Format,
    attributes: Vec<Attribute>,
}

/// One typed datum of a product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Names it on the wire.
    pub id: u8,
    /// Its identifier.
    pub name: String,
    /// For people; may be empty.
    pub title: String,
    /// What may be done with it.
    pub access: Access,
    /// Its type.
    pub data_type: DataType,
    /// Where it lies in a payload of fixed length; all 0 in one of variable length.
    pub position: Position,
}

/// The type of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataType {
    /// One bit.
    Bool,
    /// An index into `labels` in so many bits.
    Enum {
        /// Labels, at least one, at most `2^bits`.
        labels: Vec<String>,
        /// Width, 1 to 32.
        bits: u8,
    },
    /// An unsigned integer of 1, 2 or 4 bytes.
    Number {
        /// Width: 1, 2 or 4.
        bytes: u8,
        /// What it means.
        scaling: Scaling,
    },
    /// Exactly so many bytes.
    Binary {
        /// Length, 1 to 1024.
        bytes: u16,
    },
}

/// What may be done with an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Clouds may set it.
    Writable,
    /// Only the device changes it.
    ReadOnly,
    /// An alert of the device.
    Alert,
    /// A fault of the device.
    Fault,
}

/// Where an attribute of a fixed-length product lies in the status block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// First byte; for bits, of the bit area they share.
    pub byte: u16,
    /// Least significant bit, counted in the area as one big-endian integer; 0 for whole bytes.
    pub bit: u16,
}

/// How payloads of the product are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Every attribute at its place, always (`standard`).
    Fixed,
    /// Flags tell which attributes follow (`var_len`).
    VarLen,
}

/// Why a schema is refused. Texts name the attribute and what would be accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// Larger than any real one.
    #[error("the file has {found} bytes; at most {accepted} are read")]
    FileTooLong {
        /// Bytes.
        found: usize,
        /// Bytes.
        accepted: usize,
    },
    /// No JSON, or not of the expected shape.
    #[error("not a datapoint file: {0}")]
    Json(String),
    /// Something that this crate does not know.
    #[error("{place}: {what} is `{found}`; accepted: {accepted}")]
    Unknown {
        /// Where: the attribute's name or the file.
        place: String,
        /// Which member.
        what: &'static str,
        /// What it says.
        found: String,
        /// What it may say.
        accepted: &'static str,
    },
    /// A number out of its bounds.
    #[error("{place}: {what} is {found}; accepted: {accepted}")]
    Bounds {
        /// Where: the attribute's name or the file.
        place: String,
        /// Which member.
        what: &'static str,
        /// What it says.
        found: String,
        /// What it may say.
        accepted: String,
    },
    /// Two attributes with one id or name.
    #[error("{what} `{value}` belongs to both {first} and {second}; each needs its own")]
    Twice {
        /// `id` or `name`.
        what: &'static str,
        /// The id or name.
        value: String,
        /// One attribute.
        first: String,
        /// The other.
        second: String,
    },
    /// Two attributes on the same bits or bytes.
    #[error("{first} and {second} both lie on {place}")]
    Overlap {
        /// One attribute.
        first: String,
        /// The other.
        second: String,
        /// `byte 4` or `bit 3 of the area at byte 0`.
        place: String,
    },
    /// The sections of a fixed-length product are out of order.
    #[error("{name} is not writable but lies before byte {writable_end}, where the writable section ends")]
    Section {
        /// The attribute.
        name: String,
        /// End of the writable section.
        writable_end: usize,
    },
    /// Ratio, addition and limits do not work out.
    #[error("{name}: {error}")]
    Scaling {
        /// The attribute.
        name: String,
        /// Why.
        error: ScaleError,
    },
}

impl Schema {
    /// A schema of these attributes, sorted by id.
    ///
    /// # Errors
    /// If the layout is not sound, see the module.
    pub fn new(format: Format, mut attributes: Vec<Attribute>) -> Result<Self, SchemaError> {
        attributes.sort_by_key(|attribute| attribute.id);
        for attribute in &attributes {
            attribute.check_bounds()?;
        }
        check_unique(&attributes)?;
        if format == Format::Fixed {
            check_layout(&attributes)?;
        } else {
            attributes.iter_mut().for_each(|attribute| attribute.position = Position::default());
        }
        Ok(Self { product_key: String::new(), name: String::new(), format, attributes })
    }

    /// How payloads are laid out.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// All attributes, in ascending order of id.
    #[must_use]
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// The attribute with this id.
    #[must_use]
    pub fn attribute(&self, id: u8) -> Option<&Attribute> {
        let index = self.attributes.binary_search_by_key(&id, |attribute| attribute.id).ok()?;
        self.attributes.get(index)
    }

    /// The attribute of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }
}

impl Attribute {
    /// Bits it takes in a bit area; none if it takes whole bytes.
    #[must_use]
    pub fn bits(&self) -> Option<usize> {
        match &self.data_type {
            DataType::Bool => Some(1),
            DataType::Enum { bits, .. } => Some(usize::from(*bits)),
            DataType::Number { .. } | DataType::Binary { .. } => None,
        }
    }

    /// Whole bytes it takes; 0 if it takes bits.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.data_type {
            DataType::Bool | DataType::Enum { .. } => 0,
            DataType::Number { bytes, .. } => usize::from(*bytes),
            DataType::Binary { bytes } => usize::from(*bytes),
        }
    }

    fn check_bounds(&self) -> Result<(), SchemaError> {
        let bounds = |what, found: usize, accepted: String| {
            Err(SchemaError::Bounds { place: self.name.clone(), what, found: found.to_string(), accepted })
        };
        if self.name.is_empty() || self.name.len() > MAX_NAME_BYTES {
            let place = format!("attribute {}", self.id);
            let accepted = format!("1 to {MAX_NAME_BYTES} bytes");
            let found = self.name.len().to_string();
            return Err(SchemaError::Bounds { place, what: "length of the name", found, accepted });
        }
        match &self.data_type {
            DataType::Enum { labels, bits } => {
                if !(1..=32).contains(bits) {
                    return bounds("len", usize::from(*bits), "1 to 32 bits".into());
                }
                if labels.is_empty() || labels.len() as u64 > 1 << bits || labels.len() > MAX_LABELS {
                    let most = (1_u64 << bits).min(MAX_LABELS as u64);
                    return bounds("number of enum labels", labels.len(), format!("1 to {most} in {bits} bits"));
                }
            }
            DataType::Number { bytes, .. } if ![1, 2, 4].contains(bytes) => {
                return bounds("len", usize::from(*bytes), "1, 2 or 4 bytes".into());
            }
            DataType::Binary { bytes } if *bytes == 0 || usize::from(*bytes) > MAX_STATUS_BYTES => {
                return bounds("len", usize::from(*bytes), format!("1 to {MAX_STATUS_BYTES} bytes"));
            }
            _ => {}
        }
        let (byte, bit) = (usize::from(self.position.byte), usize::from(self.position.bit));
        let area = self.bits().map_or(0, |bits| bit + bits).div_ceil(8);
        if byte + area.max(self.bytes()) > MAX_STATUS_BYTES {
            return bounds("end", byte + area.max(self.bytes()), format!("at most byte {MAX_STATUS_BYTES}"));
        }
        Ok(())
    }
}

fn check_unique(attributes: &[Attribute]) -> Result<(), SchemaError> {
    for (index, second) in attributes.iter().enumerate() {
        for first in &attributes[..index] {
            let (what, value) = if first.id == second.id {
                ("id", second.id.to_string())
            } else if first.name == second.name {
                ("name", second.name.clone())
            } else {
                continue;
            };
            let place = |attribute: &Attribute| format!("{} (id {})", attribute.name, attribute.id);
            return Err(SchemaError::Twice { what, value, first: place(first), second: place(second) });
        }
    }
    Ok(())
}

/// No two attributes share a bit, no bit area a byte with anything else, and the writable section is the first.
fn check_layout(attributes: &[Attribute]) -> Result<(), SchemaError> {
    let areas = crate::fixed::areas(attributes);
    // For each byte, who lies on it: attributes of one bit area share its bytes, nobody else does.
    let mut taken: Vec<Option<&Attribute>> = vec![None; MAX_STATUS_BYTES];
    for attribute in attributes {
        let start = usize::from(attribute.position.byte);
        let length = match attribute.bits() {
            Some(_) => areas.get(&attribute.position.byte).copied().unwrap_or(0),
            None => attribute.bytes(),
        };
        for (at, slot) in taken.iter_mut().enumerate().skip(start).take(length) {
            match slot {
                Some(other)
                    if other.bits().is_none()
                        || attribute.bits().is_none()
                        || other.position.byte != attribute.position.byte =>
                {
                    let (first, second) = (other.name.clone(), attribute.name.clone());
                    return Err(SchemaError::Overlap { first, second, place: format!("byte {at}") });
                }
                _ => *slot = Some(attribute),
            }
        }
    }
    for (index, second) in attributes.iter().enumerate() {
        for first in &attributes[..index] {
            let (Some(first_bits), Some(second_bits)) = (first.bits(), second.bits()) else { continue };
            let (a, b) = (usize::from(first.position.bit), usize::from(second.position.bit));
            if first.position.byte == second.position.byte && a < b + second_bits && b < a + first_bits {
                let place = format!("bit {} of the area at byte {}", a.max(b), first.position.byte);
                return Err(SchemaError::Overlap { first: first.name.clone(), second: second.name.clone(), place });
            }
        }
    }
    let writable_end = crate::fixed::end(attributes.iter().filter(|attribute| attribute.access == Access::Writable));
    match attributes
        .iter()
        .find(|attribute| attribute.access != Access::Writable && usize::from(attribute.position.byte) < writable_end)
    {
        Some(attribute) => Err(SchemaError::Section { name: attribute.name.clone(), writable_end }),
        None => Ok(()),
    }
}

/// Not documented; chosen by us: published products with long payloads have status blocks of almost 1000 bytes.
pub(crate) const MAX_STATUS_BYTES: usize = 1024;

/// Not documented; chosen by us: identifiers in published products have at most 32 characters.
const MAX_NAME_BYTES: usize = 64;

/// Not documented; chosen by us: bounds the memory that a hostile file can take.
const MAX_LABELS: usize = 1024;
