//! The `[cloud.<name>.settings]` of this plugin, as precise types.

use polylink_plugin_sdk::secret::Secret;
use polylink_plugin_sdk::services::{Tls, mqtt};
use polylink_plugin_sdk::{Fault, settings};
use serde::Deserialize;

use crate::topics::Topics;

/// How to reach the broker, and under which topics.
#[derive(Clone, Debug)]
pub struct Config {
    /// The connection to ask for.
    pub connect: mqtt::Connect,
    /// The names of the topics.
    pub topics: Topics,
}

impl Config {
    /// Reads the settings of the instance `name`.
    ///
    /// # Errors
    /// A key is missing, unknown or wrong; the fault says which.
    pub fn parse(name: &str, json: &str) -> Result<Self, Fault> {
        let settings: Settings = settings::parse(json)?;
        let client_id = settings.client_id.unwrap_or_else(|| name.to_owned());
        for (key, level) in [("prefix", &settings.prefix), ("client_id", &client_id)] {
            if level.is_empty() || level.contains(['+', '#', '/', '\0']) {
                let text = format!("settings: `{key}` takes one level of an MQTT topic, without + # /, not `{level}`");
                return Err(Fault::settings(text));
            }
        }
        let topics = Topics::new(&settings.prefix, &client_id);
        let tls = settings.tls.then(|| Tls { ca_pem: settings.ca_pem, ..Tls::default() });
        let connect = mqtt::Connect {
            host: settings.host,
            port: settings.port.unwrap_or(if tls.is_some() { PORT_TLS } else { PORT_PLAIN }),
            tls,
            client_id,
            username: settings.username,
            password: settings.password.map(|password| Secret::new(password.expose().clone().into_bytes())),
            clean_session: false,
            keepalive_s: KEEPALIVE_S,
            ..mqtt::Connect::default()
        };
        Ok(Self { connect, topics })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    host: String,
    port: Option<u16>,
    #[serde(default = "yes")]
    tls: bool,
    ca_pem: Option<String>,
    client_id: Option<String>,
    username: Option<String>,
    password: Option<Secret<String>>,
    #[serde(default = "prefix")]
    prefix: String,
}

const fn yes() -> bool {
    true
}

fn prefix() -> String {
    "polylink".to_owned()
}

/// IANA service name registry: `secure-mqtt`.
const PORT_TLS: u16 = 8883;

/// IANA service name registry: `mqtt`.
const PORT_PLAIN: u16 = 1883;

/// Not documented; chosen by us: shorter than the five minutes after which home routers forget a connection.
const KEEPALIVE_S: u16 = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, port: u16, topic: &str) {
        let config = Config::parse("lamp", json).expect("the settings are right");
        assert_eq!((config.connect.port, config.topics.report.as_str()), (port, topic));
    }

    #[track_caller]
    fn check_refused(json: &str, says: &str) {
        let fault = Config::parse("lamp", json).expect_err("the settings are wrong");
        assert_eq!(fault.message, says);
    }

    #[test]
    fn what_is_not_given_has_a_default() {
        check(r#"{"host":"b"}"#, 8883, "polylink/lamp/report");
        check(r#"{"host":"b","tls":false}"#, 1883, "polylink/lamp/report");
        check(r#"{"host":"b","port":7,"prefix":"home","client_id":"x"}"#, 7, "home/x/report");
    }

    #[test]
    fn a_wrong_setting_is_named() {
        check_refused("{}", "settings: missing field `host`");
        check_refused(r#"{"host":"b","port":"x"}"#, "settings: `port` takes u16");
        check_refused(
            r#"{"host":"b","prefix":"a/#"}"#,
            "settings: `prefix` takes one level of an MQTT topic, without + # /, not `a/#`",
        );
    }

    #[test]
    fn the_schema_names_the_settings_that_are_read() {
        let schema: serde_json::Value = serde_json::from_str(crate::INFO.settings_schema).expect("it is JSON");
        let named: Vec<_> = schema["properties"].as_object().expect("it has properties").keys().collect();
        let fault = Config::parse("lamp", r#"{"host":"b","nothing":1}"#).expect_err("there is no such setting");
        let n_read = fault.message.matches('`').count() / 2 - 1;
        assert_eq!(named.len(), n_read);
        for name in named {
            assert!(fault.message.contains(&format!("`{name}`")), "{name} is not read");
        }
    }

    #[test]
    fn the_password_is_not_shown() {
        let config = Config::parse("lamp", r#"{"host":"b","password":"hunter2"}"#).expect("the settings are right");
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
