//! [`Counters`]: what was dropped, by reason. The reasons are a fixed set of words, so they cannot pile up.

use std::collections::BTreeMap;

/// How often something was dropped, by reason.
///
/// Bad packets: as in [`crate::packet::Refused::name`]; `peer`: from no address that could be answered; `incomplete`:
/// fragments of it did not come, or too many other messages began.
/// Not for this device as it is now: `unbound`, `not_gateway`, `lancon`, `biz_code`.
/// Discoveries: `productuuid`, `status`, `no_product` (the device does not know its own yet), `answer` (another device's
/// answer and no question).
/// Too many at once: `rate` (discoveries), `exchange_rate` (authorizations).
/// Answers: `closed`, `no_key`, `too_long` as in [`super::Lan::answer`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    dropped: BTreeMap<&'static str, u64>,
}

impl Counters {
    /// How often for this reason.
    #[must_use]
    pub fn dropped(&self, reason: &str) -> u64 {
        self.dropped.get(reason).copied().unwrap_or(0)
    }

    /// All reasons that occurred, and how often.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.dropped.iter().map(|(reason, n)| (*reason, *n))
    }

    pub(super) fn count(&mut self, reason: &'static str) {
        self.count_all(reason, 1);
    }

    pub(super) fn count_all(&mut self, reason: &'static str, n_dropped: u64) {
        if n_dropped > 0 {
            let n = self.dropped.entry(reason).or_default();
            *n = n.saturating_add(n_dropped);
        }
    }
}
