//! The driver between a session that does what a test says and a virtual host, through the real types of the ABI.

mod arbitrary;
mod panics;
mod scripts;
mod subdevices;
mod updates;

use std::cell::RefCell;

use polylink_plugin_api::{Advice, Fault, FaultCode, Now, Timestamp};

use super::handles::HANDLES_MAX;
use super::tickets::AWAITED_MAX;
use super::{ANSWERS_WAITING_MAX, handles};
use crate::secret::Secret;
use crate::services::{Failure, Reason, Tls, http, id, module, mqtt, network, script, store, tcp, udp};
use crate::testing::{Setup, VirtualHost};
use crate::value::{CommandBody, OutcomeResult, ReportBody};
use crate::{Cause, Command, Context, DatapointId, Input, Output, RequestId, Session, Value};

#[test]
fn the_hosts_tokens_and_the_sessions_ids_are_kept_apart() {
    let mut host = host();
    ask(&mut host, [connect(7), connect(9)]);
    let (first, _) = host.expect_mqtt_connect();
    let (second, _) = host.expect_mqtt_connect();
    assert_ne!(first, second);
    host.mqtt_connected(second);
    let session_present = false;
    check(&[Input::Mqtt(mqtt::Event::Connected { connection: RequestId(9), session_present })]);

    ask(&mut host, [publish(9, 7)]);
    let publish = host.expect_publish();
    assert_eq!((publish.connection, publish.text()), (second, "payload"));
    host.published(publish.id);
    check(&[Input::Mqtt(mqtt::Event::Published(RequestId(7), Ok(())))]);
    host.published(publish.id);
    check(&[]);
}

#[test]
fn a_connection_is_asked_for_with_every_field() {
    let mut host = host();
    let will = mqtt::Message { topic: "w".to_owned(), payload: vec![0, 255], qos: 1, retain: true };
    let wish = mqtt::Connect {
        host: "cloud.example".to_owned(),
        port: 8883,
        tls: Some(Tls { ca_pem: Some("ca".to_owned()), ..Tls::default() }),
        protocol_level: 3,
        client_id: "c".to_owned(),
        username: Some("u".to_owned()),
        password: Some(Secret::new(vec![1, 2])),
        clean_session: false,
        keepalive_s: 120,
        ping_after_s: 55,
        dead_after_s: 121,
        timeout_ms: 4,
        will: Some(will),
    };
    ask(&mut host, [Output::Mqtt(mqtt::Request::Connect(RequestId(1), Box::new(wish.clone())))]);
    assert_eq!(host.expect_mqtt_connect().1, wish);
}

#[test]
fn a_message_brings_its_flags() {
    let mut host = host();
    ask(&mut host, [connect(1)]);
    let (connection, _) = host.expect_mqtt_connect();
    let message = |connection| {
        Input::Mqtt(mqtt::Event::Message {
            connection,
            topic: "a/b".to_owned(),
            payload: vec![0, 255],
            qos: 2,
            retain: true,
            duplicate: true,
        })
    };
    host.deliver(message(connection));
    check(&[message(RequestId(1))]);
}

#[test]
fn a_publish_on_a_connection_that_is_gone_fails_in_the_next_call() {
    let mut host = host();
    ask(&mut host, [connect(1)]);
    let (connection, _) = host.expect_mqtt_connect();
    host.mqtt_closed(connection, Reason::ConnectionLost);
    seen();
    ask(&mut host, [publish(1, 5)]);
    host.expect_silence();
    let [Input::Mqtt(mqtt::Event::Published(RequestId(5), Err(failure)))] = &seen()[..] else {
        panic!("the publish was not answered");
    };
    assert_eq!(failure.reason, Reason::UnknownHandle);
}

#[test]
fn a_stream_that_comes_in_gets_an_id_that_no_session_uses() {
    let mut host = host();
    let listen = tcp::Request::Listen { id: RequestId(3), address: String::new(), port: 80, max_streams: 0 };
    ask(&mut host, [Output::Tcp(listen)]);
    let (listener, port) = host.expect_tcp_listen();
    assert_eq!(port, 80);
    let token = host.tcp_accepted(listener, "192.0.2.7:5000");
    let [Input::Tcp(tcp::Event::Accepted { listener: RequestId(3), stream, peer })] = &seen()[..] else {
        panic!("the stream was not announced");
    };
    assert_eq!((handles::is_reserved(*stream), peer.as_str()), (true, "192.0.2.7:5000"));

    ask(&mut host, [Output::Tcp(tcp::Request::Send(*stream, b"hello".to_vec()))]);
    assert_eq!(host.expect_tcp_send(), (token, b"hello".to_vec()));
    host.tcp_received(token, b"hi");
    check(&[Input::Tcp(tcp::Event::Received(*stream, b"hi".to_vec()))]);
}

