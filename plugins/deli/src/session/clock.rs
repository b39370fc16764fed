//! The time by which messages are stamped: the host's wall clock, or the cloud's where the two differ.

use polylink_plugin_sdk::{ClockQuality, Now, Timestamp};

/// Unix time as the platform sees it.
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

    /// Unix seconds as a message shows them: 0 while the clock is not set (Deli access document, action 100).
    #[must_use]
    pub fn stamp(&self, now: Now) -> i64 {
        self.unix_ms(now).map_or(0, |ms| ms.div_euclid(1000))
    }

    /// Takes the cloud's time. Returns what to offer to the host, if its clock is worse.
    pub fn correct(&mut self, now: Now, unix_s: i64) -> Option<i64> {
        let cloud_ms = unix_s.checked_mul(1000).filter(|ms| *ms > 0)?;
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

/// Smaller corrections are ignored: the cloud's time has a resolution of one second (not documented; chosen by us).
const IGNORED_MS: u64 = 2_000;

#[cfg(test)]
mod tests {
    use polylink_plugin_sdk::WallTime;

    use super::*;

    fn at(monotonic: u64, unix_ms: i64, quality: ClockQuality) -> Now {
        Now { monotonic: Timestamp(monotonic), wall: WallTime { unix_ms, quality }, utc_offset_s: 0 }
    }

    #[test]
    fn a_clock_that_was_never_set_stamps_zero_until_the_cloud_tells_the_time() {
        let mut clock = CloudClock::default();
        assert_eq!(clock.stamp(at(0, 777_000, ClockQuality::UNSET)), 0);
        assert_eq!(clock.correct(at(0, 0, ClockQuality::UNSET), 1_502_867_044), Some(1_502_867_044_000));
        assert_eq!(clock.stamp(at(5_000, 0, ClockQuality::UNSET)), 1_502_867_049);
    }

    #[test]
    fn small_corrections_are_ignored_and_a_corrected_host_is_believed() {
        let mut clock = CloudClock::default();
        assert_eq!(clock.correct(at(0, 100_000_900, ClockQuality::ROUGH), 100_000), None);
        assert_eq!(clock.correct(at(0, 100_002_000, ClockQuality::ROUGH), 100_000), Some(100_000_000));
        assert_eq!(clock.stamp(at(1_000, 100_003_000, ClockQuality::ROUGH)), 100_001);
        assert_eq!(clock.correct(at(2_000, 100_002_000, ClockQuality::SECONDS), 100_002), None);
        assert_eq!(clock.stamp(at(3_000, 200_000_000, ClockQuality::SECONDS)), 200_000);
    }

    #[test]
    fn a_senseless_time_changes_nothing() {
        let mut clock = CloudClock::default();
        for time in [0, -1, i64::MIN, i64::MAX] {
            assert_eq!(clock.correct(at(0, 0, ClockQuality::UNSET), time), None);
        }
        assert_eq!(clock.stamp(at(0, 0, ClockQuality::UNSET)), 0);
    }
}
