//! The envelope that every Deli message travels in, both ways.
//!
//! Invariant: an identifier or a number of the cloud never passes through floating point, and what is only handed on
//! keeps its bytes. What the members of `data` mean is left to the modules of the actions.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use polylink_plugin_sdk::raw_json::{raw, text};

/// Longest message taken or sent (Deli access protocol, our reading: bad input). The host's MQTT service has the same
/// limit.
pub const MAX_MESSAGE: usize = 256 * 1024;

/// A message as it came in.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// Name of the request; `None` if absent, null or of no use.
    pub mid: Option<Mid>,
    /// Who sent it; empty: not said.
    pub from: String,
    /// Whom it is for; empty: not said.
    pub to: String,
    /// Unix seconds, if they can be read.
    pub time: Option<i64>,
    /// What is wanted.
    pub action: i64,
    /// The content, exactly as it came; `None` if absent or null.
    pub data: Option<Box<RawValue>>,
}

/// Name of a request. The answer repeats it in the JSON type it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mid {
    /// A text, as the documents show it.
    Text(String),
    /// A number, digit by digit.
    Number(String),
}

/// Why a message was dropped before anybody looked at its action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Larger than [`MAX_MESSAGE`].
    #[error("message of {0} bytes, at most {MAX_MESSAGE} are taken")]
    TooLong(usize),
    /// Not one JSON object in UTF-8.
    #[error("not a JSON object")]
    NotAnObject,
    /// `action` is missing, or neither a whole number nor digits in a text.
    #[error("no usable `action`")]
    NoAction,
}

impl Envelope {
    /// Reads a payload.
    ///
    /// # Errors
    /// See [`MessageError`].
    pub fn decode(payload: &[u8]) -> Result<Self, MessageError> {
        if payload.len() > MAX_MESSAGE {
            return Err(MessageError::TooLong(payload.len()));
        }
        // Serde would also take an array for a struct.
        if payload.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err(MessageError::NotAnObject);
        }
        let members: Members<'_> = serde_json::from_slice(payload).map_err(|_| MessageError::NotAnObject)?;
        let action = members.action.and_then(integer).ok_or(MessageError::NoAction)?;
        Ok(Self {
            mid: members.mid.and_then(Mid::parse),
            from: identifier(members.from),
            to: identifier(members.to),
            time: members.time.and_then(integer),
            action,
            data: members.data.map(ToOwned::to_owned),
        })
    }

    /// The content as a structure with optional members; `None` if it is absent, no object, or does not fit.
    pub fn data_as<'a, T: Deserialize<'a>>(&'a self) -> Option<T> {
        let text = self.data.as_deref()?.get();
        if !text.starts_with('{') {
            return None;
        }
        serde_json::from_str(text).ok()
    }
}

impl Mid {
    /// The text by which requests and answers find each other, whatever the JSON type.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let (Self::Text(text) | Self::Number(text)) = self;
        text
    }

    fn parse(raw: &RawValue) -> Option<Self> {
        let mid = match text(raw) {
            Some(text) => Self::Text(text),
            None if is_number(raw) => Self::Number(raw.get().to_owned()),
            None => return None,
        };
        (mid.as_str().len() <= MAX_ID && !mid.as_str().is_empty()).then_some(mid)
    }
}

impl Serialize for Mid {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(digits) => {
                let raw = RawValue::from_string(digits.clone()).map_err(serde::ser::Error::custom)?;
                raw.serialize(serializer)
            }
        }
    }
}

/// A message of the device.
#[derive(Debug, Serialize)]
pub struct Outgoing<'a> {
    /// Name of the request.
    pub mid: &'a Mid,
    /// The device id.
    pub from: &'a str,
    /// Receiver; empty in a 300: all applications of the device.
    pub to: &'a str,
    /// Unix seconds; 0 while the clock is not set.
    pub time: i64,
    /// What is wanted or answered.
    pub action: i64,
    /// Content; left out where there is none, never null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<&'a RawValue>,
}

impl Outgoing<'_> {
    /// Compact JSON in UTF-8.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts, numbers and checked JSON always become JSON")
    }
}

/// An identifier in its normal form: a text, empty for none. Numbers keep their digits.
#[must_use]
pub fn identifier(raw: Option<&RawValue>) -> String {
    let Some(raw) = raw else { return String::new() };
    let id = match text(raw) {
        Some(text) => text.trim().to_owned(),
        None if is_number(raw) => raw.get().to_owned(),
        None => String::new(),
    };
    if id.len() > MAX_ID { String::new() } else { id }
}

/// A whole number, or its digits in a text.
#[must_use]
pub fn integer(raw: &RawValue) -> Option<i64> {
    match text(raw) {
        Some(text) => text.trim().parse().ok(),
        None => raw.get().parse().ok(),
    }
}

