//! The other ends of a conversation, as the tests speak them: the HTTP interface, the M2M server, an application on the
//! local network, the device. Bytes are written by hand here, so that a mistake of the codec is none of the tests.

use polylink_plugin_sdk::services::{http, module, mqtt, network, tcp, udp};
use polylink_plugin_sdk::testing::{Publish, Setup, VirtualHost};
use polylink_plugin_sdk::{DatapointId, Output, RequestId, Value as Datum};
use serde_json::{Value, json};

use polylink_gizwits::session::GizwitsSession;

pub const KEY: &str = "6f3074fe43894547a4f1314bd7e3ae0b";
pub const DID: &str = "AbCdEfGhIjKlMnOpQrStUv";
pub const MAC: &str = "02005E102030";

/// What a session opens once.
pub struct Stage {
    pub host: VirtualHost,
    pub listener: RequestId,
    pub socket: RequestId,
    pub connection: RequestId,
}

/// A setup with these settings beside the MAC.
pub fn setup(changes: Value) -> Setup {
    let mut settings = json!({"mac": MAC});
    for (key, value) in changes.as_object().expect("settings are an object") {
        settings[key] = value.clone();
    }
    let mut setup = Setup::new(settings, product());
    setup.facts = facts();
    setup
}

pub fn facts() -> module::Facts {
    module::Facts {
        product_key: KEY.to_owned(),
        module_hardware: "00000001".to_owned(),
        module_software: "04020006".to_owned(),
        mcu_hardware: "00000003".to_owned(),
        mcu_software: "03010101".to_owned(),
        mcu_online: true,
        bindable: true,
        device_attributes: 2,
        mcu_payload_version: "00000004".to_owned(),
        ..Default::default()
    }
}

/// A pump: a switch, a speed of 0 to 100, a temperature above -10.
pub fn product() -> Value {
    let layout = json!({"name": "pump", "product_key": KEY, "protocolType": "standard", "entities": [{"attrs": [
        {"id": 0, "name": "power", "data_type": "bool", "type": "status_writable",
         "position": {"byte_offset": 0, "bit_offset": 0, "unit": "bit", "len": 1}},
        {"id": 1, "name": "speed", "data_type": "uint8", "type": "status_writable",
         "position": {"byte_offset": 1, "bit_offset": 0, "unit": "byte", "len": 1},
         "uint_spec": {"ratio": 1, "addition": 0, "min": 0, "max": 100}},
        {"id": 2, "name": "temperature", "data_type": "uint8", "type": "status_readonly",
         "position": {"byte_offset": 2, "bit_offset": 0, "unit": "byte", "len": 1},
         "uint_spec": {"ratio": 1, "addition": -10, "min": 0, "max": 200}}]}]});
    let int = |id: u32, name: &str, min: i64, max: i64, writable: bool| {
        json!({"id": id, "name": name, "type": "int", "min": min.to_string(), "max": max.to_string(), "step": "1",
            "writable": writable})
    };
    json!({"product_key": KEY, "name": "pump", "raw": true, "p0_layout": layout.to_string(), "events": [], "actions": [],
        "properties": [
            {"id": 0, "name": "power", "type": "bool", "writable": true},
            int(1, "speed", 0, 100, true),
            int(2, "temperature", -10, 190, false)]})
}

pub const POWER: DatapointId = DatapointId(0);
pub const SPEED: DatapointId = DatapointId(1);
pub const TEMPERATURE: DatapointId = DatapointId(2);

/// A whole state of the pump.
pub fn state(power: bool, speed: i64, temperature: i64) -> Vec<(DatapointId, Datum)> {
    vec![(POWER, Datum::Bool(power)), (SPEED, Datum::Int(speed)), (TEMPERATURE, Datum::Int(temperature))]
}

/// A frame of the LAN protocol, shorter than 128 bytes (Gizwits LAN protocol, transport and frame).
pub fn frame(command: u16, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(3 + payload.len()).expect("the tests' frames are short");
    assert!(length < 0x80, "the tests' frames are short");
    [&[0, 0, 0, 3, length, 0][..], &command.to_be_bytes(), payload].concat()
}

pub fn with_sn(sn: u32, p0: &[u8]) -> Vec<u8> {
    [&sn.to_be_bytes()[..], p0].concat()
}

