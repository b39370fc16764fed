//! [`Text`]: the fields of fixed size that hold text and zeros after it.

use std::fmt::{Debug, Display, Formatter};

/// At most `N` bytes without a zero; on the wire filled up with zeros. UTF-8 as a rule, but a peer that cuts it within a
/// character loses nothing here.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<const N: usize>(Vec<u8>);

impl<const N: usize> Text<N> {
    /// A text that fits; `None` if it is too long, or holds a zero.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        (text.len() <= N && !text.contains('\0')).then(|| Self(text.into()))
    }

    /// What is before the first zero.
    #[must_use]
    pub fn from_field(field: &[u8; N]) -> Self {
        Self(field.split(|byte| *byte == 0).next().unwrap_or_default().to_vec())
    }

    /// The field.
    #[must_use]
    pub fn to_field(&self) -> [u8; N] {
        std::array::from_fn(|at| self.0.get(at).copied().unwrap_or(0))
    }

    /// Whether there is nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<const N: usize> Display for Text<N> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl<const N: usize> Debug for Text<N> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_ends_at_the_first_zero_or_with_its_field() {
        assert_eq!(Text::from_field(b"ab\0c"), Text::new("ab").unwrap());
        assert_eq!(Text::from_field(b"abcd").to_string(), "abcd");
        assert_eq!(Text::<4>::new("ab").unwrap().to_field(), *b"ab\0\0");
        assert_eq!(Text::<4>::new("abcde"), None);
        assert_eq!(Text::<4>::new("a\0"), None);
    }
}
