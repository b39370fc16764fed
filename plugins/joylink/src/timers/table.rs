//! [`Table`]: the tasks of a device and its sub-devices, and what the cloud, an app or the device itself may do to them.
//! What would fail in part does not happen at all, except where a list of ids is asked for.

mod serve;
mod stored;

use polylink_plugin_sdk::bytes::Writer;

use super::period::WeekIndex0;
use super::plan::{Plan, Senseless};
use super::run::{Moment, Run};
use super::wire::{Body, Commands, Listing, Task};
use crate::wire::FeedId;

pub use serve::Served;
pub use stored::Damage;

/// Names a task here, with or without an id. Not given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey(pub u32);

/// What the table needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The device itself, as opposed to its sub-devices.
    pub feedid: FeedId,
    /// How many tasks there can be.
    pub max_tasks: usize,
    /// Seconds that the local time of expressions is ahead of UTC.
    pub utc_offset_s: i32,
    /// What `period[0]` of a week is.
    pub week_index0: WeekIndex0,
}

/// All tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub(super) settings: Settings,
    pub(super) entries: Vec<Entry>,
    pub(super) changed: bool,
    next_key: u32,
    /// Deleted by the device, and the cloud does not know it yet.
    deleted: Vec<i32>,
}

/// A task and what it is up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub(super) key: TaskKey,
    pub(super) task: Task,
    pub(super) plan: Plan,
    /// Exactly while the task's state is 1.
    pub(super) run: Option<Run>,
    /// By the device, and the cloud does not know it yet.
    modified: bool,
}

/// Why nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is a task with this id.
    #[error("there is a task {0} already")]
    AlreadyThere(i32),
    /// There is no task with this id, or it is another device's.
    #[error("there is no task {0}")]
    Unknown(i32),
    /// Only tasks that the device made have no id.
    #[error("a task without an id")]
    NoId,
    /// The task makes no sense.
    #[error("task {0} makes no sense: {1}")]
    Senseless(i32, Senseless),
    /// There are too many tasks, or their commands are too long.
    #[error("the task table is full")]
    Full,
}

impl Refusal {
    /// The code of an answer.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Self::Full => LIMIT_REACHED,
            _ => TIMER_FAILED,
        }
    }
}

impl Table {
    /// No tasks.
    #[must_use]
    pub const fn new(settings: Settings) -> Self {
        Self { settings, entries: Vec::new(), changed: false, next_key: 1, deleted: Vec::new() }
    }

    /// All tasks, in the order in which they came.
    pub fn tasks(&self) -> impl Iterator<Item = (TaskKey, &Task)> {
        self.entries.iter().map(|entry| (entry.key, &entry.task))
    }

    /// Whether what is to be stored differs from the last time that this was asked.
    pub const fn take_changed(&mut self) -> bool {
        std::mem::replace(&mut self.changed, false)
    }

    /// Adds tasks of the cloud or an app.
    ///
    /// # Errors
    /// One of them cannot be added; then none is.
    pub fn add(&mut self, tasks: Vec<Task>, now: Moment) -> Result<(), Refusal> {
        self.all_or_nothing(|table| {
            tasks.into_iter().try_for_each(|task| {
                if task.id == NO_ID {
                    return Err(Refusal::NoId);
                }
                table.insert(task, now).map(|_| ())
            })
        })
    }

    /// Changes tasks as the cloud or an app says. They start afresh.
    ///
    /// # Errors
    /// One of them cannot be changed; then none is.
    pub fn modify(&mut self, tasks: Vec<Task>, now: Moment) -> Result<(), Refusal> {
        self.all_or_nothing(|table| tasks.into_iter().try_for_each(|task| table.replace(task, now)))
    }

    /// Deletes tasks; none named means all that have an id. Returns those that are not there.
    pub fn delete(&mut self, ids: &[i32]) -> Vec<i32> {
        let failed = self.unknown(ids);
        let n_before = self.entries.len();
        self.entries.retain(|entry| !entry.is_meant(ids));
        self.changed |= self.entries.len() != n_before;
        failed
    }

    /// Stops tasks; none named means all that have an id. Returns those that are not there.
    pub fn stop(&mut self, ids: &[i32]) -> Vec<i32> {
        self.each(ids, Entry::stop)
    }

    /// Starts tasks afresh; none named means all that have an id. Returns those that are not there.
    pub fn restart(&mut self, ids: &[i32], now: Moment) -> Vec<i32> {
        self.each(ids, |entry| {
            entry.task.state = RUNNING;
            entry.run = Some(Run::begin(now));
        })
    }

    /// The tasks that are there, a listing for each device that has some; none named means all of the device itself.
    /// At least one listing.
    #[must_use]
    pub fn query(&self, ids: &[i32]) -> Vec<Listing> {
        if ids.is_empty() {
            return vec![self.listing(self.settings.feedid)];
        }
        let mut listings = Vec::new();
        for feedid in self.feedids() {
            let mut listing = self.listing(feedid);
            listing.tasks.retain(|task| ids.contains(&task.id));
            if !listing.tasks.is_empty() {
                listings.push(listing);
            }
        }
        if listings.is_empty() {
            listings.push(Listing { feedid: self.settings.feedid, tasks: Vec::new() });
        }
        listings
    }

