//! Values, commands and events of the device in the words of the JoyLink cloud, both ways, as pure functions.

use polylink_plugin_sdk::Value;

/// The product type that the MCU tells, as text or as the bytes of one; `None`: it tells none yet.
#[must_use]
pub fn uuid(value: &Value) -> Option<String> {
    let text = match value {
        Value::Text(text) => text,
        Value::Bytes(bytes) => std::str::from_utf8(bytes).ok()?,
        _ => return None,
    };
    // A field of fixed width is filled up.
    let text = text.trim_matches(|c: char| c == '\0' || c.is_whitespace());
    uuid_ok(text).then(|| text.to_owned())
}

/// Whether this is a product type: 6 letters or digits (JoyLink V1.79, terms).
#[must_use]
pub fn uuid_ok(text: &str) -> bool {
    text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
