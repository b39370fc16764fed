//! Whole conversations of a Clife session with its platform, in virtual time.

mod commands;
mod connecting;
mod files;
mod reports;
mod stage;
mod starting;
