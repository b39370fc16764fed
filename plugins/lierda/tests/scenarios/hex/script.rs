//! The life of a script: loaded, slow, at its wits' end, gone.

use polylink_lierda::session::LierdaSession;
use polylink_plugin_sdk::services::script::{Event, Value as ScriptValue};
use polylink_plugin_sdk::services::{Failure, Reason, id};
use polylink_plugin_sdk::testing::VirtualHost;
use polylink_plugin_sdk::{FaultCode, Input, RequestId, hex};
use serde_json::{Value, json};

use super::{DOWN, DOWN_ACK, REPORT, REPORT_ACK, done, expect_decode, expect_encode, failed, returns, with_script};
use crate::scenarios::stage::{product, setup_of};

#[test]
fn a_slow_script_keeps_the_order_of_reports() {
    let mut cloud = with_script(json!({}));
    let seqs: Vec<u64> = (1..=40).map(|n| cloud.report(n)).collect();
    let mut told = Vec::new();
    let mut settled = Vec::new();
    for _ in 0..40 {
        let (call, json) = expect_encode(&mut cloud, 18);
        cloud.host.advance(500);
        returns(&mut cloud, call, [json["n"].as_u64().unwrap() as u8]);
        let sent = cloud.expect(REPORT, 18);
        told.extend(hex::decode(sent.payload.as_str().unwrap()).unwrap());
        cloud.ack(REPORT_ACK, 18, &sent.id, 200);
        settled.extend(cloud.host.expect_settle());
    }
    assert_eq!(told, (1..=40).collect::<Vec<u8>>());
    assert_eq!(settled, seqs);
    cloud.host.expect_silence();
}

#[test]
fn a_script_runs_only_so_many_calls_at_once() {
    let mut cloud = with_script(json!({}));
    for n in 1..=40 {
        cloud.report(n);
    }
    let calls: Vec<RequestId> = (0..32).map(|_| expect_encode(&mut cloud, 18).0).collect();
    cloud.host.expect_silence();
    returns(&mut cloud, calls[0], [0]);
    assert_eq!(expect_encode(&mut cloud, 18).1, json!({"n": 33}));
}

#[test]
fn a_script_is_given_only_so_many_bytes_at_once() {
    let mut cloud = with_script(json!({}));
    let digits = "00".repeat(120_000);
    let ids: Vec<Value> = (0..6).map(|_| cloud.say(DOWN, 22, json!(digits))).collect();
    let calls: Vec<RequestId> = (0..4).map(|_| expect_decode(&mut cloud, 22).0).collect();
    cloud.host.expect_silence();
    cloud.host.script_failed(calls[0], Reason::Other);
    assert_eq!(cloud.expect_frame(DOWN_ACK, 22), (ids[0].clone(), failed()));
    expect_decode(&mut cloud, 22);
    cloud.host.expect_silence();
}

#[test]
fn more_reports_than_the_script_has_room_for_are_left_with_the_host_and_counted() {
    let mut cloud = with_script(json!({}));
    for n in 1..=515 {
        cloud.report(n);
    }
    cloud.host.advance(1_000);
    cloud.assert_fact("reports_left_with_host", "3");
}

#[test]
fn a_report_that_the_script_cannot_say_is_counted_and_settled() {
    let mut cloud = with_script(json!({}));
    let seq = cloud.report(1);
    let (call, _) = expect_encode(&mut cloud, 18);
    cloud.host.script_failed(call, Reason::Other);
    assert_eq!(cloud.host.expect_settle(), [seq]);
    for results in [vec![], vec![ScriptValue::Int(1)]] {
        let seq = cloud.report(1);
        let (call, _) = expect_encode(&mut cloud, 18);
        cloud.host.script_returned(call, results);
        assert_eq!(cloud.host.expect_settle(), [seq]);
    }
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    cloud.assert_fact("conversions_failed", "3");
    let warned = cloud.host.logs().iter().filter(|(_, line)| line.contains("cannot convert")).count();
    assert_eq!(warned, 1);
}

