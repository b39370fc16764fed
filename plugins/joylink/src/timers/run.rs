//! [`Run`]: how far a running task has come, by a clock that may be missing, wrong, or set at any moment.
//!
//! No instant of the calendar is served twice, and none that was missed is made up for: a call that comes late serves the
//! last instant only, and only if it is less than a minute ago. A course runs on the monotonic clock; the wall clock
//! only tells how long the device was off.

use polylink_plugin_sdk::{ClockQuality, Now, Timestamp};

use super::expression::next::SANE;
use super::plan::{Calendar, Course};

/// The time, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Never goes back.
    pub monotonic: Timestamp,
    /// Unix milliseconds; `None` while no clock was ever set.
    pub unix_ms: Option<i64>,
}

impl From<Now> for Moment {
    fn from(now: Now) -> Self {
        let is_set = now.wall.quality > ClockQuality::UNSET;
        Self { monotonic: now.monotonic, unix_ms: is_set.then_some(now.wall.unix_ms) }
    }
}

/// How far a task has come. What is not stored is where in this process's time that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// When the task was enabled, in Unix milliseconds; `None` if nobody knew the time since.
    pub anchor_ms: Option<i64>,
    /// The last instant of the calendar that was served, or is not to be, in Unix seconds.
    pub served_s: i64,
    /// Steps of the course that were served, or are not to be.
    pub n_served: u64,
    /// A monotonic moment, and how long the course had run then; `None` after a restart.
    base: Option<(Timestamp, u64)>,
    /// Whether the time that the device was off is accounted for.
    caught_up: bool,
    /// What the calendar said last. A session asks with each input, and most change nothing.
    ahead: Option<Ahead>,
}

/// The first instant of the calendar after `from`, and so after each moment from there until that instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ahead {
    anchor_s: i64,
    from: i64,
    at: i64,
    steps: &'static [u8],
}

/// What is due.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DueSteps {
    /// Numbers of steps, in order.
    pub steps: Vec<u8>,
    /// Nothing will follow.
    pub finished: bool,
}

impl Run {
    /// A task that is enabled now.
    #[must_use]
    pub fn begin(now: Moment) -> Self {
        Self {
            anchor_ms: now.unix_ms,
            served_s: now.unix_ms.map_or(i64::MIN, seconds),
            n_served: 0,
            base: Some((now.monotonic, 0)),
            caught_up: true,
            ahead: None,
        }
    }

    /// A task that ran before a restart.
    #[must_use]
    pub const fn restored(anchor_ms: Option<i64>, served_s: i64, n_served: u64) -> Self {
        Self { anchor_ms, served_s, n_served, base: None, caught_up: false, ahead: None }
    }

    /// What of a calendar is due. Waits while the time is unknown.
    pub fn calendar(&mut self, calendar: &Calendar, now: Moment, offset_s: i32) -> DueSteps {
        let Some(now_ms) = now.unix_ms.filter(|now_ms| SANE.contains(&seconds(*now_ms))) else {
            return DueSteps::default();
        };
        let now_s = seconds(now_ms);
        let anchor_ms = *self.anchor_ms.get_or_insert(now_ms);
        // Only a clock that was wrong can have made these.
        if anchor_ms.saturating_sub(now_ms) > 1000 * WRONG_S {
            self.anchor_ms = Some(now_ms);
        }
        if self.served_s.saturating_sub(now_s) > WRONG_S {
            self.served_s = now_s;
        }
        if self.served_s == i64::MIN || !self.caught_up {
            self.served_s = self.served_s.max(now_s);
            self.caught_up = true;
        }
        let anchor_s = seconds(self.anchor_ms.unwrap_or(now_ms));
        let mut due = DueSteps::default();
        let mut from = self.served_s.max(now_s.saturating_sub(LATE_S));
        // Instants are a second apart at least, so this ends.
        while let Some((at, steps)) = self.look_ahead(calendar, anchor_s, from, offset_s).filter(|(at, _)| *at <= now_s)
        {
            due.steps = steps.to_vec();
            (from, self.served_s) = (at, at);
        }
        due.finished = self.look_ahead(calendar, anchor_s, from.max(now_s), offset_s).is_none();
        due
    }

    /// What of a course is due.
    pub fn course(&mut self, course: Course, now: Moment) -> DueSteps {
        let elapsed_ms = self.catch_up(course, now);
        let n_due = course.n_due(elapsed_ms);
        let mut due = DueSteps::default();
        if n_due > self.n_served {
            let last_ms = course.due_ms(n_due - 1);
            if elapsed_ms.saturating_sub(last_ms) <= 1000 * LATE_S as u64 {
                // No more than two steps are at the same moment, as not both parts of a cycle are empty.
                let first = self.n_served.max(n_due.saturating_sub(2));
                let together = (first..n_due).filter(|index| course.due_ms(*index) == last_ms);
                due.steps = together.map(|index| course.step(index)).collect();
            }
            self.n_served = n_due;
        }
        due.finished = course.n_steps().is_some_and(|n_steps| self.n_served >= n_steps);
        due
    }

