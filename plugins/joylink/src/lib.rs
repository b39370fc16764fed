//! The JoyLink cloud (JD) for Polylink.
//!
//! Module map: [`packet`] header, checks, fragments · [`crypto`] the ciphers and the key exchange · [`wire`] what is in
//! packets · [`timers`] schedules that run on the device · [`config`] settings · [`datapoints`] what values, commands and
//! events are in JSON.

pub mod config;
pub mod crypto;
pub mod datapoints;
pub mod packet;
pub mod timers;
pub mod wire;

#[cfg(test)]
#[path = "../tests/timer_vectors.rs"]
mod timer_vectors;

#[cfg(test)]
extern crate self as polylink_joylink;

#[cfg(test)]
#[path = "../tests/vectors.rs"]
mod vectors;
