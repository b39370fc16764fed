//! `polylink.store/1`: the memory of an instance, in front of its files.
//!
//! Reads come from memory. A write changes memory at once and the disk soon: one writer at a time works on the blocking
//! pool, takes all keys that changed since, and then tells everyone who waited for them. What cannot be written stays in
//! memory and is tried again with the next write. [`files`] knows how a value lies on the disk.

mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex};

use polylink_plugin_api::abi_stable::std_types::{ROption, RSlice, RStr, RString, RVec};
use polylink_plugin_api::services::Store;
use polylink_plugin_api::services::store::STORED;
use polylink_plugin_api::{Extension, HostRefusal, InstanceId};
use tokio::sync::Notify;
use tracing::{error, info};

use self::files::Files;
use super::registry::{self, Instance, Refusal, locked, with_instance, with_token};
use crate::disk::{Directory, Disk};

/// The table.
pub(super) static TABLE: Store = Store { get, keys, put, remove };

extern "C" fn get(id: InstanceId, key: RStr<'_>) -> ROption<RVec<u8>> {
    with_instance(id, None, |instance| instance.storage.get(key.as_str())).map(RVec::from).into()
}

extern "C" fn keys(id: InstanceId) -> RVec<RString> {
    with_instance(id, Vec::new(), |instance| instance.storage.keys()).into_iter().map(RString::from).collect()
}

extern "C" fn put(id: InstanceId, key: RStr<'_>, value: RSlice<'_, u8>) -> u64 {
    with_token(id, |instance, token| change(instance, token, key.as_str(), Some(value.as_slice())))
}

extern "C" fn remove(id: InstanceId, key: RStr<'_>) -> u64 {
    with_token(id, |instance, token| change(instance, token, key.as_str(), None))
}

fn change(instance: &Arc<Instance>, token: u64, key: &str, value: Option<&[u8]>) {
    match instance.storage.change(key, value, instance.store_max_bytes, (instance.id, token)) {
        Err(refusal) => instance.fail(Store::ID, token, refusal),
        Ok(Writer::AtWork) => {}
        Ok(Writer::Wanted) => {
            let storage = Arc::clone(&instance.storage);
            instance.runtime.spawn_blocking(move || storage.write_all());
        }
    }
}

/// What one instance remembers; outlives a restart of the instance.
pub(super) struct Storage {
    name: String,
    files: Files,
    state: Mutex<State>,
    /// Told when the writer has nothing left.
    written: Notify,
}

#[derive(Default)]
struct State {
    values: BTreeMap<String, Vec<u8>>,
    n_bytes: usize,
    /// Keys whose files are older than memory, and who waits for them.
    changed: BTreeMap<String, Vec<Waiter>>,
    n_waiters: usize,
    /// Keys that could not be written; the next write tries them again.
    unsaved: BTreeSet<String>,
    is_writing: bool,
}

/// Who asked, and under which token.
type Waiter = (InstanceId, u64);

#[derive(Debug, PartialEq, Eq)]
enum Writer {
    /// The caller must start it.
    Wanted,
    AtWork,
}

impl Storage {
    /// Reads what the directory has. Files that are broken are moved aside and told to the log.
    pub fn open(name: &str, directory: &Path) -> Self {
        Self::on(name, Arc::new(Directory::new(directory)))
    }

    fn on(name: &str, disk: Arc<dyn Disk>) -> Self {
        let files = Files::new(name, disk);
        let values = files.read_all();
        let n_bytes = values.iter().map(|(key, value)| key.len() + value.len()).sum();
        let state = State { values, n_bytes, ..State::default() };
        Self { name: name.to_owned(), files, state: Mutex::new(state), written: Notify::new() }
    }

    fn get(&self, key: &str) -> Option<Vec<u8>> {
        locked(&self.state).values.get(key).cloned()
    }

    fn keys(&self) -> Vec<String> {
        locked(&self.state).values.keys().cloned().collect()
    }

    /// Bytes of keys and values, and the number of keys not on the disk.
    pub fn usage(&self) -> (usize, usize) {
        let state = locked(&self.state);
        (state.n_bytes, state.unsaved.len())
    }

    /// Changes memory, and remembers that the disk must follow.
    fn change(&self, key: &str, value: Option<&[u8]>, max_bytes: usize, waiter: Waiter) -> Result<Writer, Refusal> {
        check_key(key)?;
        let mut state = locked(&self.state);
        if state.n_waiters >= WAITERS_MAX {
            let text = format!("{WAITERS_MAX} writes wait for the disk already");
            return Err(Refusal::new(HostRefusal::QUOTA, text));
        }
        let old = state.values.get(key).map_or(0, |old| key.len() + old.len());
        let n_bytes = state.n_bytes - old + value.map_or(0, |value| key.len() + value.len());
        if let Some(value) = value {
            let is_new = !state.values.contains_key(key);
            check_size(key, value, n_bytes, max_bytes, state.values.len() + usize::from(is_new))?;
            state.values.insert(key.to_owned(), value.to_vec());
        } else {
            state.values.remove(key);
        }
        state.n_bytes = n_bytes;
        state.changed.entry(key.to_owned()).or_default().push(waiter);
        state.n_waiters += 1;
        // They stay unsaved until they are written, which is also what ends the error in the log.
        let State { changed, unsaved, .. } = &mut *state;
        for key in &*unsaved {
            changed.entry(key.clone()).or_default();
        }
        Ok(if std::mem::replace(&mut state.is_writing, true) { Writer::AtWork } else { Writer::Wanted })
    }

