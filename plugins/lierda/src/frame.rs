//! The envelope that every Lierda message travels in, both ways, and the acknowledgements in it.
//!
//! Invariant: a name or a number of the cloud never passes through floating point, and what is only handed on keeps its
//! bytes. What a payload means is left to the modules of the commands; which topic carries what is in [`crate::topics`].

mod ids;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use polylink_plugin_sdk::raw_json::{integer, object, raw, text};

pub use ids::{MessageId, MessageIdType};

/// Longest message taken (Lierda MQTT access protocol, our reading: bad input). The host's MQTT service has the same
/// limit.
pub const MAX_MESSAGE: usize = 256 * 1024;

/// `Code` of success in the answer to an authentication (Lierda MQTT access protocol, authentication).
pub const AUTH_DONE: i64 = 0;

/// `Code` of success in every other acknowledgement (Lierda MQTT access protocol, acknowledgements).
pub const DONE: i64 = 200;

/// A message as it came in.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Its name; `None` if absent, empty or of no use. Such a message is processed, and answered with
    /// [`MessageId::MISSING`].
    pub id: Option<MessageId>,
    /// What it is about.
    pub header_ctrl: i64,
    /// The content, exactly as it came; `None` if absent or null.
    pub payload: Option<Box<RawValue>>,
    /// False if it says it is of another protocol than 2.x: worth a warning, nothing more.
    pub version_ok: bool,
}

/// Why a message was dropped before anybody looked at its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Larger than [`MAX_MESSAGE`].
    #[error("message of {0} bytes, at most {MAX_MESSAGE} are taken")]
    TooLong(usize),
    /// Not one JSON object in UTF-8.
    #[error("not a JSON object")]
    NotAnObject,
    /// `HeaderCtrl` is missing, or neither a whole number nor digits in a text.
    #[error("no usable `HeaderCtrl`")]
    NoHeaderCtrl,
}

impl Frame {
    /// Reads a message.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub fn decode(message: &[u8]) -> Result<Self, FrameError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Members<'a> {
            #[serde(borrow, default)]
            message_id: Option<&'a RawValue>,
            #[serde(borrow, default)]
            header_ctrl: Option<&'a RawValue>,
            #[serde(borrow, default)]
            payload: Option<&'a RawValue>,
            #[serde(borrow, default)]
            version: Option<&'a RawValue>,
        }
        if message.len() > MAX_MESSAGE {
            return Err(FrameError::TooLong(message.len()));
        }
        let message: &RawValue = serde_json::from_slice(message).map_err(|_| FrameError::NotAnObject)?;
        let members: Members<'_> = object(message).ok_or(FrameError::NotAnObject)?;
        Ok(Self {
            id: members.message_id.and_then(MessageId::parse),
            header_ctrl: members.header_ctrl.and_then(integer).ok_or(FrameError::NoHeaderCtrl)?,
            payload: members.payload.map(ToOwned::to_owned),
            version_ok: members.version.is_none_or(|raw| text(raw).is_some_and(|version| version.starts_with("2."))),
        })
    }

    /// The name that an answer carries.
    #[must_use]
    pub fn answer_id(&self) -> MessageId {
        self.id.clone().unwrap_or(MessageId::MISSING)
    }
}

/// A message of the device: compact JSON in UTF-8.
#[must_use]
pub fn encode(id: &MessageId, header_ctrl: i64, payload: &RawValue) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Outgoing<'a> {
        message_id: &'a MessageId,
        header_ctrl: i64,
        payload: &'a RawValue,
        version: &'static str,
    }
    let outgoing = Outgoing { message_id: id, header_ctrl, payload, version: VERSION };
    serde_json::to_vec(&outgoing).expect("names, numbers and checked JSON always become JSON")
}

/// Payload of an acknowledgement. The device sends `Code` as a text, and no `Data` when there is nothing to return.
#[must_use]
pub fn ack(ok: bool, data: Option<&RawValue>) -> Box<RawValue> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Ack<'a> {
        code: &'static str,
        msg: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<&'a RawValue>,
    }
    let (code, msg) = if ok { ("200", "SUCCESS") } else { ("4001", "Failed") };
    raw(&Ack { code, msg, data: data.filter(|data| !matches!(data.get(), "{}" | "null")) })
}

/// Payload of the acknowledgement of an upgrade order, which has no `Code`.
#[must_use]
pub fn ota_ack(down_id: &str) -> Box<RawValue> {
    #[derive(Serialize)]
    struct Ack<'a> {
        #[serde(rename = "DownID")]
        down_id: &'a str,
    }
    raw(&Ack { down_id })
}

/// `Code` of an acknowledgement, as a number or as digits in a text; `None` if there is none to be read.
#[must_use]
pub fn code(payload: &RawValue) -> Option<i64> {
    integer(code_member(payload)?)
}

/// True if there is a `Code`, whatever it says.
#[must_use]
pub fn has_code(payload: &RawValue) -> bool {
    code_member(payload).is_some()
}

fn code_member(payload: &RawValue) -> Option<&RawValue> {
    #[derive(Deserialize)]
    struct Members<'a> {
        #[serde(rename = "Code", borrow, default)]
        code: Option<&'a RawValue>,
    }
    object::<Members<'_>>(payload)?.code
}

/// True if `Code` says so: `success` is [`AUTH_DONE`] for an authentication, else [`DONE`]. No readable code is a
/// failure.
#[must_use]
pub fn code_ok(payload: &RawValue, success: i64) -> bool {
    code(payload) == Some(success)
}

