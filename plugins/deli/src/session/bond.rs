//! The bond with an organisation: its cache, the wipe that follows when it changes, and unbinding by the device.
//!
//! A wipe concerns business data only: the plugin drops its own queued messages and forgets the applications, and runs
//! the product's wipe action until the MCU has done it, also across restarts.

use std::collections::BTreeSet;

use polylink_plugin_sdk::services::module;
use polylink_plugin_sdk::session::Level;
use polylink_plugin_sdk::{Command, CommandBody, Now, Outcome, OutcomeResult, Output};

use super::connection::Phase;
use super::control::{Purpose, Running};
use super::{DeliSession, Timer, clock, storage};
use crate::binding::{BindNotice, Login, reconcile};
use crate::reaction::{NO_PERMISSION, UNSUPPORTED};
use crate::requests::{self, Request};

/// What is known of owners and users.
#[derive(Debug)]
pub struct Bond {
    /// Organisation last seen; empty: unbound; `None`: never known.
    pub organisation: Option<String>,
    /// False: the platform has locked the device.
    pub unlocked: bool,
    /// The platform says the device is not bound (code 107): wait for a bind notice.
    pub waits_for_notice: bool,
    /// The user ended the bond at the device; 104 is repeated until it is confirmed or refused.
    pub unbinding: bool,
    /// The platform did not allow the last unbinding.
    pub unbind_refused: Option<i64>,
    /// The wipe action is still to be done.
    pub wipe_pending: bool,
    /// Unix seconds of the last wipe since the start.
    pub wiped: Option<i64>,
    /// Applications that are bound to the device.
    pub applications: BTreeSet<String>,
    /// The last login notice.
    pub login: Option<Login>,
    /// Name that the platform gave the device.
    pub adopted_name: Option<String>,
}

impl Default for Bond {
    fn default() -> Self {
        Self {
            organisation: None,
            unlocked: true,
            waits_for_notice: false,
            unbinding: false,
            unbind_refused: None,
            wipe_pending: false,
            wiped: None,
            applications: BTreeSet::new(),
            login: None,
            adopted_name: None,
        }
    }
}

impl Bond {
    /// True if an organisation is known.
    pub fn is_bound(&self) -> bool {
        self.organisation.as_deref().is_some_and(|organisation| !organisation.is_empty())
    }

    /// True if the device is known to have no organisation.
    pub fn is_unbound(&self) -> bool {
        self.organisation.as_deref() == Some("")
    }
}

impl DeliSession {
    /// Compares the organisation that the platform reports with the one last seen. True if it changed.
    pub(super) fn reconcile(&mut self, now: Now, reported: &str) -> bool {
        let reconciled = reconcile(self.bond.organisation.as_deref(), reported);
        let changed = self.bond.organisation.as_deref() != Some(reported);
        if changed {
            self.put(storage::ORGANISATION, reported.as_bytes().to_vec());
            self.bond.organisation = Some(reconciled.organisation);
        }
        if reconciled.wipe {
            self.wipe(now);
        }
        if changed && self.bond.is_bound() {
            self.subscribe();
        }
        changed
    }

    pub(super) fn take_bind_notice(&mut self, now: Now, notice: &BindNotice) {
        if notice.bound {
            self.bond.waits_for_notice = false;
        }
        if self.reconcile(now, notice.reported()) {
            self.info(format!("the platform has {} the device", if notice.bound { "bound" } else { "unbound" }));
            self.ask_query(now);
        }
    }

    pub(super) fn take_application_notice(&mut self, notice: BindNotice) {
        let changed = if notice.bound {
            self.bond.applications.len() < MAX_APPLICATIONS && self.bond.applications.insert(notice.id)
        } else {
            self.bond.applications.remove(&notice.id)
        };
        if changed {
            self.tell_applications();
        }
    }

    pub(super) fn adopt_name(&mut self, name: String) {
        let known = self.bond.adopted_name.as_deref().or(self.settings.device_name.as_deref());
        if known != Some(name.as_str()) && name.len() <= LONGEST_NAME {
            self.put(storage::NAME, name.clone().into_bytes());
            self.bond.adopted_name = Some(name);
        }
    }

    /// The user ended the bond at the device.
    pub(super) fn begin_unbinding(&mut self) {
        if !self.settings.unbind_supported || !self.settings.supports(requests::UNBIND) {
            self.warn("unbinding at the device is not set up (unbind_supported), nothing is done".to_owned());
            return;
        }
        if self.bond.unbinding {
            return;
        }
        self.bond.unbind_refused = None;
        self.bond.unbinding = true;
        self.put(storage::UNBINDING, b"1".to_vec());
        self.info("unbinding: everything else waits until the platform confirms it".to_owned());
        if matches!(self.phase, Phase::Online(_)) {
            self.requests.clear();
            self.requests.want(Request::new(requests::UNBIND, None));
            self.timers.clear(&Timer::Query);
            self.timers.clear(&Timer::Time);
        }
    }

