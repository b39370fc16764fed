//! From nothing to being online, and again.

use std::collections::BTreeMap;

use polylink_plugin_sdk::backoff::Backoff;
use polylink_plugin_sdk::secret::Secret;
use polylink_plugin_sdk::services::{Reason, Tls, mqtt};
use polylink_plugin_sdk::url::Endpoint;
use polylink_plugin_sdk::{Now, Output, RequestId};

use super::authentication::Step;
use super::{LierdaSession, Timer, stamps};
use crate::auth::{AuthType, ConnectType, Credentials, connect_credentials};

/// Where the session stands.
#[derive(Debug)]
pub enum Phase {
    /// Not started, or stopped.
    Idle,
    /// The connection by which the device proves what product it is.
    Authenticating {
        /// It.
        connection: RequestId,
        /// How far it is.
        step: Step,
    },
    /// One attempt is under way.
    Connecting {
        /// The connection to be.
        connection: RequestId,
    },
    /// Connected, but not everything would arrive yet.
    Subscribing {
        /// The connection.
        connection: RequestId,
        /// Subscriptions that are not answered yet; true: the device can do without.
        unanswered: BTreeMap<RequestId, bool>,
    },
    /// Connected and subscribed.
    Online {
        /// The connection.
        connection: RequestId,
    },
    /// Until [`Timer::Reconnect`].
    Waiting(Wait),
}

/// What a session waits for that is not connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The next attempt.
    Attempt,
    /// A person, who has to change something.
    Person,
    /// A clock that tells the platform's time.
    Clock,
}

/// Where the platform has moved the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The other broker.
    pub broker: Endpoint,
    /// The device was online there.
    pub proven: bool,
    /// Attempts in vain, while it is not proven.
    pub failures: u32,
}

impl Phase {
    /// The connection that is open or being opened.
    pub const fn connection(&self) -> Option<RequestId> {
        match self {
            Self::Authenticating { connection, .. }
            | Self::Connecting { connection }
            | Self::Subscribing { connection, .. }
            | Self::Online { connection } => Some(*connection),
            Self::Idle | Self::Waiting(_) => None,
        }
    }

    /// Which it is.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Idle => "stopped",
            Self::Authenticating { .. } => "authenticating",
            Self::Connecting { .. } => "connecting",
            Self::Subscribing { .. } => "subscribing",
            Self::Online { .. } => "online",
            Self::Waiting(Wait::Attempt) => "waiting to connect again",
            Self::Waiting(Wait::Person) => "waiting for a person",
            Self::Waiting(Wait::Clock) => "waiting for the clock to be set",
        }
    }
}

/// 1 s doubling to 300 s, 20 % jitter, from the start again after a minute online (not documented; chosen by us).
pub fn backoff() -> Backoff {
    Backoff::exponential(1_000, 300_000).reset_after(STABLE_MS)
}

impl LierdaSession {
    /// The next attempt: to authenticate, if something is missing, or to connect.
    pub(super) fn begin(&mut self, now: Now) {
        if self.enrolment.wants_authentication(&self.settings) {
            self.authenticate();
        } else {
            self.connect(now);
        }
    }

    /// The broker to use.
    pub(super) fn broker(&self) -> &Endpoint {
        self.moved.as_ref().map_or(&self.settings.broker, |moved| &moved.broker)
    }

    fn connect(&mut self, now: Now) {
        let Some(secret) = self.enrolment.device_key() else { return self.authenticate() };
        let stamp = match self.settings.connect_type {
            ConnectType::Unchecked => Some(stamps::unix_s(now)),
            ConnectType::Checked => self.stamps.next(now),
        };
        let Some(unix_s) = stamp else {
            self.phase = Phase::Waiting(Wait::Clock);
            self.timers.set(Timer::Reconnect, now.monotonic.after(CLOCK_POLL_MS));
            return;
        };
        let settings = &self.settings;
        let credentials =
            connect_credentials(&settings.identity, &settings.product_key, secret, settings.connect_type, unix_s);
        let connection = self.open_connection(&credentials);
        self.phase = Phase::Connecting { connection };
    }

