//! The start: the key pair, what was stored before, and the first packets.

use polylink_plugin_sdk::session::Phase;
use serde_json::json;

use crate::scenarios::stage::{App, FEEDID, Stage, bound, heat, n, unbound};

#[test]
fn a_bound_device_shows_itself_to_the_cloud_before_all_else() {
    let mut stage = Stage::started(bound(json!({})));
    stage.host.snapshot([n(1), heat(20)]);
    stage.come_in();
    assert_eq!(stage.expect_streams(), json!({"n": 1, "heat": 20}));
    stage.host.expect_silence();
    stage.assert_phase(Phase::Online);
}

#[test]
fn a_device_that_nobody_has_bound_waits_for_an_app() {
    let mut stage = Stage::started(unbound(json!({})));
    stage.host.expect_silence();
    stage.assert_phase(Phase::Offline);
    let found = App::new().discover(&mut stage);
    assert_eq!((&found["feedid"], &found["productuuid"]), (&json!(""), &json!("XDFSSD")));
    assert_ne!(found["feedid"], FEEDID);
}
