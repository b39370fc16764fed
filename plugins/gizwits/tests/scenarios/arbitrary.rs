//! Whatever comes, in whatever order: the session never panics, never loops, and asks for a bounded number of things.

use polylink_plugin_sdk::services::ota::{Failure, Phase, Update};
use polylink_plugin_sdk::services::{Reason, http, module, mqtt, network};
use polylink_plugin_sdk::{
    Cause, DatapointId, Input, Outcome, OutcomeResult, Output, Report, ReportBody, RequestId, Value as Datum, WallTime,
};
use proptest::prelude::*;
use serde_json::json;

use super::stage::{DID, Stage, frame, interface, setup};

#[derive(Clone, Debug)]
enum Step {
    Http(u16, String),
    HttpFails,
    Resolve(bool),
    Connect(bool, u8),
    Cut,
    Subscribed(u8),
    Published(bool),
    App(Vec<u8>),
    Server(Vec<u8>),
    Notice(String, Vec<u8>),
    Accept(u8),
    Tcp(usize, Vec<u8>),
    TcpEnds(usize),
    Udp(Vec<u8>),
    Outcome(usize),
    Report(u64, u32, i64, u8),
    Advance(u64),
    Module(u8),
    Network(bool),
    /// The updates are now these: ids and phases.
    Updates(Vec<(u8, u8)>),
}

/// A frame with a plausible command and any content, or any bytes.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let content = prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        (0..0x100_u16, content.clone()).prop_map(|(command, content)| frame(command, &content)),
        (prop_oneof![Just(0x90_u16), Just(0x93)], content.clone())
            .prop_map(|(command, content)| frame(command, &content)),
        content,
    ]
}

fn any_body() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(format!("did={DID}")),
        Just("host=m2m.test&port=1883&server_ts=1795213164\r\n".to_owned()),
        Just("host=m2m.test&port=1883&server_ts=1&3rd_cloud=jd&product_uuid=A".to_owned()),
        Just("soft_ver=09999999&download_url=http://dl.test/x.bin".to_owned()),
        Just("target_fid=9&download_url=http://dl.test/x.bin&".to_owned()),
        (9000..9050_u32).prop_map(|code| json!({"error_code": code}).to_string()),
        "[a-z_=&0-9]{0,40}",
        "\\PC{0,20}",
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let status = prop_oneof![Just(200_u16), Just(201), Just(400), Just(404), any::<u16>()];
    prop_oneof![
        3 => (status, any_body()).prop_map(|(status, body)| Step::Http(status, body)),
        1 => Just(Step::HttpFails),
        2 => any::<bool>().prop_map(Step::Resolve),
        3 => (prop::bool::weighted(0.8), 0..7_u8).prop_map(|(ok, code)| Step::Connect(ok, code)),
        1 => Just(Step::Cut),
        4 => prop_oneof![4 => Just(0_u8), 1 => Just(0x80)].prop_map(Step::Subscribed),
        2 => any::<bool>().prop_map(Step::Published),
        3 => any_frame().prop_map(Step::App),
        1 => prop::collection::vec(any::<u8>(), 0..20).prop_map(Step::Server),
        1 => ("[a-z0-9/]{0,30}", any_frame()).prop_map(|(topic, bytes)| Step::Notice(topic, bytes)),
        2 => any::<u8>().prop_map(Step::Accept),
        4 => (any::<usize>(), any_frame()).prop_map(|(which, bytes)| Step::Tcp(which, bytes)),
        1 => any::<usize>().prop_map(Step::TcpEnds),
        2 => any_frame().prop_map(Step::Udp),
        2 => any::<usize>().prop_map(Step::Outcome),
        3 => (0..300_u64, 0..4_u32, any::<i64>(), any::<u8>()).prop_map(|(seq, id, n, how)| Step::Report(seq, id, n, how)),
        3 => prop_oneof![0..20_000_u64, 0..8_000_000_u64].prop_map(Step::Advance),
        1 => any::<u8>().prop_map(Step::Module),
        1 => any::<bool>().prop_map(Step::Network),
        2 => prop::collection::vec(any::<(u8, u8)>(), 0..4).prop_map(Step::Updates),
    ]
}

/// What the session has asked for and nobody has answered.
#[derive(Default)]
struct Asked {
    http: Vec<RequestId>,
    resolves: Vec<RequestId>,
    connections: Vec<RequestId>,
    subscriptions: Vec<RequestId>,
    publishes: Vec<RequestId>,
    commands: Vec<RequestId>,
    streams: Vec<RequestId>,
}

