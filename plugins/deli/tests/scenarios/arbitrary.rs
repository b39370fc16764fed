//! Whatever comes, in whatever order: the session never panics, never loops, and asks for a bounded number of things.

use polylink_plugin_sdk::services::ota::{Failure, Phase, Update};
use polylink_plugin_sdk::services::{Reason, module, mqtt, network};
use polylink_plugin_sdk::{
    Cause, DatapointId, Input, Outcome, OutcomeResult, Output, Report, ReportBody, RequestId, Value as Datum, WallTime,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::scenarios::cloud::Cloud;

#[derive(Clone, Debug)]
enum Step {
    Bytes(Vec<u8>),
    Message(Value),
    /// The answer to a request of ours, with this code.
    Answer(usize, i64, Value),
    Publish(usize, bool),
    Outcome(usize),
    Report(u64, i64),
    Advance(u64),
    Cut,
    Accept,
    Refuse(u8),
    Module(u8),
    Network(bool),
    /// The updates are now these: ids and phases.
    Updates(Vec<(u8, u8)>),
    LogsSent(usize, u64),
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0..3_i64).prop_map(Value::from),
        "[a-z0-9._-]{0,12}".prop_map(Value::from),
        prop_oneof![Just("set"), Just("get"), Just("cleanup"), Just("echo"), Just("1.1"), Just("http://h/x")]
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "code",
        "status",
        "group_id",
        "organization",
        "org_id",
        "product_version",
        "version",
        "file_path",
        "checksum",
        "upgrade_type",
        "cmd",
        "payload",
        "names",
        "switch",
        "n",
        "app_id",
        "user_id",
        "expire",
        "ftp_host",
        "log_start",
        "name",
    ]);
    prop_oneof![known.prop_map(str::to_owned), "[a-z]{0,6}"]
}

fn any_message() -> impl Strategy<Value = Value> {
    let action = prop_oneof![
        prop::sample::select(vec![100_i64, 102, 104, 200, 201, 202, 203, 204, 205, 207, 300, 301]),
        any::<i64>()
    ];
    let mid = prop_oneof![Just(json!("m1")), Just(json!(null)), any::<u64>().prop_map(Value::from), any_json()];
    (mid, any_json(), action, any_json())
        .prop_map(|(mid, from, action, data)| json!({"mid": mid, "from": from, "action": action, "data": data}))
}

fn any_step() -> impl Strategy<Value = Step> {
    let code =
        prop_oneof![prop::sample::select(vec![-1_i64, 0, 0, 0, 100, 101, 102, 103, 104, 105, 106, 107]), any::<i64>()];
    prop_oneof![
        1 => any::<Vec<u8>>().prop_map(Step::Bytes),
        6 => any_message().prop_map(Step::Message),
        6 => (0..16_usize, code, any_json()).prop_map(|(which, code, data)| Step::Answer(which, code, data)),
        4 => (0..64_usize, any::<bool>()).prop_map(|(which, ok)| Step::Publish(which, ok)),
        2 => (0..16_usize).prop_map(Step::Outcome),
        4 => (1..1000_u64, any::<i64>()).prop_map(|(seq, n)| Step::Report(seq, n)),
        4 => prop_oneof![0..100_u64, 0..20_000_000_u64].prop_map(Step::Advance),
        1 => Just(Step::Cut),
        3 => Just(Step::Accept),
        1 => any::<u8>().prop_map(Step::Refuse),
        1 => any::<u8>().prop_map(Step::Module),
        1 => any::<bool>().prop_map(Step::Network),
        2 => prop::collection::vec(any::<(u8, u8)>(), 0..4).prop_map(Step::Updates),
        1 => (0..4_usize, 0..2_u64).prop_map(|(which, bytes)| Step::LogsSent(which, bytes)),
    ]
}

fn pick<T>(list: &[T], which: usize) -> Option<&T> {
    list.get(which % list.len().max(1))
}

/// What the session asked for lately, for answers that fit.
#[derive(Default)]
struct Asked {
    mids: Vec<(Value, Value)>,
    publishes: Vec<RequestId>,
    commands: Vec<RequestId>,
    connections: Vec<RequestId>,
    uploads: Vec<RequestId>,
}

