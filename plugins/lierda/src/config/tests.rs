use polylink_plugin_sdk::testing::schema;
use serde_json::{Value, json};

use super::*;

const KEY: &str = "DB6FACEF35BEBA0517712F0E4BE32936";
const SECRET: &str = "326086233FAB8A96566796551EB1DFF8";

fn model(raw: bool, names: &[&str]) -> ThingModel {
    let [event, action] = [names.first().unwrap_or(&"alarm"), names.get(1).unwrap_or(&"reset")];
    let product = json!({"product_key": "k", "name": "lamp", "raw": raw,
      "properties": [{"id": 0, "name": "power", "cloud_name": "switch", "type": "bool", "writable": true}],
      "events": [{"id": 0, "name": "event", "cloud_name": event, "params": []}],
      "actions": [{"id": 0, "name": "action", "cloud_name": action, "idempotent": true, "params": [], "returns": []}]});
    ThingModel::parse(&product.to_string()).unwrap()
}

fn required() -> Value {
    json!({"broker_url": "tcp://broker", "open_id": "7ED01E2A", "product_id": "AA30C505", "product_key": KEY,
      "node_eui": "20MQTTJ000121"})
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

fn parse_for(model: &ThingModel, changes: &Value) -> Result<Settings, String> {
    Settings::parse(&with(changes), "", model).map_err(|fault| fault.message.to_string())
}

fn parse(changes: Value) -> Result<Settings, String> {
    parse_for(&model(false, &[]), &changes)
}

/// This value is refused, by an error that names the key and says this.
#[track_caller]
fn check(key: &str, value: Value, says: &str) {
    let error = parse(json!({key: value})).unwrap_err();
    assert!(error.starts_with("settings") && error.contains(key) && error.contains(says), "{error}");
}

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

#[test]
fn the_schema_has_the_keys_and_the_defaults_of_the_code() {
    schema::has_the_keys_and_defaults_of_the_code(SCHEMA, &required(), |settings| parse(settings.clone()));
}

#[test]
fn the_schema_requires_what_the_code_requires() {
    let schema = schema();
    for key in schema["required"].as_array().unwrap() {
        let key = key.as_str().unwrap();
        let error = parse(json!({ key: null })).unwrap_err();
        assert!(error.contains(&format!("missing field `{key}`")), "{error}");
    }
    let secret = |key: &str| schema["properties"][key]["x-secret"] == true;
    assert!(secret("product_key") && secret("device_secret"));
}

#[test]
fn the_schema_takes_the_values_that_the_code_takes() {
    let changed = |key: &str, value: &Value| {
        let raw = key == "product_kind" && value == "hex";
        let mut changes = json!({ key: value });
        if key == "auth_type" {
            changes["device_secret"] = json!(SECRET);
        }
        parse_for(&model(raw, &[]), &changes)
    };
    assert_eq!(schema::takes_what_the_code_takes(SCHEMA, &[], changed), 14);
}

#[test]
fn the_defaults_are_those_of_the_documented_table() {
    let settings = parse(json!({})).unwrap();
    assert_eq!(settings.auth_type, AuthType::SecretPerProduct);
    assert_eq!(settings.connect_type, ConnectType::Unchecked);
    assert_eq!(settings.product_kind, ProductKind::Json);
    assert_eq!(settings.message_id_type, MessageIdType::Int);
    assert_eq!(settings.passthrough_ack_topic, PassthroughAckTopic::Auto);
    assert_eq!(settings.encrypt_scope, EncryptScope::AppData);
    assert_eq!(settings.hex_encrypt_input, HexEncryptInput::Utf8Text);
    assert_eq!(settings.session_content, SessionContent::Text);
    assert_eq!(settings.session_key_source, SessionKeySource::ProductKey);
    assert_eq!(settings.full_hex_format, FullHexFormat::JsonString);
    assert_eq!(settings.down_id_in, DownIdIn::Query);
    assert!(settings.ota.require_md5 && settings.clean_session);
    assert!(!settings.encrypted && !settings.auth_every_start && !settings.use_plus_wildcard);
    assert!(!settings.allow_broker_change);
    assert_eq!((settings.qos, settings.keepalive_s), (1, 60));
    assert_eq!((settings.auth_timeout_ms, settings.fatal_retry_ms), (10_000, 3_600_000));
    assert_eq!((settings.ota.max_bytes, settings.broker.port), (256 << 20, 1883));
}

#[test]
fn a_value_that_does_not_fit_names_its_key() {
    check("broker_url", json!("http://h"), "tcp://host");
    check("broker_url", json!("tcp://"), "tcp://host");
    for id in ["", "7ED01E2", "7ED01E2AA", "7ED01E2G", "7ED0-E2A"] {
        check("open_id", json!(id), "8 hexadecimal digits");
        check("product_id", json!(id), "8 hexadecimal digits");
    }
    for node_eui in ["abc", "a_bc", "a/bc", "a+bc", "a#bc", "ab c", "äbcd", &"a".repeat(33)] {
        check("node_eui", json!(node_eui), "4 to 32 letters and digits");
    }
    check("auth_type", json!(3), "2 (secret per device)");
    check("connect_type", json!(2), "1 (time checked)");
    check("qos", json!(3), "0, 1 or 2");
    check("keepalive_s", json!(70_000), "u16");
    for seconds in [json!(0), json!(86_401)] {
        check("auth_timeout_s", seconds.clone(), "1 to 86400");
        check("fatal_retry_s", seconds, "1 to 86400");
    }
    check("ota_max_bytes", json!(0), "bytes");
    check("ota_allowed_hosts", json!("h"), "sequence");
    check("product_kind", json!("xml"), "`json`");
    check("config_properties", json!(["switch", "unknown"]), "no property `unknown`");
    check("config_properties", json!("switch"), "sequence");
}

#[test]
fn identifiers_and_secrets_are_used_as_they_are_written() {
    let settings =
        parse(json!({"open_id": "7ed01e2a", "node_eui": "aBcD", "product_key": KEY.to_lowercase()})).unwrap();
    assert_eq!((settings.identity.open_id.as_str(), settings.identity.node_eui.as_str()), ("7ed01e2a", "aBcD"));
    assert_eq!(*settings.product_key.expose(), KEY.to_lowercase());
}

#[test]
fn a_device_with_a_secret_of_its_own_has_to_have_it() {
    for settings in [json!({"auth_type": 2}), json!({"auth_type": 2, "device_secret": ""})] {
        assert!(parse(settings).unwrap_err().starts_with("settings.device_secret"));
    }
    assert!(parse(json!({"auth_type": 2, "device_secret": SECRET})).is_ok());
    assert!(parse(json!({"device_secret": ""})).unwrap().device_secret.is_none());
}

#[test]
fn no_error_and_no_debug_output_shows_a_secret() {
    for key in ["product_key", "device_secret"] {
        for value in [json!("hunter2hunter2"), json!(["hunter2"]), json!(12_345_678), json!("g".repeat(32))] {
            let error = parse(json!({ key: value })).unwrap_err();
            let shows = ["hunter2", "12345678", "gggg"].iter().any(|secret| error.contains(secret));
            assert!(error.contains(key) && !shows, "{error}");
        }
    }
    let settings = parse(json!({"device_secret": SECRET})).unwrap();
    let shown = format!("{settings:?}");
    assert!(!shown.contains(KEY) && !shown.contains(SECRET), "{shown}");
    // Nor does an error about something else.
    let error = parse(json!({"device_secret": SECRET, "qos": "high"})).unwrap_err();
    assert!(!error.contains(KEY) && !error.contains(SECRET), "{error}");
}

#[test]
fn the_module_knows_the_number_of_the_device_if_the_settings_do_not() {
    let number = |changes: Value, serial: &str| {
        let settings = Settings::parse(&with(&changes), serial, &model(false, &[]));
        settings.map(|settings| settings.identity.node_eui).map_err(|fault| fault.message.to_string())
    };
    assert_eq!(number(json!({}), "SERIAL77").unwrap(), "20MQTTJ000121");
    for missing in [json!({"node_eui": null}), json!({"node_eui": ""})] {
        assert_eq!(number(missing.clone(), "SERIAL77").unwrap(), "SERIAL77");
        assert!(number(missing.clone(), "").unwrap_err().starts_with("settings.node_eui"));
        assert!(number(missing, "a-serial").unwrap_err().starts_with("settings.node_eui"));
    }
}

#[test]
fn events_and_actions_whose_names_would_change_a_topic_are_refused() {
    for name in ["a/b", "a+", "#", "/", "+"] {
        for (names, kind) in [([name, "reset"], "event"), (["alarm", name], "action")] {
            let error = parse_for(&model(false, &names), &json!({})).unwrap_err();
            assert!(error.contains(&format!("{kind} `{name}`")), "{error}");
        }
    }
    assert!(parse_for(&model(false, &["low_battery-1", "转动"]), &json!({})).is_ok());
}

#[test]
fn a_property_cannot_take_the_place_of_the_broker_among_the_settings() {
    for name in [HOST, PORT] {
        let product = json!({"product_key": "k", "name": "lamp", "raw": false, "events": [], "actions": [],
          "properties": [{"id": 0, "name": "a", "cloud_name": name, "type": "bool", "writable": true}]});
        let model = ThingModel::parse(&product.to_string()).unwrap();
        let error = parse_for(&model, &json!({"config_properties": [name]})).unwrap_err();
        assert!(error.starts_with("settings.config_properties") && error.contains(name), "{error}");
        assert!(parse_for(&model, &json!({})).is_ok());
    }
}

#[test]
fn without_modules_the_main_one_is_told() {
    let modules = |modules: Value| parse(json!({ "modules": modules })).map(|settings| settings.modules);
    let main = BTreeMap::from([("default".to_owned(), VersionOf::Device)]);
    assert_eq!(modules(json!({})).unwrap(), main);
    let two = BTreeMap::from([("m".to_owned(), VersionOf::Mcu), ("wifi".to_owned(), VersionOf::Module)]);
    assert_eq!(modules(json!({"m": "mcu", "wifi": "module"})).unwrap(), two);
    let many: BTreeMap<String, &str> = (0..17).map(|n| (n.to_string(), "mcu")).collect();
    for wrong in [json!({"": "mcu"}), json!({"x".repeat(65): "mcu"}), json!({"m": "cpu"}), json!(many), json!(["m"])] {
        assert!(modules(wrong).unwrap_err().contains("modules"));
    }
}

#[test]
fn the_main_module_has_the_version_of_the_mcu_or_else_of_the_module() {
    let mut facts = Facts { module_software: "m7".into(), module_hardware: "mh".into(), ..Default::default() };
    assert_eq!(VersionOf::Device.versions(&facts), ("mh", "m7"));
    assert_eq!(VersionOf::Mcu.versions(&facts), ("", ""));
    facts.mcu_software = "1.0".into();
    assert_eq!(VersionOf::Device.versions(&facts), ("", "1.0"));
    assert_eq!(VersionOf::Module.versions(&facts), ("mh", "m7"));
}

#[test]
fn only_a_hex_product_has_a_script_and_it_needs_one_unless_it_is_raw() {
    let kind = |raw: bool, changes: Value| parse_for(&model(raw, &[]), &changes).map(|settings| settings.script);
    assert_eq!(kind(false, json!({"product_kind": "hex", "script": "x"})).unwrap().as_deref(), Some("x"));
    assert_eq!(kind(true, json!({"product_kind": "hex"})).unwrap(), None);
    assert_eq!(kind(true, json!({"product_kind": "hex", "script": " \n"})).unwrap(), None);
    for other in ["json", "passthrough"] {
        let error = kind(false, json!({"product_kind": other, "script": "x"})).unwrap_err();
        assert!(error.starts_with("settings.script"), "{error}");
        assert_eq!(kind(false, json!({"product_kind": other, "script": " "})).unwrap(), None);
    }
    let error = kind(false, json!({"product_kind": "hex"})).unwrap_err();
    assert!(error.starts_with("settings.script"), "{error}");
}

#[test]
fn what_is_encrypted_depends_on_product_and_scope() {
    let encrypts = |changes: Value| {
        let settings = parse(changes).unwrap();
        [Content::Never, Content::Application, Content::Management].map(|content| settings.encrypts(content))
    };
    assert_eq!(encrypts(json!({"encrypt_scope": "all"})), [false, false, false]);
    assert_eq!(encrypts(json!({"encrypted": true})), [false, true, false]);
    assert_eq!(encrypts(json!({"encrypted": true, "encrypt_scope": "all"})), [false, true, true]);
}
