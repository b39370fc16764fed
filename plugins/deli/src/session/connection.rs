//! Finding the broker, connecting, connecting again.

use polylink_plugin_sdk::backoff::Backoff;
use polylink_plugin_sdk::services::{Failure, Reason, Tls, http, mqtt};
use polylink_plugin_sdk::url::Endpoint;
use polylink_plugin_sdk::{Now, Output, RequestId, Timestamp};

use super::{DeliSession, Timer};
use crate::auth::parse_access_list;
use crate::config::{Access, Settings, SubscribeWhen};
use crate::message::Envelope;
use crate::requests::{self, Request};
use crate::topics;

/// Where the session stands.
#[derive(Debug)]
pub enum Phase {
    /// Not started, or stopped.
    Idle,
    /// Asking for the endpoints.
    Discovering {
        /// The HTTP request.
        request: RequestId,
    },
    /// One attempt is under way.
    Connecting {
        /// The connection to be.
        connection: RequestId,
    },
    /// Connected.
    Online(Online),
    /// Until [`Timer::Reconnect`].
    Waiting {
        /// True: who we are was refused so often that only a person can help.
        refused: bool,
    },
}

/// What exists only while connected.
#[derive(Debug)]
pub struct Online {
    /// The connection.
    pub connection: RequestId,
    /// True once 102 was answered, or took too long: business messages may go.
    pub open: bool,
    /// True once the platform refused action 300 in this connection (code 106).
    pub messages_refused: bool,
}

impl Phase {
    /// The connection that is open or being opened.
    pub const fn connection(&self) -> Option<RequestId> {
        match self {
            Self::Connecting { connection } | Self::Online(Online { connection, .. }) => Some(*connection),
            _ => None,
        }
    }
}

/// The endpoints to try, in turn.
#[derive(Debug)]
pub struct Endpoints {
    list: Vec<Endpoint>,
    next: usize,
    /// Where to ask, and what to use if that fails.
    discovery: Option<(String, Endpoint)>,
    discovered: Option<Timestamp>,
}

impl Endpoints {
    /// The endpoints that the settings name; none yet if they are to be asked for.
    pub fn of(settings: &Settings) -> Self {
        let (list, discovery) = match &settings.access {
            Access::Fixed(endpoint) => (vec![endpoint.clone()], None),
            Access::Discovered { url, fallback } => (Vec::new(), Some((url.clone(), fallback.clone()))),
        };
        Self { list, next: 0, discovery, discovered: None }
    }

    /// The endpoint to try now, or being used.
    pub fn current(&self) -> Option<&Endpoint> {
        self.list.get(self.next)
    }

    /// Where to ask for endpoints, if it is time to: none is known or all failed, and the last time is long enough ago.
    fn to_discover(&self, now: Timestamp) -> Option<&str> {
        let rested = self.discovered.is_none_or(|last| now.since(last) >= DISCOVERY_PAUSE_MS);
        let (url, _) = self.discovery.as_ref().filter(|_| self.current().is_none() && rested)?;
        Some(url)
    }

    /// Takes what was found; if that was nothing, the fallback.
    fn found(&mut self, now: Timestamp, list: Option<Vec<Endpoint>>) {
        self.discovered = Some(now);
        let fallback = || self.discovery.iter().map(|(_, fallback)| fallback.clone()).collect();
        self.list = list.unwrap_or_else(fallback);
        self.next = 0;
    }

    /// Leaves a failed endpoint. True if there is another one to try at once.
    fn advance(&mut self) -> bool {
        self.next = self.next.saturating_add(1).min(self.list.len());
        self.current().is_some()
    }
}

/// 1 s doubling to 300 s, 20 % jitter (not documented; chosen by us). A connection counts as good only after a minute:
/// two devices with the same id, which take the connection from each other, must not do so every second.
pub fn backoff() -> Backoff {
    Backoff::exponential(1_000, 300_000).reset_after(STABLE_MS)
}

impl DeliSession {
    pub(super) fn start(&mut self, now: Now) {
        if let Some(oddity) = self.identity.oddity() {
            self.warn(format!("settings.{oddity}"));
        }
        self.wait_for_mcu(now);
        self.withdraw_what_runs();
        if !self.bond.applications.is_empty() {
            // A host that was restarted does not know how many there are.
            self.count_applications();
        }
        if self.bond.wipe_pending {
            self.run_wipe_action();
        }
        self.connect_or_discover(now);
    }

