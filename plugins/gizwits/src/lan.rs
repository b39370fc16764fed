//! The device on the LAN: applications find it over UDP, and bind, log in and control over TCP.
//!
//! [`Lan`] is a pure state machine. Every input takes the time and leaves outputs, which the caller drains with
//! [`Lan::take_outputs`] after each call. It does not know the MCU: a request is handed out as
//! [`LanOutput::Request`], and the caller comes back with [`Lan::answer`], or [`Lan::forget`] if the MCU is silent.
//!
//! Module map: [`about`] what the device says of itself · [`clients`] TCP sessions · [`datagrams`] discovery and
//! onboarding · [`beacons`] what is broadcast · [`lockout`] who guesses passcodes · [`counters`] what was dropped.

pub mod about;
pub mod beacons;
pub mod clients;
pub mod counters;
pub mod datagrams;
pub mod lockout;

use polylink_plugin_sdk::door::Door;
use polylink_plugin_sdk::random::Random;
use polylink_plugin_sdk::secret::Secret;
use polylink_plugin_sdk::services::{tcp, udp};
use polylink_plugin_sdk::session::Level;
use polylink_plugin_sdk::{RequestId, Timestamp};

pub use about::About;

use crate::packet::{LogLine, P0Request};
use beacons::{Beacon, Beacons};
use clients::Clients;
use counters::Counters;
use datagrams::Datagrams;

/// What an operator may choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LanSettings {
    /// False: nothing is opened.
    pub enabled: bool,
    /// Local address; empty: all.
    pub address: String,
    /// Where discoveries come, [`UDP_PORT`]; 0: the system chooses.
    pub udp_port: u16,
    /// Where applications connect, [`TCP_PORT`]; 0: the system chooses.
    pub tcp_port: u16,
    /// Where announces are broadcast to, [`ANNOUNCE_PORT`].
    pub announce_port: u16,
    /// Further numeric addresses with ports that get each announce.
    pub announce_to: Vec<String>,
    /// Most connections at once; a further one is accepted and closed.
    pub max_clients: u16,
    /// A client that completes no frame for so long is cut.
    pub silence_ms: u64,
    /// Whether a client may switch on the log. It shows who uses the device, so it is off unless wanted.
    pub log: bool,
}

impl Default for LanSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            address: String::new(),
            udp_port: UDP_PORT,
            tcp_port: TCP_PORT,
            announce_port: ANNOUNCE_PORT,
            announce_to: Vec::new(),
            max_clients: MAX_CLIENTS,
            silence_ms: SILENCE_MS,
            log: false,
        }
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum LanOutput {
    /// For a stream or the listener.
    Tcp(tcp::Request),
    /// For the socket.
    Udp(udp::Request),
    /// A line for the log.
    Log(Level, String),
    /// A client that has logged in wants this of the MCU.
    Request(Client, P0Request),
    /// An application told the Wi-Fi network to join.
    JoinNetwork {
        /// Its name.
        ssid: String,
        /// Its password; empty: an open network.
        password: Secret<String>,
    },
    /// The production test is over.
    EndProductionTest,
    /// So many clients are logged in now.
    LoggedIn(usize),
    /// What [`Lan::ports`] or [`Lan::n_clients`] answers has changed. Counters change without it, or a flood of datagrams
    /// would be a flood of statuses.
    StatusChanged,
}

/// A connection. Its name is never used again, so an answer that comes too late meets nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client(RequestId);

/// The device on the LAN. One that was stopped does not start again: make a new one with new ids.
#[derive(Debug)]
pub struct Lan {
    settings: LanSettings,
    listener: Door,
    socket: Door,
    random: Random,
    clients: Clients,
    datagrams: Datagrams,
    beacons: Beacons,
    outbox: Outbox,
    n_told_logged_in: usize,
}

impl Lan {
    /// Nothing is open yet. The ids are those of the listener and the socket, and nobody else's.
    #[must_use]
    pub fn new(settings: LanSettings, listener: RequestId, socket: RequestId, random: Random) -> Self {
        Self {
            clients: Clients::new(&settings),
            settings,
            listener: Door::new(listener, "TCP"),
            socket: Door::new(socket, "UDP"),
            random,
            datagrams: Datagrams::new(),
            beacons: Beacons::default(),
            outbox: Outbox::default(),
            n_told_logged_in: 0,
        }
    }

    /// Opens the ports, unless the settings say otherwise.
    pub fn start(&mut self) {
        if self.settings.enabled {
            self.listen();
            self.bind();
        }
    }

