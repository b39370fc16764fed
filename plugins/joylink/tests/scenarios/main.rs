//! Whole conversations of a JoyLink session with its cloud, with apps and with the MCU, in virtual time.

mod arbitrary;
mod at_rest;
mod bad_input;
mod binding;
mod commands;
mod conversion;
mod first_packets;
mod gateway;
mod identity;
mod life;
mod passthrough;
mod reports;
mod results;
mod schedules;
mod services;
mod stage;
mod starting;
mod whole;
