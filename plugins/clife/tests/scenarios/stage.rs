//! The platform's side of a conversation, as the tests speak it. It is strict where the platform is: it checks every
//! registration, the credentials of each connection it takes, and the form of each message.

mod framing;

use polylink_clife::session::ClifeSession;
use polylink_plugin_sdk::services::{Reason, http, mqtt};
use polylink_plugin_sdk::session::Phase;
use polylink_plugin_sdk::testing::{Publish, Setup, Subscribe, VirtualHost};
use polylink_plugin_sdk::{DatapointId, Output, RequestId, Value as Datum};
use serde_json::{Value, json};

pub use framing::{seal, unseal};

pub const PRODUCT_CODE: &str = "P0001";
pub const DEV_ID: &str = "D1234567";
pub const DEV_MAC: &str = "02005E102030";
/// What the platform has issued for the product or the device.
pub const DEV_KEY: &str = "3c6ef372fe94f82ba54ff53a5f1d36f1";
/// What the platform gives a registered device.
pub const DEVICE_SECRET: &str = "9b05688c2b3e6c1f1f83d9abfb41bd6b";
pub const MQTT_PASSWORD: &str = "tr0ub4dor";
pub const UPWARD: &str = "/device/P0001/D1234567/upward";
pub const DOWNWARD: &str = "/device/P0001/D1234567/downward";

/// A virtual host with a Clife session, and the platform it talks to.
pub struct Cloud {
    pub host: VirtualHost,
    /// The newest connection.
    pub connection: RequestId,
    /// The body of the platform's answer to a registration.
    pub login: Value,
    /// Key of MQTT messages.
    pub key: String,
    /// How far the platform's clock is ahead of the host's.
    pub ahead_ms: i64,
    /// What is never shown.
    pub secrets: Vec<String>,
    last_id: i64,
}

/// A request to register.
#[derive(Clone, Debug)]
pub struct Application {
    pub http: RequestId,
    pub request: http::Request,
    /// Its number.
    pub id: Value,
    /// Decrypted.
    pub body: Value,
    /// The message.
    pub frame: Value,
}

/// A message of the device.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its number.
    pub id: Value,
    /// Decrypted.
    pub body: Value,
    /// As it was on the wire.
    pub frame: Value,
    pub publish: Publish,
}

/// Settings of authentication level 2 with these on top; null removes a key.
pub fn settings(changes: Value) -> Value {
    let settings = json!({"product_code": PRODUCT_CODE, "dev_mac": DEV_MAC, "dev_key": DEV_KEY});
    merged(settings, changes)
}

/// Changes to [`settings`] for this authentication level.
pub fn level(auth_level: u8) -> Value {
    if auth_level == 0 { json!({"auth_level": 0, "dev_id": DEV_ID}) } else { json!({"auth_level": auth_level}) }
}

/// These members on top of those; null removes one.
pub fn merged(mut base: Value, changes: Value) -> Value {
    let members = base.as_object_mut().expect("an object");
    for (key, value) in changes.as_object().expect("changes are an object") {
        if value.is_null() {
            members.remove(key);
        } else {
            members.insert(key.clone(), value.clone());
        }
    }
    base
}

/// A setup with these settings on top of the required ones.
pub fn setup(changes: Value) -> Setup {
    setup_of(product(), changes)
}

pub fn setup_of(product: Value, changes: Value) -> Setup {
    let mut setup = Setup::new(settings(changes), product);
    setup.facts.module_software = "3.0.0.1".to_owned();
    setup.facts.module_hardware = "1.0".to_owned();
    setup.facts.mcu_software = "1.0.2.0".to_owned();
    setup.facts.mcu_hardware = "2.1".to_owned();
    setup
}

/// As [`setup`], for a device that has registered before.
#[track_caller]
pub fn setup_registered(changes: Value) -> Setup {
    let mut cloud = Cloud::started(setup(changes));
    cloud.register();
    cloud.host.setup().clone()
}

