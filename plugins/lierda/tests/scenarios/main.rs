//! Whole conversations of a Lierda session with its platform, in virtual time.

mod arbitrary;
mod authentication;
mod bad_input;
mod commands;
mod connecting;
mod firmware;
mod hex;
mod history;
mod management;
mod passthrough;
mod reports;
mod session_keys;
mod stage;
mod starting;
mod upgrades;
