//! What the platform sees as settings of the device (14), among them its broker.

use polylink_plugin_sdk::services::{Reason, module};
use polylink_plugin_sdk::session::Phase;
use polylink_plugin_sdk::{CommandBody, DatapointId, Input, Outcome, OutcomeResult, Value as Datum};
use serde_json::{Value, json};

use crate::scenarios::stage::{Cloud, DEVICE_SECRET, online, setup};

/// The device reads what it is asked for: `n` is this, and `temp` 20.
#[track_caller]
fn read(cloud: &mut Cloud, n: i64) {
    let (command, asked) = cloud.host.expect_submit();
    let CommandBody::Get(ids) = asked.body else { panic!("{asked:?}") };
    let values = ids.into_iter().map(|id| (id, Datum::Int(if id == DatapointId(1) { n } else { 20 }))).collect();
    cloud.host.deliver(Input::Outcome(command, Outcome { result: OutcomeResult::Done, values, document: None }));
}

/// The report under this name, and nothing else.
#[track_caller]
fn check_reported(cloud: &mut Cloud, id: Value, settings: Value) {
    assert_eq!(cloud.expect_frame("config_report", 14), (id, json!({"Settings": settings})));
    cloud.host.expect_silence();
}

#[test]
fn the_platform_reads_the_broker_and_the_properties_that_are_settings() {
    let mut cloud = online(json!({}));
    for payload in [json!({}), json!("")] {
        let id = cloud.say("ask_config", 14, payload);
        check_reported(&mut cloud, id, json!({"Host": "broker", "Port": 1883}));
    }
    let mut cloud = online(json!({"broker_url": "ssl://b:7200", "config_properties": ["n", "temp"]}));
    cloud.say_as("ask_config", &json!("a-1"), 14, json!({}));
    read(&mut cloud, 7);
    check_reported(&mut cloud, json!("a-1"), json!({"Host": "b", "Port": 7200, "n": 7, "temp": 20}));
    // A device that does not answer has no values to tell.
    let id = cloud.say("ask_config", 14, json!({}));
    let (command, _) = cloud.host.expect_submit();
    cloud.host.command_ended(command, OutcomeResult::Unreachable);
    check_reported(&mut cloud, id, json!({"Host": "b", "Port": 7200}));
}

#[test]
fn settings_are_written_by_both_names_of_the_topic_and_the_report_of_all_is_the_answer() {
    for topic in ["download_config", "down_config"] {
        let mut cloud = online(json!({"config_properties": ["n", "temp"]}));
        let id = cloud.say(topic, 14, json!({"Settings": {"n": 9}}));
        let (command, values) = cloud.host.expect_set();
        assert_eq!(values, [(DatapointId(1), Datum::Int(9))]);
        cloud.host.expect_silence();
        cloud.host.command_done(command);
        read(&mut cloud, 9);
        check_reported(&mut cloud, id, json!({"Host": "broker", "Port": 1883, "n": 9, "temp": 20}));
    }
}

#[test]
fn what_is_refused_keeps_its_old_value_and_the_rest_is_written() {
    let mut cloud = online(json!({"config_properties": ["n", "temp"]}));
    let settings = json!({"n": 9, "temp": 5, "switch": true, "unknown": 1, "Host": "elsewhere", "Port": 1});
    let id = cloud.say("download_config", 14, json!({"Settings": settings}));
    let (command, values) = cloud.host.expect_set();
    assert_eq!(values, [(DatapointId(1), Datum::Int(9))]);
    cloud.host.command_ended(command, OutcomeResult::Refused("not now".into()));
    read(&mut cloud, 3);
    check_reported(&mut cloud, id, json!({"Host": "broker", "Port": 1883, "n": 3, "temp": 20}));
    for settings in [json!({}), json!({"n": "many"}), json!({"temp": 5}), json!({"n": null})] {
        let id = cloud.say("download_config", 14, json!({"Settings": settings}));
        read(&mut cloud, 3);
        check_reported(&mut cloud, id, json!({"Host": "broker", "Port": 1883, "n": 3, "temp": 20}));
    }
    cloud.host.advance(1_000);
    cloud.assert_fact("settings_refused", "7");
}

#[test]
fn settings_in_another_form_are_dropped() {
    let mut cloud = online(json!({"config_properties": ["n"]}));
    for payload in [json!({}), json!([]), json!(7), json!(null), json!({"Settings": []}), json!({"Settings": null})] {
        cloud.say("down_config", 14, payload);
    }
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    cloud.assert_fact("input_dropped", "6");
}

