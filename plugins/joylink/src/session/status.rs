//! What operators see of a session.

use polylink_plugin_sdk::Now;
use polylink_plugin_sdk::session::{Phase as StatusPhase, Status};

use super::JoylinkSession;
use crate::wire::FeedId;

/// What happened so far, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests of apps.
    pub app_requests: u64,
    /// Commands of the cloud.
    pub commands: u64,
    /// Requests that were refused, here or by the device.
    pub commands_refused: u64,
    /// Bindings that were refused.
    pub bindings_refused: u64,
    /// Steps of schedules that were carried out.
    pub steps_done: u64,
    /// Steps of schedules that were missed, since the MCU did not keep up.
    pub steps_missed: u64,
    /// Messages that were of no use.
    pub dropped_input: u64,
    /// Answers to nothing we asked.
    pub unmatched: u64,
    /// Answers that were not sent, since the connection was gone or full.
    pub answers_lost: u64,
    /// Uploads that the cloud refused.
    pub uploads_refused: u64,
    /// Results that were dropped, since there were too many.
    pub results_lost: u64,
    /// Reports left with the host for lack of room.
    pub reports_left: u64,
    /// Reports of subdevices that nobody has bound.
    pub reports_without_owner: u64,
    /// Reports that waited when the device got another owner.
    pub reports_of_former_owner: u64,
    /// Calls of the script that failed.
    pub conversions_failed: u64,
}

impl JoylinkSession {
    /// Says where the session stands, if that changed. Numbers alone are said at most once a second.
    pub(super) fn tell_status(&mut self, now: Now, something_happened: bool) {
        if self.is_running {
            self.told.counted(now.monotonic);
            let n_dropped: u64 = self.lan.counters().iter().chain(self.cloud.counters().iter()).map(|(_, n)| n).sum();
            let n_dropped = n_dropped + self.lost().iter().map(|(_, n)| n).sum::<u64>();
            if std::mem::replace(&mut self.n_dropped, n_dropped) != n_dropped {
                self.told.changed(now.monotonic);
            }
        }
        if something_happened {
            let status = self.status();
            self.outputs.extend(self.told.tell(status));
        }
    }

    /// What was lost where it waited for an answer of the cloud.
    const fn lost(&self) -> [(&'static str, u64); 5] {
        [
            ("timer_results_lost", self.schedule_uplink.n_lost()),
            ("recipe_reports_lost", self.recipes.n_lost()),
            ("firmware_reports_lost", self.upgrades.n_lost()),
            ("information_unanswered", self.information.n_unanswered()),
            ("information_unexpected", self.information.n_unexpected()),
        ]
    }

    fn status(&self) -> Status {
        let (phase, text) = self.standing();
        let mut facts: Vec<(String, String)> = Vec::new();
        let mut fact = |name: &str, value: String| facts.push((name.to_owned(), value));
        fact("feedid", self.bond().map_or_else(|| "none yet".to_owned(), |bond| bond.feedid.as_str().to_owned()));
        fact("product_uuid", self.product_uuid().unwrap_or("not known yet").to_owned());
        if let Some(server) = self.cloud.server() {
            fact("server", format!("{}:{}", server.host, server.port));
        }
        let ports: Vec<String> = self.lan.ports().iter().map(ToString::to_string).collect();
        fact("lan_ports", if ports.is_empty() { "none".to_owned() } else { ports.join(" ") });
        if let Some(standing) = self.script.standing() {
            fact("script", standing.to_owned());
        }
        let n_schedules = self.schedules.tasks().count();
        if n_schedules > 0 {
            fact("timers", n_schedules.to_string());
        }
        if self.is_gateway() {
            let n_online = self.gateway.records().filter(|record| record.is_online()).count();
            fact("subdevices", format!("{} ({n_online} online)", self.gateway.records().count()));
            if self.gateway.n_waiting() > 0 {
                fact("subdevices_waiting", self.gateway.n_waiting().to_string());
            }
        }
        if let Some(standing) = self.upgrade_standing() {
            fact("firmware_order", standing);
        }
        let counters = self.told.shown();
        let own = [
            ("app_requests", counters.app_requests),
            ("commands", counters.commands),
            ("commands_refused", counters.commands_refused),
            ("bindings_refused", counters.bindings_refused),
            ("timer_steps", counters.steps_done),
            ("timer_steps_missed", counters.steps_missed),
            ("input_dropped", counters.dropped_input),
            ("answers_unmatched", counters.unmatched),
            ("answers_lost", counters.answers_lost),
            ("uploads_refused", counters.uploads_refused),
            ("results_lost", counters.results_lost),
            ("reports_left_with_host", counters.reports_left),
            ("reports_without_owner", counters.reports_without_owner),
            ("reports_of_former_owner", counters.reports_of_former_owner),
            ("conversions_failed", counters.conversions_failed),
        ];
        for (name, count) in own.into_iter().chain(self.lost()) {
            if count > 0 {
                fact(name, count.to_string());
            }
        }
        let lan = self.lan.counters().iter().map(|(reason, count)| (format!("lan_{reason}"), count));
        let cloud = self.cloud.counters().iter().map(|(reason, count)| (format!("cloud_{reason}"), count));
        facts.extend(lan.chain(cloud).map(|(name, count)| (name, count.to_string())));
        Status { phase, text, facts }
    }

    fn standing(&self) -> (StatusPhase, String) {
        if !self.is_running {
            return (StatusPhase::Offline, "stopped".to_owned());
        }
        let feedid = self.bond().map(|bond| bond.feedid).filter(|feedid| *feedid != FeedId::EMPTY);
        let phase = match feedid {
            None => StatusPhase::Offline,
            Some(_) if self.cloud.is_working() => StatusPhase::Online,
            Some(_) => StatusPhase::Connecting,
        };
        let name = match feedid {
            None if self.product_uuid().is_none() => "waiting for the product type",
            None => "waiting for an app to bind it",
            Some(_) => self.cloud.phase().name(),
        };
        let has_note = !self.note.is_empty() && phase != StatusPhase::Online;
        (phase, if has_note { format!("{name}: {}", self.note) } else { name.to_owned() })
    }
}
