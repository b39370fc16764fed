//! What the answers of the API mean. Fields may stand in any order, with or without a line end behind them.

use core::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::error::{ApiError, Call, Problem};
use super::form::Fields;
use crate::auth::Did;

/// The answer to a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The device's name from now on.
    pub did: Did,
}

/// Where the device belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provisioned {
    /// The MQTT broker: a host name, or an address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The cloud's time in Unix seconds. `None`: not said, or impossible; the device can do without it.
    pub server_ts: Option<u64>,
    /// A further cloud that the product belongs to.
    pub third_party: Option<ThirdParty>,
}

/// A further cloud that a product belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThirdParty {
    /// Its name, such as `jd`.
    pub name: String,
    /// What it needs to know, as it came: `product_uuid=ABCDEF`.
    pub parameters: String,
}

/// Firmware that the cloud offers. Whether it is wanted, and whether the address can be used, is [`crate::ota`]'s affair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// What it is.
    pub target: Target,
    /// Where it is.
    pub url: String,
}

/// Names a firmware.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// By software version (scheme 4.1).
    Version(String),
    /// By id (scheme 4.0).
    Fid(u32),
}

/// Reads the answer to [`super::Api::register`].
///
/// # Errors
/// The cloud refused, or the answer has no DID.
pub fn registered(status: u16, body: &[u8]) -> Result<Registered, ApiError> {
    let call = Call::Register;
    let fields = fields(call, 201, status, body)?;
    let did = fields.get("did").and_then(|did| Did::parse(did.trim()).ok());
    Ok(Registered { did: did.ok_or_else(|| unusable(call, status, "did"))? })
}

/// Reads the answer to [`super::Api::unregister`].
///
/// # Errors
/// The cloud refused.
pub fn unregistered(status: u16, body: &[u8]) -> Result<(), ApiError> {
    ApiError::of(Call::Unregister, 200, status, body).map_or(Ok(()), Err)
}

/// Reads the answer to [`super::Api::provision`].
///
/// # Errors
/// The cloud refused, or the answer has no usable host and port.
pub fn provisioned(status: u16, body: &[u8]) -> Result<Provisioned, ApiError> {
    let call = Call::Provision;
    let fields = fields(call, 200, status, body)?;
    let host = fields.get("host").and_then(host).ok_or_else(|| unusable(call, status, "host"))?;
    let port = fields.get("port").and_then(number).filter(|port: &u16| *port != 0);
    let server_ts = fields.get("server_ts").and_then(number);
    Ok(Provisioned {
        host,
        port: port.ok_or_else(|| unusable(call, status, "port"))?,
        server_ts: server_ts.filter(|seconds| (EARLIEST_TS..LATEST_TS).contains(seconds)),
        third_party: third_party(&fields),
    })
}

/// Reads the answer to [`super::Api::check_v41`].
///
/// # Errors
/// The cloud refused, which it also does when there is nothing to upgrade, or the answer is no offer.
pub fn offered_v41(status: u16, body: &[u8]) -> Result<Offer, ApiError> {
    let call = Call::CheckV41;
    let fields = fields(call, 200, status, body)?;
    let version = fields.get("soft_ver").map(str::trim).filter(|version| is_version(version));
    let version = version.ok_or_else(|| unusable(call, status, "soft_ver"))?.to_owned();
    Ok(Offer { target: Target::Version(version), url: url(&fields).ok_or_else(|| unusable(call, status, URL))? })
}

/// Reads the answer to [`super::Api::check_fid`].
///
/// # Errors
/// As [`offered_v41`].
pub fn offered_by_fid(status: u16, body: &[u8]) -> Result<Offer, ApiError> {
    let call = Call::CheckFid;
    let fields = fields(call, 200, status, body)?;
    let fid = fields.get("target_fid").and_then(number).filter(|fid: &u32| *fid != 0);
    let fid = fid.ok_or_else(|| unusable(call, status, "target_fid"))?;
    Ok(Offer { target: Target::Fid(fid), url: url(&fields).ok_or_else(|| unusable(call, status, URL))? })
}

fn fields(call: Call, expected: u16, status: u16, body: &[u8]) -> Result<Fields<'_>, ApiError> {
    match ApiError::of(call, expected, status, body) {
        Some(error) => Err(error),
        None => Fields::read(body).ok_or(ApiError { call, status, problem: Problem::NoForm }),
    }
}

const fn unusable(call: Call, status: u16, field: &'static str) -> ApiError {
    ApiError { call, status, problem: Problem::Field(field) }
}

/// Digits only: `parse` alone would also take a sign.
fn number<N: std::str::FromStr>(text: &str) -> Option<N> {
    let text = text.trim();
    text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A host name or an address; brackets of an address are taken off.
fn host(text: &str) -> Option<String> {
    let text = text.trim();
    if let Some(address) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().ok().map(|address| address.to_string());
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_string());
    }
    let label_fits = |label: &str| {
        let body = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(body) && !label.starts_with('-') && !label.ends_with('-')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    // A name whose last part is a number is a mistyped address (WHATWG URL, host parsing).
    let is_number = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|digit| digit.is_ascii_digit()));
    (name.len() <= 253 && name.split('.').all(label_fits) && !is_number).then(|| name.to_owned())
}

fn third_party(fields: &Fields<'_>) -> Option<ThirdParty> {
    let name = fields.get("3rd_cloud")?.trim();
    let fits = (1..=LONGEST_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let parameters = fields.others(&["host", "port", "server_ts", "3rd_cloud"]);
    (fits && parameters.len() <= LONGEST_PARAMETERS).then(|| ThirdParty { name: name.to_owned(), parameters })
}

fn url(fields: &Fields<'_>) -> Option<String> {
    fields.address(URL, &["soft_ver", "target_fid"]).map(|url| url.trim().to_owned()).filter(|url| !url.is_empty())
}

/// Whether this can be a software version. They have 8 characters (Gizwits GAgent product specification 0.9.5, 2.2); a
/// longer one is compared as well as any.
pub(crate) fn is_version(text: &str) -> bool {
    (1..=LONGEST_VERSION).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

const URL: &str = "download_url";
/// 2014-01-01, before the protocol was published.
const EARLIEST_TS: u64 = 1_388_534_400;
/// 2100-01-01.
const LATEST_TS: u64 = 4_102_444_800;
/// Not documented; chosen by us: `jd` is the only one known.
const LONGEST_NAME: usize = 32;
/// Not documented; chosen by us: it is stored.
const LONGEST_PARAMETERS: usize = 512;
/// Not documented; chosen by us.
const LONGEST_VERSION: usize = 32;