    /// Closes everything, for good.
    pub fn stop(&mut self) {
        self.clients.close_all(&mut self.outbox);
        if self.listener.close() {
            self.outbox.tcp(tcp::Request::Close(self.listener.id()));
        }
        if self.socket.close() {
            self.outbox.udp(udp::Request::Close(self.socket.id()));
        }
        self.datagrams = Datagrams::new();
    }

    /// The station link is up: the announce begins, once in the life of this value. It waits for the socket.
    pub const fn network_up(&mut self, now: Timestamp) {
        self.beacons.announce(now);
    }

    /// The network was joined for the first time with what an application told: this is said in place of the announce.
    pub const fn network_joined(&mut self, now: Timestamp) {
        self.beacons.say_joined(now);
    }

    /// News of the listener or a stream; those of others are ignored.
    pub fn tcp(&mut self, now: Timestamp, event: tcp::Event, about: &About) {
        match event {
            tcp::Event::Listening(id, port) if id == self.listener.id() => {
                self.outbox.door(self.listener.opened(now, port));
            }
            tcp::Event::Closed(id, failure) if id == self.listener.id() => {
                self.outbox.door(self.listener.closed(now, &failure.text, &mut self.random));
            }
            tcp::Event::Accepted { listener, stream, peer } if listener == self.listener.id() => {
                self.clients.accept(now, stream, peer, self.listener.port().is_some(), &mut self.outbox);
            }
            tcp::Event::Received(stream, bytes) => {
                self.clients.receive(now, Client(stream), &bytes, about, &mut self.outbox);
            }
            tcp::Event::Overflow(stream, _) => self.clients.cut_slow(Client(stream), &mut self.outbox),
            tcp::Event::Closed(stream, _) => self.clients.closed(Client(stream), &mut self.outbox),
            tcp::Event::Opened(_)
            | tcp::Event::Drained(_)
            | tcp::Event::Listening(..)
            | tcp::Event::Accepted { .. } => {}
        }
    }

    /// News of the socket; those of others are ignored.
    pub fn udp(&mut self, now: Timestamp, event: udp::Event, about: &About) {
        match event {
            udp::Event::Bound(id, port) if id == self.socket.id() => {
                self.outbox.door(self.socket.opened(now, port));
            }
            udp::Event::Closed(id, failure) if id == self.socket.id() => {
                self.outbox.door(self.socket.closed(now, &failure.text, &mut self.random));
            }
            udp::Event::Received(id, peer, bytes) if id == self.socket.id() && self.socket.port().is_some() => {
                self.datagrams.receive(now, id, &peer, &bytes, about, &mut self.outbox);
            }
            udp::Event::Bound(..) | udp::Event::Received(..) | udp::Event::Closed(..) => {}
        }
    }

    /// The time of [`Lan::next_timeout`] has come.
    pub fn timeout(&mut self, now: Timestamp, about: &About) {
        if self.listener.is_due(now) {
            self.listen();
        }
        if self.socket.is_due(now) {
            self.bind();
        }
        if self.socket.port().is_some()
            && let Some(beacon) = self.beacons.due(now)
        {
            self.broadcast(beacon, about);
        }
        self.datagrams.timeout(now);
        self.clients.timeout(now, &mut self.outbox);
    }

    /// When [`Lan::timeout`] is wanted next.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let beacon = self.beacons.next().filter(|_| self.socket.port().is_some());
        [
            beacon,
            self.listener.opens_at(),
            self.socket.opens_at(),
            self.datagrams.next_timeout(),
            self.clients.next_timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What the MCU answered to a request of this client; an empty payload: it acknowledged. If the client is gone, the
    /// answer is dropped.
    pub fn answer(&mut self, client: Client, sn: Option<u32>, p0: &[u8]) {
        self.clients.answer(client, sn, p0, &mut self.outbox);
    }

    /// A request of this client will have no answer, so that another may take its place. The protocol says nothing to
    /// the client then; it has to ask again.
    pub fn forget(&mut self, client: Client) {
        self.clients.forget(client);
    }

    /// What the MCU reports, to every client that has logged in.
    pub fn report(&mut self, p0: &[u8]) {
        self.clients.report(p0, &mut self.outbox);
    }

    /// A line of the log, to every client that has switched it on.
    pub fn log_line(&mut self, level: Level, tag: &str, source: &str, content: &str) {
        if self.clients.anyone_wants_log() {
            let level = match level {
                Level::Error => 1,
                Level::Warn => 2,
                Level::Info => 3,
                Level::Debug | Level::Trace => 4,
            };
            let line = LogLine { level, tag: tag.to_owned(), source: source.to_owned(), content: content.to_owned() };
            self.clients.log(&line, &mut self.outbox);
        }
    }

    /// Closes all connections but stays reachable, such as when the passcode has changed.
    pub fn close_clients(&mut self) {
        self.clients.close_all(&mut self.outbox);
    }

    /// The ports that are open: TCP, UDP.
    #[must_use]
    pub const fn ports(&self) -> (Option<u16>, Option<u16>) {
        (self.listener.port(), self.socket.port())
    }

    /// How many connections there are, logged in or not.
    #[must_use]
    pub fn n_clients(&self) -> usize {
        self.clients.len()
    }

    /// How many bytes wait for the rest of their frame, over all connections.
    #[must_use]
    pub fn n_waiting(&self) -> usize {
        self.clients.n_waiting()
    }

    /// What was dropped, by reason.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.outbox.counters
    }

