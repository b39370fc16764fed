//! The settings of one Clife cloud instance: JSON in, precise types out.
//!
//! Invariant: a [`Settings`] that exists can be used; nobody checks it again. `settings.schema.json` describes the same
//! keys for tools and people, and a test holds both together.

use polylink_plugin_sdk::secret::Secret;
use polylink_plugin_sdk::services::logs::Method;
use polylink_plugin_sdk::services::network::Interface;
use polylink_plugin_sdk::url::{Endpoint, http_host};
use polylink_plugin_sdk::{Fault, hex, settings};
use serde::Deserialize;

use crate::cipher::{Iv, Key};
use crate::files::{CheckSumBits, DevNums, FileSettings, UpgradeOf};
use crate::frame::{self, TimestampType, cmd};
use crate::registration::{self, AuthLevel, Overrides};
use crate::topics;

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How the device is known to the platform.
    pub identity: Identity,
    /// Where devices register.
    pub register: Register,
    /// The key that the platform has issued.
    pub dev_key: Key,
    /// First block of the cipher.
    pub iv: Iv,
    /// Bodies of MQTT messages are encrypted.
    pub encrypt: bool,
    /// Bodies that come in clear are refused.
    pub strict_encryption: bool,
    /// What is used instead of what the registration says.
    pub overrides: Overrides,
    /// Template of the topic for messages of the device.
    pub topic_upward: String,
    /// Template of the topic for messages of the platform.
    pub topic_downward: String,
    /// MQTT clean session flag.
    pub clean_session: bool,
    /// QoS of publications and of the subscription.
    pub qos: u8,
    /// PEM certificates to trust, at the registration and at a TLS broker.
    pub tls_ca: Option<String>,
    /// JSON type of timestamps that the device sends.
    pub timestamp_type: TimestampType,
    /// Direction digits of messages of the device.
    pub dir_up: String,
    /// Direction digits of messages of the platform.
    pub dir_down: String,
    /// The broker says good-bye for a device that is gone.
    pub will: bool,
    /// How the connection is opened.
    pub greeting: Greeting,
    /// Command of the answer to a query.
    pub query_reply_cmd: i64,
    /// Command of the answer to a control.
    pub control_reply_cmd: i64,
    /// Everything is reported after each connect.
    pub report_on_connect: bool,
    /// Version of the product's profile.
    pub profile_ver: String,
    /// Version of the product as a whole, as long as no upgrade has changed it.
    pub product_ver: u32,
    /// An unbound device registers anew.
    pub unbind_clears_registration: bool,
    /// How long a device stays away that was sent away.
    pub force_offline_hold_ms: u64,
    /// Which file operations are taken.
    pub files: FileSettings,
    /// How logs go up.
    pub upload_method: Method,
    /// What the device asks the platform to upgrade, if anything.
    pub ask_upgrade: Option<UpgradeOf>,
    /// The property that takes profiles, by its name in the product.
    pub profile_property: Option<String>,
}

/// How the device is known to the platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What the device has to prove.
    pub auth_level: AuthLevel,
    /// The product; empty: not told (level 0).
    pub product_code: String,
    /// The device, where it is burnt in (level 0).
    pub dev_id: Option<String>,
    /// Hardware address, 12 hexadecimal digits.
    pub dev_mac: String,
}

/// Where devices register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// `http` or `https`.
    pub scheme: String,
    /// Host, with a port if need be.
    pub host: String,
    /// Path.
    pub path: String,
}

/// How the connection is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// Time for the answer.
    pub timeout_ms: u64,
    /// How often it is said.
    pub attempts: u32,
    /// Without an answer the device does not stay.
    pub required: bool,
}

