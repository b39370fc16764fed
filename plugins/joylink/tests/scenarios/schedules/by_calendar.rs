//! Tasks by expressions (mode 0) and time spans (mode 1), over weeks, against the slow calendar.

use std::collections::BTreeSet;

use polylink_plugin_sdk::ClockQuality;
use polylink_plugin_sdk::testing::Setup;
use serde_json::{Value, json};

use super::almanac::{CHINA_S, Columns, Local, seconds};
use super::tasks::{add, at, once, span};
use crate::packet::Kind;
use crate::scenarios::life::{Life, request_bytes};
use crate::scenarios::stage::{App, bound, with};
use crate::timers::wire::{Answer, Request, Task};

const DAY_S: i64 = 86_400;

/// A bound device whose clock says this, in Unix seconds, and that tells of its schedules as soon as it does by itself.
pub fn setup_at(unix_s: i64, changes: Value) -> Setup {
    let mut setup = bound(with(json!({"snapshot_delay_s": 3}), changes));
    setup.wall.unix_ms = unix_s * 1000;
    setup.wall.quality = ClockQuality::SYNCED;
    setup
}

/// An app asks something about schedules; the answers.
#[track_caller]
pub fn app_asks(life: &mut Life, app: &mut App, request: Request) -> Answer {
    life.answer();
    let (bytes, serial) = request_bytes(request);
    app.send(&mut life.stage, Kind::Timers, &bytes);
    let body = app.expect(&mut life.stage, Kind::Timers);
    let answer = Answer::decode(&[&[0; 4][..], &body].concat()).expect("an answer");
    assert_eq!(answer.serial, serial);
    answer.content
}

/// An app adds these tasks to a device without a cloud; what they did in so many days.
#[track_caller]
fn run(from: i64, days: i64, tasks: Vec<Task>, settings: Value) -> Vec<(i64, i64)> {
    let mut life = Life::started(setup_at(from, settings));
    let answer = app_asks(&mut life, &mut App::new(), add(tasks));
    assert_eq!(answer, Answer::Code(crate::timers::wire::Operation::Add, 0));
    life.pass((days * DAY_S).unsigned_abs() * 1000);
    life.seen.values()
}

/// The value that a step sets, and whether it is due at this second, given as local and as Unix time.
type Step = (i64, Box<dyn Fn(&Local, i64) -> bool>);

/// What these steps are to do: all seconds at which they are due.
fn expected(from: i64, days: i64, steps: &[Step]) -> Vec<(i64, i64)> {
    let mut expected = Vec::new();
    for (at, local) in seconds(from, from + days * DAY_S) {
        expected.extend(steps.iter().filter(|(_, holds)| holds(&local, at)).map(|(value, _)| (at, *value)));
    }
    expected
}

#[track_caller]
fn assert_same(done: Vec<(i64, i64)>, expected: Vec<(i64, i64)>) {
    let n_done = done.len();
    let (done, expected) = (BTreeSet::from_iter(done), BTreeSet::from_iter(expected));
    let surplus: Vec<_> = done.difference(&expected).take(5).collect();
    let missing: Vec<_> = expected.difference(&done).take(5).collect();
    assert!(surplus.is_empty() && missing.is_empty(), "surplus {surplus:?}, missing {missing:?}");
    assert_eq!(done.len(), n_done, "something was done twice");
    assert!(!expected.is_empty(), "nothing was to be done");
}

/// Tasks by expression, each once in the list of expressions.
#[track_caller]
fn check(from: i64, days: i64, expressions: &[&str]) {
    let tasks = (1..).zip(expressions).map(|(id, expression)| at(id, expression)).collect();
    let steps: Vec<Step> = (1..)
        .zip(expressions)
        .map(|(id, expression)| {
            let columns = Columns::of(expression);
            (id * 10 + 1, Box::new(move |now: &Local, _| columns.mean(now)) as _)
        })
        .collect();
    assert_same(run(from, days, tasks, json!({})), expected(from, days, &steps));
}

/// 2024-02-20 13:37:11 in China.
const BEFORE_LEAP_DAY: i64 = 1_708_407_431;

#[test]
fn expressions_are_served_over_the_leap_day_and_the_end_of_february() {
    check(
        BEFORE_LEAP_DAY,
        14,
        &[
            "0_1_22_*_*_1,3,5_*",
            "0_1_22_11,15,22_*_*_*",
            "0_1_22_*_*_*_*",
            "0_0_0_29_2_*_*",
            "*_*_*_29_2_*_*",
            "59_59_23_29,30,31_*_*_*",
            "*_*_*_1_*_*_*",
            "0_0_12_*_*_0_*",
            "30_0_12_*_*_7_2024",
            "*_30_*_*_*_*_*",
            "0_0_*_*_*_6,7_*",
            "*_*_*_*_3_*_*",
            "0_1_22_26_2_*_2024",
            "7_15,45_6,18_*_*_*_*",
            "0_0_0_29_2_4_*",
        ],
    );
}

#[test]
fn a_task_that_is_due_every_few_seconds_misses_none() {
    check(BEFORE_LEAP_DAY, 1, &["0,20,21_*_*_*_*_*_*", "59_*_*_*_*_*_*", "10_0,59_23,0_*_*_*_*"]);
}

#[test]
fn days_that_a_month_does_not_have_are_skipped() {
    // From 2023-12-28 in China, over the end of a year; from 2024-01-30, over those of a long and of a short month.
    let expressions = ["0_0_9_31_*_*_*", "0_0_9_30_*_*_*", "0_0_0_1_1_*_*", "59_59_23_*_12_7_*"];
    check(1_703_700_000, 6, &expressions);
    check(1_706_551_200, 32, &expressions);
}