    pub(super) fn open_connection(&mut self, credentials: &Credentials) -> RequestId {
        let Endpoint { host, port, tls } = self.broker().clone();
        let settings = &self.settings;
        let connect = mqtt::Connect {
            host,
            port,
            tls: tls.then(|| Tls { ca_pem: settings.tls_ca.clone(), ..Tls::default() }),
            client_id: credentials.client_id.clone(),
            username: Some(credentials.username.clone()),
            password: Some(Secret::new(credentials.password.expose().clone().into_bytes())),
            clean_session: settings.clean_session,
            keepalive_s: settings.keepalive_s,
            ..mqtt::Connect::default()
        };
        let connection = self.next_id();
        self.outputs.push(Output::Mqtt(mqtt::Request::Connect(connection, Box::new(connect))));
        connection
    }

    pub(super) fn take_mqtt(&mut self, now: Now, event: mqtt::Event) {
        use mqtt::Event;
        let is_ours = |connection: RequestId| self.phase.connection() == Some(connection);
        match event {
            Event::Connected { connection, .. } if is_ours(connection) => match self.phase {
                Phase::Authenticating { .. } => self.authentication_connected(now),
                _ => self.connected(now, connection),
            },
            Event::Refused(connection, code) if is_ours(connection) => self.refused(now, code),
            Event::Closed(connection, failure) if is_ours(connection) => self.lost(now, &failure.text),
            Event::Subscribed(id, result) => {
                let granted = result.map_err(|failure| failure.text).and_then(|granted| match granted {
                    0..=2 => Ok(()),
                    _ => Err("it is not allowed".to_owned()),
                });
                self.take_subscribed(now, id, granted);
            }
            Event::Published(id, Ok(())) => self.take_published(id),
            Event::Published(id, Err(failure)) if failure.reason == Reason::Invalid => {
                self.take_unpublishable(id, &failure.text);
            }
            Event::Published(id, Err(_)) => self.uplink.failed(now.monotonic, id),
            Event::Message { connection, topic, payload, .. } if is_ours(connection) => {
                self.take_message(now, &topic, &payload);
            }
            _ => {}
        }
    }

    fn connected(&mut self, now: Now, connection: RequestId) {
        self.stamps.taken(now);
        self.refusals = 0;
        self.authenticated_again = false;
        let settings = &self.settings;
        let services: Vec<String> = self.model.actions.iter().map(|action| action.cloud_name.clone()).collect();
        let filters = self.topics.subscriptions(settings.product_kind, settings.use_plus_wildcard, &services);
        let qos = settings.qos;
        let mut unanswered = BTreeMap::new();
        for (filter, optional) in filters {
            let id = self.next_id();
            unanswered.insert(id, optional);
            self.outputs.push(Output::Mqtt(mqtt::Request::Subscribe { connection, id, filter, qos }));
        }
        self.phase = Phase::Subscribing { connection, unanswered };
        self.timers.set(Timer::Subscriptions, now.monotonic.after(SUBSCRIBE_TIMEOUT_MS));
    }

    fn take_subscribed(&mut self, now: Now, id: RequestId, granted: Result<(), String>) {
        match &mut self.phase {
            Phase::Authenticating { .. } => self.authentication_subscribed(now, id, granted),
            Phase::Subscribing { connection, unanswered } => {
                let Some(optional) = unanswered.remove(&id) else { return };
                let connection = *connection;
                let is_last = unanswered.is_empty();
                match granted {
                    Err(why) if !optional => {
                        return self.hang_up(now, &format!("the broker refused a subscription: {why}"));
                    }
                    Err(why) => self.info(format!("the broker refused a topic the device can do without: {why}")),
                    Ok(()) => {}
                }
                if is_last {
                    self.online(now, connection);
                }
            }
            _ => {}
        }
    }

