//! Keys and the cipher of message bodies: AES in CBC mode with PKCS#7 padding, written as standard base64.
//!
//! Invariant: a [`Key`] that exists has 16, 24 or 32 bytes, no log shows it, and it is zeroed when dropped. Which key a
//! body is encrypted with is the session's affair.
//!
//! Every body begins with the same initialisation vector and nothing authenticates it; that is the protocol's choice. So
//! equal bodies can be seen to be equal, and a body that somebody has changed may still be opened. Only TLS helps there.

use aes::cipher::{Block, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit};
use aes::{Aes128, Aes192, Aes256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use polylink_plugin_sdk::hex;
use polylink_plugin_sdk::secret::Secret;
use serde_json::value::RawValue;

use crate::frame::text;

/// What the chain of blocks begins with.
pub type Iv = [u8; BLOCK];

/// The initialisation vector that the platform's own virtual device uses (source of the Clife web console, component
/// "simulation").
pub const ZERO_IV: Iv = [0; BLOCK];

/// A key of 16, 24 or 32 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(Secret<Vec<u8>>);

impl Key {
    /// Takes the bytes; `None` for any other number of them.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        let bytes = Secret::new(bytes);
        matches!(bytes.expose().len(), 16 | 24 | 32).then_some(Self(bytes))
    }

    /// Reads 32, 48 or 64 hex digits of either case.
    #[must_use]
    pub fn from_hex(digits: &str) -> Option<Self> {
        Self::new(hex::decode(digits)?)
    }

    /// Takes the UTF-8 bytes of a text; there must be 16, 24 or 32.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::new(text.as_bytes().to_vec())
    }
}

/// Why a text is not decrypted. Checked in this order (Clife access protocol, our reading: encryption of `data`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CipherError {
    /// Another alphabet, no or wrong padding characters, or bits left over.
    #[error("not standard base64")]
    Base64,
    /// Nothing, or not a multiple of 16 bytes.
    #[error("not a whole number of blocks")]
    Length,
    /// The last block ends in no padding: most likely another key.
    #[error("wrong padding, most likely another key")]
    Padding,
}

/// Why a body is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It cannot be decrypted.
    #[error("encrypted body: {0}")]
    Cipher(#[from] CipherError),
    /// What was decrypted is not a JSON object in UTF-8. A wrong key may pass the padding check by chance and end here.
    #[error("decrypted body: not a JSON object")]
    Json,
    /// It is not encrypted although it must be.
    #[error("the body is not encrypted, which strict_encryption asks for")]
    Plain,
    /// Neither a text nor an object.
    #[error("the body is neither a text nor an object")]
    Form,
}

/// Encrypts anything.
#[must_use]
pub fn encrypt(key: &Key, iv: &Iv, plain: &[u8]) -> String {
    fn run<C: BlockModeEncrypt>(cipher: Option<C>, bytes: &mut [u8]) {
        let mut cipher = cipher.expect("a key has a length of its cipher");
        for block in bytes.chunks_exact_mut(BLOCK) {
            cipher.encrypt_block(<&mut Block<C>>::try_from(block).expect("AES has blocks of 16 bytes"));
        }
    }
    let padding = BLOCK - plain.len() % BLOCK;
    // Never grown afterwards, so that no copy of the plain bytes is left behind.
    let mut bytes = Vec::with_capacity(plain.len() + padding);
    bytes.extend_from_slice(plain);
    bytes.resize(plain.len() + padding, u8::try_from(padding).expect("a padding is at most a block"));
    let key = key.0.expose();
    match key.len() {
        16 => {
            run(Aes128::new_from_slice(key).ok().map(|aes| cbc::Encryptor::inner_iv_init(aes, iv.into())), &mut bytes)
        }
        24 => {
            run(Aes192::new_from_slice(key).ok().map(|aes| cbc::Encryptor::inner_iv_init(aes, iv.into())), &mut bytes)
        }
        _ => run(Aes256::new_from_slice(key).ok().map(|aes| cbc::Encryptor::inner_iv_init(aes, iv.into())), &mut bytes),
    }
    STANDARD.encode(bytes)
}

/// Takes back what [`encrypt`] did.
///
/// # Errors
/// See [`CipherError`].
pub fn decrypt(key: &Key, iv: &Iv, text: &str) -> Result<Vec<u8>, CipherError> {
    fn run<C: BlockModeDecrypt>(cipher: Option<C>, bytes: &mut [u8]) {
        let mut cipher = cipher.expect("a key has a length of its cipher");
        for block in bytes.chunks_exact_mut(BLOCK) {
            cipher.decrypt_block(<&mut Block<C>>::try_from(block).expect("AES has blocks of 16 bytes"));
        }
    }
    let mut bytes = STANDARD.decode(text).map_err(|_| CipherError::Base64)?;
    if bytes.is_empty() || !bytes.len().is_multiple_of(BLOCK) {
        return Err(CipherError::Length);
    }
    let key = key.0.expose();
    match key.len() {
        16 => {
            run(Aes128::new_from_slice(key).ok().map(|aes| cbc::Decryptor::inner_iv_init(aes, iv.into())), &mut bytes)
        }
        24 => {
            run(Aes192::new_from_slice(key).ok().map(|aes| cbc::Decryptor::inner_iv_init(aes, iv.into())), &mut bytes)
        }
        _ => run(Aes256::new_from_slice(key).ok().map(|aes| cbc::Decryptor::inner_iv_init(aes, iv.into())), &mut bytes),
    }
    let padding = bytes.last().copied().unwrap_or_default();
    let length = usize::from(padding);
    if length == 0 || length > BLOCK || bytes[bytes.len() - length..].iter().any(|&byte| byte != padding) {
        return Err(CipherError::Padding);
    }
    bytes.truncate(bytes.len() - length);
    Ok(bytes)
}

/// The body of a frame: a text is decrypted, an object is taken as it is unless `strict`.
///
/// # Errors
/// See [`OpenError`].
pub fn open(key: &Key, iv: &Iv, data: &RawValue, strict: bool) -> Result<Box<RawValue>, OpenError> {
    if data.get().starts_with('{') {
        return if strict { Err(OpenError::Plain) } else { Ok(data.to_owned()) };
    }
    let encrypted = text(data).ok_or(OpenError::Form)?;
    let plain = String::from_utf8(decrypt(key, iv, &encrypted)?).map_err(|_| OpenError::Json)?;
    let body: &RawValue = serde_json::from_str(&plain).map_err(|_| OpenError::Json)?;
    if body.get().starts_with('{') { Ok(body.to_owned()) } else { Err(OpenError::Json) }
}

/// Bytes of a block (FIPS 197).
const BLOCK: usize = 16;
