//! The smallest honest Polylink plugin: reports and commands as JSON over MQTT. Copy it.
//!
//! Module map: [`config`] settings · [`session`] the state machine · [`topics`] names of topics · [`datapoints`] JSON of
//! reports, commands and results.

pub mod config;
pub mod datapoints;
pub mod session;
pub mod topics;

use polylink_plugin_sdk::{PluginInfo, export_plugin, services};

export_plugin!(session::TemplateSession, INFO);

/// What this plugin says of itself.
pub const INFO: PluginInfo = PluginInfo {
    name: "template",
    version: env!("CARGO_PKG_VERSION"),
    cloud: "Any MQTT broker",
    settings_schema: include_str!("../settings.schema.json"),
    services: &[services::id::MQTT],
    capabilities: "{}",
};

#[cfg(test)]
extern crate self as polylink_template;

#[cfg(test)]
#[path = "../tests/scenarios.rs"]
mod scenarios;
