//! [`Uplink`]: what the device tells the cloud about timers by itself, and says again until the cloud has it: results of
//! steps (1097), tasks that it made, deleted and changed (1098, 1099, 10100), and snapshots of all tasks (10101).
//!
//! Of each of these there is one message on its way, or as many as a snapshot needs. What got no answer is sent again
//! with growing delays, and at once after each authentication. The tasks are in the [`Table`], which survives a restart;
//! results do not.

use std::collections::BTreeSet;

use polylink_plugin_sdk::Timestamp;

use super::engine::Due;
use super::table::{Table, TaskKey};
use super::wire::{Answer, Message, Operation, Request, StepResult};
use crate::wire::FeedId;

/// What waits for an answer of the cloud, and when to say it again.
#[derive(Clone, Debug)]
pub struct Uplink {
    is_working: bool,
    next_serial: u32,
    results: Vec<Pending>,
    results_retry: Retry,
    n_lost: u64,
    own: Option<Own>,
    own_retry: Retry,
    /// The cloud would not give an id to tasks up to this one; asked again after the next authentication.
    refused: Option<TaskKey>,
    snapshot: Snapshot,
}

/// What became of an answer, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Not to anything that waits.
    Unexpected,
    /// As it should be.
    Taken,
    /// The cloud said no; nothing is sent again before the next snapshot repairs it.
    Refused(i32),
    /// The cloud saw other tasks than were sent: they will be sent again.
    Differs,
}

/// The result of a step that the cloud does not know yet.
#[derive(Clone, Copy, Debug)]
struct Pending {
    task: TaskKey,
    id: i32,
    step: u8,
    code: i32,
    /// With which message it was sent last. A result that replaced it meanwhile was not.
    sent: Option<u32>,
}

/// A message about what the device did to tasks.
#[derive(Clone, Debug)]
struct Own {
    serial: u32,
    about: About,
}

#[derive(Clone, Debug)]
enum About {
    New(TaskKey),
    Deleted(Vec<i32>),
    /// Ids and versions.
    Modified(Vec<(i32, i32)>),
}

#[derive(Clone, Debug)]
struct Snapshot {
    delay_ms: u64,
    /// When it was first asked for, and when it is to be sent.
    wanted: Option<(Timestamp, Timestamp)>,
    /// Serial numbers, and what was in the messages.
    sent: Vec<(u32, FeedId, BTreeSet<i32>)>,
    retry: Retry,
}

#[derive(Clone, Copy, Debug, Default)]
struct Retry {
    at: Option<Timestamp>,
    n_sent: u32,
}

impl Uplink {
    /// Nothing to tell yet. A snapshot is sent `snapshot_delay_ms` after something changed.
    #[must_use]
    pub fn new(snapshot_delay_ms: u64, first_serial: u32) -> Self {
        Self {
            is_working: false,
            next_serial: first_serial,
            results: Vec::new(),
            results_retry: Retry::default(),
            n_lost: 0,
            own: None,
            own_retry: Retry::default(),
            refused: None,
            snapshot: Snapshot { delay_ms: snapshot_delay_ms, wanted: None, sent: Vec::new(), retry: Retry::default() },
        }
    }

    /// The cloud let the device in: all that waits is sent now, and a snapshot soon.
    pub fn authenticated(&mut self, now: Timestamp) {
        self.is_working = true;
        (self.results_retry, self.own_retry) = (Retry::default(), Retry::default());
        (self.own, self.refused) = (None, None);
        self.results.iter_mut().for_each(|pending| pending.sent = None);
        self.snapshot.wanted = None;
        self.snapshot.start_over();
        self.snapshot.want(now);
    }

    /// The connection is gone: nothing is sent until the next authentication.
    pub const fn disconnected(&mut self) {
        self.is_working = false;
    }

    /// Other tasks from now on: what was to be told of those before is not told.
    pub fn forget_all(&mut self) {
        (self.results, self.own, self.refused) = (Vec::new(), None, None);
        (self.results_retry, self.own_retry) = (Retry::default(), Retry::default());
        self.snapshot.wanted = None;
        self.snapshot.start_over();
    }

    /// A step was done. An older result of the same step that the cloud does not know is forgotten.
    pub fn done(&mut self, due: &Due, code: i32) {
        let pending = Pending { task: due.task, id: due.id, step: due.step, code, sent: None };
        if let Some(same) = self.results.iter_mut().find(|old| (old.task, old.step) == (due.task, due.step)) {
            *same = pending;
        } else {
            if self.results.len() >= RESULTS_MAX {
                self.results.remove(0);
                self.n_lost += 1;
            }
            self.results.push(pending);
        }
    }

    /// Tasks changed: a snapshot is wanted, unless the connection will bring one anyway.
    pub fn tasks_changed(&mut self, now: Timestamp) {
        if self.is_working {
            self.snapshot.want(now);
        }
    }

