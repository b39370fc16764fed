//! From nothing to being online, and again.

use polylink_plugin_sdk::backoff::Backoff;
use polylink_plugin_sdk::secret::Secret;
use polylink_plugin_sdk::services::{Reason, Tls, mqtt};
use polylink_plugin_sdk::url::Endpoint;
use polylink_plugin_sdk::{Now, Output, RequestId};
use serde::Serialize;

use super::registration::FAULT_RETRY_MS;
use super::{ClifeSession, Timer};
use crate::cipher::Key;
use crate::frame::{Frame, MsgId, cmd, integer, members, raw};
use crate::registration::{Connection, LoginData};
use crate::topics::Topics;

/// Where the session stands.
#[derive(Debug)]
pub enum Phase {
    /// Not started, or stopped.
    Idle,
    /// Asking the platform to take the device.
    Registering {
        /// The HTTP request.
        request: RequestId,
        /// The number of its message.
        id: MsgId,
    },
    /// One attempt is under way.
    Connecting {
        /// The connection to be.
        connection: RequestId,
    },
    /// Connected, but nothing would arrive yet.
    Subscribing {
        /// The connection.
        connection: RequestId,
        /// The subscription.
        subscription: RequestId,
    },
    /// Waiting for the platform's answer to 2004.
    Greeting {
        /// The connection.
        connection: RequestId,
        /// The number of the greeting.
        id: MsgId,
        /// How often it was sent.
        sent: u32,
    },
    /// Connected, subscribed and greeted.
    Online {
        /// The connection.
        connection: RequestId,
        /// The number of a greeting that has no answer yet.
        unanswered: Option<MsgId>,
    },
    /// Until [`Timer::Retry`].
    Waiting(Wait),
}

/// What the platform has given the device, and what that means with the settings.
#[derive(Debug)]
pub struct Access {
    /// As it came.
    pub login: LoginData,
    /// What to connect with.
    pub connection: Connection,
    /// Where to listen and speak.
    pub topics: Topics,
}

/// What a session waits for that is not connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The next attempt.
    Attempt,
    /// A person, who has to change something.
    Person,
    /// The end of the time for which the platform has sent the device away.
    SentAway,
}

impl Phase {
    /// The connection that is open or being opened.
    pub const fn connection(&self) -> Option<RequestId> {
        match self {
            Self::Connecting { connection } => Some(*connection),
            _ => self.open_connection(),
        }
    }

    /// The connection on which messages can be sent.
    pub const fn open_connection(&self) -> Option<RequestId> {
        match self {
            Self::Subscribing { connection, .. }
            | Self::Greeting { connection, .. }
            | Self::Online { connection, .. } => Some(*connection),
            _ => None,
        }
    }

    /// Which it is.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Idle => "stopped",
            Self::Registering { .. } => "registering",
            Self::Connecting { .. } => "connecting",
            Self::Subscribing { .. } => "subscribing",
            Self::Greeting { .. } => "waiting for the platform's answer",
            Self::Online { .. } => "online",
            Self::Waiting(Wait::Attempt) => "waiting for the next attempt",
            Self::Waiting(Wait::Person) => "waiting for a person",
            Self::Waiting(Wait::SentAway) => "sent away by the platform",
        }
    }
}

/// 1 s doubling to 300 s, 20 % jitter (not documented; chosen by us).
pub fn backoff() -> Backoff {
    Backoff::exponential(1_000, 300_000)
}

impl ClifeSession {
    /// The next step: to register, if there is no login, or to connect.
    pub(super) fn begin(&mut self, now: Now) {
        if self.access.is_some() { self.connect(now) } else { self.register(now) }
    }

    pub(super) fn connect(&mut self, now: Now) {
        let will = self.will(now);
        let Some(Access { connection: access, .. }) = &self.access else { return self.register(now) };
        let Endpoint { host, port, tls } = access.endpoint.clone();
        let connect = mqtt::Connect {
            host,
            port,
            tls: tls.then(|| Tls { ca_pem: self.settings.tls_ca.clone(), ..Tls::default() }),
            client_id: access.client_id.clone(),
            username: Some(access.user.clone()),
            password: Some(Secret::new(access.password.expose().clone().into_bytes())),
            clean_session: self.settings.clean_session,
            keepalive_s: access.keepalive_s,
            will,
            ..mqtt::Connect::default()
        };
        let connection = self.next_id();
        self.phase = Phase::Connecting { connection };
        self.outputs.push(Output::Mqtt(mqtt::Request::Connect(connection, Box::new(connect))));
    }

