//! The platform's side of a conversation, as the tests speak it. It is strict where the platform is: it checks the
//! credentials of each connection it takes, and what an authentication asks for.

mod credentials;

use polylink_lierda::session::LierdaSession;
use polylink_plugin_sdk::services::{Reason, mqtt};
use polylink_plugin_sdk::session::Phase;
use polylink_plugin_sdk::testing::{Publish, Setup, Subscribe, VirtualHost};
use polylink_plugin_sdk::{DatapointId, Output, RequestId, Value as Datum, hex};
use serde_json::{Value, json};

pub use credentials::{client_id_parts, decrypt, encrypt, session_key, working_password};

pub const OPEN_ID: &str = "7ED01E2A";
pub const PRODUCT_ID: &str = "AA30C505";
pub const NODE_EUI: &str = "20MQTTJ000121";
pub const PRODUCT_KEY: &str = "DB6FACEF35BEBA0517712F0E4BE32936";
/// What the platform gives the device, or what is burnt into it.
pub const DEVICE_SECRET: &str = "326086233FAB8A96566796551EB1DFF8";
/// What the session keys of encrypted products are made of at first.
pub const SESSION: (&str, u64) = ("4655434B", 128);
/// The topic that all others of the device are below.
pub const BASE: &str = "/sys/7ED01E2A/AA30C505/20MQTTJ000121";

/// A virtual host with a Lierda session, and the platform it talks to.
pub struct Cloud {
    pub host: VirtualHost,
    pub connection: RequestId,
    /// The script that the device loads, if it has one.
    pub script: Option<RequestId>,
    /// What the session key is made of.
    pub session: (String, u64),
    /// Passwords that were used so far.
    passwords: Vec<String>,
    last_id: u64,
}

/// A frame of the device.
#[derive(Clone, Debug)]
pub struct Sent {
    pub id: Value,
    /// As it was on the wire.
    pub payload: Value,
    pub publish: Publish,
}

/// Settings on top of the required ones; null removes a key.
pub fn settings(changes: Value) -> Value {
    let mut settings = json!({
        "broker_url": "tcp://broker", "open_id": OPEN_ID, "product_id": PRODUCT_ID, "product_key": PRODUCT_KEY,
        "node_eui": NODE_EUI,
    });
    for (key, value) in changes.as_object().expect("settings are an object") {
        if value.is_null() {
            settings.as_object_mut().unwrap().remove(key);
        } else {
            settings[key] = value.clone();
        }
    }
    settings
}

/// A setup with these settings on top of the required ones.
pub fn setup(changes: Value) -> Setup {
    setup_of(product(false), changes)
}

pub fn setup_of(product: Value, changes: Value) -> Setup {
    let mut setup = Setup::new(settings(changes), product);
    setup.facts.mcu_software = "1.0".to_owned();
    setup.facts.mcu_hardware = "hw1".to_owned();
    setup
}

/// A lamp: `switch` (0) and `n` (1) can be set, `temp` (2) only be read; event `lowBattery` (0) with `volt`; services
/// `switch` (0, with `on`, returns `state`) and `reset` (1).
pub fn product(raw: bool) -> Value {
    json!({"product_key": "k", "name": "lamp", "raw": raw,
      "properties": [
        {"id": 0, "name": "power", "cloud_name": "switch", "type": "bool", "writable": true},
        {"id": 1, "name": "count", "cloud_name": "n", "type": "int", "min": "0", "max": "1000000", "step": "1", "writable": true},
        {"id": 2, "name": "temperature", "cloud_name": "temp", "type": "int", "min": "-50", "max": "150", "step": "1", "writable": false}],
      "events": [{"id": 0, "name": "battery", "cloud_name": "lowBattery",
        "params": [{"id": 0, "name": "volt", "cloud_name": "volt", "type": "int", "min": "0", "max": "100", "step": "1"}]}],
      "actions": [
        {"id": 0, "name": "turn", "cloud_name": "switch", "idempotent": false,
         "params": [{"id": 0, "name": "on", "cloud_name": "on", "type": "int", "min": "0", "max": "1", "step": "1"}],
         "returns": [{"id": 0, "name": "state", "cloud_name": "state", "type": "int", "min": "0", "max": "1", "step": "1"}]},
        {"id": 1, "name": "reset", "cloud_name": "reset", "idempotent": true, "params": [], "returns": []}]})
}

/// Online as a JSON model product, everything answered, nothing left to expect.
#[track_caller]
pub fn online(changes: Value) -> Cloud {
    Cloud::online(setup(changes))
}

