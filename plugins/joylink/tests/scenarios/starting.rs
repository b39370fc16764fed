//! The start: the key pair, the bond, the product type, and what of what was stored counts.

use polylink_plugin_sdk::services::{id, module, udp};
use polylink_plugin_sdk::session::Phase;
use polylink_plugin_sdk::testing::{Setup, VirtualHost};
use polylink_plugin_sdk::value::Values;
use polylink_plugin_sdk::{
    CommandBody, DatapointId, FaultCode, Input, Outcome, OutcomeResult, Output, RequestId, Value as Datum,
};
use serde_json::{Value, json};

use crate::scenarios::stage::{
    ACCESSKEY, App, FEEDID, LOCALKEY, MAC, SERVER, Stage, bind, bond, bound, heat, n, raw_product, scripted, setup_of,
    unbound,
};
use crate::session::JoylinkSession;

/// The session does not start, and says this.
#[track_caller]
fn check_refused(setup: Setup, code: FaultCode, says: &str) {
    let mut host = VirtualHost::new::<JoylinkSession>(setup);
    let fault = host.try_start().unwrap_err();
    assert_eq!(fault.code, code);
    assert!(fault.message.contains(says), "{}", fault.message);
    assert!(!fault.message.contains(ACCESSKEY), "{}", fault.message);
}

/// The public key that apps are told.
#[track_caller]
fn devkey(stage: &mut Stage) -> Value {
    App::new().discover(stage)["devkey"].clone()
}

#[test]
fn settings_and_products_that_do_not_fit_keep_the_session_from_starting() {
    check_refused(unbound(json!({"unknown": 1})), FaultCode::SETTINGS, "unknown");
    check_refused(unbound(json!({"accesskey": ACCESSKEY})), FaultCode::SETTINGS, "settings.feedid");
    check_refused(unbound(json!({"trantype": 1})), FaultCode::PRODUCT, "raw");
    check_refused(setup_of(json!({"product_key": 7}), json!({})), FaultCode::PRODUCT, "");
    let mut without = scripted(json!({}));
    without.services.retain(|service| *service != id::SCRIPT);
    check_refused(without, FaultCode::SETTINGS, "settings.script");
}

#[test]
fn a_script_that_is_no_script_is_for_a_person_to_mend() {
    let mut stage = Stage::started_alone(scripted(json!({})));
    let (script, ..) = stage.host.expect_script_load();
    let failed = polylink_plugin_sdk::services::Failure {
        reason: polylink_plugin_sdk::services::Reason::Invalid,
        text: "line 1".to_owned(),
    };
    let event = polylink_plugin_sdk::services::script::Event::LoadFailed(script, failed);
    let fault = stage.host.try_deliver(Input::Script(event)).unwrap_err();
    assert_eq!(fault.code, FaultCode::SETTINGS);
    assert!(fault.message.contains("line 1"), "{}", fault.message);
}

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
    assert!(stage.host.status().text.contains("waiting for an app"), "{:?}", stage.host.status());
    let found = App::new().discover(&mut stage);
    assert_eq!((&found["feedid"], &found["productuuid"]), (&json!(""), &json!("XDFSSD")));
    assert_eq!(found["mac"], MAC);
    stage.host.advance(3_600_000);
    stage.host.expect_silence();
}

#[test]
fn the_key_pair_is_made_once_and_kept() {
    let mut stage = Stage::started(unbound(json!({})));
    let key = stage.host.stored("private_key").unwrap().to_vec();
    let told = devkey(&mut stage);
    assert_eq!((key.len(), told.as_str().unwrap().len()), (20, 42));
    // The next start has other random numbers.
    stage.host.setup().seed = [8; 32];
    stage.restart();
    assert_eq!((devkey(&mut stage), stage.host.stored("private_key").unwrap()), (told, key.as_slice()));
}