    /// What is to be done since the last call, in order. To be called after every other call.
    pub fn take_outputs(&mut self) -> Vec<LanOutput> {
        let n_logged_in = self.clients.n_logged_in();
        if n_logged_in != self.n_told_logged_in {
            self.n_told_logged_in = n_logged_in;
            self.outbox.list.push(LanOutput::LoggedIn(n_logged_in));
        }
        if std::mem::take(&mut self.outbox.test_ended) {
            self.outbox.list.push(LanOutput::EndProductionTest);
        }
        if std::mem::take(&mut self.outbox.status_changed) {
            self.outbox.list.push(LanOutput::StatusChanged);
        }
        std::mem::take(&mut self.outbox.list)
    }

    fn listen(&mut self) {
        self.listener.opening();
        self.outbox.tcp(tcp::Request::Listen {
            id: self.listener.id(),
            address: self.settings.address.clone(),
            port: self.settings.tcp_port,
            // The host takes 0 for its own default.
            max_streams: self.settings.max_clients.max(1),
        });
    }

    fn bind(&mut self) {
        self.socket.opening();
        self.outbox.udp(udp::Request::Bind {
            id: self.socket.id(),
            address: self.settings.address.clone(),
            port: self.settings.udp_port,
            broadcast: true,
        });
    }

    fn broadcast(&mut self, beacon: Beacon, about: &About) {
        let bytes = beacon.frame(about).encode();
        let id = self.socket.id();
        for address in &self.settings.announce_to {
            self.outbox.udp(udp::Request::SendTo(id, address.clone(), bytes.clone()));
        }
        self.outbox.udp(udp::Request::Broadcast(id, self.settings.announce_port, bytes));
    }
}

/// Outputs on their way to the caller, and what was dropped. A single input leaves a bounded number of them.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    list: Vec<LanOutput>,
    status_changed: bool,
    /// Said once for an input, however often it was asked.
    test_ended: bool,
    counters: Counters,
}

impl Outbox {
    fn push(&mut self, output: LanOutput) {
        self.list.push(output);
    }

    fn tcp(&mut self, request: tcp::Request) {
        self.push(LanOutput::Tcp(request));
    }

    fn udp(&mut self, request: udp::Request) {
        self.push(LanOutput::Udp(request));
    }

    fn log(&mut self, level: Level, text: String) {
        self.push(LanOutput::Log(level, text));
    }

    /// What a door says when it opens or closes.
    fn door(&mut self, line: Option<(Level, String)>) {
        if let Some((level, text)) = line {
            self.log(level, text);
            self.touch_status();
        }
    }

    const fn touch_status(&mut self) {
        self.status_changed = true;
    }
}

/// Discovery and onboarding (Gizwits LAN protocol 4.0.1, transport).
pub const UDP_PORT: u16 = 12_414;
/// Applications (Gizwits LAN protocol 4.0.1, transport).
pub const TCP_PORT: u16 = 12_416;
/// Announces (Gizwits LAN protocol 4.0.1, transport).
pub const ANNOUNCE_PORT: u16 = 2415;
/// Applications at once (Gizwits LAN protocol 4.0.1, transport).
pub const MAX_CLIENTS: u16 = 8;
/// A client is silent for so long at most (Gizwits GAgent specification, heartbeat of module and SDK; the vendor's
/// open-source module waits 14 s).
pub const SILENCE_MS: u64 = 12_000;
