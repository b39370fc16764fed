//! Tasks of a gateway's subdevices.

use polylink_plugin_sdk::OutcomeResult;
use polylink_plugin_sdk::services::subdevices::Subdevice;
use serde_json::json;

use super::tasks::{add, countdown};
use crate::packet::Kind;
use crate::scenarios::gateway::talk::{accesskey_of, expect_upload, feedid_of, joined, report, unbind, with_bound};
use crate::scenarios::life::{Life, name};
use crate::scenarios::stage::streams;
use crate::timers::wire::Task;
use crate::wire::SubUpload;

fn of(mac: &str, task: Task) -> Task {
    Task { feedid: name(&feedid_of(mac)), ..task }
}

#[test]
fn the_steps_of_a_subdevice_are_its_own() {
    let (mut stage, _) = with_bound(&["a1", "b2"]);
    report(&mut stage, 2, 1);
    expect_upload(&mut stage, "b2");
    stage.settle_down();
    let mut life = Life::on(stage);
    assert_eq!(life.ask_for_code(add([of("b2", countdown(7, 60))])), 0);
    life.pass(120_000);
    assert_eq!(life.seen.commands.iter().map(|(_, device, n)| (*device, *n)).collect::<Vec<_>>(), [(2, 71), (2, 72)]);
    assert_eq!(life.seen.steps(), [(7, 1, 0), (7, 2, 0)]);
    let told: Vec<_> = life.seen.told.iter().map(|(_, told)| (told.feedid.as_str(), streams(&told.content))).collect();
    let feedid = feedid_of("b2");
    assert_eq!(told, [(feedid.as_str(), json!({"n": 71})), (feedid.as_str(), json!({"n": 72}))]);
    let uploads: Vec<_> = life
        .seen
        .uploads
        .iter()
        .map(|(_, kind, body)| {
            assert_eq!(*kind, Kind::SubUpload);
            let upload = SubUpload::decode(body).expect("an upload");
            assert_eq!(upload.feedid.as_str(), feedid);
            streams(&upload.open(&accesskey_of("b2").cipher_key()).expect("under its key"))
        })
        .collect();
    assert_eq!(uploads, [json!({"n": 71}), json!({"n": 72})]);
}

#[test]
fn a_subdevice_that_is_away_silent_or_unbound_fails_its_steps() {
    let (stage, _) = with_bound(&["a1", "b2"]);
    let mut life = Life::on(stage);
    life.mcu = Box::new(|_| Some(OutcomeResult::TimedOut));
    life.ask(add([of("b2", countdown(1, 60))]));
    life.stage.host.subdevices_changed(vec![joined(1, "a1"), Subdevice { online: false, ..joined(2, "b2") }]);
    life.pass(90_000);
    assert_eq!(life.seen.steps(), [(1, 1, 21), (1, 2, 20)]);
    life.seen = Default::default();
    life.ask(add([of("b2", countdown(2, 60))]));
    unbind(&mut life.stage, &["b2"]);
    life.pass(90_000);
    assert_eq!(life.seen.steps(), [(2, 1, 20), (2, 2, 19)]);
    assert!(life.seen.uploads.iter().all(|(_, kind, _)| *kind != Kind::SubUpload));
}

#[test]
fn the_tasks_of_a_subdevice_survive_a_power_cut() {
    let (stage, _) = with_bound(&["a1", "b2"]);
    let mut life = Life::on(stage);
    life.ask(add([of("b2", countdown(1, 3600))]));
    life.pass(600_000);
    life.cut_power(60_000);
    life.pass(7_200_000);
    assert_eq!(life.seen.commands.iter().map(|(_, device, n)| (*device, *n)).collect::<Vec<_>>(), [(2, 11), (2, 12)]);
    let (first, last) = (life.seen.commands[0].0, life.seen.commands[1].0);
    assert_eq!(last - first, 3600);
}
