//! Hands each message of the platform to who knows its action.

use polylink_plugin_sdk::Now;
use polylink_plugin_sdk::session::Level;

use super::DeliSession;
use crate::binding::{BindNotice, Login};
use crate::commands::{UNSUPPORTED, plain_answer};
use crate::dispatch::{Handling, classify};
use crate::message::Envelope;

impl DeliSession {
    pub(super) fn take_message(&mut self, now: Now, envelope: &Envelope) {
        let handling = classify(envelope, &self.identity, &self.settings, |mid| self.requests.action_of(mid));
        match handling {
            Handling::Response(_) => self.take_response(now, envelope),
            Handling::MessageRefused => self.take_message_error(now, envelope),
            Handling::ApplicationMessage => self.take_application_message(envelope),
            Handling::Control => self.take_control(now, envelope),
            Handling::LogUpload => self.take_log_request(now, envelope),
            Handling::UpgradeNotice => self.take_upgrade_notice(envelope),
            Handling::BindNotice => match envelope.data.as_deref().and_then(BindNotice::of_organisation) {
                Some(notice) => self.take_bind_notice(now, &notice),
                None => self.drop_input("bind notice 203 without a usable status and organisation"),
            },
            Handling::ApplicationNotice => match envelope.data.as_deref().and_then(BindNotice::of_application) {
                Some(notice) => self.take_application_notice(notice),
                None => self.drop_input("bind notice 204 without a usable status and application"),
            },
            Handling::LoginNotice => match envelope.data.as_deref().and_then(Login::parse) {
                Some(login) => self.bond.login = Some(login),
                None => self.drop_input("login notice 205 without a usable status"),
            },
            Handling::Unsupported => {
                let answer = plain_answer(UNSUPPORTED, "unsupported action");
                self.reply(now, envelope.mid.as_ref(), &envelope.from, envelope.action, &answer);
            }
            Handling::UnmatchedResponse => self.told.counters.unmatched += 1,
            Handling::Drop => self.drop_input(&format!("action {} is not for this device", envelope.action)),
        }
    }

    /// Counts what came in and is of no use.
    pub(super) fn drop_input(&mut self, why: &str) {
        self.told.counters.dropped_input += 1;
        self.log(Level::Debug, format!("a message was dropped: {why}"));
    }
}
