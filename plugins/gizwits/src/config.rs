//! The `[cloud.<name>.settings]` of this plugin, as precise types.

use polylink_plugin_sdk::services::Tls;
use polylink_plugin_sdk::{Fault, settings};
use serde::Deserialize;

use crate::auth::Mac;
use crate::lan::LanSettings;

/// Where the cloud is and how the device presents itself.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address of the HTTP interface, without a slash at its end.
    pub api_url: String,
    /// Hardware address that the device registers with; none: that of the first interface that has one.
    pub mac: Option<Mac>,
    /// 3 for MQTT 3.1, 4 for 3.1.1.
    pub protocol_level: u8,
    /// The M2M server is reached by TLS on this port, not on the one that the cloud names.
    pub m2m_tls_port: Option<u16>,
    /// PEM certificates to trust instead of the usual ones.
    pub ca_pem: Option<String>,
    /// The datapoint file of the product, where the product file does not name it.
    pub datapoints: Option<String>,
    /// Ask for firmware after each start.
    pub check_updates: bool,
    /// Ask for a restart of the module when the M2M server could not be reached for two hours.
    pub restart_module: bool,
    /// The local network.
    pub lan: LanSettings,
    /// The API server, host and port, where it is told in discovery and announcements.
    pub told_server: Option<String>,
}

impl Settings {
    /// Reads the settings.
    ///
    /// # Errors
    /// A key is unknown or wrong; the fault says which.
    pub fn parse(json: &str) -> Result<Self, Fault> {
        let keys: Keys = settings::parse(json)?;
        let api_url = keys.api_url.trim_end_matches('/').to_owned();
        let host = api_url.strip_prefix("http://").or_else(|| api_url.strip_prefix("https://"));
        if host.is_none_or(|host| host.is_empty() || host.contains(['/', '?', '#', ' '])) {
            return Err(unfit("api_url", "http:// or https://, a host and perhaps a port", &keys.api_url));
        }
        let mac = match keys.mac.as_deref() {
            None | Some("") => None,
            Some(text) => {
                let mac = Mac::parse(text).ok().filter(|mac| mac.0 != [0; 6]);
                Some(mac.ok_or_else(|| unfit("mac", "12 hexadecimal digits such as 02005E102030", text))?)
            }
        };
        let protocol_level = match keys.mqtt_version.as_str() {
            "3.1" => 3,
            "3.1.1" => 4,
            other => return Err(unfit("mqtt_version", "3.1 or 3.1.1", other)),
        };
        Ok(Self {
            told_server: keys.lan.tell_server.then(|| server(&api_url)),
            api_url,
            mac,
            protocol_level,
            m2m_tls_port: keys.m2m_tls.then_some(keys.m2m_tls_port),
            ca_pem: keys.ca_pem,
            datapoints: keys.datapoints,
            check_updates: keys.check_updates,
            restart_module: keys.restart_module,
            lan: keys.lan.checked()?,
        })
    }

