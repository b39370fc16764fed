//! [`Counters`]: what was dropped, by reason. The reasons are a fixed set of words, so they cannot pile up.

use std::collections::BTreeMap;

/// How often a packet was dropped, by reason.
///
/// From the cloud: those of [`crate::packet::Refused::name`]; `early`, another packet before the authentication was
/// answered; `random`, an answer to it with two random numbers; `repeated`, a further answer to it.
/// To the cloud: `too_long`; `overflow`, the host gave back more than is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(BTreeMap<&'static str, u64>);

impl Counters {
    /// How often for this reason.
    #[must_use]
    pub fn dropped(&self, reason: &str) -> u64 {
        self.0.get(reason).copied().unwrap_or(0)
    }

    /// All that are not zero: reason, how often.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(reason, n)| (*reason, *n))
    }

    pub(super) fn count(&mut self, reason: &'static str) {
        let n = self.0.entry(reason).or_default();
        *n = n.saturating_add(1);
    }
}
