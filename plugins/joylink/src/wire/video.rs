//! The JSON in types 200 and 201, the content of a [`super::Script`]: where a camera sends its video.

use polylink_plugin_sdk::secret::Secret;
use serde::{Deserialize, Serialize};

use super::control::Stream;
use super::json::{self, Json};
use super::{FeedId, WireError};

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VideoRequest {
    /// What to set; see [`Self::push_stream`].
    #[serde(deserialize_with = "json::list")]
    pub control: Vec<Stream>,
    /// The device; may be above what floating point can hold.
    pub feed_id: u64,
    /// To be copied into the answer, unread.
    #[serde(default = "Json::empty_object")]
    pub attribute: Json,
}

/// What a device is to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushStream {
    /// 240, 360 or 480 lines.
    pub resolution: u32,
    /// A URL.
    pub address: String,
}

impl VideoRequest {
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

    /// What the device is to send; it is JSON in a text. `None`: the request does not tell.
    #[must_use]
    pub fn push_stream(&self) -> Option<PushStream> {
        let stream = self.control.iter().find(|stream| stream.stream_id == "push_stream")?;
        json::object(stream.current_value.parse::<String>()?.as_bytes()).ok()
    }
}

/// Whether it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoAnswer {
    /// 0 done, 1 authentication failed, -2 no authentication data, -3 offline, -4 not supported, -5 another reason.
    pub result: i32,
    /// The same for people.
    pub control_resp: String,
    /// What it can send.
    pub resolution: Vec<u32>,
    /// As in the request.
    pub attribute: Json,
    /// Who it is.
    pub feed_id: FeedId,
    /// Its access key, or what the cloud expects instead.
    pub access_key: Secret<String>,
    /// All values, if it does.
    pub streams: Option<Vec<Stream>>,
}

impl VideoAnswer {
    /// As JSON, with the key in it.
    #[must_use]
    pub fn encode(&self) -> Secret<Vec<u8>> {
        #[derive(Serialize)]
        struct Device<'a> {
            feed_id: FeedId,
            access_key: &'a str,
        }
        #[derive(Serialize)]
        struct Members<'a> {
            result: i32,
            control_resp: &'a str,
            resolution: &'a [u32],
            attribute: &'a Json,
            device: Device<'a>,
            #[serde(skip_serializing_if = "Option::is_none")]
            streams: Option<&'a [Stream]>,
        }
        Secret::new(json::encode(&Members {
            result: self.result,
            control_resp: &self.control_resp,
            resolution: &self.resolution,
            attribute: &self.attribute,
            device: Device { feed_id: self.feed_id, access_key: self.access_key.expose() },
            streams: self.streams.as_deref(),
        }))
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// See [`WireError`].
    pub fn decode(content: &[u8]) -> Result<Self, WireError> {
        #[derive(Deserialize)]
        struct Device {
            feed_id: FeedId,
            access_key: Secret<String>,
        }
        #[derive(Deserialize)]
        struct Members {
            result: i32,
            control_resp: String,
            resolution: Vec<u32>,
            #[serde(default = "Json::empty_object")]
            attribute: Json,
            #[serde(deserialize_with = "json::nested")]
            device: Device,
            #[serde(default, deserialize_with = "json::optional_list")]
            streams: Option<Vec<Stream>>,
        }
        let Members { result, control_resp, resolution, attribute, device, streams } = json::object(content)?;
        let Device { feed_id, access_key } = device;
        Ok(Self { result, control_resp, resolution, attribute, feed_id, access_key, streams })
    }
}
