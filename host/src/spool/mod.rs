//! The journal on two tiers: what the host has acknowledged to the MCU survives the end of the process at once, and a power
//! cut as soon as some cloud is behind.
//!
//! One log of numbered segments. Every report is written into a file in memory (tmpfs) before the MCU gets its
//! acknowledgement: a killed host finds it again, and flash never sees it when all clouds keep up. When the oldest
//! report has waited for [`SpoolSettings::spill_after_ms`], what waits is handed to flash, and so is everything after it
//! until the clouds have caught up; then flash is cleared. A writer that may block works through [`FlashJob`]s: events and alarms
//! at once, values once in [`SpoolSettings::sync_interval_ms`], so a power cut costs at most the values of that time.
//! What flash has safely leaves memory.
//!
//! Each segment begins with a checkpoint: who holds which report. So a segment is needed only as long as some cloud has
//! not settled a report in it, and every other file may be missing. What is bounded, and lost first, is decided by the
//! journal in RAM ([`crate::bus::journal`]), never here: a disk that fails costs safety, not reports. It is tried
//! again after [`RETRY_MS`].
//!
//! Methods that take the bus are called under its lock, in the order in which it changes; they write into memory and
//! never wait for flash.

mod bytes;
mod frame;
mod log;
mod record;
mod recover;
mod segments;
mod tiers;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use polylink_plugin_api::Timestamp;
use tracing::{info, warn};

use self::log::Current;
use self::record::{Settled, Stored};
use self::recover::{Found, FoundSegment};
use self::segments::{Flash, Segment, Segments};
use self::writer::Op;
pub use self::writer::{FlashDone, FlashJob};
use crate::bus::journal::{Record, Restored, Weight};
use crate::bus::{Bus, CloudId};
use crate::disk::Disk;

/// How the journal is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoolSettings {
    /// Whether flash is used at all.
    pub flash: bool,
    /// Bytes on flash.
    pub flash_max_bytes: u64,
    /// Reports that waited for so long, while a host was running, are given up.
    pub max_age_ms: u64,
    /// Flash is used when the oldest report has waited for so long.
    pub spill_after_ms: u64,
    /// Values wait so long for their way to flash.
    pub sync_interval_ms: u64,
    /// A segment is closed when it is longer, [`SEGMENT_BYTES`] but in tests.
    pub segment_bytes: u64,
}

/// What the journal on disks is doing, and what it did since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpoolUsage {
    /// Where new reports go: `memory`, `flash` or `none`.
    pub tier: &'static str,
    /// Bytes of the segments in memory.
    pub memory_bytes: u64,
    /// Bytes of the segments on flash, or on their way there.
    pub flash_bytes: u64,
    /// Bytes of reports, each once, as they are stored.
    pub report_bytes: u64,
    /// Bytes written to memory.
    pub memory_written: u64,
    /// Bytes written to flash.
    pub flash_written: u64,
    /// How often flash was made to write.
    pub flash_syncs: u64,
    /// Times that a disk failed.
    pub errors: u64,
    /// Reports that an earlier process left and that go on to clouds.
    pub restored: u64,
    /// Reports that an earlier process left for clouds that are no longer there, or for another product.
    pub dropped: u64,
    /// Pieces of the journal that could not be read.
    pub broken: u64,
}

/// See the module.
pub struct Spool {
    settings: SpoolSettings,
    memory: Arc<dyn Disk>,
    opened: Timestamp,
    /// The journal's own time at [`Spool::opened`]: it counts while a host runs, and no clock can make it jump.
    opened_s: u64,
    /// What an earlier process left, until the product is known.
    found: Option<Found>,
    /// Digest of the product; none: it is not known yet, and nothing is written.
    product: Option<u64>,
    segments: Segments,
    current: Option<Current>,
    next_number: u64,
    /// The next write begins a new segment.
    roll_due: bool,
    /// Not written yet, and since when.
    settled: BTreeMap<CloudId, Settled>,
    settled_since: Option<Timestamp>,
    /// Reports go to flash, too.
    on_flash: bool,
    /// The tier failed, and is tried again then.
    memory_retry: Option<Timestamp>,
    flash_retry: Option<Timestamp>,
    /// The log was told.
    memory_failing: bool,
    flash_failing: bool,
    /// Segments that should not be on flash any more and perhaps are.
    litter: BTreeSet<u64>,
    /// For the next job.
    outgoing: Vec<Op>,
    outgoing_bytes: usize,
    outgoing_since: Option<Timestamp>,
    urgent: bool,
    /// A job is under way.
    busy: bool,
    usage: SpoolUsage,
}

impl Spool {
    /// Reads what an earlier process left; blocks. Nothing is written before [`Spool::restore`].
    #[must_use]
    pub fn open(settings: SpoolSettings, memory: Arc<dyn Disk>, flash: &dyn Disk, now: Timestamp) -> Self {
        let found = recover::recover(&*memory, flash);
        let usage = SpoolUsage { broken: found.n_broken, ..SpoolUsage::default() };
        Self {
            settings,
            memory,
            opened: now,
            opened_s: found.time_s,
            next_number: found.segments.keys().next_back().map_or(1, |last| last.saturating_add(1)),
            found: Some(found),
            product: None,
            segments: Segments::default(),
            current: None,
            roll_due: true,
            settled: BTreeMap::new(),
            settled_since: None,
            on_flash: false,
            memory_retry: None,
            flash_retry: None,
            memory_failing: false,
            flash_failing: false,
            litter: BTreeSet::new(),
            outgoing: Vec::new(),
            outgoing_bytes: 0,
            outgoing_since: None,
            urgent: false,
            busy: false,
            usage,
        }
    }

