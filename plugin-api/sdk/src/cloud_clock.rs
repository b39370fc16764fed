//! [`CloudClock`]: the time by which messages are stamped, the host's wall clock, or the cloud's where the two differ.

use crate::{ClockQuality, Now, Timestamp};

/// Unix time as the cloud sees it.
#[derive(Debug, Default)]
pub struct CloudClock {
    /// The cloud's time at a monotonic moment; `None`: the wall clock is good enough, or all there is.
    base: Option<(i64, Timestamp)>,
}

impl CloudClock {
    /// Unix milliseconds; `None` while no clock was ever set.
    #[must_use]
    pub fn unix_ms(&self, now: Now) -> Option<i64> {
        match self.base {
            Some((unix_ms, at)) => {
                let elapsed = i64::try_from(now.monotonic.since(at)).unwrap_or(i64::MAX);
                Some(unix_ms.saturating_add(elapsed))
            }
            None => (now.wall.quality > ClockQuality::UNSET).then_some(now.wall.unix_ms),
        }
    }

    /// Takes the cloud's time in Unix milliseconds; what is not after 1970 is no time. Returns what to offer to the host,
    /// if its clock is worse.
    pub fn correct(&mut self, now: Now, cloud_ms: i64) -> Option<i64> {
        if cloud_ms <= 0 {
            return None;
        }
        let wall_is_good = now.wall.quality > ClockQuality::UNSET && now.wall.unix_ms.abs_diff(cloud_ms) < IGNORED_MS;
        if wall_is_good {
            self.base = None;
            return None;
        }
        if self.unix_ms(now).is_none_or(|ms| ms.abs_diff(cloud_ms) >= IGNORED_MS) {
            self.base = Some((cloud_ms, now.monotonic));
        }
        Some(cloud_ms)
    }
}

/// Smaller corrections are ignored (not documented; chosen by us): some clouds tell whole seconds, and each is as late as
/// the network.
const IGNORED_MS: u64 = 2_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WallTime;

    fn at(monotonic: u64, unix_ms: i64, quality: ClockQuality) -> Now {
        Now { monotonic: Timestamp(monotonic), wall: WallTime { unix_ms, quality }, utc_offset_s: 0 }
    }

    #[test]
    fn a_clock_that_was_never_set_tells_no_time_until_the_cloud_does() {
        let mut clock = CloudClock::default();
        assert_eq!(clock.unix_ms(at(0, 777_000, ClockQuality::UNSET)), None);
        assert_eq!(clock.correct(at(0, 0, ClockQuality::UNSET), 1_502_867_044_000), Some(1_502_867_044_000));
        assert_eq!(clock.unix_ms(at(5_000, 0, ClockQuality::UNSET)), Some(1_502_867_049_000));
    }

    #[test]
    fn small_corrections_are_ignored_and_a_corrected_host_is_believed() {
        let mut clock = CloudClock::default();
        assert_eq!(clock.correct(at(0, 100_000_900, ClockQuality::ROUGH), 100_000_000), None);
        assert_eq!(clock.correct(at(0, 100_001_999, ClockQuality::ROUGH), 100_000_000), None);
        assert_eq!(clock.correct(at(0, 100_002_000, ClockQuality::ROUGH), 100_000_000), Some(100_000_000));
        assert_eq!(clock.unix_ms(at(1_000, 100_003_000, ClockQuality::ROUGH)), Some(100_001_000));
        assert_eq!(clock.correct(at(2_000, 100_002_000, ClockQuality::SECONDS), 100_002_000), None);
        assert_eq!(clock.unix_ms(at(3_000, 200_000_000, ClockQuality::SECONDS)), Some(200_000_000));
    }

    #[test]
    fn a_time_that_differs_little_from_the_last_one_is_offered_but_does_not_make_the_clock_jump() {
        let mut clock = CloudClock::default();
        assert_eq!(clock.correct(at(0, 0, ClockQuality::UNSET), 100_000_000), Some(100_000_000));
        assert_eq!(clock.correct(at(1_000, 0, ClockQuality::UNSET), 100_002_999), Some(100_002_999));
        assert_eq!(clock.unix_ms(at(1_000, 0, ClockQuality::UNSET)), Some(100_001_000));
        assert_eq!(clock.correct(at(1_000, 0, ClockQuality::UNSET), 100_003_000), Some(100_003_000));
        assert_eq!(clock.unix_ms(at(1_000, 0, ClockQuality::UNSET)), Some(100_003_000));
    }

    #[test]
    fn a_senseless_time_changes_nothing_and_the_end_of_time_does_not_overflow() {
        let mut clock = CloudClock::default();
        for time in [0, -1, i64::MIN] {
            assert_eq!(clock.correct(at(0, 0, ClockQuality::UNSET), time), None);
        }
        assert_eq!(clock.unix_ms(at(0, 0, ClockQuality::UNSET)), None);
        assert_eq!(clock.correct(at(0, i64::MIN, ClockQuality::ROUGH), i64::MAX), Some(i64::MAX));
        assert_eq!(clock.unix_ms(at(u64::MAX, 0, ClockQuality::ROUGH)), Some(i64::MAX));
    }
}
