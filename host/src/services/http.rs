//! `polylink.http/1`: one request, one bounded answer.
//!
//! Each request has a client of its own: its TLS settings, redirect policy and permission for plain text are its own
//! too, and no idle connection keeps the module awake. No cookies, no proxies, no settings from the environment.

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use polylink_plugin_api::services::Http;
use polylink_plugin_api::services::http::{HttpRequest, RESPONSE};
use polylink_plugin_api::{Extension, HostRefusal, InstanceId};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Method, Request, Response, Url};

use super::OwnedEvent;
use super::dial::{self, Dialer};
use super::registry::{Instance, Port, Refusal, with_instance, with_token};
use super::tls::{TlsSetup, explain};

/// The table.
pub(super) static TABLE: Http = Http { request, cancel };

extern "C" fn request(id: InstanceId, wish: HttpRequest<'_>) -> u64 {
    with_token(id, |instance, token| {
        let sent = prepare(instance, &wish).and_then(|(client, request)| {
            let max = if wish.max_body == 0 { BODY_DEFAULT } else { (wish.max_body as usize).min(BODY_MAX) };
            instance.admit(token, Port::HttpRequest, run(Arc::clone(instance), token, client, request, max))
        });
        if let Err(refusal) = sent {
            instance.fail(Http::ID, token, refusal);
        }
    })
}

extern "C" fn cancel(id: InstanceId, token: u64) {
    with_instance(id, (), |instance| {
        if matches!(instance.port(token), Some(Port::HttpRequest)) {
            instance.abort(token);
        }
    });
}

/// Checks everything that can be wrong before a connection is made.
fn prepare(instance: &Instance, wish: &HttpRequest<'_>) -> Result<(Client, Request), Refusal> {
    // Addresses and headers carry tokens, so neither is shown.
    let mut url = Url::parse(&wish.url).map_err(|error| Refusal::invalid(format!("url: {error}")))?;
    let host = url.host_str().unwrap_or_default().to_owned();
    let is_plain = match url.scheme() {
        "https" => false,
        "http" => true,
        other => return Err(Refusal::invalid(format!("url: `{other}` is not known; accepted are http and https"))),
    };
    if is_plain {
        instance.allow_plain_text(&host)?;
    }
    let method = Method::from_bytes(wish.method.as_bytes())
        .map_err(|_| Refusal::invalid(format!("`{}` is no HTTP method", wish.method.escape_debug())))?;
    let mut headers = headers(wish)?;
    let mut verified = None;
    let server_name = wish.tls.server_name.as_str();
    if !is_plain && !server_name.is_empty() && server_name != host {
        // The client verifies the name in the address; so the name goes there, and its look-up is led to the host.
        if !headers.contains_key(HOST) {
            let authority = url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
            headers
                .insert(HOST, HeaderValue::try_from(authority).map_err(|_| Refusal::invalid("url: no usable host"))?);
        }
        url.set_host(Some(server_name)).map_err(|error| Refusal::invalid(format!("tls.server_name: {error}")))?;
        verified = Some((server_name.to_ascii_lowercase(), host));
    }
    let client = client(&instance.dialer, &TlsSetup::of(&wish.tls), verified)?
        .redirect(policy(wish.redirects, instance.allows_plain_text()))
        .timeout(dial::timeout(wish.timeout_ms))
        .build()
        .map_err(|error| Refusal::new(HostRefusal::OTHER, format!("no HTTP client: {error}")))?;
    let mut request = Request::new(method, url);
    *request.headers_mut() = headers;
    if !wish.body.is_empty() {
        *request.body_mut() = Some(wish.body.to_vec().into());
    }
    Ok((client, request))
}

/// A client as all of the host's: its own resolver and TLS, nothing from the environment, no idle connections. `verified` is a
/// name that is only verified, and the host that has the addresses.
pub(super) fn client(
    dialer: &Arc<Dialer>,
    tls: &TlsSetup,
    verified: Option<(String, String)>,
) -> Result<ClientBuilder, Refusal> {
    let tls = dialer.tls.get(tls)?;
    Ok(Client::builder()
        .tls_backend_preconfigured((*tls).clone())
        .dns_resolver(Names { dialer: Arc::clone(dialer), verified })
        .no_proxy()
        .referer(false)
        .pool_max_idle_per_host(0))
}

fn headers(wish: &HttpRequest<'_>) -> Result<HeaderMap, Refusal> {
    let mut headers = HeaderMap::new();
    for pair in wish.headers.iter() {
        let name = HeaderName::try_from(pair.0.as_str())
            .map_err(|_| Refusal::invalid(format!("`{}` is no header name", pair.0.escape_debug())))?;
        let value = HeaderValue::try_from(pair.1.as_str()).map_err(|_| {
            Refusal::invalid(format!("the value of header `{name}` has characters that cannot be sent"))
        })?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// The header of a line `Name: value`, for a request that the host makes in its own way. A line that cannot be one is not
/// shown: its name may be a secret in the wrong place.
pub(super) fn header(line: &str) -> Result<(HeaderName, HeaderValue), Refusal> {
    let pair = line.split_once(':').filter(|_| line.len() <= HEADER_MAX).and_then(|(name, value)| {
        Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value.trim_matches([' ', '\t'])).ok()?))
    });
    let Some((name, value)) = pair else {
        let text = format!("headers: each is `Name: value`, at most {HEADER_MAX} bytes that HTTP allows");
        return Err(Refusal::invalid(text));
    };
    if FRAMING.contains(&name) {
        return Err(not_yours(&name));
    }
    Ok((name, value))
}

