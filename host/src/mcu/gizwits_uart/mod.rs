//! The serial protocol of the Gizwits family, version 00000004, in the module's role: [`GizwitsUart`].
//!
//! `frame` knows bytes, `requests` the repeats of what the module asks, `p0_profile` the product's values, `answers` and
//! `status` the module's own messages, `transfer` and `pieces` the firmware for the MCU; `link` puts them together.

mod answers;
mod commands;
pub mod frame;
mod link;
mod p0_profile;
mod pieces;
mod repeats;
mod requests;
mod status;
mod transfer;

#[cfg(test)]
mod conversations;
#[cfg(test)]
mod vectors;

pub use link::GizwitsUart;
