//! The settings of one Lierda cloud instance: JSON in, precise types out.
//!
//! Invariant: a [`Settings`] that exists can be used; nobody checks it again. `settings.schema.json` describes the same
//! keys for tools and people, and a test holds both together.

use std::collections::BTreeMap;

use polylink_plugin_sdk::secret::Secret;
use polylink_plugin_sdk::services::module::Facts;
use polylink_plugin_sdk::services::ota::Target;
use polylink_plugin_sdk::thing_model::ThingModel;
use polylink_plugin_sdk::url::Endpoint;
use polylink_plugin_sdk::{Fault, settings};
use serde::Deserialize;

use crate::auth::{AuthType, ConnectType, Identity};
use crate::cipher::{Key, SessionContent};
use crate::frame::MessageIdType;
use crate::ota::{DownIdIn, MAIN_MODULE, OtaSettings};
use crate::topics::{self, PassthroughAckTopic, ProductKind};

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the broker is.
    pub broker: Endpoint,
    /// PEM certificates to trust at a TLS endpoint.
    pub tls_ca: Option<String>,
    /// Who the device is.
    pub identity: Identity,
    /// Secret of the product, exactly as it was assigned.
    pub product_key: Secret<String>,
    /// The same as a key.
    pub product_cipher_key: Key,
    /// Secret of the device, where it was burnt in.
    pub device_secret: Option<Secret<String>>,
    /// How the device was provisioned.
    pub auth_type: AuthType,
    /// Payloads are encrypted.
    pub encrypted: bool,
    /// What the product speaks.
    pub product_kind: ProductKind,
    /// Whether the platform checks the time of the connection.
    pub connect_type: ConnectType,
    /// Authenticate at each start, also where nothing is missing.
    pub auth_every_start: bool,
    /// JSON type of the message ids that the device makes.
    pub message_id_type: MessageIdType,
    /// Subscribe to the wildcard of the platform.
    pub use_plus_wildcard: bool,
    /// Where passthrough downlinks are acknowledged.
    pub passthrough_ack_topic: PassthroughAckTopic,
    /// What the `data` of a passthrough message is to a device that speaks raw.
    pub passthrough_data: PassthroughData,
    /// What an encrypted product encrypts.
    pub encrypt_scope: EncryptScope,
    /// What is encrypted of a HEX payload.
    pub hex_encrypt_input: HexEncryptInput,
    /// What session keys are made of.
    pub session_content: SessionContent,
    /// By which secret session keys are made.
    pub session_key_source: SessionKeySource,
    /// How HEX payloads go up.
    pub hex_uplink: HexUplink,
    /// How a full HEX message is written.
    pub full_hex_format: FullHexFormat,
    /// Lua source that converts between the product's datapoints and its HEX payloads.
    pub script: Option<String>,
    /// Where the download id goes.
    pub down_id_in: DownIdIn,
    /// Which images are taken.
    pub ota: OtaSettings,
    /// Modules whose firmware is told, and what their version is.
    pub modules: BTreeMap<String, VersionOf>,
    /// Properties, by their name at this cloud, that are read and written as settings.
    pub config_properties: Vec<String>,
    /// The platform may move the device to another broker.
    pub allow_broker_change: bool,
    /// Reports older than this are history.
    pub history_after_ms: i64,
    /// When a report counts as delivered.
    pub uplink_acks: UplinkAcks,
    /// QoS of publications and subscriptions.
    pub qos: u8,
    /// MQTT keep-alive.
    pub keepalive_s: u16,
    /// MQTT clean session flag.
    pub clean_session: bool,
    /// Time for the platform's answer to an authentication request.
    pub auth_timeout_ms: u64,
    /// Pause between attempts while the configuration is at fault.
    pub fatal_retry_ms: u64,
}

/// What the `data` of a passthrough message is to a device that speaks raw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PassthroughData {
    /// Hexadecimal digits.
    #[default]
    Hex,
    /// The bytes of the text.
    Text,
}

/// What an encrypted product encrypts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EncryptScope {
    /// What applications see.
    #[default]
    AppData,
    /// Also firmware and settings reports and all acknowledgements.
    All,
}

/// What is encrypted of a HEX payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HexEncryptInput {
    /// Its digits.
    #[default]
    Utf8Text,
    /// The bytes they mean.
    RawBytes,
}

