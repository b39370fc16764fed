//! The envelope that every Clife message travels in, both ways.
//!
//! Invariant: a name or a number of the cloud never passes through floating point, and what is only handed on keeps its
//! bytes. What a body means is left to the modules of the commands, and its encryption to [`crate::cipher`].

mod commands;
mod id;
mod members;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use commands::{Sender, cmd, sender};
pub use id::MsgId;
pub use members::{list, members, merged};
pub use polylink_plugin_sdk::raw_json::{integer, raw, text};

/// Longest message taken (Clife access document, our reading: bad input). The host's MQTT service has the same limit.
pub const MAX_MESSAGE: usize = 256 * 1024;

/// `dir` of what a device sends to the platform (samples of the Clife access document).
pub const DIR_UP: &str = "03";

/// `dir` of what the platform sends to a device (samples of the Clife access document).
pub const DIR_DOWN: &str = "30";

/// Priority of a frame that names none: middle (Clife access document, frame).
pub const PRIO_DEFAULT: i64 = 1;

/// A message as it came in. Members that cannot be used count as absent.
#[derive(Clone, Debug)]
pub struct Frame {
    /// What it is about; see [`cmd`].
    pub cmd: i64,
    /// Version of the protocol, empty if it says none.
    pub ver: String,
    /// Two digits, sender and receiver; empty if it says none. See [`Frame::direction`].
    pub dir: String,
    /// Its name; `None` if that is anything but a number.
    pub id: Option<MsgId>,
    /// 0 low, 1 middle, from 2 on high; higher ones come first.
    pub prio: i64,
    /// When it was sent, in Unix milliseconds.
    pub timestamp: Option<i64>,
    /// The body, exactly as it came; `None` if absent or null.
    pub data: Option<Box<RawValue>>,
}

/// Why a message was dropped before anybody looked at its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Larger than [`MAX_MESSAGE`].
    #[error("message of {0} bytes, at most {MAX_MESSAGE} are taken")]
    TooLong(usize),
    /// Not one JSON object in UTF-8.
    #[error("not a JSON object")]
    NotAnObject,
    /// `cmd` is missing or not a whole number.
    #[error("no usable `cmd`")]
    NoCmd,
}

/// What `dir` says of who sent a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The platform to this device, as it should be.
    Down,
    /// This device to the platform: an echo, to be dropped.
    Own,
    /// Anything else: processed, and worth a warning.
    Other,
}

impl Frame {
    /// Reads a message.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub fn decode(message: &[u8]) -> Result<Self, FrameError> {
        if message.len() > MAX_MESSAGE {
            return Err(FrameError::TooLong(message.len()));
        }
        let message: &RawValue = serde_json::from_slice(message).map_err(|_| FrameError::NotAnObject)?;
        let mut members = members(message).ok_or(FrameError::NotAnObject)?;
        let member = |name: &str| members.get(name).map(AsRef::as_ref);
        Ok(Self {
            cmd: member("cmd").and_then(|raw| raw.get().parse().ok()).ok_or(FrameError::NoCmd)?,
            ver: member("ver").and_then(text).unwrap_or_default(),
            dir: member("dir").and_then(text).unwrap_or_default(),
            id: member("msgId").and_then(MsgId::parse),
            prio: member("prio").and_then(integer).unwrap_or(PRIO_DEFAULT),
            timestamp: member("timestamp").and_then(integer),
            data: members.remove("data").filter(|data| data.get() != "null"),
        })
    }

    /// Who sent it, by the digits that this device's two directions have.
    #[must_use]
    pub fn direction(&self, up: &str, down: &str) -> Direction {
        // In this order, so that a wrong setting cannot turn every message into an echo.
        match self.dir.as_str() {
            dir if dir == down => Direction::Down,
            dir if dir == up => Direction::Own,
            _ => Direction::Other,
        }
    }

    /// False if it says it is of another protocol than 1.x: worth a warning, nothing more, since the higher version must
    /// understand the lower one (Clife access document, frame).
    #[must_use]
    pub fn version_ok(&self) -> bool {
        self.ver.split('.').next() == VERSION.split('.').next()
    }
}

/// Sender and receiver of a `dir`; `None` if it is not two digits.
#[must_use]
pub fn dir_digits(dir: &str) -> Option<(u8, u8)> {
    match *dir.as_bytes() {
        [sender @ b'0'..=b'9', receiver @ b'0'..=b'9'] => Some((sender - b'0', receiver - b'0')),
        _ => None,
    }
}

