//! A server of files on loopback, by HTTP/1.1 with or without TLS, as RFC 9110 has it: ranges, `If-Range`, tags, HEAD.
//! On request it does to a download whatever a server or the network may do.
//!
//! Invariant: every request is recorded before it is answered, at most [`SEEN_KEPT`] of them (later ones are answered and
//! not recorded); faults are for one path each; a request that breaks RFC 9112 is a violation.

mod answer;
mod connection;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use md5::{Digest as _, Md5};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::changes;
use crate::http::{Request, listen};

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its content.
    pub bytes: Arc<[u8]>,
    /// Headers of every answer that has the file or a part of it.
    pub headers: Vec<(String, String)>,
    /// Headers that a request must have, with these values; else it is answered 403.
    pub demands: Vec<(String, String)>,
    /// With its quotation marks; none: no `ETag`, and any `If-Range` brings the whole file.
    pub etag: Option<String>,
    hold_after: Option<usize>,
    faults: VecDeque<(Fault, Times)>,
}

/// What a server does to a download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// `Range` is answered 200, with the whole file.
    IgnoreRange,
    /// `Range` is answered 206 with a part that begins a byte too early, and says so.
    WrongOffset,
    /// `Content-Length` is smaller by so much than what is sent.
    SayShorter(usize),
    /// `Content-Length` is larger by so much than what is sent; then the connection ends.
    SayLonger(usize),
    /// The content again and again, in chunks, for as long as the client listens.
    Endless,
    /// A byte, and a pause, in real time.
    Drip(Duration),
    /// 302 to the same path with another query, for ever.
    RedirectLoop,
    /// 302 to this address.
    Redirect(String),
    /// Every bit of the content is wrong.
    WrongBytes,
    /// This status, and perhaps `Retry-After`.
    Status {
        /// The status.
        status: u16,
        /// Seconds.
        retry_after_s: Option<u32>,
    },
}

/// How many requests a fault is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Times {
    Once,
    Always,
}

/// A request that was answered, or is being answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// `GET`, `HEAD`, …
    pub method: String,
    /// Path without query.
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The `Range` header.
    pub range: Option<String>,
    /// Status of the answer.
    pub status: u16,
    /// Bytes of the body that were handed to the network so far.
    pub sent: usize,
    /// The answer is over: it was sent, cut, or the client went away.
    pub over: bool,
}

/// Who else has a say: the cloud whose files these are. Called from the server's tasks: return promptly.
pub trait Keeper: Send + Sync + 'static {
    /// Whether this request may have its file; else it is answered 403. Asked before anything else.
    fn admits(&self, request: &Request) -> bool;

    /// A client did what HTTP forbids.
    fn violation(&self, text: &str);
}

/// The server; dropping it closes its port and its connections.
#[derive(Debug)]
pub struct FileServer {
    address: SocketAddr,
    /// Scheme and authority.
    origin: String,
    shared: Arc<Shared>,
    tls: Option<Tls>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl FileServer {
    /// A server by plain HTTP on a free loopback port; needs a running tokio runtime.
    pub fn start() -> io::Result<Self> {
        Self::start_on(None, None)
    }

    /// One whose files belong to somebody.
    pub fn start_kept(keeper: Arc<dyn Keeper>) -> io::Result<Self> {
        Self::start_on(None, Some(keeper))
    }

    /// One by HTTPS, for a certificate of this name (see [`crate::authority::Authority::server`]), which must lead to
    /// 127.0.0.1: `localhost`, or the address itself.
    pub fn start_tls(name: &str, config: Arc<rustls::ServerConfig>) -> io::Result<Self> {
        Self::start_on(Some((name, TlsAcceptor::from(config))), None)
    }

    fn start_on(tls: Option<(&str, TlsAcceptor)>, keeper: Option<Arc<dyn Keeper>>) -> io::Result<Self> {
        let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let origin = match &tls {
            Some((name, _)) => format!("https://{name}:{}", address.port()),
            None => format!("http://{address}"),
        };
        let shared = Arc::new(Shared { keeper, ..Shared::default() });
        let tls = tls.map(|(_, acceptor)| Tls(acceptor));
        let server = Self { address, origin, shared, tls, task: Mutex::default() };
        server.accept(listener);
        Ok(server)
    }

    /// Ends all connections and closes the port.
    pub fn go_away(&self) {
        if let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }

    /// Listens again on the same port; a server that never went away stays as it is.
    pub fn come_back(&self) -> io::Result<()> {
        if self.task.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            self.accept(listen(self.address)?);
        }
        Ok(())
    }

