//! `polylink.http/1`: one request, one bounded answer. One task per request; connections are not kept.

use std::sync::Arc;
use std::time::Duration;

use polylink_plugin_api::services::http::{HttpRequest, RESPONSE};
use polylink_plugin_api::services::{FAILED, Http};
use polylink_plugin_api::{Extension, HostRefusal, InstanceId};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Url};

use super::OwnedEvent;
use super::dial::{PLAIN_TEXT_REFUSED, Refusal};
use super::registry::{self, CallKind, HTTP_AT_ONCE_MAX, Handle, Instance};
use super::tls::Trust;

/// The table.
pub static TABLE: Http = Http { request, cancel };

/// A request with all it needs, owning what [`HttpRequest`] borrows.
struct Request {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Vec<u8>,
    trust: Trust,
    timeout: Duration,
    body_max: usize,
    redirects: usize,
    plain_text: bool,
}

extern "C" fn request(id: InstanceId, options: HttpRequest<'_>) -> u64 {
    let token = registry::token();
    let Some(instance) = registry::find(id) else { return token };
    let request = match Request::new(&options, instance.plain_text) {
        Ok(request) => request,
        Err(refusal) => {
            instance.fail(Http::ID, token, refusal.code, refusal.text);
            return token;
        }
    };
    if instance.n_calls(CallKind::Http) >= HTTP_AT_ONCE_MAX {
        let text = format!("{HTTP_AT_ONCE_MAX} requests are under way already");
        instance.fail(Http::ID, token, HostRefusal::QUOTA, text);
        return token;
    }
    instance.insert(Http::ID, FAILED, token, || {
        let task_instance = Arc::clone(&instance);
        let task = instance.runtime.spawn(async move {
            let limit = request.timeout;
            let answered = tokio::time::timeout(limit, perform(&task_instance, request)).await;
            task_instance.remove(token);
            match answered {
                Ok(Ok(answer)) => task_instance.sink.complete(OwnedEvent { token, ..answer }),
                Ok(Err(refusal)) => task_instance.fail(Http::ID, token, refusal.code, refusal.text),
                Err(_) => {
                    let text = format!("no complete answer within {} ms", limit.as_millis());
                    task_instance.fail(Http::ID, token, HostRefusal::TIMEOUT, text);
                }
            }
        });
        Handle::Call(CallKind::Http, task.abort_handle())
    });
    token
}

extern "C" fn cancel(id: InstanceId, token: u64) {
    let Some(instance) = registry::find(id) else { return };
    let is_request = instance.with(token, |handle| matches!(handle, Handle::Call(CallKind::Http, _)).then_some(()));
    if is_request.is_some()
        && let Some(Handle::Call(_, task)) = instance.remove(token)
    {
        task.abort();
    }
}

impl Request {
    fn new(options: &HttpRequest<'_>, plain_text: bool) -> Result<Self, Refusal> {
        let invalid = |text: String| Refusal::new(HostRefusal::INVALID, text);
        // An address may carry a token: errors name its host only.
        let url = Url::parse(options.url.as_str()).map_err(|error| invalid(format!("not an address: {error}")))?;
        match url.scheme() {
            "https" => {}
            "http" if plain_text => {}
            "http" => return Err(invalid(PLAIN_TEXT_REFUSED.to_owned())),
            other => return Err(invalid(format!("`{other}` is neither http nor https"))),
        }
        let method = Method::from_bytes(options.method.as_bytes())
            .map_err(|_| invalid(format!("`{}` is not a method", options.method)))?;
        let mut headers = HeaderMap::new();
        for header in options.headers.iter() {
            let name = HeaderName::from_bytes(header.0.as_bytes());
            let value = HeaderValue::from_bytes(header.1.as_bytes());
            let (Ok(name), Ok(value)) = (name, value) else {
                return Err(invalid(format!("`{}` is not a header", header.0)));
            };
            headers.append(name, value);
        }
        Ok(Self {
            method,
            url,
            headers,
            body: options.body.as_slice().to_vec(),
            trust: Trust::of(&options.tls),
            timeout: Duration::from_millis(
                if options.timeout_ms == 0 { TIMEOUT_MS } else { options.timeout_ms }.into(),
            ),
            body_max: match options.max_body as usize {
                0 => BODY_DEFAULT,
                body_max => body_max.min(BODY_MAX),
            },
            redirects: options.redirects.into(),
            plain_text,
        })
    }
}

async fn perform(instance: &Instance, request: Request) -> Result<OwnedEvent, Refusal> {
    let config = instance.dialer.configs.get(&request.trust)?;
    let n_redirects = request.redirects;
    let policy = match n_redirects {
        0 => Policy::none(),
        most => Policy::limited(most),
    };
    let client = Client::builder()
        .tls_backend_preconfigured((*config).clone())
        .redirect(policy)
        .https_only(!request.plain_text)
        .no_proxy()
        .pool_max_idle_per_host(0)
        .build()
        .map_err(|error| Refusal::new(HostRefusal::OTHER, describe(&error)))?;
    let sent = client.request(request.method, request.url).headers(request.headers).body(request.body).send().await;
    let mut response = sent.map_err(|error| refusal(&error))?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| refusal(&error))? {
        if body.len() + chunk.len() > request.body_max {
            let text = format!("the answer is longer than {} bytes", request.body_max);
            return Err(Refusal::new(HostRefusal::QUOTA, text));
        }
        body.extend_from_slice(&chunk);
    }
    let mut headers = String::new();
    for (name, value) in response.headers() {
        if headers.len() < HEADERS_MAX {
            headers.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
        }
    }
    let code = response.status().as_u16().into();
    Ok(OwnedEvent { source: Http::ID, kind: RESPONSE, token: 0, code, text: headers, body })
}

fn refusal(error: &reqwest::Error) -> Refusal {
    let text = describe(error);
    let code = if error.is_timeout() {
        HostRefusal::TIMEOUT
    } else if error.is_connect() && text.contains("dns") {
        HostRefusal::RESOLVE
    } else if error.is_connect() && text.contains("refused") {
        HostRefusal::CONNECTION_REFUSED
    } else if error.is_connect() && text.contains("certificate") {
        HostRefusal::TLS
    } else if error.is_redirect() {
        HostRefusal::QUOTA
    } else if error.is_decode() || text.contains("parse") {
        HostRefusal::PROTOCOL
    } else {
        HostRefusal::CONNECTION_LOST
    };
    Refusal::new(code, text)
}

/// The whole chain of causes, without the address, which may carry a token.
fn describe(error: &reqwest::Error) -> String {
    let mut texts = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    if texts.is_empty() { "the request failed".to_owned() } else { texts.join(": ") }
}

/// Contract of `polylink.http/1`.
const TIMEOUT_MS: u32 = 10_000;
/// Contract of `polylink.http/1`.
const BODY_DEFAULT: usize = 64 * 1024;
/// Contract of `polylink.http/1`.
const BODY_MAX: usize = 1024 * 1024;
/// Bytes of headers handed over; further headers are left out. Chosen by us.
const HEADERS_MAX: usize = 16 * 1024;
