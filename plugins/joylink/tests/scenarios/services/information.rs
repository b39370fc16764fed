//! The weather and the like (15) for a property of the MCU.

use polylink_plugin_sdk::testing::Setup;
use polylink_plugin_sdk::{DatapointId, OutcomeResult, Value as Datum};
use serde_json::json;

use crate::packet::Kind;
use crate::scenarios::stage::{Stage, bound, n};
use crate::wire::Information;

const TOLD: &str = r#"{"result":[{"type":"air","value":{"pm25":"35"}}]}"#;

fn wanting(property: &str) -> Setup {
    bound(json!({"information": ["weather", "air"], "information_every_s": 100, "information_property": property}))
}

/// Let in and shown; the question that follows.
#[track_caller]
fn asked(stage: &mut Stage) -> Information {
    Information::decode(&stage.expect(Kind::Information)).expect("a question")
}

#[track_caller]
fn tell(stage: &mut Stage, serial: u32, info: &str) {
    stage.send(Kind::Information, &Information { serial, info: info.into() }.encode());
}

#[test]
fn what_the_cloud_tells_goes_to_the_mcu_as_it_came() {
    let texts =
        [("note", DatapointId(5), Datum::Text(TOLD.into())), ("push_stream", DatapointId(7), Datum::Json(TOLD.into()))];
    for (property, id, value) in texts {
        let mut stage = Stage::connected(wanting(property));
        let (get, _) = stage.host.expect_submit();
        stage.host.command_done(get);
        stage.expect_upload();
        stage.accept_upload();
        let question = asked(&mut stage);
        assert_eq!(question.info, br#"{"type":["weather","air"]}"#);
        tell(&mut stage, question.serial.wrapping_add(1), TOLD);
        stage.host.expect_silence();
        stage.assert_count("information_unexpected", 1);
        tell(&mut stage, question.serial, TOLD);
        let (set, values) = stage.host.expect_set();
        assert_eq!(values, [(id, value)]);
        stage.host.command_ended(set, OutcomeResult::TimedOut);
        stage.host.expect_silence();
        tell(&mut stage, question.serial, TOLD);
        stage.host.expect_silence();
        stage.host.advance(98_000);
        stage.take_kinds();
        stage.host.advance(1_000);
        assert_ne!(asked(&mut stage).serial, question.serial);
    }
}

#[test]
fn a_cloud_that_tells_nothing_is_asked_again_on_the_next_connection() {
    let mut stage = Stage::started(wanting("note"));
    stage.host.snapshot([n(1)]);
    stage.come_in();
    stage.expect_upload();
    let first = asked(&mut stage);
    stage.cut();
    stage.reconnect();
    stage.expect_upload();
    assert_ne!(asked(&mut stage).serial, first.serial);
}
