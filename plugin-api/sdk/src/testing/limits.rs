//! What a real host refuses at once, so that a test does not pass with what would fail there. The numbers are those of
//! [`polylink_plugin_api::services`].

use polylink_plugin_api::services::script::{NAME_MAX, SCRIPTS_MAX, SOURCE_MAX, Value, values};
use polylink_plugin_api::services::subdevices::{ADDRESS_MAX, ADMIT_SECONDS_MAX, PRODUCT_MAX};

use crate::services::{Failure, Reason, mqtt, ota, store};

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

/// Whether the script service loads one more script.
pub fn load(name: &str, source: &str, n_scripts: usize) -> Result<(), Failure> {
    script_name(name)?;
    if source.len() > SOURCE_MAX {
        return Err(invalid(format!("a script has {SOURCE_MAX} bytes at most, not {}", source.len())));
    }
    if source.starts_with('\u{1b}') {
        return Err(invalid("a script is text, not bytecode".to_owned()));
    }
    if n_scripts >= SCRIPTS_MAX {
        let text = format!("{n_scripts} scripts are loaded, at most {SCRIPTS_MAX} may be");
        return Err(Failure { reason: Reason::Quota, text });
    }
    Ok(())
}

/// Whether the script service takes a call.
pub fn call(function: &str, args: &[Value]) -> Result<(), Failure> {
    script_name(function)?;
    values::encode(args).map_err(|error| invalid(format!("the arguments of `{function}`: {error}")))?;
    Ok(())
}

/// Whether the service of updates takes this.
pub fn offer(offer: &ota::Offer) -> bool {
    let is_http = offer.url.starts_with("http://") || offer.url.starts_with("https://");
    (1..=ota::ID_MAX).contains(&offer.id.len())
        && offer.version.len() <= ota::VERSION_MAX
        && is_http
        && offer.url.len() <= ota::URL_MAX
        && offer.headers.len() <= ota::HEADERS_MAX
        && offer.headers.iter().all(|header| header.len() <= ota::URL_MAX)
        && offer.digests.len() <= ota::DIGESTS_MAX
}

/// Whether the service of subdevices lets one like this join.
pub fn admit(product: &str, address: &str, seconds: u16) -> bool {
    (1..=PRODUCT_MAX).contains(&product.len())
        && address.len() <= ADDRESS_MAX
        && (1..=ADMIT_SECONDS_MAX).contains(&seconds)
}

fn script_name(name: &str) -> Result<(), Failure> {
    if name.is_empty() || name.len() > NAME_MAX || name.contains(char::is_control) {
        let text = format!("`{}` is no name: 1 to {NAME_MAX} bytes, no control characters", name.escape_debug());
        return Err(invalid(text));
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
