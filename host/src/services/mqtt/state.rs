//! One connection's protocol state, pure: wishes and packets and the time go in; bytes, completions and messages come
//! out. The connection's task does the I/O, see [`super::driver`].
//!
//! Invariant: a token that was taken is in exactly one of `queue`, `handed` and `awaited`, and leaves with exactly one
//! completion, so that closing can fail each of them once. The state lives as long as one connection; what must outlive
//! it is the bus's journal.

use std::collections::{BTreeMap, HashSet, VecDeque};

use bytes::{BufMut, Bytes, BytesMut};
use polylink_plugin_api::HostRefusal;
use polylink_plugin_api::services::mqtt::{MqttPublish, PUBLISHED, SUBSCRIBED, UNSUBSCRIBED};
use rumqttc::{Packet, PubAck, PubComp, PubRec, PubRel, Publish, QoS, Subscribe, SubscribeReasonCode, Unsubscribe};

use super::super::registry::Refusal;
use super::watch::{Patience, Watch};

/// What a connection has under way.
#[derive(Debug)]
pub(super) struct State {
    phase: Phase,
    /// Not yet written, oldest first.
    queue: VecDeque<(u64, Wish)>,
    queued_bytes: usize,
    /// Publishes of QoS 0 in the bytes being written.
    handed: Vec<u64>,
    /// Packets that the broker must answer, by their id.
    awaited: BTreeMap<u16, (u64, Answer)>,
    last_id: u16,
    /// Messages of QoS 2 that were delivered and not yet released.
    unreleased: HashSet<u16>,
    watch: Watch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Living,
    /// Sends what is queued, then DISCONNECT.
    Leaving,
    /// DISCONNECT is in the bytes being written.
    Left,
    Gone,
}

#[derive(Debug)]
enum Wish {
    Publish(Publish),
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
}

/// What the broker owes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    PubAck,
    PubRec,
    PubComp,
    SubAck,
    UnsubAck,
}

/// What a packet of the broker leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    Nothing,
    /// A call is answered.
    Complete {
        kind: u32,
        token: u64,
        code: i64,
    },
    /// A message for the plugin; once it is delivered, [`State::delivered`] wants `ack`.
    Deliver {
        topic: String,
        payload: Bytes,
        flags: i64,
        ack: Receipt,
    },
}

/// How a delivered message is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Receipt {
    None,
    PubAck(u16),
    PubRec(u16),
}

impl State {
    pub fn new(patience: Patience) -> Self {
        Self {
            phase: Phase::Living,
            queue: VecDeque::new(),
            queued_bytes: 0,
            handed: Vec::new(),
            awaited: BTreeMap::new(),
            last_id: 0,
            unreleased: HashSet::new(),
            watch: Watch::new(patience),
        }
    }

    /// Queues a message.
    pub fn publish(&mut self, token: u64, message: &MqttPublish<'_>) -> Result<(), Refusal> {
        check_publish(message)?;
        let payload = Bytes::copy_from_slice(&message.payload);
        let qos = quality(message.qos).unwrap_or(QoS::AtMostOnce);
        let mut publish = Publish::from_bytes(message.topic.as_str(), qos, payload);
        publish.retain = message.retain;
        self.push(token, Wish::Publish(publish))
    }

    /// Queues a subscription.
    pub fn subscribe(&mut self, token: u64, filter: &str, qos: u8) -> Result<(), Refusal> {
        check_filter(filter)?;
        let qos =
            quality(qos).ok_or_else(|| Refusal::invalid(format!("QoS {qos} is not known; accepted are 0, 1, 2")))?;
        self.push(token, Wish::Subscribe(Subscribe::new(filter, qos)))
    }

    /// Queues the end of a subscription.
    pub fn unsubscribe(&mut self, token: u64, filter: &str) -> Result<(), Refusal> {
        check_filter(filter)?;
        self.push(token, Wish::Unsubscribe(Unsubscribe::new(filter)))
    }

    /// Sends what is queued, then DISCONNECT.
    pub fn disconnect(&mut self) {
        if self.phase == Phase::Living {
            self.phase = Phase::Leaving;
        }
    }

    pub fn is_leaving(&self) -> bool {
        self.phase != Phase::Living
    }

    /// True once DISCONNECT is among the bytes to write.
    pub fn has_left(&self) -> bool {
        self.phase == Phase::Left
    }

    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// The broker took the connection; the keep-alive begins.
    pub fn opened(&mut self, now: u64) {
        self.watch.opened(now);
    }

