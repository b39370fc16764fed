//! Which orders are taken, and what the host is told of them; what becomes of them at a host that installs none.

use polylink_plugin_sdk::services::ota::{Digest, Offer, Target};
use polylink_plugin_sdk::services::{id, module};
use polylink_plugin_sdk::testing::Setup;
use serde_json::json;

use super::{answer_version, expect_offer, order, restart, say_order};
use crate::scenarios::firmware::facts;
use crate::scenarios::stage::{Cloud, online, setup};

fn host_without_updates() -> Setup {
    let mut setup = setup(json!({}));
    setup.services.retain(|service| *service != id::OTA);
    setup
}

#[test]
fn an_order_becomes_an_offer_of_its_module() {
    let md5 = [0x0C, 0xC1, 0x75, 0xB9, 0xC0, 0xF1, 0xB6, 0xA8, 0x31, 0xC3, 0x99, 0xE2, 0x69, 0x77, 0x26, 0x61];
    let mut cloud = online(json!({}));
    say_order(&mut cloud, order(json!({})));
    let expected = Offer {
        id: "default/33367341".into(),
        target: Target::Mcu,
        version: "2.0".into(),
        url: "http://files/fw.bin?DownID=33367341".into(),
        size: 1_000,
        digests: vec![Digest::Md5(md5)],
        ..Offer::default()
    };
    assert_eq!(expect_offer(&mut cloud), expected);
    cloud.host.expect_silence();
    let check = |whose: &str, mcu: &str, target: Target| {
        let mut setup = setup(json!({"modules": {"part/1": whose}, "down_id_in": "header"}));
        setup.facts = module::Facts { mcu_software: mcu.into(), ..facts("") };
        let mut cloud = Cloud::connected(setup);
        say_order(&mut cloud, order(json!({"Module": "part/1"})));
        let offer = expect_offer(&mut cloud);
        assert_eq!((offer.id.as_str(), offer.target), ("part/1/33367341", target), "{whose}");
        assert_eq!((offer.url.as_str(), offer.headers), ("http://files/fw.bin", vec!["DownID: 33367341".to_owned()]));
    };
    check("mcu", "1.0", Target::Mcu);
    check("device", "1.0", Target::Mcu);
    check("device", "", Target::Module);
    check("module", "1.0", Target::Module);
}

#[test]
fn versions_are_equal_or_not_and_an_older_one_is_another_one() {
    let check = |version: &str, wanted: bool| {
        let mut cloud = online(json!({}));
        say_order(&mut cloud, order(json!({"SoftVer": version})));
        if wanted {
            assert_eq!(expect_offer(&mut cloud).version, version);
        } else {
            // Which is what the platform waits for.
            assert_eq!(answer_version(&mut cloud, 200), version);
        }
        cloud.host.expect_silence();
    };
    check("1.0", false);
    for version in ["0.9", "1.00", "1.0 ", "v1.0", "2.0"] {
        check(version, true);
    }
}

#[test]
fn an_order_that_cannot_be_carried_out_is_acknowledged_and_answered_by_the_version_that_runs() {
    let changes = json!({"ota_allowed_hosts": ["files"], "ota_max_bytes": 1_000});
    for change in [
        json!({"Type": 1}),
        json!({"Type": null}),
        json!({"Module": "unknown"}),
        json!({"Module": 7}),
        json!({"Url": "ftp://files/fw"}),
        json!({"Url": "http://elsewhere/fw"}),
        json!({"Url": null}),
        json!({"Url": 7}),
        json!({"SoftVer": null}),
        json!({"SoftVer": ""}),
        json!({"SoftSize": 0}),
        json!({"SoftSize": -1}),
        json!({"SoftSize": 1001}),
        json!({"SoftSize": "many"}),
        json!({"MD5": 1}),
        json!({"MD5": null}),
        json!({"MD5": "0CC1"}),
        json!({"DownID": "x".repeat(121)}),
    ] {
        let mut cloud = online(changes.clone());
        say_order(&mut cloud, order(change.clone()));
        assert_eq!(cloud.expect_frame("firmware_report", 8).1["SoftVer"], "1.0", "{change}");
        cloud.host.expect_silence();
        cloud.host.advance(1_000);
        assert_eq!((cloud.fact("update"), cloud.fact("orders_refused")), (None, Some("1")), "{change}");
    }
    let mut cloud = online(json!({"ota_require_md5": false}));
    say_order(&mut cloud, order(json!({"MD5": 1})));
    let offer = expect_offer(&mut cloud);
    assert_eq!((offer.size, offer.digests), (1_000, vec![]));
}

#[test]
fn an_order_without_a_down_id_is_dropped_without_a_word() {
    let mut cloud = online(json!({}));
    let long = "x".repeat(10_000);
    for order in [
        order(json!({"DownID": null})),
        order(json!({"DownID": 7})),
        order(json!({"DownID": ""})),
        json!("x"),
        json!([]),
    ] {
        cloud.say("ota_notify", 9, order);
    }
    cloud.say("ota_notify", 9, order(json!({"DownID": long})));
    cloud.say_bytes("ota_notify", r#"{"MessageId":1,"HeaderCtrl":9}"#);
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    cloud.assert_fact("input_dropped", "7");
}

#[test]
fn without_the_service_an_order_is_kept_until_its_version_runs() {
    let mut cloud = Cloud::online(host_without_updates());
    say_order(&mut cloud, order(json!({})));
    say_order(&mut cloud, order(json!({"SoftVer": "2.1"})));
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    cloud.assert_fact("update", "update 2.0 available, but this host installs none");
    cloud.assert_fact("update_module", "default");
    restart(&mut cloud);
    cloud.assert_fact("update", "2.0");
    cloud.answer_start();
    say_order(&mut cloud, order(json!({"SoftVer": "3.0", "DownID": "other"})));
    cloud.host.advance(1_000);
    cloud.assert_fact("update", "3.0");
    cloud.host.facts_changed(facts("3.0"));
    assert_eq!(answer_version(&mut cloud, 200), "3.0");
    assert_eq!((cloud.fact("update"), cloud.host.stored("order")), (None, None));
    // The platform has changed its mind: what runs is right.
    say_order(&mut cloud, order(json!({"SoftVer": "4.0", "DownID": "third"})));
    say_order(&mut cloud, order(json!({"SoftVer": "3.0", "DownID": "fourth"})));
    cloud.host.advance(1_000);
    assert_eq!((cloud.fact("update"), cloud.host.stored("order")), (None, None));
}

#[test]
fn without_the_service_an_order_whose_version_runs_after_the_restart_is_done() {
    let mut cloud = Cloud::online(host_without_updates());
    say_order(&mut cloud, order(json!({})));
    cloud.host.setup().facts = facts("2.0");
    restart(&mut cloud);
    assert_eq!((cloud.fact("update"), cloud.host.stored("order")), (None, None));
    assert_eq!(answer_version(&mut cloud, 200), "2.0");
}

#[test]
fn an_order_from_a_host_that_installed_none_goes_to_one_that_does() {
    let mut cloud = Cloud::online(host_without_updates());
    say_order(&mut cloud, order(json!({})));
    cloud.host.setup().services.push(id::OTA);
    cloud.host.restart();
    assert_eq!(expect_offer(&mut cloud).id, "default/33367341");
    assert_eq!(cloud.host.stored("order"), None);
}
