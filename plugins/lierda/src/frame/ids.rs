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

/// Chooses names: 1 to 2147483647, upwards, then again from 1.
///
/// After a restart it goes on behind every name it may have given: it asks to store a mark a thousand names ahead,
/// and begins behind the stored mark.
#[derive(Debug)]
pub struct MessageIds {
    last: u32,
    mark: u32,
}

impl MessageIds {
    /// Begins behind the stored mark; `None`, or one that was never given out, begins at 1.
    #[must_use]
    pub fn new(stored_mark: Option<u32>) -> Self {
        let mark = stored_mark.filter(|&mark| mark <= LAST).unwrap_or(0);
        Self { last: mark, mark }
    }

    /// The next name, and the mark to store if there is a new one.
    #[expect(clippy::should_implement_trait, reason = "an endless source; nobody goes through all of it")]
    pub fn next(&mut self) -> (u32, Option<u32>) {
        let wrapped = self.last >= LAST;
        self.last = if wrapped { 1 } else { self.last + 1 };
        if !wrapped && self.last <= self.mark {
            return (self.last, None);
        }
        self.mark = self.last.saturating_add(STEP - 1).min(LAST);
        (self.last, Some(self.mark))
    }
}

/// Longest name that counts (not documented; chosen by us). A longer one is taken for none, so that what is remembered
/// of a message stays small.
const MAX_ID: usize = 128;
/// Names that one stored mark is good for, so that flash is written once in so many messages (Lierda MQTT access
/// protocol, our reading: frame).
const STEP: u32 = 1000;
/// Largest name (Lierda MQTT access protocol, our reading: frame): fits a signed 32-bit number on the other side.
const LAST: u32 = 2_147_483_647;

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

    #[test]
    fn a_mark_is_stored_once_in_a_thousand_names() {
        let mut ids = MessageIds::new(None);
        assert_eq!(ids.next(), (1, Some(1000)));
        for expected in 2..=1000 {
            assert_eq!(ids.next(), (expected, None));
        }
        assert_eq!(ids.next(), (1001, Some(2000)));
    }

    #[test]
    fn after_the_last_name_comes_the_first() {
        let mut ids = MessageIds::new(Some(LAST - 1));
        assert_eq!(ids.next(), (LAST, Some(LAST)));
        assert_eq!(ids.next(), (1, Some(1000)));
        assert_eq!(ids.next(), (2, None));
        assert_eq!(MessageIds::new(Some(LAST)).next(), (1, Some(1000)));
        assert_eq!(MessageIds::new(Some(u32::MAX)).next(), (1, Some(1000)));
    }

    proptest! {
        #[test]
        fn a_restart_at_any_moment_repeats_no_name(stored in 0..3_000_u32, runs in proptest::collection::vec(0..2_500_usize, 1..5)) {
            let (mut mark, mut highest) = (Some(stored), stored);
            for names in runs {
                let mut ids = MessageIds::new(mark);
                for _ in 0..names {
                    let (id, new_mark) = ids.next();
                    prop_assert!(id > highest);
                    highest = id;
                    mark = new_mark.or(mark);
                    prop_assert!(mark >= Some(id));
                }
            }
        }

        #[test]
        fn every_number_keeps_its_digits(number: u128) {
            check(&number.to_string(), Some(&number.to_string()));
        }
    }
}
