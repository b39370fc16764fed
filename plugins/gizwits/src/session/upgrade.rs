//! Firmware: asking for it, what the cloud pushes, what runs now. Nothing is loaded here: offers wait, stored and shown, for
//! the update engine of the host.

use polylink_plugin_sdk::services::{Failure, http, module};
use polylink_plugin_sdk::{Now, RequestId};

use super::GizwitsSession;
use super::cloud::Phase;
use crate::api::{self, Kind, Offer, Target, Versions};
use crate::ota::{Decision, Plan, Running, Scheme};

impl GizwitsSession {
    /// Sends the next question, if there is one. Of firmware whose versions the cloud could not take nothing is asked.
    pub(super) fn ask_for_update(&mut self) -> Option<RequestId> {
        let did = self.identity.did.clone()?;
        loop {
            let check = self.upgrades.next_check()?;
            let versions = self.versions(check.kind);
            if [versions.hard, versions.soft].iter().any(|version| !is_version(version)) {
                let (kind, Versions { hard, soft }) = (name(check.kind), versions);
                let text = format!(
                    "not asking for firmware of the {kind}: its versions are `{hard}` and `{soft}`, and the cloud knows \
                     those of 8 letters and digits"
                );
                self.upgrades.silent();
                self.info(text);
                continue;
            }
            let request = match check.scheme {
                Scheme::V41 => self.api.check_v41(&did, &self.identity.passcode, check.kind, versions),
                Scheme::Fid => {
                    let fid = self.identity.fids.of(check.kind);
                    self.api.check_fid(&did, &self.model.product_key, check.kind, versions, fid)
                }
            };
            let id = self.next_id();
            self.http(id, request);
            return Some(id);
        }
    }

    /// Takes the answer to the outstanding question.
    pub(super) fn take_check(&mut self, now: Now, result: Result<http::Response, Failure>) {
        let answer = match result {
            Ok(answer) => answer,
            Err(failure) => {
                self.upgrades.silent();
                return self.info(format!("no answer about firmware: {}", failure.text));
            }
        };
        let parsed = match self.upgrades.outstanding().map(|check| check.scheme) {
            Some(Scheme::V41) => api::offered_v41(answer.status, &answer.body),
            Some(Scheme::Fid) => api::offered_by_fid(answer.status, &answer.body),
            None => return,
        };
        let facts = self.facts.clone();
        let decision = self.upgrades.answered(parsed, running(&facts, self.identity.fids), unix_s(now));
        self.decided(decision);
    }

    /// The cloud says that there may be firmware (v4.1): it is asked, beside the connection.
    pub(super) fn check_pushed(&mut self, kind: Kind) {
        self.upgrades.want(kind);
        if self.pushed_check.is_none() {
            self.pushed_check = self.ask_for_update();
        }
    }

    pub(super) fn take_pushed_check(&mut self, now: Now, id: RequestId, result: Result<http::Response, Failure>) {
        if self.pushed_check != Some(id) {
            return;
        }
        self.pushed_check = None;
        self.take_check(now, result);
        if matches!(self.phase, Phase::Online { .. }) {
            self.pushed_check = self.ask_for_update();
        }
    }

    /// The cloud offers firmware (v4.0).
    pub(super) fn firmware_pushed(&mut self, now: Now, kind: Kind, fid: u32, url: String) {
        let offer = Offer { target: Target::Fid(fid), url };
        let facts = self.facts.clone();
        let decision = self.upgrades.offered(kind, offer, running(&facts, self.identity.fids), unix_s(now));
        self.decided(decision.map(Some));
    }

    fn decided(&mut self, decision: Result<Option<Decision>, crate::ota::OfferError>) {
        match decision {
            Ok(Some(Decision::Planned(plan))) => {
                self.info(format!("firmware for the {} is available: {}", name(plan.kind), words(&plan)));
                self.save_upgrades();
            }
            Ok(Some(Decision::UpToDate { withdrew: true })) => self.save_upgrades(),
            Ok(Some(Decision::UpToDate { withdrew: false } | Decision::Known) | None) => {}
            Err(error) => self.warn(error.to_string()),
        }
    }

    /// An update may have been installed, whoever did it: what it was for is done then, and its FID is stored now and not
    /// before (GAgent product specification 9).
    pub(super) fn notice_versions(&mut self, facts: &module::Facts) {
        let before = self.upgrades.to_stored();
        let reached = self.upgrades.runs(running(facts, self.identity.fids));
        if before != self.upgrades.to_stored() {
            self.save_upgrades();
        }
        if reached.is_empty() {
            return;
        }
        for update in reached {
            self.info(format!("the {} runs other firmware now", name(update.kind)));
            if let Some(fid) = update.fid {
                self.identity.fids.set(update.kind, fid);
            }
        }
        self.save_identity();
    }
}

/// The word of this kind for people and in the status.
pub(super) const fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Module => "module",
        Kind::Mcu => "mcu",
    }
}

/// Whether the cloud can take it: 8 characters `0-9 a-z A-Z` (GAgent product specification 2.2).
fn is_version(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Which firmware a plan is for.
pub(super) fn words(plan: &Plan) -> String {
    match &plan.target {
        Target::Version(version) => format!("version {version}"),
        Target::Fid(fid) => format!("FID {fid}"),
    }
}

fn running(facts: &module::Facts, fids: crate::identity::Fids) -> Running<'_> {
    Running { module: &facts.module_software, mcu: &facts.mcu_software, fids }
}

/// The time, if the clock is good enough to be stored.
fn unix_s(now: Now) -> Option<u64> {
    let is_set = now.wall.quality != polylink_plugin_sdk::ClockQuality::UNSET;
    u64::try_from(now.wall.unix_seconds()).ok().filter(|_| is_set)
}
