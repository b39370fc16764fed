//! One connection: one task from the look-up to the last byte.
//!
//! Latency first: a publish is written at once when the socket is idle, and joined with others only while it is not.
//! While the plugin's inbox has no room for a message, nothing is read from the broker; writing goes on.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use polylink_plugin_api::services::mqtt::{CLOSED, CONNECTED, MESSAGE, PUBLISHED, REFUSED};
use polylink_plugin_api::services::{FAILED, Mqtt};
use polylink_plugin_api::{Extension, HostRefusal};
use rumqttc::{Packet, Publish};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::state::{Action, State};
use super::{Load, Order, hello, tell};
use crate::services::OwnedEvent;
use crate::services::dial::{Io, Refusal, Target, io_code};
use crate::services::registry::Instance;

/// Runs a connection and tells its end, whatever that is.
pub async fn run(
    instance: Arc<Instance>,
    token: u64,
    target: Target,
    hello: Vec<u8>,
    keepalive: Duration,
    orders: UnboundedReceiver<Order>,
    load: Arc<Load>,
) {
    let mut work = Work { instance, token, orders, load, state: State::default(), sizes: VecDeque::new() };
    let ended = {
        let mut running = Box::pin(work.connect_and_serve(&target, &hello, keepalive));
        // A panic here must not leave the plugin waiting for an end that never comes.
        std::future::poll_fn(|context| {
            catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(context))).unwrap_or_else(|_| {
                let text = "the host failed while it served this connection; please report it";
                std::task::Poll::Ready(End::Lost(Refusal::new(HostRefusal::OTHER, text)))
            })
        })
        .await
    };
    work.finish(&ended, &target.address());
}

/// How a connection ended.
enum End {
    /// The broker refused it with this code.
    Refused(u8),
    /// It broke, or never came to be.
    Lost(Refusal),
    /// The plugin closed it.
    Closed,
}

struct Work {
    instance: Arc<Instance>,
    token: u64,
    orders: UnboundedReceiver<Order>,
    load: Arc<Load>,
    state: State,
    /// What each call without an answer weighs, to take it off the load.
    sizes: VecDeque<(u64, usize)>,
}

