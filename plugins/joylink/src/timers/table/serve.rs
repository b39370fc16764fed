//! Requests of the cloud or an app, and their answers.

use super::{Refusal, Table};
use crate::timers::run::Moment;
use crate::timers::wire::{Answer, Operation, Request};

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// To be sent, in this order; each repeats the serial number of the request.
    pub answers: Vec<Answer>,
    /// The tasks are others now: a snapshot is wanted.
    pub changed: bool,
    /// Why it was refused, for the log.
    pub refusal: Option<Refusal>,
}

impl Table {
    /// Does what is asked; `None` for what only a cloud is asked.
    pub fn serve(&mut self, request: Request, now: Moment) -> Option<Served> {
        match request {
            Request::Supported => Some(Served::same(vec![Answer::Code(Operation::Supported, DONE)])),
            Request::Tasks(operation @ Operation::Add, tasks) => Some(Served::all(operation, self.add(tasks, now))),
            Request::Tasks(operation @ Operation::Modify, tasks) => {
                Some(Served::all(operation, self.modify(tasks, now)))
            }
            Request::Ids(operation @ Operation::Delete, ids) => {
                let failed = self.delete(&ids);
                Some(Served::some(operation, &ids, failed))
            }
            Request::Ids(operation @ Operation::Stop, ids) => {
                let failed = self.stop(&ids);
                Some(Served::some(operation, &ids, failed))
            }
            Request::Ids(operation @ Operation::Restart, ids) => {
                let failed = self.restart(&ids, now);
                Some(Served::some(operation, &ids, failed))
            }
            Request::Ids(Operation::Query, ids) => {
                Some(Served::same(self.query(&ids).into_iter().map(Answer::Listing).collect()))
            }
            Request::Tasks(..) | Request::Ids(..) | Request::Results(_) | Request::Snapshot(_) => None,
        }
    }
}

impl Served {
    const fn same(answers: Vec<Answer>) -> Self {
        Self { answers, changed: false, refusal: None }
    }

    fn all(operation: Operation, result: Result<(), Refusal>) -> Self {
        let refusal = result.err();
        let code = refusal.map_or(DONE, Refusal::code);
        Self { answers: vec![Answer::Code(operation, code)], changed: refusal.is_none(), refusal }
    }

    fn some(operation: Operation, asked: &[i32], failed: Vec<i32>) -> Self {
        let refusal = failed.first().map(|id| Refusal::Unknown(*id));
        let changed = asked.is_empty() || failed.len() < asked.len();
        let code = refusal.map_or(DONE, Refusal::code);
        Self { answers: vec![Answer::Ids(operation, code, failed)], changed, refusal }
    }
}

/// Code of an answer (JoyLink V1.79, chapter 13).
const DONE: i32 = 0;
