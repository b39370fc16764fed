//! No request of an app is taken twice.

use core::net::IpAddr;

use serde::Deserialize;

use super::Refused;

/// What the time in a packet must be, beside that of the packet before from the same source (JoyLink V1.79 only asks for
/// protection; the rules are ours).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayRule {
    /// Later, as in JD's SDKs.
    #[default]
    Increasing,
    /// Another. Takes datagrams that overtook each other, and old ones that were recorded.
    NotEqual,
}

/// Remembers the last time from each source. Sources are told apart by address, not by port.
///
/// Bounded: [`MAX_SOURCES`]. When one more comes, the one that was silent for longest is forgotten, so that what was
/// recorded from it would be taken once more. Only who has the key can make this happen.
#[derive(Clone, Debug)]
pub struct ReplayGuard {
    rule: ReplayRule,
    window_s: u32,
    /// Address and last time; the one heard last is at the end.
    sources: Vec<(IpAddr, u32)>,
}

impl ReplayGuard {
    /// Heard of nobody. If `window_s` is not 0, the time must also be so near to ours.
    #[must_use]
    pub const fn new(rule: ReplayRule, window_s: u32) -> Self {
        Self { rule, window_s, sources: Vec::new() }
    }

    /// Judges the time of a packet that was decrypted, and remembers it if it is accepted. `now` is our time in seconds
    /// since 1970 UTC, `None` if our clock is not set: then there is no window.
    ///
    /// # Errors
    /// [`Refused::Replay`].
    pub fn accept(&mut self, source: IpAddr, timestamp: u32, now: Option<i64>) -> Result<(), Refused> {
        if let Some(now) = now
            && self.window_s > 0
            && now.abs_diff(i64::from(timestamp)) > u64::from(self.window_s)
        {
            return Err(Refused::Replay);
        }
        let known = self.sources.iter().position(|(known, _)| *known == source);
        if let Some(at) = known {
            let last = self.sources[at].1;
            let accepted = match self.rule {
                ReplayRule::Increasing => timestamp > last,
                ReplayRule::NotEqual => timestamp != last,
            };
            if !accepted {
                return Err(Refused::Replay);
            }
            self.sources.remove(at);
        } else if self.sources.len() >= MAX_SOURCES {
            self.sources.remove(0);
        }
        self.sources.push((source, timestamp));
        Ok(())
    }
}

/// Sources that are remembered. Not documented; chosen by us: more apps than one home has (JD's SDKs remember 4).
pub const MAX_SOURCES: usize = 16;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn source(last: u8) -> IpAddr {
        Ipv4Addr::new(192, 168, 0, last).into()
    }

    #[test]
    fn each_rule_compares_with_the_last_accepted_time_of_the_same_source() {
        let results = |rule| {
            let mut guard = ReplayGuard::new(rule, 0);
            [(1, 50), (1, 50), (1, 49), (1, 50), (2, 1), (1, 51)]
                .map(|(host, at)| guard.accept(source(host), at, None).is_ok())
        };
        assert_eq!(results(ReplayRule::Increasing), [true, false, false, false, true, true]);
        assert_eq!(results(ReplayRule::NotEqual), [true, false, true, true, true, true]);
    }

    #[test]
    fn a_window_counts_only_while_our_clock_is_set_and_does_not_remember_what_it_refused() {
        let mut guard = ReplayGuard::new(ReplayRule::Increasing, 60);
        assert_eq!(guard.accept(source(1), 1061, Some(1000)), Err(Refused::Replay));
        assert_eq!(guard.accept(source(1), 939, Some(1000)), Err(Refused::Replay));
        assert_eq!(guard.accept(source(1), 940, Some(1000)), Ok(()));
        assert_eq!(guard.accept(source(1), 1060, Some(1000)), Ok(()));
        assert_eq!(guard.accept(source(1), u32::MAX, None), Ok(()));
        assert_eq!(guard.accept(source(2), 0, Some(i64::MIN)), Err(Refused::Replay));
        let mut open = ReplayGuard::new(ReplayRule::Increasing, 0);
        assert_eq!(open.accept(source(1), 0, Some(i64::MAX)), Ok(()));
    }

    #[test]
    fn one_source_too_many_forgets_the_one_that_was_silent_for_longest() {
        let mut guard = ReplayGuard::new(ReplayRule::Increasing, 0);
        for host in 0..MAX_SOURCES as u8 {
            guard.accept(source(host), 10, None).unwrap();
        }
        guard.accept(source(0), 11, None).unwrap();
        guard.accept(source(200), 10, None).unwrap();
        assert_eq!(guard.accept(source(0), 11, None), Err(Refused::Replay));
        assert_eq!(guard.accept(source(2), 10, None), Err(Refused::Replay));
        assert_eq!(guard.accept(source(1), 10, None), Ok(()), "it was forgotten");
    }
}
