//! Frames of the LAN protocol: applications speak them over UDP and TCP, and the cloud wraps the same frames in MQTT.
//!
//! ```text
//! 00 00 00 03 | length (1 to 4 bytes, 7 bits each, least significant first) | flag | command, 2 bytes | payload
//! ```
//!
//! The length counts flag, command and payload. Integers are big-endian. Module map: [`payloads`] what is inside a
//! frame · [`p0`] what passes between applications and the MCU · [`server`] the messages of the cloud that are no frames.

pub mod p0;
pub mod payloads;
pub mod server;

use std::fmt;

pub use p0::{P0Answer, P0Request, p0_answer, p0_report};
pub use payloads::{
    ConfigSuccess, DeviceInformation, Discovery, HotSpot, LogLine, LogSwitch, LoginResult, Onboarding, Passcode,
    WifiVersion,
};
use polylink_plugin_sdk::bytes::Truncated;
pub use server::{ServerMessage, ask_applications};

/// One frame.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is for: one of [`command`].
    pub command: u16,
    /// What follows the command.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A frame with a payload.
    #[must_use]
    pub fn new(command: u16, payload: impl Into<Vec<u8>>) -> Self {
        Self { command, payload: payload.into() }
    }

    /// A frame without a payload.
    #[must_use]
    pub const fn empty(command: u16) -> Self {
        Self { command, payload: Vec::new() }
    }

    /// The bytes on the wire. Nothing above [`MAX_FRAME`] should be made: the receiving side refuses it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(VERSION.len() + MAX_VARINT + N_COUNTED + self.payload.len());
        bytes.extend(VERSION);
        let mut length = N_COUNTED + self.payload.len();
        while length > 0x7F {
            bytes.push((length & 0x7F) as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.push(FLAG);
        bytes.extend(self.command.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// Reads a datagram, which must be one frame and nothing else.
    ///
    /// # Errors
    /// It is anything else.
    pub fn decode_datagram(bytes: &[u8]) -> Result<Self, PacketError> {
        let (frame, size) = Self::decode(bytes)?;
        if size == bytes.len() { Ok(frame) } else { Err(PacketError::Length { told: size, got: bytes.len() }) }
    }

    /// Reads the frame that a payload of MQTT begins with; what follows it is dropped, as the vendor's module does.
    ///
    /// # Errors
    /// The bytes do not begin with a whole frame.
    pub fn decode_prefix(bytes: &[u8]) -> Result<Self, PacketError> {
        Self::decode(bytes).map(|(frame, _)| frame)
    }

    fn decode(bytes: &[u8]) -> Result<(Self, usize), PacketError> {
        let Some(size) = size(bytes)? else {
            return Err(PacketError::Length { told: MIN_FRAME.max(bytes.len() + 1), got: bytes.len() });
        };
        let whole = bytes.get(..size.frame).ok_or(PacketError::Length { told: size.frame, got: bytes.len() })?;
        Ok((Self::parse(&whole[size.head..])?, size.frame))
    }

    fn parse(counted: &[u8]) -> Result<Self, PacketError> {
        match counted {
            [FLAG, high, low, payload @ ..] => Ok(Self::new(u16::from_be_bytes([*high, *low]), payload)),
            [flag, _, _, ..] => Err(PacketError::Flag(*flag)),
            short => Err(PacketError::TooShort(short.len())),
        }
    }
}

/// Shows no payload: it may be a passcode.
impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({:#06x}, {} bytes)", self.command, self.payload.len())
    }
}

/// Cuts a stream of bytes into frames.
///
/// A stream whose framing is lost cannot be found again: after an error every further call answers the same error, and
/// nothing is kept. Who takes all frames after each push never has more than [`MAX_FRAME`] bytes and one push waiting.
#[derive(Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    /// So many bytes at the front were read already.
    n_read: usize,
    broken: Option<PacketError>,
}

impl Decoder {
    /// Nothing received so far.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in what came.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.broken.is_none() {
            self.bytes.drain(..self.n_read);
            self.n_read = 0;
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// The next whole frame; `None`: more bytes are needed.
    ///
    /// # Errors
    /// What came is no frame, or one that is too long, which is said as soon as its length is known.
    #[expect(clippy::should_implement_trait, reason = "an iterator would go on after an error")]
    pub fn next(&mut self) -> Result<Option<Frame>, PacketError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        let waiting = &self.bytes[self.n_read..];
        let cut = size(waiting).and_then(|size| match size {
            Some(size) if waiting.len() >= size.frame => {
                Frame::parse(&waiting[size.head..size.frame]).map(|frame| Some((frame, size.frame)))
            }
            _ => Ok(None),
        });
        match cut {
            Ok(Some((frame, size))) => {
                self.n_read += size;
                Ok(Some(frame))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                (self.bytes, self.n_read) = (Vec::new(), 0);
                self.broken = Some(error.clone());
                Err(error)
            }
        }
    }

    /// How many bytes wait for the rest of their frame.
    #[must_use]
    pub const fn n_waiting(&self) -> usize {
        self.bytes.len() - self.n_read
    }
}

