//! Upgrade orders, the server that has the images, and what becomes of an order (JoyLink, 10).

use std::time::Instant;

use serde_json::{Value as Json, json};

use super::platform::{About, Platform, State, clock, random};
use super::seen::{Answer, FAILED, FINISHED, Report, Seen, SubState, Upgrade, keep};
use super::server::Conversation;
use super::session::{UPGRADE, UPGRADE_STATUS};
use crate::joylink_wire::checksum::crc32;
use crate::joylink_wire::fields::{Reader, Writer};

/// A firmware that a device is told to install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The sub-device it is for; `None` for the device itself.
    pub sub: Option<String>,
    /// Its number.
    pub version: u16,
    /// Its name: `major.minor.fix.yyyymmdd_release`.
    pub name: String,
    /// The file.
    pub body: Vec<u8>,
}

impl Platform {
    /// Puts an image on the firmware server; its path there. One that is there already is left as it is.
    pub fn publish(&self, image: &Image) -> Result<String, String> {
        let of_sub = image.sub.as_ref().map_or(String::new(), |sub| format!("-{sub}"));
        let path = format!("/{}{of_sub}.bin", image.version);
        let images = &mut self.lock().images;
        if images.len() >= MAX_IMAGES {
            return Err(format!("more than {MAX_IMAGES} images"));
        }
        if images.get(&path) != Some(&image.body) {
            images.insert(path.clone(), image.body.clone());
            self.files.serve(&path, image.body.clone());
        }
        Ok(path)
    }

    /// 7: orders an upgrade. Each order has another address for the same file, with what is a secret in it.
    pub fn order(&self, image: &Image) -> Result<String, String> {
        let path = self.publish(image)?;
        let feedid = match &image.sub {
            None => &self.product.device.feedid,
            Some(sub) => &self.product.sub(sub)?.account.feedid,
        };
        let uuid = self.firmware_of(feedid)?;
        let state = &mut *self.lock();
        let wrong = u32::from(state.behaviour.wrong_image_crc);
        let url = format!("{}?{SIGNATURE}={:016x}", self.files.url(&path), random());
        let order = json!({
            "feedid": feedid, "productuuid": uuid, "version": image.version, "versionname": image.name,
            "crc32": crc32(&image.body) ^ wrong, "url": url,
        });
        self.order_with(state, &order, feedid, image.version, Some(path))
    }

    /// 7 with any data.
    pub fn order_raw(&self, data: &Json) -> Result<String, String> {
        let feedid = data["feedid"].as_str().unwrap_or_default().to_owned();
        let version = data["version"].as_u64().and_then(|version| u16::try_from(version).ok()).unwrap_or_default();
        self.order_with(&mut self.lock(), data, &feedid, version, None)
    }

    fn order_with(
        &self,
        state: &mut State,
        data: &Json,
        feedid: &str,
        version: u16,
        path: Option<String>,
    ) -> Result<String, String> {
        let mut used = 0;
        let id = self.ask(state, (UPGRADE, 0), About::Upgrade, false, |now, serial| {
            used = serial;
            let order = json!({"cmd": "ota", "serial": serial, "data": data}).to_string();
            Writer::at(now).bytes(order.as_bytes()).done()
        })?;
        let feedid = feedid.to_owned();
        let upgrade =
            Upgrade { serial: used, feedid, version, path, answer: None, reports: Vec::new(), running: false };
        let Seen { upgrades, left_out, .. } = &mut state.seen;
        keep(upgrades, left_out, upgrade);
        Ok(id)
    }

    pub fn upgrade_answer(&self, state: &mut State, mut fields: Reader) -> Result<(), String> {
        let json: Json = serde_json::from_slice(fields.rest()).map_err(|error| format!("answer: {error}"))?;
        let serial = json["serial"].as_u64().and_then(|serial| u32::try_from(serial).ok());
        let serial = serial.ok_or_else(|| format!("no serial in {json}"))?;
        let asked = self.answered(state, UPGRADE, 0, serial)?;
        let answer = match json["code"].as_i64().filter(|_| json["msg"].is_string()) {
            Some(code) => Ok(Answer { code, json: json.clone() }),
            None => Err(format!("an answer of {json}")),
        };
        let upgrades = &mut state.seen.upgrades;
        let open = upgrades.iter().position(|upgrade| upgrade.serial == serial && upgrade.answer.is_none());
        if let (Some(open), Ok(Answer { code, .. })) = (open, &answer) {
            let path = upgrades[open].path.clone();
            let allowed = upgrades.iter().any(|upgrade| upgrade.answer == Some(0) && upgrade.path == path);
            if let Some(path) = path.filter(|path| !allowed && !self.files.requests(path).is_empty()) {
                self.ledger.violation(format!("type {UPGRADE}: {path} is loaded before its order is answered"));
            }
            upgrades[open].answer = Some(*code);
            if *code == 0 {
                state.upgrade_heard = Some(Instant::now());
            }
        }
        self.book(state, asked, answer)
    }

