//! The product type of a device whose settings do not say it: by the MCU, or by an app.

use polylink_plugin_sdk::services::module;
use polylink_plugin_sdk::testing::Setup;
use polylink_plugin_sdk::{CommandBody, DatapointId, Input, Outcome, OutcomeResult, RequestId, Value as Datum};
use serde_json::{Value, json};

use crate::packet::Kind;
use crate::scenarios::stage::{App, Stage, bond, unbound};

/// A device that asks its MCU.
fn asking(changes: Value) -> Setup {
    let mut settings = json!({"product_uuid": "", "product_uuid_property": "note"});
    settings.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    unbound(settings)
}

/// The MCU is asked.
#[track_caller]
fn expect_question(stage: &mut Stage) -> RequestId {
    let (id, command) = stage.host.expect_submit();
    assert_eq!((command.device, &command.body), (0, &CommandBody::Get(vec![DatapointId(5)])));
    id
}

#[track_caller]
fn answer(stage: &mut Stage, id: RequestId, text: &str) {
    let values = vec![(DatapointId(5), Datum::Text(text.to_owned()))];
    stage.host.deliver(Input::Outcome(id, Outcome { result: OutcomeResult::Done, values, document: None }));
}

/// What discovery shows as product type; none: it is silent.
#[track_caller]
fn discovered(stage: &mut Stage) -> Option<String> {
    stage.host.advance(1_000);
    let mut app = App::new();
    app.look(stage, json!({}));
    let is_silent = stage.take_kinds().is_empty()
        && stage.host.status().facts.iter().any(|(name, value)| name == "product_uuid" && value == "not known yet");
    if is_silent {
        app.look(stage, json!({}));
        stage.expect_nothing_said();
        return None;
    }
    Some(app.discover(stage)["productuuid"].as_str().expect("a text").to_owned())
}

#[test]
fn discovery_is_silent_until_the_mcu_has_told_the_product_type_which_is_then_kept() {
    let mut stage = Stage::started(asking(json!({})));
    let id = expect_question(&mut stage);
    assert_eq!(discovered(&mut stage), None);
    answer(&mut stage, id, "ABC123\0\0");
    assert_eq!(discovered(&mut stage).as_deref(), Some("ABC123"));
    stage.host.advance(60_000);
    stage.host.expect_silence();
    stage.restart();
    stage.host.expect_silence();
    assert_eq!(discovered(&mut stage).as_deref(), Some("ABC123"));
}

#[test]
fn an_mcu_that_does_not_answer_or_tells_nonsense_is_asked_again_after_ten_seconds() {
    let mut stage = Stage::started(asking(json!({})));
    let id = expect_question(&mut stage);
    stage.host.command_ended(id, OutcomeResult::TimedOut);
    for text in ["", "ABC12", "ABC1234", "ABC-12"] {
        stage.host.advance(9_999);
        stage.host.expect_silence();
        stage.host.advance(1);
        let id = expect_question(&mut stage);
        answer(&mut stage, id, text);
    }
    // As soon as the MCU is back.
    stage.host.advance(1_000);
    stage.host.facts_changed(module::Facts { mcu_online: false, ..Default::default() });
    stage.host.expect_silence();
    stage.host.facts_changed(module::Facts { mcu_online: true, ..Default::default() });
    let id = expect_question(&mut stage);
    stage.host.advance(30_000);
    stage.host.expect_silence();
    answer(&mut stage, id, "abc123");
    assert_eq!(discovered(&mut stage).as_deref(), Some("abc123"));
}

#[test]
fn a_reset_forgets_what_was_told_and_asks_again() {
    let mut stage = Stage::started(asking(json!({})));
    let id = expect_question(&mut stage);
    answer(&mut stage, id, "ABC123");
    stage.host.module_event(module::Event::Reset);
    expect_question(&mut stage);
    assert_eq!(discovered(&mut stage), None);
    stage.restart();
    let id = expect_question(&mut stage);
    answer(&mut stage, id, "XYZ789");
    assert_eq!(discovered(&mut stage).as_deref(), Some("XYZ789"));
}

#[test]
fn an_app_may_tell_it_too_but_not_change_it() {
    let mut stage = Stage::started(asking(json!({})));
    let id = expect_question(&mut stage);
    answer(&mut stage, id, "ABC123");
    let mut app = App::new();
    stage.host.advance(1_000);
    app.discover(&mut stage);
    app.authorize(&mut stage, &bond(json!({"productuuid": "XYZ789"})));
    assert_eq!(app.expect_code(&mut stage, Kind::Authorization), 0);
    stage.come_in();
    stage.host.take_outputs();
    assert_eq!(discovered(&mut stage).as_deref(), Some("ABC123"));
}

#[test]
fn a_product_type_that_nobody_can_tell_is_waited_for_without_asking() {
    let mut stage = Stage::started(unbound(json!({"product_uuid": ""})));
    stage.host.expect_silence();
    assert_eq!(discovered(&mut stage), None);
    // An app that got the public key elsewhere, such as from a label, binds it and tells.
    let mut told = Stage::started(unbound(json!({})));
    let mut app = App::new();
    app.discover(&mut told);
    app.authorize(&mut stage, &bond(json!({"productuuid": "XYZ789"})));
    assert_eq!(app.expect_code(&mut stage, Kind::Authorization), 0);
    stage.host.take_outputs();
    assert_eq!(discovered(&mut stage).as_deref(), Some("XYZ789"));
    stage.restart();
    stage.host.take_outputs();
    assert_eq!(discovered(&mut stage).as_deref(), Some("XYZ789"));
    stage.host.module_event(module::Event::Reset);
    stage.host.take_outputs();
    assert_eq!(discovered(&mut stage), None);
}
