//! The device on the local network: apps find it, bind it, and control it and its sub-devices, all over UDP.
//!
//! [`Lan`] is a pure state machine. Every input takes the time and leaves outputs, which the caller drains with
//! [`Lan::take_outputs`] after each call. It knows neither the MCU nor what is stored: it answers discoveries by itself,
//! and hands out any other request, checked and decrypted, as [`LanOutput::Request`]; the caller comes back with
//! [`Lan::answer`], or stays silent.
//!
//! Invariant: a datagram leads to one answer or one request at most, and what is answered goes to who asked. Nothing is
//! ever broadcast. Requests are not kept here; all that is kept are the messages that [`crate::packet::Reassembly`] puts
//! together and the times of [`crate::packet::ReplayGuard`], both bounded.
//!
//! Module map: [`about`] what the device says of itself · [`inbox`] the checks, in their order · [`discovery`] who is
//! answered · [`requests`] what is handed out · [`counters`] what was dropped.

pub mod about;
pub mod counters;
pub mod discovery;
pub mod inbox;
pub mod requests;

use polylink_plugin_sdk::door::Door;
use polylink_plugin_sdk::random::Random;
use polylink_plugin_sdk::services::udp;
use polylink_plugin_sdk::session::Level;
use polylink_plugin_sdk::{ClockQuality, Now, RequestId, Timestamp};

pub use about::{About, Access};
pub use counters::Counters;
pub use requests::{Asker, LanRequest};

use crate::packet::fragment::MAX_MESSAGE;
use crate::packet::{Kind, Network, Packet, ReplayRule, enctype, fragments};
use inbox::{Inbox, Taken};

/// What an operator may choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LanSettings {
    /// False: nothing is opened.
    pub enabled: bool,
    /// Local address; empty: all.
    pub address: String,
    /// Where apps send to; 0: the system chooses. The first [`MAX_PORTS`] of them are used, and of several that are the
    /// same (but for 0) the first one.
    pub ports: Vec<u16>,
    /// Which requests count as sent before.
    pub replay: ReplayRule,
    /// How far the time of a request may be from ours, in seconds, while our clock is set; 0: as far as it likes.
    pub window_s: u32,
}

impl Default for LanSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            address: String::new(),
            ports: PORTS.to_vec(),
            replay: ReplayRule::default(),
            window_s: 0,
        }
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there are never many, and a request is moved on at once")]
pub enum LanOutput {
    /// For a socket.
    Udp(udp::Request),
    /// A line for the log.
    Log(Level, String),
    /// An app wants this.
    Request(Asker, LanRequest),
    /// What [`Lan::ports`] answers has changed. Counters change without it, or a flood of datagrams would be a flood of
    /// statuses.
    StatusChanged,
}

/// The device on the local network. One that was stopped does not start again: make a new one with new ids.
#[derive(Debug)]
pub struct Lan {
    settings: LanSettings,
    sockets: Vec<Socket>,
    random: Random,
    inbox: Inbox,
    outbox: Outbox,
}

/// A port, and the door it is behind.
#[derive(Debug)]
struct Socket {
    wanted: u16,
    door: Door,
}

impl Lan {
    /// Nothing is open yet. The sockets have the id that is given and those that follow it, one for each port; nobody
    /// else may use them.
    #[must_use]
    pub fn new(settings: LanSettings, first_id: RequestId, random: Random) -> Self {
        let mut sockets: Vec<Socket> = Vec::new();
        for (id, port) in (first_id.0..).zip(settings.ports.iter().take(MAX_PORTS)) {
            if *port == 0 || sockets.iter().all(|socket| socket.wanted != *port) {
                sockets.push(Socket { wanted: *port, door: Door::new(RequestId(id), "UDP") });
            }
        }
        let inbox = Inbox::new(&settings);
        Self { settings, sockets, random, inbox, outbox: Outbox::default() }
    }

    /// Opens the ports, unless the settings say otherwise.
    pub fn start(&mut self) {
        if self.settings.enabled {
            for socket in &mut self.sockets {
                socket.open(&self.settings.address, &mut self.outbox);
            }
        }
    }

    /// Closes everything, for good.
    pub fn stop(&mut self) {
        for socket in &mut self.sockets {
            self.outbox.status_changed |= socket.door.port().is_some();
            if socket.door.close() {
                self.outbox.udp(udp::Request::Close(socket.door.id()));
            }
        }
        self.inbox = Inbox::new(&self.settings);
    }

    /// News of a socket; those of others are ignored.
    pub fn udp(&mut self, now: Now, event: udp::Event, about: &About, access: &Access<'_>) {
        match event {
            udp::Event::Bound(id, port) => {
                if let Some(socket) = self.socket(id) {
                    let line = socket.door.opened(now.monotonic, port);
                    self.outbox.door(line);
                }
            }
            udp::Event::Closed(id, failure) => self.closed(now, id, &failure.text),
            udp::Event::Received(id, peer, bytes) => {
                if self.socket(id).is_some_and(|socket| socket.door.port().is_some()) {
                    self.receive(now, id, &peer, &bytes, about, access);
                }
            }
        }
    }

    /// The time of [`Lan::next_timeout`] has come.
    pub fn timeout(&mut self, now: Now) {
        for socket in &mut self.sockets {
            if socket.door.is_due(now.monotonic) {
                socket.open(&self.settings.address, &mut self.outbox);
            }
        }
        self.inbox.timeout(now.monotonic, &mut self.outbox.counters);
    }

