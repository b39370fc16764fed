//! Who is trusted over TLS, against servers with certificates made here.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::crypto::ring::default_provider;
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::*;

/// Opens a stream to a server whose certificate is for these names, trusting this root: the stream's bytes, or why not.
async fn check(certified: &[&str], trusts: &Root, signed_by: &Root, server_name: &str, refused: Option<&str>) {
    let mut plugin = Plugin::new(&format!("tls-{server_name}-{}", certified.join("-")), false);
    let (listener, port) = peer().await;
    let server = serve(listener, signed_by.identity(certified), None);
    let handle = open(&plugin, port, TlsOptions { server_name: server_name.into(), ..protected(&trusts.pem) });
    match refused {
        None => {
            assert_eq!(plugin.next().await.kind, tcp::OPENED);
            assert_eq!(plugin.expect(Tcp::ID, tcp::RECEIVED, handle, 0).await.body, b"hello");
            (table::<Tcp>().close)(plugin.id, handle);
            assert_eq!(server.await.unwrap(), Ok(None));
        }
        Some(says) => {
            let event = plugin.expect(Tcp::ID, tcp::CLOSED, handle, HostRefusal::TLS).await;
            assert!(event.text.starts_with(&format!("127.0.0.1:{port}: ")), "{}", event.text);
            assert!(event.text.contains(says), "{}", event.text);
            assert!(server.await.unwrap().is_err());
        }
    }
}

#[tokio::test]
async fn a_server_is_believed_by_its_root_and_its_name() {
    let (ours, theirs) = (Root::new("ours"), Root::new("theirs"));
    check(&["127.0.0.1"], &ours, &ours, "", None).await;
    check(&["127.0.0.1"], &ours, &theirs, "", Some("not signed by any root")).await;
    check(&["127.0.0.1"], &ours, &Root::new("ours"), "", Some("not signed by any root")).await;
    check(&["cloud.test"], &ours, &ours, "", Some("not valid for name")).await;
    check(&["cloud.test"], &ours, &ours, "cloud.test", None).await;
    check(&["cloud.test"], &ours, &ours, "other.test", Some("not valid for name")).await;
}

#[tokio::test]
async fn a_broker_that_nobody_vouches_for_is_refused_before_connect_is_sent() {
    let (ours, theirs) = (Root::new("ours"), Root::new("theirs"));
    let mut plugin = Plugin::new("tls-mqtt", false);
    let (listener, port) = peer().await;
    let server = serve(listener, theirs.identity(&["127.0.0.1"]), None);
    let handle = (table::<Mqtt>().connect)(plugin.id, MqttConnect { tls: protected(&ours.pem), ..wish(port) });
    let event = plugin.expect(Mqtt::ID, mqtt::CLOSED, handle, HostRefusal::TLS).await;
    assert!(event.text.contains("not signed by any root"), "{}", event.text);
    assert!(server.await.unwrap().is_err());
}

