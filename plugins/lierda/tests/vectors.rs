//! Runs every vector of `vectors/lierda.json`. Each names where it comes from; this file only says how a kind is judged.

use std::collections::BTreeMap;

use md5::{Digest as _, Md5};
use polylink_lierda::auth::{
    ConnectType, Identity, SessionMaterial, auth_credentials, connect_content, connect_credentials,
};
use polylink_lierda::cipher::{
    CipherError, Key, SessionContent, decrypt_hex, encrypt, encrypt_hex, session_content, session_key,
};
use polylink_lierda::frame::{AUTH_DONE, DONE, Frame, ack, code_ok, encode, ota_ack, raw};
use polylink_lierda::ota::{DownIdIn, Order, OrderError, OtaSettings, down_id, down_url, wanted};
use polylink_lierda::topics::{AUTH, PassthroughAckTopic, Topic, Topics};
use polylink_plugin_sdk::hex;
use polylink_plugin_sdk::secret::Secret;
use polylink_plugin_sdk::services::ota::{Digest, Target};
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// All kinds there are; at least one vector of each must be there.
const KINDS: [&str; 12] = [
    "auth_params",
    "connect_params",
    "payload_encrypt",
    "payload_decrypt",
    "session_key",
    "ota_decision",
    "ota_verify",
    "ack_topic",
    "ack_frame",
    "code_ok",
    "id_valid",
    "down_url",
];

#[derive(serde::Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
}

#[derive(serde::Deserialize)]
struct Vector {
    id: String,
    kind: String,
    input: Value,
    expected: Value,
}

#[test]
fn every_vector_holds() {
    let file: Vectors = serde_json::from_str(include_str!("vectors/lierda.json")).unwrap();
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
    let input = &vector.input;
    let mut expected = vector.expected.clone();
    let got = match vector.kind.as_str() {
        "auth_params" => {
            let identity = identity(input);
            let credentials = auth_credentials(&identity, &secret(input, "productKey"));
            json!({
                "clientId": credentials.client_id,
                "username": credentials.username,
                "password": credentials.password.expose(),
                "publishTopic": AUTH,
                "subscribeTopic": Topics::new(&identity).downlink(),
            })
        }
        "connect_params" => connect_params(input),
        "payload_encrypt" => {
            let ciphertext = encrypt_hex(&key(input, "sessionKey"), text(input, "plaintext").as_bytes());
            // All that the protocol prints of it.
            if let Some(prefix) = expected.as_object_mut().unwrap().remove("seedPrefix") {
                assert!(ciphertext.starts_with(prefix.as_str().unwrap()), "{}", vector.id);
            }
            json!({ "ciphertext": ciphertext })
        }
        "payload_decrypt" => match decrypt_hex(&key(input, "sessionKey"), text(input, "ciphertext")) {
            Ok(plain) => json!({ "plaintext": String::from_utf8(plain).unwrap() }),
            Err(CipherError::Hex) => json!({ "error": "hex" }),
            Err(CipherError::Length) => json!({ "error": "length" }),
            Err(CipherError::Padding) => json!({ "error": "padding" }),
        },
        "session_key" => derived_key(input),
        "ota_decision" => json!({ "download": wanted(text(input, "localVersion"), &order(text(input, "softVer"))) }),
        "ota_verify" => json!(verdict(input)),
        "ack_topic" => json!({ "answer": answer_to(text(input, "arrival")).1 }),
        "ack_frame" => ack_frame(input),
        "code_ok" => {
            let success = if input["headerCtrl"] == 1 { AUTH_DONE } else { DONE };
            json!({ "success": code_ok(&raw(&json!({ "Code": input["code"] })), success) })
        }
        "id_valid" => {
            let valid = match text(input, "field") {
                "openId" => Identity::open_id_ok,
                "productId" => Identity::product_id_ok,
                "nodeEui" => Identity::node_eui_ok,
                "productKey" | "deviceSecret" => Identity::key_ok,
                field => panic!("{}: unknown field {field}", vector.id),
            };
            json!({ "valid": valid(text(input, "value")) })
        }
        "down_url" => json!({ "url": down_url(text(input, "url"), text(input, "downId"), DownIdIn::Query) }),
        kind => panic!("{}: unknown kind {kind}", vector.id),
    };
    assert_eq!(got, expected, "{}", vector.id);
}

fn connect_params(input: &Value) -> Value {
    let identity = identity(input);
    let (product_key, device_secret) = (secret(input, "productKey"), key(input, "deviceSecret"));
    let connect_type = ConnectType::try_from(u8::try_from(input["type"].as_u64().unwrap()).unwrap()).unwrap();
    let unix_s = input["timestamp"].as_i64().unwrap();
    let credentials = connect_credentials(&identity, &product_key, &device_secret, connect_type, unix_s);
    json!({
        "clientId": credentials.client_id,
        "username": credentials.username,
        "content": connect_content(&identity, &product_key, connect_type, unix_s).expose(),
        "password": credentials.password.expose(),
    })
}

