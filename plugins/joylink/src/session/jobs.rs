//! Requests that the device has to carry out: of apps, the cloud, schedules and recipes. One shape for all of them: the
//! command becomes datapoints or stays bytes, the MCU obeys, what it looks like then becomes the answer.

use polylink_plugin_sdk::session::Level;
use polylink_plugin_sdk::value::Values;
use polylink_plugin_sdk::{
    Command, CommandBody, DatapointId, Now, Outcome, OutcomeResult, Output, RequestId, Timestamp,
};

use super::JoylinkSession;
use super::converter::Purpose;
use crate::config::Form;
use crate::datapoints;
use crate::lan::Asker;
use crate::packet::Kind;
use crate::wire::standard::Control;
use crate::wire::video::VideoRequest;
use crate::wire::{Answer, Code, FeedId, JsonAnswer, JsonCommand, Script, Stream, SubScript, biz};

/// A request that is not answered yet.
#[derive(Debug)]
pub struct Job {
    /// Whom it is for: 0 the device itself, else a subdevice.
    pub device: u32,
    /// What is asked: one of [`biz`].
    pub biz: u32,
    /// Who is answered.
    pub to: ReplyTo,
    /// How far it is.
    pub step: Step,
    /// Until when the MCU may answer.
    pub due: Timestamp,
}

/// Who is answered.
#[derive(Clone, Debug)]
pub enum ReplyTo {
    /// An app, in JSON (3, 103); the subdevice.
    AppJson(Asker, Option<FeedId>),
    /// An app, in the product's bytes (4); the serial number.
    App(Asker, u32),
    /// An app, for a subdevice (104).
    AppSub(Asker, u32, FeedId),
    /// The cloud (11).
    Cloud(u32),
    /// The cloud, for a subdevice (111).
    CloudSub(u32, FeedId),
    /// The cloud, which told where a video goes (200).
    Video(u32, Box<VideoRequest>),
    /// The schedule whose step is being carried out.
    Schedule,
    /// The recipe whose step is being carried out.
    Recipe,
    /// The first snapshot of a connection.
    FirstSnapshot,
    /// The first snapshot of a subdevice.
    SubSnapshot,
    /// The product type, which the MCU knows.
    ProductUuid,
    /// Nobody: what was asked for went to the MCU.
    Nobody,
}

/// How far a job is.
#[derive(Debug)]
pub enum Step {
    /// The MCU was asked.
    Asked {
        /// Values that it has if it obeys.
        wanted: Values,
        /// The action that it runs.
        action: Option<DatapointId>,
        /// What it answered to bytes.
        raw: Option<Vec<u8>>,
        /// It has obeyed, and its answer to bytes may follow.
        obeyed: bool,
        /// It has reported the values that it has now.
        reported: bool,
    },
    /// The script puts the answer into bytes.
    Encoding,
}

/// What became of a job.
#[derive(Debug)]
pub enum Ended {
    /// The device looks as its view says; what an action returned.
    Shown(Option<Stream>),
    /// The MCU answered these bytes.
    Raw(Vec<u8>),
    /// It was not done.
    Failed(Code),
}

impl JoylinkSession {
    /// A command in the product's bytes.
    pub(super) fn take_bytes(&mut self, now: Now, device: u32, biz: u32, content: Vec<u8>, to: ReplyTo) {
        if let Some(code) = self.cannot_begin(device) {
            return self.refuse(now, device, biz, to, code);
        }
        match (biz, self.settings.form()) {
            (biz::SNAPSHOT, Form::Json | Form::Script) => {
                self.submit(now, device, biz, to, CommandBody::Get(Vec::new()), Values::new());
            }
            (biz::SNAPSHOT, Form::Raw) if content.is_empty() => {
                // Only the product knows how to ask for a snapshot, and nobody told.
                let said = self.present.of(device).raw.clone();
                let ended = said.map_or(Ended::Failed(Code::MCU_TIMEOUT), Ended::Raw);
                self.reply(now, device, biz, to, ended);
            }
            (_, Form::Raw) => self.submit(now, device, biz, to, CommandBody::Raw(content), Values::new()),
            (_, Form::Script) => self.decode(device, biz, content, to),
            (_, Form::Json) => self.take_json(now, device, biz, &content, to),
        }
    }

