//! The other sides of a conversation, as the tests speak them: the cloud here, an app in [`app`], and what stands on the
//! stage in [`products`]. Packets are built and read by the crate's own codec, which has vectors of foreign code.

mod app;
mod products;

use polylink_plugin_sdk::services::{Reason, tcp, udp};
use polylink_plugin_sdk::session::Phase;
use polylink_plugin_sdk::testing::{Setup, VirtualHost};
use polylink_plugin_sdk::{Output, RequestId};
use serde_json::Value;

use crate::crypto::Key32;
use crate::packet::{Kind, Network, Packet, Route, Splitter, enctype};
use crate::session::JoylinkSession;
use crate::wire::{AsyncResult, AuthAnswer, AuthRequest, Code, CodeAnswer, Script};

pub use app::App;
pub use products::*;

/// A virtual host with a JoyLink session, and the cloud that it talks to.
pub struct Stage {
    pub host: VirtualHost,
    /// The connection to the cloud that was opened last.
    pub stream: RequestId,
    /// The first socket on the local network.
    pub socket: RequestId,
    /// The script that the session loads, if it has one.
    pub script: Option<RequestId>,
    /// Connections that were let in.
    n_sessions: u8,
    last_serial: u32,
}

impl Stage {
    /// Started, with its sockets open and its script loaded; not connected.
    #[track_caller]
    pub fn started(setup: Setup) -> Self {
        Self::start(VirtualHost::new::<JoylinkSession>(setup))
    }

    /// As [`Self::started`], behind the driver and the types of the ABI.
    #[track_caller]
    pub fn started_behind_the_abi(setup: Setup) -> Self {
        Self::start(VirtualHost::through_abi::<JoylinkSession>(setup))
    }

    #[track_caller]
    fn start(host: VirtualHost) -> Self {
        let mut stage = Self::alone(host);
        stage.open_sockets();
        stage.load_script();
        stage
    }

    /// Started; nothing that the session asks for is answered.
    #[track_caller]
    pub fn started_alone(setup: Setup) -> Self {
        Self::alone(VirtualHost::new::<JoylinkSession>(setup))
    }

    #[track_caller]
    fn alone(mut host: VirtualHost) -> Self {
        host.start();
        let none = RequestId(0);
        Self { host, stream: none, socket: none, script: None, n_sessions: 0, last_serial: 7_000 }
    }

    /// Ends the session as a crash does and starts a new one, with its sockets open and its script loaded.
    #[track_caller]
    pub fn restart(&mut self) {
        self.host.restart();
        self.open_sockets();
        self.load_script();
    }

    /// Opens both ports of the local network.
    #[track_caller]
    pub fn open_sockets(&mut self) {
        for _ in 0..2 {
            let (socket, port) = self.host.expect_udp_bind();
            self.host.udp_bound(socket, port);
            if port == 80 {
                self.socket = socket;
            }
        }
    }

    #[track_caller]
    fn load_script(&mut self) {
        if self.host.setup().settings.contains(r#""script""#) {
            let (script, ..) = self.host.expect_script_load();
            self.host.script_loaded(script);
            self.script = Some(script);
        }
    }

    /// Let in by the cloud; what the device says then is not answered yet. Nothing is known of the device.
    #[track_caller]
    pub fn connected(setup: Setup) -> Self {
        let mut stage = Self::started(setup);
        stage.come_in();
        stage
    }

    /// Let in, and shown to the cloud with `n` = 1 and `heat` = 20, or the bytes `raw` if the product is raw; everything
    /// answered, nothing left to expect.
    #[track_caller]
    pub fn working(setup: Setup) -> Self {
        let mut stage = Self::started(setup);
        if stage.is_raw() {
            stage.say_raw(b"raw");
        } else {
            stage.host.snapshot([n(1), heat(20)]);
        }
        stage.come_in();
        stage.convert_upload(b"converted");
        stage.expect_upload();
        stage.accept_upload();
        stage.settle_down();
        stage
    }

    /// Forgets what nobody expected, and lets a second pass so that no status is due.
    #[track_caller]
    pub fn settle_down(&mut self) {
        self.host.take_outputs();
        self.host.advance(1_000);
    }

