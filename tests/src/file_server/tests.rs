use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::*;
use crate::authority::Authority;

/// What a client hears that asks for `/a`, which has these bytes and this fault, and says good-bye.
async fn check(bytes: &[u8], fault: Option<Fault>, extra: &str, expected: &[&str]) {
    let server = FileServer::start().unwrap();
    server.serve("/a", bytes);
    if let Some(fault) = fault {
        server.misbehave("/a", fault);
    }
    let heard = ask(&server, extra).await;
    for part in expected {
        assert!(heard.contains(part), "{part:?} missing in {heard:?}");
    }
    assert_eq!(server.violations(), Vec::<String>::new());
}

async fn ask(server: &FileServer, extra: &str) -> String {
    let mut client = open(server, extra).await;
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.unwrap();
    String::from_utf8(heard).unwrap()
}

async fn open(server: &FileServer, extra: &str) -> TcpStream {
    let mut client = TcpStream::connect(server.address).await.unwrap();
    let request = format!("GET /a?x HTTP/1.1\r\nHost: here\r\nConnection: close\r\n{extra}\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    client
}

#[tokio::test]
async fn each_fault_is_what_it_is_called() {
    let ranged = "Range: bytes=2-\r\n";
    check(b"hello", Some(Fault::Cut(2)), "", &["content-length: 5\r\n", "\r\n\r\nhe"]).await;
    check(b"hello", Some(Fault::IgnoreRange), ranged, &[" 200 ", "\r\n\r\nhello"]).await;
    check(b"hello", Some(Fault::WrongOffset), ranged, &[" 206 ", "bytes 1-4/5\r\n", "\r\n\r\nello"]).await;
    check(b"hello", Some(Fault::SayShorter(2)), "", &["content-length: 3\r\n", "\r\n\r\nhello"]).await;
    check(b"hello", Some(Fault::SayLonger(2)), "", &["content-length: 7\r\n", "\r\n\r\nhello"]).await;
    check(b"hello", Some(Fault::RedirectLoop), "", &[" 302 ", "location: /a?x&again\r\n"]).await;
    check(b"hello", Some(Fault::Redirect("http://b/".to_owned())), "", &[" 302 ", "location: http://b/\r\n"]).await;
    check(&[0x9e], Some(Fault::WrongBytes), "", &["content-length: 1\r\n", "\r\n\r\na"]).await;
    check(b"hello", Some(Fault::Drip(Duration::ZERO)), "", &["\r\n\r\nhello"]).await;
    let busy = Fault::Status { status: 503, retry_after_s: Some(7) };
    check(b"hello", Some(busy), "", &[" 503 ", "retry-after: 7\r\n"]).await;
}

#[tokio::test]
async fn faults_that_are_ordered_once_pass() {
    let server = FileServer::start().unwrap();
    server.serve("/a", b"hello".as_slice());
    server.misbehave_once("/a", Fault::Cut(1));
    server.misbehave_once("/a", Fault::Cut(3));
    let mut heard = Vec::new();
    for _ in 0..3 {
        heard.push(ask(&server, "").await.rsplit("\r\n").next().unwrap().to_owned());
    }
    assert_eq!(heard, ["h", "hel", "hello"]);
    assert_eq!(server.requests("/a").iter().map(|seen| seen.sent).collect::<Vec<_>>(), [1, 3, 5]);
}

#[tokio::test]
async fn a_request_without_what_is_demanded_is_refused() {
    let server = FileServer::start().unwrap();
    server.serve("/a", b"hello".as_slice());
    server.change("/a", |file| {
        file.demands.push(("Authorization".to_owned(), "x y".to_owned()));
        file.headers.push(("Soft-Version".to_owned(), "2".to_owned()));
    });
    assert!(ask(&server, "").await.contains(" 403 "));
    let let_in = ask(&server, "authorization: x y\r\n").await;
    assert!(let_in.contains(" 200 ") && let_in.contains("Soft-Version: 2\r\n"), "{let_in}");
}

/// Lets in who has a ticket.
struct Usher;

impl Keeper for Usher {
    fn admits(&self, request: &Request) -> bool {
        request.headers.contains_key("ticket")
    }

    fn violation(&self, _text: &str) {}
}

#[tokio::test]
async fn a_keeper_decides_who_is_let_in_and_refusals_use_up_no_fault() {
    let server = FileServer::start_kept(Arc::new(Usher)).unwrap();
    server.serve("/a", b"hello".as_slice());
    server.misbehave_once("/a", Fault::Cut(1));
    assert!(ask(&server, "").await.contains(" 403 "));
    assert!(ask(&server, "Ticket: 1\r\n").await.ends_with("\r\n\r\nh"));
    assert_eq!(server.requests("/a").iter().map(|seen| seen.status).collect::<Vec<_>>(), [403, 200]);
}

#[tokio::test]
async fn an_answer_is_held_until_it_is_released_or_the_client_leaves() {
    let server = FileServer::start().unwrap();
    server.serve("/a", b"hello".as_slice());
    server.hold_after("/a", 2);
    let gone = open(&server, "").await;
    server.until_held("/a", 2).await;
    let mut held = open(&server, "").await;
    server.until("/a", |seen| seen.len() == 2 && seen[1].sent == 2).await;
    drop(gone);
    server.until("/a", |seen| seen[0].over).await;
    server.release("/a");
    let mut heard = String::new();
    held.read_to_string(&mut heard).await.unwrap();
    assert!(heard.ends_with("\r\n\r\nhello"), "{heard}");
    server.until("/a", |seen| seen.iter().all(|seen| seen.over)).await;
}

#[tokio::test]
async fn a_client_that_has_heard_enough_ends_an_endless_answer() {
    let server = FileServer::start().unwrap();
    server.serve("/a", b"hello".as_slice());
    server.misbehave("/a", Fault::Endless);
    let mut client = open(&server, "").await;
    let mut some = vec![0; 100_000];
    client.read_exact(&mut some).await.unwrap();
    drop(client);
    server.until("/a", |seen| seen[0].over).await;
    assert!(server.requests("/a")[0].sent > 40_000);
}

#[tokio::test]
async fn https_is_for_those_who_trust_the_authority() {
    let (ours, theirs) = (Authority::new("ours").unwrap(), Authority::new("theirs").unwrap());
    let server = FileServer::start_tls("localhost", ours.server("localhost").unwrap()).unwrap();
    let url = server.serve("/a", b"hello".as_slice());
    assert_eq!(url, format!("https://localhost:{}/a", server.address.port()));
    for (trusted, expected) in [(&ours, Some("hello")), (&theirs, None)] {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(trusted.pem().as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let config = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        let stream = TcpStream::connect(server.address).await.unwrap();
        let connector = TlsConnector::from(Arc::new(config.with_no_client_auth()));
        let Ok(mut stream) = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await else {
            assert_eq!(expected, None);
            continue;
        };
        stream.write_all(b"GET /a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard.rsplit("\r\n").next(), expected);
    }
    assert_eq!(server.requests("/a").len(), 1);
}
