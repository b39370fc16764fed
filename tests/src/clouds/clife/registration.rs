//! Registration over HTTP (Clife protocol, 5): what a request must be, and what it is answered.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::behaviour::Registering;
use super::cipher::{Key, Unreadable};
use super::ids::OwnIds;
use super::platform::{Credentials, Platform, Registration, State, body, keep};
use super::{DEV_ID, DEV_MAC, PRODUCT_CODE, frame};
use crate::http::{Answer, Request};

/// Why a request that could be read is not fulfilled.
enum Fault {
    /// The device broke a rule.
    Breach(String),
    /// The tables do not have it, which the device could not know.
    Unknown,
}

/// A request that could be read.
struct Asking {
    query: Query,
    id: i64,
    body: Json,
}

/// The query of a request.
#[derive(Debug, PartialEq, Eq)]
struct Query {
    level: u8,
    product: Option<String>,
    device: Option<String>,
}

impl Platform {
    pub(super) fn register(&self, request: &Request, query: &str) -> Answer {
        let mut guard = self.lock();
        let state = &mut *guard;
        let delay = state.behaviour.registration_delay;
        let answer = match self.read(state, request, query) {
            Err((fault, None)) => {
                self.ledger.violation(format!("registration: {fault}"));
                Answer::status(400, fault)
            }
            Err((fault, Some(id))) => {
                // The platform does not know the key, so it answers in clear.
                keep(&mut state.seen.registrations, Registration { id, body: Json::Null, code: Some(NO_KEY) });
                Answer::ok(self.sealed(state, id, REGISTERED, &refusal(NO_KEY, &fault), None))
            }
            Ok(asking) => self.decide(state, asking),
        };
        drop(guard);
        self.changed();
        Answer { delay: delay.max(answer.delay), ..answer }
    }

    /// Reads a request; the fault comes with the msgId where only the key is wrong.
    fn read(&self, state: &mut State, request: &Request, query: &str) -> Result<Asking, (String, Option<i64>)> {
        let breach = |text: String| (text, None);
        if request.method != "POST" {
            return Err(breach(format!("{}, POST expected", request.method)));
        }
        let kind = request.headers.get("content-type").map_or("", String::as_str);
        if kind.split(';').next().map(str::trim) != Some("application/json") {
            return Err(breach(format!("Content-Type {kind:?}, application/json expected")));
        }
        let query = Query::parse(query).map_err(breach)?;
        let asked = frame::parse(&request.body, self.product.timestamp_as_text).map_err(breach)?;
        if asked.cmd != REGISTER {
            return Err(breach(format!("cmd {}, {REGISTER} expected", asked.cmd)));
        }
        let text = asked.data.as_str().ok_or_else(|| breach(format!("data {}, a text expected", asked.data)))?;
        let plain = self.product.dev_key().open(text).map_err(|fault| {
            // With another key it is the padding that comes out wrong.
            (fault.to_string(), (fault == Unreadable::Padding).then_some(asked.id))
        })?;
        let body = match serde_json::from_slice::<Json>(&plain) {
            Ok(Json::Object(_)) => body(&plain).map_err(breach)?,
            _ => return Err(("no JSON object".to_owned(), Some(asked.id))),
        };
        // Who registers may have lost all it knew, its last msgId too.
        state.own_ids = OwnIds::default();
        state.own_ids.take(asked.id, REGISTER, &body).map_err(breach)?;
        Ok(Asking { query, id: asked.id, body })
    }

