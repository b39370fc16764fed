//! A simulated microcontroller behind a pseudo-terminal: its frames, its payloads and its behaviour.

pub mod faults;
pub mod frame;
pub mod log;
pub mod p0;
pub mod pty;
pub mod sim;