    pub(super) fn connect_or_discover(&mut self, now: Now) {
        if let Some(url) = self.endpoints.to_discover(now.monotonic) {
            let request = http::Request { url: url.to_owned(), timeout_ms: DISCOVERY_TIMEOUT_MS, ..Default::default() };
            let id = self.next_id();
            self.phase = Phase::Discovering { request: id };
            self.outputs.push(Output::Http(id, request));
            return;
        }
        if self.endpoints.current().is_none() {
            // All failed, and discovery is not to be asked again so soon: from the first one again.
            self.endpoints.next = 0;
        }
        self.connect();
    }

    pub(super) fn take_discovery(&mut self, now: Now, id: RequestId, result: Result<http::Response, Failure>) {
        if !matches!(self.phase, Phase::Discovering { request } if request == id) {
            return;
        }
        let list = result
            .map_err(|failure| failure.text)
            .and_then(|answer| parse_access_list(answer.status, &answer.body).map_err(|error| error.to_string()));
        if let Err(why) = &list {
            self.warn(format!("discovery failed, the fallback endpoint is used: {why}"));
        }
        self.endpoints.found(now.monotonic, list.ok());
        self.connect();
    }

    fn connect(&mut self) {
        let Some(endpoint) = self.endpoints.current() else { return };
        let tls = endpoint.tls.then(|| Tls { ca_pem: self.settings.tls_ca.clone(), ..Default::default() });
        let password = self.credentials.password.expose().clone().into_bytes();
        let connect = mqtt::Connect {
            host: endpoint.host.clone(),
            port: endpoint.port,
            tls,
            // MQTT 3.1.1 (Deli access document, communication protocol).
            protocol_level: 4,
            client_id: self.identity.device_id.clone(),
            username: Some(self.credentials.username.clone()),
            password: Some(polylink_plugin_sdk::secret::Secret::new(password)),
            clean_session: self.settings.clean_session,
            keepalive_s: self.settings.keepalive_s,
            ..mqtt::Connect::default()
        };
        let connection = self.next_id();
        self.phase = Phase::Connecting { connection };
        self.outputs.push(Output::Mqtt(mqtt::Request::Connect(connection, Box::new(connect))));
    }

    pub(super) fn take_mqtt(&mut self, now: Now, event: mqtt::Event) {
        use mqtt::Event;
        match event {
            Event::Connected { connection, .. } if self.phase.connection() == Some(connection) => {
                self.connected(now, connection)
            }
            Event::Refused(connection, code) if self.phase.connection() == Some(connection) => self.refused(now, code),
            Event::Closed(connection, failure) if self.phase.connection() == Some(connection) => {
                self.lost(now, &failure.text);
            }
            Event::Published(id, Ok(())) => self.settled.extend(self.uplink.acknowledged(now.monotonic, id)),
            Event::Published(id, Err(failure)) if failure.reason == Reason::Invalid => {
                if let Some(seq) = self.uplink.give_up(id) {
                    self.told.counters.messages_refused += 1;
                    self.warn(format!("the host does not take a business message: {}", failure.text));
                    self.settled.extend(seq);
                }
            }
            Event::Published(id, Err(_)) => self.uplink.failed(now.monotonic, id),
            // A refused subscription is no error: the private topic needs none (our reading of the access document).
            Event::Subscribed(_, Ok(0x80)) => self.info("the gateway refused a broadcast topic".to_owned()),
            Event::Message { connection, payload, .. } if self.phase.connection() == Some(connection) => {
                match Envelope::decode(&payload) {
                    Ok(envelope) => self.take_message(now, &envelope),
                    Err(error) => self.drop_input(&error.to_string()),
                }
            }
            _ => {}
        }
    }

    fn connected(&mut self, now: Now, connection: RequestId) {
        self.phase = Phase::Online(Online { connection, open: false, messages_refused: false });
        self.note.clear();
        self.refusals = 0;
        let endpoint = self.endpoints.current().map(ToString::to_string).unwrap_or_default();
        self.info(format!("connected to {endpoint} as {}", self.identity.device_id));
        self.backoff.connected(now.monotonic);
        self.timers.set(Timer::StartUp, now.monotonic.after(START_UP_MS));
        self.requests.connected();
        if self.settings.subscribe_when == SubscribeWhen::Connected || self.bond.is_bound() {
            self.subscribe();
        }
        if self.bond.unbinding {
            self.requests.clear();
            self.requests.want(Request::new(requests::UNBIND, None));
        } else {
            self.start_sequence(now);
        }
    }

