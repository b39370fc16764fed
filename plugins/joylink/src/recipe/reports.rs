//! [`Reports`]: reports on their way to the cloud, each said again until its answer comes.

use std::collections::VecDeque;

use polylink_plugin_sdk::Timestamp;

use crate::wire::RecipeReport;

#[derive(Clone, Debug)]
pub(super) struct Reports {
    is_working: bool,
    next_serial: u32,
    /// The oldest first.
    pending: VecDeque<Pending>,
    pub(super) n_lost: u64,
    pub(super) n_unexpected: u64,
}

#[derive(Clone, Debug)]
struct Pending {
    report: RecipeReport,
    due: Timestamp,
    /// Since the last authentication.
    n_sent: u32,
}

impl Reports {
    pub(super) const fn new(first_serial: u32) -> Self {
        let pending = VecDeque::new();
        Self { is_working: false, next_serial: first_serial, pending, n_lost: 0, n_unexpected: 0 }
    }

    pub(super) fn add(&mut self, now: Timestamp, report: Vec<u8>) {
        if self.pending.len() >= PENDING_MAX {
            self.pending.pop_front();
            self.n_lost += 1;
        }
        let serial = self.next_serial;
        self.next_serial = serial.wrapping_add(1);
        self.pending.push_back(Pending { report: RecipeReport { serial, report }, due: now, n_sent: 0 });
    }

    pub(super) fn forget_all(&mut self) {
        self.pending.clear();
    }

    pub(super) fn authenticated(&mut self, now: Timestamp) {
        self.is_working = true;
        for pending in &mut self.pending {
            (pending.due, pending.n_sent) = (now, 0);
        }
    }

    pub(super) const fn disconnected(&mut self) {
        self.is_working = false;
    }

    pub(super) fn poll(&mut self, now: Timestamp) -> Option<RecipeReport> {
        let is_working = self.is_working;
        let pending =
            self.pending.iter_mut().find(|pending| is_working && pending.is_to_be_sent() && pending.due <= now)?;
        pending.n_sent += 1;
        pending.due = now.after(ANSWER_MS);
        Some(pending.report.clone())
    }

    pub(super) fn next_timeout(&self) -> Option<Timestamp> {
        let to_be_sent = self.pending.iter().filter(|pending| self.is_working && pending.is_to_be_sent());
        to_be_sent.map(|pending| pending.due).min()
    }

    pub(super) fn answered(&mut self, serial: u32) -> bool {
        // The number of one that was not sent yet cannot be known.
        let is_meant = |pending: &Pending| pending.report.serial == serial && pending.n_sent > 0;
        match self.pending.iter().position(is_meant) {
            Some(at) => {
                self.pending.remove(at);
                true
            }
            None => {
                self.n_unexpected += 1;
                false
            }
        }
    }
}

impl Pending {
    const fn is_to_be_sent(&self) -> bool {
        self.n_sent <= AGAIN_MAX
    }
}

/// How long the cloud may take to answer (not documented; chosen by us, as for other messages).
const ANSWER_MS: u64 = 10_000;

/// How often a report is said again on one connection (not documented; chosen by us); then it waits for the next.
const AGAIN_MAX: u32 = 3;

/// Reports that wait for an answer (not documented; chosen by us: a recipe of usual length). Beyond, the oldest is dropped
/// and counted: later ones of the same recipe tell the same and more.
const PENDING_MAX: usize = 16;
