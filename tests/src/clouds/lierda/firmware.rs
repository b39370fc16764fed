//! Upgrade orders, the server that has the files, and what becomes of an order (Lierda protocol, 8).

use md5::{Digest, Md5};
use serde_json::{Value as Json, json};

use super::commands::ORDER;
use super::payload::{HTTP, MAIN_MODULE};
use super::platform::{Platform, State, keep};
use crate::http::{Answer, Request, Site};

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

/// A download, as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// Path of the file.
    pub path: String,
    /// Download id in the query or in a header.
    pub down_id: Option<String>,
    /// The `Range` header.
    pub range: Option<String>,
    /// Status of the answer; 200 also where a part was asked for and sent.
    pub status: u16,
}

impl Platform {
    /// Orders an upgrade; MessageId and download id.
    pub fn order_upgrade(&self, image: &Image) -> Result<(String, String), String> {
        let (down_id, order) = self.publish_image(image)?;
        Ok((self.order(&order)?, down_id))
    }

    /// Plans an upgrade, whose order goes out when the device says that it runs something else; download id.
    pub fn plan_upgrade(&self, image: &Image) -> Result<String, String> {
        let (down_id, order) = self.publish_image(image)?;
        let mut state = self.lock();
        state.note_order(&order);
        state.plans.insert(down_id.clone(), order);
        Ok(down_id)
    }

    /// Puts a file on the server; download id, and the order to install it.
    fn publish_image(&self, image: &Image) -> Result<(String, Json), String> {
        let address = self.downloads_at.get().ok_or("there is no firmware server")?;
        let (down_id, path) = {
            let mut state = self.lock();
            if state.files.len() >= MAX_FILES {
                return Err(format!("more than {MAX_FILES} files"));
            }
            let down_id = format!("{:08X}", FIRST_DOWN_ID + state.files.len());
            let path = format!("/{down_id}.bin");
            state.files.insert(path.clone(), image.body.clone());
            (down_id, path)
        };
        let digest: String = Md5::digest(&image.body).iter().map(|byte| format!("{byte:02x}")).collect();
        let mut order = json!({
            "Type": HTTP, "Url": format!("http://{address}{path}"), "SoftVer": image.version,
            "SoftSize": image.body.len(), "MD5": digest, "DownID": down_id,
        });
        for (member, text) in [("Module", &image.module), ("firmwareName", &image.name)] {
            if let Some(text) = text {
                order[member] = json!(text);
            }
        }
        Ok((down_id, order))
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

impl Site for Platform {
    fn answer(&self, request: &Request) -> Answer {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let in_query = query.split('&').find_map(|pair| pair.strip_prefix("DownID="));
        let down_id = in_query.map(str::to_owned).or_else(|| request.headers.get("downid").cloned());
        let mut state = self.lock();
        let answer = match state.files.get(path).cloned() {
            None => Answer::status(404, "no such file"),
            Some(body) => {
                if request.method != "GET" {
                    self.ledger.violation(format!("download by {}", request.method));
                }
                state.download(&self.ledger, down_id.as_deref(), body)
            }
        };
        let range = request.headers.get("range").cloned();
        keep(&mut state.seen.downloads, Download { path: path.to_owned(), down_id, range, status: answer.status });
        drop(state);
        self.changed();
        answer
    }

    fn violation(&self, text: &str) {
        self.ledger.violation(format!("firmware server: {text}"));
    }
}

impl State {
    fn download(&mut self, ledger: &crate::clouds::ledger::Ledger, down_id: Option<&str>, mut body: Vec<u8>) -> Answer {
        let downloads = &mut self.behaviour.downloads;
        match down_id.map(|down_id| self.seen.upgrades.iter().find(|upgrade| upgrade.down_id == down_id)) {
            None if downloads.need_down_id => return Answer::status(403, "no DownID"),
            None => {}
            Some(None) => {
                ledger.violation(format!("download with DownID {down_id:?}, which no order had"));
                return Answer::status(403, "unknown DownID");
            }
            Some(Some(upgrade)) if !upgrade.acknowledged => {
                ledger.violation(format!("download {down_id:?} before its order was acknowledged"));
            }
            Some(Some(_)) => {}
        }
        if let Some(first) = body.first_mut().filter(|_| downloads.wrong_body) {
            *first ^= 0xFF;
        }
        let mut answer = Answer { ranges: !downloads.without_ranges, ..Answer::ok(body) };
        if let Some((n, bytes)) = downloads.cut.as_mut().filter(|(n, _)| *n > 0) {
            *n -= 1;
            answer.cut_after = Some(*bytes);
        }
        answer
    }
}

/// Chosen by us: eight digits, as in the sample of the vendor's document.
const FIRST_DOWN_ID: usize = 0xE0C0_40B1;
/// Files on the server; more are refused to the test. Chosen by us.
const MAX_FILES: usize = 1000;
