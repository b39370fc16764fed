//! A token bucket in virtual time.

use polylink_plugin_api::Timestamp;

/// Lets `per_second` through on average and `burst` at once.
#[derive(Clone, Debug)]
pub struct Rate {
    per_second: u32,
    burst: u32,
    /// Thousandths of a permit.
    millis: u64,
    at: Timestamp,
}

impl Rate {
    /// A full bucket.
    #[must_use]
    pub fn new(per_second: u32, burst: u32) -> Self {
        Self { per_second, burst, millis: u64::from(burst) * 1000, at: Timestamp(0) }
    }

    /// Takes one permit, if there is one.
    pub fn allow(&mut self, now: Timestamp) -> bool {
        let gained = now.since(self.at).saturating_mul(u64::from(self.per_second));
        self.at = self.at.max(now);
        self.millis = self.millis.saturating_add(gained).min(u64::from(self.burst) * 1000);
        let allowed = self.millis >= 1000;
        if allowed {
            self.millis -= 1000;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rate: &mut Rate, at: u64, asked: usize, allowed: usize) {
        assert_eq!((0..asked).filter(|_| rate.allow(Timestamp(at))).count(), allowed, "at {at} ms");
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let mut rate = Rate::new(50, 100);
        check(&mut rate, 0, 150, 100);
        check(&mut rate, 19, 5, 0);
        check(&mut rate, 20, 5, 1);
        check(&mut rate, 1020, 80, 50);
        check(&mut rate, 1_000_000, 500, 100);
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let mut rate = Rate::new(1, 1);
        check(&mut rate, 5000, 2, 1);
        check(&mut rate, 0, 2, 0);
        check(&mut rate, 5500, 2, 0);
        check(&mut rate, 6000, 2, 1);
    }
}
