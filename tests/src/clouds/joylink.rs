//! The JoyLink cloud, written from its protocol document: a TCP server for one device, and a server for its firmware.
//!
//! The ledger says online once the device has authenticated and uploaded a snapshot. A device gets its identity from an
//! app in the same LAN: one authorizes it as soon as it shows up, unless [`Behaviour::enrols`] leaves that to the test's own
//! [`crate::joylink_app`].

pub mod behaviour;
mod commands;
mod enrolment;
mod platform;
pub mod product;
mod reports;
pub mod seen;
mod server;
mod session;
pub mod timers;
mod upgrades;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use self::behaviour::Behaviour;
use self::enrolment::Enrolment;
use self::platform::Platform;
use self::product::Product;
use self::seen::{Answer, Seen};
use self::server::{Outgoing, Server};
use self::timers::Operation;
pub use self::upgrades::Image;
use super::SimCloud;
use super::ledger::Ledger;
use crate::changes;
use crate::file_server::FileServer;
use crate::joylink_wire::timers::Task;

/// A running JoyLink cloud with one device.
pub struct JoyLink {
    platform: Arc<Platform>,
    server: Server,
    enrolment: Enrolment,
}

impl JoyLink {
    /// Starts it on free ports, with a JSON product without sub-devices; reports are told apart by the stream `counter`.
    /// Needs a running tokio runtime.
    pub fn start(counter: &str) -> io::Result<Self> {
        Self::start_with(counter, Product::default())
    }

    /// The same with another product.
    pub fn start_with(counter: &str, product: Product) -> io::Result<Self> {
        let platform = Platform::new(counter, product)?;
        // Set once, right here.
        let server = Server::start(platform.clone())?;
        let enrolment = Enrolment::start(platform.clone(), server.address())?;
        Ok(Self { platform, server, enrolment })
    }

    /// Where devices connect.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Where the device is to listen in the LAN.
    pub fn device_address(&self) -> SocketAddr {
        self.enrolment.device()
    }

    /// Its product, with the keys that an app hands to the device.
    pub fn product(&self) -> &Product {
        &self.platform.product
    }

    /// Its firmware server. What clients do there against HTTP is for the test to look at.
    pub fn files(&self) -> &FileServer {
        &self.platform.files
    }

    /// Puts an image on the firmware server, for what a test does to it before it is ordered; its path there.
    pub fn publish(&self, image: &Image) -> Result<String, String> {
        self.platform.publish(image)
    }

    /// Changes what the cloud does from now on.
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

    /// The device's answer to a question of this id.
    pub fn answer_to(&self, id: &str) -> Option<Answer> {
        self.platform.lock().seen.answers.get(id).cloned()
    }

    /// Closes the device's connection, in order.
    pub fn close(&self) {
        self.end(Outgoing::Close);
    }

    /// Resets the device's connection.
    pub fn reset(&self) {
        self.end(Outgoing::Reset);
    }

    fn end(&self, how: Outgoing) {
        if let Some(session) = &self.platform.lock().session {
            // A full line belongs to a connection that is about to be closed anyway.
            let _ = session.line.try_send(how);
        }
    }

    /// 11: sets streams, in this order. Like all questions it returns its id; the ledger has it as a command.
    pub fn control(&self, values: &[(&str, Json)]) -> Result<String, String> {
        self.platform.command(None, CONTROL, Some(&self.streams(values)), true)
    }

    /// 11: asks for all streams.
    pub fn snapshot(&self) -> Result<String, String> {
        self.platform.command(None, SNAPSHOT, None, false)
    }

    /// 11: a recipe, with the members that the document gives it.
    pub fn recipe(&self, task_id: i64, steps: &Json) -> Result<String, String> {
        let feed_id: u64 = self.product().device.feedid.parse().unwrap_or_default();
        let recipe = json!({"at": 0, "code": RECIPE, "feed_id": feed_id, "task_id": task_id, "subTask": steps});
        self.platform.command(None, RECIPE, Some(&recipe), false)
    }

    /// 11 or, to a sub-device, 111: any business code with any bytes.
    pub fn command(&self, sub: Option<&str>, biz_code: u32, bytes: &[u8]) -> Result<String, String> {
        self.platform.command_bytes(sub, biz_code, bytes, false)
    }

    /// 111: sets streams of a sub-device; the ledger has it as a command.
    pub fn control_sub(&self, sub: &str, values: &[(&str, Json)]) -> Result<String, String> {
        self.platform.command(Some(sub), CONTROL, Some(&self.streams(values)), true)
    }

