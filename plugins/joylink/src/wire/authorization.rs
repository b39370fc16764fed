//! Types 2, 102 and 105: an app binds a device or a sub-device, or announces one.

use polylink_plugin_sdk::secret::Secret;
use serde::{Deserialize, Serialize};

use super::discovery::Protocol;
use super::json::{self, Flag, Json};
use super::{Code, FeedId, WireError};
use crate::crypto::Key32;

/// What a device is told when it is bound. All of it is to be stored.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Authorization {
    /// Its identity from now on, never empty.
    pub feedid: FeedId,
    /// Its key for the cloud.
    pub accesskey: Key32,
    /// Its key for the local network.
    pub localkey: Key32,
    /// Its product type, for a device that has none of its own.
    pub productuuid: Option<String>,
    /// Addresses of the cloud, host and port; the first one that works is to be used. Not checked: see [`Server::parse`].
    #[serde(default)]
    pub joylink_server: Vec<String>,
    /// Addresses of the older protocol, to be stored and not used.
    pub server: Option<Json>,
    /// More of them.
    pub tcpaes: Option<Json>,
    /// Whether the device may be controlled on the local network.
    pub lancon: Option<Flag>,
    /// An object to be shown in discovery.
    pub opt: Option<Json>,
    /// Which sub-device is bound. Only in type 102.
    pub mac: Option<String>,
}

impl Authorization {
    /// As JSON, with the keys in it: what an app sends, and a form to store it in. Both keys must be made of texts, as
    /// [`Self::decode`] makes them.
    #[must_use]
    pub fn encode(&self) -> Secret<Vec<u8>> {
        #[derive(Serialize)]
        struct Data<'a> {
            feedid: FeedId,
            accesskey: &'a str,
            localkey: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            productuuid: &'a Option<String>,
            joylink_server: &'a [String],
            #[serde(skip_serializing_if = "Option::is_none")]
            server: &'a Option<Json>,
            #[serde(skip_serializing_if = "Option::is_none")]
            tcpaes: &'a Option<Json>,
            #[serde(skip_serializing_if = "Option::is_none")]
            lancon: Option<Flag>,
            #[serde(skip_serializing_if = "Option::is_none")]
            opt: &'a Option<Json>,
            #[serde(skip_serializing_if = "Option::is_none")]
            mac: &'a Option<String>,
        }
        #[derive(Serialize)]
        struct Members<'a> {
            data: Data<'a>,
        }
        let data = Data {
            feedid: self.feedid,
            accesskey: self.accesskey.expose_text().unwrap_or_default(),
            localkey: self.localkey.expose_text().unwrap_or_default(),
            productuuid: &self.productuuid,
            joylink_server: &self.joylink_server,
            server: &self.server,
            tcpaes: &self.tcpaes,
            lancon: self.lancon,
            opt: &self.opt,
            mac: &self.mac,
        };
        Secret::new(json::encode(&Members { data }))
    }

    /// Reads what a device is told (2).
    ///
    /// # Errors
    /// See [`WireError`]. No error shows a key.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        #[derive(Deserialize)]
        struct Members {
            #[serde(deserialize_with = "json::nested")]
            data: Authorization,
        }
        let Members { data } = json::object(body)?;
        if data.feedid.is_empty() {
            return Err(WireError::Value("feedid"));
        }
        if data.opt.as_ref().is_some_and(|opt| !opt.is_object()) {
            return Err(WireError::Value("opt"));
        }
        Ok(data)
    }

    /// Reads what a gateway is told of a sub-device (102), which is found by product type and address.
    ///
    /// # Errors
    /// One of them is missing, or see [`Self::decode`].
    pub fn decode_sub(body: &[u8]) -> Result<Self, WireError> {
        let data = Self::decode(body)?;
        if data.productuuid.is_none() || data.mac.is_none() {
            return Err(WireError::Members);
        }
        Ok(data)
    }

    /// The servers that can be used, in order.
    pub fn servers(&self) -> impl Iterator<Item = Server> {
        self.joylink_server.iter().filter_map(|server| Server::parse(server))
    }
}

/// Where the cloud is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Name or address.
    pub host: String,
    /// TCP port, never 0.
    pub port: u16,
}

impl Server {
    /// Reads `host:port`; `None` if one of them is missing or cannot be.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.trim().rsplit_once(':')?;
        let ok = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic());
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|port| digits && *port != 0)?;
        ok.then(|| Self { host: host.to_owned(), port })
    }
}

/// Announces a sub-device (105), so that the gateway lets it join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddSubDevice {
    /// Its address.
    pub mac: String,
    /// Its product type.
    pub productuuid: String,
    /// What it speaks with the gateway.
    pub protocol: Protocol,
}

impl AddSubDevice {
    /// As JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Members<'a> {
            cmd: i64,
            data: &'a AddSubDevice,
        }
        json::encode(&Members { cmd: ADD, data: self })
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// See [`WireError`].
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        #[derive(Deserialize)]
        struct Members {
            cmd: i64,
            #[serde(deserialize_with = "json::nested")]
            data: AddSubDevice,
        }
        let Members { cmd, data } = json::object(body)?;
        if cmd == ADD { Ok(data) } else { Err(WireError::Value("cmd")) }
    }
}

/// The answer to 102 and 105: the result, and whom it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubAnswer {
    /// The result.
    pub code: Code,
    /// The same for people.
    #[serde(default)]
    pub msg: String,
    /// Product type of the request.
    pub productuuid: String,
    /// Address of the request.
    pub mac: String,
}

impl SubAnswer {
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

/// `cmd` of type 105 (JoyLink V1.79, add sub-device).
const ADD: i64 = 6;
