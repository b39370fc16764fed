//! Releases of the module in two slots: one runs, the other takes the next release.
//!
//! A slot is a flat directory of program files. Which one runs stands in one small file that is replaced as a whole
//! ([`state`]); so a switch happens or does not. A new release is on trial: the launcher counts its starts, and when it was
//! not confirmed in as many as it has, what was good before runs again. What the device was made with lies outside of the
//! slots and always can be run.
//!
//! Nothing is installed without [`Verified`], and every byte is hashed again on its way into the slot: what was verified is
//! what is there, whoever may have written to the file meanwhile.

pub mod directory;
pub mod state;

use std::io::{self, Read};
use std::sync::Arc;

use self::state::{Boot, Slot, SlotState};
use super::archive::{Archive, ArchiveError, Unpack};
use super::intake;
use super::manifest::Verified;
use crate::disk::{Disk, DiskFile};

/// The slots and which of them runs. All calls block.
pub struct Slots {
    /// Has the state.
    disk: Arc<dyn Disk>,
    /// The directories of A and B.
    slots: [Arc<dyn Disk>; 2],
    state: SlotState,
}

/// Why a release was not installed, or nothing was switched.
#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    /// The slot that is not tried is the only one to fall back to.
    #[error("a release is on trial; it must be confirmed or rolled back first")]
    OnTrial,
    /// There is nothing to confirm.
    #[error("no release is on trial")]
    NoTrial,
    /// Nothing to go back to.
    #[error("what ran before is not there any more")]
    NoPrevious,
    /// Not what belongs into a slot.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Nothing that could be started.
    #[error("the image has no file `{PROGRAM}`")]
    NoProgram,
    /// It changed after it was verified.
    #[error("the image is not the one that was verified")]
    NotVerified,
    /// Too large.
    #[error("{needed} bytes are needed, {free} are free")]
    Space {
        /// Of the image, and what stays free.
        needed: u64,
        /// On the file system.
        free: u64,
    },
    /// The disk.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Slots {
    /// Reads the state. One that is not there, or damaged, is that of a device as it was made.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn open(disk: Arc<dyn Disk>, slots: [Arc<dyn Disk>; 2]) -> io::Result<Self> {
        let state = match disk.read(STATE, STATE_MAX) {
            Ok(bytes) => {
                let state = std::str::from_utf8(&bytes).ok().and_then(SlotState::decode);
                state.unwrap_or_else(|| {
                    let file = disk.shown(STATE);
                    tracing::error!(%file, "the state of the slots is damaged; what the device was made with is run");
                    SlotState::default()
                })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => SlotState::default(),
            Err(error) => return Err(error),
        };
        Ok(Self { disk, slots, state })
    }

    /// What is remembered.
    #[must_use]
    pub const fn state(&self) -> &SlotState {
        &self.state
    }

    /// Puts a verified image into the free slot, and on trial for so many starts.
    ///
    /// # Errors
    /// Why not; what ran before runs on.
    pub fn install(
        &mut self,
        proof: &Verified,
        image: &mut dyn Read,
        operation: u64,
        tries: u8,
    ) -> Result<Slot, SlotError> {
        let slot = self.state.free_slot().ok_or(SlotError::OnTrial)?;
        self.change(|state| state.clear(slot))?;
        let disk = Arc::clone(&self.slots[slot.index()]);
        let filled = empty(&*disk).map_err(SlotError::from).and_then(|()| fill(&*disk, proof, image));
        if let Err(error) = filled {
            // A full disk must get back what the attempt took; if that fails too, the next attempt does it.
            let _ = empty(&*disk);
            return Err(error);
        }
        self.change(|state| state.installed(slot, proof, operation, tries.max(1)))?;
        Ok(slot)
    }

    /// What is to be started now. A start of a release on trial is counted on the disk before it happens.
    pub fn start(&mut self) -> Boot {
        let mut next = self.state.clone();
        let (boot, changed) = next.start();
        if !changed {
            return boot;
        }
        match self.write(&next) {
            Ok(()) => {
                self.state = next;
                boot
            }
            Err(error) => {
                // What cannot be counted could be tried for ever.
                tracing::error!(%error, "a start cannot be counted; what is good is run");
                self.state.good
            }
        }
    }

    /// What is tried is good from now on.
    ///
    /// # Errors
    /// [`SlotError::NoTrial`], [`SlotError::Io`].
    pub fn confirm(&mut self) -> Result<(), SlotError> {
        let mut next = self.state.clone();
        if !next.confirm() {
            return Err(SlotError::NoTrial);
        }
        Ok(self.change(|state| *state = next)?)
    }

    /// Back to what was good: a trial ends, or, where there is none, what is good gives way to what was good before. The
    /// process that runs is not touched.
    ///
    /// # Errors
    /// [`SlotError::NoPrevious`], [`SlotError::Io`].
    pub fn roll_back(&mut self) -> Result<Boot, SlotError> {
        let mut next = self.state.clone();
        if !next.step_back() && !next.go_back() {
            return Err(SlotError::NoPrevious);
        }
        self.change(|state| *state = next)?;
        Ok(self.state.good)
    }

    /// Memory follows only when the disk has it.
    fn change(&mut self, change: impl FnOnce(&mut SlotState)) -> io::Result<()> {
        let mut next = self.state.clone();
        change(&mut next);
        if let Err(error) = self.write(&next) {
            // It may be there all the same. What was told to have failed must not happen at the next start.
            if let Err(again) = self.write(&self.state) {
                tracing::error!(error = %again, "the state of the slots may be another one than it was after a failure");
            }
            return Err(error);
        }
        self.state = next;
        Ok(())
    }

    fn write(&self, state: &SlotState) -> io::Result<()> {
        replace(&*self.disk, STATE, state.encode().as_bytes())
    }
}

