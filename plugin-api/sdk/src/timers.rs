//! [`Timers`]: the named deadlines of a session. There is one deadline for each key, so they cannot pile up.

use std::collections::BTreeMap;

use crate::Timestamp;

/// Deadlines by key; the key is usually a small enum of the session's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timers<K> {
    deadlines: BTreeMap<K, Timestamp>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { deadlines: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Timers<K> {
    /// No deadlines.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a deadline, in place of the one that had this key.
    pub fn set(&mut self, key: K, at: Timestamp) {
        self.deadlines.insert(key, at);
    }

    /// Takes a deadline back; whether there was one.
    pub fn clear(&mut self, key: &K) -> bool {
        self.deadlines.remove(key).is_some()
    }

    /// Takes all deadlines back.
    pub fn clear_all(&mut self) {
        self.deadlines.clear();
    }

    /// When this one is due.
    #[must_use]
    pub fn at(&self, key: &K) -> Option<Timestamp> {
        self.deadlines.get(key).copied()
    }

    /// When the first is due: what `Session::next_timeout` answers.
    #[must_use]
    pub fn earliest(&self) -> Option<Timestamp> {
        self.deadlines.values().min().copied()
    }

    /// Takes out the deadlines that have come, earliest first; equal ones by key.
    pub fn due(&mut self, now: Timestamp) -> Vec<K> {
        let mut due: Vec<_> = self.deadlines.extract_if(.., |_, at| *at <= now).collect();
        due.sort_by_key(|(_, at)| *at);
        due.into_iter().map(|(key, _)| key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(set: &[(char, u64)], now: u64, due: &str, earliest_left: Option<u64>) {
        let mut timers = Timers::new();
        for (key, at) in set {
            timers.set(*key, Timestamp(*at));
        }
        assert_eq!(timers.due(Timestamp(now)).into_iter().collect::<String>(), due);
        assert_eq!(timers.earliest(), earliest_left.map(Timestamp));
    }

    #[test]
    fn deadlines_come_in_order_of_time_and_each_once() {
        check(&[('a', 30), ('b', 10), ('c', 20)], 25, "bc", Some(30));
        check(&[('b', 10), ('a', 10)], 10, "ab", None);
        check(&[('a', 11)], 10, "", Some(11));
    }

    #[test]
    fn setting_a_key_again_moves_its_deadline() {
        check(&[('a', 10), ('a', 40)], 20, "", Some(40));
    }

    #[test]
    fn a_deadline_that_was_taken_back_does_not_come() {
        let mut timers = Timers::from_iter_for_test([('a', 1)]);
        assert!(timers.clear(&'a'));
        assert!(!timers.clear(&'a'));
        assert_eq!(timers.due(Timestamp(5)), []);
    }

    impl Timers<char> {
        fn from_iter_for_test<const N: usize>(set: [(char, u64); N]) -> Self {
            Self { deadlines: set.map(|(key, at)| (key, Timestamp(at))).into() }
        }
    }
}
