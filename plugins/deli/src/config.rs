//! The settings of one Deli cloud instance: JSON in, precise types out.
//!
//! Invariant: a [`Settings`] that exists can be used; nobody checks it again. `settings.schema.json` describes the same
//! keys for tools and people, and a test holds both together.

use std::collections::BTreeSet;
use std::fmt;

use polylink_plugin_sdk::secret::Secret;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::auth::Endpoint;

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Product type, assigned by the platform.
    pub product_type: String,
    /// Product model, assigned by the platform.
    pub product_model: String,
    /// The vendor's serial number of this device.
    pub serial: String,
    /// How the device proves who it is.
    pub authentication: Authentication,
    /// Where the cloud is.
    pub access: Access,
    /// PEM certificates to trust on a TLS endpoint.
    pub tls_ca: Option<String>,
    /// MQTT keep-alive.
    pub keepalive_s: u16,
    /// QoS of publications and subscriptions.
    pub qos: u8,
    /// MQTT clean session flag.
    pub clean_session: bool,
    /// When to subscribe to the broadcast topics.
    pub subscribe_when: SubscribeWhen,
    /// Actions in use; `None`: all.
    pub supported_actions: Option<BTreeSet<i64>>,
    /// Which text of the protocol decides where the two differ.
    pub dialect: Dialect,
    /// Take action 207 for 201.
    pub accept_207_alias: bool,
    /// Drop messages that are addressed to somebody else.
    pub check_to: bool,
    /// When and from where firmware may come.
    pub ota: OtaSettings,
    /// The platform has authorised this model to unbind itself (104).
    pub unbind_supported: bool,
    /// Where and as whom logs are uploaded.
    pub ftp: FtpSettings,
    /// Refuse names outside the later limits instead of warning.
    pub strict_ids: bool,
    /// `cmd` of a report of properties.
    pub report_cmd: String,
    /// `cmd` that sets properties.
    pub set_cmd: String,
    /// `cmd` that reads properties.
    pub get_cmd: String,
    /// Answer set and action commands of applications with a 300.
    pub answer_commands: bool,
    /// Cloud name of the action to run when local business data must go.
    pub wipe_action: Option<String>,
    /// Offer the command `echo` of action 200.
    pub enable_test_commands: bool,
    /// Firmware version told to the platform; `None`: what the module says.
    pub product_version: Option<String>,
    /// Name told to the platform.
    pub device_name: Option<String>,
    /// Further members of action 101.
    pub properties: Option<Map<String, Value>>,
}

/// How the device proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// Password derived from the model's secret.
    Direct {
        /// Secret of the model.
        product_secret: Secret<String>,
        /// Case of the derived password.
        hex_case: HexCase,
    },
    /// A pair issued for this device in advance.
    Preregistered {
        /// MQTT user name.
        username: String,
        /// MQTT password.
        password: Secret<String>,
    },
}

/// Where the cloud is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// One endpoint, no discovery.
    Fixed(Endpoint),
    /// Asked at this address, with [`Endpoint::production`] if that fails.
    Discovered(String),
}

/// When and from where firmware may come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtaSettings {
    /// Start of the window for normal upgrades, seconds after local midnight.
    pub window_start_s: u32,
    /// Length of that window in seconds.
    pub window_len_s: u32,
    /// Forced upgrades start within so many seconds.
    pub force_spread_s: u32,
    /// Hosts firmware may be loaded from; empty: any.
    pub allowed_hosts: Vec<String>,
    /// Largest firmware.
    pub max_bytes: u64,
    /// Refuse versions that are not newer.
    pub only_newer: bool,
    /// Hold business messages while a forced upgrade is due.
    pub force_holds_reports: bool,
}

/// Where and as whom logs are uploaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FtpSettings {
    /// User name.
    pub user: String,
    /// Password.
    pub password: Secret<String>,
    /// Directory.
    pub dir: String,
}

