//! Runs every vector of `vectors/deli.json`. Each names where it comes from; this file only says how a kind is judged.

use std::collections::BTreeMap;

use md5::{Digest, Md5};
use polylink_deli::auth::{Identity, derived_password, parse_access_list, production_endpoint};
use polylink_deli::binding::reconcile;
use polylink_deli::config::{HexCase, Settings};
use polylink_deli::dispatch::{Handling, classify};
use polylink_deli::message::{Envelope, identifier};
use polylink_deli::reaction::Reaction;
use polylink_deli::session::DeliSession;
use polylink_deli::{ota, qr};
use polylink_plugin_sdk::Output;
use polylink_plugin_sdk::secret::Secret;
use polylink_plugin_sdk::services::mqtt;
use polylink_plugin_sdk::testing::{Setup, VirtualHost};
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// All kinds there are, and how many vectors of each must be there at least.
const KINDS: [&str; 11] = [
    "mqtt_credentials",
    "qr_static",
    "qr_dynamic",
    "access_list",
    "ota_schedule",
    "ota_verify",
    "bind_reconcile",
    "version_decision",
    "dispatch",
    "parse_id",
    "error_action",
];

#[derive(serde::Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
}

#[derive(serde::Deserialize)]
struct Vector {
    id: String,
    kind: String,
    /// Kept as text, so that large numbers reach the code as they are.
    input: Box<RawValue>,
    expected: Value,
}

#[test]
fn every_vector_holds() {
    let file: Vectors = serde_json::from_str(include_str!("vectors/deli.json")).unwrap();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for vector in &file.vectors {
        *seen.entry(&vector.kind).or_default() += 1;
        check(vector);
    }
    for kind in KINDS {
        assert!(seen.remove(kind).is_some_and(|count| count > 0), "no vector of kind {kind}");
    }
    assert!(seen.is_empty(), "unknown kinds {seen:?}");
}

fn check(vector: &Vector) {
    let input: Value = serde_json::from_str(vector.input.get()).unwrap();
    let got = match vector.kind.as_str() {
        "mqtt_credentials" => credentials(&input),
        "qr_static" => json!({ "url": qr::printed(text(&input, "product"), text(&input, "connType")) }),
        "qr_dynamic" => {
            let parameters: Vec<(String, String)> = serde_json::from_value(input["params"].clone()).unwrap();
            let parameters: Vec<(&str, &str)> = parameters.iter().map(|(name, value)| (&**name, &**value)).collect();
            json!({ "url": qr::activation(&parameters) })
        }
        "access_list" => access_list(&input),
        "ota_schedule" => json!({ "startEpoch": ota::normal_start(
            number(&input, "nowEpoch"),
            i32::try_from(number(&input, "tzOffsetS")).unwrap(),
            u32::try_from(number(&input, "windowStartS")).unwrap(),
            u32::try_from(number(&input, "randomS")).unwrap(),
        ) }),
        "ota_verify" => json!({ "ok": verified(&input) }),
        "bind_reconcile" => {
            let reconciled = reconcile(input["cached"].as_str(), text(&input, "reported"));
            json!({ "wipe": reconciled.wipe, "newCached": reconciled.organisation })
        }
        "version_decision" => {
            json!({ "query": ota::wants_query(text(&input, "local"), input["remote"].as_str(), false) })
        }
        "dispatch" => return dispatch(vector, &input),
        "parse_id" => {
            let value: BTreeMap<String, Option<&RawValue>> = serde_json::from_str(vector.input.get()).unwrap();
            json!({ "id": identifier(value["value"]) })
        }
        "error_action" => json!({ "action": Reaction::to(number(&input, "code")).name() }),
        kind => panic!("{}: unknown kind {kind}", vector.id),
    };
    assert_eq!(got, vector.expected, "{}", vector.id);
}

fn credentials(input: &Value) -> Value {
    let identity = Identity::new("KQ", text(input, "productModel"), text(input, "sn"));
    let secret = Secret::new(text(input, "productSecret").to_owned());
    let password = |hex_case| derived_password(&identity, &secret, hex_case).expose().clone();
    json!({
        "clientId": identity.device_id,
        "username": identity.model,
        "digestInput": format!("{}-{}-{}", identity.device_id, identity.model, secret.expose()),
        "passwordLower": password(HexCase::Lower),
        "passwordUpper": password(HexCase::Upper),
    })
}

fn access_list(input: &Value) -> Value {
    let status = u16::try_from(number(input, "httpStatus")).unwrap();
    let found = parse_access_list(status, text(input, "body").as_bytes());
    let used_default = found.is_err();
    let endpoints = found.unwrap_or_else(|_| vec![production_endpoint()]);
    let endpoints: Vec<Value> = endpoints
        .iter()
        .map(|endpoint| json!({ "host": endpoint.host, "port": endpoint.port, "tls": endpoint.tls }))
        .collect();
    json!({ "endpoints": endpoints, "usedDefault": used_default })
}

