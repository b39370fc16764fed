//! Who the device is to the Deli cloud, and where that cloud is: credentials, endpoints and their discovery.
//!
//! Pure functions; when discovery is asked and which endpoint is tried next is the session's affair.

use md5::{Digest, Md5};
use polylink_plugin_sdk::secret::Secret;
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
    hex(&Md5::digest(content), hex_case)
}

/// Hex digits of bytes.
#[must_use]
pub fn hex(bytes: &[u8], hex_case: HexCase) -> String {
    let digits = match hex_case {
        HexCase::Lower => b"0123456789abcdef",
        HexCase::Upper => b"0123456789ABCDEF",
    };
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(digits[usize::from(byte >> 4)]));
        text.push(char::from(digits[usize::from(byte & 0x0F)]));
    }
    text
}

/// Where a broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// TLS or plain text.
    pub tls: bool,
}

/// Why an address is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not tcp://host[:port], mqtt://, ssl://, tls:// or mqtts://")]
pub struct NoEndpoint(pub String);

impl Endpoint {
    /// Reads `scheme://host[:port]`; a trailing `/` is allowed.
    ///
    /// # Errors
    /// Another scheme, no host, or a port outside 1 to 65535.
    pub fn parse(address: &str) -> Result<Self, NoEndpoint> {
        Self::read(address.trim()).ok_or_else(|| NoEndpoint(address.chars().take(SHOWN_ADDRESS).collect()))
    }

    fn read(address: &str) -> Option<Self> {
        let (scheme, rest) = address.split_once("://")?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "tcp" | "mqtt" => false,
            "ssl" | "tls" | "mqtts" => true,
            _ => return None,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']')?;
                (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
            }
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        let port = match port {
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => digits.parse().ok()?,
            Some(_) => return None,
            None if tls => 8883,
            None => 1883,
        };
        let unusable = |c: char| c.is_whitespace() || c.is_control() || "/?#@[]".contains(c);
        if host.is_empty() || host.len() > LONGEST_HOST || host.contains(unusable) || port == 0 {
            return None;
        }
        Some(Self { host: host.to_owned(), port, tls })
    }

    /// The production endpoint that needs no discovery (Deli access document, access environments).
    #[must_use]
    pub fn production() -> Self {
        Self { host: "device.delicloud.com".into(), port: 1883, tls: false }
    }

    /// The test environment (Deli access document, access environments).
    #[must_use]
    pub fn test() -> Self {
        Self { host: "t.device.delicloud.com".into(), port: 1883, tls: false }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}:{}", if self.tls { "ssl" } else { "tcp" }, self.host, self.port)
    }
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
/// See [`DiscoveryError`]; the caller then uses [`Endpoint::production`].
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
/// Longest host name of DNS (RFC 1035 2.3.4).
const LONGEST_HOST: usize = 255;
/// How much of a bad address an error shows.
const SHOWN_ADDRESS: usize = 80;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(address: &str, expected: Option<(&str, u16, bool)>) {
        let seen = Endpoint::parse(address).ok();
        let seen = seen.as_ref().map(|endpoint| (endpoint.host.as_str(), endpoint.port, endpoint.tls));
        assert_eq!(seen, expected, "{address}");
    }

    #[test]
    fn schemes_decide_about_tls_and_the_default_port() {
        check("tcp://d1.delicloud.com:1883", Some(("d1.delicloud.com", 1883, false)));
        check("mqtt://h", Some(("h", 1883, false)));
        check("SSL://h", Some(("h", 8883, true)));
        check("tls://h:443/", Some(("h", 443, true)));
        check("mqtts://h:1", Some(("h", 1, true)));
        check("tcp://[::1]:1883", Some(("::1", 1883, false)));
    }

    #[test]
    fn malformed_entries_are_no_endpoints() {
        for address in [
            "",
            "h:1883",
            "http://h",
            "tcp://",
            "tcp://:1",
            "tcp://h:0",
            "tcp://h:65536",
            "tcp://h:+1",
            "tcp://h:",
            "tcp://a b",
            "tcp://u@h",
            "tcp://[::1",
        ] {
            check(address, None);
        }
    }

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

        #[test]
        fn every_endpoint_survives_its_text(host in "[a-z0-9.-]{1,40}", port in 1..=u16::MAX, tls: bool) {
            let endpoint = Endpoint { host, port, tls };
            prop_assert_eq!(Endpoint::parse(&endpoint.to_string()), Ok(endpoint));
        }
    }
}
