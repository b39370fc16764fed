//! [`Web`]: the host's HTTP client as downloads want it: one request at a time, no redirects, the body piece by piece.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName, IF_RANGE, LAST_MODIFIED,
    LOCATION, RANGE, RETRY_AFTER, TRANSFER_ENCODING,
};
use reqwest::redirect::Policy;
use reqwest::{Response, Url};

use super::dial::Dialer;
use super::http::{client, refusal};
use super::tls::TlsSetup;
use crate::update::download::Head;
use crate::update::download::fetch::{Answer, Body, Get, Server};

/// See the module. Shares resolver and TLS settings with all services.
pub struct Web {
    dialer: Arc<Dialer>,
    tls: TlsSetup,
}

impl Web {
    pub(super) fn new(dialer: Arc<Dialer>, ca_pem: &str) -> Self {
        Self { dialer, tls: TlsSetup::trusting(ca_pem) }
    }

    async fn ask(&self, Get { url, headers, from, if_range }: Get<'_>) -> Result<Response, String> {
        // Addresses carry tokens, so none is shown.
        let url = Url::parse(url).map_err(|error| format!("not an address: {error}"))?;
        let client = client(&self.dialer, &self.tls, None)
            .map_err(|refusal| refusal.text)?
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|error| format!("no HTTP client: {error}"))?;
        let mut request = client.get(url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request = request.header(ACCEPT_ENCODING, "identity");
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
            if let Some(validator) = if_range {
                request = request.header(IF_RANGE, validator);
            }
        }
        request.send().await.map_err(|error| refusal(error).text)
    }
}

#[async_trait]
impl Server for Web {
    async fn get(&self, get: Get<'_>) -> Result<Answer, String> {
        let response = self.ask(get).await?;
        Ok(Answer { head: head(&response), body: Box::new(Pieces(response)) })
    }
}

fn head(response: &Response) -> Head {
    let text = |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let number = |name| text(name).and_then(|text| text.trim().parse().ok());
    let location = text(LOCATION).and_then(|to| response.url().join(&to).ok()).map(String::from);
    Head {
        status: response.status().as_u16(),
        length: number(CONTENT_LENGTH),
        content_range: text(CONTENT_RANGE),
        etag: text(ETAG),
        last_modified: text(LAST_MODIFIED),
        location,
        retry_after_s: number(RETRY_AFTER),
        // The client undoes chunks and nothing else; a coding below them comes through as it is.
        is_encoded: lists_another(response, CONTENT_ENCODING, "identity")
            || lists_another(response, TRANSFER_ENCODING, "chunked"),
    }
}

/// Whether a list, in all headers of this name, has something else than this. What is no text is something else.
fn lists_another(response: &Response, name: HeaderName, allowed: &str) -> bool {
    let is_other = |item: &str| !item.is_empty() && !item.eq_ignore_ascii_case(allowed);
    response.headers().get_all(name).iter().any(|value| match value.to_str() {
        Ok(value) => value.split(',').map(str::trim).any(is_other),
        Err(_) => true,
    })
}

struct Pieces(Response);

#[async_trait]
impl Body for Pieces {
    async fn piece(&mut self) -> Result<Option<Bytes>, String> {
        self.0.chunk().await.map_err(|error| refusal(error).text)
    }
}

/// How long one connection may take to come about. Not documented; chosen by us: within the time for a head.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
