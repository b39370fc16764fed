//! Keys of encrypted products: what goes and comes by which, and how they are renewed in mid-flight.

use polylink_plugin_sdk::{Cause, ClockQuality, DatapointId, Input, Report, ReportBody, Value as Datum, WallTime};
use serde_json::{Value, json};

use crate::scenarios::stage::{
    Cloud, DEVICE_SECRET, PRODUCT_KEY, encrypt, online, online_encrypted, online_hex, online_passthrough, session_key,
    setup,
};

const SECOND: (&str, u64) = ("5A5A0001", 4);
const THIRD: (&str, u64) = ("5A5A0002", 300);

/// The platform begins this session; the stage still speaks by the one before.
#[track_caller]
fn renew(cloud: &mut Cloud, (id, nonce): (&str, u64)) {
    cloud.say("downlink", 3, json!({"SessionID": id, "Nonce": nonce}));
}

/// From now on the stage speaks by this session.
fn switch(cloud: &mut Cloud, (id, nonce): (&str, u64)) {
    cloud.session = (id.to_owned(), nonce);
}

/// A property that is set by the stage's session is set, and its acknowledgement is in clear.
#[track_caller]
fn check_understood(cloud: &mut Cloud, value: i64) {
    let id = cloud.say_sealed("model/property/set", 20, json!({"params": [{"identify": "n", "value": value}]}));
    let (command, values) = cloud.host.expect_set();
    assert_eq!(values, [(DatapointId(1), Datum::Int(value))]);
    cloud.host.command_done(command);
    let (answered, payload) = cloud.expect_frame("model/property/set_ack", 20);
    assert_eq!((answered, &payload["Code"], &payload["Data"]["n"]), (id, &json!("200"), &json!(value)));
}

/// Nobody sets it, and the refusal is in clear.
#[track_caller]
fn check_not_understood(cloud: &mut Cloud) {
    let id = cloud.say_sealed("model/property/set", 20, json!({"params": [{"identify": "n", "value": 1}]}));
    let refused = (id, json!({"Code": "4001", "Msg": "Failed"}));
    assert_eq!(cloud.expect_frame("model/property/set_ack", 20), refused);
    cloud.host.expect_silence();
}

/// A report goes by the stage's session.
#[track_caller]
fn check_reported(cloud: &mut Cloud, value: i64) {
    let seq = cloud.report(value);
    let (id, payload) = cloud.expect_sealed("model/property/report", 16);
    assert_eq!(payload, json!({"n": value}));
    cloud.ack("model/property/report_ack", 16, &id, 200);
    assert_eq!(cloud.host.expect_settle(), [seq]);
}

