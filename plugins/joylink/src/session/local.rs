//! The local network: what the device says of itself there, and what apps want.

use polylink_plugin_sdk::services::udp;
use polylink_plugin_sdk::{Now, Output};

use super::JoylinkSession;
use super::jobs::ReplyTo;
use super::schedules::Client;
use super::storage::Storing;
use crate::config::Rebind;
use crate::lan::{About, Access, Asker, LanOutput, LanRequest};
use crate::wire::discovery::{Debugging, DeviceType};
use crate::wire::{Answer, Authorization, Code, FeedId, Json, JsonAnswer, JsonRequest, Script, SubScript, biz};

impl JoylinkSession {
    pub(super) fn take_udp(&mut self, now: Now, event: udp::Event) {
        let about = self.about();
        let access = Access { pair: &self.key_pair, localkey: self.bond.bond().map(|bond| &bond.localkey) };
        self.lan.udp(now, event, &about, &access);
    }

    /// What the device says of itself on the local network.
    fn about(&self) -> About {
        let bond = self.bond();
        About {
            mac: self.mac(),
            productuuid: self.product_uuid().unwrap_or_default().to_owned(),
            cid: self.settings.cid.clone(),
            firmware_version: self.settings.firmware_version.clone(),
            model_code: self.settings.model_code.clone(),
            trantype: self.settings.trantype,
            devtype: self.settings.device_type,
            feedid: bond.map_or(FeedId::EMPTY, |bond| bond.feedid),
            lancon: bond.and_then(|bond| bond.lancon).is_none_or(|lancon| lancon.0),
            debug: Some(Debugging { ver: i64::from(self.firmware_number()), rssi: i64::from(self.signal_percent()) }),
            opt: bond.and_then(|bond| bond.opt.clone()).unwrap_or_else(Json::empty_object),
            subdevices: self.gateway.discovery(self.settings.trantype),
        }
    }

    /// Carries out what the local network wants.
    pub(super) fn serve_lan(&mut self, now: Now) {
        loop {
            let wanted = self.lan.take_outputs();
            if wanted.is_empty() {
                return;
            }
            for output in wanted {
                match output {
                    LanOutput::Udp(request) => self.outputs.push(Output::Udp(request)),
                    LanOutput::Log(level, text) => self.outputs.push(Output::Log(level, text)),
                    LanOutput::Request(asker, request) => self.take_app(now, asker, request),
                    LanOutput::StatusChanged => self.shows = true,
                }
            }
        }
    }

    fn take_app(&mut self, now: Now, asker: Asker, request: LanRequest) {
        self.told.counters.app_requests += 1;
        match request {
            LanRequest::Authorize(order) => self.authorize(now, asker, order),
            LanRequest::Unusable(why) => {
                self.info(format!("an app's authorization cannot be used: {why}"));
                self.answer_app(now, &asker, &Answer::of(Code::AUTHORIZATION_FAILED).encode());
            }
            LanRequest::SubAuthorize(order) => self.authorize_subdevice(now, asker, order),
            LanRequest::AddSubDevice(order) => self.add_subdevice(now, &asker, &order),
            LanRequest::Json(JsonRequest { command, .. }) => {
                self.take_json_request(now, 0, &command, ReplyTo::AppJson(asker, None));
            }
            LanRequest::SubJson(request) => self.take_sub_json(now, asker, &request),
            // The table of codes has it, but only a cloud unbinds, and in another way (113).
            LanRequest::Script(Script { biz_code: biz::UNBIND, .. })
            | LanRequest::SubScript(SubScript { biz_code: biz::UNBIND, .. }) => {
                self.drop_input("an app cannot unbind");
            }
            LanRequest::Script(Script { biz_code, serial, content }) => {
                self.take_bytes(now, 0, biz_code, content, ReplyTo::App(asker, serial));
            }
            LanRequest::SubScript(request) => self.take_sub_script(now, asker, &request),
            LanRequest::Timers(plain) => self.take_timers(now, &Client::App(&asker), &plain),
        }
    }

    /// An app binds the device (2). It is answered when the bond is on the disk.
    fn authorize(&mut self, now: Now, asker: Asker, order: Authorization) {
        let is_same = self.bond().is_some_and(|bond| {
            bond.feedid == order.feedid && bond.accesskey == order.accesskey && bond.localkey == order.localkey
        });
        let is_open = self.bond().is_none()
            || self.settings.rebind == Rebind::Allow
            || self.bind_window.is_some_and(|until| now.monotonic < until)
            // The answer to the first was lost.
            || is_same;
        let refusal = if !is_open {
            Some(Code::ALREADY_BOUND)
        } else if order.servers().next().is_none() {
            self.info("an app's authorization names no server that can be used".to_owned());
            Some(Code::AUTHORIZATION_FAILED)
        } else if !is_small(&order) {
            self.info("an app's authorization is longer than is kept".to_owned());
            Some(Code::AUTHORIZATION_FAILED)
        } else if self.storing.values().any(|storing| matches!(storing, Storing::Bond(..))) {
            // Another one is on its way to the disk; an app repeats itself.
            return;
        } else {
            None
        };
        match refusal {
            Some(code) => {
                self.told.counters.bindings_refused += 1;
                self.answer_app(now, &asker, &Answer::of(code).encode());
            }
            None => self.store_bond(asker, order),
        }
    }

