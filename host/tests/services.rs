//! The service tables as a plugin calls them, against peers written here on raw loopback sockets.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hex_literal::hex;
use polylink::log::KeptLog;
use polylink::services::clock::{self, Clock, Zone};
use polylink::services::{
    EventSink, HANDLES_MAX, InstanceSetup, ModuleHooks, OwnedEvent, ScriptLimits, ServiceOptions, Services,
    SubdeviceHooks, Usage,
};
use polylink::update::engine::Updates;
use polylink_plugin_api::services::module::Facts;
use polylink_plugin_api::services::mqtt::{MqttConnect, MqttPublish};
use polylink_plugin_api::services::subdevices::Subdevice;
use polylink_plugin_api::services::tcp::{TcpListen, TcpOpen};
use polylink_plugin_api::services::udp::UdpBind;
use polylink_plugin_api::services::{FAILED, Http, Mqtt, Store, Tcp, TlsOptions, Udp, http, mqtt, store, tcp, udp};
use polylink_plugin_api::{Extension, HostRefusal, InstanceId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

#[path = "services/http.rs"]
mod asking;
#[path = "services/logs.rs"]
mod logs;
#[path = "services/module.rs"]
mod module;
#[cfg(feature = "script")]
#[path = "services/script.rs"]
mod script;
#[path = "services/subdevices.rs"]
mod subdevices;
#[path = "services/tls.rs"]
mod tls;

#[tokio::test]
async fn thirty_publishes_in_flight_fail_once_each_before_the_cut_is_told() {
    let mut plugin = Plugin::new("cut", true);
    let (listener, port) = peer().await;
    let handle = connect(plugin.id, port);
    let mut stream = broker(&listener).await;
    plugin.expect(Mqtt::ID, mqtt::CONNECTED, handle, 0).await;
    let calls: Vec<u64> = (0..30).map(|_| (table::<Mqtt>().publish)(plugin.id, handle, message("t", 1))).collect();
    stream.read_exact(&mut [0; 30 * 8]).await.unwrap();
    drop(stream);
    for call in calls {
        plugin.expect(Mqtt::ID, FAILED, call, HostRefusal::CONNECTION_LOST).await;
    }
    plugin.expect(Mqtt::ID, mqtt::CLOSED, handle, HostRefusal::CONNECTION_LOST).await;
    let late = (table::<Mqtt>().publish)(plugin.id, handle, message("t", 0));
    plugin.expect(Mqtt::ID, FAILED, late, HostRefusal::UNKNOWN_HANDLE).await;
    assert_eq!(plugin.usage().handles, 0);
}

#[tokio::test]
async fn a_refused_connection_and_one_without_tls_say_so() {
    let mut plugin = Plugin::new("refused", true);
    let handle = connect(plugin.id, closed_port().await);
    plugin.expect(Mqtt::ID, mqtt::CLOSED, handle, HostRefusal::CONNECTION_REFUSED).await;
    let mut careful = Plugin::new("careful", false);
    let handle = connect(careful.id, 1);
    let event = careful.expect(Mqtt::ID, mqtt::CLOSED, handle, HostRefusal::INVALID).await;
    assert!(event.text.contains("plain_text") && event.text.contains("[cloud.careful]"), "{}", event.text);
    let wish = TcpOpen { host: "127.0.0.1".into(), port: 1, tls: plain(), timeout_ms: 0 };
    let handle = (table::<Tcp>().open)(careful.id, wish);
    careful.expect(Tcp::ID, tcp::CLOSED, handle, HostRefusal::INVALID).await;
}

#[tokio::test]
async fn stopping_sends_what_is_queued_and_leaves_nothing_open() {
    let mut plugin = Plugin::new("drain", true);
    let (listener, port) = peer().await;
    let handle = connect(plugin.id, port);
    let mut stream = broker(&listener).await;
    plugin.expect(Mqtt::ID, mqtt::CONNECTED, handle, 0).await;
    (table::<Mqtt>().publish)(plugin.id, handle, message("t", 0));
    let heard = tokio::spawn(async move { hears(&mut stream, &hex!("30 04 0001 74 78 E0 00")).await });
    plugin.services.drain(plugin.id, PATIENCE).await;
    heard.await.unwrap();
    assert_eq!(plugin.usage(), Usage::default());
}

#[tokio::test]
async fn closing_an_instance_with_everything_open_leaves_nothing_and_is_silent() {
    let mut plugin = Plugin::new("close", true);
    let (listener, port) = peer().await;
    let (tcp, udp) = (table::<Tcp>(), table::<Udp>());
    let handle = connect(plugin.id, port);
    let mut peer = broker(&listener).await;
    plugin.expect(Mqtt::ID, mqtt::CONNECTED, handle, 0).await;
    let listening = (tcp.listen)(plugin.id, TcpListen { address: "127.0.0.1".into(), port: 0, max_streams: 0 });
    assert_eq!(plugin.next().await.token, listening);
    let bound = (udp.bind)(plugin.id, UdpBind { address: "127.0.0.1".into(), port: 0, broadcast: false });
    assert_eq!(plugin.next().await.token, bound);
    assert_eq!(plugin.usage().handles, 3);
    plugin.services.close(plugin.id);
    assert_eq!(plugin.usage(), Usage::default());
    assert_eq!(peer.read(&mut [0]).await.unwrap_or(0), 0, "the connection is cut");
    assert_ne!((table::<Mqtt>().publish)(plugin.id, handle, message("t", 0)), 0);
    assert_eq!((tcp.send)(plugin.id, handle, b"x".as_slice().into()), tcp::GONE);
    assert!(plugin.events.try_recv().is_err(), "nothing is told any more");
}

#[tokio::test]
async fn the_thirty_third_handle_is_refused() {
    let mut plugin = Plugin::new("quota", true);
    let bind = || UdpBind { address: "127.0.0.1".into(), port: 0, broadcast: false };
    for _ in 0..HANDLES_MAX {
        (table::<Udp>().bind)(plugin.id, bind());
        assert_eq!(plugin.next().await.kind, udp::BOUND);
    }
    let one_more = (table::<Udp>().bind)(plugin.id, bind());
    plugin.expect(Udp::ID, udp::CLOSED, one_more, HostRefusal::QUOTA).await;
}

#[tokio::test]
async fn streams_carry_bytes_both_ways_and_tell_when_they_are_full_and_empty_again() {
    let mut plugin = Plugin::new("tcp", true);
    let tcp = table::<Tcp>();
    let (listener, port) = peer().await;
    let handle = (tcp.open)(plugin.id, TcpOpen { host: "127.0.0.1".into(), port, tls: plain(), timeout_ms: 0 });
    let (mut stream, _) = listener.accept().await.unwrap();
    assert_eq!(plugin.next().await.kind, tcp::OPENED);
    stream.write_all(b"hello").await.unwrap();
    assert_eq!(plugin.expect(Tcp::ID, tcp::RECEIVED, handle, 0).await.body, b"hello");
    let chunk = vec![7; 64 * 1024];
    let mut taken = 0;
    while (tcp.send)(plugin.id, handle, chunk.as_slice().into()) == tcp::TAKEN {
        taken += chunk.len();
    }
    assert_eq!(taken, 256 * 1024);
    let mut heard = vec![0; taken];
    stream.read_exact(&mut heard).await.unwrap();
    assert!(heard.iter().all(|byte| *byte == 7));
    plugin.expect(Tcp::ID, tcp::DRAINED, handle, 0).await;
    assert_eq!((tcp.send)(plugin.id, handle, b"bye".as_slice().into()), tcp::TAKEN);
    (tcp.close)(plugin.id, handle);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    drop(stream);
    assert_eq!(rest, b"bye");
    plugin.expect(Tcp::ID, tcp::CLOSED, handle, HostRefusal::CLOSED).await;
    assert_eq!((tcp.send)(plugin.id, handle, b"x".as_slice().into()), tcp::GONE);
}

#[tokio::test]
async fn a_listener_hands_over_streams_that_can_be_answered_at_once() {
    let mut plugin = Plugin::new("listen", true);
    let tcp = table::<Tcp>();
    let listening = (tcp.listen)(plugin.id, TcpListen { address: "127.0.0.1".into(), port: 0, max_streams: 1 });
    let event = plugin.next().await;
    assert_eq!((event.kind, event.token), (tcp::LISTENING, listening));
    let port = u16::try_from(event.code).unwrap();
    let mut first = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let accepted = plugin.next().await;
    assert_eq!((accepted.kind, accepted.token), (tcp::ACCEPTED, listening));
    let handle = u64::try_from(accepted.code).unwrap();
    assert_eq!((tcp.send)(plugin.id, handle, b"welcome".as_slice().into()), tcp::TAKEN);
    hears(&mut first, b"welcome").await;
    let mut second = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    assert_eq!(second.read(&mut [0]).await.unwrap_or(0), 0, "one too many is closed");
    drop(first);
    plugin.expect(Tcp::ID, tcp::CLOSED, handle, HostRefusal::CONNECTION_LOST).await;
    (tcp.close)(plugin.id, listening);
    plugin.expect(Tcp::ID, tcp::CLOSED, listening, HostRefusal::CLOSED).await;
}

#[tokio::test]
async fn datagrams_go_both_ways() {
    let mut plugin = Plugin::new("udp", false);
    let udp = table::<Udp>();
    let handle = (udp.bind)(plugin.id, UdpBind { address: "127.0.0.1".into(), port: 0, broadcast: true });
    let port = plugin.next().await.code;
    let peer = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = peer.local_addr().unwrap().to_string();
    assert!((udp.send_to)(plugin.id, handle, to.as_str().into(), b"ping".as_slice().into()));
    assert!(!(udp.send_to)(plugin.id, handle, "nonsense".into(), b"ping".as_slice().into()));
    let mut heard = [0; 10];
    let (length, from) = peer.recv_from(&mut heard).await.unwrap();
    assert_eq!((&heard[..length], i64::from(from.port())), (&b"ping"[..], port));
    peer.send_to(b"pong", from).await.unwrap();
    let event = plugin.expect(Udp::ID, udp::RECEIVED, handle, 0).await;
    assert_eq!((event.text, event.body), (to, b"pong".to_vec()));
    (udp.close)(plugin.id, handle);
    plugin.expect(Udp::ID, udp::CLOSED, handle, HostRefusal::CLOSED).await;
}

#[tokio::test]
async fn a_datagram_that_cannot_go_is_said_so_at_once() {
    let mut plugin = Plugin::new("udp-no", false);
    let udp = table::<Udp>();
    let [narrow, wide] =
        [false, true].map(|broadcast| (udp.bind)(plugin.id, UdpBind { address: "".into(), port: 0, broadcast }));
    assert_eq!((plugin.next().await.token, plugin.next().await.token), (narrow, wide));
    let send =
        |handle, to: &str, length| (udp.send_to)(plugin.id, handle, to.into(), vec![0; length].as_slice().into());
    // The broadcast address of loopback is the one that every system has.
    assert!(send(wide, "127.255.255.255:9", 4));
    assert!(!send(narrow, "127.255.255.255:9", 4), "not a socket for broadcasts");
    for to in ["", "127.0.0.1", "localhost:9", "127.0.0.1:65536", "[::1]:9"] {
        assert!(!send(narrow, to, 4), "{to}");
    }
    assert!(!send(narrow, "127.0.0.1:9", 65_508), "longer than a datagram can be");
    assert!(!send(wide + 1000, "127.0.0.1:9", 4), "no such socket");
    assert_eq!((udp.broadcast)(plugin.id, narrow, 9, b"x".as_slice().into()), 0);
    let taken = (udp.bind)(plugin.id, UdpBind { address: "192.0.2.1".into(), port: 0, broadcast: false });
    let event = plugin.expect(Udp::ID, udp::CLOSED, taken, HostRefusal::OTHER).await;
    assert!(event.text.contains("192.0.2.1"), "{}", event.text);
}

#[tokio::test]
async fn stopping_waits_for_what_the_store_has_not_written_yet() {
    let mut plugin = Plugin::new("drain-store", false);
    let store = table::<Store>();
    let puts: Vec<u64> = (0..50)
        .map(|number| {
            (store.put)(plugin.id, format!("key-{}", number % 7).as_str().into(), vec![number].as_slice().into())
        })
        .collect();
    plugin.services.drain(plugin.id, PATIENCE).await;
    let mut stored = Vec::new();
    while let Ok(event) = plugin.events.try_recv() {
        assert_eq!((event.source, event.kind), (Store::ID, store::STORED), "{}", event.text);
        stored.push(event.token);
    }
    stored.sort_unstable();
    assert_eq!(stored, puts, "each is told before the instance ends");
    // Other services know only the disk.
    let again = Plugin::new("drain-store", false);
    for number in 43..50_u8 {
        let value = (store.get)(again.id, format!("key-{}", number % 7).as_str().into());
        assert_eq!(value.map(|value| value.to_vec()).into_option(), Some(vec![number]));
    }
}

#[tokio::test]
async fn an_http_redirect_is_the_answer_unless_following_was_asked_for() {
    let mut plugin = Plugin::new("http", true);
    let (listener, port) = peer().await;
    let moved = "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";
    let call = ask(&plugin, port, 0, 0);
    answer(&listener, moved).await;
    let event = plugin.expect(Http::ID, http::RESPONSE, call, 302).await;
    assert!(event.text.contains("location: /x\n"), "{}", event.text);
    assert_eq!(event.body, b"hi");
    let call = ask(&plugin, port, 0, 1);
    answer(&listener, moved).await;
    answer(&listener, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    plugin.expect(Http::ID, http::RESPONSE, call, 200).await;
}

#[tokio::test]
async fn http_says_no_clearly_and_never_shows_the_address() {
    let mut plugin = Plugin::new("http-no", true);
    let (listener, port) = peer().await;
    for rest in ["Content-Length: 100\r\n\r\n", "\r\n0123456789 and more"] {
        let call = ask(&plugin, port, 10, 0);
        answer(&listener, &format!("HTTP/1.1 200 OK\r\n{rest}")).await;
        plugin.expect(Http::ID, FAILED, call, HostRefusal::QUOTA).await;
    }
    let call = ask(&plugin, port, 0, 0);
    answer(&listener, "this is not HTTP\r\n\r\n").await;
    let event = plugin.expect(Http::ID, FAILED, call, HostRefusal::PROTOCOL).await;
    assert!(!event.text.contains("secret"), "{}", event.text);
    let call = ask(&plugin, closed_port().await, 0, 0);
    let event = plugin.expect(Http::ID, FAILED, call, HostRefusal::CONNECTION_REFUSED).await;
    assert!(!event.text.contains("secret"), "{}", event.text);
    for _ in 0..4 {
        ask(&plugin, port, 0, 0);
    }
    let one_more = ask(&plugin, port, 0, 0);
    plugin.expect(Http::ID, FAILED, one_more, HostRefusal::QUOTA).await;
}

#[tokio::test]
async fn the_store_tells_when_a_value_lasts() {
    let mut plugin = Plugin::new("store", false);
    let table = table::<Store>();
    let put = (table.put)(plugin.id, "token".into(), b"v".as_slice().into());
    assert_eq!((table.get)(plugin.id, "token".into()).unwrap().as_slice(), b"v", "seen at once");
    plugin.expect(Store::ID, store::STORED, put, 0).await;
    let refused = (table.put)(plugin.id, "big".into(), [0; 2000].as_slice().into());
    plugin.expect(Store::ID, FAILED, refused, HostRefusal::QUOTA).await;
    let removed = (table.remove)(plugin.id, "token".into());
    plugin.expect(Store::ID, store::STORED, removed, 0).await;
    assert!((table.keys)(plugin.id).is_empty());
}

struct Inbox(UnboundedSender<OwnedEvent>);

impl EventSink for Inbox {
    fn complete(&self, event: OwnedEvent) {
        let _ = self.0.send(event);
    }

    fn offer(&self, event: OwnedEvent) -> bool {
        self.0.send(event).is_ok()
    }

    fn deliver<'a>(&'a self, event: OwnedEvent) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        self.complete(event);
        Box::pin(std::future::ready(()))
    }
}

