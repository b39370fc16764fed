//! [`Repeats`]: tells an MCU that repeats its state from one that has news.
//!
//! What has not changed does not go on to the clouds, but for a state that the MCU repeats on purpose: generated MCU code
//! tells everything every ten minutes, whether it changed or not.

use polylink_plugin_api::{Cause, Timestamp};

/// The payload that was last reported, and when it last went on.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    last: Vec<u8>,
    passed: Timestamp,
}

impl Repeats {
    /// Why this payload was reported: news unless it repeats the one before, and that went on long enough ago.
    pub(super) fn cause(&mut self, now: Timestamp, payload: &[u8]) -> Cause {
        let is_repeat = self.last == payload;
        if is_repeat && now.since(self.passed) < REPEAT_EVERY_MS {
            return Cause::CHANGE;
        }
        self.passed = now;
        if is_repeat {
            return Cause::PERIODIC;
        }
        payload.clone_into(&mut self.last);
        Cause::CHANGE
    }

    /// Bytes held.
    pub(super) fn queued_bytes(&self) -> usize {
        self.last.len()
    }
}

/// A state that is repeated goes on so often at most. Not documented; chosen by us: far below the ten minutes of generated
/// MCU code, far above what a chattering MCU would cost every cloud.
const REPEAT_EVERY_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_is_repeated_goes_on_once_a_minute_and_news_always() {
        let mut repeats = Repeats::default();
        let causes = [(1_000, b"a"), (2_000, b"a"), (61_000, b"a"), (62_000, b"a"), (63_000, b"b"), (123_000, b"b")]
            .map(|(at, payload)| repeats.cause(Timestamp(at), payload));
        let (news, again) = (Cause::CHANGE, Cause::PERIODIC);
        assert_eq!(causes, [news, news, again, news, news, again]);
    }
}
