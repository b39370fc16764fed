//! Type 1: an app looks for devices.

use serde::{Deserialize, Serialize};

use super::json::{self, Flag, Json, numbered};
use super::{FeedId, WireError};

/// What an app looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveryRequest {
    /// The product; `None`: any.
    pub productuuid: Option<String>,
    /// Which devices.
    pub status: Wanted,
}

numbered! {
    /// Which devices an app looks for.
    Wanted {
        /// All.
        All = 0,
        /// Those that wait to be bound.
        Unbound = 1,
        /// Those that are bound.
        Bound = 2,
    }
}

/// Why a device stays silent; no error is ever answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwanted {
    /// Another product is looked for.
    ProductUuid,
    /// The app looks for devices that are bound, or that are not.
    Status,
}

impl Unwanted {
    /// One word for counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ProductUuid => "productuuid",
            Self::Status => "status",
        }
    }
}

impl DiscoveryRequest {
    /// Whether a device of this product, bound or not, answers. A gateway asks for each of its sub-devices too.
    ///
    /// # Errors
    /// Why it stays silent.
    pub fn wants(&self, productuuid: &str, bound: bool) -> Result<(), Unwanted> {
        if self.productuuid.as_deref().is_some_and(|wanted| wanted != productuuid) {
            return Err(Unwanted::ProductUuid);
        }
        match (self.status, bound) {
            (Wanted::All, _) | (Wanted::Unbound, false) | (Wanted::Bound, true) => Ok(()),
            _ => Err(Unwanted::Status),
        }
    }

    /// As JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Members<'a> {
            cmd: u8,
            productuuid: &'a str,
            status: Wanted,
        }
        let productuuid = self.productuuid.as_deref().unwrap_or_default();
        json::encode(&Members { cmd: CMD, productuuid, status: self.status })
    }

    /// Reads JSON. `cmd` is ignored; an empty object looks for all.
    ///
    /// # Errors
    /// See [`WireError`].
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        #[derive(Deserialize)]
        struct Members {
            productuuid: Option<String>,
            // As JD's SDKs call it.
            uuid: Option<String>,
            status: Option<Wanted>,
        }
        let Members { productuuid, uuid, status } = json::object(payload)?;
        let productuuid = productuuid.filter(|text| !text.is_empty()).or(uuid).filter(|text| !text.is_empty());
        Ok(Self { productuuid, status: status.unwrap_or(Wanted::All) })
    }
}

numbered! {
    /// What a device is.
    DeviceType {
        /// It has its own network address.
        Normal = 0,
        /// It has one, and speaks for others.
        Gateway = 1,
        /// A gateway speaks for it.
        SubDevice = 2,
    }
}

numbered! {
    /// Who translates between the device's bytes and JSON. Scripts run in the cloud and in apps, never here.
    TransferType {
        /// Nobody: the device speaks JSON.
        Json = 0,
        /// A Lua script.
        Lua = 1,
        /// A JavaScript one.
        JavaScript = 2,
    }
}

numbered! {
    /// What a sub-device speaks with its gateway.
    Protocol {
        /// Wi-Fi.
        Wifi = 0,
        /// ZigBee.
        Zigbee = 1,
        /// Bluetooth.
        Bluetooth = 2,
        /// 433 MHz.
        Radio433 = 3,
    }
}

numbered! {
    /// Whether a sub-device is bound. Not the state in heartbeats, which is [`super::SubState`].
    Enrolment {
        /// It is.
        Authorized = 0,
        /// It waits to be.
        Waiting = 1,
    }
}

/// Who a device is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoveryAnswer {
    /// Its address, or another id that no other has.
    pub mac: String,
    /// Product type.
    pub productuuid: String,
    /// Product category.
    #[serde(rename = "CID", default)]
    pub cid: String,
    /// Version of the firmware, for people.
    #[serde(rename = "firmwareVersion", default)]
    pub firmware_version: String,
    /// Model.
    #[serde(rename = "modelCode", default)]
    pub model_code: String,
    /// Whether it may be controlled on the local network.
    pub lancon: Flag,
    /// Who translates its bytes.
    pub trantype: TransferType,
    /// Its identity, or empty if it is not bound.
    pub feedid: FeedId,
    /// Its public key: [`crate::crypto::PublicKey::to_text`].
    pub devkey: String,
    /// Facts for developers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dbg: Option<Debugging>,
    /// As stored by the authorization, else an empty object.
    #[serde(default = "Json::empty_object")]
    pub opt: Json,
    /// What it is.
    pub devtype: DeviceType,
    /// The sub-devices that the app looks for. Gateways only.
    #[serde(skip_serializing_if = "Option::is_none", default, deserialize_with = "json::optional_list")]
    pub subdev: Option<Vec<SubDevice>>,
}

/// Facts for developers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Debugging {
    /// Number of the firmware.
    pub ver: i64,
    /// Strength of the signal, 0 to 100.
    pub rssi: i64,
}

/// A sub-device of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubDevice {
    /// Its address, or another id.
    pub mac: String,
    /// Product type.
    pub productuuid: String,
    /// Product category.
    #[serde(rename = "CID", default)]
    pub cid: String,
    /// Version of the firmware, for people.
    #[serde(rename = "firmwareVersion", default)]
    pub firmware_version: String,
    /// Model.
    #[serde(rename = "modelCode", default)]
    pub model_code: String,
    /// Whether it may be controlled on the local network.
    pub lancon: Flag,
    /// Who translates its bytes.
    pub trantype: TransferType,
    /// Its identity, or empty if it is not bound.
    pub feedid: FeedId,
    /// Facts for developers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dbg: Option<Debugging>,
    /// As stored by its authorization.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opt: Option<Json>,
    /// What it is.
    #[serde(default = "DeviceType::sub_device")]
    pub devtype: DeviceType,
    /// Whether it is bound.
    pub state: Enrolment,
    /// What it speaks with the gateway.
    pub protocol: Protocol,
}

impl DeviceType {
    const fn sub_device() -> Self {
        Self::SubDevice
    }
}

impl DiscoveryAnswer {
    /// As JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        json::encode(self)
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// See [`WireError`].
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        json::object(payload)
    }
}

/// A left-over of an older packet format; always sent (JoyLink V1.79, discovery).
const CMD: u8 = 2;
