//! From the login to a subscription: the connection, its will, and what each way to lose it leads to.

use polylink_plugin_sdk::Input;
use polylink_plugin_sdk::services::{Failure, Reason, mqtt, network};
use polylink_plugin_sdk::session::Phase;
use serde_json::{Value, json};

use crate::scenarios::stage::{Cloud, DEV_ID, DEV_MAC, DEVICE_SECRET, UPWARD, online, setup, setup_registered, unseal};

/// Asking for a connection with a stored login.
#[track_caller]
fn connecting(changes: Value) -> Cloud {
    let mut cloud = Cloud::started(setup_registered(changes));
    cloud.expect_connect();
    cloud
}

/// The device tries again after about so many milliseconds, and is online.
#[track_caller]
pub fn check_tries_again(cloud: &mut Cloud, around_ms: u64, says: &str) {
    cloud.host.expect_silence();
    let status = cloud.host.status();
    assert_eq!(status.phase, Phase::Offline, "{status:?}");
    assert!(status.text.contains(says), "{}", status.text);
    check_waits(cloud, around_ms);
    cloud.come_online();
}

#[track_caller]
pub fn check_waits(cloud: &mut Cloud, around_ms: u64) {
    let waited = cloud.wait_for_attempt();
    assert!((around_ms * 8 / 10..=around_ms * 12 / 10).contains(&waited), "{waited} {around_ms}");
}

/// The device hangs up the connection.
#[track_caller]
pub fn check_hangs_up(cloud: &mut Cloud) {
    assert_eq!(cloud.host.expect_mqtt_disconnect(), cloud.connection);
}

#[test]
fn a_registered_device_connects_subscribes_greets_and_is_online() {
    for behind_the_abi in [false, true] {
        let start = if behind_the_abi { Cloud::started_behind_the_abi } else { Cloud::started };
        let mut cloud = start(setup(json!({})));
        cloud.register();
        let connect = cloud.accept();
        assert_eq!((connect.host.as_str(), connect.port, connect.tls), ("broker.clife", 1884, None));
        assert_eq!((connect.protocol_level, connect.clean_session, connect.keepalive_s), (4, false, 90));
        let subscribe = cloud.expect_subscription();
        assert_eq!(subscribe.qos, 1);
        cloud.host.expect_silence();
        cloud.host.subscribed(subscribe.id, 1);
        let greeting = cloud.expect(2004);
        assert_eq!(greeting.body, json!({"devId": DEV_ID, "devMac": DEV_MAC, "profileVer": "0"}));
        assert_eq!(greeting.publish.message.qos, 1);
        assert_eq!(cloud.host.status().phase, Phase::Connecting);
        cloud.say(2005, &greeting.id, json!({"respCode": 0, "respCont": "ok"}));
        assert_eq!(cloud.host.status().phase, Phase::Online);
        cloud.host.expect_silence();
    }
}

#[test]
fn what_can_be_set_of_the_connection_is_used() {
    let mut cloud = Cloud::started(setup(json!({
        "mqtt_url": "tls://own", "tls_ca": "PEM", "mqtt_keepalive": 33, "clean_session": true, "qos": 0,
        "will_enabled": false, "profile_ver": "7", "mqtt_encrypt_data": false,
    })));
    cloud.register();
    let connect = cloud.accept();
    assert_eq!((connect.host.as_str(), connect.port), ("own", 8883));
    assert_eq!(connect.tls.unwrap().ca_pem.as_deref(), Some("PEM"));
    assert_eq!((connect.clean_session, connect.keepalive_s, connect.will), (true, 33, None));
    assert_eq!(cloud.grant_subscription().qos, 0);
    let greeting = cloud.expect(2004);
    assert_eq!((greeting.publish.message.qos, &greeting.body["profileVer"]), (0, &json!("7")));
    // An answer may be encrypted although the device does not encrypt.
    cloud.say(2005, &greeting.id, json!({"respCode": 0}));
    assert_eq!(cloud.host.status().phase, Phase::Online);
}

#[test]
fn the_topics_can_be_set() {
    let mut cloud = Cloud::started(setup(json!({"topic_upward": "/u/{devId}", "topic_downward": "{productCode}/d"})));
    cloud.register();
    assert_eq!(cloud.accept().will.unwrap().topic, "/u/D1234567");
    let subscribe = cloud.host.expect_subscribe();
    assert_eq!(subscribe.filter, "P0001/d");
    cloud.host.subscribed(subscribe.id, 1);
    cloud.host.expect_publish_on("/u/D1234567");
}

