use proptest::prelude::*;

use super::*;
use crate::wire::Stream;
use crate::wire::json::Json;

/// 2015-05-07 16:03:53 at 8 hours ahead of UTC.
const START_MS: i64 = 1_430_985_833_000;

/// A device that is let in at 0, and its clocks.
struct Device {
    runs: Runs,
    now: u64,
}

impl Device {
    fn new() -> Self {
        let mut runs = Runs::new(28_800, 100);
        runs.authenticated(Timestamp(0));
        Self { runs, now: 0 }
    }

    fn unix_ms(&self) -> i64 {
        START_MS + self.now as i64
    }

    fn begin(&mut self, indexes: &[i64]) -> Result<(), Code> {
        let unix_ms = self.unix_ms();
        self.runs.begin(recipe(indexes), unix_ms)
    }

    /// The step under way takes so long; its index.
    fn step(&mut self, done: bool, takes_ms: u64) -> i64 {
        let index = self.runs.next_step().expect("a step is under way").index;
        self.now += takes_ms;
        assert!(self.runs.step_done(done, Timestamp(self.now), self.unix_ms()));
        index
    }

    /// All reports that are sent until then, with the time in seconds; polled only when it wants to be.
    fn until(&mut self, end_s: u64) -> Vec<(u64, u32)> {
        let mut sent = Vec::new();
        while let Some(next) = self.runs.next_timeout().filter(|next| next.0 <= 1000 * end_s) {
            self.now = next.0.max(self.now);
            let report = self.runs.poll(Timestamp(self.now)).expect("a timeout brings something");
            sent.push((self.now / 1000, report.serial));
        }
        self.now = 1000 * end_s;
        sent
    }

    fn answer(&mut self, serial: u32) -> bool {
        self.runs.answered(&SerialAnswer { serial, code: Code::SUCCESS })
    }
}

/// Steps with these places, numbered 1, 2, 3 in the order in which they come.
fn recipe(indexes: &[i64]) -> Recipe {
    let stream = Stream { stream_id: "power".into(), current_value: Json::new("1").unwrap() };
    let step = |(id, index): (i64, &i64)| Step { id, index: *index, streams: vec![stream.clone()] };
    let sub_tasks = (1..).zip(indexes).map(step).collect();
    Recipe { at: START_MS, code: 1050, feed_id: 14_530_000_000_000_001, sub_tasks, task_id: 77 }
}

#[track_caller]
fn check(report: Option<RecipeReport>, serial: u32, steps: &[(&str, &str, &str, &str)]) {
    let report = report.expect("there is a report");
    let progress = Progress::decode(&report.report).unwrap();
    let seen: Vec<_> = progress
        .sub_tasks
        .iter()
        .map(|step| (step.id.as_str(), step.result.as_str(), step.start_time.as_str(), step.end_time.as_str()))
        .collect();
    assert_eq!((report.serial, progress.task_id.as_str(), seen), (serial, "77", steps.to_vec()));
}

#[test]
fn steps_run_in_order_of_their_place_and_each_is_reported_in_local_time() {
    let mut device = Device::new();
    assert_eq!(device.begin(&[20, 10]), Ok(()));
    assert_eq!(device.runs.poll(Timestamp(0)), None);
    assert_eq!(device.step(true, 2_000), 10);
    let first = ("2", "0", "2015-05-07 16:03:53", "2015-05-07 16:03:55");
    check(device.runs.poll(Timestamp(2_000)), 100, &[first, ("1", "-1", "", "")]);
    assert_eq!(device.step(true, 7_000), 20);
    let second = ("1", "0", "2015-05-07 16:03:55", "2015-05-07 16:04:02");
    check(device.runs.poll(Timestamp(9_000)), 101, &[first, second]);
    assert_eq!(device.runs.next_step(), None);
    assert!(!device.runs.step_done(true, Timestamp(9_000), START_MS));
    assert_eq!(device.begin(&[1]), Ok(()));
}

#[test]
fn a_step_that_failed_ends_the_recipe_and_the_rest_was_not_run() {
    let mut device = Device::new();
    device.begin(&[1, 2, 3]).unwrap();
    device.step(true, 0);
    device.runs.poll(Timestamp(0)).unwrap();
    device.step(false, 1_000);
    let at = "2015-05-07 16:03:53";
    let steps = [("1", "0", at, at), ("2", "1", at, "2015-05-07 16:03:54"), ("3", "-1", "", "")];
    check(device.runs.poll(Timestamp(1_000)), 101, &steps);
    assert_eq!(device.runs.next_step(), None);
}

