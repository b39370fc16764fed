//! What happens without a command of an app is told as an asynchronous result (14): what a person did at the device.

use polylink_plugin_sdk::services::Reason;
use polylink_plugin_sdk::{Cause, ClockQuality, DatapointId, ReportBody};
use serde_json::{Value, json};

use crate::packet::Kind;
use crate::scenarios::stage::{FEEDID, Stage, bound, control, heat, jds2pri, n, raw, scripted, streams, unbound};

fn working(changes: Value) -> Stage {
    Stage::working(bound(changes))
}

#[test]
fn a_change_of_what_can_be_set_was_somebody_s_doing() {
    let mut stage = working(json!({}));
    stage.host.report([n(2)]);
    stage.expect_upload();
    let result = stage.expect_result();
    assert_eq!((result.biz_code, result.controltype, result.feedid.as_str()), (0, 1, FEEDID));
    assert_eq!((result.id.as_str(), result.executed_at), ("0", stage.unix_s()));
    assert_eq!(streams(&result.content), json!({"n": 2, "heat": 20}));
    stage.host.report([heat(3), n(3)]);
    stage.expect_upload();
    assert_eq!(stage.expect_result().serial, result.serial.wrapping_add(1));
    stage.host.expect_silence();
}

#[test]
fn other_changes_are_the_world_s() {
    let mut stage = working(json!({}));
    stage.host.report([heat(21)]);
    stage.host.report_event(DatapointId(0), []);
    stage.host.report_body(Cause::Periodic, None, ReportBody::Properties(vec![n(2)]));
    assert_eq!(stage.take_kinds(), [Kind::Upload; 3]);
}

#[test]
fn what_a_device_says_first_of_itself_is_nobodys_doing() {
    let mut stage = Stage::started(bound(json!({})));
    stage.host.report([n(2), heat(20)]);
    stage.come_in();
    stage.expect_upload();
    stage.host.expect_silence();
    stage.host.report([n(3)]);
    stage.expect_upload();
    assert_eq!(streams(&stage.expect_result().content)["n"], 3);
}

#[test]
fn what_a_command_led_to_is_no_result() {
    let mut stage = working(json!({}));
    stage.command(1002, control(json!({"n": 2})));
    let (id, _) = stage.host.expect_set();
    stage.host.report_caused_by(id, [n(2)]);
    assert_eq!(stage.take_kinds(), [Kind::Upload]);
}

#[test]
fn results_of_the_panel_can_be_left_out() {
    let mut stage = working(json!({"panel_results": false}));
    stage.host.report([n(2)]);
    assert_eq!(stage.take_kinds(), [Kind::Upload]);
}

#[test]
fn a_raw_product_s_bytes_are_a_result_too() {
    let mut stage = Stage::working(raw(json!({})));
    stage.say_raw(b"two");
    assert_eq!(stage.expect_upload(), b"two");
    assert_eq!(stage.expect_result().content, b"two");
}

#[test]
fn results_without_a_connection_wait_and_the_oldest_of_too_many_is_dropped() {
    let mut stage = working(json!({"async_queue": 16}));
    stage.cut();
    let mut times = Vec::new();
    for value in 0..20 {
        stage.host.report([n(value)]);
        times.push(stage.unix_s());
        stage.host.set_wall(stage.host.now().wall.unix_ms + 1_000, ClockQuality::SYNCED);
    }
    stage.host.expect_silence();
    stage.assert_count("results_lost", 4);
    stage.reconnect();
    // The window of uploads first, as the first of them is the snapshot.
    for value in 0..16 {
        assert_eq!(stage.expect_streams(), json!({"n": value, "heat": 20}));
    }
    for (value, time) in (4..20).zip(&times[4..]) {
        let result = stage.expect_result();
        assert_eq!((&streams(&result.content)["n"], result.executed_at), (&json!(value), *time));
    }
    stage.host.expect_silence();
}

#[test]
fn a_result_waits_for_the_snapshot_of_its_connection() {
    let mut stage = Stage::started(scripted(json!({})));
    stage.host.snapshot([n(1)]);
    stage.host.report([n(2)]);
    let result = stage.host.expect_script_call();
    stage.host.script_returned(result.id, jds2pri(b"result"));
    stage.come_in();
    let upload = stage.host.expect_script_call();
    stage.host.expect_silence();
    stage.host.script_returned(upload.id, jds2pri(b"upload"));
    assert_eq!(stage.expect_upload(), b"upload");
    assert_eq!(stage.expect_result().content, b"result");
}

#[test]
fn a_result_that_the_script_cannot_convert_is_lost_and_counted() {
    let mut stage = Stage::working(scripted(json!({})));
    stage.host.report([n(2)]);
    let result = stage.host.expect_script_call();
    stage.host.script_failed(result.id, Reason::Other);
    stage.convert_upload(b"upload");
    stage.expect_upload();
    stage.host.expect_silence();
    stage.assert_count("results_lost", 1);
}

#[test]
fn results_that_wait_for_a_script_are_bounded() {
    let mut stage = Stage::started_alone(scripted(json!({})));
    stage.host.expect_script_load();
    stage.host.snapshot([n(-1)]);
    for value in 0..400 {
        stage.host.report([n(value)]);
    }
    stage.assert_count("results_lost", 400 - 256);
}

#[test]
fn nothing_is_kept_for_a_device_that_nobody_has_bound() {
    let mut stage = Stage::started(unbound(json!({})));
    for value in 0..20 {
        stage.host.report([n(value)]);
    }
    stage.host.expect_silence();
    stage.assert_count("results_lost", 0);
}

#[test]
fn a_result_without_a_clock_of_its_own_has_the_cloud_s_time() {
    let mut stage = Stage::started(bound(json!({})));
    stage.host.snapshot([n(1)]);
    stage.accept();
    stage.expect_authentication();
    let (unix_ms, unix_s) = (stage.host.now().wall.unix_ms, stage.unix_s());
    stage.host.set_wall(unix_ms, ClockQuality::UNSET);
    stage.let_in();
    stage.expect_upload();
    stage.host.set_wall(7_000, ClockQuality::UNSET);
    stage.host.report([n(2)]);
    stage.expect_upload();
    assert_eq!(stage.expect_result().executed_at, unix_s);
}