impl Asked {
    fn note(&mut self, outputs: Vec<Output>) {
        assert!(outputs.len() < 3_000, "{} things asked at once", outputs.len());
        for output in outputs {
            match output {
                Output::Mqtt(mqtt::Request::Connect(id, _)) => self.connections.push(id),
                Output::Mqtt(mqtt::Request::Publish { id, message, .. }) => {
                    let sent: Value = serde_json::from_slice(&message.payload).expect("what is sent is JSON");
                    assert!(message.payload.len() <= 256 * 1024 && message.topic == "device");
                    self.mids.push((sent["mid"].clone(), sent["action"].clone()));
                    self.publishes.push(id);
                }
                Output::Submit(id, _) => self.commands.push(id),
                Output::SendLogs(id, _) => self.uploads.push(id),
                _ => {}
            }
        }
        for list in [&mut self.publishes, &mut self.commands, &mut self.connections, &mut self.uploads] {
            let surplus = list.len().saturating_sub(64);
            list.drain(..surplus);
        }
        let surplus = self.mids.len().saturating_sub(16);
        self.mids.drain(..surplus);
    }
}

fn update((id, phase): (u8, u8)) -> Update {
    let phase = match phase % 6 {
        0 => Phase::Waiting,
        1 => Phase::Downloading,
        2 => Phase::Installing,
        3 => Phase::Finished,
        4 => Phase::Failed(Failure::Cancelled),
        _ => Phase::Failed(Failure::Install),
    };
    let id = if id % 2 == 0 { format!("force:{id}") } else { id.to_string() };
    Update { id, version: "1.1".to_owned(), phase, ..Update::default() }
}

fn run(steps: Vec<Step>) {
    let settings = json!({"unbind_supported": true, "wipe_action": "erase", "enable_test_commands": true});
    let mut cloud = Cloud::connected(settings);
    let mut asked = Asked::default();
    for step in steps {
        asked.note(cloud.host.take_outputs());
        let answer = |asked: &Asked, which, code: i64, data: Value| {
            let (mid, action) = pick(&asked.mids, which)?.clone();
            let mut data = if data.is_object() { data } else { json!({}) };
            data["code"] = json!(code);
            Some(json!({"mid": mid, "from": "system", "time": 1_700_000_000, "action": action, "data": data}))
        };
        match step {
            Step::Bytes(bytes) => cloud.say_bytes(bytes),
            Step::Message(message) => cloud.say(message),
            Step::Answer(which, code, data) => {
                if let Some(message) = answer(&asked, which, code, data) {
                    cloud.say(message);
                }
            }
            Step::Publish(which, ok) => match pick(&asked.publishes, which) {
                Some(id) if ok => cloud.host.published(*id),
                Some(id) => cloud.host.publish_failed(*id, Reason::Quota),
                None => {}
            },
            Step::Outcome(which) => {
                if let Some(id) = pick(&asked.commands, which) {
                    let outcome =
                        Outcome { result: OutcomeResult::Done, values: Vec::new(), document: Some(vec![which as u8]) };
                    cloud.host.deliver(Input::Outcome(*id, outcome));
                }
            }
            Step::Report(seq, n) => {
                let body = ReportBody::Properties(vec![(DatapointId(u32::try_from(seq % 3).unwrap()), Datum::Int(n))]);
                let report =
                    Report { seq, at: WallTime::default(), device: 0, cause: Cause::Change, caused_by: None, body };
                cloud.host.deliver(Input::Reports(vec![report]));
            }
            Step::Advance(ms) => cloud.host.advance(ms),
            Step::Cut => cloud.cut(),
            Step::Accept => {
                if let Some(id) = asked.connections.last() {
                    cloud.connection = *id;
                    cloud.host.mqtt_connected(*id);
                }
            }
            Step::Refuse(code) => {
                if let Some(id) = asked.connections.last() {
                    cloud.host.mqtt_refused(*id, code);
                }
            }
            Step::Module(which) => cloud.host.module_event(match which % 4 {
                0 => module::Event::Reset,
                1 => module::Event::Unbind,
                2 => module::Event::BindWindow(u32::from(which)),
                _ => module::Event::Changed(module::Facts { mcu_software: which.to_string(), ..Default::default() }),
            }),
            Step::Updates(list) => cloud.host.updates_changed(list.into_iter().map(update).collect()),
            Step::LogsSent(which, bytes) => {
                if let Some(id) = pick(&asked.uploads, which) {
                    cloud.host.logs_sent(*id, Ok(bytes));
                }
            }
            Step::Network(up) => {
                cloud.host.interfaces_changed(if up { vec![network::Interface::default()] } else { Vec::new() });
            }
        }
    }
    cloud.host.stop();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_comes_can_break_the_session(steps in prop::collection::vec(any_step(), 0..80)) {
        run(steps);
    }
}
