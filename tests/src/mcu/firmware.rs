//! How the simulated MCU takes firmware: announced, ready, piece by piece, checked. Pure; `sim` carries it out.
//!
//! Written from the protocol document (Gizwits serial protocol 2.4) alone, and strict: a piece out of turn, of another
//! length or of a file that nobody announced is a breach. Invariant: what a transfer has brought is forgotten as soon as
//! either side gives it up, because the protocol has no offset to go on from.

mod lines;

use md5::{Digest, Md5};

use super::frame::{BIG_DATA, Frame, PIECE, READY, RECEIVER_ABORTS, SENDER_ABORTS};

/// How the MCU takes firmware from now on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FirmwareManners {
    /// Longest piece it asks for; 0 leaves it to the module, which is 256.
    pub piece_len: u16,
    /// It asks for the lines of an Intel HEX file.
    pub wants_lines: bool,
    /// What goes wrong.
    pub trouble: Option<Trouble>,
}

/// What goes wrong while the MCU takes firmware. What it waits for because of it goes on when it is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It gives up as soon as a file is announced.
    Refuses,
    /// It is ready for another file than the announced one.
    WantsAnother,
    /// It acknowledges the announcement and is never ready.
    NeverReady,
    /// It gives up after so many pieces.
    GivesUpAfter(u16),
    /// It takes this piece, and hears and says nothing at all from then on.
    FallsSilentAt(u16),
    /// It loses what it has after so many pieces, and is ready for the same file once more; so many times.
    RestartsAfter {
        /// Pieces of each try.
        pieces: u16,
        /// Restarts, then it behaves.
        times: u32,
    },
}

/// What firmware the MCU was given.
#[derive(Debug, Clone, Default)]
pub struct FirmwareLog {
    /// Files that were announced, each once for each transfer.
    pub announced: Vec<Announced>,
    /// Pieces taken, of all transfers; those that came again are not counted.
    pub pieces: u64,
    /// Files that arrived whole and right: their bytes, or what the records of an Intel HEX file hold.
    pub received: Vec<Vec<u8>>,
    /// Software versions that it began to run because of a file.
    pub runs: Vec<String>,
    /// Restarts in the middle of a transfer.
    pub restarts: u64,
    /// Transfers that the module gave up.
    pub given_up_by_module: u64,
    /// Requests about firmware that the module refused, by the error that it named.
    pub refusals: Vec<u8>,
}

/// A file that the module wants to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// Its bytes.
    pub size: usize,
    /// Its MD5, 32 lower-case hex digits.
    pub md5: String,
}

/// A file for this MCU that makes it the software version of 8 characters: bytes of all kinds with the version at the end.
/// A file without one is taken, and changes nothing.
pub fn image(len: usize, version: &str) -> Vec<u8> {
    assert!(is_version(version.as_bytes()) && len >= VERSION_LEN, "{version:?} at the end of {len} bytes");
    // Runs of 0xFF, as of erased flash, and the stuffing byte behind one, are what a line must carry unharmed.
    let body = (0..len - VERSION_LEN).map(|at| if at / 5 % 7 == 3 { 0xFF } else { (at * 31 % 251) as u8 });
    body.chain(version.bytes()).collect()
}

/// What the MCU says by itself: command, flags, payload.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub cmd: u8,
    pub flags: u16,
    pub payload: Vec<u8>,
}

/// What is done about a frame of the module.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is acknowledged.
    Acknowledged,
    /// It is acknowledged, and the MCU restarts in the middle.
    Restarts,
    /// It is acknowledged and was the last piece: the MCU restarts into this version, or into what it ran before.
    Whole(Option<String>),
    /// Nothing: it overtook what the MCU said.
    Ignored,
}

/// The receiving end of transfers.
#[derive(Debug, Default)]
pub(super) struct Receiver {
    phase: Phase,
    /// The last frame that was acted upon: it may come again, and is acknowledged again.
    last: Option<Frame>,
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Idle,
    /// It will say that it gives up.
    GivingUp,
    /// Announced; it will say that it is ready. `other`: it has said so of another file.
    Preparing { file: Announced, restarts: u32, other: bool },
    /// It says that it is ready.
    Ready { file: Announced, restarts: u32, terms: Terms },
    /// The module has heard that.
    Receiving { file: Announced, restarts: u32, terms: Terms, got: Got },
}

/// What the MCU asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Terms {
    len: usize,
    as_lines: bool,
}

#[derive(Debug, Default)]
struct Got {
    pieces: u16,
    bytes: Vec<u8>,
    lines: lines::Lines,
}