    /// How many results were dropped because there were too many, the oldest first.
    #[must_use]
    pub const fn n_lost(&self) -> u64 {
        self.n_lost
    }

    /// What is to be sent now. `unix_s` is the time stamp.
    pub fn poll(&mut self, table: &Table, now: Timestamp, unix_s: u32) -> Vec<Message<Request>> {
        let mut messages = Vec::new();
        if self.is_working {
            self.poll_results(table, now, unix_s, &mut messages);
            self.poll_own(table, now, unix_s, &mut messages);
            self.poll_snapshot(table, now, unix_s, &mut messages);
        }
        messages
    }

    /// When to call [`Uplink::poll`] next; `None`: when something happens.
    #[must_use]
    pub fn next_timeout(&self, table: &Table, now: Timestamp) -> Option<Timestamp> {
        if !self.is_working {
            return None;
        }
        let results = self.results.iter().any(|pending| pending.id_in(table).is_some());
        let own = self.own.is_some() || self.next_own(table).is_some();
        let snapshot = self.snapshot.wanted.map(|(_, at)| at);
        let again = (!self.snapshot.sent.is_empty()).then(|| self.snapshot.retry.due(now));
        let at_once = self.tells_at_once();
        let is_new = self.results.iter().any(|pending| pending.sent.is_none() && pending.id_in(table).is_some());
        let results = results.then(|| if at_once && is_new { now } else { self.results_retry.due(now) });
        let own = own.then(|| self.own_retry.due(now));
        [results, own, snapshot, again].into_iter().flatten().min()
    }

    /// Takes an answer of the cloud.
    pub fn answered(&mut self, answer: &Message<Answer>, table: &mut Table) -> Reaction {
        match &answer.content {
            Answer::Received(received) => self.results_arrived(answer.serial, received),
            Answer::Ids(Operation::Snapshot, code, ids) => self.snapshot_arrived(answer.serial, *code, ids),
            Answer::New { .. } | Answer::Code(Operation::Modified, _) | Answer::Ids(Operation::Deleted, ..) => {
                self.own_arrived(answer, table)
            }
            _ => Reaction::Unexpected,
        }
    }

    fn poll_results(&mut self, table: &Table, now: Timestamp, unix_s: u32, messages: &mut Vec<Message<Request>>) {
        let again = self.results_retry.is_due(now);
        if !again && !self.tells_at_once() {
            return;
        }
        // A task that was deleted before the cloud gave it an id has no name by which to tell.
        self.results.retain(|pending| pending.id != 0 || table.tasks().any(|(key, _)| key == pending.task));
        let serial = self.next_serial;
        let mut results = Vec::new();
        for pending in self.results.iter_mut().filter(|pending| again || pending.sent.is_none()) {
            if let Some(id) = pending.id_in(table) {
                (pending.id, pending.sent) = (id, Some(serial));
                results.push(StepResult { id, step: pending.step, code: pending.code });
            }
        }
        if !results.is_empty() {
            messages.push(self.message(unix_s, Request::Results(results)));
            self.results_retry.sent(now);
        }
    }

    /// What was not sent yet does not wait for what was, as long as the cloud may just be slow.
    const fn tells_at_once(&self) -> bool {
        self.results_retry.n_sent <= 1
    }

    fn results_arrived(&mut self, serial: u32, received: &[(i32, u8)]) -> Reaction {
        let n_before = self.results.len();
        self.results.retain(|old| old.sent != Some(serial) || !received.contains(&(old.id, old.step)));
        if self.results.len() == n_before {
            return Reaction::Unexpected;
        }
        if self.results.iter().all(|pending| pending.sent.is_none()) {
            self.results_retry = Retry::default();
        }
        Reaction::Taken
    }

    fn next_own(&self, table: &Table) -> Option<(About, Request)> {
        if !table.deleted().is_empty() {
            let ids = table.deleted().to_vec();
            return Some((About::Deleted(ids.clone()), Request::Ids(Operation::Deleted, ids)));
        }
        // Exactly one in each message (JoyLink V1.79, chapter 10.9).
        if let Some((key, task)) = table.without_id(self.refused) {
            return Some((About::New(key), Request::Tasks(Operation::New, vec![task.clone()])));
        }
        let tasks = table.modified();
        let versions = tasks.iter().map(|task| (task.id, task.version)).collect();
        (!tasks.is_empty()).then_some((About::Modified(versions), Request::Tasks(Operation::Modified, tasks)))
    }

    fn poll_own(&mut self, table: &Table, now: Timestamp, unix_s: u32, messages: &mut Vec<Message<Request>>) {
        if !self.own_retry.is_due(now) {
            return;
        }
        self.own = None;
        if let Some((about, request)) = self.next_own(table) {
            let message = self.message(unix_s, request);
            self.own = Some(Own { serial: message.serial, about });
            self.own_retry.sent(now);
            messages.push(message);
        }
    }

