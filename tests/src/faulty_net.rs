//! A bad network on loopback: a TCP proxy that delays, splits, swallows, garbles, resets and goes away on request.
//!
//! Invariant: in fair weather every byte arrives once and in order; each direction of a connection holds at most
//! `CHUNKS_IN_FLIGHT` chunks, so a receiver that stops reading stops the sender. What the bytes mean is left to both ends.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From who connected to the server behind the proxy.
    Up,
    /// From the server to who connected.
    Down,
}

/// What the network does to bytes from now on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weather {
    /// Each byte arrives this much later.
    pub latency: Duration,
    /// Every byte is written by itself, so that no reader sees a whole packet at once.
    pub bytewise: bool,
    /// Connections are accepted and stay open; nothing passes in either direction, not even a farewell, and what is sent
    /// is lost.
    pub black_hole: bool,
}

/// The proxy; dropping it closes its port and resets its connections.
#[derive(Debug)]
pub struct FaultyNet {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    shocks: broadcast::Sender<Shock>,
    gates: mpsc::UnboundedSender<Gate>,
    accepted: Arc<AtomicUsize>,
    swallowed: watch::Sender<usize>,
    task: JoinHandle<()>,
}

impl FaultyNet {
    /// A proxy before `server`, on a free loopback port; it runs on the current runtime.
    pub async fn before(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (weather, _) = watch::channel(Weather::default());
        let (shocks, _) = broadcast::channel(SHOCKS);
        let (gates, orders) = mpsc::unbounded_channel();
        let accepted = Arc::new(AtomicUsize::new(0));
        let (swallowed, _) = watch::channel(0);
        let door = Door {
            address,
            server,
            weather: weather.clone(),
            shocks: shocks.clone(),
            accepted: accepted.clone(),
            swallowed: swallowed.clone(),
        };
        let task = tokio::spawn(door.keep(listener, orders));
        Ok(Self { address, weather, shocks, gates, accepted, swallowed, task })
    }

    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Waits until a black hole has taken `n` bytes altogether.
    pub async fn wait_until_swallowed(&self, n: usize) {
        // The sender lives in `self`, so waiting ends only with the number.
        let _ = self.swallowed.subscribe().wait_for(|swallowed| *swallowed >= n).await;
    }

