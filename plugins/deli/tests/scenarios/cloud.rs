//! The platform's side of a conversation, as the tests speak it.

use polylink_deli::session::DeliSession;
use polylink_plugin_sdk::services::{Reason, module, mqtt};
use polylink_plugin_sdk::testing::{Publish, Setup, VirtualHost};
use polylink_plugin_sdk::{DatapointId, Output, RequestId, Value as Datum};
use serde_json::{Value, json};

/// Name of the private topic; the device does not know it.
const PRIVATE: &str = "private/of/the/device";

pub const DEVICE: &str = "DL3785W_1234567890";

/// A virtual host with a Deli session, and the platform it talks to.
pub struct Cloud {
    pub host: VirtualHost,
    pub connection: RequestId,
}

/// A setup with these settings on top of the required ones; null removes a key.
pub fn setup(changes: Value) -> Setup {
    let mut settings = json!({
        "product_type": "KQ", "product_model": "DL3785W", "serial": "1234567890",
        "product_secret": "a1b2c3d4e5f60718293a4b5c6d7e8f90", "broker_url": "tcp://broker:1883",
    });
    for (key, value) in changes.as_object().expect("settings are an object") {
        if value.is_null() {
            settings.as_object_mut().unwrap().remove(key);
        } else {
            settings[key] = value.clone();
        }
    }
    let mut setup = Setup::new(settings, product(false));
    setup.facts.mcu_software = "1.0".to_owned();
    setup
}

pub fn product(raw: bool) -> Value {
    json!({"product_key": "k", "name": "lamp", "raw": raw,
      "properties": [
        {"id": 0, "name": "power", "cloud_name": "switch", "type": "bool", "writable": true},
        {"id": 1, "name": "count", "cloud_name": "n", "type": "int", "min": "0", "max": "1000000", "step": "1", "writable": true}],
      "events": [{"id": 0, "name": "alarm", "cloud_name": "smoke", "params": []}],
      "actions": [
        {"id": 0, "name": "clean", "cloud_name": "cleanup", "idempotent": false, "params": [],
         "returns": [{"id": 0, "name": "freed", "cloud_name": "freed", "type": "int", "min": "0", "max": "10", "step": "1"}]},
        {"id": 1, "name": "erase", "cloud_name": "erase", "idempotent": true, "params": [], "returns": []}]})
}

impl Cloud {
    /// Started, not connected.
    pub fn started(setup: Setup) -> Self {
        let mut host = VirtualHost::new::<DeliSession>(setup);
        host.start();
        Self { host, connection: RequestId(0) }
    }

    /// Started behind the driver and the types of the ABI.
    pub fn started_behind_the_abi(setup: Setup) -> Self {
        let mut host = VirtualHost::through_abi::<DeliSession>(setup);
        host.start();
        Self { host, connection: RequestId(0) }
    }

    /// Connected; nothing answered yet.
    pub fn connected(changes: Value) -> Self {
        let mut cloud = Self::started(setup(changes));
        cloud.accept();
        cloud
    }

    /// Connected, bound to organisation 1000, the start sequence answered, nothing left to expect.
    pub fn online(changes: Value) -> Self {
        let mut cloud = Self::connected(changes);
        cloud.answer_start(json!({"group_id": 1000}));
        cloud
    }

    /// Takes the connection that the session asks for.
    #[track_caller]
    pub fn accept(&mut self) -> mqtt::Connect {
        let (connection, connect) = self.host.expect_mqtt_connect();
        self.connection = connection;
        self.host.mqtt_connected(connection);
        connect
    }

    /// Answers 100, 101 and 102; `record` is what 102 says besides code and status.
    #[track_caller]
    pub fn answer_start(&mut self, record: Value) {
        let time = self.host.now().wall.unix_seconds();
        let asked = self.expect(100);
        self.say(json!({"mid": asked["mid"], "from": "system", "time": time, "action": 100, "data": {"code": 0}}));
        self.answer(101, json!({"code": 0}));
        self.answer_record(record);
        self.host.take_outputs();
    }

    #[track_caller]
    pub fn answer_record(&mut self, record: Value) {
        let mut data = json!({"code": 0, "status": 1});
        data.as_object_mut().unwrap().extend(record.as_object().unwrap().clone());
        self.answer(102, data);
    }

    /// Answers the request of this action.
    #[track_caller]
    pub fn answer(&mut self, action: i64, data: Value) -> Value {
        let asked = self.expect(action);
        self.say(
            json!({"mid": asked["mid"], "from": "system", "to": DEVICE, "time": 1, "action": action, "data": data}),
        );
        asked
    }

    /// Says something to the device.
    #[track_caller]
    pub fn say(&mut self, message: Value) {
        self.say_bytes(message.to_string());
    }

    #[track_caller]
    pub fn say_bytes(&mut self, payload: impl AsRef<[u8]>) {
        self.host.mqtt_message(self.connection, PRIVATE, payload);
    }

    /// The next message of this action, not acknowledged.
    #[track_caller]
    pub fn expect(&mut self, action: i64) -> Value {
        self.expect_publish(action).json()
    }

    #[track_caller]
    pub fn expect_publish(&mut self, action: i64) -> Publish {
        self.host.expect_output(&format!("a message of action {action}"), |output| match output {
            Output::Mqtt(mqtt::Request::Publish { connection, id, message }) => {
                let json: Value = serde_json::from_slice(&message.payload).ok()?;
                let publish = Publish { connection: *connection, id: *id, message: message.clone() };
                (json["action"] == action).then_some(publish)
            }
            _ => None,
        })
    }

    /// How many messages of this action were sent and not expected yet; they are forgotten, as is everything else.
    pub fn count(&mut self, action: i64) -> usize {
        let outputs = self.host.take_outputs();
        let is_one = |output: &&Output| match output {
            Output::Mqtt(mqtt::Request::Publish { message, .. }) => {
                serde_json::from_slice::<Value>(&message.payload).is_ok_and(|json| json["action"] == action)
            }
            _ => false,
        };
        outputs.iter().filter(is_one).count()
    }

    /// The device reports this count; the report's number.
    #[track_caller]
    pub fn report(&mut self, count: i64) -> u64 {
        self.host.report([(DatapointId(1), Datum::Int(count))])
    }

    /// The connection breaks.
    #[track_caller]
    pub fn cut(&mut self) {
        self.host.mqtt_closed(self.connection, Reason::ConnectionLost);
    }

    /// Lets time pass up to the next attempt, and takes it.
    #[track_caller]
    pub fn reconnect(&mut self) {
        self.host.advance(400_000);
        self.accept();
    }

    #[track_caller]
    pub fn unbind_at_device(&mut self) {
        self.host.module_event(module::Event::Unbind);
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
}
