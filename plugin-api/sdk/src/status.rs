//! [`Told`]: what operators were told of a session, so that they hear of every change once, and of numbers not too often.
//!
//! A session counts in [`Told::counters`], shows [`Told::shown`] in its status, and calls after every input:
//!
//! ```
//! # use polylink_plugin_sdk::session::Status;
//! # use polylink_plugin_sdk::status::Told;
//! # use polylink_plugin_sdk::{Now, Output};
//! # struct MySession { told: Told<u64>, is_running: bool, outputs: Vec<Output> }
//! # impl MySession {
//! # fn status(&self) -> Status { Status::default() }
//! fn tell_status(&mut self, now: Now, something_happened: bool) {
//!     if self.is_running {
//!         self.told.counted(now.monotonic);
//!     }
//!     if something_happened {
//!         let status = self.status();
//!         self.outputs.extend(self.told.tell(status));
//!     }
//! }
//! # }
//! ```
//!
//! What happens often and changes nothing that is shown, such as reports and their acknowledgements, need not count as
//! something that happened: putting a status together costs more than they do. [`Told::timeout`] counts as one.

use crate::Timestamp;
use crate::session::{Output, Status};

/// The status that was told last, and numbers beside it. `C` is a set of counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told<C> {
    /// What happened so far, to count with.
    pub counters: C,
    shown: C,
    due: Option<Timestamp>,
    last: Option<Status>,
}

impl<C: Clone + PartialEq> Told<C> {
    /// The counters as a status shows them: those of the last [`Self::timeout`].
    #[must_use]
    pub const fn shown(&self) -> &C {
        &self.shown
    }

    /// When [`Self::timeout`] is wanted.
    #[must_use]
    pub const fn due(&self) -> Option<Timestamp> {
        self.due
    }

    /// To be called after every input: counters that differ from those shown are due within a second.
    pub fn counted(&mut self, now: Timestamp) {
        if self.counters != self.shown {
            self.changed(now);
        }
    }

    /// Something else that changes as often as numbers has changed: it is due within a second, like them.
    pub fn changed(&mut self, now: Timestamp) {
        self.due.get_or_insert(now.after(COUNTERS_EVERY_MS));
    }

    /// True if what was due has come: the counters are shown from now on, and the status is to be told.
    pub fn timeout(&mut self, now: Timestamp) -> bool {
        let is_due = self.due.take_if(|due| *due <= now).is_some();
        if is_due {
            self.shown.clone_from(&self.counters);
        }
        is_due
    }

    /// The output that tells this status; `None` if it is the one that was told last.
    pub fn tell(&mut self, status: Status) -> Option<Output> {
        if self.last.as_ref() == Some(&status) {
            return None;
        }
        self.last = Some(status.clone());
        Some(Output::Status(status))
    }

    /// The session ends: nothing is due any more.
    pub const fn stop(&mut self) {
        self.due = None;
    }
}

/// Numbers alone are told at most so often (not documented; chosen by us).
const COUNTERS_EVERY_MS: u64 = 1_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A session that has a text and a number to show.
    #[derive(Default)]
    struct Shown {
        told: Told<u64>,
        text: String,
    }

    impl Shown {
        /// What is told at this moment, if anything, as `text number`.
        fn told_at(&mut self, now: u64, something_happened: bool) -> Option<String> {
            let now = Timestamp(now);
            let something_happened = self.told.timeout(now) || something_happened;
            self.told.counted(now);
            let facts = vec![("n".to_owned(), self.told.shown().to_string())];
            let status = Status { text: self.text.clone(), facts, ..Status::default() };
            let output = something_happened.then(|| self.told.tell(status)).flatten()?;
            let Output::Status(Status { text, facts, .. }) = output else { panic!("{output:?}") };
            Some(format!("{text} {}", facts[0].1).trim().to_owned())
        }
    }

    /// Counts one at each of these moments, and lets time pass until nothing is due: what is told, and when.
    #[track_caller]
    fn check(counted_at: &[u64], expected: &[(u64, &str)]) {
        let mut session = Shown::default();
        session.told_at(0, true);
        let mut told = Vec::new();
        let mut counted_at = counted_at.iter().copied().peekable();
        loop {
            let due = session.told.due().map(|due| due.0);
            let count = counted_at.next_if(|at| due.is_none_or(|due| *at < due));
            let Some(now) = count.or(due) else { break };
            session.told.counters += u64::from(count.is_some());
            told.extend(session.told_at(now, false).map(|text| (now, text)));
        }
        assert_eq!(told, expected.iter().map(|(at, text)| (*at, (*text).to_owned())).collect::<Vec<_>>());
    }

    #[test]
    fn numbers_alone_are_told_once_a_second() {
        check(&[], &[]);
        check(&[10], &[(1_010, "1")]);
        check(&[10, 20, 1_009], &[(1_010, "3")]);
        check(&[10, 1_010, 1_500], &[(1_010, "1"), (2_010, "3")]);
    }

    #[test]
    fn a_change_is_told_at_once_and_only_once() {
        let mut session = Shown::default();
        assert_eq!(session.told_at(0, true).as_deref(), Some("0"));
        assert_eq!(session.told_at(1, true), None);
        session.text = "online".to_owned();
        assert_eq!(session.told_at(2, true).as_deref(), Some("online 0"));
        assert_eq!(session.told_at(3, true), None);
    }

    #[test]
    fn a_change_does_not_carry_new_numbers_along() {
        let mut session = Shown::default();
        session.told.counters = 1;
        session.text = "online".to_owned();
        assert_eq!(session.told_at(0, true).as_deref(), Some("online 0"));
        assert_eq!(session.told_at(1_000, false).as_deref(), Some("online 1"));
    }

    #[test]
    fn what_changes_as_often_as_numbers_is_told_with_them() {
        let mut session = Shown::default();
        session.told_at(0, true);
        session.text = "2 applications".to_owned();
        session.told.changed(Timestamp(5));
        assert_eq!(session.told_at(5, false), None);
        assert_eq!(session.told.due(), Some(Timestamp(1_005)));
        assert_eq!(session.told_at(1_005, false).as_deref(), Some("2 applications 0"));
    }

    #[test]
    fn a_session_that_has_ended_waits_for_nothing() {
        let mut told = Told::<u64> { counters: 1, ..Told::default() };
        told.counted(Timestamp(0));
        told.stop();
        assert_eq!(told.due(), None);
        assert!(!told.timeout(Timestamp(1_000)));
    }

    proptest! {
        #[test]
        fn nothing_that_was_counted_stays_untold(counts in proptest::collection::vec(0_u64..5_000, 0..20)) {
            let mut session = Shown::default();
            let mut times = counts.clone();
            times.sort_unstable();
            for now in times {
                session.told.counters += 1;
                session.told_at(now, false);
            }
            session.told_at(9_000, false);
            prop_assert_eq!(*session.told.shown(), counts.len() as u64);
        }
    }
}