    /// Changes the weather of open and future connections.
    pub fn set_weather(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Ends every open connection with a reset; new ones are still accepted.
    pub fn reset_all(&self) {
        let _ = self.shocks.send(Shock::Reset);
    }

    /// Puts bytes that nobody sent into every open connection.
    pub fn inject(&self, direction: Direction, bytes: &[u8]) {
        let _ = self.shocks.send(Shock::Inject(direction, Arc::from(bytes)));
    }

    /// Closes the port and resets every connection; returns once the port refuses.
    pub async fn cut(&self) -> io::Result<()> {
        self.order(false).await
    }

    /// Opens the same port again; returns once it accepts.
    pub async fn restore(&self) -> io::Result<()> {
        self.order(true).await
    }

    async fn order(&self, open: bool) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        self.gates.send(Gate { open, done }).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

impl Drop for FaultyNet {
    fn drop(&mut self) {
        let _ = self.shocks.send(Shock::Reset);
        self.task.abort();
    }
}

#[derive(Debug, Clone)]
enum Shock {
    Reset,
    Inject(Direction, Arc<[u8]>),
}

#[derive(Debug)]
struct Gate {
    open: bool,
    done: oneshot::Sender<io::Result<()>>,
}

struct Door {
    address: SocketAddr,
    server: SocketAddr,
    weather: watch::Sender<Weather>,
    shocks: broadcast::Sender<Shock>,
    accepted: Arc<AtomicUsize>,
    swallowed: watch::Sender<usize>,
}

impl Door {
    async fn keep(self, first: TcpListener, mut gates: mpsc::UnboundedReceiver<Gate>) {
        let mut listener = Some(first);
        loop {
            tokio::select! {
                gate = gates.recv() => {
                    let Some(gate) = gate else { return };
                    let _ = gate.done.send(self.turn(gate.open, &mut listener));
                }
                Ok((client, _)) = accept(listener.as_ref()) => {
                    self.accepted.fetch_add(1, Ordering::SeqCst);
                    let weather = self.weather.subscribe();
                    tokio::spawn(carry(client, self.server, weather, self.shocks.subscribe(), self.swallowed.clone()));
                }
            }
        }
    }

    fn turn(&self, open: bool, listener: &mut Option<TcpListener>) -> io::Result<()> {
        if !open {
            *listener = None;
            let _ = self.shocks.send(Shock::Reset);
        } else if listener.is_none() {
            *listener = Some(listen_again(self.address)?);
        }
        Ok(())
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// Takes a port that this process has just closed: connections of its former life may linger in TIME_WAIT.
pub(crate) fn listen_again(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Makes closing this stream send a reset instead of a farewell.
pub(crate) fn reset_on_close(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

async fn carry(
    client: TcpStream,
    server: SocketAddr,
    weather: watch::Receiver<Weather>,
    mut shocks: broadcast::Receiver<Shock>,
    swallowed: watch::Sender<usize>,
) {
    let Ok(upstream) = TcpStream::connect(server).await else {
        return reset_on_close(&client);
    };
    // Nagle's algorithm would merge what the weather has just split.
    let _ = (client.set_nodelay(true), upstream.set_nodelay(true));
    reset_on_close(&client);
    reset_on_close(&upstream);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = upstream.into_split();
    let (up, up_chunks) = mpsc::channel(CHUNKS_IN_FLIGHT);
    let (down, down_chunks) = mpsc::channel(CHUNKS_IN_FLIGHT);
    let mut ways = tokio::task::JoinSet::new();
    ways.spawn(read_side(from_client, up.clone(), weather.clone(), swallowed.clone()));
    ways.spawn(read_side(from_server, down.clone(), weather.clone(), swallowed));
    ways.spawn(write_side(to_server, up_chunks, weather.clone()));
    ways.spawn(write_side(to_client, down_chunks, weather));
    loop {
        tokio::select! {
            shock = shocks.recv() => match shock {
                Ok(Shock::Inject(direction, bytes)) => {
                    let way = if direction == Direction::Up { &up } else { &down };
                    let _ = way.try_send(Chunk { due: Instant::now(), bytes: bytes.to_vec() });
                }
                Ok(Shock::Reset) | Err(broadcast::error::RecvError::Closed) => return,
                Err(broadcast::error::RecvError::Lagged(_)) => {}
            },
            // One end is gone: dropping the other three halves resets the other end.
            _ = ways.join_next() => return,
        }
    }
}

struct Chunk {
    due: Instant,
    bytes: Vec<u8>,
}

async fn read_side(
    mut from: OwnedReadHalf,
    way: mpsc::Sender<Chunk>,
    mut weather: watch::Receiver<Weather>,
    swallowed: watch::Sender<usize>,
) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        let now = *weather.borrow();
        if now.black_hole {
            swallowed.send_modify(|swallowed| *swallowed += n);
            continue;
        }
        let chunk = Chunk { due: Instant::now() + now.latency, bytes: buffer[..n].to_vec() };
        if way.send(chunk).await.is_err() {
            return;
        }
    }
    // A farewell is swallowed like everything else; the other end hears of it when the network is back.
    let _ = weather.wait_for(|weather| !weather.black_hole).await;
    // What is under way still arrives: the end travels behind it as an empty chunk.
    let due = Instant::now() + weather.borrow().latency;
    if way.send(Chunk { due, bytes: Vec::new() }).await.is_ok() {
        way.closed().await;
    }
}

async fn write_side(mut to: OwnedWriteHalf, mut way: mpsc::Receiver<Chunk>, weather: watch::Receiver<Weather>) {
    while let Some(chunk) = way.recv().await {
        tokio::time::sleep_until(chunk.due).await;
        if chunk.bytes.is_empty() {
            // A farewell is passed on as a farewell.
            let _ = SockRef::from(to.as_ref()).set_linger(None);
            let _ = to.shutdown().await;
            return;
        }
        let piece = if weather.borrow().bytewise { 1 } else { chunk.bytes.len() };
        for piece in chunk.bytes.chunks(piece) {
            if to.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the proxy has ended")
}

/// Chunks between reading and writing, per direction; when full, reading waits, as a full network would.
const CHUNKS_IN_FLIGHT: usize = 64;
/// Bytes read at once. Chosen by us: an MQTT packet of the demo fits many times.
const CHUNK: usize = 4096;
/// Shocks a connection may be behind; the oldest is lost then, and a shock is no promise.
const SHOCKS: usize = 16;
/// Connections waiting to be accepted. Chosen by us.
const BACKLOG: i32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers each byte by the same byte, a proxy before it, and a client on the proxy.
    async fn echo() -> (FaultyNet, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let server = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut peer, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = peer.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        let net = FaultyNet::before(server).await.unwrap();
        let client = TcpStream::connect(net.address()).await.unwrap();
        (net, client)
    }

    async fn say(client: &mut TcpStream, text: &str) -> io::Result<String> {
        client.write_all(text.as_bytes()).await?;
        let mut heard = vec![0; text.len()];
        client.read_exact(&mut heard).await?;
        Ok(String::from_utf8(heard).unwrap())
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
    }

    #[test]
    fn bytes_arrive_whole_in_any_split() {
        run(async {
            let (net, mut client) = echo().await;
            assert_eq!(say(&mut client, "fair").await.unwrap(), "fair");
            net.set_weather(Weather { bytewise: true, latency: Duration::from_millis(2), ..Weather::default() });
            assert_eq!(say(&mut client, "rain and wind").await.unwrap(), "rain and wind");
        });
    }

    #[test]
    fn a_cut_resets_and_refuses_until_it_is_restored() {
        run(async {
            let (net, mut client) = echo().await;
            assert_eq!(say(&mut client, "before").await.unwrap(), "before");
            net.cut().await.unwrap();
            assert!(say(&mut client, "during").await.is_err());
            assert_eq!(TcpStream::connect(net.address()).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
            net.restore().await.unwrap();
            let mut again = TcpStream::connect(net.address()).await.unwrap();
            assert_eq!(say(&mut again, "after").await.unwrap(), "after");
            assert_eq!(net.accepted(), 2);
        });
    }

    #[test]
    fn garbage_is_put_between_what_was_sent() {
        run(async {
            let (net, mut client) = echo().await;
            assert_eq!(say(&mut client, "open").await.unwrap(), "open");
            net.inject(Direction::Down, b"noise");
            let mut heard = [0; 5];
            client.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"noise");
        });
    }

    #[test]
    fn a_black_hole_loses_what_is_sent_into_it() {
        run(async {
            let (net, mut client) = echo().await;
            assert_eq!(say(&mut client, "open").await.unwrap(), "open");
            net.set_weather(Weather { black_hole: true, ..Weather::default() });
            client.write_all(b"lost").await.unwrap();
            net.wait_until_swallowed(4).await;
            net.set_weather(Weather::default());
            assert_eq!(say(&mut client, "kept").await.unwrap(), "kept");
        });
    }
}
