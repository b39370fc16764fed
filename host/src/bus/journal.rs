//! The journal: every report that some cloud has not acknowledged yet, once, with a cursor for each cloud.
//!
//! Invariants: an entry lives exactly as long as some cursor holds it; entries and bytes never exceed the limits; what
//! is lost is counted with the cloud that lost it. What a value means, and who is connected, is the bus's business.

mod changes;

use std::collections::{BTreeMap, HashMap};

use polylink_plugin_api::{Cause, DatapointId, Origin, Property, Report, ReportBody, Value, WallTime};

pub use self::changes::{Change, Loss, Restored, RestoredCloud};
use super::cursor::Cursor;
pub use super::cursor::Losses;

/// Names a configured cloud, from its declaration to the end of the process, across restarts of its plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloudId(pub usize);

/// How much the journal holds, for all clouds together.
///
/// When it is full, the cloud that holds most gives up its oldest waiting report of the least weight, until there is
/// room: first values of which only the latest counts, then values with history and events, then alarms and faults; what
/// was handed over goes last. A cloud that keeps up is not touched by one that does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalLimits {
    /// Reports.
    pub max_reports: usize,
    /// Bytes, counted with [`report_bytes`].
    pub max_bytes: usize,
}

/// What is lost first when there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Only the latest value counts.
    Latest = 0,
    /// Every value counts, or something happened.
    History = 1,
    /// An alarm, or a fault of the device.
    Alarm = 2,
}

/// One report on its way into the journal.
#[derive(Clone, Debug)]
pub struct Record {
    /// When it was said.
    pub at: WallTime,
    /// When it was said, in milliseconds of the monotonic clock; before its beginning for what an earlier process took.
    pub said_ms: i64,
    /// 0: the device itself.
    pub device: u32,
    /// Why it was said.
    pub cause: Cause,
    /// Whose command caused it, and the command's ticket.
    pub origin: Option<(CloudId, u64)>,
    /// What was said.
    pub body: ReportBody,
    /// What is lost first.
    pub weight: Weight,
    /// The properties in `body` of which a newer value replaces one that still waits.
    pub latest: Box<[DatapointId]>,
}

/// See the module.
#[derive(Debug)]
pub struct Journal {
    limits: JournalLimits,
    entries: BTreeMap<u64, Entry>,
    bytes: usize,
    last_seq: u64,
    cursors: Vec<Cursor>,
    /// The last report with each `latest` datapoint. Only kept for who records changes.
    newest: HashMap<(u32, DatapointId), u64>,
    /// What has changed since it was last asked for; none: nobody asks.
    changes: Option<Vec<Change>>,
}

/// A report that some cursor holds.
#[derive(Debug)]
pub(super) struct Entry {
    pub record: Record,
    pub bytes: usize,
    holders: usize,
}

/// A report as it is handed to one cloud, with its origin still in the bus's words.
#[derive(Clone, Debug, PartialEq)]
pub struct Handed {
    /// The report; `origin` is not filled in.
    pub report: Report,
    /// Whose command caused it.
    pub origin: Option<(CloudId, u64)>,
}

impl Journal {
    /// An empty journal.
    #[must_use]
    pub fn new(limits: JournalLimits) -> Self {
        Self {
            limits,
            entries: BTreeMap::new(),
            bytes: 0,
            last_seq: 0,
            cursors: Vec::new(),
            newest: HashMap::new(),
            changes: None,
        }
    }

    /// Adds a cloud, which gets every report from now on.
    pub fn add_cursor(&mut self) -> CloudId {
        self.cursors.push(Cursor::default());
        note(&mut self.changes, Change::Clouds);
        CloudId(self.cursors.len() - 1)
    }

    /// Keeps nothing for this cloud any more, until [`Journal::admit`].
    pub fn retire(&mut self, cloud: CloudId) {
        if let Some(cursor) = self.cursors.get_mut(cloud.0).filter(|cursor| !cursor.is_retired()) {
            for seq in cursor.retire() {
                release(&mut self.entries, &mut self.bytes, &mut self.changes, seq);
            }
            note(&mut self.changes, Change::Clouds);
        }
    }

