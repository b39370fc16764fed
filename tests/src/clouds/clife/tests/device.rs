//! A device in some lines: a request for its credentials, frames out, frames in.

use std::collections::VecDeque;

use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::platform::{downward_topic, upward_topic};
use super::super::product::Product;
use super::super::{Clife, DEV_ID, DEV_MAC, PRODUCT_CODE};
use crate::broker::packet::{self, Packet, Publish};
use crate::clouds::SimCloud;
use crate::clouds::clife::cipher::Key;

pub(super) struct Device {
    stream: TcpStream,
    buffer: Vec<u8>,
    heard: VecDeque<Json>,
    subacks: VecDeque<u8>,
    key: Option<Key>,
    text_timestamps: bool,
    /// The last msgId.
    last_id: i64,
}

/// What a device says in its CONNECT.
#[derive(Clone)]
pub(super) struct Hello {
    pub client: String,
    pub user: String,
    pub password: String,
    pub will: Option<Publish>,
    pub clean: bool,
    pub keep_alive_s: u16,
}

impl Hello {
    /// With what a registration gave.
    pub fn of(registered: &Json) -> Self {
        let text = |name: &str| registered[name].as_str().unwrap().to_owned();
        let (client, user, password) = (text("mqttClientId"), text("mqttUser"), text("mqttPassword"));
        let keep_alive_s = u16::try_from(registered["mqttKeepalive"].as_u64().unwrap()).unwrap();
        Self { client, user, password, will: None, clean: false, keep_alive_s }
    }

    /// The packet (MQTT 3.1.1, 3.1).
    fn bytes(&self) -> Vec<u8> {
        let will = self.will.as_ref().map_or(0, |will| 4 | will.qos << 3 | u8::from(will.retain) << 5);
        let mut body = b"\0\x04MQTT\x04".to_vec();
        body.push(0xC0 | u8::from(self.clean) << 1 | will);
        body.extend_from_slice(&self.keep_alive_s.to_be_bytes());
        let mut field = |bytes: &[u8]| {
            body.extend_from_slice(&u16::try_from(bytes.len()).unwrap().to_be_bytes());
            body.extend_from_slice(bytes);
        };
        field(self.client.as_bytes());
        if let Some(will) = &self.will {
            field(will.topic.as_bytes());
            field(&will.payload);
        }
        field(self.user.as_bytes());
        field(self.password.as_bytes());
        let length = body.len();
        [&[0x10, (length % 128) as u8 | 0x80, (length / 128) as u8], &body[..]].concat()
    }
}

impl Device {
    /// Comes with these credentials; the code of the answer.
    pub async fn connect(clife: &Clife, hello: &Hello, key: Option<Key>) -> (Self, u8) {
        let mut stream = TcpStream::connect(clife.broker().addr()).await.unwrap();
        // Else each of the small writes below waits for the acknowledgement of the one before.
        stream.set_nodelay(true).unwrap();
        stream.write_all(&hello.bytes()).await.unwrap();
        let mut connack = [0; 4];
        stream.read_exact(&mut connack).await.unwrap();
        let text_timestamps = clife.platform.product.timestamp_as_text;
        let (heard, subacks) = (VecDeque::new(), VecDeque::new());
        let device = Self { stream, buffer: Vec::new(), heard, subacks, key, text_timestamps, last_id: 100 };
        (device, connack[3])
    }

    /// Registers, connects and subscribes, but has said nothing yet.
    pub async fn subscribed(clife: &Clife) -> Self {
        let registered = register(clife).await;
        let (mut device, code) = Self::connect(clife, &Hello::of(&registered), secret(clife, &registered)).await;
        assert_eq!(code, 0);
        assert_eq!(device.subscribe(&downward_topic(), 1).await, 1);
        device
    }

    /// The whole way.
    pub async fn online(clife: &Clife) -> Self {
        let mut device = Self::subscribed(clife).await;
        device.greet().await;
        let mut answer = device.hear().await;
        // What was not acknowledged before comes first, and under a secret that is dead.
        while answer["data"].is_null() {
            answer = device.hear().await;
        }
        assert_eq!((&answer["cmd"], &answer["data"]["respCode"]), (&json!(2005), &json!(0)));
        device
    }

    /// Comes again with what it was given.
    pub async fn back(clife: &Clife, registered: &Json) -> Self {
        let (mut device, code) = Self::connect(clife, &Hello::of(registered), secret(clife, registered)).await;
        assert_eq!(code, 0);
        device.last_id = 1000;
        device
    }

    /// Subscribes; the granted QoS or 0x80.
    pub async fn subscribe(&mut self, filter: &str, qos: u8) -> u8 {
        let length = u8::try_from(filter.len()).unwrap();
        self.stream.write_all(&[0x82, length + 5, 0, 1, 0, length]).await.unwrap();
        self.stream.write_all(filter.as_bytes()).await.unwrap();
        self.stream.write_all(&[qos]).await.unwrap();
        loop {
            if let Some(code) = self.subacks.pop_front() {
                return code;
            }
            assert!(self.read().await, "the broker hung up");
        }
    }

    /// Sends its connection request.
    pub async fn greet(&mut self) -> i64 {
        self.say(2004, &json!({"devId": DEV_ID, "devMac": DEV_MAC, "profileVer": "0"})).await
    }

