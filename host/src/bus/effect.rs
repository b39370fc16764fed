//! What the bus wants done. The bus does nothing itself; its caller carries these out after unlocking it.

use polylink_plugin_api::{Cause, CommandBody, CommandOutcome, InstanceId, Property, ReportBody, Timestamp, WallTime};

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Give this to the link.
    Send(LinkCommand),
    /// This instance has reports or outcomes to take.
    Wake(InstanceId),
    /// A local asker's command is done with.
    Answer(CommandOutcome),
    /// For who watches the device.
    Watch(WatchEvent),
    /// Something odd that is counted, for the log.
    Complain(String),
}

/// A checked command on its way to the link.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkCommand {
    /// Names it.
    pub ticket: u64,
    /// 0: the device itself.
    pub device: u32,
    /// What is wanted.
    pub body: CommandBody,
    /// May be sent again without harm.
    pub idempotent: bool,
    /// Give up at this time.
    pub deadline: Timestamp,
}

/// What who watches the device is shown.
#[derive(Clone, Debug, PartialEq)]
pub enum WatchEvent {
    /// The MCU answers, or has fallen silent.
    Online(bool),
    /// The device said something new.
    Report {
        /// When.
        at: WallTime,
        /// 0: the device itself.
        device: u32,
        /// Why.
        cause: Cause,
        /// Who set it off: a cloud's name, `local`, or empty for the device itself.
        origin: String,
        /// What.
        body: ReportBody,
    },
    /// Somebody asked for something.
    Command {
        /// Names it from here to its outcome.
        ticket: u64,
        /// A cloud's name, or `local`.
        from: String,
        /// What.
        body: CommandBody,
    },
    /// What became of that.
    Outcome {
        /// The command.
        ticket: u64,
        /// Who asked: a cloud's name, or `local`.
        from: String,
        /// `done`, `refused`, `unreachable`, `timed out`, `superseded`.
        kind: &'static str,
        /// Why, where it was not done.
        reason: String,
        /// What was read or returned.
        values: Vec<Property>,
    },
}
