//! A device in some lines: right credentials, frames out, frames in.

use std::collections::VecDeque;

use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::platform::base;
use super::super::{Lierda, NODE_EUI, OPEN_ID, PRODUCT_ID, PRODUCT_KEY, cipher};
use crate::broker::packet::{self, Packet, Publish};
use crate::clouds::SimCloud;

pub(super) struct Device {
    stream: TcpStream,
    buffer: Vec<u8>,
    heard: VecDeque<(String, Json)>,
    subacks: VecDeque<u8>,
    /// The last MessageId.
    last_id: i64,
}

impl Device {
    /// Comes with these credentials; the code of the answer.
    pub async fn connect(lierda: &Lierda, client: &str, user: &str, password: &str) -> (Self, u8) {
        let mut body = b"\0\x04MQTT\x04\xC2\0\x3c".to_vec();
        for text in [client, user, password] {
            body.extend_from_slice(&u16::try_from(text.len()).unwrap().to_be_bytes());
            body.extend_from_slice(text.as_bytes());
        }
        let mut stream = TcpStream::connect(lierda.broker().addr()).await.unwrap();
        // Else each of the small writes below waits for the acknowledgement of the one before.
        stream.set_nodelay(true).unwrap();
        let length = body.len();
        stream.write_all(&[0x10, (length % 128) as u8 | 0x80, (length / 128) as u8]).await.unwrap();
        stream.write_all(&body).await.unwrap();
        let mut connack = [0; 4];
        stream.read_exact(&mut connack).await.unwrap();
        let device = Self { stream, buffer: Vec::new(), heard: VecDeque::new(), subacks: VecDeque::new(), last_id: 0 };
        (device, connack[3])
    }

    /// Comes on the authentication account and subscribes.
    pub async fn stranger(lierda: &Lierda) -> Self {
        let user = format!("AUTH-{OPEN_ID}-{PRODUCT_ID}");
        let (mut device, code) = Self::connect(lierda, &auth_client(), &user, PRODUCT_KEY).await;
        assert_eq!(code, 0);
        assert_eq!(device.subscribe(&format!("{}downlink", base())).await, 0);
        device
    }

    /// Asks for its secret; the payload of the reply.
    pub async fn authenticate(&mut self, kind: u8) -> Json {
        self.say_raw("/sys/device/auth", &frame(&json!(1231), 1, &request(kind))).await;
        let (topic, reply) = self.hear().await;
        assert_eq!((topic.as_str(), &reply["HeaderCtrl"], &reply["MessageId"]), ("downlink", &json!(1), &json!(1231)));
        reply["Payload"].clone()
    }

    /// The secret of a device that goes through authentication, and the session with it.
    pub async fn secret(lierda: &Lierda, kind: u8) -> (String, Option<(String, u32)>) {
        let mut device = Self::stranger(lierda).await;
        let reply = device.authenticate(kind).await;
        device.stream.write_all(&[0xE0, 0]).await.unwrap();
        device.gone().await;
        let session = reply["SessionID"].as_str().map(|id| (id.to_owned(), reply["Nonce"].as_u64().unwrap() as u32));
        (reply["DeviceSecret"].as_str().unwrap().to_owned(), session)
    }

    /// Comes on the working account with this secret; the code of the answer.
    pub async fn work(lierda: &Lierda, secret: &str, checked: bool, timestamp: i64) -> (Self, u8) {
        let timestamp = timestamp.to_string();
        let client = format!("V2_{PRODUCT_ID}.{NODE_EUI}_{}_{timestamp}", u8::from(checked));
        Self::connect(lierda, &client, &user(), &password(secret, checked.then_some(&timestamp))).await
    }

    /// Subscribes to everything that the three kinds of products have.
    pub async fn subscribe_all(&mut self) {
        for filter in
            ["+", "model/property/+", "model/event/+/+", "model/service/+", "model/history/data/+", "model/hex/+"]
        {
            assert!(self.subscribe(&format!("{}{filter}", base())).await < 2, "{filter}");
        }
        assert!(self.subscribe(&format!("{}model/hex_ack", base())).await < 2);
    }

    /// The whole way of a clear product of the first scheme.
    pub async fn online(lierda: &Lierda) -> Self {
        let (secret, _) = Self::secret(lierda, lierda.platform.product.auth_type).await;
        let (mut device, code) = Self::work(lierda, &secret, false, 1_700_000_000).await;
        assert_eq!(code, 0);
        device.subscribe_all().await;
        lierda.ledger().until(|entries| entries.online).await;
        device
    }

