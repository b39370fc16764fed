//! What survives a restart: the login, if it is this device's and whole, and the numbers of messages.

use polylink_plugin_sdk::testing::Setup;
use serde_json::{Value, json};

use crate::scenarios::stage::{Cloud, DOWNWARD, level, merged, product, setup, setup_of, setup_registered};

#[test]
fn a_device_that_has_registered_before_connects_at_once() {
    let mut cloud = Cloud::started(setup_registered(json!({})));
    let connect = cloud.accept();
    assert_eq!((connect.host.as_str(), connect.port, connect.keepalive_s), ("broker.clife", 1884, 90));
    assert_eq!(cloud.grant_subscription().filter, DOWNWARD);
    cloud.expect_frame(2004);
    cloud.host.expect_silence();
}

#[test]
fn numbers_of_messages_go_on_after_a_restart() {
    let mut cloud = Cloud::started(setup(json!({})));
    let first = cloud.expect_application().id.as_i64().unwrap();
    cloud.host.restart();
    let second = cloud.expect_application().id.as_i64().unwrap();
    assert_eq!((first, second), (1, 1001));
}

/// Not this device's login: with these settings, the device of [`setup_registered`] registers.
#[track_caller]
fn check_registers(with: Setup) {
    let mut cloud = Cloud::started(with);
    let application = cloud.expect_application();
    cloud.host.expect_silence();
    cloud.answer_application(&application, cloud.login.clone());
    cloud.host.expect_mqtt_connect();
    // What was stored has made room for it.
    cloud.host.restart();
    cloud.host.expect_mqtt_connect();
}

#[test]
fn the_login_of_another_device_or_platform_is_none() {
    let registered = setup_registered(json!({}));
    for changes in [
        json!({"dev_mac": "02005E102031"}),
        json!({"product_code": "P0002"}),
        json!({"environment": "test"}),
        json!({"host": "own"}),
        level(0),
    ] {
        let mut with = setup_of(product(), changes);
        with.stored.clone_from(&registered.stored);
        check_registers(with);
    }
}

#[test]
fn a_login_that_settings_have_completed_is_none_without_them() {
    let overridden = json!({"mqtt_user": "U2"});
    let mut cloud = Cloud::started(setup(overridden.clone()));
    let application = cloud.expect_application();
    cloud.answer_application(&application, merged(cloud.login.clone(), json!({"mqttUser": null})));
    cloud.come_online();
    cloud.host.restart();
    cloud.come_online();
    let mut with = setup(json!({}));
    with.stored.clone_from(&cloud.host.setup().stored);
    check_registers(with);
}

#[test]
fn a_damaged_store_is_an_empty_one() {
    let registered = setup_registered(json!({}));
    let login: Value = serde_json::from_slice(&registered.stored["login"]).unwrap();
    let mut damaged: Vec<Vec<u8>> =
        [&b""[..], b"\xFF\x00{", b"{}", b"[]", b"null", b"{\"device\":7}"].map(<[u8]>::to_vec).into();
    for (name, value) in [
        ("dev_id", json!("a/b")),
        ("mqtt_url", json!("http://h")),
        ("device_secret", json!("short")),
        ("user", json!(7)),
        ("keepalive_s", json!(0)),
    ] {
        let mut login = login.clone();
        assert!(login["login"].get(name).is_some(), "{login}");
        login["login"][name] = value;
        damaged.push(login.to_string().into_bytes());
    }
    for stored in damaged {
        let mut with = registered.clone();
        with.stored.insert("login".into(), stored);
        check_registers(with);
    }
    for mark in [&b"x"[..], b"-1", b"99999999999", b"[1]", b""] {
        let mut with = setup(json!({}));
        with.stored.insert("message_id_mark".into(), mark.to_vec());
        assert_eq!(Cloud::started(with).expect_application().id, 1);
    }
}

#[test]
fn a_store_that_fails_only_costs_another_registration() {
    let mut cloud = Cloud::started(setup(json!({})));
    cloud.host.fail_store(true);
    cloud.register();
    cloud.come_online();
    assert!(cloud.logged("could not be stored"));
    cloud.host.fail_store(false);
    cloud.host.restart();
    cloud.register();
    cloud.come_online();
}
