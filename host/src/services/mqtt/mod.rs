//! `polylink.mqtt/1`: MQTT 3.1 and 3.1.1.
//!
//! Packets are read and written by rumqttc's codec; CONNECT ([`connect`]), the protocol state ([`state`], pure), its times ([`watch`], pure) and the
//! loop ([`driver`]) are ours. One connect is one attempt is one task; when it ends, every call without an answer fails,
//! then the connection reports its end. Trying again is the plugin's business.

mod connect;
mod driver;
mod state;
mod watch;

use std::sync::{Arc, Mutex};

use polylink_plugin_api::abi_stable::std_types::RStr;
use polylink_plugin_api::services::Mqtt;
use polylink_plugin_api::services::mqtt::{CLOSED, MqttConnect, MqttPublish, REFUSED};
use polylink_plugin_api::{Extension, HostRefusal, InstanceId};
use tokio::sync::Notify;
use tokio::time::Instant;

use self::driver::{End, Outlet};
use self::state::State;
pub(super) use self::watch::Patience;
use super::dial::{self, Target};
use super::registry::{Instance, Port, Refusal, locked, with_instance, with_token};

/// The table.
pub(super) static TABLE: Mqtt = Mqtt { connect, publish, subscribe, unsubscribe, disconnect };

extern "C" fn connect(id: InstanceId, wish: MqttConnect<'_>) -> u64 {
    with_token(id, |instance, token| {
        if let Err(refusal) = open(instance, token, &wish) {
            instance.refuse(Mqtt::ID, CLOSED, token, refusal);
        }
    })
}

extern "C" fn publish(id: InstanceId, handle: u64, message: MqttPublish<'_>) -> u64 {
    call(id, handle, |state, token| state.publish(token, &message))
}

extern "C" fn subscribe(id: InstanceId, handle: u64, filter: RStr<'_>, qos: u8) -> u64 {
    call(id, handle, |state, token| state.subscribe(token, filter.as_str(), qos))
}

extern "C" fn unsubscribe(id: InstanceId, handle: u64, filter: RStr<'_>) -> u64 {
    call(id, handle, |state, token| state.unsubscribe(token, filter.as_str()))
}

extern "C" fn disconnect(id: InstanceId, handle: u64) {
    with_instance(id, (), |instance| {
        if let Some(Port::Mqtt(connection)) = instance.port(handle) {
            connection.disconnect();
        }
    });
}

fn call(id: InstanceId, handle: u64, queue: impl FnOnce(&mut State, u64) -> Result<(), Refusal>) -> u64 {
    with_token(id, |instance, token| {
        let queued = match instance.port(handle) {
            Some(Port::Mqtt(connection)) => {
                let queued = queue(&mut locked(&connection.state), token);
                connection.changed.notify_one();
                queued
            }
            _ => Err(Refusal::new(HostRefusal::UNKNOWN_HANDLE, "there is no such MQTT connection")),
        };
        if let Err(refusal) = queued {
            instance.fail(Mqtt::ID, token, refusal);
        }
    })
}

fn open(instance: &Arc<Instance>, token: u64, wish: &MqttConnect<'_>) -> Result<(), Refusal> {
    let packet = connect::encode(wish)?;
    let tls = dial::protection(instance, &wish.host, &wish.tls)?;
    let target = Target { host: wish.host.to_string(), port: wish.port, tls };
    let connection = Arc::new(Connection::new(Patience::of(wish)));
    let by = Instant::now() + dial::timeout(wish.timeout_ms);
    let task = run(Arc::clone(instance), token, Arc::clone(&connection), target, packet, by);
    instance.admit(token, Port::Mqtt(connection), task)
}

/// A connection, as table functions reach it.
pub(super) struct Connection {
    state: Mutex<State>,
    /// Told when the state has something new to do.
    changed: Notify,
}

impl Connection {
    pub fn new(patience: Patience) -> Self {
        Self { state: Mutex::new(State::new(patience)), changed: Notify::new() }
    }

    /// Sends what is queued, then ends.
    pub fn disconnect(&self) {
        locked(&self.state).disconnect();
        self.changed.notify_one();
    }

    pub fn queued_bytes(&self) -> usize {
        locked(&self.state).queued_bytes()
    }

    /// Tells the end of a connection whose task is gone and whose handle has left the table.
    pub fn end(&self, instance: &Instance, token: u64, why: Refusal) {
        let unanswered = locked(&self.state).end();
        tell_closed(instance, token, unanswered, why);
    }

    async fn until_leaving(&self) {
        while !locked(&self.state).is_leaving() {
            self.changed.notified().await;
        }
    }
}

async fn run(
    instance: Arc<Instance>,
    token: u64,
    connection: Arc<Connection>,
    target: Target,
    packet: Vec<u8>,
    by: Instant,
) {
    let dialled = tokio::select! {
        dialled = tokio::time::timeout_at(by, instance.dialer.dial(&target)) => dialled.unwrap_or_else(|_| {
            let text = format!("{}:{}: no connection in time", target.host, target.port);
            Err(Refusal::new(HostRefusal::TIMEOUT, text))
        }),
        () = connection.until_leaving() => Err(driver::closed_on_request()),
    };
    let end = match dialled {
        Err(refusal) => End::Closed(refusal),
        Ok((wire, _)) => {
            let outlet = Outlet { sink: &*instance.sink, handle: token };
            driver::run(outlet, &connection, wire, &packet, by).await
        }
    };
    finish(&instance, token, &connection, end);
}

/// Tells the end, unless that was done already.
fn finish(instance: &Instance, token: u64, connection: &Connection, end: End) {
    let unanswered = locked(&connection.state).end();
    if !instance.release(token) {
        return;
    }
    match end {
        End::Refused(code) => {
            let text = format!("the broker refused the connection: {code}");
            fail_all(instance, unanswered, &Refusal::new(HostRefusal::CONNECTION_REFUSED, text.clone()));
            instance.complete(Mqtt::ID, REFUSED, token, code.into(), text);
        }
        End::Closed(why) => tell_closed(instance, token, unanswered, why),
    }
}

fn tell_closed(instance: &Instance, token: u64, unanswered: Vec<u64>, why: Refusal) {
    fail_all(instance, unanswered, &why);
    instance.complete(Mqtt::ID, CLOSED, token, why.code, why.text);
}

/// Fails what has no answer, each with its own event.
fn fail_all(instance: &Instance, unanswered: Vec<u64>, why: &Refusal) {
    for call in unanswered {
        instance.fail(Mqtt::ID, call, why.clone());
    }
}