    fn online(&mut self, now: Now, connection: RequestId) {
        self.phase = Phase::Online { connection };
        self.timers.clear(&Timer::Subscriptions);
        self.note.clear();
        self.backoff.connected(now.monotonic);
        if self.is_moved_in_doubt() {
            self.prove_move();
        }
        self.info(format!("online at {} as {}", self.broker(), self.settings.identity.node_eui));
        self.tell_firmware(now);
        self.ask_time(now);
    }

    fn refused(&mut self, now: Now, code: u8) {
        let why = mqtt::refusal(code);
        if code != 4 && code != 5 {
            return self.lost(now, &why);
        }
        // What another broker says of the configuration proves nothing about it.
        if self.is_moved_in_doubt() {
            return self.lost(now, &why);
        }
        if matches!(self.phase, Phase::Authenticating { .. }) {
            return self.wait_for_person(
                now,
                format!("{why} at the authentication: check open_id, product_id and product_key"),
            );
        }
        self.refusals = self.refusals.saturating_add(1);
        if self.refusals < REFUSALS {
            return self.lost(now, &why);
        }
        self.refusals = 0;
        if !self.authenticated_again && self.enrolment.can_authenticate(&self.settings) {
            self.authenticated_again = true;
            self.enrolment.distrust();
            self.lost(now, &format!("{why}, the device authenticates anew"));
        } else {
            let check = match self.settings.auth_type {
                AuthType::SecretPerDevice => "open_id, product_id, node_eui, product_key and device_secret",
                _ => "open_id, product_id, node_eui and product_key",
            };
            self.authenticated_again = false;
            self.wait_for_person(now, format!("{why}: check {check}"));
        }
    }

    /// Only a person can help; the next attempt is far away.
    pub(super) fn wait_for_person(&mut self, now: Now, why: String) {
        self.warn(why.clone());
        self.note = why;
        self.end_connection(now);
        self.phase = Phase::Waiting(Wait::Person);
        self.timers.set(Timer::Reconnect, now.monotonic.after(self.settings.fatal_retry_ms));
    }

    /// An attempt failed, or the connection broke.
    pub(super) fn lost(&mut self, now: Now, why: &str) {
        let was_online = matches!(self.phase, Phase::Online { .. });
        self.note = why.to_owned();
        self.warn(if was_online { format!("connection lost: {why}") } else { format!("no connection: {why}") });
        self.end_connection(now);
        // Without a network no broker is to blame.
        if !was_online && self.has_network != Some(false) {
            self.move_failed();
        }
        let delay = self.backoff.failed(now.monotonic, &mut self.random);
        self.phase = Phase::Waiting(Wait::Attempt);
        self.timers.set(Timer::Reconnect, now.monotonic.after(delay));
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

    /// Forgets what belongs to a connection that is gone.
    pub(super) fn end_connection(&mut self, now: Now) {
        for timer in [
            Timer::Authentication,
            Timer::Subscriptions,
            Timer::Time,
            Timer::Firmware,
            Timer::Answer,
            Timer::Failed,
            Timer::Reconnect,
        ] {
            self.timers.clear(&timer);
        }
        self.stamps.ended(now);
        self.uplink.disconnected();
        self.firmware.disconnected();
        self.clock.disconnected();
        self.phase = Phase::Waiting(Wait::Attempt);
    }

    pub(super) fn take_network(&mut self, now: Now, has_network: bool) {
        let returned = has_network && self.has_network != Some(true);
        self.has_network = Some(has_network);
        if returned && matches!(self.phase, Phase::Waiting(Wait::Attempt)) {
            self.timers.clear(&Timer::Reconnect);
            self.begin(now);
        }
    }
}

/// How often a clock that is not set is looked at (not documented; chosen by us).
const CLOCK_POLL_MS: u64 = 1_000;
/// Time for the answers to all subscriptions (not documented; chosen by us).
const SUBSCRIBE_TIMEOUT_MS: u64 = 10_000;
/// After so long online a connection counts as good (not documented; chosen by us).
const STABLE_MS: u64 = 60_000;
/// Refused so often in a row, the device authenticates anew (not documented; chosen by us).
const REFUSALS: u32 = 3;
