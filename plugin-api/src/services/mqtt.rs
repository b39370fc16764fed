//! `polylink.mqtt/1`: MQTT 3.1 and 3.1.1 over TCP or TLS.
//!
//! One `connect` is one attempt; the plugin owns the policy of trying again. At most 64 publishes with QoS 1 or 2 wait
//! for their acknowledgement, further ones wait in a queue of 256; beyond that a publish fails with
//! [`crate::HostRefusal::QUOTA`]. A message that arrives is acknowledged to the broker once it is in the plugin's
//! inbox; while the inbox is full the host does not read from the broker.

use abi_stable::StableAbi;
use abi_stable::std_types::{RSlice, RStr};

use super::TlsOptions;
use crate::extension::Extension;
use crate::host::InstanceId;

/// The table.
#[repr(C)]
#[derive(StableAbi)]
pub struct Mqtt {
    /// Opens a connection; the token is its handle. Ends in [`CONNECTED`], [`REFUSED`] or [`CLOSED`].
    pub connect: extern "C" fn(InstanceId, MqttConnect<'_>) -> u64,
    /// Publishes on a connection. Ends in [`PUBLISHED`] (QoS 0: handed to the socket; QoS 1: PUBACK; QoS 2: PUBCOMP) or
    /// [`super::FAILED`].
    pub publish: extern "C" fn(InstanceId, u64, MqttPublish<'_>) -> u64,
    /// Subscribes to one topic filter with this QoS. Ends in [`SUBSCRIBED`] or [`super::FAILED`].
    pub subscribe: extern "C" fn(InstanceId, u64, RStr<'_>, u8) -> u64,
    /// Gives up one topic filter. Ends in [`UNSUBSCRIBED`] or [`super::FAILED`].
    pub unsubscribe: extern "C" fn(InstanceId, u64, RStr<'_>) -> u64,
    /// Sends what is queued, then DISCONNECT, and closes. Ends in [`CLOSED`] with [`crate::HostRefusal::CLOSED`].
    pub disconnect: extern "C" fn(InstanceId, u64),
}

impl Extension for Mqtt {
    const ID: &'static str = "polylink.mqtt/1";
}

/// The broker took the connection. `token`: handle; `code`: 1 if it kept a session, else 0.
pub const CONNECTED: u32 = 1;
/// The broker refused it. `token`: handle (now closed); `code`: the CONNACK code, 1 to 5 or what it sent.
pub const REFUSED: u32 = 2;
/// The connection is gone or never came to be. `token`: handle; `code`: [`crate::HostRefusal`]; `text`: why. Publishes
/// and subscriptions without an answer yet are failed first, each with its own event.
pub const CLOSED: u32 = 3;
/// `token`: the publish.
pub const PUBLISHED: u32 = 4;
/// `token`: the subscription; `code`: granted QoS, or 0x80: the broker said no.
pub const SUBSCRIBED: u32 = 5;
/// `token`: the call.
pub const UNSUBSCRIBED: u32 = 6;
/// A message, also on topics never subscribed to. `token`: handle; `text`: topic; `body`: payload; `code`: flags as in
/// the packet's first byte (bit 0 retain, bits 1-2 QoS, bit 3 DUP).
pub const MESSAGE: u32 = 7;

/// How to connect.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct MqttConnect<'a> {
    /// Host name or address.
    pub host: RStr<'a>,
    /// TCP port.
    pub port: u16,
    /// Protection of the connection.
    pub tls: TlsOptions<'a>,
    /// 3 for MQTT 3.1 (`MQIsdp`), 4 for MQTT 3.1.1.
    pub protocol_level: u8,
    /// Client identifier.
    pub client_id: RStr<'a>,
    /// True if a user name is sent.
    pub has_username: bool,
    /// The user name.
    pub username: RStr<'a>,
    /// True if a password is sent.
    pub has_password: bool,
    /// The password; bytes, as MQTT says.
    pub password: RSlice<'a, u8>,
    /// True: start with a clean session.
    pub clean_session: bool,
    /// Largest silence of ours that is promised to the broker, in seconds; 0: none is. The host sends PINGREQ once
    /// three quarters of it have passed without a packet from us, whatever the two fields below say.
    pub keepalive_s: u16,
    /// Send PINGREQ after so many seconds without a packet from the broker, once for each silence; 0: three quarters of
    /// `keepalive_s`.
    pub ping_after_s: u16,
    /// Take the broker for dead, and close, after so many seconds without a packet from it; 0: half of `keepalive_s`, at
    /// least 5 s, after an unanswered PINGREQ. While the inbox is full, and so nothing is read, no time counts.
    pub dead_after_s: u16,
    /// Give up if there is no CONNACK after so many milliseconds; 0: 10 s.
    pub timeout_ms: u32,
    /// True if a will is left with the broker.
    pub has_will: bool,
    /// The will; ignored without `has_will`.
    pub will: MqttPublish<'a>,
}

/// One message to publish.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct MqttPublish<'a> {
    /// Topic name.
    pub topic: RStr<'a>,
    /// Payload, at most 256 KiB.
    pub payload: RSlice<'a, u8>,
    /// 0, 1 or 2.
    pub qos: u8,
    /// The retain flag.
    pub retain: bool,
}
