//! The Lierda X platform, written from its device access protocol V2.0: two MQTT accounts, the frame, commands 1 to 29,
//! encryption, and upgrades with their HTTP server.
//!
//! It has one product with one device. The ledger says online once the device has also subscribed to what its commands
//! need. Where the vendor's text leaves something open, the simulator goes by the choices of our protocol document.

mod access;
pub mod behaviour;
mod cipher;
mod commands;
mod envelope;
pub mod firmware;
mod ids;
mod payload;
mod platform;
pub mod product;
mod reports;
mod session;
mod topics;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value as Json, json};

use self::behaviour::Behaviour;
use self::commands::{CALL, HEX_CALL, HEX_QUERY, HEX_SET, PASSTHROUGH, QUERY, SET, SETTINGS, VERSIONS};
use self::firmware::Image;
use self::platform::Platform;
pub use self::platform::{Authentication, Frame, Seen};
use self::product::{Kind, Product, Properties};
use super::SimCloud;
use super::ledger::Ledger;
use crate::broker::Broker;
use crate::changes;
use crate::file_server::FileServer;

/// A running Lierda platform with one device.
pub struct Lierda {
    platform: Arc<Platform>,
    broker: Arc<Broker>,
    files: FileServer,
    n_images: AtomicUsize,
}

/// Names of the topic for passthrough commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Downlink {
    /// `downlink`.
    Downlink,
    /// `downloadlink`.
    Downloadlink,
    /// The same command on both.
    Both,
}

/// What a HEX command wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HexCommand {
    /// 22.
    Set,
    /// 24.
    Call,
    /// 25.
    Query,
}

impl Lierda {
    /// Starts it on free ports, with a clear JSON product of the first scheme; reports are told apart by the datapoint
    /// `counter`. Needs a running tokio runtime.
    pub fn start(counter: &str) -> io::Result<Self> {
        Self::start_with(counter, Product::default())
    }

    /// The same with another product.
    pub fn start_with(counter: &str, product: Product) -> io::Result<Self> {
        let platform = Platform::new(counter, product);
        let broker = Arc::new(Broker::start(platform.clone(), None)?);
        let files = FileServer::start_kept(platform.clone())?;
        platform.attach(&broker);
        Ok(Self { platform, broker, files, n_images: AtomicUsize::new(0) })
    }

    /// Its broker, for faults.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Its firmware server, for faults; see [`firmware::path_of`].
    pub fn files(&self) -> &FileServer {
        &self.files
    }