/// Protocol version of every frame (Lierda MQTT access protocol 2.0, frame).
const VERSION: &str = "2.0";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Name, header, payload and whether the version is known.
    type Seen<'a> = (Option<&'a str>, i64, Option<&'a str>, bool);

    fn check(message: &str, expected: Result<Seen<'_>, FrameError>) {
        let decoded = Frame::decode(message.as_bytes());
        let seen = decoded
            .as_ref()
            .map(|frame| {
                let payload = frame.payload.as_deref().map(RawValue::get);
                (frame.id.as_ref().map(MessageId::as_str), frame.header_ctrl, payload, frame.version_ok)
            })
            .map_err(|error| *error);
        assert_eq!(seen, expected, "{message}");
    }

    fn payload(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.into()).unwrap()
    }

    #[test]
    fn decodes_the_frame_of_the_protocol() {
        check(
            r#"{"MessageId":1231,"HeaderCtrl":4,"Payload":{"a":  1e2},"Version":"2.0"}"#,
            Ok((Some("1231"), 4, Some(r#"{"a":  1e2}"#), true)),
        );
    }

    #[test]
    fn what_is_missing_or_odd_but_harmless_is_taken() {
        check(r#" {"HeaderCtrl":"20","more":[]} "#, Ok((None, 20, None, true)));
        check(r#"{"MessageId":"","HeaderCtrl":-1,"Payload":"","Version":null}"#, Ok((None, -1, Some("\"\""), true)));
        check(r#"{"MessageId":[],"HeaderCtrl":1,"Payload":null,"Version":"2.9"}"#, Ok((None, 1, None, true)));
        for version in ["\"1.0\"", "\"20\"", "2.0", "{}"] {
            check(&format!(r#"{{"HeaderCtrl":1,"Version":{version}}}"#), Ok((None, 1, None, false)));
        }
    }

    #[test]
    fn what_is_no_object_or_has_no_header_is_refused() {
        for message in
            ["", "[1,2,3,4]", "\"a\"", "{\"HeaderCtrl\":1,", "{\"HeaderCtrl\":1} x", "\u{feff}{\"HeaderCtrl\":1}"]
        {
            check(message, Err(FrameError::NotAnObject));
        }
        for header in ["null", "1.5", "1e1", "\"\"", "\"+7\"", "\" 7\"", "\"seven\"", "true", &"9".repeat(30)] {
            check(&format!(r#"{{"HeaderCtrl":{header}}}"#), Err(FrameError::NoHeaderCtrl));
        }
        check("{}", Err(FrameError::NoHeaderCtrl));
        assert_eq!(Frame::decode(b"{\"HeaderCtrl\":1,\"a\":\"\xff\"}").unwrap_err(), FrameError::NotAnObject);
    }

    #[test]
    fn a_message_over_the_limit_is_refused_unread() {
        let message = |filling| format!(r#"{{"HeaderCtrl":1,"Payload":"{}"}}"#, "x".repeat(filling));
        let overhead = message(0).len();
        assert!(Frame::decode(message(MAX_MESSAGE - overhead).as_bytes()).is_ok());
        check(&message(MAX_MESSAGE - overhead + 1), Err(FrameError::TooLong(MAX_MESSAGE + 1)));
    }

    #[test]
    fn an_acknowledgement_is_as_the_protocol_prints_it() {
        let sent = |id: &MessageId, payload: &RawValue| String::from_utf8(encode(id, 7, payload)).unwrap();
        let id = MessageId::new(9, MessageIdType::Int);
        assert_eq!(
            sent(&id, &ack(true, Some(&payload(r#"{"temp":"100"}"#)))),
            r#"{"MessageId":9,"HeaderCtrl":7,"Payload":{"Code":"200","Msg":"SUCCESS","Data":{"temp":"100"}},"Version":"2.0"}"#
        );
        for data in [None, Some(payload("{}")), Some(payload("null"))] {
            assert_eq!(ack(false, data.as_deref()).get(), r#"{"Code":"4001","Msg":"Failed"}"#);
        }
        let nameless = Frame::decode(b"{\"HeaderCtrl\":9}").unwrap();
        assert_eq!(
            sent(&nameless.answer_id(), &ota_ack("3\"3")),
            r#"{"MessageId":"","HeaderCtrl":7,"Payload":{"DownID":"3\"3"},"Version":"2.0"}"#
        );
    }

    #[test]
    fn a_code_that_is_no_number_is_a_failure() {
        for json in [
            "{}",
            "[200]",
            "\"200\"",
            "200",
            r#"{"Code":null}"#,
            r#"{"Code":200.0}"#,
            r#"{"Code":"ok"}"#,
            r#"{"Code":" 200"}"#,
        ] {
            assert!(!code_ok(&payload(json), DONE), "{json}");
        }
    }

    proptest! {
        #[test]
        fn every_frame_survives_the_wire(number: u32, is_text: bool, header_ctrl: i64, content in "\\PC{0,40}") {
            let id = MessageId::new(number, if is_text { MessageIdType::String } else { MessageIdType::Int });
            let content = raw(&content);
            let frame = Frame::decode(&encode(&id, header_ctrl, &content)).unwrap();
            prop_assert_eq!(frame.id, Some(id));
            prop_assert_eq!(frame.header_ctrl, header_ctrl);
            let payload = frame.payload.unwrap();
            prop_assert_eq!(payload.get(), content.get());
            prop_assert!(frame.version_ok);
        }

        #[test]
        fn no_bytes_can_panic_the_decoder(bytes: Vec<u8>, text in "[\\[\\]{}\",:0-9eE.MessageIdHeaderCtrl\\\\ -]{0,80}") {
            let _ = (Frame::decode(&bytes), Frame::decode(text.as_bytes()));
        }
    }
}
