use super::*;
use crate::timers::engine::tests::{at, settings, task};
use crate::timers::run::Moment;
use crate::timers::wire::Numbers;

const NOW: Moment = Moment { monotonic: Timestamp(0), unix_ms: Some(1_424_390_400_000) };

/// A device that is let in at 0, and has told its snapshot.
struct Device {
    table: Table,
    uplink: Uplink,
    now: u64,
}

impl Device {
    fn with(ids: &[i32]) -> Self {
        let mut table = Table::new(settings());
        table.add(ids.iter().map(|id| task(*id, at("0_0_9_*_*_*_*"))).collect(), NOW).unwrap();
        let mut uplink = Uplink::new(3_000, 70);
        uplink.authenticated(Timestamp(0));
        Self { table, uplink, now: 0 }
    }

    fn poll(&mut self) -> Vec<Message<Request>> {
        self.uplink.poll(&self.table, Timestamp(self.now), 1)
    }

    /// All that is sent until then, with the time: polled only when the uplink wants it.
    fn until(&mut self, end: u64) -> Vec<(u64, Operation, u32)> {
        let mut sent = Vec::new();
        for _ in 0..1000 {
            sent.extend(self.poll().iter().map(|m| (self.now, m.content.operation(), m.serial)));
            match self.uplink.next_timeout(&self.table, Timestamp(self.now)) {
                Some(next) if next.0 <= end => self.now = next.0,
                _ => break,
            }
        }
        self.now = end;
        sent
    }

    fn answer(&mut self, serial: u32, content: Answer) -> Reaction {
        let message = Message { timestamp: 1, serial, numbers: Numbers::Sdk, content };
        self.uplink.answered(&message, &mut self.table)
    }

    fn settled(ids: &[i32]) -> Self {
        let mut device = Self::with(ids);
        assert_eq!(device.until(3_000), [(3_000, Operation::Snapshot, 70)]);
        let answer = Answer::Ids(Operation::Snapshot, 0, ids.to_vec());
        assert_eq!(device.answer(70, answer), Reaction::Taken);
        assert_eq!(device.until(10_000), []);
        device
    }

    fn done(&mut self, id: i32, step: u8, code: i32) {
        let (key, task) = self.table.tasks().find(|(_, task)| task.id == id).unwrap();
        let due = Due { task: key, id, feedid: task.feedid, step, commands: vec![] };
        self.uplink.done(&due, code);
    }
}

fn results(message: &Message<Request>) -> Vec<(i32, u8, i32)> {
    let Request::Results(results) = &message.content else { panic!("{message:?}") };
    results.iter().map(|result| (result.id, result.step, result.code)).collect()
}

#[test]
fn results_are_said_again_with_growing_delays() {
    let mut device = Device::settled(&[1]);
    device.done(1, 1, 0);
    let sent = device.until(200_000);
    let delays: Vec<_> = sent.windows(2).map(|pair| (pair[1].0 - pair[0].0) / 1000).collect();
    assert_eq!((sent[0].0, delays), (10_000, vec![2, 4, 8, 16, 32, 60, 60]));
    device.uplink.disconnected();
    assert_eq!(device.until(300_000), []);
    device.uplink.authenticated(Timestamp(300_000));
    assert_eq!(device.poll().iter().map(results).collect::<Vec<_>>(), [[(1, 1, 0)]]);
}

#[test]
fn only_results_that_did_not_arrive_are_said_again() {
    let mut device = Device::settled(&[1, 2]);
    device.done(1, 1, 0);
    device.done(2, 2, 10);
    assert_eq!(results(&device.poll()[0]), [(1, 1, 0), (2, 2, 10)]);
    assert_eq!(device.answer(71, Answer::Received(vec![(1, 1), (7, 7)])), Reaction::Taken);
    device.now += 2_000;
    assert_eq!(results(&device.poll()[0]), [(2, 2, 10)]);
    assert_eq!(device.answer(71, Answer::Received(vec![(2, 2)])), Reaction::Unexpected);
    assert_eq!(device.answer(72, Answer::Received(vec![(2, 2)])), Reaction::Taken);
    assert_eq!(device.until(100_000), []);
}

#[test]
fn a_result_that_replaced_another_is_not_taken_for_it() {
    let mut device = Device::settled(&[1]);
    device.done(1, 1, 0);
    assert_eq!(results(&device.poll()[0]), [(1, 1, 0)]);
    device.done(1, 1, 10);
    assert_eq!(device.answer(71, Answer::Received(vec![(1, 1)])), Reaction::Unexpected);
    assert_eq!(results(&device.poll()[0]), [(1, 1, 10)]);
}

