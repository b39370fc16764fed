//! Scenarios: the real program and the real plugins between a simulated MCU and simulated clouds.

mod access;
mod any_broker;
mod bad_input;
mod broken_configs;
mod clife;
mod commands;
mod deli;
mod gizwits;
mod journal;
mod joylink;
mod json_lines;
mod lierda;
mod life;
mod logs;
mod misbehaviour;
mod network;
mod outage;
mod plugin_install;
mod reports;
mod set;
mod stage;
mod subdevices;
mod updates;
