//! Schedules that run on the device, whoever asked for them.

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::clouds::joylink::product::Product;
use polylink_testbed::clouds::joylink::seen::{Answer, Seen};
use polylink_testbed::clouds::joylink::timers::Operation;
use polylink_testbed::joylink_wire::timers::{Plan, Task};
use polylink_testbed::mcu::p0::Raw;
use polylink_testbed::rig::RigError;
use serde_json::{Value as Json, json};

use super::{Site, count};
use crate::set::check;

#[test]
fn a_countdown_of_the_cloud_runs_and_its_steps_and_results_are_told() {
    check(async || {
        let site = Site::online(Product::default(), QUICK).await?;
        assert_eq!(site.answer(site.joylink.operate(Operation::Supported)).await?.code, 0);
        let task =
            task(&site, 5, countdown(1, &[("switch", json!(1))], &[("switch", json!(0)), ("mode", json!("heat"))]));
        assert_eq!(site.answer(site.joylink.operate(Operation::Add(vec![task.clone()]))).await?.code, 0);
        site.seen("both steps", |seen| seen.steps.len() == 2).await?;
        assert_eq!(site.joylink.seen().steps, [(5, 1, 0), (5, 2, 0)]);
        let obeyed: Vec<_> = site.mcu.log().commands.into_iter().map(|command| (command.name, command.value)).collect();
        let wanted =
            [("switch", 1), ("switch", 0), ("mode", 2)].map(|(name, value)| (name.to_owned(), Raw::Number(value)));
        assert_eq!(obeyed, wanted);
        site.seen("both results", |seen| of_schedules(seen).len() == 2).await?;
        let seen = site.joylink.seen();
        let results = of_schedules(&seen);
        assert!(results.iter().all(|(id, _)| id == "5"), "{results:?}");
        assert_eq!(results.iter().map(|(_, on)| on.clone()).collect::<Vec<_>>(), [json!(1), json!(0)]);
        let is_shown = |seen: &Seen| {
            let last = seen.uploads.last();
            last.is_some_and(|last| {
                (last.value("switch"), last.value("mode")) == (Some(&json!(0)), Some(&json!("heat")))
            })
        };
        site.seen("an upload of how it ended", is_shown).await?;
        // What is over has stopped, and can be started again.
        let left = site.answer(site.joylink.operate(Operation::Query(vec![]))).await?;
        assert!(left.json.to_string().contains("state: 0"), "{left:?}");
        assert_eq!(site.answer(site.joylink.operate(Operation::Restart(vec![5]))).await?.code, 0);
        site.seen("it to run once more", |seen| seen.steps.len() == 4).await?;
        assert_eq!(site.answer(site.joylink.operate(Operation::Add(vec![task]))).await?.code, 3);
        site.finish().await
    });
}

#[test]
fn schedules_survive_a_kill_and_go_on() {
    check(async || {
        let mut site = Site::online(Product::default(), QUICK).await?;
        let every_second =
            Plan::Expression { at: "/1_*_*_*_*_*_*".to_owned(), commands: commands(&[("switch", json!(1))]) };
        let tasks = vec![task(&site, 1, cycle()), task(&site, 2, every_second)];
        assert_eq!(site.answer(site.joylink.operate(Operation::Add(tasks))).await?.code, 0);
        let of = |seen: &Seen, id: i32| seen.steps.iter().filter(|(of, ..)| *of == id).count();
        site.seen("both to run", |seen| of(seen, 1) >= 2 && of(seen, 2) >= 2).await?;
        site.stored("timers").await?;
        site.rig.kill().await?;
        site.cloud("the device to be gone", |entries| !entries.online).await?;
        let before = site.joylink.seen();
        site.rig.start()?;
        let (cycles, seconds) = (of(&before, 1), of(&before, 2));
        site.seen("both to go on", |seen| of(seen, 1) >= cycles + 2 && of(seen, 2) >= seconds + 2).await?;
        let after = site.joylink.seen();
        assert!(after.steps.iter().all(|(.., code)| *code == 0), "{:?}", after.steps);
        // The cloud found nothing to repair: the add is all that it asked for.
        assert_eq!(after.answers.len(), 1, "{:?}", after.answers);
        assert_eq!(site.answer(site.joylink.operate(Operation::Delete(vec![]))).await?.code, 0);
        assert_eq!(site.joylink.timers(), []);
        site.finish().await
    });
}

