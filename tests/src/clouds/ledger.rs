//! What arrived at a simulated cloud and what became of its commands.
//!
//! Reports are told apart by the counter that each of them carries. Invariant: bounded by `MAX_ENTRIES`; beyond that
//! nothing is kept, so a run that is too long shows losses instead of hiding them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Shared book of one cloud.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Book>);

/// A copy of the book at one moment.
#[derive(Debug, Clone, Default)]
pub struct Book {
    /// First arrival of each report.
    pub arrivals: BTreeMap<u32, Instant>,
    /// Arrivals of reports that had arrived before.
    pub duplicates: u64,
    /// First arrivals after the first arrival of a later report.
    pub out_of_order: u64,
    /// Commands, in the order they were sent.
    pub commands: Vec<SentCommand>,
    /// Breaches of the cloud's protocol, in words.
    pub violations: Vec<String>,
    newest: u32,
    commands_by_id: BTreeMap<String, usize>,
}

/// A command of the cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentCommand {
    /// The cloud's message id.
    pub id: String,
    /// What was set, for people.
    pub what: String,
    /// When it was sent.
    pub sent: Instant,
    /// When the device answered, and whether it had obeyed or why not.
    pub answer: Option<(Instant, Result<(), String>)>,
}

impl Ledger {
    /// A report with this counter came.
    pub fn arrived(&self, counter: u32) {
        let mut book = self.lock();
        if book.arrivals.contains_key(&counter) {
            book.duplicates += 1;
        } else if book.arrivals.len() < MAX_ENTRIES {
            book.arrivals.insert(counter, Instant::now());
            book.out_of_order += u64::from(counter < book.newest);
            book.newest = book.newest.max(counter);
        }
    }

    /// A command goes out.
    pub fn sent(&self, id: &str, what: String) {
        let mut book = self.lock();
        if book.commands.len() < MAX_ENTRIES {
            let at = book.commands.len();
            book.commands_by_id.insert(id.to_owned(), at);
            book.commands.push(SentCommand { id: id.to_owned(), what, sent: Instant::now(), answer: None });
        }
    }

    /// The device answered a command; false if there is no such command. Later answers change nothing.
    pub fn answered(&self, id: &str, result: Result<(), String>) -> bool {
        let mut book = self.lock();
        let Some(&at) = book.commands_by_id.get(id) else { return false };
        book.commands[at].answer.get_or_insert((Instant::now(), result));
        true
    }

    /// The device did what this cloud's protocol forbids.
    pub fn violation(&self, text: String) {
        let mut book = self.lock();
        if book.violations.len() < MAX_VIOLATIONS {
            book.violations.push(text);
        }
    }

    /// Everything so far.
    pub fn book(&self) -> Book {
        self.lock().clone()
    }

    /// Looks without copying.
    pub fn with<T>(&self, look: impl FnOnce(&Book) -> T) -> T {
        look(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// Commands that were obeyed.
    pub fn commands_done(&self) -> usize {
        self.commands.iter().filter(|command| matches!(command.answer, Some((_, Ok(()))))).count()
    }

    /// Commands the device never answered.
    pub fn commands_open(&self) -> usize {
        self.commands.iter().filter(|command| command.answer.is_none()).count()
    }

    /// Those of the expected reports that did not arrive.
    pub fn missing(&self, expected: impl IntoIterator<Item = u32>) -> BTreeSet<u32> {
        expected.into_iter().filter(|counter| !self.arrivals.contains_key(counter)).collect()
    }
}

/// Not documented; chosen by us: reports and commands kept, a quarter of an hour at 1000 reports a second.
const MAX_ENTRIES: usize = 1_000_000;
/// Not documented; chosen by us: breaches kept.
const MAX_VIOLATIONS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_duplicates_and_disorder_are_told_apart() {
        let ledger = Ledger::default();
        for counter in [1, 3, 2, 3, 5] {
            ledger.arrived(counter);
        }
        let book = ledger.book();
        assert_eq!((book.arrivals.len(), book.duplicates, book.out_of_order), (4, 1, 1));
        assert_eq!(book.missing(1..=6), BTreeSet::from([4, 6]));
    }

    #[test]
    fn only_the_first_answer_to_a_command_counts() {
        let ledger = Ledger::default();
        ledger.sent("7", "target 21".to_owned());
        assert!(ledger.answered("7", Err("refused".to_owned())));
        assert!(ledger.answered("7", Ok(())));
        assert!(!ledger.answered("8", Ok(())));
        assert_eq!((ledger.book().commands_done(), ledger.book().commands_open()), (0, 0));
    }
}
