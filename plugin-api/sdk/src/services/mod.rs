//! What a session may ask of the host's services, and what they answer, as ordinary types. Limits and meanings are those
//! of [`polylink_plugin_api::services`].

pub mod http;
pub mod logs;
pub mod module;
pub mod mqtt;
pub mod network;
pub mod ota;
pub mod script;
pub mod store;
pub mod subdevices;
pub mod tcp;
pub mod udp;

use crate::secret::Secret;

/// The ids of the services, for [`crate::PluginInfo::services`] and [`crate::Context::services`].
pub mod id {
    use polylink_plugin_api::Extension;
    use polylink_plugin_api::services::{Http, Logs, Module, Mqtt, Network, Ota, Script, Store, Subdevices, Tcp, Udp};

    /// MQTT connections.
    pub const MQTT: &str = Mqtt::ID;
    /// TCP and TLS streams.
    pub const TCP: &str = Tcp::ID;
    /// Datagrams.
    pub const UDP: &str = Udp::ID;
    /// HTTP requests.
    pub const HTTP: &str = Http::ID;
    /// Remembered values.
    pub const STORE: &str = Store::ID;
    /// Interfaces and names.
    pub const NETWORK: &str = Network::ID;
    /// The module and the MCU.
    pub const MODULE: &str = Module::ID;
    /// Lua scripts; a host may be built without.
    pub const SCRIPT: &str = Script::ID;
    /// Devices without a network behind this one.
    pub const SUBDEVICES: &str = Subdevices::ID;
    /// New firmware.
    pub const OTA: &str = Ota::ID;
    /// The module's log.
    pub const LOGS: &str = Logs::ID;
}

/// Why a service did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind, for programs.
    pub reason: Reason,
    /// The story, for people.
    pub text: String,
}

/// The kinds of [`Failure`]; see [`polylink_plugin_api::HostRefusal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// None of the others.
    Other,
    /// No such handle.
    UnknownHandle,
    /// Used up.
    Quota,
    /// An argument is not acceptable.
    Invalid,
    /// Host name not found.
    Resolve,
    /// Nobody answered in time.
    Timeout,
    /// The other end refused the connection.
    ConnectionRefused,
    /// The connection broke.
    ConnectionLost,
    /// TLS failed.
    Tls,
    /// The other end broke the protocol.
    Protocol,
    /// The disk is full, read-only or broken.
    Storage,
    /// Closed at the session's own request.
    Closed,
}

/// Protection of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Name to verify instead of the host name.
    pub server_name: Option<String>,
    /// PEM certificates to trust instead of the usual roots.
    pub ca_pem: Option<String>,
    /// PEM certificate chain and private key to show the server.
    pub client: Option<(String, Secret<String>)>,
}