/// Says that a plugin may not set this header.
pub(super) fn not_yours(name: &HeaderName) -> Refusal {
    Refusal::invalid(format!("headers: `{name}` is the host's to say"))
}

/// Headers that say where a request ends, or change what is spoken: with them a plugin could put a request of its own behind
/// ours.
const FRAMING: [HeaderName; 8] = [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, UPGRADE, EXPECT, TE, TRAILER];

/// Bytes of such a line at most (`polylink.ota/1`; there is no limit in `polylink.logs/1`, and ours is the same).
const HEADER_MAX: usize = 2_048;

/// Follows so many redirects, none of them into plain text where that is not allowed.
fn policy(max: u8, plain_text: bool) -> Policy {
    Policy::custom(move |attempt| {
        if attempt.previous().len() > usize::from(max) || (attempt.url().scheme() != "https" && !plain_text) {
            return attempt.stop();
        }
        attempt.follow()
    })
}

async fn run(instance: Arc<Instance>, token: u64, client: Client, request: Request, max: usize) {
    let answer = async {
        let response = client.execute(request).await.map_err(refusal)?;
        read(response, max).await
    };
    let answer = answer.await;
    if !instance.release(token) {
        return;
    }
    match answer {
        Ok((code, text, body)) => {
            instance.sink.complete(OwnedEvent { source: Http::ID, kind: RESPONSE, token, code, text, body });
        }
        Err(refusal) => instance.fail(Http::ID, token, refusal),
    }
}

async fn read(mut response: Response, max: usize) -> Result<(i64, String, Vec<u8>), Refusal> {
    let too_long = || Refusal::new(HostRefusal::QUOTA, format!("the answer's body is longer than {max} bytes"));
    if response.content_length().is_some_and(|length| length > max as u64) {
        return Err(too_long());
    }
    let mut text = String::new();
    for (name, value) in response.headers() {
        text.push_str(name.as_str());
        text.push_str(": ");
        text.push_str(&String::from_utf8_lossy(value.as_bytes()));
        text.push('\n');
    }
    if text.len() > HEADERS_MAX {
        return Err(Refusal::new(
            HostRefusal::QUOTA,
            format!("the answer's headers are longer than {HEADERS_MAX} bytes"),
        ));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(refusal)? {
        if body.len() + chunk.len() > max {
            return Err(too_long());
        }
        body.extend_from_slice(&chunk);
    }
    Ok((response.status().as_u16().into(), text, body))
}

/// What an error of the client means to a plugin. Its own text has the address in it, so only causes are shown.
pub(super) fn refusal(error: reqwest::Error) -> Refusal {
    let error = error.without_url();
    let mut causes = Vec::new();
    let mut code = None;
    let mut cause = error.source();
    while let Some(inner) = cause {
        causes.push(tls_cause(inner).map_or_else(|| inner.to_string(), explain));
        code = code.or_else(|| code_of(inner));
        cause = inner.source();
    }
    if error.is_timeout() {
        code = Some(HostRefusal::TIMEOUT);
    }
    let text = causes.pop().unwrap_or_else(|| error.to_string());
    Refusal::new(
        code.unwrap_or(if error.is_connect() { HostRefusal::CONNECTION_LOST } else { HostRefusal::PROTOCOL }),
        text,
    )
}

fn code_of(cause: &(dyn std::error::Error + 'static)) -> Option<i64> {
    if let Some(LookUp(refusal)) = cause.downcast_ref() {
        return Some(refusal.code);
    }
    if tls_cause(cause).is_some() {
        return Some(HostRefusal::TLS);
    }
    match cause.downcast_ref::<io::Error>()?.kind() {
        io::ErrorKind::ConnectionRefused => Some(HostRefusal::CONNECTION_REFUSED),
        io::ErrorKind::TimedOut => Some(HostRefusal::TIMEOUT),
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => {
            Some(HostRefusal::CONNECTION_LOST)
        }
        _ => None,
    }
}

fn tls_cause<'a>(cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    cause.downcast_ref().or_else(|| cause.downcast_ref().and_then(dial::tls_error))
}

/// The shared resolver, as the client wants it.
struct Names {
    dialer: Arc<Dialer>,
    /// A name that is only verified, and the host that has the addresses.
    verified: Option<(String, String)>,
}

/// A look-up that failed.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.text)]
struct LookUp(Refusal);

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let dialer = Arc::clone(&self.dialer);
        let host = match &self.verified {
            Some((verified, host)) if verified.eq_ignore_ascii_case(name.as_str()) => host.clone(),
            _ => name.as_str().to_owned(),
        };
        Box::pin(async move {
            let addresses = dialer.resolver.resolve(&host).await.map_err(LookUp)?;
            let addresses: Addrs = Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

/// What `max_body` 0 means (`polylink.http/1`).
const BODY_DEFAULT: usize = 64 * 1024;

/// Longest body whatever was asked for (`polylink.http/1`).
const BODY_MAX: usize = 1024 * 1024;

/// Longest headers of an answer; longer ones fail the request. Not documented; chosen by us.
const HEADERS_MAX: usize = 32 * 1024;
