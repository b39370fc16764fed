//! What is in packets: each message as a type that is read and written.
//!
//! All types are what follows the time in an encrypted payload ([`crate::packet::Opened::body`]), or the whole payload of
//! a packet in plain text. Only type 12 has no type here: its body is the device's bytes as they are. Bytes after
//! structures of a fixed size are ignored, as JD's SDKs send some; where a count or a length tells the size, it must be
//! exact.
//!
//! Invariant: ids never pass through floating point, values keep the JSON that they came in, and no error shows a byte of
//! what it is about.
//!
//! Module map: [`discovery`] type 1 · [`authorization`] types 2, 102, 105 · [`control`] types 3, 103 · [`script`] types 4,
//! 11, 104, 111 · [`cloud`] types 9, 10, 14, 15, 16 · [`subdevices`] types 110, 112, 113 · [`ota`] types 7, 8 · [`recipe`],
//! [`information`], [`video`] the JSON in types 11, 15, 16, 200, 201 · [`standard`] that in types 4, 11, 12 where no script
//! makes bytes of it · [`code`] result codes · [`text`] fields of fixed width · [`json`] reading and writing.

pub mod authorization;
pub mod cloud;
pub mod code;
pub mod control;
pub mod discovery;
pub mod information;
pub mod json;
pub mod ota;
pub mod recipe;
pub mod script;
pub mod standard;
pub mod subdevices;
pub mod text;
pub mod video;

pub use authorization::{AddSubDevice, Authorization, SubAnswer};
pub use cloud::{AsyncResult, AuthAnswer, AuthRequest, CodeAnswer, Heartbeat, Information, RecipeReport, SerialAnswer};
pub use code::{Answer, Code};
pub use control::{JsonAnswer, JsonCommand, JsonRequest, Stream};
pub use discovery::{DiscoveryAnswer, DiscoveryRequest, SubDevice};
pub use json::{Flag, Json};
pub use ota::{OtaAnswer, OtaOrder, OtaPhase, OtaStatus};
use polylink_plugin_sdk::bytes::Truncated;
pub use script::{Script, SubScript, biz};
pub use subdevices::{SubBeat, SubHeartbeat, SubState, SubUpload, SubUploadAnswer, Unbind};
pub use text::{FeedId, Text};

use crate::packet::Refused;

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// They end too early.
    #[error("the structure is cut off: {0}")]
    Truncated(#[from] Truncated),
    /// A count or a length in them does not fit the bytes there are.
    #[error("a count does not fit the length")]
    Count,
    /// A text is not UTF-8, or longer than its field.
    #[error("a text is not UTF-8 or too long")]
    Text,
    /// They are not one JSON object in UTF-8.
    #[error("not a JSON object")]
    Json,
    /// A member of the object is missing or of the wrong kind.
    #[error("a member is missing or of the wrong kind")]
    Members,
    /// A member of the object has a value that it cannot have.
    #[error("`{0}` has a value that it cannot have")]
    Value(&'static str),
}

impl From<WireError> for Refused {
    fn from(_: WireError) -> Self {
        Self::Structure
    }
}

#[cfg(test)]
mod tests;
