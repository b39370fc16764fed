//! From nothing to a connection: register, provision, look for firmware, find the M2M server, connect, subscribe.

use core::net::IpAddr;

use polylink_plugin_sdk::secret::Secret;
use polylink_plugin_sdk::services::{Failure, http, module, mqtt, network};
use polylink_plugin_sdk::{Now, Output, RequestId, Timestamp};

use super::{GizwitsSession, Timer};
use crate::api::{self, ApiError, Kind, Provisioned, Reaction, Versions};
use crate::auth::Mac;
use crate::identity::Former;
use crate::reconnect::{Next, api_delay_ms};
use crate::topics;

/// Where the session stands on its way.
#[derive(Debug)]
pub enum Phase {
    /// Not started, or stopped.
    Idle,
    /// No interface has a hardware address yet.
    Nameless,
    /// Asking for a DID.
    Registering { request: RequestId },
    /// Asking for the M2M server.
    Provisioning { request: RequestId },
    /// Asking for firmware, once each.
    Checking { request: RequestId, server: Server },
    /// Looking up the M2M server's name.
    Resolving { request: RequestId, server: Server },
    /// One attempt is under way.
    Connecting { connection: RequestId, server: Server },
    /// Connected; the subscription of this number is not answered yet.
    Subscribing { connection: RequestId, server: Server, subscription: RequestId, n_done: usize },
    /// All subscriptions are there.
    Online { connection: RequestId, server: Server, since: Timestamp },
    /// Until [`Timer::Retry`].
    Waiting { then: Step },
}

/// Where the device logs in, as the cloud said at provisioning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub host: String,
    pub port: u16,
}

/// What is tried after a pause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Register, or provision if there is a DID.
    Begin,
    /// Log in to this server.
    Connect(Server),
}

impl Phase {
    /// For people.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Idle => "stopped",
            Self::Nameless => "waiting for an interface with a hardware address",
            Self::Registering { .. } => "registering",
            Self::Provisioning { .. } => "asking where the M2M server is",
            Self::Checking { .. } => "asking for firmware",
            Self::Resolving { .. } => "looking up the M2M server",
            Self::Connecting { .. } => "connecting",
            Self::Subscribing { .. } => "subscribing",
            Self::Online { .. } => "online",
            Self::Waiting { .. } => "waiting to try again",
        }
    }

    /// The connection that is open or being opened.
    pub const fn connection(&self) -> Option<RequestId> {
        match self {
            Self::Connecting { connection, .. }
            | Self::Subscribing { connection, .. }
            | Self::Online { connection, .. } => Some(*connection),
            _ => None,
        }
    }

    /// The HTTP request that is under way.
    pub const fn http_request(&self) -> Option<RequestId> {
        match self {
            Self::Registering { request } | Self::Provisioning { request } | Self::Checking { request, .. } => {
                Some(*request)
            }
            _ => None,
        }
    }

    /// The server that is being used.
    pub const fn server(&self) -> Option<&Server> {
        match self {
            Self::Checking { server, .. }
            | Self::Resolving { server, .. }
            | Self::Connecting { server, .. }
            | Self::Subscribing { server, .. }
            | Self::Online { server, .. }
            | Self::Waiting { then: Step::Connect(server) } => Some(server),
            _ => None,
        }
    }
}

/// What the M2M server's name was last found to mean (GAgent product specification 11: kept in memory, looked up again
/// every hour).
#[derive(Debug, Default)]
pub struct Addresses {
    host: String,
    list: Vec<String>,
    next: usize,
    /// The hourly look-up under way.
    pub refresh: Option<RequestId>,
}

impl Addresses {
    /// Takes what was found for a host. True: it is something else than before.
    pub fn found(&mut self, host: &str, list: Vec<String>) -> bool {
        let is_new = self.host != host || self.list != list;
        if is_new {
            *self = Self { host: host.to_owned(), list, next: 0, refresh: None };
        }
        is_new
    }

    /// The address to try.
    pub fn current(&self, host: &str) -> Option<&str> {
        self.list.get(self.next).filter(|_| self.host == host).map(String::as_str)
    }

