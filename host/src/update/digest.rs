//! Digests that clouds give for a file, all taken in one pass.
//!
//! None of them replaces the owner's manifest: a CRC or a sum finds accidents, not attackers, and an MD5 can be met by
//! two files. So every one that is given is checked, and a kind that is not known is refused, not skipped.

use std::fmt;

use md5::{Digest as _, Md5};
use ring::digest::{Context, SHA256};

use super::manifest::{hex, unhex};
use crate::disk::Crc32;

/// A digest that a file must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// MD5 (Deli 103, Gizwits `Firmware-MD5`, Lierda 9, Clife 2019).
    Md5([u8; 16]),
    /// SHA-256.
    Sha256([u8; 32]),
    /// CRC-32 as in zlib and Ethernet (ISO 3309).
    Crc32(u32),
    /// The same polynomial begun with 0 and without the last complement (JoyLink type 7). Zero bytes at the beginning do
    /// not change it, so a size belongs to it.
    Crc32Init0(u32),
    /// Sum of all bytes (Clife 2019).
    Sum {
        /// What is left of the sum: 8, 16, 32 or 64 bits.
        bits: u8,
        /// Its value.
        value: u64,
    },
}

/// A digest that cannot be checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownDigest {
    /// Nobody knows how to take it.
    #[error(
        "the kind of digest {0:?} is not known; known are md5, sha256, crc32, crc32-init0, sum8, sum16, sum32, sum64"
    )]
    Kind(String),
    /// Not a value of its kind.
    #[error("{value:?} is no {kind}")]
    Value {
        /// Its kind.
        kind: &'static str,
        /// What was given.
        value: String,
    },
}

/// A file that has another digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the file has {found}, expected was {expected}")]
pub struct Mismatch {
    /// As it was given.
    pub expected: Expected,
    /// The same kind, of the file.
    pub found: Expected,
}

impl Expected {
    /// From the name of its kind and its value: hex digits in any case, or, for sums, a decimal number.
    ///
    /// # Errors
    /// [`UnknownDigest`].
    pub fn parse(kind: &str, value: &str) -> Result<Self, UnknownDigest> {
        let value = value.trim();
        let lower = || value.to_ascii_lowercase();
        let sum = |bits: u8| {
            let number: Option<u64> = value.parse().ok();
            number.filter(|number| bits == 64 || *number >> bits == 0).map(|value| Self::Sum { bits, value })
        };
        let crc = || unhex(&lower()).map(u32::from_be_bytes);
        let (kind, parsed) = match kind {
            "md5" => ("md5", unhex(&lower()).map(Self::Md5)),
            "sha256" => ("sha256", unhex(&lower()).map(Self::Sha256)),
            "crc32" => ("crc32", crc().map(Self::Crc32)),
            "crc32-init0" => ("crc32-init0", crc().map(Self::Crc32Init0)),
            "sum8" => ("sum8", sum(8)),
            "sum16" => ("sum16", sum(16)),
            "sum32" => ("sum32", sum(32)),
            "sum64" => ("sum64", sum(64)),
            other => return Err(UnknownDigest::Kind(other.chars().take(SHOWN_MAX).collect())),
        };
        parsed.ok_or_else(|| UnknownDigest::Value { kind, value: value.chars().take(SHOWN_MAX).collect() })
    }

    /// The name of its kind.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Md5(_) => "md5",
            Self::Sha256(_) => "sha256",
            Self::Crc32(_) => "crc32",
            Self::Crc32Init0(_) => "crc32-init0",
            Self::Sum { bits: 8, .. } => "sum8",
            Self::Sum { bits: 16, .. } => "sum16",
            Self::Sum { bits: 32, .. } => "sum32",
            Self::Sum { .. } => "sum64",
        }
    }

    /// Its value, as [`Expected::parse`] takes it.
    #[must_use]
    pub fn value(&self) -> String {
        match self {
            Self::Md5(bytes) => hex(bytes),
            Self::Sha256(bytes) => hex(bytes),
            Self::Crc32(crc) | Self::Crc32Init0(crc) => format!("{crc:08x}"),
            Self::Sum { value, .. } => value.to_string(),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.value())
    }
}

/// Takes digests of bytes that come piece by piece. SHA-256 is always taken, the others where they are wanted.
#[derive(Clone)]
pub struct Digests {
    n_bytes: u64,
    sha256: Context,
    md5: Option<Md5>,
    crc32: Option<Crc32>,
    crc32_init0: Option<Crc32>,
    sum: Option<u64>,
}