    fn accept(&self, listener: tokio::net::TcpListener) {
        let acceptor = self.tls.as_ref().map(|tls| tls.0.clone());
        let task = tokio::spawn(connection::serve(listener, acceptor, Arc::clone(&self.shared)));
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
    }

    /// Serves a file, in place of what had this path before, faults and demands included; its address.
    pub fn serve(&self, path: &str, bytes: impl Into<Vec<u8>>) -> String {
        self.shared.lock().files.insert(path.to_owned(), File::of(bytes.into()));
        self.url(path)
    }

    /// The address of a path, with or without a query, which the server ignores.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// Changes a file, for requests from now on.
    ///
    /// # Panics
    ///
    /// If nothing is served there: the test has a wrong path.
    pub fn change(&self, path: &str, change: impl FnOnce(&mut File)) {
        let mut state = self.shared.lock();
        change(state.files.get_mut(path).unwrap_or_else(|| panic!("nothing is served at {path}")));
        drop(state);
        self.shared.tell();
    }

    /// Every request from now on meets this fault; what was ordered before is forgotten.
    pub fn misbehave(&self, path: &str, fault: Fault) {
        self.change(path, |file| file.faults = [(fault, Times::Always)].into());
    }

    /// The next request meets this fault; several wait for one request each, in their order.
    pub fn misbehave_once(&self, path: &str, fault: Fault) {
        self.change(path, |file| file.faults.push_back((fault, Times::Once)));
    }

    /// No faults any more.
    pub fn behave(&self, path: &str) {
        self.change(path, |file| file.faults.clear());
    }

    /// Every answer from now on stops after so many bytes of its body, until [`FileServer::release`].
    pub fn hold_after(&self, path: &str, n_bytes: usize) {
        self.change(path, |file| file.hold_after = Some(n_bytes));
    }

    /// Answers that are held go on, and no further ones are held.
    pub fn release(&self, path: &str) {
        self.change(path, |file| file.hold_after = None);
    }

    /// The requests for a path so far, oldest first.
    pub fn requests(&self, path: &str) -> Vec<Seen> {
        self.shared.lock().seen.iter().filter(|seen| seen.path == path).cloned().collect()
    }

    /// Waits until the requests for a path are as they should be; asked again after each request, each piece that was
    /// sent, and each change.
    pub async fn until(&self, path: &str, holds: impl Fn(&[Seen]) -> bool) {
        changes::until(&self.shared.changes, || holds(&self.requests(path))).await;
    }

    /// Waits until an answer is held: at least so many bytes of one were sent and it is not over.
    pub async fn until_held(&self, path: &str, n_bytes: usize) {
        self.until(path, |seen| seen.iter().any(|seen| seen.sent >= n_bytes && !seen.over)).await;
    }

    /// What clients did that HTTP forbids.
    pub fn violations(&self) -> Vec<String> {
        self.shared.lock().violations.clone()
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        self.go_away();
    }
}

impl File {
    /// A file with a tag of its content, and nothing else.
    fn of(bytes: Vec<u8>) -> Self {
        let tag: String = Md5::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            bytes: bytes.into(),
            headers: Vec::new(),
            demands: Vec::new(),
            etag: Some(format!("\"{tag}\"")),
            hold_after: None,
            faults: VecDeque::new(),
        }
    }

    /// The fault that a request meets.
    fn next_fault(&mut self) -> Option<Fault> {
        match self.faults.front() {
            Some((fault, Times::Always)) => Some(fault.clone()),
            _ => self.faults.pop_front().map(|(fault, _)| fault),
        }
    }
}

struct Tls(TlsAcceptor);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changes: watch::Sender<()>,
    keeper: Option<Arc<dyn Keeper>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("state", &self.state).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, File>,
    seen: Vec<Seen>,
    violations: Vec<String>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn violation(&self, text: String) {
        if let Some(keeper) = &self.keeper {
            keeper.violation(&text);
        }
        let mut state = self.lock();
        if state.violations.len() < VIOLATIONS_KEPT {
            state.violations.push(text);
        }
    }

    fn tell(&self) {
        self.changes.send_modify(|()| ());
    }
}

/// Requests remembered. Chosen by us: more than any test makes, so that what a test counts is all there is.
const SEEN_KEPT: usize = 10_000;
/// Violations remembered; later ones add nothing.
const VIOLATIONS_KEPT: usize = 64;

#[cfg(test)]
mod tests;
