//! The connection to the cloud: one TCP stream at a time, on which the device proves who it is, and stays (JoyLink V1.79,
//! cloud session).
//!
//! [`Cloud`] is a pure state machine. Every input takes the time and leaves outputs, which the caller drains with
//! [`Cloud::take_outputs`] after each call. It knows neither what is reported nor what is commanded: authentic packets of
//! the cloud are handed out, and the caller fills the heartbeats.
//!
//! Invariant: nothing is sent but the authentication before there is a session key, and no key outlives its connection.
//! What waits to be sent when a connection ends is lost with it; the caller reports anew after
//! [`CloudOutput::Authenticated`].
//!
//! Module map: [`link`] the state of the connection · [`servers`] which server is tried when · [`outgoing`] packets that
//! the host could not take yet · [`stamps`] the time in packets · [`settings`] what an operator may choose ·
//! [`counters`] what was dropped.

pub mod counters;
pub mod link;
pub mod outgoing;
pub mod servers;
pub mod settings;
pub mod stamps;

use polylink_plugin_sdk::backoff::Backoff;
use polylink_plugin_sdk::random::Random;
use polylink_plugin_sdk::services::tcp;
use polylink_plugin_sdk::session::Level;
use polylink_plugin_sdk::{Now, RequestId, Timestamp};

use crate::crypto::Key32;
use crate::packet::{Kind, Network, Opened, Packet, Refused, enctype};
use crate::wire::authorization::Server;
use crate::wire::{AuthAnswer, AuthRequest, Code, CodeAnswer, FeedId};
pub use counters::Counters;
pub use link::Phase;
use link::{Link, Stream};
use servers::Servers;
pub use settings::CloudSettings;
use stamps::Stamps;

/// What a device is told when it is bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Who it is.
    pub feedid: FeedId,
    /// How it proves that.
    pub accesskey: Key32,
    /// Where the cloud is, in order; the first [`servers::MAX_SERVERS`] are used.
    pub servers: Vec<Server>,
}

/// What is to be done, or has happened.
#[derive(Clone, Debug, PartialEq)]
pub enum CloudOutput {
    /// For the stream.
    Tcp(tcp::Request),
    /// A line for the log.
    Log(Level, String),
    /// The cloud accepted the device: it works from now on.
    Authenticated {
        /// The cloud's time, in seconds since 1970 UTC.
        unix_s: u32,
    },
    /// The cloud sent this under the session key. Answers to heartbeats are not handed out.
    Packet(Kind, Opened),
    /// It is time for a heartbeat: see [`Cloud::beat`].
    HeartbeatDue,
    /// A connection that worked is over, or an attempt failed: where, why, and what is next. This is not logged here.
    Lost(String),
    /// What [`Cloud::phase`] or [`Cloud::server`] answers has changed. Counters change without it, or a flood of packets
    /// would be a flood of statuses.
    StatusChanged,
}

/// The connection to the cloud, which is made again whenever it breaks.
#[derive(Debug)]
pub struct Cloud {
    settings: CloudSettings,
    next_stream: RequestId,
    random: Random,
    backoff: Backoff,
    stamps: Stamps,
    /// What the cloud last answered to a heartbeat.
    heartbeat_code: Code,
    member: Option<Member>,
    link: Link,
    outbox: Outbox,
}

/// An account in use.
#[derive(Debug)]
struct Member {
    feedid: FeedId,
    accesskey: Key32,
    servers: Servers,
}

impl Cloud {
    /// Without an account. Each connection has a new id, from `first_id` upwards; they must be nobody else's.
    #[must_use]
    pub fn new(settings: CloudSettings, first_id: RequestId, random: Random) -> Self {
        Self {
            next_stream: first_id,
            random,
            backoff: Backoff::exponential(settings.reconnect_min_ms, settings.reconnect_max_ms),
            settings,
            stamps: Stamps::default(),
            heartbeat_code: Code::SUCCESS,
            member: None,
            link: Link::Unbound,
            outbox: Outbox::default(),
        }
    }

    /// Connects with this account from now on. Whatever there was before ends without [`CloudOutput::Lost`].
    pub fn open(&mut self, _now: Now, account: Account) {
        self.close();
        let Account { feedid, accesskey, servers } = account;
        let servers = Servers::new(servers);
        if servers.current().is_none() {
            self.outbox.push(CloudOutput::Lost("the account names no server of the cloud".to_owned()));
            return;
        }
        self.member = Some(Member { feedid, accesskey, servers });
        self.connect();
    }

