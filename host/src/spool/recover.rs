//! What an earlier process has left: segments of both tiers, read as one log.
//!
//! Two passes: the first finds out who holds what, the second takes only the reports that somebody holds, so that memory
//! stays with what waits, however much was written. Nothing that stands in a file can stop it: what cannot be read is left
//! out and counted.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;

use polylink_plugin_api::{DatapointId, ReportBody};
use tracing::warn;

use super::frame::{self, FRAME_BYTES, Kind};
use super::record::{Stored, decode_checkpoint, decode_report, decode_settled};
use crate::bus::Losses;
use crate::disk::Disk;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Digest of the product that it belongs to; none: nothing was found.
    pub product: Option<u64>,
    /// The journal's own time.
    pub time_s: u64,
    /// The highest number of a report.
    pub last_seq: u64,
    /// Reports that somebody holds.
    pub reports: BTreeMap<u64, Stored>,
    /// The last report with each datapoint.
    pub newest: HashMap<(u32, DatapointId), u64>,
    /// What clouds hold, and what they have lost.
    pub clouds: BTreeMap<String, (BTreeSet<u64>, Losses)>,
    /// Every segment there is.
    pub segments: BTreeMap<u64, FoundSegment>,
    /// Where the reports stand, and with how many bytes.
    pub homes: BTreeMap<u64, (u64, u64)>,
    /// Stretches of segments that could not be read.
    pub n_broken: u64,
}

/// One segment, with the length of its copy in each tier. A copy that says less than the other is not mentioned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FoundSegment {
    /// In memory.
    pub memory: Option<u64>,
    /// On flash.
    pub flash: Option<u64>,
    /// There is a copy on flash that says less than the one in memory.
    pub flash_is_behind: bool,
}

/// Reads both tiers; blocks.
pub(super) fn recover(memory: &dyn Disk, flash: &dyn Disk) -> Found {
    let mut found = Found::default();
    let numbers: BTreeSet<u64> = numbers(memory).into_iter().chain(numbers(flash)).collect();
    for number in numbers {
        let Some((segment, bytes)) = read_segment(memory, flash, number) else { continue };
        found.segments.insert(number, segment);
        found.follow(number, &bytes);
    }
    let held: BTreeSet<u64> = found.clouds.values().flat_map(|(held, _)| held.iter().copied()).collect();
    for (number, segment) in found.segments.clone() {
        let disk = if segment.memory.is_some() { memory } else { flash };
        if !held.is_empty() {
            found.collect(number, &read_file(disk, &name(number)).unwrap_or_default(), &held);
        }
    }
    found
}

/// The file of a segment.
pub(super) fn name(number: u64) -> String {
    format!("{number:016x}{SUFFIX}")
}

/// Numbers of the segments of one tier.
fn numbers(disk: &dyn Disk) -> Vec<u64> {
    let names = disk.list().unwrap_or_else(|error| {
        warn!(directory = disk.shown(""), %error, "a part of the journal cannot be read and counts as empty");
        Vec::new()
    });
    let number = |file: &String| {
        let number = u64::from_str_radix(file.strip_suffix(SUFFIX)?, 16).ok()?;
        (*file == name(number) && number <= NUMBER_MAX).then_some(number)
    };
    names.iter().filter_map(number).collect()
}

/// The better copy of a segment. A file that is none is moved out of the way; the last such one is kept.
fn read_segment(memory: &dyn Disk, flash: &dyn Disk, number: u64) -> Option<(FoundSegment, Vec<u8>)> {
    let read = |disk: &dyn Disk| match read_file(disk, &name(number)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Ok(bytes) if frame::scan(number, &bytes).is_some() => Some(bytes),
        // What a power cut leaves of a segment that had only just begun.
        Ok(bytes) if bytes.iter().all(|&byte| byte == 0) || frame::MAGIC.starts_with(&bytes) => Some(Vec::new()),
        _ => {
            let moved = disk.rename(&name(number), ASIDE);
            let file = disk.shown(&if moved.is_ok() { ASIDE.to_owned() } else { name(number) });
            warn!(file, "a file in the place of a part of the journal is none");
            None
        }
    };
    let n_frames = |bytes: &Vec<u8>| frame::scan(number, bytes).map_or(0, |scan| scan.frames.len());
    let length = |bytes: &Vec<u8>| Some(bytes.len() as u64);
    Some(match (read(memory), read(flash)) {
        (None, None) => return None,
        (Some(bytes), None) => (FoundSegment { memory: length(&bytes), ..FoundSegment::default() }, bytes),
        (None, Some(bytes)) => (FoundSegment { flash: length(&bytes), ..FoundSegment::default() }, bytes),
        (Some(in_memory), Some(on_flash)) => match n_frames(&in_memory).cmp(&n_frames(&on_flash)) {
            std::cmp::Ordering::Less => {
                (FoundSegment { flash: length(&on_flash), ..FoundSegment::default() }, on_flash)
            }
            std::cmp::Ordering::Equal => {
                let segment =
                    FoundSegment { memory: length(&in_memory), flash: length(&on_flash), flash_is_behind: false };
                (segment, in_memory)
            }
            std::cmp::Ordering::Greater => {
                (FoundSegment { memory: length(&in_memory), flash: None, flash_is_behind: true }, in_memory)
            }
        },
    })
}

