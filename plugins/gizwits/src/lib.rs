//! The Gizwits cloud (机智云) and its local network as a Polylink plugin: what the vendor calls GAgent.
//!
//! Module map: [`config`] settings · [`session`] the state machine · [`auth`] names and secrets · [`identity`] what is kept of them · [`api`] the HTTP
//! interface · [`reconnect`] when to try again · [`topics`] MQTT topics · [`packet`] the LAN frame, which also travels
//! inside MQTT · [`lan`] discovery and applications on the local network · [`datapoints`] values and payloads · [`ota`]
//! firmware decisions.

pub mod api;
pub mod auth;
pub mod config;
pub mod datapoints;
pub mod identity;
pub mod lan;
pub mod ota;
pub mod packet;
pub mod reconnect;
pub mod session;
pub mod topics;

use polylink_plugin_sdk::PluginInfo;
use polylink_plugin_sdk::services::id;

/// What this plugin says of itself.
pub const INFO: PluginInfo = PluginInfo {
    name: "gizwits",
    version: env!("CARGO_PKG_VERSION"),
    cloud: "Gizwits (机智云)",
    settings_schema: config::SCHEMA,
    services: &[id::MQTT, id::TCP, id::UDP, id::HTTP, id::STORE, id::NETWORK, id::MODULE],
    capabilities: r#"{"hosts":["api.gizwits.com","usapi.gizwits.com","euapi.gizwits.com","*.gizwits.com"],"listen":["tcp:12416","udp:12414"]}"#,
};

polylink_plugin_sdk::export_plugin!(session::GizwitsSession, INFO);

#[cfg(test)]
extern crate self as polylink_gizwits;

#[cfg(test)]
mod vectors;

#[cfg(test)]
#[path = "../tests/vectors/main.rs"]
mod recorded;

#[cfg(test)]
#[path = "../tests/lan/main.rs"]
mod lan_scenarios;

#[cfg(test)]
#[path = "../tests/scenarios/main.rs"]
mod scenarios;
