//! Values, reports and commands in ordinary Rust types. They mirror [`polylink_plugin_api::report`], where each field is
//! described.

pub use polylink_plugin_api::{DatapointId, WallTime};

/// One typed value; see [`polylink_plugin_api::Value`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// On or off.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// `mantissa / 10^scale`.
    Decimal {
        /// The digits, with their sign.
        mantissa: i64,
        /// How many of them stand after the point, at most 18.
        scale: u8,
    },
    /// Index of a label.
    Enum(u32),
    /// UTF-8 text.
    Text(String),
    /// Bytes exactly as they are.
    Bytes(Vec<u8>),
    /// A JSON document as text.
    Json(String),
}

/// Values by datapoint, or by parameter position.
pub type Values = Vec<(DatapointId, Value)>;

/// Why the device reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A value changed, or an event happened.
    Change,
    /// The device repeats its state.
    Periodic,
    /// The answer to a `Get`: meant for the asker.
    Answer,
    /// The last known values, given at the start; nothing to settle.
    Snapshot,
    /// The newest values, given while the window of unsettled reports is full; nothing to settle. The same values come
    /// again, each with its number, when the window opens. For what shows the present; whoever only passes reports on
    /// ignores these.
    Live,
}

/// What a report says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReportBody {
    /// New values of properties.
    Properties(Values),
    /// Something happened.
    Event {
        /// Which event.
        id: DatapointId,
        /// Its parameters by position.
        params: Values,
    },
    /// Bytes that nobody interprets.
    Raw(Vec<u8>),
}

/// One thing the device said.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Report {
    /// To be settled when the cloud has acknowledged it; 0 needs no settling.
    pub seq: u64,
    /// When the MCU said it.
    pub at: WallTime,
    /// 0: the device itself, else a subdevice.
    pub device: u32,
    /// Why it was said.
    pub cause: Cause,
    /// The request of this very session whose command caused it, if there was one.
    pub caused_by: Option<crate::RequestId>,
    /// What was said.
    pub body: ReportBody,
}

/// What a command wants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CommandBody {
    /// Set these properties, all or none.
    Set(Values),
    /// Read these properties; none: all.
    Get(Vec<DatapointId>),
    /// Run an action.
    Invoke {
        /// Which action.
        action: DatapointId,
        /// Its parameters by position.
        params: Values,
    },
    /// Bytes for the MCU.
    Raw(Vec<u8>),
}

/// One thing the cloud wants of the device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Command {
    /// 0: the device itself, else a subdevice.
    pub device: u32,
    /// What is wanted.
    pub body: CommandBody,
    /// Give up after so many milliseconds; 0: the host's default.
    pub deadline_ms: u32,
    /// The cloud's id of the message that asked, against a second obeying; empty: no check.
    pub message_id: String,
}

impl Command {
    /// A command for the device itself, with the host's deadline and no message id.
    #[must_use]
    pub const fn new(body: CommandBody) -> Self {
        Self { device: 0, body, deadline_ms: 0, message_id: String::new() }
    }
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OutcomeResult {
    /// The MCU acknowledged it.
    Done,
    /// Not accepted; the text says why.
    Refused(String),
    /// The MCU cannot be reached; nothing was sent.
    Unreachable,
    /// The MCU did not answer in time; it may or may not have obeyed.
    TimedOut,
    /// A later command took its place.
    Superseded,
}

/// What became of one command.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Outcome {
    /// What became of it.
    pub result: OutcomeResult,
    /// What was read, or what an action returned.
    pub values: Values,
    /// What the MCU returned beyond `values`.
    pub document: Option<Vec<u8>>,
}
