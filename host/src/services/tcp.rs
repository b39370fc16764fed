//! `polylink.tcp/1`: streams, plain or TLS, outgoing and incoming.
//!
//! A stream is a queue that table functions fill and one task that empties it. The task reads only while the instance's
//! inbox has room. The end of a stream is told after its handle has left the table, so no `send` is taken that nobody
//! will ever send.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use polylink_plugin_api::abi_stable::std_types::RSlice;
use polylink_plugin_api::services::Tcp;
use polylink_plugin_api::services::tcp::{
    ACCEPTED, CLOSED, DRAINED, FULL, GONE, LISTENING, OPENED, RECEIVED, TAKEN, TcpListen, TcpOpen,
};
use polylink_plugin_api::{Extension, HostRefusal, InstanceId};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::OwnedEvent;
use super::dial::{self, Target, Wire};
use super::registry::{self, Instance, Port, Refusal, locked, with_instance, with_token};
use super::resolve::numeric;
use super::tls::explain;

/// The table.
pub(super) static TABLE: Tcp = Tcp { open, listen, send, close };

extern "C" fn open(id: InstanceId, wish: TcpOpen<'_>) -> u64 {
    with_token(id, |instance, token| {
        let opened = dial::protection(instance, &wish.host, &wish.tls).and_then(|tls| {
            let target = Target { host: wish.host.to_string(), port: wish.port, tls };
            let stream = Arc::new(Stream::default());
            let limit = dial::timeout(wish.timeout_ms);
            let task = connect(Arc::clone(instance), token, Arc::clone(&stream), target, limit);
            instance.admit(token, Port::Stream(stream), task)
        });
        if let Err(refusal) = opened {
            instance.refuse(Tcp::ID, CLOSED, token, refusal);
        }
    })
}

extern "C" fn listen(id: InstanceId, wish: TcpListen<'_>) -> u64 {
    with_token(id, |instance, token| {
        let opened = local_address(&wish).and_then(|address| {
            let listener = Arc::new(Listener::default());
            let max = if wish.max_streams == 0 { STREAMS_MAX } else { wish.max_streams.into() };
            let task = accept_all(Arc::clone(instance), token, Arc::clone(&listener), address, max);
            instance.admit(token, Port::Listener(listener), task)
        });
        if let Err(refusal) = opened {
            instance.refuse(Tcp::ID, CLOSED, token, refusal);
        }
    })
}

extern "C" fn send(id: InstanceId, handle: u64, bytes: RSlice<'_, u8>) -> u8 {
    with_instance(id, GONE, |instance| match instance.port(handle) {
        Some(Port::Stream(stream)) => stream.send(&bytes),
        _ => GONE,
    })
}

extern "C" fn close(id: InstanceId, handle: u64) {
    with_instance(id, (), |instance| match instance.port(handle) {
        Some(Port::Stream(stream)) => stream.close(),
        Some(Port::Listener(listener)) => listener.close(),
        _ => {}
    });
}

fn local_address(wish: &TcpListen<'_>) -> Result<SocketAddr, Refusal> {
    let address = match wish.address.as_str() {
        "" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        text => numeric(text).ok_or_else(|| Refusal::invalid(format!("`{}` is no address", text.escape_debug())))?,
    };
    Ok(SocketAddr::new(address, wish.port))
}

/// A stream, as table functions reach it.
#[derive(Default)]
pub(super) struct Stream {
    queue: Mutex<Queue>,
    /// Told when the queue or `closing` changes.
    changed: Notify,
}

#[derive(Default)]
struct Queue {
    bytes: BytesMut,
    /// Bytes that the task has taken and not yet sent.
    on_the_way: usize,
    /// Someone was told [`FULL`] and waits for [`DRAINED`].
    was_full: bool,
    closing: bool,
    /// The task has ended: what is put here now would never be sent.
    gone: bool,
}

impl Stream {
    fn send(&self, bytes: &[u8]) -> u8 {
        let mut queue = locked(&self.queue);
        if queue.closing || queue.gone {
            return GONE;
        }
        if queue.on_the_way + queue.bytes.len() + bytes.len() > QUEUE_MAX {
            queue.was_full = true;
            drop(queue);
            self.changed.notify_one();
            return FULL;
        }
        queue.bytes.extend_from_slice(bytes);
        drop(queue);
        self.changed.notify_one();
        TAKEN
    }

    /// Lets what is queued go out, then ends.
    pub fn close(&self) {
        locked(&self.queue).closing = true;
        self.changed.notify_one();
    }

