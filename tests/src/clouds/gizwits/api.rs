//! The HTTP API (section 5): forms in, form-like answers out. Strict about what a device sends, lenient about nothing.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::behaviour::Refusal;
use super::platform::{ApiCall, ApiRequest, Platform, Registration, State};
use crate::http::{Answer, Request, Site};
use crate::lan::messages::is_passcode;

type Fields = BTreeMap<String, String>;

/// Why a request is not fulfilled.
enum Fault {
    /// The device broke a rule of the API.
    Breach(String),
    /// The device did nothing wrong that it could know of.
    Refused(Refusal),
    /// This API has no such path.
    NoPath,
}

impl Site for Platform {
    fn answer(&self, request: &Request) -> Answer {
        let Some((call, subject)) = route(request) else {
            self.ledger.violation(format!("{} {}: there is no such path", request.method, request.target));
            return Answer::status(404, "no such path");
        };
        let mut state = self.lock();
        let fields = fields(call, request);
        let outcome = match &fields {
            Ok(fields) => self.act(&mut state, call, &subject, fields),
            Err(breach) => Err(Fault::Breach(breach.clone())),
        };
        let (status, body) = match outcome {
            Ok((status, body)) => (status, body),
            Err(Fault::Refused(refusal)) => (refusal.status, refusal.body()),
            Err(Fault::NoPath) => (404, "no such path".to_owned()),
            Err(Fault::Breach(breach)) => {
                self.ledger.violation(format!("{call:?}: {breach}"));
                (400, Refusal::new(400, FORM_INVALID).body())
            }
        };
        let seen = ApiRequest { call, subject, fields: fields.unwrap_or_default(), status };
        state.seen.note_request(seen);
        let mut answer = Answer { delay: state.behaviour.http_delay, ..Answer::status(status, body) };
        answer.chunked = state.behaviour.chunked;
        if state.behaviour.silent_requests > 0 {
            state.behaviour.silent_requests -= 1;
            answer.delay = FOREVER;
        }
        drop(state);
        self.changed();
        answer
    }

    fn violation(&self, text: &str) {
        self.ledger.violation(format!("HTTP: {text}"));
    }
}

impl Platform {
    fn act(&self, state: &mut State, call: ApiCall, subject: &str, fields: &Fields) -> Result<(u16, String), Fault> {
        match call {
            ApiCall::Register => self.register(state, fields),
            ApiCall::Deregister => {
                let did = known(state, &fields["did"], Some(&fields["passcode"]))?;
                state.seen.registrations.remove(&did);
                Ok((200, format!("did={did}")))
            }
            ApiCall::Provision => self.provision(state, subject),
            ApiCall::Check => check(state, subject, fields),
            ApiCall::TargetFid => self.target_fid(state, fields),
            ApiCall::ThirdPartyProduct => match &state.behaviour.third_party {
                // Not documented; chosen by us: the shape of all other answers.
                Some(uuid) if subject == self.schema.product_key => Ok((200, format!("product_uuid={uuid}\r\n"))),
                _ => Err(Fault::Refused(Refusal::new(404, NOT_FOUND))),
            },
            ApiCall::ThirdParty => known(state, subject, None).map(|did| (200, format!("did={did}"))),
        }
    }