    /// A command in the protocol's standard JSON.
    pub(super) fn take_json(&mut self, now: Now, device: u32, biz: u32, content: &[u8], to: ReplyTo) {
        if biz == biz::RECIPE {
            return self.take_recipe(now, content, to);
        }
        match Control::decode(content) {
            Ok(Control { streams, .. }) => self.control(now, device, biz, &streams, to),
            Err(why) => {
                self.log(Level::Debug, format!("a command cannot be read: {why}"));
                self.refuse(now, device, biz, to, Code::PROPERTY_FAILED);
            }
        }
    }

    /// A request of an app in JSON (3, 103).
    pub(super) fn take_json_request(&mut self, now: Now, device: u32, command: &JsonCommand, to: ReplyTo) {
        if let Some(code) = self.cannot_begin(device) {
            return self.refuse(now, device, biz::CONTROL, to, code);
        }
        match (command, self.settings.form()) {
            // The bytes of such a product cannot be told apart into values.
            (_, Form::Raw) => self.refuse(now, device, biz::CONTROL, to, Code::NOT_SUPPORTED),
            (JsonCommand::Snapshot, _) => {
                self.submit(now, device, biz::SNAPSHOT, to, CommandBody::Get(Vec::new()), Values::new());
            }
            (JsonCommand::Control { streams, .. }, _) => self.control(now, device, biz::CONTROL, streams, to),
        }
    }

    /// Sets values.
    pub(super) fn control(&mut self, now: Now, device: u32, biz: u32, streams: &[Stream], to: ReplyTo) {
        match datapoints::control(&self.model, streams) {
            Ok(body) => {
                let wanted = if let CommandBody::Set(values) = &body { values.clone() } else { Values::new() };
                self.submit(now, device, biz, to, body, wanted);
            }
            Err(why) => {
                self.log(Level::Debug, format!("a command was refused: {why}"));
                self.refuse(now, device, biz, to, Code::PROPERTY_FAILED);
            }
        }
    }

    /// Another owner: what was asked before is nobody's any more, and what was not begun is not begun.
    pub(super) fn forget_askers(&mut self) {
        for job in self.jobs.values_mut() {
            if !matches!(job.to, ReplyTo::ProductUuid | ReplyTo::FirstSnapshot) {
                job.to = ReplyTo::Nobody;
            }
        }
        self.script.forget(|purpose| !matches!(purpose, Purpose::Upload | Purpose::Answer(_)));
        self.n_decoding = 0;
    }

    /// What was asked of these devices cannot be done: their indices are others' now, or nobody's.
    pub(super) fn end_jobs_of(&mut self, now: Now, devices: &[u32]) {
        let mut unread = Vec::new();
        self.script.forget(|purpose| match purpose {
            Purpose::Command { device, biz, to } if devices.contains(device) => {
                unread.push((*device, *biz, to.clone()));
                true
            }
            _ => false,
        });
        self.n_decoding -= unread.len();
        for (device, biz, to) in unread {
            self.refuse(now, device, biz, to, Code::SUB_DEVICE_OFFLINE);
        }
        let open: Vec<_> =
            self.jobs.iter().filter(|(_, job)| devices.contains(&job.device)).map(|(id, _)| *id).collect();
        for id in open {
            self.end(now, id, Ended::Failed(Code::SUB_DEVICE_OFFLINE));
        }
    }

    pub(super) fn cannot_begin(&self, device: u32) -> Option<Code> {
        if self.jobs.len() + self.n_decoding >= MAX_OPEN {
            return Some(Code::LIMIT_REACHED);
        }
        let offline = device != 0 && self.gateway.by_device(device).is_none_or(|record| !record.is_online());
        offline.then_some(Code::SUB_DEVICE_OFFLINE)
    }

    pub(super) fn submit(&mut self, now: Now, device: u32, biz: u32, to: ReplyTo, body: CommandBody, wanted: Values) {
        let id = self.next_id();
        let deadline_ms = self.settings.mcu_timeout_ms;
        let action = if let CommandBody::Invoke { action, .. } = &body { Some(*action) } else { None };
        let command = Command { device, deadline_ms, ..Command::new(body) };
        let due = now.monotonic.after(u64::from(deadline_ms));
        let step = Step::Asked { wanted, action, raw: None, obeyed: false, reported: false };
        self.jobs.insert(id, Job { device, biz, to, step, due });
        self.outputs.push(Output::Submit(id, command));
    }

