//! The bus by example: what each cloud is given.

use polylink_plugin_api::WallTime;

use super::*;
use crate::product::{Action, Event, Field, Kind};

/// `power` and `level` can be set; `count` has history; `smoke` is an alarm; `note` is text.
pub(crate) fn product() -> Product {
    let field = |name: &str, kind| Field { name: name.to_owned(), title: String::new(), unit: String::new(), kind };
    let property = |name, kind, writable, history, class| crate::product::Property {
        field: field(name, kind),
        writable,
        history,
        class,
    };
    let int = |max, step| Kind::Int { min: 0, max, step };
    Product {
        key: "k".to_owned(),
        name: "n".to_owned(),
        properties: vec![
            property("power", Kind::Bool, true, History::Latest, Class::Value),
            property("level", int(100, 10), true, History::Latest, Class::Value),
            property("count", int(1_000_000, 1), false, History::All, Class::Value),
            property("smoke", Kind::Bool, false, History::Latest, Class::Alarm),
            property("note", Kind::Text { max_bytes: 100 }, true, History::Latest, Class::Value),
        ],
        events: vec![Event {
            name: "pressed".to_owned(),
            title: String::new(),
            params: vec![field("times", int(9, 1))],
        }],
        actions: vec![Action {
            name: "clean".to_owned(),
            title: String::new(),
            idempotent: false,
            params: vec![field("minutes", int(60, 1))],
            returns: Vec::new(),
        }],
        raw: false,
    }
}

const A: InstanceId = InstanceId(101);
const B: InstanceId = InstanceId(102);

/// A bus with clouds `a` and `b`, whose instances A and B took their (empty) snapshots, and an MCU that answers.
fn bus() -> Bus {
    let limits = JournalLimits { max_reports: 1000, max_bytes: 1 << 20 };
    let mut bus = Bus::new(limits, ArbiterSettings { policy: Policy::LastWriter, deadline_ms: 5000 });
    bus.set_product(Arc::new(product()));
    bus.set_online(true, &mut Vec::new());
    for (name, instance) in [("a", A), ("b", B)] {
        let cloud = bus.declare(name);
        bus.attach(cloud, instance, &mut Vec::new());
        assert_eq!(bus.take(now(), instance), Handover::default());
    }
    bus
}

fn now() -> Now {
    Now { monotonic: Timestamp(1000), wall: WallTime { unix_ms: 5, ..WallTime::default() }, utc_offset_s: 0 }
}

fn say(bus: &mut Bus, cause: Cause, ticket: Option<u64>, said: &[(u32, Value)]) -> Vec<Effect> {
    let mut effects = Vec::new();
    bus.report(now(), 0, cause, ticket, ReportBody::Properties(list(said).into()), &mut effects);
    effects
}

fn list(said: &[(u32, Value)]) -> Vec<Property> {
    said.iter().map(|(id, value)| Property { id: DatapointId(*id), value: value.clone() }).collect()
}

fn ask(bus: &mut Bus, from: InstanceId, body: CommandBody) -> u64 {
    let command = Command { device: 0, body, deadline_ms: 0, message_id: "".into() };
    bus.submit(now(), from, &[command], &mut Vec::new())
}

/// The property values that this instance is given now, report by report, with the cause of each.
#[track_caller]
fn check(bus: &mut Bus, instance: InstanceId, expected: &[(Cause, &[(u32, Value)])]) {
    let handover = bus.take(now(), instance);
    let given: Vec<_> = handover.reports.into_iter().map(|report| (report.cause, report.body)).collect();
    let body = |said: &[(u32, Value)]| ReportBody::Properties(list(said).into());
    let expected: Vec<_> = expected.iter().map(|&(cause, said)| (cause, body(said))).collect();
    assert_eq!(given, expected);
}

#[test]
fn a_changed_value_goes_to_every_cloud_and_wakes_each_once() {
    let mut bus = bus();
    let effects = say(&mut bus, Cause::CHANGE, None, &[(0, Value::Bool(true))]);
    assert!(effects.contains(&Effect::Wake(A)) && effects.contains(&Effect::Wake(B)));
    let effects = say(&mut bus, Cause::CHANGE, None, &[(2, Value::Int(1))]);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Wake(_))));
    for instance in [A, B] {
        check(
            &mut bus,
            instance,
            &[(Cause::CHANGE, &[(0, Value::Bool(true))]), (Cause::CHANGE, &[(2, Value::Int(1))])],
        );
    }
}

