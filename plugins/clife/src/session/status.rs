//! What operators see of a session.

use polylink_plugin_sdk::Now;
use polylink_plugin_sdk::session::{Phase as StatusPhase, Status};

use super::ClifeSession;
use super::connection::{Phase, Wait};

/// What happened so far, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages of the platform that were of no use.
    pub dropped_input: u64,
    /// Messages between others than the platform and the device.
    pub odd_direction: u64,
    /// Messages of another version of the protocol.
    pub other_version: u64,
    /// Answers to nothing we asked.
    pub unmatched: u64,
    /// Commands that came again.
    pub commands_repeated: u64,
    /// Commands that were refused, here or by the device.
    pub commands_refused: u64,
    /// File operations that were refused.
    pub files_refused: u64,
    /// Reports that were given up, because they can never be sent.
    pub reports_refused: u64,
    /// Reports that have no words at this cloud.
    pub reports_unsaid: u64,
    /// Reports left with the host for lack of room.
    pub reports_left: u64,
}

impl ClifeSession {
    /// Says where the session stands, if that changed. Numbers alone are said at most once a second.
    pub(super) fn tell_status(&mut self, now: Now, something_happened: bool) {
        if !matches!(self.phase, Phase::Idle) {
            self.told.counted(now.monotonic);
        }
        if something_happened {
            let status = self.status();
            self.outputs.extend(self.told.tell(status));
        }
    }

    fn status(&self) -> Status {
        let (phase, text) = self.standing();
        let mut facts: Vec<(String, String)> = Vec::new();
        let mut fact = |name: &str, value: String| facts.push((name.to_owned(), value));
        fact("device_id", Some(self.dev_id()).filter(|id| !id.is_empty()).unwrap_or("none yet").to_owned());
        fact("mac", self.settings.identity.dev_mac.clone());
        if let Some(broker) = self.broker() {
            fact("broker", broker.to_string());
        }
        if !self.nameless.is_empty() {
            fact("without_number", self.nameless.join(" "));
        }
        if let Some(operation) = self.files.text() {
            fact("file_operation", operation);
        }
        let counters = self.told.shown();
        for (name, count) in [
            ("input_dropped", counters.dropped_input),
            ("odd_direction", counters.odd_direction),
            ("other_version", counters.other_version),
            ("answers_unmatched", counters.unmatched),
            ("commands_repeated", counters.commands_repeated),
            ("commands_refused", counters.commands_refused),
            ("files_refused", counters.files_refused),
            ("reports_refused", counters.reports_refused),
            ("reports_without_words", counters.reports_unsaid),
            ("reports_left_with_host", counters.reports_left),
        ] {
            if count > 0 {
                fact(name, count.to_string());
            }
        }
        Status { phase, text, facts }
    }

    fn standing(&self) -> (StatusPhase, String) {
        let phase = match &self.phase {
            Phase::Idle | Phase::Waiting(Wait::Attempt | Wait::SentAway) => StatusPhase::Offline,
            Phase::Registering { .. }
            | Phase::Connecting { .. }
            | Phase::Subscribing { .. }
            | Phase::Greeting { .. } => StatusPhase::Connecting,
            Phase::Online { .. } => StatusPhase::Online,
            Phase::Waiting(Wait::Person) => StatusPhase::Attention,
        };
        let name = self.phase.name();
        let text = if self.note.is_empty() || phase == StatusPhase::Online {
            name.to_owned()
        } else {
            format!("{name}: {}", self.note)
        };
        (phase, text)
    }
}