    pub fn upgrade_status(&self, state: &mut State, from: &Conversation, mut fields: Reader) -> Result<(), String> {
        let json: Json = serde_json::from_slice(fields.rest()).map_err(|error| format!("status: {error}"))?;
        let data = &json["data"];
        let small =
            |member: &str, most: u64| data[member].as_u64().filter(|&value| value <= most).map(|value| value as u8);
        let (Some(status), Some(progress), Some(description), true) =
            (small("status", 3), small("progress", 100), data["status_desc"].as_str(), json["cmd"] == "otastat")
        else {
            return Err(format!("a status of {json}"));
        };
        let running = |upgrade: &&mut Upgrade| upgrade.answer == Some(0) && data["feedid"] == upgrade.feedid.as_str();
        let upgrade = state.seen.upgrades.iter_mut().rfind(running);
        let upgrade = upgrade.ok_or_else(|| format!("the status of no upgrade: {json}"))?;
        if data["productuuid"] != self.firmware_of(&upgrade.feedid)? {
            return Err(format!("the status of another product: {json}"));
        }
        let report = Report { status, description: description.to_owned(), progress };
        if let Some(fault) = fault_of(&upgrade.reports, &report) {
            self.ledger.violation(format!("type {UPGRADE_STATUS}: {fault}"));
        }
        state.upgrade_heard = (!report.is_end()).then(Instant::now);
        if upgrade.reports.len() < MAX_REPORTS {
            upgrade.reports.push(report);
        }
        let (code, now) = (state.behaviour.code(UPGRADE_STATUS), clock(from.ahead_s));
        let answer = Writer::at(now).bytes(json!({"code": code, "msg": "success"}).to_string().as_bytes());
        self.reply(state, from, UPGRADE_STATUS, &answer.done());
        Ok(())
    }

    /// A heartbeat says what runs, and shows that somebody should have reported.
    pub fn judge_upgrade(&self, state: &mut State, version: u16, subs: &[SubState]) {
        let limit = state.behaviour.upgrade_limit;
        if state.upgrade_heard.is_some_and(|heard| heard.elapsed() > limit) {
            state.upgrade_heard = None;
            self.ledger.violation(format!("no word of the upgrade for {limit:?}"));
        }
        let runs = |feedid: &str| {
            if feedid == self.product.device.feedid {
                return Some(version);
            }
            subs.iter().find(|sub| sub.feedid == feedid).map(|sub| sub.version)
        };
        for upgrade in state.seen.upgrades.iter_mut().filter(|upgrade| upgrade.answer == Some(0)) {
            let Upgrade { feedid, version, .. } = &*upgrade;
            let runs = runs(feedid);
            if let Some(runs) = runs.filter(|runs| runs < version)
                && upgrade.end().is_some_and(|end| end.status == FINISHED)
            {
                self.ledger.violation(format!("{feedid} runs {runs} though its upgrade to {version} was finished"));
            }
            upgrade.running |= runs == Some(upgrade.version);
        }
    }

    /// Type of the product that this one's firmware is for.
    fn firmware_of(&self, feedid: &str) -> Result<&str, String> {
        if feedid == self.product.device.feedid {
            Ok(&self.product.uuid)
        } else {
            Ok(&self.product.sub(feedid)?.product_uuid)
        }
    }
}

/// Why this may not follow those. An end may be told again: the device cannot know whether the cloud has heard it.
fn fault_of(reports: &[Report], report: &Report) -> Option<String> {
    let status = report.status;
    if status == FAILED && report.description.is_empty() {
        return Some("failed without saying why".to_owned());
    }
    let goes_on = |last: &Report| if last.is_end() { status == last.status } else { status >= last.status };
    let last = reports.last().filter(|last| !goes_on(last))?;
    Some(format!("status {status} after {last:?}"))
}

/// What is a secret in the addresses of images. Not documented; chosen by us, as servers of files call it.
pub(super) const SIGNATURE: &str = "signature";
/// Reports of one upgrade that are kept. Chosen by us.
const MAX_REPORTS: usize = 10_000;
/// Images on the server; more are refused to the test. Chosen by us.
const MAX_IMAGES: usize = 1000;
