//! What of the updates survives a reboot: a small JSON document behind its checksum, replaced as a whole.

use serde::{Deserialize, Serialize};

use polylink_plugin_api::Timestamp;

use super::{Listed, Outcome, Progress, Subject};
use crate::disk::crc32;
use crate::update::manifest::Target;
use crate::update::offer::{self, Moment, Offer};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The product that all of it is for; empty: none was known yet.
    pub product: String,
    /// The next operation's number.
    pub next_id: u64,
    /// What is under way.
    pub active: Option<Operation>,
    /// What waits for its turn.
    pub waiting: Vec<Operation>,
    /// What is over, and its asker has not said that it knows.
    pub ended: Vec<Ended>,
}

/// One update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Its number, never used again.
    pub id: u64,
    /// What was offered.
    pub offer: Offer,
    /// The random number that was drawn for its start.
    pub drawn: u64,
    /// Unix seconds of its start; none: not known yet.
    pub start: Option<i64>,
    /// How far it is.
    pub stage: Stage,
    /// When it was offered, or the host started after that.
    #[serde(skip, default = "boot")]
    pub since: Timestamp,
}

const fn boot() -> Timestamp {
    Timestamp(0)
}

impl Operation {
    /// What it is about.
    #[must_use]
    pub const fn subject(&self) -> Subject {
        Subject { id: self.id, target: self.offer.target, device: self.offer.device }
    }

    /// Whether its turn has come. Without a clock a spread counts from the offer.
    #[must_use]
    pub fn is_due(&self, moment: &Moment) -> bool {
        let schedule = self.offer.schedule;
        match (self.start, moment.unix_s) {
            (Some(start), Some(now)) => start <= now,
            (_, None) if schedule.not_before.is_none() => {
                let delay_ms = schedule.delay_s(self.drawn).saturating_mul(1000);
                moment.now.since(self.since) >= delay_ms
            }
            _ => false,
        }
    }

    /// As its asker sees it.
    #[must_use]
    pub fn listed(&self, progress: Progress) -> Listed {
        let Offer { reference, target, device, version, .. } = self.offer.clone();
        Listed { id: self.id, reference, target, device, version, progress }
    }
}

/// How far an update is, as it is remembered: what happened since may have to be done again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Its turn has not come.
    Waiting,
    /// The file is loaded, or checked.
    Loading,
    /// It is verified, and being installed.
    Installing {
        /// The manifest's counter.
        counter: Option<u64>,
        /// Installations that were begun.
        n: u32,
    },
    /// It is installed, and runs after a restart.
    Restarting {
        /// The manifest's counter.
        counter: Option<u64>,
        /// Restarts that were asked for.
        n: u32,
    },
}

/// An update that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Its number.
    pub id: u64,
    /// Who asked for it.
    pub asker: String,
    /// As the asker calls it.
    pub reference: String,
    /// What it was for.
    #[serde(with = "offer::target")]
    pub target: Target,
    /// Which subdevice; 0 for other targets.
    pub device: u32,
    /// As it was offered.
    pub version: String,
    /// How it ended.
    pub outcome: Outcome,
}

impl Ended {
    /// As its asker sees it.
    #[must_use]
    pub fn listed(&self) -> Listed {
        let Self { id, reference, target, device, version, outcome, .. } = self.clone();
        Listed { id, reference, target, device, version, progress: Progress::Ended(outcome) }
    }
}

impl Record {
    /// As it is stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // There is nothing in it that JSON cannot say.
        let json = serde_json::to_vec(self).unwrap_or_default();
        [format!("{FIRST}{:08x}\n", crc32(&json)).as_bytes(), &json].concat()
    }

    /// None: it is damaged.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (sum, json) = bytes.strip_prefix(FIRST.as_bytes())?.split_at_checked(9)?;
        if sum != format!("{:08x}\n", crc32(json)).as_bytes() {
            return None;
        }
        serde_json::from_slice(json).ok()
    }
}

/// First line; the digit is the version of the format. Chosen by us.
const FIRST: &str = "polylink-updates 1\n";
