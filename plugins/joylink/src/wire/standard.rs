//! Standard JSON: the content of types 4, 11 and 12 of a product without a script, and what scripts convert from and to
//! (JoyLink V1.79, script specification). For recipes see [`super::recipe`].

use serde::{Deserialize, Serialize};

use super::control::Stream;
use super::json::{self, Json};
use super::{Code, WireError};

/// What a device is to change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Control {
    /// Which values, to what.
    pub streams: Vec<Stream>,
    /// The sender's view of all values; of no use to a device, and not looked into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Json>,
}

impl Control {
    /// As JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        json::encode(self)
    }

    /// Reads JSON; also what has the same in a member `data`, as type 3 has it.
    ///
    /// # Errors
    /// See [`WireError`].
    pub fn decode(content: &[u8]) -> Result<Self, WireError> {
        #[derive(Deserialize)]
        struct Members {
            #[serde(default, deserialize_with = "json::optional_list")]
            streams: Option<Vec<Stream>>,
            snapshot: Option<Json>,
            data: Option<Json>,
        }
        let Members { mut streams, mut snapshot, data } = json::object(content)?;
        if let (None, Some(data)) = (&streams, data) {
            Members { streams, snapshot, .. } = json::object(data.get().as_bytes()).map_err(|_| WireError::Members)?;
        }
        Ok(Self { streams: streams.ok_or(WireError::Members)?, snapshot })
    }
}

/// What a device says: its values as an upload or as the answer to a question, or the answer to a control.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// The result; success in an upload.
    pub code: Code,
    /// All values; `None`: they are not told.
    #[serde(skip_serializing_if = "Option::is_none", default, deserialize_with = "json::optional_list")]
    pub streams: Option<Vec<Stream>>,
    /// The code for people; in answers to controls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub msg: Option<String>,
}

impl Said {
    /// As JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        json::encode(self)
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// See [`WireError`].
    pub fn decode(content: &[u8]) -> Result<Self, WireError> {
        json::object(content)
    }
}
