//! Decimal numbers from their digits, never through floating point.

/// The mantissa that this number has with `scale` digits after the point: `"16.5"` with scale 2 is 1650. None if it is
/// no plain decimal number, has more digits than that, or is too large.
#[must_use]
pub fn mantissa(text: &str, scale: u8) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(whole, rest)| (whole, Some(rest)));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    if !all_digits(whole) || fraction.is_some_and(|fraction| !all_digits(fraction)) {
        return None;
    }
    let fraction: String = fraction.unwrap_or_default().chars().filter(|c| *c != '_').collect();
    let (kept, rest) = fraction.split_at(fraction.len().min(usize::from(scale)));
    if rest.bytes().any(|digit| digit != b'0') {
        return None;
    }
    let mut value: i128 = 0;
    let zeros = std::iter::repeat_n(b'0', usize::from(scale) - kept.len());
    for digit in whole.bytes().filter(|byte| *byte != b'_').chain(kept.bytes()).chain(zeros) {
        value = value.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
    }
    i64::try_from(if negative { -value } else { value }).ok()
}

#[cfg(test)]
mod tests {
    use polylink_plugin_api::Value;
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, scale: u8, expected: Option<i64>) {
        assert_eq!(mantissa(text, scale), expected);
    }

    #[test]
    fn digits_become_a_mantissa_of_the_scale() {
        check("16.0", 1, Some(160));
        check("16", 2, Some(1600));
        check("-0.5", 1, Some(-5));
        check("+1_000.25", 2, Some(100_025));
        check("-9223372036854775808", 0, Some(i64::MIN));
        check("0.10", 1, Some(1));
    }

    #[test]
    fn what_the_scale_cannot_hold_is_refused() {
        check("16.05", 1, None);
        check("9223372036854775808", 0, None);
        check("9223372036854775807", 1, None);
        for text in ["", "-", ".5", "5.", "1e3", "inf", "0x10", "1.2.3", "１"] {
            check(text, 3, None);
        }
    }

    proptest! {
        #[test]
        fn every_decimal_survives_its_text(number: i64, scale in 0u8..=18) {
            let text = Value::Decimal { mantissa: number, scale }.to_string();
            prop_assert_eq!(mantissa(&text, scale), Some(number));
        }
        #[test]
        fn no_text_can_panic_it(text: String, scale in 0u8..=18) {
            let _ = mantissa(&text, scale);
        }
    }
}
