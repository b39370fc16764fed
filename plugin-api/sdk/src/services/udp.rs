//! Datagrams; see [`polylink_plugin_api::services::udp`].

use super::Failure;
use crate::RequestId;

/// What a session asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Open a socket, called by this id from now on; [`Event::Bound`] or [`Event::Closed`] follows.
    Bind {
        /// The socket.
        id: RequestId,
        /// Local address; empty: all.
        address: String,
        /// Port; 0: the system chooses.
        port: u16,
        /// May send to broadcast addresses.
        broadcast: bool,
    },
    /// Send a datagram to a numeric address and port. Lost datagrams are not reported.
    SendTo(RequestId, String, Vec<u8>),
    /// Send a datagram to this port of every interface's broadcast address.
    Broadcast(RequestId, u16, Vec<u8>),
    /// Close a socket.
    Close(RequestId),
}

/// What the service says.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The socket is open on this port.
    Bound(RequestId, u16),
    /// A datagram came from this address and port.
    Received(RequestId, String, Vec<u8>),
    /// Gone, or never came to be.
    Closed(RequestId, Failure),
}
