//! A disk that records what is done to it, and can show what every moment of a run leaves behind when the power goes or
//! the process is killed.
//!
//! A write counts as lasting only when the file was synced after it, a change of names only when the directory was.
//! What was not synced is, at the power cut, there or not: of the changes of names any number of the first ones, of the
//! newest file's data what a [`Fate`] says, of the other files' data all or nothing.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile, Space};

/// See the module. Clones share the disk.
#[derive(Clone, Default)]
pub struct Simulated {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// What was there before the first operation, and lasts.
    before: Contents,
    now: Contents,
    operations: Vec<Operation>,
    faults: Vec<Fault>,
    limit: Option<u64>,
    bad: Vec<(String, std::ops::Range<u64>)>,
}

/// Names, and files by their numbers.
#[derive(Clone, Default)]
struct Contents {
    names: BTreeMap<String, usize>,
    files: Vec<Vec<u8>>,
}

/// Something that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A new file got a name.
    Create { name: String, file: usize },
    /// A file was emptied.
    Empty { file: usize },
    /// Bytes were added to a file.
    Write { file: usize, bytes: Vec<u8> },
    /// A file was cut.
    Shorten { file: usize, len: usize },
    /// A file's data lasts.
    SyncData { file: usize },
    /// A file has another name.
    Rename { from: String, to: String },
    /// A name is gone.
    Remove { name: String },
    /// All names last.
    SyncDirectory,
}

/// What kind of call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Read,
    /// Creating, opening and writing.
    Write,
    Sync,
    /// Renaming and removing.
    Name,
    /// Everything that changes something.
    Change,
}

struct Fault {
    call: Call,
    errno: i32,
    /// So many calls of the kind succeed first.
    after: usize,
    /// So many fail then.
    times: usize,
}

/// What becomes of bytes that were written and not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// None is there.
    Lost,
    /// All are there.
    Kept,
    /// The first half is there.
    Half,
    /// The length is right, the bytes are zero.
    Zeroed,
    /// The length is right, the second half is zero.
    HalfZeroed,
    /// The length is right, the first half is zero: a later block was written before an earlier one.
    Headless,
    /// The length is right, each byte is wrong.
    Garbled,
    /// All are there but the second half of the very last write, as when the process is killed in it.
    Begun,
}

/// Every [`Fate`] of a power cut.
pub const FATES: [Fate; 7] =
    [Fate::Lost, Fate::Kept, Fate::Half, Fate::Zeroed, Fate::HalfZeroed, Fate::Headless, Fate::Garbled];

/// A moment at which a run ends, and what is left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// So many operations were done.
    pub operations: usize,
    /// So many of the changes of names that were not synced are there.
    pub names: usize,
    /// Of the file that was created last among those with unsynced data.
    pub newest: Fate,
    /// Of the other files.
    pub others: Fate,
}

