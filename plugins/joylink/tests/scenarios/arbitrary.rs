//! Whatever comes, in whatever order: the session never panics, never loops, asks for a bounded number of things, settles
//! each report at most once, and speaks to the cloud only as it may. When all is well again, nothing is stuck: each report of
//! the device is settled, and no update is left with the host.

mod steps;

use std::collections::{BTreeMap, BTreeSet};

use polylink_plugin_sdk::services::{Reason, module, ota, script, subdevices, tcp, udp};
use polylink_plugin_sdk::{Cause, ClockQuality, Input, Outcome, OutcomeResult, Output, Report, ReportBody, RequestId};
use proptest::prelude::*;
use serde_json::json;

use steps::{Body, Step, any_setup, any_step};

use crate::crypto::CipherKey;
use crate::packet::{Kind, Network, Packet, Route, Splitter, enctype, fragments};
use crate::scenarios::stage::{App, Stage, accesskey, bond, control, interfaces};
use crate::wire::{Answer, AuthAnswer, Code, CodeAnswer, FeedId, SubUpload, SubUploadAnswer};

/// What the session asked for lately, for answers that fit.
#[derive(Default)]
struct Asked {
    commands: Vec<RequestId>,
    open_commands: BTreeSet<RequestId>,
    scripts: Vec<RequestId>,
    calls: Vec<RequestId>,
    /// Those among the calls that make bytes.
    encodings: BTreeSet<RequestId>,
    /// The stream that was asked for last; true: it is open.
    stream: Option<(RequestId, bool)>,
    /// The device has said on this stream who it is.
    said_who: bool,
    let_in: bool,
    n_uploads: usize,
    /// Statuses of upgrades.
    n_statuses: usize,
    n_beats: usize,
    /// Subdevices of uploads.
    sub_uploads: Vec<FeedId>,
    /// Reports that were given to the session; true: settled.
    reports: BTreeMap<u64, bool>,
    /// Updates that the host has.
    updates: Vec<ota::Update>,
}

struct Run {
    stage: Stage,
    apps: Vec<App>,
    asked: Asked,
    next_seq: u64,
}

fn pick<T: Copy>(list: &[T], which: usize) -> Option<T> {
    list.get(which % list.len().max(1)).copied()
}

impl Asked {
    fn note(&mut self, outputs: Vec<Output>, key: &CipherKey) {
        assert!(outputs.len() < 2_000, "{} things asked at once", outputs.len());
        for output in outputs {
            match output {
                Output::Tcp(tcp::Request::Open { id, .. }) => {
                    assert_eq!(self.stream, None, "one connection at a time");
                    (self.stream, self.said_who, self.let_in) = (Some((id, false)), false, false);
                    (self.n_uploads, self.n_statuses, self.n_beats) = (0, 0, 0);
                    self.sub_uploads.clear();
                }
                Output::Tcp(tcp::Request::Close(id)) => {
                    assert_eq!(self.stream.map(|(stream, _)| stream), Some(id));
                    self.stream = None;
                }
                // What is sent in the same moment as a close goes nowhere.
                Output::Tcp(tcp::Request::Send(id, bytes)) if self.stream == Some((id, true)) => {
                    self.sent(&bytes, key);
                }
                Output::Udp(udp::Request::SendTo(_, _, bytes)) => {
                    Packet::decode_datagram(Route::DeviceToApp, &bytes).expect("a packet for an app");
                }
                Output::Submit(id, _) => {
                    self.commands.push(id);
                    self.open_commands.insert(id);
                    assert!(self.open_commands.len() <= 80, "too many commands at once");
                }
                Output::Settle(seqs) => {
                    for seq in seqs {
                        let settled = self.reports.get_mut(&seq).expect("what is settled was reported");
                        assert!(!std::mem::replace(settled, true), "{seq} is settled twice");
                    }
                }
                Output::Ota(request) => self.ota(request),
                Output::Script(script::Request::Load { script, .. }) => self.scripts.push(script),
                Output::Script(script::Request::Call { id, function, .. }) => {
                    self.calls.push(id);
                    if function == "jds2pri" {
                        self.encodings.insert(id);
                    }
                }
                _ => {}
            }
        }
        for list in [&mut self.commands, &mut self.scripts, &mut self.calls] {
            let surplus = list.len().saturating_sub(64);
            list.drain(..surplus);
        }
    }

