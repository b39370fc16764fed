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
    /// As the cloud calls it, for people; empty: the cloud does not say.
    pub version: String,
    /// Where it is.
    pub url: String,
    /// Headers of the request, for the server of `url` and no other.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The asker may use plain http.
    pub plain_text: bool,
    /// Bytes of the file, if the cloud says so.
    pub size: Option<u64>,
    /// Digests of the file, as the cloud says them.
    #[serde(with = "digests")]
    pub digests: Vec<Expected>,
    /// Its turn.
    pub schedule: Schedule,
}

impl Offer {
    /// Bytes of its texts.
    #[must_use]
    pub fn n_bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        [&self.asker, &self.reference, &self.version, &self.url].iter().map(|text| text.len()).sum::<usize>() + headers
    }

    /// Whether it is about the same file, perhaps at another address: clouds that are asked again give addresses with
    /// other tokens.
    #[must_use]
    pub fn is_same_file(&self, other: &Self) -> bool {
        let of = |offer: &Self| (offer.target, offer.device, offer.size);
        of(self) == of(other) && self.version == other.version && self.digests == other.digests
    }
}

/// When an offer's turn comes. Unix seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Not before this moment; none: from when it is offered.
    pub not_before: Option<i64>,
    /// At a random moment of so many seconds after that.
    pub spread_s: u64,
    /// Not after this moment.
    pub not_after: Option<i64>,
}

/// The time, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Monotonic.
    pub now: polylink_plugin_api::Timestamp,
    /// Unix seconds; none: the clock was never set.
    pub unix_s: Option<i64>,
}

impl Schedule {
    /// Unix seconds of the start, when the random number was drawn; none: the clock must be set first.
    #[must_use]
    pub fn start(self, moment: &Moment, drawn: u64) -> Option<i64> {
        let from = self.not_before.unwrap_or(moment.unix_s?);
        Some(from.saturating_add(i64::try_from(self.delay_s(drawn)).unwrap_or(i64::MAX)))
    }

    /// Seconds that the random number makes of the spread.
    #[must_use]
    pub const fn delay_s(self, drawn: u64) -> u64 {
        if self.spread_s == u64::MAX { drawn } else { drawn % (self.spread_s + 1) }
    }

    /// Whether its time is over.
    #[must_use]
    pub fn is_over(self, moment: &Moment) -> bool {
        self.not_after.zip(moment.unix_s).is_some_and(|(until, now)| until < now)
    }
}

pub(super) mod target {
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

    const NOW: Moment = Moment { now: Timestamp(0), unix_s: Some(1000) };

    #[track_caller]
    fn check(not_before: Option<i64>, spread_s: u64, drawn: u64, expected: i64) {
        let schedule = Schedule { not_before, spread_s, not_after: None };
        assert_eq!(schedule.start(&NOW, drawn), Some(expected));
    }

    #[test]
    fn a_start_is_where_the_schedule_says() {
        check(None, 0, 9, 1000);
        check(None, 300, 300, 1300);
        check(None, 300, 301, 1000);
        check(Some(5), 0, 9, 5);
        check(Some(5000), 10, 9, 5009);
        let unset = Moment { unix_s: None, ..NOW };
        assert_eq!(Schedule::default().start(&unset, 0), None);
    }

    #[test]
    fn a_schedule_is_over_after_its_last_moment() {
        for (not_after, over) in [(None, false), (Some(999), true), (Some(1000), false)] {
            assert_eq!(Schedule { not_after, ..Schedule::default() }.is_over(&NOW), over, "{not_after:?}");
        }
    }

    proptest! {
        #[test]
        fn no_time_can_panic_it(unix: Option<i64>, not_before: Option<i64>, spread_s: u64, not_after: Option<i64>, drawn: u64) {
            let moment = Moment { now: Timestamp(0), unix_s: unix };
            let schedule = Schedule { not_before, spread_s, not_after };
            let _ = (schedule.start(&moment, drawn), schedule.is_over(&moment));
        }
    }
}
