//! `polylink.tcp/1`: streams and listeners for plugins. One task per stream, one per listener.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::BytesMut;
use polylink_plugin_api::abi_stable::std_types::RSlice;
use polylink_plugin_api::services::Tcp;
use polylink_plugin_api::services::tcp::{
    ACCEPTED, CLOSED, DRAINED, FULL, GONE, LISTENING, OPENED, RECEIVED, TAKEN, TcpListen, TcpOpen,
};
use polylink_plugin_api::{Extension, HostRefusal, InstanceId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::OwnedEvent;
use super::dial::{Io, Refusal, Target, io_code};
use super::registry::{self, AbortOnDrop, Handle, Instance};

/// The table.
pub static TABLE: Tcp = Tcp { open, listen, send, close };

/// An open stream, or one on its way.
pub struct Stream {
    queue: Arc<Queue>,
    _task: AbortOnDrop,
}

/// An open listener.
pub struct Listener {
    closing: Arc<Notify>,
    _task: AbortOnDrop,
}

impl Stream {
    /// Sends what is queued and closes.
    pub fn close(&self) {
        self.queue.lock().closing = true;
        self.queue.changed.notify_one();
    }
}

impl Listener {
    /// Closes.
    pub fn close(&self) {
        self.closing.notify_one();
    }
}

/// What waits to be sent on one stream.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Default)]
struct Waiting {
    chunks: VecDeque<Vec<u8>>,
    n_bytes: usize,
    /// A send was refused; the plugin is told when there is room again.
    refused: bool,
    closing: bool,
}

impl Queue {
    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

extern "C" fn open(id: InstanceId, options: TcpOpen<'_>) -> u64 {
    let token = registry::token();
    let Some(instance) = registry::find(id) else { return token };
    let target =
        Target::new(options.host.as_str(), options.port, &options.tls, options.timeout_ms, instance.plain_text);
    let target = match target {
        Ok(target) => target,
        Err(refusal) => {
            instance.end(Tcp::ID, CLOSED, token, refusal.code, refusal.text);
            return token;
        }
    };
    instance.insert(Tcp::ID, CLOSED, token, || {
        let queue = Arc::new(Queue::default());
        let (task_instance, task_queue) = (Arc::clone(&instance), Arc::clone(&queue));
        let task = instance.runtime.spawn(async move {
            let ended = match task_instance.dialer.dial(&target).await {
                Ok(io) => {
                    let event = OwnedEvent { text: target.address(), ..event(OPENED, token) };
                    task_instance.sink.complete(event);
                    serve(&task_instance, token, io, &task_queue).await
                }
                Err(refusal) => refusal,
            };
            finish(&task_instance, token, ended);
        });
        Handle::Stream(Stream { queue, _task: AbortOnDrop(task.abort_handle()) })
    });
    token
}

extern "C" fn listen(id: InstanceId, options: TcpListen<'_>) -> u64 {
    let token = registry::token();
    let Some(instance) = registry::find(id) else { return token };
    let address = if options.address.is_empty() { "0.0.0.0" } else { options.address.as_str() }.to_owned();
    let (port, most) = (options.port, options.max_streams);
    instance.insert(Tcp::ID, CLOSED, token, || {
        let closing = Arc::new(Notify::new());
        let (task_instance, task_closing) = (Arc::clone(&instance), Arc::clone(&closing));
        let most = if most == 0 { STREAMS_DEFAULT } else { most.into() };
        let task = instance.runtime.spawn(async move {
            let ended = tokio::select! {
                refusal = accept(&task_instance, token, &address, port, most) => refusal,
                () = task_closing.notified() => Refusal::new(HostRefusal::CLOSED, "closed"),
            };
            finish(&task_instance, token, ended);
        });
        Handle::Listener(Listener { closing, _task: AbortOnDrop(task.abort_handle()) })
    });
    token
}

extern "C" fn send(id: InstanceId, stream: u64, bytes: RSlice<'_, u8>) -> u8 {
    let Some(instance) = registry::find(id) else { return GONE };
    let queue = instance.with(stream, |handle| match handle {
        Handle::Stream(stream) => Some(Arc::clone(&stream.queue)),
        _ => None,
    });
    let Some(queue) = queue else { return GONE };
    let mut waiting = queue.lock();
    if waiting.closing {
        return GONE;
    }
    if waiting.n_bytes + bytes.len() > QUEUE_MAX {
        waiting.refused = true;
        return FULL;
    }
    waiting.n_bytes += bytes.len();
    waiting.chunks.push_back(bytes.as_slice().to_vec());
    drop(waiting);
    queue.changed.notify_one();
    TAKEN
}

extern "C" fn close(id: InstanceId, handle: u64) {
    let Some(instance) = registry::find(id) else { return };
    instance.with(handle, |handle| match handle {
        Handle::Stream(stream) => Some(stream.close()),
        Handle::Listener(listener) => Some(listener.close()),
        _ => None,
    });
}

async fn accept(instance: &Arc<Instance>, token: u64, address: &str, port: u16, most: usize) -> Refusal {
    let listener = match TcpListener::bind((address, port)).await {
        Ok(listener) => listener,
        Err(error) => {
            return Refusal::new(HostRefusal::INVALID, format!("cannot listen on {address}:{port}: {error}"));
        }
    };
    let port = listener.local_addr().map_or(port, |local| local.port());
    instance.sink.complete(OwnedEvent { code: port.into(), ..event(LISTENING, token) });
    let n_streams = Arc::new(AtomicUsize::new(0));
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if io_code(&error) == HostRefusal::CONNECTION_LOST => continue,
            Err(error) => {
                // Out of descriptors, most likely: what is there stays, and the plugin may listen again.
                return Refusal::new(HostRefusal::OTHER, format!("cannot accept on port {port}: {error}"));
            }
        };
        if n_streams.load(Ordering::Relaxed) >= most {
            continue;
        }
        let _ = stream.set_nodelay(true);
        let handle = registry::token();
        let (task_instance, queue) = (Arc::clone(instance), Arc::new(Queue::default()));
        let (task_queue, count) = (Arc::clone(&queue), CountDown::new(&n_streams));
        // The event goes first: bytes of a stream that the plugin does not know would be lost on it.
        let accepted = OwnedEvent {
            code: i64::try_from(handle).unwrap_or(i64::MAX),
            text: peer.to_string(),
            ..event(ACCEPTED, token)
        };
        instance.sink.deliver(accepted).await;
        instance.insert(Tcp::ID, CLOSED, handle, move || {
            let runtime = task_instance.runtime.clone();
            let task = runtime.spawn(async move {
                let _count = count;
                let ended = serve(&task_instance, handle, Box::new(stream), &task_queue).await;
                finish(&task_instance, handle, ended);
            });
            Handle::Stream(Stream { queue, _task: AbortOnDrop(task.abort_handle()) })
        });
    }
}

