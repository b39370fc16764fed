use std::collections::BTreeSet;

use polylink_plugin_sdk::testing::schema;
use serde_json::{Value, json};

use super::*;

const KEY: &str = "3c6ef372fe94f82ba54ff53a5f1d36f1";

fn required() -> Value {
    json!({"product_code": "P0001", "dev_id": "D1", "dev_mac": "02005E102030", "dev_key": KEY})
}

/// The required settings with these on top; null removes a key.
fn with(changes: &Value) -> String {
    let mut settings = required();
    for (key, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(settings.as_object_mut().unwrap().remove(key)),
            value => settings[key] = value.clone(),
        }
    }
    settings.to_string()
}

fn parse_on(interfaces: &[Interface], changes: &Value) -> Result<Settings, String> {
    Settings::parse(&with(changes), interfaces).map_err(|fault| fault.message.to_string())
}

fn parse(changes: Value) -> Result<Settings, String> {
    parse_on(&[], &changes)
}

/// This value is refused, by an error that names the key and says this.
#[track_caller]
fn check(key: &str, value: Value, says: &str) {
    check_all(json!({ key: value }), key, says);
}

/// These values are refused, by an error that names this key and says this.
#[track_caller]
fn check_all(changes: Value, key: &str, says: &str) {
    let error = parse(changes.clone()).expect_err(&changes.to_string());
    assert!(error.starts_with("settings") && error.contains(key) && error.contains(says), "{changes}: {error}");
}

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

#[test]
fn the_schema_has_the_keys_and_the_defaults_of_the_code() {
    schema::has_the_keys_and_defaults_of_the_code(SCHEMA, &required(), |settings| parse(settings.clone()));
    let schema = schema();
    // What may be left out is as good as empty.
    for key in ["product_code", "dev_id", "dev_mac"] {
        assert_eq!(schema["properties"][key]["default"], "");
        let [left_out, empty] = [Value::Null, json!("")].map(|value| parse(json!({ key: value })));
        assert_eq!(format!("{left_out:?}"), format!("{empty:?}"));
    }
}

#[test]
fn the_schema_requires_what_the_code_requires() {
    let schema = schema();
    assert_eq!(schema["required"], json!(["dev_key"]));
    assert!(parse(json!({"dev_key": null})).unwrap_err().contains("missing field `dev_key`"));
    let secrets: BTreeSet<&str> = schema["properties"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, property)| property["x-secret"] == true)
        .map(|(key, _)| key.as_str())
        .collect();
    assert_eq!(secrets, BTreeSet::from(["dev_key", "mqtt_password"]));
}

#[test]
fn the_schema_takes_the_values_that_the_code_takes() {
    let changed = |key: &str, value: &Value| {
        let mut changes = json!({ key: value });
        if value == "utf8" {
            changes["dev_key"] = json!("0123456789abcdef");
        }
        parse(changes)
    };
    // Keys are not shown, so the same key written in two ways looks the same.
    assert_eq!(schema::takes_what_the_code_takes(SCHEMA, &["dev_key_encoding"], changed), 8);
    for (key, property) in schema()["properties"].as_object().unwrap() {
        for (bound, beyond) in [("minLength", -1), ("maxLength", 1)] {
            if let Some(bound) = property[bound].as_i64() {
                let digits = |n: i64| json!("0".repeat(usize::try_from(n).unwrap()));
                assert!(changed(key, &digits(bound)).is_ok(), "{key} {bound}");
                let error = changed(key, &digits(bound + beyond)).unwrap_err();
                assert!(error.contains(key), "{error}");
            }
        }
    }
}