    /// Whom to trust.
    #[must_use]
    pub fn tls(&self) -> Tls {
        Tls { ca_pem: self.ca_pem.clone(), ..Tls::default() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Keys {
    api_url: String,
    mac: Option<String>,
    mqtt_version: String,
    m2m_tls: bool,
    m2m_tls_port: u16,
    ca_pem: Option<String>,
    datapoints: Option<String>,
    check_updates: bool,
    restart_module: bool,
    lan: LanKeys,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            api_url: API_URL.to_owned(),
            mac: None,
            mqtt_version: "3.1".to_owned(),
            m2m_tls: false,
            m2m_tls_port: TLS_PORT,
            ca_pem: None,
            datapoints: None,
            check_updates: true,
            restart_module: true,
            lan: LanKeys::default(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LanKeys {
    enabled: bool,
    address: String,
    tcp_port: u16,
    udp_port: u16,
    announce_port: u16,
    announce_to: Vec<String>,
    max_clients: u16,
    silence_s: u16,
    log: bool,
    tell_server: bool,
}

impl Default for LanKeys {
    fn default() -> Self {
        let LanSettings {
            enabled,
            address,
            udp_port,
            tcp_port,
            announce_port,
            announce_to,
            max_clients,
            silence_ms,
            log,
        } = LanSettings::default();
        let silence_s = u16::try_from(silence_ms / 1000).unwrap_or(u16::MAX);
        Self {
            enabled,
            address,
            tcp_port,
            udp_port,
            announce_port,
            announce_to,
            max_clients,
            silence_s,
            log,
            tell_server: false,
        }
    }
}

impl LanKeys {
    fn checked(self) -> Result<LanSettings, Fault> {
        if !self.address.is_empty() && self.address.parse::<core::net::Ipv4Addr>().is_err() {
            return Err(unfit("lan.address", "an IPv4 address of this module, or nothing for all", &self.address));
        }
        if let Some(wrong) = self.announce_to.iter().find(|to| to.parse::<core::net::SocketAddrV4>().is_err()) {
            return Err(unfit("lan.announce_to", "addresses with ports such as 192.0.2.255:2415", wrong));
        }
        if self.announce_to.len() > ANNOUNCE_TO_MAX {
            let found = format!("{} addresses", self.announce_to.len());
            return Err(unfit("lan.announce_to", &format!("at most {ANNOUNCE_TO_MAX} addresses"), &found));
        }
        if !(1..=CLIENTS_MOST).contains(&self.max_clients) {
            return Err(unfit("lan.max_clients", &format!("1 to {CLIENTS_MOST}"), &self.max_clients.to_string()));
        }
        if self.silence_s == 0 {
            return Err(unfit("lan.silence_s", "1 or more seconds", "0"));
        }
        Ok(LanSettings {
            enabled: self.enabled,
            address: self.address,
            udp_port: self.udp_port,
            tcp_port: self.tcp_port,
            announce_port: self.announce_port,
            announce_to: self.announce_to,
            max_clients: self.max_clients,
            silence_ms: u64::from(self.silence_s) * 1000,
            log: self.log,
        })
    }
}

fn unfit(key: &str, wanted: &str, found: &str) -> Fault {
    Fault::settings(format!("settings: `{key}` takes {wanted}, not `{found}`"))
}

/// Host and port of an address that was checked.
fn server(api_url: &str) -> String {
    let (scheme, host) = api_url.split_once("://").unwrap_or_default();
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|digit| digit.is_ascii_digit()));
    let port = if scheme == "https" { 443 } else { 80 };
    if has_port { host.to_owned() } else { format!("{host}:{port}") }
}

/// The JSON Schema of the settings.
pub const SCHEMA: &str = include_str!("../settings.schema.json");

/// The vendor's HTTP interface for mainland China (Gizwits device and cloud protocol 4.0.2).
const API_URL: &str = "http://api.gizwits.com";
/// IANA service name registry: `secure-mqtt`. The cloud names only the port of plain connections.
const TLS_PORT: u16 = 8883;
/// Not documented; chosen by us: with the cloud's connection and the two sockets this leaves half of an instance's
/// handles free.
const CLIENTS_MOST: u16 = 16;
/// Not documented; chosen by us: a module has few networks.
const ANNOUNCE_TO_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(json: &str, says: &str) {
        assert_eq!(Settings::parse(json).expect_err("the settings are wrong").message, says);
    }

    #[test]
    fn without_settings_the_device_goes_where_the_vendor_says() {
        let settings = Settings::parse("{}").expect("nothing is required");
        assert_eq!(settings.api_url, "http://api.gizwits.com");
        assert_eq!((settings.mac, settings.protocol_level, settings.m2m_tls_port), (None, 3, None));
        assert_eq!((settings.lan.tcp_port, settings.lan.udp_port, settings.lan.announce_port), (12416, 12414, 2415));
        assert_eq!((settings.lan.max_clients, settings.lan.silence_ms, settings.lan.log), (8, 12_000, false));
        assert!(settings.check_updates && settings.restart_module && settings.lan.enabled);
    }

    #[test]
    fn what_is_given_is_taken() {
        let json = r#"{"api_url":"https://usapi.gizwits.com:443/","mac":"02:00:5e:10:20:30","mqtt_version":"3.1.1",
            "m2m_tls":true,"lan":{"enabled":false,"announce_to":["192.0.2.255:2415"]}}"#;
        let settings = Settings::parse(json).expect("the settings are right");
        assert_eq!(settings.api_url, "https://usapi.gizwits.com:443");
        assert_eq!(settings.mac, Some(Mac([0x02, 0x00, 0x5E, 0x10, 0x20, 0x30])));
        assert_eq!((settings.protocol_level, settings.m2m_tls_port), (4, Some(8883)));
        assert_eq!(
            (settings.lan.enabled, settings.lan.announce_to.as_slice()),
            (false, &["192.0.2.255:2415".to_owned()][..])
        );
    }

    #[track_caller]
    fn check_told(api_url: &str, told: &str) {
        let json = serde_json::json!({"api_url": api_url, "lan": {"tell_server": true}}).to_string();
        assert_eq!(Settings::parse(&json).expect("the settings are right").told_server.as_deref(), Some(told));
    }

    #[test]
    fn the_server_is_told_with_its_port_where_that_is_wanted() {
        assert_eq!(Settings::parse("{}").expect("nothing is required").told_server, None);
        check_told("http://api.gizwits.com", "api.gizwits.com:80");
        check_told("https://api.gizwits.com/", "api.gizwits.com:443");
        check_told("http://192.0.2.1:8080", "192.0.2.1:8080");
    }

    #[test]
    fn a_wrong_setting_is_named_with_what_it_takes() {
        check_refused(
            r#"{"api_url":"api.gizwits.com"}"#,
            "settings: `api_url` takes http:// or https://, a host and perhaps a port, not `api.gizwits.com`",
        );
        check_refused(
            r#"{"mac":"02005E1020"}"#,
            "settings: `mac` takes 12 hexadecimal digits such as 02005E102030, not `02005E1020`",
        );
        check_refused(
            r#"{"mac":"000000000000"}"#,
            "settings: `mac` takes 12 hexadecimal digits such as 02005E102030, not `000000000000`",
        );
        check_refused(r#"{"mqtt_version":"5"}"#, "settings: `mqtt_version` takes 3.1 or 3.1.1, not `5`");
        check_refused(r#"{"m2m_tls_port":70000}"#, "settings: `m2m_tls_port` takes u16");
        check_refused(r#"{"lan":{"max_clients":17}}"#, "settings: `lan.max_clients` takes 1 to 16, not `17`");
        check_refused(r#"{"lan":{"silence_s":0}}"#, "settings: `lan.silence_s` takes 1 or more seconds, not `0`");
        check_refused(
            r#"{"lan":{"address":"eth0"}}"#,
            "settings: `lan.address` takes an IPv4 address of this module, or nothing for all, not `eth0`",
        );
        check_refused(
            r#"{"lan":{"announce_to":["192.0.2.255"]}}"#,
            "settings: `lan.announce_to` takes addresses with ports such as 192.0.2.255:2415, not `192.0.2.255`",
        );
    }

    #[test]
    fn the_schema_names_the_settings_that_are_read() {
        let schema: serde_json::Value = serde_json::from_str(SCHEMA).expect("it is JSON");
        let lan = &schema["properties"]["lan"];
        for (object, within) in [(&schema, r#"{"nothing":1}"#), (lan, r#"{"lan":{"nothing":1}}"#)] {
            let named: Vec<_> = object["properties"].as_object().expect("it has properties").keys().collect();
            let fault = Settings::parse(within).expect_err("there is no such setting");
            let read = fault.message.split("expected one of ").nth(1).expect("serde lists the keys");
            let read: Vec<_> = read.split(" in or beside").next().unwrap_or_default().split(", ").collect();
            assert_eq!(named.len(), read.len(), "{read:?}");
            for name in named {
                assert!(read.contains(&format!("`{name}`").as_str()), "{name} is not read: {read:?}");
            }
        }
    }
}
