//! The life of one plugin instance, as a pure state machine: Declared → Loaded → Started → (Faulted → Started …) →
//! Stopped, with Quarantined and Disabled as dead ends from which an operator, or the return of a stuck call, leads out.

use std::collections::VecDeque;

use polylink_plugin_api::{Advice, Timestamp};

/// When to try again and when to give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Wait after the first fault; doubled with each further one.
    pub backoff_first_ms: u64,
    /// Longest wait.
    pub backoff_max_ms: u64,
    /// So many faults …
    pub faults_max: u32,
    /// … within this time, and the instance is disabled.
    pub faults_window_ms: u64,
}

/// Where an instance stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Configured.
    #[default]
    Declared,
    /// Its library is in memory and fits.
    Loaded,
    /// It works.
    Started,
    /// It failed; a new instance is made at this time.
    Faulted {
        /// When.
        retry_at: Timestamp,
    },
    /// It does not return from a call; its handles are closed.
    Quarantined,
    /// It stays off until an operator enables it or the configuration changes.
    Disabled,
    /// It was stopped.
    Stopped,
}

/// What follows a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Make a new instance at this time.
    RetryAt(Timestamp),
    /// Leave it off.
    StayOff,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    patience: Patience,
    phase: Phase,
    started_at: Timestamp,
    /// Faults in a row, without [`STABLE_MS`] of work between them.
    streak: u32,
    recent: VecDeque<Timestamp>,
    n_faults: u64,
    last_fault: String,
}

impl Lifecycle {
    /// A declared instance.
    #[must_use]
    pub fn new(patience: Patience) -> Self {
        Self {
            patience,
            phase: Phase::Declared,
            started_at: Timestamp(0),
            streak: 0,
            recent: VecDeque::new(),
            n_faults: 0,
            last_fault: String::new(),
        }
    }

    /// The library is in memory and fits.
    pub fn loaded(&mut self) {
        self.phase = Phase::Loaded;
    }

    /// The library cannot be used.
    pub fn refused(&mut self, why: impl Into<String>) {
        self.last_fault = why.into();
        self.phase = Phase::Disabled;
    }

    /// A new instance works.
    pub fn started(&mut self, now: Timestamp) {
        self.started_at = now;
        self.phase = Phase::Started;
    }

    /// The instance failed, or a quarantined one came back from its call.
    pub fn faulted(&mut self, now: Timestamp, advice: Advice, why: impl Into<String>) -> Next {
        self.last_fault = why.into();
        self.n_faults += 1;
        let worked = matches!(self.phase, Phase::Started | Phase::Quarantined);
        if worked && now.since(self.started_at) >= STABLE_MS {
            self.streak = 0;
        }
        self.recent.push_back(now);
        while self.recent.front().is_some_and(|&at| now.since(at) >= self.patience.faults_window_ms) {
            self.recent.pop_front();
        }
        if advice == Advice::GIVE_UP || self.recent.len() >= self.patience.faults_max as usize {
            self.phase = Phase::Disabled;
            return Next::StayOff;
        }
        let factor = 1u64.checked_shl(self.streak).unwrap_or(u64::MAX);
        let wait = self.patience.backoff_first_ms.saturating_mul(factor).min(self.patience.backoff_max_ms);
        self.streak = self.streak.saturating_add(1);
        let retry_at = now.after(wait);
        self.phase = Phase::Faulted { retry_at };
        Next::RetryAt(retry_at)
    }

    /// It does not return from a call.
    pub fn quarantined(&mut self, why: impl Into<String>) {
        self.last_fault = why.into();
        self.phase = Phase::Quarantined;
    }

    /// An operator wants it on again: its faults are forgiven.
    pub fn enable(&mut self) {
        self.streak = 0;
        self.recent.clear();
        self.phase = Phase::Loaded;
    }

    /// It was stopped.
    pub fn stopped(&mut self) {
        self.phase = Phase::Stopped;
    }

    /// Where it stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Faults since the start of the host.
    #[must_use]
    pub fn n_faults(&self) -> u64 {
        self.n_faults
    }

    /// Why it failed last; empty: it never did.
    #[must_use]
    pub fn last_fault(&self) -> &str {
        &self.last_fault
    }
}

impl Phase {
    /// The phase in one word, for operators.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::Loaded => "loaded",
            Self::Started => "started",
            Self::Faulted { .. } => "faulted",
            Self::Quarantined => "quarantined",
            Self::Disabled => "disabled",
            Self::Stopped => "stopped",
        }
    }
}

/// After so much work without a fault, the next fault waits as short as the first. Not documented; chosen by us: longer
/// than a cloud takes to refuse a login.
const STABLE_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience =
        Patience { backoff_first_ms: 1000, backoff_max_ms: 5000, faults_max: 5, faults_window_ms: 600_000 };

    /// An instance that starts at once when it may, and faults at these moments; after each it waits so long (none: it
    /// stays off).
    #[track_caller]
    fn check(story: &[(u64, Option<u64>)]) {
        let mut life = Lifecycle::new(PATIENCE);
        life.loaded();
        life.started(Timestamp(0));
        for &(at, wait) in story {
            let next = life.faulted(Timestamp(at), Advice::RETRY, "broke");
            let expected = wait.map_or(Next::StayOff, |wait| Next::RetryAt(Timestamp(at + wait)));
            assert_eq!(next, expected, "after the fault at {at}");
            if let Next::RetryAt(at) = next {
                life.started(at);
            }
        }
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        check(&[(10, Some(1000)), (2000, Some(2000)), (5000, Some(4000)), (10_000, Some(5000))]);
    }

    #[test]
    fn the_fifth_fault_in_ten_minutes_switches_it_off() {
        check(&[(0, Some(1000)), (1500, Some(2000)), (4000, Some(4000)), (9000, Some(5000)), (15_000, None)]);
    }

    #[test]
    fn after_a_minute_of_work_the_wait_is_short_again() {
        check(&[(10, Some(1000)), (2000, Some(2000)), (4000 + STABLE_MS, Some(1000))]);
    }

    #[test]
    fn faults_that_are_far_apart_never_switch_it_off() {
        let story: Vec<_> = (0..50).map(|n| (n * 200_000, Some(1000))).collect();
        check(&story);
    }

    #[test]
    fn a_fault_that_advises_to_give_up_switches_it_off_at_once_until_an_operator_enables_it() {
        let mut life = Lifecycle::new(PATIENCE);
        life.started(Timestamp(0));
        assert_eq!(life.faulted(Timestamp(5), Advice::GIVE_UP, "`port` is missing"), Next::StayOff);
        assert_eq!((life.phase(), life.last_fault()), (Phase::Disabled, "`port` is missing"));
        life.enable();
        life.started(Timestamp(10));
        assert_eq!(life.faulted(Timestamp(20), Advice::RETRY, "broke"), Next::RetryAt(Timestamp(1020)));
        assert_eq!(life.n_faults(), 2);
    }

    #[test]
    fn an_unknown_advice_counts_as_retry() {
        let mut life = Lifecycle::new(PATIENCE);
        assert_eq!(life.faulted(Timestamp(0), Advice(77), "broke"), Next::RetryAt(Timestamp(1000)));
    }

    #[test]
    fn a_stuck_call_that_returns_counts_as_a_fault() {
        let mut life = Lifecycle::new(PATIENCE);
        life.started(Timestamp(0));
        life.quarantined("stuck in `reports`");
        assert_eq!(life.phase(), Phase::Quarantined);
        assert_eq!(life.faulted(Timestamp(9000), Advice::RETRY, "stuck"), Next::RetryAt(Timestamp(10_000)));
    }
}
