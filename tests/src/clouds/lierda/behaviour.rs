//! What a test wants the simulated Lierda platform to do differently.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Switches of the platform; the default is a well-behaved one.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// CONNECTs of the working account to come with right credentials that are refused, with these codes.
    pub refuse_connects: VecDeque<u8>,
    /// The same for the authentication account.
    pub refuse_auth_connects: VecDeque<u8>,
    /// Names below the device's own whose subscription is refused.
    pub refuse_subscriptions: BTreeSet<String>,
    /// Authentication requests to come that get no reply; counted before `auth_codes`.
    pub silent_auths: u32,
    /// Codes of the authentication replies to come, instead of what is right.
    pub auth_codes: VecDeque<i64>,
    /// A DeviceSecret in authentication replies that is not the device's.
    pub auth_secret: Option<String>,
    /// SessionID and Nonce of the sessions to come.
    pub sessions: VecDeque<(String, u32)>,
    /// The session turns out too old when the device connects next: it is renewed as soon as the device can be told.
    pub session_expired: bool,
    /// How reports are acknowledged, where it differs from at once and right.
    pub acks: BTreeMap<Report, Ack>,
    /// How far the platform's clock is ahead of this machine's, in milliseconds.
    pub clock_ahead_ms: i64,
    /// Time zone in the time reply.
    pub timezone: String,
    /// Commands carry a text as MessageId.
    pub string_ids: bool,
    /// Values of property sets come as texts, as in the sample of the document.
    pub text_values: bool,
    /// Name of the member that names the service; the default is spelt as in the document.
    pub service_member: String,
    /// Commands to an encrypted product come in clear.
    pub clear_commands: bool,
    /// Commands to an encrypted product come under a key that nobody has.
    pub wrong_key_commands: bool,
    /// After a renewal, commands come under the old key until the device has used the new one.
    pub old_key_commands: bool,
    /// A planned upgrade that failed is ordered again, by the version that says so.
    pub insists: bool,
}

/// What the platform acknowledges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Report {
    /// `firmware_report`.
    Firmware,
    /// `update_time`.
    Time,
    /// `uplink`.
    Passthrough,
    /// `model/property/report`.
    Property,
    /// `model/event/…/report`.
    Event,
    /// `model/history/data/report`.
    History,
    /// `model/hex/report`.
    Hex,
    /// `model/hex`.
    FullHex,
}

/// How reports of one kind are acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ack {
    /// Waits so long before each.
    pub delay: Duration,
    /// Reports to come that are taken but not acknowledged; counted before `refuse`.
    pub drop: u32,
    /// Reports to come that are refused with 4001, and not booked.
    pub refuse: u32,
    /// Reports are taken and never acknowledged.
    pub never: bool,
    /// Code as an integer instead of a text.
    pub integer_code: bool,
    /// MessageId as a text, whatever the report had.
    pub string_id: bool,
}

/// What becomes of one report, decided when it comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decision {
    pub taken: bool,
    pub silent: bool,
    pub ack: Ack,
}

impl Behaviour {
    pub(super) fn decide(&mut self, report: Report) -> Decision {
        let Some(ack) = self.acks.get_mut(&report) else {
            return Decision { taken: true, silent: false, ack: Ack::default() };
        };
        let mut decision = Decision { taken: true, silent: ack.never, ack: *ack };
        if ack.drop > 0 {
            ack.drop -= 1;
            decision.silent = true;
        } else if ack.refuse > 0 {
            ack.refuse -= 1;
            decision.taken = false;
        }
        decision
    }
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            refuse_connects: VecDeque::new(),
            refuse_auth_connects: VecDeque::new(),
            refuse_subscriptions: BTreeSet::new(),
            silent_auths: 0,
            auth_codes: VecDeque::new(),
            auth_secret: None,
            sessions: VecDeque::new(),
            session_expired: false,
            acks: BTreeMap::new(),
            clock_ahead_ms: 0,
            timezone: "Asia/Shanghai".to_owned(),
            string_ids: false,
            text_values: false,
            service_member: "servicIdentify".to_owned(),
            clear_commands: false,
            wrong_key_commands: false,
            old_key_commands: false,
            insists: false,
        }
    }
}
