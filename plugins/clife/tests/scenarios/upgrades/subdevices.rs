//! Upgrades of the devices behind the MCU, which are parts of this one under numbers of their own.

use polylink_plugin_sdk::services::ota::{Failure, Phase, Request, Target, Update};
use polylink_plugin_sdk::services::subdevices::Subdevice;
use serde_json::{Value, json};

use super::{expect_offer, expect_told, file, module_upgrade, told, update_of, upgrade};
use crate::scenarios::stage::{Cloud, merged, online, setup};

/// A subdevice that belongs to the gateway, which reaches it.
fn sensor(index: u32, version: &str) -> Subdevice {
    let address = format!("0011{index:02}");
    Subdevice { index, version: version.to_owned(), address, accepted: true, online: true, ..Subdevice::default() }
}

/// Online, with these behind it.
#[track_caller]
fn gateway(settings: Value, behind: Vec<Subdevice>) -> Cloud {
    let mut setup = setup(settings);
    setup.subdevices = behind;
    Cloud::online(setup)
}

/// Firmware for whatever has this number, at its own address. Subdevices have no hardware that anybody knew.
fn firmware(dev_num: u32, software: &str) -> Value {
    merged(file("SUBFIRM", dev_num, software), json!({"url": format!("http://open.clife.cn/{dev_num}.bin")}))
}

/// The parts of which versions are told, with the number and the software of each.
#[track_caller]
fn parts(body: &Value) -> Vec<(u64, String)> {
    let parts = body["devVer"].as_array().unwrap().iter();
    parts.map(|part| (part["devNum"].as_u64().unwrap(), part["software"].as_str().unwrap().to_owned())).collect()
}

/// What the platform hears to its question for versions.
#[track_caller]
fn asked_for_versions(cloud: &mut Cloud) -> Value {
    let id = cloud.ask(2019, json!({"fileMode": "QUERY"}));
    let (answered, body) = cloud.expect_frame(2018);
    assert_eq!(answered, id);
    body
}

/// An order for this number is refused with these words, and nothing is offered.
#[track_caller]
fn check_refused(behind: Vec<Subdevice>, dev_num: u32, why: &str) {
    let mut cloud = gateway(json!({}), behind);
    let order = cloud.ask(2019, upgrade(&[firmware(dev_num, "2.0")]));
    assert_eq!(told(&mut cloud, &order), (-1, why.to_owned()));
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    cloud.assert_fact("files_refused", "1");
}

#[track_caller]
fn becomes(cloud: &mut Cloud, update: &Update, phase: Phase) {
    cloud.host.updates_changed(vec![Update { phase, percent: 1, ..update.clone() }]);
}

#[test]
fn versions_of_subdevices_follow_that_of_the_mcu() {
    let asks_to_join = Subdevice { accepted: false, ..sensor(5, "0.9") };
    let is_away = Subdevice { online: false, ..sensor(64, "1.4") };
    let behind = vec![sensor(1, "1.2"), sensor(2, ""), asks_to_join, is_away];
    let mut cloud = gateway(json!({}), behind);
    let body = asked_for_versions(&mut cloud);
    assert_eq!(body["devVer"][2], json!({"software": "1.2", "hardware": "", "devNum": 2}));
    let versions = [(0, "3.0.0.1"), (1, "1.0.2.0"), (2, "1.2"), (65, "1.4")];
    assert_eq!(parts(&body), versions.map(|(number, software)| (number, software.to_owned())));
    cloud.host.subdevices_changed(vec![sensor(3, "7")]);
    assert_eq!(parts(&asked_for_versions(&mut cloud))[2..], [(4, "7".to_owned())]);
}

#[test]
fn the_settings_say_which_number_is_that_of_the_first_subdevice() {
    for (settings, number) in [
        (json!({}), 4),
        (json!({"mcu_dev_num": 9}), 12),
        (json!({"subdevice_dev_num": 100}), 102),
        (json!({"mcu_dev_num": 65, "subdevice_dev_num": 1}), 3),
    ] {
        let mut cloud = gateway(settings.clone(), vec![sensor(3, "1.0")]);
        cloud.ask(2019, upgrade(&[firmware(number, "2.0")]));
        assert_eq!(expect_offer(&mut cloud).target, Target::Subdevice(3), "{settings}");
    }
}