    /// 111: asks for all streams of a sub-device.
    pub fn snapshot_sub(&self, sub: &str) -> Result<String, String> {
        self.platform.command(Some(sub), SNAPSHOT, None, false)
    }

    /// 113: unbinds sub-devices.
    pub fn unbind(&self, subs: &[&str]) -> Result<String, String> {
        self.platform.unbind(subs)
    }

    /// 200: where video is to go.
    pub fn push_video(&self, resolution: u32, address: &str) -> Result<String, String> {
        self.platform.push_video(resolution, address)
    }

    /// 7: orders an upgrade to an image on its own server.
    pub fn order_upgrade(&self, image: &Image) -> Result<String, String> {
        self.platform.order(image)
    }

    /// 7 with any data.
    pub fn order(&self, data: &Json) -> Result<String, String> {
        self.platform.order_raw(data)
    }

    /// 13: asks for an operation on the device's timers.
    pub fn operate(&self, operation: Operation) -> Result<String, String> {
        self.platform.operate(operation)
    }

    /// The timers that the device should have.
    pub fn timers(&self) -> Vec<Task> {
        self.platform.lock().timers.values().cloned().collect()
    }

    /// Changes the list of these behind the device's back: its next timer snapshot will be repaired.
    pub fn plan(&self, tasks: Vec<Task>) {
        self.platform.lock().timers = tasks.into_iter().map(|task| (task.id, task)).collect();
    }

    /// Sends any payload in a packet of any type, under the key of the session. An answer to it answers nothing.
    pub fn deliver(&self, kind: u8, plain: &[u8]) -> Result<(), String> {
        self.platform.send(&mut self.platform.lock(), kind, plain)
    }

    /// Sends bytes, right or wrong, to the device that has authenticated.
    pub fn deliver_raw(&self, bytes: &[u8]) -> Result<(), String> {
        let state = self.platform.lock();
        let session = state.session.as_ref().ok_or("the device is not connected")?;
        session.line.try_send(Outgoing::Bytes(bytes.to_vec())).map_err(|error| error.to_string())
    }

    /// Control JSON; truth values are numbers, as JoyLink has only these and texts.
    fn streams(&self, values: &[(&str, Json)]) -> Json {
        let as_text = self.platform.lock().behaviour.text_values;
        let value = |value: &Json| match value {
            Json::Bool(value) if as_text => json!(u8::from(*value).to_string()),
            Json::Bool(value) => json!(u8::from(*value)),
            Json::Number(number) if as_text => json!(number.to_string()),
            other => other.clone(),
        };
        let streams: Vec<Json> =
            values.iter().map(|(name, wanted)| json!({"current_value": value(wanted), "stream_id": name})).collect();
        let last = self.platform.lock().seen.uploads.iter().rfind(|upload| upload.sub.is_none()).cloned();
        let known = last.map(|upload| upload.streams).unwrap_or_default();
        let snapshot: Vec<Json> =
            known.iter().map(|(name, value)| json!({"current_value": value, "stream_id": name})).collect();
        json!({"streams": streams, "snapshot": snapshot})
    }
}

impl SimCloud for JoyLink {
    fn product_section(&self) -> String {
        let product = self.product();
        format!(
            "[cloud.joylink]\nplugin = \"joylink\"\nplain_text = true\n\n[cloud.joylink.settings]\n\
             product_uuid = \"{}\"\nmac = \"{MAC}\"\nlan_ports = [{}]\ndevice_type = {}\ntrantype = {}\n",
            product.uuid,
            self.device_address().port(),
            u8::from(!product.subs.is_empty()),
            product.trantype(),
        )
    }

    fn ledger(&self) -> &Ledger {
        &self.platform.ledger
    }

    fn send_command(&self, property: &str, value: &Json) -> Result<(), String> {
        self.control(&[(property, value.clone())]).map(drop)
    }

    fn go_away(&self) {
        self.platform.files.go_away();
        self.server.go_away();
    }

    fn come_back(&self) -> io::Result<()> {
        self.platform.files.come_back()?;
        self.server.come_back()
    }
}

/// Address of the device in its settings.
pub const MAC: &str = "02005E102031";
/// Business codes of commands (JoyLink, 6.2).
const CONTROL: u32 = 1002;
const SNAPSHOT: u32 = 1004;
const RECIPE: u32 = 1050;

#[cfg(test)]
mod tests;
