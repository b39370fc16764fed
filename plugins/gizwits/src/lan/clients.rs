//! [`Clients`]: the TCP connections of applications. Bind, login, heartbeats, requests and answers.
//!
//! A connection is cut when its framing is lost, when it asks for what it may not before login, when it is silent, when
//! it does not log in, and when it does not read what it is sent. Silence is counted from the last *whole* frame, so that
//! bytes that drip do not hold a place.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::collections::BTreeMap;

use polylink_plugin_sdk::secret::Secret;
use polylink_plugin_sdk::services::tcp;
use polylink_plugin_sdk::session::Level;
use polylink_plugin_sdk::{RequestId, Timestamp};

use super::lockout::Lockout;
use super::{About, Client, LanOutput, LanSettings, Outbox};
use crate::packet::{
    Decoder, Frame, HotSpot, LogLine, LogSwitch, LoginResult, P0Request, PacketError, Passcode, WifiVersion, command,
    p0_answer, p0_report,
};

/// All connections.
#[derive(Debug)]
pub struct Clients {
    connections: BTreeMap<Client, Connection>,
    lockout: Lockout,
    max: usize,
    silence_ms: u64,
    may_log: bool,
}

#[derive(Debug)]
struct Connection {
    decoder: Decoder,
    peer: String,
    address: IpAddr,
    logged_in: bool,
    wants_log: bool,
    /// Requests that were handed out and have no answer yet; at most [`MAX_REQUESTS`].
    n_requests: usize,
    accepted: Timestamp,
    last_frame: Timestamp,
}

impl Clients {
    /// None so far.
    #[must_use]
    pub fn new(settings: &LanSettings) -> Self {
        Self {
            connections: BTreeMap::new(),
            lockout: Lockout::default(),
            max: usize::from(settings.max_clients.max(1)),
            silence_ms: settings.silence_ms,
            may_log: settings.log,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// How many have logged in.
    #[must_use]
    pub fn n_logged_in(&self) -> usize {
        self.connections.values().filter(|connection| connection.logged_in).count()
    }

    /// How many bytes wait for the rest of their frame.
    #[must_use]
    pub fn n_waiting(&self) -> usize {
        self.connections.values().map(|connection| connection.decoder.n_waiting()).sum()
    }

    /// Whether a line of the log would reach anyone.
    #[must_use]
    pub fn anyone_wants_log(&self) -> bool {
        self.connections.values().any(|connection| connection.wants_log)
    }

    /// When the next one has been silent for too long.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.connections.values().map(|connection| connection.deadline(self.silence_ms).0).min()
    }

    pub(super) fn timeout(&mut self, now: Timestamp, outbox: &mut Outbox) {
        let overdue = self.connections.iter().map(|(client, it)| (*client, it.deadline(self.silence_ms)));
        let overdue: Vec<_> = overdue.filter(|(_, (at, _))| *at <= now).collect();
        for (client, (_, reason)) in overdue {
            self.cut(client, reason, outbox);
        }
    }

    pub(super) fn accept(
        &mut self,
        now: Timestamp,
        stream: RequestId,
        peer: String,
        is_open: bool,
        outbox: &mut Outbox,
    ) {
        // The host keeps to the limit too, but counts streams that are about to close.
        let is_full = self.connections.len() >= self.max;
        if is_full {
            outbox.counters.count_tcp("too_many_clients");
        }
        if is_full || !is_open {
            return outbox.tcp(tcp::Request::Close(stream));
        }
        outbox.log(Level::Debug, format!("an application connected from {peer}"));
        outbox.touch_status();
        let connection = Connection {
            decoder: Decoder::new(),
            // All peers whose address cannot be read share a lock.
            address: peer
                .parse()
                .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address: SocketAddr| address.ip().to_canonical()),
            peer,
            logged_in: false,
            wants_log: false,
            n_requests: 0,
            accepted: now,
            last_frame: now,
        };
        self.connections.insert(Client(stream), connection);
    }

    pub(super) fn receive(&mut self, now: Timestamp, client: Client, bytes: &[u8], about: &About, outbox: &mut Outbox) {
        let Some(connection) = self.connections.get_mut(&client) else { return };
        connection.decoder.push(bytes);
        let end = loop {
            match connection.decoder.next() {
                Ok(Some(frame)) => {
                    connection.last_frame = now;
                    let mut turn = Turn {
                        now,
                        client,
                        connection,
                        about,
                        may_log: self.may_log,
                        lockout: &mut self.lockout,
                        outbox,
                    };
                    if let Err(reason) = turn.take(&frame) {
                        break reason;
                    }
                }
                Ok(None) => return,
                Err(error) => break error.reason(),
            }
        };
        self.cut(client, end, outbox);
    }

