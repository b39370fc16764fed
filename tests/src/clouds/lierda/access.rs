//! Who may come in, and what the two accounts may do (Lierda protocol, 3 and 4).

use super::ids::OwnIds;
use super::payload;
use super::platform::{Authentication, Platform, State, Working, base, device_secret, keep};
use super::product::{Kind, Product};
use super::topics::{AUTH, Topic};
use super::{NODE_EUI, OPEN_ID, PRODUCT_ID, PRODUCT_KEY, cipher, envelope};
use crate::broker::hooks::Hooks;
use crate::broker::packet::{Connect, Publish};
use serde_json::{Value as Json, json};

impl Hooks for Platform {
    fn connect(&self, connect: &Connect) -> u8 {
        if connect.level != 4 {
            self.ledger.violation(format!("MQTT level {}, 3.1.1 expected", connect.level));
            return UNACCEPTABLE_VERSION;
        }
        let mut state = self.lock();
        if connect.client_id == auth_client() {
            let right = connect.username.as_deref() == Some(&format!("AUTH-{OPEN_ID}-{PRODUCT_ID}"))
                && connect.password.as_deref() == Some(PRODUCT_KEY.as_bytes());
            return if right { state.behaviour.refuse_auth_connects.pop_front().unwrap_or(0) } else { BAD_CREDENTIALS };
        }
        match self.working(&mut state, connect) {
            Ok(()) => state.behaviour.refuse_connects.pop_front().unwrap_or(0),
            Err(code) => code,
        }
    }

    fn presence(&self, client: &str, online: bool) {
        let mut state = self.lock();
        if client == auth_client() {
            state.auth_subscribed = false;
            if online {
                // Who authenticates may have lost all it knew, its last MessageId too.
                state.own_ids = OwnIds::default();
            }
            return;
        }
        if online {
            state.n_connections += 1;
            let working = Working { client: client.to_owned(), reachable: false, farewell_checked: false };
            let before = state.working.replace(working).filter(|before| before.client != client);
            drop(state);
            // The client id has the time in it, so the broker does not know that this is the same device.
            if let (Some(before), Some(broker)) = (before, self.broker()) {
                broker.kick(&before.client);
            }
            // Only what its commands need makes it count.
            self.ledger.presence(false);
        } else if state.working.as_ref().is_some_and(|working| working.client == client) {
            state.working = None;
            state.last_offline = state.now_ms() / 1000;
            drop(state);
            self.ledger.presence(false);
        }
    }

    fn subscribe(&self, client: &str, filter: &str, qos: u8) -> Option<u8> {
        let mut state = self.lock();
        let name = filter.strip_prefix(&base());
        if name.is_some_and(|name| state.behaviour.refuse_subscriptions.contains(name)) {
            return None;
        }
        let auth = client == auth_client();
        let allowed = if auth { name == Some("downlink") } else { name.is_some_and(|name| !name.is_empty()) };
        if !allowed {
            self.ledger.violation(format!("{client} subscribed to {filter:?}"));
        }
        state.auth_subscribed |= auth && allowed;
        allowed.then_some(qos)
    }

    fn acknowledge(&self, client: &str, _filters: &[(String, u8)]) -> bool {
        let needed = match self.product.kind {
            Kind::Passthrough => &["downlink"][..],
            Kind::Json => &["downlink", "model/property/set"],
            Kind::Hex => &["downlink", "model/hex/downlink"],
        };
        if client == auth_client() || self.reaches(needed).is_err() {
            return true;
        }
        let mut state = self.lock();
        let expired = state.behaviour.session_expired;
        let Some(working) = state.working.as_mut().filter(|working| working.client == client) else { return true };
        if !std::mem::replace(&mut working.reachable, true) {
            state.behaviour.session_expired = false;
            drop(state);
            self.ledger.presence(true);
            if expired && let Err(fault) = self.renew_session() {
                self.ledger.violation(format!("a session could not be renewed: {fault}"));
            }
        }
        true
    }

    fn message(&self, client: &str, message: &Publish) -> Result<(), String> {
        let denied = || Err(format!("published on {:?}", message.topic));
        let taken = if client == auth_client() {
            if message.topic != AUTH {
                return denied();
            }
            self.authenticate(message)
        } else {
            let base = base();
            let name = message.topic.strip_prefix(&base);
            let Some((name, topic)) = name.and_then(|name| Some((name, Topic::parse(name)?))) else { return denied() };
            self.check_farewell();
            self.take(name, &topic, message)
        };
        if message.retain {
            self.ledger.violation(format!("on {}: published with retain", message.topic));
        }
        if let Err(breach) = taken {
            self.ledger.violation(format!("on {}: {breach}", message.topic));
        }
        Ok(())
    }

    fn violation(&self, text: &str) {
        self.ledger.violation(text);
    }

    // A device that subscribes to everything of its own hears itself.
    fn routes(&self) -> bool {
        true
    }
}

