//! One cloud's place in the journal: what waits for it, what was handed over, what it lost.
//!
//! Invariant: a sequence number is either in `waiting` or in `unsettled`, and in `by_weight` and `newest` only while it
//! waits. Methods return the numbers that this cloud no longer holds; the journal releases them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use polylink_plugin_api::DatapointId;

use super::journal::{Entry, Handed, Loss, UNSETTLED_MAX, Weight};

/// What one cloud has lost, because it was too slow or away for too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Reports of values of which only the latest counts.
    pub values: u64,
    /// Reports of values with history, and events.
    pub history: u64,
    /// Reports with an alarm or a fault of the device.
    pub alarms: u64,
    /// Reports that were handed over and forgotten before they were settled: they may or may not have arrived.
    pub unconfirmed: u64,
    /// Values that a newer one replaced while they waited. Not a loss, as the product asked for it.
    pub replaced: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    retired: bool,
    /// Not handed over yet, each with the properties that a newer report has replaced.
    waiting: BTreeMap<u64, Vec<DatapointId>>,
    /// Handed over, each with the properties that were left out.
    unsettled: BTreeMap<u64, Vec<DatapointId>>,
    /// What waits, by weight.
    by_weight: [BTreeSet<u64>; 3],
    /// Of everything here.
    bytes: usize,
    /// The waiting report with the newest value of each `latest` datapoint.
    newest: HashMap<(u32, DatapointId), u64>,
    /// The newest settled report of each `latest` datapoint, while older ones are unsettled.
    settled: HashMap<(u32, DatapointId), u64>,
    pub losses: Losses,
    pub n_settled: u64,
}

impl Cursor {
    pub fn is_retired(&self) -> bool {
        self.retired
    }

    pub fn retire(&mut self) -> Vec<u64> {
        self.retired = true;
        let gone = self.waiting.keys().chain(self.unsettled.keys()).copied().collect();
        self.clear();
        gone
    }

    pub fn admit(&mut self) {
        self.retired = false;
    }

    pub fn clear(&mut self) {
        let (retired, losses, n_settled) = (self.retired, self.losses, self.n_settled);
        *self = Self { retired, losses, n_settled, ..Self::default() };
    }

    /// Counts a report that could not even enter the journal.
    pub fn miss(&mut self, weight: Weight) {
        if !self.retired {
            *self.counter(weight) += 1;
        }
    }

    pub fn push(&mut self, seq: u64, entry: &Entry, entries: &BTreeMap<u64, Entry>) -> Vec<u64> {
        let mut gone = Vec::new();
        if self.retired {
            return gone;
        }
        for &id in &entry.record.latest {
            if let Some(older) = self.newest.insert((entry.record.device, id), seq).filter(|&older| older != seq) {
                self.losses.replaced += 1;
                if self.leave_out(older, id, entries) {
                    gone.push(older);
                }
            }
        }
        self.waiting.insert(seq, Vec::new());
        self.by_weight[entry.record.weight as usize].insert(seq);
        self.bytes += entry.bytes;
        gone
    }

    pub fn has_more(&self) -> bool {
        !self.waiting.is_empty() && !self.is_full()
    }

    pub fn is_full(&self) -> bool {
        self.unsettled.len() >= UNSETTLED_MAX
    }

    pub fn take(&mut self, max: usize, entries: &BTreeMap<u64, Entry>) -> Vec<Handed> {
        let n = max.min(UNSETTLED_MAX - self.unsettled.len()).min(self.waiting.len());
        let mut batch = Vec::with_capacity(n);
        while batch.len() < n {
            let Some((seq, left_out)) = self.waiting.pop_first() else { break };
            let entry = entries.get(&seq).expect("the journal keeps what a cursor holds");
            self.no_longer_waits(seq, entry);
            batch.push(entry.hand(seq, &left_out));
            self.unsettled.insert(seq, left_out);
        }
        batch
    }

    /// Whether the number was handed over and is now released.
    pub fn settle(&mut self, seq: u64, entries: &BTreeMap<u64, Entry>) -> bool {
        let Some(left_out) = self.unsettled.remove(&seq) else { return false };
        let entry = entries.get(&seq).expect("the journal keeps what a cursor holds");
        self.bytes -= entry.bytes;
        self.n_settled += 1;
        if self.unsettled.first_key_value().is_none_or(|(&oldest, _)| oldest > seq) {
            // In order, the usual case: nothing older is under way that this one could overtake.
            self.settled.retain(|_, newest| *newest > seq);
            return true;
        }
        for &id in entry.record.latest.iter().filter(|id| !left_out.contains(id)) {
            let newest = self.settled.entry((entry.record.device, id)).or_insert(seq);
            *newest = seq.max(*newest);
        }
        true
    }

