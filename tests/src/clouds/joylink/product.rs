//! The product that the simulated cloud has, its device, and the conversion between its JSON and the wire.

use serde_json::Value as Json;

use crate::joylink_wire::cipher::Secret;
use crate::joylink_wire::script::{Script, ScriptError};

/// A device with its keys, and what its messages hold.
#[derive(Debug, Clone)]
pub struct Product {
    /// Six characters.
    pub uuid: String,
    /// How messages get onto the wire.
    pub conversion: Conversion,
    /// The device.
    pub device: Account,
    /// Its sub-devices; a device with some is a gateway. They speak like the device.
    pub subs: Vec<SubDevice>,
    /// Streams that every snapshot must have; empty lets any pass.
    pub streams: Vec<String>,
}

/// Identity and keys, as an app hands them to a device.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// Identity.
    pub feedid: String,
    /// Key between device and cloud, 32 characters.
    pub accesskey: String,
    /// Key between device and app, 32 characters.
    pub localkey: String,
}

/// A device behind a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubDevice {
    /// Identity and keys.
    pub account: Account,
    /// Address, or any other id.
    pub mac: String,
    /// Its product.
    pub product_uuid: String,
}

/// What a product has on the wire in place of standard JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conversion {
    /// trantype 0: nothing else.
    Json,
    /// trantype 1: what a script makes of it.
    Script(Script),
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("feedid", &self.feedid).finish_non_exhaustive()
    }
}

impl Account {
    /// An account with keys that are made of a letter and its feedid.
    pub fn new(feedid: &str) -> Self {
        let key = |letter: char| format!("{letter}{feedid:0>31}");
        Self { feedid: feedid.to_owned(), accesskey: key('a'), localkey: key('b') }
    }

    pub(super) fn access(&self) -> Result<Secret, String> {
        Secret::of_text(&self.accesskey)
    }
}

impl Product {
    /// The sub-device with this feedid.
    pub fn sub(&self, feedid: &str) -> Result<&SubDevice, String> {
        let found = self.subs.iter().find(|sub| sub.account.feedid == feedid);
        found.ok_or_else(|| format!("there is no sub-device {feedid:?}"))
    }

    /// trantype and device type as they are in settings and discovery.
    pub fn trantype(&self) -> u8 {
        match self.conversion {
            Conversion::Json => 0,
            Conversion::Script(_) => 1,
        }
    }
}

impl Default for Product {
    fn default() -> Self {
        Self {
            uuid: PRODUCT_UUID.to_owned(),
            conversion: Conversion::Json,
            device: Account::new(FEEDID),
            subs: Vec::new(),
            streams: Vec::new(),
        }
    }
}

impl Conversion {
    /// A command as it goes out. A snapshot is asked for without a body.
    pub(super) fn command(&self, bizcode: u32, json: Option<&Json>) -> Result<Vec<u8>, ScriptError> {
        let text = json.map(Json::to_string).unwrap_or_default();
        match self {
            Self::Json => Ok(text.into_bytes()),
            Self::Script(script) => script.to_private(bizcode, &text),
        }
    }

    /// What came in, as JSON.
    pub(super) fn read(&self, bizcode: u32, bytes: &[u8]) -> Result<Json, String> {
        let parse = |bytes: &[u8]| {
            serde_json::from_slice::<Json>(bytes)
                .ok()
                .filter(Json::is_object)
                .ok_or_else(|| format!("no JSON object: {:?}", String::from_utf8_lossy(bytes)))
        };
        match self {
            Self::Json => parse(bytes),
            Self::Script(script) => {
                // A module whose MCU is silent says so in JSON, whatever the product speaks (6.2).
                if let Some(failure) =
                    parse(bytes).ok().filter(|json| json["code"].as_i64().is_some_and(|code| code != 0))
                {
                    return Ok(failure);
                }
                let (json, made_of_it) = script.to_json(bizcode, bytes).map_err(|error| error.to_string())?;
                if made_of_it != bizcode {
                    return Err(format!("the script makes {made_of_it} of {bizcode}"));
                }
                parse(json.as_bytes())
            }
        }
    }
}

/// Streams of a snapshot, in its order, or what is wrong with it: `streams` of texts or numbers, all that there must be.
pub(super) fn streams(json: &Json, wanted: &[String]) -> Result<Vec<(String, Json)>, String> {
    let list = json["streams"].as_array().ok_or_else(|| format!("no streams in {json}"))?;
    let mut streams = Vec::new();
    for stream in list {
        let name = stream["stream_id"].as_str().ok_or_else(|| format!("a stream without a name: {stream}"))?;
        let value = &stream["current_value"];
        if !value.is_string() && !value.is_number() {
            return Err(format!("a stream that is neither text nor number: {stream}"));
        }
        if streams.iter().any(|(known, _)| known == name) {
            return Err(format!("stream {name:?} comes twice"));
        }
        streams.push((name.to_owned(), value.clone()));
    }
    match wanted.iter().find(|wanted| streams.iter().all(|(name, _)| name != *wanted)) {
        Some(missing) => Err(format!("a snapshot without {missing:?}")),
        None => Ok(streams),
    }
}

/// The product; invented, like the other ids.
pub const PRODUCT_UUID: &str = "SIMPLY";
/// The device.
pub const FEEDID: &str = "1540000000000000001";
