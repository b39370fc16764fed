//! A scripted HTTP/1.1 server on loopback: each path has one answer, which may be late, cut, chunked or wrong. What no
//! script answers can be left to a [`Site`].
//!
//! Invariant: every request is recorded before it is answered, and a request that breaks RFC 9112 is recorded as a
//! violation and answered 400. It keeps at most `REQUESTS_KEPT` requests; older ones are forgotten.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

use crate::faulty_net::reset_on_close;

/// What the server does when a path is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers beside those that the body needs.
    pub headers: Vec<(String, String)>,
    /// The body, whole; a range request gets a part of it if `ranges` is set.
    pub body: Vec<u8>,
    /// How long the server thinks.
    pub delay: Duration,
    /// Body in chunks instead of with a length.
    pub chunked: bool,
    /// `Range: bytes=n-` is answered 206 with `Content-Range`; otherwise the header is ignored, as RFC 9110 allows.
    pub ranges: bool,
    /// The connection is reset after this many bytes of the body.
    pub cut_after: Option<usize>,
    /// The connection is closed after the answer.
    pub close: bool,
}

impl Answer {
    /// 200 with a body.
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::status(200, body)
    }

    /// A status with a body.
    pub fn status(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            delay: Duration::ZERO,
            chunked: false,
            ranges: false,
            cut_after: None,
            close: false,
        }
    }
}

/// One request as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path with query.
    pub target: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body, whole.
    pub body: Vec<u8>,
}

/// Answers by rules of its own where no script does. Called from the server's tasks: return promptly.
pub trait Site: Send + Sync + 'static {
    /// The answer to a request.
    fn answer(&self, request: &Request) -> Answer;

    /// A client did what HTTP forbids.
    fn violation(&self, _text: &str) {}
}

