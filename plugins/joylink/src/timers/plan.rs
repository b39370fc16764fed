//! [`Plan`]: when the steps of a task are due, read from what a peer said and found to make sense.

use super::expression::{ExpressionError, TimeExpression, TimesOfDay};
use super::period::{Period, WeekIndex0};
use super::wire::{Body, Commands, Task};

/// When steps are due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// By the calendar: modes 0 and 1.
    Calendar(Box<Calendar>),
    /// By the time since the task was started: modes 2 and 3.
    Course(Course),
}

/// Steps at instants of local time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Calendar {
    /// Step 1 at each instant.
    At(TimeExpression),
    /// Step 1 at the first start after the anchor, step 2 at the first stop after that.
    Once {
        /// The start.
        start: TimeExpression,
        /// The stop.
        stop: TimeExpression,
    },
    /// Step 1 and step 2 at times of day.
    Days {
        /// On which days.
        period: Period,
        /// When step 1.
        start: TimesOfDay,
        /// When step 2.
        stop: TimesOfDay,
        /// 1 for a span over midnight: the stop belongs to the day after.
        stop_days_later: u8,
    },
}

/// Steps at distances from the start, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// Step 1, `action_ms` later step 2, `sleep_ms` later step 1 again. Not both are 0.
    Cycle {
        /// From step 1 to step 2.
        action_ms: u64,
        /// From step 2 to step 1.
        sleep_ms: u64,
        /// How often; `None` is without end.
        rounds: Option<u64>,
    },
    /// Step 1 at once, step 2 later.
    Countdown {
        /// From step 1 to step 2.
        interval_ms: u64,
    },
}

/// Why a task makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Senseless {
    /// One of its expressions is none.
    #[error(transparent)]
    Expression(#[from] ExpressionError),
    /// Neither stopped nor running.
    #[error("state {0} is neither 0 nor 1")]
    State(u8),
    /// Neither once nor by days.
    #[error("repeat_flag {0} is neither 0 nor 1")]
    Repeat(u8),
    /// Neither days of the week nor of the month.
    #[error("period_type {0} is neither 0 nor 1")]
    PeriodType(u8),
    /// An interval where a time of day is needed.
    #[error("an interval is no time of day")]
    NoTimeOfDay,
    /// A time or number below 0, or a cycle that takes no time.
    #[error("a length or number of {0}")]
    Length(i32),
}

impl Plan {
    /// Reads when a task is to do what.
    ///
    /// # Errors
    /// It makes no sense.
    pub fn new(task: &Task, week_index0: WeekIndex0) -> Result<Self, Senseless> {
        if task.state > 1 {
            return Err(Senseless::State(task.state));
        }
        match &task.body {
            Body::Expression { expression, .. } => Ok(Self::by(Calendar::At(expression.parse()?))),
            Body::Span { start, stop, repeat: 0, .. } => {
                Ok(Self::by(Calendar::Once { start: start.parse()?, stop: stop.parse()? }))
            }
            Body::Span { start, stop, repeat: 1, period_type, period, .. } => {
                let time = |text: &str| text.parse::<TimeExpression>()?.times_of_day().ok_or(Senseless::NoTimeOfDay);
                let (start, stop) = (time(start)?, time(stop)?);
                let period = Period::new(*period_type, period, week_index0);
                let period = period.ok_or(Senseless::PeriodType(*period_type))?;
                // From 22:00 to 6:30 on Fridays ends on Saturday (not documented; chosen by us: otherwise it would last
                // until the next selected day, and stop there what was not started).
                let stop_days_later = u8::from(stop.last() <= start.first());
                Ok(Self::by(Calendar::Days { period, start, stop, stop_days_later }))
            }
            Body::Span { repeat, .. } => Err(Senseless::Repeat(*repeat)),
            Body::Cycle { action_s, sleep_s, times, .. } => {
                let (action_ms, sleep_ms, times) = (milliseconds(*action_s)?, milliseconds(*sleep_s)?, length(*times)?);
                if action_ms + sleep_ms == 0 {
                    return Err(Senseless::Length(0));
                }
                Ok(Self::Course(Course::Cycle { action_ms, sleep_ms, rounds: (times > 0).then_some(times) }))
            }
            Body::Countdown { interval_s, .. } => {
                Ok(Self::Course(Course::Countdown { interval_ms: milliseconds(*interval_s)? }))
            }
        }
    }
}