pub fn interface() -> network::Interface {
    network::Interface {
        name: "wlan0".to_owned(),
        mac: [2, 0, 0x5E, 0x10, 0x20, 0x30],
        ipv4: "192.0.2.7".to_owned(),
        broadcast: "192.0.2.255".to_owned(),
        wireless: true,
        ..Default::default()
    }
}

/// The value of a key in a form.
pub fn field(body: &[u8], key: &str) -> Option<String> {
    let text = std::str::from_utf8(body).expect("a form is text");
    text.split('&').find_map(|pair| pair.strip_prefix(&format!("{key}="))).map(str::to_owned)
}

impl Stage {
    /// Started; the first HTTP request is there.
    #[track_caller]
    pub fn started(setup: Setup) -> Self {
        Self::of(VirtualHost::new::<GizwitsSession>(setup))
    }

    #[track_caller]
    pub fn started_behind_the_abi(setup: Setup) -> Self {
        Self::of(VirtualHost::through_abi::<GizwitsSession>(setup))
    }

    #[track_caller]
    fn of(host: VirtualHost) -> Self {
        let none = RequestId(0);
        let mut stage = Self { host, listener: none, socket: none, connection: none };
        stage.start();
        stage
    }

    #[track_caller]
    pub fn start(&mut self) {
        self.host.start();
        self.open_lan();
    }

    #[track_caller]
    pub fn open_lan(&mut self) {
        let (listener, port) = self.host.expect_tcp_listen();
        self.host.tcp_listening(listener, port);
        let (socket, port) = self.host.expect_udp_bind();
        self.host.udp_bound(socket, port);
        (self.listener, self.socket) = (listener, socket);
    }

    /// Registered and online; nothing left to expect.
    #[track_caller]
    pub fn online() -> Self {
        Self::online_with(json!({"check_updates": false}))
    }

    #[track_caller]
    pub fn online_with(changes: Value) -> Self {
        let mut stage = Self::started(setup(changes));
        stage.register();
        stage.provision();
        stage.log_in();
        stage.host.expect_silence();
        stage
    }

    /// The cloud gives the DID; the passcode that was registered.
    #[track_caller]
    pub fn register(&mut self) -> String {
        let (id, request) = self.host.expect_http();
        assert_eq!((request.method.as_str(), request.url.as_str()), ("POST", "http://api.gizwits.com/dev/devices"));
        assert_eq!(field(&request.body, "mac").as_deref(), Some(MAC));
        assert_eq!(field(&request.body, "product_key").as_deref(), Some(KEY));
        let passcode = field(&request.body, "passcode").expect("a passcode is registered");
        self.host.http_answer(id, 201, format!("did={DID}"));
        passcode
    }

    /// The cloud tells the M2M server.
    #[track_caller]
    pub fn provision(&mut self) {
        self.provision_with("host=m2m.test&port=1883&server_ts=1795213164\r\n");
    }

    #[track_caller]
    pub fn provision_with(&mut self, body: &str) {
        let request = self.asked_for_provision();
        self.host.http_answer(request, 200, body);
        assert_eq!(self.host.expect_module(), module::Request::OfferTime(1_795_213_164_000));
    }

    #[track_caller]
    pub fn asked_for_provision(&mut self) -> RequestId {
        let (id, request) = self.host.expect_http();
        let url = format!("http://api.gizwits.com/dev/devices/{DID}");
        assert_eq!((request.method.as_str(), request.url.as_str()), ("GET", url.as_str()));
        id
    }

    /// Look-up, connection, subscriptions, and the question how many applications there are.
    #[track_caller]
    pub fn log_in(&mut self) {
        self.resolve();
        let connect = self.accept();
        assert_eq!(connect.client_id, DID);
        self.subscribe();
    }

    #[track_caller]
    pub fn resolve(&mut self) {
        let (id, host) = self.host.expect_resolve();
        assert_eq!(host, "m2m.test");
        self.host.resolved(id, &["192.0.2.1", "192.0.2.2"]);
    }

    #[track_caller]
    pub fn accept(&mut self) -> mqtt::Connect {
        let (connection, connect) = self.host.expect_mqtt_connect();
        self.connection = connection;
        self.host.mqtt_connected(connection);
        connect
    }

