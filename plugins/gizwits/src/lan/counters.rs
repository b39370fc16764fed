//! [`Counters`]: what was dropped, by reason. The reasons are a fixed set of words, so they cannot pile up.

use std::collections::BTreeMap;

/// How often something was dropped, by transport and reason.
///
/// Both: `version`, `varlen`, `length`, `too_long`, `flag`, `payload` as in
/// [`crate::packet::PacketError::reason`], `unknown_command`.
/// UDP: `rate`, `not_onboarding`.
/// TCP: `too_many_clients`, `before_login`, `wrong_passcode`, `locked_out`, `silent`, `no_login`, `slow`,
/// `too_many_requests`, `log_not_allowed`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    udp: BTreeMap<&'static str, u64>,
    tcp: BTreeMap<&'static str, u64>,
}

impl Counters {
    /// What was dropped of UDP.
    #[must_use]
    pub fn udp(&self, reason: &str) -> u64 {
        self.udp.get(reason).copied().unwrap_or(0)
    }

    /// What was dropped of TCP.
    #[must_use]
    pub fn tcp(&self, reason: &str) -> u64 {
        self.tcp.get(reason).copied().unwrap_or(0)
    }

    /// All that are not zero: transport, reason, how often.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let udp = self.udp.iter().map(|(reason, n)| ("udp", *reason, *n));
        udp.chain(self.tcp.iter().map(|(reason, n)| ("tcp", *reason, *n)))
    }

    pub(super) fn count_udp(&mut self, reason: &'static str) {
        let n = self.udp.entry(reason).or_default();
        *n = n.saturating_add(1);
    }

    pub(super) fn count_tcp(&mut self, reason: &'static str) {
        let n = self.tcp.entry(reason).or_default();
        *n = n.saturating_add(1);
    }
}
