//! What the simulated MCU did and saw, for those who judge a run.

use std::time::Instant;

use super::firmware::FirmwareLog;
use super::p0::Raw;

/// Everything a test or the demo may ask about the MCU; a copy, taken at one moment.
#[derive(Debug, Clone, Default)]
pub struct McuLog {
    /// Handshakes answered.
    pub handshakes: u64,
    /// When the last handshake was answered.
    pub last_handshake: Option<Instant>,
    /// The software version that was told last in a handshake.
    pub told_version: Option<String>,
    /// Heartbeats answered.
    pub heartbeats: u64,
    /// Different reports sent, repetitions not counted.
    pub reports_sent: u64,
    /// Reports that the module acknowledged: these must reach every cloud.
    pub acknowledged: Vec<AckedReport>,
    /// Reports dropped after the last repetition.
    pub reports_given_up: u64,
    /// Repetitions sent.
    pub repetitions: u64,
    /// Requests of buttons that the module acknowledged, by their commands.
    pub pressed: Vec<u8>,
    /// Requests of buttons, or about firmware, dropped after the last repetition.
    pub presses_given_up: u64,
    /// Controls obeyed, each once.
    pub commands: Vec<ReceivedCommand>,
    /// Reads answered.
    pub reads: u64,
    /// Status words of the module, the last ones.
    pub status_words: Vec<u16>,
    /// Notices of illegal packets from the module: error codes.
    pub notices: Vec<u8>,
    /// Restarts the module asked for.
    pub restarts: u64,
    /// What it was given as firmware.
    pub firmware: FirmwareLog,
    /// What the module did against the protocol, in words.
    pub violations: Vec<String>,
    /// Entries that did not fit any list above.
    pub left_out: u64,
}

/// A report that is now the module's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AckedReport {
    /// Value of the counter in this report: its name, never used twice.
    pub counter: u32,
    /// When the last byte of the first whole sending had left.
    pub sent: Instant,
}

/// One attribute set by a control.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedCommand {
    /// Name of the attribute.
    pub name: String,
    /// Transmitted value.
    pub value: Raw,
    /// When it was obeyed.
    pub at: Instant,
    /// Number of the first report made afterwards.
    pub reported_by: u32,
}

impl McuLog {
    pub(super) fn violation(&mut self, text: String) {
        self.note(|log| &mut log.violations, text);
    }

    /// Appends to one of the lists unless it is full.
    pub(super) fn note<T>(&mut self, list: impl Fn(&mut Self) -> &mut Vec<T>, entry: T) {
        if list(self).len() < MAX_ENTRIES {
            list(self).push(entry);
        } else {
            self.left_out += 1;
        }
    }
}

/// Not documented; chosen by us: a quarter of an hour at 1000 reports a second. Later entries are counted, not kept.
const MAX_ENTRIES: usize = 1_000_000;
