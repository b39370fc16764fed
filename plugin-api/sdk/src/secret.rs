//! [`Secret`]: a value that no log and no error shows.

use std::fmt;

/// Wraps a value; `Debug` prints `<secret>`, and the bytes are zeroed on drop.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret<T: Zero>(T);

impl<T: Zero> Secret<T> {
    /// Wraps it.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// Shows it to who needs it, and only there.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zero> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl<T: Zero> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zero();
    }
}

impl<'de> serde::Deserialize<'de> for Secret<String> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

/// What can be overwritten with zeros.
pub trait Zero {
    /// Overwrites the whole value.
    fn zero(&mut self);
}

impl Zero for Vec<u8> {
    fn zero(&mut self) {
        self.fill(0);
        // The compiler must not take the writes for dead.
        std::hint::black_box(self.as_slice());
    }
}

impl Zero for String {
    fn zero(&mut self) {
        std::mem::take(self).into_bytes().zero();
    }
}

impl<const N: usize> Zero for [u8; N] {
    fn zero(&mut self) {
        self.fill(0);
        std::hint::black_box(self.as_slice());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_does_not_show_it() {
        assert_eq!(format!("{:?}", Secret::new("hunter2".to_owned())), "<secret>");
    }
}