#[test]
fn firmware_of_a_subdevice_is_offered_and_told_of_like_any_other() {
    let mut cloud = gateway(json!({}), vec![sensor(3, "1.0")]);
    let order = cloud.ask(2019, upgrade(&[firmware(4, "2.0")]));
    let offer = expect_offer(&mut cloud);
    assert_eq!((offer.target, offer.version.as_str()), (Target::Subdevice(3), "2.0"));
    assert_eq!((offer.url.as_str(), offer.digests.len()), ("http://open.clife.cn/4.bin", 2));
    let update = update_of(&offer);
    becomes(&mut cloud, &update, Phase::Downloading);
    expect_told(&mut cloud, &order, &[(1, "1")]);
    becomes(&mut cloud, &update, Phase::Installing);
    expect_told(&mut cloud, &order, &[(1, "100"), (0, "1")]);
    // It is away while it starts anew, which is no harm.
    cloud.host.subdevices_changed(vec![Subdevice { online: false, ..sensor(3, "1.0") }]);
    cloud.host.expect_silence();
    becomes(&mut cloud, &update, Phase::Finished);
    expect_told(&mut cloud, &order, &[(0, "100")]);
    assert_eq!(cloud.host.expect_ota(), Request::Acknowledge(update.id));
    let early = cloud.expect(2018);
    assert_eq!((&early.body["productVer"], parts(&early.body)[2].clone()), (&json!(2), (4, "1.0".to_owned())));
    cloud.host.published(early.publish.id);
    cloud.host.updates_changed(vec![]);
    cloud.host.subdevices_changed(vec![sensor(3, "2.0")]);
    assert_eq!(parts(&cloud.expect(2018).body)[2], (4, "2.0".to_owned()));
}

#[test]
fn a_subdevice_that_has_the_firmware_is_not_given_it_again() {
    let mut cloud = gateway(json!({}), vec![sensor(3, "1.0")]);
    let order = cloud.ask(2019, merged(upgrade(&[firmware(4, "01")]), json!({"productVer": 1})));
    assert_eq!(told(&mut cloud, &order), (3, "ver".to_owned()));
    let mut cautious = gateway(json!({"ota_allow_downgrade": false}), vec![sensor(3, "1.0.0.3")]);
    let order = cautious.ask(2019, upgrade(&[firmware(4, "1.0.0.2")]));
    assert_eq!(told(&mut cautious, &order), (-1, "downgrade refused".to_owned()));
}

#[test]
fn a_subdevice_that_has_told_no_version_can_be_given_one() {
    let mut cloud = gateway(json!({}), vec![sensor(3, "")]);
    cloud.ask(2019, upgrade(&[firmware(4, "1")]));
    assert_eq!(expect_offer(&mut cloud).target, Target::Subdevice(3));
}

#[test]
fn one_that_is_not_there_does_not_belong_here_or_is_out_of_reach_is_refused_with_the_reason() {
    check_refused(vec![], 2, "unknown devNum");
    check_refused(vec![sensor(3, "1.0")], 5, "unknown devNum");
    check_refused(vec![sensor(3, "1.0")], 400, "unknown devNum");
    check_refused(vec![Subdevice { accepted: false, ..sensor(3, "1.0") }], 4, "unknown devNum");
    check_refused(vec![Subdevice { online: false, ..sensor(3, "1.0") }], 4, "the subdevice is offline");
}

#[test]
fn a_failure_of_a_subdevice_is_told_as_that_of_any_part() {
    for (failure, expected) in [
        (Failure::Install, &[(1, "1"), (1, "100"), (0, "1"), (-1, "1")][..]),
        (Failure::Unsupported, &[(-1, "this device cannot install it")]),
        (Failure::Digest, &[(1, "1"), (1, "100"), (-1, "2")]),
    ] {
        let mut cloud = gateway(json!({}), vec![sensor(3, "1.0")]);
        let order = cloud.ask(2019, upgrade(&[firmware(4, "2.0")]));
        let update = update_of(&expect_offer(&mut cloud));
        becomes(&mut cloud, &update, Phase::Failed(failure));
        expect_told(&mut cloud, &order, expected);
        assert_eq!(cloud.host.expect_ota(), Request::Acknowledge(update.id));
    }
}

#[test]
fn firmware_of_one_that_leaves_is_taken_back() {
    let another = Subdevice { address: "other".to_owned(), ..sensor(3, "1.0") };
    let asks_again = Subdevice { accepted: false, ..sensor(3, "1.0") };
    for after in [vec![], vec![another], vec![asks_again]] {
        let mut cloud = gateway(json!({}), vec![sensor(3, "1.0")]);
        let order = cloud.ask(2019, upgrade(&[firmware(4, "2.0")]));
        let update = update_of(&expect_offer(&mut cloud));
        becomes(&mut cloud, &update, Phase::Downloading);
        expect_told(&mut cloud, &order, &[(1, "1")]);
        cloud.host.subdevices_changed(after);
        assert_eq!(cloud.host.expect_ota(), Request::Cancel(update.id.clone()));
        becomes(&mut cloud, &update, Phase::Failed(Failure::Cancelled));
        expect_told(&mut cloud, &order, &[(-1, "1")]);
    }
}

#[test]
fn news_of_others_do_not_disturb_an_upgrade() {
    let mut cloud =
        gateway(json!({}), vec![sensor(2, "1.0"), Subdevice { address: String::new(), ..sensor(3, "1.0") }]);
    cloud.ask(2019, upgrade(&[firmware(4, "2.0")]));
    expect_offer(&mut cloud);
    // Its address becomes known, and another one leaves.
    cloud.host.subdevices_changed(vec![sensor(3, "1.0"), sensor(7, "1.0")]);
    cloud.host.expect_silence();
}