    /// The bond is on the disk, or could not be written.
    pub(super) fn bond_stored(&mut self, now: Now, asker: &Asker, order: Authorization, stored: bool) {
        if !stored {
            return self.answer_app(now, asker, &Answer::of(Code::WRITING_FAILED).encode());
        }
        // Sealed as the app expects it: an authorization is answered in plain text.
        self.answer_app(now, asker, &Answer::of(Code::SUCCESS).encode());
        let before = self.bond().map(|bond| bond.feedid);
        if before.is_some_and(|before| before != order.feedid) {
            self.info("the device has another owner; schedules of the one before are gone".to_owned());
        }
        self.info(format!("bound as {}", order.feedid.as_str()));
        self.adopt_product_uuid(now, order.productuuid.as_deref());
        self.bond.stored = Some(order);
        // It was open for one owner, who may say it again anyway.
        self.bind_window = None;
        self.bond_changed(now, before);
        self.open_cloud(now);
    }

    fn take_sub_json(&mut self, now: Now, asker: Asker, request: &JsonRequest) {
        let feedid = request.feedid;
        let name = feedid.as_ref().map(FeedId::as_str).unwrap_or_default();
        let record = self.gateway.by_feedid(name);
        match record.map(|record| (record.lancon(), record.device())) {
            None => {
                let answer = JsonAnswer::failure(feedid, Code::NO_SUCH_SUB_DEVICE);
                self.answer_app(now, &asker, &answer.encode());
            }
            Some((false, _)) => {
                self.drop_input("an app asks for a subdevice that is not controlled on the local network")
            }
            Some((true, None)) => {
                let answer = JsonAnswer::failure(feedid, Code::SUB_DEVICE_OFFLINE);
                self.answer_app(now, &asker, &answer.encode());
            }
            Some((true, Some(device))) => {
                self.take_json_request(now, device, &request.command, ReplyTo::AppJson(asker, feedid));
            }
        }
    }

    fn take_sub_script(&mut self, now: Now, asker: Asker, request: &SubScript) {
        let SubScript { biz_code: biz, serial, feedid, .. } = *request;
        let to = ReplyTo::AppSub(asker, serial, feedid);
        let Some(record) = self.gateway.by_feedid(feedid.as_str()) else {
            return self.refuse(now, 0, biz, to, Code::NO_SUCH_SUB_DEVICE);
        };
        if !record.lancon() {
            return self.drop_input("an app asks for a subdevice that is not controlled on the local network");
        }
        let content = request.open(&record.localkey().cipher_key());
        match (content, record.device()) {
            (Ok(content), Some(device)) => self.take_bytes(now, device, biz, content, to),
            (Ok(_), None) => self.refuse(now, 0, biz, to, Code::SUB_DEVICE_OFFLINE),
            (Err(why), _) => self.drop_input(&format!("an app's command for a subdevice: {why}")),
        }
    }

    pub(super) fn answer_app(&mut self, now: Now, asker: &Asker, body: &[u8]) {
        let access = Access { pair: &self.key_pair, localkey: self.bond.bond().map(|bond| &bond.localkey) };
        self.lan.answer(now, asker, body, &access);
    }

    /// Signal of the Wi-Fi in percent; a cable is as good as it gets.
    pub(super) fn signal_percent(&self) -> u8 {
        let wireless = self.interfaces.iter().find(|interface| interface.wireless);
        match wireless.map(|interface| interface.signal_dbm) {
            Some(0) | None => 100,
            // -100 dBm is no signal, -50 dBm a perfect one: what drivers commonly say.
            Some(dbm) => u8::try_from((2 * (i32::from(dbm) + 100)).clamp(0, 100)).unwrap_or(100),
        }
    }

    /// What tells this device from others of its product: as configured, or the address of its Wi-Fi.
    pub(super) fn mac(&self) -> String {
        if let Some(mac) = &self.settings.mac {
            return mac.clone();
        }
        let has_mac = |interface: &&polylink_plugin_sdk::services::network::Interface| interface.mac != [0; 6];
        let wireless = self.interfaces.iter().filter(has_mac).find(|interface| interface.wireless);
        let mac = wireless.or_else(|| self.interfaces.iter().find(has_mac)).map(|interface| interface.mac);
        mac.map(|mac| mac.map(|byte| format!("{byte:02X}")).join(":")).unwrap_or_default()
    }

    pub(super) fn is_gateway(&self) -> bool {
        self.settings.device_type == DeviceType::Gateway
    }
}

/// Whether an authorization can be kept, and shown in discovery (not documented; chosen by us).
fn is_small(order: &Authorization) -> bool {
    let opt = order.opt.as_ref().map_or(0, |opt| opt.get().len());
    opt <= LONGEST_OPT && order.encode().expose().len() <= LONGEST_BOND
}

/// Not documented; chosen by us: a discovery answer has room for it.
const LONGEST_OPT: usize = 1_024;
/// Not documented; chosen by us: real ones have some hundred bytes.
const LONGEST_BOND: usize = 16 * 1_024;
