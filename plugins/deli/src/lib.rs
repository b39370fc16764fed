//! The Deli cloud (delicloud) as a Polylink plugin.
//!
//! Module map: [`config`] settings · [`session`] the state machine · [`auth`] credentials and endpoints · [`topics`] MQTT
//! topics · [`message`] the envelope · [`requests`] what the device asks of the platform · [`binding`] the bond with an
//! organisation · [`commands`] remote control · [`datapoints`] reports and commands as business messages · [`ota`]
//! firmware decisions · [`logs`] log upload · [`qr`] activation codes.

pub mod auth;
pub mod binding;
pub mod config;
pub mod logs;
pub mod message;
pub mod ota;
pub mod qr;
pub mod reaction;
pub mod requests;
pub mod topics;