    /// 100, 101, 102, without waiting for each other.
    pub(super) fn start_sequence(&mut self, now: Now) {
        self.ask_time(now);
        self.ask_info();
        self.ask_query(now);
        if !self.settings.supports(requests::DEVICE_QUERY) {
            self.open_business();
        }
        self.settle_updates(now);
    }

    pub(super) fn subscribe(&mut self) {
        let Some(connection) = self.phase.connection() else { return };
        for filter in topics::broadcasts(&self.identity) {
            let id = self.next_id();
            let qos = self.settings.qos;
            self.outputs.push(Output::Mqtt(mqtt::Request::Subscribe { connection, id, filter, qos }));
        }
    }

    fn refused(&mut self, now: Now, code: u8) {
        let why = mqtt::refusal(code);
        self.warn(why.clone());
        if code == 4 || code == 5 {
            self.note = why;
            self.identity_refused(now);
        } else {
            self.lost(now, &why);
        }
    }

    /// Somebody did not believe who we are. The third time in a row it is a fault of the configuration.
    fn identity_refused(&mut self, now: Now) {
        self.refusals = self.refusals.saturating_add(1);
        self.end_connection();
        let refused = self.refusals >= REFUSALS;
        let delay = if refused { REFUSED_PAUSE_MS } else { self.backoff.failed(now.monotonic, &mut self.random) };
        self.phase = Phase::Waiting { refused };
        self.timers.set(Timer::Reconnect, now.monotonic.after(delay));
    }

    /// Code 101: connect anew once; a second time within the hour it is a fault of the configuration.
    pub(super) fn signature_refused(&mut self, now: Now) {
        let Some(connection) = self.phase.connection() else { return };
        self.note = "the platform says that the signature is wrong (code 101)".to_owned();
        self.warn(self.note.clone());
        self.outputs.push(Output::Mqtt(mqtt::Request::Disconnect(connection)));
        self.end_connection();
        let again = self.signature_refused.is_some_and(|last| now.monotonic.since(last) < REFUSED_PAUSE_MS);
        if again {
            self.signature_refused = None;
            self.phase = Phase::Waiting { refused: true };
            self.timers.set(Timer::Reconnect, now.monotonic.after(REFUSED_PAUSE_MS));
        } else {
            self.signature_refused = Some(now.monotonic);
            self.wait_to_reconnect(now);
        }
    }

    /// An attempt failed, or the connection broke.
    fn lost(&mut self, now: Now, why: &str) {
        let was_online = matches!(self.phase, Phase::Online(_));
        self.note = why.to_owned();
        self.warn(if was_online { format!("connection lost: {why}") } else { format!("no connection: {why}") });
        self.end_connection();
        // A broken connection is tried again where it was; an endpoint that cannot be reached is left for the next one.
        if !was_online && self.endpoints.advance() {
            self.connect();
            return;
        }
        self.wait_to_reconnect(now);
    }

    fn wait_to_reconnect(&mut self, now: Now) {
        let delay = self.backoff.failed(now.monotonic, &mut self.random);
        self.phase = Phase::Waiting { refused: false };
        self.timers.set(Timer::Reconnect, now.monotonic.after(delay));
    }

    fn end_connection(&mut self) {
        for timer in [Timer::StartUp, Timer::Time, Timer::Query] {
            self.timers.clear(&timer);
        }
        self.requests.disconnected();
        self.uplink.disconnected();
        self.phase = Phase::Waiting { refused: false };
    }

    pub(super) fn take_network(&mut self, now: Now, has_network: bool) {
        let returned = has_network && self.has_network == Some(false);
        self.has_network = Some(has_network);
        if returned && matches!(self.phase, Phase::Waiting { refused: false }) {
            self.timers.clear(&Timer::Reconnect);
            self.connect_or_discover(now);
        }
    }
}

/// Time for the discovery request (not documented; chosen by us).
const DISCOVERY_TIMEOUT_MS: u32 = 10_000;
/// Discovery is not asked more often (not documented; chosen by us).
const DISCOVERY_PAUSE_MS: u64 = 60_000;
/// Business messages wait so long for the answer to 102 (not documented; chosen by us).
const START_UP_MS: u64 = 10_000;
/// After so long a connection counts as good (not documented; chosen by us).
const STABLE_MS: u64 = 60_000;
/// Refused so often in a row, the configuration is at fault (not documented; chosen by us).
const REFUSALS: u32 = 3;
/// Pause between attempts while the configuration is at fault (not documented; chosen by us).
const REFUSED_PAUSE_MS: u64 = 3_600_000;
