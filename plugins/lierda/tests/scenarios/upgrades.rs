//! Orders of other firmware (9): how the platform hears what becomes of them. `orders`: which are taken, and as what ·
//! `others`: the same one again, and several · `in_the_end`: whatever comes.

mod in_the_end;
mod orders;
mod others;

use polylink_plugin_sdk::services::ota::{Failure, Offer, Phase, Request, Target, Update};
use serde_json::{Value, json};

use super::firmware::facts;
use super::stage::{Cloud, online, setup};

const DAY_MS: u64 = 86_400_000;
/// For new firmware to say its version.
const VERSION_MS: u64 = 60_000;

/// A usual order with these members changed; null removes one.
fn order(changes: Value) -> Value {
    let mut order = json!({
        "Type": 2, "Url": "http://files/fw.bin", "SoftVer": "2.0", "SoftSize": 1000,
        "MD5": "0CC175B9C0F1B6A831C399E269772661", "DownID": "33367341", "firmwareName": "固件.bin",
    });
    for (key, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(order.as_object_mut().unwrap().remove(key)),
            value => order[key] = value.clone(),
        }
    }
    order
}

/// The order is acknowledged by its DownID and its name.
#[track_caller]
fn say_order(cloud: &mut Cloud, order: Value) {
    let down_id = order["DownID"].clone();
    let id = cloud.say("ota_notify", 9, order);
    assert_eq!(cloud.expect_frame("ota_notify_ack", 9), (id, json!({"DownID": down_id})));
}

#[track_caller]
fn expect_offer(cloud: &mut Cloud) -> Offer {
    match cloud.host.expect_ota() {
        Request::Offer(offer) => *offer,
        other => panic!("{other:?}"),
    }
}

/// The host has this offer, in this phase.
fn update(offer: &Offer, phase: Phase) -> Update {
    let reason = if matches!(phase, Phase::Failed(_)) { "because".to_owned() } else { String::new() };
    let (id, version) = (offer.id.clone(), offer.version.clone());
    Update { id, target: offer.target, version, phase, percent: 40, reason }
}

fn acknowledge(offer: &Offer) -> Request {
    Request::Acknowledge(offer.id.clone())
}

/// Online, with an order that the host has in this phase.
#[track_caller]
fn ordered(phase: Phase) -> (Cloud, Offer) {
    let mut cloud = online(json!({}));
    say_order(&mut cloud, order(json!({})));
    let offer = expect_offer(&mut cloud);
    cloud.host.updates_changed(vec![update(&offer, phase)]);
    (cloud, offer)
}

/// The next version that is told, acknowledged with this code.
#[track_caller]
fn answer_version(cloud: &mut Cloud, code: i64) -> Value {
    let (id, payload) = cloud.expect_frame("firmware_report", 8);
    cloud.ack("firmware_report_ack", 8, &id, code);
    payload["SoftVer"].clone()
}

/// Online again, at the moment; what is told of the time is not looked at.
#[track_caller]
fn restart(cloud: &mut Cloud) {
    cloud.host.restart();
    cloud.come_online();
}

#[test]
fn how_far_it_is_is_shown_and_the_version_kept_back_unless_the_platform_asks() {
    for (phase, shown) in [
        (Phase::Waiting, "2.0: waiting"),
        (Phase::Downloading, "2.0: loading, 40 %"),
        (Phase::Installing, "2.0: being installed"),
    ] {
        let (mut cloud, offer) = ordered(phase);
        cloud.host.advance(1_000);
        cloud.assert_fact("update", shown);
        cloud.assert_fact("update_module", "default");
        cloud.host.advance(DAY_MS);
        assert_eq!(cloud.count("firmware_report"), 0, "{phase:?}");
        cloud.cut();
        cloud.reconnect();
        assert_eq!(cloud.count("firmware_report"), 0, "{phase:?}");
        let id = cloud.say("ask_firmware", 13, json!(""));
        assert_eq!(cloud.expect_frame("firmware_report", 8).0, id);
        // That says nothing of the order's end.
        cloud.ack("firmware_report_ack", 8, &id, 200);
        cloud.host.expect_silence();
        cloud.host.updates_changed(vec![update(&offer, Phase::Failed(Failure::Download))]);
        assert_eq!(answer_version(&mut cloud, 200), "1.0");
        assert_eq!(cloud.host.expect_ota(), acknowledge(&offer));
        cloud.host.advance(1_000);
        assert_eq!(cloud.fact("update"), None);
    }
}

