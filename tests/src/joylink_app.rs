//! The JoyLink app in the same LAN: it finds devices, authorizes them and controls them with datagrams.
//!
//! Written from the protocol document, sections 5 and 6. No wait ends by itself: a device may owe an answer for ever, and
//! the test knows how long it wants to wait.

pub mod messages;

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value as Json, json};
use tokio::net::UdpSocket;

use self::messages::{Found, Grant, SubGrant, Wanted, done, streams};
use crate::clouds::joylink::seen::Answer;
use crate::clouds::joylink::timers::Operation;
use crate::joylink_wire::cipher::Secret;
use crate::joylink_wire::curve::KeyPair;
use crate::joylink_wire::fields::{Reader, Writer};
use crate::joylink_wire::fragments::{Assembly, cut};
use crate::joylink_wire::packet::{LAN, Packet};
use crate::joylink_wire::timers::FEEDID;

/// Why an exchange with a device came to nothing.
#[derive(Debug)]
pub enum AppError {
    /// The socket failed.
    Io(io::Error),
    /// The device refused, with this code and these words.
    Refused(i64, String),
    /// The device broke the document, in words; or the test gave the app something that it cannot send.
    Breach(String),
}

/// An app with one socket.
#[derive(Debug)]
pub struct App {
    socket: UdpSocket,
    last_message: u8,
    last_serial: u32,
}

/// A device and the key to talk to it.
#[derive(Debug, Clone)]
pub struct Device {
    /// Where it listens.
    pub address: SocketAddr,
    /// Key for the LAN, 32 characters.
    pub localkey: String,
}

impl fmt::Display for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "socket: {error}"),
            Self::Refused(code, text) => write!(f, "refused with code {code}: {text}"),
            Self::Breach(text) => write!(f, "against the protocol: {text}"),
        }
    }
}

impl std::error::Error for AppError {}

impl From<io::Error> for AppError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<String> for AppError {
    fn from(text: String) -> Self {
        Self::Breach(text)
    }
}

impl App {
    /// On a free port of loopback.
    pub async fn bind() -> io::Result<Self> {
        Self::on(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?)
    }

    /// On a free port of all interfaces, so that it may broadcast.
    pub async fn bind_everywhere() -> io::Result<Self> {
        Self::on(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?)
    }

    fn on(socket: UdpSocket) -> io::Result<Self> {
        socket.set_broadcast(true)?;
        Ok(Self { socket, last_message: 0, last_serial: FIRST_SERIAL })
    }

    /// Asks who is there, at one address or at all of a network.
    pub async fn ask_who(&self, at: SocketAddr, wanted: &Wanted) -> Result<(), AppError> {
        let packet = Packet::new(LAN, DISCOVERY, 0, &wanted.opt, wanted.text().as_bytes());
        self.send_raw(at, &packet.encode()).await
    }

    /// The next answer to that, and who gave it.
    pub async fn next_found(&self) -> Result<(SocketAddr, Found), AppError> {
        let (from, packet) = self.hear(None).await?;
        Ok((from, found(&packet)?))
    }

    /// Asks a device who it is.
    pub async fn discover(&self, at: SocketAddr, wanted: &Wanted) -> Result<Found, AppError> {
        self.ask_who(at, wanted).await?;
        let (_, packet) = self.hear(Some(at)).await?;
        Ok(found(&packet)?)
    }

    /// 2: gives a device its identity and keys; what it answers if it takes them.
    pub async fn authorize(&mut self, at: SocketAddr, devkey: &str, grant: &Grant) -> Result<Json, AppError> {
        self.agree(at, AUTHORIZATION, devkey, &grant.json()).await
    }

    /// 102: gives a sub-device its identity and keys, through its gateway.
    pub async fn authorize_sub(&mut self, at: SocketAddr, devkey: &str, sub: &SubGrant) -> Result<Json, AppError> {
        let answer = self.agree(at, SUB_AUTHORIZATION, devkey, &sub.json()).await?;
        sub.is_meant(&answer)?;
        Ok(answer)
    }

