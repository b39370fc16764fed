//! [`Scaling`]: between the unsigned integer *x* on the wire and the engineering value *y = x × ratio + addition*.

use crate::decimal::{Decimal, divide_half_up, power_of_ten};

/// How one numeric attribute is scaled, and which *x* it takes. Construction holds that every *y* of the attribute fits
/// a [`Decimal`] of [`Scaling::scale`] digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scaling {
    ratio: Decimal,
    addition: Decimal,
    scale: u8,
    min: u32,
    max: u32,
}

/// Why a number cannot be scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScaleError {
    /// The ratio is zero or negative.
    #[error("ratio is {0}; it must be above 0")]
    Ratio(Decimal),
    /// More digits after the point than are needed by any product seen, or too large to compute with.
    #[error("ratio {ratio} and addition {addition} need more than 9 digits after the point or exceed 64 bits")]
    TooFine {
        /// The ratio.
        ratio: Decimal,
        /// The addition.
        addition: Decimal,
    },
    /// Limits the wrong way round.
    #[error("min {min} is above max {max}")]
    Limits {
        /// Least x.
        min: u32,
        /// Greatest x.
        max: u32,
    },
    /// A value outside the attribute's limits.
    #[error("{value} is outside {least} to {greatest}")]
    Range {
        /// What was asked for.
        value: Decimal,
        /// Least y.
        least: Decimal,
        /// Greatest y.
        greatest: Decimal,
    },
}

impl Scaling {
    /// A scaling for `x` from `min` to `max`.
    ///
    /// # Errors
    /// If the ratio is not positive, the limits are reversed, or a `y` in between would not fit.
    pub fn new(ratio: Decimal, addition: Decimal, min: u32, max: u32) -> Result<Self, ScaleError> {
        let (ratio, addition) = (ratio.shortest(), addition.shortest());
        if ratio.mantissa <= 0 {
            return Err(ScaleError::Ratio(ratio));
        }
        if min > max {
            return Err(ScaleError::Limits { min, max });
        }
        let scale = ratio.scale.max(addition.scale);
        let scaling = Self { ratio, addition, scale, min, max };
        // Also an x beyond `max` is shown as it came, so all of them must fit.
        let fits = || [0, u32::MAX].iter().all(|&x| i64::try_from(scaling.mantissa(x)).is_ok());
        if scale > MAX_SCALE || !fits() {
            return Err(ScaleError::TooFine { ratio, addition });
        }
        Ok(scaling)
    }

    /// Digits after the point of every `y`.
    #[must_use]
    pub const fn scale(&self) -> u8 {
        self.scale
    }

    /// The least and the greatest `y`.
    #[must_use]
    pub fn limits(&self) -> (Decimal, Decimal) {
        (self.to_y(self.min), self.to_y(self.max))
    }

    /// The distance of neighbouring `y`, with [`Self::scale`] digits.
    #[must_use]
    pub fn step(&self) -> Decimal {
        self.ratio.rounded(self.scale).unwrap_or(self.ratio)
    }

    /// `x × ratio + addition`, also for an `x` outside the limits: devices do send such.
    #[must_use]
    pub fn to_y(&self, x: u32) -> Decimal {
        let mantissa = i64::try_from(self.mantissa(x)).expect("`new` checked the least and the greatest x");
        Decimal { mantissa, scale: self.scale }
    }

    /// The `x` nearest to `(y − addition) / ratio`, halves up (not documented; chosen by us, the vendor's generated code
    /// truncates).
    ///
    /// # Errors
    /// If that `x` is outside the limits.
    pub fn to_x(&self, y: Decimal) -> Result<u32, ScaleError> {
        let range = || {
            let (least, greatest) = self.limits();
            ScaleError::Range { value: y, least, greatest }
        };
        if y.scale > Decimal::MAX_SCALE {
            return Err(range());
        }
        let scale = self.scale.max(y.scale);
        let raised = |number: Decimal| i128::from(number.mantissa) * power_of_ten(scale - number.scale);
        let x = divide_half_up(raised(y) - raised(self.addition), raised(self.ratio));
        match u32::try_from(x) {
            Ok(x) if (self.min..=self.max).contains(&x) => Ok(x),
            _ => Err(range()),
        }
    }

