//! How subdevices are bound and unbound.

use polylink_plugin_sdk::services::module;
use polylink_plugin_sdk::services::subdevices::{Request, Subdevice};
use serde_json::json;

use super::talk::{
    PRODUCT, asking, bind, binding, expect_beat, expect_upload, feedid_of, joined, report, requests, shown, unbind,
    with_bound, with_list,
};
use crate::packet::Kind;
use crate::scenarios::life::Life;
use crate::scenarios::stage::{App, FEEDID, Stage, bound, gateway, unbound};

#[test]
fn a_subdevice_that_asks_to_join_is_discovered_and_bound() {
    let mut stage = Stage::working(with_list(vec![]));
    let mut app = App::new();
    assert_eq!(shown(&mut stage, &mut app), []);
    stage.host.subdevices_changed(vec![asking(4, "a1")]);
    assert_eq!(shown(&mut stage, &mut app), [("a1".to_owned(), 1)]);
    assert_eq!(requests(&mut stage), [], "nobody is accepted before an app says so");
    report(&mut stage, 4, 40);
    stage.host.take_outputs();
    assert_eq!(bind(&mut stage, &mut app, "a1"), 0);
    assert_eq!(expect_upload(&mut stage, "a1"), json!({"n": 40}));
    assert_eq!(requests(&mut stage), [Request::Accept(4)]);
    assert_eq!(shown(&mut stage, &mut app), [("a1".to_owned(), 0)]);
    // As it is after a restart, with the list as it was and without one.
    stage.restart();
    assert_eq!(shown(&mut stage, &mut app), [("a1".to_owned(), 0)]);
    stage.host.setup().subdevices.clear();
    stage.restart();
    assert_eq!(shown(&mut stage, &mut app), [("a1".to_owned(), 0)]);
}

#[test]
fn a_subdevice_that_nobody_has_heard_of_yet_is_not_shown_to_the_cloud() {
    let mut stage = Stage::working(with_list(vec![joined(1, "a1")]));
    let mut app = App::new();
    app.discover(&mut stage);
    bind(&mut stage, &mut app, "a1");
    assert_eq!(stage.take_kinds(), [], "there is nothing to say of it");
    report(&mut stage, 1, 5);
    assert_eq!(expect_upload(&mut stage, "a1"), json!({"n": 5}));
}

#[test]
fn a_subdevice_is_announced_by_its_code_and_then_bound_before_or_after_it_shows_up() {
    for shows_up_first in [true, false] {
        let mut stage = Stage::working(with_list(vec![]));
        let mut app = App::new();
        app.discover(&mut stage);
        let order = json!({"cmd": 6, "data": {"mac": "a1", "productuuid": PRODUCT, "protocol": 3}});
        app.send(&mut stage, Kind::AddSubDevice, order.to_string().as_bytes());
        let answer: serde_json::Value =
            serde_json::from_slice(&app.expect(&mut stage, Kind::AddSubDevice)).expect("JSON");
        assert_eq!(answer, json!({"code": 0, "msg": "success", "productuuid": PRODUCT, "mac": "a1"}));
        let Request::Admit { product, address, .. } = stage.host.expect_subdevices() else { panic!("no admission") };
        assert_eq!((product.as_str(), address.as_str()), (PRODUCT, "a1"));
        if shows_up_first {
            stage.host.subdevices_changed(vec![asking(1, "a1")]);
        }
        assert_eq!(bind(&mut stage, &mut app, "a1"), 0);
        if !shows_up_first {
            stage.host.subdevices_changed(vec![asking(1, "a1")]);
        }
        assert!(requests(&mut stage).contains(&Request::Accept(1)));
        assert_eq!(shown(&mut stage, &mut app), [("a1".to_owned(), 0)]);
    }
}

#[test]
fn bindings_are_refused_with_the_code_of_their_reason() {
    let (mut stage, mut app) = with_bound(&["a1"]);
    assert_eq!(bind(&mut stage, &mut app, "b2"), 19);
    let mut wrong = binding("a1");
    wrong["data"]["feedid"] = json!(FEEDID);
    app.exchange(&mut stage, Kind::SubAuthorization, &wrong);
    assert_eq!(app.expect_code(&mut stage, Kind::SubAuthorization), 16, "that is the gateway itself");
    stage.host.subdevices_changed(vec![joined(1, "a1"), asking(2, "b2")]);
    let mut wrong = binding("b2");
    wrong["data"]["feedid"] = json!(feedid_of("a1"));
    app.exchange(&mut stage, Kind::SubAuthorization, &wrong);
    assert_eq!(app.expect_code(&mut stage, Kind::SubAuthorization), 16);
    assert_eq!(bind(&mut stage, &mut app, "a1"), 0, "again, as the answer may have been lost");
    assert_eq!(shown(&mut stage, &mut app), [("a1".to_owned(), 0), ("b2".to_owned(), 1)]);
}

