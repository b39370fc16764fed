//! The settings of one JoyLink cloud instance: JSON in, precise types out.
//!
//! Invariant: a [`Settings`] that exists can be used; nobody checks it again. `settings.schema.json` describes the same
//! keys for tools and people, and a test holds both together.
//!
//! Module map: [`keys`] the keys as they are written, and their defaults.

mod keys;

use core::net::Ipv4Addr;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use keys::Keys;
use polylink_plugin_sdk::secret::Secret;
use polylink_plugin_sdk::thing_model::{Kind, Property, ThingModel};
use polylink_plugin_sdk::{DatapointId, Fault, hex, settings};
use serde::Deserialize;

use crate::cloud::servers::MAX_SERVERS;
use crate::crypto::Key32;
use crate::datapoints;
use crate::lan::MAX_PORTS;
use crate::packet::{ReplayRule, enctype};
use crate::timers::period::WeekIndex0;
use crate::wire::authorization::Server;
use crate::wire::discovery::{DeviceType, TransferType};
use crate::wire::information::{AIR, WEATHER};
use crate::wire::{Authorization, FeedId};

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Product type; empty: the MCU or an app tells it.
    pub product_uuid: String,
    /// The text or bytes property in which the MCU tells the product type.
    pub product_uuid_property: Option<DatapointId>,
    /// Address of the device, or another id that no other has; `None`: the module's own.
    pub mac: Option<String>,
    /// Product category; may be empty.
    pub cid: String,
    /// Version of the firmware, for people; may be empty.
    pub firmware_version: String,
    /// Number of the firmware, until an upgrade brought another.
    pub firmware_number: u16,
    /// Model; may be empty.
    pub model_code: String,
    /// A normal device or a gateway, never a sub-device.
    pub device_type: DeviceType,
    /// What the product speaks.
    pub trantype: TransferType,
    /// Lua source that converts between standard JSON and the device's bytes; `None`: with [`TransferType::Json`] there
    /// is nothing to convert, else the MCU speaks these bytes itself.
    pub script: Option<String>,
    /// Serve apps on the local network.
    pub lan_enabled: bool,
    /// Where to listen; `None`: everywhere.
    pub lan_address: Option<Ipv4Addr>,
    /// UDP ports to listen on, as far as they can be had; never empty, none twice, none 0.
    pub lan_ports: Vec<u16>,
    /// Which requests of an app are repetitions.
    pub lan_replay: ReplayRule,
    /// How far an app's clock may be off, in seconds; 0: any.
    pub lan_time_window_s: u32,
    /// What a bound device does when it is bound again.
    pub rebind: Rebind,
    /// Label of packets to the cloud after authentication: 3 or 4.
    pub wan_session_enctype: u8,
    /// The cloud proves that it has the access key.
    pub check_auth_random: bool,
    /// Time between heartbeats.
    pub heartbeat_ms: u64,
    /// Heartbeats without an answer that end a connection.
    pub lost_replies: u32,
    /// Time for the cloud's answer to an authentication.
    pub auth_timeout_ms: u64,
    /// First pause between attempts to connect.
    pub reconnect_min_ms: u64,
    /// Longest one, not shorter than the first.
    pub reconnect_max_ms: u64,
    /// Time for the cloud's answer to an upload.
    pub upload_timeout_ms: u64,
    /// Time for the MCU's answer to a command.
    pub mcu_timeout_ms: u32,
    /// How far local time is ahead of UTC, in schedules and recipes.
    pub timezone_offset_s: i32,
    /// What the first entry of a week is.
    pub week_index0: WeekIndex0,
    /// Pause before schedules are told to the cloud.
    pub snapshot_delay_ms: u64,
    /// Schedules that are kept.
    pub max_tasks: usize,
    /// Sub-devices that are kept.
    pub max_subdevs: usize,
    /// Results of type 14 that wait for a connection.
    pub async_queue: usize,
    /// Longest time without a report of an upgrade's progress.
    pub ota_report_ms: u64,
    /// Whose firmware the cloud orders for the device itself.
    pub ota_target: OtaTarget,
    /// What the cloud is asked for, if anything.
    pub information: Option<Information>,
    /// Changes at the device itself are told as results too (type 14), not only uploaded.
    pub panel_results: bool,
    /// Identity and keys from the factory, which count until an app binds the device.
    pub authorization: Option<Authorization>,
}

