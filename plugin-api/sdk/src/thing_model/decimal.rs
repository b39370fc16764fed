//! Decimal numbers as digits: `mantissa × 10^exponent`, read and written as text.

use std::fmt;

/// A number that was read. Not the only form of its value, unless it is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    mantissa: i128,
    exponent: i32,
}

/// Why a number cannot be had with some digits after the point in 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It has more digits after the point.
    Fraction,
    /// It is too large.
    Large,
}

impl Number {
    /// Reads a number as JSON writes it, also with leading zeros. `None`: it is none, or has more digits or a larger
    /// exponent than any value can have.
    pub fn parse(text: &str) -> Option<Self> {
        let (text, exponent) = match text.split_once(['e', 'E']) {
            Some((text, exponent)) => (text, exponent.parse::<i32>().ok().filter(|e| e.abs() <= EXPONENT_MAX)?),
            None => (text, 0),
        };
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(whole, rest)| (whole, Some(rest)));
        if whole.is_empty() || fraction.is_some_and(str::is_empty) {
            return None;
        }
        let fraction = fraction.unwrap_or_default().trim_end_matches('0');
        let mut mantissa: i128 = 0;
        for digit in whole.bytes().chain(fraction.bytes()) {
            let digit = digit.is_ascii_digit().then(|| i128::from(digit - b'0'))?;
            mantissa = mantissa.checked_mul(10)?.checked_add(digit)?;
        }
        let places = i32::try_from(fraction.len()).ok()?;
        Some(Self { mantissa: if negative { -mantissa } else { mantissa }, exponent: exponent - places })
    }

    /// The mantissa if the value times `10^shift` is written with `scale` digits after the point.
    pub fn mantissa(self, scale: u8, shift: i8) -> Result<i64, Unfit> {
        if self.mantissa == 0 {
            return Ok(0);
        }
        let power = self.exponent + i32::from(scale) + i32::from(shift);
        let factor = 10_i128.checked_pow(power.unsigned_abs());
        let mantissa = if power >= 0 {
            factor.and_then(|factor| self.mantissa.checked_mul(factor)).ok_or(Unfit::Large)?
        } else {
            match factor {
                Some(factor) if self.mantissa % factor == 0 => self.mantissa / factor,
                _ => return Err(Unfit::Fraction),
            }
        };
        i64::try_from(mantissa).map_err(|_| Unfit::Large)
    }
}

/// Writes `mantissa × 10^exponent` in plain notation, with all the digits that a negative exponent promises.
pub struct Plain {
    pub mantissa: i64,
    pub exponent: i32,
}

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.mantissa < 0 { "-" } else { "" };
        let digits = self.mantissa.unsigned_abs();
        match usize::try_from(self.exponent) {
            Ok(0) => write!(f, "{sign}{digits}"),
            Ok(_) if digits == 0 => f.write_str("0"),
            Ok(zeros) => write!(f, "{sign}{digits}{:0<zeros$}", ""),
            Err(_) => {
                let places = self.exponent.unsigned_abs() as usize;
                let digits = format!("{digits:0width$}", width = places + 1);
                let (whole, fraction) = digits.split_at(digits.len() - places);
                write!(f, "{sign}{whole}.{fraction}")
            }
        }
    }
}

/// A value has at most 19 digits, 18 of them after the point, and is shifted by at most 18.
const EXPONENT_MAX: i32 = 60;