    /// All tasks that have an id: a listing for the device itself, and one for each sub-device that has tasks.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Listing> {
        self.feedids().into_iter().map(|feedid| self.listing(feedid)).collect()
    }

    /// Adds a task that the device made; the cloud will give it an id.
    ///
    /// # Errors
    /// It cannot be added.
    pub fn add_own(&mut self, task: Task, now: Moment) -> Result<TaskKey, Refusal> {
        self.insert(Task { id: NO_ID, version: 0, ..task }, now)
    }

    /// Changes a task as the device says; empty parts stay, as in [`Table::modify`]. The id stays, the version counts up.
    ///
    /// # Errors
    /// It cannot be changed.
    pub fn modify_own(&mut self, key: TaskKey, task: Task, now: Moment) -> Result<(), Refusal> {
        let index = self.entries.iter().position(|entry| entry.key == key).ok_or(Refusal::Unknown(task.id))?;
        let Task { id, version, .. } = self.entries[index].task;
        self.put(index, Task { id, version: version.wrapping_add(1), ..task }, now)?;
        self.entries[index].modified = id != NO_ID;
        Ok(())
    }

    /// Deletes a task as the device says; whether there was one.
    pub fn delete_own(&mut self, key: TaskKey) -> bool {
        let Some(index) = self.entries.iter().position(|entry| entry.key == key) else { return false };
        let id = self.entries.remove(index).task.id;
        if id != NO_ID {
            self.deleted.push(id);
            let n_surplus = self.deleted.len().saturating_sub(DELETED_MAX);
            self.deleted.drain(..n_surplus);
        }
        self.changed = true;
        true
    }

    /// Takes the id that the cloud gave to a task of the device; whether it could be.
    pub fn assign(&mut self, key: TaskKey, id: i32) -> bool {
        if id == NO_ID || self.find(id).is_some() {
            return false;
        }
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.key == key && entry.task.id == NO_ID) else {
            return false;
        };
        entry.task.id = id;
        self.changed = true;
        true
    }

    /// The first task after `after` that the cloud has to give an id to.
    #[must_use]
    pub fn without_id(&self, after: Option<TaskKey>) -> Option<(TaskKey, &Task)> {
        self.tasks().find(|(key, task)| task.id == NO_ID && after.is_none_or(|after| *key > after))
    }

    /// Tasks that the device changed, and the cloud does not know it.
    #[must_use]
    pub fn modified(&self) -> Vec<Task> {
        self.entries.iter().filter(|entry| entry.modified).map(|entry| entry.task.clone()).collect()
    }

    /// The cloud knows that the device made these versions of these tasks.
    pub fn modifications_known(&mut self, tasks: &[(i32, i32)]) {
        for entry in &mut self.entries {
            if entry.modified && tasks.contains(&(entry.task.id, entry.task.version)) {
                entry.modified = false;
                self.changed = true;
            }
        }
    }

    /// Tasks that the device deleted, and the cloud does not know it.
    #[must_use]
    pub fn deleted(&self) -> &[i32] {
        &self.deleted
    }

    /// The cloud knows that the device deleted these.
    pub fn deletions_known(&mut self, ids: &[i32]) {
        let n_before = self.deleted.len();
        self.deleted.retain(|id| !ids.contains(id));
        self.changed |= self.deleted.len() != n_before;
    }

    fn all_or_nothing(&mut self, change: impl FnOnce(&mut Self) -> Result<(), Refusal>) -> Result<(), Refusal> {
        let mut changed = self.clone();
        change(&mut changed)?;
        *self = changed;
        Ok(())
    }

    fn insert(&mut self, task: Task, now: Moment) -> Result<TaskKey, Refusal> {
        if task.id != NO_ID && self.find(task.id).is_some() {
            return Err(Refusal::AlreadyThere(task.id));
        }
        let plan = self.plan(&task)?;
        if self.entries.len() >= self.settings.max_tasks || self.n_bytes() + n_bytes(&task) > BYTES_MAX {
            return Err(Refusal::Full);
        }
        let key = TaskKey(self.next_key);
        self.next_key = self.next_key.checked_add(1).ok_or(Refusal::Full)?;
        let run = (task.state == RUNNING).then(|| Run::begin(now));
        self.entries.push(Entry { key, task, plan, run, modified: false });
        self.changed = true;
        Ok(key)
    }

    fn replace(&mut self, task: Task, now: Moment) -> Result<(), Refusal> {
        let id = task.id;
        let index = self.find(id).filter(|index| self.entries[*index].task.feedid == task.feedid);
        self.put(index.ok_or(Refusal::Unknown(id))?, task, now)
    }

    fn put(&mut self, index: usize, mut task: Task, now: Moment) -> Result<(), Refusal> {
        let old = &self.entries[index].task;
        if task.name.is_empty() {
            task.name = old.name;
        }
        inherit(&mut task.body, &old.body);
        let plan = self.plan(&task)?;
        if self.n_bytes() - n_bytes(old) + n_bytes(&task) > BYTES_MAX {
            return Err(Refusal::Full);
        }
        let run = (task.state == RUNNING).then(|| Run::begin(now));
        let key = self.entries[index].key;
        self.entries[index] = Entry { key, task, plan, run, modified: false };
        self.changed = true;
        Ok(())
    }

    fn plan(&self, task: &Task) -> Result<Plan, Refusal> {
        Plan::new(task, self.settings.week_index0).map_err(|reason| Refusal::Senseless(task.id, reason))
    }

    fn each(&mut self, ids: &[i32], change: impl Fn(&mut Entry)) -> Vec<i32> {
        let failed = self.unknown(ids);
        for entry in self.entries.iter_mut().filter(|entry| entry.is_meant(ids)) {
            change(entry);
            self.changed = true;
        }
        failed
    }

    fn unknown(&self, ids: &[i32]) -> Vec<i32> {
        ids.iter().copied().filter(|id| self.find(*id).is_none()).collect()
    }

    fn find(&self, id: i32) -> Option<usize> {
        self.entries.iter().position(|entry| entry.task.id == id && id != NO_ID)
    }

    fn listing(&self, feedid: FeedId) -> Listing {
        let of_this = self.entries.iter().filter(|entry| entry.task.feedid == feedid && entry.task.id != NO_ID);
        Listing { feedid, tasks: of_this.map(|entry| entry.task.clone()).collect() }
    }

    /// The device itself first.
    fn feedids(&self) -> Vec<FeedId> {
        let mut feedids = vec![self.settings.feedid];
        for entry in self.entries.iter().filter(|entry| entry.task.id != NO_ID) {
            if !feedids.contains(&entry.task.feedid) {
                feedids.push(entry.task.feedid);
            }
        }
        feedids
    }

    fn n_bytes(&self) -> usize {
        self.entries.iter().map(|entry| n_bytes(&entry.task)).sum()
    }
}

