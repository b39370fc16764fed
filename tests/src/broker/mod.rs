//! A small strict MQTT broker for tests: 3.1 and 3.1.1, plain or TLS, decisions by hooks, faults on request.
//!
//! Invariant: a client that breaks the standard is cut off at once and its breach is written down; nothing a client
//! sends makes the broker grow without bound. Left out: retained messages and delivery with QoS 2.

mod connection;
pub mod hooks;
pub mod packet;
mod session;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use self::hooks::Hooks;
use self::packet::{Connect, Publish};
pub use self::session::matches;
use self::session::{Order, Sessions};

/// What goes wrong from now on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// Answers each CONNECT with this code.
    pub refuse: Option<u8>,
    /// Accepts connections and never says anything.
    pub black_hole: bool,
    /// Answers the first byte with bytes that are no MQTT.
    pub garbage: bool,
    /// Sends the head of a packet larger than any client accepts, right after CONNACK.
    pub oversize: bool,
    /// Publications to come that get no PUBACK.
    pub drop_pubacks: u32,
}

/// What happened so far.
#[derive(Debug, Clone, Default)]
pub struct BrokerLog {
    /// TCP connections accepted.
    pub accepted: u64,
    /// Each CONNECT that was well formed, with the code it got.
    pub connects: Vec<(Connect, u8)>,
    /// Orderly farewells.
    pub disconnects: u64,
    /// Connections cut because the client was silent for one and a half keep-alives.
    pub silent: u64,
    /// Publications of clients, and those of them with DUP.
    pub messages: u64,
    /// See `messages`.
    pub dup_messages: u64,
    /// Breaches of the standard or of the hooks' rules, in words.
    pub violations: Vec<String>,
}

/// A running broker; dropping it ends it.
pub struct Broker {
    shared: Arc<Shared>,
    addr: SocketAddr,
    accepting: Mutex<Option<JoinHandle<()>>>,
    tls: Option<Arc<rustls::ServerConfig>>,
}

struct Shared {
    hooks: Arc<dyn Hooks>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sessions: Sessions,
    faults: Faults,
    log: BrokerLog,
    last_connection: u64,
    /// Orders to all open connections, let in or not.
    open: Vec<(u64, tokio::sync::mpsc::Sender<Order>)>,
}

impl Broker {
    /// Listens on a free port of the loopback interface; needs a running tokio runtime.
    pub fn start(hooks: Arc<dyn Hooks>, tls: Option<Arc<rustls::ServerConfig>>) -> io::Result<Self> {
        let shared = Arc::new(Shared { hooks, state: Mutex::new(State::default()) });
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let addr = listener.local_addr()?;
        let broker = Self { shared, addr, accepting: Mutex::new(None), tls };
        broker.accept(listener);
        Ok(broker)
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Resets all connections and closes the port; sessions are kept.
    pub fn go_away(&self) {
        if let Some(task) = self.accepting.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take() {
            task.abort();
        }
        for (_, orders) in self.shared.lock().open.drain(..) {
            let _ = orders.try_send(Order::Close { reset: true });
        }
    }

    /// Listens again on the same port; a broker that never went away stays as it is.
    pub fn come_back(&self) -> io::Result<()> {
        if self.accepting.lock().unwrap_or_else(std::sync::PoisonError::into_inner).is_none() {
            self.accept(listen(self.addr)?);
        }
        Ok(())
    }

    /// Cuts one client off.
    pub fn kick(&self, client: &str) {
        let state = self.shared.lock();
        if let Some(connection) = state.sessions.0.get(client).and_then(|session| session.connection.as_ref()) {
            let _ = connection.orders.try_send(Order::Close { reset: true });
        }
    }

    /// Sends a message to one client, whether it subscribed or not; false if it cannot be had.
    pub fn deliver(&self, client: &str, topic: &str, payload: &[u8], qos: u8) -> bool {
        let message = Publish { qos, topic: topic.to_owned(), payload: payload.to_vec(), ..Publish::default() };
        self.shared.lock().sessions.0.get_mut(client).is_some_and(|session| session.deliver(message))
    }

    /// Sends the client's unacknowledged messages again, with DUP.
    pub fn redeliver(&self, client: &str) {
        if let Some(session) = self.shared.lock().sessions.0.get_mut(client) {
            session.redeliver();
        }
    }

    /// Messages the client has not acknowledged yet.
    pub fn unacknowledged(&self, client: &str) -> usize {
        self.shared.lock().sessions.0.get(client).map_or(0, |session| session.in_flight.len())
    }

    /// Publishes to all subscribers.
    pub fn publish(&self, topic: &str, payload: &[u8], qos: u8) {
        let message = Publish { qos, topic: topic.to_owned(), payload: payload.to_vec(), ..Publish::default() };
        self.shared.lock().sessions.route(&message);
    }

    /// Ids of the clients that are connected.
    pub fn online(&self) -> Vec<String> {
        let state = self.shared.lock();
        state.sessions.0.iter().filter(|(_, session)| session.connection.is_some()).map(|(id, _)| id.clone()).collect()
    }

    /// Filters a client has subscribed to.
    pub fn subscriptions(&self, client: &str) -> Vec<String> {
        let state = self.shared.lock();
        state.sessions.0.get(client).map(|session| session.subscriptions.keys().cloned().collect()).unwrap_or_default()
    }

    /// What goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.lock().faults = faults;
    }

    /// What happened so far.
    pub fn log(&self) -> BrokerLog {
        self.shared.lock().log.clone()
    }

    fn accept(&self, listener: TcpListener) {
        let (shared, tls) = (Arc::clone(&self.shared), self.tls.clone().map(TlsAcceptor::from));
        let task = tokio::spawn(async move {
            // Accepting fails when this process runs out of descriptors; the broker then takes nobody any more.
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection::serve(Arc::clone(&shared), stream, tls.clone()));
            }
        });
        *self.accepting.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(task);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.go_away();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    fn violation(&mut self, text: String) {
        if self.log.violations.len() < MAX_ENTRIES {
            self.log.violations.push(text);
        }
    }
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(64)
}

/// Not documented; chosen by us: entries of each list in the log; later ones are not kept.
const MAX_ENTRIES: usize = 10_000;

#[cfg(test)]
mod tests;