/// As [`online`], for an encrypted product.
#[track_caller]
pub fn online_encrypted(changes: Value) -> Cloud {
    online(merged(json!({"encrypted": true}), changes))
}

/// As [`online`], for a passthrough product; `raw`: the device speaks bytes.
#[track_caller]
pub fn online_passthrough(raw: bool, changes: Value) -> Cloud {
    Cloud::online(setup_of(product(raw), merged(json!({"product_kind": "passthrough"}), changes)))
}

/// As [`online`], for a HEX model product. With a `script` in the settings the product is not raw and the script is
/// loaded, without one it is raw.
#[track_caller]
pub fn online_hex(changes: Value) -> Cloud {
    let changes = merged(json!({"product_kind": "hex"}), changes);
    Cloud::online(setup_of(product(changes.get("script").is_none()), changes))
}

fn merged(mut settings: Value, changes: Value) -> Value {
    settings.as_object_mut().unwrap().extend(changes.as_object().expect("settings are an object").clone());
    settings
}

impl Cloud {
    /// Started, not connected; a script is loaded.
    #[track_caller]
    pub fn started(setup: Setup) -> Self {
        Self::start(VirtualHost::new::<LierdaSession>(setup.clone()), &setup)
    }

    /// As [`Self::started`], behind the driver and the types of the ABI.
    #[track_caller]
    pub fn started_behind_the_abi(setup: Setup) -> Self {
        Self::start(VirtualHost::through_abi::<LierdaSession>(setup.clone()), &setup)
    }

    /// Started; nothing that the device asks for is answered.
    #[track_caller]
    pub fn started_alone(setup: Setup) -> Self {
        Self::alone(VirtualHost::new::<LierdaSession>(setup))
    }

    #[track_caller]
    fn alone(mut host: VirtualHost) -> Self {
        host.start();
        let session = (SESSION.0.to_owned(), SESSION.1);
        Self { host, connection: RequestId(0), script: None, session, passwords: Vec::new(), last_id: 900_000 }
    }

    #[track_caller]
    fn start(host: VirtualHost, setup: &Setup) -> Self {
        let mut cloud = Self::alone(host);
        if setup.settings.contains(r#""script""#) {
            let (script, ..) = cloud.host.expect_script_load();
            cloud.host.script_loaded(script);
            cloud.script = Some(script);
        }
        cloud
    }

    /// Authenticated if it is asked for, connected, subscribed; what the device says then is not answered yet.
    #[track_caller]
    pub fn connected(setup: Setup) -> Self {
        let mut cloud = Self::started(setup);
        cloud.come_online();
        cloud
    }

    /// Online, everything answered, nothing left to expect.
    #[track_caller]
    pub fn online(setup: Setup) -> Self {
        let mut cloud = Self::connected(setup);
        cloud.answer_start();
        cloud.host.take_outputs();
        // So that no status is due.
        cloud.host.advance(1_000);
        cloud
    }