    /// As a host does.
    fn ota(&mut self, request: ota::Request) {
        use ota::{Failure, Phase, Request};
        match request {
            Request::Offer(offer) if self.updates.iter().all(|update| update.id != offer.id) => {
                let ota::Offer { id, target, version, .. } = *offer;
                self.updates.push(ota::Update { id, target, version, ..ota::Update::default() });
                assert!(self.updates.len() <= ota::UPDATES_MAX);
            }
            Request::Offer(_) => {}
            Request::Cancel(id) => {
                let begun = |phase: Phase| phase.is_over() || phase == Phase::Installing;
                if let Some(update) = self.updates.iter_mut().find(|update| update.id == id && !begun(update.phase)) {
                    update.phase = Phase::Failed(Failure::Cancelled);
                }
            }
            Request::Acknowledge(id) => {
                let is_done = |update: &mut ota::Update| update.id == id && update.phase.is_over();
                assert_eq!(self.updates.extract_if(.., is_done).count(), 1, "{id} is not over");
            }
        }
    }

    fn sent(&mut self, bytes: &[u8], key: &CipherKey) {
        let mut splitter = Splitter::new(Route::DeviceToCloud);
        splitter.push(bytes);
        let packet = splitter.next().expect("a packet").expect("a whole packet");
        assert_eq!(splitter.n_waiting(), 0);
        match packet.kind {
            Kind::CloudAuthentication => assert!(!std::mem::replace(&mut self.said_who, true)),
            kind => {
                assert!(self.let_in, "{kind:?} before the device was let in");
                let opened = packet.open(key).expect("under the session key");
                self.n_uploads += usize::from(kind == Kind::Upload);
                self.n_statuses += usize::from(kind == Kind::OtaStatus);
                self.n_beats += usize::from(matches!(kind, Kind::Heartbeat | Kind::SubHeartbeat));
                if kind == Kind::SubUpload {
                    self.sub_uploads.push(SubUpload::decode(opened.body()).expect("an upload").feedid);
                }
            }
        }
    }
}

impl Run {
    fn note(&mut self) {
        let outputs = self.stage.host.take_outputs();
        self.asked.note(outputs, &self.stage.session_key().cipher_key());
    }

    fn open_stream(&self) -> Option<RequestId> {
        self.asked.stream.filter(|(_, is_open)| *is_open).map(|(stream, _)| stream)
    }

    fn receive(&mut self, bytes: &[u8]) {
        if let Some(stream) = self.open_stream() {
            self.stage.host.tcp_received(stream, bytes);
        }
    }

    fn sealed(&self, kind: Kind, body: &[u8]) -> Option<Vec<u8>> {
        let key = self.stage.session_key().cipher_key();
        let packet = Packet::seal(kind, enctype::KEY32, Vec::new(), &key, 1, body);
        packet.encode(Network::Wan).ok()
    }

    fn app_packets(&mut self, app: usize, kind: Kind, body: &[u8]) -> Vec<Vec<u8>> {
        let app = &mut self.apps[app];
        app.clock += 1;
        let packet = app.sealed(kind, app.clock, body);
        let parts = fragments(packet, 7).expect("not too long");
        parts.iter().map(|part| part.encode(Network::Lan).expect("a fragment")).collect()
    }

    fn let_in(&mut self, agree: bool) {
        if self.open_stream().is_none() || !self.asked.said_who {
            return;
        }
        let opt_random = Some(if agree { 2 } else { 3 });
        let answer = AuthAnswer { opt_random, random: 2, session_key: self.stage.session_key() };
        let (kind, key) = (Kind::CloudAuthentication, accesskey().cipher_key());
        let packet = Packet::seal(kind, enctype::KEY32, answer.encode_opt(), &key, 1_704_067_200, &answer.encode());
        self.asked.let_in = true;
        self.receive(&packet.encode(Network::Wan).expect("short"));
    }