/// A lamp: `power` (0, number 1), `count` (1, number 2) and `mode` (3, number 4, of `auto` and `cool`, which travel as 0 and
/// 1) and `note` (4, number 5) can be set, `temperature` (2, number 3) only be read.
pub fn product() -> Value {
    json!({"product_key": "k", "name": "lamp", "raw": false, "events": [], "actions": [],
      "properties": [
        {"id": 0, "name": "power", "cloud_name": "1", "type": "bool", "writable": true},
        {"id": 1, "name": "count", "cloud_name": "2", "type": "int", "min": "0", "max": "1000000", "step": "1", "writable": true},
        {"id": 2, "name": "temperature", "cloud_name": "3", "type": "int", "min": "-50", "max": "150", "step": "1", "writable": false},
        {"id": 3, "name": "mode", "cloud_name": "4", "type": "enum", "labels": ["auto", "cool"], "cloud_labels": ["0", "1"], "writable": true},
        {"id": 4, "name": "note", "cloud_name": "5", "type": "text", "max_bytes": 64, "writable": true}]})
}

/// Registered and online, everything answered, nothing left to expect.
#[track_caller]
pub fn online(changes: Value) -> Cloud {
    Cloud::online(setup(changes))
}

impl Cloud {
    /// Started; nothing that the device asks for is answered.
    #[track_caller]
    pub fn started(setup: Setup) -> Self {
        Self::start(VirtualHost::new::<ClifeSession>(setup))
    }

    /// As [`Self::started`], behind the driver and the types of the ABI.
    #[track_caller]
    pub fn started_behind_the_abi(setup: Setup) -> Self {
        Self::start(VirtualHost::through_abi::<ClifeSession>(setup))
    }

    #[track_caller]
    fn start(mut host: VirtualHost) -> Self {
        host.start();
        let login = json!({
            "respCode": 0, "respCont": "ok", "devId": DEV_ID, "deviceSecret": DEVICE_SECRET,
            "mqttUrl": "tcp://broker.clife:1884", "mqttClientId": "C1", "mqttUser": "U1",
            "mqttPassword": MQTT_PASSWORD, "mqttKeepalive": 90,
        });
        let secrets = [DEV_KEY, DEVICE_SECRET, MQTT_PASSWORD].map(str::to_owned).to_vec();
        let key = DEVICE_SECRET.to_owned();
        Self { host, connection: RequestId(0), login, key, ahead_ms: 0, secrets, last_id: 900_000 }
    }

    /// Registered and online; what the device says then is left to expect.
    #[track_caller]
    pub fn connected(setup: Setup) -> Self {
        let mut cloud = Self::started(setup);
        cloud.register();
        cloud.come_online();
        cloud
    }

    /// Online, everything answered, nothing left to expect.
    #[track_caller]
    pub fn online(setup: Setup) -> Self {
        let mut cloud = Self::connected(setup);
        cloud.host.take_outputs();
        // So that no status is due.
        cloud.host.advance(1_000);
        cloud
    }

    /// Takes the device as one of the platform's.
    #[track_caller]
    pub fn register(&mut self) {
        let application = self.expect_application();
        self.answer_application(&application, self.login.clone());
    }

    /// The request to register that the device sends, in the right form; it is not answered.
    #[track_caller]
    pub fn expect_application(&mut self) -> Application {
        let (http, request) = self.host.expect_http();
        assert_eq!(request.method, "POST");
        assert_eq!(request.headers, [("Content-Type".to_owned(), "application/json".to_owned())]);
        let frame: Value = serde_json::from_slice(&request.body).expect("the request is JSON");
        let id = self.check_frame(&frame, 2000);
        let sealed = frame["data"].as_str().unwrap_or_else(|| panic!("not encrypted: {frame}"));
        let plain = unseal(DEV_KEY, sealed).unwrap_or_else(|| panic!("not encrypted by devKey: {frame}"));
        let body = serde_json::from_str(&plain).unwrap_or_else(|_| panic!("not JSON: {plain}"));
        Application { http, request, id, body, frame }
    }

    /// Answers a request to register with this body, encrypted.
    #[track_caller]
    pub fn answer_application(&mut self, application: &Application, body: Value) {
        let frame = self.frame(2001, &application.id, seal(DEV_KEY, body.to_string()).into());
        self.host.http_answer(application.http, 200, frame.to_string());
    }

    /// Takes the next connection, grants the subscription and answers 2004.
    #[track_caller]
    pub fn come_online(&mut self) {
        self.accept();
        self.grant_subscription();
        let (id, _) = self.expect_frame(2004);
        self.say(2005, &id, json!({"respCode": 0, "respCont": "ok"}));
        assert_eq!(self.host.status().phase, Phase::Online);
    }

