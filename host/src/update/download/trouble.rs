//! What goes wrong with downloads: [`Trouble`] passes, perhaps; a [`Failure`] is the end.

use super::machine::{HEAD_MS, REDIRECTS_MAX, WINDOW_BYTES, WINDOW_MS};
use crate::update::digest::Mismatch;

/// What went wrong with one request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The network, as whoever made the request says it.
    #[error("{0}")]
    Connection(String),
    /// No head in time.
    #[error("the server did not answer within {} s", HEAD_MS / 1000)]
    Silent,
    /// Less than [`WINDOW_BYTES`] in [`WINDOW_MS`].
    #[error("the server sends less than {WINDOW_BYTES} bytes in {} s", WINDOW_MS / 1000)]
    Slow,
    /// The body ended early.
    #[error("the body ended after {have} of {end} bytes")]
    Cut {
        /// Bytes in the file.
        have: u64,
        /// Bytes that were announced.
        end: u64,
    },
    /// The body did not end where it should.
    #[error("the body is longer than the {0} bytes that were announced")]
    TooLong(u64),
    /// A status that may pass.
    #[error("the server answered with status {0}")]
    Status(u16),
    /// Redirects that lead nowhere.
    #[error("more than {REDIRECTS_MAX} redirects")]
    Redirects,
    /// A redirect that cannot be followed.
    #[error("the server redirects to nowhere, or away from https")]
    Redirect,
    /// Compressed, or else not as it is.
    #[error("the server sends the file in a content coding that was not asked for")]
    Encoded,
    /// A part that was not asked for, or that contradicts itself.
    #[error("the server sends another part of the file than was asked for")]
    Part,
    /// Another file than before.
    #[error("the file on the server has changed")]
    Changed,
    /// Another file than the cloud said.
    #[error("the server has {found} bytes, the cloud said {wanted}")]
    Size {
        /// The server's.
        found: u64,
        /// The cloud's.
        wanted: u64,
    },
}

/// Why a file will not come.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Not an address that is asked.
    #[error("the address is not https, and plain http is not allowed")]
    Address,
    /// The server means it.
    #[error("the server refuses with status {0}")]
    Status(u16),
    /// The last of too many.
    #[error("{0}, and so the last attempt failed")]
    Attempts(Trouble),
    /// It was thrown away too often.
    #[error("{0}, again and again")]
    Restless(Trouble),
    /// Twice the same length and another content.
    #[error(transparent)]
    Digest(#[from] Mismatch),
    /// Longer than allowed.
    #[error("the file has more than the {max} bytes that are allowed")]
    TooLarge {
        /// [`super::wish::Limits::max_bytes`].
        max: u64,
    },
    /// The file system is full, or would be.
    #[error("{needed} bytes are needed, {free} are free")]
    Space {
        /// With the reserve.
        needed: u64,
        /// On the file system.
        free: u64,
    },
    /// Time is up.
    #[error("it did not come in time")]
    Deadline,
    /// The file cannot be written.
    #[error("cannot write: {0}")]
    Disk(String),
}