    /// The current one did not work.
    pub const fn advance(&mut self) {
        self.next = if self.next + 1 < self.list.len() { self.next + 1 } else { 0 };
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// The hardware address of the first interface that has one, Wi-Fi before others.
pub fn first_mac(interfaces: &[network::Interface]) -> Option<[u8; 6]> {
    let named = || interfaces.iter().filter(|interface| interface.mac != [0; 6]);
    named().find(|interface| interface.wireless).or_else(|| named().next()).map(|interface| interface.mac)
}

impl GizwitsSession {
    /// Registers, or provisions if there is a DID already.
    pub(super) fn begin(&mut self, now: Now) {
        self.timers.clear(&Timer::Retry);
        let Some(mac) = self.identity.mac else {
            self.phase = Phase::Nameless;
            return;
        };
        self.begin_failing(now);
        let id = self.next_id();
        let request = match &self.identity.did {
            None => {
                self.phase = Phase::Registering { request: id };
                self.api.register(&self.identity.passcode, mac, &self.model.product_key)
            }
            Some(did) => {
                self.phase = Phase::Provisioning { request: id };
                self.api.provision(did)
            }
        };
        self.http(id, request);
    }

    pub(super) fn http(&mut self, id: RequestId, request: http::Request) {
        self.outputs.push(Output::Http(id, request));
    }

    /// Gives a DID back to the cloud. Best effort: nobody waits for the answer.
    pub(super) fn unregister(&mut self, former: &Former) {
        let id = self.next_id();
        self.info(format!("unregistering {}", former.did));
        let request = self.api.unregister(&former.did, &former.passcode);
        self.http(id, request);
    }

    pub(super) fn take_http(&mut self, now: Now, id: RequestId, result: Result<http::Response, Failure>) {
        if self.phase.http_request() != Some(id) {
            // Of a check that the cloud asked for, an unregistration, or a step that was left.
            return self.take_pushed_check(now, id, result);
        }
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Registering { .. } => match result.map(|answer| api::registered(answer.status, &answer.body)) {
                Ok(Ok(registered)) => {
                    self.info(format!("registered as {}", registered.did));
                    self.identity.did = Some(registered.did);
                    self.save_identity();
                    self.api_failures = 0;
                    self.begin(now);
                }
                Ok(Err(error)) => self.api_refused(now, "registering", &error),
                Err(failure) => self.api_failed(now, format!("registering: {}", failure.text)),
            },
            Phase::Provisioning { .. } => match result.map(|answer| api::provisioned(answer.status, &answer.body)) {
                Ok(Ok(provisioned)) => self.provisioned(provisioned),
                Ok(Err(error)) if error.reaction() == Reaction::ForgetDid => {
                    self.disbelieved(now, &format!("provisioning: {error}"));
                }
                Ok(Err(error)) => self.api_refused(now, "provisioning", &error),
                Err(failure) => self.api_failed(now, format!("provisioning: {}", failure.text)),
            },
            Phase::Checking { server, .. } => {
                self.take_check(now, result);
                self.check_updates(server);
            }
            other => self.phase = other,
        }
    }

    fn provisioned(&mut self, answer: Provisioned) {
        self.api_failures = 0;
        if let Some(seconds) = answer.server_ts {
            let unix_ms = i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX);
            self.outputs.push(Output::Module(module::Request::OfferTime(unix_ms)));
        }
        if let Some(api::ThirdParty { name, parameters }) = answer.third_party.clone() {
            self.info(format!("the cloud says that the product also belongs to `{name}`"));
            self.outputs.push(Output::Module(module::Request::ThirdPartyCloud { name, parameters }));
        }
        if self.identity.third_party != answer.third_party {
            self.identity.third_party = answer.third_party;
            self.save_identity();
        }
        let server = Server { host: answer.host, port: answer.port };
        if self.settings.check_updates && !std::mem::replace(&mut self.checked, true) {
            self.upgrades.started();
        }
        self.check_updates(server);
    }

    /// Asks for firmware as long as there is something to ask, then logs in.
    fn check_updates(&mut self, server: Server) {
        match self.ask_for_update() {
            Some(request) => self.phase = Phase::Checking { request, server },
            None => self.connect_to(server),
        }
    }

    /// Something did not work at the HTTP interface, in a way that a later attempt may mend.
    fn api_failed(&mut self, now: Now, why: String) {
        self.api_failures = self.api_failures.saturating_add(1);
        self.wait(now, api_delay_ms(self.api_failures), Step::Begin, why);
    }

    fn api_refused(&mut self, now: Now, what: &str, error: &ApiError) {
        let why = format!("{what}: {error}");
        match error.reaction() {
            Reaction::SlowRetry(ms) | Reaction::RetryIn(ms) => self.wait(now, ms, Step::Begin, why),
            Reaction::ForgetDid | Reaction::NoUpgrade | Reaction::Backoff => self.api_failed(now, why),
        }
    }

