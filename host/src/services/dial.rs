//! Opens streams: name to addresses, addresses to a socket, a socket to TLS. Shared by `mqtt` and `tcp`.
//!
//! Each address gets its chance: the next one is tried a little later without giving the first one up, and the first
//! that connects wins. The caller puts a limit on the time of the whole.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use polylink_plugin_api::HostRefusal;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::clock::Clock;
use super::registry::Refusal;
use super::resolve::Resolver;
use super::tls::{TlsConfigs, TlsSetup, explain};

/// What makes connections for all instances.
pub(super) struct Dialer {
    pub resolver: Resolver,
    pub tls: TlsConfigs,
}

/// Where to connect, and how protected.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub host: String,
    pub port: u16,
    pub tls: Option<Protection>,
}

/// TLS of one connection.
#[derive(Debug, Clone)]
pub(super) struct Protection {
    /// Name to verify; empty: the host's.
    pub server_name: String,
    pub setup: TlsSetup,
}

/// An open stream, plain or protected.
pub(super) type Wire = Box<dyn Duplex>;

/// Both directions of a stream.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl Dialer {
    pub fn new(clock: Clock) -> Self {
        Self { resolver: Resolver::default(), tls: TlsConfigs::new(clock) }
    }

    /// Connects. The settings of TLS are read first: a wrong one must not cost the other end a connection.
    pub async fn dial(&self, target: &Target) -> Result<(Wire, SocketAddr), Refusal> {
        let tls = match &target.tls {
            None => None,
            Some(protection) => {
                let name = if protection.server_name.is_empty() { &target.host } else { &protection.server_name };
                let trimmed = name.trim_matches(['[', ']']).to_owned();
                let server = ServerName::try_from(trimmed).map_err(|_| {
                    Refusal::invalid(format!("`{}` is no name a certificate can have", name.escape_debug()))
                })?;
                Some((TlsConnector::from(self.tls.get(&protection.setup)?), server))
            }
        };
        let addresses = self.resolver.resolve(&target.host).await?;
        let stream = race(addresses, target.port).await.map_err(|error| refusal(&error, target))?;
        let peer = stream.peer_addr().map_err(|error| refusal(&error, target))?;
        // Small packets must not wait for the acknowledgement of the one before.
        stream.set_nodelay(true).map_err(|error| refusal(&error, target))?;
        match tls {
            None => Ok((Box::new(stream), peer)),
            Some((connector, server)) => {
                let stream = connector.connect(server, stream).await.map_err(|error| handshake(&error, target))?;
                Ok((Box::new(stream), peer))
            }
        }
    }
}

/// Connects to the first address that answers.
async fn race(addresses: Vec<IpAddr>, port: u16) -> io::Result<TcpStream> {
    let mut attempts = JoinSet::new();
    let mut rest = addresses.into_iter();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    let mut next = rest.next();
    loop {
        if let Some(address) = next.take() {
            attempts.spawn(TcpStream::connect(SocketAddr::new(address, port)));
        }
        let more = !rest.as_slice().is_empty();
        tokio::select! {
            ended = attempts.join_next() => match ended {
                None => return Err(last),
                Some(Ok(Ok(stream))) => return Ok(stream),
                Some(Ok(Err(error))) => last = error,
                Some(Err(error)) => last = io::Error::other(error),
            },
            () = tokio::time::sleep(HEAD_START), if more => {}
        }
        next = rest.next();
    }
}

/// What a broken or unborn connection means to a plugin.
pub(super) fn refusal(error: &io::Error, target: &Target) -> Refusal {
    let code = match error.kind() {
        io::ErrorKind::ConnectionRefused => HostRefusal::CONNECTION_REFUSED,
        io::ErrorKind::TimedOut => HostRefusal::TIMEOUT,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkDown => HostRefusal::CONNECTION_LOST,
        _ if tls_error(error).is_some() => HostRefusal::TLS,
        _ => HostRefusal::OTHER,
    };
    Refusal::new(code, format!("{}:{}: {error}", target.host, target.port))
}

fn handshake(error: &io::Error, target: &Target) -> Refusal {
    match tls_error(error) {
        Some(tls) => {
            Refusal::new(HostRefusal::TLS, format!("{}:{}: no TLS: {}", target.host, target.port, explain(tls)))
        }
        // What a port for plain text does with a TLS greeting.
        None => {
            let Refusal { code, text } = refusal(error, target);
            Refusal::new(code, format!("{text}, during the TLS handshake; perhaps this port does not speak TLS"))
        }
    }
}

/// The TLS error inside an I/O error, or inside one that is inside it.
pub(super) fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    let inner = error.get_ref()?;
    inner.downcast_ref().or_else(|| inner.downcast_ref().and_then(tls_error))
}

/// A plain text connection, or TLS as the options say; the instance decides whether plain text is allowed.
pub(super) fn protection(
    instance: &super::registry::Instance,
    host: &str,
    tls: &polylink_plugin_api::services::TlsOptions<'_>,
) -> Result<Option<Protection>, Refusal> {
    if tls.enabled {
        return Ok(Some(Protection { server_name: tls.server_name.to_string(), setup: TlsSetup::of(tls) }));
    }
    instance.allow_plain_text(host).map(|()| None)
}

/// The time a call gives, or the usual.
pub(super) fn timeout(ms: u32) -> Duration {
    if ms == 0 { DEFAULT_TIMEOUT } else { Duration::from_millis(ms.into()) }
}

/// What `timeout_ms` 0 means (`polylink.mqtt/1`, `tcp/1`, `http/1`).
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one address is tried alone (RFC 8305 5 recommends 250 ms).
const HEAD_START: Duration = Duration::from_millis(250);
