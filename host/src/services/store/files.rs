//! How values lie on the disk: one file for each key, so that a write costs its own size and damage stays with one key.
//!
//! A file is `PLS1`, the CRC-32 of key and value (big endian), the value. It is written beside its place, synced and
//! renamed, so a power cut leaves the old or the new one. A file that is neither is moved to `~corrupt`, which keeps
//! the last such file for inspection, and counts as absent. Names that begin with `~` cannot be keys.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use tracing::warn;

use crate::disk::{Crc32, Disk};

/// The directory of one store.
pub(super) struct Files {
    name: String,
    disk: Arc<dyn Disk>,
}

impl Files {
    pub fn new(name: &str, disk: Arc<dyn Disk>) -> Self {
        Self { name: name.to_owned(), disk }
    }

    /// Everything that can be read. A directory that is not there is an empty store.
    pub fn read_all(&self) -> BTreeMap<String, Vec<u8>> {
        let names = self.disk.list().unwrap_or_else(|error| {
            let directory = self.disk.shown("");
            warn!(cloud = %self.name, %directory, %error, "the store cannot be read and counts as empty");
            Vec::new()
        });
        let mut values = BTreeMap::new();
        for name in names {
            let key = name.strip_suffix(SUFFIX).filter(|key| !key.starts_with('~') && super::check_key(key).is_ok());
            let Some(key) = key else { continue };
            match self.read(&name, key) {
                Ok(value) => {
                    values.insert(key.to_owned(), value);
                }
                Err(error) => self.set_aside(&name, key, &error),
            }
        }
        values
    }

    /// Brings one key's file up to date; `None` removes it. Lasts only after [`Files::sync_directory`].
    pub fn write(&self, key: &str, value: Option<&[u8]>) -> Result<(), String> {
        let name = format!("{key}{SUFFIX}");
        let result = match value {
            Some(value) => self.replace(&name, key, value),
            None => self.disk.remove(&name),
        };
        result.map_err(|error| format!("{}: {error}", self.disk.shown(&name)))
    }

    /// Makes what was renamed and removed last.
    pub fn sync_directory(&self) -> io::Result<()> {
        self.disk.sync_directory()
    }

    fn replace(&self, name: &str, key: &str, value: &[u8]) -> io::Result<()> {
        let bytes = [MAGIC, &checksum(key, value).to_be_bytes(), value].concat();
        let write = || {
            let mut file = self.disk.create(NEW)?;
            file.write(&bytes)?;
            file.sync_data()?;
            self.disk.rename(NEW, name)
        };
        let written = write();
        if written.is_err() {
            // A full disk must get back what the attempt took.
            let _ = self.disk.remove(NEW);
        }
        written
    }

    fn set_aside(&self, name: &str, key: &str, error: &io::Error) {
        let moved = self.disk.rename(name, ASIDE);
        let file = self.disk.shown(if moved.is_ok() { ASIDE } else { name });
        warn!(cloud = %self.name, key, %error, %file, "a stored value is broken and counts as absent");
    }

    fn read(&self, name: &str, key: &str) -> io::Result<Vec<u8>> {
        let broken = |text| io::Error::new(io::ErrorKind::InvalidData, text);
        let bytes = self.disk.read(name, FILE_MAX)?;
        let (head, value) = bytes.split_at_checked(MAGIC.len() + 4).ok_or_else(|| broken("it is too short"))?;
        if !head.starts_with(MAGIC) {
            return Err(broken("it does not begin like a stored value"));
        }
        if head[MAGIC.len()..] != checksum(key, value).to_be_bytes() {
            return Err(broken("its checksum is wrong"));
        }
        Ok(value.to_vec())
    }
}

fn checksum(key: &str, value: &[u8]) -> u32 {
    Crc32::new().with(key.as_bytes()).with(&[0]).with(value).sum()
}

/// A value on its way to its place.
const NEW: &str = "~new";

/// The last file that was broken.
const ASIDE: &str = "~corrupt";

/// First bytes of every file; the digit is the version of the layout. Chosen by us.
const MAGIC: &[u8] = b"PLS1";

/// End of the names of values. Chosen by us.
const SUFFIX: &str = ".value";

/// Longest file: the longest value and what stands before it.
const FILE_MAX: usize = super::VALUE_MAX + 8;