/// Shows no bytes: they may be a passcode.
impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Decoder({} bytes, {:?})", self.n_waiting(), self.broken)
    }
}

struct Size {
    /// Version and length.
    head: usize,
    /// The whole frame.
    frame: usize,
}

/// How long the frame is that these bytes begin with; `None`: too few bytes to know.
fn size(bytes: &[u8]) -> Result<Option<Size>, PacketError> {
    if bytes.iter().zip(VERSION).any(|(got, wanted)| *got != wanted) {
        return Err(PacketError::Version);
    }
    let Some((_, rest)) = bytes.split_first_chunk::<{ VERSION.len() }>() else { return Ok(None) };
    let mut length = 0;
    for (at, byte) in rest.iter().take(MAX_VARINT).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            let head = VERSION.len() + at + 1;
            return match head + length {
                _ if length < N_COUNTED => Err(PacketError::TooShort(length)),
                frame if frame > MAX_FRAME => Err(PacketError::TooLong(frame)),
                frame => Ok(Some(Size { head, frame })),
            };
        }
    }
    if rest.len() >= MAX_VARINT { Err(PacketError::Varint) } else { Ok(None) }
}

/// Why bytes are not what they should be. No variant carries bytes of a payload, so that no text shows a passcode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// The version before the frame is not ours.
    #[error("the frame does not begin with protocol version 3")]
    Version,
    /// A fifth byte of the length would follow.
    #[error("the length of the frame takes more than four bytes")]
    Varint,
    /// The length does not even count a flag and a command.
    #[error("the frame counts {0} bytes, too few for a command")]
    TooShort(usize),
    /// More than [`MAX_FRAME`].
    #[error("a frame of {0} bytes is above the limit of {MAX_FRAME}")]
    TooLong(usize),
    /// The size and the length in it differ.
    #[error("{got} bytes came, but the frame has {told}")]
    Length {
        /// What it should be, as far as the bytes tell.
        told: usize,
        /// What there is.
        got: usize,
    },
    /// A flag was set, of which we know no meaning.
    #[error("the frame has the flag {0:#04x}, which is not supported")]
    Flag(u8),
    /// The payload ends before its fields do.
    #[error("the payload is cut off: {0}")]
    Truncated(#[from] Truncated),
    /// A field of the payload has a value that it cannot have.
    #[error("{0}")]
    Field(&'static str),
}

impl PacketError {
    /// One word for counters.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Varint => "varlen",
            Self::TooShort(_) | Self::Length { .. } => "length",
            Self::TooLong(_) => "too_long",
            Self::Flag(_) => "flag",
            Self::Truncated(_) | Self::Field(_) => "payload",
        }
    }
}

