//! The testbed: simulators written from the protocol documents, and a rig that runs the real binary against them.
//!
//! Invariant: nothing here shares a codec with the host or the SDK; a mistake made twice would go unseen.

pub mod authority;
pub mod broker;
mod changes;
pub mod clouds;
pub mod demo;
pub mod faulty_net;
pub mod file_server;
pub mod ftp_server;
pub mod http;
pub mod installer;
pub mod joylink_app;
pub mod joylink_wire;
pub mod lan;
pub mod mcu;
pub mod observer;
pub mod owner;
pub mod release;
pub mod rig;
