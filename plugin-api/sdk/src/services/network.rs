//! The module's place in the network; see [`polylink_plugin_api::services::network`].

use super::Failure;
use crate::RequestId;

/// What the service says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The interfaces are now these.
    Changed(Vec<Interface>),
    /// The answer to [`crate::Output::Resolve`]: addresses, best first.
    Resolved(RequestId, Result<Vec<String>, Failure>),
}

/// One interface that is up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// The system's name.
    pub name: String,
    /// Hardware address; zeros: none.
    pub mac: [u8; 6],
    /// IPv4 address; empty: none.
    pub ipv4: String,
    /// IPv4 broadcast address; empty: none.
    pub broadcast: String,
    /// IPv6 addresses.
    pub ipv6: Vec<String>,
    /// True for Wi-Fi.
    pub wireless: bool,
    /// Signal in dBm; 0: unknown.
    pub signal_dbm: i16,
}
