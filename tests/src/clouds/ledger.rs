//! What a simulated cloud has seen: arrivals by the report's counter, commands, presence, violations.
//!
//! Invariant: each list has a limit; what does not fit is counted in `left_out`, which no good run has above zero.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

use crate::changes;

/// Shared between the cloud that writes it and those who judge the run.
pub struct Ledger {
    entries: Mutex<Entries>,
    changes: watch::Sender<u64>,
}

/// What the ledger says at one moment.
#[derive(Debug, Clone, Default)]
pub struct Entries {
    /// Whether the device is connected now.
    pub online: bool,
    /// How often it came online.
    pub sessions: u64,
    /// Counters of reports, in the order of arrival, repetitions included.
    pub arrivals: Vec<Arrival>,
    /// Commands sent, by the cloud's own message id, and when the device said it was done.
    pub commands: BTreeMap<String, Command>,
    /// What the device did against the protocol.
    pub violations: Vec<String>,
    /// Entries that found no room.
    pub left_out: u64,
}

/// A report that has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Its number.
    pub counter: u32,
    /// When.
    pub at: Instant,
}

/// A command that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// When it was sent.
    pub sent: Instant,
    /// What the device answered, and when: `Ok` means done.
    pub answer: Option<(Result<(), String>, Instant)>,
}

/// Arrivals held against what should have arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Different reports that should have arrived.
    pub expected: usize,
    /// Different reports among these that did.
    pub arrived: usize,
    /// Reports that should have arrived and did not.
    pub lost: usize,
    /// Arrivals beyond the first of the same report.
    pub duplicates: usize,
    /// First arrivals of reports after a report with a higher number.
    pub out_of_order: usize,
    /// Microseconds from the last byte on the serial line to the first arrival, ascending.
    pub latencies_us: Vec<u64>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { entries: Mutex::default(), changes: watch::channel(0).0 }
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").finish_non_exhaustive()
    }
}

impl Ledger {
    /// The device came or went.
    pub fn presence(&self, online: bool) {
        self.change(|entries| {
            entries.sessions += u64::from(online && !entries.online);
            entries.online = online;
        });
    }

    /// A report with this number arrived just now.
    pub fn arrived(&self, counter: u32) {
        let at = Instant::now();
        self.change(|entries| {
            if entries.arrivals.len() < ARRIVALS {
                entries.arrivals.push(Arrival { counter, at });
            } else {
                entries.left_out += 1;
            }
        });
    }

    /// A command is about to be sent.
    pub fn command_sent(&self, id: &str) {
        let command = Command { sent: Instant::now(), answer: None };
        self.change(|entries| {
            if entries.commands.len() < COMMANDS {
                entries.commands.insert(id.to_owned(), command);
            } else {
                entries.left_out += 1;
            }
        });
    }

    /// The device answered a command; a second answer is a violation.
    pub fn command_answered(&self, id: &str, result: Result<(), String>) {
        self.change(|entries| match entries.commands.get_mut(id) {
            Some(Command { answer: answer @ None, .. }) => *answer = Some((result, Instant::now())),
            Some(_) => violation(entries, format!("command {id} was answered twice")),
            None => violation(entries, format!("answer to command {id}, which was never sent")),
        });
    }

    /// The device broke the protocol.
    pub fn violation(&self, text: impl Into<String>) {
        self.change(|entries| violation(entries, text.into()));
    }

    /// Looks without copying.
    pub fn with<T>(&self, look: impl FnOnce(&Entries) -> T) -> T {
        look(&self.lock())
    }

    /// Waits until the entries fulfil a condition.
    pub async fn until(&self, condition: impl Fn(&Entries) -> bool) {
        changes::until(&self.changes, || self.with(&condition)).await;
    }

