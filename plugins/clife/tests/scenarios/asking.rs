//! The device asks the platform for an upgrade.

use polylink_plugin_sdk::ClockQuality;
use polylink_plugin_sdk::services::ota::{Failure, Phase, Request, Update};
use serde_json::{Value, json};

use crate::scenarios::stage::{Cloud, online, setup};

/// The next thing that the platform is told of files, which the broker takes.
#[track_caller]
fn told(cloud: &mut Cloud) -> (i64, String) {
    let sent = cloud.expect(2018);
    assert!(sent.id.as_i64().unwrap() < 900_000, "it is a request of the device: {}", sent.id);
    cloud.host.published(sent.publish.id);
    (sent.body["respCode"].as_i64().unwrap(), sent.body["respCont"].as_str().unwrap().to_owned())
}

#[track_caller]
fn check(setting: &str, asked: &str) {
    let mut cloud = Cloud::connected(setup(json!({"ota_ask": setting})));
    assert_eq!(told(&mut cloud), (2, asked.to_owned()));
    cloud.host.expect_silence();
}

#[test]
fn a_device_asks_for_what_the_settings_say() {
    check("all", "ALL");
    check("firm", "FIRM");
    check("subfirm", "SUBFIRM");
    online(json!({})).host.expect_silence();
}

#[test]
fn it_asks_once_a_day_also_over_restarts() {
    let mut cloud = Cloud::connected(setup(json!({"ota_ask": "firm"})));
    told(&mut cloud);
    for hours in [1, 22] {
        cloud.host.advance(hours * 3_600_000);
        cloud.host.take_outputs();
        cloud.host.restart();
        cloud.come_online();
        cloud.host.expect_silence();
    }
    cloud.host.advance(3_600_000);
    assert_eq!(told(&mut cloud), (2, "FIRM".to_owned()));
}

#[test]
fn while_an_upgrade_goes_on_it_does_not_ask() {
    let mut cloud = Cloud::connected(setup(json!({"ota_ask": "all"})));
    told(&mut cloud);
    let order: Value = json!({"fileMode": "DOWN", "productVer": 2, "startTime": 90_000, "fileInfo": [{
        "fileType": "FIRM", "software": "3.0", "hardware": "1.0", "url": "http://h/f", "checkSum": 1,
        "md5": "d41d8cd98f00b204e9800998ecf8427e"}]});
    cloud.ask(2019, order);
    let Request::Offer(offer) = cloud.host.expect_ota() else { panic!("no offer") };
    let update = Update { id: offer.id, version: offer.version, ..Update::default() };
    cloud.host.updates_changed(vec![update.clone()]);
    cloud.host.advance(86_400_000);
    cloud.host.expect_silence();
    cloud.host.updates_changed(vec![Update { phase: Phase::Failed(Failure::Policy), ..update.clone() }]);
    let failed = cloud.expect(2018);
    assert_eq!(failed.body["respCode"], -1);
    cloud.host.published(failed.publish.id);
    assert_eq!(cloud.host.expect_ota(), Request::Acknowledge(update.id));
    assert_eq!(told(&mut cloud), (2, "ALL".to_owned()));
}

#[test]
fn a_clock_that_was_set_back_does_not_keep_it_from_asking() {
    let mut cloud = Cloud::connected(setup(json!({"ota_ask": "all"})));
    told(&mut cloud);
    cloud.host.set_wall(0, ClockQuality::SYNCED);
    cloud.host.restart();
    cloud.come_online();
    assert_eq!(told(&mut cloud), (2, "ALL".to_owned()));
}
