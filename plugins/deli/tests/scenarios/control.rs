//! Remote control (200).

use polylink_plugin_sdk::{CommandBody, DatapointId};
use serde_json::{Value, json};

use crate::scenarios::cloud::Cloud;

fn control(mid: Value, data: Value) -> Value {
    json!({"mid": mid, "from": "u77", "time": 1, "action": 200, "data": data})
}

#[test]
fn a_control_command_runs_the_action_of_its_name_and_answers_with_the_result() {
    for (dialect, member, nothing) in [("v1_0", "payload", json!({})), ("v1_1", "result", json!("{}"))] {
        let mut cloud = Cloud::online(json!({"dialect": dialect}));
        cloud.say(control(json!("c1"), json!({"cmd": "cleanup", "payload": {}})));
        let (id, submitted) = cloud.host.expect_submit();
        assert_eq!(submitted.body, CommandBody::Invoke { action: DatapointId(0), params: Vec::new() });
        assert_eq!(submitted.deadline_ms, 30_000);
        cloud.host.command_done(id);
        let answer = cloud.expect(200);
        assert_eq!(
            (&answer["to"], &answer["data"]["code"], &answer["data"]["cmd"]),
            (&json!("u77"), &json!(0), &json!("cleanup"))
        );
        assert_eq!(answer["data"][member], nothing);
    }
}

#[test]
fn a_repeated_request_is_answered_twice_and_obeyed_once() {
    let mut cloud = Cloud::online(json!({}));
    cloud.say(control(json!("c1"), json!({"cmd": "cleanup"})));
    let (id, _) = cloud.host.expect_submit();
    cloud.say(control(json!("c1"), json!({"cmd": "cleanup"})));
    cloud.host.expect_silence();
    cloud.host.command_done(id);
    let first = cloud.expect(200);
    cloud.host.advance(599_000);
    cloud.say(control(json!("c1"), json!({"cmd": "cleanup"})));
    assert_eq!(cloud.expect(200)["data"], first["data"]);
    cloud.host.advance(2_000);
    cloud.say(control(json!("c1"), json!({"cmd": "cleanup"})));
    cloud.host.expect_submit();
}

#[test]
fn a_command_that_takes_too_long_is_answered_with_timeout() {
    let mut cloud = Cloud::online(json!({}));
    cloud.say(control(json!(7), json!({"cmd": "cleanup"})));
    let (id, _) = cloud.host.expect_submit();
    cloud.host.advance(29_999);
    assert_eq!(cloud.count(200), 0);
    cloud.host.advance(1);
    let answer = cloud.expect(200);
    assert_eq!(
        (&answer["mid"], &answer["data"]["code"], &answer["data"]["msg"]),
        (&json!(7), &json!(-1), &json!("timeout"))
    );
    cloud.host.command_done(id);
    cloud.host.expect_silence();
}

#[test]
fn the_test_command_needs_to_be_enabled() {
    let echo = || control(json!("c1"), json!({"cmd": "echo", "payload": {"id": 512_345_678_901_234_567_i64}}));
    let mut cloud = Cloud::online(json!({}));
    cloud.say(echo());
    assert_eq!(cloud.expect(200)["data"], json!({"code": 106, "msg": "unsupported cmd", "cmd": "echo", "payload": {}}));
    let mut cloud = Cloud::online(json!({"enable_test_commands": true}));
    cloud.say(echo());
    let answer = cloud.host.expect_publish();
    assert!(answer.text().contains(r#""payload":{"id":512345678901234567}"#), "{}", answer.text());
}

#[test]
fn an_empty_sender_is_answered_at_the_system() {
    for from in [json!(""), json!(null)] {
        let mut cloud = Cloud::online(json!({}));
        cloud.say(json!({"mid": "c1", "from": from, "action": 200, "data": {}}));
        assert_eq!(cloud.expect(200)["to"], "system");
    }
}

#[test]
fn a_request_without_a_mid_is_carried_out_and_logged() {
    let mut cloud = Cloud::online(json!({}));
    cloud.say(control(json!(null), json!({"cmd": "cleanup"})));
    let (id, _) = cloud.host.expect_submit();
    cloud.host.command_done(id);
    cloud.host.expect_silence();
    assert!(cloud.host.logs().iter().any(|(_, line)| line.contains("without a mid")));
}
