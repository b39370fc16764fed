//! The device on the local network, in virtual time: each rule as a sentence, and what a hostile neighbour may try.

mod answers;
mod discovery;
mod hostile;
mod ports;
mod requests;

use polylink_joylink::crypto::{Key32, KeyPair, PublicKey};
use polylink_joylink::lan::{About, Access, Asker, Lan, LanOutput, LanRequest, LanSettings};
use polylink_joylink::packet::{Kind, Network, Packet, Reassembly, Route, enctype, fragments};
use polylink_joylink::wire::discovery::{DeviceType, Enrolment, Protocol, TransferType};
use polylink_joylink::wire::{FeedId, Flag, Json, SubDevice};
use polylink_plugin_sdk::random::Random;
use polylink_plugin_sdk::services::{Failure, Reason, udp};
use polylink_plugin_sdk::{ClockQuality, Now, RequestId, Timestamp, WallTime};

const FIRST: RequestId = RequestId(10);
const SECOND: RequestId = RequestId(11);
const PHONE: &str = "192.0.2.7:40000";
const LOCALKEY: &str = "8f14e45fceea167a5a36dedd4bea2543";

/// A device on the local network and the world around it. It is bound, and its clock is not set, unless said otherwise.
struct Rig {
    lan: Lan,
    about: About,
    pair: KeyPair,
    localkey: Option<Key32>,
    now: Now,
}

impl Rig {
    /// Not started yet.
    fn fresh(settings: LanSettings) -> Self {
        let about = About {
            mac: "02005e102030".to_owned(),
            productuuid: "XDFSSD".to_owned(),
            cid: "00010002".to_owned(),
            firmware_version: "1_0_0_01".to_owned(),
            model_code: "polylink".to_owned(),
            trantype: TransferType::Lua,
            devtype: DeviceType::Normal,
            feedid: feedid("1001"),
            lancon: true,
            debug: None,
            opt: Json::empty_object(),
            subdevices: Vec::new(),
        };
        let pair = KeyPair::new([7; 20]).unwrap();
        let now = Now { monotonic: Timestamp(1_000_000), ..Now::default() };
        let lan = Lan::new(settings, FIRST, Random::new([1; 32]));
        Self { lan, about, pair, localkey: Key32::from_text(LOCALKEY), now }
    }

    /// Both ports are open.
    fn open_with(settings: LanSettings) -> Self {
        let mut rig = Self::fresh(settings);
        rig.lan.start();
        rig.udp(udp::Event::Bound(FIRST, 80));
        rig.udp(udp::Event::Bound(SECOND, 4320));
        rig
    }

    fn open() -> Self {
        Self::open_with(LanSettings::default())
    }

    fn unbound() -> Self {
        let mut rig = Self::open();
        rig.about.feedid = FeedId::EMPTY;
        rig.localkey = None;
        rig
    }

    /// A gateway with two sub-devices of different products, one bound and one that waits.
    fn gateway() -> Self {
        let mut rig = Self::open();
        rig.about.devtype = DeviceType::Gateway;
        rig.about.subdevices = vec![sub("a1", "AAAAAA", true), sub("b2", "BBBBBB", false)];
        rig
    }

    fn set_clock(&mut self, unix_seconds: i64) {
        self.now.wall = WallTime { unix_ms: unix_seconds * 1000 + 999, quality: ClockQuality::SYNCED };
    }

    fn udp(&mut self, event: udp::Event) -> Vec<LanOutput> {
        let access = Access { pair: &self.pair, localkey: self.localkey.as_ref() };
        self.lan.udp(self.now, event, &self.about, &access);
        self.lan.take_outputs()
    }

    fn datagram_from(&mut self, peer: &str, bytes: &[u8]) -> Vec<LanOutput> {
        self.udp(udp::Event::Received(FIRST, peer.to_owned(), bytes.to_vec()))
    }

    fn datagram(&mut self, bytes: &[u8]) -> Vec<LanOutput> {
        self.datagram_from(PHONE, bytes)
    }

    fn packet(&mut self, packet: &Packet) -> Vec<LanOutput> {
        self.datagram(&packet.encode(Network::Lan).unwrap())
    }

    /// The request that a packet becomes.
    fn request(&mut self, packet: &Packet) -> (Asker, LanRequest) {
        let outputs = self.packet(packet);
        let [LanOutput::Request(asker, request)] = &outputs[..] else { panic!("one request, not {outputs:?}") };
        (asker.clone(), request.clone())
    }

