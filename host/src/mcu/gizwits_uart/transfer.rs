//! [`Transfer`]: one image on its way to the MCU, pure.
//!
//! Announced → waiting, until the MCU is ready → sending, piece by piece, each acknowledged before the next. An MCU that
//! says once more that it is ready has restarted: the protocol has no offset, so it gets everything again. The link owns
//! the line: it sends [`Transfer::request`] when the line is free, repeats it, and tells what became of it.

use std::collections::VecDeque;

use polylink_plugin_api::Timestamp;

use super::commands::*;
use super::frame::Frame;
use super::pieces::{Next, Piece, Pieces};
use crate::mcu::transfer::{FirmwareOutput, Image, ImageFormat, TransferEnd};

/// See the module.
#[derive(Debug)]
pub(super) struct Transfer {
    image: Image,
    phase: Phase,
    restarts: u32,
    outputs: VecDeque<FirmwareOutput>,
}

#[derive(Debug)]
enum Phase {
    /// The announcement waits for the line.
    New,
    /// It is sent and not acknowledged.
    Announced,
    /// The MCU prepares itself. `other`: it was ready for another file meanwhile.
    Waiting {
        until: Timestamp,
        other: bool,
    },
    /// Bytes are wanted for the next piece.
    Fetching {
        pieces: Pieces,
        until: Timestamp,
    },
    /// A piece waits for the line.
    Cut {
        pieces: Pieces,
        piece: Piece,
    },
    /// A piece is sent and not acknowledged.
    Sent {
        pieces: Pieces,
        end: u32,
        is_last: bool,
    },
    Over,
}

/// What the MCU is answered when it is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Acknowledged. With `begins`, what was sent before counts no longer.
    Yes { begins: bool },
    /// An illegal packet with this error.
    No(u8),
}

/// Whether the MCU is to be told that we abort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Abort {
    Told,
    /// It knows, or cannot hear.
    Untold,
}

impl Transfer {
    /// Begins with an image that is not empty.
    pub fn new(image: Image) -> Self {
        Self { image, phase: Phase::New, restarts: 0, outputs: VecDeque::new() }
    }

