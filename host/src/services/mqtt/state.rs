//! The client's half of MQTT 3.1 and 3.1.1 after CONNACK, as a pure state machine: packet ids, acknowledgements, QoS 2,
//! and what waits. No I/O, no clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use polylink_plugin_api::services::mqtt::{PUBLISHED, SUBSCRIBED, UNSUBSCRIBED};
use rumqttc::{
    Packet, PubAck, PubComp, PubRec, PubRel, Publish, QoS, Subscribe, SubscribeFilter, SubscribeReasonCode, Unsubscribe,
};

/// What is to be done.
#[derive(Debug, PartialEq)]
pub enum Action {
    /// Write this packet.
    Send(Packet),
    /// Write this packet, and tell the plugin [`PUBLISHED`] with this token when the socket has it.
    SendThenTell(Packet, u64),
    /// Tell the plugin: kind, token, code.
    Tell(u32, u64, i64),
    /// Hand this message over, then write the packet that acknowledges it.
    Deliver(Publish, Option<Packet>),
}

/// What the broker sent that no broker may send.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    #[error("the broker sent {0}, which only a client sends")]
    ClientPacket(&'static str),
    #[error("the broker keeps more than {QOS2_INCOMING_MAX} messages with QoS 2 open")]
    TooManyOpen,
    #[error("the broker sent a message with QoS {0} and packet id 0")]
    NoPacketId(u8),
}

/// See the module.
#[derive(Debug, Default)]
pub struct State {
    last_id: u16,
    waiting: BTreeMap<u16, Waiting>,
    /// Publishes among `waiting`.
    n_in_flight: usize,
    queue: VecDeque<(u64, Publish)>,
    received_qos2: BTreeSet<u16>,
}

/// What an acknowledgement is awaited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    PubAck(u64),
    PubRec(u64),
    PubComp(u64),
    SubAck(u64),
    UnsubAck(u64),
}

impl State {
    /// Takes a message to publish. [`State::next`] sends it when there is room.
    pub fn publish(&mut self, token: u64, message: Publish) {
        self.queue.push_back((token, message));
    }

    /// The next queued message, if one may be sent now.
    pub fn next(&mut self) -> Option<Action> {
        let (_, first) = self.queue.front()?;
        if first.qos != QoS::AtMostOnce && self.n_in_flight >= IN_FLIGHT_MAX {
            return None;
        }
        let (token, mut message) = self.queue.pop_front()?;
        let waiting = match message.qos {
            QoS::AtMostOnce => return Some(Action::SendThenTell(Packet::Publish(message), token)),
            QoS::AtLeastOnce => Waiting::PubAck(token),
            QoS::ExactlyOnce => Waiting::PubRec(token),
        };
        message.pkid = self.fresh_id();
        self.n_in_flight += 1;
        self.waiting.insert(message.pkid, waiting);
        Some(Action::Send(Packet::Publish(message)))
    }

    /// Subscribes to one filter.
    pub fn subscribe(&mut self, token: u64, filter: String, qos: QoS) -> Action {
        let pkid = self.fresh_id();
        self.waiting.insert(pkid, Waiting::SubAck(token));
        Action::Send(Packet::Subscribe(Subscribe { pkid, filters: vec![SubscribeFilter { path: filter, qos }] }))
    }

    /// Gives up one filter.
    pub fn unsubscribe(&mut self, token: u64, filter: String) -> Action {
        let pkid = self.fresh_id();
        self.waiting.insert(pkid, Waiting::UnsubAck(token));
        Action::Send(Packet::Unsubscribe(Unsubscribe { pkid, topics: vec![filter] }))
    }