    /// Sends a frame with the next msgId, and returns that.
    pub async fn say(&mut self, cmd: i64, body: &Json) -> i64 {
        self.last_id += 1;
        self.answer(cmd, self.last_id, body).await;
        self.last_id
    }

    /// Sends a frame with this msgId.
    pub async fn answer(&mut self, cmd: i64, id: i64, body: &Json) {
        let frame = self.frame(cmd, id, body);
        self.say_raw(&frame.to_string()).await;
    }

    /// A right frame.
    pub fn frame(&self, cmd: i64, id: i64, body: &Json) -> Json {
        frame(self.key.as_ref(), self.text_timestamps, cmd, id, body)
    }

    /// Sends any text on its topic.
    pub async fn say_raw(&mut self, text: &str) {
        self.publish(message(text)).await;
    }

    pub async fn publish(&mut self, publish: Publish) {
        self.stream.write_all(&packet::message(&publish)).await.unwrap();
    }

    /// The next frame of the platform, decrypted; without data if that cannot be done.
    pub async fn hear(&mut self) -> Json {
        loop {
            if let Some(mut frame) = self.heard.pop_front() {
                if let (Some(key), Some(text)) = (&self.key, frame["data"].as_str()) {
                    let plain = key.open(text).ok().and_then(|plain| serde_json::from_slice(&plain).ok());
                    frame["data"] = plain.unwrap_or(Json::Null);
                }
                return frame;
            }
            assert!(self.read().await, "the broker hung up");
        }
    }

    /// Goes with a farewell.
    pub async fn bye(mut self) {
        self.stream.write_all(&[0xE0, 0]).await.unwrap();
        self.gone().await;
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
                    assert_eq!((publish.topic.as_str(), publish.qos), (downward_topic().as_str(), 1));
                    // What is not acknowledged would come again, under a secret that may be dead by then.
                    let _ = self.stream.write_all(&packet::ack(packet::Ack::PubAck, publish.packet_id)).await;
                    self.heard.push_back(serde_json::from_slice(&publish.payload).unwrap_or(Json::Null));
                }
                _ => {}
            }
        }
        true
    }
}

/// A message on the upward topic.
pub(super) fn message(text: &str) -> Publish {
    Publish { qos: 1, packet_id: 7, topic: upward_topic(), payload: text.as_bytes().to_vec(), ..Publish::default() }
}

/// A right frame under this key; in clear without one.
pub(super) fn frame(key: Option<&Key>, text_timestamps: bool, cmd: i64, id: i64, body: &Json) -> Json {
    let timestamp = if text_timestamps { json!("1700000000000") } else { json!(1_700_000_000_000_i64) };
    let data = key.map_or_else(|| body.clone(), |key| json!(key.seal(body.to_string().as_bytes())));
    json!({"cmd": cmd, "ver": "1.0", "dir": "03", "msgId": id, "timestamp": timestamp, "data": data})
}

/// Key of MQTT bodies as a registration gives it; none where they are in clear.
pub(super) fn secret(clife: &Clife, registered: &Json) -> Option<Key> {
    let Product { encrypted, iv, .. } = clife.platform.product;
    let Some(digits) = registered["deviceSecret"].as_str() else { return Some(clife.platform.product.dev_key()) };
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    let bytes: Vec<u8> = pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
    encrypted.then(|| Key::new(&bytes, iv).unwrap())
}

/// Query and body of a right registration.
pub(super) fn request(level: u8) -> (String, Json) {
    match level {
        0 => (format!("authLevel=0&devId={DEV_ID}"), json!({"devId": DEV_ID, "devMac": DEV_MAC})),
        level => (
            format!("authLevel={level}&productCode={PRODUCT_CODE}"),
            json!({"productCode": PRODUCT_CODE, "devMac": DEV_MAC, "productVer": 1}),
        ),
    }
}

/// Registers; the body of the answer.
pub(super) async fn register(clife: &Clife) -> Json {
    let product = &clife.platform.product;
    let (query, body) = request(product.auth_level);
    let key = product.dev_key();
    let frame = frame(Some(&key), product.timestamp_as_text, 2000, 1, &body);
    let (head, body) = post(clife, &format!("/device/register?{query}"), "application/json", &frame.to_string()).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head} {body}");
    let answer: Json = serde_json::from_str(&body).unwrap();
    assert_eq!((&answer["cmd"], &answer["msgId"], &answer["dir"]), (&json!(2001), &json!(1), &json!("30")));
    serde_json::from_slice(&key.open(answer["data"].as_str().unwrap()).unwrap()).unwrap()
}

/// Head and body of the answer to a POST.
pub(super) async fn post(clife: &Clife, target: &str, kind: &str, body: &str) -> (String, String) {
    http(clife, &format!("POST {target}"), &format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", body.len()), body)
        .await
}

/// Head and body of the answer to any request.
pub(super) async fn http(clife: &Clife, line: &str, headers: &str, body: &str) -> (String, String) {
    exchange(&clife.http().address().to_string(), line, headers, body).await
}

/// The same at any address.
pub(super) async fn exchange(address: &str, line: &str, headers: &str, body: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{line} HTTP/1.1\r\nHost: {address}\r\n{headers}Connection: close\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A server that breaks off resets the connection.
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
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

/// Waits until the ledger says online.
pub(super) async fn is_online(clife: &Clife) {
    clife.ledger().until(|entries| entries.online).await;
}