    #[track_caller]
    pub fn subscribe(&mut self) {
        for filter in [format!("ser2cli_noti/{KEY}"), format!("ser2cli_res/{DID}"), format!("app2dev/{DID}/#")] {
            let subscribe = self.host.expect_subscribe();
            assert_eq!((subscribe.filter, subscribe.qos), (filter, 0));
            self.host.subscribed(subscribe.id, 0);
        }
        let question = self.publish_on("cli2ser_req");
        assert_eq!(question.message.payload, [0, 0, 0, 3, 2, 0x0F]);
    }

    /// A publish on this topic, which the socket takes.
    #[track_caller]
    pub fn publish_on(&mut self, topic: &str) -> Publish {
        let publish = self.host.expect_publish_on(topic);
        assert_eq!((publish.message.qos, publish.message.retain), (0, false));
        self.host.published(publish.id);
        publish
    }

    /// A report at the cloud: its payload inside the frame.
    #[track_caller]
    pub fn report_at_cloud(&mut self) -> Vec<u8> {
        let publish = self.publish_on(&format!("dev2app/{DID}"));
        publish.message.payload
    }

    /// An application at the cloud says something.
    #[track_caller]
    pub fn cloud_app(&mut self, client: &str, payload: impl AsRef<[u8]>) {
        let connection = self.connection;
        self.host.mqtt_message(connection, &format!("app2dev/{DID}/{client}"), payload);
    }

    /// The server says something to this device.
    #[track_caller]
    pub fn server(&mut self, command: u16, data: &[u8]) {
        let connection = self.connection;
        let payload = [&[0, 0, 0, 3][..], &command.to_be_bytes(), data].concat();
        self.host.mqtt_message(connection, &format!("ser2cli_res/{DID}"), payload);
    }

    /// An application connects on the local network.
    #[track_caller]
    pub fn app(&mut self) -> RequestId {
        let listener = self.listener;
        self.host.tcp_accepted(listener, "192.0.2.50:40000")
    }

    /// An application that has logged in with this passcode; the module has been told.
    #[track_caller]
    pub fn logged_in(&mut self, passcode: &str, n_apps: u32) -> RequestId {
        let app = self.app();
        let length = u16::try_from(passcode.len()).expect("a passcode is short").to_be_bytes();
        self.host.tcp_received(app, frame(0x08, &[&length, passcode.as_bytes()].concat()));
        assert_eq!(self.host.expect_tcp_send(), (app, frame(0x09, &[0])));
        assert_eq!(self.host.expect_module(), module::Request::Applications(n_apps));
        app
    }

    /// The passcode, as an application learns it while the device may be bound.
    #[track_caller]
    pub fn bind(&mut self) -> String {
        let app = self.app();
        self.host.tcp_received(app, frame(0x06, &[]));
        let (to, bytes) = self.host.expect_tcp_send();
        assert_eq!(to, app);
        let passcode = String::from_utf8(bytes[10..].to_vec()).expect("a passcode is text");
        assert_eq!(bytes, frame(0x07, &[&[0, 10], passcode.as_bytes()].concat()));
        self.host.tcp_closed(app, polylink_plugin_sdk::services::Reason::ConnectionLost);
        passcode
    }

    /// Everything that was asked of one kind, in order.
    pub fn sent_to(&mut self, app: RequestId) -> Vec<Vec<u8>> {
        let (mine, others): (Vec<_>, Vec<_>) = self
            .host
            .take_outputs()
            .into_iter()
            .partition(|output| matches!(output, Output::Tcp(tcp::Request::Send(to, _)) if *to == app));
        assert!(others.is_empty(), "asked beside: {others:?}");
        mine.into_iter()
            .filter_map(|output| match output {
                Output::Tcp(tcp::Request::Send(_, bytes)) => Some(bytes),
                _ => None,
            })
            .collect()
    }

    /// Datagrams that were asked for, and nothing else.
    pub fn broadcasts(&mut self) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        for output in self.host.take_outputs() {
            match output {
                Output::Udp(udp::Request::Broadcast(_, 2415, bytes)) => found.push(bytes),
                other => panic!("asked beside: {other:?}"),
            }
        }
        found
    }

    /// An HTTP request whatever it asks.
    #[track_caller]
    pub fn http(&mut self) -> (RequestId, http::Request) {
        self.host.expect_http()
    }
}