/// What a frame is for (Gizwits LAN protocol 4.0.1, command table).
pub mod command {
    /// Application to module, UDP: join this Wi-Fi network.
    pub const ONBOARDING: u16 = 0x01;
    /// Its answer.
    pub const ONBOARDING_ACCEPTED: u16 = 0x02;
    /// Application to module, UDP: who is there?
    pub const DISCOVER: u16 = 0x03;
    /// Its answer.
    pub const DISCOVERED: u16 = 0x04;
    /// Module to all, UDP: here I am.
    pub const ANNOUNCE: u16 = 0x05;
    /// Application to module, TCP: what is the passcode?
    pub const BIND: u16 = 0x06;
    /// Its answer.
    pub const PASSCODE: u16 = 0x07;
    /// Application to module, TCP: this is the passcode.
    pub const LOGIN: u16 = 0x08;
    /// Its answer.
    pub const LOGIN_RESULT: u16 = 0x09;
    /// Application to module, TCP: which version has the Wi-Fi firmware?
    pub const WIFI_VERSION: u16 = 0x0A;
    /// Its answer.
    pub const WIFI_VERSION_IS: u16 = 0x0B;
    /// Application to module, TCP: which hot-spots are near?
    pub const HOT_SPOTS: u16 = 0x0C;
    /// Its answer.
    pub const HOT_SPOTS_ARE: u16 = 0x0D;
    /// Application to module, TCP: send the log, or stop.
    pub const LOG_SWITCH: u16 = 0x10;
    /// Its answer.
    pub const LOG_SWITCHED: u16 = 0x11;
    /// Module to application, TCP: a line of the log.
    pub const LOG_LINE: u16 = 0x12;
    /// Application to module, TCP: what are you?
    pub const DEVICE_INFORMATION: u16 = 0x13;
    /// Its answer.
    pub const DEVICE_INFORMATION_IS: u16 = 0x14;
    /// Application to module, TCP: still there?
    pub const HEARTBEAT: u16 = 0x15;
    /// Its answer.
    pub const HEARTBEAT_ANSWER: u16 = 0x16;
    /// Application to module, TCP: leave the production test.
    pub const LEAVE_TEST: u16 = 0x17;
    /// Its answer.
    pub const TEST_LEFT: u16 = 0x18;
    /// Module to all, UDP: the network I was told works.
    pub const CONFIG_SUCCESS: u16 = 0x19;
    /// To the module: a P0 payload.
    pub const P0_REQUEST: u16 = 0x90;
    /// From the module: a report, or the answer to [`P0_REQUEST`].
    pub const P0_REPORT: u16 = 0x91;
    /// To the module: a P0 payload with a sequence number.
    pub const NUMBERED_REQUEST: u16 = 0x93;
    /// From the module: the answer to [`NUMBERED_REQUEST`].
    pub const NUMBERED_ANSWER: u16 = 0x94;
}

/// The longest frame that is taken, all bytes counted. Not documented; chosen by us: the longest P0 payload that the
/// serial line carries, 4096 bytes (published products come near 1000), and room for all that may stand around it.
pub const MAX_FRAME: usize = 4096 + 64;

/// "Protocol version" before every frame and server message (Gizwits LAN protocol 4.0.1, frame).
pub const VERSION: [u8; 4] = [0, 0, 0, 3];

/// The only flag we know. Newer firmware sets bit 0 and puts a DID before P0 (Gizwits LAN protocol 4.0.1, frame).
const FLAG: u8 = 0;

/// A length has 1 to 4 bytes (Gizwits LAN protocol 4.0.1, frame).
const MAX_VARINT: usize = 4;

/// Flag and command, which the length counts beside the payload (Gizwits LAN protocol 4.0.1, frame).
const N_COUNTED: usize = 3;

/// A frame without a payload.
const MIN_FRAME: usize = VERSION.len() + 1 + N_COUNTED;

#[cfg(test)]
mod tests;