#[test]
fn a_schedule_runs_without_a_cloud_and_is_told_when_there_is_one() {
    check(async || {
        let site = Site::online(Product::default(), QUICK).await?;
        let (mut app, _) = site.found().await?;
        let device = site.device_in_lan();
        site.joylink.go_away();
        site.cloud("the device to be gone", |entries| !entries.online).await?;
        let task = task(&site, 9, countdown(1, &[("switch", json!(1))], &[("switch", json!(0))]));
        let adding = Operation::Add(vec![task.clone()]);
        let added = site.app("to add a schedule", app.operate(&device, &adding)).await?;
        assert_eq!(added.code, 0);
        site.device("both steps to be obeyed", |log| log.commands.len() == 2).await?;
        // The app has told the cloud too.
        site.joylink.plan(vec![Task { state: 0, ..task }]);
        assert_eq!(site.joylink.seen().steps, []);
        site.joylink.come_back().map_err(|error| site.rig.error(error.to_string()))?;
        site.seen("both steps", |seen| seen.steps.len() == 2).await?;
        assert_eq!(site.joylink.seen().steps, [(9, 1, 0), (9, 2, 0)]);
        site.seen("both results", |seen| of_schedules(seen).len() == 2).await?;
        site.reports_arrive(20).await?;
        assert_eq!(site.joylink.timers().len(), 1);
        site.finish().await
    });
}

#[test]
fn an_app_adds_queries_stops_and_deletes_schedules_and_the_cloud_hears_of_it() {
    check(async || {
        let site = Site::online(Product::default(), &format!("{QUICK}max_tasks = 2\n")).await?;
        // An app that keeps it to itself; the cloud would take its schedules away again.
        site.joylink.change(|behaviour| behaviour.keep_timers = true);
        let mut app = Client::of(&site).await?;
        let (early, late) = (task(&site, 1, countdown(3600, &[], &[("switch", json!(0))])), task(&site, 2, cycle()));
        for (operation, code, ids) in [
            (Operation::Supported, 0, json!(null)),
            (Operation::Add(vec![early.clone(), late.clone()]), 0, json!(null)),
            // All or nothing, an id that is taken, no room, words that mean no time.
            (Operation::Add(vec![early.clone(), task(&site, 3, cycle())]), 3, json!(null)),
            (Operation::Add(vec![task(&site, 3, cycle())]), 17, json!(null)),
            (Operation::Modify(vec![Task { version: 1, plan: at("60_*_*_*_*_*_*"), ..early.clone() }]), 3, json!(null)),
            (Operation::Query(vec![]), 0, json!([1, 2])),
            (Operation::Query(vec![2, 7]), 0, json!([2])),
            (Operation::Stop(vec![1, 8]), 3, json!([8])),
            (Operation::Stop(vec![2]), 0, json!([])),
            (Operation::Restart(vec![1]), 0, json!([])),
            (Operation::Modify(vec![Task { version: 1, name: "new".to_owned(), ..early.clone() }]), 0, json!(null)),
            (Operation::Modify(vec![Task { id: 7, ..early.clone() }]), 3, json!(null)),
            (Operation::Delete(vec![2, 7]), 3, json!([7])),
        ] {
            let answer = app.operate(&site, &operation).await?;
            assert_eq!((answer.code, &answer.json["ids"]), (code, &ids), "{operation:?}: {answer:?}");
        }
        let is_left = |seen: &Seen| {
            let last =
                seen.snapshots.last().map(|(_, tasks)| tasks.iter().map(|task| (task.id, task.version, task.state)));
            last.is_some_and(|tasks| tasks.eq([(1, 1, 1)]))
        };
        site.seen("what is left", is_left).await?;
        assert_eq!(app.operate(&site, &Operation::Delete(vec![])).await?.code, 0);
        site.seen("that nothing is left", |seen| seen.snapshots.last().is_some_and(|(_, tasks)| tasks.is_empty()))
            .await?;
        let answer = site.answer(site.joylink.operate(Operation::Query(vec![]))).await?;
        assert_eq!(answer.json["ids"], json!([]));
        site.finish().await
    });
}

#[test]
fn the_list_of_the_cloud_is_the_truth_after_a_reconnect() {
    check(async || {
        let site = Site::online(Product::default(), &format!("{QUICK}reconnect_min_s = 1\n")).await?;
        let idle = |id, seconds| task(&site, id, countdown(seconds, &[], &[("switch", json!(0))]));
        let told = vec![idle(1, 1000), idle(2, 1000), idle(3, 1000)];
        assert_eq!(site.answer(site.joylink.operate(Operation::Add(told))).await?.code, 0);
        site.seen("all three", |seen| last_ids(seen) == [1, 2, 3]).await?;
        // One is gone, one is another, one is new.
        let changed = Task { version: 1, ..idle(2, 2000) };
        let truth = vec![changed, idle(3, 1000), idle(4, 1000)];
        site.joylink.plan(truth.clone());
        site.joylink.reset();
        site.seen("the truth", |seen| {
            let last = seen.snapshots.last().map(|(_, tasks)| tasks.clone()).unwrap_or_default();
            let mut sorted = last;
            sorted.sort_by_key(|task| task.id);
            sorted.iter().eq(truth.iter().map(Task::simplified).collect::<Vec<_>>().iter())
        })
        .await?;
        assert_eq!(site.joylink.timers(), truth);
        site.finish().await
    });
}

