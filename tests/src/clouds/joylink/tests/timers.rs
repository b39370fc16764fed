use serde_json::json;

use super::peer::{Peer, answer, check, run};
use crate::clouds::joylink::JoyLink;
use crate::clouds::joylink::product::{FEEDID, Product};
use crate::clouds::joylink::timers::Operation;
use crate::joylink_wire::fields::{Reader, Writer};
use crate::joylink_wire::timers::{Plan, Task, read_ids, read_tasks, write_ids, write_snapshot, write_tasks};

fn task(id: i32) -> Task {
    let plan = Plan::Countdown { interval_s: 60, action_commands: Vec::new(), stop_commands: vec![vec![0]] };
    Task { version: 0, feedid: FEEDID.to_owned(), name: "lamp".to_owned(), id, state: 1, origin: 0, plan }
}

/// Reports the tasks that a device has; the ids that the cloud acknowledges, with its business code.
async fn report(peer: &mut Peer, biz_code: u32, tasks: &[Task]) -> (u32, Vec<i32>) {
    let body = write_snapshot(Writer::default(), FEEDID, tasks).done();
    peer.send(13, &answer(biz_code, 5, &body)).await;
    let (kind, answered, serial, body) = peer.command().await;
    assert_eq!((kind, serial), (13, 5));
    let mut fields = Reader::new(&body);
    assert_eq!(fields.int().unwrap(), 0);
    (answered, read_ids(&mut fields).unwrap())
}

/// Agrees to the next operation; its business code and what it is about.
async fn agree(peer: &mut Peer) -> (u32, Vec<u8>) {
    let (kind, biz_code, serial, body) = peer.command().await;
    assert_eq!(kind, 13);
    let rest = if matches!(biz_code, 1093 | 1095 | 1096) { vec![0; 8] } else { vec![0; 4] };
    peer.send(13, &answer(biz_code - 900, serial, &rest)).await;
    (biz_code, body)
}

async fn agreed(cloud: &JoyLink, peer: &mut Peer, operation: Operation) {
    let id = cloud.operate(operation).unwrap();
    agree(peer).await;
    cloud.until(|seen| seen.answers.contains_key(&id)).await;
    assert_eq!(cloud.answer_to(&id).unwrap().code, 0);
}

#[test]
fn what_the_device_agrees_to_becomes_the_clouds_list() {
    check(Product::default(), async |cloud| {
        let mut peer = Peer::working(cloud).await;
        agreed(cloud, &mut peer, Operation::Supported).await;
        agreed(cloud, &mut peer, Operation::Add(vec![task(1), task(2)])).await;
        agreed(cloud, &mut peer, Operation::Stop(vec![2])).await;
        agreed(cloud, &mut peer, Operation::Modify(vec![Task { name: String::new(), version: 1, ..task(1) }])).await;
        assert_eq!(cloud.timers(), [Task { version: 1, ..task(1) }, Task { state: 0, ..task(2) }]);
        agreed(cloud, &mut peer, Operation::Restart(Vec::new())).await;
        agreed(cloud, &mut peer, Operation::Delete(vec![1])).await;
        assert_eq!(cloud.timers(), [task(2)]);

        let id = cloud.operate(Operation::Add(vec![task(3)])).unwrap();
        let (_, _, serial, _) = peer.command().await;
        peer.send(13, &answer(191, serial, &3_i32.to_le_bytes())).await;
        cloud.until(|seen| seen.answers.contains_key(&id)).await;
        assert_eq!(cloud.answer_to(&id).unwrap().code, 3);
        assert_eq!(cloud.timers(), [task(2)], "a refusal changes nothing");

        let id = cloud.operate(Operation::Query(Vec::new())).unwrap();
        let (_, _, serial, _) = peer.command().await;
        let body = write_snapshot(Writer::default(), FEEDID, &[task(2)]).done();
        peer.send(13, &answer(194, serial, &body)).await;
        cloud.until(|seen| seen.answers.contains_key(&id)).await;
        assert_eq!(cloud.answer_to(&id).unwrap().json["ids"], json!([2]));
    });
}

#[test]
fn a_snapshot_is_repaired_with_the_clouds_list_as_the_truth() {
    check(Product::default(), async |cloud| {
        let mut peer = Peer::working(cloud).await;
        let changed = Task { version: 4, ..task(3) };
        cloud.plan(vec![task(1), task(2), changed.clone()]);
        let has = [Task { state: 0, ..task(1) }, task(3), task(9)];
        assert_eq!(report(&mut peer, 10101, &has).await, (1101, vec![1, 3, 9]));
        let (code, body) = agree(&mut peer).await;
        assert_eq!((code, read_ids(&mut Reader::new(&body)).unwrap()), (1093, vec![9]));
        let (code, body) = agree(&mut peer).await;
        assert_eq!((code, read_tasks(&mut Reader::new(&body)).unwrap()), (1091, vec![task(2)]));
        let (code, body) = agree(&mut peer).await;
        assert_eq!((code, read_tasks(&mut Reader::new(&body)).unwrap()), (1092, vec![changed.clone()]));
        // Whether a task runs is the device's to know.
        let right = [Task { state: 0, ..task(1) }, task(2), changed];
        assert_eq!(report(&mut peer, 10101, &right).await.1, [1, 2, 3]);
        peer.settle().await;
        assert_eq!(cloud.timers(), right);

        cloud.change(|behaviour| behaviour.keep_timers = true);
        assert_eq!(report(&mut peer, 10101, &[]).await.1, [0; 0]);
        peer.settle().await;
    });
}

