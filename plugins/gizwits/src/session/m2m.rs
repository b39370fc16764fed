//! The connection to the M2M server: subscriptions, messages, its end.

use polylink_plugin_sdk::services::{Reason, mqtt};
use polylink_plugin_sdk::{Now, Output, RequestId};

use super::cloud::{Phase, Server};
use super::forwarding::Asker;
use super::{GizwitsSession, Timer};
use crate::packet::{self, Frame, P0Request, PacketError, ServerMessage};
use crate::reconnect::{Connack, STABLE_AFTER_MS};
use crate::topics::{self, Incoming};

impl GizwitsSession {
    pub(super) fn take_mqtt(&mut self, now: Now, event: mqtt::Event) {
        use mqtt::Event;
        match event {
            Event::Connected { connection, .. } if self.phase.connection() == Some(connection) => self.connected(now),
            Event::Refused(connection, code) if self.phase.connection() == Some(connection) => self.refused(now, code),
            Event::Closed(connection, failure) if self.phase.connection() == Some(connection) => {
                let why = match self.phase {
                    Phase::Online { .. } | Phase::Subscribing { .. } => format!("connection lost: {}", failure.text),
                    _ => format!("no connection: {}", failure.text),
                };
                self.lost(now, why);
            }
            Event::Subscribed(id, result) => self.take_subscribed(now, id, result),
            Event::Published(id, Ok(())) => self.settled.extend(self.uplink.sent(id)),
            Event::Published(id, Err(failure)) => {
                let seq = self.uplink.failed(id, failure.reason == Reason::Invalid);
                if let Some(seq) = seq {
                    self.told.counters.reports_refused += 1;
                    self.warn(format!("the host does not take a report: {}", failure.text));
                    self.settled.push(seq);
                }
            }
            Event::Message { connection, topic, payload, .. } if self.phase.connection() == Some(connection) => {
                self.take_message(now, &topic, &payload);
            }
            _ => {}
        }
    }

    fn connected(&mut self, now: Now) {
        let Phase::Connecting { connection, server } = &self.phase else { return };
        let (connection, server) = (*connection, server.clone());
        self.subscribe(now, connection, server, 0);
    }

    /// One after the other, each after the answer to the one before (GAgent product specification 8.6; as the vendor's
    /// module was seen to do).
    fn subscribe(&mut self, now: Now, connection: RequestId, server: Server, n_done: usize) {
        let Some(filter) = self.filters().get(n_done).cloned() else {
            return self.online(now, connection, server);
        };
        let id = self.next_id();
        self.phase = Phase::Subscribing { connection, server, subscription: id, n_done };
        self.timers.set(Timer::Suback, now.monotonic.after(SUBACK_MS));
        self.outputs.push(Output::Mqtt(mqtt::Request::Subscribe { connection, id, filter, qos: QOS }));
    }

    fn take_subscribed(&mut self, now: Now, id: RequestId, result: Result<u8, polylink_plugin_sdk::services::Failure>) {
        let Phase::Subscribing { connection, server, subscription, n_done } = &self.phase else { return };
        if *subscription != id {
            return;
        }
        let (connection, server, n_done) = (*connection, server.clone(), *n_done);
        match result {
            Ok(SUBSCRIPTION_REFUSED) => self.subscription_failed(now, "the M2M server refuses a subscription"),
            Ok(_) => self.subscribe(now, connection, server, n_done + 1),
            // The end of the connection follows and says why.
            Err(_) => {}
        }
    }

    pub(super) fn subscription_failed(&mut self, now: Now, why: &str) {
        let Phase::Subscribing { connection, .. } = &self.phase else { return };
        self.outputs.push(Output::Mqtt(mqtt::Request::Disconnect(*connection)));
        self.lost(now, why.to_owned());
    }

    fn online(&mut self, now: Now, connection: RequestId, server: Server) {
        self.timers.clear(&Timer::Suback);
        self.timers.set(Timer::Lookup, now.monotonic.after(super::cloud::LOOKUP_EVERY_MS));
        self.info(format!("online at {}:{}", server.host, server.port));
        self.reconnect.connected(now.monotonic);
        self.timers.clear(&Timer::Restart);
        self.note.clear();
        self.phase = Phase::Online { connection, server, since: now.monotonic };
        let message = mqtt::Message {
            topic: topics::CLI2SER_REQ.to_owned(),
            payload: packet::ask_applications(),
            qos: QOS,
            retain: false,
        };
        self.publish(connection, message);
    }

