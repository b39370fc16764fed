//! The Gizwits LAN protocol as an app speaks it: frames, messages, and a client that finds a module and talks to it.
//!
//! Written from the protocol document, sections 4 and 6.3. The simulated cloud uses the same frames inside MQTT; host and
//! plugins share nothing with it.

pub mod app;
pub mod companion;
pub mod frame;
pub mod messages;
pub mod udp;

use std::fmt;
use std::io;

/// Why an exchange with the module came to nothing.
#[derive(Debug)]
pub enum LanError {
    /// The socket failed.
    Io(io::Error),
    /// The module ended the connection: in order, or with a reset.
    Closed,
    /// The module broke the document, in words.
    Breach(String),
}

impl fmt::Display for LanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "socket: {error}"),
            Self::Closed => f.write_str("the module closed the connection"),
            Self::Breach(text) => write!(f, "against the protocol: {text}"),
        }
    }
}

impl std::error::Error for LanError {}

impl From<io::Error> for LanError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => {
                Self::Closed
            }
            _ => Self::Io(error),
        }
    }
}

#[cfg(test)]
mod tests;
