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

/// Why a text is not decrypted. Checked in this order (Clife access document, our reading: encryption of `data`).
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::raw;

    fn key() -> Key {
        Key::from_hex("00112233445566778899aabbccddeeff").unwrap()
    }

    /// What becomes of a body if plain ones are taken, and if not.
    #[track_caller]
    fn check(data: &str, lax: Result<&str, OpenError>, strict: Result<&str, OpenError>) {
        let data: &RawValue = serde_json::from_str(data).unwrap();
        for (expected, is_strict) in [(lax, false), (strict, true)] {
            let body = open(&key(), &ZERO_IV, data, is_strict);
            assert_eq!(body.as_ref().map(|body| body.get()).map_err(|error| *error), expected, "{data} {is_strict}");
        }
    }

    #[track_caller]
    fn check_plain(plain: &[u8], expected: Result<&str, OpenError>) {
        check(raw(&encrypt(&key(), &ZERO_IV, plain)).get(), expected, expected);
    }

    #[test]
    fn a_text_is_judged_by_base64_then_length_then_padding() {
        for text in ["!!!!", "MTIz\n", " MTIz", "MTIzNA", "MTIzNB==", "MTIz====", "_-8=", "é"] {
            assert_eq!(decrypt(&key(), &ZERO_IV, text), Err(CipherError::Base64), "{text}");
        }
        for text in ["", "MTIz", "MTIzNA=="] {
            assert_eq!(decrypt(&key(), &ZERO_IV, text), Err(CipherError::Length), "{text}");
        }
        assert_eq!(decrypt(&key(), &ZERO_IV, "AAAAAAAAAAAAAAAAAAAAAA=="), Err(CipherError::Padding));
    }

    #[test]
    fn every_damaged_padding_is_refused() {
        for (last, length) in [(0, 1), (17, 16), (255, 16), (3, 2), (16, 15)] {
            let mut block = [b'x'; BLOCK];
            block[BLOCK - length..].fill(last);
            // A whole block is followed by one of padding only, which is cut off.
            let encrypted = STANDARD.decode(encrypt(&key(), &ZERO_IV, &block)).unwrap();
            let damaged = STANDARD.encode(&encrypted[..BLOCK]);
            assert_eq!(decrypt(&key(), &ZERO_IV, &damaged), Err(CipherError::Padding), "{last} {length} times");
        }
    }

    #[test]
    fn an_encrypted_body_is_an_object_and_keeps_its_bytes() {
        check_plain(br#" {"a":  1e2} "#, Ok(r#"{"a":  1e2}"#));
        for plain in [&b""[..], b"[1]", b"\"a\"", b"7", b"{\"a\":1", b"{} x", b"{\"a\":\"\xff\"}"] {
            check_plain(plain, Err(OpenError::Json));
        }
    }

    #[test]
    fn a_plain_body_is_taken_unless_all_must_be_encrypted() {
        check(r#"{"a":1}"#, Ok(r#"{"a":1}"#), Err(OpenError::Plain));
        for data in ["[{}]", "7", "true", r#""\ud800""#] {
            check(data, Err(OpenError::Form), Err(OpenError::Form));
        }
        let length = Err(OpenError::Cipher(CipherError::Length));
        check("\"\"", length, length);
    }

    #[test]
    fn a_key_has_the_length_of_a_cipher_and_shows_nothing() {
        for digits in ["", &"0".repeat(31), &"0".repeat(33), &"0".repeat(34), &"0".repeat(66), &"g".repeat(32)] {
            assert_eq!(Key::from_hex(digits), None, "{digits}");
        }
        for length in 0..40 {
            assert_eq!(Key::from_text(&"k".repeat(length)).is_some(), matches!(length, 16 | 24 | 32), "{length}");
        }
        assert_eq!(Key::from_text(&"é".repeat(8)), Key::new("é".repeat(8).into_bytes()));
        assert_eq!(Key::from_hex("00112233445566778899AABBCCDDEEFF"), Some(key()));
        assert_eq!(format!("{:?}", key()), "Key(<secret>)");
    }

    #[test]
    fn the_three_ciphers_are_as_the_standard_prints_them() {
        // NIST SP 800-38A, F.2.1, F.2.3, F.2.5: first block each.
        let iv = hex_literal::hex!("000102030405060708090a0b0c0d0e0f");
        let plain = hex_literal::hex!("6bc1bee22e409f96e93d7e117393172a");
        for (digits, expected) in [
            ("2b7e151628aed2a6abf7158809cf4f3c", "7649abac8119b246cee98e9b12e9197d"),
            ("8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b", "4f021db243bc633d7178183a9fa071e8"),
            ("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4", "f58c4c04d6e5f1ba779eabfb5f7bfbd6"),
        ] {
            let key = Key::from_hex(digits).unwrap();
            let encrypted = STANDARD.decode(encrypt(&key, &iv, &plain)).unwrap();
            assert_eq!(hex::lower(&encrypted[..BLOCK]), expected);
        }
    }

    proptest! {
        #[test]
        fn what_is_encrypted_comes_back(bytes: [u8; 32], length in 2..=4_usize, iv: Iv, plain: Vec<u8>) {
            let key = Key::new(bytes[..8 * length].to_vec()).unwrap();
            prop_assert_eq!(decrypt(&key, &iv, &encrypt(&key, &iv, &plain)), Ok(plain));
        }

        #[test]
        fn nothing_can_panic_the_cipher(bytes: Vec<u8>, text in "\\PC{0,64}") {
            let _ = decrypt(&key(), &ZERO_IV, &text);
            let _ = decrypt(&key(), &ZERO_IV, &STANDARD.encode(&bytes));
            let _ = (Key::new(bytes), Key::from_hex(&text), Key::from_text(&text));
            let _ = open(&key(), &ZERO_IV, &raw(&text), false);
            if let Ok(data) = RawValue::from_string(text) {
                let _ = open(&key(), &ZERO_IV, &data, true);
            }
        }
    }
}
