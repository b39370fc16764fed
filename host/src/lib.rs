//! The Polylink host: talks to the MCU, knows the product's datapoints, offers services to plugins, and knows no cloud.
//!
//! The way up: [`mcu`] (bytes to reports) → [`bus`] (last values, journal, cursors) → [`plugins`] (one thread each) →
//! ABI → [`services`] (sockets). The way down: services → plugins → ABI → [`bus::arbiter`] → mcu. [`assemble`] wires it.

pub mod admin;
pub mod assemble;
pub mod bus;
pub mod cli;
pub mod config;
pub mod disk;
pub mod hub;
pub mod log;
pub mod mcu;
pub mod module;
pub mod notify;
pub mod plugins;
pub mod product;
pub mod program;
pub mod services;
pub mod spool;
pub mod update;
