//! The Clife cloud (C-Life, HeT) as a Polylink plugin.
//!
//! Module map: [`config`] settings · [`session`] the state machine · [`registration`] how a device becomes one of the
//! platform's · [`cipher`] encrypted bodies · [`frame`] the envelope · [`topics`] MQTT topics · [`datapoints`] reports and
//! commands as numbered datapoints · [`files`] file operations.

pub mod cipher;
pub mod config;
pub mod datapoints;
pub mod files;
pub mod frame;
pub mod registration;
pub mod session;
pub mod topics;

use polylink_plugin_sdk::PluginInfo;
use polylink_plugin_sdk::services::id;

/// What this plugin says of itself. The broker is named by the registration.
pub const INFO: PluginInfo = PluginInfo {
    name: "clife",
    version: env!("CARGO_PKG_VERSION"),
    cloud: "C-Life (Clife, HeT)",
    settings_schema: config::SCHEMA,
    services: &[id::MQTT, id::HTTP, id::STORE, id::MODULE],
    capabilities: r#"{"hosts":["open.clife.cn","test.clife.cn","*"]}"#,
};

polylink_plugin_sdk::export_plugin!(session::ClifeSession, INFO);

#[cfg(test)]
extern crate self as polylink_clife;

#[cfg(test)]
#[path = "../tests/scenarios/main.rs"]
mod scenarios;

#[cfg(test)]
#[path = "../tests/vectors.rs"]
mod vectors;
