//! The working connection: its credentials and their time, subscriptions, refusals, losing it and coming back.

use polylink_plugin_sdk::services::{Reason, network};
use polylink_plugin_sdk::session::Phase;
use polylink_plugin_sdk::{ClockQuality, WallTime};
use serde_json::{Value, json};

use crate::scenarios::stage::{
    BASE, Cloud, DEVICE_SECRET, below, client_id_parts, online, online_passthrough, product, setup, setup_of,
};

/// Time of the samples in the protocol.
const SAMPLE_S: i64 = 1_675_404_867;

/// The secret is known, so nothing comes before the working connection.
fn known(changes: Value) -> Value {
    let mut settings = json!({"device_secret": DEVICE_SECRET});
    settings.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    settings
}

fn started_at(unix_ms: i64, quality: ClockQuality, changes: Value) -> Cloud {
    let mut setup = setup(known(changes));
    setup.wall = WallTime { unix_ms, quality };
    Cloud::started(setup)
}

/// Takes the connection; the seconds in its client id.
#[track_caller]
fn accepted_stamp(cloud: &mut Cloud) -> i64 {
    stamp(&cloud.accept().client_id)
}

fn stamp(client_id: &str) -> i64 {
    client_id_parts(client_id).1.parse().unwrap()
}

#[test]
fn the_credentials_are_those_printed_in_the_protocol() {
    let vectors: Value = serde_json::from_str(include_str!("../vectors/lierda.json")).unwrap();
    let mut checked = 0;
    for vector in vectors["vectors"].as_array().unwrap() {
        if vector["kind"] != "connect_params" || vector["source"] != "seed" {
            continue;
        }
        let (input, expected) = (&vector["input"], &vector["expected"]);
        assert_eq!(input["timestamp"], SAMPLE_S);
        let mut cloud = started_at(SAMPLE_S * 1000 + 999, ClockQuality::SYNCED, json!({"connect_type": input["type"]}));
        let connect = cloud.accept();
        assert_eq!(connect.client_id, expected["clientId"]);
        assert_eq!(connect.username.as_deref(), expected["username"].as_str());
        assert_eq!(connect.password.unwrap().expose(), expected["password"].as_str().unwrap().as_bytes());
        checked += 1;
    }
    assert_eq!(checked, 2);
}

#[test]
fn what_can_be_set_of_the_connection_is_used() {
    let mut cloud = Cloud::started(setup(known(json!({}))));
    let connect = cloud.accept();
    assert_eq!((connect.clean_session, connect.keepalive_s, connect.tls), (true, 60, None));
    assert!(connect.will.is_none());
    let changes =
        json!({"broker_url": "ssl://b", "tls_ca": "PEM", "clean_session": false, "keepalive_s": 30, "qos": 0});
    let mut cloud = Cloud::started(setup(known(changes)));
    let connect = cloud.accept();
    assert_eq!((connect.host.as_str(), connect.port), ("b", 8883));
    assert_eq!(connect.tls.unwrap().ca_pem.as_deref(), Some("PEM"));
    assert_eq!((connect.clean_session, connect.keepalive_s), (false, 30));
    assert!(cloud.grant_subscriptions().iter().all(|subscribe| subscribe.qos == 0));
    assert_eq!(cloud.expect("update_time", 29).publish.message.qos, 0);
}

#[test]
fn a_device_whose_time_is_not_checked_connects_with_whatever_its_clock_says() {
    for (unix_ms, seconds) in [(77_999, 77), (0, 0), (-5_000, 0)] {
        let mut cloud = started_at(unix_ms, ClockQuality::UNSET, json!({}));
        assert_eq!(accepted_stamp(&mut cloud), seconds);
    }
}

#[test]
fn a_device_whose_time_is_checked_waits_for_its_clock() {
    let mut cloud = started_at(77_000, ClockQuality::UNSET, json!({"connect_type": 1}));
    cloud.host.advance(100_000);
    cloud.host.expect_silence();
    assert_eq!(cloud.host.status().phase, Phase::Offline);
    assert!(cloud.host.status().text.contains("waiting for the clock"), "{}", cloud.host.status().text);
    cloud.host.set_wall(SAMPLE_S * 1000, ClockQuality::ROUGH);
    cloud.host.advance(1_000);
    assert!((SAMPLE_S..=SAMPLE_S + 1).contains(&accepted_stamp(&mut cloud)));
}