#[test]
fn a_success_is_told_by_the_new_version_once_the_host_is_sure_of_it() {
    let (mut cloud, offer) = ordered(Phase::Installing);
    cloud.host.facts_changed(facts("2.0"));
    cloud.host.expect_silence();
    cloud.host.updates_changed(vec![update(&offer, Phase::Finished)]);
    assert_eq!(answer_version(&mut cloud, 200), "2.0");
    assert_eq!(cloud.host.expect_ota(), acknowledge(&offer));
    cloud.host.updates_changed(vec![]);
    cloud.host.advance(VERSION_MS);
    cloud.host.expect_silence();
    assert!(cloud.logged("update 2.0 of module `default` is installed"));
}

#[test]
fn firmware_that_was_installed_has_a_minute_to_say_its_version() {
    let (mut cloud, offer) = ordered(Phase::Finished);
    cloud.host.advance(VERSION_MS - 1);
    cloud.host.expect_silence();
    cloud.host.facts_changed(facts("2.0"));
    assert_eq!(answer_version(&mut cloud, 200), "2.0");
    assert_eq!(cloud.host.expect_ota(), acknowledge(&offer));
    let (mut cloud, offer) = ordered(Phase::Finished);
    cloud.host.advance(VERSION_MS);
    assert_eq!(answer_version(&mut cloud, 200), "1.0");
    assert_eq!(cloud.host.expect_ota(), acknowledge(&offer));
    assert!(cloud.logged("does not call itself 2.0"));
}

#[test]
fn a_version_told_before_the_order_is_not_repeated_as_it_would_be_taken_for_the_outcome() {
    let mut cloud = Cloud::connected(setup(json!({})));
    let told = cloud.expect("firmware_report", 8);
    say_order(&mut cloud, order(json!({})));
    let offer = expect_offer(&mut cloud);
    cloud.host.updates_changed(vec![update(&offer, Phase::Downloading)]);
    cloud.host.advance(1_000);
    cloud.ack("firmware_report_ack", 8, &told.id, 200);
    let mut silent = Cloud::connected(setup(json!({})));
    say_order(&mut silent, order(json!({})));
    silent.host.updates_changed(vec![update(&offer, Phase::Downloading)]);
    assert_eq!(silent.count("firmware_report"), 1);
    for cloud in [&mut cloud, &mut silent] {
        cloud.host.advance(60_000);
        assert_eq!(cloud.count("firmware_report"), 0);
        assert_eq!((cloud.fact("answers_unmatched"), cloud.fact("firmware_reports_unanswered")), (None, None));
    }
}

#[test]
fn each_failure_is_told_by_the_old_version() {
    for (failure, words) in [
        (Failure::Other, "it failed"),
        (Failure::Unsupported, "cannot install"),
        (Failure::Policy, "rules forbid"),
        (Failure::Download, "could not be loaded"),
        (Failure::Digest, "not what was promised"),
        (Failure::Space, "too large"),
        (Failure::Install, "could not be installed"),
        (Failure::TooLate, "time was over"),
    ] {
        let (mut cloud, offer) = ordered(Phase::Failed(failure));
        assert!(cloud.logged("because"));
        cloud.host.advance(1_000);
        cloud.assert_fact("update", "2.0: failed, because");
        assert_eq!(answer_version(&mut cloud, 200), "1.0", "{failure:?}");
        assert_eq!(cloud.host.expect_ota(), acknowledge(&offer));
        let mut cloud = online(json!({}));
        say_order(&mut cloud, order(json!({})));
        let failed = Update { reason: String::new(), ..update(&offer, Phase::Failed(failure)) };
        cloud.host.updates_changed(vec![failed]);
        assert!(cloud.logged(words), "{failure:?}");
    }
}

