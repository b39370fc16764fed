//! The Deli cloud (delicloud) as a Polylink plugin.
//!
//! Module map: [`config`] settings · [`session`] the state machine · [`auth`] credentials and endpoints · [`topics`] MQTT
//! topics · [`message`] the envelope · [`dispatch`] what a message is · [`requests`] what the device asks of the platform · [`reaction`] what error codes ask for · [`binding`] the bond with an
//! organisation · [`commands`] remote control · [`datapoints`] reports and commands as business messages · [`ota`]
//! firmware decisions · [`logs`] log upload · [`qr`] activation codes.

pub mod auth;
pub mod binding;
pub mod commands;
pub mod config;
pub mod datapoints;
pub mod dispatch;
pub mod logs;
pub mod message;
pub mod ota;
pub mod qr;
pub mod reaction;
pub mod requests;
pub mod session;
pub mod topics;

use polylink_plugin_sdk::PluginInfo;
use polylink_plugin_sdk::services::id;

/// What this plugin says of itself.
pub const INFO: PluginInfo = PluginInfo {
    name: "deli",
    version: env!("CARGO_PKG_VERSION"),
    cloud: "Deli cloud (delicloud)",
    settings_schema: config::SCHEMA,
    services: &[id::MQTT, id::HTTP, id::STORE, id::MODULE],
    capabilities: r#"{"hosts":["device.delicloud.com","t.device.delicloud.com","d.delicloud.com","*.delicloud.com"]}"#,
};

polylink_plugin_sdk::export_plugin!(session::DeliSession, INFO);

#[cfg(test)]
extern crate self as polylink_deli;

#[cfg(test)]
#[path = "../tests/scenarios/main.rs"]
mod scenarios;

#[cfg(test)]
#[path = "../tests/vectors.rs"]
mod vectors;
