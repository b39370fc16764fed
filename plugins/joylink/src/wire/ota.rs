//! Types 7 and 8: new firmware.

use serde::{Deserialize, Serialize};

use super::json::{self, numbered};
use super::{Code, FeedId, WireError};

/// Type 7, down: the firmware that a device or sub-device is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtaOrder {
    /// Number of the order, for its answer.
    pub serial: i64,
    /// What to download, for whom.
    pub firmware: Firmware,
}

/// A firmware image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firmware {
    /// For whom.
    pub feedid: FeedId,
    /// Its product type.
    pub productuuid: String,
    /// Number of the firmware, one more for each.
    pub version: i64,
    /// Its name, such as `1.2.1.20151030_release`.
    pub versionname: String,
    /// Check sum: [`crate::crypto::crc32`].
    pub crc32: u32,
    /// Where it is.
    pub url: String,
}

impl OtaOrder {
    /// As JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Members<'a> {
            cmd: &'a str,
            serial: i64,
            data: &'a Firmware,
        }
        json::encode(&Members { cmd: ORDER, serial: self.serial, data: &self.firmware })
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// See [`WireError`].
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        #[derive(Deserialize)]
        struct Members {
            cmd: String,
            serial: i64,
            #[serde(deserialize_with = "json::nested")]
            data: Firmware,
        }
        let Members { cmd, serial, data } = json::object(body)?;
        if cmd == ORDER { Ok(Self { serial, firmware: data }) } else { Err(WireError::Value("cmd")) }
    }

    /// Reads only the number of an order that [`Self::decode`] refuses, so that it can be answered.
    #[must_use]
    pub fn serial_of(body: &[u8]) -> Option<i64> {
        #[derive(Deserialize)]
        struct Members {
            serial: i64,
        }
        json::object(body).ok().map(|Members { serial }| serial)
    }
}

/// Type 7, up: the order was taken or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtaAnswer {
    /// The result.
    pub code: Code,
    /// Number of the order.
    pub serial: i64,
    /// The code for people.
    #[serde(default)]
    pub msg: String,
}

impl OtaAnswer {
    /// The answer with this code and its text.
    #[must_use]
    pub fn of(code: Code, serial: i64) -> Self {
        Self { code, serial, msg: code.text().to_owned() }
    }

    /// As JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        json::encode(self)
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// See [`WireError`].
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        json::object(body)
    }
}

numbered! {
    /// How far an upgrade is.
    OtaPhase {
        /// The image is downloaded.
        Downloading = 0,
        /// It is installed.
        Installing = 1,
        /// It runs.
        Finished = 2,
        /// It does not, and the old one does.
        Failed = 3,
    }
}

/// Type 8, up; its answer is [`super::Answer`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtaStatus {
    /// Who is upgraded.
    pub feedid: FeedId,
    /// Its product type.
    pub productuuid: String,
    /// How far it is.
    pub status: OtaPhase,
    /// The same for people; why, if it failed.
    pub status_desc: String,
    /// How much of this phase is done, 0 to 100.
    pub progress: u8,
}

impl OtaStatus {
    /// As JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Members<'a> {
            cmd: &'a str,
            data: &'a OtaStatus,
        }
        json::encode(&Members { cmd: STATUS, data: self })
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// See [`WireError`].
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        #[derive(Deserialize)]
        struct Members {
            cmd: String,
            #[serde(deserialize_with = "json::nested")]
            data: OtaStatus,
        }
        let Members { cmd, data } = json::object(body)?;
        match cmd.as_str() {
            STATUS if data.progress <= 100 => Ok(data),
            STATUS => Err(WireError::Value("progress")),
            _ => Err(WireError::Value("cmd")),
        }
    }
}

// Values of `cmd` (JoyLink V1.79, OTA).
const ORDER: &str = "ota";
const STATUS: &str = "otastat";