#[tokio::test]
async fn a_port_that_hangs_up_on_the_greeting_is_suspected_of_plain_text() {
    let mut plugin = Plugin::new("tls-plain", false);
    let (listener, port) = peer().await;
    let server = tokio::spawn(async move { drop(listener.accept().await.unwrap()) });
    let handle = open(&plugin, port, protected(&Root::new("ours").pem));
    let event = plugin.expect(Tcp::ID, tcp::CLOSED, handle, HostRefusal::CONNECTION_LOST).await;
    assert!(event.text.contains("perhaps this port does not speak TLS"), "{}", event.text);
    server.await.unwrap();
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_sees_ours() {
    let root = Root::new("ours");
    let mut plugin = Plugin::new("tls-client", false);
    let (listener, port) = peer().await;
    let (chain, key) = root.identity(&["device.test"]);
    let server = serve(listener, root.identity(&["127.0.0.1"]), Some(&root));
    let shown = TlsOptions {
        client_cert_pem: chain.as_str().into(),
        client_key_pem: key.as_str().into(),
        ..protected(&root.pem)
    };
    let handle = open(&plugin, port, shown);
    assert_eq!(plugin.next().await.kind, tcp::OPENED);
    assert_eq!(plugin.expect(Tcp::ID, tcp::RECEIVED, handle, 0).await.body, b"hello");
    (table::<Tcp>().close)(plugin.id, handle);
    let seen = server.await.unwrap().unwrap().expect("a certificate was shown");
    assert_eq!(seen, CertificateDer::from_pem_slice(chain.as_bytes()).unwrap());
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_and_gets_none_ends_the_stream_as_tls() {
    let root = Root::new("ours");
    let mut plugin = Plugin::new("tls-nobody", false);
    let (listener, port) = peer().await;
    let server = serve(listener, root.identity(&["127.0.0.1"]), Some(&root));
    let handle = open(&plugin, port, protected(&root.pem));
    // In TLS 1.3 the server judges the client after the client took the stream for open.
    assert_eq!(plugin.next().await.kind, tcp::OPENED);
    let event = plugin.expect(Tcp::ID, tcp::CLOSED, handle, HostRefusal::TLS).await;
    assert!(event.text.contains("CertificateRequired"), "{}", event.text);
    assert!(server.await.unwrap().is_err());
}

#[tokio::test]
async fn https_trusts_the_root_it_is_given_and_the_name_it_is_told() {
    let (ours, theirs) = (Root::new("ours"), Root::new("theirs"));
    let mut plugin = Plugin::new("tls-https", false);
    for (signed_by, certified, server_name, code) in [
        (&ours, "127.0.0.1", "", None),
        (&ours, "cloud.test", "cloud.test", None),
        (&theirs, "127.0.0.1", "", Some("not signed by any root")),
        (&ours, "cloud.test", "", Some("not valid for name")),
    ] {
        let (listener, port) = peer().await;
        let server = serve_text(listener, signed_by.identity(&[certified]), None, HTTP_HELLO);
        let url = format!("https://127.0.0.1:{port}/?token=secret");
        let tls = TlsOptions { server_name: server_name.into(), ..protected(&ours.pem) };
        let call = (table::<Http>().request)(plugin.id, http::HttpRequest { tls, ..get(&url) });
        match code {
            None => {
                assert_eq!(plugin.expect(Http::ID, http::RESPONSE, call, 200).await.body, b"hello");
                assert_eq!(server.await.unwrap(), Ok(None));
            }
            Some(says) => {
                let event = plugin.expect(Http::ID, FAILED, call, HostRefusal::TLS).await;
                assert!(event.text.contains(says) && !event.text.contains("secret"), "{}", event.text);
                assert!(server.await.unwrap().is_err());
            }
        }
    }
}

#[tokio::test]
async fn a_redirect_into_plain_text_is_not_followed_where_that_is_not_allowed() {
    let root = Root::new("ours");
    let mut plugin = Plugin::new("tls-redirect", false);
    let (listener, port) = peer().await;
    let moved = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let server = serve_text(listener, root.identity(&["127.0.0.1"]), None, moved);
    let url = format!("https://127.0.0.1:{port}/");
    let wish = http::HttpRequest { tls: protected(&root.pem), redirects: 5, ..get(&url) };
    let call = (table::<Http>().request)(plugin.id, wish);
    let event = plugin.expect(Http::ID, http::RESPONSE, call, 302).await;
    assert!(event.text.contains("location: http://127.0.0.1:1/\n"), "{}", event.text);
    assert_eq!(server.await.unwrap(), Ok(None));
}

/// Somebody who signs certificates.
struct Root {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Root {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate for these names, and its key.
    fn identity(&self, names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

type Seen = Result<Option<CertificateDer<'static>>, String>;

fn serve(listener: TcpListener, identity: (String, String), asks: Option<&Root>) -> JoinHandle<Seen> {
    serve_text(listener, identity, asks, "hello")
}

/// Takes one stream, says this, and tells which certificate the client showed.
fn serve_text(
    listener: TcpListener,
    (chain, key): (String, String),
    asks: Option<&Root>,
    says: &'static str,
) -> JoinHandle<Seen> {
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = match asks {
        None => builder.unwrap().with_no_client_auth(),
        Some(root) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(root.pem.as_bytes()).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.unwrap().with_client_cert_verifier(verifier)
        }
    };
    let chain = vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()));
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(stream).await.map_err(|error| error.to_string())?;
        stream.write_all(says.as_bytes()).await.map_err(|error| error.to_string())?;
        stream.flush().await.map_err(|error| error.to_string())?;
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first().cloned());
        // The client ends the stream, or its instance is closed.
        let _ = stream.read_to_end(&mut Vec::new()).await;
        Ok(shown.map(CertificateDer::into_owned))
    })
}

fn open(plugin: &Plugin, port: u16, tls: TlsOptions<'_>) -> u64 {
    (table::<Tcp>().open)(plugin.id, TcpOpen { host: "127.0.0.1".into(), port, tls, timeout_ms: 0 })
}

fn protected(ca_pem: &str) -> TlsOptions<'_> {
    TlsOptions { enabled: true, ca_pem: ca_pem.into(), ..plain() }
}

const HTTP_HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
