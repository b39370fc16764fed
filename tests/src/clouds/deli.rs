//! The Deli cloud, written from its access document: credentials, topics, message format, 100 to 105, 200 to 205, 300
//! and 301, and whether what the device says of a firmware order fits it.
//!
//! Its private topic is the device id, and messages arrive there without a subscription. Reports and answers to commands
//! inside 300 follow the mapping of the plugin, because the document leaves `cmd` and `payload` to the application.

pub mod behaviour;
pub mod envelope;
mod platform;
pub mod upgrades;

use std::io;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use self::behaviour::{Behaviour, Firmware};
use self::envelope::Message;
use self::platform::Platform;
use self::upgrades::Upgrade;
use super::SimCloud;
use super::ledger::Ledger;
use crate::broker::Broker;
use crate::changes;

/// A running Deli cloud with one registered device.
pub struct Deli {
    platform: Arc<Platform>,
    broker: Arc<Broker>,
}

impl Deli {
    /// Starts it on a free port; reports are told apart by the datapoint `counter`. Needs a running tokio runtime.
    pub fn start(counter: &str) -> io::Result<Self> {
        Self::start_on(counter, None)
    }

    /// The same, with a broker that speaks TLS if it is told how.
    pub fn start_on(counter: &str, tls: Option<Arc<rustls::ServerConfig>>) -> io::Result<Self> {
        let platform = Platform::new(counter);
        let broker = Arc::new(Broker::start(platform.clone(), tls)?);
        platform.attach(&broker);
        Ok(Self { platform, broker })
    }

    /// Its broker, for faults.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Changes what the platform does from now on.
    pub fn change(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.platform.lock().behaviour);
    }

    /// Messages of one action that the device has sent so far.
    pub fn heard(&self, action: i64) -> Vec<Message> {
        self.platform.lock().heard.get(&action).cloned().unwrap_or_default()
    }

    /// Waits until the messages of one action that the device has sent fulfil a condition.
    pub async fn until_heard(&self, action: i64, condition: impl Fn(&[Message]) -> bool) {
        let holds = || condition(self.platform.lock().heard.get(&action).map_or(&[][..], Vec::as_slice));
        changes::until(&self.platform.changes, holds).await;
    }

    /// Firmware that the device was ordered to install, oldest first.
    pub fn upgrades(&self) -> Vec<Upgrade> {
        self.platform.lock().upgrades.list.clone()
    }

    /// Waits until these fulfil a condition.
    pub async fn until_upgrades(&self, condition: impl Fn(&[Upgrade]) -> bool) {
        changes::until(&self.platform.changes, || condition(&self.platform.lock().upgrades.list)).await;
    }

    /// The device's answer to a request, by its message id.
    pub fn answer_to(&self, mid: &str) -> Option<Message> {
        let state = self.platform.lock();
        [200, 201, 300]
            .iter()
            .flat_map(|action| state.heard.get(action))
            .flatten()
            .find(|heard| heard.mid == mid)
            .cloned()
    }

    /// 200: a control command of a user; its message id, `None` if the device cannot be reached.
    pub fn control(&self, cmd: &str, payload: &Json) -> Option<String> {
        self.platform.ask(USER, 200, &json!({"cmd": cmd, "payload": payload}))
    }

    /// 201, or 207 as the sample of text 1.0 has it: asks for the logs of some days.
    pub fn upload_logs(&self, host: &str, port: u16, days: (&str, &str), alias_207: bool) -> Option<String> {
        let data = json!({"ftp_host": host, "ftp_port": port, "log_start": days.0, "log_end": days.1});
        self.platform.ask("system", if alias_207 { 207 } else { 201 }, &data)
    }

    /// 202 on the topic of the model: a version is out.
    pub fn announce_upgrade(&self, version: &str) {
        self.platform.broadcast(&format!("{TYPE}/{MODEL}"), 202, &json!({"version": version}));
    }

    /// Brings a firmware out: 102 and 103 tell of it from now on, and 202 at once.
    pub fn release(&self, firmware: Firmware) {
        let version = firmware.version.clone();
        self.change(|behaviour| behaviour.firmware = Some(firmware));
        self.announce_upgrade(&version);
    }

    /// 203: bound to an organisation, or unbound.
    pub fn bind(&self, organisation: Option<&str>) -> Option<String> {
        let (key, id, status) = {
            let mut state = self.platform.lock();
            let before = std::mem::replace(&mut state.behaviour.organisation, organisation.map(str::to_owned));
            let id = organisation.map(str::to_owned).or(before).unwrap_or_default();
            let key = if state.behaviour.v1_1 { "org_id" } else { "group_id" };
            (key, state.behaviour.id(&id), i64::from(organisation.is_some()))
        };
        self.platform.ask("system", 203, &json!({key: id, "name": "Demo Org", "status": status}))
    }

    /// 204: an application is bound, or unbound.
    pub fn bind_application(&self, bound: bool) -> Option<String> {
        let key = if self.platform.lock().behaviour.v1_1 { "app_id" } else { "service_id" };
        let data = json!({key: APPLICATION, "name": "Demo", "icon": "", "status": i64::from(bound)});
        self.platform.ask("system", 204, &data)
    }

    /// 205: a user has scanned the login code (0) or is let in (1).
    pub fn login(&self, status: i64) -> Option<String> {
        let mut data =
            json!({"status": status, "user_id": USER, "name": "Zhang", "mobile": "13800000000", "avatar": ""});
        if status == 1 {
            data["expire"] = json!(platform::now() + 3600);
            data["token"] = json!("a-token-that-no-log-may-show");
        }
        self.platform.ask("system", 205, &data)
    }

    /// 301: a command of the application.
    pub fn command(&self, cmd: &str, payload: &Json) -> Option<String> {
        self.platform.ask(APPLICATION, 301, &json!({"cmd": cmd, "payload": payload}))
    }

    /// Sends bytes to the private topic, right or wrong.
    pub fn deliver_raw(&self, payload: &[u8]) -> bool {
        self.platform.deliver(payload)
    }
}

impl SimCloud for Deli {
    fn product_section(&self) -> String {
        format!(
            "[cloud.deli]\nplugin = \"deli\"\nplain_text = true\n\n[cloud.deli.settings]\nproduct_type = \"{TYPE}\"\n\
             product_model = \"{MODEL}\"\nserial = \"{SERIAL}\"\nproduct_secret = \"{SECRET}\"\nbroker_url = \"tcp://{}\"\n",
            self.broker.addr()
        )
    }

    fn ledger(&self) -> &Ledger {
        &self.platform.ledger
    }

    fn send_command(&self, property: &str, value: &Json) -> Result<(), String> {
        let sent = self.command("set", &json!({property: value}));
        sent.map(drop).ok_or_else(|| "the device is not connected".to_owned())
    }

    fn go_away(&self) {
        self.broker.go_away();
    }

    fn come_back(&self) -> io::Result<()> {
        self.broker.come_back()
    }
}

/// What the platform has assigned to the registered device, and who talks to it.
pub const TYPE: &str = "KQ";
/// Product model.
pub const MODEL: &str = "DL3785W";
/// The vendor's serial number.
pub const SERIAL: &str = "1234567890";
/// Device id, which is also the client id and the private topic.
pub const DEVICE: &str = "DL3785W_1234567890";
/// Secret of the model, for this simulator only.
pub const SECRET: &str = "a-secret-of-the-simulator";
const APPLICATION: &str = "7000000000000000001";
const USER: &str = "8000000000000000001";

#[cfg(test)]
mod tests;
