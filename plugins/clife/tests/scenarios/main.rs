//! Whole conversations of a Clife session with its platform, in virtual time.

mod connecting;
mod stage;
mod starting;
