//! The JoyLink cloud (JD) and its local network for Polylink.
//!
//! Module map: [`config`] settings · [`session`] the state machine · [`lan`] apps on the local network · [`cloud`] the
//! connection to the cloud · [`packet`] header, checks, fragments · [`crypto`] the ciphers and the key exchange · [`wire`]
//! what is in packets · [`datapoints`] what values, commands and events are in JSON · [`uploads`] reports on their way ·
//! [`views`] what devices look like · [`gateway`] subdevices · [`timers`] schedules that run on the device · [`ota`]
//! firmware orders · [`recipe`] recipes · [`information`] the weather and the like.

pub mod cloud;
pub mod config;
pub mod crypto;
pub mod datapoints;
pub mod gateway;
pub mod information;
pub mod lan;
pub mod ota;
pub mod packet;
pub mod recipe;
pub mod session;
pub mod timers;
pub mod uploads;
pub mod views;
pub mod wire;

use polylink_plugin_sdk::PluginInfo;
use polylink_plugin_sdk::services::id;

/// What this plugin says of itself.
pub const INFO: PluginInfo = PluginInfo {
    name: "joylink",
    version: env!("CARGO_PKG_VERSION"),
    cloud: "JoyLink (京东微联)",
    settings_schema: config::SCHEMA,
    services: &[id::TCP, id::UDP, id::STORE, id::NETWORK, id::MODULE],
    capabilities: r#"{"hosts":["*"],"listen":["udp:80","udp:4320"]}"#,
};

polylink_plugin_sdk::export_plugin!(session::JoylinkSession, INFO);

#[cfg(test)]
#[path = "../tests/timer_vectors.rs"]
mod timer_vectors;

#[cfg(test)]
#[path = "../tests/lan/main.rs"]
mod lan_scenarios;

#[cfg(test)]
extern crate self as polylink_joylink;

#[cfg(test)]
#[path = "../tests/vectors.rs"]
mod vectors;

#[cfg(test)]
#[path = "../tests/scenarios/main.rs"]
mod scenarios;