#[test]
fn the_defaults_are_those_of_the_documented_table() {
    let settings = parse(json!({})).unwrap();
    let Register { scheme, host, path } = &settings.register;
    assert_eq!((scheme.as_str(), host.as_str(), path.as_str()), ("https", "open.clife.cn", "/device/register"));
    assert_eq!((settings.identity.auth_level, settings.iv), (AuthLevel::Basic, [0; 16]));
    assert_eq!(Some(settings.dev_key), Key::from_hex(KEY));
    assert!(settings.encrypt && !settings.strict_encryption && !settings.clean_session && settings.will);
    assert_eq!(settings.topic_upward, "/device/{productCode}/{devId}/upward");
    assert_eq!(settings.topic_downward, "/device/{productCode}/{devId}/downward");
    assert_eq!((settings.qos, settings.timestamp_type), (1, TimestampType::Number));
    assert_eq!((settings.dir_up.as_str(), settings.dir_down.as_str()), ("03", "30"));
    assert_eq!(settings.greeting, Greeting { timeout_ms: 5_000, attempts: 3, required: false });
    assert_eq!((settings.query_reply_cmd, settings.control_reply_cmd), (2006, 2006));
    assert!(settings.report_on_connect && !settings.unbind_clears_registration);
    assert_eq!((settings.profile_ver.as_str(), settings.product_ver), ("0", 1));
    assert_eq!((settings.files.dev_nums, settings.force_offline_hold_ms), (DevNums::default(), 300_000));
    let files = &settings.files;
    assert!(files.allowed_hosts.is_empty() && files.skip_same && files.check_hardware && files.allow_downgrade);
    assert_eq!(files.check_sum_bits, CheckSumBits::Bits32);
    assert_eq!(parse(json!({"environment": "test"})).unwrap().register.host, "test.clife.cn");
    let own = json!({"environment": "test", "host": "own:81"});
    assert_eq!(parse(own).unwrap().register.host, "own:81");
}

#[test]
fn a_value_that_does_not_fit_names_its_key() {
    check("auth_level", json!(3), "2 (basic");
    check("scheme", json!("ftp"), "`https`");
    for host in ["a b", "h ", "h/x", "h:x", "u@h", "h?x", "h#x"] {
        check("host", json!(host), "a host");
    }
    for host in ["h", "h:81", "10.0.0.1:443", "[::1]:80"] {
        assert_eq!(parse(json!({ "host": host })).unwrap().register.host, host);
    }
    for path in ["", "device", "/a b", "/a?b", "/a#b", &format!("/{}", "x".repeat(2048))] {
        check("register_path", json!(path), "begins with `/`");
    }
    for id in ["a/b", "a+", "#", "a{b}", "a\n", &"x".repeat(65)] {
        check("product_code", json!(id), "64 characters");
        check("dev_id", json!(id), "64 characters");
    }
    for mac in ["02005E10203", "02005E1020300", "02005E10203G", "02 005E102030"] {
        check("dev_mac", json!(mac), "12 hexadecimal digits");
    }
    for iv in ["0".repeat(31), "0".repeat(33), "0".repeat(34), "g".repeat(32), String::new()] {
        check("cipher_iv_hex", json!(iv), "32 hexadecimal digits");
    }
    for topic in ["", "/+/x", "#", "/{devid}", "/{devId"] {
        check("topic_upward", json!(topic), "a topic");
        check("topic_downward", json!(topic), "a topic");
    }
    for url in ["http://h", "tcp://", "h:1883"] {
        check("mqtt_url", json!(url), "");
    }
    check("mqtt_keepalive", json!(70_000), "u16");
    check("qos", json!(3), "0, 1 or 2");
    for dir in ["3", "030", "0x", ""] {
        check("dir_up", json!(dir), "two digits");
        check("dir_down", json!(dir), "two digits");
    }
    check("timestamp_type", json!("text"), "`string`");
    for key in ["connect_ack_timeout_s", "connect_attempts", "force_offline_hold_s", "product_ver"] {
        for value in [0, 1_000_001] {
            check(key, json!(value), "1 to 1000000");
        }
    }
    for key in ["query_reply_cmd", "control_reply_cmd"] {
        for cmd in [1999, 10_000, -2006] {
            check(key, json!(cmd), "2000 to 9999");
        }
    }
    check("mcu_dev_num", json!(0), "1 to 65535");
    let numbers = |mcu: u16, first: u16| parse(json!({"mcu_dev_num": mcu, "subdevice_dev_num": first}));
    for first in [7, 70] {
        let error = numbers(70, first).unwrap_err();
        assert!(error.starts_with("settings.subdevice_dev_num"), "{error}");
    }
    for first in [0, 6, 71] {
        assert!(numbers(70, first).is_ok());
    }
    check("ota_random_delay_s", json!(1_000_001), "0 to 1000000");
    check("upload_method", json!("ftp"), "`multipart`");
    check("ota_allowed_hosts", json!("h"), "sequence");
    check("ota_checksum_bits", json!(24), "");
}

