//! [`Backoff`]: how long to wait before the next attempt.

use crate::Timestamp;
use crate::random::Random;

/// Growing delays up to a cap, spread by jitter so that a thousand devices do not come back at once.
///
/// Delays start over once a connection has held for a while ([`Backoff::reset_after`]): one that breaks at once, again
/// and again, does not reset them.
#[derive(Clone, Debug)]
pub struct Backoff {
    growth: Growth,
    first_ms: u64,
    max_ms: u64,
    jitter_percent: u8,
    reset_after_ms: u64,
    n_failed: u32,
    connected: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug)]
enum Growth {
    Exponential,
    Linear,
}

impl Backoff {
    /// `first`, twice that, four times that, … up to `max` milliseconds.
    #[must_use]
    pub const fn exponential(first_ms: u64, max_ms: u64) -> Self {
        Self::new(Growth::Exponential, first_ms, max_ms)
    }

    /// `step`, twice that, three times that, … up to `max` milliseconds.
    #[must_use]
    pub const fn linear(step_ms: u64, max_ms: u64) -> Self {
        Self::new(Growth::Linear, step_ms, max_ms)
    }

    const fn new(growth: Growth, first_ms: u64, max_ms: u64) -> Self {
        Self {
            growth,
            first_ms,
            max_ms,
            jitter_percent: JITTER_PERCENT,
            reset_after_ms: RESET_AFTER_MS,
            n_failed: 0,
            connected: None,
        }
    }

    /// Spreads each delay by so many percent up and down; 20 unless said otherwise. The cap holds with it.
    #[must_use]
    pub const fn jitter(mut self, percent: u8) -> Self {
        self.jitter_percent = percent;
        self
    }

    /// A connection that held for so many milliseconds makes the delays start over; a minute unless said otherwise.
    #[must_use]
    pub const fn reset_after(mut self, ms: u64) -> Self {
        self.reset_after_ms = ms;
        self
    }

    /// An attempt succeeded.
    pub const fn connected(&mut self, now: Timestamp) {
        self.connected = Some(now);
    }

    /// An attempt failed, or a connection broke: the milliseconds to wait now.
    pub fn failed(&mut self, now: Timestamp, random: &mut Random) -> u64 {
        if self.connected.take().is_some_and(|since| now.since(since) >= self.reset_after_ms) {
            self.n_failed = 0;
        }
        let factor = match self.growth {
            Growth::Exponential => 1_u64.checked_shl(self.n_failed).unwrap_or(u64::MAX),
            Growth::Linear => u64::from(self.n_failed) + 1,
        };
        self.n_failed = self.n_failed.saturating_add(1);
        let delay = self.first_ms.saturating_mul(factor).min(self.max_ms);
        random.jitter(delay, self.jitter_percent).min(self.max_ms)
    }

    /// Attempts that failed since the delays last started over.
    #[must_use]
    pub const fn n_failed(&self) -> u32 {
        self.n_failed
    }

    /// Lets the delays start over.
    pub const fn reset(&mut self) {
        self.n_failed = 0;
        self.connected = None;
    }
}

/// Not documented; chosen by us: enough to spread a crowd, little enough to be predictable.
const JITTER_PERCENT: u8 = 20;

/// Not documented; chosen by us: longer than the keep-alive of most clouds, so that one exchange has surely worked.
const RESET_AFTER_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(backoff: Backoff, delays: &[u64]) {
        let mut backoff = backoff.jitter(0);
        let mut random = Random::new([1; 32]);
        let got: Vec<_> = delays.iter().map(|_| backoff.failed(Timestamp(0), &mut random)).collect();
        assert_eq!(got, delays);
    }

    #[test]
    fn delays_grow_up_to_the_cap() {
        check(Backoff::exponential(1000, 10_000), &[1000, 2000, 4000, 8000, 10_000, 10_000]);
        check(Backoff::linear(5000, 12_000), &[5000, 10_000, 12_000, 12_000]);
    }

    #[test]
    fn a_connection_that_breaks_at_once_does_not_start_the_delays_over_and_one_that_held_does() {
        let mut backoff = Backoff::exponential(1000, 60_000).jitter(0).reset_after(30_000);
        let mut random = Random::new([1; 32]);
        assert_eq!(backoff.failed(Timestamp(0), &mut random), 1000);
        backoff.connected(Timestamp(1000));
        assert_eq!(backoff.failed(Timestamp(2000), &mut random), 2000);
        backoff.connected(Timestamp(4000));
        assert_eq!(backoff.failed(Timestamp(34_000), &mut random), 1000);
    }

    proptest! {
        #[test]
        fn no_number_of_failures_exceeds_the_cap(first: u64, max: u64, n in 0_usize..200, seed: [u8; 32], percent: u8) {
            let mut backoff = Backoff::exponential(first, max).jitter(percent);
            let mut random = Random::new(seed);
            for _ in 0..n {
                prop_assert!(backoff.failed(Timestamp(0), &mut random) <= max);
            }
        }
    }
}
