//! The control socket: what `polylink status`, `get`, `set` and `watch` talk to.
//!
//! One JSON object a line in each direction, over a unix socket that only root and the host's own user may use. This
//! module knows nothing of the bus or the plugins: whoever puts the host together implements [`Control`].

pub mod client;
pub mod protocol;
pub mod report;
pub mod server;
pub mod value;

use async_trait::async_trait;
use tokio::sync::broadcast;

pub use protocol::{Answer, Request};
pub use report::{
    CloudStatus, DatapointReport, FaultCount, HostStatus, InboxStatus, JournalReport, JournalStatus, McuStatus,
    ModuleReport, NamedCloud, PluginReport, SetOutcome, StatusReport, SubdeviceReport, UpdateReport, WatchEvent,
};
pub use value::parse_value;

/// What the running host answers. Called on the I/O thread: everything but [`Control::set`] returns at once.
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
}