    pub(super) fn answer(&mut self, client: Client, sn: Option<u32>, p0: &[u8], outbox: &mut Outbox) {
        if self.forget(client) {
            send(client, &p0_answer(sn, p0), outbox);
        }
    }

    /// One request less is under way; whether there is such a client.
    pub(super) fn forget(&mut self, client: Client) -> bool {
        let connection = self.connections.get_mut(&client);
        let known = connection.is_some();
        if let Some(connection) = connection {
            connection.n_requests = connection.n_requests.saturating_sub(1);
        }
        known
    }

    pub(super) fn report(&self, p0: &[u8], outbox: &mut Outbox) {
        self.send_to_those(|connection| connection.logged_in, &p0_report(p0), outbox);
    }

    pub(super) fn log(&self, line: &LogLine, outbox: &mut Outbox) {
        self.send_to_those(|connection| connection.wants_log, &line.frame(), outbox);
    }

    fn send_to_those(&self, wanted: impl Fn(&Connection) -> bool, frame: &Frame, outbox: &mut Outbox) {
        let bytes = frame.encode();
        for (Client(stream), _) in self.connections.iter().filter(|(_, connection)| wanted(connection)) {
            outbox.tcp(tcp::Request::Send(*stream, bytes.clone()));
        }
    }

    /// The host's queue for this client is full: it does not read. Waiting for it would only make what it gets older.
    pub(super) fn cut_slow(&mut self, client: Client, outbox: &mut Outbox) {
        self.cut(client, "slow", outbox);
    }

    pub(super) fn close_all(&mut self, outbox: &mut Outbox) {
        for (client, _) in std::mem::take(&mut self.connections) {
            outbox.tcp(tcp::Request::Close(client.0));
            outbox.touch_status();
        }
    }

    pub(super) fn closed(&mut self, client: Client, outbox: &mut Outbox) {
        if let Some(connection) = self.connections.remove(&client) {
            outbox.log(Level::Debug, format!("the application at {} left", connection.peer));
            outbox.touch_status();
        }
    }

    fn cut(&mut self, client: Client, reason: &'static str, outbox: &mut Outbox) {
        if let Some(connection) = self.connections.remove(&client) {
            outbox.counters.count_tcp(reason);
            outbox.log(Level::Debug, format!("the application at {} was cut: {reason}", connection.peer));
            outbox.tcp(tcp::Request::Close(client.0));
            outbox.touch_status();
        }
    }
}

impl Connection {
    /// When it is to be cut if nothing comes, and why.
    fn deadline(&self, silence_ms: u64) -> (Timestamp, &'static str) {
        let silent = (self.last_frame.after(silence_ms), "silent");
        let no_login = (self.accepted.after(LOGIN_WITHIN_MS), "no_login");
        if self.logged_in || silent.0 <= no_login.0 { silent } else { no_login }
    }
}

/// One frame of one client, and all that it may touch.
struct Turn<'a> {
    now: Timestamp,
    client: Client,
    connection: &'a mut Connection,
    about: &'a About,
    may_log: bool,
    lockout: &'a mut Lockout,
    outbox: &'a mut Outbox,
}

