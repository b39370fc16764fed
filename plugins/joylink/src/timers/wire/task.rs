//! [`Task`]: one timer as it is on the wire, in full or without the names.

use polylink_plugin_sdk::bytes::{Reader, Writer};

use super::{WireError, count, length};
use crate::wire::{FeedId, Text};

/// A timer as a peer says it. What it says may make no sense; the task table judges that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Whose it is.
    pub feedid: FeedId,
    /// For people.
    pub name: Text<128>,
    /// Given by the cloud; 0 as long as it has not.
    pub id: i32,
    /// 0 stopped, 1 running.
    pub state: u8,
    /// 0 set by a user, 1 by remote control, 2 by a panel.
    pub origin: u8,
    /// 0 at first, one more with each modification.
    pub version: i32,
    /// What is to be done, and when.
    pub body: Body,
}

/// Private commands for the main controller, sent in order. At most 255.
pub type Commands = Vec<Vec<u8>>;

/// The four kinds of timers. Expressions are ASCII, at most 255 characters; where a task is modified, an empty one and no
/// commands mean what was there before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Mode 0.
    Expression {
        /// When.
        expression: String,
        /// What.
        commands: Commands,
    },
    /// Mode 1.
    Span {
        /// When it starts.
        start: String,
        /// When it stops.
        stop: String,
        /// 0: once, by the expressions. 1: at their times of day, on the days of the period.
        repeat: u8,
        /// 0: days of the week. 1: days of the month.
        period_type: u8,
        /// Not 0 for each day that is selected.
        period: [u8; 31],
        /// Step 1.
        start_commands: Commands,
        /// Step 2.
        stop_commands: Commands,
    },
    /// Mode 2.
    Cycle {
        /// Seconds from step 1 to step 2.
        action_s: i32,
        /// Seconds from step 2 to the next step 1.
        sleep_s: i32,
        /// How often; 0 is without end.
        times: i32,
        /// Step 1.
        action_commands: Commands,
        /// Step 2.
        sleep_commands: Commands,
    },
    /// Mode 3.
    Countdown {
        /// Seconds from step 1 to step 2.
        interval_s: i32,
        /// Step 1, at once.
        action_commands: Commands,
        /// Step 2.
        stop_commands: Commands,
    },
}

impl Task {
    /// Reads the full form.
    ///
    /// # Errors
    /// The bytes are no task.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let (mode, version) = (reader.i32_le()?, reader.i32_le()?);
        let (feedid, name) = (Text::from_field(reader.array()?), Text::from_field(reader.array()?));
        Self::decode_rest(reader, mode, version, feedid, name)
    }

    pub(super) fn decode_simplified(reader: &mut Reader<'_>, feedid: FeedId) -> Result<Self, WireError> {
        let (mode, version) = (reader.i32_le()?, reader.i32_le()?);
        Self::decode_rest(reader, mode, version, feedid, Text::default())
    }

    fn decode_rest(
        reader: &mut Reader<'_>,
        mode: i32,
        version: i32,
        feedid: FeedId,
        name: Text<128>,
    ) -> Result<Self, WireError> {
        let (id, state, origin) = (reader.i32_le()?, reader.u8()?, reader.u8()?);
        Ok(Self { feedid, name, id, state, origin, version, body: Body::decode(reader, mode)? })
    }

    /// Writes the full form.
    pub fn encode(&self, writer: &mut Writer) {
        writer.i32_le(self.body.mode()).i32_le(self.version);
        writer.bytes(self.feedid.field()).bytes(self.name.field());
        self.encode_rest(writer);
    }

    pub(super) fn encode_simplified(&self, writer: &mut Writer) {
        writer.i32_le(self.body.mode()).i32_le(self.version);
        self.encode_rest(writer);
    }

    fn encode_rest(&self, writer: &mut Writer) {
        writer.i32_le(self.id).u8(self.state).u8(self.origin);
        self.body.encode(writer);
    }
}

