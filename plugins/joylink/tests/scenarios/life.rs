//! [`Life`]: a stage on which the cloud and the MCU answer by themselves, for days of virtual time, and what they saw.

use polylink_plugin_sdk::services::tcp;
use polylink_plugin_sdk::testing::Setup;
use polylink_plugin_sdk::value::Values;
use polylink_plugin_sdk::{Command, CommandBody, OutcomeResult, Output, RequestId, Value as Datum};
use serde_json::json;

use crate::packet::{Kind, Opened, Packet, Route, STAMP, Splitter, enctype};
use crate::scenarios::stage::{Stage, accesskey, control, n};
use crate::timers::wire::{Answer, Listing, Message, Operation, Request, StepResult};
use crate::wire::{
    Answer as CodeAndText, AsyncResult, AuthAnswer, Code, CodeAnswer, FeedId, RecipeReport, SerialAnswer, SubScript,
    SubUpload, SubUploadAnswer,
};

/// What the MCU does with a command; `None`: it does not answer.
type Mcu = Box<dyn FnMut(&Command) -> Option<OutcomeResult>>;

pub struct Life {
    pub stage: Stage,
    /// There is a cloud that takes connections.
    pub has_cloud: bool,
    /// Seconds that the cloud's clock is ahead of the host's.
    pub cloud_ahead_s: i64,
    /// The cloud acknowledges results, and takes snapshots of schedules as they are.
    pub acknowledges: bool,
    pub mcu: Mcu,
    /// Commands that the MCU has not answered.
    pub open: Vec<RequestId>,
    pub seen: Seen,
    /// How often the session wanted to be woken, and was.
    pub n_wakes: usize,
}

/// What happened, each with the host's time in Unix seconds.
#[derive(Default)]
pub struct Seen {
    /// Commands to the MCU: the device, and the value of `n` that it is to have.
    pub commands: Vec<(i64, u32, i64)>,
    /// Results of steps (1097).
    pub results: Vec<(i64, StepResult)>,
    /// Snapshots of schedules (10101).
    pub snapshots: Vec<(i64, Message<Request>)>,
    /// Asynchronous results (14).
    pub told: Vec<(i64, AsyncResult)>,
    /// Uploads (12, 112).
    pub uploads: Vec<(i64, Kind, Vec<u8>)>,
    /// Answers to commands for subdevices (111).
    pub answers: Vec<(i64, SubScript)>,
    /// All packets to the cloud.
    pub kinds: Vec<(i64, Kind)>,
    /// Whatever nobody here answers.
    pub others: Vec<Output>,
}

impl Life {
    /// Started; there is no cloud, and the MCU obeys.
    #[track_caller]
    pub fn started(setup: Setup) -> Self {
        Self::on(Stage::started(setup))
    }

    /// With a cloud that has let the device in.
    #[track_caller]
    pub fn online(setup: Setup) -> Self {
        let mut life = Self::started(setup);
        life.has_cloud = true;
        life.pass(5_000);
        life.seen = Seen::default();
        life
    }

    pub fn on(stage: Stage) -> Self {
        Self {
            stage,
            has_cloud: false,
            cloud_ahead_s: 0,
            acknowledges: true,
            mcu: Box::new(|_| Some(OutcomeResult::Done)),
            open: Vec::new(),
            seen: Seen::default(),
            n_wakes: 0,
        }
    }

    pub fn now_s(&self) -> i64 {
        self.stage.host.now().wall.unix_ms.div_euclid(1000)
    }

    /// Lets time pass, with all that comes of it.
    #[track_caller]
    pub fn pass(&mut self, ms: u64) {
        let end = self.stage.host.now().monotonic.after(ms);
        self.answer();
        let mut n_at_once = 0;
        while self.stage.host.next_timeout().is_some_and(|due| due <= end) {
            let passed = self.stage.host.advance_to_next_timeout();
            n_at_once = if passed > 0 { 0 } else { n_at_once + 1 };
            assert!(n_at_once < 200, "the session wants a timeout again and again without time passing");
            self.n_wakes += 1;
            self.answer();
        }
        let left = end.since(self.stage.host.now().monotonic);
        self.stage.host.advance(left);
        self.answer();
    }

