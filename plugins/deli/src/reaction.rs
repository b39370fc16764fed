//! What the device does about an error code of the platform.

/// The reaction to a code. The codes are those of the Deli access document, the reactions are chosen by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Done.
    Ok,
    /// Again after [`RETRY_AFTER_MS`], then give up.
    Retry,
    /// Not again.
    GiveUp,
    /// The signature is wrong: connect anew once, then it is a fault of the configuration.
    Reconnect,
    /// The target cannot be reached: again, with a delay that doubles.
    RetryLater,
    /// The request expired: ask for the time, then again once.
    ResyncTime,
    /// The device is blocked: no business messages for a while.
    Stop,
    /// The device is not bound: no business messages before a bind notice.
    WaitForBind,
}

impl Reaction {
    /// The reaction to this code. Unknown codes are treated like -1, "undefined".
    #[must_use]
    pub const fn to(code: i64) -> Self {
        match code {
            0 => Self::Ok,
            100 | 103 | UNSUPPORTED => Self::GiveUp,
            101 => Self::Reconnect,
            102 => Self::RetryLater,
            104 => Self::ResyncTime,
            105 => Self::Stop,
            107 => Self::WaitForBind,
            _ => Self::Retry,
        }
    }

    /// Its name in the protocol's vectors.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Retry => "retry",
            Self::GiveUp => "give_up",
            Self::Reconnect => "reconnect",
            Self::RetryLater => "retry_later",
            Self::ResyncTime => "resync_time_and_retry",
            Self::Stop => "stop",
            Self::WaitForBind => "wait_for_bind",
        }
    }
}

/// How often one request or message was tried again, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retries {
    undefined: u8,
    unreachable: u8,
    resynced: bool,
}

impl Retries {
    /// After how many milliseconds to try again on this reaction; `None`: not any more, or not on this reaction.
    pub fn delay_ms(&mut self, reaction: Reaction) -> Option<u64> {
        match reaction {
            Reaction::Retry => {
                let delay = RETRY_AFTER_MS.get(usize::from(self.undefined)).copied();
                self.undefined = self.undefined.saturating_add(1);
                delay
            }
            Reaction::RetryLater => {
                let delay = (RETRY_LATER_FIRST_MS << self.unreachable.min(8)).min(RETRY_LATER_MAX_MS);
                self.unreachable = self.unreachable.saturating_add(1);
                Some(delay)
            }
            Reaction::ResyncTime if !self.resynced => {
                self.resynced = true;
                Some(RESYNC_PAUSE_MS)
            }
            _ => None,
        }
    }
}

/// "Action not supported": the action is not used again in this connection (Deli access document, error codes).
pub const UNSUPPORTED: i64 = 106;
/// "No permission" (Deli access document, error codes).
pub const NO_PERMISSION: i64 = 103;

/// Delays after code -1 (not documented; chosen by us).
pub const RETRY_AFTER_MS: [u64; 3] = [5_000, 30_000, 120_000];
/// First delay after code 102; it doubles (not documented; chosen by us).
const RETRY_LATER_FIRST_MS: u64 = 60_000;
/// Longest delay after code 102 (not documented; chosen by us).
const RETRY_LATER_MAX_MS: u64 = 3_600_000;
/// Time for the answer to action 100 before a request that expired is repeated (not documented; chosen by us).
const RESYNC_PAUSE_MS: u64 = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(reaction: Reaction, delays: &[Option<u64>]) {
        let mut retries = Retries::default();
        let seen: Vec<_> = delays.iter().map(|_| retries.delay_ms(reaction)).collect();
        assert_eq!(seen, delays, "{reaction:?}");
    }

    #[test]
    fn each_reaction_has_its_own_patience() {
        check(Reaction::Retry, &[Some(5_000), Some(30_000), Some(120_000), None, None]);
        let doubling = [60, 120, 240, 480, 960, 1920, 3600, 3600].map(|s| Some(s * 1000));
        check(Reaction::RetryLater, &doubling);
        check(Reaction::ResyncTime, &[Some(2_000), None]);
        check(Reaction::GiveUp, &[None]);
        check(Reaction::Stop, &[None]);
    }

    #[test]
    fn a_code_nobody_documented_is_an_undefined_error() {
        assert_eq!(Reaction::to(9_999), Reaction::Retry);
        assert_eq!(Reaction::to(i64::MIN), Reaction::Retry);
    }
}