impl Entry {
    /// Nothing of it is pending any more.
    pub(super) const fn stop(&mut self) {
        self.task.state = STOPPED;
        self.run = None;
    }

    fn is_meant(&self, ids: &[i32]) -> bool {
        self.task.id != NO_ID && (ids.is_empty() || ids.contains(&self.task.id))
    }
}

/// Empty parts of variable size mean what was there before.
fn inherit(new: &mut Body, old: &Body) {
    let text = |new: &mut String, old: &String| {
        if new.is_empty() {
            new.clone_from(old);
        }
    };
    let commands = |new: &mut Commands, old: &Commands| {
        if new.is_empty() {
            new.clone_from(old);
        }
    };
    match (new, old) {
        (Body::Expression { expression, commands: list }, Body::Expression { expression: e, commands: l }) => {
            text(expression, e);
            commands(list, l);
        }
        (
            Body::Span { start, stop, start_commands, stop_commands, .. },
            Body::Span { start: a, stop: b, start_commands: c, stop_commands: d, .. },
        ) => {
            text(start, a);
            text(stop, b);
            commands(start_commands, c);
            commands(stop_commands, d);
        }
        (
            Body::Cycle { action_commands, sleep_commands, .. },
            Body::Cycle { action_commands: a, sleep_commands: b, .. },
        ) => {
            commands(action_commands, a);
            commands(sleep_commands, b);
        }
        (
            Body::Countdown { action_commands, stop_commands, .. },
            Body::Countdown { action_commands: a, stop_commands: b, .. },
        ) => {
            commands(action_commands, a);
            commands(stop_commands, b);
        }
        // Another mode has nothing to inherit.
        _ => {}
    }
}

fn n_bytes(task: &Task) -> usize {
    let mut writer = Writer::new();
    task.encode(&mut writer);
    writer.len()
}

/// "Empty" (JoyLink V1.79, chapter 10.9): the id of a task that the cloud does not know yet.
const NO_ID: i32 = 0;

/// States of a task (JoyLink V1.79, chapter 10).
const STOPPED: u8 = 0;
const RUNNING: u8 = 1;

/// Codes of answers (JoyLink V1.79, chapter 13).
const TIMER_FAILED: i32 = 3;
const LIMIT_REACHED: i32 = 17;

/// Tasks on the wire, together (not documented; chosen by us: what is stored stays below the 64 KiB of a stored value,
/// and a snapshot below those of a packet). What does not fit is refused.
const BYTES_MAX: usize = 48 * 1024;

/// Deletions that the cloud is to be told (not documented; chosen by us). Beyond, the oldest are forgotten: the next
/// snapshot shows the cloud that the task is gone.
const DELETED_MAX: usize = 64;

#[cfg(test)]
mod tests;
