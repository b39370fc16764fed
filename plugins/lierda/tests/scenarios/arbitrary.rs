//! Whatever comes, in whatever order: the session never panics, never loops, asks for a bounded number of things, settles
//! each report at most once, and says nothing where its account may not.

mod steps;

use std::collections::{BTreeMap, BTreeSet};

use polylink_plugin_sdk::services::{Reason, module, mqtt, network, script};
use polylink_plugin_sdk::{
    Cause, ClockQuality, DatapointId, Input, Outcome, OutcomeResult, Output, Report, ReportBody, RequestId,
    Value as Datum, WallTime,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use steps::{CODES, Payload, SESSIONS, Step, TOPICS, any_setup, any_step, update};

use crate::scenarios::stage::{BASE, Cloud, DEVICE_SECRET, below, encrypt, product, session_key, setup_of};

fn pick<T>(list: &[T], which: usize) -> Option<&T> {
    list.get(which % list.len().max(1))
}

/// What the session asked for lately, for answers that fit.
#[derive(Default)]
struct Asked {
    publishes: Vec<(RequestId, mqtt::Message)>,
    commands: Vec<RequestId>,
    open_commands: BTreeSet<RequestId>,
    connection: Option<(RequestId, bool)>,
    subscriptions: Vec<RequestId>,
    scripts: Vec<RequestId>,
    calls: Vec<RequestId>,
    /// Reports that were given to the session; true: settled.
    reports: BTreeMap<u64, bool>,
    last_client_id: String,
}

impl Asked {
    fn note(&mut self, cloud: &mut Cloud) {
        let outputs = cloud.host.take_outputs();
        assert!(outputs.len() < 3_000, "{} things asked at once", outputs.len());
        for output in outputs {
            match output {
                Output::Mqtt(mqtt::Request::Connect(id, connect)) => {
                    assert!(self.connection.is_none(), "two connections at once");
                    cloud.check_credentials(&connect);
                    let is_checked = connect.client_id.contains("_1_");
                    assert!(!is_checked || connect.client_id != self.last_client_id, "the same time twice");
                    self.last_client_id.clone_from(&connect.client_id);
                    self.connection = Some((id, connect.client_id.starts_with("AA30C505-")));
                    self.subscriptions.clear();
                }
                Output::Mqtt(mqtt::Request::Disconnect(id)) => {
                    self.connection.take_if(|(connection, _)| *connection == id);
                }
                Output::Mqtt(mqtt::Request::Subscribe { connection, id, filter, .. }) => {
                    if self.connection == Some((connection, true)) {
                        assert_eq!(filter, below("downlink"));
                    }
                    self.subscriptions.push(id);
                }
                Output::Mqtt(mqtt::Request::Publish { connection, id, message }) => {
                    let for_authentication = message.topic == "/sys/device/auth";
                    assert!(for_authentication || message.topic.starts_with(BASE), "{}", message.topic);
                    assert!(message.payload.len() <= 256 * 1024);
                    assert!(self.connection.is_none_or(|known| known == (connection, for_authentication)));
                    serde_json::from_slice::<Value>(&message.payload).expect("what is sent is JSON");
                    self.publishes.push((id, message));
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
                Output::Script(script::Request::Load { script, .. }) => self.scripts.push(script),
                Output::Script(script::Request::Call { id, .. }) => self.calls.push(id),
                _ => {}
            }
        }
        for list in [&mut self.commands, &mut self.scripts, &mut self.calls, &mut self.subscriptions] {
            let surplus = list.len().saturating_sub(64);
            list.drain(..surplus);
        }
        let surplus = self.publishes.len().saturating_sub(64);
        self.publishes.drain(..surplus);
    }
}

struct Run {
    cloud: Cloud,
    asked: Asked,
    next_seq: u64,
}

impl Run {
    fn note(&mut self) {
        self.asked.note(&mut self.cloud);
    }

    fn step(&mut self, step: Step) {
        self.note();
        let host = &mut self.cloud.host;
        match step {
            Step::Bytes(topic, bytes) => self.say(topic, bytes),
            Step::Message { topic, header_ctrl, id, payload } => self.message(topic, header_ctrl, id, payload),
            Step::Ack(which, code) => self.acknowledge(which, code),
            Step::Authentication { code, secret, session } => self.authenticate(code, secret, session),
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
            Step::Script(which, how) => self.script(which, how),
            Step::Advance(ms) => self.advance(ms),
            Step::Clock(unix_ms, quality) => host.set_wall(unix_ms, ClockQuality(quality)),
            Step::Updates(list) => host.updates_changed(list.into_iter().map(update).collect()),
            Step::Cut => {
                if let Some((id, _)) = self.asked.connection.take() {
                    host.mqtt_closed(id, Reason::ConnectionLost);
                }
            }
            Step::Accept => self.accept(),
            Step::Refuse(code) => {
                if let Some((id, _)) = self.asked.connection.take() {
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
            Step::Restart => self.restart(),
            Step::ComeOnline => self.come_online(),
        }
    }

    fn advance(&mut self, mut ms: u64) {
        while ms > 0 {
            let some = ms.min(60_000);
            self.cloud.host.advance(some);
            self.note();
            ms -= some;
        }
    }

    fn say(&mut self, topic: usize, message: Vec<u8>) {
        if let Some((connection, _)) = self.asked.connection {
            self.cloud.host.mqtt_message(connection, &below(TOPICS[topic]), message);
        }
    }

    fn message(&mut self, topic: usize, header_ctrl: Option<i64>, id: usize, payload: Payload) {
        let payload = match payload {
            Payload::Clear(content) => content,
            Payload::Sealed(session, content) => sealed(session, content.to_string().as_bytes()),
            Payload::SealedText(session, text) => sealed(session, text.as_bytes()),
        };
        let usual = CODES.get(topic).and_then(|codes| pick(codes, id)).copied();
        let id = match id {
            0 => json!(null),
            1 => json!("x"),
            2..6 => json!(id),
            _ => pick(&self.asked.publishes, id).map_or(json!(id), |(_, message)| id_of(message)),
        };
        let header_ctrl = header_ctrl.or(usual).unwrap_or(7);
        let frame = json!({"MessageId": id, "HeaderCtrl": header_ctrl, "Payload": payload, "Version": "2.0"});
        self.say(topic, frame.to_string().into_bytes());
    }

    fn acknowledge(&mut self, which: usize, code: Value) {
        let Some((_, message)) = pick(&self.asked.publishes, which) else { return };
        let Some(topic) = message.topic.strip_prefix(&format!("{BASE}/")) else { return };
        let json: Value = serde_json::from_slice(&message.payload).expect("what is sent is JSON");
        let header_ctrl = if topic == "model/hex" { json!(28) } else { json["HeaderCtrl"].clone() };
        let frame = json!({"MessageId": id_of(message), "HeaderCtrl": header_ctrl, "Payload": {"Code": code}});
        let topic = below(&format!("{topic}_ack"));
        if let Some((connection, _)) = self.asked.connection {
            self.cloud.host.mqtt_message(connection, &topic, frame.to_string());
        }
    }

    fn authenticate(&mut self, code: i64, secret: bool, session: Option<usize>) {
        let Some((_, message)) = self.asked.publishes.last() else { return };
        let mut payload = json!({"Code": code, "DeviceSecret": if secret { DEVICE_SECRET } else { "short" }});
        if let Some(session) = session {
            let (id, nonce) = SESSIONS[session];
            payload["SessionID"] = json!(id);
            payload["Nonce"] = json!(nonce);
        }
        let frame = json!({"MessageId": id_of(message), "HeaderCtrl": 1, "Payload": payload, "Version": "2.0"});
        self.say(0, frame.to_string().into_bytes());
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
                let id = DatapointId(u32::from(what) % 4);
                let value = Datum::Int(value.wrapping_add(i64::try_from(n).unwrap()));
                let body = match what % 5 {
                    0 => ReportBody::Event { id: DatapointId(0), params: vec![(id, value)] },
                    1 => ReportBody::Raw(vec![what; usize::from(what)]),
                    2 if what > 250 => ReportBody::Raw(vec![what; 200_000]),
                    _ => ReportBody::Properties(vec![(id, value), (DatapointId(0), Datum::Bool(what > 100))]),
                };
                let cause = if what.is_multiple_of(7) { Cause::Snapshot } else { Cause::Change };
                Report { seq, at, device: u32::from(what == 255), cause, caused_by: None, body }
            })
            .collect();
        self.cloud.host.deliver(Input::Reports(reports));
    }

    fn script(&mut self, which: usize, how: u8) {
        let host = &mut self.cloud.host;
        match how % 8 {
            0 => {
                if let Some(script) = self.asked.scripts.last() {
                    host.script_load_failed(*script, Reason::Quota);
                }
            }
            1 | 2 => {
                if let Some(script) = self.asked.scripts.last() {
                    host.script_loaded(*script);
                }
            }
            3 => {
                if let Some(call) = pick(&self.asked.calls, which) {
                    let reasons = [Reason::Timeout, Reason::UnknownHandle, Reason::Invalid];
                    host.script_failed(*call, reasons[which % 3]);
                }
            }
            how => {
                if let Some(call) = pick(&self.asked.calls, which) {
                    let texts = ["\u{1}\u{2}", r#"{"n":1}"#, r#"{"service":"reset"}"#, r#"["n"]"#];
                    let bytes = texts[which % 4].as_bytes().to_vec();
                    let value = if how == 7 { script::Value::Nil } else { script::Value::Bytes(bytes) };
                    host.script_returned(*call, [value]);
                }
            }
        }
    }

    fn accept(&mut self) {
        if let Some((id, _)) = self.asked.connection {
            self.cloud.connection = id;
            self.cloud.host.mqtt_connected(id);
        }
    }

    /// A crash: the host gives the new session what was not settled, and knows no connection.
    fn restart(&mut self) {
        self.cloud.host.restart();
        let reports = std::mem::take(&mut self.asked.reports);
        self.asked = Asked { reports, ..Asked::default() };
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
        if self.asked.connection.is_none() {
            self.advance(61_000);
        }
        for _ in 0..2 {
            self.accept();
            self.note();
            for id in std::mem::take(&mut self.asked.subscriptions) {
                self.cloud.host.subscribed(id, 1);
            }
            self.note();
            if self.asked.connection.is_some_and(|(_, for_authentication)| for_authentication) {
                self.authenticate(0, true, Some(0));
                self.note();
            }
        }
    }
}

fn sealed(session: usize, plain: &[u8]) -> Value {
    let (id, nonce) = SESSIONS[session];
    encrypt(&session_key(id, nonce), plain).into()
}

fn id_of(message: &mqtt::Message) -> Value {
    let json: Value = serde_json::from_slice(&message.payload).expect("what is sent is JSON");
    json.get("MessageId").cloned().unwrap_or(json!(null))
}

fn run(raw: bool, settings: Value, steps: Vec<Step>) {
    let cloud = Cloud::started_alone(setup_of(product(raw), settings));
    let mut run = Run { cloud, asked: Asked::default(), next_seq: 1 };
    for step in steps {
        run.step(step);
    }
    // Nothing is due again and again once nobody says anything any more.
    run.advance(3_600_000);
    run.cloud.host.stop();
    run.note();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_comes_can_break_the_session(
        (raw, settings) in any_setup(),
        steps in prop::collection::vec(any_step(), 0..80),
    ) {
        run(raw, settings, steps);
    }
}
