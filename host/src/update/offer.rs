//! What a cloud or a user offers, and when its turn comes.

use serde::{Deserialize, Serialize};

use super::digest::Expected;
use super::manifest::Target;

/// An image that somebody wants installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The cloud instance that asks. Progress and result are for it.
    pub asker: String,
    /// The asker's own name for it. The same one again is the same offer again.
    pub reference: String,
    /// What it is for.
    #[serde(with = "target")]
    pub target: Target,
    /// Which subdevice; 0 for other targets.
    pub device: u32,
    /// As the cloud calls it, for people.
    pub version: String,
    /// Where it is.
    pub url: String,
    /// The asker may use plain http.
    pub plain_text: bool,
    /// Bytes of the file, if the cloud says so.
    pub size: Option<u64>,
    /// Digests of the file, as the cloud says them.
    #[serde(with = "digests")]
    pub digests: Vec<Expected>,
    /// Its turn.
    pub schedule: Schedule,
    /// Unix seconds by which it must be loaded.
    pub load_by: Option<i64>,
}

/// When an offer's turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Schedule {
    /// At once.
    Now,
    /// At a random moment of the next so many seconds.
    Within {
        /// Seconds.
        spread_s: u32,
    },
    /// At a random moment of a window of the day, by local time.
    Daily {
        /// Its beginning, in seconds after midnight.
        start_s: u32,
        /// Its length, at most a day.
        len_s: u32,
    },
    /// At this moment.
    At {
        /// Unix seconds.
        unix_s: i64,
    },
}

/// The time, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Monotonic.
    pub now: polylink_plugin_api::Timestamp,
    /// Unix seconds; none: the clock was never set.
    pub unix_s: Option<i64>,
    /// What local time is ahead of UTC.
    pub utc_offset_s: i32,
}

impl Schedule {
    /// Unix seconds of the start, when the random number was drawn; none: the clock must be set first.
    #[must_use]
    pub fn start(self, moment: &Moment, drawn: u64) -> Option<i64> {
        let unix_s = moment.unix_s?;
        let within = |spread_s: u32| i64::try_from(drawn % (u64::from(spread_s) + 1)).unwrap_or(0);
        Some(match self {
            Self::Now => unix_s,
            Self::Within { spread_s } => unix_s.saturating_add(within(spread_s)),
            Self::At { unix_s } => unix_s,
            Self::Daily { start_s, len_s } => {
                let offset = i64::from(moment.utc_offset_s);
                let local = unix_s.saturating_add(offset);
                let midnight = local.div_euclid(DAY_S).saturating_mul(DAY_S);
                let after_midnight = i64::from(start_s % 86_400) + within(len_s.min(86_400));
                // A window may reach over midnight, so yesterday's counts too.
                let yesterday = midnight.saturating_add(after_midnight).saturating_sub(DAY_S);
                let start = (0..3).map(|day| yesterday.saturating_add(day * DAY_S)).find(|start| *start >= local);
                start.unwrap_or(local).saturating_sub(offset)
            }
        })
    }
}

/// Seconds of a day.
const DAY_S: i64 = 86_400;

mod target {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Target;

    pub fn serialize<S: Serializer>(target: &Target, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(target.as_str())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Target, D::Error> {
        let word = String::deserialize(deserializer)?;
        Target::parse(&word).ok_or_else(|| D::Error::custom("no target"))
    }
}

mod digests {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Expected;

    pub fn serialize<S: Serializer>(digests: &[Expected], serializer: S) -> Result<S::Ok, S::Error> {
        let pairs: Vec<_> = digests.iter().map(|digest| (digest.kind(), digest.value())).collect();
        pairs.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Expected>, D::Error> {
        let pairs = Vec::<(String, String)>::deserialize(deserializer)?;
        pairs.iter().map(|(kind, value)| Expected::parse(kind, value).map_err(D::Error::custom)).collect()
    }
}

#[cfg(test)]
mod tests {
    use polylink_plugin_api::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn at(unix_s: i64, utc_offset_s: i32) -> Moment {
        Moment { now: Timestamp(0), unix_s: Some(unix_s), utc_offset_s }
    }

    #[track_caller]
    fn check(schedule: Schedule, moment: Moment, drawn: u64, expected: i64) {
        assert_eq!(schedule.start(&moment, drawn), Some(expected));
    }

    #[test]
    fn a_start_is_where_the_schedule_says() {
        check(Schedule::Now, at(1000, 0), 9, 1000);
        check(Schedule::Within { spread_s: 300 }, at(1000, 0), 300, 1300);
        check(Schedule::Within { spread_s: 300 }, at(1000, 0), 301, 1000);
        check(Schedule::At { unix_s: 5 }, at(1000, 0), 9, 5);
        // 23:00 to 01:00 local time, 90 minutes drawn, at 00:10 and 00:40 of a place two hours ahead.
        let night = Schedule::Daily { start_s: 82_800, len_s: 7200 };
        check(night, at(600 - 7200, 7200), 5400, 1800 - 7200);
        check(night, at(2400 - 7200, 7200), 5400, 1800 - 7200 + 86_400);
        let unset = Moment { unix_s: None, ..at(0, 0) };
        assert_eq!(night.start(&unset, 0), None);
    }

    proptest! {
        #[test]
        fn a_daily_start_is_never_past_and_at_most_two_days_away(unix in -4_000_000_000_i64..4_000_000_000, offset in -86_400..86_400_i32, start: u32, len: u32, drawn: u64) {
            let found = Schedule::Daily { start_s: start, len_s: len }.start(&at(unix, offset), drawn).expect("set");
            prop_assert!(found >= unix && found - unix < 2 * 86_400);
        }

        #[test]
        fn no_time_can_panic_it(unix: i64, offset: i32, start: u32, len: u32, drawn: u64) {
            let _ = Schedule::Daily { start_s: start, len_s: len }.start(&at(unix, offset), drawn);
            let _ = Schedule::Within { spread_s: len }.start(&at(unix, offset), drawn);
        }
    }
}