struct Hooks;

impl ModuleHooks for Hooks {
    fn facts(&self) -> Facts {
        Facts::default()
    }

    fn request_restart(&self, _: &str, _: &str) -> bool {
        false
    }

    fn offer_time(&self, _: &str, _: i64) {}

    fn applications(&self, _: &str, _: u32) {}

    fn join_network(&self, _: &str, _: &str, _: &str) -> bool {
        false
    }

    fn end_production_test(&self, _: &str) -> bool {
        false
    }

    fn third_party_cloud(&self, _: &str, _: &str, _: &str) {}
}

impl SubdeviceHooks for Hooks {
    fn list(&self) -> Vec<Subdevice> {
        Vec::new()
    }

    fn admit(&self, _: &str, _: &str, _: &str, _: u16) -> bool {
        false
    }

    fn accept(&self, _: &str, _: u32) -> bool {
        false
    }

    fn remove(&self, _: &str, _: u32) -> bool {
        false
    }
}

/// One instance and its inbox.
struct Plugin {
    services: Services,
    id: InstanceId,
    events: UnboundedReceiver<OwnedEvent>,
    directory: PathBuf,
}

impl Plugin {
    fn new(name: &str, plain_text: bool) -> Self {
        Self::with_hooks(name, plain_text, Arc::new(Hooks))
    }

