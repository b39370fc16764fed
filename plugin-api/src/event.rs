//! [`Event`]: the one frozen record in which every service reports. The SDK makes typed views of it.

use abi_stable::StableAbi;
use abi_stable::std_types::{RSlice, RStr};

/// Something a service of the host has to say. What the fields mean is written with each kind in
/// [`crate::services`]; fields that a kind does not use are 0 or empty.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct Event<'a> {
    /// The id of the table that speaks, such as `polylink.mqtt/1`; [`WAKE`] for a wake-up that was asked for.
    pub source: RStr<'a>,
    /// What happened; its meaning belongs to `source`. Unknown kinds are ignored.
    pub kind: u32,
    /// The call or the handle that this is about.
    pub token: u64,
    /// A number, such as an HTTP status or a CONNACK code.
    pub code: i64,
    /// A text, such as a topic or a reason.
    pub text: RStr<'a>,
    /// Bytes, such as a payload.
    pub body: RSlice<'a, u8>,
}

/// [`Event::source`] of the event that answers `Host::wake`: `token` is the one that was given there.
pub const WAKE: &str = "polylink.wake";
