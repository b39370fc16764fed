//! From the login to being online: the connection, its will, the greeting 2004, and what each way to lose it leads to.

use polylink_plugin_sdk::session::Phase;
use serde_json::json;

use crate::scenarios::stage::{Cloud, DEV_ID, DEV_MAC, online, setup};

#[test]
fn a_registered_device_connects_subscribes_greets_and_is_online() {
    for behind_the_abi in [false, true] {
        let start = if behind_the_abi { Cloud::started_behind_the_abi } else { Cloud::started };
        let mut cloud = start(setup(json!({})));
        cloud.register();
        let connect = cloud.accept();
        assert_eq!((connect.host.as_str(), connect.port, connect.tls), ("broker.clife", 1884, None));
        assert_eq!((connect.protocol_level, connect.clean_session, connect.keepalive_s), (4, false, 90));
        let subscribe = cloud.expect_subscription();
        assert_eq!(subscribe.qos, 1);
        cloud.host.expect_silence();
        cloud.host.subscribed(subscribe.id, 1);
        let greeting = cloud.expect(2004);
        assert_eq!(greeting.body, json!({"devId": DEV_ID, "devMac": DEV_MAC, "profileVer": "0"}));
        assert_eq!(greeting.publish.message.qos, 1);
        assert_eq!(cloud.host.status().phase, Phase::Connecting);
        cloud.say(2005, &greeting.id, json!({"respCode": 0, "respCont": "ok"}));
        assert_eq!(cloud.host.status().phase, Phase::Online);
        cloud.host.expect_silence();
    }
}

#[test]
fn a_report_gets_through() {
    let mut cloud = online(json!({}));
    let seq = cloud.report(7);
    let report = cloud.expect(2006);
    assert_eq!(report.body, json!({"params": [{"2": 7}]}));
    cloud.host.published(report.publish.id);
    assert_eq!(cloud.host.expect_settle(), [seq]);
}
