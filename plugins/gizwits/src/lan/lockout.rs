//! [`Lockout`]: who tries passcodes has to wait longer and longer.
//!
//! The rule goes by address: others are not affected, and whoever shares the address of a guesser waits with it. While
//! an address is locked out even the right passcode is refused, since otherwise the lock would not slow down guessing.

use core::net::IpAddr;

use polylink_plugin_sdk::Timestamp;

/// The addresses that failed lately. At most [`MAX_ADDRESSES`]; when full, the one whose last failure is oldest leaves.
#[derive(Clone, Debug, Default)]
pub struct Lockout {
    failures: Vec<Failures>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    address: IpAddr,
    n: u32,
    last: Timestamp,
    locked_until: Timestamp,
}

impl Lockout {
    /// Whether this address must wait.
    #[must_use]
    pub fn is_locked(&self, now: Timestamp, address: IpAddr) -> bool {
        self.failures.iter().any(|failures| failures.address == address && now < failures.locked_until)
    }

    /// A passcode was wrong. The milliseconds that the address is locked out for from now on; 0: not yet. Attempts
    /// while it is locked are not to be counted here, so that they do not make the lock longer.
    pub fn failed(&mut self, now: Timestamp, address: IpAddr) -> u64 {
        self.failures.retain(|failures| now.since(failures.last.max(failures.locked_until)) < FORGIVEN_AFTER_MS);
        let at = self.failures.iter().position(|failures| failures.address == address).unwrap_or_else(|| {
            if self.failures.len() >= MAX_ADDRESSES {
                let oldest = (0..self.failures.len()).min_by_key(|at| self.failures[*at].last);
                self.failures.swap_remove(oldest.expect("a full table is not empty"));
            }
            self.failures.push(Failures { address, n: 0, last: now, locked_until: Timestamp(0) });
            self.failures.len() - 1
        });
        let failures = &mut self.failures[at];
        failures.n = failures.n.saturating_add(1);
        failures.last = now;
        let Some(n_above) = failures.n.checked_sub(MAX_FAILURES) else { return 0 };
        let lock = FIRST_LOCK_MS.saturating_mul(1 << n_above.min(16)).min(MAX_LOCK_MS);
        failures.locked_until = now.after(lock);
        lock
    }

    /// The passcode was right: what failed before is forgiven.
    pub fn succeeded(&mut self, address: IpAddr) {
        self.failures.retain(|failures| failures.address != address);
    }

    /// How many addresses are remembered.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.failures.len()
    }

    /// Whether none is.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.failures.is_empty()
    }
}

/// Not documented; chosen by us: more than a household has phones.
pub const MAX_ADDRESSES: usize = 32;

/// Not documented; chosen by us: an application with an old passcode tries it a few times.
pub const MAX_FAILURES: u32 = 5;

/// Not documented; chosen by us, doubled with each further failure.
const FIRST_LOCK_MS: u64 = 10_000;

/// Not documented; chosen by us: at this pace not even the fraction of a passcode is guessed in a device's life.
const MAX_LOCK_MS: u64 = 300_000;

/// Not documented; chosen by us: some mistakes a week are no attack.
const FORGIVEN_AFTER_MS: u64 = 600_000;

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn the_fifth_failure_locks_and_each_further_one_locks_for_longer_up_to_five_minutes() {
        let mut lockout = Lockout::default();
        let mut now = Timestamp(1);
        let locks: Vec<_> = (0..13)
            .map(|_| {
                let lock = lockout.failed(now, PEER);
                now = now.after(lock);
                lock / 1000
            })
            .collect();
        assert_eq!(locks, [0, 0, 0, 0, 10, 20, 40, 80, 160, 300, 300, 300, 300]);
        assert!(!lockout.is_locked(now, PEER));
    }

    #[test]
    fn failures_are_forgiven_after_ten_minutes_and_after_a_success() {
        let mut lockout = Lockout::default();
        let mut fail = |at: u64| lockout.failed(Timestamp(at), PEER);
        assert_eq!([fail(1), fail(1), fail(1), fail(1), fail(600_001)], [0; 5]);
        lockout.succeeded(PEER);
        assert!(lockout.is_empty());
    }

    #[test]
    fn forgiveness_is_counted_from_the_end_of_the_lock() {
        let mut lockout = Lockout::default();
        let lock = (0..10).map(|_| lockout.failed(Timestamp(0), PEER)).max();
        assert_eq!(lock, Some(300_000));
        assert_eq!(lockout.failed(Timestamp(899_999), PEER), 300_000);
        assert_eq!(lockout.failed(Timestamp(899_999 + 900_000), PEER), 0);
    }

    #[test]
    fn when_the_table_is_full_the_oldest_leaves() {
        let mut lockout = Lockout::default();
        for at in 0..1000_u32 {
            lockout.failed(Timestamp(at.into()), IpAddr::V4(at.into()));
            assert!(lockout.len() <= MAX_ADDRESSES);
        }
        let oldest = lockout.failures.iter().map(|failures| failures.last).min();
        assert_eq!(oldest, Some(Timestamp(1000 - MAX_ADDRESSES as u64)));
    }
}
