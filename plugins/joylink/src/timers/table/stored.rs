//! The table as it is stored: our own format, tasks in the form of the wire, each with its length so that a damaged one
//! costs no other.

use polylink_plugin_sdk::bytes::{Reader, Truncated, Writer};

use super::{DELETED_MAX, Entry, NO_ID, RUNNING, Settings, Table, TaskKey};
use crate::timers::plan::Plan;
use crate::timers::run::Run;
use crate::timers::wire::Task;

/// What of a stored table was lost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Not a table, or that of a later version: all is lost.
    #[error("the stored timers are of an unknown form")]
    UnknownForm,
    /// It ends too early: what follows is lost.
    #[error("the stored timers end too early")]
    Truncated,
    /// One task, by its place, makes no sense, or there is no room for it.
    #[error("stored timer number {0} is damaged")]
    Task(usize),
}

impl From<Truncated> for Damage {
    fn from(_: Truncated) -> Self {
        Self::Truncated
    }
}

impl Table {
    /// What to store.
    #[must_use]
    pub fn stored(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(FORM).u32_le(self.next_key).u16_le(self.deleted.len() as u16);
        self.deleted.iter().for_each(|id| {
            writer.i32_le(*id);
        });
        for entry in &self.entries {
            let mut record = Writer::new();
            let run = entry.run.unwrap_or(Run::restored(None, 0, 0));
            record.u32_le(entry.key.0).u8(u8::from(entry.modified));
            record.i64_le(run.anchor_ms.unwrap_or(i64::MIN)).i64_le(run.served_s).u64_le(run.n_served);
            entry.task.encode(&mut record);
            // The limit for all tasks together keeps this far below 64 KiB.
            writer.u16_le(record.len() as u16).bytes(record.written());
        }
        writer.finish()
    }

    /// The table that was stored, and what of it was lost.
    #[must_use]
    pub fn restore(bytes: &[u8], settings: Settings) -> (Self, Vec<Damage>) {
        let mut table = Self::new(settings);
        let mut damages = Vec::new();
        if let Err(damage) = table.read(&mut Reader::new(bytes), &mut damages) {
            damages.push(damage);
        }
        table.changed = !damages.is_empty();
        (table, damages)
    }

    fn read(&mut self, reader: &mut Reader<'_>, damages: &mut Vec<Damage>) -> Result<(), Damage> {
        if reader.u8()? != FORM {
            return Err(Damage::UnknownForm);
        }
        self.next_key = reader.u32_le()?.max(1);
        for _ in 0..reader.u16_le()? {
            let id = reader.i32_le()?;
            if self.deleted.len() < DELETED_MAX {
                self.deleted.push(id);
            }
        }
        for number in 0.. {
            if reader.is_empty() {
                break;
            }
            let length = reader.u16_le()?;
            let record = reader.take(length.into())?;
            match self.entry(record) {
                Some(entry) => {
                    self.next_key = self.next_key.max(entry.key.0.saturating_add(1));
                    self.entries.push(entry);
                }
                None => damages.push(Damage::Task(number)),
            }
        }
        Ok(())
    }

    fn entry(&self, record: &[u8]) -> Option<Entry> {
        let mut reader = Reader::new(record);
        let key = TaskKey(reader.u32_le().ok()?);
        let modified = reader.u8().ok()? == 1;
        let anchor_ms = Some(reader.i64_le().ok()?).filter(|anchor_ms| *anchor_ms != i64::MIN);
        let (served_s, n_served) = (reader.i64_le().ok()?, reader.u64_le().ok()?);
        let task = Task::decode(&mut reader).ok().filter(|_| reader.is_empty())?;
        let plan = Plan::new(&task, self.settings.week_index0).ok()?;
        let is_there = self.entries.iter().any(|entry| entry.key == key) || self.find(task.id).is_some();
        let is_full =
            self.entries.len() >= self.settings.max_tasks || self.n_bytes() + super::n_bytes(&task) > super::BYTES_MAX;
        let run = (task.state == RUNNING).then(|| Run::restored(anchor_ms, served_s, n_served));
        (!is_there && !is_full).then_some(Entry { key, modified: modified && task.id != NO_ID, task, plan, run })
    }
}

/// The first byte of what is stored. Another one is another form.
const FORM: u8 = 1;
