//! What goes up: snapshots after every report (12, 112), and what happened without a command of an app (14).

use polylink_plugin_sdk::value::Values;
use polylink_plugin_sdk::{Cause, ClockQuality, CommandBody, Now, Report, ReportBody, WallTime};

use super::JoylinkSession;
use super::converter::Purpose;
use super::jobs::ReplyTo;
use crate::config::Form;
use crate::datapoints;
use crate::packet::{Kind, LONGEST_BODY};
use crate::uploads::{Entry, Said};
use crate::views::View;
use crate::wire::cloud::controltype;
use crate::wire::{AsyncResult, Code, CodeAnswer, FeedId, SubUpload, SubUploadAnswer, Text, biz};

impl JoylinkSession {
    pub(super) fn take_reports(&mut self, now: Now, reports: Vec<Report>) {
        for report in reports {
            self.take_report(now, report);
        }
    }

    fn take_report(&mut self, now: Now, report: Report) {
        let Report { seq, at, device, cause, caused_by, body } = report;
        // An answer to a question of ours comes with its outcome, and then as a report to all: nothing is new in that.
        let is_result = cause == Cause::Change && caused_by.is_none() && self.is_somebodys_doing(device, &body);
        match &body {
            ReportBody::Properties(values) => {
                self.present.merge(device, values);
                self.hear_product_uuid(now, device, values);
                if let Some(id) = caused_by {
                    self.obeyed_so(id, values);
                }
            }
            ReportBody::Raw(bytes) => {
                self.present.said(device, bytes);
                if let Some(id) = caused_by {
                    self.take_raw_answer(now, id, bytes);
                }
            }
            ReportBody::Event { .. } => {}
        }
        // What was asked for went to the asker with its outcome, the last known values are no news, and those of a full
        // window come again.
        if matches!(cause, Cause::Answer | Cause::Snapshot | Cause::Live) {
            return self.settle(seq);
        }
        if device != 0 && self.gateway.by_device(device).is_none() {
            self.told.counters.reports_without_owner += 1;
            return self.settle(seq);
        }
        let is_dated = at.quality > ClockQuality::UNSET;
        if is_dated && self.owner_since.is_some_and(|since| at.unix_ms < since) {
            self.told.counters.reports_of_former_owner += 1;
            return self.settle(seq);
        }
        let said = match body {
            ReportBody::Properties(values) => Said::Values(values),
            ReportBody::Event { id, params } => Said::Event(id, params),
            ReportBody::Raw(bytes) => Said::Raw(bytes),
        };
        if !self.uploads.take(Entry { seq, device, said }) {
            self.told.counters.reports_left += 1;
        }
        if is_result {
            let at_s = self.cloud_time(now, at);
            self.tell_result(device, controltype::PANEL, NO_TIMER, at_s);
        }
    }

    /// When something happened, by the clock of the cloud: a result may have waited for a connection, and the host's clock may
    /// be another.
    fn cloud_time(&self, now: Now, at: WallTime) -> u32 {
        let is_known = at.quality > ClockQuality::UNSET;
        let age_ms = if is_known { now.wall.unix_ms.saturating_sub(at.unix_ms).max(0) } else { 0 };
        self.unix_s(now).saturating_sub(u32::try_from(age_ms / 1000).unwrap_or(u32::MAX))
    }

    /// Whether a person at the device may have done this: values that can be set are changed by somebody, others by the
    /// world, and what a device says of itself when nothing was known is no change (not documented; chosen by us). To be
    /// asked while the device is still known as it was before.
    fn is_somebodys_doing(&self, device: u32, body: &ReportBody) -> bool {
        let can_be_set = |id| self.model.property(id).is_some_and(|property| property.writable);
        let known = &self.present.of(device).values;
        self.settings.panel_results
            && match body {
                ReportBody::Properties(values) => {
                    let differs = |id, value| known.get(id).is_some_and(|known| known != value);
                    values.iter().any(|(id, value)| can_be_set(*id) && differs(id, value))
                }
                ReportBody::Raw(_) => true,
                ReportBody::Event { .. } => false,
            }
    }