#[test]
fn reports_go_by_the_key_that_the_authentication_brought() {
    let mut cloud = online_encrypted(json!({}));
    check_reported(&mut cloud, 1);
    check_understood(&mut cloud, 2);
    // The platform may answer by the key, too.
    let seq = cloud.report(3);
    let (id, _) = cloud.expect_sealed("model/property/report", 16);
    let ack = cloud.seal(r#"{"Code":"200","Msg":"SUCCESS"}"#);
    cloud.say_as("model/property/report_ack", &id, 16, ack);
    assert_eq!(cloud.host.expect_settle(), [seq]);
}

#[test]
fn what_the_key_is_made_of_and_by_which_secret_can_be_set() {
    let report = |changes: Value| {
        let mut cloud = online_encrypted(changes);
        cloud.report(1);
        cloud.expect_frame("model/property/report", 16).1
    };
    let plain = br#"{"n":1}"#;
    let key16 =
        |digits: &str| -> [u8; 16] { polylink_plugin_sdk::hex::decode(&digits[..32]).unwrap().try_into().unwrap() };
    let derived = |secret: &str, content: &[u8]| encrypt(&key16(&encrypt(&key16(secret), content)), plain);
    assert_eq!(report(json!({})), derived(PRODUCT_KEY, b"4655434B80"));
    assert_eq!(report(json!({"session_key_source": "device_secret"})), derived(DEVICE_SECRET, b"4655434B80"));
    let bytes = [0x46, 0x55, 0x43, 0x4B, 0x80];
    assert_eq!(report(json!({"session_content": "bytes"})), derived(PRODUCT_KEY, &bytes));
}

#[test]
fn a_new_session_counts_from_the_next_report_on_and_is_not_acknowledged() {
    let mut cloud = online_encrypted(json!({}));
    let seq = cloud.report(1);
    let (id, _) = cloud.expect_sealed("model/property/report", 16);
    renew(&mut cloud, SECOND);
    cloud.host.advance(1_000);
    cloud.host.expect_silence();
    cloud.assert_fact("encryption", "not yet used by the platform");
    switch(&mut cloud, SECOND);
    cloud.host.report_event(DatapointId(0), [(DatapointId(0), Datum::Int(3))]);
    let (event, payload) = cloud.expect_sealed("model/event/lowBattery/report", 17);
    assert_eq!(payload, json!({"volt": 3}));
    cloud.ack("model/event/lowBattery/report_ack", 17, &event, 200);
    cloud.host.expect_settle();
    // What was sent by the old key and not acknowledged is repeated by the new one.
    cloud.host.advance(9_000);
    assert_eq!(cloud.expect_sealed("model/property/report", 16), (id.clone(), json!({"n": 1})));
    cloud.ack("model/property/report_ack", 16, &id, 200);
    assert_eq!(cloud.host.expect_settle(), [seq]);
    cloud.host.expect_silence();
}

#[test]
fn the_old_key_is_understood_until_the_platform_uses_the_new_one() {
    let mut cloud = online_encrypted(json!({}));
    let first = cloud.session.clone();
    renew(&mut cloud, SECOND);
    check_understood(&mut cloud, 1);
    check_understood(&mut cloud, 2);
    switch(&mut cloud, SECOND);
    check_understood(&mut cloud, 3);
    cloud.host.advance(1_000);
    assert_eq!(cloud.fact("encryption"), Some("session key"));
    switch(&mut cloud, (&first.0, first.1));
    check_not_understood(&mut cloud);
    // Nor is it after a restart.
    cloud.host.restart();
    cloud.come_online();
    cloud.answer_start();
    check_not_understood(&mut cloud);
}

#[test]
fn the_old_key_is_understood_for_ten_minutes_at_most() {
    let mut cloud = online_encrypted(json!({}));
    renew(&mut cloud, SECOND);
    cloud.host.advance(599_999);
    check_understood(&mut cloud, 1);
    cloud.host.advance(1);
    check_not_understood(&mut cloud);
    switch(&mut cloud, SECOND);
    check_understood(&mut cloud, 2);
}

#[test]
fn both_keys_survive_a_restart_without_an_authentication() {
    let mut cloud = online_encrypted(json!({}));
    renew(&mut cloud, SECOND);
    cloud.host.restart();
    assert!(cloud.accept().client_id.starts_with("V2_"));
    cloud.grant_subscriptions();
    cloud.answer_start();
    check_understood(&mut cloud, 1);
    cloud.host.advance(599_000);
    check_understood(&mut cloud, 2);
    switch(&mut cloud, SECOND);
    check_reported(&mut cloud, 3);
    check_understood(&mut cloud, 4);
}

#[test]
fn after_two_renewals_only_the_last_two_keys_are_understood() {
    let mut cloud = online_encrypted(json!({}));
    renew(&mut cloud, SECOND);
    renew(&mut cloud, THIRD);
    check_not_understood(&mut cloud);
    switch(&mut cloud, SECOND);
    check_understood(&mut cloud, 1);
    switch(&mut cloud, THIRD);
    check_reported(&mut cloud, 2);
    check_understood(&mut cloud, 3);
    switch(&mut cloud, SECOND);
    check_not_understood(&mut cloud);
}

#[test]
fn a_session_that_is_begun_twice_is_the_same() {
    let mut cloud = online_encrypted(json!({}));
    renew(&mut cloud, SECOND);
    renew(&mut cloud, SECOND);
    check_understood(&mut cloud, 1);
    switch(&mut cloud, SECOND);
    check_understood(&mut cloud, 2);
}

#[test]
fn a_product_that_is_not_encrypted_ignores_a_new_session() {
    let mut cloud = online(json!({}));
    let stored = cloud.host.stored("enrolment").map(<[u8]>::to_vec);
    renew(&mut cloud, SECOND);
    cloud.host.expect_silence();
    assert!(cloud.logged("`encrypted` is not set"));
    assert_eq!(cloud.host.stored("enrolment").map(<[u8]>::to_vec), stored);
    cloud.report(1);
    assert_eq!(cloud.expect_frame("model/property/report", 16).1, json!({"n": 1}));
}

#[test]
fn a_new_session_that_is_of_no_use_leaves_the_old_one() {
    for payload in [
        json!({}),
        json!(null),
        json!("text"),
        json!({"SessionID": "5A5A0001"}),
        json!({"Nonce": 4}),
        json!({"SessionID": 5, "Nonce": 4}),
        json!({"SessionID": "5A5A0001", "Nonce": -1}),
        json!({"SessionID": "x".repeat(1000), "Nonce": 1}),
    ] {
        let mut cloud = online_encrypted(json!({}));
        cloud.say("downlink", 3, payload);
        cloud.host.expect_silence();
        check_reported(&mut cloud, 1);
        check_understood(&mut cloud, 2);
    }
    let mut cloud = online_encrypted(json!({"session_content": "bytes"}));
    cloud.say("downlink", 3, json!({"SessionID": "3788433", "Nonce": 4}));
    assert!(cloud.logged("is of no use"));
}

#[test]
fn a_session_id_that_leaves_no_room_for_the_nonce_is_told() {
    let mut cloud = online_encrypted(json!({}));
    let long = ("0123456789ABCDEF0123", 7);
    renew(&mut cloud, long);
    assert!(cloud.logged("does not change the session key"));
    switch(&mut cloud, long);
    check_reported(&mut cloud, 1);
    assert_eq!(session_key(long.0, 7), session_key(long.0, 8));
}

#[test]
fn the_old_session_is_gone_with_an_authentication() {
    let mut cloud = online_encrypted(json!({"auth_every_start": true}));
    renew(&mut cloud, SECOND);
    cloud.host.restart();
    let first = cloud.session.clone();
    switch(&mut cloud, THIRD);
    cloud.come_online();
    cloud.answer_start();
    check_reported(&mut cloud, 1);
    switch(&mut cloud, (&first.0, first.1));
    check_not_understood(&mut cloud);
}

/// Whether a payload is encrypted; then it is by the session key.
fn is_sealed(cloud: &Cloud, payload: &Value) -> bool {
    payload.is_string() && payload != "" && !cloud.open(payload).is_empty()
}

/// An old report, so that it goes as history.
fn report_old(cloud: &mut Cloud) {
    let now = cloud.host.now().wall.unix_ms;
    let at = WallTime { unix_ms: now - 61_000, quality: ClockQuality::SYNCED };
    let body = ReportBody::Properties(vec![(DatapointId(1), Datum::Int(9))]);
    let report = Report { seq: 77, at, device: 0, cause: Cause::Change, caused_by: None, body };
    cloud.host.deliver(Input::Reports(vec![report]));
}

#[test]
fn what_is_encrypted_depends_on_the_scope() {
    for (scope, managed) in [("app_data", false), ("all", true)] {
        let changes = json!({"encrypt_scope": scope, "encrypted": true});
        let mut cloud = Cloud::connected(setup(changes.clone()));
        let check = |cloud: &mut Cloud, topic: &str, header_ctrl: i64, expected: bool| {
            let (_, payload) = cloud.expect_frame(topic, header_ctrl);
            assert_eq!(is_sealed(cloud, &payload), expected, "{scope} {topic}: {payload}");
        };
        check(&mut cloud, "firmware_report", 8, managed);
        check(&mut cloud, "update_time", 29, false);

        cloud.report(1);
        check(&mut cloud, "model/property/report", 16, true);
        cloud.host.report_event(DatapointId(0), [(DatapointId(0), Datum::Int(3))]);
        check(&mut cloud, "model/event/lowBattery/report", 17, true);
        report_old(&mut cloud);
        check(&mut cloud, "model/history/data/report", 27, true);
        cloud.say("ask_firmware", 13, json!({}));
        check(&mut cloud, "firmware_report", 8, managed);
        cloud.say("ask_config", 14, json!({}));
        check(&mut cloud, "config_report", 14, managed);
        cloud.say("ota_notify", 9, json!({"DownID": "d"}));
        check(&mut cloud, "ota_notify_ack", 9, managed);
        cloud.say("model/property/set", 20, json!({"params": [{"identify": "n", "value": 1}]}));
        let (command, _) = cloud.host.expect_set();
        cloud.host.command_done(command);
        check(&mut cloud, "model/property/set_ack", 20, managed);
        cloud.say("model/service/reset", 21, json!({}));
        let (command, _) = cloud.host.expect_submit();
        cloud.host.command_done(command);
        check(&mut cloud, "model/service/reset/ack", 21, managed);
        cloud.say("model/property/ask", 23, json!({"params": ["n"]}));
        let (command, _) = cloud.host.expect_submit();
        cloud.host.command_done(command);
        check(&mut cloud, "model/property/report", 16, true);

        let mut cloud = online_passthrough(false, changes.clone());
        cloud.report(1);
        check(&mut cloud, "uplink", 4, true);
        cloud.say("downlink", 7, json!({"n": 1}));
        let (command, _) = cloud.host.expect_set();
        cloud.host.command_done(command);
        check(&mut cloud, "downlink_ack", 7, managed);

        let mut cloud = online_hex(changes.clone());
        cloud.host.report_body(Cause::Change, None, ReportBody::Raw(vec![0xAB]));
        let (_, payload) = cloud.expect_frame("model/hex/report", 18);
        assert_eq!(cloud.open(&payload), "AB");
        let digits = cloud.seal("0a0B");
        cloud.say("model/hex/downlink", 22, digits);
        let (command, _) = cloud.host.expect_submit();
        cloud.host.command_done(command);
        check(&mut cloud, "model/hex/downlink_ack", 22, managed);
    }
}

#[test]
fn full_hex_is_never_encrypted() {
    let mut cloud = online_hex(json!({"encrypted": true, "encrypt_scope": "all", "hex_uplink": "full"}));
    cloud.host.report_body(Cause::Change, None, ReportBody::Raw(vec![0xAB, 0x01]));
    let publish = cloud.host.expect_publish();
    assert_eq!(publish.text(), r#""AB01""#);
}

#[test]
fn commands_in_clear_are_taken_by_an_encrypted_product_too_and_settings_by_the_key() {
    let mut cloud = online_encrypted(json!({"config_properties": ["n"]}));
    cloud.say("model/property/set", 20, json!({"params": [{"identify": "n", "value": 1}]}));
    cloud.host.expect_set();
    cloud.say_sealed("down_config", 14, json!({"Settings": {"n": 2}}));
    cloud.host.expect_set();
    cloud.say_sealed("ota_notify", 9, json!({"DownID": "d1"}));
    assert_eq!(cloud.expect_frame("ota_notify_ack", 9).1, json!({"DownID": "d1"}));
}

#[test]
fn what_cannot_be_decrypted_is_counted_and_refused_in_clear_if_it_is_a_command() {
    let mut cloud = online_encrypted(json!({"encrypt_scope": "all", "config_properties": ["n"]}));
    let no_json = cloud.seal("not json");
    let no_utf8 = cloud.seal([0xFF, 0xFE]);
    let no_object = cloud.seal("[1,2]");
    let by_another = json!(encrypt(&session_key("other", 1), br#"{"params":[]}"#));
    let bad = [json!("zz"), json!("ABC"), json!("AB"), json!("00".repeat(16)), no_json, no_utf8, no_object, by_another];
    let refused = json!({"Code": "4001", "Msg": "Failed"});
    for payload in &bad {
        for (topic, ack, header_ctrl) in [
            ("model/property/set", "model/property/set_ack", 20),
            ("model/service/reset", "model/service/reset/ack", 21),
            ("downlink", "downlink_ack", 7),
        ] {
            let id = cloud.say(topic, header_ctrl, payload.clone());
            assert_eq!(cloud.expect_frame(ack, header_ctrl), (id, refused.clone()), "{topic} {payload}");
        }
        for (topic, header_ctrl) in [("down_config", 14), ("ota_notify", 9), ("model/property/ask", 23)] {
            cloud.say(topic, header_ctrl, payload.clone());
        }
        cloud.host.expect_silence();
    }
    cloud.host.advance(1_000);
    cloud.assert_fact("input_dropped", &(bad.len() * 6).to_string());

    let mut cloud = online_hex(json!({"encrypted": true}));
    for header_ctrl in [22, 24, 25] {
        // Digits that would do in clear are no way in.
        let id = cloud.say("model/hex/downlink", header_ctrl, json!("0102"));
        assert_eq!(cloud.expect_frame("model/hex/downlink_ack", header_ctrl), (id, refused.clone()));
    }
    cloud.host.expect_silence();
}

#[test]
fn a_refusal_of_what_could_not_be_decrypted_is_not_repeated_to_the_same_command_by_the_right_key() {
    let mut cloud = online_encrypted(json!({}));
    cloud.say_as("model/property/set", &json!(5), 20, json!("00"));
    cloud.expect("model/property/set_ack", 20);
    let payload = cloud.seal(r#"{"params":[{"identify":"n","value":1}]}"#);
    cloud.say_as("model/property/set", &json!(5), 20, payload);
    cloud.host.expect_set();
}

#[test]
fn a_text_is_no_payload_of_a_json_command_in_clear() {
    let mut cloud = online(json!({"config_properties": ["n"]}));
    for (topic, ack, header_ctrl) in
        [("model/property/set", "model/property/set_ack", 20), ("model/service/reset", "model/service/reset/ack", 21)]
    {
        let id = cloud.say(topic, header_ctrl, json!("0102"));
        assert_eq!(cloud.expect_frame(ack, header_ctrl), (id, json!({"Code": "4001", "Msg": "Failed"})));
    }
    cloud.say("down_config", 14, json!("0102"));
    cloud.host.expect_silence();
}