    /// Turns what may be sent now into bytes, as one batch.
    pub fn fill(&mut self, now: u64, out: &mut BytesMut) {
        let before = out.len();
        while out.len() < BATCH_MAX && self.may_send() {
            let Some((token, wish)) = self.queue.pop_front() else { break };
            self.queued_bytes -= wish.n_bytes();
            self.write(token, wish, out);
        }
        if self.phase == Phase::Leaving && self.queue.is_empty() {
            out.put_slice(&DISCONNECT);
            self.phase = Phase::Left;
        }
        if out.len() > before {
            self.watch.sent(now);
        }
    }

    /// The bytes of the last batch are with the system: the tokens of the publishes of QoS 0 in it.
    pub fn written(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.handed)
    }

    /// Something came from the broker, so it lives.
    pub fn received(&mut self, now: u64) {
        self.watch.received(now);
    }

    /// Takes a packet.
    ///
    /// # Errors
    /// The broker broke the protocol, or said good-bye.
    pub fn packet(&mut self, packet: Packet, now: u64, out: &mut BytesMut) -> Result<Reaction, Refusal> {
        let before = out.len();
        let reaction = self.react(packet, out)?;
        if out.len() > before {
            self.watch.sent(now);
        }
        Ok(reaction)
    }

    /// A message is in the plugin's inbox. Reading was paused for it, so silence until now is not the broker's.
    pub fn delivered(&mut self, ack: Receipt, now: u64, out: &mut BytesMut) {
        let written = match ack {
            Receipt::None => Ok(0),
            Receipt::PubAck(id) => PubAck::new(id).write(out),
            Receipt::PubRec(id) => {
                self.unreleased.insert(id);
                PubRec::new(id).write(out)
            }
        };
        debug_assert!(written.is_ok(), "an acknowledgement has no limit to break");
        if ack != Receipt::None {
            self.watch.sent(now);
        }
        self.watch.resumed(now);
    }

    /// Does what is due: a PINGREQ, or the verdict that the broker is dead.
    pub fn tick(&mut self, now: u64, is_reading: bool, out: &mut BytesMut) -> Result<(), Refusal> {
        if self.watch.tick(now, is_reading)? {
            out.put_slice(&PINGREQ);
        }
        Ok(())
    }

    /// When [`State::tick`] has something to do.
    pub fn next_tick(&self, is_reading: bool) -> Option<u64> {
        self.watch.next_tick(is_reading)
    }

    /// The connection is gone: everything that was taken and has no answer, oldest first.
    pub fn end(&mut self) -> Vec<u64> {
        self.phase = Phase::Gone;
        self.queued_bytes = 0;
        let mut tokens = std::mem::take(&mut self.handed);
        tokens.extend(std::mem::take(&mut self.awaited).into_values().map(|(token, _)| token));
        tokens.extend(std::mem::take(&mut self.queue).into_iter().map(|(token, _)| token));
        tokens.sort_unstable();
        tokens
    }

    fn push(&mut self, token: u64, wish: Wish) -> Result<(), Refusal> {
        if self.phase != Phase::Living {
            return Err(Refusal::new(HostRefusal::CLOSED, "the connection is being closed"));
        }
        let n_bytes = wish.n_bytes();
        if self.queue.len() >= QUEUE_MAX {
            return Err(Refusal::new(
                HostRefusal::QUOTA,
                format!("{QUEUE_MAX} packets wait to be sent, no more are taken"),
            ));
        }
        if self.queued_bytes + n_bytes > QUEUE_BYTES_MAX {
            let text = format!("{} bytes wait to be sent, at most {QUEUE_BYTES_MAX} may", self.queued_bytes);
            return Err(Refusal::new(HostRefusal::QUOTA, text));
        }
        self.queued_bytes += n_bytes;
        self.queue.push_back((token, wish));
        Ok(())
    }

    /// The first in the queue waits for a free place; order is kept, so what is behind it waits too. Who leaves does not
    /// wait for answers any more.
    fn may_send(&self) -> bool {
        let needs_answer = self.queue.front().is_some_and(|(_, wish)| wish.answer().is_some());
        !needs_answer || self.awaited.len() < if self.is_leaving() { LEAVING_MAX } else { WINDOW }
    }

    fn write(&mut self, token: u64, mut wish: Wish, out: &mut BytesMut) {
        let id = match wish.answer() {
            None => {
                self.handed.push(token);
                0
            }
            Some(answer) => {
                let id = self.free_id();
                self.awaited.insert(id, (token, answer));
                id
            }
        };
        let written = match &mut wish {
            Wish::Publish(publish) => {
                publish.pkid = id;
                publish.write(out)
            }
            Wish::Subscribe(subscribe) => {
                subscribe.pkid = id;
                subscribe.write(out)
            }
            Wish::Unsubscribe(unsubscribe) => {
                unsubscribe.pkid = id;
                unsubscribe.write(out)
            }
        };
        debug_assert!(written.is_ok(), "what can break a limit was refused when it was queued");
    }

    /// The next id that is not in use; there are far more ids than places.
    fn free_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.awaited.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }

    fn react(&mut self, packet: Packet, out: &mut BytesMut) -> Result<Reaction, Refusal> {
        Ok(match packet {
            Packet::Publish(publish) => return self.message(publish, out),
            Packet::PubAck(ack) => self.answer(ack.pkid, Answer::PubAck, PUBLISHED, 0),
            Packet::PubComp(ack) => self.answer(ack.pkid, Answer::PubComp, PUBLISHED, 0),
            Packet::UnsubAck(ack) => self.answer(ack.pkid, Answer::UnsubAck, UNSUBSCRIBED, 0),
            Packet::SubAck(ack) => {
                let code = match ack.return_codes.first() {
                    Some(SubscribeReasonCode::Success(qos)) => *qos as i64,
                    Some(SubscribeReasonCode::Failure) | None => 0x80,
                };
                self.answer(ack.pkid, Answer::SubAck, SUBSCRIBED, code)
            }
            Packet::PubRec(rec) => {
                if let Some((_, answer @ Answer::PubRec)) = self.awaited.get_mut(&rec.pkid) {
                    *answer = Answer::PubComp;
                }
                // Also for an id that nobody waits for: the broker may finish an exchange of an earlier connection.
                let _ = PubRel::new(rec.pkid).write(out);
                Reaction::Nothing
            }
            Packet::PubRel(rel) => {
                self.unreleased.remove(&rel.pkid);
                let _ = PubComp::new(rel.pkid).write(out);
                Reaction::Nothing
            }
            Packet::PingResp | Packet::PingReq | Packet::ConnAck(_) => Reaction::Nothing,
            Packet::Disconnect => {
                return Err(Refusal::new(HostRefusal::CONNECTION_LOST, "the broker said DISCONNECT"));
            }
            Packet::Connect(_) => return Err(protocol("the broker sent a CONNECT")),
            Packet::Subscribe(_) => return Err(protocol("the broker sent a SUBSCRIBE")),
            Packet::Unsubscribe(_) => return Err(protocol("the broker sent an UNSUBSCRIBE")),
        })
    }

    /// Answers that nobody waits for are ignored: they may belong to an earlier connection of a kept session.
    fn answer(&mut self, id: u16, answer: Answer, kind: u32, code: i64) -> Reaction {
        match self.awaited.get(&id) {
            Some((token, expected)) if *expected == answer => {
                let token = *token;
                self.awaited.remove(&id);
                Reaction::Complete { kind, token, code }
            }
            _ => Reaction::Nothing,
        }
    }

    fn message(&mut self, publish: Publish, out: &mut BytesMut) -> Result<Reaction, Refusal> {
        let Publish { dup, qos, retain, topic, pkid, payload } = publish;
        if payload.len() > PAYLOAD_MAX {
            return Err(protocol(format!(
                "the broker sent a message of {} bytes, at most {PAYLOAD_MAX} are taken",
                payload.len()
            )));
        }
        let ack = match qos {
            QoS::AtMostOnce => Receipt::None,
            QoS::AtLeastOnce => Receipt::PubAck(pkid),
            QoS::ExactlyOnce if self.unreleased.contains(&pkid) => {
                // Delivered already; the broker did not see our PUBREC.
                let _ = PubRec::new(pkid).write(out);
                return Ok(Reaction::Nothing);
            }
            QoS::ExactlyOnce if self.unreleased.len() >= UNRELEASED_MAX => {
                return Err(protocol(format!("the broker left {UNRELEASED_MAX} messages of QoS 2 without PUBREL")));
            }
            QoS::ExactlyOnce => Receipt::PubRec(pkid),
        };
        let flags = i64::from(retain) | (qos as i64) << 1 | i64::from(dup) << 3;
        Ok(Reaction::Deliver { topic, payload, flags, ack })
    }
}