/// By which secret session keys are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionKeySource {
    /// The product key.
    #[default]
    ProductKey,
    /// The device secret.
    DeviceSecret,
}

/// How HEX payloads go up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HexUplink {
    /// In the usual envelope.
    #[default]
    Framed,
    /// Nothing but the payload.
    Full,
}

/// How a full HEX message is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FullHexFormat {
    /// Digits in quotes.
    #[default]
    JsonString,
    /// Digits.
    BareText,
    /// Bytes.
    Binary,
}

/// When a report counts as delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UplinkAcks {
    /// When the platform says so.
    #[default]
    Platform,
    /// When the broker says so.
    Broker,
}

/// Whose version a module of the platform has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VersionOf {
    /// The MCU's if it is known, else the module's.
    Device,
    /// The MCU's.
    Mcu,
    /// The Wi-Fi module's.
    Module,
}

impl VersionOf {
    /// Hardware and software version; empty: not known.
    #[must_use]
    pub fn versions(self, facts: &Facts) -> (&str, &str) {
        match self {
            Self::Device if facts.mcu_software.is_empty() => Self::Module.versions(facts),
            Self::Device | Self::Mcu => (&facts.mcu_hardware, &facts.mcu_software),
            Self::Module => (&facts.module_hardware, &facts.module_software),
        }
    }

    /// Whose firmware is ordered for it.
    #[must_use]
    pub const fn target(self, facts: &Facts) -> Target {
        match self {
            Self::Device if facts.mcu_software.is_empty() => Target::Module,
            Self::Device | Self::Mcu => Target::Mcu,
            Self::Module => Target::Module,
        }
    }
}

impl Settings {
    /// Reads settings for this product. `module_serial` stands in for a missing `node_eui`; empty: not known.
    ///
    /// # Errors
    /// A key is missing, unknown or wrong; the fault names it and never shows a secret.
    pub fn parse(json: &str, module_serial: &str, model: &ThingModel) -> Result<Self, Fault> {
        let keys: Keys = settings::parse(json)?;
        let broker = Endpoint::parse(&keys.broker_url)
            .map_err(|error| Fault::settings(format!("settings.broker_url: {error}")))?;
        let identity = keys.identity(module_serial)?;
        let product_cipher_key = Key::from_hex(keys.product_key.expose())
            .ok_or_else(|| unfit("product_key", "the 32 hexadecimal digits that the platform assigned"))?;
        let device_secret = keys.device_secret.filter(|secret| !secret.expose().is_empty());
        if device_secret.as_ref().is_some_and(|secret| !Identity::key_ok(secret.expose())) {
            return Err(unfit("device_secret", "the 32 hexadecimal digits that the platform assigned"));
        }
        if keys.auth_type == AuthType::SecretPerDevice && device_secret.is_none() {
            return Err(unfit("device_secret", "the secret of this device, which auth_type 2 needs"));
        }
        if keys.qos > 2 {
            return Err(unfit("qos", "0, 1 or 2"));
        }
        let waits = [
            ("auth_timeout_s", keys.auth_timeout_s),
            ("fatal_retry_s", keys.fatal_retry_s),
            ("history_after_s", keys.history_after_s),
        ];
        if let Some((key, _)) = waits.iter().find(|(_, seconds)| !(1..=MOST_WAIT_S).contains(seconds)) {
            return Err(unfit(key, "1 to 86400 seconds"));
        }
        if !(1..=MOST_BYTES).contains(&keys.ota_max_bytes) {
            return Err(unfit("ota_max_bytes", "1 to 1099511627776 bytes"));
        }
        let modules = modules(keys.modules)?;
        let unknown = keys.config_properties.iter().find(|name| model.property_of_cloud(name).is_none());
        if let Some(name) = unknown {
            return Err(Fault::settings(format!("settings.config_properties: the product has no property `{name}`")));
        }
        if let Some(name) = keys.config_properties.iter().find(|name| [HOST, PORT].contains(&name.as_str())) {
            return Err(Fault::settings(format!("settings.config_properties: `{name}` is the broker's at this cloud")));
        }
        let script = keys.script.filter(|source| !source.trim().is_empty());
        if script.is_some() && keys.product_kind != ProductKind::Hex {
            return Err(unfit("script", "a script only where product_kind is `hex`"));
        }
        if keys.product_kind == ProductKind::Hex && script.is_none() && !model.raw {
            return Err(unfit(
                "script",
                "the product's conversion script: product_kind is `hex` and the product is not `raw`",
            ));
        }
        check_names(model)?;
        Ok(Self {
            broker,
            tls_ca: keys.tls_ca.filter(|pem| !pem.is_empty()),
            identity,
            product_key: keys.product_key,
            product_cipher_key,
            device_secret,
            auth_type: keys.auth_type,
            encrypted: keys.encrypted,
            product_kind: keys.product_kind,
            connect_type: keys.connect_type,
            auth_every_start: keys.auth_every_start,
            message_id_type: keys.message_id_type,
            use_plus_wildcard: keys.use_plus_wildcard,
            passthrough_ack_topic: keys.passthrough_ack_topic,
            passthrough_data: keys.passthrough_data,
            encrypt_scope: keys.encrypt_scope,
            hex_encrypt_input: keys.hex_encrypt_input,
            session_content: keys.session_content,
            session_key_source: keys.session_key_source,
            hex_uplink: keys.hex_uplink,
            full_hex_format: keys.full_hex_format,
            script,
            down_id_in: keys.down_id_in,
            ota: OtaSettings {
                allowed_hosts: keys.ota_allowed_hosts,
                max_bytes: keys.ota_max_bytes,
                require_md5: keys.ota_require_md5,
            },
            modules,
            config_properties: keys.config_properties,
            allow_broker_change: keys.allow_broker_change,
            history_after_ms: i64::from(keys.history_after_s) * 1000,
            uplink_acks: keys.uplink_acks,
            qos: keys.qos,
            keepalive_s: keys.keepalive_s,
            clean_session: keys.clean_session,
            auth_timeout_ms: u64::from(keys.auth_timeout_s) * 1000,
            fatal_retry_ms: u64::from(keys.fatal_retry_s) * 1000,
        })
    }

