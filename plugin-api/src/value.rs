//! [`Value`]: one typed datum. The set of variants is closed for ever; there are no floats, because two clouds would
//! round them differently.

use std::fmt;

use abi_stable::StableAbi;
use abi_stable::std_types::{RString, RVec};

/// One value of a datapoint or a parameter.
#[repr(u8)]
#[derive(StableAbi, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// On or off.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// `mantissa / 10^scale`. `scale` is at most 18. The scale is part of the value's form: 21.50 stays 21.50.
    Decimal {
        /// The digits, with their sign.
        mantissa: i64,
        /// How many of them stand after the point.
        scale: u8,
    },
    /// Index of a label, from 0.
    Enum(u32),
    /// UTF-8 text.
    Text(RString),
    /// Bytes exactly as they are; trailing zeros count.
    Bytes(RVec<u8>),
    /// A JSON document as text, opaque to the host.
    Json(RString),
}

impl Value {
    /// Most digits after the point that a decimal may have.
    pub const MAX_SCALE: u8 = 18;

    /// A text value.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into().into())
    }

    /// A bytes value.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Bytes(bytes.into().into())
    }

    /// A JSON document; the caller vouches that `text` is one.
    pub fn json(text: impl Into<String>) -> Self {
        Self::Json(text.into().into())
    }

    /// The name of the variant, as error messages and the thing model write it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Decimal { .. } => "decimal",
            Self::Enum(_) => "enum",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
            Self::Json(_) => "json",
        }
    }
}

/// Numbers in plain decimal notation, enums as their index, bytes as lower-case hex, the rest as it is.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Enum(index) => index.fmt(f),
            Self::Text(text) | Self::Json(text) => f.write_str(text),
            Self::Bytes(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
            Self::Decimal { mantissa, scale: 0 } => mantissa.fmt(f),
            Self::Decimal { mantissa, scale } => {
                let digits = format!("{:0width$}", mantissa.unsigned_abs(), width = usize::from(*scale) + 1);
                let (whole, fraction) = digits.split_at(digits.len() - usize::from(*scale));
                let sign = if *mantissa < 0 { "-" } else { "" };
                write!(f, "{sign}{whole}.{fraction}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: Value, shown: &str) {
        assert_eq!(value.to_string(), shown);
    }

    #[test]
    fn a_decimal_keeps_its_trailing_zeros_and_its_sign() {
        check(Value::Decimal { mantissa: 2150, scale: 2 }, "21.50");
        check(Value::Decimal { mantissa: -32, scale: 1 }, "-3.2");
        check(Value::Decimal { mantissa: -5, scale: 3 }, "-0.005");
        check(Value::Decimal { mantissa: 7, scale: 0 }, "7");
        check(Value::Decimal { mantissa: i64::MIN, scale: 18 }, "-9.223372036854775808");
    }

    #[test]
    fn bytes_are_shown_as_hex() {
        check(Value::bytes([0xDE, 0xAD, 0x00]), "dead00");
    }
}
