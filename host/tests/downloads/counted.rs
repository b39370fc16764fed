//! A directory that counts what is written to it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use polylink::disk::{Directory, Disk, DiskFile, Space};

/// See the module.
pub struct Counted {
    directory: Directory,
    pub counts: Arc<Counts>,
}

#[derive(Debug, Default)]
pub struct Counts {
    /// Bytes of all files.
    pub written: AtomicU64,
    /// Bytes of the largest file at any moment.
    pub largest: AtomicU64,
    /// Renames, which are what makes a checkpoint.
    pub renames: AtomicU64,
}

impl Counted {
    pub fn new(directory: Directory) -> Self {
        Self { directory, counts: Arc::default() }
    }

    fn file(&self, file: Box<dyn DiskFile>, size: u64) -> Box<dyn DiskFile> {
        Box::new(File { file, size, counts: Arc::clone(&self.counts) })
    }
}

impl Disk for Counted {
    fn list(&self) -> io::Result<Vec<String>> {
        self.directory.list()
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        self.directory.size(name)
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.directory.read_at(name, offset, buffer)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(self.directory.create(name)?, 0))
    }

    fn append(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(self.directory.append(name)?, self.directory.size(name)?))
    }

    fn shorten(&self, name: &str, size: u64) -> io::Result<()> {
        self.directory.shorten(name, size)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.counts.renames.fetch_add(1, Ordering::Relaxed);
        self.directory.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.directory.remove(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.directory.sync_directory()
    }

    fn space(&self) -> io::Result<Space> {
        self.directory.space()
    }

    fn shown(&self, name: &str) -> String {
        self.directory.shown(name)
    }
}

struct File {
    file: Box<dyn DiskFile>,
    /// An upper bound where the file was shortened meanwhile.
    size: u64,
    counts: Arc<Counts>,
}

impl DiskFile for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.size += bytes.len() as u64;
        self.counts.written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.counts.largest.fetch_max(self.size, Ordering::Relaxed);
        self.file.write(bytes)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}
