//! Servers that lie, flood, drip, and never end; and connections that end anywhere.

use std::borrow::Borrow;
use std::sync::atomic::Ordering;
use std::time::Duration;

use polylink_plugin_api::Timestamp;
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring::default_provider;
use rustls::server::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::counted::Counted;
use super::*;

/// What came of a download.
struct Loaded {
    result: Result<Facts, Failure>,
    file: Vec<u8>,
    /// Bytes of the largest file that there ever was.
    largest: u64,
}

/// Loads from a server that does this to each connection, one after the other, with their numbers. Its port stands where
/// the wish's address has `PORT`.
async fn load(place: impl Borrow<Place>, ca_pem: &str, wish: Wish, server: impl AsyncFn(usize, TcpStream)) -> Loaded {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = wish.url.replace("PORT", &listener.local_addr().unwrap().port().to_string());
    let clock = Clock::new(Zone::Fixed(0));
    let runtime = tokio::runtime::Handle::current();
    let services =
        Services::new(ServiceOptions { runtime, clock, scripts: ScriptLimits::default(), log: KeptLog::default() });
    let web = services.web(ca_pem);
    let disk = Arc::new(Counted::new(Directory::new(&place.borrow().0)));
    let began = Instant::now();
    let now = move || Timestamp(u64::try_from(began.elapsed().as_millis()).unwrap());
    let wish = Wish { url, ..wish };
    let turns = Turns::default();
    let fetch = Fetch { server: &web, disk: disk.clone(), name: "1", wish, random: 1, clock: &now, turns: &turns };
    let serving = async {
        for n in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            server(n, stream).await;
        }
    };
    let mut unheard = |_: u64, _: Option<u64>| {};
    let result = tokio::select! {
        result = fetch.run(&mut unheard) => result,
        () = serving => unreachable!("it serves for ever"),
    };
    let file = disk.read(&part("1"), 10_000_000).unwrap_or_default();
    Loaded { result, file, largest: disk.counts.largest.load(Ordering::Relaxed) }
}

/// A server that says this to every request, and then leaves, must be given up for this reason, with a file of at most so
/// many bytes.
async fn check(name: &str, head: &str, body: &[u8], wish: Wish, expected: Failure, largest: u64) {
    let (said, _) = said(head, body);
    let loaded = load(place(name), "", wish, async |_, mut stream| {
        request(&mut stream).await;
        let _ = stream.write_all(&said).await;
        let _ = stream.shutdown().await;
        until_it_leaves(&mut stream).await;
    });
    let loaded = loaded.await;
    assert_eq!(loaded.result, Err(expected), "{name}");
    assert!(loaded.largest <= largest, "{name}: {} bytes on the disk", loaded.largest);
}

fn place(name: &str) -> Place {
    Place(std::env::temp_dir().join(format!("polylink-hostile-{}-{name}", std::process::id())))
}

