//! HTTP requests; see [`polylink_plugin_api::services::http`].

use super::Tls;

/// One request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, …; empty: `GET`.
    pub method: String,
    /// Absolute address.
    pub url: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
    /// Whom to trust.
    pub tls: Tls,
    /// Give up after so many milliseconds; 0: 10 s.
    pub timeout_ms: u32,
    /// Longest answer taken; 0: 64 KiB.
    pub max_body: u32,
    /// Redirects to follow.
    pub redirects: u8,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}
