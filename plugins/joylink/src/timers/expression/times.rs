//! [`TimesOfDay`]: all seconds of a day whose hour, minute and second are in three sets.

/// Never empty: each set has at least one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimesOfDay {
    /// One bit for each hour; so the others.
    pub(super) hours: u64,
    pub(super) minutes: u64,
    pub(super) seconds: u64,
}

impl TimesOfDay {
    /// The first, in seconds since midnight.
    #[must_use]
    pub fn first(&self) -> i64 {
        first(self.hours) * 3600 + first(self.minutes) * 60 + first(self.seconds)
    }

    /// The last.
    #[must_use]
    pub fn last(&self) -> i64 {
        last(self.hours) * 3600 + last(self.minutes) * 60 + last(self.seconds)
    }

    /// The first that is not before this second of the day.
    #[must_use]
    pub fn at_or_after(&self, second: i64) -> Option<i64> {
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        if contains(self.hours, hour) {
            if contains(self.minutes, minute)
                && let Some(second) = at_or_after(self.seconds, second)
            {
                return Some(hour * 3600 + minute * 60 + second);
            }
            if let Some(minute) = at_or_after(self.minutes, minute + 1) {
                return Some(hour * 3600 + minute * 60 + first(self.seconds));
            }
        }
        let hour = at_or_after(self.hours, hour + 1)?;
        Some(hour * 3600 + first(self.minutes) * 60 + first(self.seconds))
    }
}

/// The least member that is not below `least`.
pub(in crate::timers) fn at_or_after(set: u64, least: i64) -> Option<i64> {
    let rest = set.checked_shr(u32::try_from(least).ok()?).filter(|rest| *rest != 0)?;
    Some(least + i64::from(rest.trailing_zeros()))
}

fn contains(set: u64, member: i64) -> bool {
    at_or_after(set, member) == Some(member)
}

fn first(set: u64) -> i64 {
    i64::from(set.trailing_zeros())
}

fn last(set: u64) -> i64 {
    i64::from(63 - set.leading_zeros().min(63))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(times: TimesOfDay) {
        let all: Vec<i64> = (0..86_400)
            .filter(|s| contains(times.hours, s / 3600))
            .filter(|s| contains(times.minutes, s / 60 % 60) && contains(times.seconds, s % 60))
            .collect();
        assert_eq!((Some(&times.first()), Some(&times.last())), (all.first(), all.last()));
        let mut rest = all.as_slice();
        for second in 0..90_000 {
            assert_eq!(times.at_or_after(second), rest.first().copied(), "{second}");
            if rest.first() == Some(&second) {
                rest = &rest[1..];
            }
        }
    }

    #[test]
    fn every_second_of_a_day_knows_the_next_time() {
        check(TimesOfDay { hours: 1, minutes: 1, seconds: 1 });
        check(TimesOfDay { hours: 1 << 23, minutes: 1 << 59, seconds: 1 << 59 });
        check(TimesOfDay { hours: 0b1010_0001, minutes: 1 << 59 | 1 << 7, seconds: 1 << 30 | 1 << 31 | 1 });
        check(TimesOfDay { hours: (1 << 24) - 1, minutes: (1 << 60) - 1, seconds: (1 << 60) - 1 });
    }
}