/// JSON type of the timestamps that the device sends. The protocol's table says text, all its samples are numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimestampType {
    /// A number.
    #[default]
    Number,
    /// Its digits as a text.
    String,
}

/// A message of the device: compact JSON in UTF-8. `data` is sent as it is; whoever wants it encrypted hands over the
/// text that [`crate::cipher::encrypt`] makes. Without `prio` the frame carries none.
#[must_use]
pub fn encode(
    cmd: i64,
    dir: &str,
    id: impl Into<MsgId>,
    prio: Option<i64>,
    timestamp_ms: i64,
    timestamp_type: TimestampType,
    data: &RawValue,
) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Outgoing<'a> {
        cmd: i64,
        ver: &'static str,
        dir: &'a str,
        msg_id: MsgId,
        #[serde(skip_serializing_if = "Option::is_none")]
        prio: Option<i64>,
        timestamp: Box<RawValue>,
        data: &'a RawValue,
    }
    let timestamp = match timestamp_type {
        TimestampType::Number => raw(&timestamp_ms),
        TimestampType::String => raw(&timestamp_ms.to_string()),
    };
    let outgoing = Outgoing { cmd, ver: VERSION, dir, msg_id: id.into(), prio, timestamp, data };
    serde_json::to_vec(&outgoing).expect("names, numbers and checked JSON always become JSON")
}

