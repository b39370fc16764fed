//! [`Stamps`]: the time in packets to the cloud.

use polylink_plugin_sdk::Now;
use polylink_plugin_sdk::cloud_clock::CloudClock;

/// Seconds since 1970 UTC as the cloud sees them: it sets the device's clock when it lets it in (JoyLink V1.79,
/// authentication). Where the host's clock says the same, that one counts; before the first connection there may be none.
#[derive(Debug, Default)]
pub struct Stamps(CloudClock);

impl Stamps {
    /// What to write into a packet.
    #[must_use]
    pub fn unix_s(&self, now: Now) -> u32 {
        let unix_ms = self.0.unix_ms(now).unwrap_or(0);
        u32::try_from(unix_ms.div_euclid(1000).max(0)).unwrap_or(u32::MAX)
    }

    /// The cloud said the time; 0 is none.
    pub fn learn(&mut self, now: Now, unix_s: u32) {
        // Whether the host should know is for the session to say.
        let _ = self.0.correct(now, i64::from(unix_s) * 1000);
    }
}

#[cfg(test)]
mod tests {
    use polylink_plugin_sdk::{ClockQuality, Timestamp, WallTime};

    use super::*;

    fn at(monotonic: u64, unix_ms: i64, quality: ClockQuality) -> Now {
        Now { monotonic: Timestamp(monotonic), wall: WallTime { unix_ms, quality }, utc_offset_s: 0 }
    }

    #[test]
    fn a_clock_that_was_never_set_counts_on_from_the_time_of_the_cloud() {
        let mut stamps = Stamps::default();
        let unset = |monotonic| at(monotonic, 777_000, ClockQuality::UNSET);
        assert_eq!(stamps.unix_s(unset(5)), 0);
        stamps.learn(unset(1_000), 0);
        assert_eq!(stamps.unix_s(unset(5_000)), 0, "0 is no time");
        stamps.learn(unset(10_000), 1_446_192_001);
        assert_eq!(stamps.unix_s(unset(10_999)), 1_446_192_001);
        assert_eq!(stamps.unix_s(unset(11_000)), 1_446_192_002);
        assert_eq!(stamps.unix_s(unset(3_610_000)), 1_446_195_601);
    }

    #[test]
    fn where_the_two_differ_the_cloud_is_believed() {
        let mut stamps = Stamps::default();
        let wall = |monotonic, unix_ms| at(monotonic, unix_ms, ClockQuality::SYNCED);
        stamps.learn(wall(0, 1_700_000_001_000), 1_700_000_000);
        assert_eq!(stamps.unix_s(wall(1_000, 1_700_000_002_999)), 1_700_000_002, "a second is no difference");
        stamps.learn(wall(1_000, 1_700_000_002_000), 1_700_003_600);
        assert_eq!(stamps.unix_s(wall(3_000, 1_700_000_004_000)), 1_700_003_602);
        stamps.learn(wall(4_000, 1_700_003_603_000), 1_700_003_603);
        assert_eq!(stamps.unix_s(wall(5_000, 1_700_003_699_000)), 1_700_003_699, "the host's clock was set");
    }

    #[test]
    fn a_time_that_the_field_cannot_hold_is_the_nearest_that_it_can() {
        let stamp = |unix_ms| Stamps::default().unix_s(at(0, unix_ms, ClockQuality::ROUGH));
        assert_eq!(stamp(-1), 0);
        assert_eq!(stamp(i64::MIN), 0);
        assert_eq!(stamp(i64::from(u32::MAX) * 1000 + 999), u32::MAX);
        assert_eq!(stamp(i64::MAX), u32::MAX);
    }
}
