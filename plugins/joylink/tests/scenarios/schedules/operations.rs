//! What the cloud and an app may do to tasks, and the codes of the answers.

use serde_json::json;

use super::by_calendar::{app_asks, setup_at};
use super::tasks::{add, at, countdown, cycle, modify, task};
use crate::packet::Kind;
use crate::scenarios::life::{Life, name, request_bytes};
use crate::scenarios::stage::{App, FEEDID, bond, bound, gateway, unbound};
use crate::timers::wire::{Answer, Body, Operation, Request, StepResult, Task};
use Operation::{Add, Delete, Modify, Query, Restart, Stop, Supported};

/// 2024-03-01 12:20:00 in China.
const START: i64 = 1_709_266_800;
const DAILY: &str = "0_0_9_*_*_*_*";

fn ids(operation: Operation, ids: &[i32]) -> Request {
    Request::Ids(operation, ids.to_vec())
}

/// Ids, states and versions of the device's tasks, as the cloud is told.
#[track_caller]
fn listed(life: &mut Life) -> Vec<(i32, u8, i32)> {
    let answers = life.ask(ids(Query, &[]));
    let [Answer::Listing(listing)] = answers.as_slice() else { panic!("one listing: {answers:?}") };
    assert_eq!(listing.feedid, name(FEEDID));
    listing.tasks.iter().map(|task| (task.id, task.state, task.version)).collect()
}

/// Asks a device with the tasks 1 and 2, once as the cloud and once as an app: the same answer, and what is left.
#[track_caller]
fn check(request: Request, answer: Answer, left: &[(i32, u8)]) {
    for by_app in [false, true] {
        let mut life = Life::online(setup_at(START, json!({})));
        assert_eq!(life.ask_for_code(add([at(1, DAILY), at(2, DAILY)])), 0);
        let answered = if by_app {
            vec![app_asks(&mut life, &mut App::new(), request.clone())]
        } else {
            life.ask(request.clone())
        };
        assert_eq!(answered, std::slice::from_ref(&answer), "by an app: {by_app}");
        let listed = listed(&mut life).iter().map(|(id, state, _)| (*id, *state)).collect::<Vec<_>>();
        assert_eq!(listed, left, "by an app: {by_app}");
        // All of that is on the disk.
        life.cut_power(0);
        life.pass(10_000);
        assert_eq!(self::listed(&mut life).iter().map(|(id, state, _)| (*id, *state)).collect::<Vec<_>>(), left);
    }
}

#[test]
fn timers_are_supported_and_additions_are_all_or_nothing() {
    let both = [(1, 1), (2, 1)];
    check(Request::Supported, Answer::Code(Supported, 0), &both);
    check(add([at(3, DAILY)]), Answer::Code(Add, 0), &[(1, 1), (2, 1), (3, 1)]);
    check(add([Task { state: 0, ..at(3, DAILY) }]), Answer::Code(Add, 0), &[(1, 1), (2, 1), (3, 0)]);
    for wrong in [at(1, DAILY), at(3, DAILY), at(4, "nonsense"), cycle(4, 0, 0, 1), countdown(4, -1), at(0, DAILY)] {
        check(add([at(3, DAILY), wrong]), Answer::Code(Add, 3), &both);
    }
}

#[test]
fn more_than_32_tasks_are_refused_as_a_limit() {
    let mut life = Life::online(setup_at(START, json!({})));
    assert_eq!(life.ask_for_code(add((1..=30).map(|id| at(id, DAILY)))), 0);
    assert_eq!(life.ask_for_code(add((31..=33).map(|id| at(id, DAILY)))), 17);
    assert_eq!(life.ask_for_code(add((31..=32).map(|id| at(id, DAILY)))), 0);
    assert_eq!(life.ask_for_code(add([at(33, DAILY)])), 17);
    assert_eq!(listed(&mut life).len(), 32);
    assert_eq!(life.ask_for_code(ids(Delete, &[7])), 0);
    assert_eq!(life.ask_for_code(add([at(33, DAILY)])), 0);
}

#[test]
fn modifications_keep_what_they_leave_empty_and_are_all_or_nothing() {
    let both = [(1, 1), (2, 1)];
    check(modify([at(7, DAILY)]), Answer::Code(Modify, 3), &both);
    check(modify([Task { state: 0, ..at(1, DAILY) }, at(7, DAILY)]), Answer::Code(Modify, 3), &both);
    check(modify([Task { state: 0, ..at(1, DAILY) }]), Answer::Code(Modify, 0), &[(1, 0), (2, 1)]);
    let other = Task { feedid: name("another"), ..at(1, DAILY) };
    check(modify([other]), Answer::Code(Modify, 3), &both);

    let mut life = Life::online(setup_at(START, json!({})));
    life.ask(add([at(1, DAILY)]));
    let half_past = Body::Expression { expression: "0_30_12_*_*_*_*".into(), commands: vec![] };
    assert_eq!(life.ask_for_code(modify([Task { version: 1, ..task(1, half_past) }])), 0);
    assert_eq!(listed(&mut life), [(1, 1, 1)]);
    life.pass(86_400_000);
    assert_eq!(life.seen.values(), [(START + 600, 11)], "the new time and the old commands");
}

