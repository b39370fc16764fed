//! What the host asks of a file system, one flat directory at a time: few operations, each with what it promises when
//! the power goes.
//!
//! Rules of who writes here: what was written lasts only after [`DiskFile::sync_data`]; a new name, a rename and a
//! removal last only after [`Disk::sync_directory`]; until then any part of it may be there or not, in any mixture. The
//! `simulated` one produces all these mixtures, so that a test can recover from each.

mod crc32;
mod directory;
mod sealed;
#[cfg(test)]
pub(crate) mod simulated;

use std::io;

pub use crc32::{Crc32, crc32};
pub use directory::Directory;
pub use sealed::{sealed, unsealed};

/// One directory with files in it. Names are plain: no `/`, not empty, not `.` or `..`. Calls block.
pub trait Disk: Send + Sync {
    /// Names of the files there, in no order. A directory that is not there is empty.
    ///
    /// # Errors
    /// As the system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Bytes of one file.
    ///
    /// # Errors
    /// `NotFound`, or as the system says.
    fn size(&self, name: &str) -> io::Result<u64>;

    /// Reads from there on until the buffer is full or the file ends; returns how much.
    ///
    /// # Errors
    /// `NotFound`, or as the system says; a sector that cannot be read is one of them.
    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// A new, empty file; one that had this name is emptied. The directory is made if it is not there.
    ///
    /// # Errors
    /// As the system says.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// The file of this name, to be written at its end.
    ///
    /// # Errors
    /// `NotFound`, or as the system says.
    fn append(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Cuts a file to this length; the rest of it goes with the next sync of its data at the latest.
    ///
    /// # Errors
    /// `NotFound`, or as the system says.
    fn shorten(&self, name: &str, size: u64) -> io::Result<()>;

    /// Gives a file another name, in place of the one that had it.
    ///
    /// # Errors
    /// `NotFound`, or as the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file; one that is not there is as good as removed.
    ///
    /// # Errors
    /// As the system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes names, renames and removals last. There is nothing to do for a directory that is not there.
    ///
    /// # Errors
    /// As the system says.
    fn sync_directory(&self) -> io::Result<()>;

    /// How much fits on the file system of the directory, or of the nearest one above it that is there.
    ///
    /// # Errors
    /// As the system says.
    fn space(&self) -> io::Result<Space>;

    /// What messages call the file.
    fn shown(&self, name: &str) -> String;

    /// A whole file, but for a longer one than `max` bytes an error.
    ///
    /// # Errors
    /// `NotFound`, `InvalidData` for a file that is too long, or as the system says.
    fn read(&self, name: &str, max: usize) -> io::Result<Vec<u8>> {
        let size = self.size(name)?;
        if size > max as u64 {
            let text = format!("it has {size} bytes, at most {max} are read");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(max)];
        let n = self.read_at(name, 0, &mut bytes)?;
        bytes.truncate(n);
        Ok(bytes)
    }
}

/// A file that is being written.
pub trait DiskFile: Send {
    /// Adds all of it at the end, by one call of the system where that takes it. After an error some of it may be there.
    ///
    /// # Errors
    /// As the system says.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes what was written last.
    ///
    /// # Errors
    /// As the system says. What was written before may then be lost, also if a later call succeeds.
    fn sync_data(&mut self) -> io::Result<()>;
}

/// What a file system has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that this process may still write.
    pub free: u64,
    /// Bytes of the whole file system.
    pub total: u64,
    /// It lives in memory: writing wears nothing, and nothing survives a power cut.
    pub in_memory: bool,
}