impl Receiver {
    /// What the MCU has to say now; it counts as said.
    pub fn ask(&mut self, manners: &FirmwareManners) -> Option<Ask> {
        match std::mem::take(&mut self.phase) {
            Phase::GivingUp => Some(Ask { cmd: RECEIVER_ABORTS, flags: 0, payload: Vec::new() }),
            Phase::Preparing { file, restarts, other } => match manners.trouble {
                Some(Trouble::NeverReady) => {
                    self.phase = Phase::Preparing { file, restarts, other };
                    None
                }
                Some(Trouble::WantsAnother) => {
                    self.phase = Phase::Preparing { file, restarts, other: true };
                    (!other).then(|| ready(OTHER_MD5, manners))
                }
                _ => {
                    let ask = ready(&file.md5, manners);
                    let len = if manners.piece_len == 0 { DEFAULT_LEN } else { usize::from(manners.piece_len) };
                    self.phase = Phase::Ready { file, restarts, terms: Terms { len, as_lines: manners.wants_lines } };
                    Some(ask)
                }
            },
            phase => {
                self.phase = phase;
                None
            }
        }
    }

    /// Whether the MCU hears and says nothing.
    pub fn is_silent(&self, manners: &FirmwareManners) -> bool {
        match (&self.phase, manners.trouble) {
            (Phase::Receiving { got, .. }, Some(Trouble::FallsSilentAt(piece))) => got.pieces >= piece,
            _ => false,
        }
    }

    /// The module has acknowledged what the MCU said of its readiness.
    pub fn ready_acknowledged(&mut self) {
        match std::mem::take(&mut self.phase) {
            Phase::Ready { file, restarts, terms } => {
                self.phase = Phase::Receiving { file, restarts, terms, got: Got::default() };
            }
            phase => self.phase = phase,
        }
    }

    /// The module has refused what the MCU said, or has begun a new conversation.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Takes a frame of the module, or says what is wrong with it.
    pub fn take(&mut self, frame: &Frame, manners: &FirmwareManners, log: &mut FirmwareLog) -> Result<Step, String> {
        if self.last.as_ref() == Some(frame) {
            return Ok(Step::Acknowledged);
        }
        let step = match frame.cmd {
            BIG_DATA => self.announced(frame, manners, log)?,
            PIECE => self.piece(frame, manners, log)?,
            SENDER_ABORTS if frame.payload.is_empty() && frame.flags == 0 => {
                // The module cannot know what the MCU thinks of a transfer, so it may give up one that is none.
                log.given_up_by_module += u64::from(!matches!(self.phase, Phase::Idle));
                self.phase = Phase::Idle;
                Step::Acknowledged
            }
            _ => return Err(format!("not a frame of a transfer: {frame:?}")),
        };
        if step != Step::Ignored {
            self.last = Some(frame.clone());
        }
        Ok(step)
    }

    fn announced(&mut self, frame: &Frame, manners: &FirmwareManners, log: &mut FirmwareLog) -> Result<Step, String> {
        let file = announcement(frame)?;
        if !matches!(self.phase, Phase::Idle) {
            return Err(format!("{file:?} was announced while another transfer is under way"));
        }
        log.announced.push(file.clone());
        let refuses = manners.trouble == Some(Trouble::Refuses) || file.size > MEMORY;
        self.phase = if refuses { Phase::GivingUp } else { Phase::Preparing { file, restarts: 0, other: false } };
        Ok(Step::Acknowledged)
    }

    fn piece(&mut self, frame: &Frame, manners: &FirmwareManners, log: &mut FirmwareLog) -> Result<Step, String> {
        let (file, restarts, terms, mut got) = match std::mem::take(&mut self.phase) {
            Phase::Receiving { file, restarts, terms, got } => (file, restarts, terms, got),
            // It was on its way when the MCU restarted, or gave up.
            phase @ (Phase::GivingUp | Phase::Preparing { restarts: 1.., .. } | Phase::Ready { restarts: 1.., .. }) => {
                self.phase = phase;
                return Ok(Step::Ignored);
            }
            phase => {
                self.phase = phase;
                return Err(format!("a piece of firmware that nobody asked for: {frame:?}"));
            }
        };
        let ends = got.take(frame, file.size, terms)?;
        log.pieces += 1;
        if ends {
            return got.whole(&file, terms, log);
        }
        match manners.trouble {
            Some(Trouble::GivesUpAfter(pieces)) if got.pieces >= pieces => self.phase = Phase::GivingUp,
            Some(Trouble::RestartsAfter { pieces, times }) if got.pieces >= pieces && restarts < times => {
                log.restarts += 1;
                self.phase = Phase::Preparing { file, restarts: restarts + 1, other: false };
                return Ok(Step::Restarts);
            }
            _ => self.phase = Phase::Receiving { file, restarts, terms, got },
        }
        Ok(Step::Acknowledged)
    }
}