#[test]
fn each_authentication_level_asks_for_what_it_needs() {
    for auth_level in [1, 2] {
        for missing in [json!(null), json!("")] {
            let changes = json!({"auth_level": auth_level, "product_code": missing});
            check_all(changes, "settings.product_code", "auth_level 1 and 2 need");
        }
        assert!(parse(json!({"auth_level": auth_level, "dev_id": null})).is_ok());
    }
    for missing in [json!(null), json!("")] {
        check_all(json!({"auth_level": 0, "dev_id": missing}), "settings.dev_id", "auth_level 0 needs");
    }
    assert!(parse(json!({"auth_level": 0})).is_ok());
    // The level does not need it, but the topics do.
    let without = json!({"auth_level": 0, "product_code": null});
    check_all(without, "settings.product_code", "topic_upward needs");
    let half = json!({"auth_level": 0, "product_code": null, "topic_upward": "/{devId}/u"});
    check_all(half, "settings.product_code", "topic_downward needs");
    let own = json!({
        "auth_level": 0, "product_code": null, "topic_upward": "/{devId}/u", "topic_downward": "/{devId}/d",
    });
    assert!(parse(own).is_ok());
}

#[test]
fn the_first_interface_that_has_an_address_stands_in_for_a_missing_mac() {
    let interface = |mac| Interface { mac, ..Interface::default() };
    let interfaces = [interface([0; 6]), interface([2, 0, 0x5E, 0x10, 0x20, 0x31]), interface([6; 6])];
    let mac = |interfaces: &[Interface], mac: Value| {
        parse_on(interfaces, &json!({ "dev_mac": mac })).map(|settings| settings.identity.dev_mac)
    };
    for missing in [json!(null), json!("")] {
        assert_eq!(mac(&interfaces, missing.clone()).unwrap(), "02005E102031");
        for without in [&interfaces[..1], &[]] {
            let error = mac(without, missing.clone()).unwrap_err();
            assert!(error.starts_with("settings.dev_mac") && error.contains("no interface"), "{error}");
        }
    }
    assert_eq!(mac(&interfaces, json!("02005E102030")).unwrap(), "02005E102030");
    for written in ["02:00:5E:10:20:30", "02-00-5E-10-20-30"] {
        assert_eq!(mac(&[], json!(written)).unwrap(), "02005E102030");
    }
}

#[test]
fn a_key_is_read_as_it_is_written() {
    let key = |key: &str, encoding: &str| {
        parse(json!({"dev_key": key, "dev_key_encoding": encoding})).map(|settings| settings.dev_key)
    };
    for n_bytes in [16, 24, 32] {
        let (digits, text) = ("a1".repeat(n_bytes), "k".repeat(n_bytes));
        assert_eq!(key(&digits, "hex").ok(), Key::from_hex(&digits));
        assert_eq!(key(&text, "utf8").ok(), Key::from_text(&text));
        assert!(key(&text, "hex").unwrap_err().starts_with("settings.dev_key"));
    }
    for wrong in ["", "k", &"k".repeat(17), &"k".repeat(31)] {
        assert!(key(wrong, "utf8").unwrap_err().starts_with("settings.dev_key"));
    }
}

#[test]
fn empty_overrides_are_none() {
    let settings = parse(json!({
        "mqtt_url": "", "mqtt_client_id": "", "mqtt_user": "", "mqtt_password": "", "mqtt_keepalive": 0, "dev_id": "",
        "tls_ca": "", "host": "",
    }))
    .unwrap();
    assert_eq!(settings.overrides, Overrides::default());
    assert_eq!((settings.tls_ca, settings.register.host.as_str()), (None, "open.clife.cn"));
}

#[test]
fn no_error_and_no_debug_output_shows_a_secret() {
    for value in [json!("hunter2hunter2"), json!(["hunter2"]), json!(12_345_678), json!("g".repeat(32))] {
        let error = parse(json!({ "dev_key": value })).unwrap_err();
        let shows = ["hunter2", "12345678", "gggg"].iter().any(|secret| error.contains(secret));
        assert!(error.contains("dev_key") && !shows, "{error}");
    }
    for value in [json!(["hunter2"]), json!(12_345_678)] {
        let error = parse(json!({ "mqtt_password": value })).unwrap_err();
        assert!(
            error.contains("mqtt_password") && !error.contains("hunter2") && !error.contains("12345678"),
            "{error}"
        );
    }
    let password = "hunter2";
    let shown = format!("{:?}", parse(json!({"mqtt_password": password})).unwrap());
    assert!(!shown.contains(KEY) && !shown.contains(password), "{shown}");
    // Nor does an error about something else.
    for other in [json!({"qos": 3}), json!({"qos": "high"}), json!({"no_such_key": 1}), json!({"mqtt_url": "hunter2"})]
    {
        let mut changes = other;
        changes["mqtt_password"] = json!(password);
        let error = parse(changes).unwrap_err();
        assert!(!error.contains(KEY), "{error}");
    }
}
