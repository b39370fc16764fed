//! Tasks that tests add. Step 1 of task 7 sets `n` to 71, step 2 to 72.

use crate::scenarios::life::{name, set_n};
use crate::scenarios::stage::FEEDID;
use crate::timers::wire::{Body, Commands, Operation, Request, Task};
use crate::wire::Text;

/// A task of the device itself that runs.
pub fn task(id: i32, body: Body) -> Task {
    let task_name = Text::new(&format!("task {id}")).expect("a short name");
    Task { feedid: name(FEEDID), name: task_name, id, state: 1, origin: 0, version: 0, body }
}

/// What the step of a task does.
pub fn commands(id: i32, step: i64) -> Commands {
    vec![set_n(i64::from(id) * 10 + step)]
}

/// Mode 0.
pub fn at(id: i32, expression: &str) -> Task {
    task(id, Body::Expression { expression: expression.to_owned(), commands: commands(id, 1) })
}

/// Mode 1, once.
pub fn once(id: i32, start: &str, stop: &str) -> Task {
    span(id, start, stop, 0, 0, &[])
}

/// Mode 1, on these days of the week (period type 0) or month (1), counted from 0.
pub fn span(id: i32, start: &str, stop: &str, repeat: u8, period_type: u8, days: &[usize]) -> Task {
    let body = Body::Span {
        start: start.to_owned(),
        stop: stop.to_owned(),
        repeat,
        period_type,
        period: std::array::from_fn(|day| u8::from(days.contains(&day))),
        start_commands: commands(id, 1),
        stop_commands: commands(id, 2),
    };
    task(id, body)
}

/// Mode 2.
pub fn cycle(id: i32, action_s: i32, sleep_s: i32, times: i32) -> Task {
    let (action_commands, sleep_commands) = (commands(id, 1), commands(id, 2));
    task(id, Body::Cycle { action_s, sleep_s, times, action_commands, sleep_commands })
}

/// Mode 3.
pub fn countdown(id: i32, interval_s: i32) -> Task {
    let (action_commands, stop_commands) = (commands(id, 1), commands(id, 2));
    task(id, Body::Countdown { interval_s, action_commands, stop_commands })
}

pub fn add(tasks: impl IntoIterator<Item = Task>) -> Request {
    Request::Tasks(Operation::Add, tasks.into_iter().collect())
}

pub fn modify(tasks: impl IntoIterator<Item = Task>) -> Request {
    Request::Tasks(Operation::Modify, tasks.into_iter().collect())
}
