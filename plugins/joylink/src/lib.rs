//! The JoyLink cloud (JD) and its local network for Polylink.
//!
//! Module map: [`config`] settings · [`session`] the state machine · [`lan`] apps on the local network · [`cloud`] the
//! connection to the cloud · [`packet`] header, checks, fragments · [`crypto`] the ciphers and the key exchange · [`wire`]
//! what is in packets · [`datapoints`] what values, commands and events are in JSON · [`uploads`] reports on their way ·
//! [`views`] what devices look like · [`gateway`] subdevices · [`timers`] schedules that run on the device · [`ota`]
//! firmware orders · [`recipe`] recipes · [`information`] the weather and the like.

pub mod config;
pub mod crypto;
pub mod datapoints;
pub mod gateway;
pub mod information;
pub mod lan;
pub mod ota;
pub mod packet;
pub mod recipe;
pub mod timers;
pub mod uploads;
pub mod views;
pub mod wire;

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