#[test]
fn a_session_may_not_take_an_id_of_those_that_come_in() {
    let mut host = host();
    ask(&mut host, [open(1 << 63)]);
    host.expect_silence();
    assert!(matches!(&seen()[..], [Input::Tcp(tcp::Event::Closed(_, Failure { reason: Reason::Invalid, .. }))]));
}

#[test]
fn bytes_that_a_full_stream_does_not_take_come_back_before_it_drains() {
    let mut host = host();
    ask(&mut host, [open(1)]);
    let (stream, name, port) = host.expect_tcp_open();
    assert_eq!((name.as_str(), port), ("cloud.example", 443));
    host.tcp_full(stream);
    ask(&mut host, [Output::Tcp(tcp::Request::Send(RequestId(1), vec![1, 2, 3]))]);
    host.tcp_drained(stream);
    check(&[
        Input::Tcp(tcp::Event::Overflow(RequestId(1), vec![1, 2, 3])),
        Input::Tcp(tcp::Event::Drained(RequestId(1))),
    ]);
}

#[test]
fn an_id_that_is_used_again_closes_what_had_it_before_and_drops_its_news() {
    let mut host = host();
    ask(&mut host, [connect(1), connect(1)]);
    let (old, _) = host.expect_mqtt_connect();
    let (new, _) = host.expect_mqtt_connect();
    assert_eq!(host.expect_mqtt_disconnect(), old);
    host.mqtt_closed(old, Reason::Closed);
    check(&[]);
    host.mqtt_refused(new, 5);
    check(&[Input::Mqtt(mqtt::Event::Refused(RequestId(1), 5))]);
}

#[test]
fn a_report_names_the_request_that_caused_it_before_and_after_its_outcome() {
    let mut host = host();
    ask(&mut host, [Output::Submit(RequestId(4), Command::new(CommandBody::Get(Vec::new())))]);
    let (ticket, command) = host.expect_submit();
    assert_eq!(command.body, CommandBody::Get(Vec::new()));
    let caused_by = |host: &mut VirtualHost, ticket| {
        host.report_caused_by(ticket, [(DatapointId(0), Value::Bool(true))]);
        match seen().pop() {
            Some(Input::Reports(reports)) => reports[0].caused_by,
            other => panic!("a report was due, not {other:?}"),
        }
    };
    assert_eq!(caused_by(&mut host, ticket), Some(RequestId(4)));
    host.command_ended(ticket, OutcomeResult::Refused("no".to_owned()));
    assert!(matches!(&seen()[..], [Input::Outcome(RequestId(4), outcome)]
        if outcome.result == OutcomeResult::Refused("no".to_owned())));
    assert_eq!(caused_by(&mut host, ticket), Some(RequestId(4)));
    assert_eq!(caused_by(&mut host, RequestId(ticket.0 + 1)), None);
    host.command_done(ticket);
    check(&[]);
}

#[test]
fn every_cause_crosses_unchanged_and_what_carries_no_number_keeps_none() {
    let mut host = host();
    let value = [(DatapointId(0), Value::Bool(true))];
    for cause in [Cause::Change, Cause::Periodic, Cause::Answer] {
        host.report_body(cause, None, ReportBody::Properties(value.to_vec()));
    }
    host.snapshot(value.clone());
    host.live(value);
    let given: Vec<_> = seen()
        .into_iter()
        .flat_map(|input| if let Input::Reports(reports) = input { reports } else { Vec::new() })
        .map(|report| (report.cause, report.seq))
        .collect();
    let numbered = [(Cause::Change, 1), (Cause::Periodic, 2), (Cause::Answer, 3)];
    assert_eq!(given, [&numbered[..], &[(Cause::Snapshot, 0), (Cause::Live, 0)]].concat());
}

#[test]
fn every_value_crosses_unchanged() {
    let values: Vec<_> = [
        Value::Bool(true),
        Value::Int(i64::MIN),
        Value::Decimal { mantissa: -2150, scale: 2 },
        Value::Enum(3),
        Value::Text("ü".to_owned()),
        Value::Bytes(vec![1, 0]),
        Value::Json("{}".to_owned()),
    ]
    .into_iter()
    .enumerate()
    .map(|(id, value)| (DatapointId(id as u32), value))
    .collect();
    let mut host = host();
    host.report_event(DatapointId(6), values.clone());
    let body = ReportBody::Event { id: DatapointId(6), params: values.clone() };
    assert!(matches!(&seen()[..], [Input::Reports(reports)] if reports[0].body == body));
    ask(&mut host, [Output::Submit(RequestId(1), Command::new(CommandBody::Set(values.clone())))]);
    assert_eq!(host.expect_set().1, values);
}