    fn with_hooks(name: &str, plain_text: bool, module: Arc<dyn ModuleHooks>) -> Self {
        Self::with(name, plain_text, module, ScriptLimits::default())
    }

    fn with(name: &str, plain_text: bool, module: Arc<dyn ModuleHooks>, scripts: ScriptLimits) -> Self {
        Self::open(name, plain_text, (module, Arc::new(Hooks)), scripts)
    }

    fn open(
        name: &str,
        plain_text: bool,
        (module, subdevices): (Arc<dyn ModuleHooks>, Arc<dyn SubdeviceHooks>),
        scripts: ScriptLimits,
    ) -> Self {
        let directory = std::env::temp_dir().join(format!("polylink-services-{}-{name}", std::process::id()));
        let runtime = tokio::runtime::Handle::current();
        let services =
            Services::new(ServiceOptions { runtime, clock: Clock::new(Zone::Fixed(0)), scripts, log: log() });
        let (sender, events) = unbounded_channel();
        let id = services.open(InstanceSetup {
            name: name.to_owned(),
            sink: Arc::new(Inbox(sender)),
            store_dir: directory.clone(),
            store_max_bytes: 1000,
            plain_text,
            module,
            subdevices,
            updates: Arc::new(Updates::none()),
        });
        Self { services, id, events, directory }
    }

