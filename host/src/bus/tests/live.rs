//! What an instance is given while it has too many unsettled reports.

use super::*;

/// `count`, every value of which goes on.
const COUNT: u32 = 2;

/// Says so many counts from 0, and lets A take until nothing is left to take. The numbers it was given.
fn filled(bus: &mut Bus, n: usize) -> Vec<u64> {
    (0..n).for_each(|n| drop(say(bus, Cause::CHANGE, None, &[(COUNT, Value::Int(n as i64))])));
    let mut seqs = Vec::new();
    loop {
        let handover = bus.take(now(), A);
        seqs.extend(handover.reports.iter().map(|report| report.seq).filter(|seq| *seq != 0));
        if !handover.more {
            return seqs;
        }
    }
}

fn full(bus: &mut Bus) -> Vec<u64> {
    let seqs = filled(bus, journal::UNSETTLED_MAX);
    assert_eq!(seqs.len(), journal::UNSETTLED_MAX);
    check(bus, A, &[]);
    seqs
}

fn say_count(bus: &mut Bus, n: i64) -> Vec<Effect> {
    say(bus, Cause::CHANGE, None, &[(COUNT, Value::Int(n))])
}

#[test]
fn a_full_window_is_shown_the_newest_values_once_each() {
    let mut bus = bus();
    full(&mut bus);
    let effects = say(&mut bus, Cause::CHANGE, None, &[(0, Value::Bool(true)), (COUNT, Value::Int(1000))]);
    assert!(effects.contains(&Effect::Wake(A)));
    say_count(&mut bus, 1001);
    let handover = bus.take(now(), A);
    assert!(!handover.more);
    let [live] = &handover.reports[..] else { panic!("one report was due, not {:?}", handover.reports) };
    assert_eq!((live.seq, live.cause, live.origin, live.at), (0, Cause::LIVE, Origin::default(), now().wall));
    assert_eq!(live.body, ReportBody::Properties(list(&[(0, Value::Bool(true)), (COUNT, Value::Int(1001))]).into()));
    check(&mut bus, A, &[]);
}

#[test]
fn each_subdevice_is_shown_by_itself() {
    let mut bus = bus();
    full(&mut bus);
    for device in [3, 0] {
        let body = ReportBody::Properties(list(&[(0, Value::Bool(true))]).into());
        bus.report(now(), device, Cause::CHANGE, None, body, &mut Vec::new());
    }
    let devices: Vec<_> = bus.take(now(), A).reports.iter().map(|report| (report.device, report.cause)).collect();
    assert_eq!(devices, [(0, Cause::LIVE), (3, Cause::LIVE)]);
}

#[test]
fn when_the_window_opens_everything_comes_in_order_with_its_number_and_nothing_live_is_left() {
    let mut bus = bus();
    let seqs = full(&mut bus);
    (1000..1003).for_each(|n| drop(say_count(&mut bus, n)));
    check(&mut bus, A, &[(Cause::LIVE, &[(COUNT, Value::Int(1002))])]);
    // Pending when the window opens, so it is not shown any more.
    say_count(&mut bus, 1003);
    bus.settle(A, &seqs, &mut Vec::new());
    let handover = bus.take(now(), A);
    let given: Vec<_> = handover.reports.iter().map(|report| (report.seq, report.cause)).collect();
    let numbered = (1..=4).map(|n| (seqs[255] + n, Cause::CHANGE)).collect::<Vec<_>>();
    assert_eq!(given, numbered);
    assert!(!handover.more);
    check(&mut bus, A, &[]);
}

#[test]
fn an_old_value_that_fills_the_window_again_does_not_stay_for_the_present() {
    let mut bus = bus();
    let seqs = full(&mut bus);
    (1000..1003).for_each(|n| drop(say_count(&mut bus, n)));
    check(&mut bus, A, &[(Cause::LIVE, &[(COUNT, Value::Int(1002))])]);
    bus.settle(A, &seqs[..1], &mut Vec::new());
    let (past, present) = ([(COUNT, Value::Int(1000))], [(COUNT, Value::Int(1002))]);
    check(&mut bus, A, &[(Cause::CHANGE, &past), (Cause::LIVE, &present)]);
    bus.settle(A, &seqs[1..3], &mut Vec::new());
    check(&mut bus, A, &[(Cause::CHANGE, &[(COUNT, Value::Int(1001))]), (Cause::CHANGE, &present)]);
}

