//! A simulated microcontroller behind a pseudo-terminal: its frames, its payloads and its behaviour.

pub mod frame;
pub mod p0;
