//! `polylink.udp/1`: datagrams, with broadcast.

use abi_stable::StableAbi;
use abi_stable::std_types::{RSlice, RStr};

use crate::extension::Extension;
use crate::host::InstanceId;

/// The table.
#[repr(C)]
#[derive(StableAbi)]
pub struct Udp {
    /// Opens a socket; the token is its handle. Ends in [`BOUND`] or [`CLOSED`].
    pub bind: extern "C" fn(InstanceId, UdpBind<'_>) -> u64,
    /// Sends one datagram (at most 1472 bytes are sure to pass) to a numeric address and port, such as `192.0.2.7:80`
    /// or `255.255.255.255:2415`. False: not sent (no such socket, bad address, no room).
    pub send_to: extern "C" fn(InstanceId, u64, RStr<'_>, RSlice<'_, u8>) -> bool,
    /// Sends one datagram to this port of the broadcast address of each IPv4 interface that is up; the number of
    /// interfaces it went to.
    pub broadcast: extern "C" fn(InstanceId, u64, u16, RSlice<'_, u8>) -> u32,
    /// Closes a socket. Ends in [`CLOSED`].
    pub close: extern "C" fn(InstanceId, u64),
}

impl Extension for Udp {
    const ID: &'static str = "polylink.udp/1";
}

/// `token`: handle; `code`: the local port.
pub const BOUND: u32 = 1;
/// A datagram. `token`: handle; `text`: the sender's address and port; `body`: the bytes. Dropped and counted while
/// the plugin's inbox is full.
pub const RECEIVED: u32 = 2;
/// Gone, or never came to be. `token`: handle; `code`: [`crate::HostRefusal`]; `text`: why.
pub const CLOSED: u32 = 3;

/// Where to listen.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct UdpBind<'a> {
    /// Local address; empty: all.
    pub address: RStr<'a>,
    /// Port; 0: the system chooses.
    pub port: u16,
    /// True: may send to broadcast addresses.
    pub broadcast: bool,
}