    /// Keeps reports for a retired cloud again.
    pub fn admit(&mut self, cloud: CloudId) {
        if let Some(cursor) = self.cursors.get_mut(cloud.0).filter(|cursor| cursor.is_retired()) {
            cursor.admit();
            note(&mut self.changes, Change::Clouds);
        }
    }

    /// Forgets every report for everybody, as when the product changes and the ids mean something else.
    pub fn clear(&mut self) {
        for cursor in &mut self.cursors {
            cursor.clear();
        }
        self.entries.clear();
        self.bytes = 0;
        self.newest.clear();
        note(&mut self.changes, Change::Cleared);
    }

    /// Takes a report for all clouds that are not retired.
    pub fn push(&mut self, record: Record) {
        let bytes = report_bytes(&record.body);
        if bytes > self.limits.max_bytes / LARGEST_SHARE {
            self.cursors.iter_mut().for_each(|cursor| cursor.miss(record.weight));
            note(&mut self.changes, Change::Missed);
            return;
        }
        self.last_seq += 1;
        let seq = self.last_seq;
        let entry = Entry { record, bytes, holders: 0 };
        let mut holders = 0;
        for cursor in &mut self.cursors {
            for gone in cursor.push(seq, &entry, &self.entries) {
                release(&mut self.entries, &mut self.bytes, &mut self.changes, gone);
            }
            holders += usize::from(!cursor.is_retired());
        }
        if holders > 0 {
            self.bytes += bytes;
            if self.changes.is_some() {
                self.newest.extend(entry.record.latest.iter().map(|&id| ((entry.record.device, id), seq)));
            }
            self.entries.insert(seq, Entry { holders, ..entry });
            note(&mut self.changes, Change::Pushed(seq));
            self.make_room();
        }
    }

    /// Hands over the next reports, oldest first, at most `max`, and at most until [`UNSETTLED_MAX`] are unsettled.
    pub fn take(&mut self, cloud: CloudId, max: usize) -> Vec<Handed> {
        let Some(cursor) = self.cursors.get_mut(cloud.0) else { return Vec::new() };
        cursor.take(max, &self.entries)
    }

    /// Whether [`Journal::take`] would hand something over.
    #[must_use]
    pub fn has_more(&self, cloud: CloudId) -> bool {
        self.cursors.get(cloud.0).is_some_and(Cursor::has_more)
    }

    /// Whether nothing is handed over until something is settled.
    #[must_use]
    pub fn is_full(&self, cloud: CloudId) -> bool {
        self.cursors.get(cloud.0).is_some_and(Cursor::is_full)
    }

    /// The cloud has these; they need not come again. Numbers that were not handed to it are ignored.
    pub fn settle(&mut self, cloud: CloudId, seqs: &[u64]) {
        let Some(cursor) = self.cursors.get_mut(cloud.0) else { return };
        for &seq in seqs {
            if cursor.settle(seq, &self.entries) {
                note(&mut self.changes, Change::Settled(cloud, seq));
                release(&mut self.entries, &mut self.bytes, &mut self.changes, seq);
            }
        }
    }

    /// What was handed over and is not settled waits again, in its old order. What a settled newer value has overtaken
    /// does not.
    pub fn rewind(&mut self, cloud: CloudId) {
        let Some(cursor) = self.cursors.get_mut(cloud.0) else { return };
        for seq in cursor.rewind(&self.entries) {
            release(&mut self.entries, &mut self.bytes, &mut self.changes, seq);
        }
    }

    /// How many reports wait for this cloud, and how many are handed over and unsettled.
    #[must_use]
    pub fn backlog(&self, cloud: CloudId) -> (usize, usize) {
        self.cursors.get(cloud.0).map_or((0, 0), Cursor::backlog)
    }

    /// How many reports this cloud has settled so far.
    #[must_use]
    pub fn n_settled(&self, cloud: CloudId) -> u64 {
        self.cursors.get(cloud.0).map_or(0, |cursor| cursor.n_settled)
    }

