//! Outgoing connections for all services: look up, connect, protect.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use polylink_plugin_api::HostRefusal;
use polylink_plugin_api::services::TlsOptions;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use super::tls::{Configs, Trust};

/// Why a service said no: a code of [`HostRefusal`] and a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    pub code: i64,
    pub text: String,
}

impl Refusal {
    pub fn new(code: i64, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

/// A connected byte stream, plain or protected.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Where to connect, and how.
pub struct Target {
    pub host: String,
    pub port: u16,
    pub protection: Option<Protection>,
    pub timeout: Duration,
}

/// TLS towards a server of this name.
pub struct Protection {
    pub server_name: String,
    pub trust: Trust,
}

impl Target {
    /// # Errors
    /// Plain text is wanted and `plain_text` does not allow it, or there is no host or port.
    pub fn new(
        host: &str,
        port: u16,
        tls: &TlsOptions<'_>,
        timeout_ms: u32,
        plain_text: bool,
    ) -> Result<Self, Refusal> {
        if host.is_empty() || port == 0 {
            return Err(Refusal::new(HostRefusal::INVALID, format!("`{host}:{port}` is not a host and a port")));
        }
        if !tls.enabled && !plain_text {
            return Err(Refusal::new(HostRefusal::INVALID, PLAIN_TEXT_REFUSED));
        }
        let protection = tls.enabled.then(|| Protection {
            server_name: if tls.server_name.is_empty() { host } else { tls.server_name.as_str() }.to_owned(),
            trust: Trust::of(tls),
        });
        let timeout = Duration::from_millis(if timeout_ms == 0 { TIMEOUT_MS } else { timeout_ms }.into());
        Ok(Self { host: host.to_owned(), port, protection, timeout })
    }

    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// Connects. Shared by all instances, with its memory of addresses and TLS sessions.
pub struct Dialer {
    pub configs: Configs,
    names: Mutex<HashMap<String, Known>>,
}

struct Known {
    addresses: Vec<IpAddr>,
    at: Instant,
}

impl Dialer {
    pub fn new() -> Self {
        Self { configs: Configs::default(), names: Mutex::new(HashMap::new()) }
    }

    /// Connects within the target's time, trying each address in turn.
    ///
    /// # Errors
    /// The last address's refusal.
    pub async fn dial(&self, target: &Target) -> Result<Box<dyn Io>, Refusal> {
        match tokio::time::timeout(target.timeout, self.dial_untimed(target)).await {
            Ok(dialled) => dialled,
            Err(_) => Err(timed_out(target)),
        }
    }

    async fn dial_untimed(&self, target: &Target) -> Result<Box<dyn Io>, Refusal> {
        // Before the network is touched, so that a wrong certificate is not blamed on it.
        let protection = match &target.protection {
            Some(protection) => {
                let config = self.configs.get(&protection.trust)?;
                let name = ServerName::try_from(protection.server_name.clone()).map_err(|_| {
                    let text = format!("`{}` is not a name that a certificate can have", protection.server_name);
                    Refusal::new(HostRefusal::INVALID, text)
                })?;
                Some((TlsConnector::from(config), name))
            }
            None => None,
        };
        let addresses = self.resolve(&target.host).await?;
        // The last one may take all the time that is left; the others share.
        let share = target.timeout / u32::try_from(addresses.len()).unwrap_or(1).max(1);
        let mut last = Refusal::new(HostRefusal::RESOLVE, format!("no address is known for {}", target.host));
        for address in addresses {
            let address = SocketAddr::new(address, target.port);
            match tokio::time::timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // A small packet must not wait for the acknowledgement of the one before.
                    let _ = stream.set_nodelay(true);
                    let Some((connector, name)) = protection else { return Ok(Box::new(stream)) };
                    return match connector.connect(name, stream).await {
                        Ok(stream) => Ok(Box::new(stream)),
                        Err(error) => Err(Refusal::new(HostRefusal::TLS, format!("TLS with {address}: {error}"))),
                    };
                }
                Ok(Err(error)) => last = Refusal::new(io_code(&error), format!("{address}: {error}")),
                Err(_) => last = timed_out(target),
            }
        }
        Err(last)
    }

    /// Addresses of a host name, from memory while they are fresh, and from memory too when the look-up fails.
    ///
    /// # Errors
    /// The name has no address.
    pub async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, Refusal> {
        if let Ok(address) = host.trim_matches(['[', ']']).parse() {
            return Ok(vec![address]);
        }
        if let Some(known) = self.remembered(host, true) {
            return Ok(known);
        }
        let looked_up = tokio::time::timeout(RESOLVE_TIMEOUT, lookup_host((host, 0))).await;
        let (addresses, why) = match looked_up {
            Ok(Ok(found)) => (found.map(|found| found.ip()).take(ADDRESSES_MAX).collect(), "no address".to_owned()),
            Ok(Err(error)) => (Vec::new(), error.to_string()),
            Err(_) => (Vec::new(), "no answer".to_owned()),
        };
        if addresses.is_empty() {
            let refusal = Refusal::new(HostRefusal::RESOLVE, format!("cannot look up {host}: {why}"));
            return self.remembered(host, false).ok_or(refusal);
        }
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= NAMES_MAX && !names.contains_key(host) {
            names.clear();
        }
        names.insert(host.to_owned(), Known { addresses: addresses.clone(), at: Instant::now() });
        Ok(addresses)
    }

    fn remembered(&self, host: &str, fresh: bool) -> Option<Vec<IpAddr>> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let known = names.get(host)?;
        (!fresh || known.at.elapsed() < FRESH).then(|| known.addresses.clone())
    }
}

/// The code of an I/O error.
pub fn io_code(error: &io::Error) -> i64 {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => HostRefusal::CONNECTION_REFUSED,
        io::ErrorKind::TimedOut => HostRefusal::TIMEOUT,
        io::ErrorKind::InvalidData => HostRefusal::TLS,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => HostRefusal::CONNECTION_LOST,
        _ => HostRefusal::OTHER,
    }
}

fn timed_out(target: &Target) -> Refusal {
    let text = format!("{} did not answer within {} ms", target.address(), target.timeout.as_millis());
    Refusal::new(HostRefusal::TIMEOUT, text)
}

/// What an instance is told that wants plain text where the product file does not allow it.
pub const PLAIN_TEXT_REFUSED: &str = "connections without TLS are not allowed here; `plain_text = true` in this cloud's section of the product file allows them";

/// Time for a connection if the caller names none (contract of `polylink.mqtt/1`, `tcp/1`).
const TIMEOUT_MS: u32 = 10_000;

/// The system's resolver may try several servers for a long time. Chosen by us.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an address is used without asking again. Chosen by us: short enough for a cloud that moves.
const FRESH: Duration = Duration::from_secs(60);

/// Names remembered; beyond that all are forgotten. Chosen by us.
const NAMES_MAX: usize = 64;

/// Addresses of one name that are tried. Chosen by us.
const ADDRESSES_MAX: usize = 8;
