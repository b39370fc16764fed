//! Firmware (7, 8) on a host that loads and installs it: an order becomes an offer, and what becomes of that is told.

use polylink_plugin_sdk::services::module;
use polylink_plugin_sdk::services::ota::{Digest, Failure, Offer, Phase, Request, Target, Update};
use polylink_plugin_sdk::testing::Setup;
use polylink_plugin_sdk::{Output, services::subdevices};
use serde_json::{Value, json};

use super::firmware::{give, order, take_status};
use crate::packet::Kind;
use crate::scenarios::gateway::talk::{PRODUCT, asking, feedid_of, joined, unbinding, with_bound};
use crate::scenarios::stage::{App, FEEDID, PRODUCT_UUID, Stage, bond, bound, n, with};
use crate::wire::{Code, CodeAnswer, Heartbeat, SubHeartbeat};

const DOWNLOADING: i64 = 0;
const INSTALLING: i64 = 1;
const FINISHED: i64 = 2;
const FAILED: i64 = 3;

/// A bound oven with firmware 5, whose module the firmware is for.
fn oven(changes: Value) -> Setup {
    bound(with(json!({"firmware_number": 5, "ota_target": "module"}), changes))
}

/// The id of what [`order`] orders.
fn id() -> String {
    format!("{FEEDID}/6/{:08x}", 3_210_000_000_u32)
}

#[track_caller]
fn expect_offer(stage: &mut Stage) -> Offer {
    match stage.host.expect_ota() {
        Request::Offer(offer) => *offer,
        other => panic!("{other:?}"),
    }
}

/// What the host makes of an offer.
fn update(offer: &Offer, phase: Phase, percent: u8) -> Update {
    let reason = if let Phase::Failed(_) = phase { "because".to_owned() } else { String::new() };
    Update { id: offer.id.clone(), target: offer.target, version: offer.version.clone(), phase, percent, reason }
}

#[track_caller]
fn becomes(stage: &mut Stage, offer: &Offer, phase: Phase, percent: u8) {
    stage.host.updates_changed(vec![update(offer, phase, percent)]);
}

/// A device whose host has taken an order, of which the cloud was told that it has begun.
#[track_caller]
fn ordered(setup: Setup) -> (Stage, Offer) {
    let mut stage = Stage::working(setup);
    // The answer, then the download.
    assert_eq!(give(&mut stage, &order(json!({}))), (0, 12));
    let offer = expect_offer(&mut stage);
    expect_status(&mut stage, DOWNLOADING, 0, "downloading");
    take_status(&mut stage);
    becomes(&mut stage, &offer, Phase::Waiting, 0);
    stage.host.expect_silence();
    (stage, offer)
}

#[track_caller]
fn expect_status(stage: &mut Stage, status: i64, progress: i64, description: &str) {
    let told: Value = serde_json::from_slice(&stage.expect(Kind::OtaStatus)).expect("JSON");
    let data = &told["data"];
    let expected = json!({"status": status, "progress": progress, "status_desc": description});
    for key in ["status", "progress", "status_desc"] {
        assert_eq!(data[key], expected[key], "{told}");
    }
}

#[track_caller]
fn expect_acknowledged(stage: &mut Stage, id: &str) {
    assert_eq!(stage.host.expect_ota(), Request::Acknowledge(id.to_owned()));
}

/// The version in the next heartbeat.
#[track_caller]
fn beat(stage: &mut Stage) -> u16 {
    stage.settle_down();
    stage.host.advance(60_000);
    let beats = stage.take_bodies(Kind::Heartbeat);
    Heartbeat::decode(beats.last().expect("a heartbeat")).expect("a heartbeat").version
}

/// A new session whose host has this of updates, let in and shown.
#[track_caller]
fn restart(stage: &mut Stage, updates: Vec<Update>) {
    stage.host.setup().updates = updates;
    stage.restart();
    stage.host.snapshot([n(1)]);
    stage.come_in();
    stage.expect_upload();
    stage.accept_upload();
}

#[track_caller]
fn expect_no_status(stage: &mut Stage) {
    stage.settle_down();
    stage.host.advance(50_000);
    assert!(!stage.take_kinds().contains(&Kind::OtaStatus));
}

