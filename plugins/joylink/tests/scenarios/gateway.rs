//! A gateway and its subdevices: how they come and go, what is said for them, and under which key.

mod commands;
mod enrolment;
mod indices;
mod mixed_up;
mod owner;
pub mod talk;
