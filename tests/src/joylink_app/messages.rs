//! JSON of the LAN as the app writes and reads it (JoyLink, 5 and 6).

use serde_json::{Value as Json, json};

use super::AppError;
use crate::clouds::joylink::product::{Account, SubDevice};
use crate::joylink_wire::curve::PUBLIC;

/// What a discovery looks for; the default is everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Product.
    pub product_uuid: Option<String>,
    /// 0 all, 1 waiting to be bound, 2 bound.
    pub status: Option<u8>,
    /// The product goes by the name `uuid`, as SDKs of the vendor read it.
    pub as_uuid: bool,
    /// The request is `{}`.
    pub bare: bool,
    /// The app's key, or nothing, or anything: nobody needs it.
    pub opt: Vec<u8>,
}

impl Wanted {
    pub(super) fn text(&self) -> String {
        let mut json = if self.bare { json!({}) } else { json!({"cmd": 2}) };
        if let Some(uuid) = &self.product_uuid {
            json[if self.as_uuid { "uuid" } else { "productuuid" }] = json!(uuid);
        }
        if let Some(status) = self.status {
            json["status"] = json!(status);
        }
        json.to_string()
    }
}

/// What a device says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Address, or any other id.
    pub mac: String,
    /// Product.
    pub product_uuid: String,
    /// Identity; empty while it has none.
    pub feedid: String,
    /// Public key, 42 hexadecimal digits.
    pub devkey: String,
    /// Whether it may be controlled in the LAN.
    pub lancon: u8,
    /// What its messages hold.
    pub trantype: u8,
    /// 0 normal, 1 gateway.
    pub devtype: u8,
    /// As authorization left it.
    pub opt: Json,
    /// Sub-devices of a gateway.
    pub subs: Vec<FoundSub>,
    /// All that it said.
    pub json: Json,
}

/// What a gateway says of a sub-device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundSub {
    /// Address, or any other id.
    pub mac: String,
    /// Product.
    pub product_uuid: String,
    /// Identity; empty while it has none.
    pub feedid: String,
    /// 0 authorized, 1 waiting.
    pub state: u8,
    /// 0 Wi-Fi, 1 ZigBee, 2 Bluetooth, 3 433 MHz.
    pub protocol: u8,
}

impl Found {
    /// An answer to a discovery, with all that it must have.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let json: Json = serde_json::from_slice(text).map_err(|error| format!("discovery: {error}"))?;
        for member in ["CID", "firmwareVersion", "modelCode"] {
            texts(&json, member)?;
        }
        let rssi = json["dbg"]["rssi"].as_u64().filter(|&rssi| rssi <= 100);
        if rssi.is_none() || !json["dbg"]["ver"].is_i64() || !json["opt"].is_object() {
            return Err(format!("dbg or opt is wrong in {json}"));
        }
        let devtype = small(&json, "devtype", 1)?;
        let subs = match json.get("subdev").and_then(Json::as_array) {
            Some(list) if devtype == 1 => list.iter().map(FoundSub::parse).collect::<Result<_, _>>()?,
            None if devtype == 0 && json.get("subdev").is_none() => Vec::new(),
            _ => return Err(format!("subdev does not fit devtype {devtype} in {json}")),
        };
        let devkey = texts(&json, "devkey")?;
        point(&devkey)?;
        Ok(Self {
            mac: texts(&json, "mac")?,
            product_uuid: texts(&json, "productuuid")?,
            feedid: texts(&json, "feedid")?,
            devkey,
            lancon: small(&json, "lancon", 1)?,
            trantype: small(&json, "trantype", 2)?,
            devtype,
            opt: json["opt"].clone(),
            subs,
            json,
        })
    }
}

impl FoundSub {
    fn parse(json: &Json) -> Result<Self, String> {
        small(json, "lancon", 1)?;
        small(json, "trantype", 2)?;
        Ok(Self {
            mac: texts(json, "mac")?,
            product_uuid: texts(json, "productuuid")?,
            feedid: texts(json, "feedid")?,
            state: small(json, "state", 1)?,
            protocol: small(json, "protocol", 3)?,
        })
    }
}

