//! The packet (JoyLink, 3).

use super::checksum::crc16;

/// A packet as it is on the wire: the payload is encrypted already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// [`LAN`] or [`CLOUD`].
    pub magic: u32,
    /// Type.
    pub kind: u8,
    /// Number of fragments; 0 for a whole message.
    pub total: u8,
    /// Which of them, from 1.
    pub index: u8,
    /// What the payload is encrypted with.
    pub enctype: u8,
    /// The id of a fragmented message.
    pub reserved: u8,
    /// The part that is never encrypted.
    pub opt: Vec<u8>,
    /// The payload.
    pub payload: Vec<u8>,
}

impl Packet {
    /// A whole message.
    pub fn new(magic: u32, kind: u8, enctype: u8, opt: &[u8], payload: &[u8]) -> Self {
        let (opt, payload) = (opt.to_vec(), payload.to_vec());
        Self { magic, kind, total: 0, index: 0, enctype, reserved: 0, opt, payload }
    }

    /// Its bytes. Parts that are too long for their length fields end in a packet that says less than it has.
    pub fn encode(&self) -> Vec<u8> {
        let length = |part: &[u8]| (part.len() as u16).to_le_bytes();
        let mut bytes = self.magic.to_le_bytes().to_vec();
        bytes.extend_from_slice(&length(&self.opt));
        bytes.extend_from_slice(&length(&self.payload));
        bytes.extend_from_slice(&[VERSION, self.kind, self.total, self.index, self.enctype, self.reserved]);
        bytes.extend_from_slice(&crc16(&[&self.opt, &self.payload]).to_le_bytes());
        bytes.extend_from_slice(&self.opt);
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// The packet that a stream begins with, and its length; `None` if more must come.
    pub fn parse(magic: u32, bytes: &[u8]) -> Result<Option<(Self, usize)>, String> {
        let known = bytes.len().min(4);
        if bytes[..known] != magic.to_le_bytes()[..known] {
            return Err(format!("begins with {:02x?}, {magic:#010x} expected", &bytes[..known]));
        }
        let Some(head) = bytes.get(..HEADER) else { return Ok(None) };
        let short = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        let opt_end = HEADER + usize::from(short(4));
        let end = opt_end + usize::from(short(6));
        let Some(body) = bytes.get(HEADER..end) else { return Ok(None) };
        let (stated, computed) = (short(14), crc16(&[body]));
        if stated != computed {
            return Err(format!("a crc of {stated:#06x}, {computed:#06x} is right"));
        }
        if head[8] != VERSION {
            return Err(format!("version {}", head[8]));
        }
        let packet = Self {
            magic,
            kind: head[9],
            total: head[10],
            index: head[11],
            enctype: head[12],
            reserved: head[13],
            opt: bytes[HEADER..opt_end].to_vec(),
            payload: bytes[opt_end..end].to_vec(),
        };
        Ok(Some((packet, end)))
    }

    /// The packet that a datagram is.
    pub fn exact(magic: u32, bytes: &[u8]) -> Result<Self, String> {
        match Self::parse(magic, bytes)? {
            Some((packet, n)) if n == bytes.len() => Ok(packet),
            Some((_, n)) => Err(format!("{n} bytes of packet in {} bytes of datagram", bytes.len())),
            None => Err(format!("{} bytes of datagram are too few", bytes.len())),
        }
    }

    /// Whether it is a message by itself.
    pub fn is_whole(&self) -> bool {
        self.total <= 1
    }
}

/// Word that a packet in the LAN begins with.
pub const LAN: u32 = 0x1234_55BB;
/// Word that a packet to or from the cloud begins with.
pub const CLOUD: u32 = 0x1234_55CC;
/// Bytes before opt.
pub const HEADER: usize = 16;
/// The only version there is.
const VERSION: u8 = 1;
