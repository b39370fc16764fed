//! Writing the log: reports and what is settled, segment after segment.

use polylink_plugin_api::{ReportBody, Timestamp};
use tracing::{debug, warn};

use super::frame::{self, FRAME_BYTES, Kind};
use super::record::{Checkpoint, CloudState, Settled, encode_checkpoint, encode_report, encode_settled};
use super::recover::name;
use super::segments::{Flash, Segment};
use super::writer::Op;
use super::{RETRY_MS, Spool};
use crate::bus::journal::{Change, Record, Weight};
use crate::bus::{Bus, CloudId};
use crate::disk::DiskFile;

/// The segment that is written.
pub(super) struct Current {
    pub number: u64,
    /// The clouds of its checkpoint, in that order.
    clouds: Vec<CloudId>,
    /// In memory; none: it is on flash alone.
    pub file: Option<Box<dyn DiskFile>>,
}

impl Spool {
    /// Writes what has changed in the journal. Reports are in memory when this returns, unless memory has failed; what
    /// was settled follows with the next report, or soon.
    pub fn follow(&mut self, bus: &mut Bus, now: Timestamp) {
        let changes = bus.take_changes();
        if changes.is_empty() || self.product.is_none() {
            return;
        }
        let mut pushed = Vec::new();
        let mut gone = Vec::new();
        for change in changes {
            match change {
                Change::Pushed(seq) => pushed.push(seq),
                Change::Gone(seq) => gone.push(seq),
                Change::Settled(cloud, seq) => self.note(cloud, now).settled.push(seq),
                Change::Lost(cloud, seq, loss) => self.note(cloud, now).lost.push((seq, loss)),
                Change::Clouds => self.roll_due = true,
                // The losses are part of the next checkpoint.
                Change::Missed => {}
                Change::Cleared => {
                    self.product = bus.product().map(|product| product.digest());
                    self.segments.all_gone();
                    self.settled.clear();
                    (pushed, gone) = (Vec::new(), Vec::new());
                    self.roll_due = true;
                }
            }
        }
        if !pushed.is_empty() {
            self.write(bus, now, &pushed, Kind::Report);
        }
        gone.into_iter().for_each(|seq| self.segments.gone(seq));
        if !pushed.is_empty() {
            self.remove_dead(now);
        }
    }

    fn note(&mut self, cloud: CloudId, now: Timestamp) -> &mut Settled {
        self.settled_since.get_or_insert(now);
        self.settled.entry(cloud).or_default()
    }

    /// Writes these reports and what was settled, into new segments as they fill up.
    pub(super) fn write(&mut self, bus: &Bus, now: Timestamp, seqs: &[u64], kind: Kind) {
        if self.memory_retry.is_some() && !self.on_flash {
            // There is nowhere to write to; when there is, everything that waits moves in.
            self.current = None;
            self.settled.clear();
            self.settled_since = None;
            return;
        }
        let mut bytes = Vec::new();
        for (at, &seq) in seqs.iter().enumerate() {
            let Some(record) = bus.journal().record(seq) else { continue };
            let number = self.make_current(bus, now, &mut bytes);
            let payload = encode_report(seq, self.said_s(record), record);
            let length = (payload.len() + FRAME_BYTES) as u64;
            if !frame::put_frame(&mut bytes, number, kind, &payload) {
                debug!(seq, "a report is too long to be stored");
                continue;
            }
            self.urgent |= self.on_flash && is_urgent(record);
            self.segments.house(seq, number, length);
            if kind == Kind::Report {
                self.usage.report_bytes += payload.len() as u64;
            }
            if self.length(number) + bytes.len() as u64 >= self.settings.segment_bytes && at + 1 < seqs.len() {
                self.put(now, number, std::mem::take(&mut bytes));
                self.roll_due = true;
            }
        }
        let number = self.make_current(bus, now, &mut bytes);
        self.put_settled(number, &mut bytes);
        self.put(now, number, bytes);
        if self.length(number) >= self.settings.segment_bytes {
            self.roll_due = true;
        }
    }

    /// The segment to write into; a new one begins in `bytes`, which must be empty then.
    fn make_current(&mut self, bus: &Bus, now: Timestamp, bytes: &mut Vec<u8>) -> u64 {
        if let Some(current) = self.current.as_ref().filter(|_| !self.roll_due) {
            return current.number;
        }
        self.roll_due = false;
        let number = self.next_number;
        self.next_number = number.saturating_add(1);
        let clouds: Vec<(CloudId, &str)> = bus.kept_for().collect();
        let state = |&(cloud, name): &(CloudId, &str)| CloudState {
            name: name.to_owned(),
            losses: bus.journal().losses(cloud),
            held: bus.journal().held(cloud),
        };
        let checkpoint = Checkpoint {
            product: self.product.unwrap_or_default(),
            time_s: self.time_s(now),
            last_seq: bus.journal().last_seq(),
            newest: bus.journal().newest(),
            clouds: clouds.iter().map(state).collect(),
        };
        bytes.extend_from_slice(frame::MAGIC);
        if !frame::put_frame(bytes, number, Kind::Checkpoint, &encode_checkpoint(&checkpoint)) {
            // Only a journal of millions of reports with gaps between them all would get there.
            warn!("the journal is too large for a checkpoint; a restart will deliver some reports again");
        }
        let file = match self.memory_retry {
            Some(_) => None,
            None => match self.memory.create(&name(number)) {
                Ok(file) => Some(file),
                Err(error) => {
                    self.memory_failed(now, &error);
                    None
                }
            },
        };
        let flash = if self.on_flash { Flash::Carried { safe: 0 } } else { Flash::Absent };
        self.segments.add(number, Segment { memory: file.is_some(), flash, ..Segment::default() });
        self.current = Some(Current { number, clouds: clouds.into_iter().map(|(cloud, _)| cloud).collect(), file });
        number
    }

