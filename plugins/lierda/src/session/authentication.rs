//! The connection before the working one: the device says what product it is, and gets its secret (Lierda access protocol
//! 4.1).

use polylink_plugin_sdk::services::mqtt;
use polylink_plugin_sdk::{Now, Output, RequestId};
use serde_json::value::RawValue;

use super::connection::Phase;
use super::{LierdaSession, Timer};
use crate::auth::{AuthReply, auth_credentials, auth_request, parse_auth_reply};
use crate::frame::{self, Frame, MessageId};
use crate::topics;

/// How far an authentication is.
#[derive(Debug)]
pub enum Step {
    /// Connecting.
    Connecting,
    /// Waiting for SUBACK: an answer must not come before somebody listens.
    Subscribing(RequestId),
    /// Waiting for the platform.
    Asking {
        /// Name of the request.
        id: MessageId,
        /// How often it was sent.
        sent: u32,
    },
}

impl LierdaSession {
    pub(super) fn authenticate(&mut self) {
        let credentials = auth_credentials(&self.settings.identity, &self.settings.product_key);
        let connection = self.open_connection(&credentials);
        self.phase = Phase::Authenticating { connection, step: Step::Connecting };
    }

    pub(super) fn authentication_connected(&mut self, now: Now) {
        let id = self.next_id();
        let Phase::Authenticating { connection, step } = &mut self.phase else { return };
        *step = Step::Subscribing(id);
        let connection = *connection;
        let (filter, qos) = (self.topics.downlink(), self.settings.qos);
        self.outputs.push(Output::Mqtt(mqtt::Request::Subscribe { connection, id, filter, qos }));
        self.timers.set(Timer::Authentication, now.monotonic.after(self.settings.auth_timeout_ms));
    }

    pub(super) fn authentication_subscribed(&mut self, now: Now, id: RequestId, granted: Result<(), String>) {
        let Phase::Authenticating { step, .. } = &self.phase else { return };
        if !matches!(step, Step::Subscribing(subscription) if *subscription == id) {
            return;
        }
        match granted {
            Err(why) => {
                self.hang_up(now, &format!("the broker refused the subscription for the authentication: {why}"))
            }
            Ok(()) => {
                let id = self.new_message_id();
                self.ask_for_authentication(now, id, 1);
            }
        }
    }

    fn ask_for_authentication(&mut self, now: Now, id: MessageId, sent: u32) {
        let payload = auth_request(&self.settings.identity, self.settings.auth_type);
        let payload = frame::encode(&id, AUTH, &payload);
        let publish = self.next_id();
        let Phase::Authenticating { connection, step } = &mut self.phase else { return };
        *step = Step::Asking { id, sent };
        let message = mqtt::Message { topic: topics::AUTH.to_owned(), payload, qos: self.settings.qos, retain: false };
        self.outputs.push(Output::Mqtt(mqtt::Request::Publish { connection: *connection, id: publish, message }));
        self.timers.set(Timer::Authentication, now.monotonic.after(self.settings.auth_timeout_ms));
    }

    /// Nothing came in time.
    pub(super) fn authentication_unanswered(&mut self, now: Now) {
        let Phase::Authenticating { step, .. } = &self.phase else { return };
        match step {
            Step::Asking { id, sent } if *sent <= RESENDS => {
                let (id, sent) = (id.clone(), *sent + 1);
                self.ask_for_authentication(now, id, sent);
            }
            Step::Asking { .. } => self.hang_up(now, "the platform does not answer the authentication"),
            _ => self.hang_up(now, "the broker does not answer the subscription for the authentication"),
        }
    }

    /// A message on the authentication connection.
    pub(super) fn take_authentication(&mut self, now: Now, frame: &Frame) {
        let Phase::Authenticating { step: Step::Asking { id, .. }, .. } = &self.phase else {
            return self.drop_input("an answer to an authentication that nobody asked for");
        };
        let is_ours = frame.id.as_ref().is_some_and(|answered| answered.as_str() == id.as_str());
        let payload: Option<&RawValue> = frame.payload.as_deref();
        let (Some(payload), true) = (payload, is_ours) else {
            return self.drop_input("an answer to another authentication, or without a payload");
        };
        match parse_auth_reply(payload) {
            AuthReply::Done { device_secret, session } => {
                let taken = self.enrolment.take(&self.settings, device_secret, session);
                match taken {
                    Ok(warnings) => {
                        warnings.into_iter().for_each(|warning| self.warn(warning));
                        self.store_enrolment();
                        self.info("authenticated by the platform".to_owned());
                        // The device ends this connection and opens the working one at once (Lierda access protocol
                        // 2.2.5).
                        self.disconnect();
                        self.end_connection(now);
                        self.begin(now);
                    }
                    Err(why) => self.hang_up(now, &format!("the answer to the authentication is of no use: {why}")),
                }
            }
            AuthReply::Retry { code } => {
                self.hang_up(now, &format!("the platform does not authenticate the device now (code {code})"));
            }
            AuthReply::Fault(why) if self.is_moved_in_doubt() => self.hang_up(now, &why.to_string()),
            AuthReply::Fault(why) => {
                self.disconnect();
                self.wait_for_person(now, why.to_string());
            }
            AuthReply::Unusable(why) => self.hang_up(now, &why.to_string()),
        }
    }
}

/// Authentication (Lierda access protocol, table 2.2).
pub const AUTH: i64 = 1;
/// How often a request is repeated under its name (not documented; chosen by us).
const RESENDS: u32 = 3;
