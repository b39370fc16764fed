//! File operations: what the platform asks for, when it is due, what is told while it goes on, and whether the right bytes
//! came. Pure functions and a pure state machine; nothing here loads or installs anything.
//!
//! Invariant: a [`Request`] that exists passed every check that needs no settings; [`judge`] is what is left.

mod digest;
mod events;
mod operation;
mod request;
mod verdict;
mod version;
mod window;

pub use digest::{CheckSumBits, Digest, Sums, VerifyError, verify, verify_present};
pub use events::{DevVersion, Event, UpgradeOf};
pub use operation::{Happening, Kind, Operation};
pub use request::{BadRequest, FileInfo, FileMode, FileType, Request};
pub use verdict::{FileSettings, Installed, Refusal, Verdict, Versions, judge};
pub use version::{bump, compare};
pub use window::{LogPeriod, Window, WindowError, log_window, window};
