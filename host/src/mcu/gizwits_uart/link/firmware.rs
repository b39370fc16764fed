//! The transfer of firmware on the link's line: what it asks is one of the link's requests, the MCU's words reach it.
//!
//! Invariant: `transfer` is one that is not over. Pieces and commands take turns, so that neither starves the other; a
//! command may find the line taken by a piece, and waits as it does behind another command.

use polylink_plugin_api::Timestamp;

use super::super::commands::*;
use super::super::frame::Frame;
use super::super::requests::Purpose;
use super::super::transfer::{Answer, Transfer};
use super::{GizwitsUart, Phase, RESTART_MS};
use crate::mcu::transfer::{FirmwareInput, FirmwareOutput, Image, NOT_THERE, TransferEnd};
use crate::mcu::{Identity, LinkOutput};

impl GizwitsUart {
    pub(super) fn firmware(&mut self, now: Timestamp, input: FirmwareInput<'_>) {
        match input {
            FirmwareInput::Begin(image) => match self.may_begin(&image) {
                Ok(()) => self.transfer = Some(Transfer::new(image)),
                Err(why) => self.outputs.push_back(LinkOutput::Firmware(FirmwareOutput::Refused(why))),
            },
            FirmwareInput::Bytes { offset, bytes } => self.with_transfer(|transfer| transfer.take(now, offset, bytes)),
            FirmwareInput::Cancel => self.with_transfer(Transfer::cancel),
        }
    }

    /// The transfer is over because of something on the line.
    pub(super) fn lose_transfer(&mut self, end: TransferEnd) {
        self.with_transfer(|transfer| {
            transfer.lose(end);
            false
        });
    }

    pub(super) fn transfer_timeout(&mut self, now: Timestamp) {
        self.with_transfer(|transfer| transfer.timeout(now));
    }

    pub(super) fn transfer_acknowledged(&mut self, now: Timestamp) {
        self.with_transfer(|transfer| transfer.acknowledged(now));
        if matches!(self.outputs.back(), Some(LinkOutput::Firmware(FirmwareOutput::Ended(TransferEnd::Done)))) {
            // It restarts by itself, and may be another one then.
            self.asks_left = ASKS_AFTER_FIRMWARE_MS;
            self.shake_hands(now.after(RESTART_MS));
        }
    }

    pub(super) fn transfer_gave_up(&mut self) {
        self.with_transfer(Transfer::gave_up);
    }

    /// When an MCU that calls itself so is asked once more who it is, because it was given firmware.
    pub(super) fn ask_again(&mut self, now: Timestamp, identity: &Identity) -> Option<Timestamp> {
        if self.identity.as_ref() != Some(identity) {
            self.asks_left = &[];
        }
        let (pause, rest) = self.asks_left.split_first()?;
        self.asks_left = rest;
        Some(now.after(*pause))
    }

    /// The MCU is ready for the image, perhaps once more. True: it was acknowledged.
    pub(super) fn mcu_is_ready(&mut self, now: Timestamp, frame: &Frame) -> bool {
        let mut answer = Answer::No(ERROR_COMMAND);
        // The acknowledgement goes out before anything that follows from it.
        let before = self.outputs.len();
        self.with_transfer(|transfer| {
            let (said, abort) = transfer.ready(now, frame);
            answer = said;
            abort
        });
        let followed = self.outputs.split_off(before);
        match answer {
            Answer::Yes { begins } => {
                if begins {
                    // Of no use to an MCU that has begun anew, or an announcement that it has understood.
                    self.requests.withdraw_transfer();
                }
                self.acknowledge(frame, Vec::new());
            }
            Answer::No(error) => {
                if error == ERROR_OTHER {
                    self.fault("payload", "an MCU ready for firmware, without MD5 and length of a piece".into());
                }
                self.illegal(frame.sn, error);
            }
        }
        self.outputs.extend(followed);
        matches!(answer, Answer::Yes { .. })
    }

    /// Sends what the transfer has to send; none if there is nothing. The line must be free.
    pub(super) fn send_transfer(&mut self, now: Timestamp) -> Option<Vec<u8>> {
        let (command, flags, payload) = self.transfer.as_mut()?.request()?;
        Some(self.requests.send_flagged(now, (command, flags), payload, Purpose::Transfer))
    }

    fn may_begin(&self, image: &Image) -> Result<(), &'static str> {
        if !matches!(self.phase, Phase::Online(_)) {
            return Err(NOT_THERE);
        }
        if self.transfer.is_some() {
            return Err("a transfer to the MCU is under way");
        }
        if image.size == 0 { Err("the file is empty") } else { Ok(()) }
    }

    /// Lets the transfer do something, and passes on what it says. `doing` tells whether the MCU must hear that we abort.
    fn with_transfer(&mut self, doing: impl FnOnce(&mut Transfer) -> bool) {
        let Some(transfer) = &mut self.transfer else { return };
        let aborts = doing(transfer);
        self.outputs.extend(std::iter::from_fn(|| transfer.poll()).map(LinkOutput::Firmware));
        if transfer.is_over() {
            self.transfer = None;
            self.requests.withdraw_transfer();
        }
        if let (true, Phase::Online(online)) = (aborts, &mut self.phase) {
            online.abort_wanted = true;
        }
    }
}

/// Pauses before an MCU that was given firmware, and says that it is what it was, is asked again: it may check and copy what
/// it got before it restarts, and the protocol has no word for that it has. Not documented; chosen by us: soon for one that
/// is quick, and long enough for one that writes a large flash.
const ASKS_AFTER_FIRMWARE_MS: &[u64] = &[5_000, 30_000, 120_000];
