//! How arguments and results of a script's function cross: one value after another, each a byte that says its kind and
//! what belongs to it. Numbers are little-endian.
//!
//! | kind | value | followed by |
//! |---|---|---|
//! | 0 | nil | |
//! | 1 | false | |
//! | 2 | true | |
//! | 3 | a whole number | `i64` |
//! | 4 | bytes | length as `u32`, the bytes |
//!
//! At most [`VALUES_MAX`] values in at most [`ENCODED_MAX`] bytes. There are no fractions: what has one travels as text
//! or as whole units. The numbers of Lua 5.1 are doubles, so a whole number beyond ±2^53 would arrive as another one; it is
//! refused, in both directions.

use std::fmt;

/// One argument or result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    Nil,
    /// False or true.
    Bool(bool),
    /// A whole number from -2^53 to 2^53.
    Int(i64),
    /// A string of Lua: any bytes.
    Bytes(Vec<u8>),
}

impl Value {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Bytes(text.into().into_bytes())
    }
}

/// Why a list of values cannot cross.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValuesError {
    /// More than [`VALUES_MAX`] values.
    TooMany,
    /// More than [`ENCODED_MAX`] bytes.
    TooLong,
    /// A number beyond ±2^53.
    TooLarge(i64),
    /// A kind that is not in the table.
    UnknownKind(u8),
    /// The last value is cut off.
    Truncated,
}

impl fmt::Display for ValuesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => write!(f, "more than {VALUES_MAX} values"),
            Self::TooLong => write!(f, "more than {ENCODED_MAX} bytes of values"),
            Self::TooLarge(number) => write!(f, "{number} is beyond ±2^53, which a number of Lua cannot be exactly"),
            Self::UnknownKind(kind) => write!(f, "a value of the unknown kind {kind}"),
            Self::Truncated => f.write_str("the last value is cut off"),
        }
    }
}

impl std::error::Error for ValuesError {}

/// The bytes of these values.
///
/// # Errors
/// They are too many, too long or too large.
pub fn encode(values: &[Value]) -> Result<Vec<u8>, ValuesError> {
    if values.len() > VALUES_MAX {
        return Err(ValuesError::TooMany);
    }
    let mut encoded = Vec::new();
    for value in values {
        match value {
            Value::Nil => encoded.push(NIL),
            Value::Bool(false) => encoded.push(FALSE),
            Value::Bool(true) => encoded.push(TRUE),
            Value::Int(number) => {
                encoded.push(INT);
                encoded.extend(exact(*number)?.to_le_bytes());
            }
            Value::Bytes(bytes) => {
                let length = u32::try_from(bytes.len()).map_err(|_| ValuesError::TooLong)?;
                encoded.push(BYTES);
                encoded.extend(length.to_le_bytes());
                encoded.extend(bytes);
            }
        }
        if encoded.len() > ENCODED_MAX {
            return Err(ValuesError::TooLong);
        }
    }
    Ok(encoded)
}

/// The values of these bytes.
///
/// # Errors
/// The bytes are not [`encode`]d values.
pub fn decode(encoded: &[u8]) -> Result<Vec<Value>, ValuesError> {
    if encoded.len() > ENCODED_MAX {
        return Err(ValuesError::TooLong);
    }
    let mut values = Vec::new();
    let mut rest = encoded;
    while let Some((&kind, after)) = rest.split_first() {
        if values.len() == VALUES_MAX {
            return Err(ValuesError::TooMany);
        }
        rest = after;
        values.push(match kind {
            NIL => Value::Nil,
            FALSE => Value::Bool(false),
            TRUE => Value::Bool(true),
            INT => Value::Int(exact(i64::from_le_bytes(*take(&mut rest)?))?),
            BYTES => {
                let length = u32::from_le_bytes(*take(&mut rest)?);
                let length = usize::try_from(length).map_err(|_| ValuesError::Truncated)?;
                let (bytes, after) = rest.split_at_checked(length).ok_or(ValuesError::Truncated)?;
                rest = after;
                Value::Bytes(bytes.to_vec())
            }
            other => return Err(ValuesError::UnknownKind(other)),
        });
    }
    Ok(values)
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N], ValuesError> {
    let (taken, after) = rest.split_first_chunk().ok_or(ValuesError::Truncated)?;
    *rest = after;
    Ok(taken)
}

