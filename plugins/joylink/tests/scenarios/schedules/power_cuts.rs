//! Power cuts at any moment: what falls into the time with power is done once, all else never.

use proptest::prelude::*;
use serde_json::json;

use super::almanac::{Columns, seconds};
use super::by_calendar::{app_asks, setup_at};
use super::tasks::{add, at, cycle};
use crate::scenarios::life::Life;
use crate::scenarios::stage::App;

/// 2024-02-28 22:30:00 in China.
const START: i64 = 1_709_130_600;
const EXPRESSIONS: [&str; 4] = ["0_*_*_*_*_*_*", "10,40_0_*_*_*_*_*", "30_59_23_*_*_3,4_*", "*_*_*_29_2_*_*"];
/// A cycle that is not stored with each step, and one that is.
const CYCLES: [(i32, i32); 2] = [(7, 5), (600, 311)];

/// Milliseconds with power, then without.
fn phases() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let off = prop_oneof![0..5_000_u64, 0..200_000_u64, 0..7_200_000_u64];
    proptest::collection::vec((0..4_000_000_u64, off), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_falls_into_the_time_with_power_is_done_once_and_all_else_never(phases in phases()) {
        let mut life = Life::started(setup_at(START, json!({})));
        let calendar = (1..).zip(EXPRESSIONS).map(|(id, expression)| at(id, expression));
        let cycles = (5..).zip(CYCLES).map(|(id, (action_s, sleep_s))| cycle(id, action_s, sleep_s, 0));
        app_asks(&mut life, &mut App::new(), add(calendar.chain(cycles)));
        life.answer();
        let (mut from_ms, mut powered) = (START * 1000, Vec::new());
        for (on_ms, off_ms) in phases {
            life.pass(on_ms);
            let to_ms = from_ms + on_ms as i64;
            powered.push((from_ms, to_ms));
            from_ms = to_ms + off_ms as i64;
            life.cut_power(off_ms);
        }
        let end = from_ms / 1000;
        // The very second at which the power came back counts as without.
        let is_on = |at: i64| powered.iter().any(|(from, to)| from / 1000 < at && at * 1000 <= *to);
        let mut expected = Vec::new();
        for (id, expression) in (1..).zip(EXPRESSIONS) {
            let columns = Columns::of(expression);
            let due = seconds(START, end).filter(|(at, local)| is_on(*at) && columns.mean(local));
            expected.extend(due.map(|(at, _)| (at, id * 10 + 1)));
        }
        for (id, (action_s, sleep_s)) in (5..).zip(CYCLES) {
            let round = i64::from(action_s + sleep_s);
            for since in 0..=end - START {
                let step = if since % round == 0 { 1 } else if since % round == i64::from(action_s) { 2 } else { continue };
                if since == 0 || is_on(START + since) {
                    expected.push((START + since, id * 10 + step));
                }
            }
        }
        let mut done = life.seen.values();
        done.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(done, expected);
    }
}
