//! By what a file is the one that was announced: its MD5 and the sum of its bytes.

use md5::{Digest as _, Md5};
use polylink_plugin_sdk::hex;
use polylink_plugin_sdk::services::ota::Digest;
use serde::Deserialize;

use super::FileInfo;

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

/// What the host compares a firmware with. Both are asked for: the sum does not see bytes in another order, nor zeros that
/// were added.
#[must_use]
pub fn digests(file: &FileInfo, bits: CheckSumBits) -> Vec<Digest> {
    let md5 = file.md5.as_deref().and_then(hex::decode).and_then(|md5| md5.try_into().ok()).map(Digest::Md5);
    let sum = file.check_sum.and_then(|sum| byte_sum(sum, bits)).map(Digest::ByteSum);
    md5.into_iter().chain(sum).collect()
}

/// True if this is what was announced of a file that is no firmware, as far as anything was (Clife access document, our
/// reading: download). A sum that nobody has shortened is right as well, whatever the setting.
#[must_use]
pub fn is_announced(file: &FileInfo, content: &[u8], bits: CheckSumBits) -> bool {
    let md5 = || hex::lower(&Md5::digest(content));
    let sum = content.iter().fold(0_u64, |sum, &byte| sum.wrapping_add(u64::from(byte)));
    let shortened = match bits {
        CheckSumBits::Bits8 => sum & 0xFF,
        CheckSumBits::Bits16 => sum & 0xFFFF,
        CheckSumBits::Bits32 => sum & 0xFFFF_FFFF,
        CheckSumBits::Bits64 => sum,
    };
    file.md5.as_ref().is_none_or(|announced| *announced == md5())
        && file.check_sum.is_none_or(|announced| announced == sum || announced == shortened)
}

/// The sum modulo 2^32, which is what the host compares. A sum that nobody has shortened is right as well, whatever the
/// setting, so a longer one counts modulo 2^32. `None` for one that was shortened to fewer bits: the MD5 has to do.
fn byte_sum(sum: u64, bits: CheckSumBits) -> Option<u32> {
    let most_shortened = match bits {
        CheckSumBits::Bits8 => 0xFF,
        CheckSumBits::Bits16 => 0xFFFF,
        CheckSumBits::Bits32 | CheckSumBits::Bits64 => return Some(modulo_32(sum)),
    };
    (sum > most_shortened).then(|| modulo_32(sum))
}

#[expect(clippy::cast_possible_truncation, reason = "the sum is wanted modulo 2^32")]
const fn modulo_32(sum: u64) -> u32 {
    sum as u32
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Request;
    use super::*;
    use crate::frame::raw;

    #[track_caller]
    fn check(check_sum: u64, bits: u8, expected: Option<u32>) {
        let request = json!({"fileMode": "DOWN", "productVer": 2, "fileInfo": [{
            "fileType": "FIRM", "software": "1", "hardware": "1", "url": "http://h/f",
            "md5": "47BCE5C74F589F4867DBD57E9CA9F808", "checkSum": check_sum,
        }]});
        let request = Request::parse(&raw(&request)).unwrap();
        let seen = digests(&request.file_info[0], CheckSumBits::try_from(bits).unwrap());
        // MD5 of `aaa` (computed with md5sum).
        let md5 = *b"\x47\xbc\xe5\xc7\x4f\x58\x9f\x48\x67\xdb\xd5\x7e\x9c\xa9\xf8\x08";
        let expected: Vec<_> = [Some(Digest::Md5(md5)), expected.map(Digest::ByteSum)].into_iter().flatten().collect();
        assert_eq!(seen, expected, "{check_sum} {bits}");
    }

    #[test]
    fn the_host_compares_the_md5_and_the_sum_modulo_2_to_the_32() {
        check(291, 32, Some(291));
        check(0, 32, Some(0));
        check(u64::from(u32::MAX), 32, Some(u32::MAX));
        check((1 << 32) + 291, 32, Some(291));
        check((1 << 32) + 291, 64, Some(291));
    }

    #[test]
    fn a_sum_of_fewer_bits_cannot_be_compared_unless_it_was_not_shortened() {
        check(291, 8, Some(291));
        check(255, 8, None);
        check(291, 16, None);
        check(65_536, 16, Some(65_536));
    }

    #[test]
    fn only_the_four_widths_are_taken() {
        let taken = (0..=255).filter(|&bits| CheckSumBits::try_from(bits).is_ok());
        assert_eq!(taken.collect::<Vec<u8>>(), [8, 16, 32, 64]);
    }
}
