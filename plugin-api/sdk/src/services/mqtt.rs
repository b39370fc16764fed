//! MQTT connections; see [`polylink_plugin_api::services::mqtt`].

use super::{Failure, Tls};
use crate::RequestId;
use crate::secret::Secret;

/// What a session asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Open a connection, which is called by this id from now on. One attempt.
    Connect(RequestId, Box<Connect>),
    /// Publish on it; [`Event::Published`] follows.
    Publish {
        /// The connection.
        connection: RequestId,
        /// This message.
        id: RequestId,
        /// What to publish.
        message: Message,
    },
    /// Subscribe to a topic filter with a QoS; [`Event::Subscribed`] follows.
    Subscribe {
        /// The connection.
        connection: RequestId,
        /// This subscription.
        id: RequestId,
        /// Topic filter.
        filter: String,
        /// Highest QoS wanted.
        qos: u8,
    },
    /// Give up a topic filter.
    Unsubscribe {
        /// The connection.
        connection: RequestId,
        /// Topic filter.
        filter: String,
    },
    /// Send what is queued and close; [`Event::Closed`] follows.
    Disconnect(RequestId),
}

/// How to connect. The default is MQTT 3.1.1 without TLS, user or will, with a clean session and 60 s of silence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// TLS, or plain text.
    pub tls: Option<Tls>,
    /// 3 for MQTT 3.1, 4 for 3.1.1.
    pub protocol_level: u8,
    /// Client identifier.
    pub client_id: String,
    /// User name.
    pub username: Option<String>,
    /// Password.
    pub password: Option<Secret<Vec<u8>>>,
    /// Clean session flag.
    pub clean_session: bool,
    /// Largest silence of ours in seconds; 0: none is promised.
    pub keepalive_s: u16,
    /// Ask the broker for a sign of life after so many seconds of its silence; 0: three quarters of `keepalive_s`.
    pub ping_after_s: u16,
    /// The broker is dead after so many seconds of its silence; 0: half of `keepalive_s`, at least 5 s, after an
    /// unanswered PINGREQ.
    pub dead_after_s: u16,
    /// Give up without CONNACK after so many milliseconds; 0: 10 s.
    pub timeout_ms: u32,
    /// Will.
    pub will: Option<Message>,
}

impl Default for Connect {
    fn default() -> Self {
        Self {
            host: String::new(),
            port: 1883,
            tls: None,
            protocol_level: 4,
            client_id: String::new(),
            username: None,
            password: None,
            clean_session: true,
            keepalive_s: 60,
            ping_after_s: 0,
            dead_after_s: 0,
            timeout_ms: 0,
            will: None,
        }
    }
}

/// One message to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Topic name.
    pub topic: String,
    /// Payload.
    pub payload: Vec<u8>,
    /// 0, 1 or 2.
    pub qos: u8,
    /// Retain flag.
    pub retain: bool,
}

/// What the service says. The first field is the connection's id unless said otherwise.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The broker took the connection.
    Connected {
        /// The connection.
        connection: RequestId,
        /// The broker kept a session.
        session_present: bool,
    },
    /// The broker refused it with this CONNACK code.
    Refused(RequestId, u8),
    /// The connection is gone or never came to be.
    Closed(RequestId, Failure),
    /// The publish with this id was acknowledged (QoS 0: sent), or failed.
    Published(RequestId, Result<(), Failure>),
    /// The subscription with this id was answered: granted QoS or 0x80, or failed.
    Subscribed(RequestId, Result<u8, Failure>),
    /// A message arrived.
    Message {
        /// The connection.
        connection: RequestId,
        /// Its topic.
        topic: String,
        /// Its payload.
        payload: Vec<u8>,
        /// Its QoS.
        qos: u8,
        /// Its retain flag.
        retain: bool,
        /// Its DUP flag.
        duplicate: bool,
    },
}

/// What a CONNACK code other than 0 means, for people (MQTT 3.1.1, 3.2.2.3).
#[must_use]
pub fn refusal(code: u8) -> String {
    let why = match code {
        1 => "the broker does not speak MQTT 3.1.1",
        2 => "the broker does not take this client id",
        3 => "the broker is not available",
        4 => "the broker does not take user name or password",
        5 => "the broker does not authorise this device",
        _ => "the broker refused the connection",
    };
    format!("{why} (CONNACK {code})")
}