    /// Puts what waits into words and sends it.
    pub(super) fn send_uploads(&mut self, now: Now) {
        while self.cloud.is_working() && self.cloud.has_room() && !self.is_finding_out {
            if !self.snapshot_sent {
                // The device itself is shown before anything else is said (JoyLink V1.79, cloud session).
                self.uploads.begin_with(0);
            }
            let Some(Entry { device, said, .. }) = self.uploads.begin().cloned() else { return };
            if device != 0 && self.gateway.by_device(device).is_none() {
                // It was unbound meanwhile.
                self.told.counters.reports_without_owner += 1;
                self.give_up_upload();
                continue;
            }
            // An upload takes the place of the one before, so it has all that is known.
            self.uploaded.fill(device, &self.present);
            let extra = match &said {
                Said::Values(values) if values.is_empty() => {
                    self.uploaded.copy(device, &self.present);
                    None
                }
                Said::Values(values) => {
                    self.uploaded.merge(device, values);
                    None
                }
                Said::Event(id, params) => datapoints::event(&self.model, *id, params),
                Said::Raw(bytes) => {
                    self.uploaded.said(device, bytes);
                    None
                }
            };
            let view = self.uploaded.of(device);
            match self.settings.form() {
                Form::Raw => match view.raw.clone() {
                    Some(bytes) => self.upload(now, &bytes),
                    None => self.give_up_upload(),
                },
                form => {
                    let mut streams = datapoints::streams(&self.model, &view.values);
                    streams.extend(extra);
                    let json = datapoints::snapshot(streams);
                    if form == Form::Script {
                        return self.encode(biz::SNAPSHOT_IS, json, Purpose::Upload);
                    }
                    self.upload(now, &json);
                }
            }
        }
    }

    /// Sends the upload that was being put into words.
    pub(super) fn upload(&mut self, now: Now, content: &[u8]) {
        let Some(device) = self.uploads.current().map(|entry| entry.device) else { return };
        let (kind, feedid, body) = if device == 0 {
            (Kind::Upload, None, content.to_vec())
        } else {
            let Some(record) = self.gateway.by_device(device) else { return self.give_up_upload() };
            let feedid = record.feedid();
            let body = SubUpload::seal(feedid, &record.accesskey().cipher_key(), content).encode();
            (Kind::SubUpload, Some(feedid), body)
        };
        match self.cloud.send(now, kind, &body) {
            // It was dropped, and nobody will answer it.
            true if body.len() > LONGEST_BODY => self.give_up_upload(),
            true => {
                self.snapshot_sent |= device == 0;
                self.uploads.sent(now.monotonic, feedid);
            }
            false => self.uploads.put_back(),
        }
    }

    /// It can never be sent.
    pub(super) fn give_up_upload(&mut self) {
        // What waits for the first snapshot would wait for ever.
        self.snapshot_sent |= self.uploads.current().is_some_and(|entry| entry.device == 0);
        if let Some(seq) = self.uploads.give_up() {
            self.settle(seq);
        }
    }

    pub(super) fn take_upload_answer(&mut self, kind: Kind, body: &[u8]) {
        let answer = match kind {
            Kind::SubUpload => SubUploadAnswer::decode(body).map(|answer| (Some(answer.feedid), answer.code)),
            _ => CodeAnswer::decode(body).map(|CodeAnswer(code)| (None, code)),
        };
        let (feedid, code): (Option<FeedId>, Code) = match answer {
            Ok(answer) => answer,
            Err(why) => return self.drop_input(&why.to_string()),
        };
        let Some(seq) = self.uploads.answered(feedid) else {
            self.told.counters.unmatched += 1;
            return;
        };
        if !code.is_success() {
            // It says no more, and a second time it would say the same.
            if self.told.counters.uploads_refused == 0 {
                self.warn(format!(
                    "the cloud refused an upload with code {}, {} (further ones are only counted)",
                    code.0,
                    code.text()
                ));
            }
            self.told.counters.uploads_refused += 1;
        }
        self.settle(seq);
    }

    /// The first thing that the cloud is told on a connection: what the devices look like.
    pub(super) fn tell_present(&mut self, now: Now) {
        self.snapshot_sent = false;
        if !self.uploads.has_any(0) {
            if *self.present.of(0) != View::default() {
                self.show(0);
            } else if self.settings.form() == Form::Raw {
                // Nobody knows how to ask such a product for a snapshot; it will say something some day.
                self.snapshot_sent = true;
            } else {
                self.find_out(now);
            }
        }
        self.showing.begin();
    }