    fn decide(&self, state: &mut State, asking: Asking) -> Answer {
        let judged = match self.judge(&asking) {
            Ok(()) => Ok(()),
            Err(Fault::Unknown) => Err((UNKNOWN, "unknown product or device".to_owned())),
            Err(Fault::Breach(fault)) => {
                self.ledger.violation(format!("registration: {fault}"));
                Err((BAD_PARAMETERS, fault))
            }
        };
        let scripted = state.behaviour.registrations.pop_front();
        let Asking { id, body, .. } = asking;
        let mut registered = Registration { id, body, code: None };
        let key = self.product.dev_key();
        let answer = match (scripted, judged) {
            (Some(Registering::Silence), _) => Answer { delay: FOREVER, ..Answer::status(500, "") },
            (Some(Registering::Status(status)), _) => Answer::status(status, "scripted"),
            (Some(Registering::Body(bytes)), _) => Answer::ok(bytes),
            (Some(Registering::Code(code)), _) => {
                registered.code = Some(code);
                Answer::ok(self.sealed(state, id, REGISTERED, &refusal(code, "scripted"), Some(&key)))
            }
            (Some(Registering::PlainError(code)), _) => {
                registered.code = Some(code);
                Answer::ok(self.sealed(state, id, REGISTERED, &refusal(code, "scripted"), None))
            }
            (_, Err((code, fault))) => {
                registered.code = Some(code);
                Answer::ok(self.sealed(state, id, REGISTERED, &refusal(code, &fault), Some(&key)))
            }
            (None, Ok(())) => {
                registered.code = Some(0);
                let issued = self.issue(state, None);
                Answer::ok(self.sealed(state, id, REGISTERED, &issued, Some(&key)))
            }
            (Some(Registering::Without(member)), Ok(())) => {
                registered.code = (member != "respCode").then_some(0);
                let issued = self.issue(state, Some(member));
                Answer::ok(self.sealed(state, id, REGISTERED, &issued, Some(&key)))
            }
            (Some(Registering::WrongMsgId), Ok(())) => {
                let issued = self.issue(state, None);
                Answer::ok(self.sealed(state, id + 1, REGISTERED, &issued, Some(&key)))
            }
            (Some(Registering::WrongCmd), Ok(())) => {
                let issued = self.issue(state, None);
                Answer::ok(self.sealed(state, id, REGISTERED + 4, &issued, Some(&key)))
            }
            (Some(Registering::WrongKey), Ok(())) => {
                let issued = self.issue(state, None);
                let (_, other) = self.product.secret(u32::MAX);
                Answer::ok(self.sealed(state, id, REGISTERED, &issued, Some(&other)))
            }
        };
        keep(&mut state.seen.registrations, registered);
        answer
    }

    /// Whether the body has what it must have, and the tables of products and devices know it.
    fn judge(&self, Asking { query: Query { level, product, device }, body, .. }: &Asking) -> Result<(), Fault> {
        let (must, may): (&[&str], &[&str]) = match level {
            0 => (&["devId", "devMac"], &["productCode", "productVer", "software", "hardware"]),
            _ => (&["productCode", "devMac"], &["productVer", "software", "hardware"]),
        };
        frame::members(body, must, may).map_err(Fault::Breach)?;
        for name in ["productCode", "devId", "devMac", "software", "hardware"] {
            frame::text(body, name).map_err(Fault::Breach)?;
        }
        if body.get("productVer").is_some_and(|version| version.as_u64().is_none_or(|version| version == 0)) {
            return Err(Fault::Breach(format!("productVer must be an integer from 1: {body}")));
        }
        let mac = body["devMac"].as_str().unwrap_or_default();
        if mac.len() != 12 || !mac.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(Fault::Breach(format!("devMac {mac:?}, 12 hexadecimal digits expected")));
        }
        for (name, in_query) in [("productCode", product), ("devId", device)] {
            let in_body = frame::text(body, name).map_err(Fault::Breach)?;
            if in_body.is_some_and(|value| in_query.as_deref() != Some(value)) {
                return Err(Fault::Breach(format!("{name} is {in_body:?}, but {in_query:?} in the query")));
            }
        }
        let known = *level == self.product.auth_level
            && product.as_deref().is_none_or(|code| code == PRODUCT_CODE)
            && device.as_deref().is_none_or(|device| device == DEV_ID)
            && mac.eq_ignore_ascii_case(DEV_MAC);
        if known { Ok(()) } else { Err(Fault::Unknown) }
    }

    /// Registers the device; the body of the answer, but for one member. What it was given before is dead.
    fn issue(&self, state: &mut State, without: Option<&str>) -> Json {
        state.n_registrations += 1;
        let (secret, key) = self.product.secret(state.n_registrations);
        let key = if without == Some("deviceSecret") { self.product.dev_key() } else { key };
        let credentials = Credentials {
            client: format!("client-{DEV_ID}"),
            user: format!("user-{DEV_ID}"),
            password: format!("password-{}", state.n_registrations),
            key,
        };
        let at = self.broker().map(|broker| broker.addr().to_string()).unwrap_or_default();
        let url = state.behaviour.mqtt_url.clone().unwrap_or_else(|| format!("tcp://{at}"));
        let dev_id = if state.behaviour.dev_id_as_number { serde_json::from_str(DEV_ID).ok() } else { None };
        let dev_id = dev_id.unwrap_or_else(|| json!(DEV_ID));
        let id_name = if state.behaviour.dev_id_as_id { "id" } else { "devId" };
        let mut body = json!({
            "respCode": 0, "respCont": "ok", id_name: dev_id, "deviceSecret": secret, "mqttUrl": url,
            "mqttClientId": credentials.client, "mqttUser": credentials.user, "mqttPassword": credentials.password,
            "mqttKeepalive": KEEP_ALIVE_S,
        });
        if let (Some(without), Some(members)) = (without, body.as_object_mut()) {
            members.remove(without);
        }
        state.credentials = Some(credentials);
        body
    }

    /// Bytes of an answer, encrypted if there is a key.
    fn sealed(&self, state: &State, id: i64, cmd: i64, body: &Json, key: Option<&Key>) -> Vec<u8> {
        let form = state.behaviour.form();
        let data = match key {
            None => body.clone(),
            Some(key) => {
                let plain = if form.blanks { frame::blank(body) } else { body.clone() };
                json!(key.seal(plain.to_string().as_bytes()))
            }
        };
        frame::write(&form, cmd, id, state.now_ms(), &data)
    }
}