#[test]
fn acknowledgements_of_snapshots_leave_an_id_out_when_wanted() {
    check(Product::default(), async |cloud| {
        let mut peer = Peer::working(cloud).await;
        cloud.plan(vec![task(1), task(2)]);
        cloud.change(|behaviour| behaviour.forget_snapshot_ids = 1);
        assert_eq!(report(&mut peer, 10101, &[task(1), task(2)]).await.1, [1]);
        // The numbers of the vendor's SDK are answered with its own.
        assert_eq!(report(&mut peer, 1101, &[task(1), task(2)]).await, (201, vec![1, 2]));
    });
}

#[test]
fn what_the_device_changes_by_itself_is_acknowledged() {
    check(Product::default(), async |cloud| {
        let mut peer = Peer::working(cloud).await;
        peer.send(13, &answer(1098, 6, &write_tasks(Writer::default(), &[task(0)]).done())).await;
        let (_, code, _, body) = peer.command().await;
        let mut fields = Reader::new(&body);
        assert_eq!((code, fields.int().unwrap()), (198, 0));
        let id = fields.int().unwrap();
        assert_eq!(cloud.timers(), [task(id)]);

        for (number, answered, version) in [(10100, 1100, 1), (1100, 200, 2)] {
            let change = Task { version, ..task(id) };
            peer.send(13, &answer(number, 7, &write_tasks(Writer::default(), &[change]).done())).await;
            assert_eq!(peer.command().await, (13, answered, 7, vec![0; 4]));
        }
        let steps = Writer::default().count(1).int(id).byte(2).int(10).done();
        peer.send(13, &answer(1097, 8, &steps)).await;
        assert_eq!(peer.command().await, (13, 197, 8, Writer::default().count(1).int(id).byte(2).done()));
        assert_eq!(cloud.seen().steps, [(id, 2, 10)]);

        peer.send(13, &answer(1099, 9, &write_ids(Writer::default(), &[id]).done())).await;
        assert_eq!(peer.command().await, (13, 199, 9, vec![0; 8]));
        assert_eq!(cloud.timers(), []);
        peer.send(13, &answer(1099, 9, &write_ids(Writer::default(), &[id]).done())).await;
        assert_eq!(peer.command().await.3, Writer::default().int(3).count(1).int(id).done());
    });
}

#[test]
fn timer_messages_are_judged() {
    let tasks = |tasks: &[Task]| write_tasks(Writer::default(), tasks).done();
    let snapshot = |tasks: &[Task]| write_snapshot(Writer::default(), FEEDID, tasks).done();
    for (biz_code, body, wanted) in [
        (1098, tasks(&[task(5)]), "has id 5"),
        (1098, tasks(&[task(0), task(0)]), "2 new tasks"),
        (1098, tasks(&[Task { feedid: "5".to_owned(), ..task(0) }]), "no sub-device"),
        (1098, tasks(&[Task { state: 2, ..task(0) }]), "state 2"),
        (10100, tasks(&[]), "of no task"),
        (10100, tasks(&[Task { version: 5, ..task(1) }]), "from version 0 to 5"),
        (10101, snapshot(&[task(0)]), "a timer snapshot of"),
        (10101, snapshot(&[task(1), task(1)]), "a timer snapshot of"),
        (191, vec![0; 4], "which nothing had"),
        (1099, vec![1, 0, 0, 0], "are left"),
    ] {
        let violations = run(Product::default(), async |cloud| {
            let mut peer = Peer::working(cloud).await;
            cloud.plan(vec![task(1)]);
            peer.send(13, &answer(biz_code, 5, &body)).await;
            peer.settle().await;
        });
        assert!(violations.len() == 1 && violations[0].contains(wanted), "{wanted}: {violations:?}");
    }
    // A code and the ids beside it have to fit.
    let violations = run(Product::default(), async |cloud| {
        let mut peer = Peer::working(cloud).await;
        cloud.operate(Operation::Delete(vec![1])).unwrap();
        let (_, _, serial, _) = peer.command().await;
        peer.send(13, &answer(193, serial, &Writer::default().int(3).count(0).done())).await;
        peer.settle().await;
    });
    assert!(violations.len() == 1 && violations[0].contains("code 3 with the ids []"), "{violations:?}");
}
