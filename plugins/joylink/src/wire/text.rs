//! [`Text`]: text in a field of fixed width, such as the identity of a device.

use std::fmt;

use polylink_plugin_sdk::bytes::Reader;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::WireError;

/// A text of up to `N` bytes without a NUL, possibly empty. On the wire NULs fill it up to `N` bytes; in JSON it is a text.
/// UTF-8, but for one that a peer has cut within a character, where that is not refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<const N: usize>([u8; N]);

/// Identity of a device or sub-device, given by the cloud when it is bound. The empty one names nobody.
pub type FeedId = Text<32>;

impl<const N: usize> Text<N> {
    /// The empty text.
    pub const EMPTY: Self = Self([0; N]);

    /// Takes a text; `None` if it is longer than the field or has a NUL.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let mut field = [0; N];
        field.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        (!text.contains('\0')).then_some(Self(field))
    }

    /// Reads a field. What follows the first NUL is ignored: some SDKs do not clear it.
    ///
    /// # Errors
    /// It is cut off, or not UTF-8.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let text = Self::from_field(reader.array()?);
        std::str::from_utf8(text.bytes()).map(|_| text).map_err(|_| WireError::Text)
    }

    /// Takes a field as [`Self::read`] does, whatever its bytes are: nothing of it is lost.
    #[must_use]
    pub fn from_field(mut field: [u8; N]) -> Self {
        if let Some(end) = field.iter().position(|byte| *byte == 0) {
            field[end..].fill(0);
        }
        Self(field)
    }

    /// As it stands on the wire.
    #[must_use]
    pub const fn field(&self) -> &[u8; N] {
        &self.0
    }

    /// The text, as far as it is UTF-8.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.bytes().utf8_chunks().next().map_or("", |chunk| chunk.valid())
    }

    /// Whether it is the empty text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    fn bytes(&self) -> &[u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<const N: usize> Serialize for Text<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de, const N: usize> Deserialize<'de> for Text<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).ok_or_else(|| serde::de::Error::custom("text too long for its field"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_ends_at_the_first_zero_or_with_its_field() {
        assert_eq!(Text::from_field(*b"ab\0c"), Text::new("ab").unwrap());
        assert_eq!(Text::from_field(*b"abcd").as_str(), "abcd");
        assert_eq!(Text::<4>::new("ab").unwrap().field(), b"ab\0\0");
        assert_eq!(Text::<4>::new("abcde"), None);
        assert_eq!(Text::<4>::new("a\0"), None);
        assert!(Text::from_field(*b"\0abc").is_empty());
    }

    #[test]
    fn of_a_text_that_is_cut_within_a_character_nothing_is_lost_where_it_is_not_refused() {
        let cut = *b"a\xE5\xAE\x89\xE5\xAE";
        let text = Text::from_field(cut);
        assert_eq!((text.as_str(), text.field()), ("a\u{5b89}", &cut));
        assert_ne!(text, Text::new("a\u{5b89}").unwrap());
        assert_eq!(Text::<6>::read(&mut Reader::new(&cut)), Err(WireError::Text));
    }
}