    /// Hangs up and forgets the account, without [`CloudOutput::Lost`].
    pub fn close(&mut self) {
        if let Some(stream) = self.link.stream_id() {
            self.outbox.tcp(tcp::Request::Close(stream));
        }
        self.member = None;
        self.backoff.reset();
        self.heartbeat_code = Code::SUCCESS;
        if !matches!(self.link, Link::Unbound) {
            self.enter(Link::Unbound);
        }
    }

    /// News of the stream; those of others and of former connections are ignored.
    pub fn tcp(&mut self, now: Now, event: tcp::Event) {
        match event {
            tcp::Event::Opened(id) if self.link.is_connecting(id) => self.authenticate(now, id),
            tcp::Event::Received(id, bytes) => self.receive(now, id, &bytes),
            tcp::Event::Overflow(id, bytes) => {
                if let Some(stream) = self.link.stream_called(id)
                    && !stream.outgoing.given_back(bytes)
                {
                    self.outbox.counters.count("overflow");
                }
            }
            tcp::Event::Drained(id) => {
                if let Some(stream) = self.link.stream_called(id) {
                    stream.outgoing.drained(|request| self.outbox.tcp(request));
                }
            }
            tcp::Event::Closed(id, failure) if self.link.stream_id() == Some(id) => {
                let why = match &self.link {
                    Link::Authenticating { .. } => format!(
                        "the cloud did not accept the device, most likely for its feedid or accesskey: the connection \
                         ended in place of an answer ({})",
                        failure.text
                    ),
                    _ => failure.text,
                };
                self.retry(now, &why);
            }
            tcp::Event::Opened(_)
            | tcp::Event::Closed(..)
            | tcp::Event::Listening(..)
            | tcp::Event::Accepted { .. } => {}
        }
    }

    /// A network was joined: a connection that waits to be made again is made at once. The delays go on growing if it
    /// fails.
    pub fn network_up(&mut self, _now: Now) {
        if matches!(self.link, Link::Waiting { .. }) {
            self.connect();
        }
    }

    /// The time of [`Cloud::next_timeout`] has come.
    pub fn timeout(&mut self, now: Now) {
        let Some(due) = self.next_timeout() else { return };
        if now.monotonic < due {
            return;
        }
        match &mut self.link {
            Link::Authenticating { stream, .. } => {
                let dropped = stream.refused.map(|refused| format!(" (dropped: {refused})")).unwrap_or_default();
                let limit = self.settings.auth_timeout_ms;
                self.end(now, &format!("no answer to the authentication within {limit} ms{dropped}"));
            }
            Link::Working { n_unanswered, .. } if *n_unanswered >= self.settings.lost_replies.max(1) => {
                let why = format!("{n_unanswered} heartbeats in a row were not answered");
                self.end(now, &why);
            }
            Link::Working { beat_at, .. } => {
                *beat_at = now.monotonic.after(self.settings.heartbeat_ms);
                self.outbox.push(CloudOutput::HeartbeatDue);
            }
            Link::Waiting { .. } => self.connect(),
            Link::Unbound | Link::Connecting(_) => {}
        }
    }

    /// When [`Cloud::timeout`] is wanted next. While connecting there is none: the host sets that limit.
    #[must_use]
    pub const fn next_timeout(&self) -> Option<Timestamp> {
        match self.link {
            Link::Unbound | Link::Connecting(_) => None,
            Link::Authenticating { until, .. } | Link::Waiting { until } => Some(until),
            Link::Working { beat_at, .. } => Some(beat_at),
        }
    }

    /// Whether the cloud has accepted the device on this connection.
    #[must_use]
    pub const fn is_working(&self) -> bool {
        matches!(self.link, Link::Working { .. })
    }

    /// Sends a packet under the session key, or keeps it until the host has room. `false`: not working, or
    /// no room ([`outgoing`]); the caller still has it. One that is longer than a packet can be is dropped, since no
    /// later moment is better for it.
    pub fn send(&mut self, now: Now, kind: Kind, body: &[u8]) -> bool {
        let Link::Working { stream, key, .. } = &mut self.link else { return false };
        let stamp = self.stamps.unix_s(now);
        match Packet::seal(kind, self.settings.session_enctype, Vec::new(), key, stamp, body).encode(Network::Wan) {
            Ok(bytes) => stream.outgoing.send(bytes, |request| self.outbox.tcp(request)),
            Err(too_long) => {
                self.outbox.counters.count("too_long");
                self.outbox
                    .log(Level::Warn, format!("dropped what was to be sent to the cloud ({kind:?}): {too_long}"));
                true
            }
        }
    }

