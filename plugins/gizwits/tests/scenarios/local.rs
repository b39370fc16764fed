//! The local network: discovery, announcements, onboarding, binding, log-in.

use polylink_plugin_sdk::secret::Secret;
use polylink_plugin_sdk::services::{Reason, module};
use polylink_plugin_sdk::session::Phase;
use serde_json::json;

use super::stage::{DID, KEY, Stage, facts, frame, interface, setup};

/// DID, MAC, no firmware version, product key, device attributes (Gizwits LAN protocol, discover answer).
fn about(did: &str) -> Vec<u8> {
    let did_length = u16::try_from(did.len()).expect("a DID is short").to_be_bytes();
    let mac = [0x02, 0x00, 0x5E, 0x10, 0x20, 0x30];
    [&did_length[..], did.as_bytes(), &[0, 6], &mac, &[0, 0], &[0, 32], KEY.as_bytes(), &[0, 0, 0, 0, 0, 0, 0, 2]]
        .concat()
}

#[test]
fn discovery_is_answered_at_once_to_who_asked() {
    let mut stage = Stage::online();
    let socket = stage.socket;
    stage.host.udp_received(socket, "192.0.2.50:5000", frame(0x03, &[]));
    assert_eq!(stage.host.expect_udp_send(), (socket, "192.0.2.50:5000".to_owned(), frame(0x04, &about(DID))));
    stage.host.expect_silence();
}

#[test]
fn where_it_is_wanted_the_api_server_and_the_version_stand_behind_the_attributes() {
    let mut stage = Stage::online_with(json!({"check_updates": false, "lan": {"tell_server": true}}));
    let socket = stage.socket;
    stage.host.udp_received(socket, "192.0.2.50:5000", frame(0x03, &[]));
    let expected = [about(DID).as_slice(), b"api.gizwits.com:80\0", b"4.0.8\0"].concat();
    assert_eq!(stage.host.expect_udp_send().2, frame(0x04, &expected));
}

#[test]
fn before_registration_the_did_is_empty() {
    let mut stage = Stage::started(setup(json!({})));
    let _ = stage.http();
    let socket = stage.socket;
    stage.host.udp_received(socket, "192.0.2.50:5000", frame(0x03, &[]));
    assert_eq!(stage.host.expect_udp_send().2, frame(0x04, &about("")));
}

#[test]
fn thirty_announcements_follow_a_start_a_second_apart() {
    let mut setup = setup(json!({"check_updates": false}));
    setup.interfaces = vec![interface()];
    let mut stage = Stage::started(setup);
    let mut n = 0;
    stage.register();
    stage.provision();
    stage.log_in();
    n += stage.broadcasts().len();
    for _ in 0..60 {
        stage.host.advance(1_000);
        let said = stage.broadcasts();
        assert!(said.len() <= 1);
        assert!(said.iter().all(|bytes| *bytes == frame(0x05, &about(DID))), "{said:?}");
        n += said.len();
    }
    assert_eq!(n, 30);
    // A network that comes and goes makes no second series.
    stage.host.interfaces_changed(Vec::new());
    stage.host.interfaces_changed(vec![interface()]);
    stage.host.advance(10_000);
    assert_eq!(stage.broadcasts().len(), 0);
}

#[test]
fn after_onboarding_thirty_packets_tell_of_the_success_instead() {
    let mut setup = setup(json!({"check_updates": false}));
    setup.interfaces = vec![interface()];
    let mut stage = Stage::started(setup);
    stage.register();
    stage.provision();
    stage.log_in();
    stage.broadcasts();
    stage.host.module_event(module::Event::NetworkJoined);
    let mac = [0x02, 0x00, 0x5E, 0x10, 0x20, 0x30];
    let success = frame(0x19, &[&[0, 6][..], &mac, &[0, 32], KEY.as_bytes(), &[0, 22], DID.as_bytes()].concat());
    let mut said = stage.broadcasts();
    for _ in 0..60 {
        stage.host.advance(1_000);
        said.extend(stage.broadcasts());
    }
    assert_eq!(said, vec![success; 30]);
}

#[test]
fn a_network_is_handed_over_only_while_onboarding_is_open() {
    let request = frame(0x01, b"\x00\x06myssid\x00\x0Amypassword");
    let mut stage = Stage::online();
    let socket = stage.socket;
    stage.host.udp_received(socket, "192.0.2.50:5000", &request);
    stage.host.expect_silence();
    stage.host.facts_changed(module::Facts { onboarding: true, ..facts() });
    stage.host.udp_received(socket, "192.0.2.50:5000", &request);
    assert_eq!(stage.host.expect_udp_send().2, frame(0x02, &[]));
    let join =
        module::Request::JoinNetwork { ssid: "myssid".to_owned(), password: Secret::new("mypassword".to_owned()) };
    assert_eq!(stage.host.expect_module(), join);
    // An application repeats its packet; it is answered, and handed over once.
    stage.host.udp_received(socket, "192.0.2.50:5000", &request);
    assert_eq!(stage.host.expect_udp_send().2, frame(0x02, &[]));
    stage.host.expect_silence();
    for (_, text) in stage.host.logs() {
        assert!(!text.contains("mypassword"), "{text}");
    }
}

