//! The state of the connection, and [`Phase`], its name. What only exists in one state lives in it, so that the session
//! key cannot be used before there is one, nor after.

use polylink_plugin_sdk::{RequestId, Timestamp};

use super::outgoing::Outgoing;
use crate::crypto::CipherKey;
use crate::packet::{Refused, Route, Splitter};

/// Where the connection is.
#[derive(Debug)]
pub(super) enum Link {
    /// There is no account.
    Unbound,
    /// The host was asked for a stream; it says in any case what became of it.
    Connecting(RequestId),
    /// The device said who it is.
    Authenticating { stream: Stream, until: Timestamp },
    /// The cloud accepted it.
    Working { stream: Stream, key: CipherKey, beat_at: Timestamp, n_unanswered: u32 },
    /// There is no stream until then.
    Waiting { until: Timestamp },
}

/// An open stream.
#[derive(Debug)]
pub(super) struct Stream {
    id: RequestId,
    pub splitter: Splitter,
    pub outgoing: Outgoing,
    /// Why the last packet was dropped that was.
    pub refused: Option<Refused>,
}

impl Stream {
    pub const fn new(id: RequestId) -> Self {
        Self { id, splitter: Splitter::new(Route::CloudToDevice), outgoing: Outgoing::new(id), refused: None }
    }
}

impl Link {
    /// The stream that the host knows of.
    pub const fn stream_id(&self) -> Option<RequestId> {
        match self {
            Self::Connecting(id) => Some(*id),
            Self::Authenticating { stream, .. } | Self::Working { stream, .. } => Some(stream.id),
            Self::Unbound | Self::Waiting { .. } => None,
        }
    }

    /// The open stream, if it has this id.
    pub fn stream_called(&mut self, id: RequestId) -> Option<&mut Stream> {
        match self {
            Self::Authenticating { stream, .. } | Self::Working { stream, .. } if stream.id == id => Some(stream),
            _ => None,
        }
    }

    pub fn is_connecting(&self, id: RequestId) -> bool {
        matches!(self, Self::Connecting(connecting) if *connecting == id)
    }

    pub const fn phase(&self) -> Phase {
        match self {
            Self::Unbound => Phase::Unbound,
            Self::Connecting(_) => Phase::Connecting,
            Self::Authenticating { .. } => Phase::Authenticating,
            Self::Working { .. } => Phase::Working,
            Self::Waiting { .. } => Phase::Waiting,
        }
    }
}

/// How far the connection to the cloud is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// There is no account, or one without servers.
    Unbound,
    /// A stream is being opened.
    Connecting,
    /// The device said who it is, and the cloud has not answered.
    Authenticating,
    /// The cloud accepted the device.
    Working,
    /// The next attempt is some time away.
    Waiting,
}

impl Phase {
    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unbound => "not bound",
            Self::Connecting => "connecting",
            Self::Authenticating => "authenticating",
            Self::Working => "working",
            Self::Waiting => "waiting to connect again",
        }
    }
}