/// The MD5 that the host is told is that of the content.
fn verified(input: &Value) -> bool {
    let Ok(settings) = Settings::parse(&settings("M", "1").to_string(), "") else { return false };
    let data = json!({"version": "1", "file_path": "http://h/x", "checksum": input["checksum"]}).to_string();
    let firmware = ota::Firmware::parse(&RawValue::from_string(data).unwrap(), &settings.ota);
    firmware.is_ok_and(|firmware| firmware.md5[..] == Md5::digest(content(&input["content"]))[..])
}

fn settings(model: &str, serial: &str) -> Value {
    json!({
        "product_type": "KQ", "product_model": model, "serial": serial, "product_secret": "s",
        "broker_url": "tcp://broker", "enable_test_commands": true,
    })
}

/// What is seen in a message, and what a session that is online answers to it.
fn dispatch(vector: &Vector, input: &Value) {
    let (model, serial) = text(input, "deviceId").split_once('_').unwrap();
    let settings = settings(model, serial);
    let outstanding: BTreeMap<&str, i64> = input["outstanding"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|request| (text(request, "mid"), number(request, "action")))
        .collect();
    let identity = Identity::new("KQ", model, serial);
    let payload = text(input, "text");
    let seen = Envelope::decode(payload.as_bytes()).map_or_else(
        |_| "drop".to_owned(),
        |envelope| {
            let settings = Settings::parse(&settings.to_string(), "").unwrap();
            name(classify(&envelope, &identity, &settings, |mid| outstanding.get(mid).copied()))
        },
    );
    assert_eq!(seen, text(&vector.expected, "handledAs"), "{}", vector.id);

    let mut host = VirtualHost::new::<DeliSession>(Setup::new(settings, Setup::default().product));
    host.start();
    let (connection, _) = host.expect_mqtt_connect();
    host.mqtt_connected(connection);
    host.take_outputs();
    host.mqtt_message(connection, "some/private/topic", payload);
    if seen == "log_upload" {
        let (upload, _) = host.expect_logs();
        host.logs_sent(upload, Ok(1));
    }
    let expected = &vector.expected["reply"];
    let asked: Value = serde_json::from_str(payload).unwrap_or_default();
    if expected.is_null() {
        // Notices may be followed by queries of the device's own, which have a `mid` of their own.
        let replies = host.take_outputs().into_iter().filter(|output| match output {
            Output::Mqtt(mqtt::Request::Publish { message, .. }) => {
                serde_json::from_slice::<Value>(&message.payload).unwrap()["mid"] == asked["mid"]
            }
            _ => false,
        });
        assert_eq!(replies.count(), 0, "{}", vector.id);
        return;
    }
    let mut reply = host.expect_publish_on("device").json();
    reply.as_object_mut().unwrap().remove("time").expect("every message has a time");
    assert_eq!(&reply, expected, "{}", vector.id);
    assert!(host.take_outputs().is_empty(), "{}", vector.id);
}

fn name(handling: Handling) -> String {
    match handling {
        Handling::Control => "control",
        Handling::LogUpload => "log_upload",
        Handling::UpgradeNotice => "upgrade_notice",
        Handling::BindNotice => "bind_notice",
        Handling::ApplicationNotice => "app_bind_notice",
        Handling::LoginNotice => "user_auth_notice",
        Handling::ApplicationMessage => "app_message",
        Handling::MessageRefused => "app_error",
        Handling::Response(action) => return format!("response_to_{action}"),
        Handling::UnmatchedResponse => "unmatched_response",
        Handling::Unsupported => "unsupported",
        Handling::Drop => "drop",
    }
    .to_owned()
}

fn content(spec: &Value) -> Vec<u8> {
    let count = || usize::try_from(number(spec, "count")).unwrap();
    match text(spec, "type") {
        "utf8" => text(spec, "value").as_bytes().to_vec(),
        "lcg" => {
            let mut state = spec["seed"].as_u64().unwrap();
            std::iter::repeat_with(|| {
                state = (1_103_515_245 * state + 12_345) % (1 << 31);
                u8::try_from(state >> 16 & 0xFF).unwrap()
            })
            .take(count())
            .collect()
        }
        kind => panic!("unknown content {kind}"),
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} is a text"))
}

fn number(value: &Value, key: &str) -> i64 {
    value[key].as_i64().unwrap_or_else(|| panic!("{key} is a number"))
}
