//! What operators see of a session.

use polylink_plugin_sdk::Now;
use polylink_plugin_sdk::session::{Phase as StatusPhase, Status};

use super::LierdaSession;
use super::connection::{Phase, Wait};

/// What happened so far, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages of the platform that were of no use.
    pub dropped_input: u64,
    /// Messages that name another version of the protocol.
    pub other_version: u64,
    /// Answers to nothing we sent.
    pub unmatched: u64,
    /// Commands that came again and were answered as before.
    pub commands_repeated: u64,
    /// Commands that were refused, here or by the device.
    pub commands_refused: u64,
    /// Settings of the platform that are not the device's, or were not taken.
    pub settings_refused: u64,
    /// Firmware orders that were not taken.
    pub orders_refused: u64,
    /// Firmware reports that the platform did not acknowledge.
    pub firmware_unanswered: u64,
    /// Refusals of reports by the platform.
    pub reports_failed: u64,
    /// Reports that were given up: the platform refused them for good, or they are too large.
    pub reports_refused: u64,
    /// Reports that this product has no words for at this cloud.
    pub reports_unsaid: u64,
    /// Reports that the product's script could not convert.
    pub conversions_failed: u64,
    /// Reports left with the host for lack of room.
    pub reports_left: u64,
}

impl LierdaSession {
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
        fact("node_eui", self.settings.identity.node_eui.clone());
        fact("broker", self.broker().to_string());
        if self.moved.is_some() {
            fact("broker_configured", self.settings.broker.to_string());
        }
        if self.settings.encrypted {
            let text = match self.enrolment.session() {
                None => "no session key yet",
                Some(session) if session.previous.is_some() => "a new session key, not yet used by the platform",
                Some(_) => "session key",
            };
            fact("encryption", text.to_owned());
        }
        if let Some(standing) = self.script.standing() {
            fact("script", standing.to_owned());
        }
        if let Some(timezone) = &self.clock.timezone {
            fact("timezone", timezone.clone());
        }
        if let Some((module, text)) = self.upgrades.shown() {
            fact("update", text);
            fact("update_module", module);
        }
        self.counter_facts(&mut fact);
        Status { phase, text, facts }
    }

    fn counter_facts(&self, fact: &mut impl FnMut(&str, String)) {
        let counters = self.told.shown();
        for (name, count) in [
            ("input_dropped", counters.dropped_input),
            ("other_version", counters.other_version),
            ("answers_unmatched", counters.unmatched),
            ("commands_repeated", counters.commands_repeated),
            ("commands_refused", counters.commands_refused),
            ("settings_refused", counters.settings_refused),
            ("orders_refused", counters.orders_refused),
            ("firmware_reports_unanswered", counters.firmware_unanswered),
            ("report_errors", counters.reports_failed),
            ("reports_refused", counters.reports_refused),
            ("reports_without_words", counters.reports_unsaid),
            ("conversions_failed", counters.conversions_failed),
            ("reports_left_with_host", counters.reports_left),
        ] {
            if count > 0 {
                fact(name, count.to_string());
            }
        }
    }

    fn standing(&self) -> (StatusPhase, String) {
        let phase = match &self.phase {
            Phase::Idle | Phase::Waiting(Wait::Attempt | Wait::Clock) => StatusPhase::Offline,
            Phase::Authenticating { .. } | Phase::Connecting { .. } | Phase::Subscribing { .. } => {
                StatusPhase::Connecting
            }
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
