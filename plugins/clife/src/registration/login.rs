//! What the platform gives a registered device, as it came and as it is stored, and the connection that is made of it.

use std::collections::BTreeMap;

use polylink_plugin_sdk::secret::Secret;
use polylink_plugin_sdk::url::Endpoint;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::cipher::Key;
use crate::frame::{integer, text};
use crate::topics::is_level;

/// What a registration brought. A member that is missing or cannot be used is `None`; [`LoginData::connection`] names it
/// if the settings do not replace it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginData {
    /// Name of the device; one level of a topic.
    pub dev_id: Option<String>,
    /// Key of all MQTT messages, in hex digits; `None` if the platform sent none, then it is the device's own key.
    #[serde(serialize_with = "exposed")]
    pub device_secret: Option<Secret<String>>,
    /// Where the broker is.
    pub mqtt_url: Option<String>,
    /// MQTT client identifier.
    pub client_id: Option<String>,
    /// MQTT user name.
    pub user: Option<String>,
    /// MQTT password.
    #[serde(serialize_with = "exposed")]
    pub password: Option<Secret<String>>,
    /// MQTT keepalive.
    pub keepalive_s: u16,
    /// The platform's clock when it answered, in Unix milliseconds; not stored.
    #[serde(skip)]
    pub platform_time_ms: Option<i64>,
}

/// What the settings put in the place of what the platform gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Name of the device.
    pub dev_id: Option<String>,
    /// Where the broker is.
    pub endpoint: Option<Endpoint>,
    /// MQTT client identifier.
    pub client_id: Option<String>,
    /// MQTT user name.
    pub user: Option<String>,
    /// MQTT password.
    pub password: Option<Secret<String>>,
    /// MQTT keepalive.
    pub keepalive_s: Option<u16>,
}

/// Everything a connection needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Name of the device.
    pub dev_id: String,
    /// Where the broker is.
    pub endpoint: Endpoint,
    /// MQTT client identifier.
    pub client_id: String,
    /// MQTT user name.
    pub user: String,
    /// MQTT password.
    pub password: Secret<String>,
    /// MQTT keepalive.
    pub keepalive_s: u16,
    /// Key of all messages; `None`: the device's own.
    pub key: Option<Key>,
}

/// The platform did not give, or not in a usable form, what the settings do not give either.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the registration brought no usable {}", .0.join(", "))]
pub struct MissingMembers(pub Vec<&'static str>);

impl LoginData {
    /// Reads the members of a successful answer.
    pub(super) fn read(members: &BTreeMap<String, Box<RawValue>>, platform_time_ms: Option<i64>) -> Self {
        let member = |name: &str| members.get(name).map(AsRef::as_ref).filter(|raw: &&RawValue| raw.get() != "null");
        let login_text = |name: &str| member(name).and_then(text).filter(|text| is_usable(text));
        let secret = |name: &str| login_text(name).map(Secret::new);
        Self {
            // The virtual device of the web console is handed the same value as `id`.
            dev_id: member("devId").or_else(|| member("id")).and_then(name).filter(|name| is_level(name)),
            device_secret: member("deviceSecret")
                .map(|raw| Secret::new(text(raw).unwrap_or_else(|| NO_KEY.to_owned())))
                .filter(|s| !s.expose().is_empty()),
            mqtt_url: login_text("mqttUrl"),
            client_id: login_text("mqttClientId"),
            user: login_text("mqttUser"),
            password: secret("mqttPassword"),
            keepalive_s: member("mqttKeepalive").and_then(integer).filter(|&s| s > 0).unwrap_or(KEEPALIVE_DEFAULT_S),
            platform_time_ms,
        }
    }

    /// Reads what was stored; `None` if it is damaged.
    #[must_use]
    pub fn restore(stored: &[u8]) -> Option<Self> {
        let login: Self = serde_json::from_slice(stored).ok()?;
        let texts = [&login.mqtt_url, &login.client_id, &login.user].into_iter().flatten().map(String::as_str);
        let secrets = [&login.device_secret, &login.password].into_iter().flatten().map(|s| s.expose().as_str());
        let texts_ok = texts.chain(secrets).all(is_usable);
        let is_whole = texts_ok && login.keepalive_s > 0 && login.dev_id.as_deref().is_none_or(is_level);
        is_whole.then_some(login)
    }

    /// What to connect with; the settings win.
    ///
    /// # Errors
    /// Names every member that is missing, by its name on the wire.
    pub fn connection(&self, overrides: &Overrides) -> Result<Connection, MissingMembers> {
        let mut missing = Vec::new();
        let endpoint = self.mqtt_url.as_deref().and_then(|url| Endpoint::parse(url).ok());
        let dev_id = pick(&overrides.dev_id, &self.dev_id, "devId", &mut missing);
        let key = self.device_secret.as_ref().map(|digits| Key::from_hex(digits.expose()));
        if key == Some(None) {
            missing.push("deviceSecret");
        }
        let endpoint = pick(&overrides.endpoint, &endpoint, "mqttUrl", &mut missing);
        let client_id = pick(&overrides.client_id, &self.client_id, "mqttClientId", &mut missing);
        let user = pick(&overrides.user, &self.user, "mqttUser", &mut missing);
        let password = pick(&overrides.password, &self.password, "mqttPassword", &mut missing);
        let keepalive_s = overrides.keepalive_s.unwrap_or(self.keepalive_s);
        match (dev_id, endpoint, client_id, user, password) {
            (Some(dev_id), Some(endpoint), Some(client_id), Some(user), Some(password)) if missing.is_empty() => {
                Ok(Connection { dev_id, endpoint, client_id, user, password, keepalive_s, key: key.flatten() })
            }
            _ => Err(MissingMembers(missing)),
        }
    }
}

fn pick<T: Clone>(
    set: &Option<T>,
    given: &Option<T>,
    name: &'static str,
    missing: &mut Vec<&'static str>,
) -> Option<T> {
    let picked = set.as_ref().or(given.as_ref()).cloned();
    if picked.is_none() {
        missing.push(name);
    }
    picked
}

/// A text, or the digits of a number.
fn name(raw: &RawValue) -> Option<String> {
    let is_number = raw.get().starts_with(|first: char| first == '-' || first.is_ascii_digit());
    if is_number { Some(raw.get().to_owned()) } else { text(raw) }
}

fn is_usable(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST_TEXT
}

fn exposed<S: Serializer>(secret: &Option<Secret<String>>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(Secret::expose).serialize(serializer)
}

/// Keepalive if the platform names none (Clife access protocol, our reading: registration).
const KEEPALIVE_DEFAULT_S: u16 = 60;
/// Longest text taken (not documented; chosen by us: it is stored).
const LONGEST_TEXT: usize = 1024;
/// In the place of a secret that is no text, so that it counts as one of no use and not as none.
const NO_KEY: &str = "?";
