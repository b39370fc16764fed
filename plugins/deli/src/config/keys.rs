//! Reads the settings key by key, so that each error names its key.

use std::fmt;

use polylink_plugin_sdk::secret::Secret;
use polylink_plugin_sdk::url::Endpoint;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Access, Authentication, HexCase, OtaSettings, SettingsError};
use crate::auth::{production_endpoint, test_endpoint};

/// The keys not read yet.
pub struct Keys(Map<String, Value>);

impl Keys {
    /// All keys of an object.
    pub const fn new(keys: Map<String, Value>) -> Self {
        Self(keys)
    }

    /// A key that may be absent or null.
    pub fn optional<T: DeserializeOwned>(&mut self, key: &'static str) -> Result<Option<T>, SettingsError> {
        match self.0.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value).map(Some).map_err(|error| unfit(key, error)),
        }
    }

    pub fn get<T: DeserializeOwned>(&mut self, key: &'static str, default: T) -> Result<T, SettingsError> {
        Ok(self.optional(key)?.unwrap_or(default))
    }

    pub fn optional_text(&mut self, key: &'static str) -> Result<Option<String>, SettingsError> {
        Ok(self.optional::<String>(key)?.filter(|text| !text.is_empty()))
    }

    /// Serde's error would show the value.
    pub fn secret(&mut self, key: &'static str) -> Result<Option<Secret<String>>, SettingsError> {
        match self.0.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(Secret::new(text))),
            Some(_) => Err(unfit(key, "expected a text")),
        }
    }

    /// A part of MQTT topics.
    pub fn name(&mut self, key: &'static str, wanted: &'static str) -> Result<String, SettingsError> {
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

    pub fn serial(&mut self, module_serial: &str) -> Result<String, SettingsError> {
        const WANTED: &str = "the serial number of this device, and the module knows none either";
        if !self.0.contains_key("serial") && !module_serial.is_empty() {
            self.0.insert("serial".into(), Value::String(module_serial.to_owned()));
        }
        self.name("serial", WANTED)
    }

    pub fn command(&mut self, key: &'static str, default: &str) -> Result<String, SettingsError> {
        let command = self.get(key, default.to_owned())?;
        if command.is_empty() || command.len() > LONGEST_NAME {
            return Err(unfit(key, format!("expected 1 to {LONGEST_NAME} characters")));
        }
        Ok(command)
    }

    pub fn authentication(&mut self) -> Result<Authentication, SettingsError> {
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

    pub fn access(&mut self) -> Result<Access, SettingsError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Environment {
            Production,
            Test,
        }
        let environment = self.get("environment", Environment::Production)?;
        let broker_url = self.optional_text("broker_url")?;
        let discovery_url = self.get("discovery_url", DISCOVERY_URL.to_owned())?;
        let fallback = self.get("fallback_url", production_endpoint().to_string())?;
        let fallback = Endpoint::parse(&fallback).map_err(|error| unfit("fallback_url", error))?;
        if let Some(address) = broker_url {
            return Ok(Access::Fixed(Endpoint::parse(&address).map_err(|error| unfit("broker_url", error))?));
        }
        if matches!(environment, Environment::Test) {
            return Ok(Access::Fixed(test_endpoint()));
        }
        if discovery_url.is_empty() {
            return Ok(Access::Fixed(fallback));
        }
        if !discovery_url.starts_with("http://") && !discovery_url.starts_with("https://") {
            return Err(unfit("discovery_url", "expected http://… or https://…, or an empty text for no discovery"));
        }
        Ok(Access::Discovered { url: discovery_url, fallback })
    }

    pub fn ota(&mut self) -> Result<OtaSettings, SettingsError> {
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
            only_newer: self.get("ota_only_newer", false)?,
            force_holds_reports: self.get("ota_force_holds_reports", true)?,
            target: self.optional("ota_target")?,
        })
    }

    pub fn nothing_left(&self) -> Result<(), SettingsError> {
        match self.0.keys().next() {
            Some(key) => Err(SettingsError::Unknown { key: key.clone() }),
            None => Ok(()),
        }
    }
}

/// A key whose value does not fit.
pub fn unfit(key: &'static str, found: impl fmt::Display) -> SettingsError {
    SettingsError::Unfit { key, found: found.to_string() }
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
pub const DISCOVERY_URL: &str = "http://d.delicloud.com/access_list";
/// Longest product type, model, serial or command name (not documented; chosen by us: above every limit of later texts).
const LONGEST_NAME: usize = 128;
/// Seconds of a day.
const DAY_S: u32 = 86_400;