/// Case of hex digits. The access document does not say which; the only client found in public sends upper case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HexCase {
    /// `0-9 a-f`.
    #[default]
    Lower,
    /// `0-9 A-F`.
    Upper,
}

/// When to subscribe to the broadcast topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SubscribeWhen {
    /// After each connect, and again after a bind notice.
    Connected,
    /// As soon as an organisation is known.
    Bound,
}

/// Which text of the protocol decides where the two differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Dialect {
    /// Text 1.0 of 2017-10-24.
    #[serde(rename = "v1_0")]
    V1_0,
    /// Text 1.1 of 2017-11-07.
    #[serde(rename = "v1_1")]
    V1_1,
}

/// What is wrong with the settings. Values of secrets are not shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Not a JSON object.
    #[error("settings: expected an object of keys and values")]
    NotAnObject,
    /// A key that must be there is not.
    #[error("settings.{key}: missing; {wanted}")]
    Missing {
        /// The key.
        key: &'static str,
        /// What would be accepted.
        wanted: &'static str,
    },
    /// A value does not fit.
    #[error("settings.{key}: {found}")]
    Unfit {
        /// The key.
        key: &'static str,
        /// What was found and what would be accepted.
        found: String,
    },
    /// A key that means nothing here.
    #[error("settings.{key}: no such key; known are {}", known_keys())]
    Unknown {
        /// The key.
        key: String,
    },
}

impl Settings {
    /// Reads settings. `module_serial` stands in for a missing `serial`; empty: not known.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn parse(json: &str, module_serial: &str) -> Result<Self, SettingsError> {
        let Ok(Value::Object(keys)) = serde_json::from_str(json) else { return Err(SettingsError::NotAnObject) };
        let mut keys = Keys(keys);
        let settings = Self {
            product_type: keys.name("product_type", "the product type the platform assigned, such as `KQ`")?,
            product_model: keys.name("product_model", "the product model the platform assigned, such as `DL3785W`")?,
            serial: keys.serial(module_serial)?,
            authentication: keys.authentication()?,
            access: keys.access()?,
            tls_ca: keys.optional_text("tls_ca")?,
            keepalive_s: keys.get("keepalive_s", 60)?,
            qos: keys.get("qos", 1)?,
            clean_session: keys.get("clean_session", true)?,
            subscribe_when: keys.get("subscribe_when", SubscribeWhen::Connected)?,
            supported_actions: keys.optional("supported_actions")?,
            dialect: keys.get("dialect", Dialect::V1_0)?,
            accept_207_alias: keys.get("accept_207_alias", true)?,
            check_to: keys.get("check_to", true)?,
            ota: keys.ota()?,
            unbind_supported: keys.get("unbind_supported", false)?,
            ftp: FtpSettings {
                user: keys.get("ftp_user", "anonymous".to_owned())?,
                password: keys.secret("ftp_password")?.unwrap_or_default(),
                dir: keys.get("ftp_dir", "/".to_owned())?,
            },
            strict_ids: keys.get("strict_ids", false)?,
            report_cmd: keys.command("report_cmd", "report")?,
            set_cmd: keys.command("set_cmd", "set")?,
            get_cmd: keys.command("get_cmd", "get")?,
            answer_commands: keys.get("answer_commands", true)?,
            wipe_action: keys.optional_text("wipe_action")?,
            enable_test_commands: keys.get("enable_test_commands", false)?,
            product_version: keys.optional_text("product_version")?,
            device_name: keys.optional_text("device_name")?,
            properties: keys.optional("properties")?,
        };
        keys.nothing_left()?;
        settings.checked()
    }

    /// True if this action may be used or answered.
    #[must_use]
    pub fn supports(&self, action: i64) -> bool {
        self.supported_actions.as_ref().is_none_or(|actions| actions.contains(&action))
    }

    fn checked(self) -> Result<Self, SettingsError> {
        if self.qos > 2 {
            return Err(unfit("qos", format!("{} is not 0, 1 or 2", self.qos)));
        }
        if self.set_cmd == self.get_cmd {
            return Err(unfit("get_cmd", format!("`{}` is the value of `set_cmd` already", self.get_cmd)));
        }
        Ok(self)
    }
}

