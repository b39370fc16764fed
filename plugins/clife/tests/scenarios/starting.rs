//! The start: settings that do not fit, and what of the product the platform cannot know.

use polylink_clife::session::ClifeSession;
use polylink_plugin_sdk::services::network::Interface;
use polylink_plugin_sdk::session::Phase;
use polylink_plugin_sdk::testing::{Setup, VirtualHost};
use polylink_plugin_sdk::{DatapointId, FaultCode, Value as Datum};
use serde_json::json;

use crate::scenarios::stage::{Cloud, DEV_KEY, DEV_MAC, product, setup, setup_of};

/// The session does not start, and says this.
#[track_caller]
fn check_refused(setup: Setup, code: FaultCode, says: &str) {
    let mut host = VirtualHost::new::<ClifeSession>(setup);
    let fault = host.try_start().unwrap_err();
    assert_eq!(fault.code, code);
    assert!(fault.message.contains(says) && !fault.message.contains(DEV_KEY), "{}", fault.message);
}

#[test]
fn settings_that_do_not_fit_keep_the_session_from_starting() {
    for (changes, says) in [
        (json!({"dev_key": null}), "dev_key"),
        (json!({"product_code": null}), "settings.product_code"),
        (json!({"auth_level": 0}), "settings.dev_id"),
        (json!({"dev_mac": "02005E10203"}), "settings.dev_mac"),
        (json!({"unknown": 1}), "unknown"),
    ] {
        check_refused(setup(changes), FaultCode::SETTINGS, says);
    }
}

#[test]
fn a_broken_product_keeps_the_session_from_starting() {
    check_refused(setup_of(json!({"product_key": 7}), json!({})), FaultCode::PRODUCT, "");
    let mut other = product();
    other["properties"][1]["type"] = json!("complex");
    check_refused(setup_of(other, json!({})), FaultCode::PRODUCT, "complex");
}

#[test]
fn each_authentication_level_has_to_be_complete() {
    for auth_level in [1, 2] {
        let changes = json!({"auth_level": auth_level, "product_code": null, "dev_id": "D1"});
        check_refused(setup(changes), FaultCode::SETTINGS, "settings.product_code");
    }
    // The topics need what the level does not.
    let changes = json!({"auth_level": 0, "dev_id": "D1", "product_code": null});
    check_refused(setup(changes), FaultCode::SETTINGS, "settings.product_code");
}

#[test]
fn the_address_of_the_first_interface_stands_in_for_a_missing_one() {
    let mut with = setup(json!({"dev_mac": null}));
    check_refused(with.clone(), FaultCode::SETTINGS, "settings.dev_mac");
    let interface = |mac| Interface { mac, ..Interface::default() };
    with.interfaces = vec![interface([0; 6]), interface([2, 0, 0x5E, 0x10, 0x20, 0x31]), interface([6; 6])];
    let mut cloud = Cloud::started(with);
    let application = cloud.expect_application();
    assert_eq!(application.body["devMac"], "02005E102031");
    cloud.answer_application(&application, cloud.login.clone());
    cloud.accept();
    cloud.grant_subscription();
    assert_eq!(cloud.expect_frame(2004).1["devMac"], "02005E102031");
    cloud.assert_fact("mac", "02005E102031");
}

#[test]
fn an_address_may_be_written_with_colons() {
    let application = Cloud::started(setup(json!({"dev_mac": "02:00:5E:10:20:30"}))).expect_application();
    assert_eq!(application.body["devMac"], DEV_MAC);
}

#[test]
fn properties_that_the_platform_cannot_know_are_named_in_the_log_and_the_status() {
    let mut product = product();
    let properties = &mut product["properties"];
    for (at, cloud_name) in [(1, "count"), (2, "03"), (4, "1")] {
        properties[at]["cloud_name"] = json!(cloud_name);
    }
    let mut cloud = Cloud::connected(setup_of(product, json!({})));
    assert!(cloud.logged("count, temperature, note"), "{:?}", cloud.host.logs());
    assert_eq!(cloud.fact("without_number"), Some("count temperature note"));
    let mut whole = Cloud::connected(setup(json!({})));
    assert_eq!(whole.fact("without_number"), None);
    assert!(!whole.logged("numbers"));
    // The others are told as ever.
    for cloud in [&mut cloud, &mut whole] {
        cloud.host.report([(DatapointId(0), Datum::Bool(true)), (DatapointId(3), Datum::Enum(1))]);
        assert_eq!(cloud.expect_frame(2006).1, json!({"params": [{"1": true}, {"4": 1}]}));
    }
}

#[test]
fn a_host_without_a_service_that_is_needed_is_told_so() {
    let mut with = setup(json!({}));
    with.services.retain(|service| *service != polylink_plugin_sdk::services::id::HTTP);
    check_refused(with, FaultCode::MISSING_SERVICE, "http");
}

#[test]
fn a_device_shows_where_it_stands_until_it_is_online() {
    let mut cloud = Cloud::started(setup(json!({})));
    let standing = |cloud: &Cloud| (cloud.host.status().phase, cloud.host.status().text.clone());
    assert_eq!(standing(&cloud), (Phase::Connecting, "registering".into()));
    cloud.register();
    assert_eq!(standing(&cloud), (Phase::Connecting, "connecting".into()));
    cloud.accept();
    assert_eq!(standing(&cloud), (Phase::Connecting, "subscribing".into()));
    cloud.grant_subscription();
    assert_eq!(standing(&cloud), (Phase::Connecting, "waiting for the platform's answer".into()));
    let (id, _) = cloud.expect_frame(2004);
    cloud.say(2005, &id, json!({"respCode": 0}));
    assert_eq!(standing(&cloud), (Phase::Online, "online".into()));
    cloud.host.stop();
    assert_eq!(cloud.host.status().phase, Phase::Offline);
}
