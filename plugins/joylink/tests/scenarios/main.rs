//! Whole conversations of a JoyLink session with its cloud, with apps and with the MCU, in virtual time.

mod stage;
mod starting;
