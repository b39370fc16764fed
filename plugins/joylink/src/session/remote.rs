//! The cloud's side: what a connection brings, and what it takes along.

use polylink_plugin_sdk::services::module;
use polylink_plugin_sdk::{Now, Output};

use super::JoylinkSession;
use super::jobs::ReplyTo;
use super::schedules::Client;
use crate::cloud::{Account, CloudOutput};
use crate::packet::{Kind, Opened};
use crate::wire::{Answer, Code, Heartbeat, Script, SubHeartbeat, SubScript, Unbind, biz};

impl JoylinkSession {
    /// Connects, if the device is bound; hangs up if it is not.
    pub(super) fn open_cloud(&mut self, now: Now) {
        let account = self.bond().map(|bond| Account {
            feedid: bond.feedid,
            accesskey: bond.accesskey.clone(),
            servers: bond.servers().collect(),
        });
        // Of a connection that ends here nothing is heard any more.
        self.connection_over();
        self.note.clear();
        match account {
            Some(account) => self.cloud.open(now, account),
            None => self.cloud.close(),
        }
    }

    /// Carries out what the connection wants.
    pub(super) fn serve_cloud(&mut self, now: Now) {
        loop {
            let wanted = self.cloud.take_outputs();
            if wanted.is_empty() {
                return;
            }
            for output in wanted {
                match output {
                    CloudOutput::Tcp(request) => self.outputs.push(Output::Tcp(request)),
                    CloudOutput::Log(level, text) => self.outputs.push(Output::Log(level, text)),
                    CloudOutput::Authenticated { unix_s } => self.authenticated(now, unix_s),
                    CloudOutput::Packet(kind, opened) => self.take_packet(now, kind, &opened),
                    CloudOutput::HeartbeatDue => self.beat(now),
                    CloudOutput::Lost(why) => self.cloud_lost(why),
                    CloudOutput::StatusChanged => self.shows = true,
                }
            }
        }
    }

    fn authenticated(&mut self, now: Now, unix_s: u32) {
        self.note.clear();
        self.shows = true;
        if let Some(unix_ms) = self.clock.correct(now, i64::from(unix_s) * 1000) {
            self.outputs.push(Output::Module(module::Request::OfferTime(unix_ms)));
        }
        self.tell_present(now);
        self.schedule_uplink.authenticated(now.monotonic);
        self.upgrades.authenticated(now.monotonic);
        self.recipes.authenticated(now.monotonic);
        self.information.authenticated();
    }

    fn cloud_lost(&mut self, why: String) {
        self.warn(why.clone());
        self.note = why;
        self.shows = true;
        self.connection_over();
    }

    /// What was not answered on a connection is said again on the next.
    fn connection_over(&mut self) {
        self.snapshot_sent = false;
        self.uploads.disconnected();
        // What the script was putting into words begins anew.
        self.script.forget(|purpose| matches!(purpose, super::converter::Purpose::Upload));
        self.schedule_uplink.disconnected();
        self.upgrades.disconnected();
        self.recipes.disconnected();
        self.information.disconnected();
    }

    fn take_packet(&mut self, now: Now, kind: Kind, opened: &Opened) {
        let body = opened.body();
        match kind {
            // JD's device SDK 2.0.7 as a cloud answers firmware statuses so (joylink_agent.c); a code alone is no JSON.
            Kind::Upload if Answer::decode(body).is_ok() => self.take_upgrade_answer(now, body),
            Kind::Upload | Kind::SubUpload => self.take_upload_answer(kind, body),
            Kind::Timers => self.take_timers(now, &Client::Cloud, opened.plain()),
            Kind::Command => match Script::decode(body) {
                Ok(Script { biz_code: biz @ (biz::CONTROL | biz::SNAPSHOT | biz::RECIPE), serial, content }) => {
                    self.told.counters.commands += 1;
                    self.take_bytes(now, 0, biz, content, ReplyTo::Cloud(serial));
                }
                Ok(other) => self.drop_input(&format!("a command with the code {}", other.biz_code)),
                Err(why) => self.drop_input(&format!("a command: {why}")),
            },
            Kind::SubCommand => match SubScript::decode(body) {
                Ok(request) => self.take_sub_command(now, &request),
                Err(why) => self.drop_input(&format!("a command for a subdevice: {why}")),
            },
            Kind::SubUnbind => match Unbind::decode(body) {
                Ok(request) => self.take_unbinding(now, &request),
                Err(why) => self.drop_input(&format!("an unbinding: {why}")),
            },
            Kind::OtaOrder => self.take_order(now, body),
            Kind::OtaStatus => self.take_upgrade_answer(now, body),
            Kind::Information => self.take_information(now, body),
            Kind::RecipeProgress => self.take_progress_answer(body),
            Kind::VideoAddress => self.take_video(now, body),
            _ => self.drop_input(&format!("a cloud does not send {kind:?}")),
        }
    }

    fn take_sub_command(&mut self, now: Now, request: &SubScript) {
        let SubScript { biz_code: biz, serial, feedid, .. } = *request;
        if !matches!(biz, biz::CONTROL | biz::SNAPSHOT) {
            return self.drop_input(&format!("a command for a subdevice with the code {biz}"));
        }
        let to = ReplyTo::CloudSub(serial, feedid);
        let Some(record) = self.gateway.by_feedid(feedid.as_str()) else {
            return self.refuse(now, 0, biz, to, Code::NO_SUCH_SUB_DEVICE);
        };
        let content = request.open(&record.accesskey().cipher_key());
        let device = record.device();
        self.told.counters.commands += 1;
        match (content, device) {
            (Ok(content), Some(device)) => self.take_bytes(now, device, biz, content, to),
            (Ok(_), None) => self.refuse(now, 0, biz, to, Code::SUB_DEVICE_OFFLINE),
            (Err(why), _) => self.drop_input(&format!("a command for a subdevice: {why}")),
        }
    }

    fn beat(&mut self, now: Now) {
        let (version, rssi) = (self.firmware_number(), u16::from(self.signal_percent()));
        let subs = self.gateway.beats();
        if subs.is_empty() {
            self.cloud.beat(now, Kind::Heartbeat, &Heartbeat { version, rssi }.encode());
        } else {
            self.cloud.beat(now, Kind::SubHeartbeat, &SubHeartbeat { version, rssi, subs }.encode());
        }
    }

    /// Sends something for which nobody waits longer than this connection lives.
    pub(super) fn tell_cloud(&mut self, now: Now, kind: Kind, body: &[u8]) -> bool {
        let sent = self.cloud.send(now, kind, body);
        if !sent {
            self.told.counters.answers_lost += 1;
        }
        sent
    }

    /// An upload without an answer spoils the connection.
    pub(super) fn watch_uploads(&mut self, now: Now) {
        if self.cloud.is_working() && self.uploads.is_silent(now.monotonic, self.settings.upload_timeout_ms) {
            self.cloud.hang_up(now, "the cloud does not answer an upload");
        }
    }

    /// The time in packets.
    pub(super) fn unix_s(&self, now: Now) -> u32 {
        let unix_ms = self.clock.unix_ms(now).unwrap_or_default();
        u32::try_from(unix_ms.div_euclid(1000)).unwrap_or_default()
    }

    /// Counts what came in and is of no use.
    pub(super) fn drop_input(&mut self, why: &str) {
        self.told.counters.dropped_input += 1;
        self.log(polylink_plugin_sdk::session::Level::Debug, format!("a message was dropped: {why}"));
    }
}