    fn change(&self, change: impl FnOnce(&mut Entries)) {
        change(&mut self.lock());
        self.changes.send_modify(|n| *n += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    /// Commands that were sent.
    pub fn commands_sent(&self) -> usize {
        self.commands.len()
    }

    /// Commands the device has fulfilled.
    pub fn commands_done(&self) -> usize {
        self.commands.values().filter(|command| matches!(command.answer, Some((Ok(()), _)))).count()
    }

    /// Whether each of these reports has arrived at least once.
    pub fn has_all(&self, counters: &HashSet<u32>) -> bool {
        let arrived: HashSet<u32> = self.arrivals.iter().map(|arrival| arrival.counter).collect();
        counters.is_subset(&arrived)
    }

    /// Holds the arrivals against the reports that should have arrived, each with the moment it had left.
    pub fn judge(&self, expected: impl IntoIterator<Item = (u32, Instant)>) -> Verdict {
        let mut first: HashMap<u32, Instant> = HashMap::new();
        let mut verdict = Verdict::default();
        let mut highest = None;
        for arrival in &self.arrivals {
            if first.contains_key(&arrival.counter) {
                verdict.duplicates += 1;
                continue;
            }
            first.insert(arrival.counter, arrival.at);
            verdict.out_of_order += usize::from(highest > Some(arrival.counter));
            highest = highest.max(Some(arrival.counter));
        }
        for (counter, sent) in expected {
            verdict.expected += 1;
            match first.get(&counter) {
                Some(at) => {
                    let latency = at.saturating_duration_since(sent).as_micros();
                    verdict.latencies_us.push(u64::try_from(latency).unwrap_or(u64::MAX));
                }
                None => verdict.lost += 1,
            }
        }
        verdict.arrived = verdict.latencies_us.len();
        verdict.latencies_us.sort_unstable();
        verdict
    }
}

impl Verdict {
    /// The latency that so many per cent of the reports stay within, in milliseconds; none without reports.
    pub fn latency_ms(&self, per_cent: usize) -> Option<f64> {
        let at = (self.latencies_us.len() * per_cent).div_ceil(100).saturating_sub(1);
        self.latencies_us.get(at).map(|&us| us as f64 / 1000.0)
    }
}

fn violation(entries: &mut Entries, text: String) {
    if entries.violations.len() < VIOLATIONS {
        entries.violations.push(text);
    } else {
        entries.left_out += 1;
    }
}

/// Arrivals kept. Chosen by us: hours at a thousand a second in a quarter of a gigabyte.
const ARRIVALS: usize = 10_000_000;
/// Commands kept. Chosen by us.
const COMMANDS: usize = 1_000_000;
/// Violations kept. Chosen by us: the first ones tell the story.
const VIOLATIONS: usize = 100;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn arrivals_are_judged_by_first_arrivals() {
        let ledger = Ledger::default();
        let start = Instant::now();
        for counter in [1, 2, 2, 4, 3, 9] {
            ledger.arrived(counter);
        }
        let expected = (1..=5).map(|counter| (counter, start - Duration::from_secs(1)));
        let verdict = ledger.with(|entries| entries.judge(expected));
        assert_eq!((verdict.expected, verdict.arrived, verdict.lost), (5, 4, 1));
        assert_eq!((verdict.duplicates, verdict.out_of_order), (1, 1));
        assert!(verdict.latency_ms(50).unwrap() >= 1000.0 && verdict.latency_ms(100) >= verdict.latency_ms(50));
    }

    #[test]
    fn a_command_is_done_once() {
        let ledger = Ledger::default();
        ledger.command_sent("a");
        ledger.command_sent("b");
        ledger.command_answered("a", Ok(()));
        ledger.command_answered("b", Err("refused".to_owned()));
        ledger.command_answered("a", Ok(()));
        ledger.command_answered("c", Ok(()));
        ledger.with(|entries| {
            assert_eq!((entries.commands_sent(), entries.commands_done()), (2, 1));
            assert_eq!(entries.violations.len(), 2, "{:?}", entries.violations);
        });
    }
}