/// Protocol version of every frame (samples of the Clife access document).
const VERSION: &str = "1.0";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `cmd`, `ver`, `dir`, `msgId`, `prio`, `timestamp`, `data`.
    type Seen<'a> = (i64, &'a str, &'a str, Option<&'a str>, i64, Option<i64>, Option<&'a str>);

    #[track_caller]
    fn check(message: &str, expected: Result<Seen<'_>, FrameError>) {
        let decoded = Frame::decode(message.as_bytes());
        let seen = decoded
            .as_ref()
            .map(|frame| {
                let (id, data) = (frame.id.as_ref().map(MsgId::as_str), frame.data.as_deref().map(RawValue::get));
                (frame.cmd, frame.ver.as_str(), frame.dir.as_str(), id, frame.prio, frame.timestamp, data)
            })
            .map_err(|error| *error);
        assert_eq!(seen, expected, "{message}");
    }

    #[test]
    fn decodes_the_frame_of_the_protocol() {
        check(
            r#"{"cmd":2019,"ver":"1.0","dir":"30","msgId":17,"prio":2,"timestamp":1617787651542,"data":{"a":  1e2}}"#,
            Ok((2019, "1.0", "30", Some("17"), 2, Some(1_617_787_651_542), Some(r#"{"a":  1e2}"#))),
        );
        check(
            r#"{"cmd":2006,"ver":"1.0","dir":"03","msgId":9007199254740993,"timestamp":"1617787651542","data":"QQ=="}"#,
            Ok((2006, "1.0", "03", Some("9007199254740993"), 1, Some(1_617_787_651_542), Some("\"QQ==\""))),
        );
    }

    #[test]
    fn blanks_around_names_do_not_count_and_the_last_of_a_name_does() {
        check(
            r#"{" cmd":1,"cmd\t":2017," msgId ":3,"\u3000dir":"30","data":null,"c md":5}"#,
            Ok((2017, "", "30", Some("3"), 1, None, None)),
        );
    }

    #[test]
    fn what_is_missing_or_odd_but_harmless_is_taken() {
        check(r#" {"cmd":2017,"more":[]} "#, Ok((2017, "", "", None, 1, None, None)));
        check(
            r#"{"cmd":-1,"ver":1,"dir":30,"msgId":"17","prio":1.5,"timestamp":"now","data":[]}"#,
            Ok((-1, "", "", None, 1, None, Some("[]"))),
        );
    }

    #[test]
    fn what_is_no_object_or_has_no_command_is_refused() {
        for message in ["", "[2019]", "\"a\"", "{\"cmd\":2019,", "{\"cmd\":2019} x", "\u{feff}{\"cmd\":2019}"] {
            check(message, Err(FrameError::NotAnObject));
        }
        for cmd in ["null", "2019.0", "2e3", "\"2019\"", "true", "{}", &"9".repeat(30)] {
            check(&format!(r#"{{"cmd":{cmd}}}"#), Err(FrameError::NoCmd));
        }
        check("{}", Err(FrameError::NoCmd));
        assert_eq!(Frame::decode(b"{\"cmd\":2019,\"a\":\"\xff\"}").unwrap_err(), FrameError::NotAnObject);
    }

    #[test]
    fn a_message_over_the_limit_is_refused_unread() {
        let message = |filling| format!(r#"{{"cmd":1,"data":"{}"}}"#, "x".repeat(filling));
        let overhead = message(0).len();
        assert!(Frame::decode(message(MAX_MESSAGE - overhead).as_bytes()).is_ok());
        check(&message(MAX_MESSAGE - overhead + 1), Err(FrameError::TooLong(MAX_MESSAGE + 1)));
    }

    #[test]
    fn deep_nesting_is_handed_on_and_read_one_level_at_a_time() {
        let nested = "[".repeat(100_000) + &"]".repeat(100_000);
        let frame = Frame::decode(format!(r#"{{"cmd":1,"data":{nested}}}"#).as_bytes()).unwrap();
        let data = frame.data.unwrap();
        assert!(members(&data).is_none() && merged(&data).is_none());
        assert_eq!(list(&data).map(|list| list.len()), Some(1));
    }

    #[test]
    fn the_directions_are_the_device_s_own_settings() {
        let direction = |dir: &str, up, down| {
            Frame::decode(format!(r#"{{"cmd":2011,"dir":"{dir}"}}"#).as_bytes()).unwrap().direction(up, down)
        };
        assert_eq!(direction("30", DIR_UP, DIR_DOWN), Direction::Down);
        assert_eq!(direction("03", DIR_UP, DIR_DOWN), Direction::Own);
        for dir in ["", "13", "3", "030"] {
            assert_eq!(direction(dir, DIR_UP, DIR_DOWN), Direction::Other, "{dir}");
        }
        assert_eq!(direction("03", "30", "03"), Direction::Down);
        assert_eq!(direction("03", "03", "03"), Direction::Down);
    }

    #[test]
    fn a_direction_is_two_digits() {
        assert_eq!((dir_digits(DIR_UP), dir_digits(DIR_DOWN)), (Some((0, 3)), Some((3, 0))));
        for dir in ["", "0", "030", "0a", "+3", "é"] {
            assert_eq!(dir_digits(dir), None, "{dir}");
        }
    }

    #[test]
    fn only_the_major_version_counts() {
        for (ver, ok) in [("1.0", true), ("1.7", true), ("1", true), ("2.0", false), ("10.0", false), ("", false)] {
            let frame = Frame::decode(format!(r#"{{"cmd":1,"ver":"{ver}"}}"#).as_bytes()).unwrap();
            assert_eq!(frame.version_ok(), ok, "{ver}");
        }
    }

    #[test]
    fn a_frame_is_written_as_the_protocol_shows_it() {
        let data = raw("QQ==");
        let sent =
            |prio, kind| String::from_utf8(encode(2006, "03", 17, prio, 1_617_787_651_542, kind, &data)).unwrap();
        assert_eq!(
            sent(None, TimestampType::Number),
            r#"{"cmd":2006,"ver":"1.0","dir":"03","msgId":17,"timestamp":1617787651542,"data":"QQ=="}"#
        );
        assert_eq!(
            sent(Some(2), TimestampType::String),
            r#"{"cmd":2006,"ver":"1.0","dir":"03","msgId":17,"prio":2,"timestamp":"1617787651542","data":"QQ=="}"#
        );
    }

    proptest! {
        #[test]
        fn every_frame_survives_the_wire(cmd: i64, number: u128, prio: Option<i64>, at in 0..=i64::MAX, is_text: bool, content in "\\PC{0,40}") {
            let id = MsgId::parse(&raw(&number)).unwrap();
            let kind = if is_text { TimestampType::String } else { TimestampType::Number };
            let frame = Frame::decode(&encode(cmd, DIR_UP, &id, prio, at, kind, &raw(&content))).unwrap();
            prop_assert_eq!((frame.cmd, frame.prio, frame.timestamp), (cmd, prio.unwrap_or(PRIO_DEFAULT), Some(at)));
            prop_assert_eq!(frame.id, Some(id));
            prop_assert_eq!(text(&frame.data.unwrap()), Some(content));
        }

        #[test]
        fn no_bytes_can_panic_the_decoder(bytes: Vec<u8>, text in "[\\[\\]{}\",:0-9eE.cmdmsgIdverdata\\\\ -]{0,80}") {
            let _ = (Frame::decode(&bytes), Frame::decode(text.as_bytes()), dir_digits(&text));
        }
    }
}