fn derived_key(input: &Value) -> Value {
    let key = key(input, "productKey");
    let material =
        SessionMaterial { session_id: text(input, "sessionId").into(), nonce: input["nonce"].as_u64().unwrap() };
    let mode: SessionContent = serde_json::from_value(input["contentMode"].clone()).unwrap();
    let content = session_content(&material, mode).unwrap();
    let derived = session_key(&key, &material, mode).unwrap();
    assert_eq!(derived.nonce_counts, content.len() <= 16);
    json!({
        "contentHex": hex::upper(&content),
        "ciphertext": hex::upper(&encrypt(&key, &content)),
        "sessionKey": derived.key.to_hex().expose(),
    })
}

/// What a topic below the device's own is, and the one that is answered on.
fn answer_to(arrival: &str) -> (Topic, Option<String>) {
    let topics = topics();
    let topic = topics.classify(&format!("{BASE}{arrival}")).unwrap();
    let answer = topics.ack_topic(&topic, PassthroughAckTopic::Auto);
    (topic, answer.map(|answer| answer.strip_prefix(BASE).unwrap().to_owned()))
}

fn ack_frame(input: &Value) -> Value {
    let frame = Frame::decode(&serde_json::to_vec(&input["frame"]).unwrap()).unwrap();
    let (topic, answer) = answer_to(text(input, "arrival"));
    let data: Option<Box<RawValue>> = (!input["data"].is_null()).then(|| raw(&input["data"]));
    let payload = match topic {
        Topic::OtaNotify => ota_ack(&down_id(frame.payload.as_deref().unwrap()).unwrap()),
        _ => ack(text(input, "result") == "ok", data.as_deref()),
    };
    let sent = encode(&frame.answer_id(), frame.header_ctrl, &payload);
    json!({ "topic": answer, "frame": serde_json::from_slice::<Value>(&sent).unwrap() })
}

/// What becomes of an order for this content, with a host that checks what it is promised.
fn verdict(input: &Value) -> Value {
    let failed = |reason: &str| json!({ "ok": false, "reason": reason });
    let mut payload = json!({ "Type": 2, "Url": "http://h/f", "SoftVer": "v", "DownID": "1" });
    for member in ["SoftSize", "MD5"] {
        payload[member] = input[member].clone();
    }
    let settings = OtaSettings { allowed_hosts: Vec::new(), max_bytes: u64::MAX, require_md5: true };
    let order = match Order::parse(&raw(&payload), &settings) {
        Ok(order) => order,
        Err(OrderError::Md5) => return failed("md5_format"),
        Err(error) => panic!("{error}"),
    };
    let offer = order.offer(Target::Mcu, DownIdIn::Query).unwrap();
    let content = content(&input["content"]);
    if u64::try_from(content.len()) != Ok(offer.size) {
        return failed("size");
    }
    let md5: [u8; 16] = Md5::digest(&content).into();
    if offer.digests == [Digest::Md5(md5)] { json!({ "ok": true }) } else { failed("md5") }
}

fn order(version: &str) -> Order {
    let payload = json!({ "Type": 2, "Url": "http://h/f", "SoftVer": version, "SoftSize": 1, "DownID": "1" });
    let settings = OtaSettings { allowed_hosts: Vec::new(), max_bytes: 1, require_md5: false };
    Order::parse(&raw(&payload), &settings).unwrap()
}

fn identity(input: &Value) -> Identity {
    Identity {
        open_id: text(input, "openId").into(),
        product_id: text(input, "productId").into(),
        node_eui: text(input, "nodeEui").into(),
    }
}

/// Where [`BASE`] belongs to.
fn topics() -> Topics {
    Topics::new(&Identity { open_id: "o".into(), product_id: "p".into(), node_eui: "d".into() })
}

fn secret(input: &Value, name: &str) -> Secret<String> {
    Secret::new(text(input, name).into())
}

fn key(input: &Value, name: &str) -> Key {
    Key::from_hex(text(input, name)).unwrap()
}

/// A firmware image, by the generators that the file describes.
fn content(described: &Value) -> Vec<u8> {
    let number = |name: &str| described[name].as_u64().unwrap();
    let count = || usize::try_from(number("count")).unwrap();
    match text(described, "type") {
        "hex" => hex::decode(text(described, "value")).unwrap(),
        "utf8" => text(described, "value").as_bytes().to_vec(),
        "repeat" => vec![u8::try_from(number("byte")).unwrap(); count()],
        "ramp" => (0..=255).cycle().take(count()).collect(),
        "lcg" => {
            let mut state = number("seed");
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

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no text {name} in {value}"))
}

const BASE: &str = "/sys/o/p/d/";
