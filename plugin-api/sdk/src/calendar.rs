//! Dates of the Gregorian calendar, extended to all years, and days counted from 1970-01-01. No time zones: who wants
//! local time adds an offset first.

/// A day of the calendar. What does not exist (30 February) is not made by this module; see [`days_in_month`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    /// The year; 0 is the year before 1.
    pub year: i64,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
}

impl Date {
    /// The date of a day counted from 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
    ///
    /// Takes every day that some second of an `i64` lies in; beyond, it may overflow.
    #[must_use]
    pub const fn from_days(days: i64) -> Self {
        // Years are counted from March, so that a leap day is the last day of its year.
        let shifted = days + DAYS_TO_1970;
        let (era, of_era) = (shifted.div_euclid(DAYS_OF_ERA), shifted.rem_euclid(DAYS_OF_ERA));
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let day = (of_year - (153 * from_march + 2) / 5 + 1) as u8;
        let month = (if from_march < 10 { from_march + 3 } else { from_march - 9 }) as u8;
        Self { year: year_of_era + 400 * era + (month <= 2) as i64, month, day }
    }

    /// The day counted from 1970-01-01; one that does not exist counts on into the next month.
    #[must_use]
    pub const fn days(self) -> i64 {
        let year = self.year - (self.month <= 2) as i64;
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let from_march = (self.month as i64 + 9) % 12;
        let of_year = (153 * from_march + 2) / 5 + self.day as i64 - 1;
        let of_era = 365 * year_of_era + year_of_era / 4 - year_of_era / 100 + of_year;
        era * DAYS_OF_ERA + of_era - DAYS_TO_1970
    }
}

/// The day of the week of a day counted from 1970-01-01: 0 Monday to 6 Sunday.
#[must_use]
pub const fn weekday(days: i64) -> u8 {
    // The first of January 1970 was a Thursday.
    ((days.rem_euclid(7) + 3) % 7) as u8
}

/// How many days a month (1 to 12) has; 0 for a month that does not exist.
#[must_use]
pub const fn days_in_month(year: i64, month: u8) -> u8 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 0,
    }
}

/// Seconds of a day; Unix time knows no leap seconds.
pub const DAY_S: i64 = 86_400;

const DAYS_OF_ERA: i64 = 146_097;

/// From the first of March of the year 0.
const DAYS_TO_1970: i64 = 719_468;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(days: i64, (year, month, day): (i64, u8, u8), day_of_week: u8) {
        let date = Date { year, month, day };
        assert_eq!((Date::from_days(days), date.days(), weekday(days)), (date, days, day_of_week));
    }

    #[test]
    fn days_of_a_printed_calendar_are_where_they_should_be() {
        check(0, (1970, 1, 1), 3);
        check(-1, (1969, 12, 31), 2);
        check(11_016, (2000, 2, 29), 1);
        check(16_488, (2015, 2, 22), 6);
        check(84_005, (2199, 12, 31), 1);
        check(-719_468, (0, 3, 1), 2);
    }

    #[test]
    fn every_day_of_a_thousand_years_follows_the_one_before() {
        let mut date = Date { year: 1500, month: 1, day: 1 };
        for days in date.days()..date.days() + 365_250 {
            assert_eq!((Date::from_days(days), date.days()), (date, days));
            assert_eq!(weekday(days + 1), (weekday(days) + 1) % 7);
            date.day += 1;
            if date.day > days_in_month(date.year, date.month) {
                (date.month, date.day) = (date.month % 12 + 1, 1);
                date.year += i64::from(date.month == 1);
            }
        }
    }

    proptest! {
        #[test]
        fn every_second_has_a_date(second: i64) {
            let days = second.div_euclid(DAY_S);
            let date = Date::from_days(days);
            prop_assert_eq!(date.days(), days);
            prop_assert!((1..=days_in_month(date.year, date.month)).contains(&date.day));
        }
    }
}
