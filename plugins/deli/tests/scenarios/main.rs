//! Whole conversations of a Deli session with its platform, in virtual time.

mod arbitrary;
mod bad_input;
mod bond;
mod business;
mod cloud;
mod connecting;
mod control;
mod error_codes;
mod log_upload;
mod starting;
mod upgrade;
