//! Whole conversations of a Clife session with its platform, in virtual time.

mod arbitrary;
mod clock;
mod commands;
mod connecting;
mod files;
mod greeting;
mod registration;
mod reports;
mod stage;
mod starting;
mod stored_login;