impl Digests {
    /// Of nothing yet, for these.
    #[must_use]
    pub fn new(expected: &[Expected]) -> Self {
        let any = |is: fn(&Expected) -> bool| expected.iter().any(is);
        Self {
            n_bytes: 0,
            sha256: Context::new(&SHA256),
            md5: any(|one| matches!(one, Expected::Md5(_))).then(Md5::new),
            crc32: any(|one| matches!(one, Expected::Crc32(_))).then(Crc32::new),
            crc32_init0: any(|one| matches!(one, Expected::Crc32Init0(_))).then(|| Crc32::begun_with(0)),
            sum: any(|one| matches!(one, Expected::Sum { .. })).then_some(0),
        }
    }

    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.n_bytes += bytes.len() as u64;
        self.sha256.update(bytes);
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        for crc in [&mut self.crc32, &mut self.crc32_init0].into_iter().flatten() {
            *crc = crc.with(bytes);
        }
        if let Some(sum) = &mut self.sum {
            // A piece has fewer bytes than would overflow 64 bits; the whole wraps by definition.
            *sum = sum.wrapping_add(bytes.iter().map(|byte| u64::from(*byte)).sum());
        }
    }

    /// Bytes so far.
    #[must_use]
    pub const fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    /// SHA-256 so far.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.sha256.clone().finish().as_ref());
        bytes
    }

    /// Whether the bytes so far have every one of these.
    ///
    /// # Errors
    /// The first that they have not.
    pub fn check(&self, expected: &[Expected]) -> Result<(), Mismatch> {
        for expected in expected {
            let found = self.same_kind(expected);
            if found.as_ref() != Some(expected) {
                // One that was not announced is taken for wrong rather than for right.
                let found = found.unwrap_or(Expected::Sha256(self.sha256()));
                return Err(Mismatch { expected: expected.clone(), found });
            }
        }
        Ok(())
    }

    fn same_kind(&self, expected: &Expected) -> Option<Expected> {
        Some(match expected {
            Expected::Md5(_) => Expected::Md5(self.md5.clone()?.finalize().into()),
            Expected::Sha256(_) => Expected::Sha256(self.sha256()),
            Expected::Crc32(_) => Expected::Crc32(self.crc32?.sum()),
            Expected::Crc32Init0(_) => Expected::Crc32Init0(self.crc32_init0?.register()),
            Expected::Sum { bits, .. } => {
                let mask = if *bits >= 64 { u64::MAX } else { (1 << bits) - 1 };
                Expected::Sum { bits: *bits, value: self.sum? & mask }
            }
        })
    }
}

impl fmt::Debug for Digests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digests({} bytes)", self.n_bytes)
    }
}

/// Characters of a wrong kind or value in messages. Not documented; chosen by us.
const SHOWN_MAX: usize = 80;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], digests: &[(&str, &str)], expected: bool) {
        let wanted: Vec<_> =
            digests.iter().map(|(kind, value)| Expected::parse(kind, value).expect("a digest")).collect();
        let mut whole = Digests::new(&wanted);
        whole.update(bytes);
        let mut pieces = Digests::new(&wanted);
        bytes.chunks(3).for_each(|piece| pieces.update(piece));
        assert_eq!(whole.check(&wanted), pieces.check(&wanted));
        assert_eq!(whole.check(&wanted).is_ok(), expected, "{:?}", whole.check(&wanted));
    }

    #[test]
    fn the_check_values_of_the_standards_are_met() {
        let digits = b"123456789";
        check(digits, &[("md5", "25F9E794323B453885F5181F1B624D0B")], true);
        let sha256 = "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225";
        check(digits, &[("sha256", sha256)], true);
        // Catalogue of CRC algorithms, CRC-32/ISO-HDLC; and the value of the JoyLink documents' own algorithm.
        check(digits, &[("crc32", "cbf43926")], true);
        check(digits, &[("crc32-init0", "2DFD2D88")], true);
        check(digits, &[("sum32", "477"), ("sum16", "477"), ("sum64", " 477 "), ("sum8", "221")], true);
        check(b"", &[("md5", "d41d8cd98f00b204e9800998ecf8427e"), ("crc32", "00000000"), ("sum64", "0")], true);
    }

    #[test]
    fn all_that_are_given_are_checked() {
        check(b"123456789", &[("crc32", "cbf43926"), ("sum32", "478")], false);
        check(b"123456789", &[("sum32", "477"), ("md5", "25f9e794323b453885f5181f1b624d0c")], false);
    }

    #[test]
    fn leading_zeros_hide_from_the_crc_that_begins_with_zero() {
        check(b"\0\0\x00123456789", &[("crc32-init0", "2dfd2d88")], true);
        check(b"\0\0\x00123456789", &[("crc32", "cbf43926")], false);
    }

    #[test]
    fn what_cannot_be_checked_is_refused() {
        let unknown = Expected::parse("sha1", "00").expect_err("not known").to_string();
        assert!(unknown.starts_with("the kind of digest \"sha1\" is not known"), "{unknown}");
        for (kind, value) in [("md5", "00"), ("md5", ""), ("crc32", "cbf4392"), ("sum8", "256"), ("sum32", "-1")] {
            assert!(matches!(Expected::parse(kind, value), Err(UnknownDigest::Value { .. })), "{kind} {value}");
        }
        let nothing_announced = Digests::new(&[]);
        assert!(nothing_announced.check(&[Expected::Crc32(0)]).is_err());
    }

    proptest! {
        #[test]
        fn a_digest_survives_its_text(md5: [u8; 16], crc: u32, sum: u64) {
            for one in [Expected::Md5(md5), Expected::Crc32(crc), Expected::Crc32Init0(crc), Expected::Sum { bits: 64, value: sum }] {
                prop_assert_eq!(Expected::parse(one.kind(), &one.value()), Ok(one));
            }
        }

        #[test]
        fn no_text_can_panic_the_parser(kind in "\\PC{0,10}", value in "\\PC{0,80}") {
            for kind in [&kind, "md5", "sha256", "crc32", "sum8", "sum64"] {
                let _ = Expected::parse(kind, &value);
            }
        }
    }
}