    fn register(&self, state: &mut State, fields: &Fields) -> Result<(u16, String), Fault> {
        let (passcode, mac, product_key) = (&fields["passcode"], &fields["mac"], &fields["product_key"]);
        if !is_passcode(passcode) {
            return Err(breach(format!("passcode of {} bytes, 10 to 32 letters and digits", passcode.len())));
        }
        if mac.len() != 12 || !mac.bytes().all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte)) {
            return Err(breach(format!("mac {mac:?}, 12 upper-case hex digits expected")));
        }
        if product_key.len() != 32 {
            return Err(breach(format!("product key {product_key:?}, 32 characters expected")));
        }
        if *product_key != self.schema.product_key {
            return Err(Fault::Refused(Refusal::new(400, UNKNOWN_PRODUCT)));
        }
        if let Some(refusal) = state.behaviour.refuse_registrations.pop_front() {
            return Err(Fault::Refused(refusal));
        }
        let did = state.register(Registration {
            product_key: product_key.clone(),
            mac: mac.clone(),
            passcode: passcode.clone(),
        });
        Ok((201, format!("did={did}")))
    }

    fn provision(&self, state: &mut State, did: &str) -> Result<(u16, String), Fault> {
        let did = known(state, did, None)?;
        if let Some(refusal) = state.behaviour.refuse_provisions.pop_front() {
            if refusal.code == Some(DID_OR_PASSCODE) {
                state.seen.registrations.remove(&did);
            }
            return Err(Fault::Refused(refusal));
        }
        let behaviour = &state.behaviour;
        if let Some(body) = &behaviour.provision_body {
            return Ok((200, body.clone()));
        }
        let broker = self.broker().map(|broker| broker.addr());
        let Some(m2m) = behaviour.m2m.or(broker) else {
            return Err(Fault::Refused(Refusal::new(500, SERVER_ERROR)));
        };
        let (host, port) = (m2m.ip(), m2m.port());
        let at = behaviour.server_ts.unwrap_or_else(now);
        let more = behaviour.third_party.as_ref().map(|uuid| format!("&3rd_cloud=jd&product_uuid={uuid}"));
        let more = more.unwrap_or_default();
        Ok((
            200,
            if behaviour.shuffled_provision {
                format!("server_ts={at}{more}&port={port}&host={host}")
            } else {
                format!("host={host}&port={port}&server_ts={at}{more}\r\n")
            },
        ))
    }

    fn target_fid(&self, state: &mut State, fields: &Fields) -> Result<(u16, String), Fault> {
        let kind = versions(fields)?;
        if fields["product_key"] != self.schema.product_key {
            return Err(breach(format!("product key {:?}", fields["product_key"])));
        }
        // 0 and unknown are sent as 1 (5.4).
        if !fields["current_fid"].parse::<u32>().is_ok_and(|fid| fid > 0) {
            return Err(breach(format!("current_fid {:?}, a number from 1 expected", fields["current_fid"])));
        }
        known(state, &fields["did"], None)?;
        if let Some(refusal) = state.behaviour.refuse_checks.pop_front() {
            return Err(Fault::Refused(refusal));
        }
        let firmware = state.behaviour.firmwares.get(&kind);
        let firmware = firmware.ok_or_else(|| Fault::Refused(Refusal::new(404, NO_FIRMWARE)))?;
        Ok((200, format!("target_fid={}&download_url={}&", firmware.fid, firmware.url)))
    }
}

fn check(state: &mut State, did: &str, fields: &Fields) -> Result<(u16, String), Fault> {
    if state.behaviour.without_v4_1 {
        return Err(Fault::NoPath);
    }
    let kind = versions(fields)?;
    known(state, did, Some(&fields["passcode"]))?;
    if let Some(refusal) = state.behaviour.refuse_checks.pop_front() {
        return Err(Fault::Refused(refusal));
    }
    // What runs already is no upgrade.
    let upgrade = state.behaviour.upgrades.get(&kind).filter(|new| new.soft_version != fields["soft_version"]);
    let upgrade = upgrade.ok_or_else(|| Fault::Refused(Refusal::new(404, NOTHING_TO_UPGRADE)))?;
    Ok((200, format!("soft_ver={}&download_url={}\r\n", upgrade.soft_version, upgrade.url)))
}

/// The type of firmware that is asked for, beside versions of the right length.
fn versions(fields: &Fields) -> Result<u8, Fault> {
    for name in ["hard_version", "soft_version"] {
        if fields[name].len() != 8 || !fields[name].is_ascii() {
            return Err(breach(format!("{name} {:?}, 8 characters expected", fields[name])));
        }
    }
    match fields["type"].as_str() {
        "1" => Ok(1),
        "2" => Ok(2),
        other => Err(breach(format!("type {other:?}, 1 or 2 expected"))),
    }
}

/// Refuses a DID that is not registered, or the wrong passcode where one is sent.
fn known(state: &State, did: &str, passcode: Option<&str>) -> Result<String, Fault> {
    match state.seen.registrations.get(did) {
        Some(known) if passcode.is_none_or(|passcode| passcode == known.passcode) => Ok(did.to_owned()),
        _ => Err(Fault::Refused(Refusal::new(400, DID_OR_PASSCODE))),
    }
}