const fn exact(number: i64) -> Result<i64, ValuesError> {
    if number.unsigned_abs() > INT_MAX.unsigned_abs() { Err(ValuesError::TooLarge(number)) } else { Ok(number) }
}

/// Most values of a list. Not documented; chosen by us: the functions of the known clouds have three.
pub const VALUES_MAX: usize = 16;

/// Most bytes of a list, encoded. Not documented; chosen by us: the largest payload that MQTT and the stores take is
/// 256 KiB, and its hexadecimal text has twice as many.
pub const ENCODED_MAX: usize = 512 * 1024 + 1024;

/// Largest whole number up to which all are numbers of Lua 5.1 (IEEE 754 doubles).
pub const INT_MAX: i64 = 1 << 53;

const NIL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INT: u8 = 3;
const BYTES: u8 = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(values: &[Value], encoded: &[u8]) {
        assert_eq!(encode(values).as_deref(), Ok(encoded));
        assert_eq!(decode(encoded).as_deref(), Ok(values));
    }

    #[test]
    fn every_kind_has_its_byte() {
        check(&[], &[]);
        check(&[Value::Nil, Value::Bool(false), Value::Bool(true)], &[0, 1, 2]);
        check(&[Value::Int(-2)], &[3, 0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]);
        check(&[Value::Bytes(vec![0, 0xFF]), Value::text("")], &[4, 2, 0, 0, 0, 0, 0xFF, 4, 0, 0, 0, 0]);
    }

    #[test]
    fn numbers_that_lua_cannot_have_exactly_do_not_cross() {
        let largest = 1_i64 << 53;
        assert!(encode(&[Value::Int(largest), Value::Int(-largest)]).is_ok());
        for number in [largest + 1, -largest - 1, i64::MIN] {
            let encoded: Vec<u8> = [3].into_iter().chain(number.to_le_bytes()).collect();
            assert_eq!(encode(&[Value::Int(number)]), Err(ValuesError::TooLarge(number)));
            assert_eq!(decode(&encoded), Err(ValuesError::TooLarge(number)));
        }
    }

    #[test]
    fn what_is_no_list_of_values_is_refused() {
        for (encoded, error) in [
            (&[5_u8][..], ValuesError::UnknownKind(5)),
            (&[3, 0, 0], ValuesError::Truncated),
            (&[4, 1, 0, 0, 0], ValuesError::Truncated),
            (&[4, 0xFF, 0xFF, 0xFF, 0xFF, 0], ValuesError::Truncated),
            (&[0; VALUES_MAX + 1], ValuesError::TooMany),
        ] {
            assert_eq!(decode(encoded), Err(error));
        }
        assert_eq!(encode(&vec![Value::Nil; VALUES_MAX + 1]), Err(ValuesError::TooMany));
        assert_eq!(encode(&[Value::Bytes(vec![0; ENCODED_MAX])]), Err(ValuesError::TooLong));
        assert_eq!(decode(&vec![0; ENCODED_MAX + 1]), Err(ValuesError::TooLong));
    }

    proptest! {
        #[test]
        fn every_list_survives_the_crossing(values in prop::collection::vec(any_value(), 0..=VALUES_MAX)) {
            prop_assert_eq!(decode(&encode(&values).unwrap()), Ok(values));
        }

        #[test]
        fn no_bytes_can_panic_the_decoder(bytes: Vec<u8>) {
            if let Ok(values) = decode(&bytes) {
                prop_assert_eq!(encode(&values), Ok(bytes));
            }
        }

        #[test]
        fn a_list_that_was_cut_off_gives_no_other_values(values in prop::collection::vec(any_value(), 1..4), cut: u16) {
            let encoded = encode(&values).unwrap();
            if let Ok(fewer) = decode(&encoded[..usize::from(cut) % encoded.len()]) {
                prop_assert!(values.starts_with(&fewer));
            }
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Nil),
            any::<bool>().prop_map(Value::Bool),
            (-INT_MAX..=INT_MAX).prop_map(Value::Int),
            any::<Vec<u8>>().prop_map(Value::Bytes),
        ]
    }
}