    fn own_arrived(&mut self, answer: &Message<Answer>, table: &mut Table) -> Reaction {
        let Some(own) = self.own.take_if(|own| own.serial == answer.serial) else { return Reaction::Unexpected };
        let code = match (&own.about, &answer.content) {
            (About::New(key), Answer::New { code, id }) => {
                if *code != DONE || !table.assign(*key, *id) {
                    self.refused = Some(*key);
                }
                *code
            }
            (About::Deleted(ids), Answer::Ids(Operation::Deleted, code, _)) => {
                table.deletions_known(ids);
                *code
            }
            (About::Modified(versions), Answer::Code(Operation::Modified, code)) => {
                table.modifications_known(versions);
                *code
            }
            _ => {
                self.own = Some(own);
                return Reaction::Unexpected;
            }
        };
        self.own_retry = Retry::default();
        if code == DONE { Reaction::Taken } else { Reaction::Refused(code) }
    }

    fn poll_snapshot(&mut self, table: &Table, now: Timestamp, unix_s: u32, messages: &mut Vec<Message<Request>>) {
        let wanted = self.snapshot.wanted.is_some_and(|(_, at)| at <= now);
        let again = !self.snapshot.sent.is_empty() && self.snapshot.retry.is_due(now);
        if !wanted && !again {
            return;
        }
        if wanted {
            self.snapshot.wanted = None;
            self.snapshot.start_over();
        }
        self.snapshot.sent.clear();
        for listing in table.snapshot() {
            let ids = listing.tasks.iter().map(|task| task.id).collect();
            let feedid = listing.feedid;
            let message = self.message(unix_s, Request::Snapshot(listing));
            self.snapshot.sent.push((message.serial, feedid, ids));
            messages.push(message);
        }
        self.snapshot.retry.sent(now);
    }

    fn snapshot_arrived(&mut self, serial: u32, code: i32, ids: &[i32]) -> Reaction {
        let Some(at) = self.snapshot.sent.iter().position(|(sent, ..)| *sent == serial) else {
            return Reaction::Unexpected;
        };
        let seen: BTreeSet<i32> = ids.iter().copied().collect();
        if code == DONE && seen == self.snapshot.sent[at].2 {
            self.snapshot.sent.remove(at);
            if self.snapshot.sent.is_empty() {
                self.snapshot.start_over();
            }
            return Reaction::Taken;
        }
        // Said again with the same delays as without an answer, so that a cloud that never agrees costs little.
        Reaction::Differs
    }

    fn message(&mut self, timestamp: u32, content: Request) -> Message<Request> {
        let serial = self.next_serial;
        self.next_serial = serial.wrapping_add(1);
        Message { timestamp, serial, numbers: super::wire::Numbers::Document, content }
    }
}

impl Pending {
    /// The id, which the task may have got since; `None` while it has none.
    fn id_in(&self, table: &Table) -> Option<i32> {
        let now = || table.tasks().find(|(key, _)| *key == self.task).map(|(_, task)| task.id);
        Some(self.id).filter(|id| *id != 0).or_else(now).filter(|id| *id != 0)
    }
}

impl Snapshot {
    fn want(&mut self, now: Timestamp) {
        let (first, _) = *self.wanted.get_or_insert((now, now));
        let latest = first.after(self.delay_ms.saturating_mul(DELAYS_MAX));
        self.wanted = Some((first, now.after(self.delay_ms).min(latest)));
    }

    fn start_over(&mut self) {
        self.sent.clear();
        self.retry = Retry::default();
    }
}

impl Retry {
    fn is_due(self, now: Timestamp) -> bool {
        self.at.is_none_or(|at| at <= now)
    }

    fn due(self, now: Timestamp) -> Timestamp {
        self.at.unwrap_or(now)
    }

    fn sent(&mut self, now: Timestamp) {
        let delay = RETRY_MS.checked_shl(self.n_sent).unwrap_or(RETRY_MAX_MS).min(RETRY_MAX_MS);
        self.at = Some(now.after(delay));
        // Beyond, the delay no longer grows.
        self.n_sent = (self.n_sent + 1).min(32);
    }
}

/// Code of an answer (JoyLink V1.79, chapter 13).
const DONE: i32 = 0;

/// Not documented; chosen by us: the first delay and the longest.
const RETRY_MS: u64 = 2_000;
const RETRY_MAX_MS: u64 = 60_000;

/// Results that the cloud does not know (not documented; chosen by us: two steps of each of 32 tasks). When full, the
/// oldest is dropped and counted.
const RESULTS_MAX: usize = 64;

/// Not documented; chosen by us: changes that keep coming put a snapshot off by no more than so many delays.
const DELAYS_MAX: u64 = 10;

#[cfg(test)]
mod tests;
