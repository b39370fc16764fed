//! Whole conversations between the device, this plugin and a broker, in virtual time.

use polylink_plugin_sdk::services::Reason;
use polylink_plugin_sdk::session::Phase;
use polylink_plugin_sdk::testing::{Setup, VirtualHost};
use polylink_plugin_sdk::{ClockQuality, CommandBody, DatapointId, OutcomeResult, RequestId, Value};
use polylink_template::session::TemplateSession;
use serde_json::json;

#[test]
fn a_report_is_published_and_settled_when_the_broker_has_acknowledged_it() {
    let (mut host, connection) = online();
    let seq = host.report([(POWER, Value::Bool(true)), (TARGET, decimal(215))]);
    let publish = host.expect_publish_on("polylink/lamp/report");
    assert_eq!((publish.connection, publish.message.qos), (connection, 1));
    assert_eq!(publish.text(), r#"{"time":1704067200000,"properties":{"switch":true,"target":21.5}}"#);
    host.expect_silence();
    host.published(publish.id);
    assert_eq!(host.expect_settle(), [seq]);
}

#[test]
fn the_last_known_values_are_published_and_not_settled() {
    let (mut host, _) = online();
    host.snapshot([(POWER, Value::Bool(false))]);
    let publish = host.expect_publish();
    host.published(publish.id);
    host.expect_silence();
}

#[test]
fn values_that_are_given_while_the_window_is_full_are_not_published() {
    let (mut host, _) = online();
    host.live([(POWER, Value::Bool(false))]);
    host.expect_silence();
}

#[test]
fn an_event_is_published_with_its_parameters_and_without_a_time_that_was_never_set() {
    let (mut host, _) = online();
    host.set_wall(0, ClockQuality::UNSET);
    host.report_event(DatapointId(0), [(DatapointId(0), Value::Int(3))]);
    assert_eq!(host.expect_publish().text(), r#"{"event":"leak","params":{"rate":3}}"#);
}

#[test]
fn a_command_reaches_the_device_and_its_outcome_the_asker() {
    check_command(
        r#"{"id":"m1","set":{"switch":1,"target":"22.0"}}"#,
        CommandBody::Set(vec![(POWER, Value::Bool(true)), (TARGET, decimal(220))]),
        OutcomeResult::Done,
        json!({"id": "m1", "ok": true}),
    );
    check_command(
        r#"{"id":"m2","get":["switch"]}"#,
        CommandBody::Get(vec![POWER]),
        OutcomeResult::TimedOut,
        json!({"id": "m2", "ok": false, "error": "the device did not answer in time"}),
    );
    check_command(
        r#"{"id":"m3","action":"reset","params":{"depth":2}}"#,
        CommandBody::Invoke { action: DatapointId(0), params: vec![(DatapointId(0), Value::Int(2))] },
        OutcomeResult::Refused("locked".to_owned()),
        json!({"id": "m3", "ok": false, "error": "locked"}),
    );
}

#[test]
fn a_command_that_is_not_understood_is_refused_with_the_reason() {
    for (command, id, why) in [
        (r#"{"id":"m1","set":{"colour":1}}"#, "m1", "this product has no property `colour`"),
        (r#"{"id":"m1","set":{"switch":"dim"}}"#, "m1", "`switch` takes true or false, not dim"),
        (r#"{"id":"m1","action":"explode"}"#, "m1", "this product has no action `explode`"),
        (r#"{"id":"m1"}"#, "m1", "a command has one of `set`, `get` and `action`"),
        (r#"{"set":{},"get":[]}"#, "", "a command has one of `set`, `get` and `action`"),
        ("[", "", "not a command: EOF while parsing a list at line 1 column 1"),
    ] {
        let (mut host, connection) = online();
        host.mqtt_message(connection, "polylink/lamp/command", command);
        let result = host.expect_publish_on("polylink/lamp/result");
        assert_eq!(result.json(), json!({"id": id, "ok": false, "error": why}), "{command}");
        host.expect_silence();
    }
}

#[test]
fn a_message_on_another_topic_is_ignored() {
    let (mut host, connection) = online();
    host.mqtt_message(connection, "polylink/other/command", r#"{"id":"m1","set":{"switch":true}}"#);
    host.expect_silence();
}

#[test]
fn reports_of_an_outage_arrive_in_order_after_it() {
    let (mut host, connection) = online();
    let values = [true, false, true, false];
    let seqs: Vec<_> = values[..2].iter().map(|on| host.report([(POWER, Value::Bool(*on))])).collect();
    for _ in &seqs {
        let publish = host.expect_publish();
        host.publish_failed(publish.id, Reason::ConnectionLost);
    }
    host.mqtt_closed(connection, Reason::ConnectionLost);
    assert_eq!(host.status().phase, Phase::Offline);
    let later: Vec<_> = values[2..].iter().map(|on| host.report([(POWER, Value::Bool(*on))])).collect();
    host.expect_silence();

    host.advance_to_next_timeout();
    let connection = connect(&mut host);
    for (seq, on) in seqs.into_iter().chain(later).zip(values) {
        let publish = host.expect_publish();
        assert_eq!(publish.connection, connection);
        assert_eq!(publish.json()["properties"], json!({"switch": on}));
        host.published(publish.id);
        assert_eq!(host.expect_settle(), [seq]);
    }
}

#[test]
fn a_report_that_the_host_refuses_for_good_does_not_hold_up_the_others() {
    let (mut host, _) = online();
    let refused = host.report([(POWER, Value::Bool(true))]);
    let publish = host.expect_publish();
    host.publish_failed(publish.id, Reason::Invalid);
    assert_eq!(host.expect_settle(), [refused]);
    host.report([(POWER, Value::Bool(false))]);
    host.expect_publish();
}

#[test]
fn a_publish_that_finds_no_room_makes_a_new_connection() {
    let (mut host, connection) = online();
    host.report([(POWER, Value::Bool(true))]);
    let publish = host.expect_publish();
    host.publish_failed(publish.id, Reason::Quota);
    assert_eq!(host.expect_mqtt_disconnect(), connection);
    host.mqtt_closed(connection, Reason::Closed);
    host.advance_to_next_timeout();
    connect(&mut host);
    host.expect_publish();
}

#[test]
fn the_delays_between_attempts_grow_and_stay_below_a_minute() {
    let mut host = host();
    let mut delays = Vec::new();
    for _ in 0..10 {
        let (connection, _) = host.expect_mqtt_connect();
        host.mqtt_closed(connection, Reason::ConnectionRefused);
        delays.push(host.advance_to_next_timeout());
    }
    assert!((800..=1200).contains(&delays[0]), "{delays:?}");
    assert!((6400..=9600).contains(&delays[3]), "{delays:?}");
    assert!(delays.iter().all(|delay| *delay <= 60_000), "{delays:?}");
}

#[test]
fn a_refusal_is_shown_to_a_person_and_tried_again() {
    let mut host = host();
    let (connection, _) = host.expect_mqtt_connect();
    host.mqtt_refused(connection, 4);
    assert_eq!(host.status().phase, Phase::Attention);
    assert!(host.status().text.contains("wrong user name or password"), "{}", host.status().text);
    host.advance_to_next_timeout();
    host.expect_mqtt_connect();
}

#[test]
fn at_most_thirty_two_reports_are_under_way_and_the_rest_follows() {
    let (mut host, _) = online();
    for _ in 0..40 {
        host.report([(POWER, Value::Bool(true))]);
    }
    let publishes: Vec<_> = (0..32).map(|_| host.expect_publish()).collect();
    host.expect_silence();
    host.published(publishes[0].id);
    host.expect_publish();
    assert_eq!(host.expect_settle(), [1]);
    host.expect_silence();
}

#[test]
fn reports_that_wait_stay_bounded_after_a_connection_broke_with_all_places_taken() {
    let (mut host, connection) = online();
    (0..32).for_each(|_| host.snapshot([(POWER, Value::Bool(true))]));
    (0..32).for_each(|_| drop(host.expect_publish()));
    (0..512).for_each(|_| host.snapshot([(POWER, Value::Bool(true))]));
    host.mqtt_closed(connection, Reason::ConnectionLost);
    (0..600).for_each(|_| host.snapshot([(POWER, Value::Bool(false))]));
    let transcript = host.transcript();
    assert!(transcript.contains("reports were dropped: more than 512 wait"), "{transcript}");
}

#[test]
fn a_subscription_that_is_refused_needs_a_person() {
    let mut host = host();
    let (connection, _) = host.expect_mqtt_connect();
    host.mqtt_connected(connection);
    let subscribe = host.expect_subscribe();
    host.subscribed(subscribe.id, 0x80);
    assert_eq!(host.status().phase, Phase::Attention);
    assert_eq!(host.expect_mqtt_disconnect(), connection);
}

#[test]
fn it_says_good_bye() {
    let (mut host, connection) = online();
    host.stop();
    assert_eq!(host.expect_mqtt_disconnect(), connection);
    assert_eq!(host.status().phase, Phase::Offline);
}

#[test]
fn wrong_settings_are_refused_before_anything_is_asked() {
    let fault = VirtualHost::through_abi::<TemplateSession>(Setup::new(r#"{"hots":"b"}"#, PRODUCT)).try_start();
    let message = fault.expect_err("there is no such setting").message;
    assert!(message.starts_with("settings: unknown field `hots`, expected one of `host`, "), "{message}");
}

#[track_caller]
fn check_command(message: &str, wanted: CommandBody, outcome: OutcomeResult, result: serde_json::Value) {
    let (mut host, connection) = online();
    host.mqtt_message(connection, "polylink/lamp/command", message);
    let (id, command) = host.expect_submit();
    assert_eq!(command.body, wanted);
    assert_eq!(command.message_id, result["id"]);
    host.command_ended(id, outcome);
    assert_eq!(host.expect_publish_on("polylink/lamp/result").json(), result);
    host.expect_silence();
}

/// A host in which the plugin runs behind the ABI and has asked for its connection.
fn host() -> VirtualHost {
    let settings = json!({"host": "broker.example", "password": "hunter2"});
    let setup = Setup { name: "lamp".to_owned(), ..Setup::new(settings, PRODUCT) };
    let mut host = VirtualHost::through_abi::<TemplateSession>(setup);
    host.start();
    host
}

fn online() -> (VirtualHost, RequestId) {
    let mut host = host();
    let connection = connect(&mut host);
    (host, connection)
}

#[track_caller]
fn connect(host: &mut VirtualHost) -> RequestId {
    let (connection, connect) = host.expect_mqtt_connect();
    assert_eq!((connect.host.as_str(), connect.port), ("broker.example", 8883));
    host.mqtt_connected(connection);
    assert_eq!(host.status().phase, Phase::Online);
    let subscribe = host.expect_subscribe();
    assert_eq!(subscribe.filter, "polylink/lamp/command");
    host.subscribed(subscribe.id, 1);
    connection
}

const fn decimal(mantissa: i64) -> Value {
    Value::Decimal { mantissa, scale: 1 }
}

const POWER: DatapointId = DatapointId(0);
const TARGET: DatapointId = DatapointId(1);

const PRODUCT: &str = r#"{"product_key":"pk","name":"Lamp","raw":false,
    "properties":[{"id":0,"name":"power","cloud_name":"switch","type":"bool","writable":true},
        {"id":1,"name":"target","type":"decimal","scale":1,"min":"16.0","max":"30.0","step":"0.5","writable":true}],
    "events":[{"id":0,"name":"leak","params":[{"id":0,"name":"rate","type":"int"}]}],
    "actions":[{"id":0,"name":"reset","idempotent":true,"params":[{"id":0,"name":"depth","type":"int"}]}]}"#;
