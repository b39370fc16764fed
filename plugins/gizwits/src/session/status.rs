//! What operators see of a session.

use polylink_plugin_sdk::Now;
use polylink_plugin_sdk::session::{Phase as StatusPhase, Status};

use super::GizwitsSession;
use super::cloud::Phase;
use crate::api::Kind;
use crate::ota::order::word;

/// What happened so far, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages of the cloud and requests of applications that were of no use.
    pub input_dropped: u64,
    /// Requests of applications that found no room.
    pub requests_dropped: u64,
    /// Requests of applications that the device did not carry out.
    pub requests_failed: u64,
    /// Reports that the host did not publish, for their form.
    pub reports_refused: u64,
    /// Reports that this cloud has no words for, or that are not complete yet.
    pub reports_unsaid: u64,
    /// Values that have no place in a payload.
    pub values_unsaid: u64,
}

impl GizwitsSession {
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

    /// Something that is shown has changed: it is told with the numbers.
    pub(super) fn status_changed(&mut self, now: Now) {
        if !matches!(self.phase, Phase::Idle) {
            self.told.changed(now.monotonic);
        }
    }

    fn status(&self) -> Status {
        let (phase, text) = self.standing();
        let mut facts: Vec<(String, String)> = Vec::new();
        let mut fact = |name: &str, value: String| facts.push((name.to_owned(), value));
        fact("did", self.identity.did.as_ref().map_or_else(|| "none yet".to_owned(), ToString::to_string));
        if let Some(mac) = self.identity.mac {
            fact("mac", mac.to_string());
        }
        if let Some(server) = self.phase.server() {
            fact("m2m_server", format!("{}:{}", server.host, server.port));
        }
        if let Some(third_party) = &self.identity.third_party {
            fact("third_party_cloud", third_party.name.clone());
        }
        for kind in Kind::ALL {
            if let Some(text) = self.updates.text(kind) {
                fact(&format!("{}_update", word(kind)), text);
            }
        }
        let (tcp, udp) = self.lan.ports();
        for (name, port) in [("lan_tcp", tcp), ("lan_udp", udp)] {
            if let Some(port) = port {
                fact(name, port.to_string());
            }
        }
        let unknown: Vec<_> = self.cloud_view.unknown().take(UNKNOWN_SHOWN).collect();
        if !unknown.is_empty() {
            fact("reports_wait_for", unknown.join(" "));
        }
        if self.n_logged_in > 0 {
            fact("lan_applications", self.n_logged_in.to_string());
        }
        for (channel, reason, count) in self.lan.counters().iter() {
            fact(&format!("lan_{channel}_{reason}"), count.to_string());
        }
        if self.cloud_applications > 0 {
            fact("cloud_applications", self.cloud_applications.to_string());
        }
        let counters = self.told.shown();
        for (name, count) in [
            ("input_dropped", counters.input_dropped),
            ("requests_dropped", counters.requests_dropped),
            ("requests_failed", counters.requests_failed),
            ("reports_refused", counters.reports_refused),
            ("reports_without_words", counters.reports_unsaid),
            ("values_without_words", counters.values_unsaid),
        ] {
            if count > 0 {
                fact(name, count.to_string());
            }
        }
        Status { phase, text, facts }
    }

    fn standing(&self) -> (StatusPhase, String) {
        let name = self.phase.name();
        match &self.phase {
            Phase::Idle => (StatusPhase::Offline, name.to_owned()),
            Phase::Nameless => {
                let text = format!("{name}; `mac` in the settings would give one");
                (StatusPhase::Attention, text)
            }
            Phase::Online { .. } => (StatusPhase::Online, name.to_owned()),
            Phase::Waiting { .. } => (StatusPhase::Offline, format!("{name}: {}", self.note)),
            _ if self.note.is_empty() => (StatusPhase::Connecting, name.to_owned()),
            _ => (StatusPhase::Connecting, format!("{name}; the last attempt: {}", self.note)),
        }
    }
}

/// Datapoints without a value that are named; a few are enough to see what is missing (chosen by us).
const UNKNOWN_SHOWN: usize = 8;