    /// Takes the connection that the device asks for, if its credentials are right.
    #[track_caller]
    pub fn accept(&mut self) -> mqtt::Connect {
        let connect = self.expect_connect();
        self.host.mqtt_connected(self.connection);
        connect
    }

    /// The connection that the device asks for, with right credentials; it is not answered.
    #[track_caller]
    pub fn expect_connect(&mut self) -> mqtt::Connect {
        let (connection, connect) = self.host.expect_mqtt_connect();
        self.connection = connection;
        self.check_credentials(&connect);
        connect
    }

    /// What the broker checks: what the platform has given, or else what is set.
    #[track_caller]
    pub fn check_credentials(&mut self, connect: &mqtt::Connect) {
        let settings: Value = serde_json::from_str(&self.host.setup().settings).unwrap();
        let password = connect.password.as_ref().expect("each connection has a password").expose();
        let seen = [
            connect.client_id.clone(),
            connect.username.clone().expect("each connection has a user"),
            String::from_utf8(password.clone()).expect("passwords are text"),
        ];
        let issued = |set: &str, given: &str| {
            let set = settings[set].as_str().filter(|set| !set.is_empty());
            set.or(self.login[given].as_str()).expect("it was issued or set").to_owned()
        };
        let expected =
            [("mqtt_client_id", "mqttClientId"), ("mqtt_user", "mqttUser"), ("mqtt_password", "mqttPassword")]
                .map(|(set, given)| issued(set, given));
        assert_eq!(seen, expected);
    }

    /// Grants the subscription that the device asks for; it has to be the device's own topic.
    #[track_caller]
    pub fn grant_subscription(&mut self) -> Subscribe {
        let subscribe = self.expect_subscription();
        self.host.subscribed(subscribe.id, subscribe.qos);
        subscribe
    }

    /// The subscription that the device asks for; it is not answered.
    #[track_caller]
    pub fn expect_subscription(&mut self) -> Subscribe {
        let subscribe = self.host.expect_subscribe();
        assert_eq!((subscribe.connection, subscribe.filter.as_str()), (self.connection, DOWNWARD));
        subscribe
    }

    /// A number of the platform that was not used before.
    pub fn new_id(&mut self) -> Value {
        self.last_id += 1;
        json!(self.last_id)
    }

    /// Says something under this number, encrypted.
    #[track_caller]
    pub fn say(&mut self, cmd: i64, id: &Value, body: Value) {
        let sealed = seal(&self.key, body.to_string());
        self.say_data(cmd, id, sealed.into());
    }

    /// As [`Self::say`], under a new number; the number.
    #[track_caller]
    pub fn ask(&mut self, cmd: i64, body: Value) -> Value {
        let id = self.new_id();
        self.say(cmd, &id, body);
        id
    }

    /// As [`Self::say`]; `data` is sent as it is.
    #[track_caller]
    pub fn say_data(&mut self, cmd: i64, id: &Value, data: Value) {
        let frame = self.frame(cmd, id, data);
        self.say_bytes(frame.to_string());
    }

    #[track_caller]
    pub fn say_bytes(&mut self, message: impl AsRef<[u8]>) {
        self.host.mqtt_message(self.connection, DOWNWARD, message);
    }

    /// A message of the platform; `data` is sent as it is.
    pub fn frame(&self, cmd: i64, id: &Value, data: Value) -> Value {
        let timestamp = self.host.now().wall.unix_ms + self.ahead_ms;
        json!({"cmd": cmd, "ver": "1.0", "dir": "30", "msgId": id, "timestamp": timestamp, "data": data})
    }

    /// Number and body of the next message of the device with this command. It has to be encrypted, unless the settings
    /// say otherwise.
    #[track_caller]
    pub fn expect_frame(&mut self, cmd: i64) -> (Value, Value) {
        let Sent { id, body, .. } = self.expect(cmd);
        (id, body)
    }