impl Got {
    /// Takes a piece, or says what is wrong with it. True: it is the last.
    fn take(&mut self, frame: &Frame, size: usize, terms: Terms) -> Result<bool, String> {
        let Some((&[a, b, c, d], data)) = frame.payload.split_first_chunk() else {
            return Err(format!("a piece without number and count: {frame:?}"));
        };
        let (no, count) = (u16::from_be_bytes([a, b]), usize::from(u16::from_be_bytes([c, d])));
        let expected = self.pieces.checked_add(1).ok_or("more pieces than numbers")?;
        if no != expected {
            return Err(format!("piece {no}, {expected} is next"));
        }
        self.pieces = no;
        if terms.as_lines {
            if count != 0 || data.len() > terms.len {
                return Err(format!("count {count} and {} bytes of a line, 0 and at most {}", data.len(), terms.len));
            }
            let is_last = match frame.flags {
                LINE => false,
                LAST_LINE => true,
                other => return Err(format!("flags {other:04X} of a line, {LINE:04X} or {LAST_LINE:04X}")),
            };
            return self.lines.take(data, is_last).map(|()| is_last);
        }
        let (all, is_last) = (size.div_ceil(terms.len), size - self.bytes.len() <= terms.len);
        let len = if is_last { size - self.bytes.len() } else { terms.len };
        if frame.flags != 0 || count != all || data.len() != len {
            let flags = frame.flags;
            let (is, should) = (data.len(), len);
            return Err(format!("piece {no}: flags {flags:04X}, count {count}, {is} bytes; 0000, {all} and {should}"));
        }
        self.bytes.extend_from_slice(data);
        Ok(is_last)
    }

    /// The last piece is there. A file that is not the announced one is a fault of the module.
    fn whole(self, file: &Announced, terms: Terms, log: &mut FirmwareLog) -> Result<Step, String> {
        let bytes = if terms.as_lines {
            // The ends of lines do not travel, so there is no MD5; each record has a checksum.
            self.lines.bytes()
        } else {
            let md5 = hex(&Md5::digest(&self.bytes));
            if md5 != file.md5 {
                return Err(format!("{} bytes with MD5 {md5} arrived, {} was announced", self.bytes.len(), file.md5));
            }
            self.bytes
        };
        let version = bytes.last_chunk::<VERSION_LEN>().filter(|version| is_version(&version[..]));
        let version = version.map(|version| String::from_utf8_lossy(version).into_owned());
        if log.received.len() < FILES_KEPT {
            log.received.push(bytes);
        }
        Ok(Step::Whole(version))
    }
}

fn announcement(frame: &Frame) -> Result<Announced, String> {
    let fault = || format!("not the announcement of a file, with size, 32 and MD5: {frame:?}");
    let (size, rest) = frame.payload.split_first_chunk().ok_or_else(fault)?;
    let (md5_len, md5) = rest.split_first_chunk().ok_or_else(fault)?;
    let is_md5 = md5.len() == MD5_LEN && md5.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let size = u32::from_be_bytes(*size) as usize;
    if frame.flags != 0 || usize::from(u16::from_be_bytes(*md5_len)) != MD5_LEN || !is_md5 || size == 0 {
        return Err(fault());
    }
    Ok(Announced { size, md5: String::from_utf8_lossy(md5).into_owned() })
}

fn ready(md5: &str, manners: &FirmwareManners) -> Ask {
    let payload = [&[0, 32][..], md5.as_bytes(), &manners.piece_len.to_be_bytes()].concat();
    Ask { cmd: READY, flags: u16::from(manners.wants_lines), payload }
}

fn is_version(bytes: &[u8]) -> bool {
    bytes.len() == VERSION_LEN && bytes.iter().all(u8::is_ascii_alphanumeric)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An MD5 as hex digits (2.3).
const MD5_LEN: usize = 32;
/// Of no file that a scenario has.
const OTHER_MD5: &str = "00000000000000000000000000000000";
/// Length of a piece where the MCU names none (2.3).
const DEFAULT_LEN: usize = 256;
/// Flags of a line, and of the last one (2.4).
const LINE: u16 = 0x0001;
const LAST_LINE: u16 = 0x0003;
/// A software version (section 1).
const VERSION_LEN: usize = 8;
/// Not documented; chosen by us: the MCU gives up what does not fit.
const MEMORY: usize = 1 << 20;
/// Not documented; chosen by us: files remembered. Later ones are taken and forgotten.
const FILES_KEPT: usize = 16;

#[cfg(test)]
mod tests;