#[test]
fn a_script_that_is_no_script_is_a_fault_of_the_settings() {
    let setup = setup_of(product(false), json!({"product_kind": "hex", "script": "no lua"}));
    let mut host = VirtualHost::new::<LierdaSession>(setup);
    host.start();
    let (script, name, source) = host.expect_script_load();
    assert_eq!((name.as_str(), source.as_str()), ("lierda", "no lua"));
    let failure = Failure { reason: Reason::Invalid, text: "line 1: no".to_owned() };
    let fault = host.try_deliver(Input::Script(Event::LoadFailed(script, failure))).unwrap_err();
    assert_eq!(fault.code, FaultCode::SETTINGS);
    assert!(fault.message.contains("settings.script") && fault.message.contains("line 1"), "{}", fault.message);
}

#[test]
fn a_host_without_scripts_is_told_so_at_once() {
    let mut setup = setup_of(product(false), json!({"product_kind": "hex", "script": "x"}));
    setup.services.retain(|service| *service != id::SCRIPT);
    let fault = VirtualHost::new::<LierdaSession>(setup).try_start().unwrap_err();
    assert!(fault.message.contains("settings.script"), "{}", fault.message);
}

#[test]
fn without_room_for_the_script_it_is_loaded_later() {
    let setup = setup_of(product(false), json!({"product_kind": "hex", "script": "x"}));
    let mut host = VirtualHost::new::<LierdaSession>(setup);
    host.start();
    let (script, ..) = host.expect_script_load();
    host.script_load_failed(script, Reason::Quota);
    host.advance(60_000);
    host.expect_script_load();
}

#[test]
fn a_report_that_ends_the_script_is_lost_and_the_others_wait_for_the_next_one_in_order() {
    let mut cloud = with_script(json!({}));
    let seqs: Vec<u64> = (1..=35).map(|n| cloud.report(n)).collect();
    let mut calls: Vec<RequestId> = (0..32).map(|_| expect_encode(&mut cloud, 18).0).collect();
    cloud.host.script_failed(calls[0], Reason::Timeout);
    assert_eq!(cloud.host.expect_settle(), [seqs[0]]);
    calls.push(expect_encode(&mut cloud, 18).0);
    for (n, call) in calls.iter().enumerate().skip(1) {
        let reason = if n % 2 == 0 { Reason::UnknownHandle } else { Reason::Closed };
        cloud.host.script_failed(*call, reason);
    }
    assert_eq!(cloud.host.logs().iter().filter(|(_, line)| line.contains("is gone")).count(), 1);
    cloud.assert_fact("script", "loading");
    cloud.host.advance(59_999);
    cloud.host.expect_silence();
    cloud.host.advance(1);
    let (script, ..) = cloud.host.expect_script_load();
    cloud.host.expect_silence();
    cloud.host.script_loaded(script);
    cloud.script = Some(script);
    let told: Vec<Value> = (0..32).map(|_| expect_encode(&mut cloud, 18).1["n"].clone()).collect();
    assert_eq!(told, (2..=33).map(|n| json!(n)).collect::<Vec<_>>());
    cloud.host.advance(1_000);
    cloud.assert_fact("conversions_failed", "1");
    cloud.assert_fact("script", "ready");
}

#[test]
fn a_command_that_ends_the_script_has_failed_and_the_others_wait_for_the_next_one() {
    let mut cloud = with_script(json!({}));
    let ids = [cloud.say(DOWN, 22, json!("01")), cloud.say(DOWN, 22, json!("02"))];
    let calls = [expect_decode(&mut cloud, 22).0, expect_decode(&mut cloud, 22).0];
    cloud.host.script_failed(calls[0], Reason::Timeout);
    assert_eq!(cloud.expect_frame(DOWN_ACK, 22), (ids[0].clone(), failed()));
    cloud.host.script_failed(calls[1], Reason::UnknownHandle);
    cloud.host.advance(60_000);
    let (script, ..) = cloud.host.expect_script_load();
    cloud.host.script_loaded(script);
    let (call, bytes) = expect_decode(&mut cloud, 22);
    assert_eq!(bytes, [2]);
    returns(&mut cloud, call, r#"{"n":5}"#);
    let (command, _) = cloud.host.expect_set();
    cloud.host.command_done(command);
    assert_eq!(cloud.expect_frame(DOWN_ACK, 22), (ids[1].clone(), done()));
}

#[test]
fn a_stopped_session_unloads_its_script() {
    let mut cloud = with_script(json!({}));
    cloud.host.stop();
    assert_eq!(Some(cloud.host.expect_script_unload()), cloud.script);
}
