//! The Lierda cloud (Senthink X platform, MQTT access protocol 2.0) as a Polylink plugin.
//!
//! Module map: [`config`] settings · [`session`] the state machine · [`auth`] identities, credentials, the authentication
//! exchange · [`cipher`] payloads and session keys · [`topics`] MQTT topics · [`frame`] the envelope and its
//! acknowledgements · [`datapoints`] reports and commands in the words of the platform · [`ota`] firmware orders.

pub mod auth;
pub mod cipher;
pub mod config;
pub mod datapoints;
pub mod frame;
pub mod ota;
pub mod session;
pub mod topics;

use polylink_plugin_sdk::PluginInfo;
use polylink_plugin_sdk::services::id;

/// What this plugin says of itself. The platform's documents name no broker, so any host may be configured.
pub const INFO: PluginInfo = PluginInfo {
    name: "lierda",
    version: env!("CARGO_PKG_VERSION"),
    cloud: "Lierda IoT (Senthink X platform)",
    settings_schema: config::SCHEMA,
    services: &[id::MQTT, id::STORE, id::MODULE],
    capabilities: r#"{"hosts":["*"]}"#,
};

polylink_plugin_sdk::export_plugin!(session::LierdaSession, INFO);

#[cfg(test)]
extern crate self as polylink_lierda;

#[cfg(test)]
#[path = "../tests/scenarios/main.rs"]
mod scenarios;

#[cfg(test)]
#[path = "../tests/vectors.rs"]
mod vectors;
