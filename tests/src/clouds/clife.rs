//! The Clife platform (C-Life, HeT), written from the access protocol: registration over HTTP, one MQTT connection with an
//! encrypted frame, commands 2004 to 2019, and file operations with the server they need.
//!
//! It has one product with one device. The ledger says online once the device has sent its connection request. Where the
//! vendor's text leaves something open, the simulator goes by the choices of our protocol document.

mod access;
pub mod behaviour;
mod cipher;
mod commands;
pub mod files;
mod frame;
mod ids;
pub mod operations;
mod platform;
mod points;
pub mod product;
mod registration;
mod upward;

use std::io;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use self::behaviour::Behaviour;
use self::commands::{CONTROL, FILES, FORCE_OFFLINE, QUERY, UNBIND};
use self::files::Image;
use self::platform::Platform;
pub use self::platform::{Frame, Registration, Seen};
use self::product::Product;
use super::SimCloud;
use super::ledger::Ledger;
use crate::broker::Broker;
use crate::changes;
use crate::file_server::FileServer;
use crate::http::HttpServer;

/// A running Clife platform with one device.
pub struct Clife {
    platform: Arc<Platform>,
    broker: Arc<Broker>,
    http: HttpServer,
}

impl Clife {
    /// Starts it on free ports, with an encrypted product of level 2; reports are told apart by the property `counter`.
    /// Needs a running tokio runtime.
    pub fn start(counter: &str) -> io::Result<Self> {
        Self::start_with(counter, Product::default())
    }

    /// The same with another product.
    pub fn start_with(counter: &str, product: Product) -> io::Result<Self> {
        let platform = Platform::new(counter, product, FileServer::start()?);
        let broker = Arc::new(Broker::start(platform.clone(), None)?);
        let http = HttpServer::start_site(platform.clone())?;
        platform.attach(&broker, http.address());
        Ok(Self { platform, broker, http })
    }

    /// Its broker, for faults.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Its registration server, which takes uploads too, for scripts: a scripted path is answered so and judged by nobody.
    pub fn http(&self) -> &HttpServer {
        &self.http
    }

    /// Has the files that the device is to fetch.
    pub fn files(&self) -> &FileServer {
        &self.platform.files
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

    /// Cuts the device's connection to the broker.
    pub fn kick(&self) {
        let client = self.platform.lock().credentials.as_ref().map(|given| given.client.clone());
        if let Some(client) = client {
            self.broker.kick(&client);
        }
    }

    /// The device is deleted from the platform: its credentials are dead until it registers again.
    pub fn forget_device(&self) {
        self.platform.lock().credentials = None;
    }

    /// The decimal id of the data point for a property.
    pub fn point(&self, property: &str) -> Option<u32> {
        self.platform.product.point(property)
    }

    /// Sends a command again, under the same msgId.
    pub fn repeat(&self, id: i64) -> Result<(), String> {
        self.platform.repeat(id)
    }

    /// 2009: asks for properties; for all of them if none is named. Like all commands it returns its msgId.
    pub fn query(&self, properties: &[&str]) -> Result<i64, String> {
        let ids: Result<Vec<String>, String> = properties.iter().map(|property| self.id(property)).collect();
        let ids = ids?;
        self.query_ids(&ids.iter().map(|id| json!(id)).collect())
    }

    /// 2009 with any `params`; without the member if they are null.
    pub fn query_ids(&self, params: &Json) -> Result<i64, String> {
        let body = if params.is_null() { json!({}) } else { json!({"params": params}) };
        self.platform.ask(QUERY, &body)
    }

    /// 2011: sets properties, in this order.
    pub fn control(&self, values: &[(&str, Json)]) -> Result<i64, String> {
        let mut entries = Vec::new();
        for (property, value) in values {
            entries.push((self.id(property)?, value.clone()));
        }
        self.control_ids(&points::write(&entries))
    }

    /// 2011 with any `params`.
    pub fn control_ids(&self, params: &Json) -> Result<i64, String> {
        self.platform.ask(CONTROL, &json!({"params": params}))
    }

    /// 2013: the device is to forget its user.
    pub fn unbind(&self) -> Result<i64, String> {
        self.platform.ask(UNBIND, &json!({}))
    }

    /// 2017: the device is to go, and stay away for a while. It has no answer.
    pub fn force_offline(&self, reason: Option<&str>) -> Result<(), String> {
        self.platform.reaches()?;
        let body = reason.map_or_else(|| json!({}), |reason| json!({"respCont": reason}));
        let bytes = {
            let mut state = self.platform.lock();
            let id = state.next_id();
            self.platform.downward(&state, FORCE_OFFLINE, id, &body)?
        };
        self.platform.publish(&bytes);
        Ok(())
    }

    /// Puts a file on the server; its URL.
    pub fn put_file(&self, body: &[u8]) -> String {
        self.platform.put_file(body)
    }

    /// 2019: orders an upgrade to all of these as one operation, within a time window in seconds from now.
    pub fn order_upgrade(&self, product: i64, images: &[Image], window: Option<(i64, i64)>) -> Result<i64, String> {
        self.platform.order_upgrade(product, images, window)
    }

    /// 2019: orders the download of a file that is no firmware, such as a `PROFILE`.
    pub fn order_download(&self, file_type: &str, body: &[u8], window: Option<(i64, i64)>) -> Result<i64, String> {
        self.platform.order_download(file_type, body, window)
    }

    /// 2019: orders an upload, such as a `LOG`, to its own server.
    pub fn order_upload(&self, file_type: &str, window: Option<(i64, i64)>) -> Result<i64, String> {
        self.platform.order_upload(file_type, window)
    }

    /// 2019: asks for the versions.
    pub fn query_versions(&self) -> Result<i64, String> {
        self.platform.ask(FILES, &operations::version_query())
    }

    /// 2019 with any body.
    pub fn file_operation(&self, body: &Json) -> Result<i64, String> {
        self.platform.ask(FILES, body)
    }

    /// Any body under any command code and msgId. An answer is judged by its form alone.
    pub fn send_as(&self, cmd: i64, id: i64, body: &Json) -> Result<(), String> {
        self.platform.send_as(cmd, id, body)
    }

    /// Sends bytes, right or wrong, on the downward topic. An answer to them is judged by its form alone.
    pub fn deliver_raw(&self, bytes: &[u8]) -> Result<(), String> {
        self.platform.deliver_raw(bytes)
    }

    fn id(&self, property: &str) -> Result<String, String> {
        let id = self.point(property).ok_or_else(|| format!("the model has no data point for {property}"))?;
        Ok(id.to_string())
    }
}

impl SimCloud for Clife {
    fn product_section(&self) -> String {
        self.platform.product.section(&self.http.address().to_string())
    }

    fn ledger(&self) -> &Ledger {
        &self.platform.ledger
    }

    fn send_command(&self, property: &str, value: &Json) -> Result<(), String> {
        self.control(&[(property, value.clone())]).map(drop)
    }

    fn go_away(&self) {
        self.http.go_away();
        self.files().go_away();
        self.broker.go_away();
    }

    fn come_back(&self) -> io::Result<()> {
        self.http.come_back()?;
        self.files().come_back()?;
        self.broker.come_back()
    }
}

/// The product; invented, like the other ids.
pub const PRODUCT_CODE: &str = "C11FE001";
/// The device.
pub const DEV_ID: &str = "7001005";
/// Its address.
pub const DEV_MAC: &str = "02005EC11FE0";

#[cfg(test)]
mod tests;