#[test]
fn a_second_recipe_and_one_without_steps_or_with_too_many_are_refused() {
    let mut device = Device::new();
    assert_eq!(device.begin(&[]), Err(Code::LINKAGE_FAILED));
    assert_eq!(device.begin(&[1; STEPS_MAX + 1]), Err(Code::LINKAGE_FAILED));
    assert_eq!(device.begin(&[1; STEPS_MAX]), Ok(()));
    assert_eq!(device.begin(&[1]), Err(Code::LIMIT_REACHED));
    assert_eq!(device.runs.next_step().unwrap().id, 1);
    device.step(true, 0);
    assert_eq!(device.runs.next_step().unwrap().id, 2);
    device.runs.forget_all();
    assert_eq!(device.runs.next_step(), None);
    assert_eq!(device.until(100), []);
}

#[test]
fn a_report_is_said_again_three_times_and_after_the_next_authentication() {
    let mut device = Device::new();
    device.begin(&[1]).unwrap();
    device.step(true, 0);
    assert_eq!(device.until(100), [(0, 100), (10, 100), (20, 100), (30, 100)]);
    device.runs.disconnected();
    assert_eq!(device.until(200), []);
    device.runs.authenticated(Timestamp(200_000));
    assert_eq!(device.until(209), [(200, 100)]);
    assert!(!device.answer(99) && device.answer(100) && !device.answer(100));
    assert_eq!((device.until(1_000), device.runs.n_unexpected()), (vec![], 2));
}

#[test]
fn answers_are_known_by_their_number_and_none_can_come_before_its_report() {
    let mut device = Device::new();
    device.begin(&[1, 2, 3]).unwrap();
    device.step(true, 0);
    device.step(true, 0);
    assert!(!device.answer(100));
    assert_eq!(device.until(0), [(0, 100), (0, 101)]);
    assert!(device.answer(101));
    assert_eq!(device.until(10), [(10, 100)]);
}

#[test]
fn a_recipe_goes_on_without_the_cloud_and_its_oldest_reports_are_dropped_and_counted() {
    let mut device = Device::new();
    device.runs.disconnected();
    device.begin(&[1; 20]).unwrap();
    for _ in 0..20 {
        device.step(true, 1);
    }
    assert_eq!((device.runs.n_lost(), device.runs.next_timeout()), (4, None));
    device.runs.authenticated(Timestamp(1_000));
    let serials: Vec<_> = device.until(1).iter().map(|(_, serial)| *serial).collect();
    assert_eq!(serials, (104..120).collect::<Vec<_>>());
}

#[test]
fn local_times_are_right_at_the_ends_of_days_and_of_time() {
    assert_eq!(local_time(1_451_577_599_999, 28_800), "2015-12-31 23:59:59");
    assert_eq!(local_time(1_451_577_600_000, 28_800), "2016-01-01 00:00:00");
    assert_eq!(local_time(-1, 0), "1969-12-31 23:59:59");
    assert_eq!(local_time(0, -3_600), "1969-12-31 23:00:00");
    let _ = (local_time(i64::MAX, i32::MAX), local_time(i64::MIN, i32::MIN));
}

proptest! {
    #[test]
    fn no_recipe_can_panic_and_every_report_can_be_read(
        steps in proptest::collection::vec((any::<i64>(), any::<i64>(), any::<bool>()), 0..70),
        task_id: i64,
        unix_ms: i64,
        utc_offset_s: i32,
    ) {
        let mut runs = Runs::new(utc_offset_s, u32::MAX);
        runs.authenticated(Timestamp(0));
        let step = |(id, index, _): &(i64, i64, bool)| Step { id: *id, index: *index, streams: vec![] };
        let sub_tasks: Vec<_> = steps.iter().map(step).collect();
        let n_steps = sub_tasks.len();
        let begun = runs.begin(Recipe { sub_tasks, task_id, ..recipe(&[]) }, unix_ms);
        prop_assert_eq!(begun.is_ok(), (1..=STEPS_MAX).contains(&n_steps));
        for (_, _, done) in steps {
            let last = runs.next_step().map(|step| step.index);
            if !runs.step_done(done, Timestamp(0), unix_ms) {
                break;
            }
            prop_assert!(runs.next_step().is_none_or(|step| Some(step.index) >= last));
            let report = runs.poll(Timestamp(0)).unwrap();
            prop_assert!(report.report.len() < 32 * 1024);
            prop_assert_eq!(Progress::decode(&report.report).unwrap().sub_tasks.len(), n_steps);
        }
    }
}
