//! Session keys of an encrypted product: which one is valid, and when the next one takes its place (Lierda protocol,
//! 6.7 and 7).

use serde_json::Value as Json;

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
    /// Encrypted as the text that it is.
    HexText,
    /// Encrypted as the bytes that it means.
    HexBytes,
}

impl Keys {
    /// The device has authenticated: this session, and no other.
    pub fn begin(&mut self, key: Key) {
        *self = Self { current: Some(key), ..Self::default() };
    }

    /// The device has been told of a new session.
    pub fn renew(&mut self, key: Key) {
        self.next = Some(key);
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
    pub fn seal(&self, payload: &Json, content: Content, old: bool) -> Result<Json, String> {
        let key = if old { self.current } else { self.next.or(self.current) };
        let key = key.ok_or("the device has no session")?;
        sealed(&key, payload, content)
    }
}

/// Encrypts a command under a key that nobody has.
pub(super) fn seal_wrongly(payload: &Json, content: Content) -> Result<Json, String> {
    sealed(&[0x5A; 16], payload, content)
}

fn sealed(key: &Key, payload: &Json, content: Content) -> Result<Json, String> {
    let plain = match (content, payload.as_str()) {
        (Content::HexText, Some(text)) => text.as_bytes().to_vec(),
        (Content::HexBytes, Some(text)) => cipher::unhex(text)?,
        // Compact, as the sample of the vendor's document turned out to be.
        _ => payload.to_string().into_bytes(),
    };
    Ok(Json::String(cipher::hex(&cipher::encrypt(key, &plain))))
}

fn read(key: &Key, secret: &[u8], content: Content) -> Result<Json, String> {
    let plain = cipher::decrypt(key, secret)?;
    if content == Content::HexBytes {
        return Ok(Json::String(cipher::hex(&plain)));
    }
    let plain = String::from_utf8(plain).map_err(|_| "the content is no text".to_owned())?;
    if content == Content::HexText {
        return cipher::unhex(&plain).map(|_| Json::String(plain));
    }
    let object = serde_json::from_str(&plain).ok().filter(Json::is_object);
    object.ok_or_else(|| format!("the content is no JSON object: {plain:?}"))
}
