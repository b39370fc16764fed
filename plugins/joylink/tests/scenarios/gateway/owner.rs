//! Another owner of the gateway: nothing of the one before is left, told or carried out.

use polylink_plugin_sdk::services::module;
use polylink_plugin_sdk::services::subdevices;
use serde_json::json;

use super::talk::{joined, requests, shown, with_bound};
use crate::packet::Kind;
use crate::scenarios::life::{Life, request_bytes, set_n};
use crate::scenarios::schedules::tasks::{add, cycle, task};
use crate::scenarios::stage::{App, FEEDID, bond, gateway, n};
use crate::timers::wire::{Answer, Body, Operation, Request};

/// A gateway whose MCU has the first of two commands of a step.
#[track_caller]
fn busy() -> (Life, App) {
    let (mut stage, app) = with_bound(&["a1"]);
    let (bytes, _) = request_bytes(add([task(
        1,
        Body::Countdown { interval_s: 60, action_commands: vec![set_n(1), set_n(2)], stop_commands: vec![set_n(3)] },
    )]));
    stage.send(Kind::Timers, &bytes);
    (Life::on(stage), app)
}

#[test]
fn after_a_reset_the_commands_of_a_step_under_way_are_not_sent_and_it_is_told_to_nobody() {
    let (mut life, mut app) = busy();
    let (id, values) = life.stage.host.expect_set();
    assert_eq!(values, [n(1)]);
    life.stage.host.module_event(module::Event::Reset);
    life.stage.host.take_outputs();
    life.stage.host.command_done(id);
    life.stage.host.expect_silence();
    life.stage.host.advance(600_000);
    life.stage.expect_nothing_said();

    // The next owner's first step is not mistaken for it.
    app.authorize(&mut life.stage, &bond(json!({})));
    assert_eq!(app.expect_code(&mut life.stage, Kind::Authorization), 0);
    life.bring_cloud();
    life.pass(5_000);
    assert_eq!(life.ask_for_code(add([cycle(4, 10, 10, 1)])), 0);
    life.pass(60_000);
    assert_eq!(life.seen.steps(), [(4, 1, 0), (4, 2, 0)]);
    assert!(life.seen.told.iter().all(|(_, told)| told.id.as_str() == "4"));
}

#[test]
fn results_of_former_tasks_are_not_told_to_the_next_owner() {
    let mut life = Life::started(gateway(json!({"rebind": "allow"})));
    life.bring_cloud();
    life.pass(5_000);
    life.acknowledges = false;
    assert_eq!(life.ask_for_code(add([cycle(4, 10, 10, 0)])), 0);
    life.pass(60_000);
    life.seen = Default::default();
    let mut app = App::new();
    app.discover(&mut life.stage);
    app.authorize(&mut life.stage, &bond(json!({"feedid": "2002"})));
    assert_eq!(app.expect_code(&mut life.stage, Kind::Authorization), 0);
    life.acknowledges = true;
    life.pass(600_000);
    assert_eq!((life.seen.steps(), life.seen.values()), (vec![], vec![]));
    assert_eq!(life.seen.told.len(), 0);
    let answers = life.ask(Request::Ids(Operation::Query, vec![]));
    assert!(matches!(answers.as_slice(), [Answer::Listing(listing)] if listing.tasks.is_empty()), "{answers:?}");
    assert!(life.seen.snapshots_of(FEEDID).is_empty());
}

#[test]
fn the_next_owner_does_not_get_the_subdevices_of_the_one_before() {
    let (mut stage, mut app) = with_bound(&["a1"]);
    stage.host.module_event(module::Event::BindWindow(60));
    stage.host.take_outputs();
    app.authorize(&mut stage, &bond(json!({"feedid": "2002"})));
    assert_eq!(app.expect_code(&mut stage, Kind::Authorization), 0);
    assert_eq!(requests(&mut stage), [subdevices::Request::Remove(1)]);
    stage.host.subdevices_changed(vec![joined(1, "a1")]);
    assert!(shown(&mut stage, &mut app).iter().all(|(_, state)| *state == 1));
}
