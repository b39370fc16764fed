//! Runs every vector of `vectors/clife.json`. Each names where it comes from; this file only says how a kind is judged.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use md5::{Digest as _, Md5};
use polylink_clife::cipher::{CipherError, Key, OpenError, ZERO_IV, decrypt, encrypt, open};
use polylink_clife::files::{
    BadRequest, CheckSumBits, Event, Happening, Installed, Operation, Request, UpgradeOf, Verdict, WindowError, bump,
    compare, digests, judge,
};
use polylink_clife::frame::{Sender, merged, raw, sender};
use polylink_clife::registration::{AuthLevel, PATH, url};
use polylink_clife::topics::{DOWNWARD, Topics, UPWARD};
use polylink_plugin_sdk::services::ota::Digest;
use polylink_plugin_sdk::{Timestamp, hex};
use serde_json::{Value, json};

/// All kinds there are, and how many vectors each has.
const KINDS: [(&str, usize); 12] = [
    ("data_encrypt", 8),
    ("data_decrypt", 6),
    ("topics", 1),
    ("register_url", 4),
    ("file_digest", 8),
    ("file_verify", 5),
    ("version_compare", 6),
    ("version_bump", 4),
    ("window", 8),
    ("upgrade_events", 9),
    ("cmd_sender", 13),
    ("params_shape", 2),
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
    let file: Vectors = serde_json::from_str(include_str!("vectors/clife.json")).unwrap();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for vector in &file.vectors {
        *seen.entry(&vector.kind).or_default() += 1;
        check(vector);
    }
    assert_eq!(seen, BTreeMap::from(KINDS));
}

fn check(vector: &Vector) {
    let input = &vector.input;
    let got = match vector.kind.as_str() {
        "data_encrypt" => json!({ "data": encrypt(&key(input), &ZERO_IV, text(input, "plaintext").as_bytes()) }),
        "data_decrypt" => decrypted(input),
        "topics" => {
            let topics = Topics::new(UPWARD, DOWNWARD, Some(text(input, "productCode")), text(input, "devId")).unwrap();
            json!({ "upward": topics.upward, "downward": topics.downward })
        }
        "register_url" => {
            let level = AuthLevel::try_from(u8::try_from(input["authLevel"].as_u64().unwrap()).unwrap()).unwrap();
            let (product_code, dev_id) = (input["productCode"].as_str(), input["devId"].as_str());
            json!({ "url": url(text(input, "scheme"), text(input, "host"), PATH, level, product_code, dev_id) })
        }
        "file_digest" => {
            let content = content(&input["content"]);
            let (md5, sum) = sums(&content);
            json!({ "size": content.len(), "md5": hex::lower(&md5), "checkSum": sum })
        }
        "file_verify" => verified(input),
        "version_compare" => {
            let result = compare(text(input, "a"), text(input, "b")).map(|ordering| match ordering {
                Ordering::Less => -1,
                Ordering::Equal => 0,
                Ordering::Greater => 1,
            });
            json!({ "result": result })
        }
        "version_bump" => {
            let component = usize::try_from(input["component"].as_u64().unwrap()).unwrap();
            json!({ "version": bump(text(input, "version"), component) })
        }
        "window" => due(input),
        "upgrade_events" => {
            let events = told(text(input, "scenario"));
            json!({ "events": events.iter().map(|event| json!([event.resp_code, event.resp_cont])).collect::<Vec<_>>() })
        }
        "cmd_sender" => match sender(input["cmd"].as_i64().unwrap()) {
            Some(Sender::Device) => json!({ "sender": "device" }),
            Some(Sender::Platform) => json!({ "sender": "platform" }),
            None => json!({ "sender": null }),
        },
        "params_shape" => json!({ "map": merged(&raw(&input["params"])) }),
        kind => panic!("{}: unknown kind {kind}", vector.id),
    };
    assert_eq!(got, vector.expected, "{}", vector.id);
}

/// MD5 and sum of a file, as the host compares them.
fn sums(content: &[u8]) -> ([u8; 16], u32) {
    (Md5::digest(content).into(), content.iter().fold(0, |sum, &byte| sum.wrapping_add(u32::from(byte))))
}

