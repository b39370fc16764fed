//! `polylink.logs/1`: the module's log, for clouds that ask for it. The host keeps the last lines, without anything secret; a
//! plugin has a part of them sent where its cloud says, and never sees them.

use abi_stable::StableAbi;
use abi_stable::std_types::{RString, RVec, Tuple2};

use crate::extension::Extension;
use crate::host::InstanceId;

/// The table.
#[repr(C)]
#[derive(StableAbi)]
pub struct Logs {
    /// Sends a part of the log. Ends in [`SENT`] or [`super::FAILED`]: [`crate::HostRefusal::INVALID`] the request is not
    /// acceptable, or the server refused it; [`crate::HostRefusal::QUOTA`] this instance is sending already; after three
    /// attempts what kept the last one from the server, such as [`crate::HostRefusal::RESOLVE`],
    /// [`crate::HostRefusal::CONNECTION_REFUSED`] or [`crate::HostRefusal::TIMEOUT`].
    pub send: extern "C" fn(InstanceId, LogUpload) -> u64,
}

impl Extension for Logs {
    const ID: &'static str = "polylink.logs/1";
}

/// The server has it. `token`: the call; `code`: bytes that were sent; 0 if there was nothing in that time, and then nothing
/// was sent.
pub const SENT: u32 = 1;

/// What goes where.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, Default, PartialEq, Eq)]
pub struct LogUpload {
    /// `http://`, `https://` or `ftp://` with host, port and path, for HTTP also with a query; at most [`URL_MAX`] bytes. FTP is
    /// passive and binary, and makes no directory.
    pub url: RString,
    /// How, for HTTP.
    pub method: Method,
    /// Headers, `Name: value`; at most [`HEADERS_MAX`].
    pub headers: RVec<RString>,
    /// Text fields beside the file, for [`Method::MULTIPART`]; at most [`HEADERS_MAX`].
    pub fields: RVec<Tuple2<RString, RString>>,
    /// Name of the file's field, for [`Method::MULTIPART`].
    pub file_field: RString,
    /// Name of the file, for multipart and FTP, where it follows the path: 1 to 128 letters, digits, `.`, `_` and `-`.
    pub file_name: RString,
    /// Name for FTP; empty: `anonymous`.
    pub user: RString,
    /// Password for FTP.
    pub password: RString,
    /// Lines from this moment on, Unix milliseconds; [`i64::MIN`]: all.
    pub from_ms: i64,
    /// Lines before this moment; [`i64::MAX`]: all.
    pub to_ms: i64,
}

/// How a file goes up by HTTP. Unknown values are not acceptable.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Method(pub u8);

impl Method {
    /// `PUT` with the file as the body.
    pub const PUT: Self = Self(0);
    /// `POST` with the file as the body.
    pub const POST: Self = Self(1);
    /// `POST` of a form.
    pub const MULTIPART: Self = Self(2);
}

/// Longest address in bytes.
pub const URL_MAX: usize = 2_048;
/// Most headers, and most fields.
pub const HEADERS_MAX: usize = 8;
