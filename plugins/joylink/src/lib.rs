//! The JoyLink cloud (JD) for Polylink.
//!
//! Module map: [`packet`] header, checks, fragments · [`crypto`] the ciphers and the key exchange · [`wire`] what is in
//! packets · [`lan`] the device on the local network · [`timers`] schedules that run on the device.

pub mod crypto;
pub mod lan;
pub mod packet;
pub mod timers;
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