/// Every key, in the order of the documentation.
pub const KEYS: &[&str] = &[
    "product_type",
    "product_model",
    "serial",
    "auth_scheme",
    "product_secret",
    "username",
    "password",
    "password_hex_case",
    "environment",
    "broker_url",
    "discovery_url",
    "tls_ca",
    "keepalive_s",
    "qos",
    "clean_session",
    "subscribe_when",
    "supported_actions",
    "dialect",
    "accept_207_alias",
    "check_to",
    "ota_window_start",
    "ota_window_len_s",
    "ota_force_spread_s",
    "ota_allowed_hosts",
    "ota_max_bytes",
    "ota_only_newer",
    "ota_force_holds_reports",
    "unbind_supported",
    "ftp_user",
    "ftp_password",
    "ftp_dir",
    "strict_ids",
    "report_cmd",
    "set_cmd",
    "get_cmd",
    "answer_commands",
    "wipe_action",
    "enable_test_commands",
    "product_version",
    "device_name",
    "properties",
];

/// The JSON Schema of the settings.
pub const SCHEMA: &str = include_str!("../settings.schema.json");

/// The keys not read yet.
struct Keys(Map<String, Value>);

impl Keys {
    fn optional<T: DeserializeOwned>(&mut self, key: &'static str) -> Result<Option<T>, SettingsError> {
        match self.0.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value).map(Some).map_err(|error| unfit(key, error)),
        }
    }

    fn get<T: DeserializeOwned>(&mut self, key: &'static str, default: T) -> Result<T, SettingsError> {
        Ok(self.optional(key)?.unwrap_or(default))
    }

    fn optional_text(&mut self, key: &'static str) -> Result<Option<String>, SettingsError> {
        Ok(self.optional::<String>(key)?.filter(|text| !text.is_empty()))
    }

    /// Serde's error would show the value.
    fn secret(&mut self, key: &'static str) -> Result<Option<Secret<String>>, SettingsError> {
        match self.0.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(Secret::new(text))),
            Some(_) => Err(unfit(key, "expected a text")),
        }
    }

    /// A part of MQTT topics.
    fn name(&mut self, key: &'static str, wanted: &'static str) -> Result<String, SettingsError> {
        let name = self.optional_text(key)?.ok_or(SettingsError::Missing { key, wanted })?;
        let unusable = |c: char| c.is_control() || c.is_whitespace() || "/+#".contains(c);
        if name.len() > LONGEST_NAME || name.contains(unusable) {
            return Err(unfit(
                key,
                format!("expected at most {LONGEST_NAME} characters without blanks, `/`, `+` and `#`"),
            ));
        }
        Ok(name)
    }

    fn serial(&mut self, module_serial: &str) -> Result<String, SettingsError> {
        const WANTED: &str = "the serial number of this device, and the module knows none either";
        if !self.0.contains_key("serial") && !module_serial.is_empty() {
            self.0.insert("serial".into(), Value::String(module_serial.to_owned()));
        }
        self.name("serial", WANTED)
    }

    fn command(&mut self, key: &'static str, default: &str) -> Result<String, SettingsError> {
        let command = self.get(key, default.to_owned())?;
        if command.is_empty() || command.len() > LONGEST_NAME {
            return Err(unfit(key, format!("expected 1 to {LONGEST_NAME} characters")));
        }
        Ok(command)
    }

    fn authentication(&mut self) -> Result<Authentication, SettingsError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Scheme {
            Direct,
            Preregistered,
        }
        let scheme = self.get("auth_scheme", Scheme::Direct)?;
        let product_secret = self.secret("product_secret")?;
        let username = self.optional_text("username")?;
        let password = self.secret("password")?;
        let hex_case = self.get("password_hex_case", HexCase::default())?;
        match scheme {
            Scheme::Direct => {
                let wanted = "the secret of the product model (auth_scheme is `direct`)";
                let product_secret = product_secret.ok_or(SettingsError::Missing { key: "product_secret", wanted })?;
                Ok(Authentication::Direct { product_secret, hex_case })
            }
            Scheme::Preregistered => {
                let wanted = "issued for this device in advance (auth_scheme is `preregistered`)";
                let username = username.ok_or(SettingsError::Missing { key: "username", wanted })?;
                let password = password.ok_or(SettingsError::Missing { key: "password", wanted })?;
                Ok(Authentication::Preregistered { username, password })
            }
        }
    }

    fn access(&mut self) -> Result<Access, SettingsError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Environment {
            Production,
            Test,
        }
        let environment = self.get("environment", Environment::Production)?;
        let broker_url = self.optional_text("broker_url")?;
        let discovery_url = self.get("discovery_url", DISCOVERY_URL.to_owned())?;
        if let Some(address) = broker_url {
            return Ok(Access::Fixed(Endpoint::parse(&address).map_err(|error| unfit("broker_url", error))?));
        }
        if matches!(environment, Environment::Test) {
            return Ok(Access::Fixed(Endpoint::test()));
        }
        if discovery_url.is_empty() {
            return Ok(Access::Fixed(Endpoint::production()));
        }
        if !discovery_url.starts_with("http://") && !discovery_url.starts_with("https://") {
            return Err(unfit("discovery_url", "expected http://… or https://…, or an empty text for no discovery"));
        }
        Ok(Access::Discovered(discovery_url))
    }

    fn ota(&mut self) -> Result<OtaSettings, SettingsError> {
        let window_start = self.get("ota_window_start", "00:00".to_owned())?;
        let window_start_s = parse_time_of_day(&window_start)
            .ok_or_else(|| unfit("ota_window_start", format!("`{window_start}` is not a local time HH:MM")))?;
        let window_len_s = self.get("ota_window_len_s", 7200)?;
        if window_len_s > DAY_S {
            return Err(unfit("ota_window_len_s", format!("{window_len_s} is more than a day of {DAY_S} seconds")));
        }
        Ok(OtaSettings {
            window_start_s,
            window_len_s,
            force_spread_s: self.get("ota_force_spread_s", 300)?,
            allowed_hosts: self.get("ota_allowed_hosts", Vec::new())?,
            max_bytes: self.get("ota_max_bytes", 256 * 1024 * 1024)?,
            only_newer: self.get("ota_only_newer", false)?,
            force_holds_reports: self.get("ota_force_holds_reports", false)?,
        })
    }

    fn nothing_left(&self) -> Result<(), SettingsError> {
        match self.0.keys().next() {
            Some(key) => Err(SettingsError::Unknown { key: key.clone() }),
            None => Ok(()),
        }
    }
}

fn unfit(key: &'static str, found: impl fmt::Display) -> SettingsError {
    SettingsError::Unfit { key, found: found.to_string() }
}

fn known_keys() -> String {
    KEYS.join(", ")
}

/// Seconds after midnight of `HH:MM`.
fn parse_time_of_day(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    let digits = |text: &str| text.len() == 2 && text.bytes().all(|digit| digit.is_ascii_digit());
    if !digits(hours) || !digits(minutes) {
        return None;
    }
    let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then_some(hours * 3600 + minutes * 60)
}

/// Where production endpoints are asked for (Deli access document, access environments).
const DISCOVERY_URL: &str = "http://d.delicloud.com/access_list";
/// Longest product type, model, serial or command name (not documented; chosen by us: above every limit of later texts).
const LONGEST_NAME: usize = 128;
/// Seconds of a day.
const DAY_S: u32 = 86_400;

#[cfg(test)]
mod tests;
