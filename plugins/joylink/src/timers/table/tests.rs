use polylink_plugin_sdk::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::timers::engine::tests::{at, settings, task};
use crate::timers::wire::{Answer, Operation, Request};
use crate::wire::Text;

const NOW: Moment = Moment { monotonic: Timestamp(0), unix_ms: Some(1_424_390_400_000) };
const DAILY: &str = "0_0_9_*_*_*_*";

fn table(ids: &[i32]) -> Table {
    let mut table = Table::new(Settings { max_tasks: 4, ..settings() });
    table.add(ids.iter().map(|id| task(*id, at(DAILY))).collect(), NOW).unwrap();
    table
}

fn ids(table: &Table) -> Vec<i32> {
    table.tasks().map(|(_, task)| task.id).collect()
}

/// Of a table with the tasks 1 and 2: the answer, and which tasks are there and run.
#[track_caller]
fn check(request: Request, answer: Answer, left: &[(i32, u8)]) {
    let mut table = table(&[1, 2]);
    let served = table.serve(request, NOW).unwrap();
    assert_eq!(served.answers, [answer]);
    assert_eq!(table.tasks().map(|(_, task)| (task.id, task.state)).collect::<Vec<_>>(), left);
}

fn tasks(operation: Operation, tasks: Vec<Task>) -> Request {
    Request::Tasks(operation, tasks)
}

#[test]
fn an_addition_of_which_one_fails_adds_none() {
    let (add, both) = (Operation::Add, [(1, 1), (2, 1)]);
    let check = |last: Task, code| check(tasks(add, vec![task(3, at(DAILY)), last]), Answer::Code(add, code), &both);
    check(task(2, at(DAILY)), 3);
    check(task(3, at(DAILY)), 3);
    check(task(0, at(DAILY)), 3);
    check(task(4, at("*_*_*_*_*_*_*")), 3);
    check(Task { state: 2, ..task(4, at(DAILY)) }, 3);
    let cycle = |action_s, sleep_s, times| Body::Cycle {
        action_s,
        sleep_s,
        times,
        action_commands: vec![],
        sleep_commands: vec![],
    };
    check(task(4, cycle(0, 0, 0)), 3);
    check(task(4, cycle(-1, 5, 0)), 3);
    check(task(4, cycle(1, 5, -1)), 3);
}

#[test]
fn what_does_not_fit_is_refused_as_a_limit() {
    let add = Operation::Add;
    let three = (3..6).map(|id| task(id, at(DAILY))).collect();
    check(tasks(add, three), Answer::Code(add, 17), &[(1, 1), (2, 1)]);
    let huge = Body::Expression { expression: DAILY.into(), commands: vec![vec![0; 50_000]] };
    check(tasks(add, vec![task(3, huge)]), Answer::Code(add, 17), &[(1, 1), (2, 1)]);
}

#[test]
fn a_list_of_ids_does_what_can_be_done_and_names_the_rest() {
    use Operation::{Delete, Restart, Stop};
    let failed = |operation, ids: &[i32]| Answer::Ids(operation, if ids.is_empty() { 0 } else { 3 }, ids.to_vec());
    check(Request::Ids(Delete, vec![1, 7, 0]), failed(Delete, &[7, 0]), &[(2, 1)]);
    check(Request::Ids(Delete, vec![]), failed(Delete, &[]), &[]);
    check(Request::Ids(Stop, vec![2]), failed(Stop, &[]), &[(1, 1), (2, 0)]);
    check(Request::Ids(Stop, vec![]), failed(Stop, &[]), &[(1, 0), (2, 0)]);
    check(Request::Ids(Restart, vec![2, 9]), failed(Restart, &[9]), &[(1, 1), (2, 1)]);
}

#[test]
fn a_modification_keeps_what_it_leaves_empty_and_replaces_the_rest() {
    let mut table = table(&[1]);
    let named = Task { name: Text::new("light").unwrap(), ..task(1, at(DAILY)) };
    table.modify(vec![named], NOW).unwrap();
    let body = Body::Expression { expression: String::new(), commands: vec![] };
    table.modify(vec![Task { version: 7, origin: 2, state: 0, ..task(1, body) }], NOW).unwrap();
    let expected = Task { name: Text::new("light").unwrap(), version: 7, origin: 2, state: 0, ..task(1, at(DAILY)) };
    assert_eq!(table.tasks().map(|(_, task)| task.clone()).collect::<Vec<_>>(), [expected]);
}

