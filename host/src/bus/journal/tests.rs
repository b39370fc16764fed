//! The journal by example, and against a slow model that keeps everything.

use std::collections::{BTreeMap, BTreeSet};

use polylink_plugin_api::WallTime;
use proptest::prelude::*;

use super::*;

const ROOMY: JournalLimits = JournalLimits { max_reports: 1000, max_bytes: 1 << 20 };

/// What the device says in these tests: property `id` has this value. Even ids are `latest`, odd ones have history, and
/// from 90 on they are alarms.
type Said<'a> = &'a [(u32, i64)];

fn record(said: Said<'_>) -> Record {
    let weight = |id: u32| match id {
        90.. => Weight::Alarm,
        id if id % 2 == 0 => Weight::Latest,
        _ => Weight::History,
    };
    let properties = said.iter().map(|&(id, value)| Property { id: DatapointId(id), value: Value::Int(value) });
    let latest = said.iter().filter(|&&(id, _)| weight(id) == Weight::Latest).map(|&(id, _)| DatapointId(id));
    Record {
        at: WallTime::default(),
        said_ms: 0,
        device: 0,
        cause: Cause::CHANGE,
        origin: None,
        body: ReportBody::Properties(properties.collect()),
        weight: said.iter().map(|&(id, _)| weight(id)).max().unwrap_or(Weight::Latest),
        latest: latest.collect(),
    }
}

fn values(handed: &Handed) -> Vec<(u32, i64)> {
    let ReportBody::Properties(properties) = &handed.report.body else { panic!("only properties are pushed here") };
    let value = |property: &Property| match property.value {
        Value::Int(value) => (property.id.0, value),
        _ => panic!("only whole numbers are pushed here"),
    };
    properties.iter().map(value).collect()
}

