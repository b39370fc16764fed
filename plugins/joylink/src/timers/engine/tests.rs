use proptest::prelude::*;

use super::*;
use crate::timers::period::WeekIndex0;
use crate::timers::table::Settings;
use crate::timers::wire::{Body, Task};
use crate::wire::Text;

/// 2015-02-20 08:00:00 at 8 hours ahead of UTC.
const START_S: i64 = 1_424_390_400;
const DAY_S: i64 = 86_400;

pub(in crate::timers) fn settings() -> Settings {
    let feedid = Text::new("gateway").unwrap();
    Settings { feedid, max_tasks: 32, utc_offset_s: 28_800, week_index0: WeekIndex0::Monday }
}

pub(in crate::timers) fn task(id: i32, body: Body) -> Task {
    Task { feedid: settings().feedid, name: Text::default(), id, state: 1, origin: 0, version: 0, body }
}

pub(in crate::timers) fn at(expression: &str) -> Body {
    Body::Expression { expression: expression.into(), commands: vec![vec![1]] }
}

fn span(start: &str, stop: &str, repeat: u8, days: &[usize]) -> Body {
    Body::Span {
        start: start.into(),
        stop: stop.into(),
        repeat,
        period_type: 0,
        period: std::array::from_fn(|day| u8::from(days.contains(&day))),
        start_commands: vec![vec![1]],
        stop_commands: vec![vec![2]],
    }
}

fn cycle(action_s: i32, sleep_s: i32, times: i32) -> Body {
    let (action_commands, sleep_commands) = (vec![vec![1]], vec![vec![2]]);
    Body::Cycle { action_s, sleep_s, times, action_commands, sleep_commands }
}

fn countdown(interval_s: i32, n_actions: usize) -> Body {
    Body::Countdown { interval_s, action_commands: vec![vec![1]; n_actions], stop_commands: vec![vec![2]] }
}

fn moment(monotonic_s: i64, unix_s: Option<i64>) -> Moment {
    Moment { monotonic: Timestamp(1000 * monotonic_s as u64), unix_ms: unix_s.map(|s| 1000 * s) }
}

/// A device: a table and its two clocks.
struct Device {
    table: Table,
    monotonic_s: i64,
    unix_s: Option<i64>,
    /// Seconds since the start by the monotonic clock, and the step.
    log: Vec<(i64, u8)>,
}

impl Device {
    fn with(body: Body, unix_s: Option<i64>) -> Self {
        let mut device = Self { table: Table::new(settings()), monotonic_s: 0, unix_s, log: Vec::new() };
        device.table.add(vec![task(1, body)], device.now()).unwrap();
        device.advance();
        device
    }

    fn now(&self) -> Moment {
        moment(self.monotonic_s, self.unix_s)
    }

    fn advance(&mut self) {
        let due = self.table.advance(self.now());
        self.log.extend(due.iter().map(|due| (self.monotonic_s, due.step)));
    }

    /// Lets time pass, and looks only when the table wants it.
    fn pass(&mut self, seconds: i64) -> &mut Self {
        let end = self.monotonic_s + seconds;
        while self.monotonic_s < end {
            let next = self.table.next_due(self.now()).map_or(end, |next| next.0.div_ceil(1000) as i64);
            // A table that asks for now, again and again, would hang the session.
            self.shift(next.clamp(self.monotonic_s + 1, end) - self.monotonic_s);
            self.advance();
        }
        self
    }

    fn shift(&mut self, seconds: i64) -> &mut Self {
        self.monotonic_s += seconds;
        self.unix_s = self.unix_s.map(|unix_s| unix_s + seconds);
        self
    }

    fn set_clock(&mut self, unix_s: Option<i64>) -> &mut Self {
        self.unix_s = unix_s;
        self.advance();
        self
    }

    /// Off for so long; the monotonic clock starts anew, but the log goes on.
    fn reboot(&mut self, seconds: i64, unix_s: Option<i64>) -> &mut Self {
        let (table, damages) = Table::restore(&self.table.stored(), settings());
        assert_eq!(damages, []);
        self.table = table;
        self.monotonic_s += seconds;
        self.set_clock(unix_s)
    }

