//! Whatever comes, in whatever order: in the end every report is settled, once, no command was carried out twice, and nothing
//! was said in clear that is to be encrypted.

use std::collections::BTreeSet;

use polylink_plugin_sdk::services::{Reason, module, mqtt, network, script};
use polylink_plugin_sdk::{
    Cause, ClockQuality, DatapointId, Input, Outcome, OutcomeResult, Output, Report, ReportBody, RequestId,
    Value as Datum, WallTime,
};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use crate::scenarios::stage::{BASE, Cloud, DEVICE_SECRET, product, setup_of};

#[derive(Clone, Debug)]
enum Step {
    /// A message of the platform: topic, code, name, payload, and whether it is encrypted.
    Say(&'static str, i64, Value, Value, bool),
    Bytes(&'static str, Vec<u8>),
    /// The platform's answer to something the device sent.
    Answer(Index, Value, bool),
    Published(Index, Result<(), Reason>),
    Subscribed(Index, u8),
    Outcome(Index, OutcomeResult),
    Returned(Index, Result<Vec<u8>, Reason>),
    Loaded,
    /// A report from so many milliseconds ago; `None`: its time is not known.
    Report(ReportBody, Option<i64>),
    Advance(u64),
    Cut,
    Accept,
    Refuse(u8),
    Module(u8),
    Network(bool),
}

/// Where the platform speaks, and the codes that it uses there.
const SPOKEN: [(&str, &[i64]); 15] = [
    ("downlink", &[1, 3, 4, 7]),
    ("downloadlink", &[4, 7]),
    ("ask_firmware", &[13]),
    ("ota_notify", &[9]),
    ("ask_config", &[14]),
    ("down_config", &[14]),
    ("download_config", &[14]),
    ("update_time_ack", &[29]),
    ("uplink_ack", &[4]),
    ("model/property/ask", &[23]),
    ("model/property/set", &[20]),
    ("model/service/switch", &[21]),
    ("model/hex/downlink", &[22, 24, 25]),
    ("model/hex_ack", &[28]),
    ("model/hex/report_ack", &[18, 19, 26]),
];

/// Codes of what an encrypted product never says in clear.
const SEALED: [i64; 7] = [4, 16, 17, 18, 19, 26, 27];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0..300_i64).prop_map(Value::from),
        "[a-z0-9._-]{0,12}".prop_map(Value::from),
        "([0-9A-F]{2}){0,20}".prop_map(Value::from),
        select(vec!["200", "4001", "reset", "switch", "n", "0A0B0C0D", "http://h/x"]).prop_map(Value::from),
    ];
    let known = select(vec![
        "Code",
        "Data",
        "params",
        "servicIdentify",
        "Settings",
        "Host",
        "Port",
        "SessionID",
        "Nonce",
        "Url",
        "SoftVer",
        "SoftSize",
        "MD5",
        "DownID",
        "Type",
        "timestamp",
        "timezone",
        "data",
        "switch",
        "n",
    ]);
    let key = prop_oneof![known.prop_map(str::to_owned), "[a-z]{0,6}"];
    leaf.prop_recursive(3, 24, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_payload() -> impl Strategy<Value = Value> {
    let sensible = select(vec![
        json!({"params": [{"identify": "n", "value": "5"}]}),
        json!({"params": ["n", "temp"]}),
        json!({"servicIdentify": "switch", "params": {"on": 1}}),
        json!({"data": "00"}),
        json!({"n": 5}),
        json!({"SessionID": "0A0B0C0D", "Nonce": 300}),
        json!({"Settings": {"n": 5}}),
        json!({"Code": "200", "Data": {"timestamp": 1_704_067_200_000_i64, "timezone": "Asia/Shanghai"}}),
        json!("00"),
        json!("0102"),
        json!(""),
    ]);
    prop_oneof![2 => sensible, 1 => any_json()]
}

/// A few names, so that they come again.
fn any_name() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => (0..6_i64).prop_map(Value::from),
        1 => (0..6_i64).prop_map(|number| Value::from(number.to_string())),
        1 => any_json(),
    ]
}

fn any_message() -> impl Strategy<Value = Step> {
    let spoken = (any::<Index>(), any::<Index>()).prop_map(|(topic, code)| {
        let (topic, codes) = SPOKEN[topic.index(SPOKEN.len())];
        (topic, codes[code.index(codes.len())])
    });
    let odd = (any::<Index>(), -1..32_i64).prop_map(|(topic, code)| (SPOKEN[topic.index(SPOKEN.len())].0, code));
    let topic_and_code = prop_oneof![8 => spoken, 1 => odd];
    (topic_and_code, any_name(), any_payload(), any::<bool>())
        .prop_map(|((topic, code), name, payload, sealed)| Step::Say(topic, code, name, payload, sealed))
}

