//! The datagrams: discovery, on-boarding, and an ear for what the module announces by itself.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::LanError;
use super::frame::Frame;
use super::messages::{Discovery, Joined, onboarding};

/// An app that asks with datagrams. No wait ends by itself: an answer may never come.
#[derive(Debug)]
pub struct Asker {
    socket: UdpSocket,
}

impl Asker {
    /// On a free port of loopback.
    pub async fn bind() -> io::Result<Self> {
        Ok(Self { socket: UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await? })
    }

    /// Asks a module who it is, and waits for its answer.
    pub async fn discover(&self, module: SocketAddr) -> Result<Discovery, LanError> {
        self.send(module, &Frame::new(0x03, []).encode()).await?;
        let frame = self.hear(module, 0x04).await?;
        Discovery::parse_strictly(&frame.payload).map_err(|fault| LanError::Breach(format!("0x04: {fault}")))
    }

    /// Hands over the name and password of a network, and waits until the module has taken them.
    pub async fn onboard(&self, module: SocketAddr, ssid: &[u8], password: &[u8]) -> Result<(), LanError> {
        self.send(module, &onboarding(ssid, password).encode()).await?;
        let frame = self.hear(module, 0x02).await?;
        if frame.payload.is_empty() { Ok(()) } else { Err(LanError::Breach("0x02 with a payload".to_owned())) }
    }

    /// Sends bytes, right or wrong.
    pub async fn send(&self, module: SocketAddr, bytes: &[u8]) -> Result<(), LanError> {
        self.socket.send_to(bytes, module).await.map(drop).map_err(LanError::Io)
    }

    /// The next datagram, which must be this command from this module.
    async fn hear(&self, module: SocketAddr, cmd: u16) -> Result<Frame, LanError> {
        let mut buffer = vec![0; DATAGRAM];
        let (n, from) = self.socket.recv_from(&mut buffer).await.map_err(LanError::Io)?;
        if from != module {
            return Err(LanError::Breach(format!("asked {module}, answered from {from}")));
        }
        match Frame::exact(&buffer[..n]) {
            Ok(frame) if frame.cmd == cmd => Ok(frame),
            Ok(frame) => Err(LanError::Breach(format!("{cmd:#04x} expected, {frame:?} came"))),
            Err(fault) => Err(LanError::Breach(fault)),
        }
    }
}

/// What a module announces without being asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Announce {
    /// 0x05, after power-on.
    PowerOn(Discovery),
    /// 0x19, after it joined a network it was told of.
    Joined(Joined),
}

impl Announce {
    /// The announce in a datagram, or what is wrong with it.
    pub fn parse(datagram: &[u8]) -> Result<Self, String> {
        let frame = Frame::exact(datagram)?;
        let announce = match frame.cmd {
            0x05 => Discovery::parse_strictly(&frame.payload).map(Self::PowerOn),
            0x19 => Joined::parse(&frame.payload).map(Self::Joined),
            other => return Err(format!("{other:#04x}, which nobody announces")),
        };
        announce.map_err(|fault| format!("{:#04x}: {fault}", frame.cmd))
    }

    /// Who announces: DID, address and product key.
    pub fn identity(&self) -> (&str, [u8; 6], &str) {
        match self {
            Self::PowerOn(found) => (&found.did, found.mac, &found.product_key),
            Self::Joined(found) => (&found.did, found.mac, &found.product_key),
        }
    }
}

/// What a listening app does with each datagram: the announce, or what is wrong with it.
pub type OnAnnounce = Box<dyn Fn(&Result<Announce, String>) + Send>;

/// Listens for announces. Keeps the last [`KEPT`] of them and counts all.
#[derive(Debug)]
pub struct Ear {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Announce>>>,
    count: watch::Sender<u64>,
    task: JoinHandle<()>,
}

impl Ear {
    /// Listens on a free port of loopback; needs a running tokio runtime.
    pub fn listen(each: OnAnnounce) -> io::Result<Self> {
        let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(socket)?;
        let address = socket.local_addr()?;
        let heard = Arc::default();
        let count = watch::channel(0).0;
        let task = tokio::spawn(keep(socket, Arc::clone(&heard), count.clone(), each));
        Ok(Self { address, heard, count, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Right announces so far, all of them.
    pub fn count(&self) -> u64 {
        *self.count.borrow()
    }

    /// The last right announces, oldest first.
    pub fn heard(&self) -> Vec<Announce> {
        lock(&self.heard).clone()
    }

    /// Waits until `n` right announces have come altogether.
    pub async fn until(&self, n: u64) {
        // The sender lives in `self`, so waiting ends only with the number.
        let _ = self.count.subscribe().wait_for(|count| *count >= n).await;
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep(socket: UdpSocket, heard: Arc<Mutex<Vec<Announce>>>, count: watch::Sender<u64>, each: OnAnnounce) {
    let mut buffer = vec![0; DATAGRAM];
    // An unconnected socket on loopback fails only when it is gone.
    while let Ok((n, _)) = socket.recv_from(&mut buffer).await {
        let announce = Announce::parse(&buffer[..n]);
        each(&announce);
        let Ok(announce) = announce else { continue };
        {
            let mut heard = lock(&heard);
            if heard.len() >= KEPT {
                heard.remove(0);
            }
            heard.push(announce);
        }
        count.send_modify(|count| *count += 1);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Announces remembered; the oldest is forgotten. Chosen by us: four starts of 30 announces.
pub const KEPT: usize = 120;
/// Room for the largest datagram there is.
const DATAGRAM: usize = 65_536;
