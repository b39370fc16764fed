//! Frames of the serial protocol as the simulated MCU writes and reads them.
//!
//! Written from the protocol document alone, so that a mistake in the host's own codec cannot hide here.
//! Invariant: the splitter holds at most one frame, so noise of any length costs at most `MAX_PLAIN` bytes of memory.

use std::fmt;

/// Get device information: the handshake (Gizwits serial protocol 2.3).
pub const GET_INFO: u8 = 0x01;
/// P0 towards the MCU: control or read (2.3).
pub const CONTROL: u8 = 0x03;
/// P0 from the MCU: report (2.3).
pub const REPORT: u8 = 0x05;
/// Heartbeat of the module (2.3).
pub const HEARTBEAT: u8 = 0x07;
/// Status word of the module (2.3).
pub const STATUS: u8 = 0x0D;
/// Reset of the module, asked for by the MCU (2.3).
pub const RESET: u8 = 0x0B;
/// The module asks the MCU to restart (2.3).
pub const RESTART: u8 = 0x0F;
/// The binding window is to open, asked for by the MCU (2.3).
pub const OPEN_BINDING: u8 = 0x15;
/// Notice of an illegal packet (2.3.3).
pub const ILLEGAL: u8 = 0x11;
/// The module announces firmware (2.4).
pub const BIG_DATA: u8 = 0x19;
/// The MCU is ready for it (2.4).
pub const READY: u8 = 0x1B;
/// A piece of it (2.4).
pub const PIECE: u8 = 0x1D;
/// The module gives it up (2.4).
pub const SENDER_ABORTS: u8 = 0x1F;
/// The MCU gives it up (2.4).
pub const RECEIVER_ABORTS: u8 = 0x27;

/// One frame without its envelope.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// Command; an answer carries the request's plus one.
    pub cmd: u8,
    /// Sequence number; an answer repeats the request's.
    pub sn: u8,
    /// Flags, zero unless stated.
    pub flags: u16,
    /// What follows the flags, up to the checksum.
    pub payload: Vec<u8>,
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cmd 0x{:02X} sn {} flags {:04X} [", self.cmd, self.sn, self.flags)?;
        for byte in &self.payload {
            write!(f, "{byte:02X}")?;
        }
        f.write_str("]")
    }
}

impl Frame {
    /// A frame without flags.
    pub fn new(cmd: u8, sn: u8, payload: &[u8]) -> Self {
        Self { cmd, sn, flags: 0, payload: payload.to_vec() }
    }

    /// The bytes on the wire: stuffed, with length and checksum.
    pub fn encode(&self) -> Vec<u8> {
        let mut plain = Vec::with_capacity(self.payload.len() + 7);
        let len = u16::try_from(self.payload.len() + 5).expect("the simulator writes short frames only");
        plain.extend_from_slice(&len.to_be_bytes());
        plain.push(self.cmd);
        plain.push(self.sn);
        plain.extend_from_slice(&self.flags.to_be_bytes());
        plain.extend_from_slice(&self.payload);
        plain.push(checksum(&plain));
        let mut wire = HEADER.to_vec();
        for byte in plain {
            wire.push(byte);
            if byte == 0xFF {
                wire.push(STUFFING);
            }
        }
        wire
    }
}

/// What the splitter found in the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A whole frame with a right checksum.
    Frame(Frame),
    /// Bytes that a module must never send, in words.
    Violation(String),
}

/// Cuts the module's bytes into frames; stricter than the protocol asks, because a module must send no garbage.
#[derive(Debug, Default)]
pub struct Splitter {
    state: State,
    plain: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Hunting,
    OneHeader,
    Inside,
    Escaped,
}

impl Splitter {
    /// Takes bytes and appends what they complete.
    pub fn feed(&mut self, bytes: &[u8], found: &mut Vec<Found>) {
        for &byte in bytes {
            self.byte(byte, found);
        }
    }

