//! Hexadecimal text: both cases out, both cases in.

use std::fmt::Write;

/// Lower-case digits, two for each byte.
#[must_use]
pub fn lower(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Upper-case digits, two for each byte.
#[must_use]
pub fn upper(bytes: &[u8]) -> String {
    lower(bytes).to_ascii_uppercase()
}

/// The bytes that a text of either case means; `None` if a character is no digit, or one is left over.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}

/// True for a text of exactly so many digits of either case.
#[must_use]
pub fn is_digits(text: &str, count: usize) -> bool {
    text.len() == count && text.bytes().all(|digit| digit.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_pairs_of_digits_means_nothing() {
        for text in ["0", "0g", "00 ", "é", "+1"] {
            assert_eq!(decode(text), None, "{text}");
        }
        assert_eq!(decode(""), Some(Vec::new()));
    }

    #[test]
    fn digits_are_counted_and_looked_at() {
        assert!(is_digits("0aF", 3) && is_digits("", 0));
        assert!(!is_digits("0aF", 2) && !is_digits("0ag", 3) && !is_digits("é", 2));
    }

    proptest! {
        #[test]
        fn bytes_come_back_from_either_case(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&lower(&bytes)), Some(bytes.clone()));
            prop_assert_eq!(decode(&upper(&bytes)), Some(bytes));
        }
    }
}
