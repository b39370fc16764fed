//! How often a session wakes that has nothing to do.

use serde_json::json;

use crate::packet::Kind;
use crate::scenarios::life::Life;
use crate::scenarios::schedules::tasks::{add, at, countdown};
use crate::scenarios::stage::{bound, unbound};
use crate::timers::wire::Task;

const DAY_MS: u64 = 86_400_000;
/// With a heartbeat every minute, as on the stage.
const HEARTBEATS: usize = 1440;

/// Wake-ups in a day with these tasks, beside heartbeats.
#[track_caller]
fn wakes(tasks: Vec<Task>) -> usize {
    let mut life = Life::online(bound(json!({"snapshot_delay_s": 3})));
    assert_eq!(life.ask_for_code(add(tasks)), 0);
    life.pass(60_000);
    life.n_wakes = 0;
    life.seen = Default::default();
    life.pass(DAY_MS);
    let n_beats = life.seen.count(Kind::Heartbeat);
    assert_eq!(n_beats, HEARTBEATS);
    life.n_wakes - n_beats
}

#[test]
fn nothing_but_heartbeats_wakes_a_session_at_rest() {
    assert_eq!(wakes(vec![]), 0);
    assert_eq!(wakes(vec![Task { state: 0, ..at(1, "0_*_*_*_*_*_*") }]), 0, "the task is stopped");
    let mut life = Life::started(unbound(json!({})));
    life.pass(2_000);
    life.n_wakes = 0;
    life.pass(DAY_MS);
    assert_eq!(life.n_wakes, 0, "nobody has bound it");
}

#[test]
fn tasks_that_run_wake_it_twice_a_minute_as_the_clock_may_be_set() {
    let n_wakes = wakes((1..=32).map(|id| at(id, "0_0_9_1_1_*_2025")).collect());
    assert!(n_wakes <= 2 * 1440, "{n_wakes}");
}

#[test]
fn a_countdown_needs_no_clock_and_sleeps_until_it_ends() {
    let n_wakes = wakes(vec![countdown(1, 7 * 86_400)]);
    assert_eq!(n_wakes, 0);
}

#[test]
fn a_task_that_is_done_every_hour_costs_a_few_wakes_each_time() {
    let n_wakes = wakes(vec![at(1, "0_0_*_*_*_*_*")]);
    assert!(n_wakes <= 2 * 1440 + 24 * 4, "{n_wakes}");
}
