//! The slots on a real file system: directories for their owner only, files that can be executed, one user at a time.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Slots;
use super::state::Slot;
use crate::disk::{Directory, Disk, DiskFile, Space};

/// The slots of a directory, while nobody else has them.
pub struct OpenSlots {
    /// The slots.
    pub slots: Slots,
    directory: PathBuf,
    lock: File,
}

impl OpenSlots {
    /// Opens the slots in this directory, which is made if it is not there.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] while another process has them; else as the system says.
    pub fn open(directory: &Path) -> io::Result<Self> {
        Self::locked(directory, |lock| lock.try_lock().map_err(io::Error::from))
    }

    /// The same, but waits for whoever has them.
    ///
    /// # Errors
    /// As the system says.
    pub fn wait(directory: &Path) -> io::Result<Self> {
        Self::locked(directory, File::lock)
    }

    fn locked(directory: &Path, take: impl FnOnce(&File) -> io::Result<()>) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let lock =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(directory.join(LOCK))?;
        take(&lock)?;
        let slot = |slot: Slot| -> Arc<dyn Disk> { Arc::new(SlotDirectory::new(directory.join(slot.as_str()))) };
        let slots = Slots::open(Arc::new(Directory::new(directory)), [slot(Slot::A), slot(Slot::B)])?;
        Ok(Self { slots, directory: directory.to_owned(), lock })
    }

    /// The directory of a slot.
    #[must_use]
    pub fn path(&self, slot: Slot) -> PathBuf {
        self.directory.join(slot.as_str())
    }
}

impl Drop for OpenSlots {
    /// Closing the file is not enough: a child that is just being started has it too, until it is another program.
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

/// A directory whose files are programs.
#[derive(Debug)]
pub struct SlotDirectory(Directory);

impl SlotDirectory {
    /// Nothing is touched yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self(Directory::new(path))
    }
}

impl Disk for SlotDirectory {
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        self.0.size(name)
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(name, offset, buffer)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        // The directory and the name are its business; the mode is ours, and must be there before the data is synced.
        drop(self.0.create(name)?);
        let path = self.0.path().join(name);
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(EXECUTABLE))?;
        Ok(Box::new(Program(OpenOptions::new().write(true).open(path)?)))
    }

    fn append(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.0.append(name)
    }

    fn shorten(&self, name: &str, size: u64) -> io::Result<()> {
        self.0.shorten(name, size)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.0.sync_directory()
    }

    fn space(&self) -> io::Result<Space> {
        self.0.space()
    }

    fn shown(&self, name: &str) -> String {
        self.0.shown(name)
    }
}

struct Program(File);

impl DiskFile for Program {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// With the mode, which `fdatasync` may leave out.
    fn sync_data(&mut self) -> io::Result<()> {
        self.0.sync_all()
    }
}

/// Held by whoever has the slots. Chosen by us.
const LOCK: &str = "lock";

/// `S_IRWXU` (POSIX `sys/stat.h`).
const EXECUTABLE: u32 = 0o700;