    /// True if this payload of ours is encrypted in an encrypted product (Lierda access protocol, our reading: 7.3).
    #[must_use]
    pub fn encrypts(&self, content: Content) -> bool {
        self.encrypted
            && match content {
                Content::Never => false,
                Content::Application => true,
                Content::Management => self.encrypt_scope == EncryptScope::All,
            }
    }
}

/// What kind of payload it is, as far as encryption goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Authentication and time.
    Never,
    /// Reports, events, history, service results.
    Application,
    /// Firmware, settings, acknowledgements.
    Management,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    broker_url: String,
    #[serde(default)]
    tls_ca: Option<String>,
    open_id: String,
    product_id: String,
    product_key: Secret<String>,
    #[serde(default)]
    node_eui: Option<String>,
    #[serde(default)]
    device_secret: Option<Secret<String>>,
    #[serde(default)]
    auth_type: AuthType,
    #[serde(default)]
    encrypted: bool,
    #[serde(default)]
    product_kind: ProductKind,
    #[serde(default)]
    connect_type: ConnectType,
    #[serde(default)]
    auth_every_start: bool,
    #[serde(default)]
    message_id_type: MessageIdType,
    #[serde(default)]
    use_plus_wildcard: bool,
    #[serde(default)]
    passthrough_ack_topic: PassthroughAckTopic,
    #[serde(default)]
    passthrough_data: PassthroughData,
    #[serde(default)]
    encrypt_scope: EncryptScope,
    #[serde(default)]
    hex_encrypt_input: HexEncryptInput,
    #[serde(default)]
    session_content: SessionContent,
    #[serde(default)]
    session_key_source: SessionKeySource,
    #[serde(default)]
    hex_uplink: HexUplink,
    #[serde(default)]
    full_hex_format: FullHexFormat,
    #[serde(default)]
    script: Option<String>,
    #[serde(default)]
    down_id_in: DownIdIn,
    #[serde(default = "yes")]
    ota_require_md5: bool,
    #[serde(default)]
    ota_allowed_hosts: Vec<String>,
    #[serde(default = "ota_max_bytes")]
    ota_max_bytes: u64,
    #[serde(default)]
    modules: BTreeMap<String, VersionOf>,
    #[serde(default)]
    config_properties: Vec<String>,
    #[serde(default)]
    allow_broker_change: bool,
    #[serde(default = "history_after_s")]
    history_after_s: u32,
    #[serde(default)]
    uplink_acks: UplinkAcks,
    #[serde(default = "qos")]
    qos: u8,
    #[serde(default = "keepalive_s")]
    keepalive_s: u16,
    #[serde(default = "yes")]
    clean_session: bool,
    #[serde(default = "auth_timeout_s")]
    auth_timeout_s: u32,
    #[serde(default = "fatal_retry_s")]
    fatal_retry_s: u32,
}