#[test]
fn a_snapshot_of_which_the_cloud_saw_only_a_part_is_told_again() {
    check(async || {
        let site = Site::online(Product::default(), QUICK).await?;
        let idle = |id| task(&site, id, countdown(1000, &[], &[("switch", json!(0))]));
        site.joylink.change(|behaviour| behaviour.forget_snapshot_ids = 1);
        let adding = Operation::Add(vec![idle(1), idle(2)]);
        assert_eq!(site.answer(site.joylink.operate(adding)).await?.code, 0);
        let tellings = |seen: &Seen| seen.snapshots.iter().filter(|(_, tasks)| tasks.len() == 2).count();
        site.seen("it to be told twice", |seen| tellings(seen) == 2).await?;
        site.rig.until("the schedules", |status| count(status, "timers") == 2).await?;
        site.finish().await
    });
}

#[test]
fn a_step_that_the_mcu_does_not_obey_is_told_as_failed_and_the_next_one_is_tried() {
    check(async || {
        let site = Site::online(Product::default(), QUICK).await?;
        let wrong = countdown(1, &[("nothing", json!(1))], &[("switch", json!(1))]);
        let adding = Operation::Add(vec![task(&site, 6, wrong)]);
        assert_eq!(site.answer(site.joylink.operate(adding)).await?.code, 0);
        site.seen("both steps", |seen| seen.steps.len() == 2).await?;
        assert_eq!(site.joylink.seen().steps, [(6, 1, 4), (6, 2, 0)]);
        assert_eq!(site.mcu.log().commands.len(), 1);
        site.finish().await
    });
}

/// An app that operates on the schedules of the site's device.
struct Client {
    app: polylink_testbed::joylink_app::App,
}

impl Client {
    async fn of(site: &Site) -> Result<Self, RigError> {
        Ok(Self { app: site.found().await?.0 })
    }

    async fn operate(&mut self, site: &Site, operation: &Operation) -> Result<Answer, RigError> {
        let device = site.device_in_lan();
        site.app("to operate on schedules", self.app.operate(&device, operation)).await
    }
}

fn task(site: &Site, id: i32, plan: Plan) -> Task {
    let feedid = site.joylink.product().device.feedid.clone();
    Task { version: 0, feedid, name: format!("schedule {id}"), id, state: 1, origin: 0, plan }
}

fn countdown(interval_s: i32, first: &[(&str, Json)], then: &[(&str, Json)]) -> Plan {
    Plan::Countdown { interval_s, action_commands: commands(first), stop_commands: commands(then) }
}

/// A second on, a second off, for ever.
fn cycle() -> Plan {
    let (action_commands, sleep_commands) =
        (commands(&[("mode", json!("cool"))]), commands(&[("mode", json!("auto"))]));
    Plan::Cycle { action_s: 1, sleep_s: 1, times: 0, action_commands, sleep_commands }
}

fn at(expression: &str) -> Plan {
    Plan::Expression { at: expression.to_owned(), commands: commands(&[("switch", json!(0))]) }
}

/// One command for each value.
fn commands(values: &[(&str, Json)]) -> Vec<Vec<u8>> {
    let command = |(name, value): &(&str, Json)| {
        json!({"streams": [{"stream_id": name, "current_value": value}]}).to_string().into_bytes()
    };
    values.iter().map(command).collect()
}

/// Id and switch of results that a schedule led to.
fn of_schedules(seen: &Seen) -> Vec<(String, Json)> {
    let results = seen.results.iter().filter(|result| result.control_type == 0);
    let switch = |json: &Json| {
        let streams = json["streams"].as_array().map(Vec::as_slice).unwrap_or_default();
        streams
            .iter()
            .find(|stream| stream["stream_id"] == "switch")
            .map_or(Json::Null, |stream| stream["current_value"].clone())
    };
    results.map(|result| (result.id.clone(), switch(&result.json))).collect()
}

/// Ids of the last snapshot of schedules.
fn last_ids(seen: &Seen) -> Vec<i32> {
    let last = seen.snapshots.last().map(|(_, tasks)| tasks.iter().map(|task| task.id).collect::<Vec<_>>());
    let mut ids = last.unwrap_or_default();
    ids.sort_unstable();
    ids
}

/// Schedules are told at once, and a slow machine is no silent MCU.
const QUICK: &str = "snapshot_delay_s = 0\nmcu_timeout_ms = 10000\n";
