//! [`Reader`] and [`Writer`]: cursors for binary protocols. Reading past the end is an ordinary answer.

/// Reads a slice from the front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

/// There were fewer bytes than wanted. A reader that answers this has moved nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wanted {wanted} more bytes, got {got}")]
pub struct Truncated {
    /// How many were wanted.
    pub wanted: usize,
    /// How many were left.
    pub got: usize,
}

impl<'a> Reader<'a> {
    /// Reads these bytes.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rest.len()
    }

    /// Whether all was read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is left, without reading it.
    #[must_use]
    pub const fn peek(&self) -> &'a [u8] {
        self.rest
    }

    /// Reads all that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Reads so many bytes.
    ///
    /// # Errors
    /// There are fewer.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], Truncated> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or(Truncated { wanted: n, got: self.rest.len() })?;
        self.rest = rest;
        Ok(taken)
    }

    /// Reads so many bytes into an array.
    ///
    /// # Errors
    /// There are fewer.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Truncated { wanted: N, got: self.rest.len() })?;
        self.rest = rest;
        Ok(*taken)
    }
}

/// Writes into a growing buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty buffer.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// How many bytes were written.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was written.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What was written, such as for a checksum over it.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        &self.bytes
    }

    /// Writes bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Writes `N` bytes over those that were written from `at` on, such as a length that is known only at the end.
    ///
    /// # Panics
    /// Fewer than `at + N` bytes were written: a mistake of the codec, not of its input.
    pub fn overwrite<const N: usize>(&mut self, at: usize, bytes: [u8; N]) -> &mut Self {
        self.bytes[at..at + N].copy_from_slice(&bytes);
        self
    }

    /// The buffer.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

macro_rules! integers {
    ($($kind:ident $big:ident $little:ident)*) => {
        impl Reader<'_> {
            $(
                #[doc = concat!("Reads a big-endian `", stringify!($kind), "`.\n\n# Errors\nThere are too few bytes.")]
                pub fn $big(&mut self) -> Result<$kind, Truncated> {
                    self.array().map($kind::from_be_bytes)
                }

                #[doc = concat!("Reads a little-endian `", stringify!($kind), "`.\n\n# Errors\nThere are too few bytes.")]
                pub fn $little(&mut self) -> Result<$kind, Truncated> {
                    self.array().map($kind::from_le_bytes)
                }
            )*

            /// Reads a byte.
            ///
            /// # Errors
            /// There is none.
            pub fn u8(&mut self) -> Result<u8, Truncated> {
                self.array().map(|[byte]| byte)
            }
        }

        impl Writer {
            $(
                #[doc = concat!("Writes a `", stringify!($kind), "`, big end first.")]
                pub fn $big(&mut self, value: $kind) -> &mut Self {
                    self.bytes(&value.to_be_bytes())
                }

                #[doc = concat!("Writes a `", stringify!($kind), "`, little end first.")]
                pub fn $little(&mut self, value: $kind) -> &mut Self {
                    self.bytes(&value.to_le_bytes())
                }
            )*

            /// Writes a byte.
            pub fn u8(&mut self, byte: u8) -> &mut Self {
                self.bytes.push(byte);
                self
            }
        }
    };
}

integers! {
    u16 u16_be u16_le
    u32 u32_be u32_le
    u64 u64_be u64_le
    i16 i16_be i16_le
    i32 i32_be i32_le
    i64 i64_be i64_le
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn big_and_little_ends_are_what_they_say() {
        let mut writer = Writer::new();
        writer.u8(1).u16_be(0x0203).u16_le(0x0504).u32_be(0x0607_0809).i16_be(-2).bytes(b"end");
        assert_eq!(writer.written(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 0xFF, 0xFE, b'e', b'n', b'd']);
    }

    #[test]
    fn a_length_can_be_filled_in_at_the_end() {
        let mut writer = Writer::new();
        writer.u16_be(0).bytes(b"abc");
        let length = writer.len() as u16;
        writer.overwrite(0, length.to_be_bytes());
        assert_eq!(writer.finish(), [0, 5, b'a', b'b', b'c']);
    }

    #[test]
    fn a_truncated_read_says_what_was_wanted_and_moves_nowhere() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!(reader.u32_be(), Err(Truncated { wanted: 4, got: 3 }));
        assert_eq!(reader.take(usize::MAX), Err(Truncated { wanted: usize::MAX, got: 3 }));
        assert_eq!(reader.u16_be(), Ok(0x0102));
        assert_eq!(reader.rest(), [3]);
        assert!(reader.is_empty());
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(a: u16, b: u32, c: u64, d: i64, tail: Vec<u8>) {
            let mut writer = Writer::new();
            writer.u16_le(a).u32_le(b).u64_be(c).i64_le(d).bytes(&tail);
            let bytes = writer.finish();
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!((reader.u16_le(), reader.u32_le()), (Ok(a), Ok(b)));
            prop_assert_eq!((reader.u64_be(), reader.i64_le()), (Ok(c), Ok(d)));
            prop_assert_eq!(reader.rest(), tail);
        }

        #[test]
        fn no_sequence_of_reads_panics_or_reads_a_byte_twice(bytes: Vec<u8>, reads: Vec<usize>) {
            let mut reader = Reader::new(&bytes);
            let mut n_read = 0;
            for n in reads {
                if let Ok(taken) = reader.take(n % 9) {
                    prop_assert_eq!(taken, &bytes[n_read..n_read + taken.len()]);
                    n_read += taken.len();
                }
                prop_assert_eq!(reader.len(), bytes.len() - n_read);
            }
        }
    }
}