    async fn agree(&mut self, at: SocketAddr, kind: u8, devkey: &str, data: &Json) -> Result<Json, AppError> {
        let (packet, secret) = agreement(kind, devkey, &json!({"data": data}))?;
        self.send(at, &packet).await?;
        let (_, answer) = self.hear(Some(at)).await?;
        if answer.kind != kind || !answer.opt.is_empty() {
            return Err(AppError::Breach(format!("type {} with {:02x?} answers {kind}", answer.kind, answer.opt)));
        }
        let text = match answer.enctype {
            0 => answer.payload,
            // One real product does that (5.2).
            2 => after_time(&secret.decrypt(&answer.payload)?)?.to_vec(),
            other => return Err(AppError::Breach(format!("an answer with enctype {other}"))),
        };
        done(&text)
    }

    /// 105: tells a gateway to let a sub-device in.
    pub async fn add_sub(&mut self, to: &Device, mac: &str, uuid: &str, protocol: u8) -> Result<(), AppError> {
        let request = json!({"cmd": 6, "data": {"mac": mac, "productuuid": uuid, "protocol": protocol}});
        let answer = self.talk(to, ADD_SUB, request.to_string().as_bytes()).await?;
        let answer = done(&answer)?;
        if answer["mac"] == mac && answer["productuuid"] == uuid {
            Ok(())
        } else {
            Err(AppError::Breach(format!("{answer} answers for {mac}")))
        }
    }

    /// 3: asks for all streams.
    pub async fn snapshot(&mut self, to: &Device) -> Result<Vec<(String, Json)>, AppError> {
        let answer = self.json(to, None, &json!({"cmd": 4, "data": {}})).await?;
        Ok(streams(&answer)?)
    }

    /// 3: sets streams; all streams after that.
    pub async fn control(&mut self, to: &Device, values: &[(&str, Json)]) -> Result<Vec<(String, Json)>, AppError> {
        let answer = self.json(to, None, &messages::control(values)).await?;
        Ok(streams(&answer)?)
    }

    /// 103: asks for all streams of a sub-device.
    pub async fn snapshot_sub(&mut self, to: &Device, feedid: &str) -> Result<Vec<(String, Json)>, AppError> {
        let answer = self.json(to, Some(feedid), &json!({"cmd": 4, "data": {}})).await?;
        Ok(streams(&answer)?)
    }

    /// 103: sets streams of a sub-device; all its streams after that.
    pub async fn control_sub(
        &mut self,
        to: &Device,
        feedid: &str,
        values: &[(&str, Json)],
    ) -> Result<Vec<(String, Json)>, AppError> {
        let answer = self.json(to, Some(feedid), &messages::control(values)).await?;
        Ok(streams(&answer)?)
    }

    /// 3 or, for a sub-device, 103 with any JSON; the answer if it is a success.
    pub async fn json(&mut self, to: &Device, sub: Option<&str>, request: &Json) -> Result<Json, AppError> {
        let mut request = request.clone();
        if let Some(feedid) = sub {
            request["feedid"] = json!(feedid);
        }
        let kind = if sub.is_some() { SUB_JSON } else { JSON };
        let answer = done(&self.talk(to, kind, request.to_string().as_bytes()).await?)?;
        match sub {
            Some(feedid) if answer["feedid"] != feedid => Err(AppError::Breach(format!("{answer} for {feedid}"))),
            _ => Ok(answer),
        }
    }

    /// 4: sends bytes to the MCU; its answer.
    pub async fn script(&mut self, to: &Device, biz_code: u32, command: &[u8]) -> Result<Vec<u8>, AppError> {
        let serial = self.next_serial();
        let body = Writer::default().word(biz_code).word(serial).bytes(command).done();
        let answer = self.talk(to, SCRIPT, &body).await?;
        let mut fields = Reader::new(&answer);
        head(&mut fields, biz_code, serial)?;
        Ok(fields.rest().to_vec())
    }

