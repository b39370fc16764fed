//! `polylink.http/1`: one request, one bounded answer.

use abi_stable::StableAbi;
use abi_stable::std_types::{RSlice, RStr, Tuple2};

use super::TlsOptions;
use crate::extension::Extension;
use crate::host::InstanceId;

/// The table.
#[repr(C)]
#[derive(StableAbi)]
pub struct Http {
    /// Sends a request. Ends in [`RESPONSE`] or [`super::FAILED`]. At most 4 run at once for an instance; further ones
    /// fail with [`crate::HostRefusal::QUOTA`].
    pub request: extern "C" fn(InstanceId, HttpRequest<'_>) -> u64,
    /// Gives up a request; no event follows.
    pub cancel: extern "C" fn(InstanceId, u64),
}

impl Extension for Http {
    const ID: &'static str = "polylink.http/1";
}

/// An answer, whatever its status. `token`: the request; `code`: the HTTP status; `text`: the headers, one
/// `name: value` a line, names in lower case; `body`: the body.
pub const RESPONSE: u32 = 1;

/// One request.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct HttpRequest<'a> {
    /// `GET`, `POST`, …
    pub method: RStr<'a>,
    /// Absolute `http://` or `https://` address. `https` is TLS whatever `tls.enabled` says.
    pub url: RStr<'a>,
    /// Header names and values; Host and Content-Length are added.
    pub headers: RSlice<'a, Tuple2<RStr<'a>, RStr<'a>>>,
    /// Body; empty: none.
    pub body: RSlice<'a, u8>,
    /// Whom to trust and what to show.
    pub tls: TlsOptions<'a>,
    /// Give up after so many milliseconds in all; 0: 10 s.
    pub timeout_ms: u32,
    /// A longer body fails the request with [`crate::HostRefusal::QUOTA`]; 0: 64 KiB. At most 1 MiB.
    pub max_body: u32,
    /// Follow so many redirects; 0: none, the redirect is the answer.
    pub redirects: u8,
}