impl Query {
    /// Reads a query whose members are the right ones in their order.
    fn parse(query: &str) -> Result<Self, String> {
        let mut pairs = Vec::new();
        for pair in query.split('&') {
            let (name, value) =
                pair.split_once('=').ok_or_else(|| format!("query {query:?}: {pair:?} has no value"))?;
            let value = decoded(value).filter(|value| !value.is_empty());
            let value = value.ok_or_else(|| format!("query {query:?}: the value of {name} is not encoded right"))?;
            pairs.push((name, value));
        }
        let names: Vec<&str> = pairs.iter().map(|(name, _)| *name).collect();
        let level = pairs[0].1.as_str();
        let level = match (level, &names[..]) {
            ("0", ["authLevel", "devId"] | ["authLevel", "productCode", "devId"]) => 0,
            ("1", ["authLevel", "productCode"]) => 1,
            ("2", ["authLevel", "productCode"]) => 2,
            _ => return Err(format!("query {query:?}: authLevel, then productCode and at level 0 devId are expected")),
        };
        let value = |wanted| pairs.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.clone());
        Ok(Self { level, product: value("productCode"), device: value("devId") })
    }
}

/// A percent-encoded value.
fn decoded(value: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let (byte, after) = match first {
            b'%' => {
                let (digits, after) = after.split_at_checked(2)?;
                (u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?, after)
            }
            plain if plain.is_ascii_alphanumeric() || b"-._~".contains(&plain) => (plain, after),
            _ => return None,
        };
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

fn refusal(code: i64, text: &str) -> Json {
    json!({"respCode": code, "respCont": text})
}

/// Command codes (Clife protocol, 5).
const REGISTER: i64 = 2000;
const REGISTERED: i64 = 2001;
/// Values of respCode (Clife protocol, 5).
const BAD_PARAMETERS: i64 = 1;
const UNKNOWN: i64 = 2;
const NO_KEY: i64 = 3;
/// Keep-alive that the device is given. Chosen by us: not the default, so that a device which ignores it is seen.
pub(super) const KEEP_ALIVE_S: u16 = 45;
/// Chosen by us: longer than any device waits.
const FOREVER: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_has_its_members_in_their_order_and_encoded() {
        let text = |text: &str| Some(text.to_owned());
        // The first four are the vectors C-url of the Clife protocol.
        for (query, expected) in [
            ("authLevel=2&productCode=P001", Some((2, text("P001"), None))),
            ("authLevel=1&productCode=P%20001", Some((1, text("P 001"), None))),
            ("authLevel=0&devId=D1", Some((0, None, text("D1")))),
            ("authLevel=0&productCode=P001&devId=D1", Some((0, text("P001"), text("D1")))),
            ("authLevel=2&productCode=P+001", None),
            ("authLevel=2&productCode=P%2", None),
            ("authLevel=2&productCode=", None),
            ("authLevel=2", None),
            ("authLevel=3&productCode=P001", None),
            ("authLevel=2&productCode=P001&devId=D1", None),
            ("authLevel=0&productCode=P001", None),
            ("authLevel=0&devId=D1&productCode=P001", None),
            ("productCode=P001&authLevel=2", None),
            ("", None),
        ] {
            let expected = expected.map(|(level, product, device)| Query { level, product, device });
            assert_eq!(Query::parse(query).ok(), expected, "{query}");
        }
    }
}