/// `n` units after the one of the anchor, with the anchor's values in finer columns unless they are given.
#[test]
fn intervals_count_from_the_moment_that_the_task_was_added() {
    let from = BEFORE_LEAP_DAY;
    let anchor = Local::of(from, CHINA_S);
    assert_eq!((anchor.hour, anchor.minute, anchor.second), (13, 37, 11));
    let expressions =
        ["*_/7_*_*_*_*_*", "*_*_/5_*_*_*_*", "0_30_8_/2_*_*_*", "*_*_*_/3_*_*_*", "*_*_*_*_/1_*_*", "30_*_/6_*_*_*_*"];
    let tasks = (1..).zip(expressions).map(|(id, expression)| at(id, expression)).collect();
    let local = |at: i64| at + CHINA_S;
    let days_since = move |at: i64| local(at) / DAY_S - local(from) / DAY_S;
    let hours_since = move |at: i64| local(at) / 3600 - local(from) / 3600;
    let steps: Vec<Step> = vec![
        (11, Box::new(move |_, at| (at - from) % 420 == 0)),
        (21, Box::new(move |_, at| (at - from) % 18_000 == 0)),
        (31, Box::new(move |now, at| days_since(at) % 2 == 0 && (now.hour, now.minute, now.second) == (8, 30, 0))),
        (41, Box::new(move |_, at| (at - from) % (3 * DAY_S) == 0)),
        (51, Box::new(move |now, _| now.day == 20 && (now.hour, now.minute, now.second) == (13, 37, 11))),
        (61, Box::new(move |now, at| hours_since(at) % 6 == 0 && (now.minute, now.second) == (37, 30))),
    ];
    assert_same(run(from, 30, tasks, json!({})), expected(from, 30, &steps));
}

#[test]
fn spans_repeat_on_days_of_the_week_and_of_the_month_and_may_last_over_midnight() {
    let from = BEFORE_LEAP_DAY;
    let tasks = vec![
        span(1, "0_0_9_*_*_*_*", "0_30_17_*_*_*_*", 1, 0, &[0, 2, 4]),
        span(2, "0_0_22_*_*_*_*", "0_30_6_*_*_*_*", 1, 0, &[4, 6]),
        span(3, "0_0_9_1_1_*_2001", "*_*_10_*_*_*_*", 1, 1, &[0, 20, 28, 29, 30]),
    ];
    let columns = |expression| Columns::of(expression);
    let yesterday = |now: &Local| (now.week + 5) % 7 + 1;
    let is_of_month = |now: &Local| [1, 21, 29, 30, 31].contains(&now.day);
    let [nine, five, ten, half_past_six] =
        ["0_0_9_*_*_*_*", "0_30_17_*_*_*_*", "*_*_10_*_*_*_*", "0_30_6_*_*_*_*"].map(columns);
    let (late, nine_again) = (columns("0_0_22_*_*_*_*"), nine.clone());
    let steps: Vec<Step> = vec![
        (11, Box::new(move |now, _| nine.are_time(now) && [1, 3, 5].contains(&now.week))),
        (12, Box::new(move |now, _| five.are_time(now) && [1, 3, 5].contains(&now.week))),
        (21, Box::new(move |now, _| late.are_time(now) && [5, 7].contains(&now.week))),
        (22, Box::new(move |now, _| half_past_six.are_time(now) && [5, 7].contains(&yesterday(now)))),
        (31, Box::new(move |now, _| nine_again.are_time(now) && is_of_month(now))),
        (32, Box::new(move |now, _| ten.are_time(now) && is_of_month(now))),
    ];
    assert_same(run(from, 15, tasks, json!({})), expected(from, 15, &steps));
}

#[test]
fn the_week_may_begin_with_sunday() {
    let tasks = vec![span(1, "0_0_9_*_*_*_*", "0_0_10_*_*_*_*", 1, 0, &[0, 3])];
    let (nine, ten) = (Columns::of("0_0_9_*_*_*_*"), Columns::of("0_0_10_*_*_*_*"));
    let steps: Vec<Step> = vec![
        (11, Box::new(move |now, _| nine.are_time(now) && [7, 3].contains(&now.week))),
        (12, Box::new(move |now, _| ten.are_time(now) && [7, 3].contains(&now.week))),
    ];
    let done = run(BEFORE_LEAP_DAY, 15, tasks, json!({"week_index0": "sunday"}));
    assert_same(done, expected(BEFORE_LEAP_DAY, 15, &steps));
}

#[test]
fn a_span_that_does_not_repeat_is_done_once_and_then_stopped() {
    let mut life = Life::started(setup_at(BEFORE_LEAP_DAY, json!({})));
    let mut app = App::new();
    let tasks = [once(1, "0_0_14_*_*_*_*", "0_0_15_*_*_*_*"), at(2, "0_40_13_20_2_*_2024")];
    app_asks(&mut life, &mut app, add(tasks));
    life.pass(3 * 86_400_000);
    let at_two = BEFORE_LEAP_DAY - 11 + 23 * 60;
    assert_eq!(life.seen.values(), [(at_two - 20 * 60, 21), (at_two, 11), (at_two + 3600, 12)]);
    let query = Request::Ids(crate::timers::wire::Operation::Query, vec![]);
    let Answer::Listing(listing) = app_asks(&mut life, &mut app, query) else { panic!("no listing") };
    assert_eq!(listing.tasks.iter().map(|task| (task.id, task.state)).collect::<Vec<_>>(), [(1, 0), (2, 0)]);
}