    /// From now on there is a cloud: it takes the connection that waits.
    #[track_caller]
    pub fn bring_cloud(&mut self) {
        self.answer();
        self.has_cloud = true;
        let opening = |output: &Output| matches!(output, Output::Tcp(tcp::Request::Open { .. }));
        if let Some(last) = self.seen.others.iter().rposition(opening) {
            let output = self.seen.others.remove(last);
            self.take(output);
        }
        self.answer();
    }

    /// The session is gone and starts again after so long, as after a power cut.
    #[track_caller]
    pub fn cut_power(&mut self, off_ms: u64) {
        self.answer();
        let wall = self.stage.host.now().wall;
        let off_ms = i64::try_from(off_ms).expect("a short time");
        self.stage.host.set_wall(wall.unix_ms + off_ms, wall.quality);
        self.stage.restart();
        self.answer();
    }

    /// The cloud asks something about schedules; the answers.
    #[track_caller]
    pub fn ask(&mut self, request: Request) -> Vec<Answer> {
        let (bytes, serial) = request_bytes(request);
        self.answer();
        self.stage.send(Kind::Timers, &bytes);
        let mut answers = Vec::new();
        for output in self.stage.host.take_outputs() {
            match self.opened(&output) {
                Some((Kind::Timers, opened)) if Request::decode(opened.plain()).is_err() => {
                    let answer = Answer::decode(opened.plain()).expect("an answer");
                    assert_eq!(answer.serial, serial);
                    answers.push(answer.content);
                }
                _ => self.take(output),
            }
        }
        self.answer();
        answers
    }

    /// As [`Self::ask`]; one answer, with this code.
    #[track_caller]
    pub fn ask_for_code(&mut self, request: Request) -> i32 {
        let answers = self.ask(request);
        match answers.as_slice() {
            [Answer::Code(_, code) | Answer::Ids(_, code, _)] => *code,
            other => panic!("no code: {other:?}"),
        }
    }

    /// Answers what can be answered, until there is nothing more.
    #[track_caller]
    pub fn answer(&mut self) {
        for _ in 0..10_000 {
            let outputs = self.stage.host.take_outputs();
            if outputs.is_empty() {
                return;
            }
            for output in outputs {
                self.take(output);
            }
        }
        panic!("the session says something again and again");
    }

    #[track_caller]
    fn take(&mut self, output: Output) {
        if let Some((kind, opened)) = self.opened(&output) {
            return self.take_packet(kind, &opened);
        }
        match output {
            Output::Submit(id, command) => self.obey(id, &command),
            Output::Tcp(tcp::Request::Open { id, .. }) if self.has_cloud => {
                self.stage.stream = id;
                self.stage.host.tcp_opened(id);
            }
            Output::Tcp(tcp::Request::Send(id, bytes)) if id == self.stage.stream => self.let_in(&bytes),
            other => self.seen.others.push(other),
        }
    }

    fn obey(&mut self, id: RequestId, command: &Command) {
        if let CommandBody::Set(values) = &command.body {
            self.seen.commands.push((self.now_s(), command.device, value_of_n(values)));
        }
        match (self.mcu)(command) {
            Some(result) => self.stage.host.command_ended(id, result),
            None => self.open.push(id),
        }
    }

    fn let_in(&mut self, bytes: &[u8]) {
        assert_eq!(packet_in(bytes).kind, Kind::CloudAuthentication);
        let answer = AuthAnswer { opt_random: Some(4711), random: 4711, session_key: self.stage.session_key() };
        let stamp = u32::try_from(self.now_s() + self.cloud_ahead_s).expect("a time of this century");
        let (kind, key) = (Kind::CloudAuthentication, accesskey().cipher_key());
        let packet = Packet::seal(kind, enctype::KEY32, answer.encode_opt(), &key, stamp, &answer.encode());
        self.stage.send_packet(&packet);
    }

    /// A packet for the cloud under the session key.
    fn opened(&self, output: &Output) -> Option<(Kind, Opened)> {
        let Output::Tcp(tcp::Request::Send(id, bytes)) = output else { return None };
        let packet = packet_in(bytes);
        let is_ours = *id == self.stage.stream && packet.kind != Kind::CloudAuthentication;
        let open = || packet.open(&self.stage.session_key().cipher_key()).expect("under the session key");
        is_ours.then(|| (packet.kind, open()))
    }

