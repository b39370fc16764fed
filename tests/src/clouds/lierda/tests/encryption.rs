//! Encrypted products, and the change of their keys.

use serde_json::json;

use super::super::cipher::{self, Key};
use super::device::{Device, done, frame};
use super::*;
use product::Choices;

fn product(kind: Kind) -> Product {
    Product { encrypted: true, ..Product::new(kind) }
}

fn key((session_id, nonce): (String, u32)) -> Key {
    cipher::session_key(&cipher::key(PRODUCT_KEY).unwrap(), &session_id, nonce, false).unwrap()
}

fn seal(key: &Key, plain: &str) -> Json {
    json!(cipher::hex(&cipher::encrypt(key, plain.as_bytes())))
}

fn open(key: &Key, secret: &Json) -> String {
    let plain = cipher::unhex(secret.as_str().unwrap()).and_then(|secret| cipher::decrypt(key, &secret));
    String::from_utf8(plain.unwrap()).unwrap()
}

/// A device of an encrypted product, with the key of its session.
async fn online(lierda: &Lierda) -> (Device, Key) {
    let (secret, session) = Device::secret(lierda, 0).await;
    let (mut device, code) = Device::work(lierda, &secret, false, 1_700_000_000).await;
    assert_eq!(code, 0);
    device.subscribe_all().await;
    (device, key(session.unwrap()))
}

