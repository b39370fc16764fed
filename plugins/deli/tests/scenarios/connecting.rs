//! Finding the broker, being refused, losing the connection, coming back.

use polylink_plugin_sdk::RequestId;
use polylink_plugin_sdk::services::{Reason, network};
use polylink_plugin_sdk::session::Phase;
use serde_json::json;

use crate::scenarios::cloud::{Cloud, DEVICE, setup};

const TWO: &str = r#"{"MQTT":["tcp://d1:1883","ssl://d2"]}"#;

fn discovering() -> (Cloud, RequestId) {
    let mut cloud = Cloud::started(setup(json!({"broker_url": null})));
    let (request, http) = cloud.host.expect_http();
    assert_eq!((http.url.as_str(), http.timeout_ms, http.redirects), ("http://d.delicloud.com/access_list", 10_000, 0));
    (cloud, request)
}

#[track_caller]
fn expect_attempt(cloud: &mut Cloud, host: &str) -> RequestId {
    let (connection, connect) = cloud.host.expect_mqtt_connect();
    assert_eq!(connect.host, host);
    connection
}

#[test]
fn the_first_start_finds_the_broker_and_logs_in_with_the_derived_password() {
    let (mut cloud, request) = discovering();
    cloud.host.http_answer(request, 200, TWO);
    let connect = cloud.accept();
    assert_eq!((connect.host.as_str(), connect.port, connect.protocol_level), ("d1", 1883, 4));
    assert_eq!((connect.client_id.as_str(), connect.username.as_deref()), (DEVICE, Some("DL3785W")));
    assert_eq!(connect.password.unwrap().expose(), b"b7d0c94676e4fa5135be820df26253f5");
    assert_eq!((connect.clean_session, connect.keepalive_s, connect.tls), (true, 60, None));
    let filters = [cloud.host.expect_subscribe(), cloud.host.expect_subscribe()].map(|asked| (asked.filter, asked.qos));
    assert_eq!(filters, [("KQ".to_owned(), 1), ("KQ/DL3785W".to_owned(), 1)]);
    assert_eq!(cloud.host.status().phase, Phase::Online);
    cloud.assert_fact("qr", "status=0");
}

#[test]
fn a_device_with_issued_credentials_uses_them() {
    let settings = json!({"auth_scheme": "preregistered", "username": "u", "password": "p", "product_secret": null});
    let mut cloud = Cloud::started(setup(settings));
    let connect = cloud.accept();
    assert_eq!((connect.client_id.as_str(), connect.username.as_deref()), (DEVICE, Some("u")));
    assert_eq!(connect.password.unwrap().expose(), b"p");
}

#[test]
fn a_tls_endpoint_is_trusted_by_the_configured_certificate() {
    let mut cloud = Cloud::started(setup(json!({"broker_url": "ssl://b", "tls_ca": "PEM"})));
    let connect = cloud.accept();
    assert_eq!(connect.port, 8883);
    assert_eq!(connect.tls.unwrap().ca_pem.as_deref(), Some("PEM"));
}