/// A member of `data` that is a text and says something.
#[must_use]
pub fn said(raw: Option<&RawValue>) -> Option<String> {
    raw.and_then(text).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Chooses names for requests: decimal milliseconds and a three-digit counter (not documented; chosen by us: sortable,
/// and well below the 32 characters that later texts allow).
#[derive(Debug)]
pub struct Mids {
    base_ms: u64,
    last_ms: u64,
    counter: u64,
}

impl Mids {
    /// A source; `base_ms` stands in for the wall clock as long as that was never set.
    #[must_use]
    pub const fn new(base_ms: u64) -> Self {
        Self { base_ms, last_ms: 0, counter: 0 }
    }

    /// A name that this source never gave before. `unix_ms` is `None` while the clock is not set.
    pub fn next(&mut self, unix_ms: Option<i64>, monotonic_ms: u64) -> Mid {
        let ms = unix_ms
            .and_then(|ms| u64::try_from(ms).ok())
            .unwrap_or_else(|| self.base_ms.saturating_add(monotonic_ms))
            .min(LAST_MS);
        self.counter += 1;
        if ms > self.last_ms {
            self.last_ms = ms;
            self.counter = 0;
        } else if self.counter > 999 {
            self.last_ms += 1;
            self.counter = 0;
        }
        Mid::Text(format!("{}{:03}", self.last_ms, self.counter))
    }
}

#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow, default)]
    mid: Option<&'a RawValue>,
    #[serde(borrow, default)]
    from: Option<&'a RawValue>,
    #[serde(borrow, default)]
    to: Option<&'a RawValue>,
    #[serde(borrow, default)]
    time: Option<&'a RawValue>,
    #[serde(borrow, default)]
    action: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

fn is_number(raw: &RawValue) -> bool {
    raw.get().starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

/// Longest identifier or `mid` that counts (not documented; chosen by us: later texts allow 32 and 64). A longer one is
/// taken for none, so that what is remembered stays small.
const MAX_ID: usize = 128;
/// Keeps a `mid` below 20 digits whatever the clock says.
const LAST_MS: u64 = 9_999_999_999_999;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(payload: &str, expected: Result<(Option<&str>, &str, i64), MessageError>) {
        let decoded = Envelope::decode(payload.as_bytes());
        let seen = decoded
            .as_ref()
            .map(|envelope| (envelope.mid.as_ref().map(Mid::as_str), envelope.from.as_str(), envelope.action))
            .map_err(|error| *error);
        assert_eq!(seen, expected, "{payload}");
    }

    #[test]
    fn decodes_the_answer_to_action_100_of_the_access_document() {
        check(
            r#"{"from":"system","mid":"123456","time":1502867044,"action":100,"data":{"code":0}}"#,
            Ok((Some("123456"), "system", 100)),
        );
    }

    #[test]
    fn numbers_and_texts_are_the_same_to_an_id_and_to_an_action() {
        check(r#"{"mid":"a","from":512345678901234567,"action":"200"}"#, Ok((Some("a"), "512345678901234567", 200)));
        check(r#"{"mid":7,"from":null,"action":200}"#, Ok((Some("7"), "", 200)));
    }

    #[test]
    fn a_mid_of_no_use_counts_as_none() {
        for mid in ["null", "{}", "[1]", "true", "\"\"", &format!("\"{}\"", "9".repeat(129))] {
            check(&format!(r#"{{"mid":{mid},"from":"u","action":200}}"#), Ok((None, "u", 200)));
        }
    }

    #[test]
    fn what_is_no_object_or_has_no_action_is_refused() {
        check("", Err(MessageError::NotAnObject));
        check(r#"["a","b","c",1,200]"#, Err(MessageError::NotAnObject));
        check(r#"{"mid":"m10","action":200,"#, Err(MessageError::NotAnObject));
        check(r#"{"mid":"a","action":200} x"#, Err(MessageError::NotAnObject));
        check(r#"{"mid":"a"}"#, Err(MessageError::NoAction));
        check(r#"{"mid":"a","action":null}"#, Err(MessageError::NoAction));
        check(r#"{"mid":"a","action":1.5}"#, Err(MessageError::NoAction));
        check(r#"{"mid":"a","action":"two hundred"}"#, Err(MessageError::NoAction));
        check(
            &format!(r#"{{"action":200,"data":"{}"}}"#, "x".repeat(MAX_MESSAGE)),
            Err(MessageError::TooLong(MAX_MESSAGE + 24)),
        );
    }

    #[test]
    fn bytes_that_are_no_utf8_are_refused() {
        assert_eq!(Envelope::decode(b"{\"action\":200,\"mid\":\"\xff\"}").unwrap_err(), MessageError::NotAnObject);
    }

    #[test]
    fn a_mid_keeps_its_json_type_in_the_answer() {
        for (mid, shown) in
            [(Mid::Text("07".into()), "\"07\""), (Mid::Number("512345678901234567".into()), "512345678901234567")]
        {
            let sent = Outgoing { mid: &mid, from: "d", to: "system", time: 1, action: 200, data: None }.encode();
            assert_eq!(
                String::from_utf8(sent).unwrap(),
                format!(r#"{{"mid":{shown},"from":"d","to":"system","time":1,"action":200}}"#)
            );
        }
    }

    #[test]
    fn mids_never_repeat_even_when_the_clock_goes_back() {
        let mut mids = Mids::new(5);
        let mut seen = std::collections::BTreeSet::new();
        for step in 0..5_000 {
            let clock = if step % 7 == 0 { None } else { Some(1_000_000 - step / 3) };
            assert!(seen.insert(mids.next(clock, 1).as_str().to_owned()), "step {step}");
        }
        assert!(seen.iter().all(|mid| mid.len() <= 32));
    }

    proptest! {
        #[test]
        fn every_message_survives_the_wire(mid: u64, numeric: bool, from in "[a-z0-9_]{0,40}", to in "[^ ]{0,20}", time: i64, action: i64, content in "\\PC{0,40}") {
            let mid = if numeric { Mid::Number(mid.to_string()) } else { Mid::Text(mid.to_string()) };
            let content = raw(&content);
            let sent = Outgoing { mid: &mid, from: &from, to: &to, time, action, data: Some(&content) }.encode();
            let got = Envelope::decode(&sent).unwrap();
            prop_assert_eq!(got.mid, Some(mid));
            prop_assert_eq!((got.from, got.to, got.time, got.action), (from, to.trim().to_owned(), Some(time), action));
            let data = got.data.unwrap();
            prop_assert_eq!(data.get(), content.get());
        }

        #[test]
        fn no_bytes_can_panic_the_decoder(bytes: Vec<u8>) {
            let _ = Envelope::decode(&bytes);
        }
    }
}
