//! File operations: what the platform asks for, when it is due, what the host is asked for it, and what is told while it
//! goes on. Pure functions and a pure state machine; the host loads, compares, installs and uploads.
//!
//! Invariant: a [`Request`] that exists passed every check that needs no settings; [`judge`] is what is left.

mod dev_nums;
mod digest;
mod events;
mod operation;
mod order;
mod request;
mod verdict;
mod version;
mod window;

pub use dev_nums::{DevNums, MODULE};
pub use digest::{CheckSumBits, digests, is_announced};
pub use events::{DevVersion, Event, UpgradeOf};
pub use operation::{Happening, Kind, Operation, Stage};
pub use order::Order;
pub use request::{BadRequest, FileInfo, FileMode, FileType, LONGEST_URL, Request};
pub use verdict::{FileSettings, Installed, Refusal, Verdict, Versions, judge};
pub use version::{bump, compare, same};
pub use window::{LogPeriod, Window, WindowError, log_window, window};