    #[track_caller]
    fn check(&self, log: &[(i64, u8)], state: u8) {
        assert_eq!(self.log, log);
        assert_eq!(self.table.tasks().map(|(_, task)| task.state).collect::<Vec<_>>(), [state]);
    }
}

#[test]
fn a_task_of_once_runs_once_and_is_stopped() {
    let mut device = Device::with(at("0_1_8_20_2_*_2015"), Some(START_S));
    device.pass(59).check(&[], 1);
    device.pass(200).check(&[(60, 1)], 0);
    assert_eq!(device.table.next_due(device.now()), None);
}

#[test]
fn a_task_whose_time_is_over_is_stopped_at_once() {
    Device::with(at("0_1_8_20_2_*_2014"), Some(START_S)).check(&[], 0);
}

#[test]
fn a_daily_task_runs_daily() {
    let mut device = Device::with(at("0_0_9_*_*_*_*"), Some(START_S));
    device.pass(3 * DAY_S).check(&[(3600, 1), (3600 + DAY_S, 1), (3600 + 2 * DAY_S, 1)], 1);
}

#[test]
fn a_jump_over_an_instant_misses_it() {
    let mut device = Device::with(at("0_0_9_*_*_*_*"), Some(START_S));
    device.pass(60).set_clock(Some(START_S + 7200)).check(&[], 1);
    device.pass(DAY_S).check(&[(60 + DAY_S - 3600, 1)], 1);
}

#[test]
fn a_small_correction_over_an_instant_serves_it_late() {
    let mut device = Device::with(at("0_0_9_*_*_*_*"), Some(START_S));
    device.pass(3590).set_clock(Some(START_S + 3640)).check(&[(3590, 1)], 1);
}

#[test]
fn a_clock_that_goes_back_serves_no_instant_twice() {
    let mut device = Device::with(at("0_0_9_*_*_*_*"), Some(START_S));
    device.pass(3605).set_clock(Some(START_S + 3000)).pass(3600).check(&[(3600, 1)], 1);
}

#[test]
fn a_clock_that_was_wrong_by_years_does_not_silence_a_task() {
    let mut device = Device::with(at("0_0_9_*_*_*_*"), Some(START_S + 4000 * DAY_S));
    device.pass(3605).set_clock(Some(START_S)).pass(3700).check(&[(3600, 1), (7205, 1)], 1);
}

#[test]
fn without_a_clock_a_calendar_waits_and_a_course_runs() {
    let mut device = Device::with(at("0_0_9_*_*_*_*"), None);
    device.pass(DAY_S).check(&[], 1);
    device.set_clock(Some(START_S + 3590)).pass(20).check(&[(DAY_S + 10, 1)], 1);
    Device::with(cycle(10, 20, 2), None).pass(100).check(&[(0, 1), (10, 2), (30, 1), (40, 2)], 0);
    Device::with(countdown(30, 1), None).pass(100).check(&[(0, 1), (30, 2)], 0);
}

#[test]
fn a_countdown_without_a_first_command_has_no_first_step() {
    Device::with(countdown(30, 0), Some(START_S)).pass(100).check(&[(30, 2)], 0);
    Device::with(countdown(0, 1), Some(START_S)).pass(100).check(&[(0, 1), (0, 2)], 0);
}

#[test]
fn parts_of_a_cycle_may_be_empty() {
    Device::with(cycle(0, 5, 2), Some(START_S)).pass(9).check(&[(0, 1), (0, 2), (5, 1), (5, 2)], 0);
    Device::with(cycle(5, 0, 2), Some(START_S)).pass(10).check(&[(0, 1), (5, 2), (5, 1), (10, 2)], 0);
}

#[test]
fn a_course_does_not_care_for_the_wall_clock_while_it_runs() {
    let mut device = Device::with(countdown(300, 1), Some(START_S));
    device.pass(100).set_clock(Some(START_S + 9000)).pass(100).set_clock(Some(START_S - 9000));
    device.pass(100).check(&[(0, 1), (300, 2)], 0);
}