#[test]
fn an_order_becomes_an_offer() {
    let (_, offer) = ordered(oven(json!({})));
    let expected = Offer {
        id: id(),
        target: Target::Module,
        version: "001.002.003.20240301_release".to_owned(),
        url: "http://firmware.example/6.bin".to_owned(),
        digests: vec![Digest::Crc32Plain(3_210_000_000)],
        ..Offer::default()
    };
    assert_eq!(offer, expected);
}

#[test]
fn an_irregular_name_is_not_shown_to_the_host_which_gets_the_number() {
    let mut stage = Stage::working(oven(json!({})));
    assert_eq!(give(&mut stage, &order(json!({"versionname": "newest!"}))), (0, 12));
    assert_eq!(expect_offer(&mut stage).version, "6");
}

#[test]
fn the_firmware_is_that_of_the_mcu_if_it_tells_a_version_unless_the_settings_say_otherwise() {
    for (setting, mcu_software, target) in
        [("auto", "1.0", Target::Mcu), ("module", "1.0", Target::Module), ("mcu", "", Target::Mcu)]
    {
        let mut setup = oven(json!({"ota_target": setting}));
        setup.facts.mcu_software = mcu_software.to_owned();
        assert_eq!(ordered(setup).1.target, target, "{setting} {mcu_software}");
    }
    let mut stage = Stage::working(oven(json!({"ota_target": "auto"})));
    for mcu_software in ["1.0", ""] {
        let facts = module::Facts {
            mcu_online: !mcu_software.is_empty(),
            mcu_software: mcu_software.into(),
            ..Default::default()
        };
        stage.host.facts_changed(facts);
    }
    assert_eq!(give(&mut stage, &order(json!({}))), (0, 12));
    assert_eq!(expect_offer(&mut stage).target, Target::Mcu, "an MCU that is away keeps its firmware");
}

#[test]
fn an_mcu_that_starts_up_has_a_minute_to_say_its_version_before_firmware_counts_as_the_modules() {
    for (version, target) in [("1.0", Target::Mcu), ("", Target::Module)] {
        let mut stage = Stage::working(oven(json!({"ota_target": "auto", "ota_report_s": 300})));
        assert_eq!(give(&mut stage, &order(json!({}))), (0, 12));
        expect_status(&mut stage, DOWNLOADING, 0, "downloading");
        take_status(&mut stage);
        // Nor is it taken for one that the host has lost.
        stage.host.updates_changed(vec![]);
        stage.host.expect_silence();
        stage.host.facts_changed(module::Facts { mcu_software: version.to_owned(), ..Default::default() });
        if version.is_empty() {
            stage.host.expect_silence();
            stage.host.advance(60_000);
        }
        assert_eq!(expect_offer(&mut stage).target, target);
    }
}

#[test]
fn each_change_is_told_at_once_and_progress_within_the_time_that_is_set() {
    let (mut stage, offer) = ordered(oven(json!({"ota_report_s": 20})));
    becomes(&mut stage, &offer, Phase::Downloading, 30);
    stage.host.expect_silence();
    assert_eq!(stage.fact("firmware_order"), Some("6: loading, 30 %"));
    stage.host.advance(20_000);
    expect_status(&mut stage, DOWNLOADING, 30, "downloading");
    take_status(&mut stage);
    becomes(&mut stage, &offer, Phase::Installing, 5);
    expect_status(&mut stage, INSTALLING, 5, "installing");
    take_status(&mut stage);
    becomes(&mut stage, &offer, Phase::Finished, 100);
    expect_status(&mut stage, FINISHED, 100, "finished");
    // The host keeps it until the cloud knows.
    stage.host.expect_silence();
    take_status(&mut stage);
    expect_acknowledged(&mut stage, &id());
    stage.host.expect_silence();
    stage.host.updates_changed(vec![]);
    expect_no_status(&mut stage);
}

#[test]
fn the_number_in_heartbeats_is_that_of_the_installed_firmware_until_a_higher_one_is_set() {
    let (mut stage, offer) = ordered(oven(json!({})));
    becomes(&mut stage, &offer, Phase::Installing, 50);
    assert_eq!(beat(&mut stage), 5);
    becomes(&mut stage, &offer, Phase::Finished, 100);
    assert_eq!(beat(&mut stage), 6);
    let done = vec![update(&offer, Phase::Finished, 100)];
    restart(&mut stage, done);
    assert_eq!(beat(&mut stage), 6);
    assert_eq!(stage.host.stored("firmware_number"), Some(&b"6"[..]));
    // It runs already.
    assert_eq!(give(&mut stage, &order(json!({}))), (6, 12));
    for (setting, number) in [(6, 6), (7, 7), (5, 5)] {
        let settings = stage.host.setup().settings.clone();
        let settings = with(serde_json::from_str(&settings).unwrap(), json!({"firmware_number": setting}));
        stage.host.setup().settings = settings.to_string();
        restart(&mut stage, vec![]);
        assert_eq!(beat(&mut stage), number);
    }
    assert_eq!(stage.host.stored("firmware_number"), None);
}

