//! Becoming one of the platform's devices: what the device asks, what each answer makes of it, and when it asks at all.

use polylink_plugin_sdk::services::Reason;
use polylink_plugin_sdk::session::Phase;
use polylink_plugin_sdk::{ClockQuality, Output, WallTime};
use serde_json::{Value, json};

use crate::scenarios::stage::{
    Application, Cloud, DEV_ID, DEV_KEY, DEV_MAC, DEVICE_SECRET, PRODUCT_CODE, level, merged, seal, setup,
};

/// Just asked to be registered.
#[track_caller]
fn applying(changes: Value) -> (Cloud, Application) {
    let mut cloud = Cloud::started(setup(changes));
    let application = cloud.expect_application();
    (cloud, application)
}

/// The device asks again, with another number, after about so many milliseconds; then it can be registered.
#[track_caller]
fn check_asks_again(cloud: &mut Cloud, before: &Application, phase: Phase, around_ms: u64) {
    cloud.host.expect_silence();
    assert_eq!(cloud.host.status().phase, phase, "{:?}", cloud.host.status());
    let waited = cloud.wait_for_attempt();
    assert!((around_ms * 8 / 10..=around_ms * 12 / 10).contains(&waited), "{waited}");
    let again = cloud.expect_application();
    assert_ne!(again.id, before.id);
    cloud.answer_application(&again, cloud.login.clone());
    cloud.come_online();
}

/// This happens to the request: the device asks again soon, and the status says why.
#[track_caller]
fn check_soon(says: &str, happens: impl FnOnce(&mut Cloud, &Application)) {
    let (mut cloud, application) = applying(json!({}));
    happens(&mut cloud, &application);
    assert!(cloud.host.status().text.contains(says), "{}", cloud.host.status().text);
    assert!(cloud.logged(says));
    check_asks_again(&mut cloud, &application, Phase::Offline, 5_000);
}

/// This happens to the request: a person has to do something, and until then the device asks hourly.
#[track_caller]
fn check_person(changes: Value, says: &str, happens: impl FnOnce(&mut Cloud, &Application)) {
    let (mut cloud, application) = applying(changes);
    happens(&mut cloud, &application);
    assert!(cloud.host.status().text.contains(says), "{}", cloud.host.status().text);
    assert!(cloud.logged(says));
    check_asks_again(&mut cloud, &application, Phase::Attention, 3_600_000);
}

/// The answer with one member of the message changed.
#[track_caller]
fn answer_with(cloud: &mut Cloud, application: &Application, member: &str, value: Value) {
    let mut frame = cloud.frame(2001, &application.id, seal(DEV_KEY, cloud.login.to_string()).into());
    frame[member] = value;
    cloud.host.http_answer(application.http, 200, frame.to_string());
}

/// Device, request line and body of the level.
#[track_caller]
fn check_level(changes: Value, query: &str, body: Value) {
    let (mut cloud, application) = applying(changes);
    assert_eq!(application.request.url, format!("https://open.clife.cn/device/register?{query}"));
    assert_eq!(application.body, body);
    cloud.answer_application(&application, cloud.login.clone());
    cloud.come_online();
}

#[test]
fn each_authentication_level_tells_what_the_platform_has_to_know() {
    let versions = json!({"productVer": 1, "software": "1.0.2.0", "hardware": "2.1"});
    for auth_level in [1, 2] {
        check_level(
            level(auth_level),
            &format!("authLevel={auth_level}&productCode=P0001"),
            merged(versions.clone(), json!({"productCode": PRODUCT_CODE, "devMac": DEV_MAC})),
        );
    }
    check_level(
        level(0),
        "authLevel=0&productCode=P0001&devId=D1234567",
        merged(versions, json!({"productCode": PRODUCT_CODE, "devMac": DEV_MAC, "devId": DEV_ID})),
    );
}

#[test]
fn a_device_that_is_known_by_its_id_needs_no_product_code_if_its_topics_need_none() {
    let (mut cloud, application) = applying(json!({
        "auth_level": 0, "dev_id": DEV_ID, "product_code": null,
        "topic_upward": "/d/{devId}/up", "topic_downward": "/d/{devId}/down",
    }));
    assert!(application.request.url.ends_with("?authLevel=0&devId=D1234567"), "{}", application.request.url);
    assert!(application.body.get("productCode").is_none());
    cloud.answer_application(&application, cloud.login.clone());
    cloud.accept();
    assert_eq!(cloud.host.expect_subscribe().filter, "/d/D1234567/down");
}

