//! Small records of lines that tell by themselves whether they are whole: the last line is a checksum of those before it.

use super::crc32;

/// The lines with their checksum behind them.
#[must_use]
pub fn sealed(lines: &str) -> String {
    format!("{lines}crc {:08x}\n", crc32(lines.as_bytes()))
}

/// The lines in front of a right checksum; none: the record is damaged.
#[must_use]
pub fn unsealed(record: &str) -> Option<&str> {
    let (lines, _) = record.rsplit_once("crc ")?;
    (sealed(lines) == record).then_some(lines)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_sealed_comes_back_and_no_change_goes_unnoticed(lines in "([a-z0-9 ]{0,20}\n){0,4}", at: usize, by in 1..128_u8) {
            let record = sealed(&lines);
            prop_assert_eq!(unsealed(&record), Some(&*lines));
            let mut bytes = record.into_bytes();
            let at = at % bytes.len();
            bytes[at] ^= by;
            let changed = String::from_utf8(bytes).unwrap_or_default();
            prop_assert_eq!(unsealed(&changed), None);
        }
    }
}