/// What messages between cloud and MCU are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Standard JSON, which becomes datapoints here.
    Json,
    /// The product's bytes, which the script makes JSON of.
    Script,
    /// The product's bytes, which pass to the MCU as they are.
    Raw,
}

/// What a bound device does when it is bound again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rebind {
    /// It refuses.
    #[default]
    Refuse,
    /// It belongs to the new owner.
    Allow,
}

/// Whose firmware the cloud orders for the device itself, of which it knows one number only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OtaTarget {
    /// The MCU's if the MCU tells a version, else the module's.
    #[default]
    Auto,
    /// The module's.
    Module,
    /// The MCU's.
    Mcu,
}

/// What the cloud is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Information {
    /// [`WEATHER`], [`AIR`], or both; never empty.
    pub kinds: Vec<String>,
    /// How often.
    pub every_ms: u64,
    /// The writable text or json property that gets the answer.
    pub property: DatapointId,
}

impl Settings {
    /// What messages between cloud and MCU are made of.
    #[must_use]
    pub const fn form(&self) -> Form {
        match (self.trantype, &self.script) {
            (TransferType::Json, _) => Form::Json,
            (_, Some(_)) => Form::Script,
            (_, None) => Form::Raw,
        }
    }

    /// Reads settings for this product.
    ///
    /// # Errors
    /// A key is unknown or wrong, or the product cannot be spoken for; the fault names it and never shows a secret.
    pub fn parse(json: &str, model: &ThingModel) -> Result<Self, Fault> {
        let keys: Keys = settings::parse(json)?;
        check_numbers(&keys)?;
        check_identity(&keys)?;
        let device_type = DeviceType::of(keys.device_type)
            .filter(|kind| *kind != DeviceType::SubDevice)
            .ok_or_else(|| unfit("device_type", "0 (normal) or 1 (gateway)"))?;
        let trantype =
            TransferType::of(keys.trantype).ok_or_else(|| unfit("trantype", "0 (JSON), 1 (Lua) or 2 (JavaScript)"))?;
        let script = keys.script.clone().filter(|source| !source.trim().is_empty());
        check_product(model, trantype, script.is_some())?;
        let lan_address = match keys.lan_address.as_str() {
            "" => None,
            text => {
                let address = text
                    .parse()
                    .map_err(|_| unfit("lan_address", "an IPv4 address of this module, or nothing for all of them"))?;
                Some(address)
            }
        };
        Ok(Self {
            product_uuid_property: product_uuid_property(&keys, model)?,
            information: information(&keys, model)?,
            authorization: authorization(&keys)?,
            product_uuid: keys.product_uuid,
            mac: keys.mac.filter(|mac| !mac.is_empty()),
            cid: keys.cid,
            firmware_version: keys.firmware_version,
            firmware_number: keys.firmware_number,
            model_code: keys.model_code,
            device_type,
            trantype,
            script,
            lan_enabled: keys.lan_enabled,
            lan_address,
            lan_ports: keys.lan_ports,
            lan_replay: keys.lan_replay,
            lan_time_window_s: keys.lan_time_window_s,
            rebind: keys.rebind,
            wan_session_enctype: keys.wan_session_enctype,
            check_auth_random: keys.check_auth_random,
            heartbeat_ms: ms(keys.heartbeat_s),
            lost_replies: keys.lost_replies,
            auth_timeout_ms: ms(keys.auth_timeout_s),
            reconnect_min_ms: ms(keys.reconnect_min_s),
            reconnect_max_ms: ms(keys.reconnect_max_s),
            upload_timeout_ms: ms(keys.upload_timeout_s),
            mcu_timeout_ms: keys.mcu_timeout_ms,
            timezone_offset_s: keys.timezone_offset_s,
            week_index0: keys.week_index0,
            snapshot_delay_ms: ms(keys.snapshot_delay_s),
            max_tasks: keys.max_tasks as usize,
            max_subdevs: keys.max_subdevs as usize,
            async_queue: keys.async_queue as usize,
            ota_report_ms: ms(keys.ota_report_s),
            ota_target: keys.ota_target,
            panel_results: keys.panel_results,
        })
    }
}