#[test]
fn an_end_is_acknowledged_when_the_platform_has_answered_whatever_it_says() {
    let (mut cloud, offer) = ordered(Phase::Failed(Failure::Digest));
    cloud.expect("firmware_report", 8);
    cloud.host.advance(DAY_MS / 2);
    // Four times in vain, and nothing else comes of it.
    assert_eq!(cloud.count("firmware_report"), 3);
    cloud.host.updates_changed(vec![update(&offer, Phase::Failed(Failure::Digest))]);
    cloud.host.expect_silence();
    cloud.cut();
    cloud.reconnect();
    assert_eq!(answer_version(&mut cloud, 4001), "1.0");
    assert_eq!(cloud.host.expect_ota(), acknowledge(&offer));
    let failures = cloud.host.logs().iter().filter(|(_, line)| line.contains("the old firmware goes on")).count();
    assert_eq!(failures, 1);
}

#[test]
fn a_restart_in_the_middle_changes_nothing() {
    let (mut cloud, offer) = ordered(Phase::Installing);
    cloud.host.setup().facts = facts("2.0");
    restart(&mut cloud);
    assert_eq!(cloud.count("firmware_report"), 0);
    cloud.host.updates_changed(vec![update(&offer, Phase::Finished)]);
    assert_eq!(answer_version(&mut cloud, 200), "2.0");
    assert_eq!(cloud.host.expect_ota(), acknowledge(&offer));
}

#[test]
fn what_ended_while_the_plugin_was_away_is_told_on_its_first_connection() {
    for (phase, version) in [(Phase::Finished, "2.0"), (Phase::Failed(Failure::Install), "1.0")] {
        let (mut cloud, offer) = ordered(Phase::Installing);
        cloud.host.setup().facts = facts(version);
        cloud.host.setup().updates = vec![update(&offer, phase)];
        restart(&mut cloud);
        assert_eq!(answer_version(&mut cloud, 200), version);
        assert_eq!(cloud.host.expect_ota(), acknowledge(&offer));
    }
}

#[test]
fn an_end_is_acknowledged_though_no_version_is_known_which_is_told_later() {
    for (phase, ms) in [(Phase::Failed(Failure::Install), 0), (Phase::Finished, VERSION_MS)] {
        let mut with = setup(json!({"modules": {"default": "mcu"}}));
        with.facts.mcu_software.clear();
        let mut cloud = Cloud::connected(with);
        say_order(&mut cloud, order(json!({})));
        let offer = expect_offer(&mut cloud);
        cloud.host.updates_changed(vec![update(&offer, phase)]);
        cloud.host.advance(ms);
        assert_eq!(cloud.host.expect_ota(), acknowledge(&offer));
        cloud.host.updates_changed(vec![]);
        assert_eq!(cloud.count("firmware_report"), 0);
        cloud.host.facts_changed(facts("1.0"));
        assert_eq!(answer_version(&mut cloud, 200), "1.0");
    }
}

#[test]
fn an_update_that_no_module_is_told_of_is_acknowledged_at_once() {
    let mut with = setup(json!({}));
    with.updates =
        ["gone/1", "nonsense"].map(|id| Update { id: id.into(), phase: Phase::Finished, ..Update::default() }).to_vec();
    let mut cloud = Cloud::started(with);
    for id in ["gone/1", "nonsense"] {
        assert_eq!(cloud.host.expect_ota(), Request::Acknowledge(id.into()));
    }
    cloud.come_online();
    cloud.answer_start();
    cloud.host.expect_silence();
}

#[test]
fn an_order_goes_its_way_behind_the_abi_too() {
    let mut cloud = Cloud::started_behind_the_abi(setup(json!({"down_id_in": "header"})));
    cloud.come_online();
    cloud.answer_start();
    say_order(&mut cloud, order(json!({})));
    let offer = expect_offer(&mut cloud);
    assert_eq!((offer.headers.len(), offer.digests.len(), offer.target), (1, 1, Target::Mcu));
    cloud.host.updates_changed(vec![update(&offer, Phase::Failed(Failure::Digest))]);
    assert_eq!(answer_version(&mut cloud, 200), "1.0");
    assert_eq!(cloud.host.expect_ota(), acknowledge(&offer));
}
