//! [`Decimal`]: a number with a fixed count of digits after the point. Arithmetic is exact or refused, never rounded in
//! silence.

use std::fmt;

/// `mantissa / 10^scale`; `scale` is at most [`Decimal::MAX_SCALE`]. 21.50 and 21.5 are different forms of one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decimal {
    /// The digits, with their sign.
    pub mantissa: i64,
    /// How many of them stand after the point.
    pub scale: u8,
}

/// Why a text is no decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// Not the form of a JSON number.
    #[error("not a number such as -3.25")]
    Syntax,
    /// More digits than a decimal holds.
    #[error("more than 18 digits after the point, or beyond 64 bits")]
    TooLong,
}

impl Decimal {
    /// Most digits after the point.
    pub const MAX_SCALE: u8 = 18;

    /// A whole number.
    #[must_use]
    pub const fn whole(value: i64) -> Self {
        Self { mantissa: value, scale: 0 }
    }

    /// Reads the text of a JSON number, exponent included. `21.50` keeps its two digits.
    ///
    /// # Errors
    /// If the text is no number, or one that 64 bits and 18 digits cannot hold exactly.
    pub fn parse(text: &str) -> Result<Self, DecimalError> {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (digits, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], exponent(&rest[at + 1..])?),
            None => (rest, 0),
        };
        let (whole, fraction) = match digits.split_once('.') {
            Some((_, "")) => return Err(DecimalError::Syntax),
            Some(parts) => parts,
            None => (digits, ""),
        };
        if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
            return Err(DecimalError::Syntax);
        }
        let mut mantissa: i128 = 0;
        for digit in whole.bytes().chain(fraction.bytes()) {
            let next = mantissa.checked_mul(10).and_then(|value| value.checked_add(i128::from(digit - b'0')));
            mantissa = next.ok_or(DecimalError::TooLong)?;
        }
        let mut scale = i64::try_from(fraction.len()).map_err(|_| DecimalError::TooLong)? - exponent;
        while scale > i64::from(Self::MAX_SCALE) && mantissa % 10 == 0 && mantissa != 0 {
            mantissa /= 10;
            scale -= 1;
        }
        if mantissa == 0 {
            scale = scale.clamp(0, i64::from(Self::MAX_SCALE));
        }
        while scale < 0 {
            mantissa = mantissa.checked_mul(10).ok_or(DecimalError::TooLong)?;
            scale += 1;
        }
        let mantissa = if negative { -mantissa } else { mantissa };
        let mantissa = i64::try_from(mantissa).map_err(|_| DecimalError::TooLong)?;
        match u8::try_from(scale) {
            Ok(scale) if scale <= Self::MAX_SCALE => Ok(Self { mantissa, scale }),
            _ => Err(DecimalError::TooLong),
        }
    }

    /// The same number with as few digits after the point as it needs.
    #[must_use]
    pub const fn shortest(mut self) -> Self {
        while self.scale > 0 && self.mantissa % 10 == 0 {
            self.mantissa /= 10;
            self.scale -= 1;
        }
        self
    }

    /// The same number with so many digits after the point; none if that would change it or does not fit.
    #[must_use]
    pub fn exactly(self, scale: u8) -> Option<Self> {
        let rounded = self.rounded(scale)?;
        let back = if scale < self.scale { rounded.rounded(self.scale)? } else { self };
        (back == self).then_some(rounded)
    }

    /// The nearest number with so many digits after the point, halves up; none if it does not fit.
    #[must_use]
    pub fn rounded(self, scale: u8) -> Option<Self> {
        if scale > Self::MAX_SCALE || self.scale > Self::MAX_SCALE {
            return None;
        }
        let mantissa = i128::from(self.mantissa);
        let mantissa = if scale >= self.scale {
            mantissa * power_of_ten(scale - self.scale)
        } else {
            divide_half_up(mantissa, power_of_ten(self.scale - scale))
        };
        Some(Self { mantissa: i64::try_from(mantissa).ok()?, scale })
    }
}

