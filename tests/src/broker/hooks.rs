//! What a cloud decides about the clients of its broker.

use super::packet::{Connect, Publish};

/// Decisions and notices; the defaults make a plain open broker. Called from the broker's tasks: return promptly.
pub trait Hooks: Send + Sync + 'static {
    /// CONNACK return code: 0 lets the client in.
    fn connect(&self, _connect: &Connect) -> u8 {
        0
    }

    /// Granted QoS, `None` refuses this filter (0x80 for 3.1.1 clients).
    fn subscribe(&self, _client: &str, _filter: &str, qos: u8) -> Option<u8> {
        Some(qos)
    }

    /// A SUBSCRIBE whose filters have been decided one by one: whether it is acknowledged at all.
    fn acknowledge(&self, _client: &str, _filters: &[(String, u8)]) -> bool {
        true
    }

    /// Takes a message of a client; an error cuts the client off and is written down as its violation.
    fn message(&self, _client: &str, _message: &Publish) -> Result<(), String> {
        Ok(())
    }

    /// Whether messages of clients are handed to subscribers.
    fn routes(&self) -> bool {
        true
    }

    /// A client broke the standard or the rules of [`Hooks::message`], and was cut off.
    fn violation(&self, _text: &str) {}

    /// The will of a client that went without a farewell is handed to subscribers.
    fn will(&self, _client: &str, _will: &Publish) {}

    /// A client was let in, with its CONNACK already on its way, or has gone.
    fn presence(&self, _client: &str, _online: bool) {}
}

/// A broker that lets everybody do everything.
#[derive(Debug, Default, Clone, Copy)]
pub struct Open;

impl Hooks for Open {}
