//! The start: settings that do not fit, what was stored before, and what a restart keeps.

use polylink_lierda::session::LierdaSession;
use polylink_plugin_sdk::FaultCode;
use polylink_plugin_sdk::services::id;
use polylink_plugin_sdk::session::Phase;
use polylink_plugin_sdk::testing::{Setup, VirtualHost};
use serde_json::{Value, json};

use crate::scenarios::stage::{Cloud, DEVICE_SECRET, PRODUCT_KEY, online, online_encrypted, product, setup, setup_of};

/// The session does not start, and says this.
#[track_caller]
fn check_refused(setup: Setup, code: FaultCode, says: &str) {
    let mut host = VirtualHost::new::<LierdaSession>(setup);
    let fault = host.try_start().unwrap_err();
    assert_eq!(fault.code, code);
    assert!(fault.message.contains(says), "{}", fault.message);
    assert!(!fault.message.contains(PRODUCT_KEY), "{}", fault.message);
}

#[test]
fn settings_that_do_not_fit_keep_the_session_from_starting() {
    for (changes, says) in [
        (json!({"broker_url": null}), "broker_url"),
        (json!({"product_key": null}), "product_key"),
        (json!({"open_id": "7ED01E2"}), "settings.open_id"),
        (json!({"node_eui": "a-b-c"}), "settings.node_eui"),
        (json!({"auth_type": 2}), "settings.device_secret"),
        (json!({"unknown": 1}), "unknown"),
    ] {
        check_refused(setup(changes), FaultCode::SETTINGS, says);
    }
}

#[test]
fn a_product_that_has_no_place_at_this_cloud_keeps_the_session_from_starting() {
    let mut named = product(false);
    named["actions"][0]["cloud_name"] = json!("turn/on");
    check_refused(setup_of(named, json!({})), FaultCode::PRODUCT, "turn/on");
    check_refused(setup_of(json!({"product_key": 7}), json!({})), FaultCode::PRODUCT, "");
}

#[test]
fn a_script_needs_a_host_that_runs_scripts() {
    let mut without = setup(json!({"product_kind": "hex", "script": "x"}));
    without.services.retain(|service| *service != id::SCRIPT);
    check_refused(without, FaultCode::SETTINGS, "settings.script");
}

#[test]
fn the_module_knows_the_number_of_the_device_if_the_settings_do_not() {
    let mut with = setup(json!({"node_eui": null}));
    with.facts.serial = "20MQTTJ000121".into();
    let mut cloud = Cloud::started(with);
    cloud.come_online();
    assert_eq!(cloud.host.status().phase, Phase::Online);
}

/// Something else was stored under this key; then the device authenticates, and is online.
#[track_caller]
fn check_forgotten(stored: Value) {
    check_forgotten_bytes(&json!({"encrypted": true}), stored.to_string().as_bytes());
}

#[track_caller]
fn check_forgotten_bytes(changes: &Value, stored: &[u8]) {
    let mut with = setup(changes.clone());
    with.stored.insert("enrolment".into(), stored.to_vec());
    let mut cloud = Cloud::started(with);
    assert!(cloud.accept().client_id.starts_with("AA30C505-"), "{}", String::from_utf8_lossy(stored));
    cloud.authenticate();
    cloud.come_online();
    assert_eq!(cloud.host.status().phase, Phase::Online);
}

#[test]
fn a_damaged_enrolment_is_none() {
    for stored in [&b""[..], b"\xFF\x00{", b"{}", b"[]", b"null", b"{\"device\":7}"] {
        check_forgotten_bytes(&json!({}), stored);
    }
    let device = "7ED01E2A-AA30C505-20MQTTJ000121";
    let session = json!({"id": "4655434B", "nonce": 128});
    check_forgotten(json!({"device": device, "device_secret": "short", "session": session}));
    check_forgotten(json!({"device": device, "device_secret": null, "session": session}));
    check_forgotten(json!({"device": device, "device_secret": DEVICE_SECRET, "session": null}));
    check_forgotten(json!({"device": device, "device_secret": DEVICE_SECRET, "session": {"id": 7, "nonce": 1}}));
    let bytes = json!({"encrypted": true, "session_content": "bytes"});
    let no_hex = json!({"device": device, "device_secret": DEVICE_SECRET, "session": {"id": "3788433", "nonce": 1}});
    check_forgotten_bytes(&bytes, no_hex.to_string().as_bytes());
}

#[test]
fn the_enrolment_of_another_device_is_none() {
    for device in
        ["7ED01E2A-AA30C505-20MQTTJ000122", "7ED01E2A-AA30C506-20MQTTJ000121", "00000000-AA30C505-20MQTTJ000121"]
    {
        check_forgotten(json!({
            "device": device, "device_secret": DEVICE_SECRET, "session": {"id": "4655434B", "nonce": 128},
        }));
    }
}

#[test]
fn other_damaged_values_count_as_absent() {
    for value in [&b"\xFF\x00{"[..], b"{}", b"-7", b"9999999999999", b"\"x\"", b"{\"broker\":\"x\",\"proven\":true}"] {
        let mut with = setup(json!({"allow_broker_change": true}));
        for key in ["message_id_mark", "broker", "order"] {
            with.stored.insert(key.into(), value.to_vec());
        }
        let mut cloud = Cloud::online(with);
        assert_eq!((cloud.fact("update"), cloud.fact("broker_configured")), (None, None));
        cloud.report(1);
        cloud.expect("model/property/report", 16);
    }
}

#[test]
fn a_restart_needs_no_authentication_and_goes_on_with_other_names() {
    let mut cloud = online_encrypted(json!({}));
    cloud.report(1);
    let before = cloud.expect_sealed("model/property/report", 16).0.as_u64().unwrap();
    for _ in 0..3 {
        cloud.host.restart();
        assert!(cloud.accept().client_id.starts_with("V2_"));
        cloud.grant_subscriptions();
        cloud.answer_start();
        cloud.report(2);
        let id = cloud.expect_sealed("model/property/report", 16).0.as_u64().unwrap();
        assert!(id > before && id <= 2_147_483_647, "{before} {id}");
    }
}

#[test]
fn names_begin_at_one_again_after_the_last() {
    let mut with = setup(json!({"device_secret": DEVICE_SECRET}));
    with.stored.insert("message_id_mark".into(), b"2147483646".to_vec());
    let mut cloud = Cloud::connected(with);
    let ids = [cloud.expect("firmware_report", 8).id, cloud.expect("update_time", 29).id];
    assert_eq!(ids, [json!(2_147_483_647), json!(1)]);
}

#[test]
fn a_store_that_cannot_write_is_told_and_does_not_stop_the_session() {
    let mut cloud = Cloud::started(setup(json!({"encrypted": true})));
    cloud.host.fail_store(true);
    cloud.come_online();
    cloud.answer_start();
    assert!(cloud.logged("could not be stored"));
    cloud.report(1);
    cloud.expect_sealed("model/property/report", 16);
    // It has to authenticate again after a restart.
    cloud.host.restart();
    assert!(cloud.accept().client_id.starts_with("AA30C505-"));
}

#[test]
fn what_happens_at_the_module_and_means_nothing_here_is_told() {
    let mut cloud = online(json!({}));
    cloud.host.module_event(polylink_plugin_sdk::services::module::Event::Unbind);
    cloud.host.module_event(polylink_plugin_sdk::services::module::Event::BindWindow(60));
    cloud.host.module_event(polylink_plugin_sdk::services::module::Event::Reset);
    cloud.host.expect_silence();
    assert!(cloud.logged("no bond"));
}