impl Asked {
    fn take(&mut self, stage: &mut Stage) {
        let outputs = stage.host.take_outputs();
        assert!(outputs.len() < 400, "{} things at once", outputs.len());
        for output in outputs {
            match output {
                Output::Http(id, _) => self.http.push(id),
                Output::Resolve(id, _) => self.resolves.push(id),
                Output::Mqtt(mqtt::Request::Connect(id, _)) => self.connections = vec![id],
                Output::Mqtt(mqtt::Request::Subscribe { id, .. }) => self.subscriptions.push(id),
                Output::Mqtt(mqtt::Request::Publish { id, .. }) => self.publishes.push(id),
                Output::Submit(id, _) => self.commands.push(id),
                _ => {}
            }
        }
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
    let ids = ["mcu/version/09999999", "module/fid/9", "mcu/fid/9/14112521", "elsewhere"];
    Update { id: ids[usize::from(id) % ids.len()].to_owned(), phase, ..Update::default() }
}

fn run(steps: Vec<Step>) {
    let mut stage = Stage::started(setup(json!({"lan": {"log": true}})));
    let mut asked = Asked::default();
    let mut next_seq = 0;
    for step in steps {
        asked.take(&mut stage);
        let (listener, socket) = (stage.listener, stage.socket);
        match step {
            Step::Http(status, body) => {
                if let Some(id) = asked.http.pop() {
                    let answer = http::Response { status, headers: Vec::new(), body: body.into_bytes() };
                    stage.host.deliver(Input::Http(id, Ok(answer)));
                }
            }
            Step::HttpFails => {
                if let Some(id) = asked.http.pop() {
                    stage.host.http_failed(id, Reason::Timeout);
                }
            }
            Step::Resolve(found) => {
                if let Some(id) = asked.resolves.pop() {
                    stage.host.resolved(id, if found { &["192.0.2.1", "192.0.2.2"] } else { &[] });
                }
            }
            Step::Connect(ok, code) => {
                if let Some(id) = asked.connections.last().copied() {
                    stage.connection = id;
                    if ok {
                        stage.host.mqtt_connected(id);
                    } else {
                        asked.connections.clear();
                        stage.host.mqtt_refused(id, code);
                    }
                }
            }
            Step::Cut => {
                if let Some(id) = asked.connections.pop() {
                    stage.host.mqtt_closed(id, Reason::ConnectionLost);
                }
            }
            Step::Subscribed(code) => {
                if let Some(id) = asked.subscriptions.pop() {
                    stage.host.subscribed(id, code);
                }
            }
            Step::Published(ok) => match asked.publishes.pop() {
                Some(id) if ok => stage.host.published(id),
                Some(id) => stage.host.publish_failed(id, Reason::Invalid),
                None => {}
            },
            Step::App(bytes) => stage.cloud_app("client", bytes),
            Step::Server(bytes) => stage.server(0x0210, &bytes),
            Step::Notice(topic, bytes) => {
                let connection = stage.connection;
                stage.host.mqtt_message(connection, &topic, bytes);
            }
            Step::Accept(peer) => {
                let stream = stage.host.tcp_accepted(listener, &format!("192.0.2.{peer}:4000"));
                asked.streams.push(stream);
            }
            Step::Tcp(which, bytes) => {
                if !asked.streams.is_empty() {
                    let stream = asked.streams[which % asked.streams.len()];
                    stage.host.tcp_received(stream, bytes);
                }
            }
            Step::TcpEnds(which) => {
                if !asked.streams.is_empty() {
                    let index = which % asked.streams.len();
                    let stream = asked.streams.swap_remove(index);
                    stage.host.tcp_closed(stream, Reason::ConnectionLost);
                }
            }
            Step::Udp(bytes) => stage.host.udp_received(socket, "192.0.2.9:9", bytes),
            Step::Outcome(which) => {
                if !asked.commands.is_empty() {
                    let index = which % asked.commands.len();
                    let id = asked.commands.swap_remove(index);
                    let values = vec![(DatapointId(1), Datum::Int(3)), (DatapointId(9), Datum::Text("x".to_owned()))];
                    let outcome = Outcome { result: OutcomeResult::Done, values, document: None };
                    stage.host.deliver(Input::Outcome(id, outcome));
                }
            }
            Step::Report(n, id, value, how) => {
                let value = if how % 2 == 0 { Datum::Int(value) } else { Datum::Bool(value > 0) };
                let cause = [Cause::Change, Cause::Live, Cause::Snapshot, Cause::Answer, Cause::Periodic];
                let body = match how % 7 {
                    5 => ReportBody::Raw(vec![how; 9]),
                    6 => ReportBody::Event { id: DatapointId(id), params: Vec::new() },
                    _ => ReportBody::Properties(vec![(DatapointId(id), value)]),
                };
                next_seq += 1 + n % 3;
                let at = WallTime { unix_ms: n as i64, ..WallTime::default() };
                let cause = cause[usize::from(how) % cause.len()];
                let seq = if matches!(cause, Cause::Live | Cause::Snapshot) { 0 } else { next_seq };
                let report = Report { seq, at, device: u32::from(how > 250), cause, caused_by: None, body };
                stage.host.deliver(Input::Reports(vec![report]));
            }
            Step::Advance(ms) => stage.host.advance(ms),
            Step::Module(which) => stage.host.module_event(match which % 5 {
                0 => module::Event::Reset,
                1 => module::Event::Unbind,
                2 => module::Event::BindWindow(u32::from(which)),
                3 => module::Event::NetworkJoined,
                _ => module::Event::Changed(module::Facts {
                    mcu_software: which.to_string(),
                    onboarding: which > 99,
                    bindable: which % 2 == 0,
                    ..Default::default()
                }),
            }),
            Step::Updates(list) => stage.host.updates_changed(list.into_iter().map(update).collect()),
            Step::Network(up) => {
                stage.host.interfaces_changed(if up {
                    vec![interface(), network::Interface::default()]
                } else {
                    Vec::new()
                });
            }
        }
    }
    stage.host.stop();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_comes_can_break_the_session(steps in prop::collection::vec(any_step(), 0..80)) {
        run(steps);
    }
}
