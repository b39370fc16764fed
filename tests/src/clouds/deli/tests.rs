use std::collections::VecDeque;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// MD5 of "DL3785W_1234567890-DL3785W-a-secret-of-the-simulator", computed by md5sum.
const PASSWORD: &str = "87675b7a2c0676c46e7f36e086018ef8";

/// A device written here in some lines: right credentials, bytes out, payloads in.
struct Device {
    stream: TcpStream,
    buffer: Vec<u8>,
    heard: VecDeque<(String, Json)>,
}

impl Device {
    async fn connect(deli: &Deli, password: &str) -> (Self, u8) {
        let mut stream = TcpStream::connect(deli.broker().addr()).await.unwrap();
        let mut connect = b"\0\x04MQTT\x04\xC2\0\x3c".to_vec();
        for text in [DEVICE, MODEL, password] {
            connect.extend_from_slice(&u16::try_from(text.len()).unwrap().to_be_bytes());
            connect.extend_from_slice(text.as_bytes());
        }
        stream.write_all(&[0x10, u8::try_from(connect.len()).unwrap()]).await.unwrap();
        stream.write_all(&connect).await.unwrap();
        let mut connack = [0; 4];
        stream.read_exact(&mut connack).await.unwrap();
        (Self { stream, buffer: Vec::new(), heard: VecDeque::new() }, connack[3])
    }

    async fn say(&mut self, message: &Json) {
        let payload = message.to_string().into_bytes();
        let publish = crate::broker::packet::Publish { topic: "device".to_owned(), payload, ..Default::default() };
        self.stream.write_all(&crate::broker::packet::message(&publish)).await.unwrap();
    }

    async fn subscribe(&mut self, topic: &str) {
        let mut body = vec![0, 1];
        body.extend_from_slice(&u16::try_from(topic.len()).unwrap().to_be_bytes());
        body.extend_from_slice(topic.as_bytes());
        body.push(1);
        self.stream.write_all(&[0x82, u8::try_from(body.len()).unwrap()]).await.unwrap();
        self.stream.write_all(&body).await.unwrap();
        let mut suback = [0; 5];
        self.stream.read_exact(&mut suback).await.unwrap();
        assert_eq!(suback, [0x90, 3, 0, 1, 1]);
    }

    /// The next message of the platform: its topic and content.
    async fn hear(&mut self) -> (String, Json) {
        use crate::broker::packet::{Packet, parse};
        loop {
            if let Some(message) = self.heard.pop_front() {
                return message;
            }
            self.stream.read_buf(&mut self.buffer).await.unwrap();
            while let Some((packet, n)) = parse(&self.buffer).unwrap() {
                self.buffer.drain(..n);
                if let Packet::Publish(publish) = packet {
                    self.heard.push_back((publish.topic, serde_json::from_slice(&publish.payload).unwrap()));
                }
            }
        }
    }
}

fn run<T>(test: impl AsyncFnOnce(Deli) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { test(Deli::start("counter").unwrap()).await })
}

fn message(mid: &str, action: i64, data: Option<Json>) -> Json {
    let mut message = json!({"mid": mid, "from": DEVICE, "to": "system", "time": 1502867086, "action": action});
    if let Some(data) = data {
        message["data"] = data;
    }
    message
}

#[test]
fn the_password_is_the_digest_of_id_model_and_secret_in_either_case() {
    let right = PASSWORD;
    for (password, code) in
        [(right.to_owned(), 0), (right.to_uppercase(), 0), (right.replace(|c: char| c.is_ascii_digit(), "0"), 4)]
    {
        run(async |deli| assert_eq!(Device::connect(&deli, &password).await.1, code));
    }
}

#[test]
fn answers_come_on_the_private_topic_without_a_subscription() {
    run(async |deli| {
        let (mut device, _) = Device::connect(&deli, PASSWORD).await;
        device.say(&message("1", 102, None)).await;
        let (topic, answer) = device.hear().await;
        assert_eq!((topic.as_str(), answer["mid"].as_str(), answer["action"].as_i64()), (DEVICE, Some("1"), Some(102)));
        assert_eq!(answer["data"]["group_id"], "9007199254740993");
    });
}