impl Plan {
    fn by(calendar: Calendar) -> Self {
        Self::Calendar(Box::new(calendar))
    }
}

impl Calendar {
    /// The first instant after `now` (Unix seconds) and what is due then, in order. `anchor`: when the task was enabled.
    #[must_use]
    pub fn next_after(&self, anchor: i64, now: i64, offset_s: i32) -> Option<(i64, &'static [u8])> {
        match self {
            Self::At(expression) => Some((expression.next_after(anchor, now, offset_s)?, START)),
            Self::Once { start, stop } => {
                let start = start.next_after(anchor, anchor, offset_s);
                if let Some(start) = start.filter(|start| *start > now) {
                    return Some((start, START));
                }
                // The task may have been enabled within its span: then only the stop is left.
                let stop = stop.next_after(anchor, start.unwrap_or(anchor), offset_s)?;
                (stop > now).then_some((stop, STOP))
            }
            Self::Days { period, start, stop, stop_days_later } => {
                let start = period.next_after(start, 0, now, offset_s);
                let stop = period.next_after(stop, *stop_days_later, now, offset_s);
                match (start, stop) {
                    (Some(start), Some(stop)) if start == stop => Some((start, STOP_AND_START)),
                    (Some(start), Some(stop)) if stop < start => Some((stop, STOP)),
                    (Some(start), _) => Some((start, START)),
                    (None, stop) => Some((stop?, STOP)),
                }
            }
        }
    }
}

impl Course {
    /// How many steps there are; `None` is without end.
    #[must_use]
    pub const fn n_steps(self) -> Option<u64> {
        match self {
            Self::Cycle { rounds: Some(rounds), .. } => Some(2 * rounds),
            Self::Cycle { rounds: None, .. } => None,
            Self::Countdown { .. } => Some(2),
        }
    }

    /// How long after the start the step with this index, from 0, is due.
    #[must_use]
    pub const fn due_ms(self, index: u64) -> u64 {
        match self {
            Self::Cycle { action_ms, sleep_ms, .. } => {
                (index / 2).saturating_mul(action_ms + sleep_ms).saturating_add(index % 2 * action_ms)
            }
            Self::Countdown { interval_ms } => index.saturating_mul(interval_ms),
        }
    }

    /// How many steps are due, this long after the start.
    #[must_use]
    pub fn n_due(self, elapsed_ms: u64) -> u64 {
        match self {
            Self::Cycle { action_ms, sleep_ms, .. } => {
                let round_ms = action_ms + sleep_ms;
                let n_due = 2 * (elapsed_ms / round_ms) + 1 + u64::from(elapsed_ms % round_ms >= action_ms);
                n_due.min(self.n_steps().unwrap_or(u64::MAX))
            }
            Self::Countdown { interval_ms } => 1 + u64::from(elapsed_ms >= interval_ms),
        }
    }

    /// The number of the step with this index, as results name it.
    #[must_use]
    pub const fn step(self, index: u64) -> u8 {
        START[0] + (index % 2) as u8
    }
}

/// The commands of a step; none for a step that the task does not have.
#[must_use]
pub fn commands(body: &Body, step: u8) -> &Commands {
    static NONE: Commands = Commands::new();
    match (body, step) {
        (Body::Expression { commands, .. }, 1) => commands,
        (Body::Span { start_commands, .. }, 1) => start_commands,
        (Body::Span { stop_commands, .. }, 2) => stop_commands,
        (Body::Cycle { action_commands, .. } | Body::Countdown { action_commands, .. }, 1) => action_commands,
        (Body::Cycle { sleep_commands, .. }, 2) => sleep_commands,
        (Body::Countdown { stop_commands, .. }, 2) => stop_commands,
        _ => &NONE,
    }
}

fn length(length: i32) -> Result<u64, Senseless> {
    u64::try_from(length).map_err(|_| Senseless::Length(length))
}

fn milliseconds(seconds: i32) -> Result<u64, Senseless> {
    Ok(1000 * length(seconds)?)
}

/// Numbers of steps (JoyLink V1.79, chapter 10.8).
const START: &[u8] = &[1];
const STOP: &[u8] = &[2];
const STOP_AND_START: &[u8] = &[2, 1];
