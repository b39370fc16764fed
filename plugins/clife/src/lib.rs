//! The Clife cloud (C-Life, HeT) as a Polylink plugin.
//!
//! Module map: [`registration`] how a device becomes one of the platform's · [`cipher`] encrypted bodies · [`frame`] the
//! envelope · [`topics`] MQTT topics · [`files`] file operations.

pub mod cipher;
pub mod files;
pub mod frame;
pub mod registration;
pub mod topics;

#[cfg(test)]
extern crate self as polylink_clife;

#[cfg(test)]
#[path = "../tests/vectors.rs"]
mod vectors;
