//! Why packets are dropped.

use super::Kind;
use crate::crypto::{CipherError, PublicKeyError};

/// The first check that a packet failed, in the order of the checks. Nobody gets an answer to such a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too few bytes for a header, or another number than the header tells, or more than is ever taken.
    #[error("the length is not the one in the header")]
    Length,
    /// The first word is of no packet on this network.
    #[error("it does not begin like a packet of this network")]
    Magic,
    /// It is of the protocol before this one.
    #[error("it is of the protocol before this one, which new devices do not answer")]
    Legacy,
    /// `opt` or payload were damaged.
    #[error("wrong check sum")]
    Crc,
    /// Another version of the packet.
    #[error("packet version {0}, not 1")]
    Version(u8),
    /// No type that we know, or one that is not sent this way.
    #[error("a packet of type {0} is of no use here")]
    Kind(u8),
    /// An encryption that the type must not have.
    #[error("{kind:?} with encryption mode {enctype}")]
    Enctype {
        /// The type.
        kind: Kind,
        /// The mode.
        enctype: u8,
    },
    /// A fragment that fits no message, makes it too long, or came from the cloud, which sends none.
    #[error("a fragment that fits no message")]
    Fragment,
    /// The encrypted payload is empty or not a multiple of 16 bytes.
    #[error("the payload is not a whole number of blocks")]
    CipherLength,
    /// The payload was encrypted with another key.
    #[error("the payload is encrypted with another key")]
    Padding,
    /// `opt` is no public key.
    #[error("{0}")]
    Point(#[from] PublicKeyError),
    /// The payload is not what its type has.
    #[error("the payload is not what its type has")]
    Structure,
    /// It was sent at the same time as one before, or earlier, or the time is far from ours.
    #[error("its time is not later than that of the packet before, or far from ours")]
    Replay,
}

impl Refused {
    /// One word for counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Magic => "magic",
            Self::Legacy => "legacy",
            Self::Crc => "crc",
            Self::Version(_) => "version",
            Self::Kind(_) => "type",
            Self::Enctype { .. } => "enctype",
            Self::Fragment => "fragment",
            Self::CipherLength => "cipher_length",
            Self::Padding => "padding",
            Self::Point(_) => "public_key",
            Self::Structure => "structure",
            Self::Replay => "replay",
        }
    }

    /// Whether a stream in which this happened cannot be trusted any more: the connection is to be closed.
    #[must_use]
    pub const fn is_fatal(self) -> bool {
        matches!(self, Self::Length | Self::Magic | Self::Legacy | Self::Crc)
    }
}

impl From<CipherError> for Refused {
    fn from(error: CipherError) -> Self {
        match error {
            CipherError::Length => Self::CipherLength,
            CipherError::Padding => Self::Padding,
        }
    }
}