    fn byte(&mut self, byte: u8, found: &mut Vec<Found>) {
        match (self.state, byte) {
            (State::Hunting, 0xFF) => self.state = State::OneHeader,
            (State::Hunting, other) => violation(found, format!("byte 0x{other:02X} outside of any frame")),
            (State::OneHeader, 0xFF) => self.begin(),
            (State::OneHeader, other) => {
                violation(found, format!("0x{other:02X} after the first header byte, FF expected"));
                self.state = State::Hunting;
            }
            (State::Inside, 0xFF) => self.state = State::Escaped,
            (State::Inside, other) => self.data(other, found),
            (State::Escaped, STUFFING) => {
                self.state = State::Inside;
                self.data(0xFF, found);
            }
            (State::Escaped, 0xFF) => {
                violation(found, format!("a frame was cut off after {} bytes", self.plain.len()));
                self.begin();
            }
            (State::Escaped, other) => {
                violation(found, format!("FF {other:02X} inside a frame: FF without the stuffing byte 55"));
                self.state = State::Hunting;
            }
        }
    }

    fn begin(&mut self) {
        self.plain.clear();
        self.state = State::Inside;
    }

    fn data(&mut self, byte: u8, found: &mut Vec<Found>) {
        self.plain.push(byte);
        let Some(len) = self.plain.first_chunk::<2>().map(|len| usize::from(u16::from_be_bytes(*len))) else { return };
        if !(5..=MAX_PLAIN).contains(&len) {
            violation(found, format!("length {len}, 5 to {MAX_PLAIN} expected"));
            self.state = State::Hunting;
        } else if self.plain.len() == len + 2 {
            self.state = State::Hunting;
            let (body, sum) = self.plain.split_at(len + 1);
            if checksum(body) == sum[0] {
                let flags = u16::from_be_bytes([body[4], body[5]]);
                found.push(Found::Frame(Frame { cmd: body[2], sn: body[3], flags, payload: body[6..].to_vec() }));
            } else {
                let cmd = body[2];
                violation(
                    found,
                    format!("checksum 0x{:02X} of command 0x{cmd:02X}, 0x{:02X} expected", sum[0], checksum(body)),
                );
            }
        }
    }
}

fn violation(found: &mut Vec<Found>, text: String) {
    found.push(Found::Violation(text));
}

fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum: u8, &byte| sum.wrapping_add(byte))
}

/// Opens each frame (Gizwits serial protocol 2.1).
const HEADER: [u8; 2] = [0xFF, 0xFF];
/// Follows each FF after the header (2.1).
const STUFFING: u8 = 0x55;
/// Longest length a frame may announce; longer P0 blocks than 4096 are not published (2.1).
const MAX_PLAIN: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn split(bytes: &[u8]) -> Vec<Found> {
        let mut found = Vec::new();
        Splitter::default().feed(bytes, &mut found);
        found
    }

    #[test]
    fn the_control_printed_in_the_document_is_written_and_read_byte_for_byte() {
        let frame = Frame::new(CONTROL, 6, &[0x01, 0xFF, 0x01, 0xFF]);
        let wire = [0xFF, 0xFF, 0, 9, 3, 6, 0, 0, 1, 0xFF, 0x55, 1, 0xFF, 0x55, 0x12];
        assert_eq!(frame.encode(), wire);
        assert_eq!(split(&wire), [Found::Frame(frame)]);
    }

    #[test]
    fn a_wrong_checksum_is_named_and_the_next_frame_still_read() {
        let good = Frame::new(HEARTBEAT, 1, &[]);
        let mut bytes = good.encode();
        *bytes.last_mut().unwrap() ^= 1;
        bytes.extend(good.encode());
        let found = split(&bytes);
        assert!(matches!(&found[0], Found::Violation(text) if text.contains("checksum")), "{found:?}");
        assert_eq!(found[1..], [Found::Frame(good)]);
    }
}