#[test]
fn every_failure_is_told_in_the_clouds_words_and_then_acknowledged() {
    for (failure, words) in [
        (Failure::Other, "firmware upgrade failed (6)"),
        (Failure::Unsupported, "operation not supported (100)"),
        (Failure::Policy, "refused by device (2)"),
        (Failure::Download, "cannot reach server (1)"),
        (Failure::Digest, "file damaged (23)"),
        (Failure::Space, "out of memory (13)"),
        (Failure::Install, "firmware upgrade failed (6)"),
        (Failure::Cancelled, "firmware upgrade failed (6)"),
        (Failure::TooLate, "firmware upgrade failed (6)"),
    ] {
        let (mut stage, offer) = ordered(oven(json!({})));
        becomes(&mut stage, &offer, Phase::Downloading, 40);
        becomes(&mut stage, &offer, Phase::Failed(failure), 0);
        expect_status(&mut stage, FAILED, 40, &format!("{words}: because"));
        take_status(&mut stage);
        expect_acknowledged(&mut stage, &id());
        assert_eq!(beat(&mut stage), 5);
    }
}

#[test]
fn a_cloud_that_never_answers_is_given_up_and_the_host_may_forget() {
    let (mut stage, offer) = ordered(oven(json!({})));
    becomes(&mut stage, &offer, Phase::Failed(Failure::Space), 0);
    let mut acknowledged = Vec::new();
    for _ in 0..20 {
        stage.host.advance(30_000);
        stage.send(Kind::Heartbeat, &CodeAnswer(Code::SUCCESS).encode());
        acknowledged.extend(stage.host.take_outputs().into_iter().filter(|output| matches!(output, Output::Ota(_))));
    }
    assert_eq!(acknowledged, [Output::Ota(Request::Acknowledge(id()))]);
    assert_eq!(stage.fact("firmware_reports_lost"), Some("1"));
}

#[test]
fn an_upgrade_goes_on_over_restarts_and_its_end_is_told_once() {
    let (mut stage, offer) = ordered(oven(json!({})));
    restart(&mut stage, vec![update(&offer, Phase::Downloading, 70)]);
    expect_status(&mut stage, DOWNLOADING, 70, "downloading");
    take_status(&mut stage);
    stage.host.expect_silence();
    assert_eq!(give(&mut stage, &order(json!({"version": 7}))), (22, 12));
    restart(&mut stage, vec![update(&offer, Phase::Installing, 10)]);
    expect_status(&mut stage, INSTALLING, 10, "installing");
    // The module restarts as a part of it.
    let finished = vec![update(&offer, Phase::Finished, 100)];
    restart(&mut stage, finished.clone());
    expect_status(&mut stage, FINISHED, 100, "finished");
    restart(&mut stage, finished.clone());
    expect_status(&mut stage, FINISHED, 100, "finished");
    take_status(&mut stage);
    expect_acknowledged(&mut stage, &id());
    // The power went before the host had heard that.
    stage.host.setup().updates = finished;
    stage.restart();
    expect_acknowledged(&mut stage, &id());
    stage.host.snapshot([n(1)]);
    stage.come_in();
    stage.expect_upload();
    stage.accept_upload();
    expect_no_status(&mut stage);
}

