//! Simulated microcontrollers: one behind a pseudo-terminal with its frames and payloads, one that speaks JSON lines.

pub mod faults;
pub mod firmware;
pub mod frame;
pub mod jsonl;
pub mod log;
pub mod p0;
pub mod pty;
pub mod sim;
