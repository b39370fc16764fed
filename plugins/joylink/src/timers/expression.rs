//! Time expressions, `sec_min_hour_day_month_week_year` (JoyLink V1.79, chapter 10, "time_exp"): `0_1_22_*_*_1,3,5_*` is
//! Mondays, Wednesdays and Fridays at 22:01.
//!
//! What `/n`, `*` in a fine column, and day together with week mean is nowhere written; that reading is our choice, and
//! it is all in `next`.

#[cfg(test)]
mod model;
pub(in crate::timers) mod next;
mod times;

use std::fmt::{Display, Formatter};
use std::str::FromStr;

pub use times::TimesOfDay;

/// A parsed expression. It keeps its text, because a cloud may compare what it gets back with what it sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TimeExpression {
    text: String,
    /// One bit for each value, by [`Column`]; `None` is `*`, and so is the year, which has too many values for bits.
    sets: [Option<u64>; 7],
    years: Option<Vec<u16>>,
    every: Option<(Column, u32)>,
}

/// The columns, in the order in which they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Column {
    /// 0 to 59.
    Second,
    /// 0 to 59.
    Minute,
    /// 0 to 23.
    Hour,
    /// 1 to 31.
    Day,
    /// 1 to 12.
    Month,
    /// 1 Monday to 7 Sunday; 0 is Sunday too.
    Week,
    /// 1970 to 2199.
    Year,
}

/// Why a text is no expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// On the wire the length is a byte.
    #[error("{0} bytes are more than the 255 that an expression can have")]
    TooLong(usize),
    /// There have to be seven.
    #[error("{0} columns instead of 7")]
    Columns(usize),
    /// Neither `*`, nor numbers with commas between them, nor `/` and a number.
    #[error("the {0:?} column is not *, numbers with commas, or / and a number")]
    Syntax(Column),
    /// A number that the column cannot have.
    #[error("{value} is out of range for the {column:?} column")]
    Range {
        /// Where it stands.
        column: Column,
        /// What stands there.
        value: u32,
    },
    /// Seven times `*` says nothing.
    #[error("all columns are *")]
    NothingSaid,
    /// `/0`.
    #[error("an interval of 0")]
    ZeroInterval,
    /// `/` twice.
    #[error("more than one interval")]
    TwoIntervals,
    /// `/` in the week column.
    #[error("an interval in the week column")]
    WeekInterval,
    /// A value in a column that is coarser than the one with `/`, or in the week column beside it.
    #[error("a value in the {0:?} column beside an interval of a finer unit")]
    BesideInterval(Column),
}

impl TimeExpression {
    /// The text it was made of, without a doubled underscore.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The times of day it names when only its first three columns count, `*` as 0; `None` if one of them is an interval.
    #[must_use]
    pub fn times_of_day(&self) -> Option<TimesOfDay> {
        if self.every.is_some_and(|(column, _)| column <= Column::Hour) {
            return None;
        }
        let [hours, minutes, seconds] =
            [Column::Hour, Column::Minute, Column::Second].map(|column| self.set(column).unwrap_or(ONLY_0));
        Some(TimesOfDay { hours, minutes, seconds })
    }

    fn set(&self, column: Column) -> Option<u64> {
        self.sets[column as usize]
    }

    fn has_values(&self, column: Column) -> bool {
        if column == Column::Year { self.years.is_some() } else { self.set(column).is_some() }
    }

    fn put(&mut self, column: Column, text: &str) -> Result<(), ExpressionError> {
        if text == "*" {
            return Ok(());
        }
        if let Some(interval) = text.strip_prefix('/') {
            let n = number(column, interval)?;
            return match (column, n) {
                (Column::Week, _) => Err(ExpressionError::WeekInterval),
                (_, 0) => Err(ExpressionError::ZeroInterval),
                _ if self.every.replace((column, n)).is_some() => Err(ExpressionError::TwoIntervals),
                _ => Ok(()),
            };
        }
        for text in text.split(',') {
            let value = number(column, text)?;
            let (least, most) = column.range();
            if !(least..=most).contains(&value) {
                return Err(ExpressionError::Range { column, value });
            }
            match column {
                Column::Year => self.years.get_or_insert_default().push(value as u16),
                // Sunday is 0 or 7; its bit is the last of the week, and Monday's the first.
                Column::Week => *self.sets[column as usize].get_or_insert(0) |= 1 << ((value + 6) % 7),
                _ => *self.sets[column as usize].get_or_insert(0) |= 1 << value,
            }
        }
        Ok(())
    }

    fn check_interval(&self) -> Result<(), ExpressionError> {
        let Some((interval, _)) = self.every else {
            let says_something = COLUMNS.iter().any(|column| self.has_values(*column));
            return if says_something { Ok(()) } else { Err(ExpressionError::NothingSaid) };
        };
        let wrong = |column: &&Column| (**column > interval || **column == Column::Week) && self.has_values(**column);
        COLUMNS.iter().find(wrong).map_or(Ok(()), |column| Err(ExpressionError::BesideInterval(*column)))
    }
}