#[test]
fn an_upgrade_of_which_only_the_host_knows_is_told_of_unless_it_is_over_or_of_nobody() {
    let (mut stage, offer) = ordered(oven(json!({})));
    stage.host.setup().stored.remove("upgrade");
    restart(&mut stage, vec![update(&offer, Phase::Downloading, 70)]);
    let told: Value = serde_json::from_slice(&stage.expect(Kind::OtaStatus)).expect("JSON");
    let data = json!({"feedid": FEEDID, "productuuid": PRODUCT_UUID, "status": DOWNLOADING, "progress": 70,
        "status_desc": "downloading"});
    assert_eq!(told["data"], data);
    take_status(&mut stage);
    assert_eq!(give(&mut stage, &order(json!({"version": 7}))), (22, 12));
    becomes(&mut stage, &offer, Phase::Finished, 100);
    expect_status(&mut stage, FINISHED, 100, "finished");
    take_status(&mut stage);
    expect_acknowledged(&mut stage, &id());

    let (mut stage, offer) = ordered(oven(json!({})));
    stage.host.setup().stored.remove("upgrade");
    let of_another = Offer { id: "2002/6/00000001".to_owned(), ..offer };
    restart(&mut stage, vec![update(&of_another, Phase::Downloading, 70)]);
    expect_no_status(&mut stage);
}

#[test]
fn an_upgrade_that_the_host_has_lost_has_failed() {
    let (mut stage, _) = ordered(oven(json!({})));
    restart(&mut stage, vec![]);
    expect_status(&mut stage, FAILED, 0, "the download was broken off by a restart");
    take_status(&mut stage);
    stage.host.expect_silence();

    let (mut stage, _) = ordered(oven(json!({})));
    stage.host.updates_changed(vec![]);
    expect_status(&mut stage, FAILED, 0, "this device does not take it");
}

#[test]
fn an_offer_that_the_host_does_not_take_has_failed_after_a_minute() {
    let mut stage = Stage::working(oven(json!({"ota_report_s": 300})));
    assert_eq!(give(&mut stage, &order(json!({}))), (0, 12));
    expect_offer(&mut stage);
    expect_status(&mut stage, DOWNLOADING, 0, "downloading");
    take_status(&mut stage);
    stage.host.advance(59_999);
    stage.expect(Kind::Heartbeat);
    stage.host.expect_silence();
    stage.host.advance(1);
    expect_status(&mut stage, FAILED, 0, "this device does not take it");
}

#[test]
fn the_same_order_again_only_renews_the_address_and_another_one_has_to_wait() {
    let (mut stage, offer) = ordered(oven(json!({})));
    becomes(&mut stage, &offer, Phase::Downloading, 30);
    // The address of before may be over.
    for url in ["http://firmware.example/6.bin", "https://mirror.example/6?signed=2"] {
        assert_eq!(give(&mut stage, &order(json!({"url": url}))), (0, 12));
        assert_eq!(expect_offer(&mut stage), Offer { url: url.to_owned(), ..offer.clone() });
        // What the host makes of that changes nothing here.
        stage.host.advance(60_001);
        stage.take_kinds();
    }
    assert_eq!(give(&mut stage, &order(json!({"version": 7}))), (22, 12));
    assert_eq!(give(&mut stage, &order(json!({"crc32": 1}))), (22, 12));
    stage.host.expect_silence();
}

#[test]
fn what_failed_and_is_ordered_again_is_offered_anew_when_the_host_has_let_go_of_it() {
    let (mut stage, offer) = ordered(oven(json!({})));
    becomes(&mut stage, &offer, Phase::Failed(Failure::Download), 0);
    expect_status(&mut stage, FAILED, 0, "cannot reach server (1): because");
    assert_eq!(give(&mut stage, &order(json!({}))), (0, 12));
    expect_acknowledged(&mut stage, &id());
    assert_eq!(expect_offer(&mut stage), offer);
    expect_status(&mut stage, DOWNLOADING, 0, "downloading");
    becomes(&mut stage, &offer, Phase::Downloading, 10);
    // The first answer is for the former end.
    take_status(&mut stage);
    take_status(&mut stage);
    becomes(&mut stage, &offer, Phase::Finished, 100);
    expect_status(&mut stage, FINISHED, 100, "finished");
}

#[test]
fn another_owner_takes_the_update_back_and_hears_nothing_of_it() {
    let (mut stage, offer) = ordered(oven(json!({"rebind": "allow"})));
    becomes(&mut stage, &offer, Phase::Downloading, 30);
    let mut app = App::new();
    app.discover(&mut stage);
    app.authorize(&mut stage, &bond(json!({"feedid": "2002"})));
    assert_eq!(stage.host.take_outputs().iter().filter(|output| **output == cancel(&id())).count(), 1);
    becomes(&mut stage, &offer, Phase::Failed(Failure::Cancelled), 30);
    expect_acknowledged(&mut stage, &id());
}

