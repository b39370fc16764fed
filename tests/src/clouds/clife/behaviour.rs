//! What a test wants the simulated Clife platform to do differently.

use std::collections::VecDeque;
use std::time::Duration;

use super::frame::Form;

/// Switches of the platform; the default is a well-behaved one.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    /// Answers to the registrations to come, instead of what is right.
    pub registrations: VecDeque<Registering>,
    /// The registration server thinks so long.
    pub registration_delay: Duration,
    /// The device id is a number in registration answers.
    pub dev_id_as_number: bool,
    /// It is called `id` there.
    pub dev_id_as_id: bool,
    /// Registration answers name another broker, as `mqttUrl`.
    pub mqtt_url: Option<String>,
    /// CONNECTs to come with right credentials that are refused, with these codes.
    pub refuse_connects: VecDeque<u8>,
    /// Subscriptions to come that are refused.
    pub refuse_subscriptions: u32,
    /// Answers to the connection requests (2004) to come, instead of what is right.
    pub connects: VecDeque<Connecting>,
    /// 2005 comes so late.
    pub connect_delay: Duration,
    /// How far the platform's clock is ahead of this machine's, in milliseconds.
    pub clock_ahead_ms: i64,
    /// `data` of the platform comes in clear.
    pub plain_data: bool,
    /// `data` of the platform comes under a key that nobody has.
    pub wrong_key: bool,
    /// Timestamps of the platform are texts of digits.
    pub timestamp_as_text: bool,
    /// Member names of the platform have blanks around them, in `data` too.
    pub blanks: bool,
    /// `dir` of the platform.
    pub dir: Option<String>,
    /// msgIds of the platform are beyond 2^53, where a double cannot tell neighbours apart.
    pub big_ids: bool,
    /// Statuses of the uploads to come; a file that is refused is not taken.
    pub upload_statuses: VecDeque<u16>,
}

/// What becomes of one registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registering {
    /// respCode.
    Code(i64),
    /// respCode in a `data` that is not encrypted.
    PlainError(i64),
    /// HTTP status, without a frame.
    Status(u16),
    /// Registered, but the answer has another msgId.
    WrongMsgId,
    /// Registered, but the answer is a 2005.
    WrongCmd,
    /// Registered, but the answer is under another key.
    WrongKey,
    /// Registered, but the answer lacks this member. Without `deviceSecret` the key of the registration is used on.
    Without(&'static str),
    /// No answer.
    Silence,
    /// These bytes, with status 200.
    Body(Vec<u8>),
}

/// What becomes of one connection request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connecting {
    /// respCode.
    Code(i64),
    /// Done, but the answer has another msgId.
    WrongMsgId,
    /// No answer.
    Silence,
}

impl Behaviour {
    pub(super) fn form(&self) -> Form {
        Form { dir: self.dir.clone(), timestamp_as_text: self.timestamp_as_text, blanks: self.blanks }
    }
}
