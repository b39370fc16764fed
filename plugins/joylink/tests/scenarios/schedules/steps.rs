//! What becomes of a step: commands for the MCU, results for the cloud (1097 and 14), and the snapshot after it.

use polylink_plugin_sdk::{OutcomeResult, Value as Datum};
use serde_json::json;

use super::by_calendar::{app_asks, setup_at};
use super::tasks::{add, at, commands, countdown, cycle, modify, task};
use crate::packet::Kind;
use crate::scenarios::life::{Life, set_n};
use crate::scenarios::stage::{App, FEEDID, n, streams};
use crate::timers::wire::{Body, Operation, Request, Task};

/// 2024-03-01 12:20:00 in China.
const START: i64 = 1_709_266_800;

/// A task that does these things in half a minute.
fn doing(commands: Vec<Vec<u8>>) -> Task {
    task(1, Body::Expression { expression: "30_20_12_*_*_*_*".into(), commands })
}

#[test]
fn each_step_is_told_with_its_snapshot() {
    let mut life = Life::online(setup_at(START, json!({})));
    life.ask(add([countdown(7, 60)]));
    let began = life.now_s();
    life.pass(120_000);
    assert_eq!(life.seen.steps(), [(7, 1, 0), (7, 2, 0)]);
    assert_eq!(life.seen.results.iter().map(|(at, _)| at - began).collect::<Vec<_>>(), [0, 60]);
    let told: Vec<_> = life
        .seen
        .told
        .iter()
        .map(|(at, told)| {
            assert_eq!((told.biz_code, told.feedid.as_str(), told.controltype), (0, FEEDID, 0));
            assert_eq!(i64::from(told.executed_at), *at);
            (at - began, told.id.as_str().to_owned(), streams(&told.content)["n"].clone())
        })
        .collect();
    assert_eq!(told, [(0, "7".to_owned(), json!(71)), (60, "7".to_owned(), json!(72))]);
    let uploads: Vec<_> =
        life.seen.uploads.iter().map(|(at, _, upload)| (at - began, streams(upload)["n"].clone())).collect();
    assert_eq!(uploads, [(0, json!(71)), (60, json!(72))]);
}

/// A step of three commands of which these ends; the code of the step.
#[track_caller]
fn check_code(ends: [OutcomeResult; 3], code: i32) {
    let mut life = Life::online(setup_at(START, json!({})));
    let mut ends = ends.into_iter();
    life.mcu = Box::new(move |_| ends.next());
    life.ask(add([doing([11, 12, 13].map(set_n).to_vec())]));
    life.pass(60_000);
    let values: Vec<_> = life.seen.values().iter().map(|(_, n)| *n).collect();
    assert_eq!(values, [11, 12, 13], "later commands are sent whatever became of the first");
    assert_eq!(life.seen.steps(), [(1, 1, code)]);
    assert_eq!(life.seen.told.len(), 1);
}

#[test]
fn the_code_of_a_step_is_that_of_the_first_command_that_fails() {
    use OutcomeResult::{Done, Refused, TimedOut, Unreachable};
    check_code([Done, Done, Done], 0);
    check_code([Done, Refused("busy".to_owned()), TimedOut], 2);
    check_code([TimedOut, Done, Unreachable], 10);
    check_code([Unreachable, Done, Done], 11);
    check_code([Done, Done, TimedOut], 10);
}

#[test]
fn commands_that_make_no_sense_fail_and_those_behind_them_are_sent() {
    let mut life = Life::online(setup_at(START, json!({})));
    life.ask(add([doing(vec![b"nonsense".to_vec(), set_n(5), vec![]])]));
    life.pass(60_000);
    assert_eq!(life.seen.values().len(), 1);
    assert_eq!(life.seen.steps(), [(1, 1, 4)]);
}

#[test]
fn a_step_without_commands_is_done_and_the_mcu_hears_nothing_of_it() {
    let mut life = Life::online(setup_at(START, json!({})));
    let cycle =
        Body::Cycle { action_s: 10, sleep_s: 10, times: 1, action_commands: vec![], sleep_commands: commands(1, 2) };
    let silent = Body::Countdown { interval_s: 5, action_commands: vec![], stop_commands: vec![] };
    life.ask(add([task(1, cycle), task(2, silent)]));
    life.pass(60_000);
    assert_eq!(life.seen.values().len(), 1);
    assert_eq!(life.seen.steps(), [(1, 1, 0), (2, 2, 0), (1, 2, 0)], "a countdown begins without a step then");
}

#[test]
fn commands_go_to_the_mcu_one_after_another() {
    let mut life = Life::online(setup_at(START, json!({})));
    life.mcu = Box::new(|_| None);
    life.ask(add([doing([11, 12].map(set_n).to_vec()), at(2, "30_20_12_*_*_*_*")]));
    life.stage.host.take_outputs();
    life.stage.host.advance(60_000);
    for expected in [11, 12, 21] {
        let (id, values) = life.stage.host.expect_set();
        assert_eq!(values, [n(expected)]);
        life.stage.host.command_done(id);
    }
}

#[test]
fn an_mcu_that_is_slower_than_the_schedule_misses_steps_and_the_cloud_is_told_so() {
    let mut life = Life::online(setup_at(START, json!({})));
    life.mcu = Box::new(|_| None);
    life.ask(add([at(1, "/1_*_*_*_*_*_*"), cycle(2, 1, 1, 0)]));
    life.pass(100_000);
    assert_eq!(life.seen.values().len(), 1, "the MCU still has the first command");
    assert!(!life.seen.steps().is_empty());
    assert!(life.seen.steps().iter().all(|(.., code)| *code == 10));
    life.stage.assert_count("timer_steps_missed", 100 + 101 - 64);

    // What waits is still done when the MCU is back, once each: two steps a second, and all of the last half minute.
    life.mcu = Box::new(|_| Some(OutcomeResult::Done));
    let first = life.open.remove(0);
    life.stage.host.command_done(first);
    life.answer();
    assert_eq!(life.seen.values().len(), 64);
}

