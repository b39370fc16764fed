//! Whole conversations of a JoyLink session with its cloud, with apps and with the MCU, in virtual time.

mod arbitrary;
mod bad_input;
mod binding;
mod commands;
mod conversion;
mod first_packets;
mod passthrough;
mod reports;
mod results;
mod stage;
mod starting;
mod whole;
