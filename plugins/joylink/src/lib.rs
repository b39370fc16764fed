//! The JoyLink cloud (JD) for Polylink.
//!
//! Module map: [`packet`] header, checks, fragments · [`crypto`] the ciphers and the key exchange · [`wire`] what is in
//! packets · [`gateway`] the sub-devices of a gateway · [`ota`] new firmware · [`recipe`] recipes and
//! how far they are · [`information`] weather and air · [`timers`] schedules that run on the device.

pub mod crypto;
pub mod gateway;
pub mod information;
pub mod ota;
pub mod packet;
pub mod recipe;
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
