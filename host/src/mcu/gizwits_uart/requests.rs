//! Requests of the module to the MCU: sequence numbers, the one that is outstanding, its repeats, and the commands that
//! wait behind it.
//!
//! A repeat keeps its sequence number, by which the MCU recognises it, so a control is carried out once.

use std::collections::VecDeque;

use polylink_plugin_api::{DatapointId, Timestamp};

use super::commands::BIG_DATA_PIECE;
use super::frame::Frame;
use super::p0_profile::Values;

/// Why a request was sent.
#[derive(Debug)]
pub(super) enum Purpose {
    /// Who are you?
    Identify,
    /// Are you there?
    Heartbeat,
    /// How the module stands.
    Status,
    /// Restart.
    RestartMcu,
    /// Somebody's command.
    Command(Ask),
    /// Firmware: an announcement or a piece.
    Transfer,
    /// No more firmware.
    AbortTransfer,
}

/// A command, ready to be sent.
#[derive(Debug)]
pub(super) struct Ask {
    /// Names it.
    pub(super) ticket: u64,
    /// Give up at this time.
    pub(super) deadline: Timestamp,
    /// The P0 payload.
    pub(super) payload: Vec<u8>,
    /// What the acknowledgement means.
    pub(super) kind: AskKind,
}

/// What the acknowledgement of a command means.
#[derive(Debug)]
pub(super) enum AskKind {
    /// These values were set.
    Control(Values),
    /// It carries these; none listed: all.
    Read(Vec<DatapointId>),
    /// The bytes arrived.
    Raw,
}

/// What became due.
#[derive(Debug)]
pub(super) enum Due {
    /// Write these bytes again.
    Repeat(Vec<u8>),
    /// The last wait is over, or the deadline is.
    GaveUp(Purpose),
}

/// The outgoing half of the link.
#[derive(Debug)]
pub(super) struct Requests {
    baud: u32,
    next_sn: u8,
    outstanding: Option<Outstanding>,
    waiting: VecDeque<Ask>,
}

#[derive(Debug)]
struct Outstanding {
    command: u8,
    sn: u8,
    wire: Vec<u8>,
    purpose: Purpose,
    sends: u8,
    due: Timestamp,
}

impl Requests {
    /// Nothing outstanding; the line runs at so many bits per second.
    pub(super) const fn new(baud: u32) -> Self {
        Self { baud, next_sn: 0, outstanding: None, waiting: VecDeque::new() }
    }

    /// Whether the next request may be sent.
    pub(super) const fn is_free(&self) -> bool {
        self.outstanding.is_none()
    }

    /// Whether commands wait.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Puts a command in the queue; gives it back if [`WAITING_COMMANDS`] are in it.
    pub(super) fn enqueue(&mut self, ask: Ask) -> Result<(), Ask> {
        if self.waiting.len() >= WAITING_COMMANDS {
            return Err(ask);
        }
        self.waiting.push_back(ask);
        Ok(())
    }

    /// The longest waiting command.
    pub(super) fn next_waiting(&mut self) -> Option<Ask> {
        self.waiting.pop_front()
    }

    /// A command whose deadline passed before it was sent.
    pub(super) fn overdue(&mut self, now: Timestamp) -> Option<Ask> {
        let index = self.waiting.iter().position(|ask| ask.deadline <= now)?;
        self.waiting.remove(index)
    }

    /// The bytes of a new request, which is outstanding from now on.
    pub(super) fn send(&mut self, now: Timestamp, command: u8, payload: Vec<u8>, purpose: Purpose) -> Vec<u8> {
        self.send_flagged(now, (command, 0), payload, purpose)
    }

    /// The same, with flags.
    pub(super) fn send_flagged(
        &mut self,
        now: Timestamp,
        (command, flags): (u8, u16),
        payload: Vec<u8>,
        purpose: Purpose,
    ) -> Vec<u8> {
        let sn = self.next_sn;
        self.next_sn = sn.wrapping_add(1);
        let wire = Frame { flags, ..Frame::new(command, sn, payload) }.encode();
        let due = self.due(now, command, &wire, &purpose);
        self.outstanding = Some(Outstanding { command, sn, wire: wire.clone(), purpose, sends: 1, due });
        wire
    }