    /// What the broker says for the device when it is gone (Clife access document 5.3: 2014).
    fn will(&mut self, now: Now) -> Option<mqtt::Message> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Body<'a> {
            dev_id: &'a str,
        }
        if !self.settings.will {
            return None;
        }
        let topic = self.access.as_ref()?.topics.upward.clone();
        let body = raw(&Body { dev_id: self.dev_id() });
        let id = self.new_id();
        let payload = self.message(cmd::WILL, &id, self.unix_ms(now), &body);
        Some(mqtt::Message { topic, payload, qos: 1, retain: false })
    }

    /// Takes what the platform has given, if the device can connect with it and the settings.
    pub(super) fn adopt(&mut self, login: LoginData) -> Result<(), String> {
        let settings = &self.settings;
        let connection = login.connection(&settings.overrides).map_err(|error| error.to_string())?;
        let product_code = Some(settings.identity.product_code.as_str()).filter(|code| !code.is_empty());
        let topics = Topics::new(&settings.topic_upward, &settings.topic_downward, product_code, &connection.dev_id)
            .map_err(|error| error.to_string())?;
        self.access = Some(Access { login, connection, topics });
        Ok(())
    }

    pub(super) fn broker(&self) -> Option<&Endpoint> {
        self.access.as_ref().map(|access| &access.connection.endpoint)
    }

    /// The device as the platform knows it; empty: not yet.
    pub(super) fn dev_id(&self) -> &str {
        let registered = self.access.as_ref().map(|access| access.connection.dev_id.as_str());
        registered.or(self.settings.identity.dev_id.as_deref()).unwrap_or_default()
    }

    /// The key of MQTT messages; that of the registration if the platform has given no other (not documented; chosen by
    /// us).
    pub(super) fn mqtt_key(&self) -> &Key {
        self.access.as_ref().and_then(|access| access.connection.key.as_ref()).unwrap_or(&self.settings.dev_key)
    }

    pub(super) fn take_mqtt(&mut self, now: Now, event: mqtt::Event) {
        use mqtt::Event;
        let is_ours = |connection: RequestId| self.phase.connection() == Some(connection);
        match event {
            Event::Connected { connection, .. } if is_ours(connection) => self.connected(now, connection),
            Event::Refused(connection, code) if is_ours(connection) => self.refused(now, code),
            Event::Closed(connection, failure) if is_ours(connection) => self.lost(now, &failure.text),
            Event::Subscribed(id, result) => {
                let Phase::Subscribing { connection, subscription } = self.phase else { return };
                match result {
                    _ if subscription != id => {}
                    Ok(0..=2) => self.greet(now, connection),
                    Ok(_) => self.hang_up(now, "the broker refused the subscription"),
                    Err(failure) => self.hang_up(now, &failure.text),
                }
            }
            Event::Published(id, Ok(())) => {
                self.published(id);
                self.event_published(id);
            }
            Event::Published(id, Err(failure)) if failure.reason == Reason::Invalid => {
                self.unpublishable(id, &failure.text);
                self.event_published(id);
            }
            Event::Published(id, Err(_)) => {
                self.publish_failed(now, id);
                self.event_failed(now, id);
            }
            Event::Message { connection, payload, .. } if is_ours(connection) => self.take_message(now, &payload),
            _ => {}
        }
    }

    fn connected(&mut self, now: Now, connection: RequestId) {
        let Some(filter) = self.access.as_ref().map(|access| access.topics.downward.clone()) else { return };
        let subscription = self.next_id();
        self.refusals = 0;
        self.phase = Phase::Subscribing { connection, subscription };
        let qos = self.settings.qos;
        let subscribe = mqtt::Request::Subscribe { connection, id: subscription, filter, qos };
        self.outputs.push(Output::Mqtt(subscribe));
        self.timers.set(Timer::Subscription, now.monotonic.after(SUBSCRIBE_TIMEOUT_MS));
    }

    fn greet(&mut self, now: Now, connection: RequestId) {
        self.timers.clear(&Timer::Subscription);
        let id = self.new_id();
        self.phase = Phase::Greeting { connection, id, sent: 0 };
        self.say_greeting(now);
    }

    fn say_greeting(&mut self, now: Now) {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Body<'a> {
            dev_id: &'a str,
            dev_mac: &'a str,
            profile_ver: &'a str,
        }
        let Phase::Greeting { id, sent, .. } = &mut self.phase else { return };
        *sent += 1;
        let id = id.clone();
        let body = raw(&Body {
            dev_id: self.dev_id(),
            dev_mac: &self.settings.identity.dev_mac,
            profile_ver: &self.settings.profile_ver,
        });
        self.send(now, cmd::CONNECT, &id, &body);
        self.timers.set(Timer::Greeting, now.monotonic.after(self.settings.greeting.timeout_ms));
    }

    pub(super) fn greeting_unanswered(&mut self, now: Now) {
        let Phase::Greeting { connection, id, sent } = &self.phase else { return };
        let (connection, id) = (*connection, id.clone());
        if *sent < self.settings.greeting.attempts {
            return self.say_greeting(now);
        }
        if self.settings.greeting.required {
            return self.hang_up(now, "the platform does not answer the connection request 2004");
        }
        // The vendor's own virtual device does not wait for it.
        self.info("the platform does not answer the connection request 2004; going on without".to_owned());
        self.online(now, connection, Some(id));
    }

    /// The platform's answer to the greeting (2005). It may come after the device has gone on without; a refusal counts
    /// then too.
    pub(super) fn take_greeting_answer(&mut self, now: Now, frame: &Frame) {
        let (connection, is_late) = match &self.phase {
            Phase::Greeting { connection, id, .. } if frame.id.as_ref() == Some(id) => (*connection, false),
            Phase::Online { connection, unanswered: Some(id) } if frame.id.as_ref() == Some(id) => (*connection, true),
            _ => return self.unmatched(),
        };
        let body = self.open_body(frame).ok().and_then(|body| members(&body));
        let code = body.and_then(|body| integer::<i64>(body.get("respCode")?));
        match code {
            Some(0) => {
                self.take_time(now, frame.timestamp);
                if is_late {
                    self.phase = Phase::Online { connection, unanswered: None };
                } else {
                    self.online(now, connection, None);
                }
            }
            Some(UNKNOWN_DEVICE) => {
                self.forget_login();
                self.hang_up(now, "the platform does not know this device; it registers again");
            }
            Some(code) => self.hang_up(now, &format!("the platform refused the connection request (code {code})")),
            None => self.drop_input("an answer to the connection request without a code"),
        }
    }

    fn online(&mut self, now: Now, connection: RequestId, unanswered: Option<MsgId>) {
        self.phase = Phase::Online { connection, unanswered };
        self.timers.clear(&Timer::Greeting);
        self.note.clear();
        self.registered_again = false;
        self.backoff.connected(now.monotonic);
        let broker = self.broker().map(ToString::to_string).unwrap_or_default();
        self.info(format!("online at {broker} as {}", self.dev_id()));
        if self.settings.report_on_connect {
            self.report_everything(now);
        }
        self.consider_asking(now);
    }

    fn refused(&mut self, now: Now, code: u8) {
        let why = mqtt::refusal(code);
        if code != 4 && code != 5 {
            return self.lost(now, &why);
        }
        self.refusals = self.refusals.saturating_add(1);
        if self.refusals < REFUSALS {
            return self.lost(now, &why);
        }
        self.refusals = 0;
        if self.registered_again {
            self.warn(why.clone());
            self.note = format!("{why}, also after another registration");
            self.end_connection();
            self.registered_again = false;
            return self.wait(now, Wait::Person, FAULT_RETRY_MS);
        }
        self.registered_again = true;
        self.forget_login();
        self.lost(now, &format!("{why}; the device registers again"));
    }

    /// The platform sends the device away for a while (2017).
    pub(super) fn sent_away(&mut self, now: Now, reason: &str) {
        self.note = if reason.is_empty() { String::new() } else { format!("the platform says: {reason}") };
        self.warn(format!("sent away by the platform: {reason}"));
        self.disconnect();
        self.end_connection();
        self.wait(now, Wait::SentAway, self.settings.force_offline_hold_ms);
    }

    /// Leaves a connection that is of no use.
    pub(super) fn hang_up(&mut self, now: Now, why: &str) {
        self.disconnect();
        self.lost(now, why);
    }

    pub(super) fn disconnect(&mut self) {
        if let Some(connection) = self.phase.connection() {
            self.outputs.push(Output::Mqtt(mqtt::Request::Disconnect(connection)));
        }
    }

    /// An attempt failed, or the connection broke.
    fn lost(&mut self, now: Now, why: &str) {
        let was_online = matches!(self.phase, Phase::Online { .. });
        self.note = why.to_owned();
        self.warn(if was_online { format!("connection lost: {why}") } else { format!("no connection: {why}") });
        self.end_connection();
        let delay = self.backoff.failed(now.monotonic, &mut self.random);
        self.wait(now, Wait::Attempt, delay);
    }

    /// Forgets what belongs to a connection that is gone.
    pub(super) fn end_connection(&mut self) {
        for timer in [Timer::Subscription, Timer::Greeting, Timer::Pause, Timer::Retry] {
            self.timers.clear(&timer);
        }
        self.uplink.disconnected();
        self.events_lost();
    }

    pub(super) fn take_network(&mut self, now: Now, has_network: bool) {
        let returned = has_network && self.has_network != Some(true);
        self.has_network = Some(has_network);
        if returned && matches!(self.phase, Phase::Waiting(Wait::Attempt)) {
            self.timers.clear(&Timer::Retry);
            self.begin(now);
        }
    }
}

/// Not documented; chosen by us.
const SUBSCRIBE_TIMEOUT_MS: u64 = 10_000;
/// Refused so often in a row, the device registers again (not documented; chosen by us).
const REFUSALS: u32 = 3;
/// Code of 2005 (not documented; chosen by us).
const UNKNOWN_DEVICE: i64 = 2;
