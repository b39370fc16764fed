//! Cycles (mode 2) and countdowns (mode 3), and what a power cut does to them.

use polylink_plugin_sdk::ClockQuality;
use serde_json::json;

use super::by_calendar::{app_asks, setup_at};
use super::tasks::{add, at, countdown, cycle};
use crate::scenarios::life::Life;
use crate::scenarios::stage::App;
use crate::timers::wire::{Answer, Operation, Request, Task};

const START: i64 = 1_709_266_800;

/// A device without a cloud to which an app adds these tasks.
#[track_caller]
fn with(tasks: impl IntoIterator<Item = Task>) -> (Life, App) {
    let (mut life, mut app) = (Life::started(setup_at(START, json!({}))), App::new());
    assert_eq!(app_asks(&mut life, &mut app, add(tasks)), Answer::Code(Operation::Add, 0));
    (life, app)
}

/// Ids and states of all tasks.
#[track_caller]
fn states(life: &mut Life, app: &mut App) -> Vec<(i32, u8)> {
    let Answer::Listing(listing) = app_asks(life, app, Request::Ids(Operation::Query, vec![])) else {
        panic!("no listing")
    };
    listing.tasks.iter().map(|task| (task.id, task.state)).collect()
}

/// When what was set, in seconds since the start.
fn since_start(life: &Life) -> Vec<(i64, i64)> {
    life.seen.values().iter().map(|(at, n)| (at - START, *n)).collect()
}

#[test]
fn a_cycle_goes_round_as_often_as_it_should_and_stops() {
    let (mut life, mut app) = with([cycle(1, 90, 45, 3)]);
    life.pass(86_400_000);
    assert_eq!(since_start(&life), [(0, 11), (90, 12), (135, 11), (225, 12), (270, 11), (360, 12)]);
    assert_eq!(states(&mut life, &mut app), [(1, 0)]);
}

#[test]
fn a_cycle_without_a_number_never_ends_and_one_part_may_take_no_time() {
    let (mut life, mut app) = with([cycle(1, 3600, 0, 0)]);
    life.pass(5 * 86_400_000);
    let expected: Vec<_> = (0..=120).flat_map(|round| [(3600 * round, 12), (3600 * round, 11)]).skip(1).collect();
    assert_eq!(since_start(&life), expected);
    assert_eq!(states(&mut life, &mut app), [(1, 1)]);
}

#[test]
fn a_countdown_begins_at_once_and_ends_once() {
    let (mut life, mut app) = with([countdown(1, 5400)]);
    life.pass(86_400_000);
    assert_eq!(since_start(&life), [(0, 11), (5400, 12)]);
    assert_eq!(states(&mut life, &mut app), [(1, 0)]);
}

#[test]
fn a_clock_that_jumps_does_not_disturb_a_course() {
    let (mut life, _) = with([cycle(1, 600, 300, 0), countdown(2, 4000)]);
    let mut ahead = 0;
    for jump in [7200, -86_400, 86_400 * 400, -86_400 * 1000, 1] {
        life.pass(700_000);
        let wall = life.stage.host.now().wall;
        life.stage.host.set_wall(wall.unix_ms + 1000 * jump, wall.quality);
        ahead += jump;
    }
    life.pass(700_000);
    let steps: Vec<_> = life.seen.values().iter().map(|(_, n)| *n).collect();
    assert_eq!(steps, [11, 21, 12, 11, 12, 11, 12, 11, 12, 11, 22, 12]);
    let (last, _) = *life.seen.values().last().unwrap();
    assert_eq!(last - ahead - START, 4 * 900 + 600);
}

/// Tasks of which this was done before and after a power cut, in seconds since the start.
#[track_caller]
fn check_cut(task: Task, ran_s: u64, off_s: u64, before: &[(i64, i64)], after: &[(i64, i64)], state: u8) {
    let (mut life, mut app) = with([task]);
    life.pass(ran_s * 1000);
    assert_eq!(since_start(&life), before);
    life.cut_power(off_s * 1000);
    life.pass(10_000_000);
    assert_eq!(since_start(&life)[before.len()..], *after);
    assert_eq!(states(&mut life, &mut app), [(1, state)]);
    life.cut_power(0);
    assert_eq!(states(&mut life, &mut app), [(1, state)], "as it was stored");
}

#[test]
fn a_course_goes_on_after_a_power_cut_as_if_it_had_not_been_one() {
    let late = [(9900, 11), (10_500, 12)];
    check_cut(cycle(1, 600, 300, 12), 700, 8900, &[(0, 11), (600, 12)], &late, 0);
    check_cut(cycle(1, 600, 300, 2), 700, 100, &[(0, 11), (600, 12)], &[(900, 11), (1500, 12)], 0);
    check_cut(countdown(1, 3600), 1000, 500, &[(0, 11)], &[(3600, 12)], 0);
    check_cut(cycle(1, 20_000, 300, 0), 1, 0, &[(0, 11)], &[], 1);
}

#[test]
fn what_was_due_while_the_power_was_off_is_not_made_up_for() {
    check_cut(countdown(1, 3600), 1000, 7200, &[(0, 11)], &[], 0);
    check_cut(cycle(1, 600, 300, 2), 700, 7200, &[(0, 11), (600, 12)], &[], 0);
    let at_one = [(2400, 11)];
    check_cut(at(1, "0_0_13_*_*_*_*"), 1000, 1000, &[], &at_one, 1);
    check_cut(at(1, "0_0_13_*_*_*_*"), 1000, 3600, &[], &[], 1);
    check_cut(at(1, "0_0_13_1_3_*_2024"), 1000, 3600, &[], &[], 0);
}

#[test]
fn without_a_clock_after_a_power_cut_the_last_step_counts_as_just_done_until_the_time_is_known() {
    let (mut life, _) = with([countdown(1, 3600), cycle(2, 600, 300, 0)]);
    life.pass(1_000_000);
    assert_eq!(since_start(&life), [(0, 11), (0, 21), (600, 22), (900, 21)]);
    life.stage.host.set_wall(0, ClockQuality::UNSET);
    life.cut_power(100_000);
    life.pass(700_000);
    let began = 100;
    let after: Vec<_> = life.seen.values()[4..].iter().map(|(at, n)| (at - began, *n)).collect();
    assert_eq!(after, [(600, 22)], "of the cycle its action, and the countdown from its beginning");
    // By the wall clock, almost half an hour has passed since the start.
    life.cloud_ahead_s = START + 1790 - life.now_s();
    life.bring_cloud();
    life.pass(2_000_000);
    let by_cloud: Vec<_> =
        life.seen.values()[5..].iter().map(|(at, n)| (at + life.cloud_ahead_s - START, *n)).collect();
    assert_eq!(by_cloud, [(1800, 21), (2400, 22), (2700, 21), (3300, 22), (3600, 12), (3600, 21)]);
}

#[test]
fn a_course_that_is_due_every_few_seconds_does_not_wear_the_flash() {
    let (mut life, mut app) = with([cycle(1, 5, 5, 0)]);
    life.pass(60_000);
    let stored = life.stage.host.stored("timers").expect("schedules").to_vec();
    life.pass(3_600_000);
    assert_eq!(life.stage.host.stored("timers"), Some(stored.as_slice()));
    life.cut_power(2_000);
    life.seen.commands.clear();
    life.pass(7_900);
    assert_eq!(since_start(&life), [(3665, 12)]);
    app_asks(&mut life, &mut app, Request::Ids(Operation::Delete, vec![]));
    assert_ne!(life.stage.host.stored("timers"), Some(stored.as_slice()));
}
