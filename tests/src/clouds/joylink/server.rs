//! The TCP side: accepting, cutting the stream into packets, the gap between heartbeats, and sending.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::behaviour::Segments;
use super::platform::Platform;
use crate::faulty_net::reset_on_close;
use crate::joylink_wire::cipher::Secret;
use crate::joylink_wire::packet::{CLOUD, Packet};

/// A listener that may go away and come back.
pub(super) struct Server {
    address: SocketAddr,
    platform: Arc<Platform>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// What is to be done on a connection.
#[derive(Debug)]
pub(super) enum Outgoing {
    Bytes(Vec<u8>),
    Close,
    Reset,
}

/// Way to a connection. A full one loses what is sent, which is a violation: the device does not read.
pub(super) type Line = mpsc::Sender<Outgoing>;

/// A connection as the rules see it.
#[derive(Debug)]
pub(super) struct Conversation {
    pub id: u64,
    pub line: Line,
    /// Set by authentication.
    pub secret: Option<Secret>,
    pub last_beat: Instant,
    /// How far the cloud's clock was ahead when the device was told the time.
    pub ahead_s: i64,
}

/// What is wrong with a packet.
#[derive(Debug)]
pub(super) enum Fault {
    /// It is recorded and dropped.
    Breach(String),
    /// It is recorded and ends the connection.
    Close(String),
    /// The test wants the connection to end.
    Refuse(String),
}

impl From<String> for Fault {
    fn from(text: String) -> Self {
        Self::Breach(text)
    }
}

impl Server {
    pub fn start(platform: Arc<Platform>) -> io::Result<Self> {
        let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let task = Mutex::new(Some(tokio::spawn(serve(listener, platform.clone()))));
        Ok(Self { address, platform, task })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn go_away(&self) {
        if let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
        self.platform.nobody_left();
    }

    pub fn come_back(&self) -> io::Result<()> {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.is_none() {
            *task = Some(tokio::spawn(serve(listen(self.address)?, self.platform.clone())));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.go_away();
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(64)
}

async fn serve(listener: TcpListener, platform: Arc<Platform>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { return };
                let id = platform.next_connection();
                connections.spawn(converse(stream, platform.clone(), id));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn converse(mut stream: TcpStream, platform: Arc<Platform>, id: u64) {
    // Whatever ends this task without a farewell is a reset.
    reset_on_close(&stream);
    let _ = stream.set_nodelay(true);
    let (line, outgoing) = mpsc::channel(LINE);
    let conversation = Conversation { id, line, secret: None, last_beat: Instant::now(), ahead_s: 0 };
    let (read, write) = stream.split();
    let farewell = tokio::select! {
        farewell = hear(read, &platform, conversation) => farewell,
        farewell = say(write, &platform, outgoing) => farewell,
    };
    if farewell {
        let _ = SockRef::from(&stream).set_linger(None);
    }
    platform.left(id);
}

/// Reads packets until the connection ends; whether it ends in order.
async fn hear(mut stream: ReadHalf<'_>, platform: &Platform, mut conversation: Conversation) -> bool {
    let mut buffer = Vec::new();
    loop {
        match Packet::parse(CLOUD, &buffer) {
            Ok(Some((packet, n))) => {
                buffer.drain(..n);
                match platform.take(&mut conversation, packet) {
                    Ok(()) => {}
                    Err(Fault::Breach(text)) => platform.ledger.violation(text),
                    Err(Fault::Close(text)) => return platform.closes(text, true),
                    Err(Fault::Refuse(text)) => return platform.closes(text, false),
                }
                continue;
            }
            Ok(None) => {}
            Err(fault) => return platform.closes(format!("a packet that {fault}"), true),
        }
        let limit = platform.lock().behaviour.heartbeat_limit;
        tokio::select! {
            read = stream.read_buf(&mut buffer) => match read {
                Ok(0) if !buffer.is_empty() => {
                    platform.ledger.violation(format!("closed within a packet, after {} bytes", buffer.len()));
                    return true;
                }
                Ok(0) | Err(_) => return true,
                Ok(_) => {}
            },
            () = sleep_until(conversation.last_beat + limit) => {
                return platform.closes(format!("no heartbeat for {limit:?}"), true);
            }
        }
    }
}

/// Sends until it is told to end; whether in order.
async fn say(mut stream: WriteHalf<'_>, platform: &Platform, mut outgoing: mpsc::Receiver<Outgoing>) -> bool {
    let mut waiting = Vec::new();
    loop {
        let bytes = match outgoing.recv().await {
            Some(Outgoing::Bytes(bytes)) => bytes,
            Some(Outgoing::Reset) => return false,
            Some(Outgoing::Close) | None => return true,
        };
        let segments = platform.lock().behaviour.segments;
        let sent = match segments {
            Segments::Whole => {
                waiting.extend_from_slice(&bytes);
                stream.write_all(&std::mem::take(&mut waiting)).await
            }
            Segments::Pieces(n) => in_pieces(&mut stream, &[std::mem::take(&mut waiting), bytes].concat(), n).await,
            Segments::Pairs if waiting.is_empty() => {
                waiting = bytes;
                Ok(())
            }
            Segments::Pairs => {
                waiting.extend_from_slice(&bytes);
                stream.write_all(&std::mem::take(&mut waiting)).await
            }
        };
        if sent.is_err() {
            return true;
        }
    }
}

async fn in_pieces(stream: &mut WriteHalf<'_>, bytes: &[u8], n: usize) -> io::Result<()> {
    for piece in bytes.chunks(n.max(1)) {
        stream.write_all(piece).await?;
        // Gives the other side a chance to see half a packet.
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Packets on their way to one connection. Chosen by us.
const LINE: usize = 1000;
