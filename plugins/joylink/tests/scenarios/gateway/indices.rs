//! The host may give the index of one subdevice to another. Nothing of the one is then said of the other.

use polylink_plugin_sdk::OutcomeResult;
use polylink_plugin_sdk::services::module;
use serde_json::json;

use super::talk::{
    asking, bind, command, expect_answer, expect_upload, joined, report, shown, unbind, with_bound, with_list,
};
use crate::packet::Kind;
use crate::scenarios::stage::{App, Stage, control};

#[test]
fn two_that_swap_their_indices_keep_what_they_look_like_apart() {
    let (mut stage, _) = with_bound(&["a1", "b2"]);
    report(&mut stage, 1, 11);
    report(&mut stage, 2, 22);
    stage.settle_down();
    stage.host.subdevices_changed(vec![joined(2, "a1"), joined(1, "b2")]);
    stage.cut();
    stage.reconnect();
    let kinds = stage.take_kinds();
    assert!(!kinds.contains(&Kind::SubUpload), "what they look like now, nobody has said: {kinds:?}");
    report(&mut stage, 2, 12);
    assert_eq!(expect_upload(&mut stage, "a1"), json!({"n": 12}));
}

#[test]
fn reports_that_wait_are_not_told_as_another_ones() {
    let (mut stage, _) = with_bound(&["a1", "b2"]);
    stage.cut();
    let lost = [report(&mut stage, 1, 11), report(&mut stage, 1, 12)];
    stage.host.take_outputs();
    stage.host.subdevices_changed(vec![joined(1, "b2")]);
    assert_eq!(stage.host.expect_settle(), lost, "nobody is left whose they are");
    let seq = report(&mut stage, 1, 21);
    stage.reconnect();
    stage.expect_upload();
    assert_eq!(expect_upload(&mut stage, "b2"), json!({"n": 21}));
    assert_eq!(stage.host.expect_settle(), [seq]);
}

#[test]
fn an_upload_that_was_not_answered_is_not_sent_again_as_another_ones() {
    let (mut stage, _) = with_bound(&["a1", "b2"]);
    let seq = report(&mut stage, 1, 11);
    stage.expect(Kind::SubUpload);
    stage.host.subdevices_changed(vec![joined(1, "b2")]);
    stage.cut();
    stage.reconnect();
    assert_eq!(stage.host.expect_settle(), [seq]);
    assert!(!stage.take_kinds().contains(&Kind::SubUpload));
}

#[test]
fn a_command_for_one_whose_index_is_anothers_now_is_answered_as_for_one_that_is_away() {
    let (mut stage, _) = with_bound(&["a1", "b2"]);
    command(&mut stage, "a1", 1002, &control(json!({"n": 5})));
    let (id, _) = stage.host.expect_submit();
    stage.host.subdevices_changed(vec![joined(2, "a1"), joined(1, "b2")]);
    assert_eq!(expect_answer(&mut stage, "a1").1["code"], 20);
    stage.host.command_ended(id, OutcomeResult::Done);
    // It is asked anew what it looks like, and nothing else is said.
    assert_eq!(stage.host.expect_submit().1.device, 2);
    stage.host.expect_silence();
    command(&mut stage, "b2", 1004, b"");
    let (id, asked) = stage.host.expect_submit();
    assert_eq!(asked.device, 1);
    stage.host.command_done(id);
    assert_eq!(expect_answer(&mut stage, "b2").1["streams"], json!([]), "nothing is known of it");
}

#[test]
fn one_that_waits_is_not_bound_with_the_looks_of_the_one_before() {
    let mut stage = Stage::working(with_list(vec![asking(1, "a1")]));
    let mut app = App::new();
    app.discover(&mut stage);
    report(&mut stage, 1, 11);
    stage.host.subdevices_changed(vec![asking(1, "b2")]);
    stage.settle_down();
    bind(&mut stage, &mut app, "b2");
    assert!(!stage.take_kinds().contains(&Kind::SubUpload));
}

#[test]
fn one_that_was_unbound_leaves_nothing_to_the_next_with_its_index() {
    for by_reset in [false, true] {
        let (mut stage, mut app) = with_bound(&["a1"]);
        report(&mut stage, 1, 11);
        stage.settle_down();
        if by_reset {
            stage.host.module_event(module::Event::Reset);
        } else {
            assert_eq!(unbind(&mut stage, &["a1"]), [2]);
        }
        stage.host.subdevices_changed(vec![]);
        stage.host.subdevices_changed(vec![asking(1, "b2")]);
        stage.settle_down();
        if by_reset {
            shown(&mut stage, &mut app);
            app.authorize(&mut stage, &crate::scenarios::stage::bond(json!({})));
            assert_eq!(app.expect_code(&mut stage, Kind::Authorization), 0);
            stage.come_in();
        }
        bind(&mut stage, &mut app, "b2");
        assert!(!stage.take_kinds().contains(&Kind::SubUpload));
    }
}