    fn take_packet(&mut self, kind: Kind, opened: &Opened) {
        let (now, body) = (self.now_s(), opened.body());
        self.seen.kinds.push((now, kind));
        let taken = CodeAnswer(Code::SUCCESS).encode();
        match kind {
            Kind::Heartbeat | Kind::SubHeartbeat => self.stage.send(kind, &taken),
            Kind::Upload => {
                self.seen.uploads.push((now, kind, body.to_vec()));
                self.stage.send(kind, &taken);
            }
            Kind::SubUpload => {
                self.seen.uploads.push((now, kind, body.to_vec()));
                let feedid = SubUpload::decode(body).expect("an upload").feedid;
                self.stage.send(kind, &SubUploadAnswer { feedid, code: Code::SUCCESS }.encode());
            }
            Kind::AsyncResult => self.seen.told.push((now, AsyncResult::decode(body).expect("a result"))),
            Kind::SubCommand => self.seen.answers.push((now, SubScript::decode(body).expect("an answer"))),
            Kind::OtaStatus => self.stage.send(kind, &CodeAndText::of(Code::SUCCESS).encode()),
            Kind::RecipeProgress => {
                let serial = RecipeReport::decode(body).expect("a report").serial;
                self.stage.send(kind, &SerialAnswer { serial, code: Code::SUCCESS }.encode());
            }
            Kind::Timers => {
                if let Ok(request) = Request::decode(opened.plain()) {
                    self.take_timers(now, request);
                }
            }
            _ => {}
        }
    }

    /// What the device tells of its schedules by itself.
    fn take_timers(&mut self, now: i64, request: Message<Request>) {
        let answer = match &request.content {
            Request::Results(results) => {
                self.seen.results.extend(results.iter().map(|result| (now, *result)));
                Answer::Received(results.iter().map(|result| (result.id, result.step)).collect())
            }
            Request::Snapshot(Listing { tasks, .. }) => {
                let ids = tasks.iter().map(|task| task.id).collect();
                self.seen.snapshots.push((now, request.clone()));
                Answer::Ids(Operation::Snapshot, 0, ids)
            }
            other => panic!("the device has no tasks of its own: {other:?}"),
        };
        if self.acknowledges {
            self.stage.send(Kind::Timers, &request.answered(0, answer).encode()[STAMP..]);
        }
    }
}

impl Seen {
    /// When which value of `n` was set.
    pub fn values(&self) -> Vec<(i64, i64)> {
        self.commands.iter().map(|(at, _, value)| (*at, *value)).collect()
    }

    /// Results of steps: task, step, code.
    pub fn steps(&self) -> Vec<(i32, u8, i32)> {
        self.results.iter().map(|(_, result)| (result.id, result.step, result.code)).collect()
    }

    /// Ids in the snapshots of schedules of this device.
    pub fn snapshots_of(&self, feedid: &str) -> Vec<(i64, Vec<i32>)> {
        let one = |(at, message): &(i64, Message<Request>)| match &message.content {
            Request::Snapshot(listing) if listing.feedid == name(feedid) => {
                Some((*at, listing.tasks.iter().map(|task| task.id).collect()))
            }
            _ => None,
        };
        self.snapshots.iter().filter_map(one).collect()
    }

    pub fn count(&self, kind: Kind) -> usize {
        self.kinds.iter().filter(|(_, sent)| *sent == kind).count()
    }
}

fn packet_in(bytes: &[u8]) -> Packet {
    let mut splitter = Splitter::new(Route::DeviceToCloud);
    splitter.push(bytes);
    splitter.next().expect("a packet").expect("a whole packet")
}

fn value_of_n(values: &Values) -> i64 {
    match values.iter().find(|(id, _)| *id == n(0).0) {
        Some((_, Datum::Int(value))) => *value,
        _ => panic!("no value of n: {values:?}"),
    }
}

/// What a packet about schedules says after its time stamp, and its number.
pub fn request_bytes(content: Request) -> (Vec<u8>, u32) {
    let message = Message { timestamp: 0, serial: 0xA5A5, numbers: Default::default(), content };
    (message.encode()[STAMP..].to_vec(), message.serial)
}

/// A command that sets `n`.
pub fn set_n(value: i64) -> Vec<u8> {
    control(json!({"n": value}))
}

/// A name as schedules have it.
pub fn name(feedid: &str) -> FeedId {
    FeedId::new(feedid).expect("a short name")
}

/// A name as everything else has it.
pub fn feedid(text: &str) -> FeedId {
    FeedId::new(text).expect("a short name")
}