    /// When the oldest report that this cloud has not settled was said.
    #[must_use]
    pub fn oldest_at(&self, cloud: CloudId) -> Option<WallTime> {
        let oldest = self.cursors.get(cloud.0)?.oldest()?;
        Some(self.entries.get(&oldest)?.record.at)
    }

    /// What this cloud has lost so far.
    #[must_use]
    pub fn losses(&self, cloud: CloudId) -> Losses {
        self.cursors.get(cloud.0).map_or_else(Losses::default, |cursor| cursor.losses)
    }

    /// Reports and bytes held now.
    #[must_use]
    pub fn usage(&self) -> (usize, usize) {
        (self.entries.len(), self.bytes)
    }

    /// Takes a report away from a cloud, and counts that.
    fn lose(&mut self, cloud: CloudId, seq: u64) {
        if let Some(loss) = self.cursors[cloud.0].lose(seq, &self.entries) {
            note(&mut self.changes, Change::Lost(cloud, seq, loss));
            release(&mut self.entries, &mut self.bytes, &mut self.changes, seq);
        }
    }

    fn make_room(&mut self) {
        loop {
            let too_many = self.entries.len() > self.limits.max_reports;
            if !too_many && self.bytes <= self.limits.max_bytes {
                return;
            }
            let holds = |at: &usize| self.cursors[*at].holds(too_many);
            let Some(heaviest) = (0..self.cursors.len()).max_by_key(holds) else { return };
            let Some(seq) = self.cursors[heaviest].next_to_lose() else { return };
            self.lose(CloudId(heaviest), seq);
        }
    }
}

/// Bytes that a report is counted with: its heap memory and a flat share for the bookkeeping.
#[must_use]
pub fn report_bytes(body: &ReportBody) -> usize {
    let properties = |properties: &[Property]| -> usize {
        properties.iter().map(|property| size_of::<Property>() + value_bytes(&property.value)).sum()
    };
    ENTRY_BYTES
        + match body {
            ReportBody::Properties(list) | ReportBody::Event { params: list, .. } => properties(list),
            ReportBody::Raw(bytes) => bytes.len(),
        }
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Text(text) | Value::Json(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        _ => 0,
    }
}

fn release(entries: &mut BTreeMap<u64, Entry>, bytes: &mut usize, changes: &mut Option<Vec<Change>>, seq: u64) {
    if let Some(entry) = entries.get_mut(&seq) {
        entry.holders -= 1;
        if entry.holders == 0 {
            *bytes -= entry.bytes;
            entries.remove(&seq);
            note(changes, Change::Gone(seq));
        }
    }
}

fn note(changes: &mut Option<Vec<Change>>, change: Change) {
    if let Some(changes) = changes {
        changes.push(change);
    }
}

impl Entry {
    /// The report without the properties in `left_out`, and without an origin.
    pub(super) fn hand(&self, seq: u64, left_out: &[DatapointId]) -> Handed {
        let record = &self.record;
        let body = match &record.body {
            ReportBody::Properties(list) if !left_out.is_empty() => {
                ReportBody::Properties(list.iter().filter(|one| !left_out.contains(&one.id)).cloned().collect())
            }
            body => body.clone(),
        };
        let report =
            Report { seq, at: record.at, device: record.device, cause: record.cause, origin: Origin::default(), body };
        Handed { report, origin: record.origin }
    }

    /// How many parts of the report can be left out one by one: none, where it does not hold properties.
    pub(super) fn n_properties(&self) -> usize {
        match &self.record.body {
            ReportBody::Properties(list) => list.len(),
            _ => 0,
        }
    }
}

/// Most reports that are handed over and unsettled at a time for one cloud; more wait in the journal. Not documented;
/// chosen by us: several seconds of a fast device, and little enough to send again after a restart.
pub const UNSETTLED_MAX: usize = 256;

/// A report of more than this share of the journal's bytes is lost at once, or it would drive out everything else. Not
/// documented; chosen by us.
const LARGEST_SHARE: usize = 4;

/// Flat share of one report for the journal's bookkeeping: the entry and its place in the cursors of some clouds. Not
/// documented; estimated by us from the sizes of the types.
const ENTRY_BYTES: usize = 96;

#[cfg(test)]
mod tests;
