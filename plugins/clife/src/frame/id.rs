//! Names of messages.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// Name of a message: a number, whose digits are kept as they came, since an answer with other digits counts as an error
/// (Clife access document, frame).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MsgId(Box<str>);

impl MsgId {
    /// Reads a number; `None` for anything else, and for one that is too long to remember.
    #[must_use]
    pub fn parse(raw: &RawValue) -> Option<Self> {
        let digits = raw.get();
        let is_number = digits.starts_with(|first: char| first == '-' || first.is_ascii_digit());
        (is_number && digits.len() <= MAX_ID).then(|| Self(digits.into()))
    }

    /// Its digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A name that the device chose.
impl From<u32> for MsgId {
    fn from(number: u32) -> Self {
        Self(number.to_string().into())
    }
}

/// An answer repeats the name of the request.
impl From<&Self> for MsgId {
    fn from(id: &Self) -> Self {
        id.clone()
    }
}

impl Serialize for MsgId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Not through a number type, which would lose digits.
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for MsgId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::parse(&raw).ok_or_else(|| serde::de::Error::custom("expected the number of a message"))
    }
}

/// Longest name that counts (not documented; chosen by us). A longer one is taken for none, so that what is remembered
/// of a message stays small.
const MAX_ID: usize = 128;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(json: &str, expected: Option<&str>) {
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        let id = MsgId::parse(raw);
        assert_eq!(id.as_ref().map(MsgId::as_str), expected, "{json}");
        assert_eq!(serde_json::from_str(json).ok(), id, "{json}");
        if let Some(id) = id {
            assert_eq!(serde_json::to_string(&id).unwrap(), json);
        }
    }

    #[test]
    fn a_name_is_repeated_with_all_its_digits() {
        for json in ["17", "0", "-0", "1.50", "1e3", "9007199254740993", "340282366920938463463374607431768211457"] {
            check(json, Some(json));
        }
        assert_eq!(MsgId::from(2_147_483_647).as_str(), "2147483647");
    }

    #[test]
    fn what_is_no_number_names_nothing() {
        for json in ["null", "true", "\"17\"", "\"\"", "{}", "[1]", &"9".repeat(129)] {
            check(json, None);
        }
    }

    proptest! {
        #[test]
        fn every_number_keeps_its_digits(number: u128) {
            check(&number.to_string(), Some(&number.to_string()));
        }
    }
}
