//! The app's side of a conversation: a phone on the local network.

use polylink_plugin_sdk::services::udp;
use polylink_plugin_sdk::{Output, Timestamp};
use serde_json::{Value, json};

use super::{Stage, localkey};
use crate::crypto::{Key32, KeyPair, PublicKey};
use crate::packet::{Kind, Network, Packet, Reassembly, Route, enctype, fragments};
use crate::wire::Script;

/// An app, and its own count of seconds: no two of its requests have the same.
pub struct App {
    address: String,
    pub localkey: Key32,
    pub clock: u32,
    pair: KeyPair,
    devkey: Option<PublicKey>,
    last_serial: u32,
}

impl App {
    /// An app on a phone.
    pub fn new() -> Self {
        Self::at("192.0.2.7:40000")
    }

    pub fn at(address: &str) -> Self {
        let pair = KeyPair::new([9; 20]).expect("a key");
        let (localkey, clock) = (localkey(), 1_704_000_000);
        Self { address: address.to_owned(), localkey, clock, pair, devkey: None, last_serial: 100 }
    }

    /// Looks for devices; what the device answers.
    #[track_caller]
    pub fn discover(&mut self, stage: &mut Stage) -> Value {
        self.look(stage, json!({"cmd": 2, "productuuid": "", "status": 0}));
        let packet = self.expect_packet(stage, Kind::Discovery);
        let found: Value = serde_json::from_slice(&packet.payload).expect("JSON");
        self.devkey = found["devkey"].as_str().and_then(|text| PublicKey::from_text(text).ok());
        found
    }

    /// Knows the device's public key from elsewhere, as it does not answer everybody.
    #[track_caller]
    pub fn know(&mut self, stage: &Stage) {
        let private = stage.host.stored("private_key").expect("there is one").try_into().expect("20 bytes");
        self.devkey = Some(*KeyPair::new(private).expect("a key").public());
    }

    /// Looks for devices like this.
    #[track_caller]
    pub fn look(&self, stage: &mut Stage, for_what: Value) {
        let packet = Packet::plain(Kind::Discovery, for_what.to_string().into_bytes());
        self.send_packet(stage, &packet);
    }

    /// Binds the device, which has to be discovered before.
    #[track_caller]
    pub fn authorize(&mut self, stage: &mut Stage, bond: &Value) {
        self.exchange(stage, Kind::Authorization, bond);
    }

    /// Sends this under the secret of a key exchange, in fragments if it is long.
    #[track_caller]
    pub fn exchange(&mut self, stage: &mut Stage, kind: Kind, message: &Value) {
        let packet = self.exchanged(kind, message.to_string().as_bytes());
        self.send_packet(stage, &packet);
    }

    /// What [`Self::exchange`] sends.
    #[track_caller]
    pub fn exchanged(&mut self, kind: Kind, body: &[u8]) -> Packet {
        let key = self.pair.agree(self.devkey.as_ref().expect("the device was discovered")).cipher_key();
        self.clock += 1;
        Packet::seal(kind, enctype::EXCHANGED, self.pair.public().as_bytes().to_vec(), &key, self.clock, body)
    }

    /// The answer to an authorization; its code.
    #[track_caller]
    pub fn expect_code(&self, stage: &mut Stage, kind: Kind) -> i64 {
        let packet = self.expect_packet(stage, kind);
        assert_eq!(packet.enctype, enctype::PLAIN);
        let answer: Value = serde_json::from_slice(&packet.payload).expect("JSON");
        answer["code"].as_i64().expect("a code")
    }

    /// Sends this under the local key.
    #[track_caller]
    pub fn send(&mut self, stage: &mut Stage, kind: Kind, body: &[u8]) {
        self.clock += 1;
        let packet = self.sealed(kind, self.clock, body);
        self.send_packet(stage, &packet);
    }

    pub fn sealed(&self, kind: Kind, clock: u32, body: &[u8]) -> Packet {
        Packet::seal(kind, enctype::KEY32, Vec::new(), &self.localkey.cipher_key(), clock, body)
    }

    #[track_caller]
    pub fn send_packet(&self, stage: &mut Stage, packet: &Packet) {
        for part in fragments(packet.clone(), 77).expect("not too long") {
            self.send_bytes(stage, &part.encode(Network::Lan).expect("a fragment"));
        }
    }

    #[track_caller]
    pub fn send_bytes(&self, stage: &mut Stage, bytes: &[u8]) {
        stage.host.udp_received(stage.socket, &self.address, bytes);
    }

    /// Controls by JSON (3): these values.
    #[track_caller]
    pub fn control(&mut self, stage: &mut Stage, values: Value) {
        let streams: Value = serde_json::from_slice(&super::control(values)).expect("JSON");
        self.send(stage, Kind::Json, json!({"cmd": 5, "data": streams}).to_string().as_bytes());
    }

    /// Asks for all values by JSON (3).
    #[track_caller]
    pub fn ask(&mut self, stage: &mut Stage) {
        self.send(stage, Kind::Json, json!({"cmd": 4, "data": {}}).to_string().as_bytes());
    }

    /// The answer to a request by JSON.
    #[track_caller]
    pub fn expect_json(&self, stage: &mut Stage) -> Value {
        serde_json::from_slice(&self.expect(stage, Kind::Json)).expect("JSON")
    }

    /// Gives a command in the product's bytes (4); its number.
    #[track_caller]
    pub fn command(&mut self, stage: &mut Stage, biz_code: u32, content: impl AsRef<[u8]>) -> u32 {
        self.last_serial += 1;
        let (serial, content) = (self.last_serial, content.as_ref().to_vec());
        self.send(stage, Kind::Script, &Script { biz_code, serial, content }.encode());
        serial
    }

    /// The answer to a command in the product's bytes; code and content.
    #[track_caller]
    pub fn expect_answer(&self, stage: &mut Stage, serial: u32) -> (u32, Vec<u8>) {
        let answer = Script::decode(&self.expect(stage, Kind::Script)).expect("an answer");
        assert_eq!(answer.serial, serial);
        (answer.biz_code, answer.content)
    }

    /// What the next message of the device to this app says, under the local key.
    #[track_caller]
    pub fn expect(&self, stage: &mut Stage, kind: Kind) -> Vec<u8> {
        let packet = self.expect_packet(stage, kind);
        assert_eq!(packet.enctype, enctype::KEY32);
        packet.open(&self.localkey.cipher_key()).expect("under the local key").body().to_vec()
    }

    /// The next message of the device to this app, put together, which has to be of this type.
    #[track_caller]
    pub fn expect_packet(&self, stage: &mut Stage, kind: Kind) -> Packet {
        let mut reassembly = Reassembly::new();
        loop {
            let (socket, bytes) = stage.host.expect_output(&format!("a datagram {kind:?}"), |output| match output {
                Output::Udp(udp::Request::SendTo(socket, to, bytes)) if *to == self.address => {
                    Some((*socket, bytes.clone()))
                }
                _ => None,
            });
            assert_eq!(socket, stage.socket, "the answer comes from where the question went to");
            let packet = Packet::decode_datagram(Route::DeviceToApp, &bytes).expect("a packet");
            assert_eq!(packet.kind, kind);
            if let Some(packet) = reassembly.take(Timestamp(0), 0, packet).expect("fragments of a message") {
                return packet;
            }
        }
    }
}
