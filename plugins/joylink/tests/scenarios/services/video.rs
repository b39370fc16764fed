//! Where a video goes (200), and what the device says to that (201).

use polylink_plugin_sdk::{DatapointId, OutcomeResult, Value as Datum};
use serde_json::{Value, json};

use crate::packet::Kind;
use crate::scenarios::stage::{ACCESSKEY, FEEDID, Stage, bound, raw, streams_in};
use crate::wire::Script;

const ADDRESS: &str = r#"{"resolution":240,"address":"rtsp://video.example/1"}"#;

/// The cloud tells the address in this stream.
#[track_caller]
fn tell(stage: &mut Stage, stream: &str) {
    let content = json!({
        "control": [{"stream_id": stream, "current_value": ADDRESS}], "feed_id": 77, "attribute": {"a": [1, 2]},
    });
    let content = content.to_string().into_bytes();
    stage.send(Kind::VideoAddress, &Script { biz_code: 1002, serial: 31, content }.encode());
}

#[track_caller]
fn expect_answer(stage: &mut Stage) -> Value {
    let answer = Script::decode(&stage.expect(Kind::VideoAnswer)).expect("an answer");
    assert_eq!((answer.biz_code, answer.serial), (102, 31));
    let answer: Value = serde_json::from_slice(&answer.content).expect("JSON");
    assert_eq!(answer["attribute"], json!({"a": [1, 2]}));
    assert_eq!(answer["device"], json!({"feed_id": FEEDID, "access_key": ACCESSKEY}));
    answer
}

#[test]
fn the_address_goes_to_the_mcu_and_what_the_device_looks_like_to_the_cloud() {
    let mut stage = Stage::working(bound(json!({})));
    tell(&mut stage, "push_stream");
    let (id, values) = stage.host.expect_set();
    assert_eq!(values, [(DatapointId(7), Datum::Json(ADDRESS.into()))]);
    stage.host.command_done(id);
    let answer = expect_answer(&mut stage);
    assert_eq!(answer["result"], 0);
    assert_eq!(streams_in(&answer["streams"])["push_stream"], ADDRESS);
}

#[test]
fn what_cannot_be_done_has_a_result_of_its_own() {
    let mut stage = Stage::working(bound(json!({})));
    tell(&mut stage, "nothing");
    assert_eq!(expect_answer(&mut stage)["result"], -4);
    for (end, result) in [
        (OutcomeResult::Unreachable, -3),
        (OutcomeResult::TimedOut, -5),
        (OutcomeResult::Refused("busy".to_owned()), -5),
    ] {
        tell(&mut stage, "push_stream");
        let (id, _) = stage.host.expect_set();
        stage.host.command_ended(id, end);
        let answer = expect_answer(&mut stage);
        assert_eq!((&answer["result"], &answer["streams"]), (&json!(result), &Value::Null));
    }
    let mut stage = Stage::working(raw(json!({})));
    tell(&mut stage, "push_stream");
    assert_eq!(expect_answer(&mut stage)["result"], -4, "the bytes of such a product nobody here knows");
}

#[test]
fn more_requests_than_can_be_under_way_are_refused() {
    let mut stage = Stage::working(bound(json!({})));
    for _ in 0..64 {
        tell(&mut stage, "push_stream");
        stage.host.expect_set();
    }
    tell(&mut stage, "push_stream");
    assert_eq!(expect_answer(&mut stage)["result"], -5);
    stage.host.expect_silence();
}
