//! What of the updates survives a reboot: a small JSON document behind its checksum, replaced as a whole.

use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::disk::crc32;
use crate::update::offer::Offer;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
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
    /// How it ended.
    pub outcome: Outcome,
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
