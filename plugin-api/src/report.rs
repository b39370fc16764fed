//! What the device says ([`Report`]), what somebody wants of it ([`Command`]), and what became of that
//! ([`CommandOutcome`]).

use abi_stable::StableAbi;
use abi_stable::std_types::{ROption, RString, RVec};

use crate::host::InstanceId;
use crate::time::WallTime;
use crate::value::Value;

/// Number of a property, event or action within its product: its position in the product's thing model, from 0.
/// Each of the three kinds counts by itself.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatapointId(pub u32);

/// One datapoint with its value.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Property {
    /// Which property, or which parameter of an event or action.
    pub id: DatapointId,
    /// Its value, already checked against the thing model by the host when it comes from there.
    pub value: Value,
}

/// Why the device reported. Unknown values count as [`Cause::CHANGE`].
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cause(pub u8);

impl Cause {
    /// A value changed, or an event happened.
    pub const CHANGE: Self = Self(0);
    /// The device repeats its state from time to time.
    pub const PERIODIC: Self = Self(1);
    /// The answer to a [`CommandBody::Get`]: meant for the asker, see [`Report::origin`].
    pub const ANSWER: Self = Self(2);
    /// The last known values, given to a plugin that has just started. Carries `seq` 0: nothing to settle.
    pub const SNAPSHOT: Self = Self(3);
    /// The window of unsettled reports is full: the newest values, so that what shows the present can go on showing it.
    /// The same values come again, each with its number, when the window opens; those that were said before one shown
    /// here are then the past. Values of one datapoint coalesce; events and raw bytes are not given this way. Carries
    /// `seq` 0: nothing to settle. [`Report::at`] is when the newest of the values was said. Whoever only passes reports
    /// on ignores these.
    pub const LIVE: Self = Self(4);
}

/// Who set a report off.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The instance whose command caused this report; 0: the device itself.
    pub instance: InstanceId,
    /// The ticket of that command; 0 where `instance` is 0.
    pub ticket: u64,
}

/// What a report says.
#[repr(u8)]
#[derive(StableAbi, Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReportBody {
    /// New values of properties, in ascending order of id, each id once.
    Properties(RVec<Property>),
    /// Something happened.
    Event {
        /// Which event.
        id: DatapointId,
        /// Its parameters; their ids are positions in the event's parameter list.
        params: RVec<Property>,
    },
    /// Bytes that the host does not interpret.
    Raw(RVec<u8>),
}

/// One thing the device said.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Report {
    /// Number in the journal, ascending within an instance, gaps allowed. The plugin settles it when its cloud has
    /// acknowledged the report; 0 needs no settling.
    pub seq: u64,
    /// When the MCU said it.
    pub at: WallTime,
    /// 0: the device itself, else the index of a subdevice.
    pub device: u32,
    /// Why it was said.
    pub cause: Cause,
    /// Who set it off.
    pub origin: Origin,
    /// What was said.
    pub body: ReportBody,
}

/// What a command wants.
#[repr(u8)]
#[derive(StableAbi, Clone, Debug, PartialEq, Eq, Hash)]
pub enum CommandBody {
    /// Set these properties, all or none.
    Set(RVec<Property>),
    /// Read these properties; an empty list means all. The values come in the outcome.
    Get(RVec<DatapointId>),
    /// Run an action.
    Invoke {
        /// Which action.
        action: DatapointId,
        /// Its parameters; their ids are positions in the action's parameter list.
        params: RVec<Property>,
    },
    /// Bytes for the MCU that the host does not interpret.
    Raw(RVec<u8>),
}

/// One thing somebody wants of the device.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Command {
    /// 0: the device itself, else the index of a subdevice.
    pub device: u32,
    /// What is wanted.
    pub body: CommandBody,
    /// Give up after so many milliseconds; 0: the host's default.
    pub deadline_ms: u32,
    /// The cloud's own id of the message that asked. A second command of this instance with the same id is answered
    /// with the first one's outcome and not carried out again. Empty: no such check.
    pub message_id: RString,
}

/// What became of a command. Unknown values count as [`OutcomeKind::REFUSED`].
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OutcomeKind(pub u8);

impl OutcomeKind {
    /// The MCU acknowledged it.
    pub const DONE: Self = Self(0);
    /// The host or the MCU did not accept it; `reason` says why.
    pub const REFUSED: Self = Self(1);
    /// The MCU cannot be reached; nothing was sent to it.
    pub const UNREACHABLE: Self = Self(2);
    /// The MCU did not answer in time. It may or may not have obeyed.
    pub const TIMED_OUT: Self = Self(3);
    /// A later command for the same datapoints took its place before it was sent.
    pub const SUPERSEDED: Self = Self(4);
}

/// What became of one command. Each accepted command has exactly one.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, PartialEq, Eq, Hash)]
pub struct CommandOutcome {
    /// The ticket that `submit` gave for it.
    pub ticket: u64,
    /// What became of it.
    pub kind: OutcomeKind,
    /// For a person to read; empty when done.
    pub reason: RString,
    /// What was read by a `Get`, or what an action returned; ids as in the command.
    pub values: RVec<Property>,
    /// Bytes or a document that the MCU returned beyond `values`.
    pub document: ROption<RVec<u8>>,
}