fn check_numbers(keys: &Keys) -> Result<(), Fault> {
    let ranges: [(&str, u32, RangeInclusive<u32>); 14] = [
        ("lan_time_window_s", keys.lan_time_window_s, 0..=DAY_S),
        ("heartbeat_s", keys.heartbeat_s, 1..=LONGEST_HEARTBEAT_S),
        ("lost_replies", keys.lost_replies, 1..=MOST_LOST_REPLIES),
        ("auth_timeout_s", keys.auth_timeout_s, 1..=HOUR_S),
        ("reconnect_min_s", keys.reconnect_min_s, 1..=DAY_S),
        ("reconnect_max_s", keys.reconnect_max_s, 1..=DAY_S),
        ("upload_timeout_s", keys.upload_timeout_s, 1..=HOUR_S),
        ("mcu_timeout_ms", keys.mcu_timeout_ms, MCU_TIMEOUT_MS),
        ("snapshot_delay_s", keys.snapshot_delay_s, 0..=HOUR_S),
        ("max_tasks", keys.max_tasks, 1..=MOST_TASKS),
        ("max_subdevs", keys.max_subdevs, 0..=MOST_SUBDEVS),
        ("async_queue", keys.async_queue, 1..=LONGEST_ASYNC_QUEUE),
        ("ota_report_s", keys.ota_report_s, 1..=LONGEST_OTA_REPORT_S),
        ("information_every_s", keys.information_every_s, MINUTE_S..=DAY_S),
    ];
    for (key, value, range) in ranges {
        if !range.contains(&value) {
            return Err(unfit(key, &format!("{} to {}", range.start(), range.end())));
        }
    }
    if !TIMEZONES_S.contains(&keys.timezone_offset_s) {
        return Err(unfit("timezone_offset_s", "-43200 to 50400 seconds"));
    }
    if keys.reconnect_max_s < keys.reconnect_min_s {
        return Err(unfit("reconnect_max_s", "not less than reconnect_min_s"));
    }
    if ![enctype::KEY32, enctype::SESSION_KEY].contains(&keys.wan_session_enctype) {
        return Err(unfit("wan_session_enctype", "3 (as documented) or 4 (as JD's SDKs)"));
    }
    let distinct: BTreeSet<u16> = keys.lan_ports.iter().copied().collect();
    let n_ports = keys.lan_ports.len();
    if distinct.contains(&0) || distinct.len() != n_ports || !(1..=MAX_PORTS).contains(&n_ports) {
        return Err(unfit("lan_ports", "1 to 4 different ports, none of them 0"));
    }
    Ok(())
}