    fn answer(&mut self, to: &Asker, body: &[u8]) -> Vec<LanOutput> {
        let access = Access { pair: &self.pair, localkey: self.localkey.as_ref() };
        self.lan.answer(self.now, to, body, &access);
        self.lan.take_outputs()
    }

    /// Nothing comes of this packet, and this reason is counted once.
    #[track_caller]
    fn check_dropped(&mut self, bytes: &[u8], reason: &str) {
        let before = self.lan.counters().dropped(reason);
        assert_eq!(self.datagram(bytes), [], "{reason}");
        let counters = self.lan.counters();
        assert_eq!(counters.dropped(reason), before + 1, "{reason}: {counters:?}");
    }

    /// Lets time pass, with all timeouts on the way.
    fn wait(&mut self, ms: u64) -> Vec<LanOutput> {
        let end = self.now.monotonic.after(ms);
        let mut outputs = Vec::new();
        let mut n_timeouts = 0;
        while let Some(at) = self.lan.next_timeout().filter(|at| *at <= end) {
            n_timeouts += 1;
            assert!(n_timeouts < 1000, "a timeout at {at:?} does not go away");
            self.now.monotonic = self.now.monotonic.max(at);
            self.lan.timeout(self.now);
            outputs.extend(self.lan.take_outputs());
        }
        self.now.monotonic = end;
        outputs
    }

    /// What the app sends, encrypted with the local key.
    fn sealed(&self, kind: Kind, timestamp: u32, body: &[u8]) -> Packet {
        let key = Key32::from_text(LOCALKEY).unwrap().cipher_key();
        Packet::seal(kind, enctype::KEY32, Vec::new(), &key, timestamp, body)
    }

    /// What the app sends, encrypted with what it gets from its own pair and the device's public key.
    fn exchanged(&self, kind: Kind, timestamp: u32, body: &[u8]) -> Packet {
        let app = KeyPair::new([9; 20]).unwrap();
        let devkey = PublicKey::from_text(&self.pair.public().to_text()).unwrap();
        let key = app.agree(&devkey).cipher_key();
        Packet::seal(kind, enctype::EXCHANGED, app.public().as_bytes().to_vec(), &key, timestamp, body)
    }
}

/// The messages in the datagrams of these outputs, put together: socket, receiver and packet.
fn messages(outputs: &[LanOutput]) -> Vec<(RequestId, String, Packet)> {
    let mut reassembly = Reassembly::new();
    let mut messages = Vec::new();
    for output in outputs {
        let LanOutput::Udp(udp::Request::SendTo(socket, to, bytes)) = output else { continue };
        assert!(bytes.len() <= 1400, "a datagram of {} bytes", bytes.len());
        let packet = Packet::decode_datagram(Route::DeviceToApp, bytes).unwrap();
        if let Some(packet) = reassembly.take(Timestamp(0), (*socket, to.clone()), packet).unwrap() {
            messages.push((*socket, to.clone(), packet));
        }
    }
    messages
}

fn discovery(json: &str) -> Packet {
    Packet::plain(Kind::Discovery, json.as_bytes().to_vec())
}

fn binding(extra: &str) -> Vec<u8> {
    format!(
        r#"{{"data":{{"feedid":"2002","accesskey":"00112233445566778899aabbccddeeff","localkey":"{LOCALKEY}"{extra}}}}}"#
    )
    .into_bytes()
}

fn sub(mac: &str, productuuid: &str, bound: bool) -> SubDevice {
    SubDevice {
        mac: mac.to_owned(),
        productuuid: productuuid.to_owned(),
        cid: String::new(),
        firmware_version: String::new(),
        model_code: String::new(),
        lancon: Flag(true),
        trantype: TransferType::Lua,
        feedid: if bound { feedid(mac) } else { FeedId::EMPTY },
        dbg: None,
        opt: None,
        devtype: DeviceType::SubDevice,
        state: if bound { Enrolment::Authorized } else { Enrolment::Waiting },
        protocol: Protocol::Zigbee,
    }
}

fn feedid(text: &str) -> FeedId {
    FeedId::new(text).unwrap()
}

fn failure(text: &str) -> Failure {
    Failure { reason: Reason::Other, text: text.to_owned() }
}