#[test]
fn where_to_register_can_be_set() {
    let url = |changes: Value| applying(changes).1.request.url;
    let query = "?authLevel=2&productCode=P0001";
    assert_eq!(url(json!({"environment": "test"})), format!("https://test.clife.cn/device/register{query}"));
    let own = json!({"scheme": "http", "host": "own:8080", "register_path": "/r"});
    assert_eq!(url(own), format!("http://own:8080/r{query}"));
    assert_eq!(
        url(json!({"product_code": "P 1&ä"})).split_once('?').unwrap().1,
        "authLevel=2&productCode=P%201%26%C3%A4"
    );
}

#[test]
fn the_request_is_encrypted_trusts_what_is_set_and_gives_up_after_ten_seconds() {
    let (_, application) = applying(json!({"tls_ca": "PEM", "product_ver": 7}));
    assert_eq!(application.request.timeout_ms, 10_000);
    assert_eq!(application.request.tls.ca_pem.as_deref(), Some("PEM"));
    assert_eq!(application.body["productVer"], 7);
    // The stage has decrypted it.
    let wire = String::from_utf8(application.request.body).unwrap();
    assert!(!wire.contains(DEV_MAC) && !wire.contains("devMac"), "{wire}");
    // The setting for MQTT does not count here.
    let (_, application) = applying(json!({"mqtt_encrypt_data": false}));
    assert!(application.frame["data"].is_string());
}

#[test]
fn a_device_without_an_mcu_tells_the_versions_of_its_module() {
    let mut with = setup(json!({}));
    (with.facts.mcu_software, with.facts.mcu_hardware) = (String::new(), String::new());
    let application = Cloud::started(with.clone()).expect_application();
    assert_eq!((&application.body["software"], &application.body["hardware"]), (&json!("3.0.0.1"), &json!("1.0")));
    (with.facts.module_software, with.facts.module_hardware) = (String::new(), String::new());
    let application = Cloud::started(with).expect_application();
    assert!(application.body.get("software").is_none() && application.body.get("hardware").is_none());
}

#[test]
fn a_device_whose_clock_was_never_set_registers_with_whatever_it_says() {
    let mut with = setup(json!({}));
    with.wall = WallTime { unix_ms: 77_000, quality: ClockQuality::UNSET };
    assert_eq!(Cloud::started(with).expect_application().frame["timestamp"], 77_000);
}

#[test]
fn a_registered_device_connects_with_what_it_was_given() {
    let (mut cloud, application) = applying(json!({}));
    assert_eq!(cloud.host.status().phase, Phase::Connecting);
    assert_eq!(cloud.fact("device_id"), Some("none yet"));
    cloud.answer_application(&application, cloud.login.clone());
    cloud.come_online();
    cloud.host.expect_silence();
    cloud.assert_fact("device_id", DEV_ID);
    cloud.assert_fact("broker", "broker.clife");
}

#[test]
fn names_and_numbers_of_the_answer_may_be_written_in_other_ways() {
    // The member `id` of the vendor's console, blanks around names, numbers as texts and the other way round.
    let (mut cloud, application) = applying(json!({}));
    let odd = json!({
        " respCode": "0", "id ": DEV_ID, "deviceSecret": DEVICE_SECRET.to_uppercase(), "mqttUrl": "mqtt://b",
        "mqttClientId": "C1", "mqttUser": "U1", "mqttPassword": cloud.login["mqttPassword"], "mqttKeepalive": "45",
        "more": [1],
    });
    cloud.answer_application(&application, odd);
    let connect = cloud.accept();
    assert_eq!((connect.host.as_str(), connect.port, connect.keepalive_s), ("b", 1883, 45));
    let (mut cloud, application) = applying(json!({}));
    cloud.answer_application(
        &application,
        merged(cloud.login.clone(), json!({"devId": 1_234_567, "mqttKeepalive": null})),
    );
    assert_eq!(cloud.accept().keepalive_s, 60);
    assert_eq!(cloud.host.expect_subscribe().filter, "/device/P0001/1234567/downward");
}

