//! What an incoming message is, judged by its content only. Pure; what to do about it is the session's affair.

use crate::auth::Identity;
use crate::config::Settings;
use crate::message::Envelope;

/// What an incoming message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handling {
    /// Action 200.
    Control,
    /// Action 201, or 207 as the access document misprints it.
    LogUpload,
    /// Notice 202.
    UpgradeNotice,
    /// Notice 203.
    BindNotice,
    /// Notice 204.
    ApplicationNotice,
    /// Notice 205.
    LoginNotice,
    /// Action 301.
    ApplicationMessage,
    /// Action 300 from the platform: it did not take one of ours.
    MessageRefused,
    /// The answer to a request of this action.
    Response(i64),
    /// An answer to nothing we asked.
    UnmatchedResponse,
    /// A request of the platform that nobody knows.
    Unsupported,
    /// Not for us.
    Drop,
}

/// Judges a message. `asked` gives the action outstanding under a `mid`.
pub fn classify(
    envelope: &Envelope,
    identity: &Identity,
    settings: &Settings,
    asked: impl Fn(&str) -> Option<i64>,
) -> Handling {
    if settings.check_to && !identity.is_addressed(&envelope.to) {
        return Handling::Drop;
    }
    match envelope.action {
        // The action of an answer is no more than a plausibility check: text 1.1 prints 104 in the answer to 105.
        100..=199 => {
            let asked = envelope.mid.as_ref().and_then(|mid| asked(mid.as_str()));
            asked.map_or(Handling::UnmatchedResponse, Handling::Response)
        }
        200 if settings.supports(200) => Handling::Control,
        201 if settings.supports(201) => Handling::LogUpload,
        207 if settings.supports(201) && settings.accept_207_alias => Handling::LogUpload,
        202 if settings.supports(202) => Handling::UpgradeNotice,
        203 if settings.supports(203) => Handling::BindNotice,
        204 if settings.supports(204) => Handling::ApplicationNotice,
        205 if settings.supports(205) => Handling::LoginNotice,
        // Notices are never answered, also where the product does not use them.
        202..=205 => Handling::Drop,
        200..=299 => Handling::Unsupported,
        300 => Handling::MessageRefused,
        301 if settings.supports(301) => Handling::ApplicationMessage,
        _ => Handling::Drop,
    }
}
