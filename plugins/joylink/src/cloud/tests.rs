//! Whole conversations in virtual time: [`Rig`] is the caller, and the cloud at the other end.

mod authentication;
mod hostile;
mod sending;
mod servers;
mod working;

use std::sync::LazyLock;

use polylink_plugin_sdk::services::{Failure, Reason};
use polylink_plugin_sdk::{ClockQuality, WallTime, hex};
use serde_json::Value;

use super::settings::{AUTH_TIMEOUT_MS, HEARTBEAT_MS, RECONNECT_MIN_MS};
use super::*;
use crate::crypto::CipherKey;
use crate::packet::{Route, Splitter};

/// The connection under test, its virtual clock, and what it said.
struct Rig {
    cloud: Cloud,
    now: Now,
    /// Everything but what went to the stream.
    said: Vec<CloudOutput>,
    /// What went to the stream.
    asked: Vec<tcp::Request>,
}

impl Rig {
    fn new(settings: CloudSettings) -> Self {
        let cloud = Cloud::new(settings, FIRST, Random::new([5; 32]));
        Self { cloud, now: Now::default(), said: Vec::new(), asked: Vec::new() }
    }

    /// One that connects to these servers.
    fn opened(settings: CloudSettings, servers: &[&str]) -> Self {
        let mut rig = Self::new(settings);
        let servers = servers.iter().map(|server| Server::parse(server).unwrap()).collect();
        rig.act(|cloud, now| cloud.open(now, Account { servers, ..account() }));
        rig
    }

    /// One whose stream is open, so that the device said who it is.
    fn authenticating(settings: CloudSettings) -> Self {
        let mut rig = Self::opened(settings, &["live.smart.jd.com:6001"]);
        rig.tcp(tcp::Event::Opened(rig.stream()));
        rig
    }

    /// One that the cloud has accepted, with all that was said before forgotten.
    fn working(settings: CloudSettings) -> Self {
        let mut rig = Self::authenticating(settings);
        rig.receive(&answer());
        assert!(rig.cloud.is_working());
        rig.take_said();
        rig.take_asked();
        rig
    }

    fn act<T>(&mut self, act: impl FnOnce(&mut Cloud, Now) -> T) -> T {
        let result = act(&mut self.cloud, self.now);
        for output in self.cloud.take_outputs() {
            match output {
                CloudOutput::Tcp(request) => self.asked.push(request),
                said => self.said.push(said),
            }
        }
        result
    }

    fn tcp(&mut self, event: tcp::Event) {
        self.act(|cloud, now| cloud.tcp(now, event));
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.tcp(tcp::Event::Received(self.stream(), bytes.to_vec()));
    }

    fn closed(&mut self, text: &str) {
        self.tcp(closed(self.stream(), text));
    }

    /// Lets so much time pass, with every timeout at its time. Heartbeats are filled.
    fn pass(&mut self, ms: u64) {
        let end = self.now.monotonic.after(ms);
        while let Some(due) = self.cloud.next_timeout().filter(|due| *due <= end) {
            self.now.monotonic = due.max(self.now.monotonic);
            let n_said = self.said.len();
            self.act(Cloud::timeout);
            if self.said[n_said..].contains(&CloudOutput::HeartbeatDue) {
                self.act(|cloud, now| cloud.beat(now, Kind::Heartbeat, HEARTBEAT));
            }
        }
        self.now.monotonic = end;
    }

    /// The stream that was opened last.
    fn stream(&self) -> RequestId {
        RequestId(self.cloud.next_stream.0 - 1)
    }

    fn take_said(&mut self) -> Vec<CloudOutput> {
        std::mem::take(&mut self.said)
    }

    fn take_asked(&mut self) -> Vec<tcp::Request> {
        std::mem::take(&mut self.asked)
    }

    /// The packets that were sent since the last call, as the cloud cuts them; all on one stream.
    fn take_packets(&mut self) -> Vec<Packet> {
        let mut splitter = Splitter::new(Route::DeviceToCloud);
        for request in self.take_asked() {
            if let tcp::Request::Send(id, bytes) = request {
                assert_eq!(id, self.stream());
                splitter.push(&bytes);
            }
        }
        std::iter::from_fn(|| splitter.next().unwrap()).collect()
    }

