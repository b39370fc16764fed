//! Firmware: asking for it, what the cloud pushes, what becomes of it. The host loads and installs; the protocol has no words
//! for progress and failure, and of a success the cloud hears when it is asked for firmware the next time.

use polylink_plugin_sdk::services::ota::{Event, Failure as Why, Phase as UpdatePhase, Request, Update};
use polylink_plugin_sdk::services::{Failure, http, module};
use polylink_plugin_sdk::{Context, Now, Output, RequestId};

use super::GizwitsSession;
use super::cloud::Phase;
use crate::api::{self, Kind, Look, Offer, Target, Versions};
use crate::ota::order::{self, Order, word};
use crate::ota::{Check, Decision, FirmwareFile, OfferError, Running, Scheme, Wanted, decide};

/// What is known of updates.
pub struct Updates {
    /// True if the host can load and install firmware.
    can_install: bool,
    /// Those that the host has, without the ones acknowledged since.
    list: Vec<Update>,
    /// Firmware that is wanted, with the question what its file is; at most one of each kind.
    asked: Vec<Asked>,
    /// What was offered to the host last, of each kind, since the start.
    offered: Vec<Wanted>,
    /// Firmware that is not on its way, and why; at most one of each kind.
    left: Vec<Left>,
    /// The MCU has not said yet what it runs, or that it runs the firmware that it has taken; the cloud is asked when it does.
    mcu_unheard: bool,
}

/// A question what a file is.
struct Asked {
    request: RequestId,
    look: Look,
    wanted: Wanted,
}

/// Firmware that is not on its way.
struct Left {
    kind: Kind,
    target: Target,
    /// For people.
    why: String,
    /// This device never installs such firmware: nobody tries again before the next start.
    is_final: bool,
}

impl Left {
    fn is(&self, wanted: &Wanted) -> bool {
        self.kind == wanted.kind && self.target == wanted.target
    }
}

impl Updates {
    /// What the host says at the start.
    pub fn of(context: &Context) -> Self {
        let can_install = context.services.contains(&polylink_plugin_sdk::services::id::OTA);
        Self {
            can_install,
            list: context.updates.clone(),
            asked: Vec::new(),
            offered: Vec::new(),
            left: Vec::new(),
            mcu_unheard: false,
        }
    }

    /// For people: what there is of this kind.
    pub fn text(&self, kind: Kind) -> Option<String> {
        let orders = self.list.iter().rev().filter_map(|update| Some((update, Order::parse(&update.id)?)));
        if let Some((update, order)) = orders.into_iter().find(|(_, order)| order.kind == kind) {
            let (percent, reason) = (update.percent, &update.reason);
            let standing = match update.phase {
                UpdatePhase::Waiting => "waiting".to_owned(),
                UpdatePhase::Downloading => format!("loading, {percent} %"),
                UpdatePhase::Installing => "being installed".to_owned(),
                UpdatePhase::Finished => "installed".to_owned(),
                UpdatePhase::Failed(_) => format!("failed, {reason}"),
            };
            return Some(format!("{}: {standing}", words(&order.target)));
        }
        let asked = self.asked.iter().map(|asked| (asked.wanted.kind, &asked.wanted.target, "available"));
        let mut others = asked.chain(self.left.iter().map(|left| (left.kind, &left.target, left.why.as_str())));
        let (_, target, standing) = others.find(|(other, ..)| *other == kind)?;
        Some(format!("{}: {standing}", words(target)))
    }

    /// Whether nothing is to be done for this: the host has it from there, or has loaded it already. An address may be good
    /// for a while only, so a new one is passed on.
    fn has(&self, wanted: &Wanted) -> bool {
        let is_there = self.find(wanted).is_some_and(|update| {
            let is_loaded = !matches!(update.phase, UpdatePhase::Waiting | UpdatePhase::Downloading);
            is_loaded || self.offered.contains(wanted)
        });
        is_there || self.asked.iter().any(|asked| asked.wanted == *wanted)
    }

