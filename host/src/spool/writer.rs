//! What is done on flash, off everybody's path: writes, one sync for all of them, and only then removals.

use std::collections::BTreeMap;
use std::io;

use super::recover::name;
use crate::disk::{Disk, DiskFile};

/// One thing to do on flash.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// Adds this to a segment, which is new if it is not there.
    Append { number: u64, bytes: Vec<u8> },
    /// Removes a segment.
    Remove(u64),
    /// Moves a segment out of the way; the ones that were moved before go for it.
    SetAside(u64),
}

/// Work for whoever may block; the bus goes on meanwhile.
#[derive(Debug, Default)]
pub struct FlashJob {
    pub(super) ops: Vec<Op>,
}

/// What became of a job.
#[derive(Debug)]
pub struct FlashDone {
    /// Bytes of each segment that last now, beyond those that did.
    pub(super) written: BTreeMap<u64, u64>,
    /// Removals that were asked for.
    pub(super) removed: Vec<u64>,
    /// Bytes that were given to the file system.
    pub(super) n_bytes: u64,
    /// How often the file system was made to write.
    pub(super) n_syncs: u64,
    pub(super) result: io::Result<()>,
}

impl FlashJob {
    /// Does it; blocks. After an error, what was asked for and not done is not done.
    #[must_use]
    pub fn carry_out(self, disk: &dyn Disk) -> FlashDone {
        let mut done = FlashDone {
            written: BTreeMap::new(),
            removed: self.ops.iter().filter_map(Op::removes).collect(),
            n_bytes: 0,
            n_syncs: 0,
            result: Ok(()),
        };
        done.result = done.work(self.ops, disk);
        done
    }
}

impl Op {
    /// Bytes that it writes.
    pub fn n_bytes(&self) -> usize {
        match self {
            Self::Append { bytes, .. } => bytes.len(),
            _ => 0,
        }
    }

    fn removes(&self) -> Option<u64> {
        match self {
            Self::Remove(number) => Some(*number),
            _ => None,
        }
    }
}

impl FlashDone {
    /// For a job that did not even begin, or of which nobody knows how it ended.
    #[must_use]
    pub fn failed(error: io::Error) -> Self {
        Self { written: BTreeMap::new(), removed: Vec::new(), n_bytes: 0, n_syncs: 0, result: Err(error) }
    }

    fn work(&mut self, ops: Vec<Op>, disk: &dyn Disk) -> io::Result<()> {
        let (mut appends, mut others) = (BTreeMap::<u64, Vec<u8>>::new(), Vec::new());
        for op in ops {
            match op {
                Op::Append { number, bytes } => appends.entry(number).or_default().extend(bytes),
                other => others.push(other),
            }
        }
        if !appends.is_empty() && disk.space()?.free < RESERVE_BYTES {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut created = Vec::new();
        if let Err(error) = self.append(appends, &mut created, disk) {
            // A full file system gets back what the attempt took.
            created.into_iter().for_each(|number| drop(disk.remove(&name(number))));
            return Err(error);
        }
        if others.iter().any(|op| matches!(op, Op::SetAside(_))) {
            forget_aside(disk)?;
        }
        for op in &others {
            match op {
                Op::Remove(number) => disk.remove(&name(*number))?,
                Op::SetAside(number) => set_aside(disk, *number)?,
                Op::Append { .. } => {}
            }
        }
        if !others.is_empty() {
            self.n_syncs += 1;
            disk.sync_directory()?;
        }
        Ok(())
    }

    fn append(&mut self, appends: BTreeMap<u64, Vec<u8>>, created: &mut Vec<u64>, disk: &dyn Disk) -> io::Result<()> {
        for (number, bytes) in appends {
            let (mut file, is_new) = open(disk, number)?;
            created.extend(is_new.then_some(number));
            file.write(&bytes)?;
            self.n_bytes += bytes.len() as u64;
            file.sync_data()?;
            self.n_syncs += 1;
            self.written.insert(number, bytes.len() as u64);
        }
        if !created.is_empty() {
            self.n_syncs += 1;
            disk.sync_directory()?;
        }
        Ok(())
    }
}

fn open(disk: &dyn Disk, number: u64) -> io::Result<(Box<dyn DiskFile>, bool)> {
    match disk.append(&name(number)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((disk.create(&name(number))?, true)),
        other => Ok((other?, false)),
    }
}

/// Removes what was moved out of the way earlier.
pub(super) fn forget_aside(disk: &dyn Disk) -> io::Result<()> {
    disk.list()?.iter().filter(|file| file.starts_with('~')).try_for_each(|file| disk.remove(file))
}

/// Moves a segment out of the way, where nothing takes it for one.
pub(super) fn set_aside(disk: &dyn Disk, number: u64) -> io::Result<()> {
    match disk.rename(&name(number), &format!("~{}", name(number))) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Left to others on the file system; with less, nothing is written. Chosen by us: stores and logs need a little, and a file system
/// that is full to the last block is slow to be anything else.
const RESERVE_BYTES: u64 = 256 * 1024;