    pub(super) fn take_outcome(&mut self, now: Now, id: RequestId, outcome: &Outcome) {
        let form = self.settings.form();
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Step::Asked { wanted, action, raw, obeyed, reported } = &mut job.step else { return };
        if outcome.result != OutcomeResult::Done {
            let code = code(job.device, &outcome.result);
            return self.end(now, id, Ended::Failed(code));
        }
        let device = job.device;
        let (wanted, action, reported) = (std::mem::take(wanted), *action, *reported);
        let is_of_app = matches!(job.to, ReplyTo::AppJson(..) | ReplyTo::App(..) | ReplyTo::AppSub(..));
        let is_news = is_of_app && job.biz == biz::CONTROL && !reported;
        let is_bytes = form == Form::Raw && !matches!(job.to, ReplyTo::ProductUuid | ReplyTo::Nobody);
        if !is_bytes {
            if let Some(action) = action {
                let returned = datapoints::returned(&self.model, action, outcome);
                return self.end(now, id, Ended::Shown(returned));
            }
            for values in [&wanted, &outcome.values] {
                self.present.merge(device, values);
            }
            if matches!(self.jobs.get(&id), Some(Job { to: ReplyTo::ProductUuid, .. })) {
                self.take_product_uuid(now, &outcome.values);
            }
            self.end(now, id, Ended::Shown(None));
            if is_news {
                // The cloud is told, also if the MCU says no more than that it obeyed (JoyLink V1.79, local control).
                self.show(device);
            }
            return;
        }
        match outcome.document.clone().or_else(|| raw.take()) {
            Some(bytes) => self.end(now, id, Ended::Raw(bytes)),
            None => *obeyed = true,
        }
    }

    /// The MCU said values for a command of ours: how it obeyed counts more than what was wanted.
    pub(super) fn obeyed_so(&mut self, id: RequestId, values: &Values) {
        if let Some(Job { step: Step::Asked { wanted, reported, .. }, .. }) = self.jobs.get_mut(&id) {
            *reported = true;
            wanted.retain(|(wanted, _)| values.iter().all(|(said, _)| said != wanted));
        }
    }

    /// The MCU said these bytes for a command of ours.
    pub(super) fn take_raw_answer(&mut self, now: Now, id: RequestId, bytes: &[u8]) {
        let Some(Job { step: Step::Asked { raw, obeyed, .. }, .. }) = self.jobs.get_mut(&id) else { return };
        if *obeyed {
            self.end(now, id, Ended::Raw(bytes.to_vec()));
        } else {
            *raw = Some(bytes.to_vec());
        }
    }

    /// Commands that the MCU obeyed without a word: what it said last is its answer.
    pub(super) fn end_silent_jobs(&mut self, now: Now) {
        let is_late = |job: &Job| job.due <= now.monotonic && matches!(job.step, Step::Asked { obeyed: true, .. });
        let late: Vec<_> =
            self.jobs.iter().filter(|(_, job)| is_late(job)).map(|(id, job)| (*id, job.device)).collect();
        for (id, device) in late {
            let said = self.present.of(device).raw.clone();
            let done = || Answer::of(Code::SUCCESS).encode();
            self.end(now, id, Ended::Raw(said.unwrap_or_else(done)));
        }
    }

    /// When [`Self::end_silent_jobs`] has something to do.
    pub(super) fn silent_jobs_due(&self) -> Option<Timestamp> {
        let waits = |job: &&Job| matches!(job.step, Step::Asked { obeyed: true, .. });
        self.jobs.values().filter(waits).map(|job| job.due).min()
    }

    /// Answers and forgets.
    fn end(&mut self, now: Now, id: RequestId, ended: Ended) {
        let Some(Job { device, biz, to, .. }) = self.jobs.remove(&id) else { return };
        self.reply(now, device, biz, to, ended);
    }

    /// The script has put an answer into bytes, or could not.
    pub(super) fn encoded(&mut self, now: Now, id: RequestId, bytes: Result<Vec<u8>, Code>) {
        let ended = bytes.map_or_else(Ended::Failed, Ended::Raw);
        self.end(now, id, ended);
    }

    pub(super) fn refuse(&mut self, now: Now, device: u32, biz: u32, to: ReplyTo, code: Code) {
        self.reply(now, device, biz, to, Ended::Failed(code));
    }

