//! Firmware decisions: what is asked of the cloud and when, which firmware the device should run, and whether a file is
//! it. Nothing is loaded here, and nothing yet carries a plan out: [`Upgrades::offers`] is what there is to load.
//!
//! Invariant: one check is outstanding at most, and at most one of each kind waits; there is one plan of each kind at
//! most, and its address can be loaded from.

mod file;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use polylink_plugin_sdk::url::http_host;
use serde::{Deserialize, Serialize};

use crate::api::{ApiError, Kind, Offer, Reaction, Target};
use crate::identity::Fids;

pub use file::{FileError, FileFormat, FirmwareFile};
/// Under which key of the store the plans lie.
pub const STORE_KEY: &str = "upgrades";

/// A question to the cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// Whose firmware.
    pub kind: Kind,
    /// How to ask.
    pub scheme: Scheme,
}

/// How firmware is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// By version ([`crate::api::Api::check_v41`]); asked first.
    V41,
    /// By id ([`crate::api::Api::check_fid`]); for a server that does not know the other.
    Fid,
}

/// What the device runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running<'a> {
    /// Software version of the module.
    pub module: &'a str,
    /// Software version of the MCU.
    pub mcu: &'a str,
    /// The stored firmware ids.
    pub fids: Fids,
}

/// Firmware that the device should run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Whose.
    pub kind: Kind,
    /// Which.
    pub target: Target,
    /// Where it is: an http or https address.
    pub url: String,
    /// Unix seconds of when it was first offered; `None` while the clock was not set.
    pub since: Option<u64>,
    /// The software version that ran when it was first offered; empty if it was not known.
    pub running: String,
}

/// What became of an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is planned now, or planned with another address: the plans are to be stored.
    Planned(Plan),
    /// It is planned already.
    Known,
    /// The device runs it. A plan that there was is gone; if `withdrew`, the plans are to be stored.
    UpToDate {
        /// Whether there was a plan.
        withdrew: bool,
    },
}

/// A plan that the device has carried out, or that something else has overtaken. The release date of the new firmware
/// is not known from it: only a download tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Whose firmware.
    pub kind: Kind,
    /// The firmware id to store now, and not before; `None` for a plan by version.
    pub fid: Option<u32>,
}

/// Why an offer is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// Not an address that is loaded from.
    #[error("the offered firmware is not at an http or https address of at most {LONGEST_URL} characters")]
    Address,
}

/// The checks of one start, and the plans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upgrades {
    plans: [Option<Plan>; 2],
    waiting: VecDeque<Kind>,
    outstanding: Option<Check>,
    /// The server does not know the checks by version. Forgotten at the next start.
    only_fid: bool,
}

impl Upgrades {
    /// Reads the plans that were stored; those that cannot be read are dropped, since the next check brings them back.
    #[must_use]
    pub fn restore(stored: &[u8]) -> Self {
        let plans: Vec<Plan> = serde_json::from_slice(stored).unwrap_or_default();
        let mut upgrades = Self::default();
        for plan in plans.into_iter().filter(|plan| is_address(&plan.url)) {
            let place = place(plan.kind);
            upgrades.plans[place] = Some(plan);
        }
        upgrades
    }

    /// The plans, to be stored.
    #[must_use]
    pub fn to_stored(&self) -> Vec<u8> {
        serde_json::to_vec(&self.offers().collect::<Vec<_>>()).expect("it has text keys only")
    }

    /// What there is to load, the module's first.
    pub fn offers(&self) -> impl Iterator<Item = &Plan> {
        self.plans.iter().flatten()
    }

    /// The device has started and knows its broker: module and MCU are to be checked, in this order.
    pub fn started(&mut self) {
        Kind::ALL.into_iter().for_each(|kind| self.want(kind));
    }

    /// This kind is to be checked, as when the cloud says so. A check that waits already is enough.
    pub fn want(&mut self, kind: Kind) {
        if !self.waiting.contains(&kind) {
            self.waiting.push_back(kind);
        }
    }

    /// The check to make now; `None` if one is outstanding, or none is wanted.
    pub fn next_check(&mut self) -> Option<Check> {
        if self.outstanding.is_none() {
            let scheme = if self.only_fid { Scheme::Fid } else { Scheme::V41 };
            self.outstanding = self.waiting.pop_front().map(|kind| Check { kind, scheme });
            return self.outstanding;
        }
        None
    }

    /// The check whose answer is awaited.
    #[must_use]
    pub const fn outstanding(&self) -> Option<Check> {
        self.outstanding
    }

