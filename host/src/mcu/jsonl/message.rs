//! The objects that an MCU sends, and the lines that the host does.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::values::{self, Members};
use crate::mcu::subdevices::{SubdeviceChange, SubdeviceNews, radio};
use crate::mcu::{Identity, ModuleState, UserEvent};
use polylink_plugin_api::{ClockQuality, Now};

/// What an MCU says.
#[derive(Debug)]
pub(super) enum Message {
    /// Who it is.
    Hello(Identity),
    /// Something for the host to keep: acknowledged when it has an id.
    News {
        /// Number of the news.
        id: Option<u64>,
        /// Number of the command that caused it.
        command: Option<u64>,
        /// Of which device; 0: the device itself.
        device: u32,
        /// What.
        news: News,
    },
    /// A command was carried out.
    Done {
        /// Number of the command.
        command: u64,
        /// What was read or returned.
        values: Members,
    },
    /// A command was not carried out.
    Refused {
        /// Number of the command.
        command: u64,
        /// Why.
        reason: String,
    },
    /// Is the host there?
    Ping,
    /// It is there.
    Pong,
}

/// Something for the host to keep.
#[derive(Debug)]
pub(super) enum News {
    /// Values of properties.
    Report(Members),
    /// An event, by name.
    Event(String, Members),
    /// Bytes that nobody interprets.
    Raw(Vec<u8>),
    /// The user did something.
    User(UserEvent),
    /// Something of a subdevice, within its bounds or not.
    Subdevice(SubdeviceNews),
}

/// Why a line is no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MessageError {
    /// No JSON, or a member of the wrong type.
    #[error("not a message: {0}")]
    Json(String),
    /// None of the known members, or more than one.
    #[error("a message has one of hello, report, event, raw, user, subdevice, done, refused, ping, pong; this has {0}")]
    Kind(usize),
    /// Bytes that are no hex.
    #[error("raw takes an even number of hex digits")]
    Hex,
    /// A user event that is not known.
    #[error("user is `{0}`; accepted: configure, reset, bind, unbind, production_test, restart")]
    User(String),
}

impl Message {
    /// Reads a line.
    pub(super) fn parse(line: &[u8]) -> Result<Self, MessageError> {
        let object: Object = serde_json::from_slice(line).map_err(|error| no_json(&error))?;
        let kinds = object.kinds();
        if kinds != 1 {
            return Err(MessageError::Kind(kinds));
        }
        let id = object.id;
        let params = object.params.unwrap_or_default();
        let news = if let Some(hello) = object.hello {
            return Ok(Self::Hello(hello.into()));
        } else if let Some(command) = object.done {
            return Ok(Self::Done { command, values: object.values.unwrap_or_default() });
        } else if let Some(command) = object.refused {
            let reason = shorten(object.reason.as_deref().unwrap_or("the MCU refused"), MAX_REASON);
            return Ok(Self::Refused { command, reason });
        } else if let Some(members) = object.report {
            News::Report(members)
        } else if let Some(name) = object.event {
            News::Event(name, params)
        } else if let Some(hex) = object.raw {
            News::Raw(values::unhex(&hex).ok_or(MessageError::Hex)?)
        } else if let Some(name) = object.user {
            News::User(match name.as_str() {
                "configure" => UserEvent::Configure(object.mode.unwrap_or(SOFT_AP)),
                "reset" => UserEvent::Reset,
                "bind" => UserEvent::Bind,
                "unbind" => UserEvent::Unbind,
                "production_test" => UserEvent::ProductionTest,
                "restart" => UserEvent::Restart,
                other => return Err(MessageError::User(shorten(other, 40))),
            })
        } else if let Some(index) = object.subdevice {
            News::Subdevice(subdevice(index, line)?)
        } else if object.ping.is_some() {
            return Ok(Self::Ping);
        } else {
            return Ok(Self::Pong);
        };
        Ok(Self::News { id, command: object.command, device: object.device.unwrap_or(0), news })
    }
}

/// What a line says of a subdevice. Only such a line is held to the types of these members, whose names other lines may use
/// as they like.
fn subdevice(index: u32, line: &[u8]) -> Result<SubdeviceNews, MessageError> {
    let said: Subdevice = serde_json::from_slice(line).map_err(|error| no_json(&error))?;
    if said.gone == Some(true) {
        return Ok(SubdeviceNews::Gone(index));
    }
    let change = SubdeviceChange {
        product: said.product,
        address: said.address,
        radio: said.radio.as_deref().map(radio),
        accepted: said.accepted,
        online: said.online,
        signal_percent: said.signal,
        version: said.version,
    };
    Ok(SubdeviceNews::Told(index, change))
}

fn no_json(error: &serde_json::Error) -> MessageError {
    MessageError::Json(shorten(&error.to_string(), 120))
}