    async fn next(&mut self) -> OwnedEvent {
        let next = tokio::time::timeout(PATIENCE, self.events.recv()).await;
        next.expect("an event must come").expect("the inbox lives as long as the instance")
    }

    /// The next event must be this one.
    async fn expect(&mut self, source: &str, kind: u32, token: u64, code: i64) -> OwnedEvent {
        let event = self.next().await;
        assert_eq!((event.source, event.kind, event.token, event.code), (source, kind, token, code), "{}", event.text);
        event
    }

    /// The same with any code.
    async fn expect_kind(&mut self, source: &str, kind: u32, token: u64) -> OwnedEvent {
        let event = self.next().await;
        assert_eq!((event.source, event.kind, event.token), (source, kind, token), "{}", event.text);
        event
    }

    fn usage(&self) -> Usage {
        self.services.usage(self.id)
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        self.services.close(self.id);
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn table<E: Extension>() -> &'static E {
    Services::table(E::ID).expect("the table is offered").cast::<E>().expect("its id is right").expect("its layout too")
}

fn plain() -> TlsOptions<'static> {
    let none = "".into();
    TlsOptions { enabled: false, server_name: none, ca_pem: none, client_cert_pem: none, client_key_pem: none }
}

fn connect(id: InstanceId, port: u16) -> u64 {
    (table::<Mqtt>().connect)(id, wish(port))
}