    /// What the host has of this firmware, from wherever.
    fn find(&self, wanted: &Wanted) -> Option<&Update> {
        let is_it = |order: Order| order.kind == wanted.kind && order.target == wanted.target;
        self.list.iter().find(|update| Order::parse(&update.id).is_some_and(is_it))
    }

    /// Ids of those that have not begun and are like this.
    fn waiting(&self, is_like: impl Fn(&Order) -> bool) -> Vec<String> {
        let waiting = self.list.iter().filter(|update| update.phase == UpdatePhase::Waiting);
        waiting
            .filter(|update| Order::parse(&update.id).is_some_and(|order| is_like(&order)))
            .map(|update| update.id.clone())
            .collect()
    }
}

impl GizwitsSession {
    /// Sends the next question, if there is one. Of firmware whose versions the cloud could not take nothing is asked.
    pub(super) fn ask_for_update(&mut self) -> Option<RequestId> {
        let did = self.identity.did.clone()?;
        loop {
            let check = self.upgrades.next_check()?;
            let versions = self.versions(check.kind);
            if [versions.hard, versions.soft].iter().any(|version| !is_version(version)) {
                // It may be starting up, and say so later.
                let is_unheard = check.kind == Kind::Mcu && versions.soft.is_empty();
                let (kind, Versions { hard, soft }) = (word(check.kind), versions);
                let text = format!(
                    "not asking for firmware of the {kind}: its versions are `{hard}` and `{soft}`, and the cloud knows \
                     those of 8 letters and digits"
                );
                self.updates.mcu_unheard |= is_unheard;
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
        let running = Running { module: &facts.module_software, mcu: &facts.mcu_software, fids: self.identity.fids };
        let decision = self.upgrades.answered(parsed, running);
        self.decided(now, decision);
    }

    /// The cloud says that there may be firmware (v4.1), or wants to know what runs: it is asked, beside the connection.
    pub(super) fn check_pushed(&mut self, kind: Kind) {
        self.upgrades.want(kind);
        if self.pushed_check.is_none() {
            self.pushed_check = self.ask_for_update();
        }
    }

    /// Takes the answer to a question beside the connection.
    pub(super) fn take_pushed_check(&mut self, now: Now, id: RequestId, result: Result<http::Response, Failure>) {
        if self.pushed_check != Some(id) {
            return self.take_file(id, result);
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
        let facts = &self.facts;
        let running = Running { module: &facts.module_software, mcu: &facts.mcu_software, fids: self.identity.fids };
        let decision = decide(kind, offer, running);
        self.decided(now, decision.map(Some));
    }

    fn decided(&mut self, now: Now, decision: Result<Option<Decision>, OfferError>) {
        match decision {
            Ok(Some(Decision::Wanted(wanted))) => self.want_firmware(now, wanted),
            Ok(Some(Decision::UpToDate(Check { kind, scheme }))) => {
                let is_gone = |other: Kind, target: &Target| other == kind && scheme.names(target);
                self.drop_questions(|wanted| is_gone(wanted.kind, &wanted.target));
                self.updates.left.retain(|left| !is_gone(left.kind, &left.target));
                self.withdraw(|order| order.kind == kind && scheme.names(&order.target));
            }
            Ok(None) => {}
            Err(error) => self.warn(error.to_string()),
        }
    }

    /// Asks what the file is, so that the host can be told its MD5: only the headers of the download have it.
    fn want_firmware(&mut self, now: Now, wanted: Wanted) {
        let text = format!("firmware for the {} is available: {}", word(wanted.kind), words(&wanted.target));
        if !self.updates.can_install {
            if !self.updates.left.iter().any(|left| left.is(&wanted)) {
                self.info(format!("{text}; {INSTALLS_NONE}"));
                self.leave(Left {
                    kind: wanted.kind,
                    target: wanted.target,
                    why: INSTALLS_NONE.into(),
                    is_final: true,
                });
            }
            return;
        }
        self.withdraw(|order| order.kind == wanted.kind && order.target != wanted.target);
        self.drop_questions(|other| other.kind == wanted.kind && *other != wanted);
        self.updates.left.retain(|left| left.kind != wanted.kind || left.is(&wanted));
        if self.upgrades.date(unix_s(now)) {
            self.save_upgrades();
        }
        let is_final = self.updates.left.iter().any(|left| left.is(&wanted) && left.is_final);
        if self.updates.has(&wanted) || is_final || self.upgrades.rests(&wanted, unix_s(now)) {
            return;
        }
        self.updates.left.retain(|left| left.kind != wanted.kind);
        self.info(text);
        self.ask_what_file(wanted, Look::Head);
    }

    fn ask_what_file(&mut self, wanted: Wanted, look: Look) {
        let request = self.next_id();
        self.http(request, api::look_at_file(&wanted.url, look));
        self.updates.asked.push(Asked { request, look, wanted });
    }

    /// Nobody wants to know any more what these files are. A cloud that names one address after another must not have a
    /// request under way for each.
    fn drop_questions(&mut self, is_like: impl Fn(&Wanted) -> bool) {
        let dropped = self.updates.asked.extract_if(.., |asked| is_like(&asked.wanted));
        self.outputs.extend(dropped.map(|asked| Output::CancelHttp(asked.request)));
    }

    /// Takes the answer to the question what a file is, and offers it to the host.
    fn take_file(&mut self, id: RequestId, result: Result<http::Response, Failure>) {
        let Some(at) = self.updates.asked.iter().position(|asked| asked.request == id) else { return };
        let Asked { look, wanted, .. } = self.updates.asked.swap_remove(at);
        let file = match (result, look) {
            (Ok(answer), _) => FirmwareFile::parse(answer.status, &answer.headers).map_err(|error| error.to_string()),
            // Like the check: one attempt, and the next start begins anew.
            (Err(failure), Look::Head) => {
                self.info(format!("no answer about the firmware's file: {}", failure.text));
                let Wanted { kind, target, .. } = wanted;
                return self.leave(Left { kind, target, why: NOT_REACHED.into(), is_final: false });
            }
            // A server that sends the whole file instead of a byte.
            (Err(failure), Look::FirstByte) => Err(failure.text),
        };
        let file = match (file, look) {
            (Ok(file), _) => Some(file),
            (Err(_), Look::Head) => return self.ask_what_file(wanted, Look::FirstByte),
            (Err(error), Look::FirstByte) => {
                // Not every server answers either; the owner's rules decide what may be installed.
                self.info(format!("what the firmware's file is cannot be told beforehand: {error}"));
                None
            }
        };
        if self.upgrades.tried(wanted.kind) {
            self.save_upgrades();
        }
        let known = self.updates.find(&wanted).map(|update| update.id.clone());
        let offer = order::offer(wanted.clone(), file);
        // Another id would be another update of the same firmware.
        if known.is_none_or(|known| known == offer.id) {
            self.outputs.push(Output::Ota(Request::Offer(Box::new(offer))));
        }
        self.updates.offered.retain(|other| other.kind != wanted.kind);
        self.updates.offered.push(wanted);
    }

    /// Shows firmware that is not on its way.
    fn leave(&mut self, left: Left) {
        self.updates.left.retain(|other| other.kind != left.kind);
        self.updates.left.push(left);
    }

    /// Takes back what has not begun and is like this.
    fn withdraw(&mut self, is_like: impl Fn(&Order) -> bool) {
        let ids = self.updates.waiting(is_like);
        self.outputs.extend(ids.into_iter().map(|id| Output::Ota(Request::Cancel(id))));
    }

    /// The product is another one: no update is for it.
    pub(super) fn withdraw_all(&mut self) {
        self.drop_questions(|_| true);
        self.updates.left.clear();
        self.withdraw(|_| true);
    }

    /// The running versions are known or changed: an update that brings nothing else is not needed.
    pub(super) fn withdraw_what_runs(&mut self) {
        let (module, mcu) = (self.facts.module_software.clone(), self.facts.mcu_software.clone());
        let running = Running { module: &module, mcu: &mcu, fids: self.identity.fids };
        self.withdraw(|order| matches!(&order.target, Target::Version(version) if version == running.of(order.kind)));
    }

    /// The device says of itself what it runs.
    pub(super) fn take_facts(&mut self, facts: module::Facts) {
        let is_another = facts.mcu_software != self.facts.mcu_software;
        self.facts = facts;
        self.withdraw_what_runs();
        if is_another && std::mem::take(&mut self.updates.mcu_unheard) {
            self.check_pushed(Kind::Mcu);
        }
    }

    pub(super) fn take_updates(&mut self, now: Now, event: Event) {
        let Event::Changed(list) = event;
        self.updates.list = list;
        let installed = self.settle_updates(now);
        if !self.settings.check_updates {
            return;
        }
        // That is how the cloud learns what runs. An MCU restarts before it runs it.
        for (kind, target) in installed {
            let is_there = !matches!(&target, Target::Version(version) if *version != self.facts.mcu_software);
            if kind == Kind::Module || is_there {
                self.check_pushed(kind);
            } else {
                self.updates.mcu_unheard = true;
            }
        }
    }

    /// Draws the conclusions of updates that are over; which firmware is new.
    pub(super) fn settle_updates(&mut self, now: Now) -> Vec<(Kind, Target)> {
        let (over, going): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.updates.list).into_iter().partition(|update| update.phase.is_over());
        self.updates.list = going;
        let mut installed = Vec::new();
        for Update { id, phase, reason, .. } in over {
            if let Some(order) = Order::parse(&id) {
                let (kind, firmware) = (word(order.kind), words(&order.target));
                match phase {
                    UpdatePhase::Failed(Why::Cancelled) => {}
                    UpdatePhase::Failed(failure) => {
                        self.warn(format!("firmware for the {kind}, {firmware}, was not installed: {reason}"));
                        let Order { kind, target, .. } = order;
                        // What this device cannot do at all cost nothing, and its owner may teach it.
                        let is_final = failure == Why::Unsupported;
                        if !is_final {
                            self.rest(now, kind, target.clone());
                        }
                        self.leave(Left { kind, target, why: format!("not installed, {reason}"), is_final });
                    }
                    _ => {
                        self.info(format!("the {kind} runs other firmware now: {firmware}"));
                        installed.push((order.kind, order.target.clone()));
                        self.installed(now, order);
                    }
                }
            }
            self.outputs.push(Output::Ota(Request::Acknowledge(id)));
        }
        installed
    }

    /// New firmware runs: its FID is stored now and not before (GAgent product specification 9).
    fn installed(&mut self, now: Now, order: Order) {
        let Order { kind, target, release } = order;
        match target {
            Target::Fid(fid) => {
                self.identity.fids.set(kind, fid);
                // The release date that discovery tells is the module's (GAgent product specification 2.2.3).
                if release.is_some() && kind == Kind::Module {
                    self.identity.firmware_version = release;
                }
                self.save_identity();
            }
            // Firmware that names itself otherwise than the cloud does must not be installed for ever.
            Target::Version(version) => self.rest(now, kind, Target::Version(version)),
        }
    }

    fn rest(&mut self, now: Now, kind: Kind, target: Target) {
        if self.upgrades.settle(kind, target, unix_s(now)) {
            self.save_upgrades();
        }
    }
}

/// Why firmware is not offered to the host, for people.
const INSTALLS_NONE: &str = "this host installs none";
const NOT_REACHED: &str = "available, but its server is not reached";

/// Whether the cloud can take it: 8 characters `0-9 a-z A-Z` (GAgent product specification 2.2).
fn is_version(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Which firmware it is.
fn words(target: &Target) -> String {
    match target {
        Target::Version(version) => format!("version {version}"),
        Target::Fid(fid) => format!("FID {fid}"),
    }
}

/// The time, if the clock is good enough to be stored.
fn unix_s(now: Now) -> Option<u64> {
    let is_set = now.wall.quality != polylink_plugin_sdk::ClockQuality::UNSET;
    u64::try_from(now.wall.unix_seconds()).ok().filter(|_| is_set)
}