impl Simulated {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// A disk with these files on it, which last.
    pub fn with_files<'a>(files: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> Self {
        let mut contents = Contents::default();
        for (name, bytes) in files {
            contents.names.insert(name.to_owned(), contents.files.len());
            contents.files.push(bytes);
        }
        Self::of(contents)
    }

    fn of(contents: Contents) -> Self {
        let state = State { before: contents.clone(), now: contents, ..State::default() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// What is there, as the process sees it.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.lock();
        state.now.names.iter().map(|(name, &file)| (name.clone(), state.now.files[file].clone())).collect()
    }

    /// How many operations were done so far.
    pub fn n_operations(&self) -> usize {
        self.lock().operations.len()
    }

    /// What was done so far.
    pub fn operations(&self) -> Vec<Operation> {
        self.lock().operations.clone()
    }

    /// Lets calls fail: after so many of the kind, so many times.
    pub fn fail(&self, call: Call, errno: rustix::io::Errno, after: usize, times: usize) {
        self.lock().faults.push(Fault { call, errno: errno.raw_os_error(), after, times });
    }

    /// No call fails any more, but for what the room and bad sectors forbid.
    pub fn heal(&self) {
        self.lock().faults.clear();
    }

    /// So many bytes fit, names not counted. What is there stays.
    pub fn limit(&self, bytes: Option<u64>) {
        self.lock().limit = bytes;
    }

    /// These bytes of a file can no longer be read.
    pub fn spoil(&self, name: &str, range: std::ops::Range<u64>) {
        self.lock().bad.push((name.to_owned(), range));
    }

    /// Every state that a power cut can leave, from before the first operation until after the last.
    pub fn power_cuts(&self) -> Vec<Cut> {
        let operations = self.operations();
        let mut cuts = Vec::new();
        for n in 0..=operations.len() {
            let done = &operations[..n];
            let synced = done.iter().rposition(|one| *one == Operation::SyncDirectory).map_or(0, |at| at + 1);
            let n_names = done[synced..].iter().filter(|one| one.changes_names()).count();
            let dirty = dirty_files(done);
            for names in 0..=n_names {
                let others: &[Fate] = if dirty.len() > 1 { &[Fate::Lost, Fate::Kept] } else { &[Fate::Lost] };
                let newest: &[Fate] = if dirty.is_empty() { &[Fate::Lost] } else { &FATES };
                let mixtures = newest.iter().flat_map(|&newest| others.iter().map(move |&others| (newest, others)));
                cuts.extend(mixtures.map(|(newest, others)| Cut { operations: n, names, newest, others }));
            }
        }
        cuts
    }

    /// Every state that killing the process can leave: all that was done, of the last write perhaps a part.
    pub fn kills(&self) -> Vec<Cut> {
        let n = self.n_operations();
        let cut = |operations, newest| Cut { operations, names: usize::MAX, newest, others: Fate::Kept };
        (0..=n).flat_map(|operations| [cut(operations, Fate::Kept), cut(operations, Fate::Begun)]).collect()
    }

    /// The disk as this moment leaves it.
    pub fn after(&self, cut: Cut) -> Self {
        let state = self.lock();
        let done = &state.operations[..cut.operations];
        let dirty = dirty_files(done);
        let mut lasting = state.before.clone();
        let mut now = state.before.clone();
        let mut pending = Vec::new();
        for (at, operation) in done.iter().enumerate() {
            match operation {
                Operation::Write { file, bytes } if cut.newest == Fate::Begun && at + 1 == done.len() => {
                    now.apply(&Operation::Write { file: *file, bytes: bytes[..bytes.len() / 2].to_vec() });
                }
                operation => now.apply(operation),
            }
            lasting.files.resize(now.files.len(), Vec::new());
            match operation {
                Operation::SyncData { file } => lasting.files[*file] = now.files[*file].clone(),
                Operation::SyncDirectory => {
                    lasting.names = now.names.clone();
                    pending.clear();
                }
                other if other.changes_names() => pending.push(other),
                _ => {}
            }
        }
        for operation in pending.into_iter().take(cut.names) {
            lasting.apply_names(operation);
        }
        for &file in &dirty {
            let fate = if Some(&file) == dirty.last() { cut.newest } else { cut.others };
            lasting.files[file] = fate.of(&lasting.files[file], &now.files[file]);
        }
        Self::of(lasting)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Files with data that was not synced, in the order of their creation.
fn dirty_files(done: &[Operation]) -> Vec<usize> {
    let mut dirty = std::collections::BTreeSet::new();
    for operation in done {
        match operation {
            Operation::Write { file, .. } | Operation::Empty { file } | Operation::Shorten { file, .. } => {
                dirty.insert(*file)
            }
            Operation::SyncData { file } => dirty.remove(file),
            _ => false,
        };
    }
    dirty.into_iter().collect()
}

impl Operation {
    fn changes_names(&self) -> bool {
        matches!(self, Self::Create { .. } | Self::Rename { .. } | Self::Remove { .. })
    }
}

impl Contents {
    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Create { file, .. } => self.files.resize((*file + 1).max(self.files.len()), Vec::new()),
            Operation::Empty { file } => self.files[*file].clear(),
            Operation::Shorten { file, len } => self.files[*file].truncate(*len),
            Operation::Write { file, bytes } => self.files[*file].extend_from_slice(bytes),
            _ => {}
        }
        self.apply_names(operation);
    }

    fn apply_names(&mut self, operation: &Operation) {
        match operation {
            Operation::Create { name, file } => {
                self.names.insert(name.clone(), *file);
            }
            Operation::Rename { from, to } => {
                if let Some(file) = self.names.remove(from) {
                    self.names.insert(to.clone(), file);
                }
            }
            Operation::Remove { name } => {
                self.names.remove(name);
            }
            _ => {}
        }
    }

    fn used(&self) -> u64 {
        self.names.values().map(|&file| self.files[file].len() as u64).sum()
    }
}