    /// Changes what the platform does from now on.
    pub fn change(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.platform.lock().behaviour);
    }

    /// What it has seen.
    pub fn seen(&self) -> Seen {
        self.platform.lock().seen.clone()
    }

    /// Waits until what it has seen fulfils a condition.
    pub async fn until(&self, condition: impl Fn(&Seen) -> bool) {
        changes::until(&self.platform.changes, || condition(&self.platform.lock().seen)).await;
    }

    /// Client id of the working connection, which has a time in it.
    pub fn client(&self) -> Option<String> {
        self.platform.lock().working.as_ref().map(|working| working.client.clone())
    }

    /// Cuts the working connection.
    pub fn kick(&self) {
        if let Some(client) = self.client() {
            self.broker.kick(&client);
        }
    }

    /// The device is deleted from the platform: its secret is dead, and the next authentication gives it another one.
    pub fn forget_device(&self) {
        let mut state = self.platform.lock();
        state.n_secrets += 1;
        state.secret = None;
        state.keys = session::Keys::default();
        state.auth_reply = None;
    }

    /// The device went offline at this time, says the platform, in Unix seconds.
    pub fn set_last_offline(&self, seconds: i64) {
        self.platform.lock().last_offline = seconds;
    }

    /// The device's secret, once the platform has given it one.
    pub fn device_secret(&self) -> Option<String> {
        self.platform.lock().secret.clone()
    }

    /// The device's first answer to a command.
    pub fn answer_to(&self, id: &str) -> Option<Frame> {
        self.platform.lock().seen.answers.get(id).cloned()
    }

    /// Sends a command again, under the same MessageId.
    pub fn repeat(&self, id: &str) -> Result<(), String> {
        self.platform.repeat(id)
    }

    /// 7: anything for the application. Like all commands it returns the text form of its MessageId.
    pub fn passthrough(&self, payload: &Json, on: Downlink) -> Result<String, String> {
        let topics = match on {
            Downlink::Downlink => &["downlink"][..],
            Downlink::Downloadlink => &["downloadlink"],
            Downlink::Both => &["downlink", "downloadlink"],
        };
        self.platform.ask(PASSTHROUGH, topics, payload)
    }

    /// 20: sets properties, in this order.
    pub fn set(&self, values: &[(&str, Json)]) -> Result<String, String> {
        let as_text = self.platform.lock().behaviour.text_values;
        let value = |value: &Json| match value {
            Json::String(_) => value.clone(),
            other if as_text => json!(other.to_string()),
            other => other.clone(),
        };
        let params: Vec<Json> =
            values.iter().map(|(name, wanted)| json!({"identify": name, "value": value(wanted)})).collect();
        self.platform.ask(SET, &["model/property/set"], &json!({"params": params}))
    }

    /// 23: asks for properties; for all of them if none is named.
    pub fn query(&self, names: &[&str]) -> Result<String, String> {
        self.platform.ask(QUERY, &["model/property/ask"], &json!({"params": names}))
    }

    /// 21: calls a service.
    pub fn call(&self, service: &str, params: &Json) -> Result<String, String> {
        self.call_as(service, service, params)
    }

    /// 21, where the payload names another service than the topic does.
    pub fn call_as(&self, service: &str, named: &str, params: &Json) -> Result<String, String> {
        let member = self.platform.lock().behaviour.service_member.clone();
        self.platform.ask(CALL, &[&format!("model/service/{service}")], &json!({member: named, "params": params}))
    }

    /// 22, 24, 25: a command to a HEX product.
    pub fn hex(&self, command: HexCommand, text: &str) -> Result<String, String> {
        let code = match command {
            HexCommand::Set => HEX_SET,
            HexCommand::Call => HEX_CALL,
            HexCommand::Query => HEX_QUERY,
        };
        self.platform.ask(code, &["model/hex/downlink"], &json!(text))
    }

    /// 14 on `ask_config`: asks for the settings.
    pub fn read_settings(&self) -> Result<String, String> {
        self.platform.ask(SETTINGS, &["ask_config"], &json!({}))
    }

    /// 14 on `download_config` or `down_config`: writes settings. Done if the report that answers has them all.
    pub fn write_settings(&self, topic: &str, settings: &Json) -> Result<String, String> {
        self.platform.ask(SETTINGS, &[topic], &json!({"Settings": settings}))
    }

    /// 3: a new session. It has no answer.
    pub fn renew_session(&self) -> Result<(), String> {
        self.platform.renew_session()
    }

    /// 13: asks for the versions of all modules.
    pub fn ask_versions(&self) -> Result<String, String> {
        self.platform.ask(VERSIONS, &["ask_firmware"], &json!({}))
    }

    /// 9: orders an upgrade to a file on its own server; MessageId and download id.
    pub fn order_upgrade(&self, image: &Image) -> Result<(String, String), String> {
        let (down_id, order) = self.publish_upgrade(image);
        Ok((self.platform.order(&order)?, down_id))
    }

    /// 9 whenever the device says that it runs something else, until it has acknowledged one; download id.
    pub fn plan_upgrade(&self, image: &Image) -> String {
        let (down_id, order) = self.publish_upgrade(image);
        self.platform.plan(&down_id, order);
        down_id
    }

    /// Puts a file on its server; download id, and the payload of an order for it, which is not sent.
    pub fn publish_upgrade(&self, image: &Image) -> (String, Json) {
        image.publish(&self.files, self.n_images.fetch_add(1, Ordering::Relaxed))
    }

    /// 9 with any payload.
    pub fn order(&self, payload: &Json) -> Result<String, String> {
        self.platform.order(payload)
    }

    /// Sends bytes, right or wrong, on a topic below the device's own, `downlink` while it authenticates. An answer to them is judged by its form alone.
    pub fn deliver_raw(&self, topic: &str, bytes: &[u8]) -> Result<(), String> {
        self.platform.deliver_raw(topic, bytes)
    }
}

impl SimCloud for Lierda {
    fn product_section(&self) -> String {
        let secret = self.device_secret().unwrap_or_default();
        let settings = self.platform.product.settings(&self.broker.addr().to_string(), &secret);
        format!("[cloud.lierda]\nplugin = \"lierda\"\nplain_text = true\n\n[cloud.lierda.settings]\n{settings}")
    }

    fn ledger(&self) -> &Ledger {
        &self.platform.ledger
    }

    fn send_command(&self, property: &str, value: &Json) -> Result<(), String> {
        let encoded =
            || (self.platform.product.codec.encode)(&Properties::from_iter([(property.to_owned(), value.clone())]));
        let sent = match self.platform.product.kind {
            Kind::Json => self.set(&[(property, value.clone())]),
            Kind::Passthrough => self.passthrough(&encoded(), Downlink::Downlink),
            Kind::Hex => self.hex(HexCommand::Set, encoded().as_str().unwrap_or_default()),
        };
        sent.map(drop)
    }

    fn go_away(&self) {
        self.files.go_away();
        self.broker.go_away();
    }

    fn come_back(&self) -> io::Result<()> {
        self.files.come_back()?;
        self.broker.come_back()
    }
}

/// The vendor's account; invented, like the other ids.
pub const OPEN_ID: &str = "51A0C1D0";
/// The product.
pub const PRODUCT_ID: &str = "51A0C1D1";
/// Secret of the product, for this simulator only.
pub const PRODUCT_KEY: &str = "51A0517051A0517051A0517051A05170";
/// The device.
pub const NODE_EUI: &str = "SIMULATED0001";

#[cfg(test)]
mod tests;