#[test]
fn the_broker_is_not_changed_unless_the_settings_allow_it() {
    let mut cloud = online(json!({}));
    for settings in [json!({"Host": "other"}), json!({"Port": 1}), json!({"Host": "other", "Port": "1"})] {
        let id = cloud.say("download_config", 14, json!({"Settings": settings}));
        check_reported(&mut cloud, id, json!({"Host": "broker", "Port": 1883}));
    }
    assert!(cloud.logged("not allowed"));
    let mut cloud = online(json!({"allow_broker_change": true}));
    for settings in [
        json!({"Host": ""}),
        json!({"Host": 7}),
        json!({"Host": null}),
        json!({"Host": "a/b"}),
        json!({"Host": "a b"}),
        json!({"Host": "u@h"}),
        json!({"Port": 0}),
        json!({"Port": 65_536}),
        json!({"Port": -1}),
        json!({"Port": "x"}),
        json!({"Host": "other", "Port": 1.5}),
        json!({"Host": "x".repeat(256)}),
        json!({"Host": "broker", "Port": 1883}),
    ] {
        let id = cloud.say("download_config", 14, json!({"Settings": settings}));
        check_reported(&mut cloud, id, json!({"Host": "broker", "Port": 1883}));
    }
    assert_eq!(cloud.host.status().phase, Phase::Online);
}

/// Online at `broker`, and just moved to this broker; the answer is expected, and the connection there not yet.
#[track_caller]
fn moved(changes: Value, settings: Value) -> Cloud {
    let mut with = json!({"allow_broker_change": true, "auth_type": 0});
    with.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let mut cloud = online(with);
    let id = cloud.say("down_config", 14, json!({"Settings": settings}));
    assert_eq!(cloud.expect_frame("config_report", 14).0, id);
    assert_eq!(cloud.host.expect_mqtt_disconnect(), cloud.connection);
    cloud
}

#[track_caller]
fn check_attempt_at(cloud: &mut Cloud, host: &str, port: u16) {
    let connect = cloud.expect_connect();
    assert_eq!((connect.host.as_str(), connect.port), (host, port));
}

#[test]
fn a_device_that_is_moved_says_so_and_connects_there_and_stays_there() {
    let mut cloud = online(json!({"allow_broker_change": true, "config_properties": ["n"]}));
    let settings = json!({"Host": "other", "Port": 7200, "n": 4});
    let id = cloud.say("down_config", 14, json!({"Settings": settings.clone()}));
    let (command, _) = cloud.host.expect_set();
    cloud.host.command_done(command);
    read(&mut cloud, 4);
    assert_eq!(cloud.expect_frame("config_report", 14), (id, json!({"Settings": settings})));
    assert_eq!(cloud.host.expect_mqtt_disconnect(), cloud.connection);
    check_attempt_at(&mut cloud, "other", 7200);
    cloud.host.mqtt_connected(cloud.connection);
    cloud.grant_subscriptions();
    cloud.answer_start();
    assert_eq!(cloud.host.status().phase, Phase::Online);
    cloud.assert_fact("broker", "tcp://other:7200");
    cloud.assert_fact("broker_configured", "tcp://broker:1883");
    // Where it was online, it stays, whatever happens.
    cloud.cut();
    for _ in 0..6 {
        cloud.wait_for_attempt();
        check_attempt_at(&mut cloud, "other", 7200);
        cloud.host.mqtt_closed(cloud.connection, Reason::ConnectionRefused);
    }
    cloud.host.restart();
    check_attempt_at(&mut cloud, "other", 7200);
}

#[test]
fn half_an_address_changes_half_of_it_and_tls_stays() {
    let mut cloud = moved(json!({}), json!({"Port": "99"}));
    check_attempt_at(&mut cloud, "broker", 99);
    let mut cloud = moved(json!({"broker_url": "ssl://broker"}), json!({"Host": "other"}));
    let connect = cloud.expect_connect();
    assert_eq!((connect.host.as_str(), connect.port, connect.tls.is_some()), ("other", 8883, true));
    let mut cloud = moved(json!({}), json!({"Host": "fe80::1"}));
    cloud.host.restart();
    check_attempt_at(&mut cloud, "fe80::1", 1883);
}

