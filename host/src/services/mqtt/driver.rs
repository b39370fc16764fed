//! Moves one connection's bytes: CONNECT and its answer, then both directions until the end.
//!
//! One task does it all: it writes while it reads, so that two full socket buffers cannot lock each other, and it does
//! not read while a message waits for room in the plugin's inbox. What is queued goes out in one write, at once when the
//! line is idle.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::BytesMut;
use polylink_plugin_api::services::Mqtt;
use polylink_plugin_api::services::mqtt::{CONNECTED, MESSAGE, PUBLISHED};
use polylink_plugin_api::{Extension, HostRefusal};
use rumqttc::{ConnectReturnCode, Error, Packet};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::super::dial::tls_error;
use super::super::registry::{Refusal, locked};
use super::super::tcp::{part, send_some, sleep_until};
use super::super::tls::explain;
use super::super::{EventSink, OwnedEvent};
use super::Connection;
use super::state::{PAYLOAD_MAX, Reaction, Receipt, protocol};

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The broker refused it with this CONNACK code.
    Refused(u8),
    /// For this reason.
    Closed(Refusal),
}

/// Where a connection's news go.
#[derive(Clone, Copy)]
pub(super) struct Outlet<'a> {
    pub sink: &'a dyn EventSink,
    pub handle: u64,
}

/// A message on its way into the inbox, and what the broker is owed for it then.
type Delivery<'a> = (Pin<Box<dyn Future<Output = ()> + Send + 'a>>, Receipt);

/// Drives a connection over a stream that is open, until its end.
pub(super) async fn run<S>(outlet: Outlet<'_>, connection: &Connection, stream: S, connect: &[u8], by: Instant) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut incoming = BytesMut::new();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let answer = tokio::select! {
        answer = tokio::time::timeout_at(by, greet(&mut reader, &mut writer, connect, &mut incoming)) => answer,
        () = connection.until_leaving() => return End::Closed(closed_on_request()),
    };
    match answer {
        Err(_) => return End::Closed(Refusal::new(HostRefusal::TIMEOUT, "the broker did not answer CONNECT in time")),
        Ok(Err(end)) => return end,
        Ok(Ok(kept_session)) => {
            let code = i64::from(kept_session);
            outlet.complete(CONNECTED, outlet.handle, code);
        }
    }
    End::Closed(carry(outlet, connection, &mut reader, &mut writer, incoming).await)
}

impl Outlet<'_> {
    fn complete(&self, kind: u32, token: u64, code: i64) {
        self.sink.complete(OwnedEvent { source: Mqtt::ID, kind, token, code, ..OwnedEvent::default() });
    }
}

/// Sends CONNECT and waits for CONNACK; true: the broker kept a session.
async fn greet<R, W>(reader: &mut R, writer: &mut W, connect: &[u8], incoming: &mut BytesMut) -> Result<bool, End>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    writer.write_all(connect).await.map_err(|error| End::Closed(lost(&error)))?;
    writer.flush().await.map_err(|error| End::Closed(lost(&error)))?;
    loop {
        // What speaks another protocol need not be waited for: its "length" may never come.
        if incoming.first().is_some_and(|first| *first != CONNACK) {
            return Err(End::Closed(protocol("the broker answered CONNECT with something else than CONNACK")));
        }
        match decode(incoming) {
            Ok(Some(Packet::ConnAck(ack))) if ack.code == ConnectReturnCode::Success => return Ok(ack.session_present),
            Ok(Some(Packet::ConnAck(ack))) => return Err(End::Refused(ack.code as u8)),
            Ok(Some(_)) => return Err(End::Closed(protocol("the broker answered CONNECT with another packet"))),
            Err(Error::InvalidConnectReturnCode(code)) => return Err(End::Refused(code)),
            Err(error) => return Err(End::Closed(malformed(&error))),
            Ok(None) => {}
        }
        match reader.read_buf(incoming).await {
            Ok(0) => {
                return Err(End::Closed(Refusal::new(
                    HostRefusal::CONNECTION_LOST,
                    "the broker closed the connection instead of answering CONNECT",
                )));
            }
            Ok(_) => {}
            Err(error) => return Err(End::Closed(lost(&error))),
        }
    }
}