#[test]
fn without_discovery_the_default_endpoint_is_used() {
    let (mut cloud, request) = discovering();
    cloud.host.http_failed(request, Reason::Timeout);
    expect_attempt(&mut cloud, "device.delicloud.com");
    for (status, body) in [(500, ""), (302, TWO), (200, "not json"), (200, "{}"), (200, r#"{"MQTT":["bogus"]}"#)] {
        let (mut cloud, request) = discovering();
        cloud.host.http_answer(request, status, body);
        expect_attempt(&mut cloud, "device.delicloud.com");
    }
}

#[test]
fn an_endpoint_that_cannot_be_reached_is_left_for_the_next_one_at_once() {
    let (mut cloud, request) = discovering();
    cloud.host.http_answer(request, 200, TWO);
    let first = expect_attempt(&mut cloud, "d1");
    cloud.host.mqtt_closed(first, Reason::ConnectionRefused);
    let second = expect_attempt(&mut cloud, "d2");
    cloud.host.mqtt_refused(second, 3);
    cloud.host.expect_silence();
    assert_eq!(cloud.host.status().phase, Phase::Offline);
    cloud.assert_fact("qr", "status=1&error=");
}

#[test]
fn discovery_is_asked_again_when_all_endpoints_failed_but_not_within_a_minute() {
    let (mut cloud, request) = discovering();
    cloud.host.http_answer(request, 200, r#"{"MQTT":["tcp://d1"]}"#);
    let mut at = Vec::new();
    for _ in 0..12 {
        if let Some(attempt) = attempt(&mut cloud) {
            cloud.host.mqtt_closed(attempt, Reason::ConnectionRefused);
        } else {
            let (request, _) = cloud.host.expect_http();
            at.push(cloud.host.now().monotonic.0);
            cloud.host.http_answer(request, 200, r#"{"MQTT":["tcp://d1"]}"#);
        }
        if cloud.host.status().phase == Phase::Offline {
            cloud.host.advance_to_next_timeout();
        }
    }
    assert!(!at.is_empty() && at.windows(2).all(|pair| pair[1] - pair[0] >= 60_000), "{at:?}");
}

fn attempt(cloud: &mut Cloud) -> Option<RequestId> {
    let asked = cloud.host.transcript();
    let last = asked.lines().rev().find(|line| line.contains("<-- Http") || line.contains("<-- Mqtt(Connect"))?;
    last.contains("Mqtt(Connect").then(|| cloud.host.expect_mqtt_connect().0)
}

#[test]
fn a_password_refused_three_times_is_a_fault_of_the_configuration() {
    let mut cloud = Cloud::started(setup(json!({})));
    for code in [4, 5, 4] {
        assert_ne!(cloud.host.status().phase, Phase::Attention);
        let (connection, _) = cloud.host.expect_mqtt_connect();
        cloud.host.mqtt_refused(connection, code);
        if cloud.host.status().phase != Phase::Attention {
            assert!(cloud.host.advance_to_next_timeout() <= 3_000);
        }
    }
    assert_eq!(cloud.host.status().phase, Phase::Attention);
    assert!(cloud.host.status().text.contains("check model, serial and secret"), "{}", cloud.host.status().text);
    assert_eq!(cloud.host.advance_to_next_timeout(), 3_600_000);
    cloud.accept();
    assert_eq!(cloud.host.status().phase, Phase::Online);
}

#[test]
fn an_outage_is_met_with_growing_delays_and_nothing_is_lost() {
    let mut cloud = Cloud::online(json!({}));
    let seq = cloud.report(1);
    let sent = cloud.expect(300);
    cloud.cut();
    let second = cloud.report(2);
    let mut delays = Vec::new();
    for _ in 0..11 {
        delays.push(cloud.host.advance_to_next_timeout());
        let (connection, _) = cloud.host.expect_mqtt_connect();
        cloud.host.mqtt_closed(connection, Reason::ConnectionRefused);
    }
    for (delay, around) in delays.iter().zip([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]) {
        assert!((around * 800..=around * 1200).contains(delay), "{delays:?}");
    }
    cloud.reconnect();
    cloud.answer_start_and_keep();
    let again = cloud.expect_publish(300);
    assert_eq!(again.json()["mid"], sent["mid"], "a repeated message keeps its name");
    assert_eq!(again.json()["data"], sent["data"]);
    let next = cloud.expect_publish(300);
    cloud.host.published(again.id);
    assert_eq!(cloud.host.expect_settle(), [seq]);
    cloud.host.published(next.id);
    assert_eq!(cloud.host.expect_settle(), [second]);
}

#[test]
fn connections_that_break_at_once_do_not_make_the_device_hurry() {
    let mut cloud = Cloud::connected(json!({}));
    let mut last = 0;
    for _ in 0..5 {
        cloud.cut();
        last = cloud.host.advance_to_next_timeout();
        cloud.accept();
    }
    assert!(last > 10_000, "{last}");
    cloud.host.advance(60_000);
    cloud.cut();
    assert!(cloud.host.advance_to_next_timeout() <= 1_200);
}

#[test]
fn when_the_network_returns_the_device_does_not_wait() {
    let mut cloud = Cloud::online(json!({}));
    cloud.host.interfaces_changed(Vec::new());
    cloud.cut();
    cloud.assert_fact("qr", "status=-1");
    cloud.host.interfaces_changed(vec![network::Interface { name: "wlan0".into(), ..Default::default() }]);
    cloud.accept();
}

#[test]
fn a_refused_broadcast_topic_is_no_error() {
    let mut cloud = Cloud::connected(json!({}));
    for _ in 0..2 {
        let asked = cloud.host.expect_subscribe();
        cloud.host.subscribed(asked.id, 0x80);
    }
    assert_eq!(cloud.host.status().phase, Phase::Online);
}

#[test]
fn topics_may_be_left_until_the_device_is_bound() {
    let mut cloud = Cloud::connected(json!({"subscribe_when": "bound"}));
    cloud.host.expect_publish();
    assert!(!cloud.host.transcript().contains("Subscribe"), "subscribed before");
    cloud.say(json!({"mid": "b", "action": 203, "data": {"group_id": 1000, "status": 1}}));
    assert_eq!(cloud.host.expect_subscribe().filter, "KQ");
}

#[test]
fn stopping_says_disconnect_and_then_nothing() {
    let mut cloud = Cloud::online(json!({}));
    cloud.host.stop();
    assert_eq!(cloud.host.expect_mqtt_disconnect(), cloud.connection);
    cloud.host.expect_silence();
    assert_eq!(cloud.host.status().phase, Phase::Offline);
}

#[test]
fn strict_names_are_refused_before_anything_is_sent() {
    let mut cloud = polylink_plugin_sdk::testing::VirtualHost::new::<polylink_deli::session::DeliSession>(setup(
        json!({"strict_ids": true, "serial": "a.b"}),
    ));
    let fault = cloud.try_start().unwrap_err();
    assert!(fault.message.contains("settings.serial"), "{}", fault.message);
}

impl Cloud {
    /// Answers the start sequence as a bound device's, and keeps everything else that was sent.
    #[track_caller]
    pub fn answer_start_and_keep(&mut self) {
        self.answer(100, json!({"code": 0}));
        self.answer(101, json!({"code": 0}));
        self.answer_record(json!({"group_id": 1000}));
    }
}