/// A file, with zeros where it cannot be read.
fn read_file(disk: &dyn Disk, name: &str) -> io::Result<Vec<u8>> {
    let size = disk.size(name)?;
    if size > FILE_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it has {size} bytes, at most {FILE_MAX} are read"),
        ));
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    if let Ok(n) = disk.read_at(name, 0, &mut bytes) {
        bytes.truncate(n);
        return Ok(bytes);
    }
    for (at, sector) in bytes.chunks_mut(SECTOR_BYTES).enumerate() {
        if let Err(error) = disk.read_at(name, (at * SECTOR_BYTES) as u64, sector) {
            warn!(file = disk.shown(name), %error, "a part of the journal cannot be read");
            sector.fill(0);
        }
    }
    Ok(bytes)
}

impl Found {
    /// First pass: who holds what.
    fn follow(&mut self, number: u64, bytes: &[u8]) {
        let Some(scan) = frame::scan(number, bytes) else { return };
        self.n_broken += scan.n_broken;
        // What settled records call clouds by. Without the segment's own checkpoint nobody knows whom they mean.
        let mut table: Option<Vec<String>> = None;
        for (kind, payload) in scan.frames {
            match kind {
                Kind::Checkpoint => {
                    let Some(checkpoint) = decode_checkpoint(payload) else { continue };
                    if self.product.replace(checkpoint.product) != Some(checkpoint.product) {
                        self.newest.clear();
                    }
                    self.time_s = self.time_s.max(checkpoint.time_s);
                    self.last_seq = self.last_seq.max(checkpoint.last_seq);
                    checkpoint.newest.into_iter().for_each(|(key, seq)| self.said(key, seq));
                    table = Some(checkpoint.clouds.iter().map(|cloud| cloud.name.clone()).collect());
                    let cloud = |cloud: super::record::CloudState| {
                        (cloud.name, (cloud.held.into_iter().collect(), cloud.losses))
                    };
                    self.clouds = checkpoint.clouds.into_iter().map(cloud).collect();
                }
                Kind::Report => {
                    let Some(report) = decode_report(payload) else { continue };
                    self.note(&report);
                    for (name, (held, _)) in &mut self.clouds {
                        if table.as_ref().is_none_or(|table| table.contains(name)) {
                            held.insert(report.seq);
                        }
                    }
                }
                Kind::Kept => {
                    if let Some(report) = decode_report(payload) {
                        self.note(&report);
                    }
                }
                Kind::Settled => {
                    let (Some(table), Some(settled)) = (&table, decode_settled(payload)) else { continue };
                    for one in settled {
                        let cloud = table.get(one.cloud).and_then(|name| self.clouds.get_mut(name));
                        let Some((held, losses)) = cloud else { continue };
                        one.settled.iter().for_each(|seq| {
                            held.remove(seq);
                        });
                        for (seq, loss) in one.lost {
                            if held.remove(&seq) {
                                losses.add(loss);
                            }
                        }
                    }
                }
            }
        }
    }

    fn note(&mut self, report: &Stored) {
        self.time_s = self.time_s.max(report.said_s);
        self.last_seq = self.last_seq.max(report.seq);
        if let ReportBody::Properties(list) = &report.body {
            list.iter().for_each(|property| self.said((report.device, property.id), report.seq));
        }
    }

    fn said(&mut self, key: (u32, DatapointId), seq: u64) {
        let newest = self.newest.entry(key).or_insert(seq);
        *newest = seq.max(*newest);
    }

    /// Second pass: the reports that somebody holds.
    fn collect(&mut self, number: u64, bytes: &[u8], held: &BTreeSet<u64>) {
        let frames = frame::scan(number, bytes).map(|scan| scan.frames).unwrap_or_default();
        for (_, payload) in frames.into_iter().filter(|(kind, _)| matches!(kind, Kind::Report | Kind::Kept)) {
            if let Some(report) = decode_report(payload).filter(|report| held.contains(&report.seq)) {
                self.homes.insert(report.seq, (number, (payload.len() + FRAME_BYTES) as u64));
                self.reports.insert(report.seq, report);
            }
        }
    }
}

/// Highest number of a segment: more than any flash lives to see, and one can always be added. Others are left alone.
const NUMBER_MAX: u64 = 1 << 48;

/// End of the names of segments. Chosen by us.
const SUFFIX: &str = ".plj";

/// The last file that was in the place of a segment and is none.
pub(super) const ASIDE: &str = "~foreign";

/// Longest file that is read. Chosen by us: a segment is closed soon after 64 KiB, unless one report is as long as this.
const FILE_MAX: u64 = 40 << 20;

/// What is given up where something cannot be read: a page of memory, which holds the sectors of all usual disks.
const SECTOR_BYTES: usize = 4096;
