use super::keys::DISCOVERY_URL;
use super::*;
use crate::auth::{production_endpoint, test_endpoint};

const REQUIRED: &str =
    r#"{"product_type":"KQ","product_model":"DL3785W","serial":"1234567890","product_secret":"hunter2"}"#;

fn with(changes: &[(&str, Value)]) -> String {
    let mut settings: Map<String, Value> = serde_json::from_str(REQUIRED).unwrap();
    for (key, value) in changes {
        settings.insert((*key).to_owned(), value.clone());
    }
    Value::Object(settings).to_string()
}

fn check(key: &str, value: Value, error_says: &str) {
    let error = Settings::parse(&with(&[(key, value)]), "").unwrap_err().to_string();
    assert!(error.starts_with(&format!("settings.{key}: ")) && error.contains(error_says), "{error}");
}

#[test]
fn the_schema_has_the_keys_and_the_defaults_of_the_code() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let properties = schema["properties"].as_object().unwrap();
    let described: BTreeSet<&str> = properties.keys().map(String::as_str).collect();
    assert_eq!(described, KEYS.iter().copied().collect());

    let mut explicit: Map<String, Value> = serde_json::from_str(REQUIRED).unwrap();
    for (key, property) in properties {
        for title in ["title", "x-title-zh", "type"] {
            assert!(property[title].as_str().is_some_and(|text| !text.is_empty()), "{key} has no {title}");
        }
        if let Some(default) = property.get("default") {
            assert!(explicit.insert(key.clone(), default.clone()).is_none(), "{key} is required and has a default");
        }
    }
    let explicit = Settings::parse(&Value::Object(explicit).to_string(), "").unwrap();
    assert_eq!(explicit, Settings::parse(REQUIRED, "").unwrap());
    assert_eq!(schema["additionalProperties"], Value::Bool(false));
}

#[test]
fn a_value_that_does_not_fit_names_its_key() {
    check("keepalive_s", "60".into(), "expected u16");
    check("keepalive_s", 70_000.into(), "70000");
    check("qos", 3.into(), "0, 1 or 2");
    check("dialect", "v2".into(), "v1_0");
    check("auth_scheme", "magic".into(), "preregistered");
    check("broker_url", "http://h".into(), "tcp://host");
    check("fallback_url", "http://h".into(), "tcp://host");
    check("discovery_url", "ftp://h".into(), "http://");
    check("ota_window_start", "24:00".into(), "HH:MM");
    check("ota_window_len_s", 86_401.into(), "more than a day");
    check("product_type", "K/Q".into(), "without");
    check("get_cmd", "set".into(), "set_cmd");
    check("supported_actions", "all".into(), "sequence");
    check("ota_target", "both".into(), "module");
    check("ota_max_byte", 1.into(), "no such key");
}

#[test]
fn a_missing_key_is_named_with_what_would_be_accepted() {
    for (settings, says) in [
        (r#"{"product_type":"KQ","product_model":"M"}"#, "settings.serial: missing"),
        (r#"{"product_type":"KQ","product_model":"M","serial":"1"}"#, "settings.product_secret: missing"),
        (
            r#"{"product_type":"KQ","product_model":"M","serial":"1","auth_scheme":"preregistered","username":"u"}"#,
            "settings.password: missing",
        ),
        ("{}", "settings.product_type: missing"),
        ("[]", "settings: expected an object"),
    ] {
        let error = Settings::parse(settings, "").unwrap_err().to_string();
        assert!(error.starts_with(says), "{error}");
    }
}

#[test]
fn a_secret_of_the_wrong_type_is_not_shown() {
    for key in ["product_secret", "password", "ftp_password"] {
        let error = Settings::parse(&with(&[(key, 123_456.into())]), "").unwrap_err().to_string();
        assert!(error.contains(key) && !error.contains("123456"), "{error}");
    }
}

#[test]
fn debug_output_shows_no_secret() {
    let settings = Settings::parse(&with(&[("ftp_password", "swordfish".into())]), "").unwrap();
    let shown = format!("{settings:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("swordfish"), "{shown}");
}

#[test]
fn the_module_knows_the_serial_number_if_the_settings_do_not() {
    let settings = r#"{"product_type":"KQ","product_model":"M","product_secret":"s"}"#;
    assert_eq!(Settings::parse(settings, "77").unwrap().serial, "77");
    assert_eq!(Settings::parse(REQUIRED, "77").unwrap().serial, "1234567890");
}

#[test]
fn the_address_of_the_broker_is_chosen_in_the_documented_order() {
    let access = |changes: &[(&str, Value)]| Settings::parse(&with(changes), "").unwrap().access;
    let broker = Endpoint { host: "h".into(), port: 9, tls: true };
    assert_eq!(access(&[]), Access::Discovered { url: DISCOVERY_URL.into(), fallback: production_endpoint() });
    assert_eq!(access(&[("discovery_url", "".into())]), Access::Fixed(production_endpoint()));
    let elsewhere = [("discovery_url", "".into()), ("fallback_url", "ssl://h:9".into())];
    assert_eq!(access(&elsewhere), Access::Fixed(broker.clone()));
    assert_eq!(access(&[("environment", "test".into())]), Access::Fixed(test_endpoint()));
    assert_eq!(access(&[("environment", "test".into()), ("broker_url", "ssl://h:9".into())]), Access::Fixed(broker));
}