/// A journal with one cloud that was told all of this, while it took nothing.
fn told(limits: JournalLimits, said: &[Said<'_>]) -> (Journal, CloudId) {
    let mut journal = Journal::new(limits);
    let cloud = journal.add_cursor();
    said.iter().for_each(|said| journal.push(record(said)));
    (journal, cloud)
}

/// The cloud, away for all of `said`, gets exactly `taken`.
#[track_caller]
fn check(limits: JournalLimits, said: &[Said<'_>], taken: &[Said<'_>], losses: Losses) {
    let (mut journal, cloud) = told(limits, said);
    let got: Vec<_> = journal.take(cloud, usize::MAX).iter().map(values).collect();
    assert_eq!(got, taken);
    assert_eq!(journal.losses(cloud), losses);
}

#[test]
fn a_newer_value_replaces_one_that_waits() {
    let losses = Losses { replaced: 2, ..Losses::default() };
    check(ROOMY, &[&[(0, 1)], &[(2, 5)], &[(0, 2)], &[(0, 3)]], &[&[(2, 5)], &[(0, 3)]], losses);
}

#[test]
fn a_report_keeps_the_values_that_nothing_replaced() {
    let losses = Losses { replaced: 1, ..Losses::default() };
    check(ROOMY, &[&[(0, 1), (1, 1), (2, 1)], &[(0, 2)]], &[&[(1, 1), (2, 1)], &[(0, 2)]], losses);
}

#[test]
fn values_with_history_and_alarms_all_arrive() {
    check(
        ROOMY,
        &[&[(1, 1)], &[(90, 1)], &[(1, 2)], &[(90, 0)]],
        &[&[(1, 1)], &[(90, 1)], &[(1, 2)], &[(90, 0)]],
        Losses::default(),
    );
}

#[test]
fn when_it_is_full_values_go_first_then_history_and_alarms_last() {
    let limits = JournalLimits { max_reports: 3, ..ROOMY };
    let losses = Losses { values: 1, history: 1, ..Losses::default() };
    check(
        limits,
        &[&[(90, 1)], &[(1, 1)], &[(0, 1)], &[(1, 2)], &[(90, 2)]],
        &[&[(90, 1)], &[(1, 2)], &[(90, 2)]],
        losses,
    );
    let losses = Losses { alarms: 2, ..Losses::default() };
    check(
        limits,
        &[&[(90, 1)], &[(90, 2)], &[(90, 3)], &[(90, 4)], &[(90, 5)]],
        &[&[(90, 3)], &[(90, 4)], &[(90, 5)]],
        losses,
    );
}

#[test]
fn bytes_are_limited_too() {
    let one = report_bytes(&record(&[(1, 1)]).body);
    let limits = JournalLimits { max_reports: 1000, max_bytes: one * 4 };
    let said: Vec<[(u32, i64); 1]> = (0..6).map(|n| [(1, n)]).collect();
    let said: Vec<Said<'_>> = said.iter().map(|said| &said[..]).collect();
    check(limits, &said, &said[2..], Losses { history: 2, ..Losses::default() });
}

#[test]
fn a_report_too_large_for_the_journal_drives_nothing_out() {
    let limits = JournalLimits { max_reports: 1000, max_bytes: 4000 };
    let (mut journal, cloud) = told(limits, &[&[(1, 1)]]);
    journal.push(Record { body: ReportBody::Raw(vec![0; 1001].into()), ..record(&[(1, 2)]) });
    assert_eq!(journal.take(cloud, 10).iter().map(values).collect::<Vec<_>>(), [[(1, 1)]]);
    assert_eq!(journal.losses(cloud).history, 1);
}

#[test]
fn a_cloud_that_keeps_up_loses_nothing_because_of_one_that_does_not() {
    let mut journal = Journal::new(JournalLimits { max_reports: 10, ..ROOMY });
    let (dead, quick) = (journal.add_cursor(), journal.add_cursor());
    for n in 0..100 {
        journal.push(record(&[(1, n)]));
        let batch = journal.take(quick, 64);
        assert_eq!(batch.iter().map(values).collect::<Vec<_>>(), [[(1, n)]]);
        journal.settle(quick, &[batch[0].report.seq]);
    }
    journal.push(record(&[(0, 7)]));
    assert_eq!(journal.take(quick, 64).iter().map(values).collect::<Vec<_>>(), [[(0, 7)]]);
    assert_eq!(journal.losses(quick), Losses::default());
    let (lost, waiting) = (journal.losses(dead), journal.backlog(dead).0 as u64);
    assert_eq!(lost.history + lost.values + waiting, 101, "what the dead one does not hold is counted as lost");
}

#[test]
fn what_is_unsettled_comes_again_in_order_after_a_restart() {
    let (mut journal, cloud) = told(ROOMY, &[&[(1, 1)], &[(3, 1)], &[(1, 2)], &[(0, 9)]]);
    let first = journal.take(cloud, 3);
    journal.settle(cloud, &[first[1].report.seq, 4711]);
    journal.rewind(cloud);
    let again: Vec<_> = journal.take(cloud, 10).iter().map(values).collect();
    assert_eq!(again, [[(1, 1)], [(1, 2)], [(0, 9)]]);
}

#[test]
fn a_value_that_a_settled_newer_one_overtook_does_not_come_again() {
    let (mut journal, cloud) = told(ROOMY, &[&[(0, 1)]]);
    journal.take(cloud, 1);
    journal.push(record(&[(0, 2)]));
    let newer = journal.take(cloud, 1);
    journal.settle(cloud, &[newer[0].report.seq]);
    journal.rewind(cloud);
    assert_eq!(journal.take(cloud, 10), []);
    assert_eq!(journal.usage(), (0, 0));
}

#[test]
fn no_more_is_handed_over_while_too_much_is_unsettled() {
    let mut journal = Journal::new(ROOMY);
    let cloud = journal.add_cursor();
    (0..300).for_each(|n| journal.push(record(&[(1, n)])));
    let batch = journal.take(cloud, 1000);
    assert_eq!((batch.len(), journal.has_more(cloud)), (UNSETTLED_MAX, false));
    journal.settle(cloud, &[batch[100].report.seq]);
    assert!(journal.has_more(cloud));
    assert_eq!(journal.take(cloud, 1000).len(), 1);
}

#[test]
fn a_retired_cloud_holds_nothing_and_gets_what_comes_after_its_return() {
    let (mut journal, cloud) = told(ROOMY, &[&[(1, 1)], &[(0, 1)]]);
    journal.take(cloud, 1);
    journal.retire(cloud);
    assert_eq!(journal.usage(), (0, 0));
    journal.push(record(&[(1, 2)]));
    assert_eq!(journal.usage(), (0, 0));
    journal.admit(cloud);
    journal.push(record(&[(1, 3)]));
    assert_eq!(journal.take(cloud, 10).iter().map(values).collect::<Vec<_>>(), [[(1, 3)]]);
}

/// What may happen to a journal.
#[derive(Clone, Debug)]
enum Step {
    Push(Vec<(u32, i64)>),
    Take(usize, usize),
    /// Settles the n-th unsettled one.
    Settle(usize, usize),
    Rewind(usize),
    Retire(usize),
    Admit(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    let said = prop::collection::btree_map(prop_oneof![0u32..6, Just(90u32)], 0i64..1000, 1..4);
    prop_oneof![
        8 => said.prop_map(|said| Step::Push(said.into_iter().collect())),
        4 => (0..CLOUDS, 1usize..6).prop_map(|(cloud, n)| Step::Take(cloud, n)),
        4 => (0..CLOUDS, 0usize..8).prop_map(|(cloud, n)| Step::Settle(cloud, n)),
        1 => (0..CLOUDS).prop_map(Step::Rewind),
        1 => (0..CLOUDS).prop_map(Step::Retire),
        1 => (0..CLOUDS).prop_map(Step::Admit),
    ]
}

/// What one cloud must know: each value it was owed, by the number of the push.
#[derive(Default)]
struct Model {
    retired: bool,
    /// Pushes of values with history, and alarms, that are not settled.
    owed: BTreeSet<(u64, u32)>,
    /// The last value of each `latest` property that was pushed, unless settled.
    newest: BTreeMap<u32, (u64, i64)>,
    unsettled: Vec<u64>,
    pushes: u64,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn below_its_limits_nothing_owed_is_ever_missing(steps in prop::collection::vec(any_step(), 1..200)) {
        run(&steps, ROOMY)?;
    }

    #[test]
    fn above_its_limits_it_stays_bounded_and_counts_every_loss(steps in prop::collection::vec(any_step(), 1..200)) {
        run(&steps, JournalLimits { max_reports: 5, max_bytes: 4000 })?;
    }
}

fn run(steps: &[Step], limits: JournalLimits) -> Result<(), TestCaseError> {
    let mut journal = Journal::new(limits);
    let mut models: Vec<Model> = (0..CLOUDS).map(|_| Model::default()).collect();
    for _ in &models {
        journal.add_cursor();
    }
    let mut pushed: BTreeMap<u64, Vec<(u32, i64)>> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Push(said) => {
                let seq = pushed.len() as u64 + 1;
                pushed.insert(seq, said.clone());
                journal.push(record(said));
                for model in models.iter_mut().filter(|model| !model.retired) {
                    model.pushes += 1;
                    for &(id, value) in said {
                        if id % 2 == 0 && id < 90 {
                            model.newest.insert(id, (seq, value));
                        } else {
                            model.owed.insert((seq, id));
                        }
                    }
                }
            }
            &Step::Take(cloud, n) => {
                let batch = journal.take(CloudId(cloud), n);
                prop_assert!(batch.len() <= n);
                for handed in batch {
                    let seq = handed.report.seq;
                    // In order of numbers, never twice without a rewind, and only what was said.
                    prop_assert!(models[cloud].unsettled.iter().all(|&before| before < seq));
                    prop_assert!(values(&handed).iter().all(|value| pushed[&seq].contains(value)));
                    models[cloud].unsettled.push(seq);
                }
            }
            &Step::Settle(cloud, n) => {
                if n < models[cloud].unsettled.len() {
                    let seq = models[cloud].unsettled.remove(n);
                    journal.settle(CloudId(cloud), &[seq]);
                    models[cloud].owed.retain(|&(owed, _)| owed != seq);
                    models[cloud].newest.retain(|_, &mut (newest, _)| newest != seq);
                }
            }
            &Step::Rewind(cloud) => {
                journal.rewind(CloudId(cloud));
                models[cloud].unsettled.clear();
            }
            &Step::Retire(cloud) => {
                journal.retire(CloudId(cloud));
                models[cloud] = Model { retired: true, ..Model::default() };
            }
            &Step::Admit(cloud) => {
                journal.admit(CloudId(cloud));
                models[cloud].retired = false;
            }
        }
        let (n, bytes) = journal.usage();
        prop_assert!(n <= limits.max_reports && bytes <= limits.max_bytes);
    }
    for (cloud, model) in (0..).map(CloudId).zip(&models) {
        journal.rewind(cloud);
        let rest: BTreeMap<u64, Vec<(u32, i64)>> =
            journal.take(cloud, usize::MAX).iter().map(|handed| (handed.report.seq, values(handed))).collect();
        let missing =
            |&&(seq, id): &&(u64, u32)| !rest.get(&seq).is_some_and(|said| said.iter().any(|one| one.0 == id));
        let n_missing = model.owed.iter().filter(missing).map(|&(seq, _)| seq).collect::<BTreeSet<_>>().len() as u64;
        let newest_missing = model
            .newest
            .iter()
            .filter(|&(&id, &(seq, value))| !rest.get(&seq).is_some_and(|said| said.contains(&(id, value))));
        let n_missing = n_missing.max(newest_missing.map(|(_, &(seq, _))| seq).collect::<BTreeSet<_>>().len() as u64);
        let losses = journal.losses(cloud);
        let counted = losses.values + losses.history + losses.alarms + losses.unconfirmed;
        prop_assert!(n_missing <= counted, "{n_missing} reports are missing, {counted} are counted");
        if limits == ROOMY {
            prop_assert_eq!(counted, 0);
        }
        // A value never follows a newer one of the same property.
        let mut last: BTreeMap<u32, u64> = BTreeMap::new();
        for (seq, said) in &rest {
            for (id, _) in said {
                prop_assert!(last.insert(*id, *seq).is_none_or(|before| before < *seq));
            }
        }
    }
    Ok(())
}

const CLOUDS: usize = 3;