#[test]
fn a_window_that_fills_while_more_waits_shows_the_present_at_once() {
    let mut bus = bus();
    say(&mut bus, Cause::CHANGE, None, &[(3, Value::Bool(false))]);
    for n in 0..300 {
        say_count(&mut bus, n);
    }
    say(&mut bus, Cause::CHANGE, None, &[(3, Value::Bool(true))]);
    let mut reports = Vec::new();
    while let handover = bus.take(now(), A)
        && !handover.reports.is_empty()
    {
        reports.extend(handover.reports);
    }
    let live = reports.pop().expect("the window is full");
    assert_eq!(live.body, ReportBody::Properties(list(&[(COUNT, Value::Int(299)), (3, Value::Bool(true))]).into()));
    assert_eq!((live.cause, reports.len()), (Cause::LIVE, journal::UNSETTLED_MAX));
    assert!(reports.iter().all(|report| report.seq != 0));
}

#[test]
fn what_is_no_new_value_is_not_shown_live() {
    let mut bus = bus();
    full(&mut bus);
    let pressed = ReportBody::Event { id: DatapointId(0), params: list(&[(0, Value::Int(1))]).into() };
    let mut effects = Vec::new();
    bus.report(now(), 0, Cause::CHANGE, None, pressed, &mut effects);
    // The same count again goes on, as each counts, but shows nothing new.
    bus.report(
        now(),
        0,
        Cause::CHANGE,
        None,
        ReportBody::Properties(list(&[(COUNT, Value::Int(255))]).into()),
        &mut effects,
    );
    assert!(!effects.contains(&Effect::Wake(A)));
    check(&mut bus, A, &[]);
    let cloud = bus.declare("a");
    assert_eq!(bus.cloud_usage(cloud).waiting, 2);
}

#[test]
fn a_cloud_that_keeps_up_is_shown_nothing_live() {
    let mut bus = bus();
    for n in 0..1000 {
        say_count(&mut bus, n);
        let reports = bus.take(now(), B).reports;
        assert_eq!(reports.iter().map(|report| report.cause).collect::<Vec<_>>(), [Cause::CHANGE]);
        bus.settle(B, &[reports[0].seq], &mut Vec::new());
    }
}

#[test]
fn a_new_incarnation_begins_with_the_snapshot_and_not_with_what_the_last_one_lacked() {
    let mut bus = bus();
    full(&mut bus);
    say(&mut bus, Cause::CHANGE, None, &[(0, Value::Bool(true))]);
    let cloud = bus.declare("a");
    bus.detach(cloud, A);
    say(&mut bus, Cause::CHANGE, None, &[(0, Value::Bool(false))]);
    bus.attach(cloud, InstanceId(201), &mut Vec::new());
    let causes: Vec<_> = bus.take(now(), InstanceId(201)).reports.iter().map(|report| report.cause).collect();
    assert_eq!((causes.len(), causes[0]), (1 + BATCH_MAX, Cause::SNAPSHOT));
    assert!(causes[1..].iter().all(|cause| *cause == Cause::CHANGE));
}

#[test]
fn a_flood_while_the_window_is_full_keeps_one_id_for_each_datapoint() {
    let mut bus = bus();
    full(&mut bus);
    for n in 0..50_000 {
        say_count(&mut bus, 1000 + n);
    }
    let cloud = bus.declare("a");
    assert!(bus.cloud_usage(cloud).losses.history > 0, "the journal is bounded as before");
    check(&mut bus, A, &[(Cause::LIVE, &[(COUNT, Value::Int(50_999))])]);
}