fn check_identity(keys: &Keys) -> Result<(), Fault> {
    let word = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if !keys.product_uuid.is_empty() && !datapoints::uuid_ok(&keys.product_uuid) {
        return Err(unfit("product_uuid", "6 letters or digits, or nothing"));
    }
    let mac = keys.mac.as_deref().unwrap_or_default();
    if mac.len() > LONGEST_MAC || !mac.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(unfit("mac", "at most 32 printable characters without blanks, or nothing for the module's own"));
    }
    if !keys.cid.is_empty() && !hex::is_digits(&keys.cid, 8) {
        return Err(unfit("cid", "8 hexadecimal digits, or nothing"));
    }
    if !keys.firmware_version.is_empty() && !word(&keys.firmware_version, 8) {
        return Err(unfit("firmware_version", "8 characters out of letters, digits and `_`, or nothing"));
    }
    if keys.model_code.chars().count() > LONGEST_MODEL_CODE || keys.model_code.contains(char::is_control) {
        return Err(unfit("model_code", "at most 64 characters"));
    }
    Ok(())
}

/// Whether the product can be spoken for in this way, and has names that mean one thing each.
fn check_product(model: &ThingModel, trantype: TransferType, has_script: bool) -> Result<(), Fault> {
    let converts = match (trantype, has_script) {
        (TransferType::Json, true) => return Err(unfit("script", "nothing, as trantype 0 is JSON without a script")),
        (TransferType::Json, false) | (_, true) => true,
        (_, false) => false,
    };
    if !converts {
        return if model.raw { Ok(()) } else { Err(Fault::product(NEEDS_RAW)) };
    }
    if model.properties.is_empty() {
        return Err(Fault::product(NEEDS_PROPERTIES));
    }
    let properties = model.properties.iter().map(|property| &property.field.cloud_name);
    let events = model.events.iter().map(|event| &event.cloud_name);
    let actions = model.actions.iter().map(|action| &action.cloud_name);
    // Events and actions stand among the values, but never both in one message.
    for names in [properties.clone().chain(events).collect::<Vec<_>>(), properties.chain(actions).collect()] {
        let mut known = BTreeSet::new();
        if let Some(name) = names.into_iter().find(|name| name.is_empty() || !known.insert(name.as_str())) {
            return Err(Fault::product(format!(
                "the name `{name}` is empty or taken twice at this cloud, where values, events and actions are all \
                 streams; name one otherwise for this cloud"
            )));
        }
    }
    Ok(())
}

fn product_uuid_property(keys: &Keys, model: &ThingModel) -> Result<Option<DatapointId>, Fault> {
    if keys.product_uuid_property.is_empty() {
        return Ok(None);
    }
    if !keys.product_uuid.is_empty() {
        return Err(unfit("product_uuid_property", "nothing, as product_uuid is set"));
    }
    let fits = |property: &&Property| matches!(property.field.kind, Kind::Text { .. } | Kind::Bytes { .. });
    let property = model.property_of_cloud(&keys.product_uuid_property).filter(fits);
    let property = property
        .ok_or_else(|| unfit("product_uuid_property", "a text or bytes property of the product, by its name here"))?;
    Ok(Some(property.field.id))
}

fn information(keys: &Keys, model: &ThingModel) -> Result<Option<Information>, Fault> {
    let kinds: BTreeSet<&str> = keys.information.iter().map(String::as_str).collect();
    if kinds.len() != keys.information.len() || kinds.iter().any(|kind| ![WEATHER, AIR].contains(kind)) {
        return Err(unfit("information", "`weather`, `air`, or both"));
    }
    match (kinds.is_empty(), keys.information_property.is_empty()) {
        (true, true) => return Ok(None),
        (true, false) => return Err(unfit("information", "`weather` or `air`, as information_property is set")),
        (false, _) => {}
    }
    let fits = |property: &&Property| {
        property.writable && matches!(property.field.kind, Kind::Text { .. } | Kind::Json { .. })
    };
    let property = model.property_of_cloud(&keys.information_property).filter(fits).ok_or_else(|| {
        unfit("information_property", "a writable text or json property of the product, by its name here")
    })?;
    Ok(Some(Information {
        kinds: keys.information.clone(),
        every_ms: ms(keys.information_every_s),
        property: property.field.id,
    }))
}