#[test]
fn a_course_continues_after_a_power_loss_by_the_wall_clock() {
    let mut device = Device::with(countdown(300, 1), Some(START_S));
    device.pass(100).reboot(100, Some(START_S + 200)).pass(100).check(&[(0, 1), (300, 2)], 0);
    let mut device = Device::with(cycle(100, 100, 0), Some(START_S));
    device.pass(50).reboot(250, Some(START_S + 300)).pass(100).check(&[(0, 1), (400, 1)], 1);
    // The clock was set while it ran.
    let mut device = Device::with(countdown(300, 1), Some(START_S));
    device.pass(50).set_clock(Some(START_S + 9050)).pass(50).reboot(100, Some(START_S + 9200));
    device.pass(100).check(&[(0, 1), (300, 2)], 0);
}

#[test]
fn what_was_due_while_the_power_was_off_is_not_made_up_for() {
    Device::with(countdown(30, 1), Some(START_S)).pass(5).reboot(30, Some(START_S + 35)).check(&[(0, 1)], 0);
    let mut device = Device::with(at("0_0_9_*_*_*_*"), Some(START_S));
    device.pass(3590).reboot(20, Some(START_S + 3610)).pass(60).check(&[], 1);
    Device::with(at("0_1_8_20_2_*_2015"), Some(START_S)).reboot(99, Some(START_S + 99)).check(&[], 0);
}

#[test]
fn a_course_that_finds_no_clock_after_a_power_loss_goes_on_from_its_last_step() {
    let mut device = Device::with(cycle(100, 100, 0), Some(START_S));
    device.pass(150).reboot(1000, None).pass(60).check(&[(0, 1), (100, 2)], 1);
    // Now the clock is there, and tells that the device was off for long.
    device.set_clock(Some(START_S + 1210)).check(&[(0, 1), (100, 2)], 1);
    device.pass(100).check(&[(0, 1), (100, 2), (1300, 2)], 1);
}

#[test]
fn a_span_of_once_starts_stops_and_is_over() {
    let mut device = Device::with(span("0_0_9_*_*_*_*", "0_30_8_*_*_*_*", 0, &[]), Some(START_S));
    device.pass(2 * DAY_S).check(&[(3600, 1), (DAY_S + 1800, 2)], 0);
}

#[test]
fn a_span_that_is_enabled_within_it_only_stops() {
    let mut device = Device::with(span("0_0_7_20_2_*_2015", "0_0_9_20_2_*_2015", 0, &[]), Some(START_S));
    device.pass(DAY_S).check(&[(3600, 2)], 0);
}

/// Our choice: the document does not say to which day the end of a night belongs.
#[test]
fn a_span_over_midnight_ends_on_the_day_after_the_selected_one() {
    // START_S is a Friday, at 8:00.
    let mut device = Device::with(span("0_0_22_*_*_*_*", "0_30_6_*_*_*_*", 1, &[4]), Some(START_S));
    let (start, stop) = (14 * 3600, 22 * 3600 + 1800);
    device.pass(8 * DAY_S).check(&[(start, 1), (stop, 2), (start + 7 * DAY_S, 1), (stop + 7 * DAY_S, 2)], 1);
}

#[test]
fn a_span_within_a_day_starts_and_stops_on_selected_days() {
    let mut device = Device::with(span("0_0_9_*_*_*_*", "0_0_10_*_*_*_*", 1, &[4, 6]), Some(START_S));
    let sunday = 2 * DAY_S;
    device.pass(3 * DAY_S).check(&[(3600, 1), (7200, 2), (sunday + 3600, 1), (sunday + 7200, 2)], 1);
}

#[test]
fn a_stopped_task_is_silent_and_a_restarted_one_starts_afresh() {
    let mut device = Device::with(countdown(300, 1), Some(START_S));
    device.pass(100);
    assert!(device.table.stop(&[1]).is_empty());
    device.pass(500).check(&[(0, 1)], 0);
    assert!(device.table.restart(&[1], device.now()).is_empty());
    device.advance();
    device.pass(500).check(&[(0, 1), (600, 1), (900, 2)], 0);
}

