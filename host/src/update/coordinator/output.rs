//! What the coordinator wants done, and what it tells.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::asking::{LISTED_MAX, TEXT_MAX};
use crate::update::manifest::{Target, Verified};
use crate::update::offer::Offer;

/// What is to be done, in this order.
#[derive(Debug)]
pub enum Output {
    /// Bring this to the disk in place of what was there; tell [`Coordinator::not_saved`] if that fails.
    Save(Vec<u8>),
    /// Remove what downloads left, but for this operation's.
    Clean {
        /// Whose is kept.
        keep: Option<u64>,
    },
    /// Load the file, or what is missing of it. Answer: `loading`, `loaded`.
    Load {
        /// Which operation.
        id: u64,
        /// What.
        offer: Offer,
    },
    /// Load no more.
    StopLoading {
        /// Which operation.
        id: u64,
    },
    /// Verify the file on the disk. Answer: `verified`.
    Verify(Subject),
    /// Install it. Answer: `installing`, `installed`.
    Install {
        /// What.
        subject: Subject,
        /// That it may be.
        proof: Verified,
    },
    /// Give the installation up, if that is still possible. Answer: `installed`, as ever.
    StopInstalling(Subject),
    /// How does the backend stand with this operation? Answer: `standing`.
    Ask(Subject),
    /// Restart what must be restarted, so that the new version runs. Tell [`Coordinator::not_restarted`] if that is refused.
    Restart(Subject),
    /// What runs is good: confirm it, then remember the counter; a power cut between them leads here again. Answer:
    /// `confirmed`.
    Confirm {
        /// What.
        subject: Subject,
        /// Nothing with a smaller one is to be installed any more.
        counter: Option<u64>,
        /// False: the backend has nothing to confirm, only the counter is to be remembered.
        on_trial: bool,
    },
    /// What runs is not good. Answer: `rolled_back`.
    RollBack(Subject),
    /// Tell the asker.
    Tell {
        /// Which instance.
        asker: String,
        /// Which operation.
        id: u64,
        /// As the asker calls it.
        reference: String,
        /// What.
        news: News,
    },
}

/// What an operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Number of the operation.
    pub id: u64,
    /// What is updated.
    pub target: Target,
    /// Which subdevice; 0 for other targets.
    pub device: u32,
}

/// An update as its asker sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Number of the operation.
    pub id: u64,
    /// As the asker calls it.
    pub reference: String,
    /// What it is for.
    pub target: Target,
    /// Which subdevice; 0 for other targets.
    pub device: u32,
    /// As it was offered.
    pub version: String,
    /// How far it is.
    pub progress: Progress,
}

/// How far an update is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Its turn has not come.
    Waiting,
    /// So many percents of the file are here, as far as is known.
    Loading(u8),
    /// So many percents are installed, as far as is known; also while it is on trial.
    Installing(u8),
    /// It is over.
    Ended(Outcome),
}

/// What an asker is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It waits; Unix seconds of its start, if they are known.
    Waiting(Option<i64>),
    /// So many percents of the file are here; none: nobody knows of how much.
    Loading(Option<u8>),
    /// All of it is here and right.
    Verified,
    /// So many percents are installed, where the backend knows.
    Installing(Option<u8>),
    /// The device restarts with it.
    Restarting,
    /// It is over.
    Ended(Outcome),
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting(None) => f.write_str("waits for its turn"),
            Self::Waiting(Some(start)) => write!(f, "waits until Unix time {start}"),
            Self::Loading(percent) => percent_of(f, "is being loaded", *percent),
            Self::Verified => f.write_str("is here and right"),
            Self::Installing(percent) => percent_of(f, "is being installed", *percent),
            Self::Restarting => f.write_str("is installed and runs after a restart"),
            Self::Ended(Outcome::Succeeded) => f.write_str("succeeded"),
            Self::Ended(Outcome::Cancelled) => f.write_str("was taken back"),
            Self::Ended(Outcome::Failed { why, .. }) => write!(f, "failed: {why}"),
        }
    }
}

fn percent_of(f: &mut fmt::Formatter<'_>, what: &str, percent: Option<u8>) -> fmt::Result {
    f.write_str(what)?;
    percent.map_or(Ok(()), |percent| write!(f, ", {percent} %"))
}

/// How an update ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The new version runs.
    Succeeded,
    /// It was taken back.
    Cancelled,
    /// What ran before runs on.
    Failed {
        /// In which part.
        at: FailedAt,
        /// For people.
        why: String,
    },
}

/// In which part an update failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailedAt {
    /// Nothing installs such images here.
    Target,
    /// The file did not come.
    Loading,
    /// It is not the one that was promised.
    Digest,
    /// There is no room for it.
    Space,
    /// Its time was over before its turn came.
    Deadline,
    /// It is not allowed.
    Verifying,
    /// It cannot be installed.
    Installing,
    /// The new version did not come up, or was not healthy; what ran before runs again.
    Trial,
    /// The device cannot remember what it does.
    Recording,
}

/// Why something failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Failed {
    /// In which part.
    pub at: FailedAt,
    /// For people.
    pub why: String,
}

impl Failed {
    /// Made of both.
    pub fn new(at: FailedAt, why: impl ToString) -> Self {
        Self { at, why: why.to_string() }
    }
}

/// Why an offer is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfferRefused {
    /// More than are kept.
    #[error("this asker has {LISTED_MAX} updates already, or too much waits")]
    Full,
    /// Names or address are too long.
    #[error("the offer has a text of more than {TEXT_MAX} bytes")]
    TooLong,
}

/// Why an operation is not cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CancelRefused {
    /// It is over, or another asker's.
    #[error("this asker has no such update")]
    Unknown,
    /// The new version is installed.
    #[error("it is too late: the image is being installed")]
    TooLate,
}
