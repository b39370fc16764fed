//! The registration: what is taken, what is refused, what goes wrong on request.

use super::device::{frame, http, post, register, request};
use super::*;
use crate::clouds::clife::behaviour::Registering;
use crate::clouds::clife::cipher::Key;
use product::DevKey;

/// Head and whole answer to a registration with this query and body.
async fn ask(clife: &Clife, query: &str, body: &Json) -> (String, Json) {
    let key = clife.platform.product.dev_key();
    let frame = frame(Some(&key), false, 2000, 7, body).to_string();
    let (head, answer) = post(clife, &format!("/device/register?{query}"), "application/json", &frame).await;
    let mut answer: Json = serde_json::from_str(&answer).unwrap_or(Json::Null);
    if let Some(text) = answer["data"].as_str() {
        let plain = key.open(text).ok().and_then(|plain| serde_json::from_slice(&plain).ok());
        answer["data"] = plain.unwrap_or(Json::Null);
    }
    (head, answer)
}

#[test]
fn every_level_and_key_registers_and_is_given_what_mqtt_needs() {
    for (auth_level, dev_key, secret_len, timestamp_as_text) in [
        (2, DevKey::Hex(16), 16, false),
        (1, DevKey::Hex(24), 24, true),
        (0, DevKey::Hex(32), 32, false),
        (2, DevKey::Text(16), 16, false),
    ] {
        let product = Product { auth_level, dev_key, secret_len, timestamp_as_text, iv: [9; 16], ..Product::default() };
        run(product, async |clife| {
            let given = register(clife).await;
            assert_eq!(given["deviceSecret"].as_str().unwrap().len(), 2 * secret_len);
            assert_eq!(given["mqttUrl"], format!("tcp://{}", clife.broker().addr()));
            for (name, value) in [
                ("respCode", json!(0)),
                ("devId", json!("7001005")),
                ("mqttClientId", json!("client-7001005")),
                ("mqttUser", json!("user-7001005")),
                ("mqttPassword", json!("password-1")),
                ("mqttKeepalive", json!(45)),
            ] {
                assert_eq!(given[name], value, "{name}");
            }
            let again = register(clife).await;
            assert_eq!(again["mqttPassword"], "password-2");
            assert_ne!(again["deviceSecret"], given["deviceSecret"]);
            assert_eq!(clife.seen().registrations.len(), 2);
            no_breach(clife);
        });
    }
}

#[test]
fn a_request_that_breaks_a_rule_is_a_breach() {
    let (query, body) = request(2);
    for (line, kind, from, to, fault) in [
        (format!("PUT /device/register?{query}"), "application/json", "", "", "POST expected"),
        (format!("POST /device/register?{query}"), "text/plain", "", "", "Content-Type"),
        ("POST /device/register".to_owned(), "application/json", "", "", "query"),
        (format!("POST /device/register?{query}"), "application/json", "2000", "2004", "cmd 2004"),
        (format!("POST /device/register?{query}"), "application/json", "\"03\"", "\"30\"", "dir must be"),
        (format!("POST /device/register?{query}"), "application/json", "\"data\":\"", "\"data\":\"!", "base64"),
        (format!("POST /device/register?{query}"), "application/json", "\"msgId\":7", "\"msgId\":0", "no request had"),
        ("POST /device".to_owned(), "application/json", "", "", "no such path"),
    ] {
        run(Product::default(), async |clife| {
            let key = clife.platform.product.dev_key();
            let frame = frame(Some(&key), false, 2000, 7, &body).to_string().replace(from, to);
            let headers = format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", frame.len());
            let (head, _) = http(clife, &line, &headers, &frame).await;
            assert!(head.starts_with("HTTP/1.1 40"), "{head}");
            breach(clife, fault).await;
        });
    }
}

#[test]
fn a_body_that_breaks_a_rule_is_a_breach_and_answered_as_bad_parameters() {
    let (query, right) = request(2);
    for (name, value, fault) in [
        ("devMac", Json::Null, "devMac must be a text"),
        ("devMac", json!("02:00:5E:C1:1F:E0"), "12 hexadecimal digits"),
        ("productCode", json!("OTHER"), "in the query"),
        ("productVer", json!("1"), "productVer must be"),
        ("software", json!(1), "software must be a text"),
        ("devId", json!("7001005"), "unknown member"),
    ] {
        run(Product::default(), async |clife| {
            let mut body = right.clone();
            body[name] = value.clone();
            let (_, answer) = ask(clife, &query, &body).await;
            assert_eq!(answer["data"]["respCode"], 1, "{name}");
            breach(clife, fault).await;
            assert_eq!(clife.seen().registrations[0].code, Some(1));
        });
    }
}

