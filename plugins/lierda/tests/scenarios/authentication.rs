//! The connection before the working one: what the device says there, what each answer makes of it, and when it is left
//! out.

use polylink_plugin_sdk::services::{Reason, network};
use polylink_plugin_sdk::session::Phase;
use serde_json::{Value, json};

use crate::scenarios::stage::{BASE, Cloud, DEVICE_SECRET, NODE_EUI, PRODUCT_ID, online, setup};

/// Just asked for its authentication; the name of the request.
#[track_caller]
fn asking(changes: Value) -> (Cloud, Value) {
    let mut cloud = Cloud::started(setup(changes));
    cloud.accept();
    let id = cloud.expect_authentication();
    (cloud, id)
}

/// The device hangs up, and begins anew with an authentication after about so many milliseconds.
#[track_caller]
fn check_begins_anew(cloud: &mut Cloud, phase: Phase, around_ms: u64) {
    assert_eq!(cloud.host.expect_mqtt_disconnect(), cloud.connection);
    check_waits(cloud, phase, around_ms);
}

#[track_caller]
fn check_waits(cloud: &mut Cloud, phase: Phase, around_ms: u64) {
    cloud.host.expect_silence();
    assert_eq!(cloud.host.status().phase, phase, "{:?}", cloud.host.status());
    let waited = cloud.wait_for_attempt();
    assert!((around_ms * 8 / 10..=around_ms * 12 / 10).contains(&waited), "{waited}");
    cloud.accept();
    cloud.authenticate();
    cloud.accept();
}

/// This answer makes the device try again soon.
#[track_caller]
fn check_tried_again(changes: Value, answer: Value) {
    let (mut cloud, id) = asking(changes);
    cloud.answer_authentication(&id, answer);
    check_begins_anew(&mut cloud, Phase::Offline, 1_000);
}

/// This answer calls for a person, by these words.
#[track_caller]
fn check_person(code: Value, says: &str) {
    let (mut cloud, id) = asking(json!({"fatal_retry_s": 600}));
    cloud.answer_authentication(&id, json!({"Code": code}));
    assert!(cloud.host.status().text.contains(says), "{}", cloud.host.status().text);
    assert!(cloud.logged(says));
    check_begins_anew(&mut cloud, Phase::Attention, 600_000);
}

#[test]
fn the_first_start_gets_the_secret_and_then_connects_with_it_at_once() {
    let mut cloud = Cloud::started(setup(json!({})));
    let connect = cloud.accept();
    assert_eq!((connect.host.as_str(), connect.port, connect.protocol_level), ("broker", 1883, 4));
    assert_eq!(connect.client_id, format!("{PRODUCT_ID}-{NODE_EUI}"));
    assert_eq!(cloud.host.status().phase, Phase::Connecting);
    let subscribe = cloud.host.expect_subscribe();
    assert_eq!((subscribe.filter, subscribe.qos), (format!("{BASE}/downlink"), 1));
    cloud.host.expect_silence();
    cloud.host.subscribed(subscribe.id, 1);
    let request = cloud.host.expect_publish();
    assert_eq!((request.message.qos, request.message.retain), (1, false));
    assert_eq!(
        request.text(),
        r#"{"MessageId":1,"HeaderCtrl":1,"Payload":{"OpenID":"7ED01E2A","ProductID":"AA30C505","NodeEui":"20MQTTJ000121","Type":0},"Version":"2.0"}"#
    );
    let authentication = cloud.connection;
    cloud.answer_authentication(&json!(1), json!({"Code": 0, "DeviceSecret": DEVICE_SECRET}));
    assert_eq!(cloud.host.expect_mqtt_disconnect(), authentication);
    cloud.come_online();
    cloud.host.mqtt_closed(authentication, Reason::Closed);
    assert_eq!(cloud.host.status().phase, Phase::Online);
}