impl Wish {
    fn n_bytes(&self) -> usize {
        match self {
            Self::Publish(publish) => publish.topic.len() + publish.payload.len(),
            Self::Subscribe(subscribe) => subscribe.filters.iter().map(|filter| filter.path.len()).sum(),
            Self::Unsubscribe(unsubscribe) => unsubscribe.topics.iter().map(String::len).sum(),
        }
    }

    /// What the broker will owe for it.
    fn answer(&self) -> Option<Answer> {
        match self {
            Self::Publish(publish) => match publish.qos {
                QoS::AtMostOnce => None,
                QoS::AtLeastOnce => Some(Answer::PubAck),
                QoS::ExactlyOnce => Some(Answer::PubRec),
            },
            Self::Subscribe(_) => Some(Answer::SubAck),
            Self::Unsubscribe(_) => Some(Answer::UnsubAck),
        }
    }
}

/// Can this be published?
pub(super) fn check_publish(message: &MqttPublish<'_>) -> Result<(), Refusal> {
    let topic = message.topic.as_str();
    if topic.is_empty() || topic.len() > TEXT_MAX || topic.contains(['+', '#', '\0']) {
        let expected = "expected 1 to 65535 bytes without `+`, `#` and NUL";
        return Err(Refusal::invalid(format!("topic `{}` cannot be published to; {expected}", shown(topic))));
    }
    if message.payload.len() > PAYLOAD_MAX {
        let text = format!(
            "the payload for `{}` has {} bytes, at most {PAYLOAD_MAX} are taken",
            shown(topic),
            message.payload.len()
        );
        return Err(Refusal::invalid(text));
    }
    match quality(message.qos) {
        Some(_) => Ok(()),
        None => Err(Refusal::invalid(format!("QoS {} is not known; accepted are 0, 1, 2", message.qos))),
    }
}