#[test]
fn what_the_tables_do_not_know_is_refused_and_no_breach() {
    for (level, change, query) in [
        (2, ("devMac", "02005E000000"), None),
        (2, ("productCode", "OTHER"), Some("authLevel=2&productCode=OTHER")),
        (2, ("productCode", "C11FE001"), Some("authLevel=1&productCode=C11FE001")),
        (0, ("devId", "1"), Some("authLevel=0&devId=1")),
    ] {
        run(Product { auth_level: level, ..Product::default() }, async |clife| {
            let (right, mut body) = request(level);
            body[change.0] = json!(change.1);
            let (_, answer) = ask(clife, query.unwrap_or(&right), &body).await;
            assert_eq!(answer["data"]["respCode"], 2, "{change:?}");
            no_breach(clife);
        });
    }
}

#[test]
fn a_request_under_another_key_is_answered_in_clear() {
    run(Product::default(), async |clife| {
        let (query, body) = request(2);
        let other = Key::new(&[1; 16], [0; 16]).unwrap();
        let frame = frame(Some(&other), false, 2000, 7, &body).to_string();
        let (_, answer) = post(clife, &format!("/device/register?{query}"), "application/json", &frame).await;
        let answer: Json = serde_json::from_str(&answer).unwrap();
        assert_eq!((&answer["msgId"], &answer["data"]["respCode"]), (&json!(7), &json!(3)));
        no_breach(clife);
    });
}

#[test]
fn a_registration_goes_wrong_as_a_test_wants_it() {
    let (query, body) = request(2);
    run(Product::default(), async |clife| {
        let next = async |registering: Registering| {
            clife.change(|behaviour| behaviour.registrations.push_back(registering));
            ask(clife, &query, &body).await
        };
        assert_eq!(next(Registering::Code(5)).await.1["data"]["respCode"], 5);
        assert_eq!(next(Registering::PlainError(4)).await.1["data"]["respCode"], 4);
        assert!(next(Registering::Status(503)).await.0.starts_with("HTTP/1.1 503"));
        assert_eq!(next(Registering::WrongMsgId).await.1["msgId"], 8);
        assert_eq!(next(Registering::WrongCmd).await.1["cmd"], 2005);
        assert_eq!(next(Registering::WrongKey).await.1["data"], Json::Null);
        assert_eq!(next(Registering::Without("mqttUrl")).await.1["data"].get("mqttUrl"), None);
        assert_eq!(next(Registering::Body(b"{\"a\":1}".to_vec())).await.1, json!({"a": 1}));
        let codes: Vec<_> = clife.seen().registrations.iter().map(|registration| registration.code).collect();
        assert_eq!(codes, [Some(5), Some(4), None, None, None, None, Some(0), None]);
        clife.change(|behaviour| behaviour.registrations.push_back(Registering::Silence));
        tokio::select! {
            _ = ask(clife, &query, &body) => panic!("silence was broken"),
            () = clife.until(|seen| seen.registrations.len() == 9) => {}
        }
        no_breach(clife);
    });
}

#[test]
fn answers_differ_in_their_names_and_types_as_a_test_wants_it() {
    run(Product::default(), async |clife| {
        clife.change(|behaviour| {
            behaviour.dev_id_as_number = true;
            behaviour.dev_id_as_id = true;
            behaviour.mqtt_url = Some("mqtt://elsewhere:1".to_owned());
            behaviour.clock_ahead_ms = 1_000_000_000_000;
            behaviour.timestamp_as_text = true;
        });
        let (query, body) = request(2);
        let (_, answer) = ask(clife, &query, &body).await;
        assert_eq!(answer["data"]["id"], 7_001_005);
        assert_eq!(answer["data"].get("devId"), None);
        assert_eq!(answer["data"]["mqttUrl"], "mqtt://elsewhere:1");
        assert!(answer["timestamp"].as_str().unwrap().parse::<i64>().unwrap() > 2_700_000_000_000);
        clife.change(|behaviour| behaviour.blanks = true);
        assert!(ask(clife, &query, &body).await.1[" data "].is_string());
    });
}