impl Turn<'_> {
    /// Acts on a frame; an error is the reason to cut the client.
    fn take(&mut self, frame: &Frame) -> Result<(), &'static str> {
        if !self.connection.logged_in && !BEFORE_LOGIN.contains(&frame.command) {
            return Err("before_login");
        }
        match frame.command {
            command::BIND => self.send(&self.passcode().frame(command::PASSCODE)),
            command::LOGIN => return self.login(frame),
            command::WIFI_VERSION => self.send(&WifiVersion(self.about.module_software.clone()).frame()),
            // The host connects to Wi-Fi networks but does not list them, so there is nothing to tell.
            command::HOT_SPOTS => self.send(&HotSpot::frame(&[])),
            command::LOG_SWITCH => self.switch_log(frame),
            command::DEVICE_INFORMATION => self.send(&self.about.information().frame()),
            command::HEARTBEAT => self.send(&Frame::empty(command::HEARTBEAT_ANSWER)),
            command::LEAVE_TEST => {
                self.send(&Frame::empty(command::TEST_LEFT));
                self.outbox.test_ended = true;
            }
            command::P0_REQUEST | command::NUMBERED_REQUEST => return self.request(frame),
            // Newer applications ask for more: domain, firmware check, firmware start.
            _ => self.outbox.counters.count_tcp("unknown_command"),
        }
        Ok(())
    }

    fn passcode(&self) -> Passcode {
        let passcode = if self.about.bindable { self.about.passcode.expose().as_bytes() } else { &[] };
        Passcode(Secret::new(passcode.to_vec()))
    }

    fn login(&mut self, frame: &Frame) -> Result<(), &'static str> {
        let Passcode(told) = Passcode::decode(&frame.payload).map_err(|error: PacketError| error.reason())?;
        let Connection { address, peer, .. } = &*self.connection;
        // Who has logged in knows the passcode already: a lock of its address, which it may share, has no use.
        if !self.connection.logged_in && self.lockout.is_locked(self.now, *address) {
            self.send(&LoginResult::Refused.frame());
            return Err("locked_out");
        }
        // A device that has no passcode yet lets nobody in, not even who tells none.
        let right = self.about.passcode.expose().as_bytes();
        if right.is_empty() || !is_same(told.expose(), right) {
            let lock = self.lockout.failed(self.now, *address);
            if lock > 0 {
                let seconds = lock / 1000;
                self.outbox.log(
                    Level::Warn,
                    format!(
                        "{peer} told wrong passcodes again and again; nobody can log in from there for {seconds} s"
                    ),
                );
            }
            self.send(&LoginResult::Refused.frame());
            return Err("wrong_passcode");
        }
        if !self.connection.logged_in {
            self.outbox.log(Level::Info, format!("the application at {peer} logged in"));
            self.lockout.succeeded(*address);
            self.connection.logged_in = true;
            self.outbox.touch_status();
        }
        self.send(&LoginResult::Accepted.frame());
        Ok(())
    }

    /// A switch that is not obeyed is not acknowledged either, as with the vendor's module. That its payload has two
    /// bytes is a guess, so another payload is no reason to cut the client.
    fn switch_log(&mut self, frame: &Frame) {
        match LogSwitch::decode(&frame.payload) {
            Ok(_) if !self.may_log => self.outbox.counters.count_tcp("log_not_allowed"),
            Ok(LogSwitch(on)) => {
                self.connection.wants_log = on;
                self.send(&Frame::empty(command::LOG_SWITCHED));
            }
            Err(error) => self.outbox.counters.count_tcp(error.reason()),
        }
    }

    fn request(&mut self, frame: &Frame) -> Result<(), &'static str> {
        let request = P0Request::decode(frame).map_err(|error| error.reason())?;
        let request = request.expect("the command is that of a request");
        if self.connection.n_requests >= MAX_REQUESTS {
            // There is no answer that says no, so the application finds out as if the MCU were silent.
            self.outbox.counters.count_tcp("too_many_requests");
            return Ok(());
        }
        self.connection.n_requests += 1;
        self.outbox.push(LanOutput::Request(self.client, request));
        Ok(())
    }

    fn send(&mut self, frame: &Frame) {
        send(self.client, frame, self.outbox);
    }
}

fn send(client: Client, frame: &Frame, outbox: &mut Outbox) {
    outbox.tcp(tcp::Request::Send(client.0, frame.encode()));
}

/// Compares without telling by the time it takes how much is right. The length is no secret.
fn is_same(told: &[u8], right: &[u8]) -> bool {
    let differing = told.iter().zip(right).fold(0, |differing, (told, right)| differing | (told ^ right));
    told.len() == right.len() && std::hint::black_box(differing) == 0
}

/// What a client may ask before it has logged in; anything else cuts it (Gizwits LAN protocol 4.0.1, as the vendor's
/// open-source module has it; the specification names the passcode alone).
const BEFORE_LOGIN: [u16; 5] =
    [command::BIND, command::LOGIN, command::HOT_SPOTS, command::DEVICE_INFORMATION, command::LEAVE_TEST];

/// Not documented; chosen by us: a person may have to press a button first, but a place is not held for ever.
pub const LOGIN_WITHIN_MS: u64 = 60_000;

/// Requests of one client under way; a further one is dropped and counted. Not documented; chosen by us: the MCU takes
/// one at a time and at most a second for each, so more would only be answered when nobody waits any more.
pub const MAX_REQUESTS: usize = 16;
