//! [`Text`]: text in a field of fixed width, such as the identity of a device.

use std::fmt;

use polylink_plugin_sdk::bytes::Reader;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::WireError;

/// A text of up to `N` bytes without a NUL, possibly empty. On the wire NULs fill it up to `N` bytes; in JSON it is a text.
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
        let mut field: [u8; N] = reader.array()?;
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(N);
        field[end..].fill(0);
        std::str::from_utf8(&field[..end]).map(|_| Self(field)).map_err(|_| WireError::Text)
    }

    /// As it stands on the wire.
    #[must_use]
    pub const fn field(&self) -> &[u8; N] {
        &self.0
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(N);
        std::str::from_utf8(&self.0[..end]).expect("the text was checked when it was made")
    }

    /// Whether it is the empty text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_str().is_empty()
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