/// A server that closes first, with bytes unread, would reset what the client has not read yet.
async fn until_it_leaves(stream: &mut TcpStream) {
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

/// Writes the same again and again until the client has left; how much it took, buffers of the system included.
async fn flood(stream: &mut TcpStream, bytes: &[u8]) -> usize {
    let mut taken = 0;
    while taken < FLOOD {
        match stream.write(bytes).await {
            Ok(n) => taken += n,
            Err(_) => break,
        }
    }
    taken
}

#[tokio::test]
async fn a_flood_is_left_at_the_limit_whatever_it_consists_of() {
    let ok = "HTTP/1.1 200 OK\r\n";
    let chunk = [&b"10000\r\n"[..], &[0; 0x10000], b"\r\n"].concat();
    let bodies: [(&str, String, Vec<u8>); 7] = [
        ("body", format!("{ok}\r\n"), vec![0; 0x10000]),
        ("chunks", format!("{ok}Transfer-Encoding: chunked\r\n\r\n"), chunk),
        ("headers", ok.to_owned(), b"X-Bomb: boom\r\n".repeat(1000)),
        ("one header", format!("{ok}X-Bomb: "), vec![b'x'; 0x10000]),
        ("extensions", format!("{ok}Transfer-Encoding: chunked\r\n\r\n5;"), vec![b'x'; 0x10000]),
        ("trailers", format!("{ok}Transfer-Encoding: chunked\r\n\r\n0\r\n"), b"X-Bomb: boom\r\n".repeat(1000)),
        ("one line", "HTTP/1.1 200 ".to_owned(), vec![b'x'; 0x10000]),
    ];
    for (name, head, flooding) in bodies {
        let taken = Mutex::new(0);
        let limits = Limits { max_bytes: 1_000_000, attempts: 1, ..wish(b"").limits };
        let loaded = load(place(name), "", Wish { limits, ..wish(b"x") }, async |_, mut stream| {
            request(&mut stream).await;
            let _ = stream.write_all(head.as_bytes()).await;
            *taken.lock().unwrap() = flood(&mut stream, &flooding).await;
        });
        let loaded = loaded.await;
        assert!(loaded.result.is_err(), "{name}: {:?}", loaded.result);
        assert!(loaded.largest <= 1_000_000, "{name}: {} bytes on the disk", loaded.largest);
        assert!(*taken.lock().unwrap() < FLOOD, "{name}: nobody left");
    }
}

#[tokio::test]
async fn a_length_that_is_a_lie_is_never_believed() {
    let file = content(30_000);
    let ok = |length: usize| format!("HTTP/1.1 200 OK\nContent-Length: {length}");
    let known = || Wish { size: Some(30_000), ..wish(&file) };
    let size = |found| Failure::Attempts(Trouble::Size { found, wanted: 30_000 });
    check("says less", &ok(20_000), &file, known(), size(20_000), 0).await;
    check("says more", &ok(40_000), &file, known(), size(40_000), 0).await;
    let mut digests = Digests::new(&[]);
    digests.update(&file[..20_000]);
    let found = digests.check(&wish(&file).digests).expect_err("another file");
    check("says less, size unknown", &ok(20_000), &file, wish(&file), Failure::Digest(found), 20_000).await;
    let most = wish(&file).limits.max_bytes + 1;
    let vast = Failure::TooLarge { max: most - 1 };
    check("says too much", &format!("HTTP/1.1 200 OK\nContent-Length: {most}"), &file, wish(&file), vast, 0).await;
}

#[tokio::test]
async fn a_server_that_says_more_than_it_has_is_asked_for_the_rest_and_given_up() {
    let file = content(30_000);
    let loaded = load(place("more"), "", wish(&file), async |n, mut stream| {
        request(&mut stream).await;
        let (head, body) = match n {
            0 => ("HTTP/1.1 200 OK\nContent-Length: 40000".to_owned(), &file[..]),
            _ => (
                "HTTP/1.1 206 Partial Content\nContent-Length: 10000\nContent-Range: bytes 30000-39999/40000"
                    .to_owned(),
                &[][..],
            ),
        };
        let _ = stream.write_all(&said(&head, body).0).await;
        let _ = stream.shutdown().await;
        until_it_leaves(&mut stream).await;
    });
    let loaded = loaded.await;
    assert!(matches!(loaded.result, Err(Failure::Attempts(Trouble::Connection(_)))), "{:?}", loaded.result);
    assert_eq!(loaded.largest, 30_000);
}

#[tokio::test]
async fn a_file_that_is_compressed_in_any_place_is_not_the_file() {
    let file = content(100);
    for (name, headers) in [
        ("gzip", "Content-Encoding: gzip\nContent-Length: 100"),
        ("second", "Content-Encoding: identity\nContent-Encoding: gzip\nContent-Length: 100"),
        ("list", "Content-Encoding: identity, gzip\nContent-Length: 100"),
        ("odd", "Content-Encoding: gz\u{fc}p\nContent-Length: 100"),
        ("transfer", "Transfer-Encoding: gzip, chunked"),
        ("transfer in two", "Transfer-Encoding: gzip\nTransfer-Encoding: chunked"),
    ] {
        let body = if headers.starts_with("Transfer") {
            [b"64\r\n", &file[..], b"\r\n0\r\n\r\n"].concat()
        } else {
            file.clone()
        };
        let head = format!("HTTP/1.1 200 OK\n{headers}");
        check(name, &head, &body, wish(&file), Failure::Attempts(Trouble::Encoded), 0).await;
    }
    let fine = load(place("identity"), "", wish(&file), async |_, mut stream| {
        request(&mut stream).await;
        let head = "HTTP/1.1 200 OK\nContent-Encoding: Identity\nContent-Length: 100";
        let _ = stream.write_all(&said(head, &file).0).await;
        until_it_leaves(&mut stream).await;
    });
    let fine = fine.await;
    assert!(fine.result.is_ok() && fine.file == file, "{:?}", fine.result);
}

#[tokio::test]
async fn bytes_that_are_no_http_are_a_failed_attempt() {
    let heads = [
        "\u{0}\u{1}\u{2}",
        "SSH-2.0-OpenSSH_9.6",
        "HTTP/9.9 200 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 200 OK\nContent-Length: -5",
        "HTTP/1.1 200 OK\nContent-Length: 5\nContent-Length: 6",
        "HTTP/1.1 200 OK\nContent-Length: 99999999999999999999",
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\nFFFFFFFFFFFFFFFFF",
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n-1",
        "HTTP/1.1 200 OK\nno colon",
    ];
    for (n, head) in heads.into_iter().enumerate() {
        let limits = Limits { attempts: 1, ..wish(b"").limits };
        let loaded = load(place(&format!("noise-{n}")), "", Wish { limits, ..wish(b"x") }, async |_, mut stream| {
            request(&mut stream).await;
            let _ = stream.write_all(&said(head, b"").0).await;
            let _ = stream.shutdown().await;
            until_it_leaves(&mut stream).await;
        });
        let loaded = loaded.await;
        assert!(
            matches!(loaded.result, Err(Failure::Attempts(Trouble::Connection(_)))),
            "{head:?}: {:?}",
            loaded.result
        );
        assert_eq!(loaded.largest, 0, "{head:?}");
    }
}

#[tokio::test]
async fn a_wrong_file_is_loaded_twice_and_then_refused() {
    let (file, wrong) = (content(5000), vec![7; 5000]);
    let mut digests = Digests::new(&[]);
    digests.update(&wrong);
    let found = digests.check(&wish(&file).digests).expect_err("another file");
    let n_asked = Mutex::new(0);
    let loaded = load(place("wrong"), "", wish(&file), async |_, mut stream| {
        request(&mut stream).await;
        *n_asked.lock().unwrap() += 1;
        let _ = stream.write_all(&said("HTTP/1.1 200 OK\nContent-Length: 5000", &wrong).0).await;
        until_it_leaves(&mut stream).await;
    });
    assert_eq!(loaded.await.result, Err(Failure::Digest(found)));
    assert_eq!(*n_asked.lock().unwrap(), 2);
}

/// From here on nothing is waited for in vain: the time of the runtime jumps to whatever is due next.
fn time_flies() {
    tokio::time::pause();
}

#[tokio::test]
async fn a_server_that_drips_is_slow_and_one_that_says_nothing_is_silent() {
    let once = || Wish { limits: Limits { attempts: 1, ..wish(b"").limits }, ..wish(b"x") };
    let drips = load(place("drips"), "", once(), async |_, mut stream| {
        request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").await;
        time_flies();
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let drips = drips.await;
    assert_eq!(drips.result, Err(Failure::Attempts(Trouble::Slow)));
    assert!(drips.largest < 4096, "{}", drips.largest);
    tokio::time::resume();
    let silent = load(place("silent"), "", once(), async |_, mut stream| {
        request(&mut stream).await;
        time_flies();
        until_it_leaves(&mut stream).await;
    });
    assert_eq!(silent.await.result, Err(Failure::Attempts(Trouble::Silent)));
    tokio::time::resume();
    let head = load(place("head"), "", once(), async |_, mut stream| {
        request(&mut stream).await;
        time_flies();
        while stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    assert_eq!(head.await.result, Err(Failure::Attempts(Trouble::Silent)));
}

#[tokio::test]
async fn a_server_that_drips_is_left_when_time_is_up() {
    let limits = Limits { deadline: Timestamp(300), ..wish(b"").limits };
    let loaded = load(place("deadline"), "", Wish { limits, ..wish(b"x") }, async |_, mut stream| {
        request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nx").await;
        until_it_leaves(&mut stream).await;
    });
    assert_eq!(loaded.await.result, Err(Failure::Deadline));
}

/// Serves the file as it should, but ends the `n`th connection as `cuts[n]` says: after so many bytes of its answer, with
/// or without a good-bye.
async fn serve_with_cuts(file: &[u8], cuts: &[(usize, bool)], n: usize, mut stream: TcpStream) {
    let request = request(&mut stream).await;
    let from = request.split("range: bytes=").nth(1).and_then(|rest| rest.split('-').next()?.parse::<usize>().ok());
    let total = file.len();
    let (mut answer, _) = match from {
        None => said(&format!("HTTP/1.1 200 OK\nContent-Length: {total}\nETag: \"1\""), file),
        Some(from) => {
            let head = format!(
                "HTTP/1.1 206 Partial Content\nContent-Length: {}\nContent-Range: bytes {from}-{}/{total}\nETag: \"1\"",
                total - from,
                total - 1
            );
            said(&head, &file[from..])
        }
    };
    let (cut, resets) = cuts.get(n).copied().unwrap_or((usize::MAX, false));
    answer.truncate(cut);
    let _ = stream.write_all(&answer).await;
    if resets {
        stream.set_zero_linger().unwrap();
    } else {
        let _ = stream.shutdown().await;
        until_it_leaves(&mut stream).await;
    }
}

#[tokio::test]
async fn wherever_a_connection_ends_the_download_goes_on() {
    let file = content(600_000);
    let head = 60;
    for cut in [0, 1, 20, head, head + 1, 0x4000, 0x10000, 0x10000 + head, 0x40000, 0x40000 + head, 599_999, 600_050] {
        for resets in [false, true] {
            let cuts = [(cut, resets), (cut / 2, !resets)];
            let place = place(&format!("cut-{cut}-{resets}"));
            let loaded =
                load(&place, "", wish(&file), async |n, stream| serve_with_cuts(&file, &cuts, n, stream).await);
            let loaded = loaded.await;
            assert!(loaded.result.is_ok() && loaded.file == file, "{cut} {resets}: {:?}", loaded.result);
            assert_eq!(loaded.largest, 600_000, "{cut} {resets}");
        }
    }
}

#[tokio::test]
async fn a_process_that_dies_in_a_download_goes_on_from_its_checkpoint() {
    let file = content(600_000);
    let place = place("dies");
    let once = Wish { limits: Limits { attempts: 1, ..wish(&file).limits }, ..wish(&file) };
    let asked = Mutex::new(Vec::new());
    for cut in [300_000, 200_000, usize::MAX] {
        let loaded = load(&place, "", once.clone(), async |_, stream| {
            let mut start = vec![0; 4096];
            let n = stream.peek(&mut start).await.unwrap();
            asked.lock().unwrap().push(String::from_utf8_lossy(&start[..n]).contains("range: bytes="));
            serve_with_cuts(&file, &[(cut, false)], 0, stream).await;
        });
        let loaded = loaded.await;
        assert_eq!(loaded.result.is_ok(), cut == usize::MAX, "{:?}", loaded.result);
        assert_eq!(loaded.result.is_ok(), loaded.file == file);
    }
    assert_eq!(*asked.lock().unwrap(), [false, true, true]);
}

#[tokio::test]
async fn headers_of_an_offer_go_to_its_server_and_to_nobody_that_it_names() {
    let file = content(10);
    let told = Mutex::new(Vec::new());
    let headers = vec![("x-token".to_owned(), "hunter2".to_owned())];
    let loaded = load(place("headers"), "", Wish { headers, ..wish(&file) }, async |n, mut stream| {
        let request = request(&mut stream).await;
        told.lock().unwrap().push(request.contains("\r\nx-token: hunter2\r\n"));
        let port = stream.local_addr().unwrap().port();
        let (answer, _) = match n {
            0 => said("HTTP/1.1 302 Found\nLocation: /b\nContent-Length: 0", b""),
            // The same machine by another name is another server.
            1 => said(&format!("HTTP/1.1 302 Found\nLocation: http://localhost:{port}/\nContent-Length: 0"), b""),
            _ => said("HTTP/1.1 200 OK\nContent-Length: 10", &file),
        };
        let _ = stream.write_all(&answer).await;
        until_it_leaves(&mut stream).await;
    });
    let loaded = loaded.await;
    assert!(loaded.result.is_ok() && loaded.file == file, "{:?}", loaded.result);
    assert_eq!(*told.lock().unwrap(), [true, true, false]);
}

#[tokio::test]
async fn a_redirect_from_https_to_http_is_not_followed_even_where_http_is_allowed() {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let pem = certificate.pem();
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], private).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let file = content(10);
    for (name, to, expected) in [
        ("plain", "http://127.0.0.1:1/", Some(Trouble::Redirect)),
        ("nowhere", "file:///etc/passwd", Some(Trouble::Redirect)),
        ("same", "/b", None),
    ] {
        let wish = Wish { url: "https://127.0.0.1:PORT/a?token=secret".to_owned(), ..wish(&file) };
        let loaded = load(place(&format!("tls-{name}")), &pem, wish, async |_, stream| {
            let mut stream = acceptor.accept(stream).await.unwrap();
            let request = super::request(&mut stream).await;
            let (answer, _) = if request.starts_with("get /b ") {
                said("HTTP/1.1 200 OK\nContent-Length: 10", &file)
            } else {
                said(&format!("HTTP/1.1 302 Found\nLocation: {to}\nContent-Length: 0"), b"")
            };
            stream.write_all(&answer).await.unwrap();
            stream.flush().await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        let loaded = loaded.await;
        match expected {
            Some(trouble) => assert_eq!(loaded.result, Err(Failure::Attempts(trouble)), "{name}"),
            None => assert!(loaded.result.is_ok() && loaded.file == file, "{name}: {:?}", loaded.result),
        }
    }
}

/// A client that takes so much has not left: far more than any limit here and all buffers of the system.
const FLOOD: usize = 256 << 20;