/// Puts a new content in the place of a small file, so that a power cut leaves the old one or the new one.
pub(crate) fn replace(disk: &dyn Disk, name: &str, bytes: &[u8]) -> io::Result<()> {
    let new = format!("{name}.new");
    let mut file = disk.create(&new)?;
    file.write(bytes)?;
    file.sync_data()?;
    disk.rename(&new, name)?;
    disk.sync_directory()
}

fn empty(disk: &dyn Disk) -> io::Result<()> {
    for name in disk.list()? {
        disk.remove(&name)?;
    }
    disk.sync_directory()
}

fn fill(disk: &dyn Disk, proof: &Verified, image: &mut dyn Read) -> Result<(), SlotError> {
    let facts = proof.facts();
    let (needed, free) = (facts.size.saturating_add(RESERVE), disk.space()?.free);
    if free < needed {
        return Err(SlotError::Space { needed, free });
    }
    let mut unpack = Into { disk, file: None };
    let mut archive = Archive::new();
    if !intake::pass(facts, image, |bytes| archive.feed(bytes, &mut unpack).map_err(SlotError::from))? {
        return Err(SlotError::NotVerified);
    }
    if !archive.finish()?.contains(PROGRAM) {
        return Err(SlotError::NoProgram);
    }
    Ok(disk.sync_directory()?)
}

struct Into<'a> {
    disk: &'a dyn Disk,
    file: Option<Box<dyn DiskFile>>,
}

impl Unpack for Into<'_> {
    fn begin(&mut self, name: &str) -> io::Result<()> {
        self.file = Some(self.disk.create(name)?);
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), |file| file.write(bytes))
    }

    fn end(&mut self) -> io::Result<()> {
        self.file.take().map_or(Ok(()), |mut file| file.sync_data())
    }
}

/// What is started of a release. Chosen by us.
pub const PROGRAM: &str = "polylink";

/// The file that says what runs. Chosen by us.
const STATE: &str = "slots";

/// Longest state: its lines have some 400 bytes.
const STATE_MAX: usize = 4096;

/// Bytes that stay free beside a release. Not documented; chosen by us: the state, and what the host stores meanwhile.
const RESERVE: u64 = 256 * 1024;

#[cfg(test)]
pub(crate) mod tests;