    pub fn queued_bytes(&self) -> usize {
        let queue = locked(&self.queue);
        queue.on_the_way + queue.bytes.len()
    }

    /// Tells the end of a stream whose task is gone and whose handle has left the table.
    pub fn end(&self, instance: &Instance, token: u64, why: Refusal) {
        locked(&self.queue).gone = true;
        instance.complete(Tcp::ID, CLOSED, token, why.code, why.text);
    }

    async fn until_closing(&self) {
        while !locked(&self.queue).closing {
            self.changed.notified().await;
        }
    }
}

/// A listener, as table functions reach it.
#[derive(Default)]
pub(super) struct Listener {
    closing: Notify,
    n_streams: AtomicUsize,
}

impl Listener {
    pub fn close(&self) {
        self.closing.notify_one();
    }
}

async fn connect(instance: Arc<Instance>, token: u64, stream: Arc<Stream>, target: Target, limit: Duration) {
    let dialled = tokio::select! {
        dialled = tokio::time::timeout(limit, instance.dialer.dial(&target)) => dialled.unwrap_or_else(|_| {
            let text = format!("{}:{}: no connection within {limit:?}", target.host, target.port);
            Err(Refusal::new(HostRefusal::TIMEOUT, text))
        }),
        () = stream.until_closing() => Err(closed_on_request()),
    };
    let end = match dialled {
        Err(refusal) => refusal,
        Ok((wire, peer)) => {
            instance.complete(Tcp::ID, OPENED, token, 0, peer.to_string());
            carry(&instance, token, &stream, wire).await
        }
    };
    finish(&instance, token, &stream, end);
}

fn finish(instance: &Instance, token: u64, stream: &Stream, end: Refusal) {
    if instance.release(token) {
        stream.end(instance, token, end);
    }
}

/// Moves bytes both ways until the stream ends; says why it did.
async fn carry(instance: &Instance, token: u64, stream: &Stream, wire: Wire) -> Refusal {
    let (mut reader, mut writer) = tokio::io::split(wire);
    let mut incoming = BytesMut::with_capacity(READ_MAX);
    let mut outgoing = BytesMut::new();
    let mut delivering: Option<Pin<Box<dyn Future<Output = ()> + Send + '_>>> = None;
    let mut unflushed = false;
    let mut close_by: Option<Instant> = None;
    loop {
        let closing = {
            let mut queue = locked(&stream.queue);
            if outgoing.is_empty() {
                std::mem::swap(&mut outgoing, &mut queue.bytes);
            }
            queue.on_the_way = outgoing.len();
            if outgoing.is_empty() && std::mem::take(&mut queue.was_full) {
                drop(queue);
                instance.complete(Tcp::ID, DRAINED, token, 0, "");
                continue;
            }
            queue.closing
        };
        if closing && outgoing.is_empty() && !unflushed {
            return part(&mut reader, &mut writer).await;
        }
        if closing && close_by.is_none() {
            close_by = Some(Instant::now() + CLOSE_TIME_MAX);
        }
        let outgoing_is_empty = outgoing.is_empty();
        let reading = delivering.is_none() && !closing;
        tokio::select! {
            sent = send_some(&mut writer, &mut outgoing), if !outgoing_is_empty || unflushed => match sent {
                Ok(is_flushed) => unflushed = !is_flushed,
                Err(error) => return lost(&error),
            },
            read = reader.read_buf(&mut incoming), if reading => match read {
                Ok(0) => return Refusal::new(HostRefusal::CONNECTION_LOST, "the other end closed the stream"),
                Err(error) => return lost(&error),
                Ok(_) => {
                    let body = incoming.to_vec();
                    incoming.clear();
                    let event = OwnedEvent { source: Tcp::ID, kind: RECEIVED, token, body, ..OwnedEvent::default() };
                    delivering = Some(instance.sink.deliver(event));
                }
            },
            () = async { delivering.as_mut().expect("only polled while there is one").await }, if delivering.is_some() => {
                delivering = None;
            }
            () = stream.changed.notified() => {}
            () = sleep_until(close_by) => return closed_on_request(),
        }
    }
}

/// Takes one step of sending: writes some of `outgoing`, or flushes if nothing is left; true: everything is with the
/// system. May be dropped at any time without losing a byte.
pub(super) async fn send_some<W: AsyncWrite + Unpin>(writer: &mut W, outgoing: &mut BytesMut) -> io::Result<bool> {
    if outgoing.is_empty() {
        writer.flush().await?;
        return Ok(true);
    }
    match writer.write_buf(outgoing).await? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        _ => Ok(false),
    }
}

