//! Remote control (200), and the commands that run at the device.

use polylink_plugin_sdk::{Command, Now, Outcome, Output, RequestId, Timestamp};
use serde_json::value::RawValue;

use super::DeliSession;
use super::business::{Answer, message_id};
use crate::commands::{self, Instruction};
use crate::datapoints::{self, CommandKind};
use crate::message::{Envelope, Mid, raw};

/// A command at the device.
#[derive(Debug)]
pub struct Running {
    /// Who waits for it.
    pub purpose: Purpose,
    /// When whoever waits is told that it takes too long.
    pub due: Option<Timestamp>,
}

/// Who waits for a command.
#[derive(Debug)]
pub enum Purpose {
    /// An application, by 301.
    Application(Answer, CommandKind),
    /// The platform, by 200.
    Control {
        /// Name of the request.
        mid: Option<Mid>,
        /// Who asked.
        to: String,
        /// What was asked.
        cmd: String,
        /// By what a repeated request is recognised.
        key: String,
        /// What runs.
        kind: CommandKind,
    },
    /// Nobody: a wipe.
    Wipe,
}

impl Purpose {
    /// True for the remote command with this key; an empty key is none.
    fn is_control(&self, key: &str) -> bool {
        matches!(self, Self::Control { key: own, .. } if own == key && !key.is_empty())
    }
}

impl DeliSession {
    pub(super) fn take_control(&mut self, now: Now, envelope: &Envelope) {
        let key = message_id(envelope);
        if let Some(answer) = self.answers.find(now.monotonic, &key).map(ToOwned::to_owned) {
            return self.reply(now, envelope.mid.as_ref(), &envelope.from, CONTROL, &answer);
        }
        let Some(instruction) = Instruction::parse(envelope) else {
            let answer = commands::plain_answer(commands::BAD_PARAMETER, "bad parameter");
            return self.reply(now, envelope.mid.as_ref(), &envelope.from, CONTROL, &answer);
        };
        let runs_already = self.running.values().any(|running| running.purpose.is_control(&key));
        if runs_already {
            return;
        }
        let mid = envelope.mid.clone();
        let (to, cmd) = (envelope.from.clone(), instruction.cmd.clone());
        if self.settings.enable_test_commands && cmd == ECHO {
            return self.end_control(now, mid, &to, &cmd, key, commands::DONE, "", &instruction.payload);
        }
        let nothing = raw(&serde_json::json!({}));
        let command = match datapoints::action(&self.model, &instruction) {
            _ if self.bond.unbinding || self.running.len() >= MAX_RUNNING => Err((commands::FAILED, "busy".to_owned())),
            None => Err((commands::UNSUPPORTED, "unsupported cmd".to_owned())),
            Some(Err(error)) => Err((commands::BAD_PARAMETER, error.to_string())),
            Some(Ok(wanted)) => Ok(wanted),
        };
        match command {
            Err((code, msg)) => self.end_control(now, mid, &to, &cmd, key, code, &msg, &nothing),
            Ok(wanted) => {
                let kind = wanted.kind();
                let mut command = Command::new(wanted.into_body());
                command.deadline_ms = commands::CONTROL_TIMEOUT_MS;
                command.message_id.clone_from(&key);
                let due = now.monotonic.after(u64::from(commands::CONTROL_TIMEOUT_MS));
                let id = self.next_id();
                let purpose = Purpose::Control { mid, to, cmd, key, kind };
                self.running.insert(id, Running { purpose, due: Some(due) });
                self.outputs.push(Output::Submit(id, command));
            }
        }
    }

    pub(super) fn take_outcome(&mut self, now: Now, id: RequestId, outcome: &Outcome) {
        match self.running.remove(&id).map(|running| running.purpose) {
            Some(Purpose::Application(answer, kind)) => self.take_application_outcome(&answer, kind, outcome),
            Some(Purpose::Control { mid, to, cmd, key, kind }) => {
                let (code, msg) = datapoints::result(&outcome.result);
                let values = datapoints::outcome_values(&self.model, kind, outcome);
                let payload = datapoints::object(&values);
                self.end_control(now, mid, &to, &cmd, key, code, &msg, &payload);
            }
            Some(Purpose::Wipe) => self.take_wipe_outcome(now, outcome),
            None => {}
        }
    }

    /// Answers remote commands that take too long.
    pub(super) fn end_late_commands(&mut self, now: Now) {
        let late: Vec<RequestId> = self
            .running
            .iter()
            .filter(|(_, running)| running.due.is_some_and(|due| due <= now.monotonic))
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            if let Some(Running { purpose: Purpose::Control { mid, to, cmd, key, .. }, .. }) = self.running.remove(&id)
            {
                let nothing = raw(&serde_json::json!({}));
                self.end_control(now, mid, &to, &cmd, key, commands::FAILED, "timeout", &nothing);
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "they are the parts of one answer")]
    fn end_control(
        &mut self,
        now: Now,
        mid: Option<Mid>,
        to: &str,
        cmd: &str,
        key: String,
        code: i64,
        msg: &str,
        payload: &RawValue,
    ) {
        let answer = commands::control_answer(self.settings.dialect, code, msg, cmd, payload);
        self.reply(now, mid.as_ref(), to, CONTROL, &answer);
        if !key.is_empty() {
            self.answers.keep(now.monotonic, key, answer);
        }
    }
}

/// Remote control (Deli access document).
const CONTROL: i64 = 200;
/// Test command that returns its content (chosen by us).
const ECHO: &str = "echo";
/// Commands that run at the device at once; further ones are answered "busy" (not documented; chosen by us).
pub const MAX_RUNNING: usize = 64;