#[test]
fn a_modification_of_which_one_fails_changes_none() {
    let modify = Operation::Modify;
    let stop = Task { state: 0, ..task(1, at(DAILY)) };
    let strange = Task { feedid: Text::new("other").unwrap(), ..task(2, at(DAILY)) };
    let empty = Body::Countdown { interval_s: -1, action_commands: vec![], stop_commands: vec![] };
    for last in [task(9, at(DAILY)), strange, task(2, empty), task(2, at("nonsense"))] {
        check(tasks(modify, vec![stop.clone(), last]), Answer::Code(modify, 3), &[(1, 1), (2, 1)]);
    }
}

#[test]
fn a_listing_is_of_one_device_and_without_tasks_that_have_no_id() {
    let mut table = table(&[1, 2]);
    let sub = Text::new("sub").unwrap();
    table.add(vec![Task { feedid: sub, ..task(3, at(DAILY)) }], NOW).unwrap();
    table.add_own(task(0, at(DAILY)), NOW).unwrap();
    let seen = |listings: Vec<Listing>| -> Vec<(String, Vec<i32>)> {
        let ids = |listing: &Listing| listing.tasks.iter().map(|task| task.id).collect();
        listings.iter().map(|listing| (listing.feedid.to_string(), ids(listing))).collect()
    };
    let (own, sub) = ("gateway".to_owned(), sub.to_string());
    assert_eq!(seen(table.query(&[])), [(own.clone(), vec![1, 2])]);
    assert_eq!(seen(table.query(&[3, 2, 9, 0])), [(own.clone(), vec![2]), (sub.clone(), vec![3])]);
    assert_eq!(seen(table.query(&[9])), [(own.clone(), vec![])]);
    assert_eq!(seen(table.snapshot()), [(own, vec![1, 2]), (sub, vec![3])]);
}

#[test]
fn a_task_without_an_id_is_out_of_reach_until_it_gets_one() {
    let mut table = table(&[1]);
    let key = table.add_own(task(5, at(DAILY)), NOW).unwrap();
    assert!(table.stop(&[]).is_empty() && table.delete(&[]).is_empty());
    assert_eq!(table.tasks().map(|(_, task)| (task.id, task.state)).collect::<Vec<_>>(), [(0, 1)]);
    assert!(!table.assign(key, 0));
    assert!(table.assign(key, 2001));
    assert!(!table.assign(key, 2002));
    assert!(table.delete(&[2001]).is_empty());
    assert_eq!(ids(&table), [0; 0]);
}

#[test]
fn what_only_a_cloud_is_asked_is_not_served() {
    let mut table = table(&[]);
    for operation in [Operation::New, Operation::Modified] {
        assert_eq!(table.serve(Request::Tasks(operation, vec![]), NOW), None);
    }
    assert_eq!(table.serve(Request::Results(vec![]), NOW), None);
}

#[test]
fn a_damaged_task_costs_no_other_and_is_told() {
    let stored = table(&[1, 2, 3]).stored();
    // The mode of the second: after the head, one record, and what leads the task in the next.
    let record = 2 + usize::from(u16::from_le_bytes([stored[7], stored[8]]));
    let mut damaged = stored.clone();
    damaged[7 + record + 2 + 29] = 9;
    let (restored, damages) = Table::restore(&damaged, settings());
    assert_eq!((ids(&restored), damages), (vec![1, 3], vec![Damage::Task(1)]));
    let (restored, damages) = Table::restore(&stored[..stored.len() - 1], settings());
    assert_eq!((ids(&restored), damages), (vec![1, 2], vec![Damage::Truncated]));
    let (restored, damages) = Table::restore(&[9, 9], settings());
    assert_eq!((ids(&restored), damages), (vec![], vec![Damage::UnknownForm]));
}

