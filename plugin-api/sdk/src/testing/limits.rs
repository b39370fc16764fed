//! What a real host refuses at once, so that a test does not pass with what would fail there. The numbers are those of
//! [`polylink_plugin_api::services`].

use crate::services::{Failure, Reason, mqtt, store};

/// Whether the store takes it.
pub fn store(request: &store::Request) -> Result<(), Failure> {
    let (key, n_bytes) = match request {
        store::Request::Put(key, value) => (key, value.len()),
        store::Request::Remove(key) => (key, 0),
    };
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    if key.is_empty() || key.len() > KEY_MAX || key.starts_with('.') || !key.bytes().all(allowed) {
        return Err(invalid(format!(
            "`{key}` is not a key: 1 to {KEY_MAX} of a-z 0-9 . _ -, not beginning with a point"
        )));
    }
    if n_bytes > VALUE_MAX {
        return Err(invalid(format!("a value has {VALUE_MAX} bytes at most, not {n_bytes}")));
    }
    Ok(())
}

/// Whether an MQTT connection takes it.
pub fn publish(message: &mqtt::Message) -> Result<(), Failure> {
    let topic = &message.topic;
    if topic.is_empty() || topic.contains(['+', '#', '\0']) {
        return Err(invalid(format!("`{topic}` is not a topic name")));
    }
    if message.qos > 2 {
        return Err(invalid(format!("QoS is 0, 1 or 2, not {}", message.qos)));
    }
    let n_bytes = message.payload.len();
    if n_bytes > PAYLOAD_MAX {
        return Err(invalid(format!("a payload has {PAYLOAD_MAX} bytes at most, not {n_bytes}")));
    }
    Ok(())
}

const fn invalid(text: String) -> Failure {
    Failure { reason: Reason::Invalid, text }
}

/// `polylink.store/1`.
const KEY_MAX: usize = 64;

/// `polylink.store/1`.
const VALUE_MAX: usize = 64 * 1024;

/// `polylink.mqtt/1`.
const PAYLOAD_MAX: usize = 256 * 1024;