/// What comes of a firmware with this content that was announced so: a request that lacks a digest is refused, and the host
/// compares with the others.
fn verified(input: &Value) -> Value {
    let mut request = request("http://h/f");
    let file = &mut request["fileInfo"][0];
    (file["md5"], file["checkSum"]) = (input["md5"].clone(), input["checkSum"].clone());
    let request = match Request::parse(&raw(&request)) {
        Ok(request) => request,
        Err(BadRequest::Missing(name)) => return json!({ "ok": false, "reason": format!("{name}_missing") }),
        Err(error) => panic!("{error}"),
    };
    let (md5, sum) = sums(&content(&input["content"]));
    let wrong = digests(&request.file_info[0], CheckSumBits::Bits32).into_iter().find_map(|digest| match digest {
        Digest::Md5(announced) => (announced != md5).then_some("md5"),
        Digest::ByteSum(announced) => (announced != sum).then_some("checkSum"),
        other => panic!("{other:?}"),
    });
    wrong.map_or_else(|| json!({ "ok": true }), |reason| json!({ "ok": false, "reason": reason }))
}

fn decrypted(input: &Value) -> Value {
    let data = text(input, "data");
    let opened = open(&key(input), &ZERO_IV, &raw(data), true);
    let plain = decrypt(&key(input), &ZERO_IV, data);
    match opened {
        Ok(body) => {
            assert_eq!(plain.as_deref(), Ok(body.get().as_bytes()));
            json!({ "plaintext": body.get() })
        }
        Err(OpenError::Json) => json!({ "error": "json" }),
        Err(OpenError::Cipher(error)) => {
            assert_eq!(plain, Err(error));
            match error {
                CipherError::Base64 => json!({ "error": "base64" }),
                CipherError::Length => json!({ "error": "length" }),
                CipherError::Padding => json!({ "error": "padding" }),
            }
        }
        Err(error) => panic!("{error}"),
    }
}

fn due(input: &Value) -> Value {
    let received = input["receivedAt"].as_i64().unwrap();
    let mut request = request("http://h/f");
    (request["fileMode"], request["startTime"], request["stopTime"]) =
        (input["fileMode"].clone(), input["startTime"].clone(), input["stopTime"].clone());
    match Request::parse(&raw(&request)).unwrap().window() {
        Ok(window) => json!({ "beginAt": window.begin_at(received), "deadlineAt": window.deadline_at(received) }),
        Err(WindowError::Order) => json!({ "error": "window" }),
        Err(WindowError::Expired) => json!({ "error": "expired" }),
    }
}

/// What the platform is told in a situation.
fn told(scenario: &str) -> Vec<Event> {
    use Happening::{
        FirstByte, InstallBegins, InstallFailed, Installed as Done, TransferFailed, Transferred, Verified,
    };
    let happenings = match scenario {
        "upgrade_ok" => vec![FirstByte, Transferred, Verified(true), InstallBegins, Done],
        "download_interrupted" => vec![FirstByte, TransferFailed],
        "verify_failed" => vec![FirstByte, Transferred, Verified(false)],
        "install_failed" => vec![FirstByte, Transferred, Verified(true), InstallBegins, InstallFailed],
        "bad_url" => {
            let error = Request::parse(&raw(&request("ftp://h/f"))).unwrap_err();
            assert_eq!(error, BadRequest::Url);
            return vec![error.event()];
        }
        "busy" => return vec![Event::busy()],
        "request_upgrade_firm" => return vec![Event::ask(UpgradeOf::Firm)],
        "request_upgrade_sub" => return vec![Event::ask(UpgradeOf::SubFirm)],
        "query" => {
            let query = Request::parse(&raw(&json!({ "fileMode": "QUERY" }))).unwrap();
            assert_eq!(judge(&query, &Installed::default(), &Default::default()), Verdict::TellVersions);
            return vec![Event::versions(&Installed::default())];
        }
        scenario => panic!("unknown scenario {scenario}"),
    };
    let mut operation = Operation::new(Request::parse(&raw(&request("http://h/f"))).unwrap().kind().unwrap());
    let events = happenings.into_iter().flat_map(|happening| operation.tell(Timestamp(0), happening)).collect();
    assert!(operation.is_over(), "{scenario}");
    events
}

fn request(url: &str) -> Value {
    json!({ "fileMode": "DOWN", "productVer": 2, "fileInfo": [{
        "fileType": "FIRM", "software": "1.0.2.0", "hardware": "1.0", "url": url,
        "md5": "ed6a354d63e6c2c3e78f05b70b7dc0b7", "checkSum": 1_047_074,
    }] })
}

fn key(input: &Value) -> Key {
    Key::from_hex(text(input, "key")).unwrap()
}

/// A file, by the generators that the vectors describe.
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