#[test]
fn a_binding_counts_when_it_is_on_the_disk() {
    let mut stage = Stage::working(with_list(vec![joined(1, "a1")]));
    let mut app = App::new();
    app.discover(&mut stage);
    stage.host.fail_store(true);
    assert_eq!(bind(&mut stage, &mut app, "a1"), 24);
    assert_eq!(shown(&mut stage, &mut app), [("a1".to_owned(), 1)]);
    stage.host.fail_store(false);
    assert_eq!(bind(&mut stage, &mut app, "a1"), 0);
    // A second time with other keys, which cannot be stored: it goes on as it was.
    stage.settle_down();
    stage.host.fail_store(true);
    let mut other = binding("a1");
    other["data"]["feedid"] = json!("9other");
    app.exchange(&mut stage, Kind::SubAuthorization, &other);
    assert_eq!(app.expect_code(&mut stage, Kind::SubAuthorization), 24);
    report(&mut stage, 1, 8);
    assert_eq!(expect_upload(&mut stage, "a1"), json!({"n": 8}));
}

#[test]
fn only_a_bound_gateway_binds_subdevices() {
    for (setup, reason) in [(unbound(json!({"device_type": 1})), "lan_unbound"), (bound(json!({})), "lan_not_gateway")]
    {
        let mut stage = Stage::started(setup);
        let mut app = App::new();
        app.discover(&mut stage);
        app.exchange(&mut stage, Kind::SubAuthorization, &binding("a1"));
        stage.expect_nothing_said();
        stage.assert_count(reason, 1);
    }
}

#[test]
fn the_cloud_unbinds_what_is_there_and_learns_what_is_not() {
    let (mut stage, mut app) = with_bound(&["a1", "b2"]);
    assert_eq!(unbind(&mut stage, &["b2", "c3"]), [2, 3]);
    assert_eq!(requests(&mut stage), [Request::Remove(2)]);
    stage.host.subdevices_changed(vec![joined(1, "a1")]);
    assert_eq!(shown(&mut stage, &mut app), [("a1".to_owned(), 0)]);
    assert_eq!(unbind(&mut stage, &["a1"]), [2]);
    stage.settle_down();
    stage.host.advance(60_000);
    stage.expect(Kind::Heartbeat);
    stage.restart();
    let shown = shown(&mut stage, &mut app);
    assert!(shown.iter().all(|(_, state)| *state == 1), "{shown:?}");
}

#[test]
fn a_reset_unbinds_all() {
    let (mut stage, mut app) = with_bound(&["a1", "b2"]);
    stage.host.module_event(module::Event::Reset);
    assert_eq!(requests(&mut stage), [Request::Remove(1), Request::Remove(2)]);
    stage.host.subdevices_changed(vec![]);
    assert_eq!(shown(&mut stage, &mut app), []);
    stage.restart();
    assert_eq!(shown(&mut stage, &mut app), []);
}

#[test]
fn fifty_subdevices_are_discovered_bound_beaten_for_and_shown_and_a_fifty_first_is_refused() {
    let macs: Vec<String> = (0..51).map(|at| format!("{at:012x}")).collect();
    let list: Vec<Subdevice> = (1..).zip(&macs).map(|(index, mac)| joined(index, mac)).collect();
    let mut life = Life::online(with_list(list));
    let mut app = App::new();
    assert_eq!(shown(&mut life.stage, &mut app).len(), 51);
    for (index, mac) in (1..).zip(&macs) {
        report(&mut life.stage, index, index.into());
        let code = bind(&mut life.stage, &mut app, mac);
        assert_eq!(code, if index <= 50 { 0 } else { 17 });
        life.pass(1_000);
    }
    assert_eq!(life.seen.count(Kind::SubUpload), 50);
    assert_eq!(shown(&mut life.stage, &mut app).iter().filter(|(_, state)| *state == 0).count(), 50);
    life.stage.assert_count("reports_without_owner", 51);

    // All of that again on a new connection, by itself.
    life.pass(600_000);
    life.seen = Default::default();
    life.stage.cut();
    life.pass(5_000);
    assert_eq!((life.seen.count(Kind::Upload), life.seen.count(Kind::SubUpload)), (1, 50));
    life.pass(600_000);
    assert_eq!((life.seen.count(Kind::Heartbeat), life.seen.count(Kind::SubHeartbeat)), (0, 10));
    life.cut_power(1_000);
    life.stage.host.take_outputs();
    assert_eq!(shown(&mut life.stage, &mut app).iter().filter(|(_, state)| *state == 0).count(), 50);
}

#[test]
fn heartbeats_tell_of_all_that_are_bound_also_of_those_that_are_away() {
    let (mut stage, _) = with_bound(&["a1", "b2"]);
    stage.host.advance(60_000);
    stage.take_kinds();
    stage.host.subdevices_changed(vec![Subdevice { online: false, ..joined(1, "a1") }, joined(2, "b2")]);
    stage.host.advance(60_000);
    assert_eq!(expect_beat(&mut stage), [("a1".to_owned(), 1, 0xFFFF), ("b2".to_owned(), 0, 70)]);
    stage.host.subdevices_changed(vec![]);
    stage.host.advance(60_000);
    assert_eq!(expect_beat(&mut stage), [("a1".to_owned(), 1, 0xFFFF), ("b2".to_owned(), 1, 0xFFFF)]);
    let mut alone = Stage::working(gateway(json!({})));
    alone.host.advance(60_000);
    alone.expect(Kind::Heartbeat);
}
