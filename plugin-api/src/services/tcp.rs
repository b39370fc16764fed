//! `polylink.tcp/1`: TCP and TLS streams, outgoing and incoming.
//!
//! At most 256 KiB wait to be sent on a stream. While the plugin's inbox is full the host does not read.

use abi_stable::StableAbi;
use abi_stable::std_types::{RSlice, RStr};

use super::TlsOptions;
use crate::extension::Extension;
use crate::host::InstanceId;

/// The table.
#[repr(C)]
#[derive(StableAbi)]
pub struct Tcp {
    /// Opens a stream; the token is its handle. Ends in [`OPENED`] or [`CLOSED`].
    pub open: extern "C" fn(InstanceId, TcpOpen<'_>) -> u64,
    /// Waits for streams; the token is the listener's handle. Ends in [`LISTENING`] or [`CLOSED`].
    pub listen: extern "C" fn(InstanceId, TcpListen<'_>) -> u64,
    /// Queues bytes on a stream, all or none: one of [`TAKEN`], [`FULL`], [`GONE`].
    pub send: extern "C" fn(InstanceId, u64, RSlice<'_, u8>) -> u8,
    /// Sends what is queued and closes a stream, or closes a listener. Ends in [`CLOSED`].
    pub close: extern "C" fn(InstanceId, u64),
}

impl Extension for Tcp {
    const ID: &'static str = "polylink.tcp/1";
}

/// Answer of `send`: the bytes will be sent in order unless the stream breaks.
pub const TAKEN: u8 = 0;
/// Answer of `send`: no room, nothing was taken. [`DRAINED`] follows when there is room again.
pub const FULL: u8 = 1;
/// Answer of `send`: there is no such open stream.
pub const GONE: u8 = 2;

/// The stream is open. `token`: handle; `text`: the peer's address and port.
pub const OPENED: u32 = 1;
/// `token`: the listener's handle; `code`: the port.
pub const LISTENING: u32 = 2;
/// A stream came in. `token`: the listener's handle; `code`: the new stream's handle; `text`: the peer's address and
/// port.
pub const ACCEPTED: u32 = 3;
/// Bytes, at most 16 KiB at once. `token`: handle; `body`: the bytes.
pub const RECEIVED: u32 = 4;
/// The queue of a stream that was [`FULL`] is empty. `token`: handle.
pub const DRAINED: u32 = 5;
/// Gone, or never came to be. `token`: handle; `code`: [`crate::HostRefusal`]; `text`: why. The peer's orderly end is
/// [`crate::HostRefusal::CONNECTION_LOST`] too.
pub const CLOSED: u32 = 6;

/// Where to connect.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct TcpOpen<'a> {
    /// Host name or address.
    pub host: RStr<'a>,
    /// TCP port.
    pub port: u16,
    /// Protection of the stream.
    pub tls: TlsOptions<'a>,
    /// Give up after so many milliseconds; 0: 10 s.
    pub timeout_ms: u32,
}

/// Where to wait.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct TcpListen<'a> {
    /// Local address; empty: all.
    pub address: RStr<'a>,
    /// TCP port; 0: the system chooses.
    pub port: u16,
    /// Most streams open at once from this listener; a further one is accepted and closed. 0: 16.
    pub max_streams: u16,
}