    fn is_raw(&mut self) -> bool {
        self.host.setup().product.contains(r#""raw":true"#)
    }

    /// The MCU says these bytes by itself; the report's number.
    #[track_caller]
    pub fn say_raw(&mut self, bytes: &[u8]) -> u64 {
        use polylink_plugin_sdk::{Cause, ReportBody};
        self.host.report_body(Cause::Change, None, ReportBody::Raw(bytes.to_vec()))
    }

    /// Takes the connection that the device asks for now, and lets it in.
    #[track_caller]
    pub fn come_in(&mut self) {
        self.accept();
        let request = self.expect_authentication();
        assert!(request.randoms_agree());
        self.let_in();
    }

    /// Takes the connection that the device asks for now.
    #[track_caller]
    pub fn accept(&mut self) {
        let (stream, host, port) = self.host.expect_tcp_open();
        assert_eq!(format!("{host}:{port}"), SERVER);
        self.stream = stream;
        self.host.tcp_opened(stream);
    }

    /// The device says who it is.
    #[track_caller]
    pub fn expect_authentication(&mut self) -> AuthRequest {
        let packet = self.expect_packet(Kind::CloudAuthentication);
        assert_eq!(packet.enctype, enctype::KEY32);
        let opened = packet.open(&accesskey().cipher_key()).expect("under the access key");
        let request = AuthRequest::decode(&packet.opt, opened.body()).expect("an authentication");
        assert_eq!(request.feedid.as_str(), FEEDID);
        request
    }

    /// Lets the device in, with a key of its own for each connection.
    #[track_caller]
    pub fn let_in(&mut self) {
        self.n_sessions += 1;
        let answer = AuthAnswer { opt_random: Some(4711), random: 4711, session_key: self.session_key() };
        self.answer_authentication(&answer);
    }

    #[track_caller]
    pub fn answer_authentication(&mut self, answer: &AuthAnswer) {
        let stamp = self.unix_s();
        let key = accesskey().cipher_key();
        let (kind, opt) = (Kind::CloudAuthentication, answer.encode_opt());
        let packet = Packet::seal(kind, enctype::KEY32, opt, &key, stamp, &answer.encode());
        self.send_packet(&packet);
    }

    pub fn session_key(&self) -> Key32 {
        Key32::new([0x40 + self.n_sessions; 32])
    }

    /// The cloud's time in packets.
    pub fn unix_s(&self) -> u32 {
        u32::try_from(self.host.now().wall.unix_ms / 1000).expect("a time of this century")
    }

    /// The cloud sends this under the session key.
    #[track_caller]
    pub fn send(&mut self, kind: Kind, body: &[u8]) {
        let packet = self.sealed(kind, body);
        self.send_packet(&packet);
    }

    /// What [`Self::send`] sends.
    pub fn sealed(&self, kind: Kind, body: &[u8]) -> Packet {
        let key = self.session_key().cipher_key();
        Packet::seal(kind, enctype::KEY32, Vec::new(), &key, self.unix_s(), body)
    }

    #[track_caller]
    pub fn send_packet(&mut self, packet: &Packet) {
        let bytes = packet.encode(Network::Wan).expect("a short packet");
        self.send_bytes(&bytes);
    }

    #[track_caller]
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.host.tcp_received(self.stream, bytes);
    }

    /// The next packet of the device, which has to be of this type.
    #[track_caller]
    pub fn expect_packet(&mut self, kind: Kind) -> Packet {
        let stream = self.stream;
        let bytes = self.host.expect_output(&format!("a packet {kind:?}"), |output| match output {
            Output::Tcp(tcp::Request::Send(to, bytes)) if *to == stream => Some(bytes.clone()),
            _ => None,
        });
        let packet = one_packet(&bytes);
        assert_eq!(packet.kind, kind);
        packet
    }

    /// What the next packet says, which has to be of this type and under the session key.
    #[track_caller]
    pub fn expect(&mut self, kind: Kind) -> Vec<u8> {
        let packet = self.expect_packet(kind);
        assert_eq!((packet.enctype, packet.opt.len()), (enctype::KEY32, 0));
        let opened = packet.open(&self.session_key().cipher_key()).expect("under the session key");
        opened.body().to_vec()
    }

