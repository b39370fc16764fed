//! Which of the host's tokens is which of the session's [`RequestId`]s. Both maps are bounded.

use std::collections::BTreeMap;

use crate::RequestId;

/// What a token stands for. Handles live until they are closed and can be named by the session; the others end with
/// their one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An MQTT connection.
    MqttConnection,
    /// A publish.
    MqttPublish,
    /// A subscription.
    MqttSubscribe,
    /// A TCP stream or listener.
    Tcp,
    /// A UDP socket.
    Udp,
    /// An HTTP request; a handle, since it can be cancelled.
    Http,
    /// A write to the store.
    Store,
    /// A look-up of a host name.
    Resolve,
    /// A script.
    Script,
    /// A call of a script's function.
    ScriptCall,
    /// A part of the log that is sent.
    Logs,
}

impl Kind {
    const fn is_handle(self) -> bool {
        matches!(self, Self::MqttConnection | Self::Tcp | Self::Udp | Self::Http | Self::Script)
    }
}

/// The two maps.
#[derive(Debug, Default)]
pub struct Handles {
    by_token: BTreeMap<u64, (Kind, RequestId)>,
    by_id: BTreeMap<(Kind, RequestId), u64>,
    accepted: u64,
}

impl Handles {
    /// Whether one more of this kind may be asked for.
    pub fn has_room(&self, kind: Kind) -> bool {
        let n_handles = self.by_id.len();
        if kind.is_handle() { n_handles < HANDLES_MAX } else { self.by_token.len() - n_handles < ANSWERS_MAX }
    }

    /// Remembers a token. Gives back the token that had the same id before, if it was a handle: nobody can name that
    /// one any more, so it is to be closed, and its events are dropped from now on.
    pub fn insert(&mut self, kind: Kind, id: RequestId, token: u64) -> Option<u64> {
        // Token 0 is what a host answers that has already ended this instance.
        if token == 0 {
            return None;
        }
        self.forget(token);
        self.by_token.insert(token, (kind, id));
        let replaced = kind.is_handle().then(|| self.by_id.insert((kind, id), token)).flatten();
        if let Some(old) = replaced {
            self.by_token.remove(&old);
        }
        replaced
    }

    /// The id of a token of this kind.
    pub fn id(&self, kind: Kind, token: u64) -> Option<RequestId> {
        self.by_token.get(&token).filter(|(of, _)| *of == kind).map(|(_, id)| *id)
    }

    /// What a token is.
    pub fn find(&self, token: u64) -> Option<(Kind, RequestId)> {
        self.by_token.get(&token).copied()
    }

    /// The token of a handle.
    pub fn token(&self, kind: Kind, id: RequestId) -> Option<u64> {
        self.by_id.get(&(kind, id)).copied()
    }

    /// The id of a token of this kind, which ends here.
    pub fn take(&mut self, kind: Kind, token: u64) -> Option<RequestId> {
        let id = self.id(kind, token)?;
        self.forget(token);
        Some(id)
    }

    /// A fresh id for a stream that came in.
    pub fn accept(&mut self, token: u64) -> RequestId {
        self.accepted += 1;
        let id = RequestId(FIRST_ACCEPTED + self.accepted);
        self.insert(Kind::Tcp, id, token);
        id
    }

    fn forget(&mut self, token: u64) {
        if let Some(entry) = self.by_token.remove(&token) {
            self.by_id.remove(&entry);
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.by_token.len()
    }
}

/// Whether only the driver may give this id.
pub const fn is_reserved(id: RequestId) -> bool {
    id.0 >= FIRST_ACCEPTED
}

/// Ids of accepted streams are above this; a session's own are below.
const FIRST_ACCEPTED: u64 = 1 << 63;

/// Connections, streams, sockets, HTTP requests and scripts at once. When full, a further one is refused with
/// [`crate::services::Reason::Quota`] without asking the host, and a stream that comes in is closed. Not documented;
/// chosen by us: more than any host grants.
pub const HANDLES_MAX: usize = 256;

/// Publishes, subscriptions, writes, look-ups and calls of scripts under way. When full, a further one fails with
/// [`crate::services::Reason::Quota`]. Not documented; chosen by us: three times what `polylink.mqtt/1` queues.
pub const ANSWERS_MAX: usize = 1024;