#[test]
fn the_authentication_does_not_wait_for_the_clock() {
    let mut setup = setup(json!({"connect_type": 1}));
    setup.wall = WallTime { unix_ms: 0, quality: ClockQuality::UNSET };
    let mut cloud = Cloud::started(setup);
    cloud.accept();
    cloud.authenticate();
    cloud.host.expect_silence();
    cloud.host.set_wall(SAMPLE_S * 1000, ClockQuality::SYNCED);
    cloud.host.advance(1_000);
    cloud.come_online();
}

#[test]
fn a_checked_time_is_later_than_the_end_of_the_last_connection() {
    let mut cloud = started_at(SAMPLE_S * 1000 + 900, ClockQuality::SYNCED, json!({"connect_type": 1}));
    cloud.come_online();
    cloud.host.advance(5_200);
    cloud.host.interfaces_changed(Vec::new());
    cloud.cut();
    cloud.host.take_outputs();
    // Still in the second in which the connection ended.
    cloud.host.interfaces_changed(vec![network::Interface::default()]);
    cloud.host.expect_silence();
    cloud.host.advance(2_000);
    assert!(accepted_stamp(&mut cloud) > SAMPLE_S + 6);
}

#[test]
fn a_checked_time_is_never_used_twice() {
    let mut cloud = started_at(SAMPLE_S * 1000, ClockQuality::SYNCED, json!({"connect_type": 1}));
    let first = stamp(&cloud.expect_connect().client_id);
    cloud.cut();
    cloud.host.interfaces_changed(vec![network::Interface::default()]);
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    assert_eq!(stamp(&cloud.expect_connect().client_id), first + 1);
}

#[test]
fn a_clock_that_was_ahead_when_the_platform_refused_it_does_not_hold_the_device_off() {
    let mut cloud = started_at((SAMPLE_S + 900_000_000) * 1000, ClockQuality::ROUGH, json!({"connect_type": 1}));
    cloud.expect_connect();
    cloud.host.mqtt_refused(cloud.connection, 4);
    cloud.host.set_wall(SAMPLE_S * 1000, ClockQuality::SYNCED);
    cloud.wait_for_attempt();
    assert!(accepted_stamp(&mut cloud) < SAMPLE_S + 5);
    // Nor does one that is wrong when the connection ends.
    cloud.grant_subscriptions();
    cloud.host.take_outputs();
    cloud.host.set_wall((SAMPLE_S + 900_000_000) * 1000, ClockQuality::ROUGH);
    cloud.cut();
    cloud.host.set_wall((SAMPLE_S + 10) * 1000, ClockQuality::SYNCED);
    cloud.wait_for_attempt();
    assert!(accepted_stamp(&mut cloud) < SAMPLE_S + 15);
}

#[test]
fn each_kind_of_product_subscribes_to_its_topics() {
    let common = [
        "downlink",
        "firmware_report_ack",
        "ask_firmware",
        "ota_notify",
        "ask_config",
        "download_config",
        "down_config",
        "update_time_ack",
    ];
    let check = |raw: bool, changes: Value, more: &[&str]| {
        let mut cloud = Cloud::started(setup_of(product(raw), known(changes)));
        cloud.accept();
        let mut filters: Vec<String> =
            cloud.grant_subscriptions().into_iter().map(|subscribe| subscribe.filter).collect();
        assert_eq!(cloud.host.status().phase, Phase::Online);
        let wildcard = more.contains(&"+");
        let mut expected: Vec<String> =
            common.iter().filter(|_| !wildcard).chain(more).map(|topic| below(topic)).collect();
        filters.sort_unstable();
        expected.sort_unstable();
        assert_eq!(filters, expected);
    };
    let json = [
        "model/property/ask",
        "model/property/set",
        "model/property/report_ack",
        "model/event/+/report_ack",
        "model/history/data/report_ack",
        "model/service/switch",
        "model/service/reset",
    ];
    let hex = ["model/hex/report_ack", "model/hex/downlink", "model/hex_ack"];
    check(false, json!({}), &json);
    check(true, json!({"product_kind": "hex"}), &hex);
    check(false, json!({"product_kind": "passthrough"}), &["downloadlink", "uplink_ack"]);
    check(false, json!({"product_kind": "passthrough", "use_plus_wildcard": true}), &["+"]);
    check(false, json!({"use_plus_wildcard": true}), &[&["+"], &json[..]].concat());
    check(true, json!({"product_kind": "hex", "use_plus_wildcard": true}), &[&["+"], &hex[..]].concat());
}

