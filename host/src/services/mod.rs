//! What the host does for plugins: sockets, HTTP, storage, facts. Each service is a table of functions (see
//! [`polylink_plugin_api::services`]) that find the calling instance by its id and return at once; completions go to the
//! instance's [`EventSink`].

use std::future::Future;
use std::pin::Pin;

/// An event on its way to a plugin, owning what [`polylink_plugin_api::Event`] borrows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnedEvent {
    /// Table id.
    pub source: &'static str,
    /// Kind within the table.
    pub kind: u32,
    /// Call or handle.
    pub token: u64,
    /// Number.
    pub code: i64,
    /// Text.
    pub text: String,
    /// Bytes.
    pub body: Vec<u8>,
}

/// Where services put events for one instance. Implemented by [`crate::plugins::inbox::Inbox`].
pub trait EventSink: Send + Sync {
    /// Puts a completion. Always taken: the number of calls under way is bounded by the quotas.
    fn complete(&self, event: OwnedEvent);

    /// Puts news that may be lost, such as a datagram; false: no room, dropped, and counted by the inbox.
    fn offer(&self, event: OwnedEvent) -> bool;

    /// Puts news that must not be lost, such as stream bytes; waits for room, which stops the reading of the socket.
    fn deliver<'a>(&'a self, event: OwnedEvent) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
}
