//! Names of messages: those that come in, repeated as they came, and those that the device chooses.

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::text;

/// Name of a message. An answer repeats it with the JSON type and the digits it came with.
///
/// Two names are equal only if their JSON types are; to find the request of an answer, compare [`MessageId::as_str`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MessageId {
    text: String,
    is_number: bool,
}

impl MessageId {
    /// What an answer to a message without a name carries: an empty text (Lierda MQTT access protocol, our reading: bad
    /// input).
    pub const MISSING: Self = Self { text: String::new(), is_number: false };

    /// A name that the device chose.
    #[must_use]
    pub fn new(number: u32, kind: MessageIdType) -> Self {
        Self { text: number.to_string(), is_number: kind == MessageIdType::Int }
    }

    /// The text by which requests and answers find each other, whatever the JSON type: `1231` is `"1231"`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Reads a number or a text; `None` for anything else, for an empty text, and for one that is too long to remember.
    #[must_use]
    pub fn parse(raw: &RawValue) -> Option<Self> {
        let is_number = raw.get().starts_with(|first: char| first == '-' || first.is_ascii_digit());
        let text = if is_number { raw.get().to_owned() } else { text(raw)? };
        (!text.is_empty() && text.len() <= MAX_ID).then_some(Self { text, is_number })
    }
}

impl Serialize for MessageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.is_number {
            return serializer.serialize_str(&self.text);
        }
        // Not through a number type, which would lose digits.
        let raw: &RawValue = serde_json::from_str(&self.text).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// JSON type of the names that the device chooses. The protocol's table says text, all its samples are numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageIdType {
    /// A number.
    #[default]
    Int,
    /// Its digits as a text.
    String,
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
        let id = MessageId::parse(raw);
        assert_eq!(id.as_ref().map(MessageId::as_str), expected, "{json}");
        if let Some(id) = id {
            assert_eq!(serde_json::to_string(&id).unwrap(), json);
        }
    }

    #[test]
    fn a_name_is_repeated_with_its_json_type_and_all_its_digits() {
        check("1231", Some("1231"));
        check("\"1231\"", Some("1231"));
        check("\"a-17\"", Some("a-17"));
        check("9007199254740993", Some("9007199254740993"));
        check("340282366920938463463374607431768211457", Some("340282366920938463463374607431768211457"));
        check("1.50", Some("1.50"));
        check("-0", Some("-0"));
    }

    #[test]
    fn what_names_nothing_is_none() {
        for json in ["null", "true", "{}", "[1]", "\"\"", "\"\\ud800\"", &"9".repeat(129)] {
            check(json, None);
        }
        assert_eq!(serde_json::to_string(&MessageId::MISSING).unwrap(), "\"\"");
    }

    #[test]
    fn the_setting_decides_about_the_json_type_of_new_names() {
        let shown = |kind| serde_json::to_string(&MessageId::new(7, kind)).unwrap();
        assert_eq!((shown(MessageIdType::Int), shown(MessageIdType::String)), ("7".into(), "\"7\"".into()));
        assert_eq!(MessageId::new(7, MessageIdType::Int).as_str(), MessageId::new(7, MessageIdType::String).as_str());
    }

    proptest! {
        #[test]
        fn every_number_keeps_its_digits(number: u128) {
            check(&number.to_string(), Some(&number.to_string()));
        }
    }
}
