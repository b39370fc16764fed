//! Reports on their way up: each is an upload that shows all of the device, and is settled when the cloud has answered it.

use polylink_plugin_sdk::services::{ota, tcp};
use polylink_plugin_sdk::{Cause, DatapointId, Output, ReportBody, Value as Datum};
use serde_json::{Value, json};

use crate::packet::{Kind, LONGEST_BODY};
use crate::scenarios::stage::{
    App, FEEDID, PRODUCT_UUID, Stage, bond, bound, heat, jds2pri, n, raw, scripted, switch, unbound,
};
use crate::uploads::{MOST, WINDOW};
use crate::wire::Code;

/// Results of the panel are not told, so that uploads stand alone.
fn quiet() -> Value {
    json!({"panel_results": false})
}

fn working() -> Stage {
    Stage::working(bound(quiet()))
}

#[test]
fn each_report_is_one_upload_of_all_values_and_settled_by_its_answer() {
    let mut stage = working();
    let seqs = [stage.host.report([n(2)]), stage.host.report([heat(21), switch(true)]), stage.host.report([n(3)])];
    assert_eq!(stage.expect_streams(), json!({"n": 2, "heat": 20}));
    assert_eq!(stage.expect_streams(), json!({"n": 2, "heat": 21, "switch": 1}));
    assert_eq!(stage.expect_streams(), json!({"n": 3, "heat": 21, "switch": 1}));
    stage.host.expect_silence();
    for seq in seqs {
        stage.accept_upload();
        assert_eq!(stage.host.expect_settle(), [seq]);
        stage.host.expect_silence();
    }
}

