//! Whole conversations of a JoyLink session with its cloud, with apps and with the MCU, in virtual time.

mod at_rest;
mod first_packets;
mod gateway;
mod identity;
mod life;
mod reports;
mod results;
mod schedules;
mod services;
mod stage;
mod starting;
