//! Remote control (action 200): what is asked, and what is answered.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::config::Dialect;
use crate::message::{Envelope, raw, text};

/// Done (Deli access document, error codes).
pub const DONE: i64 = 0;
/// Undefined, see `msg` (Deli access document, error codes).
pub const FAILED: i64 = -1;
/// Parameters could not be parsed (Deli access document, error codes).
pub const BAD_PARAMETER: i64 = 100;
/// Action not supported (Deli access document, error codes).
pub const UNSUPPORTED: i64 = 106;

/// A command with its content, as actions 200, 300 and 301 carry it.
#[derive(Clone, Debug)]
pub struct Instruction {
    /// What to do.
    pub cmd: String,
    /// The content: `payload` if there is one, else the members beside `cmd`.
    pub payload: Box<RawValue>,
}

impl Instruction {
    /// Reads the content of a message; `None` without a usable `cmd`.
    #[must_use]
    pub fn parse(envelope: &Envelope) -> Option<Self> {
        #[derive(Deserialize)]
        struct Members<'a> {
            #[serde(borrow, default)]
            cmd: Option<&'a RawValue>,
            #[serde(borrow, default)]
            payload: Option<&'a RawValue>,
        }
        let members: Members<'_> = envelope.data_as()?;
        let cmd = members.cmd.and_then(text).filter(|cmd| !cmd.is_empty() && cmd.len() <= LONGEST_CMD)?;
        let payload = match members.payload {
            Some(payload) => payload.to_owned(),
            // The business documents of the vendor also put members beside `cmd`.
            None => {
                let mut beside: std::collections::BTreeMap<String, &RawValue> = envelope.data_as()?;
                beside.remove("cmd");
                beside.remove("payload");
                raw(&beside)
            }
        };
        Some(Self { cmd, payload })
    }
}

/// Content of an answer that has only a code and a reason.
#[must_use]
pub fn plain_answer(code: i64, msg: &str) -> Box<RawValue> {
    raw(&serde_json::json!({ "code": code, "msg": msg }))
}

/// Content of the answer to a control command: text 1.0 carries `payload`, text 1.1 `result`.
#[must_use]
pub fn control_answer(dialect: Dialect, code: i64, msg: &str, cmd: &str, payload: &RawValue) -> Box<RawValue> {
    #[derive(Serialize)]
    struct Answer<'a> {
        code: i64,
        msg: &'a str,
        cmd: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        payload: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        result: Option<&'a str>,
    }
    let (payload, result) = match dialect {
        Dialect::V1_0 => (Some(payload), None),
        Dialect::V1_1 => (None, Some(payload.get())),
    };
    raw(&Answer { code, msg, cmd, payload, result })
}

/// A command runs at most so long (not documented; chosen by us).
pub const CONTROL_TIMEOUT_MS: u32 = 30_000;
/// So long a request that comes again is answered as before (not documented; chosen by us).
pub const KEPT_MS: u64 = 600_000;
/// Longest command name; a longer one counts as none (not documented; chosen by us).
const LONGEST_CMD: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(data: &str, expected: Option<(&str, &str)>) {
        let envelope = Envelope::decode(format!(r#"{{"mid":"m","action":301,"data":{data}}}"#).as_bytes()).unwrap();
        let instruction = Instruction::parse(&envelope);
        let seen = instruction.as_ref().map(|instruction| (instruction.cmd.as_str(), instruction.payload.get()));
        assert_eq!(seen, expected, "{data}");
    }

    #[test]
    fn the_content_stands_in_payload_or_beside_cmd() {
        check(r#"{"cmd":"set","payload":{"a":512345678901234567}}"#, Some(("set", r#"{"a":512345678901234567}"#)));
        check(
            r#"{"cmd":"checkin","org_id":"1","users":[{"user_id":9007199254740993}]}"#,
            Some(("checkin", r#"{"org_id":"1","users":[{"user_id":9007199254740993}]}"#)),
        );
        check(r#"{"cmd":"get"}"#, Some(("get", "{}")));
        check(r#"{"cmd":"get","payload":null}"#, Some(("get", "{}")));
    }

    #[test]
    fn content_without_a_command_is_none() {
        for data in ["null", "[]", "7", "{}", r#"{"cmd":""}"#, r#"{"cmd":7}"#, r#"{"cmd":null,"payload":{}}"#] {
            check(data, None);
        }
    }

    #[test]
    fn text_1_1_carries_the_result_as_a_text() {
        let payload = raw(&serde_json::json!({ "a": 1 }));
        let answer = control_answer(Dialect::V1_1, DONE, "", "echo", &payload);
        assert_eq!(answer.get(), r#"{"code":0,"msg":"","cmd":"echo","result":"{\"a\":1}"}"#);
    }
}
