//! A whole life in one go, as the host sees it: through the driver and the types of the ABI.

use polylink_plugin_sdk::OutcomeResult;
use polylink_plugin_sdk::services::module::Event;
use polylink_plugin_sdk::session::Phase;
use serde_json::json;

use crate::packet::Kind;
use crate::scenarios::stage::{
    App, Stage, bond, control, heat, jds2pri, n, pri2jds, scripted, streams, streams_in, unbound,
};
use crate::wire::biz;

#[test]
fn a_device_is_found_bound_controlled_cut_off_and_reset() {
    let mut stage = Stage::started_behind_the_abi(unbound(json!({})));
    stage.host.snapshot([n(1), heat(20)]);
    let mut app = App::new();
    assert_eq!(app.discover(&mut stage)["feedid"], "");
    app.authorize(&mut stage, &bond(json!({})));
    assert_eq!(app.expect_code(&mut stage, Kind::Authorization), 0);
    stage.come_in();
    assert_eq!(stage.expect_streams(), json!({"n": 1, "heat": 20}));
    stage.accept_upload();

    app.control(&mut stage, json!({"n": 2}));
    let (id, values) = stage.host.expect_set();
    assert_eq!(values, [n(2)]);
    let seq = stage.host.report_caused_by(id, [n(2)]);
    stage.host.command_done(id);
    assert_eq!(streams_in(&app.expect_json(&mut stage)["data"]), json!({"n": 2, "heat": 20}));
    assert_eq!(stage.expect_streams(), json!({"n": 2, "heat": 20}));
    stage.accept_upload();
    assert_eq!(stage.host.expect_settle(), [seq]);

    let serial = stage.command(biz::CONTROL, control(json!({"n": 3})));
    let (id, _) = stage.host.expect_set();
    stage.host.command_ended(id, OutcomeResult::TimedOut);
    assert_eq!(stage.expect_answer(serial).0, 102);

    stage.cut();
    let seq = stage.host.report([n(4)]);
    stage.reconnect();
    assert_eq!(stage.expect_streams(), json!({"n": 4, "heat": 20}));
    assert_eq!(streams(&stage.expect_result().content), json!({"n": 4, "heat": 20}));
    stage.accept_upload();
    assert_eq!(stage.host.expect_settle(), [seq]);

    stage.restart();
    stage.host.snapshot([n(4)]);
    stage.come_in();
    assert_eq!(stage.expect_streams(), json!({"n": 4}));
    stage.host.module_event(Event::Reset);
    stage.assert_phase(Phase::Offline);
    stage.host.stop();
}

#[test]
fn a_product_with_a_script_lives_the_same_way() {
    let mut stage = Stage::started_behind_the_abi(scripted(json!({"panel_results": false})));
    stage.host.snapshot([n(1)]);
    stage.come_in();
    stage.convert_upload(b"one");
    assert_eq!(stage.expect_upload(), b"one");
    stage.accept_upload();
    let serial = stage.command(biz::CONTROL, b"two?");
    let call = stage.host.expect_script_call();
    stage.host.script_returned(call.id, pri2jds(control(json!({"n": 2})), 1002));
    let (id, _) = stage.host.expect_set();
    stage.host.command_done(id);
    let call = stage.host.expect_script_call();
    stage.host.script_returned(call.id, jds2pri(b"two!"));
    assert_eq!(stage.expect_answer(serial), (102, b"two!".to_vec()));
    stage.host.stop();
}
