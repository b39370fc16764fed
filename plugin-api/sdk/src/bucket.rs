//! [`Bucket`]: so many of something in a second, and a few more at once.

use crate::Timestamp;

/// A bucket of tokens, full at first.
#[derive(Clone, Debug)]
pub struct Bucket {
    per_second: u64,
    burst: u64,
    /// Thousandths of a token.
    level: u64,
    filled: Timestamp,
}

impl Bucket {
    /// So many tokens come in a second, and so many are kept at most.
    #[must_use]
    pub const fn new(per_second: u32, burst: u32) -> Self {
        let burst = burst as u64 * 1000;
        Self { per_second: per_second as u64, burst, level: burst, filled: Timestamp(0) }
    }

    /// Takes a token; false: there is none.
    pub fn take(&mut self, now: Timestamp) -> bool {
        // Tokens a second are thousandths of a token in a millisecond.
        let come = now.since(self.filled).saturating_mul(self.per_second);
        self.level = self.level.saturating_add(come).min(self.burst);
        self.filled = self.filled.max(now);
        let taken = self.level.checked_sub(1000);
        self.level = taken.unwrap_or(self.level);
        taken.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_so_many_a_second() {
        let mut bucket = Bucket::new(5, 10);
        let mut passed = |at: u64| (0..100).filter(|_| bucket.take(Timestamp(at))).count();
        assert_eq!(passed(5000), 10);
        assert_eq!(passed(5199), 0);
        assert_eq!(passed(5200), 1);
        assert_eq!(passed(6200), 5);
        assert_eq!(passed(u64::MAX), 10);
        assert_eq!(passed(0), 0);
    }
}
