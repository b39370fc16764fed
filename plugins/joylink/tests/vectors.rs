//! Runs the vectors of `vectors/joylink.json` that are about packets, ciphers and messages. Each names where it comes
//! from; this file only says how a kind is judged. Timers are judged in `timer_vectors.rs`, and conversion scripts run
//! in the cloud and in apps, so not here.

#[path = "packet_vectors.rs"]
mod packet_vectors;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use polylink_joylink::crypto::{CipherKey, Crc32, Key32, KeyPair, PublicKey, SharedSecret, crc16, crc32};
use polylink_joylink::packet::{
    Kind, Network, Packet, Reassembly, Refused, ReplayGuard, ReplayRule, Route, enctype, fragments,
};
use polylink_joylink::wire::{DiscoveryAnswer, DiscoveryRequest, Script};
use polylink_plugin_sdk::{Timestamp, hex};
use serde_json::Value;

/// The kinds that are judged here; at least one vector of each must be there.
const KINDS: [&str; 9] =
    ["crc16", "crc32", "aes", "ecdh", "ec_point", "packet", "packet_capture", "fragmentation", "negative"];

/// The kinds that are judged elsewhere.
const OTHERS: [&str; 4] = ["time_expression", "timer_struct", "period_schedule", "lua"];

#[derive(serde::Deserialize)]
struct Vectors {
    count: usize,
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
    let file: Vectors = serde_json::from_str(include_str!("vectors/joylink.json")).unwrap();
    assert_eq!(file.vectors.len(), file.count);
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for vector in &file.vectors {
        *seen.entry(&vector.kind).or_default() += 1;
        check(vector);
    }
    for kind in KINDS {
        assert!(seen.remove(kind).is_some_and(|count| count > 0), "no vector of kind {kind}");
    }
    seen.retain(|kind, _| !OTHERS.contains(kind));
    assert!(seen.is_empty(), "unknown kinds {seen:?}");
}

fn check(vector: &Vector) {
    let (id, input, expected) = (&*vector.id, &vector.input, &vector.expected);
    match &*vector.kind {
        "crc16" => {
            let crc = crc16(&[&bytes(&input["data_hex"])]);
            assert_eq!(format!("{crc:04x}"), expected["crc16"], "{id}");
            assert_eq!(hex::lower(&crc.to_le_bytes()), expected["crc16_wire_le_hex"], "{id}");
        }
        "crc32" => assert_eq!(image_crc(input), expected["crc32_decimal"].as_u64().unwrap() as u32, "{id}"),
        "aes" => aes(id, input, expected),
        "ecdh" => ecdh(id, input, expected),
        "ec_point" => {
            let key = PublicKey::from_text(text(&input["compressed_hex"]));
            assert_eq!(key.is_ok(), expected["valid"].as_bool().unwrap(), "{id}: {key:?}");
            if let Ok(key) = key {
                check_coordinates(id, &key, &expected["x_hex"], &expected["y_hex"]);
            }
        }
        "packet" => packet_vectors::check_packet(id, input, expected),
        "packet_capture" => packet_vectors::check_capture(id, input, expected),
        "fragmentation" => fragmentation(id, input, expected),
        "negative" => {
            let refused = match text(&expected["reason"]) {
                "crc16" => "crc",
                "enctype not allowed for type" => "enctype",
                "cipher length" => "cipher_length",
                "padding or plausibility" => "padding",
                "public key" => "public_key",
                "legacy format" => "legacy",
                "status filter" => "status",
                same => same,
            };
            assert_eq!(judge(input), Err(refused), "{id}");
        }
        kind => assert!(OTHERS.contains(&kind), "{id}: unknown kind {kind}"),
    }
}

fn image_crc(input: &Value) -> u32 {
    let Some(chunks) = input["chunks_hex"].as_array() else { return crc32(&bytes(&input["data_hex"])) };
    let mut crc = Crc32::new();
    chunks.iter().for_each(|chunk| crc.update(&bytes(chunk)));
    crc.value()
}

fn aes(id: &str, input: &Value, expected: &Value) {
    let key = match input["enctype"].as_u64().unwrap() {
        1 => CipherKey::fixed(),
        2 => SharedSecret::new(array(&input["shared_secret_hex"])).cipher_key(),
        _ => match input["key32_ascii"].as_str() {
            Some(text) => Key32::from_text(text).unwrap().cipher_key(),
            None => Key32::new(array(&input["key32_hex"])).cipher_key(),
        },
    };
    assert_eq!(key, CipherKey::new(array(&input["aes_key_hex"]), array(&input["iv_hex"])), "{id}");
    let (plain, encrypted) = (bytes(&input["plaintext_hex"]), bytes(&expected["ciphertext_hex"]));
    assert_eq!(key.encrypt(&plain), encrypted, "{id}");
    assert_eq!(key.decrypt(&encrypted), Ok(plain.clone()), "{id}");
    if let Some(quirk) = expected["sdk_quirk_ciphertext_hex"].as_str() {
        // What JD's own SDK makes of it, with a first block that nobody can read.
        let opened = key.decrypt(&hex::decode(quirk).unwrap()).unwrap();
        assert_eq!(opened[16..], plain[16..], "{id}");
        assert_ne!(opened[..16], plain[..16], "{id}");
    }
}

