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

/// Keepalive if the platform names none (Clife access document, our reading: registration).
const KEEPALIVE_DEFAULT_S: u16 = 60;
/// Longest text taken (not documented; chosen by us: it is stored).
const LONGEST_TEXT: usize = 1024;
/// In the place of a secret that is no text, so that it counts as one of no use and not as none.
const NO_KEY: &str = "?";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::frame::{members, raw};

    const SECRET: &str = "00112233445566778899aabbccddeeff";

    fn answer() -> Value {
        json!({
            "respCode": 0, "devId": "D1", "deviceSecret": SECRET, "mqttUrl": "tcp://h:1", "mqttClientId": "c",
            "mqttUser": "u", "mqttPassword": "hunter2", "mqttKeepalive": 30,
        })
    }

    fn login(answer: &Value) -> LoginData {
        LoginData::read(&members(&raw(answer)).unwrap(), Some(7))
    }

    /// The usual answer with one member changed, and the members that are missing then.
    #[track_caller]
    fn check(name: &str, value: Value, missing: &[&'static str]) {
        let mut answer = answer();
        answer[name] = value;
        let seen = login(&answer).connection(&Overrides::default()).map(drop);
        let expected = if missing.is_empty() { Ok(()) } else { Err(MissingMembers(missing.to_vec())) };
        assert_eq!(seen, expected, "{answer}");
    }

    #[test]
    fn a_whole_answer_becomes_a_connection() {
        assert_eq!(
            login(&answer()).connection(&Overrides::default()),
            Ok(Connection {
                dev_id: "D1".into(),
                endpoint: Endpoint::parse("tcp://h:1").unwrap(),
                client_id: "c".into(),
                user: "u".into(),
                password: Secret::new("hunter2".into()),
                keepalive_s: 30,
                key: Key::from_hex(SECRET),
            })
        );
    }

    #[test]
    fn each_member_that_is_missing_or_of_no_use_is_named() {
        for name in ["devId", "mqttUrl", "mqttClientId", "mqttUser", "mqttPassword"] {
            for value in [json!(null), json!(""), json!([]), json!("x".repeat(1025))] {
                check(name, value, &[name]);
            }
        }
        for url in ["http://h", "tcp://", "tcp://u@h"] {
            check("mqttUrl", json!(url), &["mqttUrl"]);
        }
        for id in ["a/b", "+", "#"] {
            check("devId", json!(id), &["devId"]);
        }
        for secret in [json!("00"), json!("x"), json!(7), json!("g".repeat(32))] {
            check("deviceSecret", secret, &["deviceSecret"]);
        }
        let error = login(&json!({})).connection(&Overrides::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the registration brought no usable devId, mqttUrl, mqttClientId, mqttUser, mqttPassword"
        );
    }

    #[test]
    fn without_a_secret_the_device_s_own_key_is_used() {
        for value in [json!(null), json!("")] {
            check("deviceSecret", value.clone(), &[]);
            let mut answer = answer();
            answer["deviceSecret"] = value;
            assert_eq!(login(&answer).connection(&Overrides::default()).unwrap().key, None);
        }
    }

    #[test]
    fn the_settings_win_and_fill_what_is_missing() {
        let overrides = Overrides {
            dev_id: Some("D2".into()),
            endpoint: Endpoint::parse("ssl://own").ok(),
            client_id: Some("own".into()),
            user: Some("own".into()),
            password: Some(Secret::new("own".into())),
            keepalive_s: Some(5),
        };
        let connection = login(&json!({})).connection(&overrides).unwrap();
        assert_eq!((connection.dev_id.as_str(), connection.keepalive_s, connection.key), ("D2", 5, None));
        let from_whole = login(&answer()).connection(&overrides).unwrap();
        assert_eq!((from_whole.endpoint, from_whole.password), (connection.endpoint, connection.password));
    }

    #[test]
    fn a_device_id_may_be_a_number_or_be_called_id() {
        let dev_id = |answer: Value| login(&answer).dev_id;
        assert_eq!(dev_id(json!({ "devId": 9_007_199_254_740_993_u64 })).as_deref(), Some("9007199254740993"));
        assert_eq!(dev_id(json!({ "id": "D3" })).as_deref(), Some("D3"));
        assert_eq!(dev_id(json!({ "devId": null, "id": 3 })).as_deref(), Some("3"));
        assert_eq!(dev_id(json!({ "devId": "D1", "id": "D3" })).as_deref(), Some("D1"));
        assert_eq!(dev_id(json!({ "devId": true })), None);
    }

    #[test]
    fn a_keepalive_that_is_none_is_sixty_seconds() {
        for (value, expected) in
            [(json!("90"), 90), (json!(0), 60), (json!(65_536), 60), (json!(null), 60), (json!(-1), 60)]
        {
            assert_eq!(login(&json!({ "mqttKeepalive": value })).keepalive_s, expected, "{value}");
        }
    }

    #[test]
    fn what_is_stored_comes_back_only_if_it_is_whole() {
        let login = login(&answer());
        let stored: Value = serde_json::to_value(&login).unwrap();
        let restored = |stored: &Value| LoginData::restore(stored.to_string().as_bytes());
        assert_eq!(restored(&stored), Some(LoginData { platform_time_ms: None, ..login }));
        for (name, damage) in [
            ("dev_id", json!("a/b")),
            ("user", json!("")),
            ("password", json!("")),
            ("mqtt_url", json!(7)),
            ("client_id", json!("x".repeat(1025))),
            ("keepalive_s", json!(0)),
        ] {
            let mut damaged = stored.clone();
            damaged[name] = damage;
            assert_eq!(restored(&damaged), None, "{damaged}");
        }
    }

    #[test]
    fn nothing_shows_a_secret() {
        let login = login(&answer());
        let shown = format!("{login:?} {:?}", login.connection(&Overrides::default()));
        assert!(!shown.contains("hunter2") && !shown.contains(SECRET), "{shown}");
    }

    proptest! {
        #[test]
        fn no_bytes_can_panic_the_restore(bytes: Vec<u8>, url in "(tcp://|[\\[\\]:/@a-z]|\\PC){0,12}") {
            let _ = LoginData::restore(&bytes);
            let mut answer = answer();
            answer["mqttUrl"] = json!(url);
            let _ = login(&answer).connection(&Overrides::default());
        }
    }
}
