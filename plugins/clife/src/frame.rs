//! The envelope that every Clife message travels in, both ways.
//!
//! Invariant: a name or a number of the cloud never passes through floating point, and what is only handed on keeps its
//! bytes. What a body means is left to the modules of the commands, and its encryption to [`crate::cipher`].

mod commands;
mod id;
mod members;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use commands::{Sender, cmd, sender};
pub use id::MsgId;
pub use members::{integer, list, members, merged, text};

/// Longest message taken (Clife access protocol, our reading: bad input). The host's MQTT service has the same limit.
pub const MAX_MESSAGE: usize = 256 * 1024;

/// `dir` of what a device sends to the platform (samples of the Clife access protocol).
pub const DIR_UP: &str = "03";

/// `dir` of what the platform sends to a device (samples of the Clife access protocol).
pub const DIR_DOWN: &str = "30";

/// Priority of a frame that names none: middle (Clife access protocol, frame).
pub const PRIO_DEFAULT: i64 = 1;

/// A message as it came in. Members that cannot be used count as absent.
#[derive(Clone, Debug)]
pub struct Frame {
    /// What it is about; see [`cmd`].
    pub cmd: i64,
    /// Version of the protocol, empty if it says none.
    pub ver: String,
    /// Two digits, sender and receiver; empty if it says none. See [`Frame::direction`].
    pub dir: String,
    /// Its name; `None` if that is anything but a number.
    pub id: Option<MsgId>,
    /// 0 low, 1 middle, from 2 on high; higher ones come first.
    pub prio: i64,
    /// When it was sent, in Unix milliseconds.
    pub timestamp: Option<i64>,
    /// The body, exactly as it came; `None` if absent or null.
    pub data: Option<Box<RawValue>>,
}

/// Why a message was dropped before anybody looked at its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Larger than [`MAX_MESSAGE`].
    #[error("message of {0} bytes, at most {MAX_MESSAGE} are taken")]
    TooLong(usize),
    /// Not one JSON object in UTF-8.
    #[error("not a JSON object")]
    NotAnObject,
    /// `cmd` is missing or not a whole number.
    #[error("no usable `cmd`")]
    NoCmd,
}

/// What `dir` says of who sent a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The platform to this device, as it should be.
    Down,
    /// This device to the platform: an echo, to be dropped.
    Own,
    /// Anything else: processed, and worth a warning.
    Other,
}

impl Frame {
    /// Reads a message.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub fn decode(message: &[u8]) -> Result<Self, FrameError> {
        if message.len() > MAX_MESSAGE {
            return Err(FrameError::TooLong(message.len()));
        }
        let message: &RawValue = serde_json::from_slice(message).map_err(|_| FrameError::NotAnObject)?;
        let mut members = members(message).ok_or(FrameError::NotAnObject)?;
        let member = |name: &str| members.get(name).map(AsRef::as_ref);
        Ok(Self {
            cmd: member("cmd").and_then(|raw| raw.get().parse().ok()).ok_or(FrameError::NoCmd)?,
            ver: member("ver").and_then(text).unwrap_or_default(),
            dir: member("dir").and_then(text).unwrap_or_default(),
            id: member("msgId").and_then(MsgId::parse),
            prio: member("prio").and_then(integer).unwrap_or(PRIO_DEFAULT),
            timestamp: member("timestamp").and_then(integer),
            data: members.remove("data").filter(|data| data.get() != "null"),
        })
    }

    /// Who sent it, by the digits that this device's two directions have.
    #[must_use]
    pub fn direction(&self, up: &str, down: &str) -> Direction {
        // In this order, so that a wrong setting cannot turn every message into an echo.
        match self.dir.as_str() {
            dir if dir == down => Direction::Down,
            dir if dir == up => Direction::Own,
            _ => Direction::Other,
        }
    }

    /// False if it says it is of another protocol than 1.x: worth a warning, nothing more, since the higher version must
    /// understand the lower one (Clife access protocol, frame).
    #[must_use]
    pub fn version_ok(&self) -> bool {
        self.ver.split('.').next() == VERSION.split('.').next()
    }
}

/// Sender and receiver of a `dir`; `None` if it is not two digits.
#[must_use]
pub fn dir_digits(dir: &str) -> Option<(u8, u8)> {
    match *dir.as_bytes() {
        [sender @ b'0'..=b'9', receiver @ b'0'..=b'9'] => Some((sender - b'0', receiver - b'0')),
        _ => None,
    }
}

/// JSON type of the timestamps that the device sends. The protocol's table says text, all its samples are numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimestampType {
    /// A number.
    #[default]
    Number,
    /// Its digits as a text.
    String,
}

/// A message of the device: compact JSON in UTF-8. `data` is sent as it is; whoever wants it encrypted hands over the
/// text that [`crate::cipher::encrypt`] makes. Without `prio` the frame carries none.
#[must_use]
pub fn encode(
    cmd: i64,
    dir: &str,
    id: impl Into<MsgId>,
    prio: Option<i64>,
    timestamp_ms: i64,
    timestamp_type: TimestampType,
    data: &RawValue,
) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Outgoing<'a> {
        cmd: i64,
        ver: &'static str,
        dir: &'a str,
        msg_id: MsgId,
        #[serde(skip_serializing_if = "Option::is_none")]
        prio: Option<i64>,
        timestamp: Box<RawValue>,
        data: &'a RawValue,
    }
    let timestamp = match timestamp_type {
        TimestampType::Number => raw(&timestamp_ms),
        TimestampType::String => raw(&timestamp_ms.to_string()),
    };
    let outgoing = Outgoing { cmd, ver: VERSION, dir, msg_id: id.into(), prio, timestamp, data };
    serde_json::to_vec(&outgoing).expect("names, numbers and checked JSON always become JSON")
}

/// Makes a body out of anything that serde can write.
#[must_use]
pub fn raw(content: &(impl Serialize + ?Sized)) -> Box<RawValue> {
    serde_json::value::to_raw_value(content).expect("structures with text keys always become JSON")
}

/// Protocol version of every frame (samples of the Clife access protocol).
const VERSION: &str = "1.0";