    /// Asks the MCU what the device looks like, unless it is still being asked since the connection before.
    fn find_out(&mut self, now: Now) {
        if !std::mem::replace(&mut self.is_finding_out, true) {
            let body = CommandBody::Get(Vec::new());
            self.submit(now, 0, biz::SNAPSHOT, ReplyTo::FirstSnapshot, body, Values::new());
        }
    }

    /// An MCU that is slower to start than the module can tell now what the cloud could not be shown before.
    pub(super) fn mcu_is_there(&mut self, now: Now) {
        let is_unknown = *self.present.of(0) == View::default() && self.settings.form() != Form::Raw;
        if self.cloud.is_working() && is_unknown {
            self.find_out(now);
        }
    }

    /// The MCU told what the device looks like, or did not.
    pub(super) fn first_snapshot_known(&mut self, code: Code) {
        self.is_finding_out = false;
        if self.uploads.has_any(0) {
            // What was reported meanwhile shows all that is known.
        } else if code.is_success() {
            self.show(0);
        } else {
            self.snapshot_sent = true;
            self.warn(format!("the cloud cannot be shown the device yet: {}", code.text()));
        }
    }

    /// Uploads what a device looks like now; each connection begins with that. A subdevice that has not spoken yet has
    /// nothing to show.
    pub(super) fn show(&mut self, device: u32) {
        let is_silent = device != 0 && *self.present.of(device) == View::default();
        if !self.cloud.is_working() || is_silent {
            return;
        }
        let _ = self.uploads.take(Entry { seq: 0, device, said: Said::Values(Values::new()) });
    }

    /// Tells what happened without a command of an app (14), with what the device looks like then.
    pub(super) fn tell_result(&mut self, device: u32, controltype: u8, timer: &str, executed_at: u32) {
        let feedid = if device == 0 {
            self.bond().map(|bond| bond.feedid)
        } else {
            self.gateway.by_device(device).map(crate::gateway::Record::feedid)
        };
        let Some(feedid) = feedid else { return };
        let id = Text::new(timer).unwrap_or(Text::EMPTY);
        let serial = self.next_serial();
        let content = Vec::new();
        let head = AsyncResult { biz_code: biz::UNKNOWN, serial, feedid, controltype, executed_at, id, content };
        let view = self.present.of(device);
        match self.settings.form() {
            Form::Raw => {
                let content = view.raw.clone().unwrap_or_default();
                self.push_result(AsyncResult { content, ..head });
            }
            form => {
                let json = datapoints::snapshot(datapoints::streams(&self.model, &view.values));
                if form == Form::Json {
                    self.push_result(AsyncResult { content: json, ..head });
                } else if self.script.n_open() < MOST_CALLS {
                    self.encode(biz::SNAPSHOT_IS, json, Purpose::Result(Box::new(head)));
                } else {
                    self.told.counters.results_lost += 1;
                }
            }
        }
    }

    /// Keeps a result until there is a connection. When there are too many, the oldest is dropped and counted.
    pub(super) fn push_result(&mut self, result: AsyncResult) {
        if self.results.len() >= self.settings.async_queue {
            self.results.pop_front();
            self.told.counters.results_lost += 1;
        }
        self.results.push_back(result);
    }

    pub(super) fn send_results(&mut self, now: Now) {
        while self.cloud.is_working() && self.snapshot_sent && self.cloud.has_room() {
            let Some(result) = self.results.pop_front() else { return };
            if !self.cloud.send(now, Kind::AsyncResult, &result.encode()) {
                return self.results.push_front(result);
            }
        }
    }

    pub(super) fn settle(&mut self, seq: u64) {
        if seq != 0 {
            self.settled.push(seq);
        }
    }
}

/// Results are lost while so many calls of the script wait (not documented; chosen by us).
const MOST_CALLS: usize = 256;
/// `id` of a result that no timer led to (JoyLink V1.79, asynchronous result).
const NO_TIMER: &str = "0";