fn cancel(id: &str) -> Output {
    Output::Ota(Request::Cancel(id.to_owned()))
}

#[test]
fn firmware_that_was_being_installed_when_the_owner_went_still_counts() {
    let (mut stage, offer) = ordered(oven(json!({})));
    becomes(&mut stage, &offer, Phase::Installing, 30);
    stage.host.module_event(module::Event::Reset);
    assert!(stage.host.take_outputs().contains(&cancel(&id())));
    becomes(&mut stage, &offer, Phase::Installing, 90);
    stage.host.expect_silence();
    becomes(&mut stage, &offer, Phase::Finished, 100);
    expect_acknowledged(&mut stage, &id());
    assert_eq!(stage.host.stored("firmware_number"), Some(&b"6"[..]));
}

/// A gateway whose subdevice was ordered to upgrade.
#[track_caller]
fn sub_ordered() -> (Stage, Offer) {
    let (mut stage, _) = with_bound(&["a1"]);
    let of_sub = json!({"feedid": feedid_of("a1"), "productuuid": PRODUCT, "version": 4});
    assert_eq!(give(&mut stage, &order(of_sub)), (0, 12));
    let offer = expect_offer(&mut stage);
    (stage, offer)
}

#[test]
fn a_subdevice_is_upgraded_by_its_number_and_the_gateway_keeps_its_own_version() {
    let (mut stage, offer) = sub_ordered();
    assert_eq!((offer.target, offer.version.as_str()), (Target::Subdevice(1), "4"));
    assert_eq!(offer.id, format!("{}/4/{:08x}", feedid_of("a1"), 3_210_000_000_u32));
    let told: Value = serde_json::from_slice(&stage.expect(Kind::OtaStatus)).unwrap();
    assert_eq!((&told["data"]["feedid"], &told["data"]["productuuid"]), (&json!(feedid_of("a1")), &json!(PRODUCT)));
    take_status(&mut stage);
    stage.host.subdevices_changed(vec![subdevices::Subdevice { version: "4".to_owned(), ..joined(1, "a1") }]);
    becomes(&mut stage, &offer, Phase::Finished, 100);
    expect_status(&mut stage, FINISHED, 100, "finished");
    take_status(&mut stage);
    expect_acknowledged(&mut stage, &offer.id);
    stage.settle_down();
    stage.host.advance(60_000);
    let beat = SubHeartbeat::decode(&stage.expect(Kind::SubHeartbeat)).unwrap();
    assert_eq!((beat.version, beat.subs[0].version), (0, 4));
}

#[test]
fn the_upgrade_of_a_subdevice_that_is_unbound_is_taken_back() {
    let (mut stage, offer) = sub_ordered();
    stage.expect(Kind::OtaStatus);
    becomes(&mut stage, &offer, Phase::Downloading, 10);
    stage.settle_down();
    stage.send(Kind::SubUnbind, &unbinding(&["a1"]));
    assert_eq!(stage.host.expect_ota(), Request::Cancel(offer.id.clone()));
    becomes(&mut stage, &offer, Phase::Failed(Failure::Cancelled), 10);
    expect_acknowledged(&mut stage, &offer.id);
    expect_no_status(&mut stage);
}

#[test]
fn an_order_that_is_repeated_while_its_subdevice_is_away_ends_nothing() {
    let (mut stage, offer) = sub_ordered();
    stage.expect(Kind::OtaStatus);
    becomes(&mut stage, &offer, Phase::Downloading, 10);
    stage.host.subdevices_changed(vec![]);
    stage.settle_down();
    let again = order(json!({"feedid": feedid_of("a1"), "productuuid": PRODUCT, "version": 4}));
    assert_eq!(give(&mut stage, &again), (0, 12));
    stage.host.expect_silence();
}

#[test]
fn a_subdevice_that_the_host_does_not_see_cannot_be_upgraded() {
    let (mut stage, _) = with_bound(&["a1"]);
    stage.host.subdevices_changed(vec![asking(2, "a2")]);
    stage.settle_down();
    let of_sub = order(json!({"feedid": feedid_of("a1"), "productuuid": PRODUCT}));
    assert_eq!(give(&mut stage, &of_sub), (0, 12));
    expect_status(&mut stage, FAILED, 0, "sub-device offline");
    stage.host.expect_silence();
}
