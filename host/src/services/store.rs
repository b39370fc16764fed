//! `polylink.store/1`: what each instance must remember, one directory per instance, one file per key.
//!
//! A file is written beside the old one, synced, renamed over it, and the directory synced: after a power cut there is
//! the old value or the new one. Each file carries a check sum; one that does not fit is moved aside as `<key>.corrupt`,
//! logged, and treated as absent. Writing happens off the I/O thread, one write of an instance at a time, in order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polylink_plugin_api::abi_stable::std_types::{ROption, RSlice, RStr, RString, RVec};
use polylink_plugin_api::services::Store;
use polylink_plugin_api::services::store::STORED;
use polylink_plugin_api::{Extension, HostRefusal, InstanceId};
use tokio::sync::Notify;

use super::registry::{self, Instance};

/// The table.
pub static TABLE: Store = Store { get, keys, put, remove };

/// The store of one instance.
pub struct Storage {
    directory: PathBuf,
    bytes_max: usize,
    contents: Mutex<Contents>,
    idle: Notify,
}

#[derive(Default)]
struct Contents {
    values: BTreeMap<String, Vec<u8>>,
    /// Keys whose file is older than `values`, with the calls that wait for it. Bounded by the keys that fit.
    dirty: BTreeSet<String>,
    calls: VecDeque<(u64, String)>,
    writing: bool,
}

impl Storage {
    /// Reads what the directory has. What cannot be read is logged and left out: a plugin starts with less rather than
    /// not at all.
    pub fn open(instance: &str, directory: PathBuf, bytes_max: usize) -> Self {
        let mut values = BTreeMap::new();
        for (key, path) in files(&directory) {
            match fs::read(&path).map(|bytes| unwrap(&bytes).map(<[u8]>::to_vec)) {
                Ok(Some(value)) => {
                    values.insert(key, value);
                }
                Ok(None) => {
                    let aside = path.with_extension("corrupt");
                    tracing::error!(cloud = instance, file = %path.display(), moved_to = %aside.display(),
                        "a stored value is corrupt and is treated as absent");
                    let _ = fs::rename(&path, aside);
                }
                Err(error) => {
                    tracing::error!(cloud = instance, file = %path.display(), %error, "a stored value cannot be read");
                }
            }
        }
        let contents = Contents { values, ..Contents::default() };
        Self { directory, bytes_max, contents: Mutex::new(contents), idle: Notify::new() }
    }

    /// Bytes of keys and values.
    pub fn n_bytes(&self) -> usize {
        self.lock().n_bytes()
    }

