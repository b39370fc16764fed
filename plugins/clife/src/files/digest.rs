//! Whether a file is the one that was announced: its MD5 and the sum of its bytes.

use md5::{Digest as _, Md5};
use polylink_plugin_sdk::hex;
use serde::Deserialize;

/// How many bits of the sum the platform keeps. The protocol only says "accumulated sum"; 32 fit its samples, and an older
/// protocol of the same vendor has a field of 4 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u8")]
pub enum CheckSumBits {
    /// Modulo 2^8.
    Bits8,
    /// Modulo 2^16.
    Bits16,
    /// Modulo 2^32.
    #[default]
    Bits32,
    /// Modulo 2^64.
    Bits64,
}

impl TryFrom<u8> for CheckSumBits {
    type Error = &'static str;

    fn try_from(bits: u8) -> Result<Self, Self::Error> {
        match bits {
            8 => Ok(Self::Bits8),
            16 => Ok(Self::Bits16),
            32 => Ok(Self::Bits32),
            64 => Ok(Self::Bits64),
            _ => Err("expected 8, 16, 32 or 64"),
        }
    }
}

/// Adds up a file piece by piece.
#[derive(Clone, Debug, Default)]
pub struct Digest {
    md5: Md5,
    size: u64,
    sum: u64,
}

/// What [`Digest`] adds up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sums {
    /// Number of bytes.
    pub size: u64,
    /// MD5 of the bytes.
    pub md5: [u8; 16],
    /// Sum of the bytes, each 0 to 255, modulo 2^64.
    pub sum: u64,
}

impl Digest {
    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        for &byte in bytes {
            self.size = self.size.wrapping_add(1);
            self.sum = self.sum.wrapping_add(u64::from(byte));
        }
    }

    /// Ends it.
    #[must_use]
    pub fn finish(self) -> Sums {
        Sums { size: self.size, md5: self.md5.finalize().into(), sum: self.sum }
    }
}

impl Sums {
    /// Of a file that is at hand as a whole.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut digest = Digest::default();
        digest.update(bytes);
        digest.finish()
    }

    /// The MD5 as lower-case hex digits.
    #[must_use]
    pub fn md5_hex(&self) -> String {
        hex::lower(&self.md5)
    }

    /// The sum with as many bits as the platform keeps.
    #[must_use]
    pub const fn check_sum(&self, bits: CheckSumBits) -> u64 {
        match bits {
            CheckSumBits::Bits8 => self.sum & 0xFF,
            CheckSumBits::Bits16 => self.sum & 0xFFFF,
            CheckSumBits::Bits32 => self.sum & 0xFFFF_FFFF,
            CheckSumBits::Bits64 => self.sum,
        }
    }
}

/// Why a file is not the one that was announced. Checked in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// There is no MD5 to compare with.
    #[error("no md5 was announced")]
    Md5Missing,
    /// There is no sum to compare with.
    #[error("no checkSum was announced")]
    CheckSumMissing,
    /// Another MD5.
    #[error("the file has another md5 than announced")]
    Md5,
    /// Another sum.
    #[error("the file has another checkSum than announced")]
    CheckSum,
}

/// Compares a firmware with what was announced. Both are asked for: the sum does not see bytes in another order, nor zeros
/// that were added.
///
/// # Errors
/// See [`VerifyError`].
pub fn verify(sums: &Sums, md5: Option<&str>, check_sum: Option<u64>, bits: CheckSumBits) -> Result<(), VerifyError> {
    if md5.is_none() {
        return Err(VerifyError::Md5Missing);
    }
    if check_sum.is_none() {
        return Err(VerifyError::CheckSumMissing);
    }
    verify_present(sums, md5, check_sum, bits)
}

/// Compares another file with what was announced, as far as anything was.
///
/// # Errors
/// [`VerifyError::Md5`] and [`VerifyError::CheckSum`].
pub fn verify_present(
    sums: &Sums,
    md5: Option<&str>,
    check_sum: Option<u64>,
    bits: CheckSumBits,
) -> Result<(), VerifyError> {
    if md5.is_some_and(|md5| !md5.eq_ignore_ascii_case(&sums.md5_hex())) {
        return Err(VerifyError::Md5);
    }
    // The sum that nobody has shortened is right as well, whatever the setting.
    if check_sum.is_some_and(|announced| announced != sums.check_sum(bits) && announced != sums.sum) {
        return Err(VerifyError::CheckSum);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// MD5 of `aaa` (computed with md5sum).
    const MD5: &str = "47bce5c74f589f4867dbd57e9ca9f808";

    #[track_caller]
    fn check(check_sum: u64, bits: u8, expected: Result<(), VerifyError>) {
        let bits = CheckSumBits::try_from(bits).unwrap();
        assert_eq!(verify(&Sums::of(b"aaa"), Some(MD5), Some(check_sum), bits), expected, "{check_sum} {bits:?}");
    }

    #[test]
    fn the_sum_is_taken_with_as_many_bits_as_set_or_in_full() {
        check(291, 32, Ok(()));
        check(291 % 256, 8, Ok(()));
        check(291, 8, Ok(()));
        check(291 % 256, 16, Err(VerifyError::CheckSum));
        check(291, 64, Ok(()));
        check(291 + (1 << 32), 32, Err(VerifyError::CheckSum));
    }

    #[test]
    fn a_firmware_needs_both_and_another_file_what_was_announced() {
        let (sums, bits) = (Sums::of(b"aaa"), CheckSumBits::Bits32);
        assert_eq!(verify(&sums, None, None, bits), Err(VerifyError::Md5Missing));
        assert_eq!(verify(&sums, Some("x"), None, bits), Err(VerifyError::CheckSumMissing));
        assert_eq!(verify(&sums, Some("x"), Some(1), bits), Err(VerifyError::Md5));
        assert_eq!(verify_present(&sums, None, None, bits), Ok(()));
        assert_eq!(verify_present(&sums, Some(&MD5.to_uppercase()), None, bits), Ok(()));
        assert_eq!(verify_present(&sums, None, Some(1), bits), Err(VerifyError::CheckSum));
    }

    #[test]
    fn only_the_four_widths_are_taken() {
        let taken = (0..=255).filter(|&bits| CheckSumBits::try_from(bits).is_ok());
        assert_eq!(taken.collect::<Vec<u8>>(), [8, 16, 32, 64]);
    }

    proptest! {
        #[test]
        fn pieces_add_up_to_the_whole(pieces: Vec<Vec<u8>>) {
            let mut digest = Digest::default();
            pieces.iter().for_each(|piece| digest.update(piece));
            prop_assert_eq!(digest.finish(), Sums::of(&pieces.concat()));
        }

        #[test]
        fn nothing_can_panic_the_comparison(content: Vec<u8>, md5 in "\\PC{0,40}", check_sum: u64) {
            let _ = verify(&Sums::of(&content), Some(&md5), Some(check_sum), CheckSumBits::Bits16);
        }
    }
}