    /// The product and its clouds are known: gives back what an earlier process left for them. To be called before a
    /// report of this product enters the journal; again and again does no harm.
    pub fn restore(&mut self, bus: &mut Bus, now: Timestamp) {
        let (Some(product), None) = (bus.product(), self.product) else { return };
        let digest = product.digest();
        self.product = Some(digest);
        let Some(mut found) = self.found.take() else { return };
        let segments = std::mem::take(&mut found.segments);
        if found.product.is_some_and(|other| other != digest) {
            self.set_aside(&found, segments.keys().copied().collect(), now);
            return;
        }
        let (n_found, homes) = (found.reports.len(), std::mem::take(&mut found.homes));
        self.usage.dropped = bus.restore(self.restored(found, now));
        bus.take_changes();
        self.usage.restored = bus.journal().records().count() as u64;
        for (number, found) in segments {
            self.take_over(number, found);
        }
        for (seq, _) in bus.journal().records() {
            if let Some(&(number, bytes)) = homes.get(&seq) {
                self.segments.house(seq, number, bytes);
            }
        }
        if n_found > 0 {
            let (restored, dropped) = (self.usage.restored, self.usage.dropped);
            info!(restored, dropped, "reports of the host's last run are taken up again");
        }
        // What stands on flash alone goes on there; a power cut must not cost now what it could not cost before.
        let only_on_flash = |segment: &Segment| segment.live > 0 && !segment.memory;
        self.on_flash = self.settings.flash && self.segments.iter().any(|(_, segment)| only_on_flash(segment));
        self.move_in(bus, now);
    }

    /// How things stand.
    #[must_use]
    pub fn usage(&self) -> SpoolUsage {
        let tier = match (self.on_flash, self.memory_retry) {
            (true, _) => "flash",
            (false, None) => "memory",
            (false, Some(_)) => "none",
        };
        let (memory_bytes, flash_bytes) = (self.segments.memory_bytes(), self.segments.flash_bytes());
        SpoolUsage { tier, memory_bytes, flash_bytes, ..self.usage.clone() }
    }

    fn restored(&self, found: Found, now: Timestamp) -> Restored {
        let now_ms = i64::try_from(now.0).unwrap_or(i64::MAX);
        let said_ms = |said_s: u64| {
            let age_s = found.time_s.saturating_sub(said_s);
            now_ms.saturating_sub(i64::try_from(age_s.saturating_mul(1000)).unwrap_or(i64::MAX))
        };
        let record = |stored: Stored| Record {
            at: stored.at,
            said_ms: said_ms(stored.said_s),
            device: stored.device,
            cause: stored.cause,
            // Tickets end with the process that gave them.
            origin: None,
            body: stored.body,
            // The bus knows.
            weight: Weight::History,
            latest: Box::default(),
        };
        Restored {
            last_seq: found.last_seq.saturating_add(SEQ_GAP),
            reports: found.reports.into_iter().map(|(seq, stored)| (seq, record(stored))).collect(),
            newest: found.newest,
            clouds: found
                .clouds
                .into_iter()
                .map(|(name, (held, losses))| {
                    (name, crate::bus::journal::RestoredCloud { held: held.into_iter().collect(), losses })
                })
                .collect(),
        }
    }

    fn take_over(&mut self, number: u64, found: FoundSegment) {
        let bytes = found.memory.or(found.flash).unwrap_or(0);
        // A copy is only mentioned if it says as much as the other.
        let flash = if found.flash.is_some() { Flash::Carried { safe: bytes } } else { Flash::Absent };
        self.segments.add(number, Segment { bytes, memory: found.memory.is_some(), flash, ..Segment::default() });
        if found.flash_is_behind {
            self.litter.insert(number);
        }
    }

    /// What belongs to another product is kept for who wants to look at it, until the next time.
    fn set_aside(&mut self, found: &Found, segments: Vec<u64>, now: Timestamp) {
        if segments.is_empty() {
            return;
        }
        self.usage.dropped = found.clouds.values().map(|(held, _)| held.len() as u64).sum();
        warn!(reports = self.usage.dropped, "the journal is of another product and is set aside");
        // What stays in memory goes with the next start of the machine.
        let result = writer::forget_aside(&*self.memory)
            .and_then(|()| segments.iter().try_for_each(|&number| writer::set_aside(&*self.memory, number)));
        if let Err(error) = result {
            self.memory_failed(now, &error);
        }
        self.outgoing.extend(segments.into_iter().map(Op::SetAside));
        self.outgoing_since.get_or_insert(now);
    }
}

/// Numbers of reports that are left out after a restart: those of reports that a power cut took away may have been seen by
/// clouds. Not documented; chosen by us: more reports than a sync interval has.
const SEQ_GAP: u64 = 1 << 16;

/// Length of a segment. Chosen by us: some hundred reports, so that one report which nobody settles keeps little else, and a
/// checkpoint is rare; a whole number of the erase blocks of small NOR flash.
pub const SEGMENT_BYTES: u64 = 64 * 1024;

/// How long a disk that failed is left alone. Not documented; chosen by us: what a person needs to make room, and rare
/// enough for a log.
const RETRY_MS: u64 = 60_000;

#[cfg(test)]
mod tests;