    fn mantissa(&self, x: u32) -> i128 {
        let raised = |number: Decimal| i128::from(number.mantissa) * power_of_ten(self.scale - number.scale);
        i128::from(x) * raised(self.ratio) + raised(self.addition)
    }
}

/// Not documented; chosen by us: published products use at most 4 digits.
const MAX_SCALE: u8 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    fn scaling(ratio: &str, addition: &str, min: u32, max: u32) -> Scaling {
        Scaling::new(Decimal::parse(ratio).unwrap(), Decimal::parse(addition).unwrap(), min, max).unwrap()
    }

    #[track_caller]
    fn check(ratio: &str, addition: &str, x: u32, y: &str) {
        let scaling = scaling(ratio, addition, 0, u32::MAX);
        assert_eq!(scaling.to_y(x).to_string(), y);
        assert_eq!(scaling.to_x(Decimal::parse(y).unwrap()), Ok(x));
    }

    #[test]
    fn ratio_and_addition_apply_without_rounding() {
        check("0.01", "0", 732, "7.32");
        check("1", "-2000", 2205, "205");
        check("0.5", "10", 31, "25.5");
        check("0.1", "-40", 368, "-3.2");
        check("1.0", "-13.00", 0, "-13");
        check("0.01", "0", u32::MAX, "42949672.95");
    }

    #[test]
    fn a_value_between_two_steps_goes_to_the_nearest_and_halves_go_up() {
        let scaling = scaling("0.5", "10", 0, 60);
        let x = |y| scaling.to_x(Decimal::parse(y).unwrap());
        assert_eq!(x("25.74"), Ok(31));
        assert_eq!(x("25.75"), Ok(32));
        assert_eq!(x("25.7500000000000000"), Ok(32));
    }

    #[test]
    fn a_value_outside_the_limits_of_x_is_refused_with_the_limits_of_y() {
        let scaling = scaling("0.5", "10", 0, 60);
        for y in ["9.7", "40.3", "-9223372036854775808", "9223372036854775807"] {
            let error = scaling.to_x(Decimal::parse(y).unwrap()).unwrap_err();
            assert_eq!(error.to_string(), format!("{y} is outside 10.0 to 40.0"));
        }
    }

    #[test]
    fn impossible_scalings_are_refused() {
        let new = |ratio: &str, addition: &str, min, max| {
            Scaling::new(Decimal::parse(ratio).unwrap(), Decimal::parse(addition).unwrap(), min, max)
        };
        assert!(matches!(new("0", "0", 0, 1), Err(ScaleError::Ratio(_))));
        assert!(matches!(new("-0.1", "0", 0, 1), Err(ScaleError::Ratio(_))));
        assert!(matches!(new("1", "0", 2, 1), Err(ScaleError::Limits { min: 2, max: 1 })));
        assert!(matches!(new("0.0000000001", "0", 0, 1), Err(ScaleError::TooFine { .. })));
        assert!(matches!(new("9000000000000000000", "0", 0, 1), Err(ScaleError::TooFine { .. })));
    }

    proptest::proptest! {
        #[test]
        fn every_x_within_the_limits_comes_back(
            ratio in 1_i64..1_000_000, scale in 0_u8..=9, addition in -1_000_000_000_i64..1_000_000_000, x: u32
        ) {
            let addition = Decimal { mantissa: addition, scale };
            let scaling = Scaling::new(Decimal { mantissa: ratio, scale }, addition, 0, u32::MAX).unwrap();
            proptest::prop_assert_eq!(scaling.to_x(scaling.to_y(x)), Ok(x));
        }
    }
}
