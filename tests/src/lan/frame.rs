//! The frame of the Gizwits LAN protocol: version, length, flag, command, payload (4.1).

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub cmd: u16,
    /// The rest.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A frame of this command.
    pub fn new(cmd: u16, payload: impl Into<Vec<u8>>) -> Self {
        Self { cmd, payload: payload.into() }
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut len = FLAG_AND_CMD + self.payload.len();
        let mut bytes = VERSION.to_vec();
        loop {
            let digit = (len & 0x7F) as u8;
            len >>= 7;
            bytes.push(if len > 0 { digit | 0x80 } else { digit });
            if len == 0 {
                break;
            }
        }
        bytes.push(0);
        bytes.extend_from_slice(&self.cmd.to_be_bytes());
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// The frame at the front and its length in bytes, `None` if it is not whole yet, or what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, String> {
        let known = bytes.len().min(VERSION.len());
        if bytes[..known] != VERSION[..known] {
            return Err(format!("starts with {:02x?}, version 00 00 00 03 expected", &bytes[..known]));
        }
        let Some((len, header)) = length(&bytes[known..])? else { return Ok(None) };
        if !(FLAG_AND_CMD..=MAX_LENGTH).contains(&len) {
            return Err(format!("length {len}, {FLAG_AND_CMD} to {MAX_LENGTH} expected"));
        }
        let start = VERSION.len() + header;
        let Some(body) = bytes.get(start..start + len) else { return Ok(None) };
        if body[0] != 0 {
            return Err(format!("flag {:#04x}, 0 expected", body[0]));
        }
        let cmd = u16::from_be_bytes([body[1], body[2]]);
        Ok(Some((Self::new(cmd, &body[FLAG_AND_CMD..]), start + len)))
    }

    /// The frame that these bytes are, all of them and nothing else: a datagram, or the payload of an MQTT message.
    pub fn exact(bytes: &[u8]) -> Result<Self, String> {
        match Self::parse(bytes)? {
            Some((frame, n)) if n == bytes.len() => Ok(frame),
            Some((_, n)) => Err(format!("{} bytes after the frame's own {n}", bytes.len() - n)),
            None => Err(format!("cut off after {} bytes", bytes.len())),
        }
    }

    /// Sequence number and P0 of a 0x94.
    pub fn answer(&self) -> Result<(u32, &[u8]), String> {
        match self.payload.split_first_chunk::<4>() {
            Some((sn, p0)) if self.cmd == ANSWER => Ok((u32::from_be_bytes(*sn), p0)),
            _ => Err(format!("{self:?} is no 0x94 with a sequence number")),
        }
    }
}

/// A P0 with its sequence number, as 0x93 and 0x94 carry it.
pub fn numbered(cmd: u16, sn: u32, p0: &[u8]) -> Frame {
    let mut payload = sn.to_be_bytes().to_vec();
    payload.extend_from_slice(p0);
    Frame::new(cmd, payload)
}

/// The length and how many bytes say it.
fn length(bytes: &[u8]) -> Result<Option<(usize, usize)>, String> {
    let mut len = 0;
    for (at, &byte) in bytes.iter().take(4).enumerate() {
        len |= usize::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            // Not in the document, but no encoder writes it by chance.
            let padded = at > 0 && byte == 0;
            return if padded { Err("length with a byte too many".to_owned()) } else { Ok(Some((len, at + 1))) };
        }
    }
    if bytes.len() >= 4 { Err("length of more than four bytes".to_owned()) } else { Ok(None) }
}

/// Protocol version 3 (Gizwits LAN protocol, 4.1).
pub const VERSION: [u8; 4] = [0, 0, 0, 3];
/// P0 of an app, without and with a sequence number (4.2).
pub const PLAIN_REQUEST: u16 = 0x90;
/// A report, or the answer to [`PLAIN_REQUEST`].
pub const PLAIN: u16 = 0x91;
/// P0 of an app with a sequence number.
pub const REQUEST: u16 = 0x93;
/// The answer to [`REQUEST`].
pub const ANSWER: u16 = 0x94;
/// Bytes that the length counts before the payload (4.1).
const FLAG_AND_CMD: usize = 3;
/// Not documented; chosen by us: far above any P0, far below what would hurt a test.
const MAX_LENGTH: usize = 1 << 20;