impl Keys {
    fn identity(&self, module_serial: &str) -> Result<Identity, Fault> {
        let node_eui = match self.node_eui.as_deref() {
            None | Some("") if module_serial.is_empty() => {
                return Err(unfit(
                    "node_eui",
                    "the number of this device, and the module knows no serial number either",
                ));
            }
            None | Some("") => module_serial,
            Some(node_eui) => node_eui,
        };
        if !Identity::open_id_ok(&self.open_id) {
            return Err(unfit("open_id", "8 hexadecimal digits such as 7ED01E2A"));
        }
        if !Identity::product_id_ok(&self.product_id) {
            return Err(unfit("product_id", "8 hexadecimal digits such as AA30C505"));
        }
        if !Identity::node_eui_ok(node_eui) {
            return Err(Fault::settings(format!(
                "settings.node_eui: expected 4 to 32 letters and digits, not `{node_eui}`"
            )));
        }
        Ok(Identity {
            open_id: self.open_id.clone(),
            product_id: self.product_id.clone(),
            node_eui: node_eui.to_owned(),
        })
    }
}

fn modules(modules: BTreeMap<String, VersionOf>) -> Result<BTreeMap<String, VersionOf>, Fault> {
    if modules.is_empty() {
        return Ok(BTreeMap::from([(MAIN_MODULE.to_owned(), VersionOf::Device)]));
    }
    if modules.len() > MODULES_MOST {
        return Err(unfit("modules", "at most 16 modules"));
    }
    match modules.keys().find(|name| name.is_empty() || name.len() > LONGEST_MODULE) {
        Some(_) => Err(unfit("modules", "names of 1 to 64 bytes")),
        None => Ok(modules),
    }
}

/// Names that become parts of topics.
fn check_names(model: &ThingModel) -> Result<(), Fault> {
    let events = model.events.iter().map(|event| ("event", &event.cloud_name));
    let actions = model.actions.iter().map(|action| ("action", &action.cloud_name));
    for (kind, name) in events.chain(actions) {
        if !topics::identifier_ok(name) {
            return Err(Fault::product(format!(
                "the {kind} `{name}` cannot be part of a topic of this cloud, because of `/`, `+` or `#`; name it \
                 otherwise for this cloud"
            )));
        }
    }
    Ok(())
}

fn unfit(key: &str, wanted: &str) -> Fault {
    Fault::settings(format!("settings.{key}: expected {wanted}"))
}

const fn yes() -> bool {
    true
}

/// Not documented; chosen by us.
const fn qos() -> u8 {
    1
}

/// Not documented; chosen by us.
const fn keepalive_s() -> u16 {
    60
}

/// Not documented; chosen by us: what is a minute old is no news to who looks at the device now.
const fn history_after_s() -> u32 {
    60
}

/// Not documented; chosen by us.
const fn auth_timeout_s() -> u32 {
    10
}

/// Not documented; chosen by us.
const fn fatal_retry_s() -> u32 {
    3600
}

/// Not documented; chosen by us.
const fn ota_max_bytes() -> u64 {
    256 * 1024 * 1024
}

/// Not documented; chosen by us.
const MODULES_MOST: usize = 16;
/// Not documented; chosen by us.
const LONGEST_MODULE: usize = 64;
/// What the platform calls the broker among the settings (Lierda access protocol 4.5.2).
pub const HOST: &str = "Host";
/// The same for its port.
pub const PORT: &str = "Port";
/// A day.
const MOST_WAIT_S: u32 = 86_400;
/// A terabyte.
const MOST_BYTES: u64 = 1 << 40;

/// The JSON Schema of the settings.
pub const SCHEMA: &str = include_str!("../settings.schema.json");

#[cfg(test)]
mod tests;