    fn opened(&mut self) {
        if let Some((stream, is_open @ false)) = &mut self.asked.stream {
            *is_open = true;
            let stream = *stream;
            self.stage.host.tcp_opened(stream);
        }
    }

    fn advance(&mut self, ms: u64) {
        let steps = 1 + ms / 1_000;
        for _ in 0..steps.min(700) {
            self.stage.host.advance(ms / steps);
            self.note();
        }
    }

    fn report(&mut self, device: u32, cause: u8, because: Option<usize>, body: Body) {
        let cause = [Cause::Change, Cause::Change, Cause::Change, Cause::Periodic, Cause::Answer, Cause::Snapshot]
            .get(usize::from(cause))
            .copied()
            .unwrap_or(Cause::Live);
        let is_numbered = !matches!(cause, Cause::Snapshot | Cause::Live);
        let seq = if is_numbered { self.next_seq } else { 0 };
        if is_numbered {
            self.next_seq += 1;
            self.asked.reports.insert(seq, false);
        }
        let caused_by = because.and_then(|which| pick(&self.asked.commands, which));
        let body = match body {
            Body::Values(values) => ReportBody::Properties(values),
            Body::Event(id, params) => ReportBody::Event { id: polylink_plugin_sdk::DatapointId(id), params },
            Body::Raw(bytes) => ReportBody::Raw(bytes),
        };
        let at = self.stage.host.now().wall;
        self.stage.host.deliver(Input::Reports(vec![Report { seq, at, device, cause, caused_by, body }]));
    }

    fn script(&mut self, which: usize, result: u8, length: i64, bytes: Vec<u8>) {
        use script::Value::{Bytes, Int};
        let Some(call) = pick(&self.asked.calls, which) else { return };
        let told = i64::try_from(bytes.len()).unwrap_or(0);
        let host = &mut self.stage.host;
        match result {
            0 => host.script_failed(call, Reason::Other),
            1 => host.script_failed(call, Reason::Timeout),
            2 => host.script_failed(call, Reason::UnknownHandle),
            3 => host.script_returned(call, []),
            4 => host.script_returned(call, [Int(length), Bytes(bytes)]),
            5 => host.script_returned(call, [Int(0), Int(length), Bytes(bytes)]),
            6..=8 => host.script_returned(call, [Int(0), Int(told), Bytes(bytes)]),
            _ => host.script_returned(call, [Int(0), Bytes(bytes), Int(1002)]),
        }
    }

    fn outcome(
        &mut self,
        which: usize,
        result: u8,
        values: polylink_plugin_sdk::value::Values,
        document: Option<Vec<u8>>,
    ) {
        let Some(id) = pick(&self.asked.commands, which) else { return };
        self.asked.open_commands.remove(&id);
        let result = match result {
            0 => OutcomeResult::Refused("no".to_owned()),
            1 => OutcomeResult::TimedOut,
            2 => OutcomeResult::Unreachable,
            3 => OutcomeResult::Superseded,
            _ => OutcomeResult::Done,
        };
        self.stage.host.deliver(Input::Outcome(id, Outcome { result, values, document }));
    }

    fn answer(&mut self) {
        let code = Code::SUCCESS;
        let own = (0..std::mem::take(&mut self.asked.n_uploads)).map(|_| (Kind::Upload, CodeAnswer(code).encode()));
        let subs = std::mem::take(&mut self.asked.sub_uploads);
        let subs = subs.into_iter().map(|feedid| (Kind::SubUpload, SubUploadAnswer { feedid, code }.encode()));
        let statuses = std::mem::take(&mut self.asked.n_statuses);
        let statuses = (0..statuses).map(|_| (Kind::OtaStatus, Answer::of(code).encode()));
        // Any packet is a sign of life.
        let beats = std::mem::take(&mut self.asked.n_beats);
        let beats = (0..beats).map(|_| (Kind::Heartbeat, CodeAnswer(code).encode()));
        for (kind, body) in own.chain(subs).chain(statuses).chain(beats) {
            if let Some(bytes) = self.sealed(kind, &body) {
                self.receive(&bytes);
            }
        }
    }

