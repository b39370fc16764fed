//! Schedules (13): asked for by the cloud or an app, carried out here, with a cloud or without one.

use std::collections::VecDeque;

use polylink_plugin_sdk::session::Level;
use polylink_plugin_sdk::{Now, Timestamp};

use super::JoylinkSession;
use super::jobs::ReplyTo;
use crate::lan::Asker;
use crate::packet::{Kind, STAMP};
use crate::timers::engine::Due;
use crate::timers::results::Reaction;
use crate::timers::run::Moment;
use crate::timers::table::Table;
use crate::timers::wire::{self, Answer, Message, Operation, Request};
use crate::wire::cloud::controltype;
use crate::wire::{Code, FeedId, biz};

/// Steps that are due, one after another.
#[derive(Debug, Default)]
pub struct Executions {
    queue: VecDeque<Execution>,
    /// The MCU is asked to obey a command of the first one.
    is_asking: bool,
}

/// A step of a task that is being carried out.
#[derive(Debug)]
struct Execution {
    due: Due,
    left: VecDeque<Vec<u8>>,
    /// The first failure.
    code: Code,
}

impl Executions {
    /// Tasks were deleted, stopped, restarted or changed: what of theirs waits is not done any more. The step under way
    /// is, as half of one may be worse than all of it (not documented; chosen by us).
    fn cancel(&mut self, request: &Request) {
        let is_meant = |id: i32| match request {
            Request::Ids(Operation::Delete | Operation::Stop | Operation::Restart, ids) => {
                id != 0 && (ids.is_empty() || ids.contains(&id))
            }
            Request::Tasks(Operation::Modify, tasks) => tasks.iter().any(|task| task.id == id),
            _ => false,
        };
        let under_way = if self.is_asking { self.queue.pop_front() } else { None };
        self.queue.retain(|execution| !is_meant(execution.due.id));
        if let Some(execution) = under_way {
            self.queue.push_front(execution);
        }
    }
}

/// Who asked for something about schedules.
pub enum Client<'a> {
    /// An app.
    App(&'a Asker),
    /// The cloud.
    Cloud,
}

impl JoylinkSession {
    /// A packet of type 13; `plain` is its whole payload.
    pub(super) fn take_timers(&mut self, now: Now, client: &Client<'_>, plain: &[u8]) {
        let Some((_, number, serial)) = wire::head(plain) else { return self.drop_input("a timer message is cut off") };
        // A cloud answers with numbers that are requests elsewhere, so the direction tells.
        let is_request = matches!(
            Operation::of_request(number),
            Some((
                Operation::Supported
                    | Operation::Add
                    | Operation::Modify
                    | Operation::Delete
                    | Operation::Query
                    | Operation::Stop
                    | Operation::Restart,
                _
            ))
        );
        if is_request {
            return self.take_timer_request(now, client, plain, serial);
        }
        match (client, Answer::decode(plain)) {
            (Client::Cloud, Ok(answer)) => self.take_timer_answer(&answer),
            (Client::Cloud, Err(why)) => self.drop_input(&format!("a timer answer: {why}")),
            (Client::App(_), _) => self.drop_input("an app sends what only a device says of timers"),
        }
    }

    fn take_timer_request(&mut self, now: Now, client: &Client<'_>, plain: &[u8], serial: u32) {
        let Some((operation, numbers)) = wire::head(plain).and_then(|(_, number, _)| Operation::of_request(number))
        else {
            return;
        };
        let message = match Request::decode(plain) {
            Ok(message) => message,
            Err(why) => {
                self.drop_input(&format!("a timer request: {why}"));
                let refusal = Answer::refusing(operation, Code::TIMER_FAILED.0);
                let answer = Message { timestamp: 0, serial, numbers, content: refusal };
                return self.answer_timers(now, client, &answer);
            }
        };
        let Some(served) = self.schedules.serve(message.content.clone(), self.moment(now)) else { return };
        if served.changed {
            self.executions.cancel(&message.content);
        }
        if let Some(refusal) = served.refusal {
            self.log(Level::Debug, format!("a timer request was refused: {refusal}"));
            self.told.counters.commands_refused += 1;
        }
        for answer in served.answers {
            self.answer_timers(now, client, &message.answered(0, answer));
        }
        if served.changed {
            self.schedule_uplink.tasks_changed(now.monotonic);
        }
    }

    /// The packet brings its own time.
    fn answer_timers(&mut self, now: Now, client: &Client<'_>, answer: &Message<Answer>) {
        let bytes = answer.encode();
        match client {
            Client::App(asker) => self.answer_app(now, asker, &bytes[STAMP..]),
            Client::Cloud => {
                self.tell_cloud(now, Kind::Timers, &bytes[STAMP..]);
            }
        }
    }