#[test]
fn values_of_each_type_are_in_the_cloud_s_words() {
    let mut stage = working();
    stage.host.report([
        (DatapointId(0), Datum::Bool(false)),
        (DatapointId(3), Datum::Decimal { mantissa: 215, scale: 1 }),
        (DatapointId(4), Datum::Enum(1)),
        (DatapointId(5), Datum::Text("warm".to_owned())),
        (DatapointId(6), Datum::Bytes(vec![0, 0xAB])),
        (DatapointId(7), Datum::Json(r#"{"a":1}"#.to_owned())),
    ]);
    let shown = json!({
        "switch": 0, "n": 1, "heat": 20, "temp": 21.5, "mode": "grill", "note": "warm", "blob": "00AB",
        "push_stream": r#"{"a":1}"#,
    });
    let streams = stage.expect_streams();
    assert_eq!(streams["blob"].as_str().map(str::to_uppercase), Some("00AB".to_owned()));
    assert_eq!(streams.as_object().unwrap().len(), shown.as_object().unwrap().len());
    for name in ["switch", "temp", "mode", "note", "push_stream"] {
        assert_eq!(streams[name], shown[name], "{name}");
    }
}

#[test]
fn a_report_that_the_cloud_refuses_is_settled_too_and_counted() {
    let mut stage = working();
    let seqs = [stage.host.report([n(2)]), stage.host.report([n(3)])];
    for seq in seqs {
        stage.answer_upload(Code::UPLOAD_FAILED);
        assert_eq!(stage.host.expect_settle(), [seq]);
    }
    stage.assert_count("uploads_refused", 2);
    assert_eq!(stage.host.logs().iter().filter(|(_, line)| line.contains("refused an upload")).count(), 1);
}

#[test]
fn answers_to_nothing_are_counted() {
    let mut stage = working();
    stage.accept_upload();
    stage.send(Kind::Upload, &[0]);
    stage.host.expect_silence();
    stage.assert_count("answers_unmatched", 1);
    stage.assert_count("input_dropped", 1);
}

#[test]
fn a_firmware_status_that_is_answered_as_an_upload_settles_none_and_is_not_told_again() {
    let mut stage = Stage::working(bound(json!({"panel_results": false, "ota_target": "module"})));
    let firmware = json!({
        "feedid": FEEDID, "productuuid": PRODUCT_UUID, "version": 9, "versionname": "1.0.1.20240101_release",
        "crc32": 1, "url": "http://live.example/image",
    });
    stage.send(Kind::OtaOrder, json!({"cmd": "ota", "serial": 1, "data": firmware}).to_string().as_bytes());
    stage.expect(Kind::OtaOrder);
    let ota::Request::Offer(offer) = stage.host.expect_ota() else { panic!("no offer") };
    // So says JD's device SDK 2.0.7 where it is the cloud.
    let answer = br#"{"code":0, "msg":"sucess"}"#;
    stage.expect(Kind::OtaStatus);
    stage.send(Kind::Upload, answer);
    stage.host.updates_changed(vec![ota::Update { id: offer.id, phase: ota::Phase::Finished, ..Default::default() }]);
    stage.expect(Kind::OtaStatus);
    let seq = stage.host.report([n(2)]);
    stage.expect_upload();
    stage.send(Kind::Upload, answer);
    assert!(matches!(stage.host.expect_ota(), ota::Request::Acknowledge(_)));
    stage.host.expect_silence();
    stage.assert_count("answers_unmatched", 0);
    stage.accept_upload();
    assert_eq!(stage.host.expect_settle(), [seq]);
    stage.host.advance(50_000);
    stage.host.expect_silence();
}

#[test]
fn an_upload_without_an_answer_spoils_the_connection_and_goes_again() {
    let mut stage = working();
    let seq = stage.host.report([n(2)]);
    stage.expect_upload();
    stage.host.advance(9_999);
    stage.host.expect_silence();
    stage.host.advance(1);
    assert_eq!(stage.host.expect_tcp_close(), stage.stream);
    assert!(stage.host.status().text.contains("does not answer an upload"), "{:?}", stage.host.status());
    stage.reconnect();
    assert_eq!(stage.expect_streams(), json!({"n": 2, "heat": 20}));
    stage.host.expect_silence();
    stage.accept_upload();
    assert_eq!(stage.host.expect_settle(), [seq]);
}

#[test]
fn only_so_many_uploads_wait_for_their_answers_at_once() {
    let mut stage = working();
    for value in 0..40 {
        stage.host.report([n(value)]);
    }
    assert_eq!(stage.take_kinds(), [Kind::Upload; WINDOW]);
    for _ in 0..40 - WINDOW {
        stage.accept_upload();
        assert_eq!(stage.take_kinds(), [Kind::Upload]);
    }
    for _ in 0..WINDOW {
        stage.accept_upload();
        assert_eq!(stage.take_kinds(), []);
    }
}

/// Answers all uploads that wait; values of `n` in them, and what is settled.
fn answer_all(stage: &mut Stage, values: &mut Vec<i64>, settled: &mut Vec<u64>) {
    loop {
        let outputs = stage.host.take_outputs();
        if outputs.is_empty() {
            return;
        }
        for output in outputs {
            match output {
                Output::Settle(seqs) => settled.extend(seqs),
                Output::Tcp(tcp::Request::Send(stream, bytes)) if stream == stage.stream => {
                    values.push(stage.streams_sent(&bytes)["n"].as_i64().unwrap());
                    stage.accept_upload();
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn three_hundred_reports_arrive_in_order_although_the_connection_breaks() {
    let mut stage = working();
    let (mut values, mut settled, mut seqs) = (Vec::new(), Vec::new(), Vec::new());
    for value in 1_000..1_100 {
        seqs.push(stage.host.report([n(value)]));
        answer_all(&mut stage, &mut values, &mut settled);
    }
    // Some are sent and never answered.
    for value in 1_100..1_150 {
        seqs.push(stage.host.report([n(value)]));
    }
    stage.host.take_outputs();
    stage.cut();
    for value in 1_150..1_300 {
        seqs.push(stage.host.report([n(value)]));
    }
    stage.host.expect_silence();
    stage.reconnect();
    answer_all(&mut stage, &mut values, &mut settled);
    assert_eq!(values, (1_000..1_300).collect::<Vec<_>>());
    assert_eq!(settled, seqs);
}

#[test]
fn reports_beyond_what_is_kept_are_left_with_the_host() {
    let mut stage = Stage::started(bound(quiet()));
    let seqs: Vec<u64> = (0..600).map(|value| stage.host.report([n(value)])).collect();
    stage.assert_count("reports_left_with_host", 600 - MOST as u64);
    stage.come_in();
    let (mut values, mut settled) = (Vec::new(), Vec::new());
    answer_all(&mut stage, &mut values, &mut settled);
    assert_eq!(settled, seqs[..MOST]);
}

#[test]
fn a_flood_of_reports_and_requests_is_no_flood_of_statuses() {
    let mut stage = working();
    let n_statuses = |stage: &Stage| stage.host.transcript().matches("<-- Status").count();
    let before = n_statuses(&stage);
    let mut app = App::new();
    for value in 0..100 {
        stage.host.report([n(value)]);
        app.send_bytes(&mut stage, b"nonsense");
        app.control(&mut stage, json!({"unknown": 1}));
        stage.send(Kind::Upload, &[0]);
    }
    stage.host.advance(5_000);
    assert!(n_statuses(&stage) - before <= 2, "{} statuses", n_statuses(&stage) - before);
}

#[test]
fn nothing_is_settled_while_nobody_has_bound_the_device() {
    let mut stage = Stage::started(unbound(quiet()));
    stage.host.report([n(1)]);
    stage.host.report_event(DatapointId(0), []);
    stage.host.advance(3_600_000);
    stage.host.expect_silence();
}

#[test]
fn values_that_were_asked_for_or_come_again_are_no_uploads() {
    let mut stage = working();
    let body = || ReportBody::Properties(vec![n(7)]);
    let asked = stage.host.report_body(Cause::Answer, None, body());
    assert_eq!(stage.host.expect_settle(), [asked]);
    stage.host.live([n(8)]);
    stage.host.snapshot([n(8)]);
    stage.host.expect_silence();
    let repeated = stage.host.report_body(Cause::Periodic, None, ReportBody::Properties(vec![n(9)]));
    assert_eq!(stage.expect_streams(), json!({"n": 9, "heat": 20}));
    stage.accept_upload();
    assert_eq!(stage.host.expect_settle(), [repeated]);
}

#[test]
fn an_event_is_a_stream_beside_all_values_in_its_place() {
    let mut stage = working();
    stage.host.report([n(2)]);
    stage.host.report_event(DatapointId(0), [(DatapointId(0), Datum::Int(3))]);
    stage.host.report([n(4)]);
    assert_eq!(stage.expect_streams(), json!({"n": 2, "heat": 20}));
    assert_eq!(stage.expect_streams(), json!({"n": 2, "heat": 20, "alarm": r#"{"lv":3}"#}));
    assert_eq!(stage.expect_streams(), json!({"n": 4, "heat": 20}));
}

#[test]
fn what_the_product_does_not_know_is_settled_without_being_shown() {
    let mut stage = working();
    let seqs = [
        stage.host.report([(DatapointId(99), Datum::Int(1))]),
        stage.host.report_event(DatapointId(99), [(DatapointId(0), Datum::Int(3))]),
    ];
    for seq in seqs {
        assert_eq!(stage.expect_streams(), json!({"n": 1, "heat": 20}));
        stage.accept_upload();
        assert_eq!(stage.host.expect_settle(), [seq]);
    }
}

#[test]
fn bytes_of_a_raw_product_go_up_as_they_are() {
    let mut stage = Stage::working(raw(quiet()));
    let seqs = [stage.say_raw(b"\x00one"), stage.say_raw(b"")];
    assert_eq!(stage.expect_upload(), b"\x00one");
    assert_eq!(stage.expect_upload(), b"");
    for seq in seqs {
        stage.accept_upload();
        assert_eq!(stage.host.expect_settle(), [seq]);
    }
}

#[test]
fn an_upload_longer_than_a_packet_can_be_is_given_up() {
    let mut stage = Stage::working(raw(quiet()));
    let longest = vec![7; LONGEST_BODY];
    stage.say_raw(&longest);
    assert_eq!(stage.expect_upload(), longest);
    let seq = stage.say_raw(&vec![7; LONGEST_BODY + 1]);
    assert_eq!(stage.host.expect_settle(), [seq]);
    stage.host.expect_silence();
    assert!(stage.logged("dropped what was to be sent"));
    stage.say_raw(b"short");
    assert_eq!(stage.expect_upload(), b"short");
}

#[test]
fn the_script_makes_bytes_of_uploads_one_after_another() {
    let mut stage = Stage::working(scripted(quiet()));
    let seqs = [stage.host.report([n(2)]), stage.host.report([n(3)])];
    for (seq, bytes) in seqs.iter().zip([&b"two"[..], b"three"]) {
        stage.convert_upload(bytes);
        assert_eq!(stage.expect_upload(), bytes);
        stage.accept_upload();
        assert_eq!(stage.host.expect_settle(), [*seq]);
    }
    stage.host.expect_silence();
}

#[test]
fn an_upload_that_the_script_had_when_the_connection_broke_is_converted_anew() {
    let mut stage = Stage::working(scripted(quiet()));
    let seq = stage.host.report([n(2)]);
    let old = stage.host.expect_script_call();
    stage.cut();
    stage.host.script_returned(old.id, jds2pri(b"old"));
    stage.host.expect_silence();
    stage.reconnect();
    stage.convert_upload(b"new");
    assert_eq!(stage.expect_upload(), b"new");
    stage.accept_upload();
    assert_eq!(stage.host.expect_settle(), [seq]);
    stage.host.expect_silence();
}

#[test]
fn a_device_that_is_bound_again_meanwhile_says_again_what_was_not_answered() {
    let mut stage = Stage::working(bound(json!({"panel_results": false, "rebind": "allow"})));
    let seq = stage.host.report([n(2)]);
    stage.expect_upload();
    let mut app = App::new();
    app.discover(&mut stage);
    app.authorize(&mut stage, &bond(json!({})));
    assert_eq!(app.expect_code(&mut stage, Kind::Authorization), 0);
    assert_eq!(stage.host.expect_tcp_close(), stage.stream);
    stage.come_in();
    assert_eq!(stage.expect_streams(), json!({"n": 2, "heat": 20}));
    stage.accept_upload();
    assert_eq!(stage.host.expect_settle(), [seq]);
    stage.host.expect_silence();
    stage.host.advance(10_000);
    assert_eq!(stage.fact("feedid"), Some(FEEDID));
    stage.host.expect_silence();
}