/// Sleeps for ever if there is no such time.
pub(super) async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Says good-bye and waits a moment for the other end to do so: closing a socket with unread bytes would take back
/// what was sent last.
pub(super) async fn part<R, W>(reader: &mut R, writer: &mut W) -> Refusal
where
    R: AsyncReadExt + Unpin,
    W: AsyncWriteExt + Unpin,
{
    let good_bye = async {
        writer.shutdown().await?;
        let mut unread = [0; 1024];
        while reader.read(&mut unread).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = tokio::time::timeout(LINGER, good_bye).await;
    closed_on_request()
}

fn closed_on_request() -> Refusal {
    Refusal::new(HostRefusal::CLOSED, "closed on request")
}

fn lost(error: &io::Error) -> Refusal {
    match dial::tls_error(error) {
        Some(tls) => Refusal::new(HostRefusal::TLS, format!("TLS broke: {}", explain(tls))),
        None => Refusal::new(HostRefusal::CONNECTION_LOST, format!("the stream broke: {error}")),
    }
}

async fn accept_all(instance: Arc<Instance>, token: u64, listener: Arc<Listener>, address: SocketAddr, max: usize) {
    let end = match TcpListener::bind(address).await.and_then(|socket| socket.local_addr().map(|local| (socket, local)))
    {
        Err(error) => Refusal::new(HostRefusal::OTHER, format!("cannot listen at {address}: {error}")),
        Ok((socket, local)) => {
            instance.complete(Tcp::ID, LISTENING, token, local.port().into(), "");
            loop {
                tokio::select! {
                    accepted = socket.accept() => match accepted {
                        Ok((stream, peer)) => take_in(&instance, token, &listener, stream, peer, max).await,
                        // Out of descriptors, mostly: trying again at once would only burn the processor.
                        Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                    },
                    () = listener.closing.notified() => break closed_on_request(),
                }
            }
        }
    };
    if instance.release(token) {
        instance.complete(Tcp::ID, CLOSED, token, end.code, end.text);
    }
}

/// Makes a stream of a connection that came in; one too many is closed by dropping it.
async fn take_in(
    instance: &Arc<Instance>,
    listener_token: u64,
    listener: &Arc<Listener>,
    socket: TcpStream,
    peer: SocketAddr,
    max: usize,
) {
    if listener.n_streams.load(Ordering::Relaxed) >= max || socket.set_nodelay(true).is_err() {
        return;
    }
    let token = registry::fresh_token();
    let stream = Arc::new(Stream::default());
    let (told, is_told) = tokio::sync::oneshot::channel();
    let seat = Seat::take(listener);
    let task = {
        let (instance, stream) = (Arc::clone(instance), Arc::clone(&stream));
        async move {
            let _seat = seat;
            // Its first bytes must not overtake the news that it exists.
            if is_told.await.is_ok() {
                let end = carry(&instance, token, &stream, Box::new(socket)).await;
                drop(_seat);
                finish(&instance, token, &stream, end);
            }
        }
    };
    if instance.admit(token, Port::Stream(stream), task).is_ok() {
        let code = i64::try_from(token).unwrap_or(i64::MAX);
        let text = peer.to_string();
        let token = listener_token;
        let event = OwnedEvent { source: Tcp::ID, kind: ACCEPTED, token, code, text, body: Vec::new() };
        instance.sink.deliver(event).await;
        let _ = told.send(());
    }
}

/// One of a listener's streams, for as long as it lives.
struct Seat(Arc<Listener>);

impl Seat {
    fn take(listener: &Arc<Listener>) -> Self {
        listener.n_streams.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(listener))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.n_streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bytes waiting on a stream; beyond, `send` says [`FULL`] (`polylink.tcp/1`).
const QUEUE_MAX: usize = 256 * 1024;

/// Most bytes in one [`RECEIVED`] (`polylink.tcp/1`).
const READ_MAX: usize = 16 * 1024;

/// What `max_streams` 0 means (`polylink.tcp/1`).
const STREAMS_MAX: usize = 16;

/// How long a closing stream may take to send what is queued. Not documented; chosen by us.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(5);

/// How long the other end may take to end its side. Not documented; chosen by us.
const LINGER: Duration = Duration::from_secs(1);

/// Not documented; chosen by us.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