    /// 104: sends bytes to a sub-device, which has a key of its own; its answer.
    pub async fn script_sub(
        &mut self,
        to: &Device,
        (feedid, localkey): (&str, &str),
        biz_code: u32,
        command: &[u8],
    ) -> Result<Vec<u8>, AppError> {
        let inner = Secret::of_text(localkey)?;
        let serial = self.next_serial();
        let body = Writer::default().word(biz_code).word(serial).text(feedid, FEEDID);
        let answer = self.talk(to, SUB_SCRIPT, &body.bytes(&inner.encrypt(command)).done()).await?;
        let mut fields = Reader::new(&answer);
        head(&mut fields, biz_code, serial)?;
        let from = fields.text(FEEDID)?;
        if from != feedid {
            return Err(AppError::Breach(format!("{from} answers for {feedid}")));
        }
        Ok(inner.decrypt(fields.rest())?)
    }

    /// 13: an operation on the device's timers.
    pub async fn operate(&mut self, to: &Device, operation: &Operation) -> Result<Answer, AppError> {
        let serial = self.next_serial();
        let request = operation.request(0, serial);
        // The time is put in front by `talk`.
        let body = after_time(&request)?;
        let biz_code = Reader::new(body).word()?;
        let answer = self.talk(to, TIMERS, body).await?;
        let mut fields = Reader::new(&answer);
        head(&mut fields, biz_code, serial)?;
        Ok(operation.answer(&mut fields)?)
    }

    /// Sends a request under the localkey and waits for its answer: what comes after the timestamps.
    pub async fn talk(&mut self, to: &Device, kind: u8, body: &[u8]) -> Result<Vec<u8>, AppError> {
        self.send(to.address, &request(&to.localkey, kind, body)?).await?;
        let (_, answer) = self.hear(Some(to.address)).await?;
        // SDKs of the vendor answer JSON under the type of scripts (6.1).
        let fits = answer.kind == kind || (answer.kind == SCRIPT && matches!(kind, JSON | SUB_JSON));
        if !fits || answer.enctype != 3 || !answer.opt.is_empty() {
            return Err(AppError::Breach(format!("type {}, enctype {} answers {kind}", answer.kind, answer.enctype)));
        }
        Ok(after_time(&Secret::of_text(&to.localkey)?.decrypt(&answer.payload)?)?.to_vec())
    }

    /// Sends a packet, in fragments if it is long.
    pub async fn send(&mut self, to: SocketAddr, packet: &Packet) -> Result<(), AppError> {
        self.last_message = self.last_message.wrapping_add(1);
        for fragment in cut(packet, self.last_message) {
            self.send_raw(to, &fragment.encode()).await?;
        }
        Ok(())
    }

    /// Sends bytes, right or wrong.
    pub async fn send_raw(&self, to: SocketAddr, bytes: &[u8]) -> Result<(), AppError> {
        self.socket.send_to(bytes, to).await.map(drop).map_err(AppError::Io)
    }

    /// Sends bytes, no discovery, that a device must not answer, and a discovery: the answer to that has to be the first.
    pub async fn is_ignored(&self, by: SocketAddr, bytes: &[u8]) -> Result<(), AppError> {
        self.send_raw(by, bytes).await?;
        self.discover(by, &Wanted::default()).await.map(drop)
    }

    /// The next message, from this device or from anyone, whole.
    pub async fn hear(&self, from: Option<SocketAddr>) -> Result<(SocketAddr, Packet), AppError> {
        let mut assembly = Assembly::default();
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let (n, sender) = self.socket.recv_from(&mut buffer).await?;
            if let Some(from) = from.filter(|from| *from != sender) {
                return Err(AppError::Breach(format!("asked {from}, answered from {sender}")));
            }
            if let Some(packet) = assembly.take(Packet::exact(LAN, &buffer[..n])?)? {
                return Ok((sender, packet));
            }
        }
    }

    fn next_serial(&mut self) -> u32 {
        self.last_serial = self.last_serial.wrapping_add(1);
        self.last_serial
    }
}