    /// The oldest update that is not over is so far now.
    fn update(&mut self, phase: ota::Phase) {
        if let Some(update) = self.asked.updates.iter_mut().find(|update| !update.phase.is_over()) {
            update.phase = phase;
        }
        self.stage.host.updates_changed(self.asked.updates.clone());
    }

    /// Everybody does what is asked of them from now on.
    fn go_well(&mut self) {
        self.step(Step::StoreFails(false));
        self.step(Step::Sockets(true));
        let is_bound = |run: &mut Self| run.stage.fact("feedid").is_some_and(|feedid| feedid != "none yet");
        self.advance(1_000);
        if !is_bound(self) {
            self.step(Step::Bind(Kind::Authorization, bond(json!({})).to_string().into_bytes()));
        }
        // A stream that was opened before may have been let in under wrong circumstances.
        self.step(Step::Cut);
        for _ in 0..200 {
            self.step(Step::Loaded);
            for call in std::mem::take(&mut self.asked.calls) {
                use script::Value::{Bytes, Int};
                if self.asked.encodings.remove(&call) {
                    self.stage.host.script_returned(call, [Int(0), Int(1), Bytes(b"x".to_vec())]);
                } else {
                    self.stage.host.script_returned(call, [Int(0), Bytes(control(json!({"n": 1}))), Int(1002)]);
                }
            }
            for id in std::mem::take(&mut self.asked.open_commands) {
                self.stage.host.command_done(id);
            }
            self.note();
            if !self.asked.let_in {
                self.step(Step::ComeIn);
            }
            self.step(Step::Full(false));
            self.update(ota::Phase::Finished);
            self.answer();
            self.advance(1_000);
        }
        assert_eq!(self.asked.updates, [], "never acknowledged");
        if is_bound(self) {
            let left: Vec<_> = self.asked.reports.iter().filter(|(_, settled)| !**settled).collect();
            assert!(left.is_empty(), "never settled: {left:?}");
        }
    }