#[derive(Clone, Debug)]
enum Change {
    Serve(Request),
    AddOwn(Task),
    ModifyOwn(u32, Task),
    DeleteOwn(u32),
    Assign(u32, i32),
    Restart,
}

fn any_change() -> impl Strategy<Value = Change> {
    let expression = select(vec![DAILY, "", "/2_*_*_*_*_*_*", "nonsense", "0_0_0_1_1_*_1999"]);
    let any_task = (-1_i32..6, 0_u8..3, expression, crate::timers::wire::tests::any_body(), any::<bool>())
        .prop_map(|(id, state, expression, body, random)| Task {
            state,
            ..task(id, if random { body } else { at(expression) })
        })
        .boxed();
    let some = vec(any_task.clone(), 0..3);
    let ids = vec(-1_i32..6, 0..3);
    prop_oneof![
        (select(vec![Operation::Add, Operation::Modify]), some)
            .prop_map(|(operation, tasks)| Change::Serve(Request::Tasks(operation, tasks))),
        (select(vec![Operation::Delete, Operation::Stop, Operation::Restart, Operation::Query]), ids)
            .prop_map(|(operation, ids)| Change::Serve(Request::Ids(operation, ids))),
        any_task.clone().prop_map(Change::AddOwn),
        (0_u32..9, any_task).prop_map(|(key, task)| Change::ModifyOwn(key, task)),
        (0_u32..9).prop_map(Change::DeleteOwn),
        (0_u32..9, -1_i32..6).prop_map(|(key, id)| Change::Assign(key, id)),
        Just(Change::Restart),
    ]
}

proptest! {
    #[test]
    fn no_changes_break_the_table(changes in vec(any_change(), 0..40), times in vec(any::<(u64, i64)>(), 40)) {
        let mut table = table(&[]);
        for (change, (monotonic, unix_ms)) in changes.into_iter().zip(times) {
            let now = Moment { monotonic: Timestamp(monotonic), unix_ms: (unix_ms % 3 != 0).then_some(unix_ms) };
            let before = table.clone();
            match change {
                Change::Serve(request) => {
                    let served = table.serve(request, now).unwrap();
                    if !served.changed {
                        prop_assert_eq!(&table, &before);
                    }
                }
                Change::AddOwn(task) => prop_assert!(table.add_own(task, now).is_ok() || table == before),
                Change::ModifyOwn(key, task) => {
                    prop_assert!(table.modify_own(TaskKey(key), task, now).is_ok() || table == before);
                }
                Change::DeleteOwn(key) => prop_assert!(table.delete_own(TaskKey(key)) || table == before),
                Change::Assign(key, id) => prop_assert!(table.assign(TaskKey(key), id) || table == before),
                Change::Restart => {
                    let (restored, damages) = Table::restore(&table.stored(), table.settings.clone());
                    prop_assert_eq!(damages, []);
                    prop_assert_eq!(restored.stored(), table.stored());
                    table = restored;
                }
            }
            table.advance(now);
            let _ = table.next_due(now);
            let ids: Vec<_> = table.tasks().map(|(_, task)| task.id).filter(|id| *id != 0).collect();
            let keys: std::collections::BTreeSet<_> = table.tasks().map(|(key, _)| key).collect();
            prop_assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), ids.len());
            prop_assert_eq!(keys.len(), table.entries.len());
            prop_assert!(table.entries.len() <= table.settings.max_tasks);
            prop_assert!(table.entries.iter().all(|entry| entry.run.is_some() == (entry.task.state == RUNNING)));
        }
    }

    #[test]
    fn no_stored_bytes_panic_and_what_is_restored_runs(bytes: Vec<u8>, at: prop::sample::Index, byte: u8, now: (u64, i64)) {
        let mut damaged = table(&[1, 2, 3]).stored();
        let at = at.index(damaged.len());
        damaged[at] = byte;
        let now = Moment { monotonic: Timestamp(now.0), unix_ms: Some(now.1) };
        for bytes in [bytes, damaged[..at].to_vec(), damaged] {
            let (mut table, _) = Table::restore(&bytes, settings());
            table.advance(now);
            let _ = table.next_due(now);
        }
    }
}
