//! How values lie on the disk: one file for each key, so that a write costs its own size and damage stays with one key.
//!
//! A file is `PLS1`, the CRC-32 of key and value (big endian), the value. It is written beside its place, synced and
//! renamed, so a power cut leaves the old or the new one. A file that is neither is moved to `~corrupt`, which keeps
//! the last such file for inspection, and counts as absent. Names that begin with `~` cannot be keys.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tracing::warn;

/// The directory of one store.
pub(super) struct Files {
    name: String,
    directory: PathBuf,
}

impl Files {
    pub fn new(name: &str, directory: &Path) -> Self {
        Self { name: name.to_owned(), directory: directory.to_owned() }
    }

    /// Everything that can be read. A directory that is not there is an empty store.
    pub fn read_all(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    let directory = self.directory.display();
                    warn!(cloud = %self.name, %directory, %error, "the store cannot be read and counts as empty");
                }
                return BTreeMap::new();
            }
        };
        let mut values = BTreeMap::new();
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            let key = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(SUFFIX));
            let Some(key) = key.filter(|key| !key.starts_with('~') && super::check_key(key).is_ok()) else { continue };
            match read(&path, key) {
                Ok(value) => {
                    values.insert(key.to_owned(), value);
                }
                Err(error) => self.set_aside(&path, key, &error),
            }
        }
        values
    }

    /// Brings one key's file up to date; `None` removes it. Lasts only after [`Files::sync_directory`].
    pub fn write(&self, key: &str, value: Option<&[u8]>) -> Result<(), String> {
        let path = self.path(key);
        let result = match value {
            Some(value) => self.replace(&path, key, value),
            None => match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            },
        };
        result.map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Makes what was renamed and removed last.
    pub fn sync_directory(&self) -> io::Result<()> {
        match File::open(&self.directory) {
            Ok(directory) => directory.sync_all(),
            // Nothing was ever written here, so there is nothing to make last.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn replace(&self, path: &Path, key: &str, value: &[u8]) -> io::Result<()> {
        self.make_directory()?;
        let new = self.directory.join("~new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        let written = file
            .write_all(MAGIC)
            .and_then(|()| file.write_all(&checksum(key, value).to_be_bytes()))
            .and_then(|()| file.write_all(value))
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&new, path));
        if written.is_err() {
            // A full disk must get back what the attempt took.
            let _ = fs::remove_file(&new);
        }
        written
    }

    fn make_directory(&self) -> io::Result<()> {
        if self.directory.is_dir() {
            return Ok(());
        }
        if let Some(parent) = self.directory.parent() {
            fs::create_dir_all(parent)?;
        }
        DirBuilder::new().mode(0o700).create(&self.directory)?;
        match self.directory.parent().map(File::open) {
            Some(Ok(parent)) => parent.sync_all(),
            _ => Ok(()),
        }
    }

    fn set_aside(&self, path: &Path, key: &str, error: &io::Error) {
        let aside = self.directory.join("~corrupt");
        let moved = fs::rename(path, &aside);
        let kept = if moved.is_ok() { aside.display() } else { path.display() };
        warn!(cloud = %self.name, key, %error, file = %kept, "a stored value is broken and counts as absent");
    }

    fn path(&self, key: &str) -> PathBuf {
        self.directory.join(format!("{key}{SUFFIX}"))
    }
}

fn read(path: &Path, key: &str) -> io::Result<Vec<u8>> {
    let broken = |text| io::Error::new(io::ErrorKind::InvalidData, text);
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(broken("it is longer than any value"));
    }
    let (head, value) = bytes.split_at_checked(MAGIC.len() + 4).ok_or_else(|| broken("it is too short"))?;
    if !head.starts_with(MAGIC) {
        return Err(broken("it does not begin like a stored value"));
    }
    if head[MAGIC.len()..] != checksum(key, value).to_be_bytes() {
        return Err(broken("its checksum is wrong"));
    }
    Ok(value.to_vec())
}

/// CRC-32 as in Ethernet and zlib (ISO 3309), bit by bit: values are small and rarely written.
fn checksum(key: &str, value: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in key.bytes().chain([0]).chain(value.iter().copied()) {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

/// First bytes of every file; the digit is the version of the layout. Chosen by us.
const MAGIC: &[u8] = b"PLS1";

/// End of the names of values. Chosen by us.
const SUFFIX: &str = ".value";

/// Longest file: the longest value and what stands before it.
const FILE_MAX: u64 = super::VALUE_MAX as u64 + 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_usual_crc_32() {
        // CRC-32 of "ab\0cd" by zlib.
        assert_eq!(checksum("ab", b"cd"), 0xF750_0B4D);
    }
}
