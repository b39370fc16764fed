//! Firmware decisions: what is asked of the cloud and when, and which firmware the device should run. The host loads and
//! installs it; [`order`] is what it is told.
//!
//! Invariant: one check is outstanding at most, and at most one of each kind waits; what is [`Wanted`] can be loaded.

mod file;
pub mod order;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use polylink_plugin_sdk::url::http_host;
use serde::{Deserialize, Serialize};

use crate::api::{ApiError, Kind, Offer, Reaction, Target};
use crate::identity::Fids;

pub use file::{FileError, FirmwareFile};
/// Under which key of the store lies what is not tried again.
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Whose.
    pub kind: Kind,
    /// Which.
    pub target: Target,
    /// Where it is: an http or https address.
    pub url: String,
}

/// What became of an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The device should run it.
    Wanted(Wanted),
    /// The device runs it, or there is none: whatever this question brought before is not offered any more.
    UpToDate(Check),
}

/// An update that is over, as it is stored: the same firmware is not tried again for [`SETTLED_S`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Settled {
    kind: Kind,
    target: Target,
    /// Unix seconds; `None`: the clock was not set.
    at: Option<u64>,
}

/// Why an offer is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// Not an address that is loaded from.
    #[error("the offered firmware is not at an http or https address of at most {LONGEST_URL} characters")]
    Address,
}

/// The checks of one start, and what is not tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upgrades {
    settled: [Option<Settled>; 2],
    waiting: VecDeque<Kind>,
    outstanding: Option<Check>,
    /// The server does not know the checks by version. Forgotten at the next start.
    only_fid: bool,
}

impl Upgrades {
    /// Reads what was stored; damaged, it counts as absent.
    #[must_use]
    pub fn restore(stored: &[u8]) -> Self {
        let list: Vec<Settled> = serde_json::from_slice(stored).unwrap_or_default();
        let mut upgrades = Self::default();
        for settled in list {
            let place = place(settled.kind);
            upgrades.settled[place] = Some(settled);
        }
        upgrades
    }

    /// What is to be stored.
    #[must_use]
    pub fn to_stored(&self) -> Vec<u8> {
        serde_json::to_vec(&self.settled.iter().flatten().collect::<Vec<_>>()).expect("it has text keys only")
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
    ) -> Result<Option<Decision>, OfferError> {
        let Some(check) = self.outstanding.take() else { return Ok(None) };
        match answer {
            Ok(offer) => decide(check.kind, offer, running).map(Some),
            Err(error) if check.scheme == Scheme::V41 && error.is_missing_path() => {
                // The path is as unknown for the other kind, so that is not tried.
                self.only_fid = true;
                self.waiting.retain(|kind| *kind != check.kind);
                self.waiting.push_front(check.kind);
                Ok(None)
            }
            Err(error) if error.reaction() == Reaction::NoUpgrade => Ok(Some(Decision::UpToDate(check))),
            // One attempt each; the next start checks again (Gizwits GAgent product specification 0.9.5, chapter 9).
            Err(_) => Ok(None),
        }
    }

    /// The outstanding check got no answer in time, or could not be made. It is not repeated.
    pub fn silent(&mut self) {
        self.outstanding = None;
    }

    /// Whether this firmware is not to be tried again yet. Where no time is known it is not.
    #[must_use]
    pub fn rests(&self, wanted: &Wanted, unix_s: Option<u64>) -> bool {
        // A clock that was set back must not hold an update for years.
        let recent = |(at, now): (u64, u64)| now.abs_diff(at) < SETTLED_S;
        let settled = self.settled[place(wanted.kind)].as_ref().filter(|settled| settled.target == wanted.target);
        settled.is_some_and(|settled| settled.at.zip(unix_s).is_none_or(recent))
    }

    /// This firmware failed, or is not what it was offered as. True: that is to be stored.
    pub fn settle(&mut self, kind: Kind, target: Target, unix_s: Option<u64>) -> bool {
        let settled = &mut self.settled[place(kind)];
        if settled.as_ref().is_some_and(|settled| settled.target == target) {
            return false;
        }
        *settled = Some(Settled { kind, target, at: unix_s });
        true
    }

    /// The clock is set, perhaps for the first time since something was settled. True: that is to be stored.
    pub fn date(&mut self, unix_s: Option<u64>) -> bool {
        let undated = self.settled.iter_mut().flatten().filter(|settled| settled.at.is_none() && unix_s.is_some());
        undated.map(|settled| settled.at = unix_s).count() > 0
    }

    /// Firmware of this kind is tried: what was tried before may be again. True: that is to be stored.
    pub fn tried(&mut self, kind: Kind) -> bool {
        self.settled[place(kind)].take().is_some()
    }

    /// The product is another one.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Whether firmware that the cloud offers, in an answer or a push, is wanted.
///
/// A version is wanted if it is another than the running one. (The protocol says "differs"; the vendor's module takes
/// greater texts only, so a cloud could not take a release back.) An id is wanted if it is another than the stored one,
/// also if none is stored (Gizwits GAgent product specification 0.9.5, chapter 9).
///
/// # Errors
/// The offer cannot be taken.
pub fn decide(kind: Kind, offer: Offer, running: Running<'_>) -> Result<Decision, OfferError> {
    let Offer { target, url } = offer;
    let is_running = match &target {
        Target::Version(version) => version == running.of(kind),
        Target::Fid(fid) => *fid == running.fids.of(kind),
    };
    if is_running {
        return Ok(Decision::UpToDate(Check { kind, scheme: Scheme::of(&target) }));
    }
    if is_address(&url) { Ok(Decision::Wanted(Wanted { kind, target, url })) } else { Err(OfferError::Address) }
}

impl Scheme {
    const fn of(target: &Target) -> Self {
        match target {
            Target::Version(_) => Self::V41,
            Target::Fid(_) => Self::Fid,
        }
    }

    /// Whether firmware is named so.
    #[must_use]
    pub fn names(self, target: &Target) -> bool {
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

/// Seconds before a firmware is tried again. Not documented; chosen by us: every start asks, and one that a bad firmware
/// caused must not load it once more.
const SETTLED_S: u64 = 86_400;
/// Longest address taken. Not documented; chosen by us.
const LONGEST_URL: usize = 1024;