    fn step(&mut self, step: Step) {
        self.note();
        match step {
            Step::Tcp(bytes) => self.receive(&bytes),
            Step::Cloud(kind, body) => {
                if let Some(bytes) = self.sealed(kind, &body) {
                    self.receive(&bytes);
                }
            }
            Step::SpoiltCloud(kind, body, at, byte) => {
                if let Some(mut bytes) = self.sealed(kind, &body) {
                    let at = at % bytes.len();
                    bytes[at] = byte;
                    let (head, tail) = bytes.split_at(at);
                    self.receive(head);
                    self.note();
                    self.receive(tail);
                }
            }
            Step::Datagram(app, bytes) => self.apps[app].send_bytes(&mut self.stage, &bytes),
            Step::App(app, kind, body) => {
                for bytes in self.app_packets(app, kind, &body) {
                    self.apps[app].send_bytes(&mut self.stage, &bytes);
                }
            }
            Step::SpoiltApp(app, kind, body, at, byte) => {
                for mut bytes in self.app_packets(app, kind, &body) {
                    let at = at % bytes.len();
                    bytes[at] = byte;
                    self.apps[app].send_bytes(&mut self.stage, &bytes);
                }
            }
            Step::Bind(kind, body) => {
                if self.stage.host.stored("private_key").is_some() {
                    self.apps[0].know(&self.stage);
                    let packet = self.apps[0].exchanged(kind, &body);
                    self.apps[0].send_packet(&mut self.stage, &packet);
                }
            }
            Step::Discover => self.apps[0].look(&mut self.stage, json!({})),
            Step::Opened => self.opened(),
            Step::LetIn(agree) => self.let_in(agree),
            Step::Cut => {
                if let Some((stream, _)) = self.asked.stream.take() {
                    self.stage.host.tcp_closed(stream, Reason::ConnectionLost);
                }
            }
            Step::Full(is_full) => {
                if let Some(stream) = self.open_stream() {
                    if is_full {
                        self.stage.host.tcp_full(stream);
                    } else {
                        self.stage.host.tcp_drained(stream);
                    }
                }
            }
            Step::Sockets(is_open) => {
                for id in [RequestId(1), RequestId(2)] {
                    if is_open {
                        self.stage.host.udp_bound(id, 4320);
                    } else {
                        self.stage.host.udp_closed(id, Reason::Other);
                    }
                }
            }
            Step::Outcome(which, result, values, document) => self.outcome(which, result, values, document),
            Step::Report(device, cause, because, body) => self.report(device, cause, because, body),
            Step::Script(which, result, length, bytes) => self.script(which, result, length, bytes),
            Step::Loaded => {
                for script in std::mem::take(&mut self.asked.scripts) {
                    self.stage.host.script_loaded(script);
                }
            }
            Step::Module(which) => self.stage.host.module_event(match which {
                0 => module::Event::Reset,
                1 => module::Event::Unbind,
                2 => module::Event::BindWindow(60),
                3 => module::Event::NetworkJoined,
                online => module::Event::Changed(module::Facts { mcu_online: online == 4, ..module::Facts::default() }),
            }),
            Step::Network(is_there) => {
                self.stage.host.interfaces_changed(if is_there { interfaces() } else { Vec::new() });
            }
            Step::Subdevices(which) => {
                let one = |index: u32| subdevices::Subdevice {
                    index,
                    product: "oven".to_owned(),
                    address: format!("a{index}"),
                    radio: subdevices::Radio::Zigbee,
                    accepted: which & 4 != 0,
                    online: which & 2 != 0,
                    signal_percent: None,
                    version: String::new(),
                };
                let list = (1..=u32::from(which % 3)).map(one).collect();
                self.stage.host.subdevices_changed(list);
            }
            Step::Update(which) => self.update(match which {
                0 => ota::Phase::Finished,
                1 => ota::Phase::Failed(ota::Failure::Digest),
                2 | 3 => ota::Phase::Downloading,
                4 | 5 => ota::Phase::Installing,
                _ => ota::Phase::Waiting,
            }),
            Step::StoreFails(fails) => self.stage.host.fail_store(fails),
            Step::Clock(unix_ms, quality) => {
                let quality = if quality == 0 { ClockQuality::UNSET } else { ClockQuality::SYNCED };
                self.stage.host.set_wall(unix_ms >> 8, quality);
            }
            Step::Advance(ms) => self.advance(ms),
            Step::Restart => {
                let updates = std::mem::take(&mut self.asked.updates);
                self.stage.host.setup().updates.clone_from(&updates);
                self.asked = Asked { updates, ..Asked::default() };
                self.stage.host.restart();
            }
            Step::ComeIn => {
                if self.asked.stream.is_none() {
                    self.advance(61_000);
                }
                self.opened();
                self.note();
                self.let_in(true);
            }
            Step::Answer => self.answer(),
        }
        self.note();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_comes_can_break_the_session(
        setup in any_setup(),
        steps in prop::collection::vec(any_step(), 0..80),
    ) {
        let apps = ["192.0.2.7:40000", "192.0.2.8:40000", "[2001:db8::1]:5"].map(App::at).into();
        let mut run = Run { stage: Stage::started_alone(setup), apps, asked: Asked::default(), next_seq: 1 };
        run.stage.socket = RequestId(1);
        run.note();
        run.step(Step::Sockets(true));
        for step in steps {
            run.step(step);
        }
        run.go_well();
        // Nothing is due again and again once nobody says anything any more.
        run.advance(600_000);
        run.stage.host.stop();
        run.note();
    }
}
