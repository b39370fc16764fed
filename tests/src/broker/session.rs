//! What the broker remembers of a client: subscriptions, unacknowledged messages, and the connection it has now.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio::sync::mpsc;

use super::packet::{self, Connect, Publish};

/// What the broker tells a connection's task.
#[derive(Debug)]
pub(super) enum Order {
    /// Bytes to the client.
    Write(Vec<u8>),
    /// Close, cleanly or with a reset.
    Close { reset: bool },
}

#[derive(Debug, Default)]
pub(super) struct Session {
    pub subscriptions: BTreeMap<String, u8>,
    /// Sent with QoS 1 and not acknowledged yet, in the order of sending.
    pub in_flight: Vec<Publish>,
    /// Packet ids of QoS 2 messages received and not released.
    pub received: BTreeSet<u16>,
    pub connection: Option<Connection>,
    last_packet_id: u16,
    persistent: bool,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub id: u64,
    pub orders: mpsc::Sender<Order>,
    pub connect: Connect,
}

/// All clients by their ids.
#[derive(Debug, Default)]
pub(super) struct Sessions(pub HashMap<String, Session>);

impl Sessions {
    /// Lets a client in; whoever had its id before is cut off. Returns whether an earlier session goes on.
    pub fn enter(&mut self, connection: Connection) -> bool {
        let session = self.0.entry(connection.connect.client_id.clone()).or_default();
        if let Some(before) = session.connection.take() {
            let _ = before.orders.try_send(Order::Close { reset: false });
        }
        let goes_on = session.persistent && !connection.connect.clean_session;
        if !goes_on {
            *session = Session::default();
        }
        session.persistent = !connection.connect.clean_session;
        session.connection = Some(connection);
        goes_on
    }

    /// A connection has ended; a later one with the same client id is left alone. Returns whether the client is gone.
    pub fn leave(&mut self, client: &str, id: u64) -> bool {
        let Some(session) = self.0.get_mut(client) else { return false };
        if session.connection.as_ref().is_none_or(|connection| connection.id != id) {
            return false;
        }
        session.connection = None;
        if !session.persistent {
            self.0.remove(client);
        }
        true
    }

    /// Hands a message to everyone whose filters match.
    pub fn route(&mut self, message: &Publish) {
        for session in self.0.values_mut() {
            let granted = session.subscriptions.iter().filter(|(filter, _)| matches(filter, &message.topic));
            if let Some(qos) = granted.map(|(_, &qos)| qos).max() {
                session.deliver(Publish { qos: message.qos.min(qos), retain: false, dup: false, ..message.clone() });
            }
        }
    }
}

impl Session {
    /// Sends a message, subscribed to or not. QoS 2 is delivered as QoS 1.
    pub fn deliver(&mut self, mut message: Publish) -> bool {
        message.qos = message.qos.min(1);
        if self.connection.is_none() && (!self.persistent || message.qos == 0) {
            return false;
        }
        if message.qos > 0 {
            if self.in_flight.len() >= MAX_IN_FLIGHT {
                return false;
            }
            message.packet_id = self.next_packet_id();
            self.in_flight.push(message.clone());
        }
        self.write(packet::message(&message))
    }

    /// Sends again, with DUP, what was never acknowledged.
    pub fn redeliver(&mut self) {
        for message in self.in_flight.clone() {
            self.write(packet::message(&Publish { dup: true, ..message }));
        }
    }

    pub fn write(&self, bytes: Vec<u8>) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.orders.try_send(Order::Write(bytes)).is_ok())
    }

    fn next_packet_id(&mut self) -> u16 {
        loop {
            self.last_packet_id = self.last_packet_id.wrapping_add(1).max(1);
            if self.in_flight.iter().all(|message| message.packet_id != self.last_packet_id) {
                return self.last_packet_id;
            }
        }
    }
}

/// Whether a topic name falls under a filter (MQTT 3.1.1, 4.7).
pub fn matches(filter: &str, topic: &str) -> bool {
    let (mut filter, mut topic) = (filter.split('/'), topic.split('/'));
    loop {
        match (filter.next(), topic.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(wanted), Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
}

/// Not documented; chosen by us: messages a client may leave unacknowledged. Later ones are refused to the sender.
const MAX_IN_FLIGHT: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn filters_match_level_by_level() {
        for (filter, topic, expected) in [
            ("a/b", "a/b", true),
            ("a/+", "a/b", true),
            ("a/+", "a/b/c", false),
            ("a/#", "a/b/c", true),
            ("a/#", "a", true),
            ("#", "x/y", true),
            ("a", "a/b", false),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} against {topic}");
        }
    }
}
