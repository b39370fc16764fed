//! Orders of other firmware (9): what is passed on to the host, and how the platform hears what became of it.

use polylink_plugin_sdk::services::ota::{Digest, Failure, Offer, Phase, Request, Target, Update};
use polylink_plugin_sdk::services::{id, module};
use polylink_plugin_sdk::testing::Setup;
use polylink_plugin_sdk::{ClockQuality, WallTime};
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
fn an_order_that_comes_again_is_acknowledged_and_changes_nothing() {
    for phase in [Phase::Waiting, Phase::Downloading, Phase::Installing] {
        let (mut cloud, _) = ordered(phase);
        say_order(&mut cloud, order(json!({"SoftVer": "2.1"})));
        cloud.host.expect_silence();
    }
    // One whose end is not acknowledged yet: told again.
    let (mut cloud, offer) = ordered(Phase::Failed(Failure::Policy));
    cloud.expect("firmware_report", 8);
    say_order(&mut cloud, order(json!({})));
    assert_eq!(answer_version(&mut cloud, 200), "1.0");
    assert_eq!(cloud.host.expect_ota(), acknowledge(&offer));
}

/// Ended, told, acknowledged, and no longer in the list.
#[track_caller]
fn ended(phase: Phase) -> (Cloud, Offer) {
    let (mut cloud, offer) = ordered(phase);
    if phase == Phase::Finished {
        // It names itself otherwise than the platform does.
        cloud.host.advance(VERSION_MS);
    }
    answer_version(&mut cloud, 200);
    assert_eq!(cloud.host.expect_ota(), acknowledge(&offer));
    cloud.host.updates_changed(vec![]);
    cloud.host.expect_silence();
    (cloud, offer)
}

#[test]
fn the_same_order_is_not_carried_out_for_ever() {
    for phase in [Phase::Finished, Phase::Failed(Failure::Download)] {
        let (mut cloud, _) = ended(phase);
        restart(&mut cloud);
        cloud.answer_start();
        say_order(&mut cloud, order(json!({})));
        assert_eq!(answer_version(&mut cloud, 200), "1.0", "{phase:?}");
        cloud.host.expect_silence();
        cloud.host.advance(DAY_MS);
        cloud.answer_start();
        say_order(&mut cloud, order(json!({})));
        assert_eq!(expect_offer(&mut cloud).version, "2.0");
    }
}

#[test]
fn another_order_ends_the_rest_of_a_former_one() {
    let (mut cloud, _) = ended(Phase::Failed(Failure::Download));
    say_order(&mut cloud, order(json!({"DownID": "other"})));
    let other = expect_offer(&mut cloud);
    cloud.host.updates_changed(vec![update(&other, Phase::Failed(Failure::Download))]);
    answer_version(&mut cloud, 200);
    assert_eq!(cloud.host.expect_ota(), acknowledge(&other));
    cloud.host.updates_changed(vec![]);
    say_order(&mut cloud, order(json!({})));
    assert_eq!(expect_offer(&mut cloud).id, "default/33367341");
}

#[test]
fn an_end_without_a_clock_rests_from_when_the_clock_is_set() {
    let mut with = setup(json!({}));
    with.wall = WallTime { unix_ms: 77_000, quality: ClockQuality::UNSET };
    let mut cloud = Cloud::connected(with);
    cloud.answer_start();
    say_order(&mut cloud, order(json!({})));
    let offer = expect_offer(&mut cloud);
    cloud.host.updates_changed(vec![update(&offer, Phase::Failed(Failure::Space))]);
    answer_version(&mut cloud, 200);
    assert_eq!(cloud.host.expect_ota(), acknowledge(&offer));
    cloud.host.updates_changed(vec![]);
    for _ in 0..2 {
        say_order(&mut cloud, order(json!({})));
        assert_eq!(answer_version(&mut cloud, 200), "1.0");
        cloud.host.set_wall(1_700_000_000_000, ClockQuality::SECONDS);
    }
    cloud.host.set_wall(1_700_086_400_000, ClockQuality::SECONDS);
    say_order(&mut cloud, order(json!({})));
    expect_offer(&mut cloud);
}