    /// Takes an acknowledgement; none if it matches nothing that is outstanding.
    pub(super) fn acknowledge(&mut self, command: u8, sn: u8) -> Option<Purpose> {
        let matches = |request: &mut Outstanding| request.command.wrapping_add(1) == command && request.sn == sn;
        self.outstanding.take_if(matches).map(|request| request.purpose)
    }

    /// The MCU did not understand the request with this number: repeat it now, if it may be repeated.
    pub(super) fn not_understood(&mut self, now: Timestamp, sn: u8) -> Option<Vec<u8>> {
        self.outstanding.as_ref().filter(|request| request.sn == sn && request.sends < SENDS)?;
        self.repeat(now)
    }

    /// What is due, if anything.
    pub(super) fn expire(&mut self, now: Timestamp) -> Option<Due> {
        let request = self.outstanding.as_ref().filter(|request| request.due <= now)?;
        let late = matches!(&request.purpose, Purpose::Command(ask) if ask.deadline <= now);
        if request.sends < SENDS && !late {
            return self.repeat(now).map(Due::Repeat);
        }
        self.outstanding.take().map(|request| Due::GaveUp(request.purpose))
    }

    /// When [`Self::expire`] or [`Self::overdue`] is wanted.
    pub(super) fn next_timeout(&self) -> Option<Timestamp> {
        let deadlines = self.waiting.iter().map(|ask| ask.deadline);
        deadlines.chain(self.outstanding.iter().map(|request| request.due)).min()
    }

    /// Forgets everything: what was sent and not acknowledged, and what waited.
    pub(super) fn clear(&mut self) -> (Option<Purpose>, VecDeque<Ask>) {
        (self.outstanding.take().map(|request| request.purpose), std::mem::take(&mut self.waiting))
    }

    /// Nobody waits for the acknowledgement of an announcement or a piece any more.
    pub(super) fn withdraw_transfer(&mut self) {
        self.outstanding.take_if(|request| matches!(request.purpose, Purpose::Transfer));
    }

    /// Bytes held.
    pub(super) fn queued_bytes(&self) -> usize {
        let outstanding = self.outstanding.as_ref().map_or(0, |request| request.wire.len());
        outstanding + self.waiting.iter().map(|ask| ask.payload.len()).sum::<usize>()
    }

    fn repeat(&mut self, now: Timestamp) -> Option<Vec<u8>> {
        let mut request = self.outstanding.take()?;
        request.sends += 1;
        request.due = self.due(now, request.command, &request.wire, &request.purpose);
        let wire = request.wire.clone();
        self.outstanding = Some(request);
        Some(wire)
    }

    /// The wait for an acknowledgement begins when the last byte has left.
    fn due(&self, now: Timestamp, command: u8, wire: &[u8], purpose: &Purpose) -> Timestamp {
        let line_ms = (wire.len() as u64 * BITS_PER_BYTE * 1000).div_ceil(u64::from(self.baud.max(1)));
        let ack_ms = if command == BIG_DATA_PIECE { PIECE_ACK_MS } else { ACK_MS };
        let due = now.after(ack_ms + line_ms);
        match purpose {
            Purpose::Command(ask) => due.min(ask.deadline.max(now)),
            _ => due,
        }
    }
}

/// Wait for an acknowledgement (Gizwits serial protocol, retry rules).
pub(super) const ACK_MS: u64 = 200;

/// The same for a piece of firmware, which the MCU writes into its flash first (Gizwits serial protocol, retry rules).
const PIECE_ACK_MS: u64 = 3000;

/// Transmissions of one request in total (Gizwits serial protocol, retry rules).
const SENDS: u8 = 3;

/// Commands that wait while another is under way; the arbiter has at most so many. One more is refused.
pub(super) const WAITING_COMMANDS: usize = 32;

/// Start bit, eight data bits, stop bit (Gizwits serial protocol, line).
const BITS_PER_BYTE: u64 = 10;
