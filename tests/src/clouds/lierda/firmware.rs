//! Upgrade orders, who may have the files, and what becomes of an order (Lierda protocol, 8).

use md5::{Digest, Md5};
use serde_json::{Value as Json, json};

use super::commands::ORDER;
use super::payload::{HTTP, MAIN_MODULE};
use super::platform::{Platform, State, keep};
use crate::file_server::{FileServer, Keeper};
use crate::http::Request;

/// A firmware that devices are told to install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Module; none for the main one.
    pub module: Option<String>,
    /// Its version.
    pub version: String,
    /// Name of the file, if the order is to tell one.
    pub name: Option<String>,
    /// The file.
    pub body: Vec<u8>,
}

/// An upgrade order, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// Its download id.
    pub down_id: String,
    /// Module; `default` for the main one.
    pub module: String,
    /// Version that is wanted.
    pub version: String,
    /// How often it was ordered.
    pub n_orders: u32,
    /// The device has acknowledged it, the last order if there were several.
    pub acknowledged: bool,
    /// Whether the first version of this module that was reported after that is the wanted one.
    pub succeeded: Option<bool>,
}

impl Image {
    /// Puts it on the server; download id, and the order to install it.
    pub(super) fn publish(&self, files: &FileServer, n_before: usize) -> (String, Json) {
        let down_id = format!("{:08X}", FIRST_DOWN_ID + n_before);
        let digest: String = Md5::digest(&self.body).iter().map(|byte| format!("{byte:02x}")).collect();
        let mut order = json!({
            "Type": HTTP, "Url": files.serve(&path_of(&down_id), self.body.clone()), "SoftVer": self.version,
            "SoftSize": self.body.len(), "MD5": digest, "DownID": down_id,
        });
        for (member, text) in [("Module", &self.module), ("firmwareName", &self.name)] {
            if let Some(text) = text {
                order[member] = json!(text);
            }
        }
        (down_id, order)
    }
}

/// Where the file of an order is on the server.
pub fn path_of(down_id: &str) -> String {
    format!("/{down_id}.bin")
}

impl Platform {
    /// Notes an order that is to go out when the device says that it runs something else.
    pub fn plan(&self, down_id: &str, order: Json) {
        let mut state = self.lock();
        state.note_order(&order);
        state.plans.insert(down_id.to_owned(), order);
    }

    /// Sends an order with any payload; its MessageId.
    pub fn order(&self, payload: &Json) -> Result<String, String> {
        if let Some(upgrade) = self.lock().note_order(payload) {
            upgrade.n_orders += 1;
        }
        self.ask(ORDER, &["ota_notify"], payload)
    }

    /// The device has said what it runs, upon which planned orders go out (Lierda protocol, 4: OTA).
    pub fn order_what_is_planned(&self, module: &str) {
        let due = self.lock().due_orders(module);
        for order in due {
            // A device that cannot be reached says its version again, and then it goes out.
            let _ = self.order(&order);
        }
    }
}

impl State {
    /// The upgrade that an order is about, known from now on; `None` if the order does not say enough.
    fn note_order(&mut self, order: &Json) -> Option<&mut Upgrade> {
        let text = |member: &str| order[member].as_str().map(str::to_owned);
        let (down_id, version) = (text("DownID")?, text("SoftVer")?);
        let upgrades = &mut self.seen.upgrades;
        if !upgrades.iter().any(|upgrade| upgrade.down_id == down_id) {
            let module = text("Module").unwrap_or_else(|| MAIN_MODULE.to_owned());
            let down_id = down_id.clone();
            keep(upgrades, Upgrade { down_id, module, version, n_orders: 0, acknowledged: false, succeeded: None });
        }
        upgrades.iter_mut().find(|upgrade| upgrade.down_id == down_id)
    }

    /// The device says what it runs, which decides on its open orders.
    pub fn judge_version(&mut self, module: &str, version: &str) {
        self.seen.versions.insert(module.to_owned(), version.to_owned());
        for upgrade in self.seen.upgrades.iter_mut().filter(|upgrade| upgrade.module == module) {
            let is_planned = self.plans.contains_key(&upgrade.down_id);
            let is_reached = upgrade.version == version;
            // A report that was under way when the order was given says nothing about it.
            if upgrade.succeeded.is_none() && (upgrade.acknowledged || is_planned && is_reached) {
                upgrade.succeeded = Some(is_reached);
            }
            if is_planned && !is_reached && self.behaviour.insists && upgrade.succeeded == Some(false) {
                (upgrade.acknowledged, upgrade.succeeded) = (false, None);
            }
        }
    }

    /// Planned orders for this module that are to go out, again if none was acknowledged yet.
    fn due_orders(&self, module: &str) -> Vec<Json> {
        let upgrades = self.seen.upgrades.iter().filter(|upgrade| upgrade.module == module);
        let due = upgrades.filter(|upgrade| !upgrade.acknowledged && upgrade.succeeded.is_none());
        due.filter_map(|upgrade| self.plans.get(&upgrade.down_id).cloned()).collect()
    }
}

impl Keeper for Platform {
    fn admits(&self, request: &Request) -> bool {
        if request.method != "GET" {
            self.ledger.violation(format!("download by {}", request.method));
        }
        let query = request.target.split_once('?').map_or("", |(_, query)| query);
        let in_query = query.split('&').find_map(|pair| pair.strip_prefix("DownID="));
        let down_id = in_query.or_else(|| request.headers.get("downid").map(String::as_str));
        let acknowledged = {
            let state = self.lock();
            let mut upgrades = state.seen.upgrades.iter();
            upgrades.find(|upgrade| Some(upgrade.down_id.as_str()) == down_id).map(|upgrade| upgrade.acknowledged)
        };
        match acknowledged {
            None => self.ledger.violation(format!("download with DownID {down_id:?}, which no order had")),
            Some(false) => self.ledger.violation(format!("download {down_id:?} before its order was acknowledged")),
            Some(true) => {}
        }
        acknowledged.is_some()
    }

    fn violation(&self, text: &str) {
        self.ledger.violation(format!("firmware server: {text}"));
    }
}

/// Chosen by us: eight digits, as in the sample of the vendor's document.
const FIRST_DOWN_ID: usize = 0xE0C0_40B1;
