//! Whole conversations of a Clife session with its platform, in virtual time.

mod arbitrary;
mod asking;
mod bad_input;
mod clock;
mod commands;
mod connecting;
mod encryption;
mod files;
mod greeting;
mod in_the_end;
mod log_uploads;
mod profiles;
mod registration;
mod reports;
mod stage;
mod starting;
mod stored_login;
mod unbinding;
mod upgrades;
