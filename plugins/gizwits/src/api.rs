//! The HTTP API of the Gizwits cloud (Gizwits device-cloud protocol 4.0.2, HTTP): what is asked, what the answers mean,
//! and what an error asks for.
//!
//! Pure: requests and readers of answers. When to ask, and when again, is left to the session.

mod answer;
mod error;
mod form;

#[cfg(test)]
mod tests;

use polylink_plugin_sdk::services::Tls;
use polylink_plugin_sdk::services::http::Request;
use serde::{Deserialize, Serialize};

pub(crate) use answer::is_version;
pub use answer::{
    Offer, Provisioned, Registered, Target, ThirdParty, offered_by_fid, offered_v41, provisioned, registered,
    unregistered,
};
pub use error::{ApiError, Call, Problem, Reaction};

use crate::auth::{Did, Mac, Passcode};
use form::Form;

/// Whose firmware is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The module: ours.
    Module = 1,
    /// The MCU.
    Mcu = 2,
}

impl Kind {
    /// Both, in the order in which they are checked.
    pub const ALL: [Self; 2] = [Self::Module, Self::Mcu];

    /// The kind with this number on the wire.
    #[must_use]
    pub const fn of(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Module),
            2 => Some(Self::Mcu),
            _ => None,
        }
    }
}

/// Which firmware runs: 8 characters each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions<'a> {
    /// Hardware version.
    pub hard: &'a str,
    /// Software version.
    pub soft: &'a str,
}

/// Where the API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// `http://api.gizwits.com`; a slash at its end is no harm.
    pub base_url: String,
    /// For an address with `https`.
    pub tls: Tls,
}

impl Api {
    /// Asks for a DID.
    #[must_use]
    pub fn register(&self, passcode: &Passcode, mac: Mac, product_key: &str) -> Request {
        let mut form = Form::default();
        form.field("passcode", passcode.expose()).field("mac", &mac.cloud_form()).field("product_key", product_key);
        self.request("POST", "/dev/devices", form, TIMEOUT_MS)
    }

    /// Gives a DID back.
    #[must_use]
    pub fn unregister(&self, did: &Did, passcode: &Passcode) -> Request {
        let mut form = Form::default();
        form.field("did", did.as_str()).field("passcode", passcode.expose());
        self.request("DELETE", "/dev/devices", form, TIMEOUT_MS)
    }

    /// Asks where the MQTT broker is.
    #[must_use]
    pub fn provision(&self, did: &Did) -> Request {
        let mut request = self.request("GET", &format!("/dev/devices/{did}"), Form::default(), TIMEOUT_MS);
        request.headers.insert(0, ("Cache-Control".into(), "no-cache".into()));
        request
    }

    /// Asks for newer firmware by version (scheme 4.1).
    #[must_use]
    pub fn check_v41(&self, did: &Did, passcode: &Passcode, kind: Kind, versions: Versions<'_>) -> Request {
        let mut form = Form::default();
        form.field("passcode", passcode.expose())
            .field("type", &(kind as u8).to_string())
            .field("hard_version", versions.hard)
            .field("soft_version", versions.soft);
        self.request("POST", &format!("/dev/ota/v4.1/update_and_check/{did}"), form, CHECK_TIMEOUT_MS)
    }

    /// Asks for other firmware by its id (scheme 4.0). A `fid` of 0, never stored, is sent as 1 (Gizwits GAgent product
    /// specification 0.9.5, chapter 9).
    #[must_use]
    pub fn check_fid(&self, did: &Did, product_key: &str, kind: Kind, versions: Versions<'_>, fid: u32) -> Request {
        let mut query = Form::default();
        query
            .field("did", did.as_str())
            .field("product_key", product_key)
            .field("type", &(kind as u8).to_string())
            .field("hard_version", versions.hard)
            .field("soft_version", versions.soft)
            .field("current_fid", &fid.max(1).to_string());
        let path = format!("/dev/ota/target_fid?{}", query.text());
        let mut request = self.request("GET", &path, Form::default(), CHECK_TIMEOUT_MS);
        request.headers = vec![("Content-Type".into(), "application/text".into())];
        request
    }

    fn request(&self, method: &str, path: &str, form: Form, timeout_ms: u32) -> Request {
        Request {
            method: method.into(),
            url: format!("{}{path}", self.base_url.trim_end_matches('/')),
            headers: vec![("Content-Type".into(), "application/x-www-form-urlencoded".into())],
            body: form.into_bytes(),
            tls: self.tls.clone(),
            timeout_ms,
            max_body: MAX_BODY,
            redirects: 0,
        }
    }
}

/// How to ask what a file is without loading it: the headers of its download tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// For nothing but the headers.
    Head,
    /// For the first byte: the protocol knows `GET` alone, so a server may know no `HEAD`.
    FirstByte,
}

/// Asks what a firmware file is.
#[must_use]
pub fn look_at_file(url: &str, look: Look) -> Request {
    let mut headers = vec![("Content-Type".into(), "application/text".into())];
    if look == Look::FirstByte {
        headers.push(("Range".into(), "bytes=0-0".into()));
    }
    Request {
        method: if look == Look::Head { "HEAD" } else { "GET" }.into(),
        url: url.to_owned(),
        headers,
        timeout_ms: TIMEOUT_MS,
        max_body: MAX_BODY,
        redirects: REDIRECTS,
        ..Request::default()
    }
}

/// Not documented; chosen by us: files may lie elsewhere than the cloud says.
const REDIRECTS: u8 = 3;
/// Not documented; chosen by us: the device starts without the cloud meanwhile, so there is no hurry.
const TIMEOUT_MS: u32 = 15_000;
/// One attempt at a firmware check (Gizwits GAgent product specification 0.9.5, chapter 9).
const CHECK_TIMEOUT_MS: u32 = 3_000;
/// Not documented; chosen by us: answers have some hundred bytes, and error pages of proxies some thousand.
const MAX_BODY: u32 = 8 * 1024;
