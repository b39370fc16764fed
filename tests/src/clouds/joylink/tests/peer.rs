use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::clouds::joylink::JoyLink;
use crate::clouds::joylink::platform::clock;
use crate::clouds::joylink::product::{Account, Product, SubDevice};
use crate::joylink_wire::cipher::Secret;
use crate::joylink_wire::fields::{Reader, Writer};
use crate::joylink_wire::packet::{CLOUD, Packet};

/// A device that does what the test tells it.
pub(super) struct Peer {
    pub stream: TcpStream,
    buffer: Vec<u8>,
    pub key: Option<Secret>,
    pub account: Account,
    pub ahead_s: i64,
}

/// Runs a cloud with a device against it, and gives what was against the protocol.
pub(super) fn run(product: Product, act: impl AsyncFnOnce(&JoyLink)) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let cloud = JoyLink::start_with("counter", product).unwrap();
        cloud.change(|behaviour| behaviour.enrols = false);
        act(&cloud).await;
        cloud.platform.ledger.with(|entries| {
            assert_eq!(entries.left_out, 0);
            entries.violations.clone()
        })
    })
}

/// The same where everything has to be right.
#[track_caller]
pub(super) fn check(product: Product, act: impl AsyncFnOnce(&JoyLink)) {
    assert_eq!(run(product, act), [""; 0]);
}

/// A gateway's product.
pub(super) fn gateway() -> Product {
    let sub = |feedid: &str, mac: &str| SubDevice {
        account: Account::new(feedid),
        mac: mac.to_owned(),
        product_uuid: "SUBONE".to_owned(),
    };
    Product { subs: vec![sub(SUB, "mac001"), sub("1540000000000000003", "mac002")], ..Product::default() }
}

impl Peer {
    pub async fn connect(cloud: &JoyLink) -> Self {
        let stream = TcpStream::connect(cloud.address()).await.unwrap();
        let account = cloud.product().device.clone();
        Self { stream, buffer: Vec::new(), key: None, account, ahead_s: 0 }
    }

    /// Authenticated, and with a snapshot of counter 1.
    pub async fn working(cloud: &JoyLink) -> Self {
        let mut peer = Self::connect(cloud).await;
        peer.authenticate().await;
        assert_eq!(peer.upload(&json!({"counter": 1})).await, 0);
        peer
    }

    pub async fn authenticate(&mut self) {
        self.ask_in(RANDOM, RANDOM).await;
        let answer = self.next().await.unwrap();
        self.enter(&answer).unwrap();
    }

    /// Sends type 9 with these randoms.
    pub async fn ask_in(&mut self, in_opt: u32, in_payload: u32) {
        let opt = [self.account.feedid.as_bytes(), &in_opt.to_le_bytes()].concat();
        let plain = Writer::at(0).word(in_payload).done();
        let payload = Secret::of_text(&self.account.accesskey).unwrap().encrypt(&plain);
        self.send_raw(&Packet::new(CLOUD, 9, 3, &opt, &payload).encode()).await;
    }

    /// Takes the answer to that.
    pub fn enter(&mut self, answer: &Packet) -> Result<(), String> {
        assert_eq!((answer.kind, answer.enctype), (9, 3));
        let plain = Secret::of_text(&self.account.accesskey).unwrap().decrypt(&answer.payload)?;
        let mut fields = Reader::new(&plain);
        let (_, random) = (fields.word()?, fields.word()?);
        let key = fields.bytes(32)?.try_into().unwrap();
        fields.end()?;
        self.key = Some(Secret::of_bytes(key));
        if answer.opt == random.to_le_bytes() { Ok(()) } else { Err("randoms differ".to_owned()) }
    }

    pub async fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// A packet under the session key.
    pub fn packet(&self, kind: u8, body: &[u8]) -> Packet {
        let plain = Writer::at(clock(self.ahead_s)).bytes(body).done();
        Packet::new(CLOUD, kind, 3, &[], &self.key.as_ref().unwrap().encrypt(&plain))
    }

    pub async fn send(&mut self, kind: u8, body: &[u8]) {
        let packet = self.packet(kind, body);
        self.send_raw(&packet.encode()).await;
    }

    /// The next packet; `None` when the cloud has closed in order.
    pub async fn next(&mut self) -> Option<Packet> {
        self.try_next().await.unwrap()
    }

    pub async fn try_next(&mut self) -> Result<Option<Packet>, String> {
        loop {
            if let Some((packet, n)) = Packet::parse(CLOUD, &self.buffer)? {
                self.buffer.drain(..n);
                return Ok(Some(packet));
            }
            if self.stream.read_buf(&mut self.buffer).await.map_err(|error| error.to_string())? == 0 {
                return Ok(None);
            }
        }
    }

    /// The next packet decrypted: its type, and what comes after the time.
    pub async fn hear(&mut self) -> (u8, Vec<u8>) {
        let packet = self.next().await.expect("the cloud says something");
        let plain = self.key.as_ref().unwrap().decrypt(&packet.payload).unwrap();
        (packet.kind, plain[4..].to_vec())
    }

    /// Uploads streams; the code of the answer.
    pub async fn upload(&mut self, values: &Json) -> u32 {
        self.send(12, snapshot(values).to_string().as_bytes()).await;
        let (kind, answer) = self.hear().await;
        assert_eq!((kind, answer.len()), (12, 4));
        Reader::new(&answer).word().unwrap()
    }

    pub async fn beat(&mut self) {
        self.send(10, &BEAT).await;
    }

    /// Waits until the cloud has taken all that was sent before.
    pub async fn settle(&mut self) {
        self.beat().await;
        assert_eq!(self.hear().await.0, 10);
    }

    /// The next command: type, business code, serial, rest.
    pub async fn command(&mut self) -> (u8, u32, u32, Vec<u8>) {
        let (kind, body) = self.hear().await;
        let mut fields = Reader::new(&body);
        (kind, fields.word().unwrap(), fields.word().unwrap(), fields.rest().to_vec())
    }
}

/// Standard JSON of a success with all streams.
pub(super) fn snapshot(values: &Json) -> Json {
    let stream = |(name, value): (&String, &Json)| json!({"stream_id": name, "current_value": value});
    let streams: Vec<Json> = values.as_object().unwrap().iter().map(stream).collect();
    json!({"code": 0, "streams": streams})
}

/// An answer with business code and serial.
pub(super) fn answer(biz_code: u32, serial: u32, rest: &[u8]) -> Vec<u8> {
    Writer::default().word(biz_code).word(serial).bytes(rest).done()
}

pub(super) const RANDOM: u32 = 0x1A2B_3C4D;
/// Version 3, 76 per cent.
pub(super) const BEAT: [u8; 4] = [3, 0, 76, 0];
pub(super) const SUB: &str = "1540000000000000002";
