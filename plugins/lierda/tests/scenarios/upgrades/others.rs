//! The same order again, an order in place of another one, and several modules.

use polylink_plugin_sdk::services::ota::{Failure, Offer, Phase, Request, Target, UPDATES_MAX, Update};
use polylink_plugin_sdk::{ClockQuality, WallTime};
use serde_json::json;

use super::{
    DAY_MS, VERSION_MS, acknowledge, answer_version, expect_offer, order, ordered, restart, say_order, update,
};
use crate::scenarios::firmware::facts;
use crate::scenarios::stage::{Cloud, online, setup};

#[test]
fn an_order_that_comes_again_is_acknowledged_and_brings_at_most_another_address() {
    for phase in [Phase::Waiting, Phase::Downloading, Phase::Installing] {
        let (mut cloud, offer) = ordered(phase);
        say_order(&mut cloud, order(json!({"SoftVer": "2.1"})));
        cloud.host.expect_silence();
        say_order(&mut cloud, order(json!({"Url": "http://mirror/fw.bin"})));
        let url = "http://mirror/fw.bin?DownID=33367341".to_owned();
        assert_eq!(expect_offer(&mut cloud), Offer { url, ..offer });
        cloud.host.expect_silence();
    }
    // One whose end is not acknowledged yet: told again.
    let (mut cloud, offer) = ordered(Phase::Failed(Failure::Policy));
    cloud.expect("firmware_report", 8);
    say_order(&mut cloud, order(json!({})));
    assert_eq!(answer_version(&mut cloud, 200), "1.0");
    assert_eq!(cloud.host.expect_ota(), acknowledge(&offer));
}

#[test]
fn more_orders_than_a_host_takes_are_refused() {
    let (mut cloud, offer) = ordered(Phase::Downloading);
    let others = (1..UPDATES_MAX).map(|n| Update { id: format!("gone/{n}"), ..update(&offer, Phase::Waiting) });
    cloud.host.updates_changed([update(&offer, Phase::Downloading)].into_iter().chain(others).collect());
    say_order(&mut cloud, order(json!({"DownID": "one too many"})));
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    cloud.assert_fact("orders_refused", "1");
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
fn a_platform_that_orders_by_each_version_is_answered_more_and_more_seldom() {
    for change in [json!({"DownID": "unfit", "MD5": 1}), json!({"SoftVer": "1.0"}), json!({})] {
        let (mut cloud, _) = ended(Phase::Failed(Failure::Download));
        let mut answers = 0;
        for _ in 0..24 {
            say_order(&mut cloud, order(change.clone()));
            // Also if it orders without having heard an answer.
            say_order(&mut cloud, order(change.clone()));
            while cloud.count("firmware_report") > 0 {
                answers += 1;
                say_order(&mut cloud, order(change.clone()));
            }
            cloud.host.advance(3_600_000);
        }
        assert!((24..48).contains(&answers), "{answers} answers in a day to {change}");
    }
}

#[test]
fn orders_that_fail_at_once_are_answered_more_and_more_seldom() {
    let mut cloud = online(json!({}));
    let mut orders = 0;
    for _ in 0..24 {
        // The platform takes the version for a failure, and orders again under another name.
        loop {
            orders += 1;
            assert!(orders < 60, "{orders} orders in a day");
            say_order(&mut cloud, order(json!({"DownID": orders.to_string()})));
            let offer = expect_offer(&mut cloud);
            cloud.host.updates_changed(vec![update(&offer, Phase::Failed(Failure::Unsupported))]);
            if cloud.count("firmware_report") == 0 {
                break;
            }
        }
        cloud.host.advance(3_600_000);
        assert!(cloud.count("firmware_report") > 0, "a failure is told within an hour");
    }
}

#[test]
fn another_order_ends_the_rest_of_a_former_one() {
    let (mut cloud, _) = ended(Phase::Failed(Failure::Download));
    say_order(&mut cloud, order(json!({"DownID": "other"})));
    let other = expect_offer(&mut cloud);
    cloud.host.advance(2_000);
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
        cloud.host.advance(10_000);
        cloud.host.set_wall(1_700_000_000_000, ClockQuality::SECONDS);
    }
    cloud.host.set_wall(1_700_086_400_000, ClockQuality::SECONDS);
    say_order(&mut cloud, order(json!({})));
    expect_offer(&mut cloud);
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