/// Plain notation: `-3.20`.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.scale == 0 {
            return self.mantissa.fmt(f);
        }
        let digits = format!("{:0width$}", self.mantissa.unsigned_abs(), width = usize::from(self.scale) + 1);
        let (whole, fraction) = digits.split_at(digits.len() - usize::from(self.scale));
        let sign = if self.mantissa < 0 { "-" } else { "" };
        write!(f, "{sign}{whole}.{fraction}")
    }
}

/// `10^exponent`; exponents up to 36 fit.
pub(crate) fn power_of_ten(exponent: u8) -> i128 {
    10_i128.pow(u32::from(exponent.min(2 * Decimal::MAX_SCALE)))
}

/// The quotient rounded to the nearest whole number, halves towards plus infinity. `divisor` is positive.
pub(crate) fn divide_half_up(dividend: i128, divisor: i128) -> i128 {
    let floor = dividend.div_euclid(divisor);
    let rest = dividend.rem_euclid(divisor);
    if rest >= divisor - rest { floor + 1 } else { floor }
}

fn exponent(text: &str) -> Result<i64, DecimalError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(DecimalError::Syntax);
    }
    match text.parse::<i64>() {
        Ok(exponent) if exponent.abs() <= MAX_EXPONENT => Ok(exponent),
        _ => Err(DecimalError::TooLong),
    }
}

/// Not documented; chosen by us: far beyond any number that 64 bits hold, small enough to loop over.
const MAX_EXPONENT: i64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<(i64, u8), DecimalError>) {
        assert_eq!(Decimal::parse(text), expected.map(|(mantissa, scale)| Decimal { mantissa, scale }), "{text}");
    }

    #[test]
    fn numbers_keep_the_digits_they_were_written_with() {
        check("0", Ok((0, 0)));
        check("21.50", Ok((2150, 2)));
        check("-13", Ok((-13, 0)));
        check("-0.005", Ok((-5, 3)));
        check("1e-2", Ok((1, 2)));
        check("2.5E+3", Ok((2500, 0)));
        check("0e40", Ok((0, 0)));
        check("-9223372036854775808", Ok((i64::MIN, 0)));
    }

    #[test]
    fn what_is_not_a_number_or_does_not_fit_is_refused() {
        for text in ["", "-", ".5", "5.", "1e", "1e+", "0x10", "NaN", "1 ", "١", "1e--1", "+1"] {
            check(text, Err(DecimalError::Syntax));
        }
        for text in ["9223372036854775808", "0.1234567890123456789", "1e65", "1e99999999999999999999"] {
            check(text, Err(DecimalError::TooLong));
        }
    }

    #[test]
    fn halves_are_rounded_up_also_below_zero() {
        let round = |text, scale| Decimal::parse(text).unwrap().rounded(scale).unwrap().to_string();
        assert_eq!(round("2.5", 0), "3");
        assert_eq!(round("-2.5", 0), "-2");
        assert_eq!(round("-2.51", 0), "-3");
        assert_eq!(round("1.25", 1), "1.3");
        assert_eq!(round("7", 2), "7.00");
    }

    #[test]
    fn exactly_refuses_to_change_the_number() {
        assert_eq!(Decimal { mantissa: 2150, scale: 2 }.exactly(1), Some(Decimal { mantissa: 215, scale: 1 }));
        assert_eq!(Decimal { mantissa: 2155, scale: 2 }.exactly(1), None);
        assert_eq!(Decimal::whole(i64::MAX).exactly(1), None);
    }

    proptest::proptest! {
        #[test]
        fn every_decimal_survives_its_own_text(mantissa: i64, scale in 0..=Decimal::MAX_SCALE) {
            let decimal = Decimal { mantissa, scale };
            proptest::prop_assert_eq!(Decimal::parse(&decimal.to_string()), Ok(decimal));
        }

        #[test]
        fn no_text_can_panic_the_parser(text: String) {
            let _ = Decimal::parse(&text);
        }
    }
}
