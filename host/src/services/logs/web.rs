//! Sends the log by HTTP. Redirects are not followed: the log goes to the place that the cloud named, or nowhere.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use polylink_plugin_api::HostRefusal;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Method, StatusCode, Url};

use super::Trouble;
use super::form::Form;
use crate::services::dial::Dialer;
use crate::services::http::{client, refusal};
use crate::services::registry::Refusal;
use crate::services::tls::TlsSetup;

/// A request that needs only its body. No `Debug`: address and headers may be the right to use them.
pub struct Request {
    pub url: Url,
    pub method: Method,
    pub headers: HeaderMap,
    /// None: the log is the body.
    pub form: Option<Form>,
}

/// Makes the request; every answer of success is one.
pub async fn deliver(dialer: &Arc<Dialer>, request: &Request, lines: &Bytes) -> Result<(), Trouble> {
    let other = |text: String| Trouble::Failed(Refusal::new(HostRefusal::OTHER, text));
    let client = client(dialer, &TlsSetup::default(), None)
        .map_err(Trouble::Failed)?
        .redirect(Policy::none())
        .connect_timeout(CONNECT_TIME)
        .build()
        .map_err(|error| other(format!("no HTTP client: {error}")))?;
    let mut headers = request.headers.clone();
    let (kind, body) = match &request.form {
        None => (HeaderValue::from_static(KIND), lines.clone()),
        Some(form) => {
            let boundary = boundary().map_err(other)?;
            let kind = HeaderValue::try_from(format!("multipart/form-data; boundary={boundary}"));
            let kind = kind.map_err(|error| other(format!("no boundary: {error}")))?;
            (kind, form.body(&boundary, KIND, lines).into())
        }
    };
    headers.entry(CONTENT_TYPE).or_insert(kind);
    let sent = client.request(request.method.clone(), request.url.clone()).headers(headers).body(body).send().await;
    let status = sent.map_err(|error| Trouble::Failed(refusal(error)))?.status();
    judge(status)
}

fn judge(status: StatusCode) -> Result<(), Trouble> {
    let text = format!("the server refused the log with HTTP status {}", status.as_u16());
    match status {
        _ if status.is_success() => Ok(()),
        // A moment later they may say otherwise (RFC 9110, 15.5.9 and 15.6; RFC 6585, 4).
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(Trouble::Busy(text)),
        _ if status.is_server_error() => Err(Trouble::Busy(text)),
        _ => Err(Trouble::Refused(text)),
    }
}

/// Random, so that no line of the log has it.
fn boundary() -> Result<String, String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| format!("there is no randomness: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What the log is, unless the plugin's headers say otherwise.
const KIND: &str = "text/plain; charset=utf-8";

/// How long a connection may take to come about. Not documented; chosen by us.
const CONNECT_TIME: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn success_is_every_2xx_and_only_trouble_of_the_server_is_worth_another_attempt() {
        for (status, refused_for_good) in
            [(200, None), (201, None), (204, None), (302, Some(true)), (403, Some(true)), (413, Some(true))]
                .into_iter()
                .chain([(408, Some(false)), (429, Some(false)), (500, Some(false)), (503, Some(false))])
        {
            let judged = judge(StatusCode::from_u16(status).unwrap());
            let found = judged.err().map(|trouble| matches!(trouble, Trouble::Refused(_)));
            assert_eq!(found, refused_for_good, "{status}");
        }
    }
}