impl Platform {
    /// Whether the credentials of a working connection are right, or the code it is refused with.
    fn working(&self, state: &mut State, connect: &Connect) -> Result<(), u8> {
        let client = format!("{PRODUCT_ID}.{NODE_EUI}");
        let suffix = connect.client_id.strip_prefix("V2_").and_then(|id| id.strip_prefix(&client)?.strip_prefix('_'));
        let suffix = suffix.ok_or(NOT_AUTHORIZED)?;
        let form = suffix.split_once('_').filter(|(kind, digits)| {
            matches!(*kind, "0" | "1") && !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit())
        });
        let Some((kind, digits)) = form else {
            self.ledger.violation(format!("client id {:?}, type and timestamp expected", connect.client_id));
            return Err(NOT_AUTHORIZED);
        };
        let checked = kind == "1";
        if checked != self.product.timestamp_checked {
            self.ledger.violation(format!("client id {:?} is of the other type", connect.client_id));
        }
        if connect.username.as_deref() != Some(&format!("{OPEN_ID}-{PRODUCT_ID}-{NODE_EUI}")) {
            return Err(BAD_CREDENTIALS);
        }
        let secret = state.secret.as_deref().and_then(|secret| cipher::key(secret).ok()).ok_or(NOT_AUTHORIZED)?;
        let password = cipher::password(&secret, &client, PRODUCT_KEY, checked.then_some(digits));
        if connect.password.as_deref() != Some(password.as_bytes()) {
            return Err(BAD_CREDENTIALS);
        }
        if checked {
            let timestamp = digits.parse().unwrap_or(i64::MAX);
            if state.timestamps.contains(&timestamp) {
                self.ledger.violation(format!("timestamp {timestamp} was used before"));
            }
            if timestamp <= state.last_offline || timestamp > state.now_ms() / 1000 {
                return Err(NOT_AUTHORIZED);
            }
            keep(&mut state.timestamps, timestamp);
        }
        if self.product.encrypted && !state.keys.any() {
            self.ledger.violation("came to an encrypted product without the authentication that gives it a session");
        }
        Ok(())
    }

    /// A device ends its authentication connection before it opens the other one. Looked at with the first report,
    /// because the broker may learn of the farewell a little late.
    fn check_farewell(&self) {
        let checked = {
            let mut state = self.lock();
            state.working.as_mut().is_none_or(|working| std::mem::replace(&mut working.farewell_checked, true))
        };
        if !checked && self.broker().is_some_and(|broker| broker.online().contains(&auth_client())) {
            self.ledger.violation("works while its authentication connection is still open");
        }
    }

    fn authenticate(&self, message: &Publish) -> Result<(), String> {
        let request = envelope::parse(&message.payload)?;
        if request.code != AUTHENTICATE {
            return Err(format!("HeaderCtrl {}, {AUTHENTICATE} expected", request.code));
        }
        let (open_id, product_id, node_eui, kind) = payload::authentication(&request.payload)?;
        let mut state = self.lock();
        if !state.auth_subscribed {
            return Err("authentication before the subscription to its reply".to_owned());
        }
        state.own_ids.take(&request.id, "auth", AUTHENTICATE, &request.payload)?;
        if state.behaviour.silent_auths > 0 {
            state.behaviour.silent_auths -= 1;
            keep(&mut state.seen.authentications, Authentication { id: request.id, kind, code: None });
            drop(state);
            self.changed();
            return Ok(());
        }
        let code =
            state.behaviour.auth_codes.pop_front().unwrap_or(if (open_id, product_id) != (OPEN_ID, PRODUCT_ID) {
                UNKNOWN_PRODUCT
            } else if node_eui != NODE_EUI {
                ILLEGAL_DEVICE
            } else if kind != i64::from(self.product.auth_type) {
                WRONG_TYPE
            } else {
                0
            });
        keep(&mut state.seen.authentications, Authentication { id: request.id.clone(), kind, code: Some(code) });
        let reply = if code == 0 { state.admitted(&request.id, &self.product)? } else { json!({"Code": code}) };
        drop(state);
        self.changed();
        self.publish("downlink", &request.id, AUTHENTICATE, &reply);
        Ok(())
    }
}

impl State {
    /// The reply to a right request; a request that comes again is told the same.
    fn admitted(&mut self, id: &Json, product: &Product) -> Result<Json, String> {
        if let Some((_, reply)) = self.auth_reply.as_ref().filter(|(before, _)| before == id) {
            return Ok(reply.clone());
        }
        let n = self.n_secrets;
        let secret = self.secret.get_or_insert_with(|| device_secret(n)).clone();
        let mut reply = json!({"Code": 0, "DeviceSecret": self.behaviour.auth_secret.clone().unwrap_or(secret)});
        if product.encrypted {
            let (session_id, nonce) = self.next_session();
            let key = self.session_key(product.choices, &session_id, nonce)?;
            self.keys.begin(key);
            reply["SessionID"] = json!(session_id);
            reply["Nonce"] = json!(nonce);
        }
        self.auth_reply = Some((id.clone(), reply.clone()));
        Ok(reply)
    }
}

/// Client id of the authentication account.
pub(super) fn auth_client() -> String {
    format!("{PRODUCT_ID}-{NODE_EUI}")
}

/// Command code of the authentication (Lierda protocol, 6.1).
const AUTHENTICATE: i64 = 1;
/// Codes of its reply (Lierda protocol, 3.1).
const UNKNOWN_PRODUCT: i64 = 2;
const ILLEGAL_DEVICE: i64 = 4;
const WRONG_TYPE: i64 = 5;
/// CONNACK codes (MQTT 3.1.1, 3.2.2.3). Which one is used for what is not documented; chosen by us: 5 for a device that
/// is unknown or may not come at this time, 4 for a wrong user name or password.
const UNACCEPTABLE_VERSION: u8 = 1;
const BAD_CREDENTIALS: u8 = 4;
const NOT_AUTHORIZED: u8 = 5;