    /// Types and bodies of the packets under the session key that were sent since the last call.
    fn take_sent(&mut self) -> Vec<(Kind, Vec<u8>)> {
        let open = |packet: Packet| (packet.kind, packet.open(&session_key()).unwrap().body().to_vec());
        self.take_packets().into_iter().map(open).collect()
    }

    /// Why connections ended or failed, since the last call.
    fn take_lost(&mut self) -> Vec<String> {
        let lost = |said| if let CloudOutput::Lost(why) = said { Some(why) } else { None };
        self.take_said().into_iter().filter_map(lost).collect()
    }

    /// The lines for the log that a person is to see, since the last call.
    fn take_warnings(&mut self) -> Vec<String> {
        let warning = |said| if let CloudOutput::Log(Level::Warn, text) = said { Some(text) } else { None };
        self.take_said().into_iter().filter_map(warning).collect()
    }

    fn dropped(&self) -> Vec<(&'static str, u64)> {
        self.cloud.counters().iter().collect()
    }

    #[track_caller]
    fn check_ended(&mut self, phase: Phase, why: &str) {
        assert_eq!(self.cloud.phase(), phase);
        let lost = self.take_lost();
        assert!(matches!(&lost[..], [only] if only.contains(why)), "{lost:?}");
    }
}

/// A packet of the cloud.
fn from_cloud(kind: Kind, enctype: u8, key: &CipherKey, body: &[u8]) -> Vec<u8> {
    Packet::seal(kind, enctype, Vec::new(), key, 1_446_192_002, body).encode(Network::Wan).unwrap()
}

/// A command of the cloud under the session key.
fn command(body: &[u8]) -> Vec<u8> {
    from_cloud(Kind::Command, enctype::KEY32, &session_key(), body)
}

/// The answer to a heartbeat.
fn heartbeat_answer(code: i32) -> Vec<u8> {
    from_cloud(Kind::Heartbeat, enctype::KEY32, &session_key(), &CodeAnswer(Code(code)).encode())
}

/// The answer to an authentication, from a cloud that is given these numbers and this key.
fn answer_with(opt: Vec<u8>, random: u32, session_key: [u8; 32], enctype: u8, key: &Key32) -> Vec<u8> {
    let answer = AuthAnswer { opt_random: None, random, session_key: Key32::new(session_key) };
    let kind = Kind::CloudAuthentication;
    let packet = Packet::seal(kind, enctype, opt, &key.cipher_key(), 1_446_192_001, &answer.encode());
    packet.encode(Network::Wan).unwrap()
}

/// The answer to an authentication of the vectors.
fn answer() -> Vec<u8> {
    vector_packet("pkt-009-rsp")
}

/// The account of the vectors.
fn account() -> Account {
    Account {
        feedid: FeedId::new("1234567890123456").unwrap(),
        accesskey: Key32::new(bytes(&vector("pkt-009-rsp")["input"]["key"]["value_hex"]).try_into().unwrap()),
        servers: Vec::new(),
    }
}

/// The session key of the vectors.
fn session_key() -> CipherKey {
    let field = &vector("pkt-009-rsp")["expected"]["fields"]["session_key_hex"];
    Key32::new(bytes(field).try_into().unwrap()).cipher_key()
}

fn closed(id: RequestId, text: &str) -> tcp::Event {
    tcp::Event::Closed(id, Failure { reason: Reason::ConnectionLost, text: text.into() })
}

fn vector_packet(id: &str) -> Vec<u8> {
    bytes(&vector(id)["expected"]["packet_hex"])
}

fn vector(id: &str) -> &'static Value {
    static FILE: LazyLock<Value> =
        LazyLock::new(|| serde_json::from_str(include_str!("../../tests/vectors/joylink.json")).unwrap());
    let found = FILE["vectors"].as_array().unwrap().iter().find(|vector| vector["id"] == id);
    found.unwrap_or_else(|| panic!("no vector {id}"))
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

/// A clock that was set, some 18 months after the vectors.
fn wall() -> WallTime {
    WallTime { unix_ms: 1_500_000_000_000, quality: ClockQuality::SYNCED }
}

const FIRST: RequestId = RequestId(100);

/// The heartbeat of the vectors: version 3, strength 76.
const HEARTBEAT: &[u8] = &[3, 0, 76, 0];
