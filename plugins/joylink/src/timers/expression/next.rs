//! When an expression says "now" next. Our reading of the document, see the parent.

use polylink_plugin_sdk::calendar::{DAY_S, Date, days_in_month, weekday};

use super::times::at_or_after;
use super::{Column, ONLY_0, TimeExpression, TimesOfDay};

impl TimeExpression {
    /// The first instant after `now`, in Unix seconds; `None`: none within 100 years.
    ///
    /// `anchor` is when the task was enabled, from which intervals count. All columns are local time, `offset_s` ahead
    /// of UTC.
    ///
    /// Without `/` an instant needs all columns to match, day and week too. `*` in the columns of the time of day is 0 if
    /// a coarser column has a value, and else any. With `/n` the unit repeats every `n` units from the one that the
    /// anchor is in; there, finer columns have their values, or the anchor's for `*`. Only instants after the anchor
    /// count. Dates that do not exist are skipped.
    #[must_use]
    pub fn next_after(&self, anchor: i64, now: i64, offset_s: i32) -> Option<i64> {
        if !SANE.contains(&anchor) || !SANE.contains(&now) {
            return None;
        }
        let offset = i64::from(offset_s);
        let (anchor, now) = (anchor + offset, now + offset);
        let until = now + HORIZON_S;
        let next = match self.every {
            None => self.next_matching(now + 1, until),
            Some((unit, n)) => self.next_in_period(unit, i64::from(n), anchor, anchor.max(now) + 1, until),
        };
        next.filter(|next| *next <= until).map(|next| next - offset)
    }

    fn next_matching(&self, from: i64, until: i64) -> Option<i64> {
        let mut coarser = [Column::Day, Column::Month, Column::Week, Column::Year].iter().any(|c| self.has_values(*c));
        let [hours, minutes, seconds] = [Column::Hour, Column::Minute, Column::Second].map(|column| {
            let any = ANY >> (63 - column.range().1);
            let set = self.set(column).unwrap_or(if coarser { ONLY_0 } else { any });
            coarser |= self.has_values(column);
            set
        });
        let days = Days { days: self.set(Column::Day).unwrap_or(ANY), weekdays: self.set(Column::Week).unwrap_or(ANY) };
        let months = self.set(Column::Month).unwrap_or(ANY);
        let year_fits = |year| self.years.as_ref().is_none_or(|years| years.iter().any(|y| i64::from(*y) == year));
        first_day(from, until, &days, &TimesOfDay { hours, minutes, seconds }, |year, month| {
            months >> month & 1 == 1 && year_fits(year)
        })
    }

    fn next_in_period(&self, unit: Column, n: i64, anchor: i64, from: i64, until: i64) -> Option<i64> {
        let date = Date::from_days(anchor.div_euclid(DAY_S));
        let of_day = anchor.rem_euclid(DAY_S);
        // A column that is not finer than the unit has no part in where in a period an instant lies.
        let set = |column: Column, anchors: i64| {
            if column < unit { self.set(column).unwrap_or(1 << anchors) } else { ONLY_0 }
        };
        let times = TimesOfDay {
            hours: set(Column::Hour, of_day / 3600),
            minutes: set(Column::Minute, of_day / 60 % 60),
            seconds: set(Column::Second, of_day % 60),
        };
        let days = Days { days: set(Column::Day, date.day.into()), weekdays: ANY };
        match unit {
            Column::Month => {
                let first = 12 * date.year + i64::from(date.month);
                first_day(from, until, &days, &times, |year, month| (12 * year + i64::from(month) - first) % n == 0)
            }
            Column::Year => {
                let months = set(Column::Month, date.month.into());
                let of_period = |year: i64, month: u8| (year - date.year) % n == 0 && months >> month & 1 == 1;
                first_day(from, until, &days, &times, of_period)
            }
            Column::Second => Some(in_equal_periods(1, n, anchor, from, &times)),
            Column::Minute => Some(in_equal_periods(60, n, anchor, from, &times)),
            Column::Hour => Some(in_equal_periods(3600, n, anchor, from, &times)),
            // There are no intervals of weeks.
            Column::Day | Column::Week => Some(in_equal_periods(DAY_S, n, anchor, from, &times)),
        }
    }
}

/// The first of these times on one of these days, in a month that `wanted` agrees to, at or after the local second `from`.
/// Looks no further than the month of `until`.
pub(in crate::timers) fn first_day(
    from: i64,
    until: i64,
    days: &Days,
    times: &TimesOfDay,
    wanted: impl Fn(i64, u8) -> bool,
) -> Option<i64> {
    let today = from.div_euclid(DAY_S);
    let Date { mut year, mut month, day: mut first } = Date::from_days(today);
    loop {
        let month_starts = Date { year, month, day: 1 }.days();
        if month_starts * DAY_S > until {
            return None;
        }
        if wanted(year, month) {
            let mut day = i64::from(first);
            while let Some(found) = at_or_after(days.days, day).filter(|d| *d <= days_in_month(year, month).into()) {
                let that_day = month_starts + found - 1;
                let earliest = if that_day == today { from.rem_euclid(DAY_S) } else { 0 };
                if days.weekdays >> weekday(that_day) & 1 == 1
                    && let Some(time) = times.at_or_after(earliest)
                {
                    return Some(that_day * DAY_S + time);
                }
                day = found + 1;
            }
        }
        first = 1;
        (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    }
}

/// Days of the month (bits 1 to 31) that are also days of the week (bit 0 Monday to bit 6 Sunday).
pub(in crate::timers) struct Days {
    pub(in crate::timers) days: u64,
    pub(in crate::timers) weekdays: u64,
}

/// The first time at or after `from` in every `n`th unit of so many seconds, from the one that the anchor is in.
fn in_equal_periods(unit_s: i64, n: i64, anchor: i64, from: i64, times: &TimesOfDay) -> i64 {
    let first = anchor.div_euclid(unit_s);
    let n_passed = (from.div_euclid(unit_s) - first) / n;
    let period = (first + n_passed * n) * unit_s;
    let in_period = times.at_or_after(from - period);
    in_period.map_or_else(|| period + n * unit_s + times.first(), |time| period + time)
}

/// All members that any set can have.
pub(in crate::timers) const ANY: u64 = u64::MAX;

/// 100 years with their leap days (JoyLink V1.79 says nothing; chosen by us: Mondays that are 29 February are up to 40
/// years apart).
pub(in crate::timers) const HORIZON_S: i64 = 36_525 * DAY_S;

/// Some three thousand years both ways: beyond, a clock is certainly wrong, and sums could overflow.
pub(in crate::timers) const SANE: std::ops::RangeInclusive<i64> = -100_000_000_000..=100_000_000_000;