impl Settings {
    /// Reads settings. The first interface that has a hardware address stands in for a missing `dev_mac`.
    ///
    /// # Errors
    /// A key is missing, unknown or wrong; the fault names it and never shows a secret.
    pub fn parse(json: &str, interfaces: &[Interface]) -> Result<Self, Fault> {
        let keys: Keys = settings::parse(json)?;
        let identity = keys.identity(interfaces)?;
        let dev_key = match keys.dev_key_encoding {
            KeyEncoding::Hex => Key::from_hex(keys.dev_key.expose()),
            KeyEncoding::Utf8 => Key::from_text(keys.dev_key.expose()),
        };
        let dev_key = dev_key.ok_or_else(|| {
            unfit("dev_key", "32, 48 or 64 hexadecimal digits, or 16, 24 or 32 characters with dev_key_encoding `utf8`")
        })?;
        let iv = hex::decode(&keys.cipher_iv_hex).and_then(|bytes| Iv::try_from(bytes).ok());
        let iv = iv.ok_or_else(|| unfit("cipher_iv_hex", "32 hexadecimal digits"))?;
        for (key, template) in [("topic_upward", &keys.topic_upward), ("topic_downward", &keys.topic_downward)] {
            if topics::fill(template, Some("product"), "device").is_err() {
                return Err(unfit(key, "a topic without `+` and `#`, such as /device/{productCode}/{devId}/upward"));
            }
            // Found out here, and not again and again after a registration.
            if identity.product_code.is_empty() && topics::fill(template, None, "device").is_err() {
                return Err(unfit("product_code", &format!("the code of the product, which {key} needs")));
            }
        }
        for (key, digits) in [("dir_up", &keys.dir_up), ("dir_down", &keys.dir_down)] {
            if frame::dir_digits(digits).is_none() {
                return Err(unfit(key, "two digits such as 03"));
            }
        }
        if keys.qos > 2 {
            return Err(unfit("qos", "0, 1 or 2"));
        }
        for (key, cmd) in [("query_reply_cmd", keys.query_reply_cmd), ("control_reply_cmd", keys.control_reply_cmd)] {
            if !(LEAST_CMD..=GREATEST_CMD).contains(&cmd) {
                return Err(unfit(key, "a command from 2000 to 9999"));
            }
        }
        let seconds = [
            ("connect_ack_timeout_s", keys.connect_ack_timeout_s),
            ("connect_attempts", keys.connect_attempts),
            ("force_offline_hold_s", keys.force_offline_hold_s),
            ("product_ver", keys.product_ver),
        ];
        if let Some((key, _)) = seconds.iter().find(|(_, value)| !(1..=MOST).contains(value)) {
            return Err(unfit(key, "1 to 1000000"));
        }
        if keys.ota_random_delay_s > MOST {
            return Err(unfit("ota_random_delay_s", "0 to 1000000"));
        }
        let Some(dev_nums) = DevNums::behind(keys.mcu_dev_num) else {
            return Err(unfit("mcu_dev_num", "1 to 65535; 0 is the module"));
        };
        let dev_nums = match keys.subdevice_dev_num {
            0 => Some(dev_nums),
            first => DevNums::new(keys.mcu_dev_num, first),
        };
        let dev_nums = dev_nums
            .ok_or_else(|| unfit("subdevice_dev_num", "a number from which on 64 are not the MCU's (mcu_dev_num)"))?;
        let broker = match filled(keys.mqtt_url) {
            None => None,
            Some(url) => {
                let broker = Endpoint::parse(&url);
                Some(broker.map_err(|error| Fault::settings(format!("settings.mqtt_url: {error}")))?)
            }
        };
        let register = Register {
            host: filled(keys.host).unwrap_or_else(|| keys.environment.host().to_owned()),
            scheme: keys.scheme.text().to_owned(),
            path: keys.register_path,
        };
        // The address goes on with a query, so neither may end the host or the path before.
        let is_one_word = !register.host.contains(|c: char| c.is_whitespace() || "/?#".contains(c));
        if !is_one_word || Endpoint::parse(&format!("tcp://{}", register.host)).is_err() {
            return Err(unfit("host", "a host, perhaps with a port"));
        }
        let address = format!("{}://{}{}", register.scheme, register.host, register.path);
        let is_path = register.path.starts_with('/') && !register.path.contains(['?', '#']);
        if !is_path || http_host(&address, LONGEST_ADDRESS).is_none() {
            return Err(unfit("register_path", "a path that begins with `/`"));
        }
        Ok(Self {
            register,
            dev_key,
            iv,
            encrypt: keys.mqtt_encrypt_data,
            strict_encryption: keys.strict_encryption,
            overrides: Overrides {
                dev_id: identity.dev_id.clone(),
                endpoint: broker,
                client_id: filled(keys.mqtt_client_id),
                user: filled(keys.mqtt_user),
                password: keys.mqtt_password.filter(|password| !password.expose().is_empty()),
                keepalive_s: keys.mqtt_keepalive.filter(|seconds| *seconds > 0),
            },
            identity,
            topic_upward: keys.topic_upward,
            topic_downward: keys.topic_downward,
            clean_session: keys.clean_session,
            qos: keys.qos,
            tls_ca: filled(keys.tls_ca),
            timestamp_type: keys.timestamp_type,
            dir_up: keys.dir_up,
            dir_down: keys.dir_down,
            will: keys.will_enabled,
            greeting: Greeting {
                timeout_ms: u64::from(keys.connect_ack_timeout_s) * 1000,
                attempts: keys.connect_attempts,
                required: keys.require_connect_ack,
            },
            query_reply_cmd: keys.query_reply_cmd,
            control_reply_cmd: keys.control_reply_cmd,
            report_on_connect: keys.report_on_connect,
            profile_ver: keys.profile_ver,
            product_ver: keys.product_ver,
            unbind_clears_registration: keys.unbind_clears_registration,
            force_offline_hold_ms: u64::from(keys.force_offline_hold_s) * 1000,
            files: FileSettings {
                allowed_hosts: keys.ota_allowed_hosts,
                skip_same: keys.ota_skip_same,
                check_hardware: keys.ota_check_hardware,
                allow_downgrade: keys.ota_allow_downgrade,
                check_sum_bits: keys.ota_checksum_bits,
                random_delay_ms: u64::from(keys.ota_random_delay_s) * 1000,
                dev_nums,
            },
            upload_method: keys.upload_method.method(),
            ask_upgrade: keys.ota_ask.what(),
            profile_property: filled(keys.profile_property),
        })
    }
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Environment {
    #[default]
    Production,
    Test,
}

impl Environment {
    /// Clife access document 4.3.1.1.
    const fn host(self) -> &'static str {
        match self {
            Self::Production => "open.clife.cn",
            Self::Test => "test.clife.cn",
        }
    }
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Scheme {
    #[default]
    Https,
    Http,
}

impl Scheme {
    const fn text(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KeyEncoding {
    #[default]
    Hex,
    Utf8,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum UploadMethod {
    #[default]
    Multipart,
    Post,
    Put,
}

impl UploadMethod {
    const fn method(self) -> Method {
        match self {
            Self::Multipart => Method::Multipart,
            Self::Post => Method::Post,
            Self::Put => Method::Put,
        }
    }
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Ask {
    #[default]
    Never,
    All,
    Firm,
    Subfirm,
}

impl Ask {
    const fn what(self) -> Option<UpgradeOf> {
        match self {
            Self::Never => None,
            Self::All => Some(UpgradeOf::All),
            Self::Firm => Some(UpgradeOf::Firm),
            Self::Subfirm => Some(UpgradeOf::SubFirm),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    #[serde(default)]
    environment: Environment,
    #[serde(default)]
    host: Option<String>,
    #[serde(default)]
    scheme: Scheme,
    #[serde(default = "register_path")]
    register_path: String,
    #[serde(default)]
    auth_level: AuthLevel,
    #[serde(default)]
    product_code: Option<String>,
    #[serde(default)]
    dev_id: Option<String>,
    #[serde(default)]
    dev_mac: Option<String>,
    dev_key: Secret<String>,
    #[serde(default)]
    dev_key_encoding: KeyEncoding,
    #[serde(default = "zeros")]
    cipher_iv_hex: String,
    #[serde(default = "yes")]
    mqtt_encrypt_data: bool,
    #[serde(default)]
    strict_encryption: bool,
    #[serde(default = "topic_upward")]
    topic_upward: String,
    #[serde(default = "topic_downward")]
    topic_downward: String,
    #[serde(default)]
    mqtt_url: Option<String>,
    #[serde(default)]
    mqtt_client_id: Option<String>,
    #[serde(default)]
    mqtt_user: Option<String>,
    #[serde(default)]
    mqtt_password: Option<Secret<String>>,
    #[serde(default)]
    mqtt_keepalive: Option<u16>,
    #[serde(default)]
    tls_ca: Option<String>,
    #[serde(default)]
    clean_session: bool,
    #[serde(default = "qos")]
    qos: u8,
    #[serde(default)]
    timestamp_type: TimestampType,
    #[serde(default = "dir_up")]
    dir_up: String,
    #[serde(default = "dir_down")]
    dir_down: String,
    #[serde(default = "yes")]
    will_enabled: bool,
    #[serde(default = "connect_ack_timeout_s")]
    connect_ack_timeout_s: u32,
    #[serde(default = "connect_attempts")]
    connect_attempts: u32,
    #[serde(default)]
    require_connect_ack: bool,
    #[serde(default = "report_cmd")]
    query_reply_cmd: i64,
    #[serde(default = "report_cmd")]
    control_reply_cmd: i64,
    #[serde(default = "yes")]
    report_on_connect: bool,
    #[serde(default = "profile_ver")]
    profile_ver: String,
    #[serde(default = "product_ver")]
    product_ver: u32,
    #[serde(default = "mcu_dev_num")]
    mcu_dev_num: u16,
    #[serde(default)]
    subdevice_dev_num: u16,
    #[serde(default)]
    unbind_clears_registration: bool,
    #[serde(default = "force_offline_hold_s")]
    force_offline_hold_s: u32,
    #[serde(default)]
    ota_allowed_hosts: Vec<String>,
    #[serde(default = "yes")]
    ota_skip_same: bool,
    #[serde(default = "yes")]
    ota_check_hardware: bool,
    #[serde(default = "yes")]
    ota_allow_downgrade: bool,
    #[serde(default)]
    ota_checksum_bits: CheckSumBits,
    #[serde(default)]
    ota_random_delay_s: u32,
    #[serde(default)]
    ota_ask: Ask,
    #[serde(default)]
    profile_property: Option<String>,
    #[serde(default)]
    upload_method: UploadMethod,
}

impl Keys {
    fn identity(&self, interfaces: &[Interface]) -> Result<Identity, Fault> {
        let auth_level = self.auth_level;
        let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let dev_id = text(&self.dev_id);
        if auth_level == AuthLevel::High && dev_id.is_none() {
            return Err(unfit("dev_id", "the id of this device, which auth_level 0 needs"));
        }
        let product_code = text(&self.product_code).unwrap_or_default();
        if auth_level != AuthLevel::High && product_code.is_empty() {
            return Err(unfit("product_code", "the code of the product, which auth_level 1 and 2 need"));
        }
        for (key, value) in [("dev_id", dev_id.as_deref().unwrap_or("-")), ("product_code", &product_code)] {
            let value = if value.is_empty() { "-" } else { value };
            if value.len() > LONGEST_ID || !topics::is_level(value) {
                return Err(unfit(key, "at most 64 characters without `/`, `+` and `#`"));
            }
        }
        let own = || interfaces.iter().find(|interface| interface.mac != [0; 6]).map(|found| hex::upper(&found.mac));
        let dev_mac = match text(&self.dev_mac) {
            Some(digits) => digits.replace([':', '-'], ""),
            None => own().ok_or_else(|| unfit("dev_mac", "12 hexadecimal digits, and no interface has an address"))?,
        };
        if dev_mac.len() != 12 || hex::decode(&dev_mac).is_none() {
            return Err(unfit("dev_mac", "12 hexadecimal digits such as 02005E102030"));
        }
        Ok(Identity { auth_level, product_code, dev_id, dev_mac })
    }
}

fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn unfit(key: &str, wanted: &str) -> Fault {
    Fault::settings(format!("settings.{key}: expected {wanted}"))
}

const fn yes() -> bool {
    true
}

/// Clife access document 4.3.1.1.
fn register_path() -> String {
    registration::PATH.to_owned()
}

/// The vendor's public virtual device.
fn zeros() -> String {
    "0".repeat(32)
}

/// The vendor's public virtual device.
fn topic_upward() -> String {
    topics::UPWARD.to_owned()
}

/// The vendor's public virtual device.
fn topic_downward() -> String {
    topics::DOWNWARD.to_owned()
}

/// Device to platform (samples of the Clife access document).
fn dir_up() -> String {
    frame::DIR_UP.to_owned()
}

/// Platform to device (samples of the Clife access document).
fn dir_down() -> String {
    frame::DIR_DOWN.to_owned()
}

/// Not documented; chosen by us.
const fn qos() -> u8 {
    1
}

/// Not documented; chosen by us.
const fn connect_ack_timeout_s() -> u32 {
    5
}

/// Not documented; chosen by us.
const fn connect_attempts() -> u32 {
    3
}

/// Not documented; chosen by us: there is no answer to a query or control in the list of commands.
const fn report_cmd() -> i64 {
    cmd::REPORT
}

/// The vendor's public virtual device.
fn profile_ver() -> String {
    "0".to_owned()
}

/// The least there is (Clife access document 4.3.2.8).
const fn product_ver() -> u32 {
    1
}

/// Not documented; chosen by us: 0 is the communication module (Clife access document 4.3.2.8).
const fn mcu_dev_num() -> u16 {
    1
}

/// Not documented; chosen by us.
const fn force_offline_hold_s() -> u32 {
    300
}

/// Commands between device and platform (Clife access document 5.3).
const LEAST_CMD: i64 = 2000;
/// Not documented; chosen by us.
const GREATEST_CMD: i64 = 9999;
/// Not documented; chosen by us.
const MOST: u32 = 1_000_000;
/// Not documented; chosen by us.
const LONGEST_ID: usize = 64;
/// Not documented; chosen by us.
const LONGEST_ADDRESS: usize = 2048;

/// The JSON Schema of the settings.
pub const SCHEMA: &str = include_str!("../settings.schema.json");

#[cfg(test)]
mod tests;
