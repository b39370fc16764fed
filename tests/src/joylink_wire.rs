//! The bytes of JoyLink as the simulators read and write them: packets, checksums, encryption, the curve, timers, scripts.
//!
//! Written from the protocol document; the simulated cloud and the simulated app share it, and nothing else does. It is
//! slow and plain on purpose: a mistake of the device's code should have no chance to be made here too.

pub mod checksum;
pub mod cipher;
pub mod curve;
pub mod fields;
pub mod fragments;
pub mod packet;
pub mod script;
pub mod timers;

#[cfg(test)]
mod tests;
