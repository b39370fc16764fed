//! What the coordinator wants done, and what it tells.

use serde::{Deserialize, Serialize};

use super::{TEXT_MAX, WAITING_MAX};
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
    Verify {
        /// Which operation.
        id: u64,
        /// For what.
        target: Target,
    },
    /// Install it. Answer: `installing`, `installed`.
    Install {
        /// Which operation.
        id: u64,
        /// On what.
        target: Target,
        /// Which subdevice.
        device: u32,
        /// That it may be.
        proof: Verified,
    },
    /// Give the installation up, if that is still possible. Answer: `installed`, as ever.
    StopInstalling {
        /// Which operation.
        id: u64,
    },
    /// How does the backend stand with this operation? Answer: `standing`.
    Ask {
        /// Which operation.
        id: u64,
        /// Of what.
        target: Target,
    },
    /// Restart what must be restarted, so that the new version runs.
    Restart {
        /// Which operation.
        id: u64,
    },
    /// What runs is good: confirm it, then remember the counter; a power cut between them leads here again. Answer:
    /// `confirmed`.
    Confirm {
        /// Which operation.
        id: u64,
        /// What.
        target: Target,
        /// Nothing with a smaller one is to be installed any more.
        counter: Option<u64>,
        /// False: the backend has nothing to confirm, only the counter is to be remembered.
        on_trial: bool,
    },
    /// What runs is not good. Answer: `rolled_back`.
    RollBack {
        /// Which operation.
        id: u64,
    },
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
    /// It is over. Told again until [`Coordinator::acknowledged`].
    Ended(Outcome),
}

/// How an update ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The new version runs.
    Succeeded,
    /// It was taken back, or another offer of the same asker took its place.
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
    /// The file did not come.
    Loading,
    /// It did not come in time.
    Deadline,
    /// It is not right, or not allowed.
    Verifying,
    /// It cannot be installed.
    Installing,
    /// The new version did not come up, or was not healthy; what ran before runs again.
    Trial,
    /// The device cannot remember what it does.
    Recording,
}

/// Why an offer is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfferRefused {
    /// Come again later.
    #[error("another update is under way")]
    Busy,
    /// More askers than can wait.
    #[error("{WAITING_MAX} updates wait already")]
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