    pub fn rewind(&mut self, entries: &BTreeMap<u64, Entry>) -> Vec<u64> {
        let settled = std::mem::take(&mut self.settled);
        self.waiting.append(&mut self.unsettled);
        self.newest.clear();
        let mut gone = Vec::new();
        for seq in self.waiting.keys().copied().collect::<Vec<_>>() {
            let entry = entries.get(&seq).expect("the journal keeps what a cursor holds");
            self.by_weight[entry.record.weight as usize].insert(seq);
            for &id in &entry.record.latest {
                if self.waiting.get(&seq).is_none_or(|left_out| left_out.contains(&id)) {
                    continue;
                }
                let key = (entry.record.device, id);
                if settled.get(&key).is_some_and(|&newest| newest > seq) {
                    self.losses.replaced += 1;
                    if self.leave_out(seq, id, entries) {
                        gone.push(seq);
                    }
                } else if let Some(older) = self.newest.insert(key, seq).filter(|&older| older != seq) {
                    self.losses.replaced += 1;
                    if self.leave_out(older, id, entries) {
                        gone.push(older);
                    }
                }
            }
        }
        gone
    }

    /// How much this cloud holds: reports, or bytes.
    pub fn holds(&self, count_reports: bool) -> usize {
        if count_reports { self.waiting.len() + self.unsettled.len() } else { self.bytes }
    }

    /// The oldest waiting report of the least weight; if none waits, the oldest that was handed over. What is handed over
    /// comes last, so that the plugin, which still has it, is not given more in its place.
    pub fn next_to_lose(&self) -> Option<u64> {
        let waits = self.by_weight.iter().find_map(|of_weight| of_weight.first().copied());
        waits.or_else(|| self.unsettled.first_key_value().map(|(&seq, _)| seq))
    }

    /// Gives this report up, and counts that; none if it is not held.
    pub fn lose(&mut self, seq: u64, entries: &BTreeMap<u64, Entry>) -> Option<Loss> {
        let entry = entries.get(&seq)?;
        let loss = if self.waiting.remove(&seq).is_some() {
            self.no_longer_waits(seq, entry);
            *self.counter(entry.record.weight) += 1;
            match entry.record.weight {
                Weight::Latest => Loss::Value,
                Weight::History => Loss::History,
                Weight::Alarm => Loss::Alarm,
            }
        } else {
            self.unsettled.remove(&seq)?;
            self.losses.unconfirmed += 1;
            Loss::Unconfirmed
        };
        self.bytes -= entry.bytes;
        Some(loss)
    }

    /// Takes back what an earlier process did not get settled; what a newer report has said of a property is left out.
    /// False: nothing is left of the report.
    pub fn restore(&mut self, seq: u64, entry: &Entry, newest: &HashMap<(u32, DatapointId), u64>) -> bool {
        let key = |id: DatapointId| (entry.record.device, id);
        let is_old = |id: &&DatapointId| newest.get(&key(**id)).is_some_and(|&newest| newest > seq);
        let (left_out, kept): (Vec<_>, Vec<_>) = entry.record.latest.iter().partition(is_old);
        self.losses.replaced += left_out.len() as u64;
        if !left_out.is_empty() && left_out.len() >= entry.n_properties() {
            return false;
        }
        self.newest.extend(kept.into_iter().map(|&id| (key(id), seq)));
        self.waiting.insert(seq, left_out.into_iter().copied().collect());
        self.by_weight[entry.record.weight as usize].insert(seq);
        self.bytes += entry.bytes;
        true
    }

    /// Every report that is held, in no order.
    pub fn held(&self) -> impl Iterator<Item = u64> {
        self.waiting.keys().chain(self.unsettled.keys()).copied()
    }

    /// The oldest report that is not settled.
    pub fn oldest(&self) -> Option<u64> {
        let (waiting, unsettled) = (self.waiting.keys().next(), self.unsettled.keys().next());
        waiting.into_iter().chain(unsettled).min().copied()
    }

    pub fn backlog(&self) -> (usize, usize) {
        (self.waiting.len(), self.unsettled.len())
    }

    /// Leaves a property out of a waiting report; true if nothing of the report is left and it is not held any more.
    fn leave_out(&mut self, seq: u64, id: DatapointId, entries: &BTreeMap<u64, Entry>) -> bool {
        let Some(left_out) = self.waiting.get_mut(&seq) else { return false };
        let entry = entries.get(&seq).expect("the journal keeps what a cursor holds");
        if left_out.len() + 1 < entry.n_properties() {
            left_out.push(id);
            return false;
        }
        self.waiting.remove(&seq);
        self.by_weight[entry.record.weight as usize].remove(&seq);
        self.bytes -= entry.bytes;
        true
    }

    fn no_longer_waits(&mut self, seq: u64, entry: &Entry) {
        self.by_weight[entry.record.weight as usize].remove(&seq);
        for &id in &entry.record.latest {
            let key = (entry.record.device, id);
            if self.newest.get(&key) == Some(&seq) {
                self.newest.remove(&key);
            }
        }
    }

    fn counter(&mut self, weight: Weight) -> &mut u64 {
        match weight {
            Weight::Latest => &mut self.losses.values,
            Weight::History => &mut self.losses.history,
            Weight::Alarm => &mut self.losses.alarms,
        }
    }
}