#[test]
fn a_busy_platform_is_asked_again_soon() {
    for (code, says) in
        [(json!(5), "respCode 5"), (json!(6), "respCode 6"), (json!(-1), "respCode -1"), (json!("x"), "no respCode")]
    {
        check_soon(says, |cloud, application| cloud.answer_application(application, json!({ "respCode": code })));
    }
    check_soon("no respCode", |cloud, application| cloud.answer_application(application, json!({})));
}

#[test]
fn a_refusal_calls_for_a_person() {
    let codes = [(1, "parameters"), (2, "does not know the product or the device"), (3, "dev_key"), (4, "disabled")];
    for (code, says) in codes {
        let body = json!({"respCode": code, "respCont": "text"});
        check_person(json!({}), says, |cloud, application| cloud.answer_application(application, body.clone()));
        // The platform may not know the key.
        check_person(json!({"strict_encryption": true}), says, |cloud, application| {
            answer_with(cloud, application, "data", body);
        });
    }
}

#[test]
fn what_is_no_answer_to_the_request_is_asked_again_soon() {
    check_soon("msgId", |cloud, application| {
        answer_with(cloud, application, "msgId", json!(application.id.as_i64().unwrap() + 1))
    });
    check_soon("msgId", |cloud, application| answer_with(cloud, application, "msgId", json!(null)));
    check_soon("cmd 2005", |cloud, application| answer_with(cloud, application, "cmd", json!(2005)));
    for data in [
        json!(null),
        json!("!!!!"),
        json!([]),
        seal(DEVICE_SECRET, r#"{"respCode":0}"#).into(),
        seal(DEV_KEY, "[]").into(),
    ] {
        check_soon("cannot be read", |cloud, application| answer_with(cloud, application, "data", data));
    }
    for body in [&b""[..], b"<html>", b"[]", b"{\"cmd\":2001", b"\xFF"] {
        check_soon("no message", |cloud, application| cloud.host.http_answer(application.http, 200, body));
    }
}

#[test]
fn each_http_status_has_its_consequence() {
    let refuse = |status: u16| {
        move |cloud: &mut Cloud, application: &Application| {
            // What it says does not count then.
            let frame = cloud.frame(2001, &application.id, seal(DEV_KEY, cloud.login.to_string()).into());
            cloud.host.http_answer(application.http, status, frame.to_string());
        }
    };
    for status in [429, 500, 502, 503, 302, 204] {
        check_soon(&format!("HTTP status {status}"), refuse(status));
    }
    for status in [400, 401, 403, 404] {
        check_person(json!({}), &format!("HTTP status {status}"), refuse(status));
    }
}

#[test]
fn without_a_network_or_an_answer_the_device_asks_again_soon() {
    for reason in [Reason::Timeout, Reason::Resolve, Reason::ConnectionRefused, Reason::ConnectionLost, Reason::Tls] {
        check_soon(&format!("{reason:?}"), |cloud, application| cloud.host.http_failed(application.http, reason));
    }
}

#[test]
fn the_pauses_between_requests_double_from_five_seconds_to_five_minutes() {
    let mut cloud = Cloud::started(setup(json!({})));
    let mut ids = Vec::new();
    for around_ms in [5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000] {
        let application = cloud.expect_application();
        assert!(!ids.contains(&application.id), "each request has a number of its own");
        ids.push(application.id.clone());
        cloud.answer_application(&application, json!({"respCode": 5}));
        let waited = cloud.wait_for_attempt();
        assert!((around_ms * 8 / 10..=300_000.min(around_ms * 12 / 10)).contains(&waited), "{waited} {around_ms}");
    }
    cloud.register();
    // A success lets them start over.
    cloud.accept();
    cloud.grant_subscription();
    let (id, _) = cloud.expect_frame(2004);
    cloud.say(2005, &id, json!({"respCode": 2}));
    cloud.host.expect_mqtt_disconnect();
    cloud.wait_for_attempt();
    let application = cloud.expect_application();
    cloud.answer_application(&application, json!({"respCode": 5}));
    check_asks_again(&mut cloud, &application, Phase::Offline, 5_000);
}

#[test]
fn a_failure_is_no_longer_shown_once_the_device_is_registered() {
    let (mut cloud, application) = applying(json!({}));
    cloud.answer_application(&application, json!({"respCode": 5}));
    cloud.wait_for_attempt();
    assert!(cloud.host.status().text.starts_with("registering: not registered"), "{}", cloud.host.status().text);
    cloud.register();
    assert_eq!(cloud.host.status().text, "connecting");
    cloud.come_online();
}

#[test]
fn an_answer_to_an_earlier_request_changes_nothing() {
    let (mut cloud, application) = applying(json!({}));
    cloud.host.http_failed(application.http, Reason::Timeout);
    cloud.answer_application(&application, cloud.login.clone());
    cloud.host.expect_silence();
    cloud.wait_for_attempt();
    let again = cloud.expect_application();
    cloud.answer_application(&application, cloud.login.clone());
    cloud.host.expect_silence();
    cloud.answer_application(&again, cloud.login.clone());
    cloud.come_online();
}

#[test]
fn a_member_that_is_missing_and_not_set_calls_for_a_person() {
    for name in ["devId", "mqttUrl", "mqttClientId", "mqttUser", "mqttPassword"] {
        for value in [json!(null), json!(""), json!({})] {
            check_person(json!({}), name, |cloud, application| {
                let mut login = cloud.login.clone();
                login[name] = value;
                cloud.answer_application(application, login);
            });
        }
    }
    check_person(json!({}), "deviceSecret", |cloud, application| {
        cloud.answer_application(application, merged(cloud.login.clone(), json!({"deviceSecret": "tr0ub4do"})));
    });
}

#[test]
fn what_is_set_replaces_what_is_missing_and_what_was_given() {
    let overrides = json!({
        "mqtt_url": "ssl://own", "mqtt_client_id": "C2", "mqtt_user": "U2", "mqtt_password": "c0rrecth0rse",
        "mqtt_keepalive": 33, "tls_ca": "PEM",
    });
    let without = json!({"respCode": 0, "devId": DEV_ID});
    for login in [Some(without), None] {
        let (mut cloud, application) = applying(overrides.clone());
        cloud.secrets.push("c0rrecth0rse".into());
        let has_secret = login.is_none();
        cloud.answer_application(&application, login.unwrap_or(cloud.login.clone()));
        let connect = cloud.accept();
        assert_eq!((connect.host.as_str(), connect.port, connect.keepalive_s), ("own", 8883, 33));
        assert_eq!(connect.tls.unwrap().ca_pem.as_deref(), Some("PEM"));
        assert_eq!((connect.client_id.as_str(), connect.username.as_deref()), ("C2", Some("U2")));
        cloud.grant_subscription();
        cloud.key = if has_secret { DEVICE_SECRET } else { DEV_KEY }.to_owned();
        cloud.expect_frame(2004);
    }
}

#[test]
fn without_a_secret_of_its_own_the_device_goes_on_with_its_key() {
    for secret in [json!(null), json!("")] {
        let (mut cloud, application) = applying(json!({}));
        let mut login = cloud.login.clone();
        login["deviceSecret"] = secret;
        cloud.answer_application(&application, login);
        cloud.key = DEV_KEY.to_owned();
        cloud.come_online();
        cloud.report(7);
        assert_eq!(cloud.expect_frame(2006).1, json!({"params": [{"2": 7}]}));
        // The same after a restart.
        cloud.host.restart();
        cloud.come_online();
    }
}

#[test]
fn a_success_in_clear_is_taken_unless_everything_has_to_be_encrypted() {
    let (mut cloud, application) = applying(json!({}));
    let login = cloud.login.clone();
    answer_with(&mut cloud, &application, "data", login.clone());
    cloud.come_online();
    let (mut cloud, application) = applying(json!({"strict_encryption": true}));
    answer_with(&mut cloud, &application, "data", login);
    check_asks_again(&mut cloud, &application, Phase::Offline, 5_000);
}

#[test]
fn a_stop_ends_the_request_to_register() {
    let (mut cloud, application) = applying(json!({}));
    cloud.host.stop();
    let cancelled = cloud.host.expect_output("the end of an HTTP request", |output| match output {
        Output::CancelHttp(id) => Some(*id),
        _ => None,
    });
    assert_eq!(cancelled, application.http);
    cloud.host.expect_silence();
}