#[test]
fn the_other_services_answer_by_the_sessions_ids_too() {
    let mut host = host();
    let bind = udp::Request::Bind { id: RequestId(1), address: String::new(), port: 0, broadcast: true };
    ask(
        &mut host,
        [
            Output::Udp(bind),
            Output::Http(RequestId(1), http::Request { url: "https://cloud.example".to_owned(), ..Default::default() }),
            Output::Resolve(RequestId(1), "cloud.example".to_owned()),
            Output::Store(RequestId(1), store::Request::Put("key".to_owned(), vec![1])),
        ],
    );
    check(&[Input::Stored(RequestId(1), Ok(()))]);
    assert_eq!(host.stored("key"), Some(&[1][..]));
    let (socket, _) = host.expect_udp_bind();
    host.udp_received(socket, "192.0.2.7:9", [5]);
    let (request, sent) = host.expect_http();
    assert_eq!(sent.method, "GET");
    let headers = vec![("etag".to_owned(), "\"a:b\"".to_owned())];
    let response = http::Response { status: 404, headers, body: vec![9] };
    host.deliver(Input::Http(request, Ok(response.clone())));
    let (lookup, _) = host.expect_resolve();
    host.resolved(lookup, &["192.0.2.1", "::1"]);
    host.module_event(module::Event::BindWindow(60));
    check(&[
        Input::Udp(udp::Event::Received(RequestId(1), "192.0.2.7:9".to_owned(), vec![5])),
        Input::Http(RequestId(1), Ok(response)),
        Input::Network(network::Event::Resolved(RequestId(1), Ok(vec!["192.0.2.1".to_owned(), "::1".to_owned()]))),
        Input::Module(module::Event::BindWindow(60)),
    ]);
}

#[test]
fn an_http_request_that_was_given_up_has_no_answer() {
    let mut host = host();
    ask(&mut host, [Output::Http(RequestId(1), http::Request::default())]);
    let (request, _) = host.expect_http();
    ask(&mut host, [Output::CancelHttp(RequestId(1))]);
    assert_eq!(host.take_outputs(), [Output::CancelHttp(request)]);
    host.http_answer(request, 200, "");
    check(&[]);
}

#[test]
fn a_service_that_the_host_lacks_is_a_fault_when_it_is_used() {
    let mut host = VirtualHost::through_abi::<Puppet>(Setup { services: vec![id::MQTT], ..Setup::default() });
    host.start();
    ask(&mut host, [connect(1)]);
    let fault = try_ask(&mut host, [open(1)]).expect_err("there is no TCP here");
    assert_eq!((fault.code, fault.advice), (FaultCode::MISSING_SERVICE, Advice::GIVE_UP));
    assert_eq!(fault.message, "this plugin needs the service `polylink.tcp/1`, which this host does not offer");
}

#[test]
fn a_service_that_the_plugin_requires_is_missed_before_the_session_is_made() {
    for required in ["polylink.udp/1", "com.example.lamp/1"] {
        let setup = Setup { services: vec![id::MQTT], ..Setup::default() };
        let create = move |host, config| super::create::<Puppet>(host, config, &[id::MQTT, required]);
        let fault = VirtualHost::plugin(setup, create).try_start().expect_err("it is missing");
        assert!(fault.message.contains(required), "{}", fault.message);
    }
}

