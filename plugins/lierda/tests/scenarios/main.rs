//! Whole conversations of a Lierda session with its platform, in virtual time.

mod arbitrary;
mod authentication;
mod bad_input;
mod connecting;
mod firmware;
mod management;
mod session_keys;
mod stage;
mod starting;
