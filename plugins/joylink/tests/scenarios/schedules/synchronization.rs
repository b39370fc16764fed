//! What the cloud is told of the tasks by themselves (10101), and how it repairs them.

use serde_json::json;

use super::by_calendar::{app_asks, setup_at};
use super::tasks::{add, at, modify};
use crate::packet::{Kind, STAMP};
use crate::scenarios::life::{Life, name};
use crate::scenarios::stage::{App, FEEDID, gateway};
use crate::timers::wire::{Answer, Message, Numbers, Operation, Request, Task};

const START: i64 = 1_709_266_800;
const DAILY: &str = "0_0_9_*_*_*_*";

/// When snapshots were sent, in seconds since then, and their ids.
fn snapshots(life: &Life, since: i64) -> Vec<(i64, Vec<i32>)> {
    life.seen.snapshots_of(FEEDID).into_iter().map(|(at, ids)| (at - since, ids)).collect()
}

#[test]
fn a_snapshot_follows_three_seconds_after_the_device_was_let_in() {
    let mut life = Life::started(setup_at(START, json!({})));
    life.bring_cloud();
    let let_in = life.now_s();
    life.pass(600_000);
    assert_eq!(snapshots(&life, let_in), [(3, vec![])]);
    life.stage.cut();
    life.pass(600_000);
    assert_eq!(life.seen.snapshots.len(), 2);
}

#[test]
fn changes_in_quick_succession_make_one_snapshot() {
    let mut life = Life::online(setup_at(START, json!({})));
    let began = life.now_s();
    life.ask(add([at(1, DAILY)]));
    life.pass(2_000);
    app_asks(&mut life, &mut App::new(), add([at(2, DAILY)]));
    life.pass(2_000);
    life.ask(Request::Ids(Operation::Stop, vec![1]));
    life.pass(600_000);
    assert_eq!(snapshots(&life, began), [(7, vec![1, 2])]);
    assert_eq!(life.ask_for_code(add([at(1, DAILY)])), 3);
    life.ask(Request::Ids(Operation::Query, vec![]));
    life.pass(600_000);
    assert_eq!(life.seen.snapshots.len(), 1, "what changes nothing is not told");
}

#[test]
fn changes_that_never_cease_are_told_after_half_a_minute() {
    let mut life = Life::online(setup_at(START, json!({})));
    let began = life.now_s();
    for id in 1..32 {
        life.ask(add([at(id, DAILY)]));
        life.pass(2_000);
    }
    let first = snapshots(&life, began).remove(0);
    assert_eq!(first, (30, (1..=15).collect()));
}

/// The cloud answers the snapshot of the tasks 1 and 2 like this; when it is sent again.
#[track_caller]
fn check_answer(answer: impl Fn(&Message<Request>) -> Message<Answer>, again: &[i64]) {
    let mut life = Life::online(setup_at(START, json!({})));
    life.ask(add([at(1, DAILY), at(2, DAILY)]));
    life.pass(5_000);
    assert_eq!(life.seen.snapshots.len(), 1);
    life.acknowledges = false;
    life.ask(Request::Ids(Operation::Restart, vec![]));
    life.pass(3_000);
    assert_eq!(life.seen.snapshots.len(), 2);
    let first = life.now_s();
    for second in 0..20 {
        let n_sent = life.seen.snapshots.len();
        let last = life.seen.snapshots[n_sent - 1].1.clone();
        if life.seen.snapshots[n_sent - 1].0 == first + second {
            life.stage.send(Kind::Timers, &answer(&last).encode()[STAMP..]);
        }
        life.pass(1_000);
    }
    let told: Vec<_> = snapshots(&life, first).iter().skip(2).map(|(at, _)| *at).collect();
    assert_eq!(told, again);
}

#[test]
fn a_cloud_that_saw_other_tasks_is_told_again() {
    let ids = |code, ids: &[i32]| Answer::Ids(Operation::Snapshot, code, ids.to_vec());
    let (all, missing, surplus) = (ids(0, &[2, 1]), ids(0, &[2]), ids(0, &[1, 2, 3]));
    check_answer(|sent| sent.answered(0, all.clone()), &[]);
    check_answer(|sent| Message { numbers: Numbers::Sdk, ..sent.answered(0, all.clone()) }, &[]);
    check_answer(|sent| sent.answered(0, missing.clone()), &[2, 6, 14]);
    check_answer(|sent| sent.answered(0, surplus.clone()), &[2, 6, 14]);
    check_answer(|sent| sent.answered(0, ids(3, &[1, 2])), &[2, 6, 14]);
    check_answer(|sent| Message { serial: 1, ..sent.answered(0, all.clone()) }, &[2, 6, 14]);
}

#[test]
fn the_cloud_repairs_what_the_device_has_too_much_too_little_or_otherwise() {
    let mut life = Life::online(setup_at(START, json!({})));
    life.ask(add([at(1, DAILY), at(2, DAILY), Task { version: 3, ..at(3, DAILY) }]));
    life.pass(5_000);
    // To the cloud there are 2, 3 in version 4 and 4.
    assert_eq!(life.ask_for_code(Request::Ids(Operation::Delete, vec![1])), 0);
    assert_eq!(life.ask_for_code(modify([Task { version: 4, ..at(3, "0_0_10_*_*_*_*") }])), 0);
    assert_eq!(life.ask_for_code(add([at(4, DAILY)])), 0);
    life.pass(5_000);
    let Request::Snapshot(listing) = &life.seen.snapshots.last().unwrap().1.content else { panic!("no snapshot") };
    let told: Vec<_> = listing.tasks.iter().map(|task| (task.id, task.version)).collect();
    assert_eq!(told, [(2, 0), (3, 4), (4, 0)]);
}

#[test]
fn each_device_behind_a_gateway_has_a_snapshot_of_its_own() {
    let mut life = Life::online(gateway(json!({"snapshot_delay_s": 3})));
    life.ask(add([at(1, DAILY), Task { feedid: name("sub"), ..at(2, DAILY) }]));
    life.pass(600_000);
    assert_eq!(life.seen.snapshots.len(), 2);
    assert_eq!(life.seen.snapshots_of(FEEDID)[0].1, [1]);
    assert_eq!(life.seen.snapshots_of("sub")[0].1, [2]);
}

#[test]
fn an_answer_to_nothing_is_counted() {
    let mut life = Life::online(setup_at(START, json!({})));
    for answer in
        [Answer::Ids(Operation::Snapshot, 0, vec![]), Answer::Received(vec![(1, 1)]), Answer::New { code: 0, id: 4 }]
    {
        let message = Message { timestamp: 0, serial: 1, numbers: Numbers::Document, content: answer };
        life.stage.send(Kind::Timers, &message.encode()[STAMP..]);
    }
    life.stage.assert_count("answers_unmatched", 3);
}