#[test]
fn the_latest_order_wins_and_starts_after_the_one_that_has_begun() {
    let (mut cloud, first) = ordered(Phase::Waiting);
    say_order(&mut cloud, order(json!({"SoftVer": "3.0", "DownID": "other"})));
    assert_eq!(cloud.host.expect_ota(), Request::Cancel(first.id.clone()));
    let second = expect_offer(&mut cloud);
    let cancelled = update(&first, Phase::Failed(Failure::Cancelled));
    cloud.host.updates_changed(vec![cancelled, update(&second, Phase::Waiting)]);
    assert_eq!(cloud.host.expect_ota(), acknowledge(&first));
    cloud.host.expect_silence();

    for phase in [Phase::Downloading, Phase::Installing] {
        let (mut cloud, first) = ordered(phase);
        say_order(&mut cloud, order(json!({"SoftVer": "3.0", "DownID": "other"})));
        let second = expect_offer(&mut cloud);
        cloud.host.facts_changed(facts("2.0"));
        cloud.host.updates_changed(vec![update(&first, Phase::Finished), update(&second, Phase::Waiting)]);
        // The platform would take the version between the two for a failure of the second.
        cloud.host.expect_silence();
        cloud.host.updates_changed(vec![update(&first, Phase::Finished), update(&second, Phase::Installing)]);
        cloud.host.facts_changed(facts("3.0"));
        cloud.host.updates_changed(vec![update(&first, Phase::Finished), update(&second, Phase::Finished)]);
        assert_eq!(answer_version(&mut cloud, 200), "3.0");
        assert_eq!(cloud.host.expect_ota(), acknowledge(&first));
        assert_eq!(cloud.host.expect_ota(), acknowledge(&second));
    }
}

#[test]
fn an_order_of_what_runs_takes_the_others_back_if_that_is_possible() {
    for (phase, is_early) in [(Phase::Waiting, true), (Phase::Downloading, true), (Phase::Installing, false)] {
        let (mut cloud, offer) = ordered(phase);
        say_order(&mut cloud, order(json!({"SoftVer": "1.0", "DownID": "third"})));
        if is_early {
            assert_eq!(cloud.host.expect_ota(), Request::Cancel(offer.id.clone()));
            // A version that was kept back meanwhile is told then.
            cloud.host.facts_changed(facts("1.1"));
            cloud.host.expect_silence();
            cloud.host.updates_changed(vec![update(&offer, Phase::Failed(Failure::Cancelled))]);
            assert_eq!(cloud.host.expect_ota(), acknowledge(&offer));
            assert_eq!(answer_version(&mut cloud, 200), "1.1");
        }
        cloud.host.expect_silence();
    }
}

#[test]
fn an_update_that_waits_for_what_runs_by_now_is_taken_back() {
    let (mut cloud, offer) = ordered(Phase::Waiting);
    cloud.host.facts_changed(facts("2.0"));
    assert_eq!(cloud.host.expect_ota(), Request::Cancel(offer.id.clone()));
    cloud.host.updates_changed(vec![]);
    assert_eq!(answer_version(&mut cloud, 200), "2.0");
    cloud.host.expect_silence();
}

#[test]
fn modules_do_not_wait_for_each_other() {
    let mut with = setup(json!({"modules": {"default": "mcu", "wifi": "module"}}));
    with.facts = facts("1.0");
    let mut cloud = Cloud::connected(with);
    for _ in 0..2 {
        answer_version(&mut cloud, 200);
    }
    cloud.host.take_outputs();
    say_order(&mut cloud, order(json!({})));
    let mcu = expect_offer(&mut cloud);
    say_order(&mut cloud, order(json!({"Module": "wifi", "DownID": "other"})));
    let wifi = expect_offer(&mut cloud);
    assert_eq!((mcu.target, wifi.target), (Target::Mcu, Target::Module));
    cloud.host.updates_changed(vec![update(&mcu, Phase::Downloading), update(&wifi, Phase::Waiting)]);
    cloud.host.updates_changed(vec![update(&mcu, Phase::Downloading), update(&wifi, Phase::Failed(Failure::Space))]);
    let (id, payload) = cloud.expect_frame("firmware_report", 8);
    assert_eq!(payload["Module"], "wifi");
    cloud.ack("firmware_report_ack", 8, &id, 200);
    assert_eq!(cloud.host.expect_ota(), acknowledge(&wifi));
    cloud.host.expect_silence();
    // An order that is refused is answered by all versions but that of the module under way.
    say_order(&mut cloud, order(json!({"Module": "unknown", "DownID": "third"})));
    assert_eq!(cloud.expect_frame("firmware_report", 8).1["Module"], "wifi");
    cloud.host.expect_silence();
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

#[test]
fn damaged_memory_of_orders_counts_as_none() {
    for damage in ["", "[", r#"[{"id":7}]"#, "{}"] {
        let mut with = setup(json!({}));
        with.stored.insert("orders_over".into(), damage.into());
        let mut cloud = Cloud::online(with);
        say_order(&mut cloud, order(json!({})));
        expect_offer(&mut cloud);
    }
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
