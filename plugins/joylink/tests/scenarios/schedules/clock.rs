//! Schedules by a clock that is not set, that is set for the first time, and that jumps.

use polylink_plugin_sdk::ClockQuality;
use serde_json::json;

use super::by_calendar::{app_asks, setup_at};
use super::tasks::{add, at, cycle};
use crate::scenarios::life::Life;
use crate::scenarios::stage::{App, bound};

/// 2024-03-01 12:20:00 in China.
const START: i64 = 1_709_266_800;
const HOUR: i64 = 3600;
const HOURLY: &str = "0_0_*_*_*_*_*";

#[test]
fn tasks_by_the_calendar_wait_until_the_cloud_tells_the_time_for_the_first_time() {
    let mut setup = bound(json!({}));
    (setup.wall.unix_ms, setup.wall.quality) = (5_000_500, ClockQuality::UNSET);
    let mut life = Life::started(setup);
    app_asks(&mut life, &mut App::new(), add([at(1, "30_*_*_*_*_*_*"), cycle(2, 60, 60, 2)]));
    let began = life.now_s();
    life.pass(600_000);
    let in_cycle = [(began, 21), (began + 60, 22), (began + 120, 21), (began + 180, 22)];
    assert_eq!(life.seen.values(), in_cycle, "a cycle needs no clock, and the calendar has none");

    life.cloud_ahead_s = START - life.now_s();
    life.bring_cloud();
    life.pass(600_000);
    let by_cloud: Vec<_> = life.seen.values()[4..].iter().map(|(at, n)| (at + life.cloud_ahead_s, *n)).collect();
    let expected: Vec<_> = (0..10).map(|minute| (START + 60 * minute + 30, 11)).collect();
    assert_eq!(by_cloud, expected);
}

#[test]
fn a_clock_of_the_host_that_is_wrong_is_corrected_by_the_cloud() {
    let mut life = Life::started(setup_at(START - 40 * 86_400, json!({})));
    app_asks(&mut life, &mut App::new(), add([at(1, HOURLY)]));
    life.pass(50 * 60_000);
    assert_eq!(life.seen.values().len(), 1);
    life.cloud_ahead_s = 40 * 86_400 - HOUR;
    life.bring_cloud();
    life.pass(3 * 3_600_000);
    let by_cloud: Vec<_> = life.seen.values()[1..].iter().map(|(at, _)| at + life.cloud_ahead_s).collect();
    assert_eq!(by_cloud, [START - 20 * 60 + HOUR, START - 20 * 60 + 2 * HOUR, START - 20 * 60 + 3 * HOUR]);
}

/// What an hourly task does while the wall clock jumps by so many seconds after each hour of real time, against a model that
/// looks at every second: no instant twice, none that was jumped over, unless the jump back was longer than a day.
#[track_caller]
fn check_jumps(jumps: &[i64]) {
    let mut life = Life::started(setup_at(START, json!({})));
    app_asks(&mut life, &mut App::new(), add([at(1, HOURLY)]));
    let (mut wall, mut served) = (START, START);
    let mut expected = Vec::new();
    for jump in jumps {
        life.pass(3_600_000);
        for _ in 0..HOUR {
            wall += 1;
            if served > wall + 86_400 {
                served = wall;
            }
            if wall % HOUR == 0 && wall > served {
                served = wall;
                expected.push((wall, 11));
            }
        }
        wall += jump;
        let quality = life.stage.host.now().wall.quality;
        let unix_ms = life.stage.host.now().wall.unix_ms;
        life.stage.host.set_wall(unix_ms + 1000 * jump, quality);
    }
    assert_eq!(life.seen.values(), expected, "jumps of {jumps:?}");
    assert!(!expected.is_empty());
}

#[test]
fn nothing_is_done_twice_or_made_up_for_when_the_clock_jumps() {
    check_jumps(&[0, 3 * HOUR, 0, 0, -2 * HOUR, 0, 0, 0, 10, -20, 10, 0]);
    check_jumps(&[0, 30 * 86_400, 0, 0, -60 * 86_400, 0, 0, 366 * 86_400, 0]);
    check_jumps(&[-HOUR, -HOUR, -HOUR, 0, 0, 0, 0, 0, 5 * HOUR, 0]);
}

/// The clock jumps from half past twelve to so many seconds after one; whether the step of one o'clock is done.
#[track_caller]
fn check_late(late_s: i64, is_done: bool) {
    let mut life = Life::started(setup_at(START, json!({})));
    app_asks(&mut life, &mut App::new(), add([at(1, HOURLY)]));
    life.pass(600_000);
    life.stage.host.set_wall((START + 40 * 60 + late_s) * 1000, ClockQuality::SYNCED);
    life.pass(60_000);
    assert_eq!(life.seen.values().len(), usize::from(is_done), "{late_s} s late");
}

#[test]
fn a_step_that_a_corrected_clock_has_just_passed_is_done_late() {
    check_late(0, true);
    check_late(20, true);
    check_late(61, false);
    check_late(1800, false);
}