/// The line that tells the MCU how the module stands.
pub(super) fn module_line(state: &ModuleState, now: Now) -> String {
    let mut members = vec![
        format!(r#""network":{}"#, state.network),
        format!(r#""cloud":{}"#, state.cloud),
        format!(r#""applications":{}"#, state.applications),
        format!(r#""signal":{}"#, state.signal_percent),
        format!(r#""bindable":{}"#, state.bindable),
        format!(r#""onboarding":{}"#, state.onboarding),
        format!(r#""access_point":{}"#, state.access_point),
        format!(r#""station":{}"#, state.station),
        format!(r#""production_test":{}"#, state.production_test),
        format!(r#""mac":{}"#, values::quoted(&state.mac)),
        format!(r#""ip":{}"#, values::quoted(&state.ip)),
        format!(r#""hardware":{}"#, values::quoted(&state.hardware)),
        format!(r#""software":{}"#, values::quoted(&state.software)),
    ];
    if now.wall.quality > ClockQuality::UNSET {
        members.push(format!(r#""time":{}"#, now.wall.unix_seconds()));
        members.push(format!(r#""utc_offset":{}"#, now.utc_offset_s));
    }
    format!(r#"{{"module":{{{}}}}}"#, members.join(","))
}

/// At most so many characters.
pub(super) fn shorten(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

#[derive(Deserialize)]
struct Object {
    hello: Option<Hello>,
    report: Option<Members>,
    event: Option<String>,
    params: Option<Members>,
    raw: Option<String>,
    user: Option<String>,
    subdevice: Option<u32>,
    mode: Option<u8>,
    done: Option<u64>,
    values: Option<Members>,
    refused: Option<u64>,
    reason: Option<String>,
    ping: Option<IgnoredAny>,
    pong: Option<IgnoredAny>,
    id: Option<u64>,
    command: Option<u64>,
    device: Option<u32>,
}

#[derive(Deserialize)]
struct Subdevice {
    product: Option<String>,
    address: Option<String>,
    radio: Option<String>,
    accepted: Option<bool>,
    online: Option<bool>,
    signal: Option<u8>,
    version: Option<String>,
    gone: Option<bool>,
}

impl Object {
    fn kinds(&self) -> usize {
        let kinds = [
            self.hello.is_some(),
            self.report.is_some(),
            self.event.is_some(),
            self.raw.is_some(),
            self.user.is_some(),
            self.subdevice.is_some(),
            self.done.is_some(),
            self.refused.is_some(),
            self.ping.is_some(),
            self.pong.is_some(),
        ];
        kinds.into_iter().filter(|present| *present).count()
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Hello {
    product_key: String,
    serial: String,
    hardware: String,
    software: String,
    bind_window: Option<u32>,
    payload_version: String,
    attributes: u64,
}

impl From<Hello> for Identity {
    fn from(hello: Hello) -> Self {
        Self {
            product_key: shorten(&hello.product_key, MAX_IDENTITY),
            serial: shorten(&hello.serial, MAX_IDENTITY),
            hardware: shorten(&hello.hardware, MAX_IDENTITY),
            software: shorten(&hello.software, MAX_IDENTITY),
            bind_window_s: hello.bind_window.filter(|seconds| *seconds > 0),
            payload_version: shorten(&hello.payload_version, MAX_IDENTITY),
            device_attributes: hello.attributes,
        }
    }
}

/// Longest text of an identity, in characters; the rest is cut off. Not documented; chosen by us.
const MAX_IDENTITY: usize = 128;

/// Longest reason of a refusal, in characters; the rest is cut off. Not documented; chosen by us.
const MAX_REASON: usize = 200;

/// The configuration mode when the MCU names none: SoftAP, which every module can.
const SOFT_AP: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    const MANUAL: &str = include_str!("../../../../docs/protocols/mcu-jsonl.md");

    /// The examples in the first column of a table of the manual.
    fn examples(heading: &str) -> Vec<&'static str> {
        let section = MANUAL.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
        let cells = section.lines().filter_map(|line| line.strip_prefix("| `{")?.split(" | ").next());
        cells.flat_map(|cell| cell.split("`, `")).map(|text| text.trim_matches('`').trim_start_matches('{')).collect()
    }

    #[test]
    fn every_line_that_the_manual_shows_is_understood() {
        let examples = examples("What the MCU says");
        assert_eq!(examples.len(), 11);
        for example in examples {
            let parsed = Message::parse(format!("{{{example}").as_bytes());
            assert!(parsed.is_ok(), "{{{example}: {parsed:?}");
        }
    }

    #[test]
    fn a_line_that_means_two_things_means_nothing() {
        assert_eq!(Message::parse(br#"{"report":{},"done":1}"#).unwrap_err(), MessageError::Kind(2));
    }
}