    /// The answer to [`CloudOutput::HeartbeatDue`], a heartbeat with or without sub-devices. It counts as not answered,
    /// also if there is no room for it, until the cloud says anything.
    pub fn beat(&mut self, now: Now, kind: Kind, body: &[u8]) {
        self.send(now, kind, body);
        if let Link::Working { n_unanswered, .. } = &mut self.link {
            *n_unanswered = n_unanswered.saturating_add(1);
        }
    }

    /// Ends a connection that works, such as for reports that are not answered, and makes a new one after a while.
    pub fn hang_up(&mut self, now: Now, why: &str) {
        if self.is_working() {
            self.end(now, why);
        }
    }

    /// How far the connection is.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.link.phase()
    }

    /// The server that is connected to, or is being connected to.
    #[must_use]
    pub fn server(&self) -> Option<&Server> {
        self.link.stream_id().and(self.member.as_ref()?.servers.current())
    }

    /// What was dropped, by reason.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.outbox.counters
    }

    /// Whether [`Cloud::send`] takes a packet of an ordinary length.
    #[must_use]
    pub fn has_room(&self) -> bool {
        matches!(&self.link, Link::Working { stream, .. } if stream.outgoing.has_room())
    }

    /// Bytes that are kept: of a packet that is not whole yet, and of packets that the host could not take yet.
    #[must_use]
    pub fn n_waiting(&self) -> usize {
        match &self.link {
            Link::Authenticating { stream, .. } | Link::Working { stream, .. } => {
                stream.splitter.n_waiting() + stream.outgoing.n_bytes()
            }
            Link::Unbound | Link::Connecting(_) | Link::Waiting { .. } => 0,
        }
    }

    /// What is to be done since the last call, in order. To be called after every other call.
    pub fn take_outputs(&mut self) -> Vec<CloudOutput> {
        if std::mem::take(&mut self.outbox.status_changed) {
            self.outbox.push(CloudOutput::StatusChanged);
        }
        std::mem::take(&mut self.outbox.list)
    }

    fn connect(&mut self) {
        let Some(server) = self.member.as_ref().and_then(|member| member.servers.current()) else { return };
        let id = self.next_stream;
        self.next_stream = RequestId(id.0.wrapping_add(1));
        let Server { host, port } = server.clone();
        self.outbox.log(Level::Debug, format!("connecting to the cloud at {host}:{port}"));
        self.outbox.tcp(tcp::Request::Open { id, host, port, tls: None, timeout_ms: CONNECT_TIMEOUT_MS });
        self.enter(Link::Connecting(id));
    }

    fn authenticate(&mut self, now: Now, id: RequestId) {
        let Some(member) = &self.member else { return };
        let request = AuthRequest::new(member.feedid, (self.random.next_u64() >> 32) as u32);
        let stamp = self.stamps.unix_s(now);
        let key = member.accesskey.cipher_key();
        let opt = request.encode_opt();
        let packet = Packet::seal(Kind::CloudAuthentication, enctype::KEY32, opt, &key, stamp, &request.encode());
        let bytes = packet.encode(Network::Wan).expect("an authentication is far below the longest packet");
        let mut stream = Stream::new(id);
        stream.outgoing.send(bytes, |request| self.outbox.tcp(request));
        let until = now.monotonic.after(self.settings.auth_timeout_ms);
        self.enter(Link::Authenticating { stream, until });
    }

    fn receive(&mut self, now: Now, id: RequestId, bytes: &[u8]) {
        if let Some(stream) = self.link.stream_called(id) {
            stream.splitter.push(bytes);
        }
        // A packet may end the connection; what stands behind it is then nobody's.
        while let Some(stream) = self.link.stream_called(id) {
            match stream.splitter.next() {
                Ok(Some(packet)) => self.take_packet(now, &packet),
                Ok(None) => return,
                Err(refused) if refused.is_fatal() => {
                    self.outbox.counters.count(refused.name());
                    self.end(now, &format!("what came is no stream of packets: {refused}"));
                }
                Err(refused) => self.drop_packet(refused),
            }
        }
    }

    fn take_packet(&mut self, now: Now, packet: &Packet) {
        match (&self.link, packet.kind) {
            (Link::Authenticating { .. }, Kind::CloudAuthentication) => self.take_auth_answer(now, packet),
            (Link::Authenticating { .. }, _) => self.outbox.counters.count("early"),
            (Link::Working { .. }, Kind::CloudAuthentication) => self.outbox.counters.count("repeated"),
            (Link::Working { key, .. }, kind) => match packet.open(key) {
                Ok(opened) => self.take_authentic(kind, opened),
                Err(refused) => self.drop_packet(refused),
            },
            (Link::Unbound | Link::Connecting(_) | Link::Waiting { .. }, _) => {}
        }
    }

    fn take_auth_answer(&mut self, now: Now, packet: &Packet) {
        let Some(member) = &self.member else { return };
        let read = packet
            .open(&member.accesskey.cipher_key())
            .and_then(|opened| Ok((opened.timestamp, AuthAnswer::decode(&packet.opt, opened.body())?)));
        let (unix_s, answer) = match read {
            Ok(read) => read,
            Err(refused) => return self.drop_packet(refused),
        };
        if self.settings.check_random && !answer.randoms_agree() {
            self.outbox.counters.count("random");
            return self.end(now, "the random numbers in the answer to the authentication are not the same");
        }
        let Link::Authenticating { stream, .. } = std::mem::replace(&mut self.link, Link::Unbound) else { return };
        self.stamps.learn(now, unix_s);
        self.backoff.connected(now.monotonic);
        let beat_at = now.monotonic.after(self.settings.heartbeat_ms);
        self.enter(Link::Working { stream, key: answer.session_key.cipher_key(), beat_at, n_unanswered: 0 });
        self.outbox.push(CloudOutput::Authenticated { unix_s });
    }

    fn take_authentic(&mut self, kind: Kind, opened: Opened) {
        if let Link::Working { n_unanswered, .. } = &mut self.link {
            *n_unanswered = 0;
        }
        if !matches!(kind, Kind::Heartbeat | Kind::SubHeartbeat) {
            return self.outbox.push(CloudOutput::Packet(kind, opened));
        }
        match CodeAnswer::decode(opened.body()) {
            Ok(CodeAnswer(code)) if code != self.heartbeat_code => {
                self.heartbeat_code = code;
                let level = if code == Code::SUCCESS { Level::Info } else { Level::Warn };
                let text = code.text();
                self.outbox.log(level, format!("the cloud answers heartbeats with code {}: {text}", code.0));
            }
            Ok(_) => {}
            Err(error) => self.drop_packet(error.into()),
        }
    }

    /// Counts it, and says so once on each connection, as a wrong key or another protocol would fill a log.
    fn drop_packet(&mut self, refused: Refused) {
        self.outbox.counters.count(refused.name());
        if let Link::Authenticating { stream, .. } | Link::Working { stream, .. } = &mut self.link
            && stream.refused.replace(refused).is_none()
        {
            let text = format!("dropped a packet of the cloud: {refused}; others on this connection are only counted");
            self.outbox.log(Level::Warn, text);
        }
    }

    /// Hangs up, and goes on to the next attempt.
    fn end(&mut self, now: Now, why: &str) {
        if let Some(stream) = self.link.stream_id() {
            self.outbox.tcp(tcp::Request::Close(stream));
        }
        self.retry(now, why);
    }

    /// The stream is gone: on to the next attempt. See [`servers`] for where that is.
    fn retry(&mut self, now: Now, why: &str) {
        let Some(member) = &mut self.member else { return };
        let Some(Server { host, port }) = member.servers.current() else { return };
        let what = format!("{host}:{port}: {why}");
        let at_once = match self.link {
            Link::Connecting(_) => member.servers.give_up(),
            Link::Authenticating { .. } => {
                member.servers.give_up();
                false
            }
            Link::Working { .. } => {
                member.servers.begin_with_current();
                false
            }
            Link::Unbound | Link::Waiting { .. } => return,
        };
        if at_once {
            self.outbox.push(CloudOutput::Lost(format!("{what}; trying the next server")));
            return self.connect();
        }
        let delay = self.backoff.failed(now.monotonic, &mut self.random);
        let seconds = delay.div_ceil(1000);
        self.outbox.push(CloudOutput::Lost(format!("{what}; trying again in {seconds} s")));
        self.enter(Link::Waiting { until: now.monotonic.after(delay) });
    }

    fn enter(&mut self, link: Link) {
        self.link = link;
        self.outbox.status_changed = true;
    }
}

/// Outputs on their way to the caller, and what was dropped. A single input leaves a bounded number of them.
#[derive(Debug, Default)]
struct Outbox {
    list: Vec<CloudOutput>,
    status_changed: bool,
    counters: Counters,
}

impl Outbox {
    fn push(&mut self, output: CloudOutput) {
        self.list.push(output);
    }

    fn tcp(&mut self, request: tcp::Request) {
        self.push(CloudOutput::Tcp(request));
    }

    fn log(&mut self, level: Level, text: String) {
        self.push(CloudOutput::Log(level, text));
    }
}

/// Not documented; chosen by us: the host's own limit.
const CONNECT_TIMEOUT_MS: u32 = 10_000;

#[cfg(test)]
mod tests;
