//! The platform's time, which its messages tell in whole seconds.

use polylink_plugin_sdk::Now;
use polylink_plugin_sdk::cloud_clock::CloudClock;

/// Unix seconds; `None` while no clock was ever set.
pub fn unix_s(clock: &CloudClock, now: Now) -> Option<i64> {
    clock.unix_ms(now).map(|ms| ms.div_euclid(1000))
}

/// Unix seconds as a message shows them: 0 while the clock is not set (Deli access document, action 100).
pub fn stamp(clock: &CloudClock, now: Now) -> i64 {
    unix_s(clock, now).unwrap_or(0)
}

/// Takes the platform's time. Returns the Unix milliseconds to offer to the host, if its clock is worse.
pub fn correct(clock: &mut CloudClock, now: Now, unix_s: i64) -> Option<i64> {
    clock.correct(now, unix_s.checked_mul(1000)?)
}

#[cfg(test)]
mod tests {
    use polylink_plugin_sdk::{ClockQuality, Timestamp, WallTime};

    use super::*;

    fn at(monotonic: u64, unix_ms: i64, quality: ClockQuality) -> Now {
        Now { monotonic: Timestamp(monotonic), wall: WallTime { unix_ms, quality }, utc_offset_s: 0 }
    }

    #[test]
    fn a_clock_that_was_never_set_stamps_zero_until_the_cloud_tells_the_time() {
        let mut clock = CloudClock::default();
        assert_eq!(stamp(&clock, at(0, 777_000, ClockQuality::UNSET)), 0);
        assert_eq!(correct(&mut clock, at(0, 0, ClockQuality::UNSET), 1_502_867_044), Some(1_502_867_044_000));
        assert_eq!(stamp(&clock, at(5_000, 0, ClockQuality::UNSET)), 1_502_867_049);
    }

    #[test]
    fn a_senseless_time_changes_nothing() {
        let mut clock = CloudClock::default();
        for time in [0, -1, i64::MIN, i64::MAX] {
            assert_eq!(correct(&mut clock, at(0, 0, ClockQuality::UNSET), time), None);
        }
        assert_eq!(stamp(&clock, at(0, 0, ClockQuality::UNSET)), 0);
    }
}