fn check_filter(filter: &str) -> Result<(), Refusal> {
    if filter.is_empty() || filter.len() > TEXT_MAX || filter.contains('\0') {
        return Err(Refusal::invalid(format!("`{}` is no topic filter", shown(filter))));
    }
    Ok(())
}

/// The length of what follows it (MQTT 3.1.1, 2.2.3).
pub(super) fn length_bytes(mut length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (length % 128) as u8;
        length /= 128;
        bytes.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            return bytes;
        }
    }
}

pub(super) fn protocol(text: impl Into<String>) -> Refusal {
    Refusal::new(HostRefusal::PROTOCOL, text)
}

fn quality(qos: u8) -> Option<QoS> {
    [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce].get(usize::from(qos)).copied()
}

/// Enough of a text to recognise it.
fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

/// Packets that wait for an answer at once; further ones stay in the queue (`polylink.mqtt/1`).
const WINDOW: usize = 64;

/// The same for a connection that is being closed: everything queued goes out.
const LEAVING_MAX: usize = WINDOW + QUEUE_MAX;

/// Packets in the queue; beyond, a call fails (`polylink.mqtt/1`).
const QUEUE_MAX: usize = 256;

/// Bytes of topics and payloads in the queue; beyond, a call fails. Not documented; chosen by us: eight messages of the
/// greatest size, and all 256 of any usual size.
const QUEUE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Longest payload, both ways (`polylink.mqtt/1`).
pub(super) const PAYLOAD_MAX: usize = 256 * 1024;

/// Longest text of MQTT (3.1.1, 1.5.3).
const TEXT_MAX: usize = 65_535;

/// Once so many bytes are in a batch, no further packet is added. Not documented; chosen by us: two TLS records.
const BATCH_MAX: usize = 32 * 1024;

/// Messages of QoS 2 that the broker may leave without PUBREL; beyond, the connection is closed. Chosen by us.
const UNRELEASED_MAX: usize = 1024;

/// MQTT 3.1.1, 3.12.
const PINGREQ: [u8; 2] = [0xC0, 0x00];

/// MQTT 3.1.1, 3.14.
const DISCONNECT: [u8; 2] = [0xE0, 0x00];

#[cfg(test)]
mod tests;