#[test]
fn reports_and_answers_to_commands_are_booked() {
    run(async |deli| {
        let (mut device, _) = Device::connect(&deli, PASSWORD).await;
        let mut report = message("2", 300, Some(json!({"cmd": "report", "payload": {"counter": 7}})));
        report["to"] = json!("");
        device.say(&report).await;
        deli.ledger().until(|entries| entries.arrivals.first().is_some_and(|arrival| arrival.counter == 7)).await;

        deli.send_command("target", &json!(21.5)).unwrap();
        let (_, command) = device.hear().await;
        assert_eq!((&command["action"], &command["data"]["payload"]["target"]), (&json!(301), &json!(21.5)));
        let mut answer =
            message(command["mid"].as_str().unwrap(), 300, Some(json!({"cmd": "set", "payload": {"code": 0}})));
        answer["to"] = command["from"].clone();
        device.say(&answer).await;
        deli.ledger().until(|entries| entries.commands_done() == 1).await;
        deli.ledger().with(|entries| assert_eq!(entries.violations, Vec::<String>::new()));
    });
}

#[test]
fn breaches_of_the_platforms_rules_are_written_down() {
    for (breach, fault) in [
        (message("1", 101, Some(json!({"name": "x"}))), "product_version"),
        (message("1", 102, Some(json!({"x": 1}))), "no data"),
        (message("1", 200, Some(json!({"code": 0}))), "nothing asked"),
        (message("1", 400, None), "no device sends"),
        (message("1", 300, Some(json!({"payload": {}}))), "without a cmd"),
    ] {
        run(async |deli| {
            let (mut device, _) = Device::connect(&deli, PASSWORD).await;
            device.say(&breach).await;
            deli.ledger().until(|entries| !entries.violations.is_empty()).await;
            deli.ledger().with(|entries| assert!(entries.violations[0].contains(fault), "{:?}", entries.violations));
        });
    }
}

#[test]
fn an_upgrade_is_ordered_on_the_topic_of_the_model_and_ends_with_the_new_version_or_the_alarm() {
    for (mid, action, data, outcome) in [
        ("2", 101, json!({"product_version": "1.1"}), Ok(())),
        ("2", 105, json!({"code": 200, "msg": "no space"}), Err("no space".to_owned())),
    ] {
        run(async |deli| {
            let (mut device, _) = Device::connect(&deli, PASSWORD).await;
            device.subscribe(&format!("{TYPE}/{MODEL}")).await;
            deli.release(Firmware::of("1.1", "force", "http://127.0.0.1/f", b"firmware"));
            let (topic, notice) = device.hear().await;
            assert_eq!((topic, &notice["data"]), (format!("{TYPE}/{MODEL}"), &json!({"version": "1.1"})));
            device.say(&message("1", 103, None)).await;
            let (_, order) = device.hear().await;
            let expected = json!({"code": 0, "msg": "", "version": "1.1", "upgrade_type": "force",
                "file_path": "http://127.0.0.1/f", "checksum": "74b5b5e9570efc5c0553bb327cd41940"});
            assert_eq!(order["data"], expected);
            device.say(&message(mid, action, Some(data.clone()))).await;
            device.hear().await;
            assert_eq!(deli.upgrades()[0].outcome, Some(outcome));
            // The same under its mid is a repetition, and under another one a breach.
            device.say(&message(mid, action, Some(data))).await;
            device.hear().await;
            deli.ledger().with(|entries| assert_eq!(entries.violations, Vec::<String>::new()));
            device.say(&message("3", 105, Some(json!({"code": 200, "msg": "again"})))).await;
            deli.ledger().until(|entries| !entries.violations.is_empty()).await;
        });
    }
}

#[test]
fn answers_to_a_request_for_logs_are_done_or_say_why_not() {
    for (data, fits) in [
        (json!({"code": 0, "msg": ""}), true),
        (json!({"code": 201, "msg": "no route"}), true),
        (json!({"code": 201, "msg": ""}), false),
        (json!({"code": 7, "msg": "x"}), false),
        (json!({"code": 0, "msg": "", "file": "x"}), false),
    ] {
        run(async |deli| {
            let (mut device, _) = Device::connect(&deli, PASSWORD).await;
            let mid = deli.upload_logs("h", 21, ("", ""), false).unwrap();
            device.say(&message(&mid, 201, Some(data.clone()))).await;
            device.say(&message("last", 102, None)).await;
            while device.hear().await.1["mid"] != "last" {}
            let violations = deli.ledger().with(|entries| entries.violations.clone());
            assert_eq!(violations.is_empty(), fits, "{data}: {violations:?}");
        });
    }
}