fn ecdh(id: &str, input: &Value, expected: &Value) {
    let a = KeyPair::new(array(&input["private_a_hex"])).unwrap();
    let b = KeyPair::new(array(&input["private_b_hex"])).unwrap();
    assert_eq!(a.public().to_text(), expected["public_a_compressed_hex"], "{id}");
    assert_eq!(b.public().to_text(), expected["public_b_compressed_hex"], "{id}");
    check_coordinates(id, a.public(), &expected["public_a_x_hex"], &expected["public_a_y_hex"]);
    for secret in [a.agree(b.public()), b.agree(a.public())] {
        assert_eq!(hex::lower(secret.expose()), expected["shared_secret_hex"], "{id}");
        let key = CipherKey::new(array(&expected["aes_key_hex"]), array(&expected["iv_hex"]));
        assert_eq!(secret.cipher_key(), key, "{id}");
    }
}

fn check_coordinates(id: &str, key: &PublicKey, expected_x: &Value, expected_y: &Value) {
    let (x, y) = key.coordinates();
    assert_eq!((hex::lower(&x), hex::lower(&y)), (text(expected_x).into(), text(expected_y).into()), "{id}");
}

fn fragmentation(id: &str, input: &Value, expected: &Value) {
    let listed = |list: &Value| -> Vec<Vec<u8>> { list.as_array().unwrap().iter().map(bytes).collect() };
    let (datagrams, payload) = if input["fragments_hex"].is_array() {
        (listed(&input["fragments_hex"]), bytes(&expected["payload_hex"]))
    } else {
        let payload = bytes(&input["payload_hex"]);
        let message = Packet { opt: bytes(&input["opt_hex"]), ..Packet::plain(Kind::Discovery, payload.clone()) };
        let cut = fragments(message, input["message_id"].as_u64().unwrap() as u8).unwrap();
        let sent: Vec<_> = cut.iter().map(|fragment| fragment.encode(Network::Lan).unwrap()).collect();
        assert_eq!(sent, listed(&expected["fragments_hex"]), "{id}");
        (sent, payload)
    };
    let mut reassembly = Reassembly::new();
    let mut joined = None;
    for datagram in &datagrams {
        assert_eq!(joined, None, "{id}: whole before the last fragment came");
        let fragment = Packet::decode_datagram(Route::DeviceToApp, datagram).unwrap();
        joined = reassembly.take(Timestamp(0), (), fragment).unwrap();
    }
    let joined = joined.unwrap();
    assert_eq!(joined.payload, payload, "{id}");
    if id == "frag-captured-01" {
        let answer = DiscoveryAnswer::decode(&joined.payload).unwrap();
        assert!(answer.subdev.unwrap().len() > 3, "{id}");
    }
}

/// What a device with these keys does with a datagram; the reason if it stays silent.
fn judge(input: &Value) -> Result<(), &'static str> {
    let name = |refused: Refused| refused.name();
    let datagram = bytes(&input["packet_hex"]);
    let packet = Packet::decode_datagram(Route::AppToDevice, &datagram).map_err(name)?;
    if packet.kind == Kind::Discovery {
        let request = DiscoveryRequest::decode(&packet.payload).map_err(|error| name(error.into()))?;
        let bound = input["device_bound"].as_bool().unwrap_or(false);
        return request.wants("XDFSSD", bound).map_err(|unwanted| unwanted.name());
    }
    let opened = if packet.enctype == enctype::EXCHANGED {
        packet.open_exchanged(&KeyPair::new([7; 20]).unwrap())
    } else {
        let key = input["device_localkey"].as_str().unwrap_or("8f14e45fceea167a5a36dedd4bea2543");
        packet.open(&Key32::from_text(key).unwrap().cipher_key())
    };
    let opened = opened.map_err(name)?;
    Script::decode(opened.body()).map_err(|error| name(error.into()))?;
    let mut guard = ReplayGuard::new(ReplayRule::Increasing, 0);
    let source: IpAddr = Ipv4Addr::LOCALHOST.into();
    if input["precondition"].is_string() {
        guard.accept(source, opened.timestamp, None).map_err(name)?;
    }
    guard.accept(source, opened.timestamp, None).map_err(name)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(text(value)).unwrap()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().unwrap()
}