    /// What an upload in standard JSON shows, under the session key.
    #[track_caller]
    pub fn streams_sent(&self, bytes: &[u8]) -> Value {
        let packet = one_packet(bytes);
        assert_eq!(packet.kind, Kind::Upload);
        streams(packet.open(&self.session_key().cipher_key()).expect("under the session key").body())
    }

    /// Types of all packets that were not expected yet; they are forgotten, as is everything else.
    pub fn take_kinds(&mut self) -> Vec<Kind> {
        let sent = self.host.take_outputs().into_iter().filter_map(|output| match output {
            Output::Tcp(tcp::Request::Send(_, bytes)) => Some(one_packet(&bytes).kind),
            _ => None,
        });
        sent.collect()
    }

    /// What all packets of this type said under the session key that were not expected yet; everything else is forgotten.
    pub fn take_bodies(&mut self, kind: Kind) -> Vec<Vec<u8>> {
        let key = self.session_key().cipher_key();
        let sent = self.host.take_outputs().into_iter().filter_map(|output| match output {
            Output::Tcp(tcp::Request::Send(_, bytes)) => Some(one_packet(&bytes)),
            _ => None,
        });
        let sent = sent.filter(|packet| packet.kind == kind);
        sent.map(|packet| packet.open(&key).expect("under the session key").body().to_vec()).collect()
    }

    /// The next packet is an upload; what it says.
    #[track_caller]
    pub fn expect_upload(&mut self) -> Vec<u8> {
        self.expect(Kind::Upload)
    }

    /// The next packet is an upload in standard JSON; its streams as an object.
    #[track_caller]
    pub fn expect_streams(&mut self) -> Value {
        let upload = self.expect_upload();
        streams(&upload)
    }

    /// The cloud takes an upload.
    #[track_caller]
    pub fn accept_upload(&mut self) {
        self.answer_upload(Code::SUCCESS);
    }

    #[track_caller]
    pub fn answer_upload(&mut self, code: Code) {
        self.send(Kind::Upload, &CodeAnswer(code).encode());
    }

    /// If the product has a script, it makes these bytes of an upload.
    #[track_caller]
    pub fn convert_upload(&mut self, bytes: &[u8]) {
        use polylink_plugin_sdk::services::script::Value;
        if self.script.is_some() {
            let call = self.host.expect_script_call();
            assert_eq!((call.function.as_str(), &call.args[0]), ("jds2pri", &Value::Int(104)));
            self.host.script_returned(call.id, jds2pri(bytes));
        }
    }

    /// The next packet is an asynchronous result.
    #[track_caller]
    pub fn expect_result(&mut self) -> AsyncResult {
        let body = self.expect(Kind::AsyncResult);
        AsyncResult::decode(&body).expect("an asynchronous result")
    }

    /// The cloud gives a command; its number.
    #[track_caller]
    pub fn command(&mut self, biz_code: u32, content: impl AsRef<[u8]>) -> u32 {
        self.last_serial += 1;
        let (serial, content) = (self.last_serial, content.as_ref().to_vec());
        self.send(Kind::Command, &Script { biz_code, serial, content }.encode());
        serial
    }

    /// The next packet is the answer to a command; code and content.
    #[track_caller]
    pub fn expect_answer(&mut self, serial: u32) -> (u32, Vec<u8>) {
        let body = self.expect(Kind::Command);
        let answer = Script::decode(&body).expect("an answer");
        assert_eq!(answer.serial, serial);
        (answer.biz_code, answer.content)
    }

    /// The connection breaks.
    #[track_caller]
    pub fn cut(&mut self) {
        self.host.tcp_closed(self.stream, Reason::ConnectionLost);
    }

    /// Lets time pass up to the next attempt, and lets the device in. What it says then is not answered.
    #[track_caller]
    pub fn reconnect(&mut self) {
        self.wait_for_attempt();
        self.come_in();
    }

    /// Lets time pass up to the next attempt; how many milliseconds.
    #[track_caller]
    pub fn wait_for_attempt(&mut self) -> u64 {
        let mut waited = 0;
        while !self.host.status().text.starts_with("connecting") {
            waited += self.host.advance_to_next_timeout();
        }
        waited
    }

