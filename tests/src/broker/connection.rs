//! One connection of a client, from CONNECT to the end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::packet::{self, Ack, Connect, Packet, Publish};
use super::session::{Connection, Order};
use super::{MAX_ENTRIES, Shared};

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Serves until the connection ends, for whatever reason.
pub(super) async fn serve(shared: Arc<Shared>, stream: TcpStream, tls: Option<TlsAcceptor>) {
    let (orders, inbox) = mpsc::channel(MAX_ORDERS);
    let id = {
        let mut state = shared.lock();
        state.log.accepted += 1;
        state.last_connection += 1;
        let id = state.last_connection;
        state.open.push((id, orders.clone()));
        id
    };
    // Latency is measured through this broker, so nothing may wait for a full segment.
    let _ = stream.set_nodelay(true);
    // A second handle on the socket: a reset must be possible under TLS as well.
    let socket = socket2::SockRef::from(&stream).try_clone().ok();
    let stream: io::Result<Box<dyn Stream>> = match tls {
        None => Ok(Box::new(stream)),
        Some(tls) => tls.accept(stream).await.map(|stream| Box::new(stream) as Box<dyn Stream>),
    };
    if let Ok(stream) = stream {
        let mut client = Client { shared: &shared, id, orders, connect: None, farewell: false };
        if client.serve(stream, inbox).await
            && let Some(socket) = socket
        {
            let _ = socket.set_linger(Some(Duration::ZERO));
        }
        client.leave();
    }
    shared.lock().open.retain(|(open, _)| *open != id);
}

struct Client<'a> {
    shared: &'a Shared,
    id: u64,
    orders: mpsc::Sender<Order>,
    connect: Option<Connect>,
    farewell: bool,
}

