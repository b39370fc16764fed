//! Streams and listeners; see [`polylink_plugin_api::services::tcp`].

use super::{Failure, Tls};
use crate::RequestId;

/// What a session asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Open a stream, called by this id from now on; [`Event::Opened`] or [`Event::Closed`] follows.
    Open {
        /// The stream.
        id: RequestId,
        /// Host name or address.
        host: String,
        /// TCP port.
        port: u16,
        /// TLS, or plain text.
        tls: Option<Tls>,
        /// Give up after so many milliseconds; 0: 10 s.
        timeout_ms: u32,
    },
    /// Wait for streams; [`Event::Listening`] or [`Event::Closed`] follows.
    Listen {
        /// The listener.
        id: RequestId,
        /// Local address; empty: all.
        address: String,
        /// Port; 0: the system chooses.
        port: u16,
        /// Most streams at once; 0: 16.
        max_streams: u16,
    },
    /// Send bytes on a stream, all or none; [`Event::Overflow`] says none.
    Send(RequestId, Vec<u8>),
    /// Send what is queued and close a stream, or close a listener.
    Close(RequestId),
}

/// What the service says.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The stream is open.
    Opened(RequestId),
    /// The listener waits on this port.
    Listening(RequestId, u16),
    /// A stream came in. The driver chose its id: above 2^63, so that it meets none of the session's.
    Accepted {
        /// The listener.
        listener: RequestId,
        /// The new stream.
        stream: RequestId,
        /// The peer's address and port.
        peer: String,
    },
    /// Bytes came.
    Received(RequestId, Vec<u8>),
    /// A [`Request::Send`] was not taken, for lack of room; these are its bytes.
    Overflow(RequestId, Vec<u8>),
    /// After an overflow, there is room again.
    Drained(RequestId),
    /// Gone, or never came to be.
    Closed(RequestId, Failure),
}
