//! Whole conversations of a Lierda session with its platform, in virtual time.

mod authentication;
mod commands;
mod hex;
mod history;
mod passthrough;
mod reports;
mod stage;