#[test]
fn each_type_of_device_says_its_type_or_needs_no_authentication() {
    for auth_type in [0, 1] {
        let mut cloud = Cloud::started(setup(json!({"auth_type": auth_type})));
        cloud.accept();
        let subscribe = cloud.host.expect_subscribe();
        cloud.host.subscribed(subscribe.id, 1);
        assert_eq!(cloud.host.expect_publish().json()["Payload"]["Type"], auth_type);
    }
    let burnt_in = |more: &[(&str, bool)]| {
        let mut settings = json!({"auth_type": 2, "device_secret": DEVICE_SECRET});
        more.iter().for_each(|(key, value)| settings[*key] = json!(value));
        let mut cloud = Cloud::started(setup(settings));
        let connect = cloud.accept();
        connect.username.unwrap().starts_with("AUTH-")
    };
    assert!(!burnt_in(&[]), "nothing is missing");
    assert!(burnt_in(&[("encrypted", true)]), "the session is missing");
    assert!(burnt_in(&[("auth_every_start", true)]));
}

#[test]
fn a_secret_that_is_burnt_in_counts_more_than_that_of_the_platform() {
    let settings = json!({"auth_type": 2, "device_secret": DEVICE_SECRET, "encrypted": true});
    let mut cloud = Cloud::started(setup(settings));
    cloud.accept();
    let id = cloud.expect_authentication();
    let other = "00112233445566778899AABBCCDDEEFF";
    let answer = json!({"Code": 0, "DeviceSecret": other, "SessionID": "4655434B", "Nonce": 128});
    cloud.answer_authentication(&id, answer);
    // The stage checks the password.
    cloud.come_online();
    assert!(cloud.logged("another device_secret") && !cloud.logged(other));
}

#[test]
fn a_busy_platform_and_codes_that_mean_nothing_are_asked_again_soon() {
    for code in [json!(1), json!(3), json!(7), json!(-1), json!(200), json!("1")] {
        check_tried_again(json!({}), json!({"Code": code}));
    }
}

#[test]
fn an_answer_that_is_of_no_use_is_like_a_busy_platform() {
    for secret in [json!(null), json!("FE448731"), json!(7), json!("g".repeat(32)), json!({})] {
        check_tried_again(json!({}), json!({"Code": 0, "DeviceSecret": secret}));
    }
    check_tried_again(json!({}), json!({"Code": 0}));
    for code in [json!("zero"), json!(null), json!(0.0), json!([])] {
        check_tried_again(json!({}), json!({"Code": code, "DeviceSecret": DEVICE_SECRET}));
    }
    check_tried_again(json!({}), json!("not an object"));
}

#[test]
fn an_encrypted_product_cannot_do_without_its_session() {
    for session in
        [json!({}), json!({"SessionID": "4655434B"}), json!({"Nonce": 1}), json!({"SessionID": "", "Nonce": 1})]
    {
        let mut answer = json!({"Code": 0, "DeviceSecret": DEVICE_SECRET});
        answer.as_object_mut().unwrap().extend(session.as_object().unwrap().clone());
        check_tried_again(json!({"encrypted": true}), answer);
    }
    let no_hex = json!({"Code": 0, "DeviceSecret": DEVICE_SECRET, "SessionID": "3788433", "Nonce": 1});
    check_tried_again(json!({"encrypted": true, "session_content": "bytes"}), no_hex);
}

#[test]
fn what_only_a_person_can_change_is_told_and_seldom_tried_again() {
    check_person(json!(2), "check open_id and product_id");
    check_person(json!(4), "node_eui");
    check_person(json!("5"), "auth_type does not match");
    check_person(json!(6), "another version of the protocol");
}

#[test]
fn an_hour_passes_between_attempts_that_a_person_has_to_help_unless_the_settings_say_otherwise() {
    let (mut cloud, id) = asking(json!({}));
    cloud.answer_authentication(&id, json!({"Code": 2}));
    assert_eq!(cloud.wait_for_attempt(), 3_600_000);
}

#[test]
fn codes_and_names_are_taken_as_texts_too() {
    let (mut cloud, id) = asking(json!({}));
    let id = json!(id.to_string());
    cloud.answer_authentication(&id, json!({"Code": "0", "DeviceSecret": DEVICE_SECRET.to_lowercase()}));
    cloud.come_online();
    let (mut cloud, id) = asking(json!({"message_id_type": "string"}));
    let number: u32 = id.as_str().expect("a text").parse().unwrap();
    cloud.answer_authentication(&json!(number), json!({"Code": 0, "DeviceSecret": DEVICE_SECRET}));
    cloud.come_online();
}

