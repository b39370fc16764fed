//! What of the task table is due: the part of [`Table`] that runs with time.

use super::plan::{Plan, commands};
use super::run::{Moment, Run};
use super::table::{Entry, Table, TaskKey};
use super::wire::Commands;
use crate::wire::FeedId;
use polylink_plugin_sdk::Timestamp;

/// A step of a task that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Which task.
    pub task: TaskKey,
    /// Its id; 0 while the cloud has given it none.
    pub id: i32,
    /// For whom.
    pub feedid: FeedId,
    /// 1 or 2.
    pub step: u8,
    /// For the main controller, in this order. The code of the step is that of the first that fails; 0 if there are none.
    pub commands: Commands,
}

impl Table {
    /// What is due, in the order of the table. A task that nothing follows is stopped.
    pub fn advance(&mut self, now: Moment) -> Vec<Due> {
        let offset_s = self.settings.utc_offset_s;
        let mut due = Vec::new();
        for entry in &mut self.entries {
            let Some(run) = &mut entry.run else { continue };
            let anchor_ms = run.anchor_ms;
            let steps = match &entry.plan {
                Plan::Calendar(calendar) => run.calendar(calendar, now, offset_s),
                Plan::Course(course) => run.course(*course, now),
            };
            self.changed |= run.anchor_ms != anchor_ms;
            let next = next_of(&entry.plan, run, now, offset_s);
            // Each store wears the flash, and a task may be due every second.
            self.changed |= !steps.steps.is_empty() && next.since(now.monotonic) >= STORE_GAP_MS;
            due.extend(steps.steps.into_iter().filter_map(|step| due_step(entry, step)));
            if steps.finished {
                entry.stop();
                self.changed = true;
            }
        }
        due
    }

    /// When to call [`Table::advance`] next; `None`: nothing runs.
    #[must_use]
    pub fn next_due(&self, now: Moment) -> Option<Timestamp> {
        let running = self.entries.iter().filter_map(|entry| Some((&entry.plan, entry.run.as_ref()?)));
        running.map(|(plan, run)| next_of(plan, run, now, self.settings.utc_offset_s)).min()
    }
}

fn due_step(entry: &Entry, step: u8) -> Option<Due> {
    let Entry { key, task, plan, .. } = entry;
    let commands = commands(&task.body, step).clone();
    // "action_cmds at once if any": a countdown has no first step without them.
    let is_none =
        matches!(plan, Plan::Course(super::plan::Course::Countdown { .. })) && step == 1 && commands.is_empty();
    (!is_none).then_some(Due { task: *key, id: task.id, feedid: task.feedid, step, commands })
}

fn next_of(plan: &Plan, run: &Run, now: Moment, offset_s: i32) -> Timestamp {
    match plan {
        Plan::Calendar(calendar) => run.next_calendar(calendar, now, offset_s),
        Plan::Course(course) => run.next_course(*course, now),
    }
}

/// Not documented; chosen by us: a task that is due more often is not stored each time. After a restart it may be off
/// by the steps since, which are not made up for anyway.
const STORE_GAP_MS: u64 = super::run::LOOK_AGAIN_MS;

#[cfg(test)]
pub(in crate::timers) mod tests;