#[test]
fn a_silent_cloud_does_not_get_a_message_for_each_step() {
    let mut device = Device::settled(&[1]);
    let mut n_sent = 0;
    for second in 0..600 {
        device.done(1, 1, 0);
        n_sent += device.until(10_000 + 1000 * second).len();
    }
    assert!(n_sent < 20, "{n_sent}");
}

#[test]
fn an_own_task_gets_its_id_and_then_its_results_are_told() {
    let mut device = Device::settled(&[1]);
    let key = device.table.add_own(task(0, at("0_0_9_*_*_*_*")), NOW).unwrap();
    let due = Due { task: key, id: 0, feedid: settings().feedid, step: 1, commands: vec![] };
    device.uplink.done(&due, 0);
    assert_eq!(device.until(12_500), [(10_000, Operation::New, 71), (12_000, Operation::New, 72)]);
    assert_eq!(device.answer(72, Answer::New { code: 0, id: 2001 }), Reaction::Taken);
    assert_eq!(results(&device.poll()[0]), [(2001, 1, 0)]);
    assert_eq!(device.table.without_id(None), None);
}

#[test]
fn a_refused_own_task_is_not_asked_for_until_the_next_authentication() {
    let mut device = Device::settled(&[]);
    device.table.add_own(task(0, at("0_0_9_*_*_*_*")), NOW).unwrap();
    assert_eq!(device.until(10_000), [(10_000, Operation::New, 71)]);
    assert_eq!(device.answer(71, Answer::New { code: 17, id: 0 }), Reaction::Refused(17));
    assert_eq!(device.until(100_000), []);
    device.uplink.authenticated(Timestamp(100_000));
    assert_eq!(device.until(100_000), [(100_000, Operation::New, 72)]);
}

#[test]
fn own_deletions_and_changes_are_told_until_they_are_known() {
    let mut device = Device::settled(&[1, 2]);
    let keys: Vec<_> = device.table.tasks().map(|(key, _)| key).collect();
    device.table.modify_own(keys[0], task(0, at("0_5_9_*_*_*_*")), NOW).unwrap();
    assert!(device.table.delete_own(keys[1]));
    assert_eq!(device.until(10_000), [(10_000, Operation::Deleted, 71)]);
    assert_eq!(device.answer(71, Answer::Ids(Operation::Deleted, 0, vec![])), Reaction::Taken);
    assert_eq!(device.until(10_000), [(10_000, Operation::Modified, 72)]);
    // Changed again meanwhile: the answer is to the version before.
    device.table.modify_own(keys[0], task(0, at("0_6_9_*_*_*_*")), NOW).unwrap();
    assert_eq!(device.answer(72, Answer::Code(Operation::Modified, 0)), Reaction::Taken);
    let [message] = &device.poll()[..] else { panic!() };
    assert!(matches!(&message.content, Request::Tasks(_, tasks) if tasks[0].version == 2 && tasks[0].id == 1));
    assert_eq!(device.answer(73, Answer::Code(Operation::Modified, 0)), Reaction::Taken);
    assert_eq!(device.until(100_000), []);
}

#[test]
fn a_snapshot_of_which_the_cloud_saw_other_tasks_is_sent_again() {
    let mut device = Device::with(&[1, 2]);
    assert_eq!(device.until(3_000), [(3_000, Operation::Snapshot, 70)]);
    assert_eq!(device.answer(70, Answer::Ids(Operation::Snapshot, 0, vec![1])), Reaction::Differs);
    assert_eq!(device.until(6_000), [(5_000, Operation::Snapshot, 71)]);
    assert_eq!(device.answer(71, Answer::Ids(Operation::Snapshot, 0, vec![2, 1])), Reaction::Taken);
    assert_eq!(device.until(100_000), []);
}

#[test]
fn changes_that_keep_coming_put_a_snapshot_off_but_not_for_ever() {
    let mut device = Device::settled(&[1]);
    let mut sent = Vec::new();
    for _ in 0..40 {
        device.uplink.tasks_changed(Timestamp(device.now));
        sent.extend(device.until(device.now + 1_000));
        if let Some((_, _, serial)) = sent.last() {
            device.answer(*serial, Answer::Ids(Operation::Snapshot, 0, vec![1]));
        }
    }
    assert_eq!(sent, [(40_000, Operation::Snapshot, 71)]);
    assert_eq!(device.until(53_000), [(52_000, Operation::Snapshot, 72)]);
}