    /// The cloud does not know the DID with this passcode: register anew. The old DID is not given back, because that
    /// would need the right passcode (GAgent product specification 8.4, 8.9).
    pub(super) fn disbelieved(&mut self, now: Now, why: &str) {
        self.warn(format!("{why}; registering anew"));
        self.identity.forget_did();
        self.save_identity();
        // Not documented; chosen by us: at once the first time, then slower, so that a cloud that believes no DID is not
        // flooded with registrations.
        let delay = DISBELIEVED_STEP_MS * u64::from(self.disbelieved);
        self.disbelieved = (self.disbelieved + 1).min(DISBELIEVED_MOST);
        if delay == 0 {
            self.begin(now);
        } else {
            self.wait(now, delay, Step::Begin, why.to_owned());
        }
    }

    /// Logs in to a server, whose name is looked up first.
    pub(super) fn connect_to(&mut self, server: Server) {
        self.timers.clear(&Timer::Retry);
        if server.host.parse::<IpAddr>().is_ok() {
            return self.connect(server.clone(), server.host);
        }
        let id = self.next_id();
        let host = server.host.clone();
        self.phase = Phase::Resolving { request: id, server };
        self.outputs.push(Output::Resolve(id, host));
    }

    pub(super) fn take_addresses(&mut self, now: Now, id: RequestId, result: Result<Vec<String>, Failure>) {
        if self.addresses.refresh == Some(id) {
            return self.take_refresh(result);
        }
        if !matches!(&self.phase, Phase::Resolving { request, .. } if *request == id) {
            return;
        }
        let Phase::Resolving { server, .. } = std::mem::replace(&mut self.phase, Phase::Idle) else { return };
        match result {
            Ok(list) if !list.is_empty() => {
                self.addresses.found(&server.host, list);
            }
            Ok(_) => self.note = format!("{} has no address", server.host),
            Err(failure) => self.note = failure.text,
        }
        match self.addresses.current(&server.host).map(str::to_owned) {
            Some(address) => self.connect(server, address),
            None => {
                let why = format!("the M2M server cannot be found: {}", self.note);
                self.connection_failed(now, server, why);
            }
        }
    }

    /// The hourly look-up (GAgent product specification 11): what it finds serves the next connection.
    fn take_refresh(&mut self, result: Result<Vec<String>, Failure>) {
        self.addresses.refresh = None;
        let Some(host) = self.phase.server().map(|server| server.host.clone()) else { return };
        if let Ok(list) = result
            && !list.is_empty()
            && self.addresses.found(&host, list)
        {
            self.info(format!("{host} has another address now, for the next connection"));
        }
    }

    pub(super) fn look_up_again(&mut self, now: Now) {
        let Phase::Online { server, .. } = &self.phase else { return };
        let host = server.host.clone();
        self.timers.set(Timer::Lookup, now.monotonic.after(LOOKUP_EVERY_MS));
        if host.parse::<IpAddr>().is_err() {
            let id = self.next_id();
            self.addresses.refresh = Some(id);
            self.outputs.push(Output::Resolve(id, host));
        }
    }

    fn connect(&mut self, server: Server, address: String) {
        let Some(did) = self.identity.did.clone() else { return };
        let connection = self.next_id();
        let mut tls = self.settings.m2m_tls_port.map(|_| self.settings.tls());
        if let Some(tls) = &mut tls
            && address != server.host
        {
            tls.server_name = Some(server.host.clone());
        }
        let connect = mqtt::Connect {
            host: address,
            port: self.settings.m2m_tls_port.unwrap_or(server.port),
            tls,
            protocol_level: self.settings.protocol_level,
            client_id: did.to_string(),
            username: Some(did.to_string()),
            password: Some(Secret::new(self.identity.passcode.expose().as_bytes().to_vec())),
            clean_session: true,
            keepalive_s: KEEPALIVE_S,
            ping_after_s: PING_AFTER_S,
            dead_after_s: KEEPALIVE_S,
            timeout_ms: 0,
            will: None,
        };
        self.phase = Phase::Connecting { connection, server };
        self.outputs.push(Output::Mqtt(mqtt::Request::Connect(connection, Box::new(connect))));
    }