    pub(super) fn take_unbind_answer(&mut self, now: Now, code: i64) {
        if !self.bond.unbinding || (code != 0 && code != NO_PERMISSION && code != UNSUPPORTED) {
            return;
        }
        self.bond.unbinding = false;
        self.remove(storage::UNBINDING);
        if code == 0 {
            self.info("the platform confirmed the unbinding".to_owned());
            self.bond.organisation = Some(String::new());
            self.put(storage::ORGANISATION, Vec::new());
            self.wipe(now);
        } else {
            self.bond.unbind_refused = Some(code);
            self.warn(format!("the platform does not allow the device to unbind itself (code {code})"));
        }
        self.start_sequence(now);
    }

    /// Local business data must go.
    pub(super) fn wipe(&mut self, now: Now) {
        let dropped = self.uplink.wipe();
        // At once, so that nothing of the former organisation comes back after a power cut.
        self.save_queue();
        self.info(format!("the organisation changed: local business data is wiped, {dropped} queued messages dropped"));
        self.bond.wiped = Some(clock::stamp(&self.clock, now));
        self.bond.login = None;
        if !self.bond.applications.is_empty() {
            self.bond.applications.clear();
            self.tell_applications();
        }
        if self.settings.wipe_action.is_some() && !self.bond.wipe_pending {
            self.bond.wipe_pending = true;
            self.put(storage::WIPE, b"1".to_vec());
        }
        self.run_wipe_action();
    }

    /// Runs the product's wipe action, if it has one and none is running.
    pub(super) fn run_wipe_action(&mut self) {
        let running = self.running.values().any(|running| matches!(running.purpose, Purpose::Wipe));
        let action = self.settings.wipe_action.as_deref().and_then(|name| self.model.action_of_cloud(name));
        let Some(action) = action.filter(|_| self.bond.wipe_pending && !running) else { return };
        let command = Command::new(CommandBody::Invoke { action: action.id, params: Vec::new() });
        let id = self.next_id();
        self.running.insert(id, Running { purpose: Purpose::Wipe, due: None });
        self.outputs.push(Output::Submit(id, command));
    }

    pub(super) fn take_wipe_outcome(&mut self, now: Now, outcome: &Outcome) {
        match &outcome.result {
            OutcomeResult::Done => {}
            OutcomeResult::Refused(why) => self.log(Level::Error, format!("the wipe action was refused: {why}")),
            OutcomeResult::Unreachable | OutcomeResult::TimedOut | OutcomeResult::Superseded => {
                self.timers.set(Timer::Wipe, now.monotonic.after(WIPE_AGAIN_MS));
                return;
            }
        }
        self.bond.wipe_pending = false;
        self.remove(storage::WIPE);
    }

    /// Factory reset of the module: what belongs to the owner is forgotten. An unbinding that the user asked for goes
    /// on.
    pub(super) fn reset(&mut self, now: Now) {
        self.info("factory reset: organisation, applications and queued messages are forgotten".to_owned());
        self.uplink.wipe();
        let had_applications = !self.bond.applications.is_empty();
        let unbinding = self.bond.unbinding;
        self.bond = Bond { unbinding, ..Bond::default() };
        for key in [storage::ORGANISATION, storage::NAME, storage::WIPE, storage::QUEUE] {
            self.remove(key);
        }
        self.queue_stored = false;
        self.timers.clear(&Timer::Wipe);
        if had_applications {
            self.tell_applications();
        }
        if matches!(self.phase, Phase::Online(_)) {
            self.ask_query(now);
        }
    }

    fn tell_applications(&mut self) {
        let applications: Vec<&String> = self.bond.applications.iter().collect();
        let stored = serde_json::to_vec(&applications).expect("texts always become JSON");
        self.put(storage::APPLICATIONS, stored);
        self.count_applications();
    }

    /// Tells the MCU, by way of the host, how many applications there are.
    pub(super) fn count_applications(&mut self) {
        let count = u32::try_from(self.bond.applications.len()).unwrap_or(u32::MAX);
        self.outputs.push(Output::Module(module::Request::Applications(count)));
    }
}

/// Applications remembered; further ones are not (not documented; chosen by us).
const MAX_APPLICATIONS: usize = 64;
/// Longest device name taken from the platform (not documented; chosen by us).
const LONGEST_NAME: usize = 256;
/// A wipe action that could not be done is tried again after so long (not documented; chosen by us).
const WIPE_AGAIN_MS: u64 = 30_000;
