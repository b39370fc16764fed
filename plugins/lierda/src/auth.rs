//! Who the device is to the Lierda cloud: identifiers, the credentials of both connections, and the authentication
//! exchange between them.
//!
//! Pure functions; when to authenticate, and when to try again, is the session's affair.

mod exchange;

use polylink_plugin_sdk::hex;
use polylink_plugin_sdk::secret::Secret;
use serde::Deserialize;

use crate::cipher::{Key, encrypt_hex};

pub use exchange::{AuthFault, AuthReply, SessionMaterial, UnusableReply, auth_request, parse_auth_reply};

/// The names of one device. They are used exactly as configured; their case is never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The vendor's account.
    pub open_id: String,
    /// The product.
    pub product_id: String,
    /// The device; the topics call it the device id.
    pub node_eui: String,
}

impl Identity {
    /// True for 8 hex digits (Lierda MQTT access protocol, identities).
    #[must_use]
    pub fn open_id_ok(text: &str) -> bool {
        hex::is_digits(text, 8)
    }

    /// True for 8 hex digits (Lierda MQTT access protocol, identities).
    #[must_use]
    pub fn product_id_ok(text: &str) -> bool {
        hex::is_digits(text, 8)
    }

    /// True for 4 to 32 ASCII letters and digits (Lierda MQTT access protocol, identities).
    #[must_use]
    pub fn node_eui_ok(text: &str) -> bool {
        (4..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
    }

    /// True for 32 hex digits, which a product key and a device secret are made of.
    #[must_use]
    pub fn key_ok(text: &str) -> bool {
        hex::is_digits(text, 32)
    }
}

/// How the secrets of a device are handed out; `Type` in the authentication request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u8")]
pub enum AuthType {
    /// 0: one secret per product, the device is not registered in advance.
    #[default]
    SecretPerProduct,
    /// 1: one secret per product, the device is registered in advance.
    PreRegistered,
    /// 2: one secret per device, registered in advance.
    SecretPerDevice,
}

impl AuthType {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::SecretPerProduct => 0,
            Self::PreRegistered => 1,
            Self::SecretPerDevice => 2,
        }
    }
}

impl TryFrom<u8> for AuthType {
    type Error = &'static str;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        match number {
            0 => Ok(Self::SecretPerProduct),
            1 => Ok(Self::PreRegistered),
            2 => Ok(Self::SecretPerDevice),
            _ => Err("expected 0 (secret per product), 1 (the same, pre-registered) or 2 (secret per device)"),
        }
    }
}

/// Whether the platform checks the time of a working connection; the `type` digit of its client id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u8")]
pub enum ConnectType {
    /// 0: not checked, so the clock need not be set.
    #[default]
    Unchecked,
    /// 1: later than the last time the device went offline, and not later than the platform's time.
    Checked,
}

impl ConnectType {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Unchecked => 0,
            Self::Checked => 1,
        }
    }
}

impl TryFrom<u8> for ConnectType {
    type Error = &'static str;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        match number {
            0 => Ok(Self::Unchecked),
            1 => Ok(Self::Checked),
            _ => Err("expected 0 (time not checked) or 1 (time checked)"),
        }
    }
}

/// What one MQTT connection is opened with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// MQTT client identifier.
    pub client_id: String,
    /// MQTT user name.
    pub username: String,
    /// MQTT password.
    pub password: Secret<String>,
}

/// For the authentication connection. That account may only send to [`crate::topics::AUTH`] and only subscribe to
/// [`crate::topics::Topics::downlink`].
#[must_use]
pub fn auth_credentials(identity: &Identity, product_key: &Secret<String>) -> Credentials {
    let Identity { open_id, product_id, node_eui } = identity;
    Credentials {
        client_id: format!("{product_id}-{node_eui}"),
        username: format!("AUTH-{open_id}-{product_id}"),
        password: product_key.clone(),
    }
}

/// For the working connection. The product key goes into the password as text, so its case matters; that of the device
/// secret does not.
#[must_use]
pub fn connect_credentials(
    identity: &Identity,
    product_key: &Secret<String>,
    device_secret: &Key,
    connect_type: ConnectType,
    unix_s: i64,
) -> Credentials {
    let Identity { open_id, product_id, node_eui } = identity;
    let content = connect_content(identity, product_key, connect_type, unix_s);
    Credentials {
        client_id: format!("V2_{product_id}.{node_eui}_{}_{unix_s}", connect_type.number()),
        username: format!("{open_id}-{product_id}-{node_eui}"),
        password: Secret::new(encrypt_hex(device_secret, content.expose().as_bytes())),
    }
}

/// What is encrypted for the password of the working connection. The time is in it only if the platform checks it: only
/// that gives the two passwords printed in the protocol.
#[must_use]
pub fn connect_content(
    identity: &Identity,
    product_key: &Secret<String>,
    connect_type: ConnectType,
    unix_s: i64,
) -> Secret<String> {
    let (product_id, node_eui, product_key) = (&identity.product_id, &identity.node_eui, product_key.expose());
    Secret::new(match connect_type {
        ConnectType::Unchecked => format!("{product_id}.{node_eui}_{product_key}"),
        ConnectType::Checked => format!("{product_id}.{node_eui}_{product_key}_{unix_s}"),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "326086233FAB8A96566796551EB1DFF8";

    #[test]
    fn credentials_do_not_show_their_secrets() {
        let identity = Identity { open_id: "o".into(), product_id: "p".into(), node_eui: "d".into() };
        let secret = Secret::new(SECRET.to_owned());
        let key = Key::from_hex(SECRET).unwrap();
        let work = connect_credentials(&identity, &secret, &key, ConnectType::Checked, 1);
        let shown = format!("{work:?} {:?}", auth_credentials(&identity, &secret));
        assert!(!shown.contains(SECRET) && !shown.contains(work.password.expose()), "{shown}");
    }

    #[test]
    fn the_numbers_of_the_settings_are_those_of_the_wire() {
        for number in 0..=255 {
            let auth_type = AuthType::try_from(number).map(AuthType::number);
            let connect_type = ConnectType::try_from(number).map(ConnectType::number);
            assert_eq!(
                (auth_type.ok(), connect_type.ok()),
                ((number < 3).then_some(number), (number < 2).then_some(number))
            );
        }
    }

    proptest! {
        #[test]
        fn nothing_can_panic_the_checks(text in "\\PC{0,40}") {
            let _ = (Identity::open_id_ok(&text), Identity::product_id_ok(&text));
            let _ = (Identity::node_eui_ok(&text), Identity::key_ok(&text));
        }
    }
}
