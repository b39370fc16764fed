//! Business messages: reports up as 300, commands of applications down as 301, and their answers up as 300.

use polylink_plugin_sdk::{Cause, Command, Now, Outcome, Output, Report};
use serde_json::value::RawValue;

use super::answers::code_of;
use super::connection::{Online, Phase};
use super::control::{MAX_RUNNING, Purpose, Running};
use super::{DeliSession, clock, publish};
use crate::commands::{BAD_PARAMETER, FAILED, Instruction};
use crate::datapoints::{self, CommandKind, Wanted};
use crate::message::{Envelope, Mid, Outgoing};
use crate::reaction::{Reaction, UNSUPPORTED};

/// Why business messages wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Not connected.
    Offline,
    /// The answer to 102 is not there yet.
    Starting,
    /// The user ended the bond.
    Unbinding,
    /// The platform has locked the device.
    Locked,
    /// No organisation.
    Unbound,
    /// The platform has blocked the device for a while.
    Blocked,
    /// The platform does not take business messages of this device.
    Refused,
    /// A forced upgrade comes first.
    Upgrade,
}

impl Hold {
    /// For people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Offline => "not connected",
            Self::Starting => "the platform has not said yet who the device belongs to",
            Self::Unbinding => "unbinding is not confirmed yet",
            Self::Locked => "the platform has locked the device",
            Self::Unbound => "the device is not bound to an organisation",
            Self::Blocked => "the platform has blocked the device for an hour",
            Self::Refused => "the platform does not take business messages of this device",
            Self::Upgrade => "a forced upgrade comes first",
        }
    }
}

impl DeliSession {
    /// Why business messages wait; `None`: they go.
    pub(super) fn hold(&self, now: Now) -> Option<Hold> {
        let Phase::Online(online) = &self.phase else { return Some(Hold::Offline) };
        let holds = [
            (self.bond.unbinding, Hold::Unbinding),
            (!online.open, Hold::Starting),
            (online.messages_refused, Hold::Refused),
            (!self.bond.unlocked, Hold::Locked),
            (self.bond.is_unbound() || self.bond.waits_for_notice, Hold::Unbound),
            (self.blocked_until.is_some_and(|until| now.monotonic < until), Hold::Blocked),
            (self.upgrade.holds_messages(&self.settings.ota), Hold::Upgrade),
        ];
        holds.into_iter().find_map(|(is_so, hold)| is_so.then_some(hold))
    }

    /// The platform has answered 102, or takes too long: business messages may go, as far as this is concerned.
    pub(super) fn open_business(&mut self) {
        if let Phase::Online(online) = &mut self.phase {
            online.open = true;
        }
    }

    pub(super) fn take_reports(&mut self, reports: Vec<Report>) {
        for report in reports {
            // What was asked for went to the asker with its outcome, the last known values are no news, and those of a
            // full window come again.
            let unwanted = matches!(report.cause, Cause::Answer | Cause::Snapshot | Cause::Live);
            let wanted = !unwanted && self.settings.supports(MESSAGE);
            let data = datapoints::report(&self.model, &self.settings, &report).filter(|_| wanted);
            match data {
                Some(data) if data.get().len() <= MAX_DATA => {
                    if !self.uplink.take_report(report.seq, data) {
                        self.told.counters.reports_left += 1;
                    }
                }
                Some(data) => {
                    self.told.counters.messages_refused += 1;
                    self.warn(format!("a report of {} bytes is too large for the platform", data.get().len()));
                    self.settle(report.seq);
                }
                None => {
                    self.told.counters.reports_unsaid += u64::from(wanted);
                    self.settle(report.seq);
                }
            }
        }
    }

    pub(super) fn send_messages(&mut self, now: Now) {
        self.uplink.ripen(now.monotonic);
        let Some(connection) = self.phase.connection().filter(|_| self.hold(now).is_none()) else { return };
        let time = clock::stamp(&self.clock, now);
        let unix_ms = self.clock.unix_ms(now);
        loop {
            let id = self.next_id();
            let mids = &mut self.mids;
            let Some(message) = self.uplink.send_next(now.monotonic, id, || mids.next(unix_ms, now.monotonic.0)) else {
                return;
            };
            let Some(mid) = message.mid.as_ref() else { continue };
            let (from, to, data) = (&self.identity.device_id, &message.to, Some(&*message.data));
            let payload = Outgoing { mid, from, to, time, action: MESSAGE, data }.encode();
            self.outputs.push(publish(connection, id, self.settings.qos, payload));
        }
    }