impl Fate {
    fn of(self, synced: &[u8], written: &[u8]) -> Vec<u8> {
        // What is left of a file that was cut is not at stake.
        if !written.is_empty() && synced.starts_with(written) {
            return if self == Self::Lost { synced.to_vec() } else { written.to_vec() };
        }
        // A file that was emptied has everything at stake, any other only what was added.
        let kept = if written.starts_with(synced) { synced.len() } else { 0 };
        let (old, new) = written.split_at(kept);
        let half = new.len() / 2;
        let with = |new: Vec<u8>| [old, &new].concat();
        let zeros = |n: usize| vec![0; n];
        match self {
            Self::Lost => synced.to_vec(),
            Self::Kept | Self::Begun => written.to_vec(),
            Self::Half => with(new[..half].to_vec()),
            Self::Zeroed => with(zeros(new.len())),
            Self::HalfZeroed => with([&new[..half], &zeros(new.len() - half)].concat()),
            Self::Headless => with([&zeros(half), &new[half..]].concat()),
            Self::Garbled => with(new.iter().map(|byte| !byte).collect()),
        }
    }
}

impl State {
    fn check(&mut self, calls: &[Call]) -> io::Result<()> {
        for fault in self.faults.iter_mut().filter(|fault| calls.contains(&fault.call)) {
            if fault.after > 0 {
                fault.after -= 1;
            } else if fault.times > 0 {
                fault.times -= 1;
                return Err(io::Error::from_raw_os_error(fault.errno));
            }
        }
        Ok(())
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.now.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn record(&mut self, operation: Operation) {
        self.now.apply(&operation);
        self.operations.push(operation);
    }
}

impl Disk for Simulated {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut state = self.lock();
        state.check(&[Call::Read])?;
        Ok(state.now.names.keys().cloned().collect())
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        let mut state = self.lock();
        state.check(&[Call::Read])?;
        let file = state.find(name)?;
        Ok(state.now.files[file].len() as u64)
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.lock();
        state.check(&[Call::Read])?;
        let file = state.find(name)?;
        let bytes = &state.now.files[file];
        let from = usize::try_from(offset).map_or(bytes.len(), |from| from.min(bytes.len()));
        let n = buffer.len().min(bytes.len() - from);
        let end = offset + n as u64;
        if state.bad.iter().any(|(bad, range)| bad == name && range.start < end && offset < range.end) {
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()));
        }
        buffer[..n].copy_from_slice(&bytes[from..from + n]);
        Ok(n)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.lock();
        state.check(&[Call::Write, Call::Change])?;
        let file = match state.find(name) {
            Ok(file) => {
                state.record(Operation::Empty { file });
                file
            }
            Err(_) => {
                let file = state.now.files.len();
                state.record(Operation::Create { name: name.to_owned(), file });
                file
            }
        };
        Ok(Box::new(Open { disk: self.clone(), file }))
    }

    fn append(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.lock();
        state.check(&[Call::Write, Call::Change])?;
        let file = state.find(name)?;
        Ok(Box::new(Open { disk: self.clone(), file }))
    }

    fn shorten(&self, name: &str, size: u64) -> io::Result<()> {
        let mut state = self.lock();
        state.check(&[Call::Write, Call::Change])?;
        let file = state.find(name)?;
        let len = usize::try_from(size).map_or(usize::MAX, |size| size).min(state.now.files[file].len());
        state.record(Operation::Shorten { file, len });
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.check(&[Call::Name, Call::Change])?;
        state.find(from)?;
        state.record(Operation::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.check(&[Call::Name, Call::Change])?;
        if state.find(name).is_ok() {
            state.record(Operation::Remove { name: name.to_owned() });
        }
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.lock();
        state.check(&[Call::Sync, Call::Change])?;
        state.record(Operation::SyncDirectory);
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        let state = self.lock();
        let total = state.limit.unwrap_or(1 << 40);
        Ok(Space { free: total.saturating_sub(state.now.used()), total, in_memory: false })
    }

    fn shown(&self, name: &str) -> String {
        format!("simulated/{name}")
    }
}

struct Open {
    disk: Simulated,
    file: usize,
}

impl DiskFile for Open {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.check(&[Call::Write, Call::Change])?;
        let free = state.limit.map_or(u64::MAX, |limit| limit.saturating_sub(state.now.used()));
        let n = bytes.len().min(usize::try_from(free).unwrap_or(usize::MAX));
        state.record(Operation::Write { file: self.file, bytes: bytes[..n].to_vec() });
        if n < bytes.len() {
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error()));
        }
        Ok(())
    }

    fn sync_data(&mut self) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.check(&[Call::Sync, Call::Change])?;
        state.record(Operation::SyncData { file: self.file });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