fn route(request: &Request) -> Option<(ApiCall, String)> {
    let path = request.target.split('?').next().unwrap_or_default();
    let last = |front: &str| path.strip_prefix(front).filter(|last| !last.is_empty() && !last.contains('/'));
    let (call, subject) = match (request.method.as_str(), path) {
        ("POST", "/dev/devices") => (ApiCall::Register, ""),
        ("DELETE", "/dev/devices") => (ApiCall::Deregister, ""),
        ("GET", "/dev/ota/target_fid") => (ApiCall::TargetFid, ""),
        ("GET", _) if let Some(did) = last("/dev/devices/") => (ApiCall::Provision, did),
        ("POST", _) if let Some(did) = last("/dev/ota/v4.1/update_and_check/") => (ApiCall::Check, did),
        ("GET", _) if let Some(key) = last("/dev/jd/product/") => (ApiCall::ThirdPartyProduct, key),
        ("POST", _) if let Some(did) = last("/dev/jd/") => (ApiCall::ThirdParty, did),
        _ => return None,
    };
    Some((call, subject.to_owned()))
}

/// The form of a request, with exactly the fields that belong to it, each once.
fn fields(call: ApiCall, request: &Request) -> Result<Fields, String> {
    let expected: &[&str] = match call {
        ApiCall::Register => &["passcode", "mac", "product_key"],
        ApiCall::Deregister => &["did", "passcode"],
        ApiCall::Check => &["passcode", "type", "hard_version", "soft_version"],
        ApiCall::TargetFid => &["did", "product_key", "type", "hard_version", "soft_version", "current_fid"],
        ApiCall::ThirdParty => &["feed_id", "access_key"],
        ApiCall::Provision | ApiCall::ThirdPartyProduct => &[],
    };
    let header = |name: &str| request.headers.get(name).map(String::as_str);
    if !matches!(call, ApiCall::TargetFid | ApiCall::ThirdPartyProduct) && header("content-type") != Some(FORM) {
        return Err(format!("Content-Type {:?}, {FORM} expected", header("content-type")));
    }
    if call == ApiCall::Provision && header("cache-control") != Some("no-cache") {
        return Err(format!("Cache-Control {:?}, no-cache expected", header("cache-control")));
    }
    let query = request.target.split_once('?').map(|(_, query)| query);
    let text = match (request.method.as_str(), query) {
        ("GET", query) if request.body.is_empty() => query.unwrap_or_default(),
        ("GET", _) => return Err("GET with a body".to_owned()),
        (_, None) => std::str::from_utf8(&request.body).map_err(|_| "the body is no text".to_owned())?,
        (_, Some(_)) => return Err("a query beside the form".to_owned()),
    };
    let mut fields = Fields::new();
    for pair in text.split('&').filter(|_| !text.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(|| format!("{pair:?} in the form, name=value expected"))?;
        if !expected.contains(&name) || fields.insert(name.to_owned(), plain(value)?).is_some() {
            return Err(format!("field {name:?} in the form, each of {expected:?} once expected"));
        }
    }
    match expected.iter().find(|name| !fields.contains_key(**name)) {
        Some(missing) => Err(format!("no field {missing:?} in the form")),
        None => Ok(fields),
    }
}

/// A value of a form without its percent coding.
fn plain(value: &str) -> Result<String, String> {
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next(), rest.next()].map(|digit| char::from(digit.unwrap_or(b'?')).to_digit(16));
                let [Some(high), Some(low)] = digits else {
                    return Err("a broken percent code in the form".to_owned());
                };
                (high << 4 | low) as u8
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| "a field of the form is no text".to_owned())
}

fn breach(text: String) -> Fault {
    Fault::Breach(text)
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// What the API takes (section 5).
const FORM: &str = "application/x-www-form-urlencoded";
/// Error codes (5.7).
const UNKNOWN_PRODUCT: u16 = 9002;
const SERVER_ERROR: u16 = 9008;
const NOT_FOUND: u16 = 9014;
const FORM_INVALID: u16 = 9015;
const DID_OR_PASSCODE: u16 = 9016;
const NO_FIRMWARE: u16 = 9027;
const NOTHING_TO_UPGRADE: u16 = 9034;
/// Not documented; chosen by us: stands for no answer at all.
const FOREVER: Duration = Duration::from_secs(86_400);
