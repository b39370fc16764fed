//! What makes no sense is dropped and counted, and nothing else suffers.

use serde_json::json;

use super::stage::{DID, KEY, Stage, frame, setup, state, with_sn};

fn fact(stage: &Stage, name: &str) -> Option<String> {
    stage.host.status().facts.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone())
}

/// Whether a control from the cloud still reaches the device.
#[track_caller]
fn works_on(stage: &mut Stage) {
    stage.host.take_outputs();
    stage.cloud_app("a", frame(0x93, &with_sn(1, &[0x01, 0x01, 0x01, 0])));
    let (id, _) = stage.host.expect_set();
    stage.host.command_done(id);
    stage.publish_on(&format!("dev2app/{DID}/a"));
    stage.host.take_outputs();
}

#[test]
fn a_message_with_a_field_too_long_too_short_or_wrong_is_dropped_and_counted() {
    let good = frame(0x93, &with_sn(1, &[0x01, 0x01, 0x01, 0]));
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let cases = [
        Vec::new(),
        good[..3].to_vec(),
        good[..7].to_vec(),
        good[..good.len() - 1].to_vec(),
        changed(0, 1),
        changed(3, 2),
        changed(4, 2),
        changed(4, 0x7F),
        changed(4, 0xFF),
        changed(5, 0x80),
        changed(6, 0x01),
        changed(7, 0x55),
        changed(12, 0x77),
        frame(0x93, &[0, 0, 0]),
        frame(0x93, &with_sn(1, &[])),
        frame(0x90, &[]),
        frame(0x90, &[0x01]),
        frame(0x90, &[0x01, 0xFF, 0, 0]),
        frame(0x90, &[0x03, 1, 2, 3]),
        frame(0x90, &[0x04, 1, 2, 3]),
        frame(0x90, &[0x11, 1, 2, 3]),
        vec![0, 0, 0, 3, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 0, 0, 0x90],
    ];
    for case in cases {
        let mut stage = Stage::online();
        stage.cloud_app("a", &case);
        stage.host.advance(1_000);
        assert_eq!(fact(&stage, "input_dropped").as_deref(), Some("1"), "{case:02X?}");
        works_on(&mut stage);
    }
}

#[test]
fn a_server_message_that_is_short_or_unknown_changes_nothing() {
    let mut stage = Stage::online();
    for (command, data) in [
        (0x0210_u16, &[][..]),
        (0x0210, &[1]),
        (0x0211, &[]),
        (0x0211, &[3]),
        (0x020E, &[1, 0, 0]),
        (0x020E, &[1, 0, 0, 0, 9, 0xFF, 0xFF, b'h']),
        (0x0205, &[]),
        (0x021E, &[1, 2, 3]),
        (0xFFFF, &[9; 40]),
    ] {
        stage.server(command, data);
    }
    stage.host.expect_silence();
    let connection = stage.connection;
    for topic in ["", "/", "app2dev", "app2dev//a", "app2dev/another-did/a", "dev2app/x", "ser2cli_res/another-did"] {
        stage.host.mqtt_message(connection, topic, frame(0x93, &with_sn(1, &[0x01, 0x01, 0x01, 0])));
    }
    stage.host.expect_silence();
    stage.host.mqtt_message(connection, &format!("ser2cli_noti/{KEY}"), [0, 0, 0, 3]);
    works_on(&mut stage);
}

#[test]
fn ten_thousand_requests_that_nobody_answers_keep_a_bounded_place() {
    let mut stage = Stage::online();
    for sn in 0..10_000_u32 {
        stage.cloud_app("a", frame(0x93, &with_sn(sn, &[0x01, 0x01, 0x01, 0])));
    }
    assert_eq!(stage.host.take_outputs().len(), 64);
    stage.host.advance(1_000);
    assert_eq!(fact(&stage, "requests_dropped").as_deref(), Some("9936"));
}

#[test]
fn a_thousand_wrong_passcodes_do_not_lock_out_anybody_else() {
    let mut stage = Stage::online();
    let passcode = stage.bind();
    let listener = stage.listener;
    for n in 0..1000 {
        let app = stage.host.tcp_accepted(listener, "192.0.2.66:666");
        stage.host.tcp_received(app, frame(0x08, format!("\0\u{A}wrong{n:05}").as_bytes()));
        stage.host.tcp_closed(app, polylink_plugin_sdk::services::Reason::Closed);
    }
    stage.host.take_outputs();
    let good = stage.logged_in(&passcode, 1);
    stage.host.report(state(true, 30, 15));
    assert!(stage.host.take_outputs().iter().any(|output| matches!(
        output,
        polylink_plugin_sdk::Output::Tcp(polylink_plugin_sdk::services::tcp::Request::Send(to, _)) if *to == good
    )));
}

#[test]
fn an_answer_of_the_http_interface_that_is_noise_is_a_failure_like_others() {
    for (status, body) in [
        (200, "\u{FFFD}\u{0}\u{1}".repeat(1000)),
        (200, "host=".repeat(2000)),
        (500, String::new()),
        (302, "moved".to_owned()),
        (400, r#"{"error_code": 99999999999999999999}"#.to_owned()),
        (400, r#"{"error_code": {"error_code": 9016}}"#.to_owned()),
        (400, "[".repeat(10_000)),
    ] {
        let mut stage = Stage::started(setup(json!({"check_updates": false})));
        stage.register();
        let request = stage.asked_for_provision();
        stage.host.http_answer(request, status, body);
        stage.host.expect_silence();
        stage.host.advance(5_000);
        stage.provision();
        stage.log_in();
    }
}