    /// Tells who asked.
    fn reply(&mut self, now: Now, device: u32, biz: u32, to: ReplyTo, ended: Ended) {
        if matches!(ended, Ended::Failed(_)) {
            self.told.counters.commands_refused += 1;
        }
        let code = if let Ended::Failed(code) = ended { code } else { Code::SUCCESS };
        match to {
            ReplyTo::AppJson(asker, feedid) => {
                let answer = match ended {
                    Ended::Failed(code) => JsonAnswer::failure(feedid, code),
                    Ended::Shown(returned) => JsonAnswer::snapshot(feedid, self.streams(device, returned)),
                    // Bytes are nothing that such an app could read.
                    Ended::Raw(_) => JsonAnswer::snapshot(feedid, Vec::new()),
                };
                self.answer_app(now, &asker, &answer.encode());
            }
            ReplyTo::Schedule => self.schedule_command_done(code),
            ReplyTo::Recipe => self.recipe_step_done(now, code),
            ReplyTo::Video(serial, request) => self.answer_video(now, serial, &request, code),
            ReplyTo::FirstSnapshot => self.first_snapshot_known(code),
            ReplyTo::SubSnapshot => self.subdevice_looked_at(code),
            ReplyTo::ProductUuid => self.product_uuid_asked(now),
            ReplyTo::Nobody => {
                if !code.is_success() {
                    self.log(Level::Debug, format!("the MCU did not take something of the cloud: {}", code.text()));
                }
            }
            ReplyTo::App(..) | ReplyTo::AppSub(..) | ReplyTo::Cloud(_) | ReplyTo::CloudSub(..) => {
                self.reply_in_bytes(now, device, biz, to, ended);
            }
        }
    }

    fn reply_in_bytes(&mut self, now: Now, device: u32, biz: u32, to: ReplyTo, ended: Ended) {
        let content = match ended {
            Ended::Raw(bytes) => bytes,
            // Whatever the product speaks (not documented; chosen by us).
            Ended::Failed(code) => Answer::of(code).encode(),
            Ended::Shown(returned) => {
                let json = datapoints::answer(Code::SUCCESS, None, Some(self.streams(device, returned)));
                if self.settings.form() == Form::Script {
                    let id = self.next_id();
                    let due = now.monotonic;
                    self.jobs.insert(id, Job { device, biz, to, step: Step::Encoding, due });
                    return self.encode(biz::answer_to(biz).unwrap_or(biz::UNKNOWN), json, Purpose::Answer(id));
                }
                json
            }
        };
        self.send_bytes(now, biz, &to, content);
    }

    /// What a device looks like, and what is said beyond that.
    fn streams(&self, device: u32, beyond: Option<Stream>) -> Vec<Stream> {
        let mut streams = datapoints::streams(&self.model, &self.present.of(device).values);
        streams.extend(beyond);
        streams
    }

    /// Sends an answer in the product's bytes, or what stands for one.
    pub(super) fn send_bytes(&mut self, now: Now, biz: u32, to: &ReplyTo, content: Vec<u8>) {
        let Some(answer_biz) = biz::answer_to(biz) else { return };
        let plain = |serial| Script { biz_code: answer_biz, serial, content: content.clone() }.encode();
        let sealed = |serial, feedid: FeedId, key: Option<crate::crypto::CipherKey>| match key {
            Some(key) => SubScript::seal(answer_biz, serial, feedid, &key, &content).encode(),
            // There is no key for one that nobody knows.
            None => SubScript { biz_code: answer_biz, serial, feedid, sealed: content.clone() }.encode(),
        };
        match to {
            ReplyTo::App(asker, serial) => self.answer_app(now, asker, &plain(*serial)),
            ReplyTo::AppSub(asker, serial, feedid) => {
                let key = self.gateway.by_feedid(feedid.as_str()).map(|record| record.localkey().cipher_key());
                self.answer_app(now, asker, &sealed(*serial, *feedid, key));
            }
            ReplyTo::Cloud(serial) => {
                self.tell_cloud(now, Kind::Command, &plain(*serial));
            }
            ReplyTo::CloudSub(serial, feedid) => {
                let key = self.gateway.by_feedid(feedid.as_str()).map(|record| record.accesskey().cipher_key());
                self.tell_cloud(now, Kind::SubCommand, &sealed(*serial, *feedid, key));
            }
            _ => {}
        }
    }
}

/// What an outcome is in the protocol's codes; a subdevice has its own.
fn code(device: u32, result: &OutcomeResult) -> Code {
    match result {
        OutcomeResult::TimedOut if device != 0 => Code::SUB_DEVICE_SILENT,
        OutcomeResult::Unreachable if device != 0 => Code::SUB_DEVICE_OFFLINE,
        _ => datapoints::code(result),
    }
}

/// Requests under way at once; further ones are refused (not documented; chosen by us).
pub const MAX_OPEN: usize = 64;
