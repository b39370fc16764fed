//! The settings of one Deli cloud instance: JSON in, precise types out.
//!
//! Invariant: a [`Settings`] that exists can be used; nobody checks it again. `settings.schema.json` describes the same
//! keys for tools and people, and a test holds both together.

mod keys;

use std::collections::BTreeSet;

use polylink_plugin_sdk::secret::Secret;
use polylink_plugin_sdk::url::Endpoint;
use serde::Deserialize;
use serde_json::{Map, Value};

use keys::{Keys, unfit};

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
    /// Asked for.
    Discovered {
        /// At this address.
        url: String,
        /// What is used if that fails.
        fallback: Endpoint,
    },
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
    /// Refuse versions that are not newer.
    pub only_newer: bool,
    /// Hold business messages while a forced upgrade is due.
    pub force_holds_reports: bool,
    /// Whose firmware the platform offers; `None`: that of the MCU if it tells a version, else the module's.
    pub target: Option<OtaTarget>,
}

/// Whose firmware the platform offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OtaTarget {
    /// The module's.
    Module,
    /// The MCU's.
    Mcu,
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
        let mut keys = Keys::new(keys);
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
    "fallback_url",
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
    "ota_only_newer",
    "ota_force_holds_reports",
    "ota_target",
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

fn known_keys() -> String {
    KEYS.join(", ")
}

#[cfg(test)]
mod tests;
