//! The Lierda cloud (Senthink X platform, MQTT access protocol 2.0) as a Polylink plugin.
//!
//! Module map: [`auth`] identities, credentials, the authentication exchange · [`cipher`] payloads and session keys ·
//! [`topics`] MQTT topics · [`frame`] the envelope and its acknowledgements · [`ota`] firmware orders.

pub mod auth;
pub mod cipher;
pub mod frame;
pub mod ota;
pub mod topics;

#[cfg(test)]
extern crate self as polylink_lierda;

#[cfg(test)]
#[path = "../tests/vectors.rs"]
mod vectors;
