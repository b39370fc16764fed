//! What operators see of a session.

use polylink_plugin_sdk::Now;
use polylink_plugin_sdk::session::{Phase as StatusPhase, Status};

use super::DeliSession;
use super::connection::Phase;
use crate::auth::Identity;
use crate::binding::LoginState;
use crate::qr::{self, Access};

/// What happened so far, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages of the platform that were of no use.
    pub dropped_input: u64,
    /// Answers to nothing we asked.
    pub unmatched: u64,
    /// Commands of applications that nobody knows.
    pub unknown_commands: u64,
    /// Requests that got no good answer.
    pub requests_given_up: u64,
    /// Error codes that business messages got.
    pub messages_errors: u64,
    /// Business messages that the platform finally refused, or that were too large for it.
    pub messages_refused: u64,
    /// Reports that this cloud has no words for.
    pub reports_unsaid: u64,
    /// Reports left with the host for lack of room.
    pub reports_left: u64,
}

impl DeliSession {
    /// Says where the session stands, if that changed. Numbers alone are said at most once a second.
    pub(super) fn tell_status(&mut self, now: Now, something_happened: bool) {
        if !matches!(self.phase, Phase::Idle) {
            self.told.counted(now.monotonic);
        }
        // Reports and their acknowledgements are many, and change nothing that is shown.
        if something_happened {
            let status = self.status(now);
            self.outputs.extend(self.told.tell(status));
        }
    }

    fn status(&self, now: Now) -> Status {
        let (phase, text) = self.standing(now);
        let mut facts: Vec<(String, String)> = Vec::new();
        let mut fact = |name: &str, value: String| facts.push((name.to_owned(), value));
        fact("device_id", self.identity.device_id.clone());
        if let Some(endpoint) = self.endpoints.current() {
            fact("endpoint", endpoint.to_string());
        }
        fact(
            "organisation",
            match self.bond.organisation.as_deref() {
                None => "not known".to_owned(),
                Some("") => "none".to_owned(),
                Some(organisation) => organisation.to_owned(),
            },
        );
        if let Some(hold) = self.hold(now) {
            fact("business_messages", format!("waiting: {}", hold.text()));
        }
        fact("qr", self.qr());
        fact("qr_printed", qr::printed(&self.identity.model, "auto"));
        if let Some(update) = self.upgrade.text() {
            fact("update", update);
        }
        if let Some(code) = self.bond.unbind_refused {
            fact("unbinding", format!("refused by the platform with code {code}"));
        } else if self.bond.unbinding {
            fact("unbinding", "waiting for the platform".to_owned());
        }
        if let Some(wiped) = self.bond.wiped {
            fact("wiped", wiped.to_string());
        }
        if self.bond.wipe_pending {
            fact("wipe_action", "not done yet".to_owned());
        }
        if !self.bond.applications.is_empty() {
            fact("applications", self.bond.applications.iter().cloned().collect::<Vec<_>>().join(" "));
        }
        if let Some(login) = &self.bond.login {
            let state = match login.state {
                LoginState::Waiting => "waiting for confirmation",
                LoginState::Authorised => "authorised",
                LoginState::Failed => "failed",
            };
            fact("login", format!("user {}: {state}", login.user));
            if let Some(expires_ms) = login.expires_ms {
                fact("login_expires", expires_ms.div_euclid(1000).to_string());
            }
        }
        self.counter_facts(&mut fact);
        Status { phase, text, facts }
    }

    fn counter_facts(&self, fact: &mut impl FnMut(&str, String)) {
        let counters = self.told.shown();
        for (name, count) in [
            ("input_dropped", counters.dropped_input),
            ("answers_unmatched", counters.unmatched),
            ("commands_unknown", counters.unknown_commands),
            ("requests_given_up", counters.requests_given_up),
            ("message_errors", counters.messages_errors),
            ("messages_refused", counters.messages_refused),
            ("reports_without_words", counters.reports_unsaid),
            ("reports_left_with_host", counters.reports_left),
            ("messages_dropped", self.uplink.dropped),
        ] {
            if count > 0 {
                fact(name, count.to_string());
            }
        }
    }

    fn standing(&self, now: Now) -> (StatusPhase, String) {
        match &self.phase {
            Phase::Idle => (StatusPhase::Offline, "stopped".to_owned()),
            Phase::Discovering { .. } => (StatusPhase::Connecting, "asking where the cloud is".to_owned()),
            Phase::Connecting { .. } => (StatusPhase::Connecting, "connecting".to_owned()),
            Phase::Online(_) => {
                let text =
                    self.hold(now).map_or_else(|| "online".to_owned(), |hold| format!("online, {}", hold.text()));
                (StatusPhase::Online, text)
            }
            Phase::Waiting { refused: true } => {
                let text = format!("check model, serial and secret: {}; next attempt within the hour", self.note);
                (StatusPhase::Attention, text)
            }
            Phase::Waiting { refused: false } => {
                (StatusPhase::Offline, format!("waiting to connect again: {}", self.note))
            }
        }
    }

    /// Text of the code that the device may show on its screen.
    fn qr(&self) -> String {
        let access = match &self.phase {
            _ if self.has_network == Some(false) => Access::NoNetwork,
            Phase::Online(_) if self.bond.is_bound() => Access::Bound,
            Phase::Online(_) => Access::Connected,
            Phase::Waiting { .. } => Access::Failed,
            _ => Access::NoNetwork,
        };
        let error = if access == Access::Failed { self.note.as_str() } else { "" };
        let organisation = if access == Access::Bound { self.bond.organisation.as_deref() } else { None };
        let Identity { model, device_id, .. } = &self.identity;
        qr::dynamic(self.settings.dialect, model, device_id, access, error, organisation.unwrap_or_default())
    }
}