/// Subscribing, as a passthrough product.
fn subscribing() -> (Cloud, Vec<(String, polylink_plugin_sdk::RequestId)>) {
    let mut cloud = Cloud::started(setup(known(json!({"product_kind": "passthrough"}))));
    cloud.accept();
    let asked = cloud.expect_subscriptions().into_iter();
    let asked = asked.map(|subscribe| (subscribe.filter.replace(&format!("{BASE}/"), ""), subscribe.id));
    let asked = asked.collect();
    (cloud, asked)
}

#[test]
fn second_names_of_a_topic_may_be_refused() {
    let (mut cloud, asked) = subscribing();
    for (filter, id) in asked {
        let is_second = ["down_config", "downloadlink"].contains(&filter.as_str());
        cloud.host.subscribed(id, if is_second { 0x80 } else { 1 });
    }
    assert_eq!(cloud.host.status().phase, Phase::Online);
    assert!(cloud.logged("refused a topic"));
}

#[test]
fn without_the_downlink_a_connection_is_of_no_use() {
    let (mut cloud, asked) = subscribing();
    let (_, id) = asked.iter().find(|(filter, _)| filter == "downlink").unwrap();
    cloud.host.subscribed(*id, 0x80);
    assert_eq!(cloud.host.expect_mqtt_disconnect(), cloud.connection);
    assert_eq!(cloud.host.status().phase, Phase::Offline);
    cloud.reconnect();
    assert_eq!(cloud.host.status().phase, Phase::Online);
}

#[test]
fn a_broker_that_does_not_answer_subscriptions_is_left() {
    let (mut cloud, asked) = subscribing();
    for (_, id) in &asked[1..] {
        cloud.host.subscribed(*id, 1);
    }
    cloud.host.advance(9_999);
    cloud.host.expect_silence();
    cloud.host.advance(1);
    assert_eq!(cloud.host.expect_mqtt_disconnect(), cloud.connection);
    cloud.reconnect();
    assert_eq!(cloud.host.status().phase, Phase::Online);
}

#[test]
fn nothing_is_reported_before_everything_is_subscribed_to_but_commands_are_answered() {
    let (mut cloud, asked) = subscribing();
    cloud.report(1);
    cloud.host.expect_silence();
    let id = cloud.say("downlink", 7, json!({"n": 2}));
    let (command, values) = cloud.host.expect_set();
    assert_eq!(values.len(), 1);
    cloud.host.command_done(command);
    assert_eq!(cloud.expect_frame("downlink_ack", 7), (id, json!({"Code": "200", "Msg": "SUCCESS"})));
    cloud.host.expect_silence();
    for (_, id) in asked {
        cloud.host.subscribed(id, 1);
    }
    assert_eq!(cloud.expect_frame("uplink", 4).1, json!({"n": 1}));
}

#[test]
fn an_outage_is_met_with_growing_delays() {
    let mut cloud = online(json!({}));
    cloud.cut();
    let mut delays = Vec::new();
    for n in 0..11 {
        delays.push(cloud.wait_for_attempt());
        cloud.expect_connect();
        match n % 2 {
            0 => cloud.host.mqtt_closed(cloud.connection, Reason::ConnectionRefused),
            _ => cloud.host.mqtt_refused(cloud.connection, 3),
        }
        assert_eq!(cloud.host.status().phase, Phase::Offline);
    }
    for (delay, around) in delays.iter().zip([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]) {
        assert!((around * 800..=around * 1200).contains(delay) && *delay <= 300_000, "{delays:?}");
    }
    assert!(delays.iter().any(|delay| delay % 1000 != 0), "spread: {delays:?}");
}

#[test]
fn a_minute_online_lets_the_delays_start_over_and_less_does_not() {
    let mut cloud = online(json!({}));
    let mut last = 0;
    for _ in 0..6 {
        cloud.host.advance(50_000);
        cloud.host.take_outputs();
        cloud.cut();
        last = cloud.wait_for_attempt();
        cloud.come_online();
    }
    assert!(last > 10_000, "{last}");
    cloud.host.advance(60_000);
    cloud.host.take_outputs();
    cloud.cut();
    assert!(cloud.wait_for_attempt() <= 1_200);
}

