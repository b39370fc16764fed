//! Whole conversations of a Clife session with its platform, in virtual time.

mod arbitrary;
mod clock;
mod connecting;
mod registration;
mod stage;
mod starting;
