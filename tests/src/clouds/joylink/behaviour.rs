//! What a test wants the simulated JoyLink cloud to do differently.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Switches of the cloud; the default is a well-behaved one.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// What goes wrong with packets that the cloud sends, by their type: answers have the type of their request.
    pub faults: BTreeMap<u8, Faults>,
    /// How packets become TCP segments.
    pub segments: Segments,
    /// Authentications to come that end in a closed connection, however right they are.
    pub refuse_auths: u32,
    /// Authentication answers to come whose random in opt is not the one in their payload.
    pub wrong_randoms: u32,
    /// Session keys are bytes with a zero in their second half instead of printable digits.
    pub nul_session_key: bool,
    /// Label of packets under the session key: 3, or 4 as SDKs of the vendor write it.
    pub enctype: u8,
    /// Each command has the serial of the one before.
    pub repeat_serials: bool,
    /// Values of controls go out as texts.
    pub text_values: bool,
    /// Acknowledgements of timer snapshots to come that leave one id out.
    pub forget_snapshot_ids: u32,
    /// The cloud does not repair the device's timers after a snapshot.
    pub keep_timers: bool,
    /// Longest time between two heartbeats, looked at whenever a packet comes.
    pub heartbeat_limit: Duration,
    /// Longest time between two reports of an upgrade that has begun.
    pub upgrade_limit: Duration,
    /// How far the cloud's clock is ahead of this machine's, in seconds; for sessions to come.
    pub clock_ahead_s: i64,
    /// Orders promise another crc than the image has.
    pub wrong_image_crc: bool,
    /// An app authorizes the device, and sub-devices that wait for it, as soon as they show up.
    pub enrols: bool,
}

/// What goes wrong with packets of one type. Counted ones end by themselves, in the order of the fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// Packets to come in whose place the connection is reset.
    pub reset: u32,
    /// Packets to come that are not sent.
    pub silent: u32,
    /// Packets to come with a wrong crc.
    pub wrong_crc: u32,
    /// Packets to come under a key that nobody has.
    pub wrong_key: u32,
    /// How late all are; others may overtake them.
    pub delay: Duration,
    /// Codes in answers to come instead of 0, where the answer has one.
    pub codes: VecDeque<u32>,
}

/// How packets become TCP segments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Segments {
    /// Each is one.
    #[default]
    Whole,
    /// Each comes in pieces of so many bytes.
    Pieces(usize),
    /// Two come in one; a packet waits for the next one.
    Pairs,
}

/// What becomes of one packet, decided when it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Reset,
    Lost,
    Sent { wrong_crc: bool, wrong_key: bool, delay: Duration },
}

impl Behaviour {
    /// Faults of packets of this type, to be changed.
    pub fn faults(&mut self, kind: u8) -> &mut Faults {
        self.faults.entry(kind).or_default()
    }

    pub(super) fn fate(&mut self, kind: u8) -> Fate {
        let Some(faults) = self.faults.get_mut(&kind) else {
            return Fate::Sent { wrong_crc: false, wrong_key: false, delay: Duration::ZERO };
        };
        if counts_down(&mut faults.reset) {
            return Fate::Reset;
        }
        if counts_down(&mut faults.silent) {
            return Fate::Lost;
        }
        let wrong_crc = counts_down(&mut faults.wrong_crc);
        let wrong_key = !wrong_crc && counts_down(&mut faults.wrong_key);
        Fate::Sent { wrong_crc, wrong_key, delay: faults.delay }
    }

    pub(super) fn code(&mut self, kind: u8) -> u32 {
        self.faults.get_mut(&kind).and_then(|faults| faults.codes.pop_front()).unwrap_or(0)
    }
}

/// Whether one is left of these, which there then is no more.
pub(super) fn counts_down(n: &mut u32) -> bool {
    let left = *n > 0;
    *n = n.saturating_sub(1);
    left
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            faults: BTreeMap::new(),
            segments: Segments::Whole,
            refuse_auths: 0,
            wrong_randoms: 0,
            nul_session_key: false,
            enctype: 3,
            repeat_serials: false,
            text_values: false,
            forget_snapshot_ids: 0,
            keep_timers: false,
            // 60 s are the limit (JoyLink, 2). Chosen by us: 5 s for a slow machine.
            heartbeat_limit: Duration::from_secs(65),
            upgrade_limit: Duration::from_secs(600),
            clock_ahead_s: 0,
            wrong_image_crc: false,
            enrols: true,
        }
    }
}