    /// What is to be sent now: command, flags and payload. It counts as sent.
    pub fn request(&mut self) -> Option<(u8, u16, Vec<u8>)> {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::New => {
                self.phase = Phase::Announced;
                let (size, md5) = (self.image.size.to_be_bytes(), hex(&self.image.md5));
                let md5_len = (md5.len() as u16).to_be_bytes();
                Some((BIG_DATA_REQUEST, 0, [&size[..], &md5_len, md5.as_bytes()].concat()))
            }
            Phase::Cut { pieces, piece: Piece { flags, payload, end, is_last } } => {
                self.phase = Phase::Sent { pieces, end, is_last };
                Some((BIG_DATA_PIECE, flags, payload))
            }
            phase => {
                self.phase = phase;
                None
            }
        }
    }

    /// Whether [`Transfer::request`] has something.
    pub fn has_request(&self) -> bool {
        matches!(self.phase, Phase::New | Phase::Cut { .. })
    }

    /// The MCU has acknowledged what was sent last. True: it is to be told that we abort.
    #[must_use]
    pub fn acknowledged(&mut self, now: Timestamp) -> bool {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Announced => {
                self.phase = Phase::Waiting { until: now.after(READY_MS), other: false };
                false
            }
            Phase::Sent { pieces, end, is_last } => {
                self.outputs.push_back(FirmwareOutput::Progress(end));
                if is_last { self.end(TransferEnd::Done, Abort::Untold) } else { self.cut(now, pieces) }
            }
            phase => {
                self.phase = phase;
                false
            }
        }
    }

    /// The MCU has not acknowledged what was sent last, for all repeats. True: it is to be told that we abort.
    #[must_use]
    pub fn gave_up(&mut self) -> bool {
        let what = match self.phase {
            Phase::Announced => "the announcement",
            Phase::Sent { .. } => "a piece",
            _ => return false,
        };
        self.end(TransferEnd::Unacknowledged { what }, Abort::Told)
    }

    /// The MCU says that it is ready.
    pub fn ready(&mut self, now: Timestamp, frame: &Frame) -> (Answer, bool) {
        let Some((md5, max_len)) = parse_ready(&frame.payload) else { return (Answer::No(ERROR_OTHER), false) };
        match self.phase {
            // It cannot mean an announcement that it has not seen.
            Phase::New | Phase::Over => return (Answer::No(ERROR_COMMAND), false),
            _ => {}
        }
        if !md5.eq_ignore_ascii_case(hex(&self.image.md5).as_bytes()) {
            let begins = self.is_sending();
            match &mut self.phase {
                Phase::Waiting { other, .. } => *other = true,
                // Whatever it was sent, it does not want it any more; it may still come to its senses.
                _ if begins => self.phase = Phase::Waiting { until: now.after(READY_MS), other: true },
                _ => {}
            }
            return (Answer::Yes { begins }, false);
        }
        let as_lines = frame.flags & FLAG_WANTS_LINES != 0;
        if as_lines && self.image.format != ImageFormat::IntelHex {
            self.end(TransferEnd::WrongFormat, Abort::Untold);
            return (Answer::No(ERROR_FILE_TYPE), false);
        }
        if self.is_sending() {
            self.restarts += 1;
            self.outputs.push_back(FirmwareOutput::Progress(0));
        }
        let abort = if self.restarts > RESTARTS_MAX {
            self.end(TransferEnd::Restless(RESTARTS_MAX), Abort::Told)
        } else {
            match Pieces::new(&self.image, as_lines, max_len) {
                Ok(pieces) => self.cut(now, pieces),
                Err(why) => self.end(TransferEnd::Image(why), Abort::Told),
            }
        };
        (Answer::Yes { begins: true }, abort)
    }

    /// Takes bytes that were wanted. True: the MCU is to be told that we abort.
    #[must_use]
    pub fn take(&mut self, now: Timestamp, offset: u32, bytes: &[u8]) -> bool {
        let (mut pieces, until) = match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Fetching { pieces, until } => (pieces, until),
            phase => {
                self.phase = phase;
                return false;
            }
        };
        match pieces.take(offset, bytes) {
            Ok(true) => self.cut(now, pieces),
            Ok(false) => {
                self.phase = Phase::Fetching { pieces, until };
                false
            }
            Err(why) => self.end(TransferEnd::Image(why), Abort::Told),
        }
    }

    /// Gives up what waited too long. True: the MCU is to be told that we abort.
    #[must_use]
    pub fn timeout(&mut self, now: Timestamp) -> bool {
        match self.phase {
            Phase::Waiting { until, other } if until <= now => {
                let end = if other { TransferEnd::OtherImage } else { TransferEnd::NotReady(READY_MS / 1000) };
                self.end(end, Abort::Told)
            }
            Phase::Fetching { until, .. } if until <= now => {
                self.end(TransferEnd::NoBytes(FETCH_MS / 1000), Abort::Told)
            }
            _ => false,
        }
    }

    /// When [`Transfer::timeout`] is wanted.
    pub fn next_timeout(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Waiting { until, .. } | Phase::Fetching { until, .. } => Some(until),
            _ => None,
        }
    }

    /// The host gives it up. True: the MCU is to be told.
    #[must_use]
    pub fn cancel(&mut self) -> bool {
        let abort = if matches!(self.phase, Phase::New) { Abort::Untold } else { Abort::Told };
        self.end(TransferEnd::Cancelled, abort)
    }

    /// The MCU gave it up, or is lost.
    pub fn lose(&mut self, end: TransferEnd) {
        self.end(end, Abort::Untold);
    }

    /// What it has to say.
    pub fn poll(&mut self) -> Option<FirmwareOutput> {
        self.outputs.pop_front()
    }

    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// Bytes held. A piece that is sent is the link's.
    pub fn queued_bytes(&self) -> usize {
        match &self.phase {
            Phase::Fetching { pieces, .. } | Phase::Sent { pieces, .. } => pieces.queued_bytes(),
            Phase::Cut { pieces, piece } => pieces.queued_bytes() + piece.payload.len(),
            _ => 0,
        }
    }

    fn is_sending(&self) -> bool {
        matches!(self.phase, Phase::Fetching { .. } | Phase::Cut { .. } | Phase::Sent { .. })
    }

    /// On to the next piece. True: the MCU is to be told that we abort.
    fn cut(&mut self, now: Timestamp, mut pieces: Pieces) -> bool {
        match pieces.next() {
            Ok(Next::Piece(piece)) => {
                self.phase = Phase::Cut { pieces, piece };
                false
            }
            Ok(Next::Bytes { offset, len }) => {
                self.outputs.push_back(FirmwareOutput::Wanted { offset, len });
                self.phase = Phase::Fetching { pieces, until: now.after(FETCH_MS) };
                false
            }
            Err(why) => self.end(TransferEnd::Image(why), Abort::Told),
        }
    }

    fn end(&mut self, end: TransferEnd, abort: Abort) -> bool {
        self.phase = Phase::Over;
        self.outputs.push_back(FirmwareOutput::Ended(end));
        abort == Abort::Told
    }
}

/// The MD5 and the longest piece of a ready MCU.
fn parse_ready(payload: &[u8]) -> Option<(&[u8], u16)> {
    let (md5_len, rest) = payload.split_first_chunk()?;
    let (md5, rest) = rest.split_at_checked(MD5_LEN)?;
    let (max_len, _) = rest.split_first_chunk()?;
    (usize::from(u16::from_be_bytes(*md5_len)) == MD5_LEN).then_some((md5, u16::from_be_bytes(*max_len)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An MD5 as hex characters (Gizwits serial protocol, big-data request).
const MD5_LEN: usize = 32;

/// Flag of a ready MCU that wants the lines of an Intel HEX file (Gizwits serial protocol, firmware transfer).
const FLAG_WANTS_LINES: u16 = 0x0001;

/// How long an MCU may prepare itself. The protocol gives it seconds to minutes, the vendor's module gave up after 15 s.
/// Chosen by us: as long as a silent MCU is not lost.
const READY_MS: u64 = 180_000;

/// How long bytes of the image may take. Not documented; chosen by us: the MCU waits meanwhile, and the vendor's module
/// calls 15 s too long.
const FETCH_MS: u64 = 10_000;

/// How often an MCU may begin anew. Not documented; chosen by us: one that fails each time does not do so for ever.
const RESTARTS_MAX: u32 = 5;
