//! The lines of the control socket.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::report::{DatapointReport, PluginReport, SetOutcome, StatusReport, WatchEvent};

/// A line to the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Request {
    /// How does everything stand?
    Status,
    /// What are these values? None: all.
    Get {
        /// Datapoints.
        #[serde(default)]
        names: Vec<String>,
    },
    /// Set these.
    Set {
        /// Datapoints with their new values as text.
        values: Vec<(String, String)>,
    },
    /// Tell everything that happens, until the connection ends.
    Watch,
    /// Which plugins are there?
    Plugins,
    /// Install this plugin file.
    PluginInstall {
        /// An absolute path; the host reads it itself.
        file: PathBuf,
    },
    /// Use the former file of this plugin again.
    PluginRollback {
        /// Its name.
        plugin: String,
    },
    /// What was logged lately?
    Log,
}

/// A line from the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To [`Request::Status`].
    Status(Box<StatusReport>),
    /// To [`Request::Get`].
    Values(Vec<DatapointReport>),
    /// To [`Request::Set`].
    Outcomes(Vec<SetOutcome>),
    /// To [`Request::Watch`], at once: the watch has begun.
    Watching,
    /// To [`Request::Watch`], again and again.
    Event(WatchEvent),
    /// To [`Request::Watch`]: so many events were lost because the reader was too slow.
    Lost(u64),
    /// To [`Request::Plugins`].
    Plugins(Vec<PluginReport>),
    /// To [`Request::PluginInstall`] and [`Request::PluginRollback`], again and again: something is done.
    Step(String),
    /// To the same, at last: all is done.
    Done(String),
    /// To [`Request::Log`]: lines with their ends, the oldest first.
    Log(String),
    /// The request was not understood or cannot be fulfilled.
    Error(String),
}

/// Longest request, in bytes. A longer one is answered with an error, and the connection closed.
pub const MAX_REQUEST: usize = 64 * 1024;

/// Longest answer that a client takes, in bytes: the status of a product with thousands of datapoints fits.
pub const MAX_ANSWER: usize = 8 * 1024 * 1024;
