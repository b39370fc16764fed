//! The envelopes of P0: what applications and the MCU say to each other, which the module does not look into.

use polylink_plugin_sdk::bytes::Reader;

use super::{Frame, PacketError, command};

/// A P0 payload for the MCU: [`command::P0_REQUEST`], or [`command::NUMBERED_REQUEST`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct P0Request {
    /// The number that the answer carries.
    pub sn: Option<u32>,
    /// What goes to the MCU, never empty.
    pub p0: Vec<u8>,
}

impl P0Request {
    /// As a frame.
    #[must_use]
    pub fn frame(&self) -> Frame {
        numbered(self.sn, &self.p0, command::P0_REQUEST, command::NUMBERED_REQUEST)
    }

    /// Reads it; `None`: the frame is no request.
    ///
    /// # Errors
    /// It has no whole sequence number, or no P0 payload.
    pub fn decode(frame: &Frame) -> Result<Option<Self>, PacketError> {
        let (sn, p0) = match frame.command {
            command::P0_REQUEST => (None, &*frame.payload),
            command::NUMBERED_REQUEST => split(&frame.payload)?,
            _ => return Ok(None),
        };
        if p0.is_empty() {
            return Err(PacketError::Field("the request has no P0 payload"));
        }
        Ok(Some(Self { sn, p0: p0.to_vec() }))
    }
}

/// From the MCU: [`command::P0_REPORT`], or [`command::NUMBERED_ANSWER`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct P0Answer {
    /// The number of the request; none: a report, or the answer to a request without a number.
    pub sn: Option<u32>,
    /// What the MCU said; empty: it acknowledged.
    pub p0: Vec<u8>,
}

impl P0Answer {
    /// Reads it; `None`: the frame is neither.
    ///
    /// # Errors
    /// It has no whole sequence number.
    pub fn decode(frame: &Frame) -> Result<Option<Self>, PacketError> {
        let (sn, p0) = match frame.command {
            command::P0_REPORT => (None, &*frame.payload),
            command::NUMBERED_ANSWER => split(&frame.payload)?,
            _ => return Ok(None),
        };
        Ok(Some(Self { sn, p0: p0.to_vec() }))
    }
}

/// What the MCU reports, for all.
#[must_use]
pub fn p0_report(p0: &[u8]) -> Frame {
    Frame::new(command::P0_REPORT, p0)
}

/// What the MCU answered, for who asked with or without a sequence number; nothing: it acknowledged.
#[must_use]
pub fn p0_answer(sn: Option<u32>, p0: &[u8]) -> Frame {
    numbered(sn, p0, command::P0_REPORT, command::NUMBERED_ANSWER)
}

fn numbered(sn: Option<u32>, p0: &[u8], plain: u16, with_number: u16) -> Frame {
    match sn {
        None => Frame::new(plain, p0),
        Some(sn) => Frame::new(with_number, [&sn.to_be_bytes(), p0].concat()),
    }
}

fn split(payload: &[u8]) -> Result<(Option<u32>, &[u8]), PacketError> {
    let mut reader = Reader::new(payload);
    Ok((Some(reader.u32_be()?), reader.rest()))
}