/// The server; dropping it closes its port and its connections.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl HttpServer {
    /// A server on a free loopback port; it runs on the current runtime. Unscripted paths answer 404.
    pub async fn start() -> io::Result<Self> {
        Self::start_on(Shared::default())
    }

    /// The same, with a site behind the scripts; needs a running tokio runtime.
    pub fn start_site(site: Arc<dyn Site>) -> io::Result<Self> {
        Self::start_on(Shared { site: Some(site), ..Shared::default() })
    }

    fn start_on(shared: Shared) -> io::Result<Self> {
        let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let server = Self { address, shared: Arc::new(shared), task: Mutex::default() };
        server.accept(listener);
        Ok(server)
    }

    /// Ends all connections and closes the port.
    pub fn go_away(&self) {
        if let Some(task) = self.task.lock().expect(UNPOISONED).take() {
            task.abort();
        }
    }

    /// Listens again on the same port; a server that never went away stays as it is.
    pub fn come_back(&self) -> io::Result<()> {
        if self.task.lock().expect(UNPOISONED).is_none() {
            self.accept(listen(self.address)?);
        }
        Ok(())
    }

    fn accept(&self, listener: TcpListener) {
        let task = tokio::spawn(serve(listener, self.shared.clone()));
        *self.task.lock().expect(UNPOISONED) = Some(task);
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// From now on `path` (without query) is answered so.
    pub fn script(&self, path: &str, answer: Answer) {
        self.shared.state.lock().expect(UNPOISONED).answers.insert(path.to_owned(), answer);
    }

    /// The requests so far, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.state.lock().expect(UNPOISONED).requests.iter().cloned().collect()
    }

    /// What clients did that HTTP forbids.
    pub fn violations(&self) -> Vec<String> {
        self.shared.state.lock().expect(UNPOISONED).violations.clone()
    }

    /// Waits until `n` requests have come in altogether.
    pub async fn wait_for_requests(&self, n: usize) {
        loop {
            let changed = self.shared.changed.notified();
            if self.shared.state.lock().expect(UNPOISONED).n_requests >= n {
                return;
            }
            changed.await;
        }
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.go_away();
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
    site: Option<Arc<dyn Site>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("state", &self.state).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct State {
    answers: BTreeMap<String, Answer>,
    requests: VecDeque<Request>,
    n_requests: usize,
    violations: Vec<String>,
}

impl Shared {
    fn record(&self, request: &Request) -> Answer {
        let mut state = self.state.lock().expect(UNPOISONED);
        if state.requests.len() == REQUESTS_KEPT {
            state.requests.pop_front();
        }
        state.requests.push_back(request.clone());
        state.n_requests += 1;
        self.changed.notify_waiters();
        let path = request.target.split('?').next().unwrap_or_default();
        let scripted = state.answers.get(path).cloned();
        drop(state);
        scripted
            .or_else(|| self.site.as_ref().map(|site| site.answer(request)))
            .unwrap_or_else(|| Answer::status(404, "no such path"))
    }

    fn violation(&self, text: String) {
        if let Some(site) = &self.site {
            site.violation(&text);
        }
        let mut state = self.state.lock().expect(UNPOISONED);
        if state.violations.len() < VIOLATIONS_KEPT {
            state.violations.push(text);
        }
    }
}

/// Listens on a loopback port, also on one that was in use a moment ago.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(64)
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { return };
                connections.spawn(converse(stream, shared.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn converse(stream: TcpStream, shared: Arc<Shared>) {
    let mut stream = BufReader::new(stream);
    loop {
        let request = match read_request(&mut stream).await {
            Ok(Some(request)) => request,
            Ok(None) | Err(Broken::Gone) => return,
            Err(Broken::Rule(text)) => {
                shared.violation(text);
                let _ = stream
                    .write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                    .await;
                return;
            }
        };
        let answer = shared.record(&request);
        let close = answer.close || request.headers.get("connection").is_some_and(|value| value == "close");
        if write_answer(&mut stream, &request, &answer).await.is_err() || close {
            return;
        }
    }
}

/// Why there is no request.
pub(crate) enum Broken {
    /// The other end went away; not a fault.
    Gone,
    /// A rule of HTTP was broken.
    Rule(String),
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// The next request; none: the client has left.
pub(crate) async fn read_request<S: AsyncBufRead + Unpin>(stream: &mut S) -> Result<Option<Request>, Broken> {
    let Some(first) = read_line(stream).await? else { return Ok(None) };
    let mut words = first.split(' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let (Some(method), Some(target), Some("HTTP/1.1"), None) = (method, target, version, words.next()) else {
        return Err(Broken::Rule(format!("request line {first:?}, \"METHOD target HTTP/1.1\" expected")));
    };
    let mut headers = BTreeMap::new();
    loop {
        let line = read_line(stream).await?.ok_or(Broken::Gone)?;
        if line.is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':').filter(|(name, _)| !name.is_empty() && !name.ends_with(' '))
        else {
            return Err(Broken::Rule(format!("header line {line:?}, \"name: value\" expected")));
        };
        if headers.insert(name.to_ascii_lowercase(), value.trim().to_owned()).is_some() {
            return Err(Broken::Rule(format!("header {name} twice")));
        }
        if headers.len() > HEADERS {
            return Err(Broken::Rule(format!("more than {HEADERS} headers")));
        }
    }
    if !headers.contains_key("host") {
        return Err(Broken::Rule("no Host header, which HTTP/1.1 demands".to_owned()));
    }
    let length = match headers.get("content-length").map(|value| value.parse::<usize>()) {
        None => 0,
        Some(Ok(length)) if length <= BODY => length,
        Some(_) => return Err(Broken::Rule(format!("content-length {:?}, at most {BODY}", headers["content-length"]))),
    };
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some(Request { method: method.to_owned(), target: target.to_owned(), headers, body }))
}

/// One line without its end; none at the end of the stream.
async fn read_line<S: AsyncBufRead + Unpin>(stream: &mut S) -> Result<Option<String>, Broken> {
    let mut line = Vec::new();
    stream.take(LINE).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Ok(None);
    }
    let Some(text) = line.strip_suffix(b"\r\n") else {
        return Err(Broken::Rule(format!("a line of {} bytes without CR LF", line.len())));
    };
    String::from_utf8(text.to_vec()).map(Some).map_err(|_| Broken::Rule("a line that is not text".to_owned()))
}

async fn write_answer(stream: &mut BufReader<TcpStream>, request: &Request, answer: &Answer) -> io::Result<()> {
    tokio::time::sleep(answer.delay).await;
    let (status, from) = part(request, answer);
    let body = answer.body.get(from..).unwrap_or_default();
    let mut head = format!("HTTP/1.1 {status} Scripted\r\n");
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let total = answer.body.len();
    match status {
        206 => head += &format!("content-range: bytes {from}-{}/{total}\r\n", total.saturating_sub(1)),
        416 => head += &format!("content-range: bytes */{total}\r\n"),
        _ => {}
    }
    if answer.close {
        head += "connection: close\r\n";
    }
    head += &if answer.chunked {
        "transfer-encoding: chunked\r\n\r\n".to_owned()
    } else {
        format!("content-length: {}\r\n\r\n", body.len())
    };
    stream.write_all(head.as_bytes()).await?;
    if request.method == "HEAD" {
        return stream.flush().await;
    }
    let sent = answer.cut_after.unwrap_or(body.len()).min(body.len());
    if answer.chunked {
        for piece in body[..sent].chunks(CHUNK) {
            stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
            stream.write_all(piece).await?;
            stream.write_all(b"\r\n").await?;
        }
    } else {
        stream.write_all(&body[..sent]).await?;
    }
    stream.flush().await?;
    if answer.cut_after.is_some() {
        reset_on_close(stream.get_ref());
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    if answer.chunked {
        stream.write_all(b"0\r\n\r\n").await?;
    }
    stream.flush().await
}

/// Status, and where in the body the answer begins.
fn part(request: &Request, answer: &Answer) -> (u16, usize) {
    let wanted =
        request.headers.get("range").and_then(|value| value.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    match wanted {
        Some(from) if answer.ranges && answer.status == 200 && from < answer.body.len() => (206, from),
        Some(_) if answer.ranges && answer.status == 200 => (416, answer.body.len()),
        _ => (answer.status, 0),
    }
}

const UNPOISONED: &str = "no holder of this lock panics";
/// Requests remembered; the oldest is forgotten.
const REQUESTS_KEPT: usize = 1024;
/// Violations remembered; later ones add nothing.
const VIOLATIONS_KEPT: usize = 64;
/// Headers in one request. Chosen by us.
const HEADERS: usize = 64;
/// Bytes in one line of a head. Chosen by us.
const LINE: u64 = 8192;
/// Bytes in a request's body. Chosen by us.
const BODY: usize = 1 << 20;
/// Bytes in one chunk of a chunked answer; odd, so that no reader's buffer fits it.
const CHUNK: usize = 777;

#[cfg(test)]
mod tests {
    use super::*;

    /// What a client that says `request` hears until the server closes.
    fn check(answer: Answer, request: &str, expected: &[&str], violations: usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = HttpServer::start().await.unwrap();
            server.script("/file", Answer { close: true, ..answer });
            let mut client = TcpStream::connect(server.address()).await.unwrap();
            client.write_all(request.as_bytes()).await.unwrap();
            let mut heard = Vec::new();
            // A reset ends reading early, and what came before it counts.
            let _ = client.read_to_end(&mut heard).await;
            let heard = String::from_utf8(heard).unwrap();
            for part in expected {
                assert!(heard.contains(part), "{part:?} missing in {heard:?}");
            }
            assert_eq!(server.violations().len(), violations, "{:?}", server.violations());
        });
    }

    #[test]
    fn answers_the_scripted_body_with_its_length() {
        check(
            Answer::ok("hello"),
            "GET /file?x=1 HTTP/1.1\r\nHost: here\r\n\r\n",
            &["200", "content-length: 5", "hello"],
            0,
        );
    }

    #[test]
    fn a_range_is_answered_only_where_ranges_are_on() {
        let request = "GET /file HTTP/1.1\r\nHost: here\r\nRange: bytes=3-\r\n\r\n";
        let on = Answer { ranges: true, ..Answer::ok("0123456789") };
        check(on.clone(), request, &["206", "content-range: bytes 3-9/10", "\r\n\r\n3456789"], 0);
        check(Answer { ranges: false, ..on.clone() }, request, &["200", "\r\n\r\n0123456789"], 0);
        check(on, &request.replace("3-", "10-"), &["416", "content-range: bytes */10"], 0);
    }

    #[test]
    fn chunks_end_with_an_empty_one() {
        let chunked = Answer { chunked: true, ..Answer::ok("abc") };
        check(chunked, "GET /file HTTP/1.1\r\nHost: here\r\n\r\n", &["chunked", "\r\n\r\n3\r\nabc\r\n0\r\n\r\n"], 0);
    }

    #[test]
    fn a_request_without_host_is_a_violation() {
        check(Answer::ok(""), "GET /file HTTP/1.1\r\n\r\n", &["400"], 1);
        check(Answer::ok(""), "GET /file HTTP/1.0\r\nHost: x\r\n\r\n", &["400"], 1);
    }
}
