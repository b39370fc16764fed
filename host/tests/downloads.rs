//! Downloads by the host's own HTTP client, from servers written here on raw loopback sockets.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use polylink::disk::{Directory, Disk};
use polylink::log::KeptLog;
use polylink::services::clock::{Clock, Zone};
use polylink::services::{ScriptLimits, ServiceOptions, Services};
use polylink::update::digest::{Digests, Expected};
use polylink::update::download::fetch::{Fetch, part};
use polylink::update::download::{Failure, Limits, Trouble, Wish};
use polylink::update::manifest::Facts;
use polylink::update::turns::Turns;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[path = "downloads/counted.rs"]
mod counted;
#[path = "downloads/hostile.rs"]
mod hostile;

/// A directory that is gone when the test ends.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a server says to one request, and whether it then leaves without a good-bye.
type Said = (Vec<u8>, bool);

fn said(head: &str, body: &[u8]) -> Said {
    ([head.replace('\n', "\r\n").as_bytes(), b"\r\n\r\n", body].concat(), false)
}

/// Loads from a server that gives these answers, one for each connection. What comes of it, what is in the file, and the
/// requests.
async fn load(name: &str, answers: Vec<Said>, wish: Wish) -> (Result<Facts, Failure>, Vec<u8>, Vec<String>) {
    let place = Place(std::env::temp_dir().join(format!("polylink-downloads-{}-{name}", std::process::id())));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = wish.url.replace("PORT", &listener.local_addr().unwrap().port().to_string());
    let requests = Arc::new(Mutex::default());
    let server = tokio::spawn(serve(listener, answers, Arc::clone(&requests)));
    let clock = Clock::new(Zone::Fixed(0));
    let runtime = tokio::runtime::Handle::current();
    let (scripts, log) = (ScriptLimits::default(), KeptLog::default());
    let services = Services::new(ServiceOptions { runtime, clock: clock.clone(), scripts, log });
    let web = services.web("");
    let disk: Arc<dyn Disk> = Arc::new(Directory::new(&place.0));
    let now = move || clock.now().monotonic;
    let wish = Wish { url, ..wish };
    let turns = Turns::default();
    let fetch = Fetch { server: &web, disk: Arc::clone(&disk), name: "1", wish, random: 1, clock: &now, turns: &turns };
    let loaded = fetch.run(&mut |_, _| {}).await;
    let file = disk.read(&part("1"), 10_000_000).unwrap_or_default();
    server.abort();
    let requests = requests.lock().unwrap().clone();
    (loaded, file, requests)
}

async fn serve(listener: TcpListener, answers: Vec<Said>, requests: Arc<Mutex<Vec<String>>>) {
    for (bytes, resets) in answers {
        let (mut stream, _) = listener.accept().await.unwrap();
        let request = request(&mut stream).await;
        requests.lock().unwrap().push(request);
        // Who has heard enough leaves.
        let _ = stream.write_all(&bytes).await;
        if resets {
            stream.set_zero_linger().unwrap();
        } else {
            let _ = stream.shutdown().await;
        }
    }
}

async fn request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

fn content(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i % 251) as u8).collect()
}

fn wish(file: &[u8]) -> Wish {
    let limits = Limits { plain_text: true, pause_first_ms: 1, attempts: 3, ..Limits::default() };
    let digests = vec![Expected::Sha256(sha256(file))];
    Wish { url: "http://127.0.0.1:PORT/a?token=secret".to_owned(), headers: Vec::new(), size: None, digests, limits }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut digests = Digests::new(&[]);
    digests.update(bytes);
    digests.sha256()
}

#[tokio::test]
async fn a_cut_connection_is_continued_with_a_range_and_the_tag() {
    let file = content(300_000);
    let cut = said("HTTP/1.1 200 OK\nContent-Length: 300000\nETag: \"v1\"", &file[..200_000]);
    let rest = "HTTP/1.1 206 Partial Content\nContent-Length: 100000\nContent-Range: bytes 200000-299999/300000";
    let (loaded, found, requests) = load("cut", vec![cut, said(rest, &file[200_000..])], wish(&file)).await;
    assert_eq!(loaded, Ok(Facts { size: 300_000, sha256: sha256(&file) }));
    assert!(found == file);
    assert!(requests[0].starts_with("get /a?token=secret http/1.1\r\n") && !requests[0].contains("\r\nrange:"));
    assert!(requests[0].contains("\r\naccept-encoding: identity\r\n"), "{}", requests[0]);
    assert!(requests[1].contains("\r\nrange: bytes=200000-\r\n"), "{}", requests[1]);
    assert!(requests[1].contains("\r\nif-range: \"v1\"\r\n"), "{}", requests[1]);
}

#[tokio::test]
async fn a_relative_redirect_is_followed_and_a_loop_is_not() {
    let file = content(10);
    let moved = || said("HTTP/1.1 302 Found\nLocation: /b\nContent-Length: 0", b"");
    let good = said("HTTP/1.1 200 OK\nContent-Length: 10", &file);
    let (loaded, found, requests) = load("redirect", vec![moved(), good], wish(&file)).await;
    assert!(loaded.is_ok() && found == file, "{loaded:?}");
    assert!(requests[1].starts_with("get /b http/1.1\r\n"), "{}", requests[1]);
    let (loaded, ..) = load("loop", (0..18).map(|_| moved()).collect(), wish(&file)).await;
    assert_eq!(loaded, Err(Failure::Attempts(Trouble::Redirects)));
}

#[tokio::test]
async fn a_server_that_resets_is_given_up_without_a_word_about_the_address() {
    let reset = || (Vec::new(), true);
    let (loaded, ..) = load("reset", vec![reset(), reset(), reset()], wish(b"x")).await;
    let why = loaded.expect_err("nothing came").to_string();
    assert!(why.contains("the last attempt failed") && !why.contains("secret"), "{why}");
}