    fn put_settled(&mut self, number: u64, bytes: &mut Vec<u8>) {
        let Some(current) = &self.current else { return };
        let mut clouds = Vec::new();
        for (cloud, mut settled) in std::mem::take(&mut self.settled) {
            if let Some(place) = current.clouds.iter().position(|one| *one == cloud) {
                settled.cloud = place;
                settled.settled.sort_unstable();
                clouds.push(settled);
            }
        }
        self.settled_since = None;
        if !clouds.is_empty() && !frame::put_frame(bytes, number, Kind::Settled, &encode_settled(&clouds)) {
            self.roll_due = true;
        }
    }

    /// Adds bytes to the segment, in each tier that it is in.
    fn put(&mut self, now: Timestamp, number: u64, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        if let Some(file) = self.current.as_mut().and_then(|current| current.file.as_mut()) {
            match file.write(&bytes) {
                Ok(()) => self.usage.memory_written += bytes.len() as u64,
                Err(error) => self.memory_failed(now, &error),
            }
        }
        self.segments.grow(number, bytes.len() as u64);
        if self.on_flash {
            self.outgoing_bytes += bytes.len();
            self.outgoing_since.get_or_insert(now);
            self.outgoing.push(Op::Append { number, bytes });
            if self.busy && self.outgoing_bytes > OUTGOING_MAX {
                self.flash_failed(now, &"it takes less than there is to write");
            }
        }
    }

    /// Memory takes nothing any more; its copy of the current segment ends somewhere.
    pub(super) fn memory_failed(&mut self, now: Timestamp, error: &dyn std::fmt::Display) {
        self.usage.errors += 1;
        self.memory_retry = Some(now.after(RETRY_MS));
        if !std::mem::replace(&mut self.memory_failing, true) {
            let directory = self.memory.shown("");
            warn!(directory, %error, "the journal in memory fails: new reports do not survive a crash of the host");
        }
        if let Some(current) = &mut self.current {
            current.file = None;
            let number = current.number;
            if let Some(segment) = self.segments.get_mut(number) {
                segment.memory = false;
            }
            // A full file system gets back what the attempt took.
            let _ = self.memory.remove(&name(number));
            self.roll_due = true;
        }
    }

    /// Writes everything that waits and stands where `must_move` into new segments, and removes what nobody needs then.
    pub(super) fn move_out(&mut self, bus: &Bus, now: Timestamp, must_move: impl Fn(&Segment) -> bool) {
        let is_homeless = |seq: u64| self.segments.home(seq).is_none_or(&must_move);
        let seqs: Vec<u64> = bus.journal().records().map(|(seq, _)| seq).filter(|&seq| is_homeless(seq)).collect();
        self.roll_due = true;
        self.write(bus, now, &seqs, Kind::Kept);
        self.remove_dead(now);
    }

    /// Removes segments that nobody needs; what says so is written already.
    pub(super) fn remove_dead(&mut self, now: Timestamp) {
        if !self.settled.is_empty() {
            return;
        }
        for number in self.segments.dead(self.current.as_ref().map(|current| current.number)) {
            let Some(segment) = self.segments.remove(number) else { continue };
            if segment.memory {
                self.remove_from_memory(number);
            }
            if segment.is_carried() {
                self.remove_from_flash(number, now);
            }
        }
    }

    pub(super) fn remove_from_memory(&mut self, number: u64) {
        if let Err(error) = self.memory.remove(&name(number)) {
            self.usage.errors += 1;
            debug!(%error, "a file that is not needed stays");
        }
    }

    /// To be done by the next job; what was to be written into it need not be any more.
    pub(super) fn remove_from_flash(&mut self, number: u64, now: Timestamp) {
        self.outgoing.retain(|op| !matches!(op, Op::Append { number: other, .. } if *other == number));
        self.outgoing_bytes = self.outgoing.iter().map(Op::n_bytes).sum();
        self.litter.insert(number);
        self.outgoing.push(Op::Remove(number));
        self.outgoing_since.get_or_insert(now);
    }

    fn length(&self, number: u64) -> u64 {
        self.segments.iter().find(|(one, _)| *one == number).map_or(0, |(_, segment)| segment.bytes)
    }

    /// The journal's own time.
    fn time_s(&self, now: Timestamp) -> u64 {
        self.opened_s.saturating_add(now.since(self.opened) / 1000)
    }

    fn said_s(&self, record: &Record) -> u64 {
        let opened_ms = i64::try_from(self.opened.0).unwrap_or(i64::MAX);
        self.opened_s.saturating_add_signed(record.said_ms.saturating_sub(opened_ms).div_euclid(1000))
    }
}

/// What must not wait for its way to flash.
fn is_urgent(record: &Record) -> bool {
    record.weight == Weight::Alarm || matches!(record.body, ReportBody::Event { .. })
}

/// Most bytes that wait while flash is at work; one that is slower is given up for a while, and what waits stays in memory.
/// Chosen by us: many seconds of a fast device.
const OUTGOING_MAX: usize = 512 * 1024;