#[test]
fn a_silent_platform_is_asked_four_times_under_the_same_name() {
    let (mut cloud, id) = asking(json!({}));
    for _ in 0..3 {
        cloud.host.advance(9_999);
        cloud.host.expect_silence();
        cloud.host.advance(1);
        assert_eq!(cloud.expect_authentication_request(), id);
    }
    cloud.host.advance(9_999);
    cloud.host.expect_silence();
    cloud.host.advance(1);
    check_begins_anew(&mut cloud, Phase::Offline, 1_000);
}

#[test]
fn an_answer_to_a_repeated_request_is_as_good_and_the_time_for_it_can_be_set() {
    let (mut cloud, id) = asking(json!({"auth_timeout_s": 3}));
    cloud.host.advance(3_000);
    assert_eq!(cloud.expect_authentication_request(), id);
    cloud.answer_authentication(&id, json!({"Code": 0, "DeviceSecret": DEVICE_SECRET}));
    cloud.come_online();
}

#[test]
fn only_the_answer_to_this_request_counts() {
    let (mut cloud, id) = asking(json!({}));
    let good = json!({"Code": 0, "DeviceSecret": DEVICE_SECRET});
    cloud.answer_authentication(&json!("another"), good.clone());
    cloud.answer_authentication(&json!(null), good.clone());
    cloud.answer_authentication(&json!("another"), json!({"Code": 2}));
    for header_ctrl in [3, 4, 7, 8, 20] {
        cloud.say_as("downlink", &id, header_ctrl, good.clone());
    }
    cloud.say_as("update_time_ack", &id, 1, good.clone());
    cloud.say_bytes("downlink", format!(r#"{{"MessageId":{id},"HeaderCtrl":1}}"#));
    for garbage in ["", "[]", "not json", "{\"HeaderCtrl\":1"] {
        cloud.say_bytes("downlink", garbage);
    }
    cloud.say_bytes("downlink", [0xFF, 0xFE]);
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    cloud.assert_fact("input_dropped", "15");
    cloud.answer_authentication(&id, good);
    cloud.come_online();
}

#[test]
fn an_answer_before_the_question_is_none() {
    let mut cloud = Cloud::started(setup(json!({})));
    cloud.accept();
    cloud.answer_authentication(&json!(1), json!({"Code": 0, "DeviceSecret": DEVICE_SECRET}));
    cloud.authenticate();
    cloud.come_online();
}

#[test]
fn a_product_key_that_the_broker_does_not_take_is_for_a_person() {
    for code in [4, 5] {
        let mut cloud = Cloud::started(setup(json!({})));
        cloud.expect_connect();
        cloud.host.mqtt_refused(cloud.connection, code);
        assert!(cloud.host.status().text.contains("product_key"), "{}", cloud.host.status().text);
        check_waits(&mut cloud, Phase::Attention, 3_600_000);
    }
}

#[test]
fn a_broker_that_is_not_available_is_tried_again_soon() {
    for code in [1, 2, 3, 77] {
        let mut cloud = Cloud::started(setup(json!({})));
        cloud.expect_connect();
        cloud.host.mqtt_refused(cloud.connection, code);
        check_waits(&mut cloud, Phase::Offline, 1_000);
    }
}

#[test]
fn without_its_subscription_the_device_does_not_ask() {
    let mut cloud = Cloud::started(setup(json!({})));
    cloud.accept();
    let subscribe = cloud.host.expect_subscribe();
    cloud.host.subscribed(subscribe.id, 0x80);
    check_begins_anew(&mut cloud, Phase::Offline, 1_000);

    let mut cloud = Cloud::started(setup(json!({})));
    cloud.accept();
    cloud.host.expect_subscribe();
    cloud.host.advance(10_000);
    check_begins_anew(&mut cloud, Phase::Offline, 1_000);
}

#[test]
fn a_connection_that_breaks_at_any_step_begins_anew() {
    let steps: [fn(&mut Cloud); 3] = [
        |cloud| _ = cloud.expect_connect(),
        |cloud| {
            cloud.accept();
            cloud.host.expect_subscribe();
        },
        |cloud| {
            cloud.accept();
            cloud.expect_authentication();
        },
    ];
    for step in steps {
        let mut cloud = Cloud::started(setup(json!({})));
        step(&mut cloud);
        cloud.cut();
        check_waits(&mut cloud, Phase::Offline, 1_000);
    }
}

#[test]
fn when_the_network_returns_the_device_asks_at_once_but_does_not_repeat_what_a_person_has_to_change() {
    let wlan = || vec![network::Interface { name: "wlan0".into(), ..Default::default() }];
    let (mut cloud, _) = asking(json!({}));
    cloud.host.interfaces_changed(Vec::new());
    cloud.cut();
    cloud.host.interfaces_changed(wlan());
    cloud.accept();
    cloud.authenticate();

    let (mut cloud, id) = asking(json!({}));
    cloud.answer_authentication(&id, json!({"Code": 4}));
    cloud.host.expect_mqtt_disconnect();
    cloud.host.interfaces_changed(Vec::new());
    cloud.host.interfaces_changed(wlan());
    cloud.host.expect_silence();
}

#[test]
fn the_first_network_is_used_at_once() {
    let mut cloud = Cloud::started(setup(json!({})));
    for _ in 0..8 {
        cloud.expect_connect();
        cloud.cut();
        cloud.host.advance(1_000_000);
    }
    cloud.expect_connect();
    cloud.cut();
    cloud.host.interfaces_changed(vec![network::Interface::default()]);
    cloud.accept();
}

#[test]
fn what_was_learned_once_is_not_asked_for_again() {
    for settings in [json!({}), json!({"encrypted": true}), json!({"auth_type": 1})] {
        let mut cloud = online(settings);
        cloud.cut();
        cloud.wait_for_attempt();
        assert!(cloud.accept().client_id.starts_with("V2_"));
        cloud.host.restart();
        assert!(cloud.accept().client_id.starts_with("V2_"));
        cloud.grant_subscriptions();
        assert_eq!(cloud.host.status().phase, Phase::Online);
    }
}

#[test]
fn the_secret_is_kept_even_if_the_working_connection_never_comes() {
    let (mut cloud, id) = asking(json!({}));
    cloud.answer_authentication(&id, json!({"Code": 0, "DeviceSecret": DEVICE_SECRET}));
    cloud.host.restart();
    assert!(cloud.accept().client_id.starts_with("V2_"));
}

#[test]
fn a_product_that_has_become_an_encrypted_one_asks_for_its_session() {
    let mut cloud = online(json!({}));
    cloud.host.setup().settings = setup(json!({"encrypted": true})).settings;
    cloud.host.restart();
    cloud.accept();
    cloud.authenticate();
    cloud.come_online();
    cloud.assert_fact("encryption", "session key");
}

#[test]
fn a_product_that_is_encrypted_for_the_platform_alone_is_told() {
    let (mut cloud, id) = asking(json!({}));
    let answer = json!({"Code": 0, "DeviceSecret": DEVICE_SECRET, "SessionID": "4655434B", "Nonce": 128});
    cloud.answer_authentication(&id, answer);
    cloud.come_online();
    assert!(cloud.logged("`encrypted` is not set"));
}

#[test]
fn authentication_at_every_start_is_not_one_at_every_connection() {
    let mut cloud = online(json!({"auth_every_start": true}));
    cloud.cut();
    cloud.wait_for_attempt();
    assert!(cloud.accept().client_id.starts_with("V2_"));
    cloud.host.restart();
    cloud.accept();
    cloud.authenticate();
    cloud.come_online();
    let mut cloud = Cloud::started(setup(json!({"auth_every_start": true, "device_secret": DEVICE_SECRET})));
    cloud.accept();
    cloud.authenticate();
}

#[test]
fn the_conversation_is_the_same_behind_the_abi() {
    let mut cloud = Cloud::started_behind_the_abi(setup(json!({"encrypted": true})));
    cloud.come_online();
    cloud.answer_start();
    cloud.report(7);
    let (id, payload) = cloud.expect_sealed("model/property/report", 16);
    assert_eq!(payload, json!({"n": 7}));
    cloud.ack("model/property/report_ack", 16, &id, 200);
    assert_eq!(cloud.host.expect_settle(), [1]);
}
