//! The way to the cloud: registration, provisioning, log-in, and what happens when a part of it fails.

use polylink_plugin_sdk::services::{Reason, module};
use polylink_plugin_sdk::session::Phase;
use serde_json::json;

use super::stage::{DID, KEY, MAC, Stage, interface, setup};

#[test]
fn a_first_start_registers_provisions_logs_in_and_subscribes() {
    let mut stage = Stage::started(setup(json!({"check_updates": false})));
    let passcode = stage.register();
    assert_eq!(passcode.len(), 10);
    assert!(passcode.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    stage.provision();
    stage.resolve();
    let connect = stage.accept();
    assert_eq!((connect.host.as_str(), connect.port, connect.tls), ("192.0.2.1", 1883, None));
    assert_eq!((connect.protocol_level, connect.clean_session, connect.will), (3, true, None));
    assert_eq!((connect.keepalive_s, connect.ping_after_s, connect.dead_after_s), (120, 55, 120));
    assert_eq!((connect.client_id.as_str(), connect.username.as_deref()), (DID, Some(DID)));
    assert_eq!(connect.password.expect("it has one").expose(), passcode.as_bytes());
    assert_eq!(stage.host.status().phase, Phase::Connecting);
    stage.subscribe();
    assert_eq!(stage.host.status().phase, Phase::Online);
    stage.host.expect_silence();
}

#[test]
fn a_restart_keeps_did_and_passcode_and_provisions_again() {
    let mut stage = Stage::online();
    let passcode = stage.bind();
    stage.host.restart();
    stage.open_lan();
    stage.provision();
    stage.resolve();
    let connect = stage.accept();
    assert_eq!(connect.password.expect("it has one").expose(), passcode.as_bytes());
}

#[test]
fn two_devices_have_different_passcodes() {
    let passcode = |seed| {
        let mut setup = setup(json!({}));
        setup.seed = [seed; 32];
        Stage::started(setup).register()
    };
    assert_ne!(passcode(1), passcode(2));
}

#[test]
fn tls_and_the_newer_mqtt_are_settings() {
    let changes = json!({"check_updates": false, "m2m_tls": true, "ca_pem": "PEM", "mqtt_version": "3.1.1"});
    let mut stage = Stage::started(setup(changes));
    stage.register();
    stage.provision();
    stage.resolve();
    let connect = stage.accept();
    let tls = connect.tls.expect("it is protected");
    assert_eq!((connect.port, connect.protocol_level), (8883, 4));
    assert_eq!((tls.server_name.as_deref(), tls.ca_pem.as_deref()), (Some("m2m.test"), Some("PEM")));
}

#[test]
fn without_a_hardware_address_it_waits_for_an_interface() {
    let mut setup = setup(json!({}));
    setup.settings = "{}".to_owned();
    let mut stage = Stage::started(setup);
    stage.host.expect_silence();
    assert_eq!(stage.host.status().phase, Phase::Attention);
    stage.host.interfaces_changed(vec![interface()]);
    let (_, request) = stage.http();
    assert!(request.body.windows(MAC.len()).any(|window| window == MAC.as_bytes()));
}

#[test]
fn a_failing_registration_is_tried_again_ever_later_and_from_the_start_after_ten() {
    let mut stage = Stage::started(setup(json!({})));
    for seconds in [5, 15, 25, 35, 45, 55, 65, 75, 85, 95, 5, 15] {
        let (id, request) = stage.http();
        assert_eq!(request.method, "POST");
        stage.host.http_answer(id, 500, r#"{"error_code": 9008, "error_message": "server error"}"#);
        stage.host.expect_silence();
        stage.host.advance(seconds * 1000 - 1);
        stage.host.expect_silence();
        stage.host.advance(1);
    }
    assert_eq!(stage.register().len(), 10);
    stage.provision();
}

#[test]
fn a_registration_without_a_did_in_its_answer_has_failed() {
    for body in ["", "did=", "did=short", "did=<script>alert(1)</scrip", "{}", "\u{0}\u{1}"] {
        let mut stage = Stage::started(setup(json!({})));
        let (id, _) = stage.http();
        stage.host.http_answer(id, 201, body);
        stage.host.expect_silence();
        assert_eq!(stage.host.status().phase, Phase::Offline, "{body:?}");
    }
}

#[test]
fn a_wrong_product_key_is_tried_again_slowly() {
    let mut stage = Stage::started(setup(json!({})));
    let (id, _) = stage.http();
    stage.host.http_answer(id, 400, r#"{"error_code": "9002", "error_message": "product_key invalid"}"#);
    stage.host.advance(599_999);
    stage.host.expect_silence();
    stage.host.advance(1);
    stage.register();
}

#[test]
fn code_9016_at_provisioning_registers_anew_without_unregistering() {
    let mut stage = Stage::online();
    let before = stage.bind();
    stage.host.restart();
    stage.open_lan();
    let request = stage.asked_for_provision();
    stage.host.http_answer(request, 400, r#"{"error_code": 9016, "error_message": "did or passcode invalid"}"#);
    // A POST, and no DELETE before it.
    assert_eq!(stage.register(), before);
    stage.provision();
    stage.log_in();
    stage.host.expect_silence();
}

#[test]
fn any_other_code_at_provisioning_provisions_again() {
    let mut stage = Stage::started(setup(json!({"check_updates": false})));
    stage.register();
    let request = stage.asked_for_provision();
    stage.host.http_answer(request, 404, r#"{"error_code": 9999}"#);
    stage.host.advance(5_000);
    stage.provision();
    stage.log_in();
}

#[test]
fn a_cloud_that_believes_no_did_is_not_flooded_with_registrations() {
    let mut stage = Stage::started(setup(json!({})));
    let mut registrations = 0;
    for _ in 0..20 {
        stage.register();
        registrations += 1;
        let request = stage.asked_for_provision();
        stage.host.http_answer(request, 400, r#"{"error_code": 9016}"#);
        if registrations > 1 {
            stage.host.expect_silence();
            stage.host.advance(10_000 * (registrations - 1));
        }
    }
}

#[test]
fn each_connack_code_is_handled_as_the_specification_says() {
    for code in [1, 2, 3, 5, 77] {
        let mut stage = Stage::started(setup(json!({"check_updates": false})));
        stage.register();
        stage.provision();
        stage.resolve();
        let (connection, _) = stage.host.expect_mqtt_connect();
        stage.host.mqtt_refused(connection, code);
        // To the same server, with the same DID, as after any failure.
        stage.host.expect_silence();
        stage.host.advance(10_000);
        stage.log_in();
        stage.host.expect_silence();
    }
    let mut stage = Stage::started(setup(json!({"check_updates": false})));
    let before = stage.register();
    stage.provision();
    stage.resolve();
    let (connection, _) = stage.host.expect_mqtt_connect();
    stage.host.mqtt_refused(connection, 4);
    assert_eq!(stage.register(), before);
    stage.provision();
    stage.log_in();
    stage.host.expect_silence();
}

#[test]
fn a_server_that_cannot_be_reached_is_tried_ten_times_ever_later_and_then_the_cloud_is_asked_again() {
    let mut stage = Stage::online();
    let connection = stage.connection;
    stage.host.advance(60_000);
    stage.host.mqtt_closed(connection, Reason::ConnectionLost);
    for (failures, seconds) in [0, 10, 20, 30, 40, 50, 60, 70, 80, 90].into_iter().enumerate() {
        if seconds > 0 {
            stage.host.advance(seconds * 1000 - 1);
            stage.host.expect_silence();
            stage.host.advance(1);
        }
        stage.resolve();
        let (connection, _) = stage.host.expect_mqtt_connect();
        assert_eq!(stage.host.status().phase, Phase::Connecting, "after {failures} failures");
        stage.host.mqtt_closed(connection, Reason::ConnectionRefused);
    }
    stage.provision();
    stage.log_in();
    stage.host.expect_silence();
}

#[test]
fn two_hours_of_failure_end_in_the_wish_for_a_restart_of_the_module() {
    let mut stage = Stage::online();
    let connection = stage.connection;
    stage.host.advance(60_000);
    let began = stage.host.now().monotonic;
    stage.host.mqtt_closed(connection, Reason::ConnectionLost);
    let mut wishes = Vec::new();
    while stage.host.now().monotonic.since(began) <= 7_200_000 {
        for output in stage.host.take_outputs() {
            use polylink_plugin_sdk::{Output, services::mqtt};
            match output {
                Output::Resolve(id, _) => stage.host.resolved(id, &["192.0.2.1"]),
                Output::Mqtt(mqtt::Request::Connect(id, _)) => stage.host.mqtt_closed(id, Reason::Timeout),
                Output::Http(id, _) => stage.host.http_failed(id, Reason::Timeout),
                Output::Module(module::Request::Restart(reason)) => {
                    wishes.push((stage.host.now().monotonic.since(began), reason));
                }
                other => panic!("asked beside: {other:?}"),
            }
        }
        if stage.host.next_timeout().is_some_and(|due| due.since(began) > 7_200_000) {
            break;
        }
        stage.host.advance_to_next_timeout();
    }
    assert_eq!(wishes.len(), 1, "{wishes:?}");
    assert_eq!(wishes[0].0, 7_200_000);
}

#[test]
fn a_connection_that_breaks_at_once_again_and_again_is_not_tried_without_pause() {
    let mut stage = Stage::online();
    for seconds in [10, 20, 30] {
        let connection = stage.connection;
        stage.host.mqtt_closed(connection, Reason::ConnectionLost);
        stage.host.expect_silence();
        stage.host.advance(seconds * 1000);
        stage.log_in();
    }
    // After a minute the connection counts as good.
    stage.host.advance(60_000);
    let connection = stage.connection;
    stage.host.mqtt_closed(connection, Reason::ConnectionLost);
    stage.log_in();
}

#[test]
fn a_subscription_without_an_answer_for_five_seconds_or_refused_ends_the_connection() {
    for refused in [false, true] {
        let mut stage = Stage::started(setup(json!({"check_updates": false})));
        stage.register();
        stage.provision();
        stage.resolve();
        stage.accept();
        let subscribe = stage.host.expect_subscribe();
        if refused {
            stage.host.subscribed(subscribe.id, 0x80);
        } else {
            stage.host.advance(5_000);
        }
        assert_eq!(stage.host.expect_mqtt_disconnect(), stage.connection);
        stage.host.expect_silence();
        stage.host.advance(10_000);
        stage.log_in();
        stage.host.expect_silence();
    }
}

#[test]
fn the_name_of_the_server_is_looked_up_every_hour_and_what_is_found_serves_the_next_connection() {
    let mut stage = Stage::online();
    stage.host.advance(3_600_000);
    let (id, host) = stage.host.expect_resolve();
    assert_eq!(host, "m2m.test");
    stage.host.resolved(id, &["198.51.100.9"]);
    stage.host.expect_silence();
    let connection = stage.connection;
    stage.host.mqtt_closed(connection, Reason::ConnectionLost);
    // The name server is away now; what was found before is used.
    let (id, _) = stage.host.expect_resolve();
    stage.host.deliver(polylink_plugin_sdk::Input::Network(polylink_plugin_sdk::services::network::Event::Resolved(
        id,
        Err(polylink_plugin_sdk::services::Failure { reason: Reason::Resolve, text: "no such host".to_owned() }),
    )));
    assert_eq!(stage.accept().host, "198.51.100.9");
}

#[test]
fn an_address_that_does_not_answer_is_left_for_the_next_one() {
    let mut stage = Stage::started(setup(json!({"check_updates": false})));
    stage.register();
    stage.provision();
    stage.resolve();
    let (connection, connect) = stage.host.expect_mqtt_connect();
    assert_eq!(connect.host, "192.0.2.1");
    stage.host.mqtt_closed(connection, Reason::Timeout);
    stage.host.advance(10_000);
    stage.resolve();
    assert_eq!(stage.accept().host, "192.0.2.2");
}

#[test]
fn provisioning_is_read_in_any_order_and_without_a_line_end() {
    let mut stage = Stage::started(setup(json!({"check_updates": false})));
    stage.register();
    stage.provision_with("server_ts=1795213164&port=1883&host=m2m.test");
    stage.log_in();
}

#[test]
fn another_cloud_that_the_product_belongs_to_is_passed_on() {
    let mut stage = Stage::started(setup(json!({"check_updates": false})));
    stage.register();
    stage.provision_with("host=m2m.test&port=1883&server_ts=1795213164&3rd_cloud=jd&product_uuid=ABCDEF\r\n");
    let hint = module::Request::ThirdPartyCloud { name: "jd".to_owned(), parameters: "product_uuid=ABCDEF".to_owned() };
    assert_eq!(stage.host.expect_module(), hint);
    stage.log_in();
}

#[test]
fn provisioning_without_a_server_is_no_provisioning() {
    for body in ["host=&port=1883&server_ts=1", "host=m2m.test&port=0&server_ts=1", "port=1883", "host=a b&port=1", ""]
    {
        let mut stage = Stage::started(setup(json!({"check_updates": false})));
        stage.register();
        let request = stage.asked_for_provision();
        stage.host.http_answer(request, 200, body);
        stage.host.expect_silence();
        assert_eq!(stage.host.status().phase, Phase::Offline, "{body:?}");
    }
}

#[test]
fn when_the_network_returns_it_does_not_wait() {
    let mut stage = Stage::started(setup(json!({})));
    let (id, _) = stage.http();
    stage.host.http_failed(id, Reason::Timeout);
    stage.host.expect_silence();
    stage.host.interfaces_changed(vec![interface()]);
    stage.register();
}

#[test]
fn the_end_is_orderly() {
    let mut stage = Stage::online();
    stage.host.stop();
    assert_eq!(stage.host.expect_mqtt_disconnect(), stage.connection);
    let mut half_way = Stage::started(setup(json!({})));
    half_way.host.stop();
    assert!(
        half_way.host.take_outputs().iter().any(|output| matches!(output, polylink_plugin_sdk::Output::CancelHttp(_)))
    );
}

#[test]
fn the_conversation_is_the_same_behind_the_abi() {
    let mut stage = Stage::started_behind_the_abi(setup(json!({"check_updates": false})));
    stage.register();
    stage.provision();
    stage.log_in();
    stage.host.expect_silence();
    assert_eq!(stage.host.status().phase, Phase::Online);
    assert!(stage.host.status().facts.iter().any(|(name, value)| name == "did" && value == DID));
    assert_eq!(KEY.len(), 32);
}