    /// Whether there is nothing to ask and no answer to wait for, so that the device may go on to its broker.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.outstanding.is_none() && self.waiting.is_empty()
    }

    /// The outstanding check was answered.
    ///
    /// # Errors
    /// The offer cannot be taken; it is passed over.
    pub fn answered(
        &mut self,
        answer: Result<Offer, ApiError>,
        running: Running<'_>,
        unix_s: Option<u64>,
    ) -> Result<Option<Decision>, OfferError> {
        let Some(check) = self.outstanding.take() else { return Ok(None) };
        match answer {
            Ok(offer) => self.offered(check.kind, offer, running, unix_s).map(Some),
            Err(error) if check.scheme == Scheme::V41 && error.is_missing_path() => {
                // The path is as unknown for the other kind, so that is not tried.
                self.only_fid = true;
                self.waiting.retain(|kind| *kind != check.kind);
                self.waiting.push_front(check.kind);
                Ok(None)
            }
            Err(error) if error.reaction() == Reaction::NoUpgrade => {
                let withdrew = self.withdraw(check.kind, |target| check.scheme.names(target));
                Ok(Some(Decision::UpToDate { withdrew }))
            }
            // One attempt each; the next start checks again (Gizwits GAgent product specification 0.9.5, chapter 9).
            Err(_) => Ok(None),
        }
    }

    /// The outstanding check got no answer in time, or could not be made. It is not repeated.
    pub fn silent(&mut self) {
        self.outstanding = None;
    }

    /// The cloud offers firmware, in an answer or a push.
    ///
    /// A version is wanted if it is another than the running one. (The protocol says "differs"; the vendor's module
    /// takes greater texts only, so a cloud could not take a release back.) An id is wanted if it is another than the
    /// stored one, also if none is stored (Gizwits GAgent product specification 0.9.5, chapter 9).
    ///
    /// # Errors
    /// The offer cannot be taken.
    pub fn offered(
        &mut self,
        kind: Kind,
        offer: Offer,
        running: Running<'_>,
        unix_s: Option<u64>,
    ) -> Result<Decision, OfferError> {
        let Offer { target, url } = offer;
        let is_running = match &target {
            Target::Version(version) => version == running.of(kind),
            Target::Fid(fid) => *fid == running.fids.of(kind),
        };
        if is_running {
            let scheme = Scheme::of(&target);
            return Ok(Decision::UpToDate { withdrew: self.withdraw(kind, |planned| scheme.names(planned)) });
        }
        if !is_address(&url) {
            return Err(OfferError::Address);
        }
        let plan = &mut self.plans[place(kind)];
        if let Some(plan) = plan.as_mut().filter(|plan| plan.target == target) {
            if plan.url == url && (plan.since.is_some() || unix_s.is_none()) {
                return Ok(Decision::Known);
            }
            plan.since = plan.since.or(unix_s);
            plan.url = url;
            return Ok(Decision::Planned(plan.clone()));
        }
        let new = Plan { kind, target, url, since: unix_s, running: running.of(kind).to_owned() };
        Ok(Decision::Planned(plan.insert(new).clone()))
    }

    /// The running versions are known, at the start and after each handshake with the MCU: plans whose firmware runs are
    /// done, and so are those whose kind runs another version than when they were made, whichever it is. The plans are
    /// to be stored if that changes [`Self::to_stored`].
    pub fn runs(&mut self, running: Running<'_>) -> Vec<Reached> {
        let mut reached = Vec::new();
        for plan in &mut self.plans {
            let done = plan.take_if(|plan| {
                let version = running.of(plan.kind);
                let is_target = matches!(&plan.target, Target::Version(target) if target == version);
                if plan.running.is_empty() && !is_target {
                    // The MCU had not told its version when the plan was made, so this is the one to compare with.
                    version.clone_into(&mut plan.running);
                    return false;
                }
                !version.is_empty() && (is_target || version != plan.running)
            });
            if let Some(Plan { kind, target, .. }) = done {
                let fid = match target {
                    Target::Fid(fid) => Some(fid),
                    Target::Version(_) => None,
                };
                reached.push(Reached { kind, fid });
            }
        }
        reached
    }

    /// The product is another one: no plan is for it.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    fn withdraw(&mut self, kind: Kind, which: impl Fn(&Target) -> bool) -> bool {
        self.plans[place(kind)].take_if(|plan| which(&plan.target)).is_some()
    }
}

impl Scheme {
    const fn of(target: &Target) -> Self {
        match target {
            Target::Version(_) => Self::V41,
            Target::Fid(_) => Self::Fid,
        }
    }

    fn names(self, target: &Target) -> bool {
        Self::of(target) == self
    }
}

impl<'a> Running<'a> {
    /// The version of this kind.
    #[must_use]
    pub const fn of(&self, kind: Kind) -> &'a str {
        match kind {
            Kind::Module => self.module,
            Kind::Mcu => self.mcu,
        }
    }
}

const fn place(kind: Kind) -> usize {
    match kind {
        Kind::Module => 0,
        Kind::Mcu => 1,
    }
}

/// Whether this is an address to load from.
fn is_address(url: &str) -> bool {
    http_host(url, LONGEST_URL).is_some() && url.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Longest address taken. Not documented; chosen by us.
const LONGEST_URL: usize = 1024;