#[test]
fn the_broker_is_told_what_to_say_when_the_device_is_gone() {
    let mut cloud = connecting(json!({}));
    let mut ids = Vec::new();
    for _ in 0..2 {
        cloud.host.mqtt_closed(cloud.connection, Reason::Timeout);
        cloud.wait_for_attempt();
        let will = cloud.expect_connect().will.expect("there is a will");
        assert_eq!((will.topic.as_str(), will.qos, will.retain), (UPWARD, 1, false));
        let frame: Value = serde_json::from_slice(&will.payload).unwrap();
        assert_eq!((&frame["cmd"], &frame["ver"], &frame["dir"]), (&json!(2014), &json!("1.0"), &json!("03")));
        assert_eq!(frame["timestamp"], cloud.host.now().wall.unix_ms);
        let plain = unseal(DEVICE_SECRET, frame["data"].as_str().unwrap()).unwrap();
        assert_eq!(plain, r#"{"devId":"D1234567"}"#);
        ids.push(frame["msgId"].as_i64().unwrap());
    }
    assert!(ids[0] < ids[1], "{ids:?}");
}

#[test]
fn without_a_subscription_the_device_does_not_stay() {
    let subscribing = || {
        let mut cloud = Cloud::started(setup_registered(json!({})));
        cloud.accept();
        let subscribe = cloud.expect_subscription();
        (cloud, subscribe)
    };
    let (mut cloud, subscribe) = subscribing();
    cloud.host.subscribed(subscribe.id, 0x80);
    check_hangs_up(&mut cloud);
    check_tries_again(&mut cloud, 1_000, "refused the subscription");

    let (mut cloud, subscribe) = subscribing();
    let failure = Failure { reason: Reason::Quota, text: "too many".into() };
    cloud.host.deliver(Input::Mqtt(mqtt::Event::Subscribed(subscribe.id, Err(failure))));
    check_hangs_up(&mut cloud);
    check_tries_again(&mut cloud, 1_000, "too many");

    let (mut cloud, _) = subscribing();
    cloud.host.advance(9_999);
    cloud.host.expect_silence();
    cloud.host.advance(1);
    check_hangs_up(&mut cloud);
    check_tries_again(&mut cloud, 1_000, "does not answer the subscription");
}

#[test]
fn a_granted_qos_may_be_lower() {
    let mut cloud = Cloud::started(setup_registered(json!({})));
    cloud.accept();
    let subscribe = cloud.expect_subscription();
    cloud.host.subscribed(subscribe.id, 0);
    cloud.expect_frame(2004);
}

#[test]
fn a_broker_that_is_not_available_is_tried_again_with_growing_pauses() {
    let mut cloud = connecting(json!({}));
    for around_ms in [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000, 300_000, 300_000] {
        cloud.host.mqtt_refused(cloud.connection, 3);
        assert!(cloud.host.status().text.contains("CONNACK 3"), "{}", cloud.host.status().text);
        let waited = cloud.wait_for_attempt();
        assert!((around_ms * 8 / 10..=300_000.min(around_ms * 12 / 10)).contains(&waited), "{waited} {around_ms}");
        cloud.expect_connect();
        cloud.host.expect_silence();
    }
    for code in [1, 2, 9] {
        cloud.host.mqtt_refused(cloud.connection, code);
        assert!(cloud.host.status().text.contains(&format!("CONNACK {code}")));
        cloud.wait_for_attempt();
        cloud.expect_connect();
    }
    cloud.host.mqtt_connected(cloud.connection);
    cloud.grant_subscription();
    cloud.expect_frame(2004);
}

#[test]
fn a_login_that_is_refused_three_times_is_asked_for_again_once_and_then_a_person_is() {
    for code in [4, 5] {
        let mut cloud = connecting(json!({}));
        let refuse = |cloud: &mut Cloud, around_ms: u64| {
            cloud.host.mqtt_refused(cloud.connection, code);
            assert!(cloud.host.status().text.contains(&format!("CONNACK {code}")));
            check_waits(cloud, around_ms);
        };
        refuse(&mut cloud, 1_000);
        cloud.expect_connect();
        refuse(&mut cloud, 2_000);
        cloud.expect_connect();
        refuse(&mut cloud, 4_000);
        // New credentials, which have to be used.
        cloud.login["mqttUser"] = json!("U9");
        cloud.register();
        assert_eq!(cloud.expect_connect().username.as_deref(), Some("U9"));
        refuse(&mut cloud, 8_000);
        cloud.expect_connect();
        refuse(&mut cloud, 16_000);
        cloud.expect_connect();
        cloud.host.mqtt_refused(cloud.connection, code);
        cloud.host.expect_silence();
        assert_eq!(cloud.host.status().phase, Phase::Attention);
        assert!(cloud.host.status().text.contains("also after another registration"));
        check_waits(&mut cloud, 3_600_000);
        // Then all of it begins anew.
        for _ in 0..3 {
            cloud.expect_connect();
            cloud.host.mqtt_refused(cloud.connection, code);
            cloud.wait_for_attempt();
        }
        cloud.register();
        cloud.come_online();
        // As it does for a device that was online since.
        cloud.cut();
        cloud.wait_for_attempt();
        for _ in 0..3 {
            cloud.expect_connect();
            cloud.host.mqtt_refused(cloud.connection, code);
            cloud.wait_for_attempt();
        }
        cloud.register();
        cloud.come_online();
    }
}

#[test]
fn refusals_of_a_login_count_only_in_a_row() {
    let mut cloud = connecting(json!({}));
    for _ in 0..3 {
        for _ in 0..2 {
            cloud.host.mqtt_refused(cloud.connection, 5);
            cloud.wait_for_attempt();
            cloud.expect_connect();
        }
        cloud.host.mqtt_connected(cloud.connection);
        cloud.grant_subscription();
        cloud.expect_frame(2004);
        cloud.cut();
        cloud.wait_for_attempt();
        cloud.expect_connect();
    }
}

#[test]
fn a_lost_connection_is_opened_again_with_the_stored_login() {
    let mut cloud = online(json!({}));
    cloud.host.advance(60_000);
    cloud.cut();
    assert!(cloud.logged("connection lost"));
    check_tries_again(&mut cloud, 1_000, "ConnectionLost");
    // One that breaks at once does not start the pauses over.
    cloud.cut();
    check_tries_again(&mut cloud, 2_000, "ConnectionLost");
    cloud.host.advance(60_000);
    cloud.cut();
    check_tries_again(&mut cloud, 1_000, "ConnectionLost");
}

#[test]
fn a_connection_that_breaks_on_the_way_is_opened_again() {
    let mut cloud = connecting(json!({}));
    cloud.cut();
    check_waits(&mut cloud, 1_000);
    cloud.accept();
    let subscribe = cloud.expect_subscription();
    cloud.cut();
    cloud.host.subscribed(subscribe.id, 1);
    cloud.host.expect_silence();
    check_waits(&mut cloud, 2_000);
    cloud.accept();
    let new = cloud.expect_subscription();
    cloud.host.subscribed(subscribe.id, 1);
    cloud.host.expect_silence();
    cloud.host.subscribed(new.id, 1);
    let (id, _) = cloud.expect_frame(2004);
    let old = cloud.connection;
    cloud.cut();
    check_waits(&mut cloud, 4_000);
    cloud.accept();
    // What belongs to the old one does nothing on the new one.
    cloud.host.mqtt_closed(old, Reason::Closed);
    cloud.grant_subscription();
    let (again, _) = cloud.expect_frame(2004);
    assert_ne!(again, id);
    cloud.say(2005, &id, json!({"respCode": 0}));
    assert_eq!(cloud.host.status().phase, Phase::Connecting);
    cloud.say(2005, &again, json!({"respCode": 0}));
    assert_eq!(cloud.host.status().phase, Phase::Online);
}

#[test]
fn a_network_that_returns_ends_the_pause() {
    let up = || vec![network::Interface::default()];
    let mut cloud = online(json!({}));
    cloud.host.interfaces_changed(up());
    cloud.host.interfaces_changed(Vec::new());
    cloud.cut();
    cloud.host.expect_silence();
    cloud.host.interfaces_changed(up());
    cloud.come_online();
    // The same at the registration.
    let mut cloud = Cloud::started(setup(json!({})));
    let application = cloud.expect_application();
    cloud.host.interfaces_changed(Vec::new());
    cloud.host.http_failed(application.http, Reason::Resolve);
    cloud.host.expect_silence();
    cloud.host.interfaces_changed(up());
    cloud.register();
    cloud.come_online();
    // A change of networks is none.
    cloud.host.interfaces_changed([up(), up()].concat());
    cloud.host.expect_silence();
}

#[test]
fn a_regular_end_says_good_bye_to_the_broker() {
    let mut cloud = online(json!({}));
    cloud.host.stop();
    check_hangs_up(&mut cloud);
    cloud.host.expect_silence();
    assert_eq!(cloud.host.next_timeout(), None);
    let mut cloud = connecting(json!({}));
    cloud.host.stop();
    check_hangs_up(&mut cloud);
    cloud.host.expect_silence();
}
