//! Whole conversations of a Clife session with its platform, in virtual time.

mod bad_input;
mod commands;
mod connecting;
mod encryption;
mod files;
mod in_the_end;
mod reports;
mod stage;
mod starting;
