//! Whole conversations of a Clife session with its platform, in virtual time.

mod clock;
mod commands;
mod connecting;
mod files;
mod registration;
mod reports;
mod stage;
mod starting;
