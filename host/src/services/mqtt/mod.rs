//! `polylink.mqtt/1`: MQTT 3.1 and 3.1.1 for plugins. The table checks and queues; [`connection`] runs one task per
//! connection; [`state`] is the protocol.

mod connection;
mod hello;
mod state;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use polylink_plugin_api::abi_stable::std_types::RStr;
use polylink_plugin_api::services::Mqtt;
use polylink_plugin_api::services::mqtt::{CLOSED, MqttConnect, MqttPublish};
use polylink_plugin_api::{Extension, HostRefusal, InstanceId};
use rumqttc::{Publish, QoS};
use tokio::sync::mpsc;

use super::dial::Target;
use super::registry::{self, AbortOnDrop, Handle, Instance};

/// The table.
pub static TABLE: Mqtt = Mqtt { connect, publish, subscribe, unsubscribe, disconnect };

/// An open connection, or one on its way.
pub struct Connection {
    orders: mpsc::UnboundedSender<Order>,
    load: Arc<Load>,
    _task: AbortOnDrop,
}

/// What the connection's task is told.
enum Order {
    Publish(u64, Publish),
    Subscribe(u64, String, QoS),
    Unsubscribe(u64, String),
    Disconnect,
}

/// What waits on a connection: bounds the order channel and all that comes of it.
#[derive(Default)]
struct Load {
    calls: AtomicUsize,
    bytes: AtomicUsize,
}

impl Connection {
    /// Sends what is queued and closes.
    pub fn disconnect(&self) {
        let _ = self.orders.send(Order::Disconnect);
    }

    fn order(&self, n_bytes: usize, order: Order) -> Result<(), (i64, String)> {
        let calls = self.load.calls.fetch_add(1, Ordering::Relaxed);
        let bytes = self.load.bytes.fetch_add(n_bytes, Ordering::Relaxed);
        if calls >= CALLS_MAX || bytes + n_bytes > BYTES_MAX {
            self.load.done(n_bytes);
            let text = format!("{calls} messages of {bytes} bytes in all wait on this connection already");
            return Err((HostRefusal::QUOTA, text));
        }
        if self.orders.send(order).is_err() {
            self.load.done(n_bytes);
            return Err((HostRefusal::UNKNOWN_HANDLE, "the connection is closed".to_owned()));
        }
        Ok(())
    }
}

impl Load {
    fn done(&self, n_bytes: usize) {
        self.calls.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(n_bytes, Ordering::Relaxed);
    }
}

extern "C" fn connect(id: InstanceId, options: MqttConnect<'_>) -> u64 {
    let token = registry::token();
    let Some(instance) = registry::find(id) else { return token };
    let target =
        Target::new(options.host.as_str(), options.port, &options.tls, options.timeout_ms, instance.plain_text);
    let hello = hello::connect_packet(&options);
    let (target, hello) = match (target, hello) {
        (Ok(target), Ok(hello)) => (target, hello),
        (Err(refusal), _) | (_, Err(refusal)) => {
            instance.end(Mqtt::ID, CLOSED, token, refusal.code, refusal.text);
            return token;
        }
    };
    if target.protection.is_none() {
        tracing::warn!(cloud = instance.name, to = target.address(), "MQTT without TLS, as the product file allows");
    }
    let keepalive = Duration::from_secs(options.keepalive_s.into());
    instance.insert(Mqtt::ID, CLOSED, token, || {
        let (orders, received) = mpsc::unbounded_channel();
        let load = Arc::new(Load::default());
        let run = connection::run(Arc::clone(&instance), token, target, hello, keepalive, received, Arc::clone(&load));
        let task = instance.runtime.spawn(run);
        Handle::Mqtt(Connection { orders, load, _task: AbortOnDrop(task.abort_handle()) })
    });
    token
}

extern "C" fn publish(id: InstanceId, connection: u64, options: MqttPublish<'_>) -> u64 {
    call(id, connection, |token| {
        let (topic, payload) = (options.topic.as_str(), options.payload.as_slice());
        let qos = qos(options.qos)?;
        if topic.is_empty() || topic.len() > TOPIC_MAX || topic.contains(['+', '#', '\0']) {
            return Err((HostRefusal::INVALID, format!("`{topic}` is not a topic name")));
        }
        if payload.len() > PAYLOAD_MAX {
            let text = format!("a payload has {PAYLOAD_MAX} bytes at most, not {}", payload.len());
            return Err((HostRefusal::INVALID, text));
        }
        let message = state::message(topic, payload, qos, options.retain);
        Ok((payload.len() + topic.len(), Order::Publish(token, message)))
    })
}

extern "C" fn subscribe(id: InstanceId, connection: u64, filter: RStr<'_>, level: u8) -> u64 {
    call(id, connection, |token| {
        let qos = qos(level)?;
        Ok((filter.len(), Order::Subscribe(token, checked_filter(filter)?, qos)))
    })
}

extern "C" fn unsubscribe(id: InstanceId, connection: u64, filter: RStr<'_>) -> u64 {
    call(id, connection, |token| Ok((filter.len(), Order::Unsubscribe(token, checked_filter(filter)?))))
}

extern "C" fn disconnect(id: InstanceId, connection: u64) {
    let Some(instance) = registry::find(id) else { return };
    instance.with(connection, |handle| match handle {
        Handle::Mqtt(connection) => Some(connection.disconnect()),
        _ => None,
    });
}

/// One call on a connection: gives a token, and fails the call if it cannot be made.
fn call(id: InstanceId, connection: u64, make: impl FnOnce(u64) -> Result<(usize, Order), (i64, String)>) -> u64 {
    let token = registry::token();
    let Some(instance) = registry::find(id) else { return token };
    let done = make(token).and_then(|(n_bytes, order)| {
        let found = instance.with(connection, |handle| match handle {
            Handle::Mqtt(connection) => Some(connection.order(n_bytes, order)),
            _ => None,
        });
        found.unwrap_or_else(|| Err((HostRefusal::UNKNOWN_HANDLE, format!("there is no connection {connection}"))))
    });
    if let Err((code, text)) = done {
        instance.fail(Mqtt::ID, token, code, text);
    }
    token
}

fn qos(level: u8) -> Result<QoS, (i64, String)> {
    rumqttc::qos(level).map_err(|_| (HostRefusal::INVALID, format!("QoS is 0, 1 or 2, not {level}")))
}

fn checked_filter(filter: RStr<'_>) -> Result<String, (i64, String)> {
    let filter = filter.as_str();
    if filter.len() <= TOPIC_MAX && rumqttc::valid_filter(filter) && !filter.contains('\0') {
        Ok(filter.to_owned())
    } else {
        Err((HostRefusal::INVALID, format!("`{filter}` is not a topic filter")))
    }
}

/// Publishes and subscriptions of one connection without an answer: 64 in flight and 256 queued (contract of
/// `polylink.mqtt/1`). One more fails with `QUOTA`.
const CALLS_MAX: usize = state::IN_FLIGHT_MAX + 256;

/// Bytes of their topics and payloads. Beyond that a call fails with `QUOTA`. Chosen by us: several of the largest.
const BYTES_MAX: usize = 1024 * 1024;

/// Contract of `polylink.mqtt/1`.
const PAYLOAD_MAX: usize = 256 * 1024;

/// MQTT 3.1.1, 1.5.3: a string has two bytes of length.
const TOPIC_MAX: usize = 65_535;

/// The events of this service.
fn tell(instance: &Instance, kind: u32, token: u64, code: i64, text: &str) {
    instance.end(Mqtt::ID, kind, token, code, text);
}