async fn serve(instance: &Instance, token: u64, io: Box<dyn Io>, queue: &Queue) -> Refusal {
    let (mut reader, mut writer) = tokio::io::split(io);
    let write = async {
        loop {
            let (chunk, drained, closing) = {
                let mut waiting = queue.lock();
                let chunk = waiting.chunks.pop_front();
                let drained = chunk.is_none() && std::mem::take(&mut waiting.refused);
                (chunk, drained, waiting.closing)
            };
            if drained {
                instance.sink.complete(event(DRAINED, token));
            }
            match chunk {
                Some(chunk) => {
                    if let Err(error) = writer.write_all(&chunk).await {
                        return broken(&error);
                    }
                    queue.lock().n_bytes -= chunk.len();
                }
                None => {
                    if let Err(error) = writer.flush().await {
                        return broken(&error);
                    }
                    if closing {
                        let _ = writer.shutdown().await;
                        return Refusal::new(HostRefusal::CLOSED, "closed");
                    }
                    queue.changed.notified().await;
                }
            }
        }
    };
    let read = async {
        let mut input = BytesMut::new();
        loop {
            input.clear();
            input.reserve(RECEIVED_MAX);
            let mut room = (&mut reader).take(RECEIVED_MAX as u64);
            match room.read_buf(&mut input).await {
                Ok(0) => return Refusal::new(HostRefusal::CONNECTION_LOST, "the peer closed the stream"),
                Ok(_) => {
                    let received = OwnedEvent { body: input.to_vec(), ..event(RECEIVED, token) };
                    instance.sink.deliver(received).await;
                }
                Err(error) => return broken(&error),
            }
        }
    };
    tokio::select! {
        refusal = write => refusal,
        refusal = read => refusal,
    }
}

fn finish(instance: &Instance, token: u64, ended: Refusal) {
    instance.remove(token);
    instance.end(Tcp::ID, CLOSED, token, ended.code, ended.text);
}

fn broken(error: &std::io::Error) -> Refusal {
    Refusal::new(HostRefusal::CONNECTION_LOST, format!("the stream broke: {error}"))
}

fn event(kind: u32, token: u64) -> OwnedEvent {
    OwnedEvent { source: Tcp::ID, kind, token, ..OwnedEvent::default() }
}

/// Counts a stream of a listener as long as it lives.
struct CountDown(Arc<AtomicUsize>);

impl CountDown {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for CountDown {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bytes that wait on one stream; a further send is refused as `FULL` (contract of `polylink.tcp/1`).
const QUEUE_MAX: usize = 256 * 1024;

/// Bytes of one event (contract of `polylink.tcp/1`).
const RECEIVED_MAX: usize = 16 * 1024;

/// Streams of a listener that names no number (contract of `polylink.tcp/1`).
const STREAMS_DEFAULT: usize = 16;
