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

/// Reads an answer (Clife access document, our reading: registration). With `strict` a success that is not encrypted is
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
    let members = members(&open(key, iv, data, false)?).ok_or(OpenError::Json)?;
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

#[cfg(test)]
mod tests {
    use polylink_plugin_sdk::secret::Secret;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::cipher::{CipherError, ZERO_IV, encrypt};
    use crate::frame::raw;

    fn key() -> Key {
        Key::from_hex("00112233445566778899aabbccddeeff").unwrap()
    }

    fn encrypted(body: &Value) -> Value {
        json!(encrypt(&key(), &ZERO_IV, body.to_string().as_bytes()))
    }

    fn frame(data: &Value) -> Value {
        json!({ "cmd": 2001, "ver": "1.0", "dir": "30", "msgId": 17, "timestamp": 1_617_787_651_542_i64, "data": data })
    }

    fn success() -> Value {
        json!({ "respCode": 0, "devId": "D1", "mqttUrl": "tcp://h", "mqttPassword": "hunter2" })
    }

    fn outcome(answer: &Value, strict: bool) -> RegistrationOutcome {
        parse_answer(200, answer.to_string().as_bytes(), &17.into(), &key(), &ZERO_IV, strict)
    }

    /// What becomes of a body, encrypted or not.
    #[track_caller]
    fn check(data: &Value, strict: bool, expected: RegistrationOutcome) {
        assert_eq!(outcome(&frame(data), strict), expected, "{data}");
    }

    #[track_caller]
    fn check_status(status: u16, expected: RegistrationOutcome) {
        let body = frame(&encrypted(&success())).to_string();
        assert_eq!(parse_answer(status, body.as_bytes(), &17.into(), &key(), &ZERO_IV, false), expected);
    }

    #[test]
    fn success_brings_what_to_connect_with_and_the_time() {
        let RegistrationOutcome::Done(login) = outcome(&frame(&encrypted(&success())), true) else {
            panic!("a success is one")
        };
        assert_eq!((login.dev_id.as_deref(), login.platform_time_ms), (Some("D1"), Some(1_617_787_651_542)));
        assert_eq!(login.password, Some(Secret::new("hunter2".to_owned())));
        let shown = format!("{:?}", outcome(&frame(&encrypted(&success())), true));
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn each_code_of_the_table_asks_for_its_reaction_also_in_the_clear() {
        use RegistrationOutcome::{Fault, Retry};
        for (code, expected) in [
            (json!(1), Fault(FaultReason::Parameters)),
            (json!("2"), Fault(FaultReason::Unknown)),
            (json!(3), Fault(FaultReason::Decryption)),
            (json!(4), Fault(FaultReason::Disabled)),
            (json!(5), Retry(RetryReason::Busy)),
            (json!(6), Retry(RetryReason::Code(6))),
            (json!(-1), Retry(RetryReason::Code(-1))),
            (json!(0.0), Retry(RetryReason::NoCode)),
            (json!(null), Retry(RetryReason::NoCode)),
        ] {
            let body = json!({ "respCode": code, "respCont": "text" });
            for data in [encrypted(&body), body] {
                check(&data, true, expected.clone());
            }
        }
        check(&encrypted(&json!({})), true, Retry(RetryReason::NoCode));
    }

    #[test]
    fn a_success_in_the_clear_is_taken_unless_all_must_be_encrypted() {
        assert!(matches!(outcome(&frame(&success()), false), RegistrationOutcome::Done(_)));
        check(&success(), true, RegistrationOutcome::Retry(RetryReason::Body(OpenError::Plain)));
    }

    #[test]
    fn what_is_no_answer_to_the_request_is_tried_again() {
        let check = |name: &str, value: Value, reason| {
            let mut answer = frame(&encrypted(&success()));
            answer[name] = value;
            assert_eq!(outcome(&answer, false), RegistrationOutcome::Retry(reason), "{name}");
        };
        check("cmd", json!(2000), RetryReason::Cmd(2000));
        check("cmd", json!(null), RetryReason::Frame(FrameError::NoCmd));
        for id in [json!(18), json!("17"), json!(17.0), json!(null)] {
            check("msgId", id, RetryReason::MsgId);
        }
        check("data", json!(null), RetryReason::Body(OpenError::Form));
        check("data", json!([]), RetryReason::Body(OpenError::Form));
        check("data", json!("!"), RetryReason::Body(OpenError::Cipher(CipherError::Base64)));
        check("data", encrypted(&json!([1])), RetryReason::Body(OpenError::Json));
    }

    #[test]
    fn a_status_decides_before_the_answer_is_read() {
        use RegistrationOutcome::{Fault, Retry};
        for status in [0, 100, 201, 204, 302, 429, 500, 503, 599, 600] {
            check_status(status, Retry(RetryReason::Status(status)));
        }
        for status in [400, 401, 403, 404, 408, 499] {
            check_status(status, Fault(FaultReason::Status(status)));
        }
    }

    proptest! {
        #[test]
        fn no_answer_can_panic_its_reader(status: u16, bytes: Vec<u8>, name in "respCode|devId|id|deviceSecret|mqttUrl|mqttKeepalive", value in "[\\[\\]{}\",:0-9a.-]{0,20}") {
            let _ = parse_answer(status, &bytes, &17.into(), &key(), &ZERO_IV, false);
            let mut body = success();
            body[name] = serde_json::from_str(&value).unwrap_or(json!(value));
            if let RegistrationOutcome::Done(login) = outcome(&frame(&body), false) {
                let _ = login.connection(&Default::default());
                prop_assert!(LoginData::restore(raw(&login).get().as_bytes()).is_some());
            }
        }
    }
}