fn wish(port: u16) -> MqttConnect<'static> {
    MqttConnect {
        host: "127.0.0.1".into(),
        port,
        tls: plain(),
        protocol_level: 4,
        client_id: "c".into(),
        has_username: false,
        username: "".into(),
        has_password: false,
        password: [].as_slice().into(),
        clean_session: true,
        keepalive_s: 0,
        ping_after_s: 0,
        dead_after_s: 0,
        timeout_ms: 0,
        has_will: false,
        will: message("", 0),
    }
}

fn message(topic: &str, qos: u8) -> MqttPublish<'_> {
    MqttPublish { topic: topic.into(), payload: b"x".as_slice().into(), qos, retain: false }
}

async fn peer() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// What every host here has logged: two lines.
fn log() -> KeptLog {
    let log = KeptLog::new(4096);
    log.push(clock::monotonic(), "INFO", "polylink", "one");
    log.push(clock::monotonic(), "WARN", "plugin", "two");
    log
}

/// A port where nobody listens.
async fn closed_port() -> u16 {
    peer().await.1
}

/// A broker that took the connection.
async fn broker(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    hears(&mut stream, &hex!("10 0D 0004 4D515454 04 02 0000 0001 63")).await;
    stream.write_all(&hex!("20 02 00 00")).await.unwrap();
    stream
}

async fn hears(stream: &mut TcpStream, bytes: &[u8]) {
    let mut heard = vec![0; bytes.len()];
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, bytes);
}

/// Asks over plain HTTP.
fn ask(plugin: &Plugin, port: u16, max_body: u32, redirects: u8) -> u64 {
    let url = format!("http://127.0.0.1:{port}/path?token=secret");
    (table::<Http>().request)(plugin.id, http::HttpRequest { max_body, redirects, ..get(&url) })
}

fn get(url: &str) -> http::HttpRequest<'_> {
    http::HttpRequest {
        method: "GET".into(),
        url: url.into(),
        headers: [].as_slice().into(),
        body: [].as_slice().into(),
        tls: plain(),
        timeout_ms: 0,
        max_body: 0,
        redirects: 0,
    }
}

/// Takes one request and writes this, whatever was asked.
async fn answer(listener: &TcpListener, text: &str) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// Only a limit against hanging; nothing is measured.
const PATIENCE: Duration = Duration::from_secs(30);