#[test]
fn an_unchanged_latest_value_does_not_go_on_and_one_with_history_does() {
    let mut bus = bus();
    let both = [(0, Value::Bool(true)), (2, Value::Int(1))];
    say(&mut bus, Cause::CHANGE, None, &both);
    bus.take(now(), A);
    say(&mut bus, Cause::CHANGE, None, &both);
    check(&mut bus, A, &[(Cause::CHANGE, &[(2, Value::Int(1))])]);
    assert_eq!(bus.counters().unchanged, 1);
}

#[test]
fn an_alarm_that_is_repeated_goes_on_each_time() {
    let mut bus = bus();
    for _ in 0..2 {
        say(&mut bus, Cause::CHANGE, None, &[(3, Value::Bool(true))]);
        check(&mut bus, A, &[(Cause::CHANGE, &[(3, Value::Bool(true))])]);
    }
}

#[test]
fn a_periodic_report_goes_on_unchanged() {
    let mut bus = bus();
    for _ in 0..2 {
        say(&mut bus, Cause::PERIODIC, None, &[(0, Value::Bool(true))]);
        check(&mut bus, A, &[(Cause::PERIODIC, &[(0, Value::Bool(true))])]);
    }
}

#[test]
fn a_report_that_a_command_caused_names_its_cloud_and_goes_on_unchanged() {
    let mut bus = bus();
    say(&mut bus, Cause::CHANGE, None, &[(0, Value::Bool(true))]);
    bus.take(now(), B);
    let ticket = ask(&mut bus, A, CommandBody::Set(list(&[(0, Value::Bool(true))]).into()));
    bus.answered(now(), ticket, LinkResult::Done(Vec::new()), &mut Vec::new());
    say(&mut bus, Cause::CHANGE, Some(ticket), &[(0, Value::Bool(true))]);
    let report = bus.take(now(), B).reports.remove(0);
    assert_eq!(report.origin, Origin { instance: A, ticket });
}

#[test]
fn after_a_restart_the_origin_names_the_new_incarnation() {
    let mut bus = bus();
    let ticket = ask(&mut bus, A, CommandBody::Set(list(&[(0, Value::Bool(true))]).into()));
    say(&mut bus, Cause::CHANGE, Some(ticket), &[(0, Value::Bool(true))]);
    let cloud = bus.declare("a");
    bus.attach(cloud, InstanceId(201), &mut Vec::new());
    let report = bus.take(now(), B).reports.remove(0);
    assert_eq!(report.origin, Origin { instance: InstanceId(201), ticket });
}

#[test]
fn the_answer_to_a_query_is_the_askers_and_what_it_shows_changed_is_everybodys() {
    let mut bus = bus();
    say(&mut bus, Cause::CHANGE, None, &[(0, Value::Bool(true)), (1, Value::Int(10))]);
    bus.take(now(), A);
    bus.take(now(), B);
    let ticket = ask(&mut bus, A, CommandBody::Get(Vec::new().into()));
    let read = list(&[(0, Value::Bool(true)), (1, Value::Int(20))]);
    bus.answered(now(), ticket, LinkResult::Done(read.clone()), &mut Vec::new());
    let outcomes = bus.take(now(), A).outcomes;
    assert_eq!((outcomes.len(), outcomes[0].values.to_vec()), (1, read));
    let handover = bus.take(now(), B);
    assert_eq!(handover.outcomes, []);
    assert_eq!(handover.reports[0].body, ReportBody::Properties(list(&[(1, Value::Int(20))]).into()));
}

