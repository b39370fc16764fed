//! Reset, another product key, what is stored.

use polylink_plugin_sdk::services::module;
use serde_json::{Value, json};

use super::stage::{DID, Stage, field, frame, setup};

const OTHER_KEY: &str = "ede16da98b4d496b92312d75da74bf16";

fn identity(stage: &Stage) -> Value {
    serde_json::from_slice(stage.host.stored("identity").expect("it is stored")).expect("it is JSON")
}

#[test]
fn a_reset_gives_the_old_did_back_and_begins_as_a_new_device() {
    let mut stage = Stage::online();
    let old = stage.bind();
    let app = stage.logged_in(&old, 1);
    stage.host.module_event(module::Event::Reset);
    let (farewell, request) = stage.http();
    assert_eq!((request.method.as_str(), request.url.as_str()), ("DELETE", "http://api.gizwits.com/dev/devices"));
    assert_eq!(field(&request.body, "did").as_deref(), Some(DID));
    assert_eq!(field(&request.body, "passcode").as_deref(), Some(old.as_str()));
    assert_eq!(stage.host.expect_mqtt_disconnect(), stage.connection);
    // Applications of the old owner have to log in anew.
    assert_eq!(stage.host.expect_tcp_close(), app);
    assert_eq!(stage.host.expect_module(), module::Request::Applications(0));
    let new = stage.register();
    assert_ne!(new, old);
    stage.provision();
    stage.log_in();
    // The answer to the farewell changes nothing, whatever it is.
    stage.host.http_answer(farewell, 400, r#"{"error_code": 9016}"#);
    stage.host.expect_silence();
    assert_eq!(stage.bind(), new);
}

#[test]
fn a_reset_without_a_did_has_nothing_to_give_back() {
    let mut stage = Stage::started(setup(json!({})));
    let (first, _) = stage.http();
    stage.host.module_event(module::Event::Reset);
    let cancelled = stage.host.take_outputs();
    assert!(
        cancelled.iter().any(|output| matches!(output, polylink_plugin_sdk::Output::CancelHttp(id) if *id == first))
    );
    assert!(
        !cancelled.iter().any(
            |output| matches!(output, polylink_plugin_sdk::Output::Http(_, request) if request.method == "DELETE")
        )
    );
}

#[test]
fn another_product_key_gives_the_old_did_back_and_registers_for_the_new_product() {
    let mut stage = Stage::online();
    let old = stage.bind();
    let product = stage.host.setup().product.replace(super::stage::KEY, OTHER_KEY);
    stage.host.setup().product = product;
    stage.host.restart();
    stage.open_lan();
    let (_, request) = stage.http();
    assert_eq!(request.method, "DELETE");
    assert_eq!(field(&request.body, "did").as_deref(), Some(DID));
    assert_eq!(field(&request.body, "passcode").as_deref(), Some(old.as_str()));
    let (id, request) = stage.http();
    assert_eq!(request.method, "POST");
    assert_eq!(field(&request.body, "product_key").as_deref(), Some(OTHER_KEY));
    assert_ne!(field(&request.body, "passcode"), Some(old));
    stage.host.http_answer(id, 201, format!("did={DID}"));
    assert_eq!(identity(&stage)["product_key"], OTHER_KEY);
    // The second start is an ordinary one.
    stage.host.restart();
    stage.open_lan();
    stage.asked_for_provision();
    stage.host.expect_silence();
}

#[test]
fn the_identity_is_stored_before_it_is_used() {
    let mut stage = Stage::started(setup(json!({})));
    let (_, request) = stage.http();
    let passcode = field(&request.body, "passcode").expect("a passcode is registered");
    // The power fails before the answer: the next registration is of the same device.
    stage.host.restart();
    stage.open_lan();
    assert_eq!(stage.register(), passcode);
}

#[test]
fn a_start_that_changes_nothing_writes_nothing() {
    let mut stage = Stage::online();
    let writes = |stage: &Stage| stage.host.transcript().matches("Put identity").count();
    // The passcode before it is used, and the DID.
    assert_eq!(writes(&stage), 2);
    stage.host.restart();
    stage.open_lan();
    stage.provision();
    stage.log_in();
    assert_eq!(writes(&stage), 2);
}

#[test]
fn a_damaged_identity_is_replaced_by_a_new_one() {
    for damaged in [&b""[..], b"{", b"\xFF\xFE", br#"{"did":7}"#, br#"{"version":99}"#] {
        let mut setup = setup(json!({}));
        setup.stored.insert("identity".to_owned(), damaged.to_vec());
        let mut stage = Stage::started(setup);
        assert!(stage.host.logs().iter().any(|(_, text)| text.contains("the device registers anew")));
        stage.register();
    }
}

#[test]
fn a_store_that_cannot_be_written_is_told_and_the_device_works_on() {
    let mut setup = setup(json!({"check_updates": false}));
    setup.seed = [9; 32];
    let mut host = polylink_plugin_sdk::testing::VirtualHost::new::<polylink_gizwits::session::GizwitsSession>(setup);
    host.fail_store(true);
    let none = polylink_plugin_sdk::RequestId(0);
    let mut stage = Stage { host, listener: none, socket: none, connection: none };
    stage.start();
    stage.register();
    stage.provision();
    stage.log_in();
    assert!(stage.host.logs().iter().any(|(_, text)| text.starts_with("a value could not be stored")));
}

#[test]
fn no_log_line_and_no_status_shows_the_passcode() {
    let mut stage = Stage::online();
    let passcode = stage.bind();
    let app = stage.logged_in(&passcode, 1);
    stage.host.tcp_received(app, frame(0x08, b"\x00\x0Awrong-code"));
    stage.host.module_event(module::Event::Reset);
    let status = format!("{:?}", stage.host.status());
    assert!(!status.contains(&passcode));
    for (_, text) in stage.host.logs() {
        assert!(!text.contains(&passcode), "{text}");
    }
}

#[test]
fn a_product_without_a_datapoint_file_is_refused_with_what_is_missing() {
    let mut setup = setup(json!({}));
    setup.product = r#"{"product_key":"k","name":"x","raw":false,"properties":[],"events":[],"actions":[]}"#.to_owned();
    let mut host = polylink_plugin_sdk::testing::VirtualHost::new::<polylink_gizwits::session::GizwitsSession>(setup);
    let fault = host.try_start().expect_err("there is no layout");
    assert!(fault.message.contains("gizwits_datapoints"), "{}", fault.message);
}
