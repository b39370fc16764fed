//! [`CloudSettings`]: what an operator may choose.

use crate::packet::enctype;

/// What an operator may choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudSettings {
    /// How packets under the session key are labelled: [`enctype::KEY32`] or [`enctype::SESSION_KEY`]. Both are accepted.
    pub session_enctype: u8,
    /// Whether both random numbers in the answer to the authentication must agree. JD's own SDK acting as a cloud needs
    /// `false`.
    pub check_random: bool,
    /// Between heartbeats.
    pub heartbeat_ms: u64,
    /// So many heartbeats in a row without any packet of the cloud end the connection.
    pub lost_replies: u32,
    /// How long the cloud may take to answer the authentication.
    pub auth_timeout_ms: u64,
    /// The first delay before connecting again.
    pub reconnect_min_ms: u64,
    /// The longest delay.
    pub reconnect_max_ms: u64,
}

impl Default for CloudSettings {
    fn default() -> Self {
        Self {
            session_enctype: enctype::KEY32,
            check_random: true,
            heartbeat_ms: HEARTBEAT_MS,
            lost_replies: LOST_REPLIES,
            auth_timeout_ms: AUTH_TIMEOUT_MS,
            reconnect_min_ms: RECONNECT_MIN_MS,
            reconnect_max_ms: RECONNECT_MAX_MS,
        }
    }
}

/// Between heartbeats. Not documented; chosen by us: half of the 60 s that the cloud waits at most (JoyLink V1.79,
/// heartbeat), so that one may be lost.
pub const HEARTBEAT_MS: u64 = 30_000;
/// Heartbeats without an answer (JoyLink V1.79, cloud session).
pub const LOST_REPLIES: u32 = 3;
/// Not documented; chosen by us: many times what an answer takes, and short enough for who waits for the device.
pub const AUTH_TIMEOUT_MS: u64 = 5_000;
/// Not documented; chosen by us: a cloud that was restarted is back soon.
pub const RECONNECT_MIN_MS: u64 = 2_000;
/// Not documented; chosen by us: a device that was away is seen again within a minute.
pub const RECONNECT_MAX_MS: u64 = 60_000;
