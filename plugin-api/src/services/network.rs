//! `polylink.network/1`: how this module stands in the network.

use abi_stable::StableAbi;
use abi_stable::std_types::{RStr, RString, RVec};

use crate::extension::Extension;
use crate::host::InstanceId;

/// The table.
#[repr(C)]
#[derive(StableAbi)]
pub struct Network {
    /// The interfaces that are up, without loopback, in the system's order.
    pub interfaces: extern "C" fn(InstanceId) -> RVec<Interface>,
    /// Looks up a host name. Ends in [`RESOLVED`] or [`super::FAILED`].
    pub resolve: extern "C" fn(InstanceId, RStr<'_>) -> u64,
}

impl Extension for Network {
    const ID: &'static str = "polylink.network/1";
}

/// Addresses were found. `token`: the call; `text`: addresses separated by spaces, best first.
pub const RESOLVED: u32 = 1;
/// The interfaces or their addresses changed; ask again. No token.
pub const CHANGED: u32 = 2;

/// One interface.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The system's name, such as `wlan0`.
    pub name: RString,
    /// Hardware address; zeros: it has none.
    pub mac: [u8; 6],
    /// IPv4 address as text; empty: none.
    pub ipv4: RString,
    /// IPv4 broadcast address as text; empty: none.
    pub broadcast: RString,
    /// IPv6 addresses as text, without zone.
    pub ipv6: RVec<RString>,
    /// True for Wi-Fi.
    pub wireless: bool,
    /// Signal in dBm, for Wi-Fi that is connected; 0: unknown.
    pub signal_dbm: i16,
}
