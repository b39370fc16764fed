//! Whole conversations of a Gizwits session with its cloud, its applications and its device, in virtual time.

mod arbitrary;
mod bad_input;
mod forwarding;
mod life;
mod local;
mod reaching;
mod stage;
mod updates;