impl Client<'_> {
    /// Returns whether the connection is to end by a reset.
    async fn serve(&mut self, mut stream: Box<dyn Stream>, mut inbox: mpsc::Receiver<Order>) -> bool {
        let mut buffer = Vec::new();
        let mut deadline = Instant::now() + CONNECT_WAIT;
        loop {
            tokio::select! {
                // Orders first: what was decided before a farewell goes out before the end.
                biased;
                order = inbox.recv() => match order {
                    Some(Order::Write(bytes)) => {
                        if stream.write_all(&bytes).await.is_err() {
                            return false;
                        }
                    }
                    Some(Order::Close { reset }) => return reset,
                    None => return false,
                },
                read = stream.read_buf(&mut buffer) => {
                    if !matches!(read, Ok(n) if n > 0) {
                        return false;
                    }
                    let faults = self.shared.lock().faults;
                    if faults.black_hole {
                        buffer.clear();
                        continue;
                    }
                    if faults.garbage {
                        let _ = stream.write_all(GARBAGE).await;
                        return false;
                    }
                    let mut answers = Vec::new();
                    let go_on = self.take_packets(&mut buffer, &mut answers);
                    if stream.write_all(&answers).await.is_err() {
                        return false;
                    }
                    match go_on {
                        Ok(true) => deadline = self.deadline(),
                        Ok(false) => return false,
                        Err(breach) => {
                            let who = self.connect.as_ref().map_or("a stranger", |connect| &connect.client_id).to_owned();
                            let breach = format!("{who}: {breach}");
                            self.shared.hooks.violation(&breach);
                            self.shared.lock().violation(breach);
                            return false;
                        }
                    }
                }
                () = tokio::time::sleep_until(deadline) => {
                    let mut state = self.shared.lock();
                    if !state.faults.black_hole {
                        state.log.silent += 1;
                        return false;
                    }
                    deadline = Instant::now() + CONNECT_WAIT;
                }
            }
        }
    }

    /// Until when the next packet must have come: one and a half keep-alives (MQTT 3.1.1, 3.1.2.10).
    fn deadline(&self) -> Instant {
        let keep_alive = self.connect.as_ref().map_or(0, |connect| u64::from(connect.keep_alive_s));
        let wait = if keep_alive == 0 { FOREVER } else { Duration::from_millis(keep_alive * 1500) };
        Instant::now() + wait
    }

    fn take_packets(&mut self, buffer: &mut Vec<u8>, answers: &mut Vec<u8>) -> Result<bool, String> {
        let mut taken = 0;
        let mut go_on = true;
        while go_on && let Some((packet, n)) = packet::parse(&buffer[taken..])? {
            taken += n;
            go_on = self.packet(packet, answers)?;
        }
        buffer.drain(..taken);
        Ok(go_on)
    }

    fn packet(&mut self, packet: Packet, answers: &mut Vec<u8>) -> Result<bool, String> {
        let Some(connect) = &self.connect else {
            return match packet {
                Packet::Connect(connect) => Ok(self.enter(connect, answers)),
                other => Err(format!("first packet is {other:?}, CONNECT expected")),
            };
        };
        let (client, level) = (connect.client_id.clone(), connect.level);
        match packet {
            Packet::Connect(_) => return Err("a second CONNECT".to_owned()),
            Packet::Publish(publish) => self.publish(&client, publish, answers)?,
            Packet::Ack(Ack::PubAck, id) => self.in_session(&client, |session| {
                let at = session.in_flight.iter().position(|message| message.packet_id == id);
                at.map(|at| drop(session.in_flight.remove(at))).ok_or_else(|| format!("PUBACK {id} for nothing sent"))
            })?,
            Packet::Ack(Ack::PubRel, id) => {
                self.in_session(&client, |session| Ok(session.received.remove(&id)))?;
                answers.extend(packet::ack(Ack::PubComp, id));
            }
            Packet::Ack(kind, id) => return Err(format!("{kind:?} {id}, but nothing is sent with QoS 2 here")),
            Packet::Subscribe(id, filters) => {
                let mut codes = Vec::new();
                for (filter, qos) in &filters {
                    let granted = self.shared.hooks.subscribe(&client, filter, *qos);
                    if let Some(granted) = granted {
                        let filter = filter.clone();
                        self.in_session(&client, |session| Ok(session.subscriptions.insert(filter, granted.min(1))))?;
                    }
                    // MQTT 3.1 knows no refusal of a subscription.
                    codes.push(granted.unwrap_or(if level == 3 { 0 } else { REFUSED }));
                }
                if self.shared.hooks.acknowledge(&client, &filters) {
                    answers.extend(packet::suback(id, &codes));
                }
            }
            Packet::Unsubscribe(id, filters) => {
                self.in_session(&client, |session| {
                    session.subscriptions.retain(|filter, _| !filters.contains(filter));
                    Ok(())
                })?;
                answers.extend(packet::unsuback(id));
            }
            Packet::PingRequest => answers.extend(packet::ping_response()),
            Packet::Disconnect => {
                self.farewell = true;
                self.shared.lock().log.disconnects += 1;
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn enter(&mut self, connect: Connect, answers: &mut Vec<u8>) -> bool {
        let faults = self.shared.lock().faults;
        let code = faults.refuse.unwrap_or_else(|| self.shared.hooks.connect(&connect));
        let mut state = self.shared.lock();
        if state.log.connects.len() < MAX_ENTRIES {
            state.log.connects.push((connect.clone(), code));
        }
        if code != 0 {
            answers.extend(packet::connack(false, code));
            return false;
        }
        let connection = Connection { id: self.id, orders: self.orders.clone(), connect: connect.clone() };
        let goes_on = state.sessions.enter(connection);
        // Written before the next order is taken, so nothing delivered to this client can overtake it.
        answers.extend(packet::connack(goes_on && connect.level == 4, 0));
        if faults.oversize {
            answers.extend_from_slice(OVERSIZE);
        }
        if let Some(session) = state.sessions.0.get_mut(&connect.client_id) {
            session.redeliver();
        }
        drop(state);
        let client = connect.client_id.clone();
        self.connect = Some(connect);
        self.shared.hooks.presence(&client, true);
        true
    }

    fn publish(&self, client: &str, publish: Publish, answers: &mut Vec<u8>) -> Result<(), String> {
        let mut state = self.shared.lock();
        state.log.messages += 1;
        state.log.dup_messages += u64::from(publish.dup);
        let unheard = publish.qos == 1 && state.faults.drop_pubacks > 0;
        if unheard {
            state.faults.drop_pubacks -= 1;
        }
        drop(state);
        let first = publish.qos < 2
            || self.in_session(client, |session| {
                if session.received.len() >= MAX_RECEIVED {
                    return Err(format!("{MAX_RECEIVED} messages of QoS 2 not released"));
                }
                Ok(session.received.insert(publish.packet_id))
            })?;
        if first {
            self.shared.hooks.message(client, &publish)?;
            if self.shared.hooks.routes() {
                self.shared.lock().sessions.route(&publish);
            }
        }
        match publish.qos {
            1 if !unheard => answers.extend(packet::ack(Ack::PubAck, publish.packet_id)),
            2 => answers.extend(packet::ack(Ack::PubRec, publish.packet_id)),
            _ => {}
        }
        Ok(())
    }

    fn in_session<T>(
        &self,
        client: &str,
        act: impl FnOnce(&mut super::session::Session) -> Result<T, String>,
    ) -> Result<T, String> {
        let mut state = self.shared.lock();
        let session = state.sessions.0.get_mut(client).ok_or("the session is gone")?;
        act(session)
    }

    fn leave(&mut self) {
        let Some(connect) = self.connect.take() else { return };
        let mut state = self.shared.lock();
        let gone = state.sessions.leave(&connect.client_id, self.id);
        let will = connect.will.as_ref().filter(|_| !self.farewell);
        if let Some(will) = will {
            state.sessions.route(will);
        }
        drop(state);
        if let Some(will) = will {
            self.shared.hooks.will(&connect.client_id, will);
        }
        if gone {
            self.shared.hooks.presence(&connect.client_id, false);
        }
    }
}

/// Code of a refused subscription (MQTT 3.1.1, 3.9.3).
const REFUSED: u8 = 0x80;
/// Not documented; chosen by us: patience with a connection that never says CONNECT.
const CONNECT_WAIT: Duration = Duration::from_secs(30);
/// Not documented; chosen by us: stands for no limit.
const FOREVER: Duration = Duration::from_secs(86_400);
/// Not documented; chosen by us: what waits for a client that does not read. Later packets are dropped.
const MAX_ORDERS: usize = 10_000;
/// Not documented; chosen by us: messages of QoS 2 a client may leave unreleased.
const MAX_RECEIVED: usize = 1000;
/// Bytes that are no MQTT.
const GARBAGE: &[u8] = b"\x00\xffHTTP/1.1 400 Bad Request\r\n\r\n";
/// The head of a PUBLISH of 256 MiB, the most MQTT can say.
const OVERSIZE: &[u8] = b"\x30\xff\xff\xff\x7f\0\x01a";