impl FromStr for TimeExpression {
    type Err = ExpressionError;

    fn from_str(text: &str) -> Result<Self, ExpressionError> {
        if text.len() > LENGTH_MAX {
            return Err(ExpressionError::TooLong(text.len()));
        }
        let mut columns: Vec<&str> = text.split('_').collect();
        // The document's own example 3 has a doubled underscore.
        let n_empty = columns.iter().filter(|column| column.is_empty()).count();
        if (columns.len(), n_empty) == (COLUMNS.len() + 1, 1) {
            columns.retain(|column| !column.is_empty());
        }
        if columns.len() != COLUMNS.len() {
            return Err(ExpressionError::Columns(columns.len()));
        }
        let mut expression = Self { text: columns.join("_"), sets: [None; 7], years: None, every: None };
        for (column, text) in COLUMNS.iter().zip(columns) {
            expression.put(*column, text)?;
        }
        expression.check_interval()?;
        Ok(expression)
    }
}

impl Display for TimeExpression {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Column {
    const fn range(self) -> (u32, u32) {
        match self {
            Self::Second | Self::Minute => (0, 59),
            Self::Hour => (0, 23),
            Self::Day => (1, 31),
            Self::Month => (1, 12),
            Self::Week => (0, 7),
            Self::Year => (1970, 2199),
        }
    }
}

fn number(column: Column, text: &str) -> Result<u32, ExpressionError> {
    // `parse` alone would take a plus sign.
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or(ExpressionError::Syntax(column))
}

const COLUMNS: [Column; 7] =
    [Column::Second, Column::Minute, Column::Hour, Column::Day, Column::Month, Column::Week, Column::Year];

/// The length of an expression is a byte (JoyLink V1.79, chapter 10).
const LENGTH_MAX: usize = 255;

/// The set of which 0 is the only member.
const ONLY_0: u64 = 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, ExpressionError>) {
        let parsed = text.parse::<TimeExpression>().map(|expression| expression.to_string());
        assert_eq!(parsed, expected.map(str::to_owned), "{text}");
    }

    #[test]
    fn an_expression_is_printed_as_it_was_written() {
        for text in ["0_1_22_*_*_1,3,5_*", "00_01_022_*_*_*_*", "*_*_*_*_*_*_/2", "59,0_*_*_*_*_0,7_2199"] {
            check(text, Ok(text));
        }
    }

    #[test]
    fn a_doubled_underscore_is_understood_and_not_repeated() {
        check("0_1_22__11,15_*_*_*", Ok("0_1_22_11,15_*_*_*"));
        check("_0_1_22_*_*_*_*", Ok("0_1_22_*_*_*_*"));
        check("0_1__22__*_*_*_*", Err(ExpressionError::Columns(9)));
        check("0_1_22__*_*_*", Err(ExpressionError::Syntax(Column::Day)));
    }

    #[test]
    fn each_mistake_has_its_name() {
        check("", Err(ExpressionError::Columns(1)));
        check(&"1".repeat(256), Err(ExpressionError::TooLong(256)));
        check("*_*_*_*_*_*_*", Err(ExpressionError::NothingSaid));
        check("60_*_*_*_*_*_*", Err(ExpressionError::Range { column: Column::Second, value: 60 }));
        check("*_*_*_*_*_*_1969", Err(ExpressionError::Range { column: Column::Year, value: 1969 }));
        check("/0_*_*_*_*_*_*", Err(ExpressionError::ZeroInterval));
        check("/1_/1_*_*_*_*_*", Err(ExpressionError::TwoIntervals));
        check("*_*_*_*_*_/1_*", Err(ExpressionError::WeekInterval));
        check("*_/2_*_*_*_1_*", Err(ExpressionError::BesideInterval(Column::Week)));
        check("*_*_*_*_*_1_/2", Err(ExpressionError::BesideInterval(Column::Week)));
        check("*_/2_3_*_*_*_*", Err(ExpressionError::BesideInterval(Column::Hour)));
        for column in ["1,", ",1", "1,,2", "+1", "-1", " 1", "1 ", "**", "*,1", "/", "/1,2", "1/2", "٣", "4294967296"]
        {
            check(&format!("{column}_*_*_*_*_*_*"), Err(ExpressionError::Syntax(Column::Second)));
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_understood_survives_printing(text in "[0-9*/,_]{0,40}", any: String) {
            let _ = any.parse::<TimeExpression>();
            if let Ok(expression) = text.parse::<TimeExpression>() {
                prop_assert_eq!(expression.to_string().parse(), Ok(expression));
            }
        }
    }
}
