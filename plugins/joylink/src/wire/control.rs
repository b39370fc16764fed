//! Types 3 and 103: an app controls a device or a sub-device with JSON.

use serde::{Deserialize, Serialize};

use super::json::{self, Json};
use super::{Code, FeedId, WireError};

/// A value of a device under its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// Its name.
    pub stream_id: String,
    /// A text or a number, of the kind in which it came.
    pub current_value: Json,
}

/// What an app wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonRequest {
    /// The sub-device that it is for (103). Some apps put its address here.
    pub feedid: Option<FeedId>,
    /// What to do.
    pub command: JsonCommand,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonCommand {
    /// Tell all values.
    Snapshot,
    /// Change values.
    Control {
        /// Which, to what.
        streams: Vec<Stream>,
        /// The app's view of all values; of no use to a device, and not looked into.
        snapshot: Option<Json>,
    },
}

impl JsonRequest {
    /// As JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Members<T> {
            cmd: i64,
            #[serde(skip_serializing_if = "Option::is_none")]
            feedid: Option<FeedId>,
            data: T,
        }
        #[derive(Serialize)]
        struct Data<'a> {
            streams: &'a [Stream],
            #[serde(skip_serializing_if = "Option::is_none")]
            snapshot: Option<&'a Json>,
        }
        let feedid = self.feedid;
        match &self.command {
            JsonCommand::Snapshot => json::encode(&Members { cmd: SNAPSHOT, feedid, data: Json::empty_object() }),
            JsonCommand::Control { streams, snapshot } => {
                json::encode(&Members { cmd: CONTROL, feedid, data: Data { streams, snapshot: snapshot.as_ref() } })
            }
        }
    }

    /// Reads what a device is asked (3).
    ///
    /// # Errors
    /// See [`WireError`].
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        #[derive(Deserialize)]
        struct Members {
            cmd: i64,
            feedid: Option<FeedId>,
            data: Option<Json>,
        }
        #[derive(Deserialize)]
        struct Data {
            #[serde(deserialize_with = "json::list")]
            streams: Vec<Stream>,
            snapshot: Option<Json>,
        }
        let Members { cmd, feedid, data } = json::object(body)?;
        let command = match cmd {
            SNAPSHOT => JsonCommand::Snapshot,
            CONTROL => {
                let data = data.ok_or(WireError::Members)?;
                let Data { streams, snapshot } = json::object(data.get().as_bytes()).map_err(|_| WireError::Members)?;
                JsonCommand::Control { streams, snapshot }
            }
            _ => return Err(WireError::Value("cmd")),
        };
        Ok(Self { feedid, command })
    }

    /// Reads what a gateway is asked for a sub-device (103).
    ///
    /// # Errors
    /// It names none, or see [`Self::decode`].
    pub fn decode_sub(body: &[u8]) -> Result<Self, WireError> {
        let request = Self::decode(body)?;
        if request.feedid.is_some() { Ok(request) } else { Err(WireError::Members) }
    }
}

/// What a device answers: all values, or why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JsonAnswer {
    /// The result.
    pub code: Code,
    /// The sub-device of the request (103).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feedid: Option<FeedId>,
    /// All values, if the code is success.
    #[serde(skip_serializing_if = "Option::is_none", default, deserialize_with = "json::optional_list")]
    pub data: Option<Vec<Stream>>,
    /// The code for people, if it is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub msg: Option<String>,
}

impl JsonAnswer {
    /// All values.
    #[must_use]
    pub const fn snapshot(feedid: Option<FeedId>, streams: Vec<Stream>) -> Self {
        Self { code: Code::SUCCESS, feedid, data: Some(streams), msg: None }
    }

    /// Why not.
    #[must_use]
    pub fn failure(feedid: Option<FeedId>, code: Code) -> Self {
        Self { code, feedid, data: None, msg: Some(code.text().to_owned()) }
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

// Values of `cmd` (JoyLink V1.79, JSON interaction).
const SNAPSHOT: i64 = 4;
const CONTROL: i64 = 5;