/// A message on its way into the inbox.
type Delivery = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Work {
    async fn connect_and_serve(&mut self, target: &Target, hello: &[u8], keepalive: Duration) -> End {
        let deadline = Instant::now() + target.timeout;
        let mut stream = match self.instance.dialer.dial(target).await {
            Ok(stream) => stream,
            Err(refusal) => return End::Lost(refusal),
        };
        let greeted = timeout_at(deadline, async {
            stream.write_all(hello).await?;
            stream.flush().await?;
            let mut answer = [0; 4];
            stream.read_exact(&mut answer).await?;
            Ok(answer)
        });
        let answer = match greeted.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return lost(&error, "while it was greeted"),
            Err(_) => {
                let text = format!("no CONNACK within {} ms", target.timeout.as_millis());
                return End::Lost(Refusal::new(HostRefusal::TIMEOUT, text));
            }
        };
        match hello::read_connack(answer) {
            Ok((session_present, 0)) => {
                tell(&self.instance, CONNECTED, self.token, session_present.into(), "");
                self.serve(stream, keepalive).await
            }
            Ok((_, code)) => End::Refused(code),
            Err(refusal) => End::Lost(refusal),
        }
    }

    async fn serve(&mut self, stream: Box<dyn Io>, keepalive: Duration) -> End {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut pipe = Pipe::default();
        let mut pulse = Pulse::new(keepalive);
        let mut delivery: Option<Delivery> = None;
        let mut after_delivery: Option<Packet> = None;
        let mut closing = false;
        let mut unflushed = false;
        loop {
            while delivery.is_none() {
                match self.take_packet(&mut pipe, &mut pulse) {
                    Ok(None) => break,
                    Ok(Some((message, acknowledgement))) => {
                        delivery = Some(self.deliver(message));
                        after_delivery = acknowledgement;
                    }
                    Err(refusal) => return End::Lost(refusal),
                }
            }
            while pipe.out.len() < OUT_MAX {
                let Some(action) = self.state.next() else { break };
                if let Err(refusal) = self.act(action, &mut pipe) {
                    return End::Lost(refusal);
                }
            }
            if closing && self.state.is_idle() && pipe.out.is_empty() {
                // The broker may have closed already; either way this is the end.
                let _ = timeout(GOODBYE, writer.write_all(&DISCONNECT)).await;
                let _ = timeout(GOODBYE, writer.shutdown()).await;
                return End::Closed;
            }
            tokio::select! {
                biased;
                moved = write_or_flush(&mut writer, &pipe.out), if unflushed || !pipe.out.is_empty() => match moved {
                    Ok(0) => unflushed = false,
                    Ok(n_bytes) => {
                        pulse.sent();
                        unflushed = true;
                        for token in pipe.advance(n_bytes) {
                            self.answered(token);
                            tell(&self.instance, PUBLISHED, token, 0, "");
                        }
                    }
                    Err(error) => return lost(&error, "while the host wrote"),
                },
                () = wait(&mut delivery), if delivery.is_some() => {
                    delivery = None;
                    pulse.received();
                    if let Some(packet) = after_delivery.take() && let Err(refusal) = pipe.push(&packet) {
                        return End::Lost(refusal);
                    }
                }
                order = self.orders.recv(), if !closing => match order {
                    Some(Order::Disconnect) | None => closing = true,
                    Some(order) => if let Err(refusal) = self.order(order, &mut pipe) {
                        return End::Lost(refusal);
                    },
                },
                read = read_some(&mut reader, &mut pipe.input), if delivery.is_none() => match read {
                    Ok(0) => return End::Lost(Refusal::new(HostRefusal::CONNECTION_LOST, "the broker closed the connection")),
                    Ok(_) => pulse.received(),
                    Err(error) => return lost(&error, "while the host read"),
                },
                () = sleep_until(pulse.due()), if pulse.watches() => {
                    if delivery.is_some() {
                        // Not the broker is silent, the host does not listen.
                        pulse.received();
                    }
                    match pulse.beat() {
                        Beat::Ping => if let Err(refusal) = pipe.push(&Packet::PingReq) {
                            return End::Lost(refusal);
                        },
                        Beat::Dead(silence) => {
                            let text = format!("the broker was silent for {} s and left a PINGREQ without an answer", silence.as_secs());
                            return End::Lost(Refusal::new(HostRefusal::TIMEOUT, text));
                        }
                        Beat::Well => {}
                    }
                }
            }
        }
    }

    /// Works off the packets that have come, up to the first message for the plugin.
    fn take_packet(
        &mut self,
        pipe: &mut Pipe,
        pulse: &mut Pulse,
    ) -> Result<Option<(Publish, Option<Packet>)>, Refusal> {
        loop {
            let packet = match Packet::read(&mut pipe.input, PACKET_MAX) {
                Ok(packet) => packet,
                Err(rumqttc::Error::InsufficientBytes(_)) => return Ok(None),
                Err(error) => return Err(protocol(format!("the broker sent a packet that is not MQTT: {error:?}"))),
            };
            pulse.received();
            match self.state.receive(packet).map_err(|violation| protocol(violation.to_string()))? {
                Some(Action::Deliver(message, acknowledgement)) => return Ok(Some((message, acknowledgement))),
                Some(action) => self.act(action, pipe)?,
                None => {}
            }
        }
    }

    fn act(&mut self, action: Action, pipe: &mut Pipe) -> Result<(), Refusal> {
        match action {
            Action::Send(packet) => pipe.push(&packet)?,
            Action::SendThenTell(packet, token) => {
                pipe.push(&packet)?;
                pipe.tell.push_back((pipe.n_pushed, token));
            }
            Action::Tell(kind, token, code) => {
                self.answered(token);
                tell(&self.instance, kind, token, code, "");
            }
            Action::Deliver(..) => unreachable!("only a packet of the broker makes this, and `take_packet` takes it"),
        }
        Ok(())
    }

    fn order(&mut self, order: Order, pipe: &mut Pipe) -> Result<(), Refusal> {
        match order {
            Order::Publish(token, message) => {
                self.sizes.push_back((token, message.topic.len() + message.payload.len()));
                self.state.publish(token, message);
                Ok(())
            }
            Order::Subscribe(token, filter, qos) => {
                self.sizes.push_back((token, filter.len()));
                let action = self.state.subscribe(token, filter, qos);
                self.act(action, pipe)
            }
            Order::Unsubscribe(token, filter) => {
                self.sizes.push_back((token, filter.len()));
                let action = self.state.unsubscribe(token, filter);
                self.act(action, pipe)
            }
            Order::Disconnect => Ok(()),
        }
    }

    /// Takes a call off the load. Mostly the oldest one, so the search is short.
    fn answered(&mut self, token: u64) {
        if let Some(at) = self.sizes.iter().position(|(other, _)| *other == token)
            && let Some((_, n_bytes)) = self.sizes.remove(at)
        {
            self.load.done(n_bytes);
        }
    }

    fn deliver(&self, message: Publish) -> Delivery {
        let flags = i64::from(message.retain) | (message.qos as i64) << 1 | i64::from(message.dup) << 3;
        let event = OwnedEvent {
            source: Mqtt::ID,
            kind: MESSAGE,
            token: self.token,
            code: flags,
            text: message.topic,
            body: message.payload.to_vec(),
        };
        let sink = Arc::clone(&self.instance.sink);
        Box::pin(async move { sink.deliver(event).await })
    }

    /// Fails what has no answer, tells the end, and forgets the connection.
    fn finish(&mut self, ended: &End, address: &str) {
        let (code, text) = match ended {
            End::Refused(code) => (HostRefusal::OTHER, format!("{address} refused the connection with code {code}")),
            End::Lost(refusal) => (refusal.code, format!("{address}: {}", refusal.text)),
            End::Closed => (HostRefusal::CLOSED, "closed".to_owned()),
        };
        self.orders.close();
        let mut unanswered: Vec<u64> = self.sizes.drain(..).map(|(token, _)| token).collect();
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Publish(token, _) | Order::Subscribe(token, ..) | Order::Unsubscribe(token, _) => {
                    unanswered.push(token);
                }
                Order::Disconnect => {}
            }
        }
        for token in unanswered {
            tell(&self.instance, FAILED, token, code, &text);
        }
        self.load.calls.store(0, Ordering::Relaxed);
        self.instance.remove(self.token);
        match ended {
            End::Refused(code) => tell(&self.instance, REFUSED, self.token, i64::from(*code), &text),
            _ => tell(&self.instance, CLOSED, self.token, code, &text),
        }
    }
}