#[test]
fn deletion_stop_and_restart_do_what_can_be_done_and_name_the_rest() {
    check(ids(Delete, &[1]), Answer::Ids(Delete, 0, vec![]), &[(2, 1)]);
    check(ids(Delete, &[]), Answer::Ids(Delete, 0, vec![]), &[]);
    check(ids(Delete, &[9, 1]), Answer::Ids(Delete, 3, vec![9]), &[(2, 1)]);
    check(ids(Stop, &[2]), Answer::Ids(Stop, 0, vec![]), &[(1, 1), (2, 0)]);
    check(ids(Stop, &[]), Answer::Ids(Stop, 0, vec![]), &[(1, 0), (2, 0)]);
    check(ids(Stop, &[9]), Answer::Ids(Stop, 3, vec![9]), &[(1, 1), (2, 1)]);
    check(ids(Restart, &[1, 9]), Answer::Ids(Restart, 3, vec![9]), &[(1, 1), (2, 1)]);
}

#[test]
fn a_query_lists_what_is_there_of_what_was_asked_for() {
    let mut life = Life::online(setup_at(START, json!({})));
    life.ask(add([at(1, DAILY), cycle(2, 5, 6, 7), countdown(3, 60)]));
    let listing = |life: &mut Life, request| match life.ask(request).as_slice() {
        [Answer::Listing(listing)] => listing.tasks.clone(),
        other => panic!("{other:?}"),
    };
    let all = listing(&mut life, ids(Query, &[]));
    let without_name = |task: Task| Task { name: Default::default(), ..task };
    assert_eq!(all, [at(1, DAILY), cycle(2, 5, 6, 7), countdown(3, 60)].map(without_name));
    assert_eq!(listing(&mut life, ids(Query, &[3, 9])), all[2..]);
    assert_eq!(listing(&mut life, ids(Query, &[9])), []);
}

#[test]
fn stop_cancels_what_is_pending_and_restart_begins_anew() {
    let mut life = Life::online(setup_at(START, json!({})));
    let began = life.now_s();
    life.ask(add([countdown(1, 100)]));
    life.pass(60_000);
    life.ask(ids(Stop, &[1]));
    life.pass(600_000);
    life.ask(ids(Restart, &[1]));
    life.pass(600_000);
    let since: Vec<_> = life.seen.values().iter().map(|(at, n)| (at - began, *n)).collect();
    assert_eq!(since, [(0, 11), (660, 11), (760, 12)]);
    assert_eq!(life.seen.steps(), [(1, 1, 0), (1, 1, 0), (1, 2, 0)]);
}

#[test]
fn the_cloud_sees_what_an_app_added_and_may_delete_it() {
    let mut life = Life::online(setup_at(START, json!({})));
    let mut app = App::new();
    app_asks(&mut life, &mut app, add([at(1, DAILY)]));
    assert_eq!(listed(&mut life), [(1, 1, 0)]);
    assert_eq!(life.ask_for_code(add([at(1, DAILY)])), 3, "no two have the same id, whoever adds them");
    assert_eq!(life.ask_for_code(ids(Delete, &[1])), 0);
    let Answer::Listing(listing) = app_asks(&mut life, &mut app, ids(Query, &[])) else { panic!("no listing") };
    assert_eq!(listing.tasks, []);
}

#[test]
fn a_request_that_cannot_be_read_is_refused_and_what_only_a_device_says_is_dropped() {
    let mut life = Life::online(setup_at(START, json!({})));
    let (whole, _) = request_bytes(add([at(1, DAILY)]));
    life.stage.send(Kind::Timers, &whole[..whole.len() - 1]);
    let body = life.stage.expect(Kind::Timers);
    let answer = Answer::decode(&[&[0; 4][..], &body].concat()).expect("an answer");
    assert_eq!((answer.serial, answer.content), (0xA5A5, Answer::Code(Add, 3)));
    // A mode that does not exist.
    let mut strange = whole.clone();
    strange[12..16].copy_from_slice(&9_i32.to_le_bytes());
    life.stage.send(Kind::Timers, &strange);
    life.stage.expect(Kind::Timers);
    life.stage.send(Kind::Timers, &whole[..7]);
    let mut app = App::new();
    for request in [Request::Results(vec![StepResult { id: 1, step: 1, code: 0 }]), ids(Operation::Deleted, &[1])] {
        let (bytes, _) = request_bytes(request);
        app.send(&mut life.stage, Kind::Timers, &bytes);
        life.stage.send(Kind::Timers, &bytes);
    }
    life.stage.expect_nothing_said();
    life.stage.assert_count("input_dropped", 3 + 4);
}

#[test]
fn apps_have_no_say_before_the_device_is_bound_or_where_they_may_not_control_it() {
    let mut forbidden = bound(json!({}));
    let bond = bond(json!({"lancon": 0})).to_string().into_bytes();
    forbidden.stored.insert("bond".to_owned(), bond);
    for (setup, reason) in [(unbound(json!({})), "lan_unbound"), (forbidden, "lan_lancon")] {
        let mut life = Life::started(setup);
        life.answer();
        let (bytes, _) = request_bytes(Request::Supported);
        App::new().send(&mut life.stage, Kind::Timers, &bytes);
        life.stage.expect_nothing_said();
        life.stage.assert_count(reason, 1);
    }
}

#[test]
fn tasks_of_subdevices_are_listed_apart() {
    let mut life = Life::online(gateway(json!({})));
    life.ask(add([at(1, DAILY), Task { feedid: name("sub"), ..at(2, DAILY) }]));
    assert_eq!(listed(&mut life), [(1, 1, 0)], "who names none asks for the gateway's own");
    let answers = life.ask(ids(Query, &[2, 1]));
    let listings: Vec<_> = answers
        .iter()
        .map(|answer| match answer {
            Answer::Listing(listing) => (listing.feedid, listing.tasks.len()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(listings, [(name(FEEDID), 1), (name("sub"), 1)]);
}