#[test]
fn a_restarted_plugin_gets_the_last_values_and_what_it_did_not_settle() {
    let mut bus = bus();
    say(&mut bus, Cause::CHANGE, None, &[(0, Value::Bool(true))]);
    say(&mut bus, Cause::CHANGE, None, &[(2, Value::Int(1))]);
    let seqs: Vec<u64> = bus.take(now(), A).reports.iter().map(|report| report.seq).collect();
    bus.settle(A, &seqs[..1], &mut Vec::new());
    let cloud = bus.declare("a");
    bus.detach(cloud, A);
    say(&mut bus, Cause::CHANGE, None, &[(2, Value::Int(2))]);
    bus.attach(cloud, InstanceId(201), &mut Vec::new());
    let last = [(0, Value::Bool(true)), (2, Value::Int(2))];
    let (one, two) = ([(2, Value::Int(1))], [(2, Value::Int(2))]);
    check(&mut bus, InstanceId(201), &[(Cause::SNAPSHOT, &last), (Cause::CHANGE, &one), (Cause::CHANGE, &two)]);
}

#[test]
fn an_incarnation_that_is_gone_can_do_nothing_more() {
    let mut bus = bus();
    let ticket = ask(&mut bus, A, CommandBody::Get(Vec::new().into()));
    let cloud = bus.declare("a");
    bus.attach(cloud, InstanceId(201), &mut Vec::new());
    bus.answered(now(), ticket, LinkResult::TimedOut, &mut Vec::new());
    assert_eq!(bus.take(now(), InstanceId(201)).outcomes, [], "the new incarnation does not know this ticket");
    assert_eq!(ask(&mut bus, A, CommandBody::Get(Vec::new().into())), 0);
    bus.detach(cloud, A);
    say(&mut bus, Cause::CHANGE, None, &[(2, Value::Int(2))]);
    check(&mut bus, A, &[]);
    check(&mut bus, InstanceId(201), &[(Cause::CHANGE, &[(2, Value::Int(2))])]);
}

#[test]
fn a_settled_report_makes_room_and_wakes_a_plugin_that_was_held_up() {
    let mut bus = bus();
    for n in 0..300 {
        say(&mut bus, Cause::CHANGE, None, &[(2, Value::Int(n))]);
    }
    let mut seqs = Vec::new();
    while let handover = bus.take(now(), A)
        && !handover.reports.is_empty()
    {
        let numbered: Vec<_> = handover.reports.iter().map(|report| report.seq).filter(|seq| *seq != 0).collect();
        assert!(numbered.len() <= BATCH_MAX);
        seqs.extend(numbered);
    }
    assert_eq!(seqs.len(), journal::UNSETTLED_MAX);
    let mut effects = Vec::new();
    bus.settle(A, &seqs[..1], &mut effects);
    assert_eq!(effects, [Effect::Wake(A)]);
}

#[test]
fn another_product_forgets_values_and_waiting_reports() {
    let mut bus = bus();
    say(&mut bus, Cause::CHANGE, None, &[(2, Value::Int(1))]);
    bus.set_product(Arc::new(product()));
    assert_eq!((bus.values().count(), bus.journal_usage().0), (1, 1), "the same product again changes nothing");
    bus.set_product(Arc::new(Product { key: "other".to_owned(), ..product() }));
    assert_eq!((bus.values().count(), bus.journal_usage().0), (0, 0));
    check(&mut bus, A, &[]);
}

#[test]
fn what_does_not_fit_is_counted_and_named() {
    let mut bus = bus();
    let effects = say(&mut bus, Cause::CHANGE, None, &[(1, Value::Int(7)), (0, Value::Bool(true))]);
    let complaint = "left out of a report: `level` takes 0 to 100 in steps of 10, not 7".to_owned();
    assert!(effects.contains(&Effect::Complain(complaint)));
    bus.report(now(), DEVICE_MAX + 1, Cause::CHANGE, None, ReportBody::Raw(Vec::new().into()), &mut Vec::new());
    assert_eq!(bus.counters().misfits, 2);
    check(&mut bus, A, &[(Cause::CHANGE, &[(0, Value::Bool(true))])]);
}

#[test]
fn a_flood_of_commands_that_is_never_looked_after_is_bounded() {
    let mut bus = bus();
    for _ in 0..5000 {
        ask(&mut bus, A, CommandBody::Set(Vec::new().into()));
    }
    let cloud = bus.declare("a");
    assert_eq!(bus.cloud_usage(cloud).outcomes_lost, 5000 - OUTCOMES_MAX as u64);
}

mod live;
