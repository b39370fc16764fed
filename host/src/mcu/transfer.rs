//! Firmware for the MCU, in words that every link shares: the image, what happens to a transfer, what a transfer says.
//!
//! A link holds one piece of an image at a time and asks for the next by [`FirmwareOutput::Wanted`]; whoever began the
//! transfer answers with [`FirmwareInput::Bytes`], out of a file or a download. So memory does not grow with the image.

/// A file for the MCU. Its bytes stay with whoever begins the transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// Bytes of the file.
    pub size: u32,
    /// MD5 of the file.
    pub md5: [u8; 16],
    /// What is in it.
    pub format: ImageFormat,
}

/// What is in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFormat {
    /// Bytes as they go into the memory of the MCU, or whatever else the MCU understands.
    Binary,
    /// Intel HEX records, one a line.
    IntelHex,
}

/// What happens to a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirmwareInput<'a> {
    /// Begin to send this image. [`FirmwareOutput::Refused`] follows at once, or else [`FirmwareOutput::Ended`] at some
    /// time.
    Begin(Image),
    /// Bytes of the image from this offset on: all that were wanted last. Others are ignored, as a restart of the MCU
    /// may overtake an answer.
    Bytes {
        /// Where they stand in the image.
        offset: u32,
        /// As many as were wanted.
        bytes: &'a [u8],
    },
    /// Give the transfer up, and tell the MCU.
    Cancel,
}

/// Why a line refuses an image while the MCU is not there, as it is for a moment after it was given firmware: the one reason
/// that may be gone when it is asked again.
pub const NOT_THERE: &str = "the MCU does not answer";

/// What a transfer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirmwareOutput {
    /// The transfer was not begun, for this reason. One that is under way goes on.
    Refused(&'static str),
    /// These bytes of the image are wanted, by [`FirmwareInput::Bytes`]. Never beyond its end.
    Wanted {
        /// From here on.
        offset: u32,
        /// So many.
        len: usize,
    },
    /// The MCU has acknowledged so many bytes of the image. Falls back to 0 when the MCU begins anew.
    Progress(u32),
    /// The transfer is over; nothing more comes of it.
    Ended(TransferEnd),
}

/// How a transfer ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferEnd {
    /// The MCU has acknowledged the last piece. Whether the firmware works, its next version number tells.
    #[error("the MCU has all of it")]
    Done,
    /// [`FirmwareInput::Cancel`].
    #[error("given up by the host")]
    Cancelled,
    /// The MCU gave up.
    #[error("given up by the MCU")]
    CancelledByMcu,
    /// The MCU did not acknowledge the announcement or a piece.
    #[error("the MCU did not acknowledge {what}")]
    Unacknowledged {
        /// Which.
        what: &'static str,
    },
    /// It took the announcement and was never ready.
    #[error("the MCU was not ready within {0} s")]
    NotReady(u64),
    /// It was ready for another file only.
    #[error("the MCU wants a file with another MD5")]
    OtherImage,
    /// It wants Intel HEX, which the image is not.
    #[error("the MCU wants Intel HEX, the file is binary")]
    WrongFormat,
    /// It began anew again and again.
    #[error("the MCU began anew more than {0} times")]
    Restless(u32),
    /// The image cannot be sent to this MCU.
    #[error("the file cannot be sent: {0}")]
    Image(String),
    /// The bytes that were wanted did not come.
    #[error("the bytes of the file did not come within {0} s")]
    NoBytes(u64),
    /// The line or the MCU is lost, or the MCU restarts.
    #[error("the MCU was lost")]
    Lost,
}