    /// The next message of the device with this command; see [`Self::expect_frame`].
    #[track_caller]
    pub fn expect(&mut self, cmd: i64) -> Sent {
        let connection = self.connection;
        let publish = self.host.expect_output(&format!("a message {cmd}"), |output| match output {
            Output::Mqtt(mqtt::Request::Publish { connection: on, id, message }) => {
                let frame: Value = serde_json::from_slice(&message.payload).expect("what is sent is JSON");
                (frame["cmd"] == cmd).then(|| Publish { connection: *on, id: *id, message: message.clone() })
            }
            _ => None,
        });
        assert_eq!((publish.connection, publish.message.topic.as_str()), (connection, UPWARD));
        assert!(!publish.message.retain);
        let frame = publish.json();
        let id = self.check_frame(&frame, cmd);
        let body = self.open(&frame);
        Sent { id, body, frame, publish }
    }

    /// Everything that each message of the device has; its number.
    #[track_caller]
    fn check_frame(&mut self, frame: &Value, cmd: i64) -> Value {
        assert_eq!(
            (&frame["cmd"], &frame["ver"], &frame["dir"]),
            (&json!(cmd), &json!("1.0"), &json!("03")),
            "{frame}"
        );
        let as_text = self.host.setup().settings.contains(r#""timestamp_type":"string""#);
        let timestamp = &frame["timestamp"];
        assert!(if as_text { timestamp.is_string() } else { timestamp.is_i64() }, "{frame}");
        assert!(frame["msgId"].is_i64() && frame.as_object().unwrap().len() == 6, "{frame}");
        frame["msgId"].clone()
    }

    /// The body of a message of the device, decrypted if it has to be encrypted.
    #[track_caller]
    pub fn open(&mut self, frame: &Value) -> Value {
        let data = &frame["data"];
        if self.host.setup().settings.contains(r#""mqtt_encrypt_data":false"#) {
            assert!(data.is_object(), "not in clear: {frame}");
            return data.clone();
        }
        let sealed = data.as_str().unwrap_or_else(|| panic!("not encrypted: {frame}"));
        let plain = unseal(&self.key, sealed).unwrap_or_else(|| panic!("not encrypted by this key: {frame}"));
        serde_json::from_str(&plain).unwrap_or_else(|_| panic!("not JSON: {plain}"))
    }

    /// The device reports this value of `count`; the report's number.
    #[track_caller]
    pub fn report(&mut self, count: i64) -> u64 {
        self.host.report([(DatapointId(1), Datum::Int(count))])
    }

    /// The connection breaks.
    #[track_caller]
    pub fn cut(&mut self) {
        self.host.mqtt_closed(self.connection, Reason::ConnectionLost);
    }

    /// Lets time pass up to the next attempt, and takes it until the device is online.
    #[track_caller]
    pub fn reconnect(&mut self) {
        self.wait_for_attempt();
        self.come_online();
    }

    /// Lets time pass up to the next attempt; how many milliseconds.
    #[track_caller]
    pub fn wait_for_attempt(&mut self) -> u64 {
        let mut waited = self.host.advance_to_next_timeout();
        while self.host.status().phase != Phase::Connecting {
            waited += self.host.advance_to_next_timeout();
        }
        waited
    }

    /// A fact of the last status.
    pub fn fact(&self, name: &str) -> Option<&str> {
        self.host.status().facts.iter().find(|(fact, _)| fact == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub fn assert_fact(&self, name: &str, says: &str) {
        let value = self.fact(name).unwrap_or_else(|| panic!("no fact {name} in {:?}", self.host.status()));
        assert!(value.contains(says), "fact {name} is `{value}`");
    }

    /// True if a line of the log says this.
    pub fn logged(&self, says: &str) -> bool {
        self.host.logs().iter().any(|(_, line)| line.contains(says))
    }
}

/// No secret is ever in the log, the status, or what the debug output of a request shows.
impl Drop for Cloud {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let transcript = self.host.transcript();
        let asked = transcript.lines().filter(|line| line.contains("<--")).map(str::to_owned);
        let status = format!("{:?}", self.host.status());
        let logs = self.host.logs().iter().map(|(_, line)| line.clone());
        for line in logs.chain([status]).chain(asked) {
            let shown = line.to_lowercase();
            let secret = self.secrets.iter().find(|secret| shown.contains(&secret.to_lowercase()));
            assert!(secret.is_none(), "a secret is shown: {line}");
        }
    }
}
