//! [`ApiError`] and what it asks for.

use std::fmt;

use serde::Deserialize;

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// For a DID.
    Register,
    /// To give a DID back.
    Unregister,
    /// For the MQTT broker.
    Provision,
    /// For firmware by version.
    CheckV41,
    /// For firmware by id.
    CheckFid,
}

/// What an answer says instead of what was asked for. Its text holds nothing of the answer but numbers: what the cloud
/// writes may repeat what it was sent, passcode included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cloud {} {call}: HTTP status {status}{}", self.verb(), self.reason())]
pub struct ApiError {
    /// What was asked.
    pub call: Call,
    /// HTTP status of the answer.
    pub status: u16,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The cloud gives this error code.
    Code(u32),
    /// A status that means failure, without a code of the cloud: a proxy, or a path that the server does not know.
    Status,
    /// Success, but this field is missing or cannot be used.
    Field(&'static str),
    /// Success, but the answer is no form.
    NoForm,
}

/// What to do after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Forget the DID without giving it back, and register anew: the cloud does not know the device any more.
    ForgetDid,
    /// No attempt soon will do better; try again after so many milliseconds.
    SlowRetry(u64),
    /// Try again after so many milliseconds.
    RetryIn(u64),
    /// There is no other firmware.
    NoUpgrade,
    /// Try again later, each time later.
    Backoff,
}

impl ApiError {
    /// The error that an answer is, if it is one: a code in its JSON whatever the status, or a status that is not
    /// `expected`.
    pub(super) fn of(call: Call, expected: u16, status: u16, body: &[u8]) -> Option<Self> {
        let problem = match code(body) {
            Some(code) => Problem::Code(code),
            None if status != expected => Problem::Status,
            None => return None,
        };
        Some(Self { call, status, problem })
    }

    /// The cloud's error code.
    #[must_use]
    pub const fn code(&self) -> Option<u32> {
        match self.problem {
            Problem::Code(code) => Some(code),
            _ => None,
        }
    }

    /// Whether the server does not know the path, so that the older way of asking may help.
    #[must_use]
    pub fn is_missing_path(&self) -> bool {
        self.status == 404 && self.problem == Problem::Status
    }

    /// What to do (Gizwits device-cloud protocol, error codes; Gizwits GAgent product specification 0.9.5, 8.4).
    #[must_use]
    pub const fn reaction(&self) -> Reaction {
        match (self.code(), self.call) {
            (Some(9014 | 9016), Call::Provision) => Reaction::ForgetDid,
            // Product key, quotas, form, disabled, encryption: someone has to change something first.
            (Some(9002 | 9011 | 9012 | 9015 | 9023 | 9048), _) => Reaction::SlowRetry(SLOW_RETRY_MS),
            (Some(9046), _) => Reaction::RetryIn(IN_PROGRESS_MS),
            (Some(9027 | 9032 | 9034), _) => Reaction::NoUpgrade,
            _ => Reaction::Backoff,
        }
    }

    const fn verb(&self) -> &'static str {
        match self.problem {
            Problem::Code(_) | Problem::Status => "refused",
            Problem::Field(_) | Problem::NoForm => "gave no usable answer to",
        }
    }

    fn reason(&self) -> String {
        match self.problem {
            Problem::Code(code) => match meaning(code) {
                Some(meaning) => format!(", code {code} ({meaning})"),
                None => format!(", code {code}"),
            },
            Problem::Status => String::new(),
            Problem::Field(field) => format!(", {field} is missing or not usable"),
            Problem::NoForm => ", the answer is no form".into(),
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Register => "the registration",
            Self::Unregister => "to unregister",
            Self::Provision => "the question for the MQTT broker",
            Self::CheckV41 => "the firmware check by version",
            Self::CheckFid => "the firmware check by id",
        })
    }
}

/// The code in an answer such as `{"error_code": 9016, …}`; some servers write it as text.
fn code(body: &[u8]) -> Option<u32> {
    #[derive(Deserialize)]
    struct Answer {
        error_code: Code,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Code {
        Number(u32),
        Text(String),
    }
    match serde_json::from_slice::<Answer>(body).ok()?.error_code {
        Code::Number(code) => Some(code),
        Code::Text(text) => text.trim().parse().ok(),
    }
}

/// What a code means (Gizwits open API, error table).
const fn meaning(code: u32) -> Option<&'static str> {
    Some(match code {
        9001 => "the MAC address is registered already",
        9002 => "the product key is not valid",
        9008 => "server error",
        9011 => "the product's quota of sandbox devices is used up",
        9012 => "the product's quota of devices is used up",
        9014 => "the device is not known",
        9015 => "the form is not valid",
        9016 => "DID or passcode is not valid",
        9023 => "the device is disabled",
        9027 => "there is no firmware",
        9032 => "firmware updates are switched off",
        9034 => "there is nothing to upgrade",
        9041 => "too many requests",
        9046 => "a registration is in progress",
        9048 => "the product requires encryption, which is not supported",
        _ => return None,
    })
}

/// Not documented; chosen by us: someone has to act at the vendor's site first.
const SLOW_RETRY_MS: u64 = 10 * 60_000;
/// Not documented; chosen by us: a registration takes seconds.
const IN_PROGRESS_MS: u64 = 10_000;
