//! Whatever comes, in whatever order: the session never panics, never loops, asks for a bounded number of things, settles
//! each report at most once, and says nothing in clear that has to be encrypted.

mod steps;

use std::collections::{BTreeMap, BTreeSet};

use polylink_plugin_sdk::services::{Failure, Reason, module, mqtt, network, ota};
use polylink_plugin_sdk::{
    Cause, ClockQuality, DatapointId, Input, Outcome, OutcomeResult, Output, Report, ReportBody, RequestId,
    Value as Datum, WallTime,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use steps::{Data, Registered, Step, any_settings, any_step};

use crate::scenarios::stage::{Cloud, DEV_KEY, DEVICE_SECRET, DOWNWARD, UPWARD, merged, seal, setup, unseal};

fn pick<T>(list: &[T], which: usize) -> Option<&T> {
    list.get(which % list.len().max(1))
}

/// What the session asked for lately, for answers that fit.
#[derive(Default)]
struct Asked {
    /// The request to register, and its number.
    http: Option<(RequestId, Value)>,
    publishes: Vec<(RequestId, Value)>,
    commands: Vec<RequestId>,
    open_commands: BTreeSet<RequestId>,
    connection: Option<RequestId>,
    subscriptions: Vec<RequestId>,
    /// The number of the last greeting.
    greeting: Value,
    /// Reports that were given to the session; true: settled.
    reports: BTreeMap<u64, bool>,
    /// The updates that the host has.
    updates: Vec<ota::Update>,
    logs: Option<RequestId>,
}

impl Asked {
    fn note(&mut self, cloud: &mut Cloud, encrypts: bool) {
        let outputs = cloud.host.take_outputs();
        let updates = self.updates.clone();
        assert!(outputs.len() < 3_000, "{} things asked at once", outputs.len());
        for output in outputs {
            match output {
                Output::Http(id, request) => {
                    assert!(self.http.is_none() && self.connection.is_none(), "two things at once");
                    let frame = checked(&request.body, true);
                    assert_eq!(frame["cmd"], 2000);
                    self.http = Some((id, frame["msgId"].clone()));
                }
                Output::CancelHttp(id) => drop(self.http.take_if(|(http, _)| *http == id)),
                Output::Mqtt(mqtt::Request::Connect(id, connect)) => {
                    assert!(self.http.is_none() && self.connection.is_none(), "two things at once");
                    cloud.check_credentials(&connect);
                    if let Some(will) = &connect.will {
                        assert_eq!(checked(&will.payload, encrypts)["cmd"], 2014);
                    }
                    self.connection = Some(id);
                    self.subscriptions.clear();
                }
                Output::Mqtt(mqtt::Request::Disconnect(id)) => {
                    self.connection.take_if(|connection| *connection == id);
                }
                Output::Mqtt(mqtt::Request::Subscribe { connection, id, filter, .. }) => {
                    assert_eq!((Some(connection), filter.as_str()), (self.connection, DOWNWARD));
                    self.subscriptions.push(id);
                }
                Output::Mqtt(mqtt::Request::Publish { connection, id, message }) => {
                    assert!(self.connection.is_none_or(|known| known == connection));
                    assert_eq!(message.topic, UPWARD);
                    let frame = checked(&message.payload, encrypts);
                    assert!([2004, 2006, 2012, 2018].contains(&frame["cmd"].as_i64().unwrap()), "{frame}");
                    if frame["cmd"] == 2004 {
                        self.greeting = frame["msgId"].clone();
                    }
                    self.publishes.push((id, frame["msgId"].clone()));
                }
                Output::Submit(id, _) => {
                    self.commands.push(id);
                    self.open_commands.insert(id);
                    assert!(self.open_commands.len() <= 64, "too many commands at once");
                }
                Output::Settle(seqs) => {
                    for seq in seqs {
                        let settled = self.reports.get_mut(&seq).expect("what is settled was reported");
                        assert!(!std::mem::replace(settled, true), "{seq} is settled twice");
                    }
                }
                Output::Ota(request) => self.update(request),
                Output::SendLogs(id, _) => {
                    assert!(self.logs.replace(id).is_none(), "two logs at once");
                }
                _ => {}
            }
        }
        if self.updates != updates {
            cloud.host.updates_changed(self.updates.clone());
            self.note(cloud, encrypts);
        }
        for list in [&mut self.commands, &mut self.subscriptions] {
            let surplus = list.len().saturating_sub(64);
            list.drain(..surplus);
        }
        let surplus = self.publishes.len().saturating_sub(64);
        self.publishes.drain(..surplus);
    }
}

impl Asked {
    /// What a host does with such a request.
    fn update(&mut self, request: ota::Request) {
        match request {
            ota::Request::Offer(offer) => {
                assert!(self.updates.iter().all(|update| update.phase.is_over()), "two updates at once");
                assert!(self.updates.iter().all(|update| update.id != offer.id), "offered twice");
                let ota::Offer { id, target, version, .. } = *offer;
                self.updates.push(ota::Update { id, target, version, ..ota::Update::default() });
            }
            ota::Request::Cancel(id) => {
                let can_end = |update: &&mut ota::Update| {
                    update.id == id && matches!(update.phase, ota::Phase::Waiting | ota::Phase::Downloading)
                };
                if let Some(update) = self.updates.iter_mut().find(can_end) {
                    update.phase = ota::Phase::Failed(ota::Failure::Cancelled);
                }
            }
            ota::Request::Acknowledge(id) => self.updates.retain(|update| update.id != id || !update.phase.is_over()),
        }
    }
}

/// A message of the device, in the right form.
fn checked(message: &[u8], encrypts: bool) -> Value {
    assert!(message.len() <= 256 * 1024);
    let frame: Value = serde_json::from_slice(message).expect("what is sent is JSON");
    let (data, members) = (&frame["data"], frame.as_object().unwrap());
    assert!(members.len() == 6 && frame["dir"] == "03" && frame["ver"] == "1.0", "{frame}");
    let plain = match data.as_str() {
        Some(sealed) if encrypts => {
            let plain = [DEVICE_SECRET, DEV_KEY].iter().find_map(|key| unseal(key, sealed));
            serde_json::from_str(&plain.expect("encrypted by a key of the device")).expect("a body is JSON")
        }
        _ => data.clone(),
    };
    assert!(plain.is_object() && data.is_string() == encrypts, "{frame}");
    frame
}

struct Run {
    cloud: Cloud,
    asked: Asked,
    encrypts: bool,
    next_seq: u64,
}

impl Run {
    fn note(&mut self) {
        self.asked.note(&mut self.cloud, self.encrypts);
    }

    fn step(&mut self, step: Step) {
        self.note();
        let host = &mut self.cloud.host;
        match step {
            Step::Bytes(bytes) => self.say(&bytes),
            Step::Message { cmd, id, dir, timestamp, data } => {
                let id = match id {
                    0 => json!(null),
                    1 => json!("x"),
                    2..6 => json!(id),
                    _ => pick(&self.asked.publishes, id).map_or(json!(id), |(_, id)| id.clone()),
                };
                self.message(cmd, &id, dir, timestamp, data);
            }
            Step::Greeted(code) => {
                let id = self.asked.greeting.clone();
                self.message(2005, &id, "30", json!(null), Data::Sealed(json!({ "respCode": code })));
            }
            Step::Registered(answer) => self.answer_application(answer),
            Step::Grant(code) => {
                for id in std::mem::take(&mut self.asked.subscriptions) {
                    host.subscribed(id, code);
                }
            }
            Step::Publish(which, reason) => {
                let id = pick(&self.asked.publishes, which).map(|(id, _)| *id);
                match (id, reason) {
                    (Some(id), None) => host.published(id),
                    (Some(id), Some(reason)) => host.publish_failed(id, reason),
                    (None, _) => {}
                }
            }
            Step::Outcome(which, how, value) => self.outcome(which, how, value),
            Step::Reports { n, what, value, age_ms } => self.report(n, what, value, age_ms),
            Step::Advance(ms) => self.advance(ms),
            Step::Clock(unix_ms, quality) => host.set_wall(unix_ms, ClockQuality(quality)),
            Step::Cut => {
                if let Some(id) = self.asked.connection.take() {
                    host.mqtt_closed(id, Reason::ConnectionLost);
                }
            }
            Step::Accept => self.accept(),
            Step::Refuse(code) => {
                if let Some(id) = self.asked.connection.take() {
                    host.mqtt_refused(id, code);
                }
            }
            Step::Module(which) => host.module_event(match which % 4 {
                0 => module::Event::Reset,
                1 => module::Event::Unbind,
                2 => module::Event::BindWindow(u32::from(which)),
                _ => module::Event::Changed(module::Facts { mcu_software: which.to_string(), ..Default::default() }),
            }),
            Step::Network(up) => {
                host.interfaces_changed(if up { vec![network::Interface::default()] } else { Vec::new() });
            }
            Step::StoreFails(fails) => host.fail_store(fails),
            Step::Update(phase, percent) => {
                let going = self.asked.updates.iter_mut().find(|update| !update.phase.is_over());
                if let Some(update) = going {
                    (update.phase, update.percent) = (phase, percent);
                    host.updates_changed(self.asked.updates.clone());
                }
            }
            Step::LogsSent(sent) => {
                if let Some(id) = self.asked.logs.take() {
                    let failure = Failure { reason: Reason::Timeout, text: "no route".to_owned() };
                    host.logs_sent(id, sent.ok_or(failure));
                }
            }
            Step::Restart => self.restart(),
            Step::ComeOnline => self.come_online(),
        }
        self.note();
    }

    fn advance(&mut self, mut ms: u64) {
        while ms > 0 {
            let some = ms.min(60_000);
            self.cloud.host.advance(some);
            self.note();
            ms -= some;
        }
    }

    fn say(&mut self, message: &[u8]) {
        if let Some(connection) = self.asked.connection {
            self.cloud.host.mqtt_message(connection, DOWNWARD, message);
        }
    }

    fn message(&mut self, cmd: i64, id: &Value, dir: &str, timestamp: Value, data: Data) {
        let data = match data {
            Data::Clear(content) => content,
            Data::Sealed(content) => seal(DEVICE_SECRET, content.to_string()).into(),
            Data::SealedOtherwise(content) => seal(DEV_KEY, content.to_string()).into(),
            Data::SealedText(text) => seal(DEVICE_SECRET, text).into(),
        };
        let mut frame = merged(self.cloud.frame(cmd, id, data), json!({ "dir": dir }));
        if !timestamp.is_null() {
            frame["timestamp"] = timestamp;
        }
        self.say(frame.to_string().as_bytes());
    }

    fn answer_application(&mut self, answer: Registered) {
        let Some((http, id)) = self.asked.http.take() else { return };
        let login = self.cloud.login.clone();
        let sealed = |cloud: &Cloud, id: &Value, body: Value| {
            cloud.frame(2001, id, seal(DEV_KEY, body.to_string()).into()).to_string()
        };
        let (status, body) = match answer {
            Registered::Done => (200, sealed(&self.cloud, &id, login)),
            Registered::WithoutSecret => (200, sealed(&self.cloud, &id, merged(login, json!({"deviceSecret": null})))),
            Registered::Without(member) => (200, sealed(&self.cloud, &id, merged(login, json!({ member: null })))),
            Registered::Code(code) => (200, sealed(&self.cloud, &id, merged(login, json!({ "respCode": code })))),
            Registered::Status(status) => (status, sealed(&self.cloud, &id, login)),
            Registered::OtherId => (200, sealed(&self.cloud, &json!(0), login)),
            Registered::Bytes(bytes) => return self.cloud.host.http_answer(http, 200, bytes),
            Registered::Failed => return self.cloud.host.http_failed(http, Reason::Timeout),
        };
        self.cloud.host.http_answer(http, status, body);
    }

    fn outcome(&mut self, which: usize, how: u8, value: i64) {
        let Some(id) = pick(&self.asked.commands, which).copied() else { return };
        self.asked.open_commands.remove(&id);
        let result = match how % 6 {
            0 => OutcomeResult::Refused("no".into()),
            1 => OutcomeResult::Unreachable,
            2 => OutcomeResult::TimedOut,
            _ => OutcomeResult::Done,
        };
        let values = (0..u32::from(how % 4)).map(|id| (DatapointId(id), Datum::Int(value))).collect();
        self.cloud.host.deliver(Input::Outcome(id, Outcome { result, values, document: None }));
    }

    fn report(&mut self, n: usize, what: u8, value: i64, age_ms: i64) {
        let wall = self.cloud.host.now().wall;
        let at = WallTime { unix_ms: wall.unix_ms.saturating_sub(age_ms), quality: ClockQuality(what % 4) };
        let reports: Vec<Report> = (0..n)
            .map(|n| {
                let seq = self.next_seq;
                self.next_seq += 1;
                self.asked.reports.insert(seq, false);
                let id = DatapointId(u32::from(what) % 6);
                let value = Datum::Int(value.wrapping_add(i64::try_from(n).unwrap()));
                let body = match what % 6 {
                    0 => ReportBody::Event { id: DatapointId(0), params: vec![(id, value)] },
                    1 => ReportBody::Raw(vec![what; usize::from(what)]),
                    2 if n == 0 => ReportBody::Properties(vec![(DatapointId(4), Datum::Text("x".repeat(200_000)))]),
                    _ => ReportBody::Properties(vec![(id, value), (DatapointId(0), Datum::Bool(what > 100))]),
                };
                let cause = if what.is_multiple_of(7) { Cause::Answer } else { Cause::Change };
                Report { seq, at, device: u32::from(what == 255), cause, caused_by: None, body }
            })
            .collect();
        self.cloud.host.deliver(Input::Reports(reports));
    }

    fn accept(&mut self) {
        if let Some(id) = self.asked.connection {
            self.cloud.connection = id;
            self.cloud.host.mqtt_connected(id);
        }
    }

    /// A crash: the host gives the new session what was not settled, and knows no connection.
    fn restart(&mut self) {
        self.cloud.host.restart();
        let Asked { reports, updates, .. } = std::mem::take(&mut self.asked);
        self.asked = Asked { reports, updates, ..Asked::default() };
        self.note();
        let unsettled: Vec<u64> =
            self.asked.reports.iter().filter(|(_, settled)| !**settled).map(|(seq, _)| *seq).take(256).collect();
        let report = |seq| Report {
            seq,
            at: WallTime::default(),
            device: 0,
            cause: Cause::Change,
            caused_by: None,
            body: ReportBody::Properties(vec![(DatapointId(1), Datum::Int(1))]),
        };
        self.cloud.host.deliver(Input::Reports(unsettled.into_iter().map(report).collect()));
    }

    fn come_online(&mut self) {
        if self.asked.connection.is_none() && self.asked.http.is_none() {
            self.advance(61_000);
        }
        self.answer_application(Registered::Done);
        self.note();
        self.accept();
        self.note();
        for id in std::mem::take(&mut self.asked.subscriptions) {
            self.cloud.host.subscribed(id, 1);
        }
        self.note();
        let id = self.asked.greeting.clone();
        self.message(2005, &id, "30", json!(null), Data::Sealed(json!({"respCode": 0})));
        self.note();
    }
}

fn run(settings: Value, steps: Vec<Step>) {
    let encrypts = settings["mqtt_encrypt_data"] == true;
    let cloud = Cloud::started(setup(settings));
    let mut run = Run { cloud, asked: Asked::default(), encrypts, next_seq: 1 };
    for step in steps {
        run.step(step);
    }
    // Nothing is due again and again once nobody says anything any more.
    run.advance(7_300_000);
    run.cloud.host.stop();
    run.note();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_comes_can_break_the_session(
        settings in any_settings(),
        steps in prop::collection::vec(any_step(), 0..80),
    ) {
        run(settings, steps);
    }
}
