//! Bodies of messages: encrypted or in clear, both ways.

use polylink_plugin_sdk::value::CommandBody;
use polylink_plugin_sdk::{DatapointId, Value as Datum};
use serde_json::{Value, json};

use crate::scenarios::stage::{Cloud, DEV_KEY, merged, online, seal, setup};

const OTHER_KEY: &str = "00112233445566778899aabbccddeeff";

/// A query that comes with this `data` asks for datapoint 2.
#[track_caller]
fn check_taken(cloud: &mut Cloud, data: Value) {
    let id = cloud.new_id();
    cloud.say_data(2009, &id, data);
    let (_, command) = cloud.host.expect_submit();
    assert_eq!(command.body, CommandBody::Get(vec![DatapointId(1)]));
}

/// A control that comes with this `data` is answered, and not carried out.
#[track_caller]
fn check_refused(settings: &Value, data: Value, why: &str) {
    let mut cloud = online(settings.clone());
    cloud.host.snapshot([(DatapointId(0), Datum::Bool(true))]);
    let id = cloud.new_id();
    cloud.say_data(2011, &id, data.clone());
    let (answered, body) = cloud.expect_frame(2006);
    assert_eq!((&answered, &body["params"], &body["respCode"]), (&id, &json!([]), &json!(-1)), "{data}");
    let text = body["respCont"].as_str().unwrap();
    assert!(text.contains(why), "{data}: {text}");
    cloud.host.expect_silence();
    // The others that ask for an answer cannot be answered; who is sent away goes.
    for cmd in [2009, 2013] {
        let id = cloud.new_id();
        cloud.say_data(cmd, &id, data.clone());
        cloud.host.expect_silence();
    }
    cloud.host.advance(1_000);
    cloud.assert_fact("input_dropped", "3");
    let id = cloud.new_id();
    cloud.say_data(2017, &id, data);
    assert_eq!(cloud.host.expect_mqtt_disconnect(), cloud.connection);
}

#[test]
fn an_encrypted_body_and_one_in_clear_are_both_taken() {
    let mut cloud = online(json!({}));
    let sealed = seal(&cloud.key, r#"{"params":["2"]}"#);
    check_taken(&mut cloud, sealed.into());
    check_taken(&mut cloud, json!({"params": ["2"]}));
    // The answer to one in clear is encrypted all the same.
    let id = cloud.new_id();
    cloud.say_data(2009, &id, json!({"params": ["99"]}));
    assert_eq!(cloud.expect_frame(2006), (id, json!({"params": []})));
}

#[test]
fn a_body_in_clear_is_refused_where_all_must_be_encrypted() {
    let strict = json!({"strict_encryption": true});
    check_refused(&strict, json!({"params": [{"1": true}]}), "strict_encryption");
    let mut cloud = online(strict);
    let sealed = seal(&cloud.key, r#"{"params":["2"]}"#);
    check_taken(&mut cloud, sealed.into());
    let id = cloud.new_id();
    cloud.say_data(2019, &id, json!({"fileMode": "QUERY"}));
    assert_eq!(cloud.expect_frame(2018), (id, json!({"respCode": -1, "respCont": "decrypt error"})));
}

#[test]
fn what_cannot_be_decrypted_is_refused_with_what_is_wrong() {
    let check = |data: Value, why: &str| check_refused(&json!({}), data, why);
    check(json!("!!!!"), "base64");
    check(json!("AAA"), "base64");
    check(json!("QUJD\n"), "base64");
    check(json!(""), "blocks");
    check(json!("QUJD"), "blocks");
    check(json!("AAAAAAAAAAAAAAAAAAAAAA=="), "padding");
    for plain in ["[]", "7", "\"text\"", "", "{", "{} {}"] {
        check(seal(&online(json!({})).key, plain).into(), "JSON");
    }
    for data in [json!([]), json!(7), json!(true)] {
        check(data, "neither");
    }
    check(seal(OTHER_KEY, r#"{"params":[{"1":true}]}"#).into(), "");
}

#[test]
fn everything_goes_in_clear_where_that_is_set_and_comes_as_it_comes() {
    let mut cloud = online(json!({"mqtt_encrypt_data": false}));
    cloud.report(7);
    assert_eq!(cloud.expect(2006).frame["data"], json!({"params": [{"2": 7}]}));
    let sealed = seal(&cloud.key, r#"{"params":["2"]}"#);
    check_taken(&mut cloud, sealed.into());
    check_taken(&mut cloud, json!({"params": ["2"]}));
    cloud.ask(2013, json!({}));
    assert_eq!(cloud.expect(2012).frame["data"], json!({"respCode": 0, "respCont": "ok"}));
    cloud.ask(2019, json!({"fileMode": "?"}));
    assert!(cloud.expect(2018).frame["data"].is_object());
}

#[test]
fn without_a_secret_of_the_platform_bodies_are_encrypted_by_the_key_of_the_device() {
    let mut cloud = Cloud::started(setup(json!({})));
    cloud.login = merged(cloud.login.clone(), json!({"deviceSecret": null}));
    cloud.key = DEV_KEY.to_owned();
    cloud.register();
    cloud.come_online();
    cloud.report(7);
    assert_eq!(cloud.expect(2006).body, json!({"params": [{"2": 7}]}));
    let sealed = seal(DEV_KEY, r#"{"params":["2"]}"#);
    check_taken(&mut cloud, sealed.into());
}

#[test]
fn a_body_keeps_all_its_characters() {
    let mut cloud = online(json!({}));
    for note in ["", "é", "\u{0}\"\\", "和而泰", "0123456789abcdef"] {
        cloud.host.report([(DatapointId(4), Datum::Text(note.to_owned()))]);
        assert_eq!(cloud.expect(2006).body, json!({"params": [{"5": note}]}));
        cloud.ask(2011, json!({"params": [{"5": note}]}));
        assert_eq!(cloud.host.expect_set().1, [(DatapointId(4), Datum::Text(note.to_owned()))]);
    }
}