    /// Writes until nothing is left. Runs on the blocking pool, once at a time.
    fn write_all(&self) {
        loop {
            let (changed, values) = {
                let mut state = locked(&self.state);
                let changed = std::mem::take(&mut state.changed);
                if changed.is_empty() {
                    state.is_writing = false;
                    drop(state);
                    self.written.notify_waiters();
                    return;
                }
                state.n_waiters = 0;
                let values: Vec<_> = changed.keys().map(|key| state.values.get(key).cloned()).collect();
                (changed, values)
            };
            self.write(changed, values);
        }
    }

    fn write(&self, changed: BTreeMap<String, Vec<Waiter>>, values: Vec<Option<Vec<u8>>>) {
        let keys: Vec<&str> = changed.keys().map(String::as_str).collect();
        // A writer that ended by a panic would leave its waiters alone and let no other writer begin.
        let results = catch_unwind(AssertUnwindSafe(|| self.write_files(&keys, &values))).unwrap_or_else(|panic| {
            error!(cloud = %self.name, panic = registry::message(&*panic), "the writer of the store panicked");
            vec![Err("the host failed at writing; its log says how".to_owned()); keys.len()]
        });
        for ((key, waiters), result) in changed.into_iter().zip(results) {
            let failed = result.as_ref().err();
            self.note(&key, failed);
            for (id, token) in waiters {
                let Some(instance) = registry::find(id) else { continue };
                match failed {
                    None => instance.complete(Store::ID, STORED, token, 0, ""),
                    Some(why) => instance.fail(Store::ID, token, Refusal::new(HostRefusal::STORAGE, why)),
                }
            }
        }
    }

    fn write_files(&self, keys: &[&str], values: &[Option<Vec<u8>>]) -> Vec<Result<(), String>> {
        let mut results: Vec<_> =
            keys.iter().zip(values).map(|(key, value)| self.files.write(key, value.as_deref())).collect();
        // Renames and removals last only once the directory is on the disk.
        if let Err(error) = self.files.sync_directory() {
            results.iter_mut().filter(|result| result.is_ok()).for_each(|result| *result = Err(error.to_string()));
        }
        results
    }

    fn note(&self, key: &str, failed: Option<&String>) {
        let mut state = locked(&self.state);
        let was_well = state.unsaved.is_empty();
        match failed {
            Some(why) => {
                state.unsaved.insert(key.to_owned());
                if was_well {
                    error!(cloud = %self.name, why, "the store cannot be written; values are kept in memory");
                }
            }
            None => {
                if state.unsaved.remove(key) && state.unsaved.is_empty() {
                    info!(cloud = %self.name, "the store can be written again");
                }
            }
        }
    }

    /// Waits until the writer has nothing left.
    pub async fn flushed(&self) {
        loop {
            let written = self.written.notified();
            let mut written = std::pin::pin!(written);
            written.as_mut().enable();
            if !locked(&self.state).is_writing {
                return;
            }
            written.await;
        }
    }
}

fn check_key(key: &str) -> Result<(), Refusal> {
    let is_known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    if key.is_empty() || key.len() > KEY_MAX || !key.bytes().all(is_known) {
        let text = format!("`{}` is no key; a key has 1 to {KEY_MAX} of a-z 0-9 . _ -", key.escape_debug());
        return Err(Refusal::invalid(text));
    }
    Ok(())
}

fn check_size(key: &str, value: &[u8], n_bytes: usize, max_bytes: usize, n_keys: usize) -> Result<(), Refusal> {
    if value.len() > VALUE_MAX {
        let text = format!("the value of `{key}` has {} bytes, at most {VALUE_MAX} are taken", value.len());
        return Err(Refusal::invalid(text));
    }
    if n_bytes > max_bytes {
        let text = format!("with `{key}` the store would have {n_bytes} bytes, at most {max_bytes} are allowed");
        return Err(Refusal::new(HostRefusal::QUOTA, text));
    }
    if n_keys > KEYS_MAX {
        return Err(Refusal::new(HostRefusal::QUOTA, format!("the store has {KEYS_MAX} keys, no more are taken")));
    }
    Ok(())
}

/// `polylink.store/1`.
const KEY_MAX: usize = 64;

/// `polylink.store/1`.
const VALUE_MAX: usize = 64 * 1024;

/// Most keys; each is a file of its own, and a file takes a block. Not documented; chosen by us.
const KEYS_MAX: usize = 512;

/// Most writes that wait for the disk; further ones are refused. Not documented; chosen by us.
const WAITERS_MAX: usize = 256;

#[cfg(test)]
mod power_cuts;
#[cfg(test)]
mod tests;
