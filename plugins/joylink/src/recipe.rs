//! [`Runs`]: recipes that the cloud sends (type 11), carried out step by step, and what the cloud is told of it (type 16).
//!
//! There is one recipe at a time. The session takes a step, has its values set, and says how that went; the next step is
//! then under way. A step that failed ends the recipe, since the steps behind it build on it: nobody wants the oven on
//! after the door could not be closed. After each step there is a report of all steps, which waits for its answer.
//!
//! Nothing here survives a restart: a recipe that stopped with the device must not go on by itself.
//!
//! Module map: `reports` what waits for an answer.

mod reports;

use polylink_plugin_sdk::Timestamp;
use polylink_plugin_sdk::calendar::{DAY_S, Date};

use crate::wire::recipe::{Progress, Recipe, Step, StepResult};
use crate::wire::{Code, RecipeReport, SerialAnswer};
use reports::Reports;

/// The recipe under way, and the reports of all recipes.
#[derive(Clone, Debug)]
pub struct Runs {
    utc_offset_s: i32,
    current: Option<Run>,
    reports: Reports,
}

#[derive(Clone, Debug)]
struct Run {
    task_id: i64,
    /// In the order in which they are carried out.
    steps: Vec<Step>,
    /// Of the steps that are over: whether they were done, and from when to when, in Unix milliseconds.
    results: Vec<(bool, i64, i64)>,
    /// When the step that is under way began.
    began_ms: i64,
}

impl Runs {
    /// No recipe. Times in reports are so many seconds ahead of UTC; reports are numbered from `first_serial` on.
    #[must_use]
    pub const fn new(utc_offset_s: i32, first_serial: u32) -> Self {
        Self { utc_offset_s, current: None, reports: Reports::new(first_serial) }
    }

    /// Begins a recipe; its first step is under way now.
    ///
    /// # Errors
    /// Code 17 while another one is under way, also if it is the same once more; 8 if it has no steps or more than
    /// [`STEPS_MAX`].
    pub fn begin(&mut self, recipe: Recipe, unix_ms: i64) -> Result<(), Code> {
        if self.current.is_some() {
            return Err(Code::LIMIT_REACHED);
        }
        let Recipe { task_id, sub_tasks: mut steps, .. } = recipe;
        if steps.is_empty() || steps.len() > STEPS_MAX {
            return Err(Code::LINKAGE_FAILED);
        }
        // Those with the same index stay in the order in which they came.
        steps.sort_by_key(|step| step.index);
        self.current = Some(Run { task_id, steps, results: Vec::new(), began_ms: unix_ms });
        Ok(())
    }

    /// The step that is under way; `None`: there is no recipe.
    #[must_use]
    pub fn next_step(&self) -> Option<&Step> {
        self.current.as_ref().and_then(|run| run.steps.get(run.results.len()))
    }

    /// The step that was under way is over; the next one begins, if there is one and this one was done. Returns whether
    /// there was any.
    pub fn step_done(&mut self, done: bool, now: Timestamp, unix_ms: i64) -> bool {
        let Some(run) = &mut self.current else { return false };
        run.results.push((done, run.began_ms, unix_ms));
        run.began_ms = unix_ms;
        let report = run.progress(self.utc_offset_s).encode();
        if !done || run.results.len() >= run.steps.len() {
            self.current = None;
        }
        self.reports.add(now, report);
        true
    }

    /// A factory reset, or the device was unbound: no recipe, and nothing to tell of earlier ones.
    pub fn forget_all(&mut self) {
        self.current = None;
        self.reports.forget_all();
    }

    /// The cloud let the device in: reports without an answer are sent now.
    pub fn authenticated(&mut self, now: Timestamp) {
        self.reports.authenticated(now);
    }

    /// The connection is gone: nothing is sent until the next authentication. A recipe goes on.
    pub const fn disconnected(&mut self) {
        self.reports.disconnected();
    }

    /// A report to send now. To be asked until there is none.
    pub fn poll(&mut self, now: Timestamp) -> Option<RecipeReport> {
        self.reports.poll(now)
    }

    /// When to ask [`Runs::poll`] next; `None`: when something happens.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.reports.next_timeout()
    }

    /// Takes an answer to a report; whether one with this number waited for it. A code other than success is taken for
    /// an answer too: to say the same again would not change it.
    pub fn answered(&mut self, answer: &SerialAnswer) -> bool {
        self.reports.answered(answer.serial)
    }

    /// How many reports were dropped because there were too many, the oldest first.
    #[must_use]
    pub const fn n_lost(&self) -> u64 {
        self.reports.n_lost
    }

    /// How many answers had a number that nobody waited for.
    #[must_use]
    pub const fn n_unexpected(&self) -> u64 {
        self.reports.n_unexpected
    }
}

impl Run {
    fn progress(&self, utc_offset_s: i32) -> Progress {
        let result = |(at, step): (usize, &Step)| {
            let (result, start_time, end_time) = match self.results.get(at) {
                Some((done, from, to)) => {
                    let result = if *done { DONE } else { FAILED };
                    (result, local_time(*from, utc_offset_s), local_time(*to, utc_offset_s))
                }
                None => (NOT_RUN, String::new(), String::new()),
            };
            let (id, index) = (step.id.to_string(), step.index.to_string());
            StepResult { id, index, result: result.to_owned(), start_time, end_time }
        };
        let sub_tasks = self.steps.iter().enumerate().map(result).collect();
        Progress { task_id: self.task_id.to_string(), sub_tasks }
    }
}

/// `yyyy-MM-dd HH:mm:ss`, so many seconds ahead of UTC.
fn local_time(unix_ms: i64, utc_offset_s: i32) -> String {
    let local_s = unix_ms.div_euclid(1000).saturating_add(utc_offset_s.into());
    let Date { year, month, day } = Date::from_days(local_s.div_euclid(DAY_S));
    let of_day = local_s.rem_euclid(DAY_S);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

// Results of steps (JoyLink V1.79, recipe progress).
const DONE: &str = "0";
const FAILED: &str = "1";
const NOT_RUN: &str = "-1";

/// Steps of a recipe (not documented; chosen by us: reports, which name all of them, stay far below a packet).
pub const STEPS_MAX: usize = 64;

#[cfg(test)]
mod tests;
