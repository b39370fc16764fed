//! The packet that everything travels in, on the local network and to the cloud: 16 bytes of header, `opt`, payload.
//!
//! ```text
//! magic, 4 | optlen, 2 | payloadlen, 2 | version | type | total | index | enctype | reserved | crc, 2 | opt | payload
//! ```
//!
//! Integers are little-endian. The check sum is over `opt` and the payload as transmitted. What arrives is checked in a
//! fixed order, and the first check that fails names the [`Refused`] that is counted (JoyLink V1.79; the order is ours):
//! decoding, then [`Reassembly::take`], then [`Packet::open`], then the structures of [`crate::wire`], then [`ReplayGuard`].
//!
//! Module map: [`kind`] types, who sends them, and how they are encrypted · [`fragment`] messages above 1000 bytes ·
//! [`splitter`] packets out of a stream · [`replay`] what came before · [`refused`] reasons.

pub mod fragment;
pub mod kind;
pub mod refused;
pub mod replay;
pub mod splitter;

use std::fmt;

pub use fragment::{Reassembly, fragments};
pub use kind::{Kind, Network, Route, enctype};
use polylink_plugin_sdk::bytes::{Reader, Writer};
use polylink_plugin_sdk::secret::Secret;
pub use refused::Refused;
pub use replay::{ReplayGuard, ReplayRule};
pub use splitter::Splitter;

use crate::crypto::{CipherError, CipherKey, Crc16, KeyPair, PublicKey, crc16};

/// One packet, its payload as transmitted.
#[derive(Clone, PartialEq, Eq)]
pub struct Packet {
    /// What it is for.
    pub kind: Kind,
    /// Number of fragments of the message; 0 or 1: it is whole.
    pub total: u8,
    /// Which of them this is, from 1 on; 0 if it is whole.
    pub index: u8,
    /// How the payload is encrypted: one of [`enctype`].
    pub enctype: u8,
    /// Name of a message in fragments, else 0.
    pub reserved: u8,
    /// What is never encrypted.
    pub opt: Vec<u8>,
    /// The payload, encrypted if it is to be.
    pub payload: Vec<u8>,
}

impl Packet {
    /// A packet in plain text, which carries no time.
    #[must_use]
    pub fn plain(kind: Kind, payload: Vec<u8>) -> Self {
        Self { kind, total: 0, index: 0, enctype: enctype::PLAIN, reserved: 0, opt: Vec::new(), payload }
    }

    /// An encrypted packet, whose payload is the time in seconds since 1970 UTC and the body.
    #[must_use]
    pub fn seal(kind: Kind, enctype: u8, opt: Vec<u8>, key: &CipherKey, timestamp: u32, body: &[u8]) -> Self {
        let mut stamped = Vec::with_capacity(STAMP + body.len());
        stamped.extend_from_slice(&timestamp.to_le_bytes());
        stamped.extend_from_slice(body);
        // Bodies may hold keys.
        let stamped = Secret::new(stamped);
        Self { opt, enctype, ..Self::plain(kind, key.encrypt(stamped.expose())) }
    }

    /// The bytes on the wire.
    ///
    /// # Errors
    /// `opt` or the payload is longer than its length field can tell, or both together are above [`MAX_PACKET`], which
    /// our receiving side would refuse.
    pub fn encode(&self, network: Network) -> Result<Vec<u8>, TooLong> {
        let size = HEADER + self.opt.len() + self.payload.len();
        let too_long = TooLong(size);
        let optlen = u16::try_from(self.opt.len()).map_err(|_| too_long)?;
        let payloadlen = u16::try_from(self.payload.len()).map_err(|_| too_long)?;
        if size > MAX_PACKET {
            return Err(too_long);
        }
        let mut writer = Writer::new();
        writer.u32_le(network.magic()).u16_le(optlen).u16_le(payloadlen);
        writer.bytes(&[VERSION, self.kind as u8, self.total, self.index, self.enctype, self.reserved]);
        writer.u16_le(crc16(&[&self.opt, &self.payload])).bytes(&self.opt).bytes(&self.payload);
        Ok(writer.finish())
    }

    /// Reads a datagram, which must be one packet and nothing else.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn decode_datagram(route: Route, bytes: &[u8]) -> Result<Self, Refused> {
        if bytes.len() < HEADER {
            return Err(Refused::Length);
        }
        let header = Header::decode(route.network(), bytes)?.ok_or(Refused::Length)?;
        if header.size() != bytes.len() {
            return Err(Refused::Length);
        }
        header.packet(route, bytes)
    }

    /// Decrypts the payload.
    ///
    /// # Errors
    /// It cannot be decrypted, or is too short for a time.
    pub fn open(&self, key: &CipherKey) -> Result<Opened, Refused> {
        let plain = Secret::new(key.decrypt(&self.payload)?);
        let timestamp = Reader::new(plain.expose()).u32_le().map_err(|_| Refused::Structure)?;
        Ok(Opened { timestamp, plain })
    }

    /// Decrypts the payload of an authorization, with the own key pair and the public key in `opt`.
    ///
    /// # Errors
    /// `opt` is no public key, or see [`Self::open`].
    pub fn open_exchanged(&self, pair: &KeyPair) -> Result<Opened, Refused> {
        // Before the expensive part, as this is the order of checks.
        if self.payload.is_empty() || !self.payload.len().is_multiple_of(16) {
            return Err(CipherError::Length.into());
        }
        let peer = PublicKey::from_bytes(&self.opt)?;
        self.open(&pair.agree(&peer).cipher_key())
    }
}

