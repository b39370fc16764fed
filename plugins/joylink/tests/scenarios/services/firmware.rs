//! Firmware (7, 8) on a host that installs none: each order ends with the status that it failed. And what is refused
//! anywhere.

use polylink_plugin_sdk::Output;
use polylink_plugin_sdk::services::{id, module};
use polylink_plugin_sdk::testing::Setup;
use serde_json::{Value, json};

use crate::packet::Kind;
use crate::scenarios::stage::{FEEDID, PRODUCT_UUID, Stage, bound, with};
use crate::wire::{Answer, Code};

/// A bound oven with firmware 5, whose host can load none.
fn oven() -> Setup {
    without_engine(bound(json!({"firmware_number": 5})))
}

fn without_engine(mut setup: Setup) -> Setup {
    setup.services.retain(|service| *service != id::OTA);
    setup
}

/// An order of firmware 6, with these changes.
pub fn order(changes: Value) -> Value {
    let data = json!({
        "feedid": FEEDID, "productuuid": PRODUCT_UUID, "version": 6, "versionname": "001.002.003.20240301_release",
        "crc32": 3_210_000_000_u32, "url": "http://firmware.example/6.bin",
    });
    json!({"cmd": "ota", "serial": 12, "data": with(data, changes)})
}

/// The cloud orders; code and number of the answer.
#[track_caller]
pub fn give(stage: &mut Stage, order: &Value) -> (i64, i64) {
    stage.send(Kind::OtaOrder, order.to_string().as_bytes());
    let answer: Value = serde_json::from_slice(&stage.expect(Kind::OtaOrder)).expect("JSON");
    (answer["code"].as_i64().expect("a code"), answer["serial"].as_i64().expect("a number"))
}

#[track_caller]
fn expect_status(stage: &mut Stage, feedid: &str) {
    let status: Value = serde_json::from_slice(&stage.expect(Kind::OtaStatus)).expect("JSON");
    assert_eq!((&status["cmd"], &status["data"]["feedid"]), (&json!("otastat"), &json!(feedid)));
    assert_eq!((&status["data"]["status"], &status["data"]["progress"]), (&json!(3), &json!(0)));
    assert!(!status["data"]["status_desc"].as_str().expect("a reason").is_empty());
}

#[track_caller]
pub fn take_status(stage: &mut Stage) {
    stage.send(Kind::OtaStatus, &Answer::of(Code::SUCCESS).encode());
}

#[test]
fn an_order_is_taken_and_then_fails_as_nobody_can_install_it() {
    let mut stage = Stage::working(oven());
    assert_eq!(give(&mut stage, &order(json!({}))), (0, 12));
    expect_status(&mut stage, FEEDID);
    take_status(&mut stage);
    stage.host.expect_silence();
    stage.host.advance(3_600_000);
    assert!(!stage.take_kinds().contains(&Kind::OtaStatus));
    assert!(stage.logged("is refused"));
}

#[test]
fn the_failure_is_told_until_the_cloud_answers_also_after_a_power_cut() {
    let mut stage = Stage::working(oven());
    give(&mut stage, &order(json!({})));
    expect_status(&mut stage, FEEDID);
    stage.host.advance(10_000);
    expect_status(&mut stage, FEEDID);
    stage.host.advance(19_999);
    stage.host.expect_silence();
    stage.host.advance(1);
    expect_status(&mut stage, FEEDID);
    stage.restart();
    stage.host.snapshot([crate::scenarios::stage::n(1)]);
    stage.come_in();
    stage.expect_upload();
    expect_status(&mut stage, FEEDID);
    take_status(&mut stage);
    stage.restart();
    stage.come_in();
    stage.host.take_outputs();
    stage.host.advance(30_000);
    assert!(!stage.take_kinds().contains(&Kind::OtaStatus));
}

#[test]
fn orders_that_cannot_be_used_are_refused_with_their_number() {
    let mut stage = Stage::working(oven());
    for changes in [
        json!({"version": 5}),
        json!({"version": 70_000}),
        json!({"feedid": "somebody"}),
        json!({"productuuid": "OTHERS"}),
        json!({"url": "ftp://firmware.example/6.bin"}),
        json!({"url": null}),
    ] {
        assert_eq!(give(&mut stage, &order(changes.clone())), (6, 12), "{changes}");
    }
    assert_eq!(give(&mut stage, &json!({"serial": 13})), (6, 13));
    stage.send(Kind::OtaOrder, b"nonsense");
    stage.host.expect_silence();
    assert!(stage.host.stored("upgrade").is_none());
}

#[test]
fn nothing_is_asked_of_a_host_that_installs_none() {
    let mut stage = Stage::working(oven());
    give(&mut stage, &order(json!({})));
    expect_status(&mut stage, FEEDID);
    stage.host.module_event(module::Event::Reset);
    assert!(!stage.host.take_outputs().iter().any(|output| matches!(output, Output::Ota(_))));
}

#[test]
fn a_connection_without_room_is_not_asked_again_and_again() {
    let mut stage = Stage::working(oven());
    stage.host.tcp_full(stage.stream);
    // Their answers fill what waits for room.
    for _ in 0..70 {
        stage.command(1002, b"nonsense");
    }
    stage.send(Kind::OtaOrder, order(json!({})).to_string().as_bytes());
    stage.host.advance(30_000);
    stage.host.tcp_drained(stage.stream);
    let kinds = stage.take_kinds();
    assert_eq!((kinds.len(), kinds.last()), (65, Some(&Kind::OtaStatus)));
}
