//! What changes in the journal, told to who keeps it on a disk, and the way back after a restart.
//!
//! Replaced values are not told: which value is the newest is known from [`Journal::newest`], and what is older is left
//! out again when the journal is restored.

use std::collections::{BTreeMap, HashMap};

use polylink_plugin_api::DatapointId;

use super::{CloudId, Entry, Journal, Losses, Record, release, report_bytes};

/// One change, in the order in which they happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A report entered, for every cloud that is kept for.
    Pushed(u64),
    /// A cloud has acknowledged a report.
    Settled(CloudId, u64),
    /// A cloud has lost a report.
    Lost(CloudId, u64, Loss),
    /// A report could not even enter; the losses say so.
    Missed,
    /// No cloud holds the report any more.
    Gone(u64),
    /// Reports are kept for other clouds than before.
    Clouds,
    /// All reports were forgotten.
    Cleared,
}

/// What kind of report was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// See [`Losses::values`].
    Value,
    /// See [`Losses::history`].
    History,
    /// See [`Losses::alarms`].
    Alarm,
    /// See [`Losses::unconfirmed`].
    Unconfirmed,
}

/// What an earlier process has left.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    /// The highest number that was ever given.
    pub last_seq: u64,
    /// Reports that somebody may hold.
    pub reports: BTreeMap<u64, Record>,
    /// The last report with each datapoint, of all that was ever said as far as it is known.
    pub newest: HashMap<(u32, DatapointId), u64>,
    /// Clouds by name.
    pub clouds: BTreeMap<String, RestoredCloud>,
}

/// What an earlier process kept for one cloud.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoredCloud {
    /// Numbers of reports that it has not settled, ascending.
    pub held: Vec<u64>,
    /// What it had lost.
    pub losses: Losses,
}

impl Losses {
    /// Counts one more.
    pub fn add(&mut self, loss: Loss) {
        match loss {
            Loss::Value => self.values += 1,
            Loss::History => self.history += 1,
            Loss::Alarm => self.alarms += 1,
            Loss::Unconfirmed => self.unconfirmed += 1,
        }
    }
}

impl Journal {
    /// From now on changes are told.
    pub fn record_changes(&mut self) {
        self.changes.get_or_insert_default();
    }

    /// Whether something has changed since it was last asked for.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.changes.as_ref().is_some_and(|changes| !changes.is_empty())
    }

    /// What has changed since it was last asked for.
    pub fn take_changes(&mut self) -> Vec<Change> {
        self.changes.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Takes back what an earlier process left, for these clouds, before any of them is given something. What is older
    /// than anything new keeps its numbers; new ones go on after them. Returns how many reports were held by other
    /// clouds, or are not there.
    pub fn restore(&mut self, restored: Restored, clouds: &BTreeMap<&str, CloudId>) -> u64 {
        let mut newest = restored.newest;
        for (&seq, record) in &restored.reports {
            for &id in &record.latest {
                let newest = newest.entry((record.device, id)).or_insert(seq);
                *newest = seq.max(*newest);
            }
        }
        self.last_seq = self.last_seq.max(restored.last_seq);
        let mut n_dropped = 0;
        let entry = |record: Record| Entry { bytes: report_bytes(&record.body), record, holders: 0 };
        let mut entries: BTreeMap<u64, Entry> =
            restored.reports.into_iter().map(|(seq, record)| (seq, entry(record))).collect();
        for (name, kept) in restored.clouds {
            let Some(cursor) = clouds.get(name.as_str()).and_then(|cloud| self.cursors.get_mut(cloud.0)) else {
                n_dropped += kept.held.len() as u64;
                continue;
            };
            cursor.losses = kept.losses;
            for seq in kept.held {
                match entries.get_mut(&seq) {
                    Some(entry) if cursor.restore(seq, entry, &newest) => entry.holders += 1,
                    Some(_) => {}
                    None => n_dropped += 1,
                }
            }
        }
        entries.retain(|_, entry| entry.holders > 0);
        self.bytes += entries.values().map(|entry| entry.bytes).sum::<usize>();
        self.entries.append(&mut entries);
        self.newest = newest;
        self.make_room();
        n_dropped
    }

    /// Gives up what was said before this, by the monotonic clock.
    pub fn expire(&mut self, before_ms: i64) {
        while let Some((&seq, _)) = self.entries.first_key_value().filter(|(_, entry)| entry.record.said_ms < before_ms)
        {
            (0..self.cursors.len()).for_each(|cloud| self.lose(CloudId(cloud), seq));
            if self.entries.contains_key(&seq) {
                // It would mean that nobody holds it, which the journal rules out; it must not be looked at for ever.
                release(&mut self.entries, &mut self.bytes, &mut self.changes, seq);
            }
        }
    }

    /// A report that somebody holds.
    #[must_use]
    pub fn record(&self, seq: u64) -> Option<&Record> {
        self.entries.get(&seq).map(|entry| &entry.record)
    }

    /// Every report that somebody holds, oldest first.
    pub fn records(&self) -> impl Iterator<Item = (u64, &Record)> {
        self.entries.iter().map(|(&seq, entry)| (seq, &entry.record))
    }

    /// What a cloud has not settled, ascending.
    #[must_use]
    pub fn held(&self, cloud: CloudId) -> Vec<u64> {
        let mut held: Vec<u64> = self.cursors.get(cloud.0).map(|cursor| cursor.held().collect()).unwrap_or_default();
        held.sort_unstable();
        held
    }

    /// Whether reports are kept for this cloud.
    #[must_use]
    pub fn keeps_for(&self, cloud: CloudId) -> bool {
        self.cursors.get(cloud.0).is_some_and(|cursor| !cursor.is_retired())
    }

    /// The number of the last report.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// The last report with each `latest` datapoint that some older report here has too.
    #[must_use]
    pub fn newest(&self) -> BTreeMap<(u32, DatapointId), u64> {
        let mut outdated = BTreeMap::new();
        for (&seq, Entry { record, .. }) in &self.entries {
            let keys = record.latest.iter().map(|&id| (record.device, id));
            let known = keys.filter_map(|key| Some((key, *self.newest.get(&key)?)));
            outdated.extend(known.filter(|&(_, newest)| newest > seq));
        }
        outdated
    }

    /// When the oldest report that somebody holds was said, by the monotonic clock.
    #[must_use]
    pub fn oldest_said_ms(&self) -> Option<i64> {
        self.entries.first_key_value().map(|(_, entry)| entry.record.said_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::super::note;
    use super::*;
    use crate::bus::JournalLimits;

    #[test]
    fn nothing_is_recorded_for_nobody() {
        let mut journal = Journal::new(JournalLimits { max_reports: 10, max_bytes: 10_000 });
        journal.add_cursor();
        assert_eq!(journal.take_changes(), []);
        journal.record_changes();
        journal.add_cursor();
        note(&mut journal.changes, Change::Missed);
        assert_eq!(journal.take_changes(), [Change::Clouds, Change::Missed]);
        assert_eq!(journal.take_changes(), []);
    }
}