    fn take_timer_answer(&mut self, answer: &Message<Answer>) {
        match self.schedule_uplink.answered(answer, &mut self.schedules) {
            Reaction::Taken => {}
            Reaction::Unexpected => self.told.counters.unmatched += 1,
            Reaction::Refused(code) => {
                self.info(format!("the cloud refused what the device said of its timers (code {code})"));
            }
            Reaction::Differs => {
                self.info("the cloud saw other timers than the device has; they are told again".to_owned())
            }
        }
    }

    /// What is due, and what the cloud is to be told.
    pub(super) fn work_schedules(&mut self, now: Now) {
        let moment = self.moment(now);
        for due in self.schedules.advance(moment) {
            if self.executions.queue.len() >= MOST {
                // The MCU has not kept up for minutes.
                self.schedule_uplink.done(&due, Code::MCU_TIMEOUT.0);
                self.told.counters.steps_missed += 1;
                continue;
            }
            let left = due.commands.iter().map(|command| command.to_vec()).collect();
            self.executions.queue.push_back(Execution { due, left, code: Code::SUCCESS });
        }
        while self.go_on_with_schedules(now) {}
        if self.schedules.take_changed() {
            self.store_schedules();
        }
        if self.cloud.is_working() && self.snapshot_sent {
            let unix_s = self.unix_s(now);
            for message in self.schedule_uplink.poll(&self.schedules, now.monotonic, unix_s) {
                self.tell_cloud(now, Kind::Timers, &message.encode()[STAMP..]);
            }
        }
    }

    /// The next command; true if there may be more to do at once.
    fn go_on_with_schedules(&mut self, now: Now) -> bool {
        if self.executions.is_asking {
            return false;
        }
        // Whoever asked for more than can be under way does not spoil a schedule: it waits.
        let is_crowded = self.cannot_begin(0) == Some(Code::LIMIT_REACHED);
        let Some(execution) = self.executions.queue.front_mut() else { return false };
        if is_crowded && !execution.left.is_empty() {
            return false;
        }
        let Some(command) = execution.left.pop_front() else {
            if let Some(done) = self.executions.queue.pop_front() {
                self.step_done(now, &done);
            }
            return true;
        };
        let feedid = execution.due.feedid;
        self.executions.is_asking = true;
        match self.device_of(feedid) {
            Some(device) => self.take_bytes(now, device, biz::CONTROL, command, ReplyTo::Schedule),
            None => self.schedule_command_done(Code::NO_SUCH_SUB_DEVICE),
        }
        true
    }

    pub(super) fn schedule_command_done(&mut self, code: Code) {
        self.executions.is_asking = false;
        if let Some(execution) = self.executions.queue.front_mut()
            && execution.code.is_success()
        {
            execution.code = code;
        }
    }

    fn step_done(&mut self, now: Now, done: &Execution) {
        self.told.counters.steps_done += 1;
        if !done.code.is_success() {
            self.log(
                Level::Debug,
                format!("step {} of timer {} failed: {}", done.due.step, done.due.id, done.code.text()),
            );
        }
        self.schedule_uplink.done(&done.due, done.code.0);
        let Some(device) = self.device_of(done.due.feedid) else { return };
        let at_s = self.unix_s(now);
        self.tell_result(device, controltype::TIMER, &done.due.id.to_string(), at_s);
        self.show(device);
    }

    /// Another owner: no task is left, and of those that were, nothing more is done or told.
    pub(super) fn forget_schedules(&mut self) {
        self.schedules = Table::new(self.schedule_settings());
        self.store_schedules();
        self.schedule_uplink.forget_all();
        self.executions = Executions::default();
    }

    /// The device with this identity.
    fn device_of(&self, feedid: FeedId) -> Option<u32> {
        if self.bond().is_some_and(|bond| bond.feedid == feedid) {
            return Some(0);
        }
        self.gateway.records().find(|record| record.feedid() == feedid)?.device()
    }

    /// When [`Self::work_schedules`] has something to do.
    pub(super) fn schedules_due(&self, now: Now) -> Option<Timestamp> {
        let told = self.schedule_uplink.next_timeout(&self.schedules, now.monotonic);
        let told = told.filter(|_| self.cloud.is_working() && self.snapshot_sent);
        [self.schedules.next_due(self.moment(now)), told].into_iter().flatten().min()
    }

    pub(super) fn moment(&self, now: Now) -> Moment {
        Moment { monotonic: now.monotonic, unix_ms: self.clock.unix_ms(now) }
    }
}

/// Steps that wait for the MCU (not documented; chosen by us: two of each of 32 tasks). Those beyond it are missed, counted,
/// and told to the cloud as such.
const MOST: usize = 64;