#[test]
fn the_session_finds_what_was_stored_and_what_is_known() {
    let setup = Setup {
        stored: [("token".to_owned(), vec![1, 2])].into(),
        facts: module::Facts { product_key: "pk".to_owned(), ..Default::default() },
        interfaces: vec![network::Interface { name: "wlan0".to_owned(), ..Default::default() }],
        services: vec![id::STORE, id::NETWORK, id::MODULE],
        ..Setup::new(r#"{"a":1}"#, "{}")
    };
    let mut host = VirtualHost::through_abi::<Puppet>(setup.clone());
    host.start();
    let context = CONTEXT.take();
    assert_eq!((context.settings, context.name, context.seed), (setup.settings, setup.name, setup.seed));
    assert_eq!((context.stored, context.facts), (setup.stored, setup.facts));
    assert_eq!((context.interfaces, context.services), (setup.interfaces, vec![id::STORE, id::NETWORK, id::MODULE]));
}

#[test]
fn connections_beyond_the_limit_are_refused_without_asking_the_host() {
    let mut host = host();
    ask(&mut host, (0..HANDLES_MAX as u64 + 2).map(connect));
    assert_eq!(host.take_outputs().len(), HANDLES_MAX);
    let refused = seen();
    assert_eq!(refused.len(), 2);
    assert!(matches!(&refused[0], Input::Mqtt(mqtt::Event::Closed(_, Failure { reason: Reason::Quota, .. }))));
}

#[test]
fn a_stream_that_comes_in_beyond_the_limit_is_closed() {
    let mut host = host();
    let listen = tcp::Request::Listen { id: RequestId(3), address: String::new(), port: 80, max_streams: 0 };
    ask(&mut host, [Output::Tcp(listen)].into_iter().chain((1..HANDLES_MAX as u64).map(connect)));
    let (listener, _) = host.expect_tcp_listen();
    let stream = host.tcp_accepted(listener, "192.0.2.7:5000");
    assert_eq!(host.expect_tcp_close(), stream);
    check(&[]);
}

#[test]
fn commands_beyond_the_limit_are_refused_without_asking_the_host() {
    let mut host = host();
    let get = |id| Output::Submit(RequestId(id), Command::new(CommandBody::Get(Vec::new())));
    ask(&mut host, (0..=AWAITED_MAX as u64).map(get));
    assert_eq!(host.take_outputs().len(), AWAITED_MAX);
    assert!(matches!(&seen()[..], [Input::Outcome(RequestId(256), outcome)]
        if matches!(outcome.result, OutcomeResult::Refused(_))));
}

#[test]
fn a_session_that_asks_for_the_impossible_without_end_faults() {
    let mut host = host();
    let asked = (0..=ANSWERS_WAITING_MAX as u64).map(|id| publish(99, id));
    let fault = try_ask(&mut host, asked).expect_err("it asks for too much");
    assert_eq!((fault.code, fault.advice), (FaultCode::OTHER, Advice::RETRY));
}

/// A session that asks for what the test puts into [`ASK`] and writes its inputs to [`SEEN`].
struct Puppet;

impl Session for Puppet {
    fn new(context: Context) -> Result<Self, Fault> {
        CONTEXT.set(context);
        Ok(Self)
    }

    fn handle_input(&mut self, _now: Now, input: Input) -> Result<Vec<Output>, Fault> {
        if !matches!(input, Input::Start | Input::Timeout) {
            SEEN.with_borrow_mut(|seen| seen.push(input));
        }
        Ok(ASK.take())
    }

    fn next_timeout(&self) -> Option<Timestamp> {
        None
    }
}

thread_local! {
    static ASK: RefCell<Vec<Output>> = const { RefCell::new(Vec::new()) };
    static SEEN: RefCell<Vec<Input>> = const { RefCell::new(Vec::new()) };
    static CONTEXT: RefCell<Context> = RefCell::new(Context::default());
}

fn host() -> VirtualHost {
    let mut host = VirtualHost::through_abi::<Puppet>(Setup::default());
    host.start();
    host
}

#[track_caller]
fn ask(host: &mut VirtualHost, outputs: impl IntoIterator<Item = Output>) {
    try_ask(host, outputs).expect("the driver carries it out");
}

fn try_ask(host: &mut VirtualHost, outputs: impl IntoIterator<Item = Output>) -> Result<(), Fault> {
    ASK.set(outputs.into_iter().collect());
    host.try_deliver(Input::Timeout)
}

/// What the session saw since the last look, but for starts and timeouts.
fn seen() -> Vec<Input> {
    SEEN.take()
}

#[track_caller]
fn check(inputs: &[Input]) {
    assert_eq!(seen(), inputs);
}

fn connect(id: u64) -> Output {
    let connect = mqtt::Connect { host: "cloud.example".to_owned(), port: 1883, ..mqtt::Connect::default() };
    Output::Mqtt(mqtt::Request::Connect(RequestId(id), Box::new(connect)))
}

fn publish(connection: u64, id: u64) -> Output {
    let message = mqtt::Message { topic: "t".to_owned(), payload: b"payload".to_vec(), qos: 1, retain: false };
    Output::Mqtt(mqtt::Request::Publish { connection: RequestId(connection), id: RequestId(id), message })
}

fn load(id: u64) -> Output {
    let (script, name, source) = (RequestId(id), "product".to_owned(), "return".to_owned());
    Output::Script(script::Request::Load { script, name, source })
}

fn open(id: u64) -> Output {
    let (id, host) = (RequestId(id), "cloud.example".to_owned());
    Output::Tcp(tcp::Request::Open { id, host, port: 443, tls: None, timeout_ms: 0 })
}