    /// Publishes what nobody settles.
    pub(super) fn publish(&mut self, connection: RequestId, message: mqtt::Message) {
        let id = self.next_id();
        self.outputs.push(Output::Mqtt(mqtt::Request::Publish { connection, id, message }));
    }

    /// What each CONNACK code asks for (GAgent product specification 8.9).
    fn refused(&mut self, now: Now, code: u8) {
        let why = match code {
            1 => "the M2M server does not take this version of MQTT",
            2 => "the M2M server does not take this client identifier",
            3 => "the M2M server is not available",
            4 => "the M2M server does not know this DID with its passcode",
            5 => "the M2M server does not authorise this device",
            _ => "the M2M server refused the connection",
        };
        let why = format!("{why} (CONNACK {code})");
        if Connack::to(code) == Connack::ForgetDid {
            self.end_connection();
            self.disbelieved(now, &why);
        } else {
            self.lost(now, why);
        }
    }

    fn lost(&mut self, now: Now, why: String) {
        if matches!(self.phase, Phase::Online { since, .. } if now.monotonic.since(since) >= STABLE_AFTER_MS) {
            self.disbelieved = 0;
        }
        let server = self.phase.server().cloned();
        self.end_connection();
        match server {
            Some(server) => self.connection_failed(now, server, why),
            None => self.begin(now),
        }
    }

    /// Forgets what belongs to the connection.
    pub(super) fn end_connection(&mut self) {
        self.timers.clear(&Timer::Suback);
        self.timers.clear(&Timer::Lookup);
        self.addresses.refresh = None;
        self.uplink.disconnected();
        self.requesters.retain(|_, requester| matches!(requester.asker, Asker::Lan(_)));
        self.cloud_applications = 0;
        self.phase = Phase::Idle;
    }

    fn take_message(&mut self, now: Now, topic: &str, payload: &[u8]) {
        let Some(did) = &self.identity.did else { return };
        match Incoming::parse(topic, did, &self.model.product_key) {
            Incoming::App { client } => match app_request(payload) {
                Ok(Some(request)) => self.take_request(Asker::Cloud(client), request),
                Ok(None) => self.drop_input("a frame that is no request"),
                Err(error) => self.drop_input(&error.to_string()),
            },
            Incoming::Server | Incoming::Notice => match ServerMessage::decode(payload) {
                Ok(message) => self.take_server_message(now, message),
                Err(error) => self.drop_input(&error.to_string()),
            },
            Incoming::Unknown => self.drop_input("a message on a topic that is not ours"),
        }
    }

    fn take_server_message(&mut self, now: Now, message: ServerMessage) {
        match message {
            ServerMessage::Applications(count) => {
                self.cloud_applications = u32::from(count);
                self.status_changed(now);
            }
            ServerMessage::FirmwareNews(kind) => self.check_pushed(kind),
            ServerMessage::FirmwareOffer { kind, id, url } => self.firmware_pushed(now, kind, id, url),
            // Commands of gateways and of the newer firmware; ignored (Gizwits device and cloud protocol, commands).
            ServerMessage::Other(_) => {}
        }
    }

    /// Counts input that is of no use. The log has it at debug level: whoever sends it must not fill the disk.
    pub(super) fn drop_input(&mut self, why: &str) {
        self.told.counters.input_dropped += 1;
        self.outputs.push(Output::Log(polylink_plugin_sdk::session::Level::Debug, format!("dropped: {why}")));
    }
}

fn app_request(payload: &[u8]) -> Result<Option<P0Request>, PacketError> {
    P0Request::decode(&Frame::decode_prefix(payload)?)
}

/// Everything is sent with QoS 0 (Gizwits device and cloud protocol, messages).
pub(super) const QOS: u8 = 0;
/// A server that does not answer a subscription for so long is left (Gizwits device and cloud protocol, subscribe).
const SUBACK_MS: u64 = 5_000;
/// MQTT 3.1.1, 3.9.3.
const SUBSCRIPTION_REFUSED: u8 = 0x80;
