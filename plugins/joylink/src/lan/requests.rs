//! [`LanRequest`]: what apps want, beside finding devices; and [`Asker`], who it was.

use core::net::SocketAddr;

use polylink_plugin_sdk::RequestId;

use crate::packet::{Kind, Opened, Refused};
use crate::timers::wire::head;
use crate::wire::{AddSubDevice, Authorization, Json, JsonRequest, Script, SubScript, WireError, biz};

/// Who wants something. It stays good for one answer however long that takes, and costs nothing if none comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    pub(super) socket: RequestId,
    pub(super) peer: SocketAddr,
    pub(super) kind: Kind,
    /// The time in the request, by the app's clock.
    pub(super) timestamp: u32,
}

impl Asker {
    /// Type of the request, and of its answer.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The app's address, for the log.
    #[must_use]
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }
}

/// What an app wants. Everything was decrypted and read, and is newer than what came before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LanRequest {
    /// Bind the device (2).
    Authorize(Authorization),
    /// Bind something (2 or 102), but what is a JSON object does not say what. The answer is
    /// [`crate::wire::Code::AUTHORIZATION_FAILED`].
    Unusable(WireError),
    /// Bind a sub-device (102).
    SubAuthorize(Authorization),
    /// Let a sub-device join (105).
    AddSubDevice(AddSubDevice),
    /// Control the device (3).
    Json(JsonRequest),
    /// Control a sub-device (103).
    SubJson(JsonRequest),
    /// Control the device with its own bytes (4); the code is one of [`biz`] that has an answer.
    Script(Script),
    /// The same for a sub-device (104), still encrypted with its key.
    SubScript(SubScript),
    /// Something about timers (13): the whole payload with the time in front, as [`crate::timers::wire`] reads it.
    Timers(Vec<u8>),
}

/// Reads a request of this type.
pub(super) fn read(kind: Kind, opened: &Opened) -> Result<LanRequest, Refused> {
    let body = opened.body();
    Ok(match kind {
        Kind::Authorization => binding(body, Authorization::decode(body).map(LanRequest::Authorize))?,
        Kind::SubAuthorization => binding(body, Authorization::decode_sub(body).map(LanRequest::SubAuthorize))?,
        Kind::AddSubDevice => LanRequest::AddSubDevice(AddSubDevice::decode(body)?),
        Kind::Json => LanRequest::Json(JsonRequest::decode(body)?),
        Kind::SubJson => LanRequest::SubJson(JsonRequest::decode_sub(body)?),
        Kind::Script => LanRequest::Script(Script::decode(body)?),
        Kind::SubScript => LanRequest::SubScript(SubScript::decode(body)?),
        Kind::Timers => {
            head(opened.plain()).ok_or(Refused::Structure)?;
            LanRequest::Timers(opened.plain().to_vec())
        }
        _ => return Err(Refused::Kind(kind as u8)),
    })
}

/// The person who binds gets to see that it failed, so unlike any other request one that cannot be read has an answer. Not
/// if it is no JSON object: that is what a wrong key leaves if the padding is right by chance, and whoever got an answer to
/// it could find out, byte by byte, what a recorded authorization says, with the keys in it.
fn binding(body: &[u8], read: Result<LanRequest, WireError>) -> Result<LanRequest, Refused> {
    let is_object = || std::str::from_utf8(body).ok().and_then(Json::new).is_some_and(|json| json.is_object());
    read.or_else(|error| if is_object() { Ok(LanRequest::Unusable(error)) } else { Err(error.into()) })
}

impl LanRequest {
    /// Whether the device knows what it means. Timers are judged by who keeps them.
    pub(super) const fn is_known(&self) -> bool {
        match self {
            Self::Script(Script { biz_code, .. }) => matches!(*biz_code, biz::CONTROL | biz::SNAPSHOT | biz::RECIPE),
            // Recipes are the gateway's own.
            Self::SubScript(SubScript { biz_code, .. }) => matches!(*biz_code, biz::CONTROL | biz::SNAPSHOT),
            _ => true,
        }
    }
}
