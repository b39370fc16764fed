//! The control socket: what `polylink status`, `get`, `set` and `watch` talk to.
//!
//! One JSON object a line in each direction, over a unix socket that only root and the host's own user may use. This
//! module knows nothing of the bus or the plugins: whoever puts the host together implements [`Control`].

pub mod client;
pub mod protocol;
pub mod report;
pub mod server;
pub mod value;

use std::path::PathBuf;

use async_trait::async_trait;
use tokio::sync::{broadcast, mpsc};

pub use protocol::{Answer, Request};
pub use report::{
    CloudStatus, DatapointReport, FaultCount, HostStatus, InboxStatus, JournalReport, JournalStatus, McuStatus,
    ModuleReport, NamedCloud, PluginReport, SetOutcome, StatusReport, SubdeviceReport, UpdateReport, WatchEvent,
};
pub use value::parse_value;

/// What is to become of a plugin file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginChange {
    /// It is installed.
    Install {
        /// An absolute path.
        file: PathBuf,
    },
    /// The one before it is used again.
    RollBack {
        /// The plugin's name.
        plugin: String,
    },
}

/// What the running host answers. Called on the I/O thread: everything but [`Control::set`] and
/// [`Control::change_plugin`] returns at once.
#[async_trait]
pub trait Control: Send + Sync {
    /// How everything stands.
    fn status(&self) -> StatusReport;

    /// The last known values of these datapoints, all of them if no name is given.
    ///
    /// # Errors
    /// For a person: which name is not known.
    fn get(&self, names: &[String]) -> Result<Vec<DatapointReport>, String>;

    /// Sets datapoints, as a command of the local user; answers when the MCU has. One outcome for each pair.
    async fn set(&self, values: Vec<(String, String)>) -> Vec<SetOutcome>;

    /// Everything that happens from now on. Who reads too slowly loses the oldest events, and is told how many.
    fn watch(&self) -> broadcast::Receiver<WatchEvent>;

    /// The plugin files and what became of them.
    fn plugins(&self) -> Vec<PluginReport>;

    /// Changes which file a plugin's clouds run with. Steps are told as they are done; what does not fit into `steps` is
    /// left out. Who asked may go away: what was begun is ended all the same.
    ///
    /// # Errors
    /// For a person: why it was not done, or was taken back.
    async fn change_plugin(&self, change: PluginChange, steps: mpsc::Sender<String>) -> Result<String, String>;

    /// The last lines of the log, each with its end.
    fn log(&self) -> String;
}