/// A request under a localkey, with the next timestamp: to be sent, bent or sent twice.
pub fn request(localkey: &str, kind: u8, body: &[u8]) -> Result<Packet, String> {
    request_at(timestamp(), localkey, kind, body)
}

/// The same with a timestamp that the test wants.
pub fn request_at(timestamp: u32, localkey: &str, kind: u8, body: &[u8]) -> Result<Packet, String> {
    let plain = Writer::at(timestamp).bytes(body).done();
    Ok(Packet::new(LAN, kind, 3, &[], &Secret::of_text(localkey)?.encrypt(&plain)))
}

/// A request of type 2 or 102, with a new key pair, and the key that answers to it may be under.
pub fn agreement(kind: u8, devkey: &str, json: &Json) -> Result<(Packet, Secret), String> {
    let devkey = messages::point(devkey)?;
    loop {
        let pair = KeyPair::of(&random())?;
        let secret = pair.agree(&devkey)?;
        // SDKs of the vendor cannot decrypt these (4.6).
        if secret.has_nul() {
            continue;
        }
        let plain = Writer::at(timestamp()).bytes(json.to_string().as_bytes()).done();
        return Ok((Packet::new(LAN, kind, 2, pair.public(), &secret.encrypt(&plain)), secret));
    }
}

/// The next timestamp. Devices drop what is not later than the last one of an address, so all apps here share a counter.
pub fn timestamp() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let now = u32::try_from(now).unwrap_or(u32::MAX);
    let next = |last: u32| Some(now.max(last.wrapping_add(1)));
    let last = LAST_TIMESTAMP.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or_default();
    now.max(last.wrapping_add(1))
}

fn random() -> [u8; 20] {
    let mut bytes = [0; 20];
    for chunk in bytes.chunks_mut(8) {
        let part = RandomState::new().build_hasher().finish().to_le_bytes();
        chunk.copy_from_slice(&part[..chunk.len()]);
    }
    bytes
}

fn found(packet: &Packet) -> Result<Found, String> {
    if (packet.kind, packet.enctype) != (DISCOVERY, 0) || !packet.opt.is_empty() {
        return Err(format!("type {}, enctype {} answers a discovery", packet.kind, packet.enctype));
    }
    Found::parse(&packet.payload)
}

/// Business code and serial of an answer: 1002 is answered 102, with the same serial.
fn head(fields: &mut Reader, biz_code: u32, serial: u32) -> Result<(), String> {
    let (answered, echoed) = (fields.word()?, fields.word()?);
    if (answered, echoed) == (biz_code.wrapping_sub(900), serial) {
        Ok(())
    } else {
        Err(format!("{biz_code} of serial {serial} was answered with {answered} of serial {echoed}"))
    }
}

fn after_time(plain: &[u8]) -> Result<&[u8], String> {
    let mut fields = Reader::new(plain);
    fields.word()?;
    Ok(fields.rest())
}

static LAST_TIMESTAMP: AtomicU32 = AtomicU32::new(0);
/// Types (JoyLink, 3.2).
pub const DISCOVERY: u8 = 1;
/// Type of an authorization.
pub const AUTHORIZATION: u8 = 2;
/// Type of a JSON message.
pub const JSON: u8 = 3;
/// Type of a script message.
pub const SCRIPT: u8 = 4;
/// Type of a timer message.
pub const TIMERS: u8 = 13;
/// Type of the authorization of a sub-device.
pub const SUB_AUTHORIZATION: u8 = 102;
/// Type of a JSON message to a sub-device.
pub const SUB_JSON: u8 = 103;
/// Type of a script message to a sub-device.
pub const SUB_SCRIPT: u8 = 104;
/// Type of the message that lets a sub-device in.
pub const ADD_SUB: u8 = 105;
/// Chosen by us: four different bytes, so that none can be lost or swapped unseen.
const FIRST_SERIAL: u32 = 0x02B3_D400;
/// Room for the largest datagram there is.
const DATAGRAM: usize = 65_536;

#[cfg(test)]
mod tests;