/// Three attempts at `other` fail like this; then the device is back at `broker`, also after a restart.
#[track_caller]
fn check_comes_back(changes: Value, fail: impl Fn(&mut Cloud)) {
    let mut cloud = moved(changes, json!({"Host": "other"}));
    for n in 0..3 {
        if n > 0 {
            assert!(cloud.wait_for_attempt() <= 300_000);
        }
        check_attempt_at(&mut cloud, "other", 1883);
        fail(&mut cloud);
        assert_ne!(cloud.host.status().phase, Phase::Attention);
    }
    assert!(cloud.logged("goes back to where it was configured"));
    cloud.host.take_outputs();
    cloud.wait_for_attempt();
    check_attempt_at(&mut cloud, "broker", 1883);
    cloud.host.restart();
    check_attempt_at(&mut cloud, "broker", 1883);
    assert_eq!(cloud.fact("broker_configured"), None);
}

#[test]
fn a_broker_where_the_device_never_was_online_is_left_after_three_attempts() {
    check_comes_back(json!({}), |cloud| cloud.host.mqtt_closed(cloud.connection, Reason::ConnectionRefused));
    check_comes_back(json!({}), |cloud| cloud.host.mqtt_refused(cloud.connection, 3));
    check_comes_back(json!({}), |cloud| {
        cloud.host.mqtt_connected(cloud.connection);
        cloud.expect_subscriptions();
        cloud.host.advance(10_000);
    });
}

#[test]
fn another_broker_that_does_not_know_the_device_is_no_matter_for_a_person() {
    for code in [4, 5] {
        check_comes_back(json!({}), |cloud| cloud.host.mqtt_refused(cloud.connection, code));
        let burnt_in = json!({"auth_type": 2, "device_secret": DEVICE_SECRET});
        check_comes_back(burnt_in, |cloud| cloud.host.mqtt_refused(cloud.connection, code));
    }
    // Nor is one where the platform does not take the authentication.
    let mut cloud = moved(json!({"auth_every_start": true}), json!({"Host": "other"}));
    cloud.host.restart();
    for n in 0..3 {
        if n > 0 {
            cloud.wait_for_attempt();
        }
        check_attempt_at(&mut cloud, "other", 1883);
        if n == 0 {
            cloud.host.mqtt_refused(cloud.connection, 5);
            continue;
        }
        cloud.host.mqtt_connected(cloud.connection);
        let id = cloud.expect_authentication();
        cloud.answer_authentication(&id, json!({"Code": 2}));
        cloud.host.expect_mqtt_disconnect();
    }
    assert_ne!(cloud.host.status().phase, Phase::Attention);
    cloud.wait_for_attempt();
    check_attempt_at(&mut cloud, "broker", 1883);
}

#[test]
fn no_broker_is_left_for_want_of_a_network() {
    let mut cloud = moved(json!({}), json!({"Host": "other"}));
    cloud.host.interfaces_changed(Vec::new());
    for _ in 0..5 {
        check_attempt_at(&mut cloud, "other", 1883);
        cloud.host.mqtt_closed(cloud.connection, Reason::Resolve);
        cloud.wait_for_attempt();
    }
    check_attempt_at(&mut cloud, "other", 1883);
}

#[test]
fn a_reset_of_the_module_brings_the_device_back_at_its_next_connection() {
    let mut cloud = moved(json!({}), json!({"Host": "other"}));
    cloud.come_online();
    cloud.host.module_event(module::Event::Reset);
    cloud.host.restart();
    check_attempt_at(&mut cloud, "broker", 1883);
}

#[test]
fn a_configuration_that_has_changed_counts_more_than_a_move() {
    for changes in [
        json!({"allow_broker_change": true, "broker_url": "tcp://third"}),
        json!({"allow_broker_change": false, "broker_url": "tcp://third"}),
    ] {
        let mut cloud = moved(json!({}), json!({"Host": "other"}));
        cloud.come_online();
        cloud.host.setup().settings = setup(changes).settings;
        cloud.host.restart();
        check_attempt_at(&mut cloud, "third", 1883);
    }
}

#[test]
fn a_move_whose_answer_comes_after_the_connection_broke_is_a_move_all_the_same() {
    let mut cloud = online(json!({"allow_broker_change": true, "config_properties": ["n"]}));
    cloud.say("down_config", 14, json!({"Settings": {"Host": "other"}}));
    cloud.cut();
    read(&mut cloud, 4);
    cloud.wait_for_attempt();
    check_attempt_at(&mut cloud, "other", 1883);
}