impl Body {
    /// The number of the kind.
    #[must_use]
    pub const fn mode(&self) -> i32 {
        match self {
            Self::Expression { .. } => 0,
            Self::Span { .. } => 1,
            Self::Cycle { .. } => 2,
            Self::Countdown { .. } => 3,
        }
    }

    fn decode(reader: &mut Reader<'_>, mode: i32) -> Result<Self, WireError> {
        Ok(match mode {
            0 => Self::Expression { expression: expression(reader)?, commands: commands(reader)? },
            1 => Self::Span {
                start: expression(reader)?,
                stop: expression(reader)?,
                repeat: reader.u8()?,
                period_type: reader.u8()?,
                period: reader.array()?,
                start_commands: commands(reader)?,
                stop_commands: commands(reader)?,
            },
            2 => Self::Cycle {
                action_s: reader.i32_le()?,
                sleep_s: reader.i32_le()?,
                times: reader.i32_le()?,
                action_commands: commands(reader)?,
                sleep_commands: commands(reader)?,
            },
            3 => Self::Countdown {
                interval_s: reader.i32_le()?,
                action_commands: commands(reader)?,
                stop_commands: commands(reader)?,
            },
            _ => return Err(WireError::Mode(mode)),
        })
    }

    fn encode(&self, writer: &mut Writer) {
        match self {
            Self::Expression { expression, commands } => {
                write_expression(expression, writer);
                write_commands(commands, writer);
            }
            Self::Span { start, stop, repeat, period_type, period, start_commands, stop_commands } => {
                write_expression(start, writer);
                write_expression(stop, writer);
                writer.u8(*repeat).u8(*period_type).bytes(period);
                write_commands(start_commands, writer);
                write_commands(stop_commands, writer);
            }
            Self::Cycle { action_s, sleep_s, times, action_commands, sleep_commands } => {
                writer.i32_le(*action_s).i32_le(*sleep_s).i32_le(*times);
                write_commands(action_commands, writer);
                write_commands(sleep_commands, writer);
            }
            Self::Countdown { interval_s, action_commands, stop_commands } => {
                writer.i32_le(*interval_s);
                write_commands(action_commands, writer);
                write_commands(stop_commands, writer);
            }
        }
    }
}

fn expression(reader: &mut Reader<'_>) -> Result<String, WireError> {
    let length = reader.u8()?;
    let bytes = reader.take(length.into())?;
    str::from_utf8(bytes).ok().filter(|text| text.is_ascii()).map(str::to_owned).ok_or(WireError::NotAscii)
}

fn write_expression(expression: &str, writer: &mut Writer) {
    let bytes = &expression.as_bytes()[..expression.len().min(u8::MAX.into())];
    writer.u8(bytes.len() as u8).bytes(bytes);
}

fn commands(reader: &mut Reader<'_>) -> Result<Commands, WireError> {
    let (said, n_commands) = (reader.i32_le()?, reader.u8()?);
    let mut commands = Commands::new();
    let mut got = 0;
    for _ in 0..n_commands {
        let length = count(reader)?;
        commands.push(reader.take(length)?.to_vec());
        got += 4 + length;
    }
    // What the length counts is not documented: we send the first of these, and understand all.
    let plausible = [1 + got, got, 5 + got].iter().any(|length| usize::try_from(said) == Ok(*length));
    if plausible { Ok(commands) } else { Err(WireError::CommandLength { said, got }) }
}

fn write_commands(commands: &Commands, writer: &mut Writer) {
    let commands = &commands[..commands.len().min(u8::MAX.into())];
    let n_bytes: usize = commands.iter().map(|command| 4 + command.len()).sum();
    writer.i32_le(length(1 + n_bytes)).u8(commands.len() as u8);
    for command in commands {
        writer.i32_le(length(command.len())).bytes(command);
    }
}