#[test]
fn the_passcode_is_given_only_while_the_device_may_be_bound() {
    let mut stage = Stage::online();
    let passcode = stage.bind();
    stage.host.facts_changed(module::Facts { bindable: false, ..facts() });
    let app = stage.app();
    stage.host.tcp_received(app, frame(0x06, &[]));
    assert_eq!(stage.sent_to(app), [frame(0x07, &[0, 0])]);
    // Who knows it may log in all the same.
    stage.logged_in(&passcode, 1);
}

#[test]
fn the_module_is_told_of_the_applications_at_the_cloud_and_on_the_local_network() {
    let mut stage = Stage::online();
    stage.server(0x0210, &[0, 2]);
    assert_eq!(stage.host.expect_module(), module::Request::Applications(2));
    let passcode = stage.bind();
    let app = stage.logged_in(&passcode, 3);
    stage.server(0x0210, &[0, 0]);
    assert_eq!(stage.host.expect_module(), module::Request::Applications(1));
    stage.host.tcp_closed(app, Reason::ConnectionLost);
    assert_eq!(stage.host.expect_module(), module::Request::Applications(0));
    stage.server(0x0210, &[0, 1]);
    assert_eq!(stage.host.expect_module(), module::Request::Applications(1));
    let connection = stage.connection;
    stage.host.mqtt_closed(connection, Reason::ConnectionLost);
    assert_eq!(stage.host.expect_module(), module::Request::Applications(0));
}

#[test]
fn the_status_tells_of_the_applications_at_the_cloud_as_they_come_and_go() {
    let mut stage = Stage::online();
    let mut check = |count: u8, shown: Option<&str>| {
        stage.server(0x0210, &[0, count]);
        assert_eq!(stage.host.expect_module(), module::Request::Applications(count.into()));
        stage.host.advance(1_000);
        let fact = stage.host.status().facts.iter().find(|(name, _)| name == "cloud_applications");
        assert_eq!(fact.map(|(_, value)| value.as_str()), shown);
    };
    check(2, Some("2"));
    check(1, Some("1"));
    check(0, None);
}

#[test]
fn device_information_names_module_and_mcu() {
    let mut stage = Stage::online();
    let app = stage.app();
    stage.host.tcp_received(app, frame(0x13, &[]));
    let mut expected = b"0000000104020006000000030301010100000004".to_vec();
    expected.extend([0; 8]);
    expected.extend([0, 0, 0, 32]);
    expected.extend(KEY.as_bytes());
    assert_eq!(stage.sent_to(app), [frame(0x14, &expected)]);
}

#[test]
fn the_end_of_a_production_test_is_passed_on() {
    let mut stage = Stage::online();
    let app = stage.app();
    stage.host.tcp_received(app, frame(0x17, &[]));
    assert_eq!(stage.host.expect_tcp_send(), (app, frame(0x18, &[])));
    assert_eq!(stage.host.expect_module(), module::Request::EndProductionTest);
}

#[test]
fn without_a_local_network_nothing_is_opened_and_the_cloud_works() {
    let mut host =
        polylink_plugin_sdk::testing::VirtualHost::new::<polylink_gizwits::session::GizwitsSession>(setup(json!({
            "check_updates": false, "lan": {"enabled": false}
        })));
    host.start();
    let none = polylink_plugin_sdk::RequestId(0);
    let mut stage = Stage { host, listener: none, socket: none, connection: none };
    stage.register();
    stage.provision();
    stage.log_in();
    stage.host.expect_silence();
    assert_eq!(stage.host.status().phase, Phase::Online);
}

#[test]
fn the_network_log_is_given_to_who_switched_it_on_and_where_the_settings_allow_it() {
    for allowed in [false, true] {
        let mut stage = Stage::online_with(json!({"check_updates": false, "lan": {"log": allowed}}));
        let passcode = stage.bind();
        let app = stage.logged_in(&passcode, 1);
        stage.host.tcp_received(app, frame(0x10, &[0, 1]));
        let answers = if allowed { vec![frame(0x11, &[])] } else { Vec::new() };
        assert_eq!(stage.sent_to(app), answers);
        let connection = stage.connection;
        stage.host.mqtt_closed(connection, Reason::ConnectionLost);
        let lines: Vec<_> = stage
            .host
            .take_outputs()
            .into_iter()
            .filter_map(|output| match output {
                polylink_plugin_sdk::Output::Tcp(polylink_plugin_sdk::services::tcp::Request::Send(_, bytes)) => {
                    Some(bytes)
                }
                _ => None,
            })
            .collect();
        assert_eq!(!lines.is_empty(), allowed, "{lines:?}");
        assert!(lines.iter().all(|line| line[6..8] == [0, 0x12]), "{lines:?}");
    }
}