#[test]
fn application_payloads_are_encrypted_and_the_rest_is_clear() {
    run(product(Kind::Json), async |lierda| {
        lierda.change(|behaviour| behaviour.sessions.push_back(("4655434B".to_owned(), 128)));
        let (mut device, key) = online(lierda).await;
        device.report("model/property/report", 16, &seal(&key, r#"{"counter":7}"#)).await;
        assert_eq!(device.hear().await.1["Payload"], done());
        assert_eq!(arrivals(lierda), [7]);
        assert_eq!(lierda.seen().frames[0].payload, json!({"counter": 7}));
        device.report("update_time", 29, &json!("")).await;
        device.report("firmware_report", 8, &json!({"HardVer": "1", "SoftVer": "1", "Type": 2})).await;
        assert_eq!(device.hear().await.0, "update_time_ack");
        assert_eq!(device.hear().await.0, "firmware_report_ack");

        lierda.send_command("target", &json!(5)).unwrap();
        let (_, command) = device.hear().await;
        assert_eq!(open(&key, &command["Payload"]), r#"{"params":[{"identify":"target","value":5}]}"#);
        let ack = json!({"Code": "200", "Msg": "SUCCESS", "Data": {"target": 5}});
        device.answer("model/property/set_ack", &command, &ack).await;
        lierda.ledger().until(|entries| entries.commands_done() == 1).await;
        no_breach(lierda);
    });
}

#[test]
fn the_text_of_a_hex_product_is_encrypted_as_it_is() {
    run(product(Kind::Hex), async |lierda| {
        let (mut device, key) = online(lierda).await;
        device.report("model/hex/report", 18, &seal(&key, "7B22636F756E746572223A377D")).await;
        assert_eq!(device.hear().await.1["Payload"], done());
        assert_eq!(arrivals(lierda), [7]);
        lierda.hex(HexCommand::Query, "0a").unwrap();
        assert_eq!(open(&key, &device.hear().await.1["Payload"]), "0a");
        no_breach(lierda);
    });
}

#[test]
fn a_payload_that_is_not_encrypted_as_it_should_be_is_a_breach() {
    let report = "model/property/report";
    for (kind, topic, code, payload, fault) in [
        (Kind::Json, report, 16, json!({"counter": 7}), "clear payload"),
        (Kind::Json, "model/event/hot/report", 17, json!({}), "clear payload"),
        (Kind::Json, report, 16, json!("CB96395F5065FD121D88B1593EFE"), "blocks"),
        (Kind::Json, report, 16, json!("ABC"), "even length"),
        (Kind::Json, report, 16, seal(&[1; 16], r#"{"counter":7}"#), "not encrypted with the session key"),
        (Kind::Passthrough, "uplink", 4, json!({"counter": 7}), "clear payload"),
        (Kind::Hex, "model/hex/report", 18, json!("7B22636F756E746572223A377D"), "blocks"),
        (Kind::Json, "update_time", 29, seal(&[1; 16], ""), "an empty text"),
    ] {
        run(product(kind), async |lierda| {
            let (mut device, _) = online(lierda).await;
            device.report(topic, code, &payload).await;
            breach(lierda, fault).await;
        });
    }
}

#[test]
fn a_device_of_an_encrypted_product_cannot_do_without_authentication() {
    run(Product { auth_type: 2, ..product(Kind::Json) }, async |lierda| {
        let secret = platform::device_secret(0);
        assert_eq!(Device::work(lierda, &secret, false, 1_700_000_000).await.1, 0);
        breach(lierda, "without the authentication").await;
    });
}

#[test]
fn the_old_key_is_dead_once_the_new_one_was_used() {
    run(product(Kind::Json), async |lierda| {
        let (mut device, old) = online(lierda).await;
        lierda.renew_session().unwrap();
        let (topic, renewal) = device.hear().await;
        assert_eq!((topic.as_str(), &renewal["HeaderCtrl"]), ("downlink", &json!(3)));
        let session = renewal["Payload"]["SessionID"].as_str().unwrap().to_owned();
        let new = key((session, renewal["Payload"]["Nonce"].as_u64().unwrap() as u32));
        assert_ne!(old, new);
        // A report may have crossed the renewal.
        for (counter, key) in [(1, &old), (2, &new)] {
            let payload = seal(key, &format!(r#"{{"counter":{counter}}}"#));
            device.report("model/property/report", 16, &payload).await;
            assert_eq!(device.hear().await.1["Payload"], done());
        }
        // Sent again, the same report has another text, but it is the same report.
        device.say("model/property/report", &frame(&json!(1), 16, &seal(&new, r#"{"counter":1}"#))).await;
        assert_eq!(device.hear().await.1["Payload"], done());
        assert_eq!(arrivals(lierda), [1, 2, 1]);
        no_breach(lierda);
        device.report("model/property/report", 16, &seal(&old, r#"{"counter":3}"#)).await;
        breach(lierda, "with the old session key after the new one").await;
        assert_eq!(arrivals(lierda), [1, 2, 1]);
    });
}

#[test]
fn commands_after_a_renewal_come_under_the_new_key_or_still_under_the_old_one() {
    for old_key_commands in [false, true] {
        run(product(Kind::Json), async |lierda| {
            lierda.change(|behaviour| {
                behaviour.old_key_commands = old_key_commands;
                behaviour.sessions.extend([("AAAAAAAA".to_owned(), 1), ("BBBBBBBB".to_owned(), 300)]);
            });
            let (mut device, old) = online(lierda).await;
            lierda.renew_session().unwrap();
            let new = key(("BBBBBBBB".to_owned(), 300));
            lierda.query(&[]).unwrap();
            let command = device.hear_on("model/property/ask").await;
            let now = if old_key_commands { &old } else { &new };
            assert_eq!(open(now, &command["Payload"]), r#"{"params":[]}"#);
            device.report("model/property/report", 16, &seal(&new, r#"{"counter":1}"#)).await;
            device.hear_on("model/property/report_ack").await;
            lierda.query(&[]).unwrap();
            assert_eq!(open(&new, &device.hear_on("model/property/ask").await["Payload"]), r#"{"params":[]}"#);
            no_breach(lierda);
        });
    }
}

#[test]
fn a_session_that_is_too_old_is_renewed_as_soon_as_the_device_is_there() {
    run(product(Kind::Json), async |lierda| {
        lierda.change(|behaviour| behaviour.session_expired = true);
        let (mut device, _) = online(lierda).await;
        let (_, renewal) = device.hear().await;
        assert_eq!(renewal["HeaderCtrl"], 3);
        no_breach(lierda);
    });
}

#[test]
fn commands_come_in_clear_or_under_a_wrong_key_if_a_test_wants_it() {
    run(product(Kind::Json), async |lierda| {
        let (mut device, key) = online(lierda).await;
        lierda.change(|behaviour| behaviour.clear_commands = true);
        lierda.query(&["a"]).unwrap();
        assert_eq!(device.hear().await.1["Payload"], json!({"params": ["a"]}));
        lierda.change(|behaviour| (behaviour.clear_commands, behaviour.wrong_key_commands) = (false, true));
        lierda.query(&["a"]).unwrap();
        let wrong = device.hear().await.1["Payload"].clone();
        assert_ne!(wrong, seal(&key, r#"{"params":["a"]}"#));
        assert_eq!(wrong.as_str().unwrap().len() % 32, 0);
    });
}

#[test]
fn what_the_document_leaves_open_is_as_the_product_has_it() {
    let choices = Choices {
        session_of_bytes: true,
        session_by_device_secret: true,
        everything_encrypted: true,
        hex_as_bytes: true,
    };
    run(Product { choices, ..product(Kind::Hex) }, async |lierda| {
        let section = lierda.product_section();
        for line in [
            "session_content = \"bytes\"",
            "session_key_source = \"device_secret\"",
            "encrypt_scope = \"all\"",
            "hex_encrypt_input = \"raw_bytes\"",
        ] {
            assert!(section.lines().any(|found| found == line), "{section}");
        }
        let (secret, session) = Device::secret(lierda, 0).await;
        let (session_id, nonce) = session.unwrap();
        let key = cipher::session_key(&cipher::key(&secret).unwrap(), &session_id, nonce, true).unwrap();
        let (mut device, _) = Device::work(lierda, &secret, false, 1_700_000_000).await;
        device.subscribe_all().await;

        device.report("model/hex/report", 18, &seal(&key, r#"{"counter":7}"#)).await;
        assert_eq!(device.hear().await.1["Payload"], done());
        assert_eq!(arrivals(lierda), [7]);
        device.report("firmware_report", 8, &seal(&key, r#"{"HardVer":"1","SoftVer":"1","Type":2}"#)).await;
        assert_eq!(device.hear().await.1["Payload"], done());
        device.report("update_time", 29, &json!("")).await;
        assert_eq!(device.hear().await.1["Payload"]["Code"], "200");

        let id = lierda.hex(HexCommand::Query, "3031").unwrap();
        let (_, command) = device.hear().await;
        assert_eq!(open(&key, &command["Payload"]), "01");
        let ack = seal(&key, &done().to_string());
        device.answer("model/hex/downlink_ack", &command, &ack).await;
        assert_eq!(outcome(lierda, &id).await, Ok(()));
        no_breach(lierda);
        device.report("config_report", 14, &json!({"Settings": {}})).await;
        breach(lierda, "clear payload").await;
    });
}