#[test]
fn what_waits_of_a_task_is_not_done_once_it_is_stopped_deleted_or_changed() {
    let ids = |operation| Request::Ids(operation, vec![1]);
    let changed = modify([at(1, "0_0_9_*_*_*_*")]);
    for request in [ids(Operation::Stop), ids(Operation::Delete), changed] {
        let mut life = Life::online(setup_at(START, json!({})));
        life.mcu = Box::new(|_| None);
        life.ask(add([at(1, "/10_*_*_*_*_*_*"), at(2, "55_20_12_*_*_*_*")]));
        life.pass(55_000);
        assert_eq!(life.ask_for_code(request), 0);
        life.mcu = Box::new(|_| Some(OutcomeResult::Done));
        let first = life.open.remove(0);
        life.stage.host.command_done(first);
        life.pass(600_000);
        let done: Vec<_> = life.seen.values().iter().map(|(_, n)| *n).collect();
        assert_eq!(done, [11, 21]);
        assert_eq!(life.seen.steps(), [(1, 1, 0), (2, 1, 0)]);
    }
}

#[test]
fn a_schedule_waits_while_others_ask_for_more_than_can_be_under_way() {
    let mut life = Life::online(setup_at(START, json!({})));
    life.ask(add([doing(vec![set_n(5)])]));
    life.mcu = Box::new(|_| None);
    for _ in 0..64 {
        life.stage.command(1004, "");
    }
    life.pass(60_000);
    assert_eq!(life.seen.values(), []);
    life.mcu = Box::new(|_| Some(OutcomeResult::Done));
    let first = life.open.remove(0);
    life.stage.host.command_done(first);
    life.pass(1_000);
    assert_eq!(life.seen.steps(), [(1, 1, 0)]);
}

#[test]
fn results_are_told_until_the_cloud_has_them_also_on_later_connections() {
    let mut life = Life::online(setup_at(START, json!({})));
    life.acknowledges = false;
    life.ask(add([countdown(7, 3600)]));
    let began = life.now_s();
    life.pass(300_000);
    let at: Vec<_> = life.seen.results.iter().map(|(at, _)| at - began).collect();
    assert_eq!(at, [0, 2, 6, 14, 30, 62, 122, 182, 242], "with growing pauses of at most a minute");
    for _ in 0..2 {
        life.seen.results.clear();
        life.stage.cut();
        life.pass(20_000);
        assert!(life.seen.results.len() >= 3, "and at once when it is back: {:?}", life.seen.results);
    }
    life.acknowledges = true;
    life.stage.cut();
    life.seen.results.clear();
    life.pass(600_000);
    assert_eq!(life.seen.steps(), [(7, 1, 0)]);
    assert_eq!(life.seen.told.len(), 1, "no answer is defined for the other result, so it is said once");
}

#[test]
fn steps_without_a_connection_are_told_when_there_is_one() {
    let mut life = Life::started(setup_at(START, json!({})));
    app_asks(&mut life, &mut App::new(), add([cycle(1, 60, 60, 10), countdown(2, 90)]));
    life.pass(3_600_000);
    assert_eq!(life.seen.commands.len(), 22);
    life.bring_cloud();
    life.pass(10_000);
    let mut steps = life.seen.steps();
    steps.sort_unstable();
    assert_eq!(steps, [(1, 1, 0), (1, 2, 0), (2, 1, 0), (2, 2, 0)], "of each step what it came to last");
    assert_eq!(life.seen.told.len(), 16, "of the others the last 16");
    let last = &life.seen.told.last().unwrap().1;
    assert_eq!(i64::from(last.executed_at), START + 19 * 60);
    life.stage.assert_count("results_lost", 6);
    let kinds: Vec<_> = life.seen.kinds.iter().map(|(_, kind)| *kind).collect();
    assert_eq!(kinds[0], Kind::Upload, "the snapshot comes first");
}

#[test]
fn what_the_schedule_does_is_not_told_as_a_persons_doing() {
    let mut life = Life::online(setup_at(START, json!({})));
    life.mcu = Box::new(|_| None);
    life.ask(add([doing(vec![set_n(5)])]));
    life.stage.host.take_outputs();
    life.stage.host.advance(31_000);
    let (id, _) = life.stage.host.expect_set();
    life.stage.host.report_caused_by(id, [(n(0).0, Datum::Int(5))]);
    life.stage.host.command_done(id);
    life.answer();
    assert_eq!(life.seen.told.iter().map(|(_, told)| told.controltype).collect::<Vec<_>>(), [0]);
}

#[test]
fn results_that_nobody_takes_are_bounded_and_counted() {
    let mut life = Life::started(setup_at(START, json!({})));
    let mut app = App::new();
    for round in 0..2 {
        let tasks = (1..=32).map(|id| countdown(100 * round + id, 30));
        app_asks(&mut life, &mut app, add(tasks));
        life.pass(60_000);
        app_asks(&mut life, &mut app, Request::Ids(Operation::Delete, vec![]));
    }
    life.stage.assert_count("timer_results_lost", 64);
    life.bring_cloud();
    life.pass(10_000);
    assert_eq!(life.seen.steps().len(), 64);
    assert!(life.seen.steps().iter().all(|(id, ..)| *id > 100), "those of the first tasks are gone");
}