    /// Waits until nothing is being written any more.
    pub async fn flush(&self) {
        loop {
            let idle = self.idle.notified();
            if !self.lock().writing {
                return;
            }
            idle.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes a value in memory and has it written.
    fn change(self: &Arc<Self>, instance: &Arc<Instance>, token: u64, key: String, value: Option<Vec<u8>>) {
        let mut contents = self.lock();
        match value {
            Some(value) => contents.values.insert(key.clone(), value),
            None => contents.values.remove(&key),
        };
        contents.dirty.insert(key.clone());
        contents.calls.push_back((token, key));
        if std::mem::replace(&mut contents.writing, true) {
            return;
        }
        drop(contents);
        let (storage, instance) = (Arc::clone(self), Arc::clone(instance));
        let runtime = instance.runtime.clone();
        runtime.spawn_blocking(move || storage.write_all(&instance));
    }

    /// Writes what is dirty until nothing is. Runs on a blocking thread, once at a time. What cannot be written stays
    /// dirty and is tried again with the next change.
    fn write_all(&self, instance: &Instance) {
        let mut failed: BTreeMap<String, String> = BTreeMap::new();
        loop {
            let (key, value) = {
                let mut contents = self.lock();
                let next = contents.dirty.iter().find(|key| !failed.contains_key(*key)).cloned();
                let Some(key) = next else {
                    let calls = std::mem::take(&mut contents.calls);
                    contents.writing = false;
                    drop(contents);
                    self.idle.notify_waiters();
                    for (token, key) in calls {
                        tell(instance, token, failed.get(&key));
                    }
                    return;
                };
                contents.dirty.remove(&key);
                (key.clone(), contents.values.get(&key).cloned())
            };
            let written = match &value {
                Some(value) => replace(&self.directory, &key, value),
                None => delete(&self.directory, &key),
            };
            if let Err(error) = written {
                tracing::error!(cloud = instance.name, key, %error, "cannot store a value; it stays in memory");
                failed.insert(key.clone(), format!("cannot store `{key}`: {error}"));
                self.lock().dirty.insert(key);
            } else {
                let calls: Vec<u64> = {
                    let mut contents = self.lock();
                    if contents.dirty.contains(&key) {
                        // Changed again meanwhile; the calls are answered with the newer value.
                        continue;
                    }
                    let (done, rest) = std::mem::take(&mut contents.calls).into_iter().partition(|(_, k)| *k == key);
                    contents.calls = rest;
                    let done: VecDeque<(u64, String)> = done;
                    done.into_iter().map(|(token, _)| token).collect()
                };
                calls.into_iter().for_each(|token| tell(instance, token, None));
            }
        }
    }
}

impl Contents {
    fn n_bytes(&self) -> usize {
        self.values.iter().map(|(key, value)| key.len() + value.len()).sum()
    }
}

extern "C" fn get(id: InstanceId, key: RStr<'_>) -> ROption<RVec<u8>> {
    let Some(instance) = registry::find(id) else { return ROption::RNone };
    let value = instance.storage.lock().values.get(key.as_str()).cloned();
    value.map(RVec::from).into()
}

extern "C" fn keys(id: InstanceId) -> RVec<RString> {
    let Some(instance) = registry::find(id) else { return RVec::new() };
    instance.storage.lock().values.keys().map(|key| RString::from(key.as_str())).collect()
}

extern "C" fn put(id: InstanceId, key: RStr<'_>, value: RSlice<'_, u8>) -> u64 {
    let token = registry::token();
    let Some(instance) = registry::find(id) else { return token };
    let (key, value) = (key.as_str(), value.as_slice());
    if let Err((code, text)) = instance.storage.check(key, value) {
        instance.fail(Store::ID, token, code, text);
        return token;
    }
    instance.storage.change(&instance, token, key.to_owned(), Some(value.to_vec()));
    token
}

extern "C" fn remove(id: InstanceId, key: RStr<'_>) -> u64 {
    let token = registry::token();
    let Some(instance) = registry::find(id) else { return token };
    if !instance.storage.lock().values.contains_key(key.as_str()) {
        instance.end(Store::ID, STORED, token, 0, "");
        return token;
    }
    instance.storage.change(&instance, token, key.as_str().to_owned(), None);
    token
}

impl Storage {
    fn check(&self, key: &str, value: &[u8]) -> Result<(), (i64, String)> {
        if !is_key(key) {
            let text = format!("`{key}` is not a key: 1 to {KEY_MAX} of a-z 0-9 . _ -, not beginning with a point");
            return Err((HostRefusal::INVALID, text));
        }
        if value.len() > VALUE_MAX {
            let text = format!("a value has {VALUE_MAX} bytes at most, not {}", value.len());
            return Err((HostRefusal::INVALID, text));
        }
        let contents = self.lock();
        let replaced = contents.values.get(key).map_or(0, |old| key.len() + old.len());
        let n_bytes = contents.n_bytes() - replaced + key.len() + value.len();
        if n_bytes > self.bytes_max {
            let text = format!("the store would have {n_bytes} bytes, {} are allowed", self.bytes_max);
            return Err((HostRefusal::QUOTA, text));
        }
        if contents.calls.len() >= CALLS_MAX {
            return Err((HostRefusal::QUOTA, format!("{CALLS_MAX} values wait for the disk already")));
        }
        Ok(())
    }
}

fn tell(instance: &Instance, token: u64, failed: Option<&String>) {
    match failed {
        Some(text) => instance.fail(Store::ID, token, HostRefusal::STORAGE, text),
        None => instance.end(Store::ID, STORED, token, 0, ""),
    }
}

/// The values in a directory, by key. Leftovers of interrupted writes and moved files are passed over.
fn files(directory: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let value = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let key = name.strip_suffix(VALUE_SUFFIX)?;
        is_key(key).then(|| (key.to_owned(), entry.path()))
    };
    entries.filter_map(value).collect()
}

fn replace(directory: &Path, key: &str, value: &[u8]) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let temporary = directory.join(format!("{key}{TEMPORARY_SUFFIX}"));
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&wrap(value))?;
        file.sync_all()?;
        fs::rename(&temporary, directory.join(format!("{key}{VALUE_SUFFIX}")))?;
        File::open(directory)?.sync_all()
    };
    let written = write();
    if written.is_err() {
        // A full disk stays full if the half-written file stays.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn delete(directory: &Path, key: &str) -> io::Result<()> {
    match fs::remove_file(directory.join(format!("{key}{VALUE_SUFFIX}"))) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => File::open(directory)?.sync_all(),
    }
}

/// A value as its file has it: the mark, the check sum, the bytes.
fn wrap(value: &[u8]) -> Vec<u8> {
    let mut file = Vec::with_capacity(HEADER + value.len());
    file.extend(MARK);
    file.extend(crc32(value).to_be_bytes());
    file.extend(value);
    file
}

fn unwrap(file: &[u8]) -> Option<&[u8]> {
    let (header, value) = file.split_at_checked(HEADER)?;
    (header[..4] == MARK && header[4..] == crc32(value).to_be_bytes()).then_some(value)
}

/// CRC-32 as in IEEE 802.3, bit by bit: values are small and rare.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}

fn is_key(key: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-');
    (1..=KEY_MAX).contains(&key.len()) && !key.starts_with('.') && key.bytes().all(allowed)
}

/// First bytes of a value's file; the last is the format's version.
const MARK: [u8; 4] = *b"PLV1";
const HEADER: usize = MARK.len() + 4;
const VALUE_SUFFIX: &str = ".value";
const TEMPORARY_SUFFIX: &str = ".value~";

/// Contract of `polylink.store/1`.
const KEY_MAX: usize = 64;
/// Contract of `polylink.store/1`.
const VALUE_MAX: usize = 64 * 1024;
/// Calls of an instance that wait for the disk. One more fails with `QUOTA`. Chosen by us.
const CALLS_MAX: usize = 256;
