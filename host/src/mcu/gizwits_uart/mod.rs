//! The serial protocol of the Gizwits family, version 00000004, in the module's role: [`GizwitsUart`].
//!
//! `frame` knows bytes, `requests` the repeats of what the module asks, `p0_profile` the product's values, `answers` and
//! `status` the module's own messages; `link` puts them together. Transfer of MCU firmware is not part of it.

mod answers;
mod commands;
pub mod frame;
mod link;
mod p0_profile;
mod requests;
mod status;

#[cfg(test)]
mod conversations;
#[cfg(test)]
mod vectors;

pub use link::GizwitsUart;