/// Two subdevices are to be upgraded; when the first is, this has happened to the second, and the operation ends so.
#[track_caller]
fn check_second(meanwhile: Vec<Vec<Subdevice>>, why: &str) {
    let mut cloud = gateway(json!({}), vec![sensor(1, "1.0"), sensor(2, "1.0")]);
    let order = cloud.ask(2019, upgrade(&[firmware(2, "2.0"), firmware(3, "2.0")]));
    let update = update_of(&expect_offer(&mut cloud));
    becomes(&mut cloud, &update, Phase::Installing);
    expect_told(&mut cloud, &order, &[(1, "1"), (1, "50")]);
    for list in meanwhile {
        cloud.host.subdevices_changed(list);
    }
    cloud.host.advance(2_000);
    becomes(&mut cloud, &update, Phase::Finished);
    expect_told(&mut cloud, &order, &[(-1, why)]);
    assert_eq!(cloud.host.expect_ota(), Request::Acknowledge(update.id));
    // The first one runs all the same.
    let versions = cloud.expect(2018).body;
    assert_eq!((&versions["respCode"], &versions["productVer"]), (&json!(3), &json!(1)));
}

#[test]
fn one_whose_turn_comes_later_is_looked_for_again_then() {
    let away = Subdevice { online: false, ..sensor(2, "1.0") };
    check_second(vec![vec![sensor(1, "1.0"), away]], "the subdevice is offline");
    check_second(vec![vec![sensor(1, "1.0")]], "unknown devNum");
    let another = Subdevice { address: "other".to_owned(), ..sensor(2, "1.0") };
    check_second(vec![vec![sensor(1, "1.0")], vec![sensor(1, "1.0"), another]], "unknown devNum");
}

#[test]
fn an_upgrade_of_a_subdevice_goes_on_after_a_restart_before_the_mcu_has_spoken() {
    let mut cloud = gateway(json!({}), vec![sensor(1, "1.0"), sensor(2, "1.0")]);
    let order = cloud.ask(2019, upgrade(&[firmware(2, "2.0"), firmware(3, "2.0")]));
    let first = update_of(&expect_offer(&mut cloud));
    cloud.host.updates_changed(vec![first.clone()]);
    let mut setup = cloud.host.setup().clone();
    setup.subdevices.clear();
    cloud = Cloud::started(setup);
    cloud.come_online();
    cloud.host.updates_changed(vec![Update { phase: Phase::Finished, ..first.clone() }]);
    expect_told(&mut cloud, &order, &[(1, "1"), (1, "50")]);
    let second = expect_offer(&mut cloud);
    assert_eq!(second.target, Target::Subdevice(2));
    cloud.host.subdevices_changed(vec![sensor(1, "2.0")]);
    cloud.host.subdevices_changed(vec![sensor(1, "2.0"), sensor(2, "1.0")]);
    let done = Update { phase: Phase::Finished, ..update_of(&second) };
    cloud.host.updates_changed(vec![Update { phase: Phase::Finished, ..first }, done]);
    expect_told(&mut cloud, &order, &[(1, "100"), (0, "1"), (0, "100")]);
}

#[test]
fn module_mcu_and_subdevice_are_one_operation() {
    let mut cloud = gateway(json!({}), vec![sensor(1, "1.0")]);
    let mut request = module_upgrade();
    let files = request["fileInfo"].as_array_mut().unwrap();
    files.extend([file("SUBFIRM", 1, "1.1.0.0"), firmware(2, "2.0")]);
    let order = cloud.ask(2019, request);
    let mut updates = Vec::new();
    for target in [Target::Module, Target::Mcu, Target::Subdevice(1)] {
        let offer = expect_offer(&mut cloud);
        assert_eq!(offer.target, target);
        updates.push(Update { phase: Phase::Finished, ..update_of(&offer) });
        cloud.host.advance(2_000);
        cloud.host.updates_changed(updates.clone());
    }
    expect_told(&mut cloud, &order, &[(1, "1"), (1, "33"), (1, "66"), (1, "100"), (0, "1"), (0, "100")]);
}

#[test]
fn one_correction_of_the_versions_is_on_its_way_at_a_time() {
    let mut cloud = gateway(json!({}), vec![sensor(1, "1.0")]);
    let order = cloud.ask(2019, upgrade(&[firmware(2, "9.0")]));
    let update = update_of(&expect_offer(&mut cloud));
    becomes(&mut cloud, &update, Phase::Finished);
    expect_told(&mut cloud, &order, &[(1, "1"), (1, "100"), (0, "1"), (0, "100")]);
    let first = cloud.expect(2018);
    cloud.host.take_outputs();
    for version in ["2.0", "5.0", "9.0"] {
        cloud.host.subdevices_changed(vec![sensor(1, version)]);
        cloud.host.expect_silence();
    }
    cloud.host.published(first.publish.id);
    let last = cloud.expect(2018);
    assert_eq!(parts(&last.body)[2], (2, "9.0".to_owned()));
    cloud.host.published(last.publish.id);
    cloud.host.expect_silence();
}

#[test]
fn a_device_without_a_gateway_has_no_such_parts() {
    let mut cloud = online(json!({}));
    assert_eq!(parts(&asked_for_versions(&mut cloud)).len(), 2);
}
