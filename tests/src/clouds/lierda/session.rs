//! Session keys of an encrypted product: which one is valid, and when the next one takes its place (Lierda protocol,
//! 6.7 and 7).

use serde_json::Value as Json;

use super::PRODUCT_KEY;
use super::cipher::{self, Key};

/// Keys of the device. Invariant: once a report has come under `next`, it is `current`, and the one before it is dead.
#[derive(Debug, Default)]
pub(super) struct Keys {
    current: Option<Key>,
    next: Option<Key>,
    dead: Option<Key>,
}

/// What a decrypted payload must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Object,
    HexText,
}

impl Keys {
    /// The device has authenticated: this session, and no other.
    pub fn begin(&mut self, session_id: &str, nonce: u32) {
        *self = Self { current: derive(session_id, nonce), ..Self::default() };
    }

    /// The device has been told of a new session.
    pub fn renew(&mut self, session_id: &str, nonce: u32) {
        self.next = derive(session_id, nonce);
    }

    pub fn any(&self) -> bool {
        self.current.is_some()
    }

    /// Decrypts what a report carries.
    pub fn open(&mut self, payload: &Json, content: Content) -> Result<Json, String> {
        let Some(text) = payload.as_str() else {
            return Err(format!("clear payload {payload} of an encrypted product"));
        };
        let secret = cipher::unhex(text)?;
        if let Some(opened) = self.next.and_then(|key| read(&key, &secret, content).ok()) {
            // "From its next report on": nothing may come under the old key any more.
            self.dead = self.current;
            self.current = self.next.take();
            return Ok(opened);
        }
        let key = self.current.ok_or("encrypted payload before any session")?;
        read(&key, &secret, content).map_err(|fault| match self.dead {
            Some(dead) if read(&dead, &secret, content).is_ok() => {
                "encrypted with the old session key after the new one had been used".to_owned()
            }
            _ => format!("not encrypted with the session key: {fault}"),
        })
    }

    /// Encrypts a command; under the key before the last renewal if `old`.
    pub fn seal(&self, payload: &Json, old: bool) -> Result<Json, String> {
        let key = if old { self.current } else { self.next.or(self.current) };
        let key = key.ok_or("the device has no session")?;
        Ok(sealed(&key, payload))
    }
}

/// Encrypts a command under a key that nobody has.
pub(super) fn seal_wrongly(payload: &Json) -> Json {
    sealed(&[0x5A; 16], payload)
}

fn sealed(key: &Key, payload: &Json) -> Json {
    // The text of a HEX model is encrypted as it is; everything else as compact JSON.
    let plain = payload.as_str().map_or_else(|| payload.to_string(), str::to_owned);
    Json::String(cipher::hex(&cipher::encrypt(key, plain.as_bytes())))
}

fn read(key: &Key, secret: &[u8], content: Content) -> Result<Json, String> {
    let plain = String::from_utf8(cipher::decrypt(key, secret)?).map_err(|_| "the content is no text".to_owned())?;
    match content {
        Content::Object => serde_json::from_str(&plain)
            .ok()
            .filter(Json::is_object)
            .ok_or_else(|| format!("the content is no JSON object: {plain:?}")),
        Content::HexText => cipher::unhex(&plain).map(|_| Json::String(plain)),
    }
}

fn derive(session_id: &str, nonce: u32) -> Option<Key> {
    let product_key = cipher::key(PRODUCT_KEY).ok()?;
    Some(cipher::session_key(&product_key, session_id, nonce))
}
