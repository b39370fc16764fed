//! Remembered values; see [`polylink_plugin_api::services::store`]. What was stored before comes with
//! [`crate::Context::stored`].

/// What a session asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Put a value under a key.
    Put(String, Vec<u8>),
    /// Remove a key.
    Remove(String),
}
