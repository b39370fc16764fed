//! The end of a bond between a user and the device.

use polylink_plugin_sdk::session::Phase;
use serde_json::json;

use crate::scenarios::stage::online;

#[test]
fn the_end_of_a_bond_is_answered_under_its_number_and_the_device_stays() {
    let mut cloud = online(json!({}));
    let done = json!({"respCode": 0, "respCont": "ok"});
    let id = cloud.ask(2013, json!({}));
    for _ in 0..3 {
        assert_eq!(cloud.expect_frame(2012), (id.clone(), done.clone()));
        cloud.host.expect_silence();
        cloud.host.advance(1_000);
        cloud.say(2013, &id, json!({}));
    }
    assert_eq!(cloud.expect_frame(2012).0, id);
    assert_eq!(cloud.host.status().phase, Phase::Online);
    assert!(cloud.host.stored("login").is_some());
    cloud.host.advance(1_000);
    cloud.assert_fact("commands_repeated", "3");
}

#[test]
fn a_device_whose_bond_has_ended_registers_anew_if_that_is_wanted() {
    let mut cloud = online(json!({"unbind_clears_registration": true}));
    let id = cloud.ask(2013, json!({}));
    assert_eq!(cloud.expect_frame(2012), (id.clone(), json!({"respCode": 0, "respCont": "ok"})));
    assert_eq!(cloud.host.expect_mqtt_disconnect(), cloud.connection);
    assert!(cloud.host.stored("login").is_none());
    let seq = cloud.report(7);
    cloud.register();
    cloud.come_online();
    let sent = cloud.expect(2006);
    cloud.host.published(sent.publish.id);
    assert_eq!(cloud.host.expect_settle(), [seq]);
    cloud.host.take_outputs();
    // The broker brings it again, because the device had left before it could acknowledge it.
    cloud.say(2013, &id, json!({}));
    assert_eq!(cloud.expect_frame(2012).0, id);
    cloud.host.expect_silence();
    assert_eq!(cloud.host.status().phase, Phase::Online);
}