    /// Subscribes; the granted QoS or 0x80.
    pub async fn subscribe(&mut self, filter: &str) -> u8 {
        let length = u8::try_from(filter.len()).unwrap();
        self.stream.write_all(&[0x82, length + 5, 0, 1, 0, length]).await.unwrap();
        self.stream.write_all(filter.as_bytes()).await.unwrap();
        self.stream.write_all(&[0]).await.unwrap();
        loop {
            if let Some(code) = self.subacks.pop_front() {
                return code;
            }
            assert!(self.read().await, "the broker hung up");
        }
    }

    /// Sends a frame with the next MessageId, and returns that.
    pub async fn report(&mut self, topic: &str, code: i64, payload: &Json) -> i64 {
        self.last_id += 1;
        self.say(topic, &frame(&json!(self.last_id), code, payload)).await;
        self.last_id
    }

    /// Sends anything on a topic below its own.
    pub async fn say(&mut self, topic: &str, frame: &Json) {
        self.say_raw(&format!("{}{topic}", base()), frame).await;
    }

    pub async fn say_raw(&mut self, topic: &str, frame: &Json) {
        self.publish(Publish {
            topic: topic.to_owned(),
            payload: frame.to_string().into_bytes(),
            ..Publish::default()
        })
        .await;
    }

    pub async fn publish(&mut self, publish: Publish) {
        self.stream.write_all(&packet::message(&publish)).await.unwrap();
    }

    /// Acknowledges a command with this payload.
    pub async fn answer(&mut self, topic: &str, command: &Json, payload: &Json) {
        self.say(topic, &frame(&command["MessageId"], command["HeaderCtrl"].as_i64().unwrap(), payload)).await;
    }

    /// The next frame of the platform: its topic below the device's own, and content. What it says itself is left out.
    pub async fn hear(&mut self) -> (String, Json) {
        loop {
            let echo = |topic: &str| super::super::topics::Topic::parse(topic).is_some();
            match self.heard.pop_front() {
                Some((topic, _)) if echo(&topic) => {}
                Some(message) => return message,
                None => assert!(self.read().await, "the broker hung up"),
            }
        }
    }

    /// The next frame on this topic, whatever comes before it.
    pub async fn hear_on(&mut self, topic: &str) -> Json {
        loop {
            let (heard, frame) = self.next().await;
            if heard == topic {
                return frame;
            }
        }
    }

    async fn next(&mut self) -> (String, Json) {
        loop {
            if let Some(message) = self.heard.pop_front() {
                return message;
            }
            assert!(self.read().await, "the broker hung up");
        }
    }

    /// Waits for the end of the connection.
    pub async fn gone(&mut self) {
        while self.read().await {}
    }

    async fn read(&mut self) -> bool {
        if !self.stream.read_buf(&mut self.buffer).await.is_ok_and(|n| n > 0) {
            return false;
        }
        while let Some((kind, total)) = head(&self.buffer) {
            let bytes: Vec<u8> = self.buffer.drain(..total).collect();
            match kind {
                9 => self.subacks.push_back(bytes[4]),
                3 => {
                    let Some((Packet::Publish(publish), _)) = packet::parse(&bytes).unwrap() else { unreachable!() };
                    let topic = publish.topic.strip_prefix(&base()).unwrap().to_owned();
                    self.heard.push_back((topic, serde_json::from_slice(&publish.payload).unwrap_or(Json::Null)));
                }
                _ => {}
            }
        }
        true
    }
}

/// Type and whole length of the packet at the front.
fn head(buffer: &[u8]) -> Option<(u8, usize)> {
    let kind = buffer.first()? >> 4;
    let (mut length, mut at) = (0, 1);
    loop {
        let digit = *buffer.get(at)?;
        length |= usize::from(digit & 0x7F) << (7 * (at - 1));
        at += 1;
        if digit & 0x80 == 0 {
            return (buffer.len() >= at + length).then_some((kind, at + length));
        }
    }
}

pub(super) fn frame(id: &Json, code: i64, payload: &Json) -> Json {
    json!({"MessageId": id, "HeaderCtrl": code, "Payload": payload, "Version": "2.0"})
}

pub(super) fn done() -> Json {
    json!({"Code": "200", "Msg": "SUCCESS"})
}

pub(super) fn request(kind: u8) -> Json {
    json!({"OpenID": OPEN_ID, "ProductID": PRODUCT_ID, "NodeEui": NODE_EUI, "Type": kind})
}

pub(super) fn auth_client() -> String {
    format!("{PRODUCT_ID}-{NODE_EUI}")
}

pub(super) fn user() -> String {
    format!("{OPEN_ID}-{PRODUCT_ID}-{NODE_EUI}")
}

pub(super) fn password(secret: &str, timestamp: Option<&str>) -> String {
    cipher::password(&cipher::key(secret).unwrap(), &format!("{PRODUCT_ID}.{NODE_EUI}"), PRODUCT_KEY, timestamp)
}
