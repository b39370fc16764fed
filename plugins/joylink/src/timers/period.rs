//! Which days a time span is for: the `period` table of a task that repeats (JoyLink V1.79, chapter 10, mode 1).

use polylink_plugin_sdk::calendar::DAY_S;
use serde::Deserialize;

use super::expression::TimesOfDay;
use super::expression::next::{ANY, Days, HORIZON_S, SANE, first_day};

/// What `period[0]` of a weekly task stands for; the document does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeekIndex0 {
    /// As in the values of expressions, where Monday is the first.
    #[default]
    Monday,
    /// As in C's `tm_wday`.
    Sunday,
}

/// Days of each week or of each month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// Bit 0 is Monday, bit 6 Sunday.
    Week(u64),
    /// Bit 1 is the first of a month.
    Month(u64),
}

impl Period {
    /// Reads the table. Any number but 0 selects a day. `None` for an unknown type.
    #[must_use]
    pub fn new(period_type: u8, table: &[u8; 31], week_index0: WeekIndex0) -> Option<Self> {
        let bits = |days: &[u8]| days.iter().rev().fold(0, |set, day| set << 1 | u64::from(*day != 0));
        match (period_type, week_index0) {
            (PERIOD_WEEK, WeekIndex0::Monday) => Some(Self::Week(bits(&table[..7]))),
            (PERIOD_WEEK, WeekIndex0::Sunday) => Some(Self::Week(bits(&table[1..7]) | u64::from(table[0] != 0) << 6)),
            (PERIOD_MONTH, _) => Some(Self::Month(bits(table) << 1)),
            _ => None,
        }
    }

    /// The first instant after `now`, in Unix seconds, at one of these times of a selected day, or of the `days_later`th
    /// day after one. Local time is `offset_s` ahead of UTC. `None`: no day is selected, or none within 100 years.
    #[must_use]
    pub fn next_after(self, times: &TimesOfDay, days_later: u8, now: i64, offset_s: i32) -> Option<i64> {
        if !SANE.contains(&now) {
            return None;
        }
        let days = match self {
            Self::Week(weekdays) => Days { days: ANY, weekdays },
            Self::Month(days) => Days { days, weekdays: ANY },
        };
        let behind = i64::from(days_later) * DAY_S - i64::from(offset_s);
        let now = now - behind;
        let next = first_day(now + 1, now + HORIZON_S, &days, times, |_, _| true)?;
        (next <= now + HORIZON_S).then_some(next + behind)
    }
}

/// "period_type 0 week, 1 month" (JoyLink V1.79, chapter 10, mode 1).
const PERIOD_WEEK: u8 = 0;
const PERIOD_MONTH: u8 = 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::timers::expression::TimeExpression;

    fn times(text: &str) -> TimesOfDay {
        text.parse::<TimeExpression>().unwrap().times_of_day().unwrap()
    }

    #[track_caller]
    fn check(period_type: u8, selected: &[usize], index0: WeekIndex0, days_later: u8, now: i64, expected: Option<i64>) {
        let table = std::array::from_fn(|day| u8::from(selected.contains(&day)));
        let period = Period::new(period_type, &table, index0).unwrap();
        assert_eq!(period.next_after(&times("0_0_12_*_*_*_*"), days_later, now, 0), expected);
    }

    #[test]
    fn the_first_entry_of_a_week_is_monday_unless_it_is_sunday() {
        // The first of January 1970 was a Thursday.
        check(0, &[0], WeekIndex0::Monday, 0, 0, Some(4 * DAY_S + DAY_S / 2));
        check(0, &[0], WeekIndex0::Sunday, 0, 0, Some(3 * DAY_S + DAY_S / 2));
        check(0, &[6], WeekIndex0::Monday, 0, 0, Some(3 * DAY_S + DAY_S / 2));
        check(0, &[6], WeekIndex0::Sunday, 0, 0, Some(2 * DAY_S + DAY_S / 2));
    }

    #[test]
    fn entries_beyond_a_week_and_days_beyond_a_month_select_nothing() {
        check(0, &[7, 30], WeekIndex0::Monday, 0, 0, None);
        check(1, &[], WeekIndex0::Monday, 0, 0, None);
        check(1, &[30], WeekIndex0::Monday, 0, 31 * DAY_S, Some((31 + 28 + 30) * DAY_S + DAY_S / 2));
    }

    #[test]
    fn the_day_after_a_selected_one_can_be_meant() {
        // The first of January 1970 follows a 31st.
        check(1, &[30], WeekIndex0::Monday, 1, 0, Some(DAY_S / 2));
        check(1, &[0], WeekIndex0::Monday, 1, DAY_S, Some(DAY_S + DAY_S / 2));
        check(1, &[0], WeekIndex0::Monday, 1, DAY_S + DAY_S / 2, Some(32 * DAY_S + DAY_S / 2));
    }

    proptest! {
        #[test]
        fn no_table_and_no_time_panics(period_type: u8, table: [u8; 31], later: u8, now: i64, offset: i32, second in 0..60) {
            let times = times(&format!("{second}_*_*_*_*_*_*"));
            for index0 in [WeekIndex0::Monday, WeekIndex0::Sunday] {
                if let Some(period) = Period::new(period_type % 3, &table, index0) {
                    for now in [now, now % 200_000_000_000] {
                        prop_assert!(period.next_after(&times, later, now, offset).is_none_or(|next| next > now));
                    }
                }
            }
        }
    }
}