#[test]
fn a_damaged_key_pair_is_made_anew() {
    for damaged in [&b""[..], &[0; 20], &[7; 19], &[7; 21]] {
        let mut with = unbound(json!({}));
        with.stored.insert("private_key".to_owned(), damaged.to_vec());
        let mut stage = Stage::started(with);
        let key = stage.host.stored("private_key").unwrap().to_vec();
        assert!(key.len() == 20 && key != damaged, "{damaged:?}");
        let told = devkey(&mut stage);
        stage.restart();
        assert_eq!(devkey(&mut stage), told);
    }
}

#[test]
fn a_key_pair_that_cannot_be_stored_serves_until_the_next_start() {
    let mut host = VirtualHost::new::<JoylinkSession>(unbound(json!({})));
    host.fail_store(true);
    host.start();
    assert!(host.logs().iter().any(|(_, line)| line.contains("could not be stored")));
    assert!(host.is_running());
}

#[test]
fn a_bond_outlives_a_restart() {
    let mut stage = Stage::working(bound(json!({})));
    stage.restart();
    stage.come_in();
    assert_eq!(App::new().discover(&mut stage)["feedid"], FEEDID);
}

/// With this stored in place of a bond the device is not bound.
#[track_caller]
fn check_unbound(stored: &[u8]) {
    let mut with = unbound(json!({}));
    with.stored.insert("bond".to_owned(), stored.to_vec());
    let mut stage = Stage::started(with);
    stage.host.expect_silence();
    assert_eq!(App::new().discover(&mut stage)["feedid"], "", "{}", String::from_utf8_lossy(stored));
}

#[test]
fn a_damaged_bond_is_none() {
    for stored in [&b""[..], b"\xFF\x00{", b"{}", b"[]", b"null", br#"{"data":7}"#] {
        check_unbound(stored);
    }
    for damage in [
        json!({"feedid": ""}),
        json!({"feedid": null}),
        json!({"feedid": "123456789012345678901234567890123"}),
        json!({"accesskey": "short"}),
        json!({"localkey": 7}),
        json!({"opt": []}),
    ] {
        check_unbound(bond(damage).to_string().as_bytes());
    }
}

#[test]
fn other_damaged_values_count_as_absent() {
    for value in [&b""[..], b"\xFF\x00{", b"{}", b"-7", b"[[]]", &[1; 4_096]] {
        let mut with = bound(json!({"device_type": 1, "product_uuid": "", "product_uuid_property": "note"}));
        for key in ["timers", "subdevices", "upgrade", "product_uuid", "firmware_number"] {
            with.stored.insert(key.to_owned(), value.to_vec());
        }
        let mut stage = Stage::started(with);
        stage.host.snapshot([n(1)]);
        stage.come_in();
        assert_eq!(stage.expect_streams(), json!({"n": 1}));
        assert_eq!(stage.fact("product_uuid"), Some("not known yet"));
    }
}

/// Identity and keys in the settings.
fn factory(feedid: &str) -> Value {
    json!({"feedid": feedid, "accesskey": ACCESSKEY, "localkey": LOCALKEY, "joylink_servers": [SERVER]})
}

#[test]
fn a_bond_from_the_factory_needs_no_app() {
    let mut stage = Stage::started(unbound(factory(FEEDID)));
    stage.host.snapshot([n(1)]);
    stage.come_in();
    stage.expect_upload();
    assert_eq!(stage.host.stored("bond"), None);
}

#[test]
fn an_app_s_bond_counts_more_than_that_from_the_factory() {
    let mut stage = Stage::started(bind(unbound(factory("42"))));
    stage.come_in();
    assert_eq!(stage.fact("feedid"), Some(FEEDID));
}

#[test]
fn two_starts_with_the_same_seed_are_the_same_and_another_seed_changes_only_what_is_random() {
    let conversation = |name: &str, seed: u8| {
        let mut with = bound(json!({}));
        with.name = name.to_owned();
        with.seed = [seed; 32];
        let mut stage = Stage::started(with);
        stage.host.snapshot([n(1)]);
        stage.accept();
        let authentication = stage.expect_authentication();
        stage.let_in();
        let upload = stage.expect_upload();
        stage.accept_upload();
        stage.host.report([n(2)]);
        stage.expect_upload();
        let serial = stage.expect_result().serial;
        stage.cut();
        let pause = stage.wait_for_attempt();
        (devkey(&mut stage), authentication.random, serial, pause, upload)
    };
    let [one, same, other] = [conversation("a", 7), conversation("b", 7), conversation("a", 8)];
    assert_eq!(one, same);
    assert!(one.0 != other.0 && one.1 != other.1 && one.2 != other.2, "{one:?} {other:?}");
    assert_eq!(one.4, other.4);
    assert_ne!(one.1, one.2);
}