    /// An attempt failed or the connection broke: again at once, then ever later, and after ten failures the cloud is
    /// asked again where the server is (GAgent product specification 8.8).
    pub(super) fn connection_failed(&mut self, now: Now, server: Server, why: String) {
        self.addresses.advance();
        self.begin_failing(now);
        match self.reconnect.failed(now.monotonic) {
            Next::ConnectIn(0) => {
                self.note_failure(why);
                self.connect_to(server);
            }
            Next::ConnectIn(ms) => self.wait(now, ms, Step::Connect(server), why),
            Next::Provision => {
                self.note_failure(why);
                self.begin(now);
            }
        }
    }

    pub(super) fn wait(&mut self, now: Now, ms: u64, then: Step, why: String) {
        self.note_failure(why);
        self.phase = Phase::Waiting { then };
        self.timers.set(Timer::Retry, now.monotonic.after(ms));
    }

    fn note_failure(&mut self, why: String) {
        self.warn(why.clone());
        self.note = why;
    }

    pub(super) fn retry(&mut self, now: Now) {
        if !matches!(self.phase, Phase::Waiting { .. }) {
            return;
        }
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Waiting { then: Step::Connect(server) } => self.connect_to(server),
            _ => self.begin(now),
        }
    }

    /// From now on the device is not online, unless that began earlier.
    fn begin_failing(&mut self, now: Now) {
        if self.settings.restart_module && self.timers.at(&Timer::Restart).is_none() {
            self.timers.set(Timer::Restart, now.monotonic.after(RESTART_AFTER_MS));
        }
    }

    pub(super) fn ask_for_restart(&mut self, now: Now) {
        self.timers.set(Timer::Restart, now.monotonic.after(RESTART_AFTER_MS));
        let reason = "the Gizwits M2M server could not be reached for two hours";
        self.warn(format!("{reason}; asking for a restart of the module"));
        self.outputs.push(Output::Module(module::Request::Restart(reason.to_owned())));
    }

    pub(super) fn take_interfaces(&mut self, now: Now, interfaces: Vec<network::Interface>) {
        let was_there = !self.interfaces.is_empty();
        self.interfaces = interfaces;
        if self.interfaces.is_empty() {
            return;
        }
        self.lan.network_up(now.monotonic);
        if self.adopt_mac() {
            self.save_identity();
        }
        let waits = matches!(self.phase, Phase::Waiting { .. });
        if matches!(self.phase, Phase::Nameless) && self.identity.mac.is_some() {
            self.begin(now);
        } else if waits && !was_there {
            // What made the last attempt fail has most likely ended.
            self.retry(now);
        }
    }

    /// Takes the first interface's hardware address, if the device has none yet. True: it has one now.
    pub(super) fn adopt_mac(&mut self) -> bool {
        if self.identity.mac.is_some() {
            return false;
        }
        self.identity.mac = first_mac(&self.interfaces).map(Mac);
        self.identity.mac.is_some()
    }

    /// The network is there, or applications are told of otherwise.
    pub(super) fn has_network(&self) -> bool {
        !self.interfaces.is_empty() || !self.settings.lan.announce_to.is_empty()
    }

    /// The filters to subscribe to, in order.
    pub(super) fn filters(&self) -> Vec<String> {
        let filters = |did| topics::subscriptions(&self.model.product_key, did).to_vec();
        self.identity.did.as_ref().map(filters).unwrap_or_default()
    }

    /// The version of what runs now of this kind: hardware and software.
    pub(super) fn versions(&self, kind: Kind) -> Versions<'_> {
        let facts = &self.facts;
        match kind {
            Kind::Module => Versions { hard: &facts.module_hardware, soft: &facts.module_software },
            Kind::Mcu => Versions { hard: &facts.mcu_hardware, soft: &facts.mcu_software },
        }
    }
}

/// Keep-alive, and the silence of the server after which the connection is dead (GAgent product specification 8.5, 8.8).
const KEEPALIVE_S: u16 = 120;
/// Silence of the server after which it is asked (GAgent product specification 8.8).
const PING_AFTER_S: u16 = 55;
/// The name of the M2M server is looked up so often (GAgent product specification 11).
pub(super) const LOOKUP_EVERY_MS: u64 = 3_600_000;
/// The module is to be restarted when it was not online for so long (GAgent product specification 8.8).
const RESTART_AFTER_MS: u64 = 7_200_000;
/// Pauses before a new registration when the cloud believes no DID (not documented; chosen by us).
const DISBELIEVED_STEP_MS: u64 = 10_000;
const DISBELIEVED_MOST: u32 = 60;