async fn carry<R, W>(
    outlet: Outlet<'_>,
    connection: &Connection,
    reader: &mut R,
    writer: &mut W,
    mut incoming: BytesMut,
) -> Refusal
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let start = Instant::now();
    let now = || u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    locked(&connection.state).opened(0);
    let mut outgoing = BytesMut::new();
    let mut unflushed = false;
    let mut delivering: Option<Delivery<'_>> = None;
    let mut leave_by: Option<Instant> = None;
    loop {
        while delivering.is_none() && outgoing.len() <= OUTGOING_MAX {
            let packet = match decode(&mut incoming) {
                Ok(Some(packet)) => packet,
                Ok(None) => break,
                Err(error) => return malformed(&error),
            };
            let reaction = locked(&connection.state).packet(packet, now(), &mut outgoing);
            match reaction {
                Err(refusal) => return refusal,
                Ok(Reaction::Nothing) => {}
                Ok(Reaction::Complete { kind, token, code }) => outlet.complete(kind, token, code),
                Ok(Reaction::Deliver { topic, payload, flags, ack }) => {
                    let event = OwnedEvent {
                        source: Mqtt::ID,
                        kind: MESSAGE,
                        token: outlet.handle,
                        code: flags,
                        text: topic,
                        body: payload.to_vec(),
                    };
                    delivering = Some((outlet.sink.deliver(event), ack));
                }
            }
        }
        let is_reading = delivering.is_none();
        let (due, is_leaving, has_left) = {
            let mut state = locked(&connection.state);
            if outgoing.is_empty() && !unflushed {
                state.fill(now(), &mut outgoing);
            }
            (state.next_tick(is_reading), state.is_leaving(), state.has_left())
        };
        if has_left && outgoing.is_empty() && !unflushed {
            return part(reader, writer).await;
        }
        if is_leaving && leave_by.is_none() {
            leave_by = Some(Instant::now() + LEAVE_TIME_MAX);
        }
        let may_read = is_reading && outgoing.len() <= OUTGOING_MAX;
        if may_read && incoming.is_empty() && incoming.capacity() > INCOMING_KEPT {
            // A large message is over; its room is given back.
            incoming = BytesMut::new();
        }
        let writing = !outgoing.is_empty();
        tokio::select! {
            sent = send_some(writer, &mut outgoing), if writing || unflushed => match sent {
                Ok(false) => unflushed = true,
                Ok(true) => {
                    unflushed = false;
                    let handed = locked(&connection.state).written();
                    handed.into_iter().for_each(|token| outlet.complete(PUBLISHED, token, 0));
                }
                Err(error) => return lost(&error),
            },
            read = reader.read_buf(&mut incoming), if may_read => match read {
                Ok(0) => return Refusal::new(HostRefusal::CONNECTION_LOST, "the broker closed the connection"),
                Ok(_) => locked(&connection.state).received(now()),
                Err(error) => return lost(&error),
            },
            ack = arrival(&mut delivering), if !is_reading => {
                delivering = None;
                locked(&connection.state).delivered(ack, now(), &mut outgoing);
            }
            () = connection.changed.notified() => {}
            () = sleep_until(due.map(|due| start + Duration::from_millis(due))) => {
                if let Err(refusal) = locked(&connection.state).tick(now(), is_reading, &mut outgoing) {
                    return refusal;
                }
            }
            () = sleep_until(leave_by) => return closed_on_request(),
        }
    }
}

/// Waits until the inbox has taken the message that is on its way.
async fn arrival(delivering: &mut Option<Delivery<'_>>) -> Receipt {
    match delivering {
        Some((arrival, ack)) => {
            arrival.await;
            *ack
        }
        None => std::future::pending().await,
    }
}

/// The next whole packet.
fn decode(incoming: &mut BytesMut) -> Result<Option<Packet>, Error> {
    match Packet::read(incoming, PACKET_MAX) {
        Ok(packet) => Ok(Some(packet)),
        Err(Error::InsufficientBytes(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn malformed(error: &Error) -> Refusal {
    match error {
        Error::PayloadSizeLimitExceeded(size) => {
            protocol(format!("the broker sent a packet of {size} bytes, at most {PACKET_MAX} are taken"))
        }
        error => protocol(format!("the broker sent a malformed packet: {error}")),
    }
}

fn lost(error: &io::Error) -> Refusal {
    match tls_error(error) {
        Some(tls) => Refusal::new(HostRefusal::TLS, format!("TLS broke: {}", explain(tls))),
        None => Refusal::new(HostRefusal::CONNECTION_LOST, format!("the connection broke: {error}")),
    }
}

pub(super) fn closed_on_request() -> Refusal {
    Refusal::new(HostRefusal::CLOSED, "closed on request")
}

/// First byte of CONNACK (MQTT 3.1.1, 3.2.1).
const CONNACK: u8 = 0x20;

/// Longest packet: the longest payload, the longest topic, a packet id (`polylink.mqtt/1`).
const PACKET_MAX: usize = PAYLOAD_MAX + 65_535 + 4;

/// While so many bytes wait for the broker to read, nothing is read from it. Not documented; chosen by us.
const OUTGOING_MAX: usize = 64 * 1024;

/// Room kept for reading between packets. Not documented; chosen by us.
const INCOMING_KEPT: usize = 16 * 1024;

/// How long a connection that is being closed may take to send what is queued. Not documented; chosen by us.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