    /// Takes a packet of the broker. An acknowledgement that nobody waits for is ignored: a broker that restarts with
    /// old state sends such.
    ///
    /// # Errors
    /// No broker may send this; close the connection.
    pub fn receive(&mut self, packet: Packet) -> Result<Option<Action>, Violation> {
        Ok(match packet {
            Packet::Publish(message) => return self.receive_publish(message),
            Packet::PubAck(ack) => self.settle(ack.pkid, |waiting| matches!(waiting, Waiting::PubAck(_))),
            Packet::PubRec(ack) => match self.waiting.get_mut(&ack.pkid) {
                Some(waiting @ (Waiting::PubRec(_) | Waiting::PubComp(_))) => {
                    let (Waiting::PubRec(token) | Waiting::PubComp(token)) = *waiting else { return Ok(None) };
                    *waiting = Waiting::PubComp(token);
                    Some(Action::Send(Packet::PubRel(PubRel::new(ack.pkid))))
                }
                _ => None,
            },
            Packet::PubComp(ack) => self.settle(ack.pkid, |waiting| matches!(waiting, Waiting::PubComp(_))),
            Packet::PubRel(release) => {
                self.received_qos2.remove(&release.pkid);
                Some(Action::Send(Packet::PubComp(PubComp::new(release.pkid))))
            }
            Packet::SubAck(ack) => match self.waiting.get(&ack.pkid) {
                Some(&Waiting::SubAck(token)) => {
                    self.waiting.remove(&ack.pkid);
                    let granted = match ack.return_codes.first() {
                        Some(SubscribeReasonCode::Success(qos)) => *qos as i64,
                        Some(SubscribeReasonCode::Failure) | None => 0x80,
                    };
                    Some(Action::Tell(SUBSCRIBED, token, granted))
                }
                _ => None,
            },
            Packet::UnsubAck(ack) => match self.waiting.get(&ack.pkid) {
                Some(&Waiting::UnsubAck(token)) => {
                    self.waiting.remove(&ack.pkid);
                    Some(Action::Tell(UNSUBSCRIBED, token, 0))
                }
                _ => None,
            },
            Packet::PingResp | Packet::ConnAck(_) => None,
            Packet::Connect(_) => return Err(Violation::ClientPacket("CONNECT")),
            Packet::Subscribe(_) => return Err(Violation::ClientPacket("SUBSCRIBE")),
            Packet::Unsubscribe(_) => return Err(Violation::ClientPacket("UNSUBSCRIBE")),
            Packet::PingReq => return Err(Violation::ClientPacket("PINGREQ")),
            Packet::Disconnect => return Err(Violation::ClientPacket("DISCONNECT")),
        })
    }

    #[cfg(test)]
    /// Tokens of all that has no answer yet, oldest first: publishes in flight and queued, subscriptions.
    pub fn unanswered(&self) -> Vec<u64> {
        let waiting = self.waiting.values().map(|waiting| match *waiting {
            Waiting::PubAck(token) | Waiting::PubRec(token) | Waiting::PubComp(token) => token,
            Waiting::SubAck(token) | Waiting::UnsubAck(token) => token,
        });
        let mut tokens: Vec<u64> = waiting.chain(self.queue.iter().map(|(token, _)| *token)).collect();
        tokens.sort_unstable();
        tokens
    }

    /// Nothing waits to be sent or acknowledged.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.queue.is_empty()
    }

    fn receive_publish(&mut self, message: Publish) -> Result<Option<Action>, Violation> {
        let pkid = message.pkid;
        if message.qos != QoS::AtMostOnce && pkid == 0 {
            return Err(Violation::NoPacketId(message.qos as u8));
        }
        Ok(Some(match message.qos {
            QoS::AtMostOnce => Action::Deliver(message, None),
            QoS::AtLeastOnce => Action::Deliver(message, Some(Packet::PubAck(PubAck::new(pkid)))),
            QoS::ExactlyOnce => {
                let received = Packet::PubRec(PubRec::new(pkid));
                if self.received_qos2.contains(&pkid) {
                    return Ok(Some(Action::Send(received)));
                }
                if self.received_qos2.len() >= QOS2_INCOMING_MAX {
                    return Err(Violation::TooManyOpen);
                }
                self.received_qos2.insert(pkid);
                Action::Deliver(message, Some(received))
            }
        }))
    }

    fn settle(&mut self, pkid: u16, expected: impl Fn(&Waiting) -> bool) -> Option<Action> {
        let (Waiting::PubAck(token) | Waiting::PubComp(token)) = *self.waiting.get(&pkid).filter(|w| expected(w))?
        else {
            return None;
        };
        self.waiting.remove(&pkid);
        self.n_in_flight -= 1;
        Some(Action::Tell(PUBLISHED, token, 0))
    }

    /// There is always one: at most [`IN_FLIGHT_MAX`] and the calls quota are taken of 65535.
    fn fresh_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.waiting.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }
}