fn any_report() -> impl Strategy<Value = Step> {
    let body = prop_oneof![
        3 => (0..4_u32, -5..5_i64)
            .prop_map(|(id, n)| ReportBody::Properties(vec![(DatapointId(id), Datum::Int(n))])),
        1 => Just(ReportBody::Event { id: DatapointId(0), params: vec![(DatapointId(0), Datum::Int(3))] }),
        2 => prop::collection::vec(any::<u8>(), 0..5).prop_map(ReportBody::Raw),
    ];
    let age = prop_oneof![2 => 0..100_i64, 1 => 50_000..100_000_i64];
    (body, prop::option::weighted(0.8, age)).prop_map(|(body, age)| Step::Report(body, age))
}

fn any_step(longest_ms: u64) -> impl Strategy<Value = Step> {
    let reason = select(vec![Reason::Quota, Reason::Invalid, Reason::Timeout, Reason::ConnectionLost]);
    let script_reason = select(vec![Reason::Other, Reason::Timeout, Reason::UnknownHandle, Reason::Closed]);
    let decoded = select(vec![r#"{"n":5}"#, r#"["n"]"#, r#"{"service":"switch","params":{"on":1}}"#, "{}", "no", ""]);
    let result = select(vec![
        OutcomeResult::Done,
        OutcomeResult::Refused("out of range".to_owned()),
        OutcomeResult::Unreachable,
        OutcomeResult::TimedOut,
        OutcomeResult::Superseded,
    ]);
    let code = prop_oneof![3 => select(vec![json!("200"), json!(200), json!("4001")]), 1 => any_json()];
    let published = prop_oneof![3 => Just(Ok(())), 1 => reason.prop_map(Err)];
    let returned = prop_oneof![
        3 => decoded.prop_map(|text| Ok(text.as_bytes().to_vec())),
        1 => script_reason.prop_map(Err),
    ];
    prop_oneof![
        12 => any_message(),
        1 => (any::<Index>(), any::<Vec<u8>>()).prop_map(|(at, bytes)| Step::Bytes(SPOKEN[at.index(SPOKEN.len())].0, bytes)),
        8 => (any::<Index>(), code, any::<bool>()).prop_map(|(which, code, sealed)| Step::Answer(which, code, sealed)),
        3 => (any::<Index>(), published).prop_map(|(which, result)| Step::Published(which, result)),
        4 => (any::<Index>(), select(vec![0_u8, 1, 1, 1, 0x80])).prop_map(|(which, qos)| Step::Subscribed(which, qos)),
        5 => (any::<Index>(), result).prop_map(|(which, result)| Step::Outcome(which, result)),
        5 => (any::<Index>(), returned).prop_map(|(which, result)| Step::Returned(which, result)),
        1 => Just(Step::Loaded),
        6 => any_report(),
        4 => prop_oneof![0..100_u64, 0..longest_ms].prop_map(Step::Advance),
        1 => Just(Step::Cut),
        2 => Just(Step::Accept),
        1 => any::<u8>().prop_map(Step::Refuse),
        1 => any::<u8>().prop_map(Step::Module),
        1 => any::<bool>().prop_map(Step::Network),
    ]
}

/// Products of every kind.
fn any_product() -> impl Strategy<Value = (bool, Value)> {
    let kinds = select(vec![
        (false, json!({"config_properties": ["n"], "allow_broker_change": true})),
        (true, json!({"product_kind": "passthrough"})),
        (false, json!({"product_kind": "passthrough", "uplink_acks": "broker"})),
        (false, json!({"product_kind": "hex", "script": "x"})),
        (false, json!({"product_kind": "hex", "script": "x", "hex_uplink": "full"})),
        (true, json!({"product_kind": "hex", "hex_encrypt_input": "raw_bytes"})),
        (true, json!({"product_kind": "hex", "hex_uplink": "full", "full_hex_format": "binary"})),
    ]);
    let more = select(vec![json!({}), json!({"encrypted": true}), json!({"encrypted": true, "encrypt_scope": "all"})]);
    let wildcard = any::<bool>().prop_map(|yes| json!({"use_plus_wildcard": yes}));
    (kinds, more, wildcard).prop_map(|((raw, mut settings), more, wildcard)| {
        for other in [more, wildcard] {
            settings.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
        }
        (raw, settings)
    })
}

/// A frame that the device has sent.
#[derive(Clone, Debug)]
struct Frame {
    connection: RequestId,
    publish: RequestId,
    /// Below the device's own.
    topic: String,
    name: Value,
    code: i64,
}

/// A conversation, and what was asked for in it lately.
struct Talk {
    cloud: Cloud,
    encrypted: bool,
    connections: Vec<RequestId>,
    subscriptions: Vec<RequestId>,
    frames: Vec<Frame>,
    commands: Vec<RequestId>,
    calls: Vec<RequestId>,
    /// Names of commands that were carried out; `None`: so much time passes that they may come again.
    carried_out: Option<BTreeSet<String>>,
    reported: u64,
    settled: BTreeSet<u64>,
}

impl Talk {
    fn new(raw: bool, settings: Value, once: bool) -> Self {
        let encrypted = settings["encrypted"] == true;
        let cloud = Cloud::online(setup_of(product(raw), settings));
        Self {
            cloud,
            encrypted,
            connections: Vec::new(),
            subscriptions: Vec::new(),
            frames: Vec::new(),
            commands: Vec::new(),
            calls: Vec::new(),
            carried_out: once.then(BTreeSet::new),
            reported: 0,
            settled: BTreeSet::new(),
        }
    }

    /// Notes what the device asked for; true if it asked for anything.
    fn listen(&mut self) -> bool {
        let outputs = self.cloud.host.take_outputs();
        assert!(outputs.len() < 10_000, "{} things asked at once", outputs.len());
        let any = !outputs.is_empty();
        for output in outputs {
            match output {
                Output::Mqtt(mqtt::Request::Connect(id, _)) => self.connections.push(id),
                Output::Mqtt(mqtt::Request::Subscribe { id, .. }) => self.subscriptions.push(id),
                Output::Mqtt(mqtt::Request::Publish { connection, id, message }) => {
                    self.note_message(connection, id, &message);
                }
                Output::Script(script::Request::Load { script, .. }) => self.cloud.script = Some(script),
                Output::Script(script::Request::Call { id, .. }) => self.calls.push(id),
                Output::Submit(id, command) => {
                    let name = command.message_id;
                    let carried_out = self.carried_out.as_mut().filter(|_| !name.is_empty());
                    assert!(carried_out.is_none_or(|names| names.insert(name.clone())), "{name} is carried out twice");
                    self.commands.push(id);
                }
                Output::Settle(seqs) => {
                    for seq in seqs {
                        assert!(
                            (1..=self.reported).contains(&seq) && self.settled.insert(seq),
                            "{seq} is settled again"
                        );
                    }
                }
                _ => {}
            }
        }
        any
    }

    fn note_message(&mut self, connection: RequestId, publish: RequestId, message: &mqtt::Message) {
        assert!(message.payload.len() <= 256 * 1024);
        let topic = message.topic.strip_prefix(BASE).and_then(|below| below.strip_prefix('/')).unwrap_or("auth");
        let topic = topic.to_owned();
        if topic == "model/hex" {
            return self.frames.push(Frame { connection, publish, topic, name: json!("?"), code: 28 });
        }
        let sent: Value = serde_json::from_slice(&message.payload).expect("what is sent is JSON");
        let code = sent["HeaderCtrl"].as_i64().expect("a code");
        // An acknowledgement of a 4 that came down is one as well.
        let is_sealed = self.encrypted && SEALED.contains(&code) && !topic.ends_with("link_ack");
        assert!(!is_sealed || sent["Payload"].is_string(), "in clear: {sent}");
        self.frames.push(Frame { connection, publish, topic, name: sent["MessageId"].clone(), code });
    }

    fn report(&mut self, body: ReportBody, age_ms: Option<i64>) {
        self.reported += 1;
        let at = match age_ms {
            Some(age) => WallTime { unix_ms: self.cloud.host.now().wall.unix_ms - age, quality: ClockQuality::SYNCED },
            None => WallTime::default(),
        };
        let report = Report { seq: self.reported, at, device: 0, cause: Cause::Change, caused_by: None, body };
        self.cloud.host.deliver(Input::Reports(vec![report]));
    }

    /// The platform answers this frame with this code.
    fn answer(&mut self, frame: &Frame, code: Value, sealed: bool) {
        let data = json!({"timestamp": 1_704_067_200_000_i64, "timezone": "Asia/Shanghai"});
        let mut payload = json!({"Code": code, "Msg": "?", "Data": data});
        if sealed && self.encrypted {
            payload = self.cloud.seal(payload.to_string());
        }
        self.cloud.connection = frame.connection;
        self.cloud.say_as(&format!("{}_ack", frame.topic), &frame.name, frame.code, payload);
    }

    fn take(&mut self, step: Step) {
        let latest = self.connections.last().copied();
        match step {
            Step::Say(topic, code, name, payload, sealed) => {
                let payload = if sealed { self.cloud.seal(payload.to_string()) } else { payload };
                self.cloud.say_as(topic, &name, code, payload);
            }
            Step::Bytes(topic, bytes) => self.cloud.say_bytes(topic, bytes),
            Step::Answer(which, code, sealed) => {
                if let Some(frame) = some(&self.frames, which) {
                    self.answer(&frame, code, sealed);
                }
            }
            Step::Published(which, result) => match (some(&self.frames, which), result) {
                (Some(frame), Ok(())) => self.cloud.host.published(frame.publish),
                (Some(frame), Err(reason)) => self.cloud.host.publish_failed(frame.publish, reason),
                (None, _) => {}
            },
            Step::Subscribed(which, qos) => {
                some(&self.subscriptions, which).into_iter().for_each(|id| self.cloud.host.subscribed(id, qos));
            }
            Step::Outcome(which, result) => {
                let values = vec![(DatapointId(1), Datum::Int(1))];
                let outcome = Outcome { result, values, document: None };
                some(&self.commands, which)
                    .into_iter()
                    .for_each(|id| self.cloud.host.deliver(Input::Outcome(id, outcome.clone())));
            }
            Step::Returned(which, result) => match (some(&self.calls, which), result) {
                (Some(id), Ok(bytes)) => self.cloud.host.script_returned(id, [script::Value::Bytes(bytes)]),
                (Some(id), Err(reason)) => self.cloud.host.script_failed(id, reason),
                (None, _) => {}
            },
            Step::Loaded => {
                self.cloud.script.into_iter().for_each(|script| self.cloud.host.script_loaded(script));
            }
            Step::Report(body, age_ms) => self.report(body, age_ms),
            Step::Advance(ms) => self.cloud.host.advance(ms),
            Step::Cut => self.cloud.cut(),
            Step::Accept => {
                if let Some(id) = latest {
                    self.cloud.connection = id;
                    self.cloud.host.mqtt_connected(id);
                }
            }
            Step::Refuse(code) => {
                latest.into_iter().for_each(|id| self.cloud.host.mqtt_refused(id, code));
            }
            Step::Module(which) => self.cloud.host.module_event(match which % 3 {
                0 => module::Event::Reset,
                1 => module::Event::Unbind,
                _ => module::Event::Changed(module::Facts { mcu_software: which.to_string(), ..Default::default() }),
            }),
            Step::Network(up) => {
                self.cloud.host.interfaces_changed(if up { vec![network::Interface::default()] } else { Vec::new() });
            }
        }
    }

    /// From now on everything works and everybody answers: every report is settled after a while.
    fn end_well(&mut self) {
        for id in std::mem::take(&mut self.calls) {
            self.cloud.host.script_failed(id, Reason::Other);
        }
        for _ in 0..PATIENCE {
            if self.settled.len() as u64 == self.reported {
                return;
            }
            for id in std::mem::take(&mut self.connections) {
                self.cloud.host.mqtt_connected(id);
            }
            for id in std::mem::take(&mut self.subscriptions) {
                self.cloud.host.subscribed(id, 1);
            }
            for id in std::mem::take(&mut self.calls) {
                self.cloud.host.script_returned(id, [script::Value::Bytes(vec![1])]);
            }
            if let Some(script) = self.cloud.script {
                self.cloud.host.script_loaded(script);
            }
            for frame in std::mem::take(&mut self.frames) {
                self.cloud.host.published(frame.publish);
                if frame.topic == "auth" {
                    self.cloud.connection = frame.connection;
                    let (session, nonce) = self.cloud.session.clone();
                    let reply = json!({"Code": 0, "DeviceSecret": DEVICE_SECRET, "SessionID": session, "Nonce": nonce});
                    self.cloud.answer_authentication(&frame.name, reply);
                } else {
                    self.answer(&frame, json!(200), false);
                }
            }
            if !self.listen() && self.settled.len() as u64 != self.reported {
                self.cloud.host.advance_to_next_timeout();
                self.listen();
            }
        }
        panic!("not settled: {:?}", (1..=self.reported).filter(|seq| !self.settled.contains(seq)).collect::<Vec<_>>());
    }
}

fn some<T: Clone>(list: &[T], which: Index) -> Option<T> {
    // The latest are the interesting ones.
    let list = &list[list.len().saturating_sub(16)..];
    (!list.is_empty()).then(|| which.get(list).clone())
}

fn run((raw, settings): (bool, Value), steps: Vec<Step>, once: bool) {
    let mut talk = Talk::new(raw, settings, once);
    for step in steps {
        talk.take(step);
        talk.listen();
    }
    talk.end_well();
    talk.cloud.host.stop();
}

/// So many rounds of answers at most until everything is settled.
const PATIENCE: usize = 1_000;

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_comes_can_break_the_session(
        product in any_product(),
        steps in prop::collection::vec(any_step(4_000_000), 0..80),
    ) {
        run(product, steps, false);
    }

    // Less than five minutes in all, so that no command is new when it comes again.
    #[test]
    fn no_command_is_carried_out_twice(
        product in any_product(),
        steps in prop::collection::vec(any_step(3_000), 0..80),
    ) {
        run(product, steps, true);
    }
}
