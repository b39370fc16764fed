//! Whole conversations of a Clife session with its platform, in virtual time.

mod arbitrary;
mod clock;
mod connecting;
mod greeting;
mod registration;
mod stage;
mod starting;
mod stored_login;