/// Shows neither `opt` nor payload: keys may be in them.
impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, total, index, enctype, reserved, opt, payload } = self;
        write!(f, "Packet({kind:?}, {index}/{total} of {reserved}, encryption {enctype}, ")?;
        write!(f, "{} and {} bytes)", opt.len(), payload.len())
    }
}

/// A decrypted payload, which is zeroed when dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// When it was sent, by the sender's clock, in seconds since 1970 UTC.
    pub timestamp: u32,
    plain: Secret<Vec<u8>>,
}

impl Opened {
    /// What follows the time: what the structures of [`crate::wire`] are read from.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.plain.expose()[STAMP..]
    }

    /// The whole payload.
    #[must_use]
    pub fn plain(&self) -> &[u8] {
        self.plain.expose()
    }
}

/// A packet is too long to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a packet of {0} bytes cannot be sent")]
pub struct TooLong(pub usize);

/// The header, checked for its magic only.
#[derive(Clone, Copy)]
struct Header {
    optlen: u16,
    payloadlen: u16,
    version: u8,
    kind: u8,
    total: u8,
    index: u8,
    enctype: u8,
    reserved: u8,
    crc: u16,
}

impl Header {
    /// Reads the header that the bytes begin with; `None`: it is not all there.
    fn decode(network: Network, bytes: &[u8]) -> Result<Option<Self>, Refused> {
        let magic = network.magic().to_le_bytes();
        // So a stream is known to be wrong from its first wrong byte on.
        if bytes.iter().zip(magic).any(|(got, wanted)| *got != wanted) {
            return Err(if bytes.starts_with(&LEGACY_MAGIC) { Refused::Legacy } else { Refused::Magic });
        }
        let Some((header, _)) = bytes.split_first_chunk::<HEADER>() else { return Ok(None) };
        let [_, _, _, _, o0, o1, p0, p1, version, kind, total, index, enctype, reserved, c0, c1] = *header;
        let word = |low, high| u16::from_le_bytes([low, high]);
        let (optlen, payloadlen, crc) = (word(o0, o1), word(p0, p1), word(c0, c1));
        Ok(Some(Self { optlen, payloadlen, version, kind, total, index, enctype, reserved, crc }))
    }

    /// Bytes of the packet.
    fn size(&self) -> usize {
        HEADER + usize::from(self.optlen) + usize::from(self.payloadlen)
    }

    /// Makes the packet out of at least as many bytes as it has.
    fn packet(&self, route: Route, bytes: &[u8]) -> Result<Packet, Refused> {
        let content = bytes.get(HEADER..self.size()).ok_or(Refused::Length)?;
        let mut crc = Crc16::new();
        crc.update(content);
        if crc.value() != self.crc {
            return Err(Refused::Crc);
        }
        if self.version != VERSION {
            return Err(Refused::Version(self.version));
        }
        let kind = Kind::of(self.kind).ok_or(Refused::Kind(self.kind))?;
        let allowed = kind.enctypes(route);
        if allowed.is_empty() {
            return Err(Refused::Kind(self.kind));
        }
        if !allowed.contains(&self.enctype) {
            return Err(Refused::Enctype { kind, enctype: self.enctype });
        }
        if self.total > 1 && route.network() == Network::Wan {
            return Err(Refused::Fragment);
        }
        let (opt, payload) = content.split_at(usize::from(self.optlen));
        let Self { total, index, enctype, reserved, .. } = *self;
        Ok(Packet { kind, total, index, enctype, reserved, opt: opt.to_vec(), payload: payload.to_vec() })
    }
}

/// Bytes of the header (JoyLink V1.79, packet).
pub const HEADER: usize = 16;

/// The longest packet that is taken, all bytes counted. The length fields allow twice as much, but no message has both a
/// long `opt` and a long payload; chosen by us, so that nothing that is received takes more than 65 KiB.
pub const MAX_PACKET: usize = 65 * 1024;

/// Bytes of the time in front of every encrypted payload (JoyLink V1.79, encryption).
pub const STAMP: usize = 4;

/// The longest body of an encrypted packet without `opt`: with the time and at least one byte of padding it is a multiple
/// of 16 that the length field can tell.
pub const LONGEST_BODY: usize = (u16::MAX as usize / 16) * 16 - 1 - STAMP;

/// Version of the packet (JoyLink V1.79, packet).
const VERSION: u8 = 1;

/// What packets of the protocol before this one begin with; new devices stay silent (JoyLink V1.79, discovery).
const LEGACY_MAGIC: [u8; 4] = [0xAA, 0x55, 0, 0];

#[cfg(test)]
mod tests;