    /// Takes every connection that the device asks for now until it is online.
    #[track_caller]
    pub fn come_online(&mut self) -> Vec<Subscribe> {
        let connect = self.accept();
        if connect.username.is_some_and(|username| username.starts_with("AUTH-")) {
            self.authenticate();
            self.accept();
        }
        self.grant_subscriptions()
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

    /// What the broker checks.
    #[track_caller]
    pub fn check_credentials(&mut self, connect: &mqtt::Connect) {
        let password = connect.password.as_ref().expect("each connection has a password").expose();
        let password = std::str::from_utf8(password).expect("passwords are text");
        self.passwords.push(password.to_owned());
        if connect.client_id == format!("{PRODUCT_ID}-{NODE_EUI}") {
            assert_eq!(connect.username, Some(format!("AUTH-{OPEN_ID}-{PRODUCT_ID}")));
            assert_eq!(password, PRODUCT_KEY);
        } else {
            assert_eq!(connect.username, Some(format!("{OPEN_ID}-{PRODUCT_ID}-{NODE_EUI}")));
            assert_eq!(password, working_password(&connect.client_id), "{}", connect.client_id);
        }
    }

    /// Lets the device authenticate on the connection it has: subscription, request, answer, and the device hangs up.
    #[track_caller]
    pub fn authenticate(&mut self) {
        let id = self.expect_authentication();
        let mut reply = json!({"Code": 0, "DeviceSecret": DEVICE_SECRET});
        if self.host.setup().settings.contains(r#""encrypted":true"#) {
            reply["SessionID"] = json!(self.session.0);
            reply["Nonce"] = json!(self.session.1);
        }
        self.answer_authentication(&id, reply);
        assert_eq!(self.host.expect_mqtt_disconnect(), self.connection);
    }

    /// Grants the subscription of an authentication connection; the name of the request that follows.
    #[track_caller]
    pub fn expect_authentication(&mut self) -> Value {
        let subscribe = self.host.expect_subscribe();
        assert_eq!((subscribe.connection, subscribe.filter.as_str()), (self.connection, &*below("downlink")));
        self.host.expect_silence();
        self.host.subscribed(subscribe.id, subscribe.qos);
        self.expect_authentication_request()
    }

    #[track_caller]
    pub fn expect_authentication_request(&mut self) -> Value {
        let publish = self.host.expect_publish_on("/sys/device/auth");
        let frame = publish.json();
        let payload = &frame["Payload"];
        assert_eq!((&frame["HeaderCtrl"], &frame["Version"]), (&json!(1), &json!("2.0")));
        assert_eq!(payload["OpenID"], OPEN_ID);
        assert_eq!(payload["ProductID"], PRODUCT_ID);
        assert_eq!(payload["NodeEui"], NODE_EUI);
        assert!(payload["Type"].is_u64() && payload.as_object().unwrap().len() == 4, "{payload}");
        frame["MessageId"].clone()
    }

    #[track_caller]
    pub fn answer_authentication(&mut self, id: &Value, payload: Value) {
        self.say_as("downlink", id, 1, payload);
    }

    /// Grants everything that the device subscribes to; what it was.
    #[track_caller]
    pub fn grant_subscriptions(&mut self) -> Vec<Subscribe> {
        let subscriptions = self.expect_subscriptions();
        for subscribe in &subscriptions {
            self.host.subscribed(subscribe.id, subscribe.qos);
        }
        subscriptions
    }

    /// Everything that the device subscribes to; it is not answered.
    #[track_caller]
    pub fn expect_subscriptions(&mut self) -> Vec<Subscribe> {
        let outputs = self.host.take_outputs();
        let subscriptions = outputs.into_iter().filter_map(|output| match output {
            Output::Mqtt(mqtt::Request::Subscribe { connection, id, filter, qos }) => {
                assert_eq!(connection, self.connection);
                Some(Subscribe { connection, id, filter, qos })
            }
            _ => None,
        });
        subscriptions.collect()
    }

    /// Acknowledges what the device says first: its firmware, and the question for the time.
    #[track_caller]
    pub fn answer_start(&mut self) {
        let firmware = self.expect("firmware_report", 8);
        self.ack("firmware_report_ack", 8, &firmware.id, 200);
        let time = self.expect("update_time", 29);
        let now = self.host.now().wall.unix_ms;
        let data = json!({"timestamp": now, "timezone": "Asia/Shanghai"});
        self.say_as("update_time_ack", &time.id, 29, json!({"Code": "200", "Msg": "SUCCESS", "Data": data}));
        self.host.expect_module();
    }

    /// Says something on the topic below the device's own, under a new name; the name.
    #[track_caller]
    pub fn say(&mut self, topic: &str, header_ctrl: i64, payload: Value) -> Value {
        self.last_id += 1;
        let id = json!(self.last_id);
        self.say_as(topic, &id, header_ctrl, payload);
        id
    }

    /// As [`Self::say`], encrypted.
    #[track_caller]
    pub fn say_sealed(&mut self, topic: &str, header_ctrl: i64, payload: Value) -> Value {
        self.say_sealed_text(topic, header_ctrl, &payload.to_string())
    }

    /// As [`Self::say_sealed`], what is encrypted being a text.
    #[track_caller]
    pub fn say_sealed_text(&mut self, topic: &str, header_ctrl: i64, plain: &str) -> Value {
        let sealed = self.seal(plain);
        self.say(topic, header_ctrl, sealed)
    }

    #[track_caller]
    pub fn say_as(&mut self, topic: &str, id: &Value, header_ctrl: i64, payload: Value) {
        let frame = json!({"MessageId": id, "HeaderCtrl": header_ctrl, "Payload": payload, "Version": "2.0"});
        self.say_bytes(topic, frame.to_string());
    }

    #[track_caller]
    pub fn say_bytes(&mut self, topic: &str, message: impl AsRef<[u8]>) {
        self.host.mqtt_message(self.connection, &below(topic), message);
    }

    /// Acknowledges a message of the device with this code, as a text.
    #[track_caller]
    pub fn ack(&mut self, topic: &str, header_ctrl: i64, id: &Value, code: i64) {
        let msg = if code == 200 { "SUCCESS" } else { "Failed" };
        self.say_as(topic, id, header_ctrl, json!({"Code": code.to_string(), "Msg": msg, "Data": {}}));
    }

    /// The next frame of this code on the topic below the device's own.
    #[track_caller]
    pub fn expect(&mut self, topic: &str, header_ctrl: i64) -> Sent {
        let full = below(topic);
        let connection = self.connection;
        self.host.expect_output(&format!("a frame {header_ctrl} on `{topic}`"), |output| match output {
            Output::Mqtt(mqtt::Request::Publish { connection: on, id, message }) if message.topic == full => {
                let json: Value = serde_json::from_slice(&message.payload).ok()?;
                if json["HeaderCtrl"] != header_ctrl {
                    return None;
                }
                assert_eq!((*on, &json["Version"]), (connection, &json!("2.0")));
                let publish = Publish { connection: *on, id: *id, message: message.clone() };
                Some(Sent { id: json["MessageId"].clone(), payload: json["Payload"].clone(), publish })
            }
            _ => None,
        })
    }

    /// Name and payload of [`Self::expect`].
    #[track_caller]
    pub fn expect_frame(&mut self, topic: &str, header_ctrl: i64) -> (Value, Value) {
        let Sent { id, payload, .. } = self.expect(topic, header_ctrl);
        (id, payload)
    }

    /// Name and payload of [`Self::expect`], decrypted; it has to be encrypted.
    #[track_caller]
    pub fn expect_sealed(&mut self, topic: &str, header_ctrl: i64) -> (Value, Value) {
        let (id, payload) = self.expect_frame(topic, header_ctrl);
        let plain = self.open(&payload);
        (id, serde_json::from_str(&plain).unwrap_or_else(|_| panic!("not JSON: {plain}")))
    }

    /// How many messages on the topic were not expected yet; they are forgotten, as is everything else.
    pub fn count(&mut self, topic: &str) -> usize {
        let full = below(topic);
        let is_one = |output: &&Output| matches!(output, Output::Mqtt(mqtt::Request::Publish { message, .. }) if message.topic == full);
        self.host.take_outputs().iter().filter(is_one).count()
    }

    /// The device reports this value of `n`; the report's number.
    #[track_caller]
    pub fn report(&mut self, count: i64) -> u64 {
        self.host.report([(DatapointId(1), Datum::Int(count))])
    }

    /// The connection breaks.
    #[track_caller]
    pub fn cut(&mut self) {
        self.host.mqtt_closed(self.connection, Reason::ConnectionLost);
    }

    /// Lets time pass up to the next attempt, and takes it until the device is online. What the device then says is not
    /// answered; see [`Self::answer_start`].
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

    /// This text as a payload that is encrypted by the session key.
    pub fn seal(&self, plain: impl AsRef<[u8]>) -> Value {
        encrypt(&self.key(), plain.as_ref()).into()
    }

    /// The text in a payload that is encrypted by the session key.
    #[track_caller]
    pub fn open(&self, payload: &Value) -> String {
        let digits = payload.as_str().unwrap_or_else(|| panic!("not encrypted: {payload}"));
        decrypt(&self.key(), digits).unwrap_or_else(|| panic!("not encrypted by this key: {payload}"))
    }

    /// The session key.
    pub fn key(&self) -> [u8; 16] {
        session_key(&self.session.0, self.session.1)
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
        let mut secrets = self.passwords.clone();
        secrets.extend([PRODUCT_KEY, DEVICE_SECRET].map(str::to_owned));
        secrets.extend([hex::upper(&self.key()), self.session.0.clone()]);
        let transcript = self.host.transcript();
        let asked = transcript.lines().filter(|line| line.contains("<--")).map(str::to_owned);
        let status = format!("{:?}", self.host.status());
        let logs = self.host.logs().iter().map(|(_, line)| line.clone());
        for line in logs.chain([status]).chain(asked) {
            let shown = line.to_uppercase();
            let secret = secrets.iter().find(|secret| shown.contains(&secret.to_uppercase()));
            assert!(secret.is_none(), "a secret is shown: {line}");
        }
    }
}

/// The topic below the device's own.
pub fn below(topic: &str) -> String {
    format!("{BASE}/{topic}")
}