/// As if an app had bound the device.
fn authorization(keys: &Keys) -> Result<Option<Authorization>, Fault> {
    let secret = |secret: &Option<Secret<String>>| secret.as_ref().is_some_and(|text| !text.expose().is_empty());
    let given = [
        ("feedid", keys.feedid.is_empty()),
        ("accesskey", !secret(&keys.accesskey)),
        ("localkey", !secret(&keys.localkey)),
        ("joylink_servers", keys.joylink_servers.is_empty()),
    ];
    if given.iter().all(|(_, missing)| *missing) {
        return Ok(None);
    }
    if let Some((key, _)) = given.iter().find(|(_, missing)| *missing) {
        return Err(unfit(key, "a value, or none of feedid, accesskey, localkey and joylink_servers"));
    }
    let key = |name: &str, text: &Option<Secret<String>>| {
        let text = text.as_ref().map_or("", |text| text.expose());
        Key32::from_text(text).ok_or_else(|| unfit(name, "32 hexadecimal digits"))
    };
    let feedid = Some(keys.feedid.as_str())
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic()))
        .and_then(FeedId::new)
        .ok_or_else(|| unfit("feedid", "at most 32 printable characters"))?;
    let unusable = keys.joylink_servers.iter().any(|server| Server::parse(server).is_none());
    if unusable || keys.joylink_servers.len() > MAX_SERVERS {
        return Err(unfit("joylink_servers", "at most 8 addresses, each with a port, such as live.example:2002"));
    }
    Ok(Some(Authorization {
        feedid,
        accesskey: key("accesskey", &keys.accesskey)?,
        localkey: key("localkey", &keys.localkey)?,
        productuuid: None,
        joylink_server: keys.joylink_servers.clone(),
        server: None,
        tcpaes: None,
        lancon: None,
        opt: None,
        mac: None,
    }))
}

fn ms(seconds: u32) -> u64 {
    u64::from(seconds) * 1000
}

fn unfit(key: &str, wanted: &str) -> Fault {
    Fault::settings(format!("settings.{key}: expected {wanted}"))
}

const NEEDS_RAW: &str = "with trantype 1 or 2 the MCU speaks the product's own bytes, so that the product has to be `raw`, \
                         or settings.script has to convert; set settings.trantype = 0 for a product that the cloud \
                         knows without a script";
const NEEDS_PROPERTIES: &str = "the product has no properties, and so no streams for this cloud";

/// The document allows any unique id (JoyLink V1.79, discovery) and tells no length; chosen by us: that of an identity.
const LONGEST_MAC: usize = 32;
/// JoyLink V1.79, discovery.
const LONGEST_MODEL_CODE: usize = 64;
/// JoyLink V1.79, heartbeat.
const LONGEST_HEARTBEAT_S: u32 = 60;
/// The cloud takes ten minutes of silence for failure (JoyLink V1.79, upgrade); chosen by us: half of it, so that one
/// report may be lost.
const LONGEST_OTA_REPORT_S: u32 = 300;
/// Not documented; chosen by us.
const MCU_TIMEOUT_MS: RangeInclusive<u32> = 50..=10_000;
/// The time zones there are.
const TIMEZONES_S: RangeInclusive<i32> = -43_200..=50_400;
/// Not documented; chosen by us.
const MOST_LOST_REPLIES: u32 = 100;
/// Not documented; chosen by us: more would not fit the bytes that a table is kept in.
const MOST_TASKS: u32 = 256;
/// Not documented; chosen by us: each takes its keys and a place in every heartbeat.
const MOST_SUBDEVS: u32 = 50;
/// Not documented; chosen by us.
const LONGEST_ASYNC_QUEUE: u32 = 256;
const MINUTE_S: u32 = 60;
const HOUR_S: u32 = 3600;
const DAY_S: u32 = 86_400;

/// The JSON Schema of the settings.
pub const SCHEMA: &str = include_str!("../settings.schema.json");

#[cfg(test)]
mod tests;