    /// When to look again: never later than the next step is due, and earlier if the wall clock may change until then.
    #[must_use]
    pub fn next_calendar(&self, calendar: &Calendar, now: Moment, offset_s: i32) -> Timestamp {
        let look_again = now.monotonic.after(LOOK_AGAIN_MS);
        let Some(now_ms) = now.unix_ms else { return look_again };
        let anchor_s = seconds(self.anchor_ms.unwrap_or(now_ms));
        let from = self.served_s.max(seconds(now_ms).saturating_sub(LATE_S));
        let next = self.known(anchor_s, from).or_else(|| calendar.next_after(anchor_s, from, offset_s));
        let wait_ms = next.map(|(at, _)| at.saturating_mul(1000).saturating_sub(now_ms).max(0).unsigned_abs());
        wait_ms.map_or(look_again, |wait_ms| now.monotonic.after(wait_ms).min(look_again))
    }

    /// When the next step is due; at once after a restart.
    #[must_use]
    pub fn next_course(&self, course: Course, now: Moment) -> Timestamp {
        let Some((at, elapsed_ms)) = self.base else { return now.monotonic };
        let next = at.after(course.due_ms(self.n_served).saturating_sub(elapsed_ms));
        // The wall clock may tell that more time has passed.
        if self.caught_up { next } else { next.min(now.monotonic.after(LOOK_AGAIN_MS)) }
    }

    /// The first instant after `from`, from the calendar only where that was not known. A run has one calendar.
    fn look_ahead(
        &mut self,
        calendar: &Calendar,
        anchor_s: i64,
        from: i64,
        offset_s: i32,
    ) -> Option<(i64, &'static [u8])> {
        if let Some(known) = self.known(anchor_s, from) {
            return Some(known);
        }
        let next = calendar.next_after(anchor_s, from, offset_s);
        self.ahead = next.map(|(at, steps)| Ahead { anchor_s, from, at, steps });
        next
    }

    fn known(&self, anchor_s: i64, from: i64) -> Option<(i64, &'static [u8])> {
        let ahead = self.ahead.filter(|ahead| ahead.anchor_s == anchor_s && (ahead.from..ahead.at).contains(&from))?;
        Some((ahead.at, ahead.steps))
    }

    /// How long the course has run, in milliseconds.
    fn catch_up(&mut self, course: Course, now: Moment) -> u64 {
        let (at, elapsed_ms) = *self.base.get_or_insert_with(|| {
            let last = self.n_served.checked_sub(1).map_or(0, |last| course.due_ms(last));
            (now.monotonic, last)
        });
        let mut elapsed_ms = elapsed_ms.saturating_add(now.monotonic.since(at));
        let Some(now_ms) = now.unix_ms else { return elapsed_ms };
        if !self.caught_up {
            self.caught_up = true;
            let by_wall = self.anchor_ms.map_or(0, |anchor_ms| now_ms.saturating_sub(anchor_ms).max(0).unsigned_abs());
            if by_wall > elapsed_ms {
                elapsed_ms = by_wall;
                self.base = Some((now.monotonic, elapsed_ms));
                self.n_served = self.n_served.max(course.n_due(elapsed_ms));
            }
        }
        // Follows the wall clock where that was set, so that a restart finds the right distance.
        let anchor_ms = now_ms.saturating_sub_unsigned(elapsed_ms);
        if self.anchor_ms.is_none_or(|stored| stored.abs_diff(anchor_ms) > DRIFT_MS) {
            self.anchor_ms = Some(anchor_ms);
        }
        elapsed_ms
    }
}

const fn seconds(unix_ms: i64) -> i64 {
    unix_ms.div_euclid(1000)
}

/// A step that is later than this is missed (not documented; chosen by us: more than a busy system or a corrected clock
/// takes, less than a user would wonder about).
pub const LATE_S: i64 = 60;

/// Not documented; chosen by us: what was done more than a day in the future was done by a wrong clock, and does not keep
/// a task silent until then.
pub const WRONG_S: i64 = 86_400;

/// Not documented; chosen by us: nobody tells when the wall clock is set, so it is looked at often enough that a step is
/// not missed.
pub const LOOK_AGAIN_MS: u64 = 30_000;

/// Not documented; chosen by us: smaller corrections of the wall clock are not worth storing.
const DRIFT_MS: u64 = 2_000;