    /// The platform did not take one of our messages: action 300 with an error code.
    pub(super) fn take_message_error(&mut self, now: Now, envelope: &Envelope) {
        let code = code_of(envelope);
        let refused = envelope.mid.as_ref().and_then(|mid| self.uplink.take_refused(now.monotonic, mid.as_str()));
        let Some(mut message) = refused else {
            self.told.counters.unmatched += 1;
            return;
        };
        let reaction = Reaction::to(code);
        self.told.counters.messages_errors += u64::from(reaction != Reaction::Ok);
        let is_answer = !message.to.is_empty();
        if let Some(delay) = message.retries.delay_ms(reaction) {
            self.uplink.put_off(now.monotonic.after(delay), message, !is_answer);
        } else {
            match reaction {
                Reaction::Stop | Reaction::WaitForBind | Reaction::Reconnect => self.uplink.put_back(message),
                Reaction::Ok => self.settled.extend(message.seq),
                _ => {
                    self.told.counters.messages_refused += 1;
                    self.warn(format!("the platform refused a business message with code {code}, given up"));
                    self.settled.extend(message.seq);
                }
            }
        }
        if code == UNSUPPORTED
            && let Phase::Online(Online { messages_refused, .. }) = &mut self.phase
        {
            *messages_refused = true;
        }
        self.react(now, reaction);
    }

    pub(super) fn take_application_message(&mut self, envelope: &Envelope) {
        let Some(instruction) = Instruction::parse(envelope) else {
            self.drop_input("action 301 without a cmd");
            return;
        };
        let Some(wanted) = datapoints::wanted(&self.model, &self.settings, &instruction) else {
            self.told.counters.unknown_commands += 1;
            self.warn(format!("no property command and no action is called `{}`", shown(&instruction.cmd)));
            return;
        };
        let answer = Answer {
            mid: envelope.mid.clone(),
            to: envelope.from.clone(),
            cmd: instruction.cmd,
            // Reading makes no sense without an answer.
            wanted: self.settings.answer_commands || matches!(wanted, Ok(Wanted::Get(_))),
        };
        let wanted = match wanted {
            Ok(wanted) => wanted,
            Err(error) => return self.answer_application(&answer, BAD_PARAMETER, &error.to_string(), &[]),
        };
        if self.bond.unbinding {
            return self.answer_application(&answer, FAILED, "unbinding", &[]);
        }
        if self.running.len() >= MAX_RUNNING {
            return self.answer_application(&answer, FAILED, "busy", &[]);
        }
        let kind = wanted.kind();
        let mut command = Command::new(wanted.into_body());
        command.message_id = message_id(envelope);
        let id = self.next_id();
        self.running.insert(id, Running { purpose: Purpose::Application(answer, kind), due: None });
        self.outputs.push(Output::Submit(id, command));
    }

    pub(super) fn take_application_outcome(&mut self, answer: &Answer, kind: CommandKind, outcome: &Outcome) {
        let (code, msg) = datapoints::result(&outcome.result);
        let values = datapoints::outcome_values(&self.model, kind, outcome);
        self.answer_application(answer, code, &msg, &values);
    }

    fn answer_application(&mut self, answer: &Answer, code: i64, msg: &str, values: &[(String, Box<RawValue>)]) {
        if answer.wanted {
            let mut data = datapoints::answer(&answer.cmd, code, msg, values);
            if data.get().len() > MAX_DATA {
                data = datapoints::answer(&answer.cmd, FAILED, "the answer is too large", &[]);
            }
            self.uplink.take_own(answer.mid.clone(), answer.to.clone(), data);
        }
    }

    fn settle(&mut self, seq: u64) {
        self.settled.extend(Some(seq).filter(|seq| *seq != 0));
    }
}

/// Where the answer to an application goes.
#[derive(Debug)]
pub struct Answer {
    /// Name of the request, which the answer repeats.
    pub mid: Option<Mid>,
    /// The application; empty: all that are bound.
    pub to: String,
    /// The command.
    pub cmd: String,
    /// False: it is not to be answered.
    pub wanted: bool,
}

/// By what the host recognises a message that comes a second time; empty if it has no name.
pub fn message_id(envelope: &Envelope) -> String {
    // Only the sender keeps its names apart, so it is part of the id.
    envelope
        .mid
        .as_ref()
        .map_or_else(String::new, |mid| format!("{}:{}:{}", envelope.action, envelope.from, mid.as_str()))
}

/// A text of the cloud, short enough for a log.
pub fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

/// Largest content sent: a message has at most 256 KiB, some of it for the envelope.
const MAX_DATA: usize = crate::message::MAX_MESSAGE - 1024;
/// The action of business messages of the device (Deli access document).
const MESSAGE: i64 = 300;
