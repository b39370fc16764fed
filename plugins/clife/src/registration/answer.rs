//! What the platform said to a registration request.

use serde_json::value::RawValue;

use super::LoginData;
use crate::cipher::{Iv, Key, OpenError, open};
use crate::frame::{Frame, FrameError, MsgId, cmd, integer, members};

/// What becomes of a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistrationOutcome {
    /// The device is registered. Whether it can connect depends on the settings too; see [`LoginData::connection`].
    Done(LoginData),
    /// Try again after a backoff.
    Retry(RetryReason),
    /// Somebody has to change the configuration, here or there; trying again soon is of no use.
    Fault(FaultReason),
}

/// Why there is nothing to go by yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RetryReason {
    /// Code 5.
    #[error("the platform is busy (respCode 5)")]
    Busy,
    /// A code that is not in the list.
    #[error("the platform answered with respCode {0}, which is not defined")]
    Code(i64),
    /// The server has trouble, or answered in a way that is not foreseen.
    #[error("HTTP status {0}")]
    Status(u16),
    /// Not a message.
    #[error("the answer is no message: {0}")]
    Frame(#[from] FrameError),
    /// An answer to something else.
    #[error("the answer has cmd {0} instead of 2001")]
    Cmd(i64),
    /// An answer to another request.
    #[error("the answer does not repeat the msgId of the request")]
    MsgId,
    /// There is no body, or it cannot be opened.
    #[error("the body of the answer cannot be read: {0}")]
    Body(#[from] OpenError),
    /// Nobody can tell whether it is a success.
    #[error("the answer has no respCode")]
    NoCode,
}

/// A refusal that goes on until somebody changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultReason {
    /// Code 1.
    #[error("the platform refused the parameters (respCode 1)")]
    Parameters,
    /// Code 2.
    #[error("the platform does not know the product or the device: check product_code and dev_id (respCode 2)")]
    Unknown,
    /// Code 3.
    #[error("the platform cannot decrypt the request: check dev_key (respCode 3)")]
    Decryption,
    /// Code 4.
    #[error("the platform has disabled the device (respCode 4)")]
    Disabled,
    /// The server does not take such requests.
    #[error("HTTP status {0}: check host, scheme and register_path")]
    Status(u16),
}

/// Reads an answer (Clife access protocol, our reading: registration). With `strict` a success that is not encrypted is
/// not taken; an error may always come in the clear, since the platform may not know the key.
#[must_use]
pub fn parse_answer(
    status: u16,
    body: &[u8],
    expected: &MsgId,
    key: &Key,
    iv: &Iv,
    strict: bool,
) -> RegistrationOutcome {
    match status {
        200 => read(body, expected, key, iv, strict).unwrap_or_else(RegistrationOutcome::Retry),
        429 => RegistrationOutcome::Retry(RetryReason::Status(status)),
        400..=499 => RegistrationOutcome::Fault(FaultReason::Status(status)),
        _ => RegistrationOutcome::Retry(RetryReason::Status(status)),
    }
}

fn read(body: &[u8], expected: &MsgId, key: &Key, iv: &Iv, strict: bool) -> Result<RegistrationOutcome, RetryReason> {
    let frame = Frame::decode(body)?;
    if frame.cmd != cmd::REGISTERED {
        return Err(RetryReason::Cmd(frame.cmd));
    }
    if frame.id.as_ref() != Some(expected) {
        return Err(RetryReason::MsgId);
    }
    let data: &RawValue = frame.data.as_deref().ok_or(OpenError::Form)?;
    let members = members(&*open(key, iv, data, false)?).ok_or(OpenError::Json)?;
    let code: i64 = members.get("respCode").and_then(|raw| integer(raw)).ok_or(RetryReason::NoCode)?;
    Ok(match code {
        0 => {
            open(key, iv, data, strict)?;
            RegistrationOutcome::Done(LoginData::read(&members, frame.timestamp))
        }
        1 => RegistrationOutcome::Fault(FaultReason::Parameters),
        2 => RegistrationOutcome::Fault(FaultReason::Unknown),
        3 => RegistrationOutcome::Fault(FaultReason::Decryption),
        4 => RegistrationOutcome::Fault(FaultReason::Disabled),
        5 => return Err(RetryReason::Busy),
        code => return Err(RetryReason::Code(code)),
    })
}