#[test]
fn the_calendar_is_asked_once_for_each_instant_and_each_correction_of_the_clock() {
    for body in [at("0_0_9_29_2_*_*"), span("0_0_9_*_*_*_*", "0_0_10_*_*_*_*", 1, &[6]), at("*_*_*_/3_*_*_*")] {
        let mut device = Device::with(body, Some(START_S));
        let run = |device: &Device| device.table.entries[0].run;
        let known = run(&device);
        for _ in 0..1000 {
            device.shift(1).advance();
            // An answer of the calendar is for the moments after the one that it was asked for.
            assert_eq!(run(&device), known);
        }
        device.set_clock(Some(START_S + 2000 * DAY_S));
        assert_ne!(run(&device), known);
        let known = run(&device);
        device.shift(10).advance();
        assert_eq!(run(&device), known);
    }
}

#[derive(Clone, Debug)]
enum Event {
    Pass(i64),
    Jump(i64),
    Reboot(i64),
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (1_i64..200_000).prop_map(Event::Pass),
        1 => (-80_000_i64..80_000).prop_map(Event::Jump),
        1 => (0_i64..100_000).prop_map(Event::Reboot),
    ]
}

/// Whether the task is due at this local minute, in an obvious way.
type IsDue = fn(i64) -> bool;

const MODELS: [(&str, IsDue); 2] = [
    ("0_30_7,19_*_*_*_*", |minute| [450, 1170].contains(&minute.rem_euclid(1440))),
    ("0_0,30_*_*_*_*_*", |minute| minute.rem_euclid(30) == 0),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Weeks with jumps and power losses against asking each second: an instant is served when the clock walks over it,
    /// is not when the clock jumps over it by more than a minute, and never twice.
    #[test]
    fn weeks_of_jumps_serve_each_instant_that_the_clock_walks_over(model in 0_usize..2, events in proptest::collection::vec(any_event(), 1..20)) {
        let (expression, is_due) = MODELS[model];
        let mut device = Device::with(at(expression), Some(START_S));
        let (mut served_until, mut expected) = (START_S, Vec::new());
        for event in events {
            let before = device.unix_s.unwrap();
            match event {
                Event::Pass(seconds) => {
                    for later in 1..=seconds {
                        let local = before + later + 28_800;
                        if local % 60 == 0 && is_due(local / 60) && before + later > served_until {
                            expected.push((device.monotonic_s + later, 1));
                            served_until = before + later;
                        }
                    }
                    device.pass(seconds);
                }
                // Lands five minutes after a due minute, where a late instant is no question.
                Event::Jump(seconds) => {
                    let to = (before + seconds).div_euclid(1800) * 1800 + 300;
                    // Together, jumps could go back by more than the day that is remembered.
                    if to > served_until - DAY_S { device.set_clock(Some(to)); }
                }
                Event::Reboot(seconds) => {
                    let to = before + seconds;
                    device.reboot(seconds, Some(to));
                    served_until = served_until.max(to);
                }
            }
        }
        prop_assert_eq!(device.log, expected);
    }

    #[test]
    fn courses_are_like_their_description_second_by_second(
        (action_s, sleep_s, times) in (0..50_i32, 1..50_i32, 0..6_i32),
        passes in proptest::collection::vec((1_i64..300, -90_000_i64..90_000), 1..10),
    ) {
        let mut device = Device::with(cycle(action_s, sleep_s, times), Some(START_S));
        for (seconds, jump) in &passes {
            device.pass(*seconds).set_clock(Some(START_S + jump));
        }
        let round = i64::from(action_s + sleep_s);
        let mut expected = Vec::new();
        for second in 0..=device.monotonic_s {
            if times == 0 || second / round < times.into() {
                expected.extend((second % round == 0).then_some((second, 1)));
                expected.extend((second % round == i64::from(action_s)).then_some((second, 2)));
            }
        }
        prop_assert_eq!(device.log, expected);
    }
}
