//! Whole conversations in virtual time, through the ABI.

use polylink_plugin_sdk::services::Reason;
use polylink_plugin_sdk::session::{Level, Phase};
use polylink_plugin_sdk::straight::Straight;
use polylink_plugin_sdk::testing::{Setup, VirtualHost};
use polylink_plugin_sdk::{DatapointId, OutcomeResult, RequestId, Value};
use polylink_template_async::Simple;

#[test]
fn reports_are_published_one_after_the_other_and_settled_each() {
    let (mut host, _) = online();
    let seqs = [host.report([(POWER, Value::Bool(true))]), host.report([(POWER, Value::Bool(false))])];
    for (seq, text) in seqs.into_iter().zip([r#"{"switch":true}"#, r#"{"switch":false}"#]) {
        let publish = host.expect_publish_on("home/lamp/report");
        assert_eq!(publish.text(), text);
        host.expect_silence();
        host.published(publish.id);
        assert_eq!(host.expect_settle(), [seq]);
    }
}

#[test]
fn values_that_are_given_while_the_window_is_full_are_not_published() {
    let (mut host, _) = online();
    host.live([(POWER, Value::Bool(true))]);
    host.expect_silence();
}

#[test]
fn what_the_cloud_sets_reaches_the_device() {
    let (mut host, connection) = online();
    host.mqtt_message(connection, "home/lamp/set", r#"{"switch":1}"#);
    let (id, values) = host.expect_set();
    assert_eq!(values, [(POWER, Value::Bool(true))]);
    host.command_ended(id, OutcomeResult::Unreachable);
    check_log(&host, "not set: Unreachable");
    host.mqtt_message(connection, "home/lamp/set", r#"{"colour":1}"#);
    host.expect_silence();
    check_log(&host, "not set: no such property");
}

#[test]
fn reports_of_an_outage_arrive_after_it_in_order() {
    let (mut host, connection) = online();
    let first = host.report([(POWER, Value::Bool(true))]);
    let publish = host.expect_publish();
    host.publish_failed(publish.id, Reason::ConnectionLost);
    assert_eq!(host.expect_mqtt_disconnect(), connection);
    host.mqtt_closed(connection, Reason::ConnectionLost);
    assert_eq!(host.status().phase, Phase::Offline);
    let second = host.report([(POWER, Value::Bool(false))]);
    host.advance_to_next_timeout();
    connect(&mut host);
    for seq in [first, second] {
        let publish = host.expect_publish();
        host.published(publish.id);
        assert_eq!(host.expect_settle(), [seq]);
    }
}

#[test]
fn it_says_good_bye() {
    let (mut host, connection) = online();
    host.stop();
    assert_eq!(host.expect_mqtt_disconnect(), connection);
}

#[test]
fn the_schema_names_the_settings_that_are_read() {
    let schema: serde_json::Value = serde_json::from_str(polylink_template_async::INFO.settings_schema).expect("JSON");
    assert_eq!(schema["required"], serde_json::json!(["host", "topic"]));
    let fault = VirtualHost::new::<Straight<Simple>>(Setup::new(r#"{"no":1}"#, PRODUCT)).try_start();
    let message = fault.expect_err("there is no such setting").message;
    assert_eq!(message, "settings: unknown field `no`, expected `host` or `topic`");
}

fn online() -> (VirtualHost, RequestId) {
    let settings = r#"{"host":"broker.example","topic":"home/lamp"}"#;
    let mut host = VirtualHost::through_abi::<Straight<Simple>>(Setup::new(settings, PRODUCT));
    host.start();
    let connection = connect(&mut host);
    (host, connection)
}

fn connect(host: &mut VirtualHost) -> RequestId {
    let (connection, _) = host.expect_mqtt_connect();
    host.mqtt_connected(connection);
    let subscribe = host.expect_subscribe();
    assert_eq!(subscribe.filter, "home/lamp/set");
    host.subscribed(subscribe.id, 1);
    connection
}

#[track_caller]
fn check_log(host: &VirtualHost, text: &str) {
    assert_eq!(host.logs().last(), Some(&(Level::Warn, text.to_owned())));
}

const POWER: DatapointId = DatapointId(0);

const PRODUCT: &str = r#"{"product_key":"pk","properties":[
    {"id":0,"name":"power","cloud_name":"switch","type":"bool","writable":true}]}"#;