/// Bytes under way in both directions.
#[derive(Default)]
struct Pipe {
    input: BytesMut,
    out: BytesMut,
    n_pushed: u64,
    n_written: u64,
    /// Tokens to tell when so many bytes are written.
    tell: VecDeque<(u64, u64)>,
}

impl Pipe {
    fn push(&mut self, packet: &Packet) -> Result<(), Refusal> {
        let before = self.out.len();
        packet.write(&mut self.out, PACKET_MAX).map_err(|error| protocol(format!("cannot be sent: {error:?}")))?;
        self.n_pushed += (self.out.len() - before) as u64;
        Ok(())
    }

    fn advance(&mut self, n_bytes: usize) -> Vec<u64> {
        self.out.advance(n_bytes);
        self.n_written += n_bytes as u64;
        let mut told = Vec::new();
        while let Some((at, token)) = self.tell.front().copied()
            && at <= self.n_written
        {
            self.tell.pop_front();
            told.push(token);
        }
        told
    }
}

/// Watches over the silence of both sides.
struct Pulse {
    keepalive: Duration,
    last_sent: Instant,
    last_received: Instant,
    pinged: Option<Instant>,
}

enum Beat {
    Well,
    Ping,
    Dead(Duration),
}

impl Pulse {
    fn new(keepalive: Duration) -> Self {
        let now = Instant::now();
        Self { keepalive, last_sent: now, last_received: now, pinged: None }
    }

    fn watches(&self) -> bool {
        !self.keepalive.is_zero()
    }

    /// A PINGREQ goes out after this silence in either direction: half the time leaves room for its answer.
    fn patience(&self) -> Duration {
        self.keepalive / 2
    }

    fn due(&self) -> Instant {
        match self.pinged {
            Some(at) => at + self.patience().max(PING_ANSWER_MIN),
            None => self.last_sent.min(self.last_received) + self.patience(),
        }
    }

    fn beat(&mut self) -> Beat {
        let now = Instant::now();
        if now < self.due() {
            return Beat::Well;
        }
        if self.pinged.is_some() {
            return Beat::Dead(now - self.last_received);
        }
        self.pinged = Some(now);
        Beat::Ping
    }

    fn sent(&mut self) {
        self.last_sent = Instant::now();
    }

    fn received(&mut self) {
        self.last_received = Instant::now();
        self.pinged = None;
    }
}

async fn wait(delivery: &mut Option<Delivery>) {
    if let Some(delivery) = delivery {
        delivery.await;
    }
}

/// Writes some bytes, or flushes where there are none (TLS keeps what it could not hand on at once) and answers 0. Never
/// both in one call: what was written must be known even if the flush is given up.
async fn write_or_flush(writer: &mut WriteHalf<Box<dyn Io>>, out: &[u8]) -> std::io::Result<usize> {
    if out.is_empty() {
        return writer.flush().await.map(|()| 0);
    }
    match writer.write(out).await {
        Ok(0) => Err(std::io::ErrorKind::WriteZero.into()),
        written => written,
    }
}

async fn read_some(reader: &mut ReadHalf<Box<dyn Io>>, input: &mut BytesMut) -> std::io::Result<usize> {
    input.reserve(READ_CHUNK);
    reader.read_buf(input).await
}

fn lost(error: &std::io::Error, when: &str) -> End {
    let code = match io_code(error) {
        HostRefusal::OTHER => HostRefusal::CONNECTION_LOST,
        code => code,
    };
    End::Lost(Refusal::new(code, format!("the connection broke {when}: {error}")))
}

fn protocol(text: String) -> Refusal {
    Refusal::new(HostRefusal::PROTOCOL, text)
}

/// Packet type 14, no body (MQTT 3.1.1, 3.14).
const DISCONNECT: [u8; 2] = [0xE0, 0x00];

/// The largest payload (contract of `polylink.mqtt/1`), the longest topic, and the rest of the header. A larger packet
/// closes the connection.
const PACKET_MAX: usize = 256 * 1024 + 65_535 + 16;

/// Bytes encoded and not yet written beyond which queued messages stay in the queue. Chosen by us.
const OUT_MAX: usize = 64 * 1024;

/// Chosen by us: a page.
const READ_CHUNK: usize = 4096;

/// Least time for an answer to PINGREQ (contract of `polylink.mqtt/1`).
const PING_ANSWER_MIN: Duration = Duration::from_secs(5);

/// For the last two bytes. Chosen by us.
const GOODBYE: Duration = Duration::from_millis(500);