/// A message to publish.
pub fn message(topic: &str, payload: &[u8], qos: QoS, retain: bool) -> Publish {
    let payload = Bytes::copy_from_slice(payload);
    Publish { dup: false, qos, retain, topic: topic.to_owned(), pkid: 0, payload }
}

/// Publishes with QoS 1 or 2 that wait for their acknowledgement (contract of `polylink.mqtt/1`). Further ones wait in
/// the queue, which the caller bounds.
pub const IN_FLIGHT_MAX: usize = 64;

/// Messages with QoS 2 that the broker may have open. One more closes the connection. Chosen by us.
const QOS2_INCOMING_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(state: &mut State) -> Vec<u16> {
        std::iter::from_fn(|| state.next())
            .map(|action| match action {
                Action::Send(Packet::Publish(message)) => message.pkid,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn publishing(n: u64) -> State {
        let mut state = State::default();
        (1..=n).for_each(|token| state.publish(token, message("t", b"x", QoS::AtLeastOnce, false)));
        state
    }

    #[test]
    fn sixty_four_messages_are_in_flight_and_the_rest_waits_its_turn() {
        let mut state = publishing(66);
        assert_eq!(sent(&mut state).len(), 64);
        assert_eq!(state.receive(Packet::PubAck(PubAck::new(3))), Ok(Some(Action::Tell(PUBLISHED, 3, 0))));
        assert_eq!(sent(&mut state), [65]);
        assert_eq!(state.unanswered().len(), 65);
    }

    #[test]
    fn an_acknowledgement_for_nothing_is_ignored() {
        let mut state = publishing(1);
        sent(&mut state);
        for packet in [Packet::PubAck(PubAck::new(9)), Packet::PubComp(PubComp::new(1)), Packet::PubRec(PubRec::new(1))]
        {
            assert_eq!(state.receive(packet), Ok(None));
        }
        assert_eq!(state.unanswered(), [1]);
    }

    #[test]
    fn qos_2_out_is_published_after_pubcomp() {
        let mut state = State::default();
        state.publish(7, message("t", b"x", QoS::ExactlyOnce, false));
        assert_eq!(sent(&mut state), [1]);
        let release = Action::Send(Packet::PubRel(PubRel::new(1)));
        assert_eq!(state.receive(Packet::PubRec(PubRec::new(1))), Ok(Some(release)));
        assert_eq!(state.receive(Packet::PubComp(PubComp::new(1))), Ok(Some(Action::Tell(PUBLISHED, 7, 0))));
        assert!(state.is_idle());
    }

    #[test]
    fn qos_2_in_is_delivered_once() {
        let mut incoming = message("t", b"x", QoS::ExactlyOnce, false);
        incoming.pkid = 5;
        let mut state = State::default();
        let first = state.receive(Packet::Publish(incoming.clone()));
        assert!(matches!(first, Ok(Some(Action::Deliver(_, Some(Packet::PubRec(_)))))));
        let again = state.receive(Packet::Publish(incoming.clone()));
        assert!(matches!(again, Ok(Some(Action::Send(Packet::PubRec(_))))));
        state.receive(Packet::PubRel(PubRel::new(5))).expect("a broker may release");
        assert!(matches!(state.receive(Packet::Publish(incoming)), Ok(Some(Action::Deliver(..)))));
    }

    #[test]
    fn a_packet_that_only_a_client_sends_is_a_violation() {
        assert_eq!(State::default().receive(Packet::PingReq), Err(Violation::ClientPacket("PINGREQ")));
    }

    #[test]
    fn packet_ids_wrap_round_past_those_in_use() {
        let mut state = publishing(1);
        sent(&mut state);
        state.last_id = u16::MAX;
        state.publish(2, message("t", b"x", QoS::AtLeastOnce, false));
        assert_eq!(sent(&mut state), [2]);
    }
}