/// What an authorization hands over.
#[derive(Debug, Clone)]
pub struct Grant {
    /// Identity and keys.
    pub account: Account,
    /// Product, for devices that have none of their own.
    pub product_uuid: String,
    /// Clouds, as `host:port`, the first that works.
    pub servers: Vec<String>,
    /// Whether the LAN may control it.
    pub lancon: u8,
    /// To be shown in discovery.
    pub opt: Json,
}

impl Grant {
    /// Rights to be controlled, at one cloud.
    pub fn new(account: &Account, product_uuid: &str, server: &str) -> Self {
        Self {
            account: account.clone(),
            product_uuid: product_uuid.to_owned(),
            servers: vec![server.to_owned()],
            lancon: 1,
            opt: json!({}),
        }
    }

    /// As it is sent. The servers of the older protocol lead nowhere.
    pub fn json(&self) -> Json {
        json!({
            "feedid": self.account.feedid, "accesskey": self.account.accesskey, "localkey": self.account.localkey,
            "productuuid": self.product_uuid, "server": ["127.0.0.1:9"], "joylink_server": self.servers,
            "tcpaes": ["127.0.0.1:9"], "lancon": self.lancon, "opt": self.opt,
        })
    }
}

/// What the authorization of a sub-device hands over.
#[derive(Debug, Clone)]
pub struct SubGrant {
    /// As for a device.
    pub grant: Grant,
    /// Which one is meant, beside its product.
    pub mac: String,
}

impl SubGrant {
    /// For this sub-device, at one cloud.
    pub fn new(sub: &SubDevice, server: &str) -> Self {
        Self { grant: Grant::new(&sub.account, &sub.product_uuid, server), mac: sub.mac.clone() }
    }

    /// As it is sent.
    pub fn json(&self) -> Json {
        let mut json = self.grant.json();
        json["mac"] = json!(self.mac);
        json
    }

    pub(super) fn is_meant(&self, answer: &Json) -> Result<(), String> {
        if answer["mac"] == self.mac.as_str() && answer["productuuid"] == self.grant.product_uuid.as_str() {
            Ok(())
        } else {
            Err(format!("{answer} answers for {}", self.mac))
        }
    }
}

/// A request that sets streams.
pub fn control(values: &[(&str, Json)]) -> Json {
    let streams: Vec<Json> =
        values.iter().map(|(name, value)| json!({"stream_id": name, "current_value": value})).collect();
    json!({"cmd": 5, "data": {"streams": streams, "snapshot": []}})
}

/// An answer with a code, if that is 0.
pub(super) fn done(text: &[u8]) -> Result<Json, AppError> {
    let json: Json = serde_json::from_slice(text).map_err(|error| format!("answer: {error}"))?;
    let msg = json["msg"].as_str().unwrap_or_default();
    match json["code"].as_i64() {
        Some(0) => Ok(json),
        Some(code) => Err(AppError::Refused(code, msg.to_owned())),
        None => Err(AppError::Breach(format!("an answer without a code: {json}"))),
    }
}

/// The streams of an answer.
pub(super) fn streams(answer: &Json) -> Result<Vec<(String, Json)>, String> {
    let list = answer["data"].as_array().ok_or_else(|| format!("no data in {answer}"))?;
    let stream = |stream: &Json| {
        let value = &stream["current_value"];
        let name = stream["stream_id"].as_str().filter(|_| value.is_string() || value.is_number());
        name.map(|name| (name.to_owned(), value.clone())).ok_or_else(|| format!("a stream of {stream}"))
    };
    list.iter().map(stream).collect()
}

/// A point of 42 hexadecimal digits.
pub(super) fn point(digits: &str) -> Result<Vec<u8>, String> {
    let nibbles: Option<Vec<u8>> = digits.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect();
    let nibbles = nibbles.filter(|nibbles| nibbles.len() == 2 * PUBLIC);
    let nibbles = nibbles.ok_or_else(|| format!("a devkey of {digits:?}"))?;
    Ok(nibbles.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

fn texts(json: &Json, member: &str) -> Result<String, String> {
    json[member].as_str().map(str::to_owned).ok_or_else(|| format!("no text {member:?} in {json}"))
}

fn small(json: &Json, member: &str, most: u8) -> Result<u8, String> {
    let value = json[member].as_u64().and_then(|value| u8::try_from(value).ok());
    value.filter(|&value| value <= most).ok_or_else(|| format!("no {member:?} up to {most} in {json}"))
}