/// A device whose product type only the MCU knows, in `note`.
fn without_type() -> Setup {
    unbound(json!({"product_uuid": "", "product_uuid_property": "note"}))
}

#[track_caller]
fn expect_question(stage: &mut Stage) -> RequestId {
    let (id, command) = stage.host.expect_submit();
    assert_eq!(command.body, CommandBody::Get(vec![DatapointId(5)]));
    id
}

fn says(text: &str) -> Outcome {
    let values: Values = vec![(DatapointId(5), Datum::Text(text.to_owned()))];
    Outcome { result: OutcomeResult::Done, values, document: None }
}

#[test]
fn the_mcu_is_asked_for_the_product_type_until_it_knows() {
    let mut stage = Stage::started(without_type());
    let app = App::new();
    let first = expect_question(&mut stage);
    app.look(&mut stage, json!({}));
    stage.host.command_ended(first, OutcomeResult::TimedOut);
    stage.host.expect_silence();
    assert!(stage.host.status().text.contains("waiting for the product type"), "{:?}", stage.host.status());
    stage.host.advance(10_000);
    let second = expect_question(&mut stage);
    stage.host.deliver(Input::Outcome(second, says("no type")));
    assert!(stage.host.status().text.contains("six letters"), "{:?}", stage.host.status());
    stage.host.advance(10_000);
    let third = expect_question(&mut stage);
    stage.host.deliver(Input::Outcome(third, says("ABC123\0")));
    assert_eq!(stage.host.stored("product_uuid"), Some(&b"ABC123"[..]));
    assert_eq!(App::new().discover(&mut stage)["productuuid"], "ABC123");
    assert_eq!(stage.host.status().text, "waiting for an app to bind it");
    stage.host.advance(60_000);
    stage.host.expect_silence();

    stage.restart();
    stage.host.expect_silence();
    assert_eq!(App::new().discover(&mut stage)["productuuid"], "ABC123");
}

#[test]
fn an_mcu_that_comes_back_is_asked_at_once() {
    let mut stage = Stage::started(without_type());
    let first = expect_question(&mut stage);
    stage.host.command_ended(first, OutcomeResult::Unreachable);
    stage.host.facts_changed(module::Facts { mcu_online: true, ..module::Facts::default() });
    let second = expect_question(&mut stage);
    stage.host.deliver(Input::Outcome(second, says("ABC123")));
    stage.host.facts_changed(module::Facts { mcu_online: true, ..module::Facts::default() });
    stage.host.advance(60_000);
    stage.host.expect_silence();
}

#[test]
fn a_stored_product_type_that_is_none_is_asked_for_again() {
    let mut with = without_type();
    with.stored.insert("product_uuid".to_owned(), b"\xFF12345".to_vec());
    expect_question(&mut Stage::started(with));
}

#[test]
fn a_session_that_is_stopped_hangs_up_and_closes_its_ports() {
    let mut stage = Stage::working(bound(json!({})));
    stage.host.deliver(Input::Stop);
    assert_eq!(stage.host.expect_tcp_close(), stage.stream);
    let closes = |output: &Output| matches!(output, Output::Udp(udp::Request::Close(_)));
    let outputs = stage.host.take_outputs();
    assert!(outputs.len() == 2 && outputs.iter().all(closes), "{outputs:?}");
    assert_eq!(stage.host.next_timeout(), None);
    stage.assert_phase(Phase::Offline);
}

#[test]
fn a_product_that_is_raw_starts_without_a_script() {
    let mut stage = Stage::started(bind(setup_of(raw_product(), json!({}))));
    stage.come_in();
    stage.host.expect_silence();
}