    /// When [`Lan::timeout`] is wanted next.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let doors = self.sockets.iter().filter_map(|socket| socket.door.opens_at());
        doors.chain(self.inbox.next_timeout()).min()
    }

    /// Answers a request with the structure or JSON of its type. It goes out as it is to types 2 and 102, else encrypted
    /// with the local key and led by our time: the clock's if it is set, else the one of the request, which grows from
    /// request to request as the app wants it.
    ///
    /// Dropped and counted: if the socket is closed by now, there is no local key any more, or the answer is longer than
    /// [`MAX_MESSAGE`], which no receiver puts together.
    pub fn answer(&mut self, now: Now, to: &Asker, body: &[u8], access: &Access<'_>) {
        let packet = match (to.kind(), access.localkey) {
            (Kind::Authorization | Kind::SubAuthorization, _) => Packet::plain(to.kind(), body.to_vec()),
            (_, None) => return self.outbox.counters.count("no_key"),
            (_, Some(key)) => {
                let timestamp = clock(now).and_then(|seconds| u32::try_from(seconds).ok());
                let timestamp = timestamp.unwrap_or(to.timestamp);
                Packet::seal(to.kind(), enctype::KEY32, Vec::new(), &key.cipher_key(), timestamp, body)
            }
        };
        if self.socket(to.socket).is_none_or(|socket| socket.door.port().is_none()) {
            return self.outbox.counters.count("closed");
        }
        self.send(to.socket, &to.peer.to_string(), packet);
    }

    /// The ports that are open.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        self.sockets.iter().filter_map(|socket| socket.door.port()).collect()
    }

    /// What was dropped, by reason.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.outbox.counters
    }

    /// What is to be done since the last call, in order. To be called after every other call.
    pub fn take_outputs(&mut self) -> Vec<LanOutput> {
        if std::mem::take(&mut self.outbox.status_changed) {
            self.outbox.list.push(LanOutput::StatusChanged);
        }
        std::mem::take(&mut self.outbox.list)
    }

    fn socket(&mut self, id: RequestId) -> Option<&mut Socket> {
        self.sockets.iter_mut().find(|socket| socket.door.id() == id)
    }

    fn closed(&mut self, now: Now, id: RequestId, why: &str) {
        let Some(at) = self.sockets.iter().position(|socket| socket.door.id() == id) else { return };
        let Socket { wanted, ref mut door } = self.sockets[at];
        let Some((level, text)) = door.closed(now.monotonic, why, &mut self.random) else { return };
        // One port is enough for apps, and port 80 needs a privilege that not everybody gives: no reason to warn for ever.
        let is_last = self.sockets.iter().all(|socket| socket.door.opens_at().is_some());
        let level = if is_last { level } else { Level::Info };
        self.outbox.door(Some((level, format!("port {wanted}: {text}"))));
    }

    fn receive(&mut self, now: Now, id: RequestId, peer: &str, bytes: &[u8], about: &About, access: &Access<'_>) {
        match self.inbox.take(now, id, peer, bytes, about, access, &mut self.outbox.counters) {
            Ok(Taken::Request(asker, request)) => self.outbox.push(LanOutput::Request(asker, request)),
            Ok(Taken::Discovery(answer)) => self.send(id, peer, Packet::plain(Kind::Discovery, answer.encode())),
            Ok(Taken::Fragment) => {}
            Err(reason) => self.outbox.counters.count(reason),
        }
    }

    fn send(&mut self, socket: RequestId, peer: &str, packet: Packet) {
        if packet.payload.len() > MAX_MESSAGE {
            return self.outbox.counters.count("too_long");
        }
        let [message_id] = self.random.bytes();
        let datagrams = fragments(packet, message_id).and_then(|packets| {
            packets.iter().map(|packet| packet.encode(Network::Lan)).collect::<Result<Vec<_>, _>>()
        });
        let datagrams = datagrams.expect("a message that is not too long is at most 21 fragments of one kilobyte");
        for datagram in datagrams {
            self.outbox.udp(udp::Request::SendTo(socket, peer.to_owned(), datagram));
        }
    }
}

impl Socket {
    fn open(&mut self, address: &str, outbox: &mut Outbox) {
        self.door.opening();
        let (id, address, port) = (self.door.id(), address.to_owned(), self.wanted);
        outbox.udp(udp::Request::Bind { id, address, port, broadcast: false });
    }
}

/// Outputs on their way to the caller, and what was dropped. A single input leaves a bounded number of them.
#[derive(Debug, Default)]
struct Outbox {
    list: Vec<LanOutput>,
    status_changed: bool,
    counters: Counters,
}

impl Outbox {
    fn push(&mut self, output: LanOutput) {
        self.list.push(output);
    }

    fn udp(&mut self, request: udp::Request) {
        self.push(LanOutput::Udp(request));
    }

    /// What a door says when it opens or closes.
    fn door(&mut self, line: Option<(Level, String)>) {
        if let Some((level, text)) = line {
            self.push(LanOutput::Log(level, text));
            self.status_changed = true;
        }
    }
}

/// Our time in seconds since 1970 UTC; `None`: our clock is not set.
fn clock(now: Now) -> Option<i64> {
    (now.wall.quality > ClockQuality::UNSET).then(|| now.wall.unix_seconds())
}

/// Where apps send to (JoyLink V1.79, discovery).
pub const PORTS: [u16; 2] = [80, 4320];

/// Ports at once. Not documented; chosen by us: twice those that the protocol names.
pub const MAX_PORTS: usize = 4;