    /// Nothing goes to the cloud or to an app.
    #[track_caller]
    pub fn expect_nothing_said(&mut self) {
        let said: Vec<Output> = self.host.take_outputs().into_iter().filter(is_said).collect();
        assert!(said.is_empty(), "{said:?}");
    }

    /// A fact of the last status.
    pub fn fact(&self, name: &str) -> Option<&str> {
        self.host.status().facts.iter().find(|(fact, _)| fact == name).map(|(_, value)| value.as_str())
    }

    /// Lets a second pass, so that numbers are told, and checks one of them.
    #[track_caller]
    pub fn assert_count(&mut self, name: &str, count: u64) {
        self.host.advance(1_000);
        let told = self.fact(name).unwrap_or("0");
        assert_eq!(told, count.to_string(), "{name} in {:?}", self.host.status());
    }

    #[track_caller]
    pub fn assert_phase(&self, phase: Phase) {
        assert_eq!(self.host.status().phase, phase, "{:?}", self.host.status());
    }

    /// True if a line of the log says this.
    pub fn logged(&self, says: &str) -> bool {
        self.host.logs().iter().any(|(_, line)| line.contains(says))
    }
}

/// No secret is ever in the log or the status.
impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let status = format!("{:?}", self.host.status());
        for line in self.host.logs().iter().map(|(_, line)| line).chain([&status]) {
            let secret = [ACCESSKEY, LOCALKEY].into_iter().find(|secret| line.contains(secret));
            assert!(secret.is_none(), "a secret is shown: {line}");
        }
    }
}

fn is_said(output: &Output) -> bool {
    matches!(output, Output::Tcp(tcp::Request::Send(..)) | Output::Udp(udp::Request::SendTo(..)))
}

#[track_caller]
fn one_packet(bytes: &[u8]) -> Packet {
    let mut splitter = Splitter::new(Route::DeviceToCloud);
    splitter.push(bytes);
    let packet = splitter.next().expect("a packet").expect("a whole packet");
    assert_eq!(splitter.n_waiting(), 0, "one packet at a time");
    packet
}

pub fn accesskey() -> Key32 {
    Key32::from_text(ACCESSKEY).expect("a key")
}

pub fn localkey() -> Key32 {
    Key32::from_text(LOCALKEY).expect("a key")
}

/// Standard JSON that says success; its streams as an object.
#[track_caller]
pub fn streams(said: &[u8]) -> Value {
    let said: Value = serde_json::from_slice(said).expect("JSON");
    assert_eq!(said["code"], 0, "{said}");
    streams_in(&said["streams"])
}

/// A list of streams as an object.
#[track_caller]
pub fn streams_in(list: &Value) -> Value {
    let list = list.as_array().unwrap_or_else(|| panic!("no streams: {list}"));
    let one =
        |stream: &Value| (stream["stream_id"].as_str().expect("a name").to_owned(), stream["current_value"].clone());
    list.iter().map(one).collect::<serde_json::Map<_, _>>().into()
}

/// A control in standard JSON.
pub fn control(values: Value) -> Vec<u8> {
    let one = |(name, value): (&String, &Value)| serde_json::json!({"stream_id": name, "current_value": value});
    let list: Vec<Value> = values.as_object().expect("an object").iter().map(one).collect();
    serde_json::json!({"streams": list}).to_string().into_bytes()
}

/// What the script's `jds2pri` returns.
pub fn jds2pri(bytes: &[u8]) -> [polylink_plugin_sdk::services::script::Value; 3] {
    use polylink_plugin_sdk::services::script::Value;
    let length = i64::try_from(bytes.len()).expect("few bytes");
    [Value::Int(0), Value::Int(length), Value::Bytes(bytes.to_vec())]
}

/// What the script's `pri2jds` returns.
pub fn pri2jds(json: impl AsRef<[u8]>, biz: i64) -> [polylink_plugin_sdk::services::script::Value; 3] {
    use polylink_plugin_sdk::services::script::Value;
    [Value::Int(0), Value::Bytes(json.as_ref().to_vec()), Value::Int(biz)]
}
