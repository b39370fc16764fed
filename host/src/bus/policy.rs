//! Who may command a datapoint when several want to. Pure; the arbiter asks.

use std::collections::HashMap;

use polylink_plugin_api::{DatapointId, Timestamp};

use super::journal::CloudId;

/// The rule of a product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// The newest command counts.
    #[default]
    LastWriter,
    /// Clouds that the configuration names earlier come first: for [`HOLD_MS`] after one's command, later ones are
    /// refused at the same datapoints.
    Priority,
    /// For [`HOLD_MS`] after a change at the device itself or by `polylink set`, clouds are refused at it.
    LocalFirst,
    /// While a command is under way, commands of others for the same datapoints are refused.
    LockOut,
    /// Who commands a datapoint has it to itself until [`HOLD_MS`] after its last command.
    Lease,
}

impl Policy {
    /// The names that a configuration may use, in the order of the variants.
    pub const NAMES: [&str; 5] = ["last-writer", "priority", "local-first", "lock-out", "lease"];

    /// The policy of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::LastWriter, Self::Priority, Self::LocalFirst, Self::LockOut, Self::Lease];
        Self::NAMES.iter().position(|known| *known == name).map(|index| all[index])
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Asker {
    /// A person at the device or at the command line. Before every cloud in priority.
    Local,
    /// A cloud.
    Cloud(CloudId),
}

/// Who commanded which datapoint last.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    claims: HashMap<(u32, DatapointId), Claim>,
}

#[derive(Clone, Copy, Debug)]
struct Claim {
    by: Asker,
    until: Timestamp,
}

impl Claims {
    /// Who stands in the way of `asker` at this datapoint.
    #[must_use]
    pub fn against(&self, policy: Policy, now: Timestamp, asker: Asker, at: (u32, DatapointId)) -> Option<Asker> {
        let claim = self.claims.get(&at).filter(|claim| claim.until > now && claim.by != asker)?;
        let stands = match policy {
            Policy::LastWriter | Policy::LockOut => false,
            Policy::Priority => claim.by < asker,
            Policy::LocalFirst => claim.by == Asker::Local,
            Policy::Lease => true,
        };
        stands.then_some(claim.by)
    }

    /// `asker` commanded or changed this datapoint.
    pub fn note(&mut self, policy: Policy, now: Timestamp, asker: Asker, at: (u32, DatapointId)) {
        let counts = match policy {
            Policy::LastWriter | Policy::LockOut => false,
            Policy::Priority | Policy::Lease => true,
            Policy::LocalFirst => asker == Asker::Local,
        };
        if counts {
            if self.claims.len() >= CLAIMS_MAX {
                self.claims.retain(|_, claim| claim.until > now);
            }
            if self.claims.len() < CLAIMS_MAX || self.claims.contains_key(&at) {
                self.claims.insert(at, Claim { by: asker, until: now.after(HOLD_MS) });
            }
        }
    }
}

/// How long a claim lasts. Not documented; chosen by us: a person's next touch of a slider comes within it.
pub const HOLD_MS: u64 = 10_000;

/// Claims kept at a time; at the limit expired ones are removed, and if none is, new ones are not made, so that the
/// newest command counts. Not documented; chosen by us.
const CLAIMS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Asker = Asker::Cloud(CloudId(0));
    const SECOND: Asker = Asker::Cloud(CloudId(1));

    /// After `holder` commanded at 0, may `asker` at `at`?
    #[track_caller]
    fn check(policy: Policy, holder: Asker, asker: Asker, at: u64, may: bool) {
        let mut claims = Claims::default();
        let power = (0, DatapointId(0));
        claims.note(policy, Timestamp(0), holder, power);
        let against = claims.against(policy, Timestamp(at), asker, power);
        assert_eq!(against, (!may).then_some(holder), "{policy:?}: {asker:?} after {holder:?}");
        assert_eq!(claims.against(policy, Timestamp(at), asker, (0, DatapointId(1))), None, "another datapoint");
    }

    #[test]
    fn with_last_writer_nobody_stands_in_the_way() {
        check(Policy::LastWriter, Asker::Local, FIRST, 0, true);
        check(Policy::LastWriter, FIRST, SECOND, 0, true);
    }

    #[test]
    fn with_priority_an_earlier_cloud_holds_off_a_later_one_for_a_while() {
        check(Policy::Priority, FIRST, SECOND, HOLD_MS - 1, false);
        check(Policy::Priority, FIRST, SECOND, HOLD_MS, true);
        check(Policy::Priority, SECOND, FIRST, 0, true);
        check(Policy::Priority, Asker::Local, FIRST, 0, false);
        check(Policy::Priority, FIRST, FIRST, 0, true);
    }

    #[test]
    fn with_local_first_only_a_local_change_holds_clouds_off() {
        check(Policy::LocalFirst, Asker::Local, SECOND, HOLD_MS - 1, false);
        check(Policy::LocalFirst, Asker::Local, SECOND, HOLD_MS, true);
        check(Policy::LocalFirst, FIRST, SECOND, 0, true);
        check(Policy::LocalFirst, FIRST, Asker::Local, 0, true);
    }

    #[test]
    fn with_lease_the_first_one_has_it_until_it_is_quiet() {
        check(Policy::Lease, SECOND, FIRST, HOLD_MS - 1, false);
        check(Policy::Lease, SECOND, FIRST, HOLD_MS, true);
        check(Policy::Lease, SECOND, SECOND, 0, true);
    }

    #[test]
    fn names_and_policies_go_together() {
        assert_eq!(Policy::from_name("local-first"), Some(Policy::LocalFirst));
        assert_eq!(Policy::from_name("lease"), Some(Policy::Lease));
        assert_eq!(Policy::from_name("first-come"), None);
    }
}
