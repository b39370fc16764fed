//! Who the device is to the Deli cloud, and where that cloud is: credentials, endpoints and their discovery.
//!
//! Pure functions; when discovery is asked and which endpoint is tried next is the session's affair.

use md5::{Digest, Md5};
use polylink_plugin_sdk::hex;
use polylink_plugin_sdk::secret::Secret;
use polylink_plugin_sdk::url::Endpoint;
use serde::Deserialize;

use crate::config::{Authentication, HexCase, Settings};

/// The names of one device (Deli access document, device access authentication).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Product type, such as `KQ`.
    pub product_type: String,
    /// Product model, such as `DL3785W`.
    pub model: String,
    /// `{model}_{serial}`; also the MQTT client identifier.
    pub device_id: String,
}

impl Identity {
    /// Builds the device id.
    #[must_use]
    pub fn new(product_type: &str, model: &str, serial: &str) -> Self {
        Self { product_type: product_type.into(), model: model.into(), device_id: format!("{model}_{serial}") }
    }

    /// True if a message with this `to` is for the device: nobody named, the device, its type or its model.
    #[must_use]
    pub fn is_addressed(&self, to: &str) -> bool {
        to.is_empty() || to == self.device_id || to == self.product_type || to == self.model
    }

    /// What does not keep to the limits that later texts of the vendor give; `None` if all does.
    #[must_use]
    pub fn oddity(&self) -> Option<String> {
        let model_ok = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-';
        if self.model.is_empty() || self.model.len() > 16 || !self.model.chars().all(model_ok) {
            return Some(format!("product_model: `{}` is not 1 to 16 of digits, capital letters and `-`", self.model));
        }
        let serial = &self.device_id[self.model.len() + 1..];
        let serial_ok = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if serial.is_empty() || self.device_id.len() > 64 || !serial.chars().all(serial_ok) {
            return Some(format!(
                "serial: device id `{}` is not at most 64 of letters, digits and `-` besides its one `_`",
                self.device_id
            ));
        }
        None
    }
}

/// User name and password of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// MQTT user name.
    pub username: String,
    /// MQTT password.
    pub password: Secret<String>,
}

impl Credentials {
    /// What the settings say for this device.
    #[must_use]
    pub fn of(settings: &Settings, identity: &Identity) -> Self {
        match &settings.authentication {
            Authentication::Preregistered { username, password } => {
                Self { username: username.clone(), password: password.clone() }
            }
            Authentication::Direct { product_secret, hex_case } => Self {
                username: identity.model.clone(),
                password: derived_password(identity, product_secret, *hex_case),
            },
        }
    }
}

/// MD5 of `ClientID-model-secret` as 32 hex digits (Deli access document, scheme 2). The document does not say in which
/// case; see [`HexCase`].
#[must_use]
pub fn derived_password(identity: &Identity, product_secret: &Secret<String>, hex_case: HexCase) -> Secret<String> {
    let input =
        Secret::new(format!("{}-{}-{}", identity.device_id, identity.model, product_secret.expose()).into_bytes());
    Secret::new(md5_hex(input.expose(), hex_case))
}

/// MD5 as hex digits.
#[must_use]
pub fn md5_hex(content: &[u8], hex_case: HexCase) -> String {
    let digest = Md5::digest(content);
    match hex_case {
        HexCase::Lower => hex::lower(&digest),
        HexCase::Upper => hex::upper(&digest),
    }
}

/// The production endpoint that needs no discovery (Deli access document, access environments).
#[must_use]
pub fn production_endpoint() -> Endpoint {
    Endpoint { host: "device.delicloud.com".into(), port: 1883, tls: false }
}

/// The endpoint of the test environment (Deli access document, access environments).
#[must_use]
pub fn test_endpoint() -> Endpoint {
    Endpoint { host: "t.device.delicloud.com".into(), port: 1883, tls: false }
}

/// Why the answer of the discovery address names no endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// Anything but 200; redirects are not followed.
    #[error("HTTP status {0} instead of 200")]
    Status(u16),
    /// No JSON object with an `MQTT` array.
    #[error("the answer is no JSON object with an array `MQTT`")]
    Shape,
    /// An array, but nothing to connect to.
    #[error("the array `MQTT` has no usable entry")]
    Empty,
}

/// The endpoints of a discovery answer, in the order given; malformed entries are skipped.
///
/// # Errors
/// See [`DiscoveryError`]; the caller then uses [`production_endpoint`].
pub fn parse_access_list(status: u16, body: &[u8]) -> Result<Vec<Endpoint>, DiscoveryError> {
    #[derive(Deserialize)]
    struct AccessList {
        #[serde(rename = "MQTT")]
        mqtt: Vec<serde_json::Value>,
    }
    if status != 200 {
        return Err(DiscoveryError::Status(status));
    }
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(DiscoveryError::Shape);
    }
    let list: AccessList = serde_json::from_slice(body).map_err(|_| DiscoveryError::Shape)?;
    let endpoints: Vec<Endpoint> =
        list.mqtt.iter().filter_map(|entry| Endpoint::parse(entry.as_str()?).ok()).take(MAX_ENDPOINTS).collect();
    if endpoints.is_empty() { Err(DiscoveryError::Empty) } else { Ok(endpoints) }
}

/// Endpoints kept of one discovery answer; further ones are ignored (not documented; chosen by us: the sample has 2).
const MAX_ENDPOINTS: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_list_is_read_only_from_a_plain_200() {
        let body = br#"{"MQTT":["tcp://a:1"],"COAP":[1]}"#;
        assert_eq!(parse_access_list(200, body).unwrap().len(), 1);
        assert_eq!(parse_access_list(302, body), Err(DiscoveryError::Status(302)));
        assert_eq!(parse_access_list(200, b"[[\"tcp://a:1\"]]"), Err(DiscoveryError::Shape));
        assert_eq!(parse_access_list(200, br#"{"MQTT":"tcp://a:1"}"#), Err(DiscoveryError::Shape));
        assert_eq!(parse_access_list(200, br#"{"MQTT":[7,null,"x"]}"#), Err(DiscoveryError::Empty));
    }

    #[test]
    fn names_outside_the_later_limits_are_noticed() {
        assert_eq!(Identity::new("KQ", "DL3785W", "1234567890").oddity(), None);
        assert!(Identity::new("KQ", "dl", "1").oddity().unwrap().starts_with("product_model"));
        assert!(Identity::new("KQ", "DL", "1_2").oddity().unwrap().starts_with("serial"));
    }

    proptest! {
        #[test]
        fn no_answer_can_panic_discovery(status: u16, body: Vec<u8>) {
            let _ = parse_access_list(status, &body);
        }
    }
}