#[test]
fn when_the_network_returns_the_device_does_not_wait() {
    let mut cloud = online(json!({}));
    cloud.host.interfaces_changed(Vec::new());
    cloud.cut();
    cloud.host.interfaces_changed(vec![network::Interface { name: "wlan0".into(), ..Default::default() }]);
    cloud.come_online();
    assert_eq!(cloud.host.status().phase, Phase::Online);
}

/// Refuses the working connection so often in a row, minutes apart at most.
#[track_caller]
fn refuse(cloud: &mut Cloud, codes: &[u8]) {
    for (n, code) in codes.iter().enumerate() {
        if n > 0 {
            assert!(cloud.wait_for_attempt() <= 300_000);
        }
        assert!(cloud.expect_connect().client_id.starts_with("V2_"));
        cloud.host.mqtt_refused(cloud.connection, *code);
    }
}

#[test]
fn a_password_refused_three_times_makes_the_device_authenticate_anew_once_and_then_ask_for_a_person() {
    let mut cloud = Cloud::started(setup(known(json!({}))));
    for hour in 0..2 {
        refuse(&mut cloud, &[4, 5, 4]);
        assert_eq!(cloud.host.status().phase, Phase::Offline, "{hour}");
        cloud.wait_for_attempt();
        assert!(cloud.accept().client_id.starts_with("AA30C505-"), "{hour}");
        cloud.authenticate();
        refuse(&mut cloud, &[5, 5, 5]);
        assert_eq!(cloud.host.status().phase, Phase::Attention, "{hour}");
        assert!(cloud.host.status().text.contains("check open_id"), "{}", cloud.host.status().text);
        assert_eq!(cloud.wait_for_attempt(), 3_600_000, "{hour}");
    }
    cloud.come_online();
    assert_eq!(cloud.host.status().phase, Phase::Online);
}

#[test]
fn a_secret_that_the_platform_has_replaced_is_learned_anew() {
    let mut cloud = online(json!({}));
    cloud.cut();
    cloud.wait_for_attempt();
    refuse(&mut cloud, &[4, 4, 4]);
    cloud.wait_for_attempt();
    cloud.come_online();
    assert_eq!(cloud.host.status().phase, Phase::Online);
    // It counts from the start again.
    cloud.cut();
    cloud.wait_for_attempt();
    refuse(&mut cloud, &[4, 4]);
    assert_eq!(cloud.host.status().phase, Phase::Offline);
}

#[test]
fn a_broker_that_takes_the_password_once_has_not_refused_it_three_times() {
    let mut cloud = Cloud::started(setup(known(json!({}))));
    refuse(&mut cloud, &[4, 4]);
    cloud.wait_for_attempt();
    cloud.accept();
    cloud.cut();
    cloud.wait_for_attempt();
    refuse(&mut cloud, &[4, 4]);
    cloud.wait_for_attempt();
    assert!(cloud.accept().client_id.starts_with("V2_"));
}

#[test]
fn where_an_authentication_gives_nothing_new_a_person_is_asked_at_once() {
    let mut cloud = Cloud::started(setup(known(json!({"auth_type": 2}))));
    refuse(&mut cloud, &[4, 4, 4]);
    assert_eq!(cloud.host.status().phase, Phase::Attention);
    assert!(cloud.host.status().text.contains("device_secret"), "{}", cloud.host.status().text);
}

#[test]
fn stopping_says_disconnect_and_then_nothing() {
    let mut cloud = online(json!({}));
    cloud.host.stop();
    assert_eq!(cloud.host.expect_mqtt_disconnect(), cloud.connection);
    cloud.host.expect_silence();
    assert_eq!(cloud.host.status().phase, Phase::Offline);
}

#[test]
fn events_of_an_earlier_connection_are_ignored() {
    let mut cloud = online_passthrough(false, json!({}));
    let old = cloud.connection;
    cloud.cut();
    cloud.reconnect();
    cloud.host.take_outputs();
    cloud.host.mqtt_message(old, &below("downlink"), r#"{"MessageId":1,"HeaderCtrl":7,"Payload":{"n":1}}"#);
    cloud.host.mqtt_refused(old, 4);
    cloud.host.mqtt_closed(old, Reason::ConnectionLost);
    cloud.host.expect_silence();
    assert_eq!(cloud.host.status().phase, Phase::Online);
}
