//! Keys, the payload cipher and the session key: AES-128 in ECB mode with PKCS#7 padding, as the protocol asks for.
//!
//! Invariant: a [`Key`] that exists has 16 bytes, no log shows it, and it is zeroed when dropped. Which payloads are
//! encrypted, and which key is tried when, is the session's affair.
//!
//! ECB without authentication hides little and protects nothing against change; that is the protocol's choice. Telling a
//! wrong padding from other errors gives nothing more away: in ECB no block can be used to probe another, so unlike with
//! chained blocks there is no oracle, and nothing here needs to take constant time.

use aes::Aes128;
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use polylink_plugin_sdk::hex;
use polylink_plugin_sdk::secret::Secret;
use serde::Deserialize;

use crate::auth::SessionMaterial;

/// A key of 16 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(Secret<[u8; BLOCK]>);

impl Key {
    /// Reads 32 hex digits of either case.
    #[must_use]
    pub fn from_hex(digits: &str) -> Option<Self> {
        let bytes = Secret::new(hex::decode(digits)?);
        Some(Self::new(bytes.expose().as_slice().try_into().ok()?))
    }

    /// Takes the bytes.
    #[must_use]
    pub const fn new(bytes: [u8; BLOCK]) -> Self {
        Self(Secret::new(bytes))
    }

    /// 32 upper-case hex digits, to be stored.
    #[must_use]
    pub fn to_hex(&self) -> Secret<String> {
        Secret::new(hex::upper(self.0.expose()))
    }

    fn cipher(&self) -> Aes128 {
        Aes128::new(self.0.expose().into())
    }
}

/// Why a text is not decrypted. Checked in this order (Lierda MQTT access protocol, our reading: decoding errors).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CipherError {
    /// An odd number of digits, or another character.
    #[error("not hexadecimal")]
    Hex,
    /// Nothing, or not a multiple of 16 bytes.
    #[error("not a whole number of blocks")]
    Length,
    /// The last block ends in no padding: most likely another key.
    #[error("wrong padding, most likely another key")]
    Padding,
}

/// Encrypts anything.
#[must_use]
pub fn encrypt(key: &Key, plain: &[u8]) -> Vec<u8> {
    let padding = BLOCK - plain.len() % BLOCK;
    // Never grown afterwards, so that no copy of the plain bytes is left behind.
    let mut bytes = Vec::with_capacity(plain.len() + padding);
    bytes.extend_from_slice(plain);
    bytes.resize(plain.len() + padding, u8::try_from(padding).expect("a padding is at most a block"));
    let cipher = key.cipher();
    for block in bytes.as_chunks_mut::<BLOCK>().0 {
        cipher.encrypt_block(block.into());
    }
    bytes
}

/// Takes back what [`encrypt`] did.
///
/// # Errors
/// [`CipherError::Length`] and [`CipherError::Padding`].
pub fn decrypt(key: &Key, encrypted: &[u8]) -> Result<Vec<u8>, CipherError> {
    if encrypted.is_empty() || !encrypted.len().is_multiple_of(BLOCK) {
        return Err(CipherError::Length);
    }
    let mut bytes = encrypted.to_vec();
    let cipher = key.cipher();
    for block in bytes.as_chunks_mut::<BLOCK>().0 {
        cipher.decrypt_block(block.into());
    }
    let padding = bytes.last().copied().unwrap_or_default();
    let length = usize::from(padding);
    if length == 0 || length > BLOCK || bytes[bytes.len() - length..].iter().any(|&byte| byte != padding) {
        return Err(CipherError::Padding);
    }
    bytes.truncate(bytes.len() - length);
    Ok(bytes)
}

/// Encrypts into upper-case hex digits, as a payload carries them.
#[must_use]
pub fn encrypt_hex(key: &Key, plain: &[u8]) -> String {
    hex::upper(&encrypt(key, plain))
}

/// Decrypts hex digits of either case.
///
/// # Errors
/// See [`CipherError`].
pub fn decrypt_hex(key: &Key, digits: &str) -> Result<Vec<u8>, CipherError> {
    decrypt(key, &hex::decode(digits).ok_or(CipherError::Hex)?)
}

/// What the session key is made from. The protocol speaks of bytes but shows a SessionID with seven digits, so the text
/// is the default (Lierda MQTT access protocol, our reading: session key).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionContent {
    /// The characters of the SessionID, then the Nonce in upper-case hex digits.
    #[default]
    Text,
    /// The bytes that the SessionID means as hex digits, then those of the Nonce.
    Bytes,
}

/// A session key, and what is odd about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionKey {
    /// The key of application payloads.
    pub key: Key,
    /// False if the SessionID is so long that the Nonce did not, or not fully, go into the key: worth a warning,
    /// because the platform may see that differently.
    pub nonce_counts: bool,
}

/// The SessionID is not made of pairs of hex digits, which [`SessionContent::Bytes`] needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the SessionID is not pairs of hex digits; session_content = \"text\" would take it")]
pub struct NoHexSessionId;

/// Derives the session key: the first 16 bytes of the encrypted content.
///
/// # Errors
/// See [`NoHexSessionId`].
pub fn session_key(
    key: &Key,
    material: &SessionMaterial,
    content: SessionContent,
) -> Result<SessionKey, NoHexSessionId> {
    let content = session_content(material, content)?;
    let encrypted = Secret::new(encrypt(key, &content));
    let first = encrypted.expose().first_chunk().expect("what is encrypted has at least one block");
    Ok(SessionKey { key: Key::new(*first), nonce_counts: content.len() <= BLOCK })
}

/// What is encrypted for the session key.
///
/// # Errors
/// See [`NoHexSessionId`].
pub fn session_content(material: &SessionMaterial, content: SessionContent) -> Result<Vec<u8>, NoHexSessionId> {
    let nonce = material.nonce.to_be_bytes();
    let zeros = nonce.iter().take_while(|&&byte| byte == 0).count();
    // The fewest bytes that hold the number, at least one.
    let nonce = &nonce[zeros.min(nonce.len() - 1)..];
    Ok(match content {
        SessionContent::Text => [material.session_id.as_bytes(), hex::upper(nonce).as_bytes()].concat(),
        SessionContent::Bytes => [&hex::decode(&material.session_id).ok_or(NoHexSessionId)?, nonce].concat(),
    })
}

/// Bytes of a block, and of a key (FIPS 197, AES-128).
const BLOCK: usize = 16;

#[cfg(test)]
mod tests {
    use hex_literal::hex;
    use proptest::prelude::*;

    use super::*;

    fn key() -> Key {
        Key::from_hex("A9AB8E82D2D4A60E67C99D3A446D6088").unwrap()
    }

    fn check(digits: &str, expected: Result<&str, CipherError>) {
        let got = decrypt_hex(&key(), digits).map(|plain| String::from_utf8(plain).unwrap());
        assert_eq!(got, expected.map(str::to_owned), "{digits}");
    }

    #[test]
    fn one_block_is_as_the_standard_prints_it() {
        // FIPS 197, appendix C.1; the second block is the padding.
        let key = Key::new(hex!("000102030405060708090a0b0c0d0e0f"));
        let encrypted = encrypt(&key, &hex!("00112233445566778899aabbccddeeff"));
        assert_eq!(encrypted[..16], hex!("69c4e0d86a7b0430d8cdb78070b4c55a"));
        assert_eq!(encrypted.len(), 32);
    }

    #[test]
    fn a_text_is_judged_by_digits_then_length_then_padding() {
        check(
            "CB96395F5065FD121D88B1593EFE44EA9C6A716A807B4AEA693CC0D0C2984B8B8F8D4F2DC41F8B3D973BDC4EC63EF974",
            Ok(r#"{"deviceId":"10000001","power":99}"#),
        );
        check("Z", Err(CipherError::Hex));
        check("CB9", Err(CipherError::Hex));
        check("CB96", Err(CipherError::Length));
        check("", Err(CipherError::Length));
        check("00000000000000000000000000000000", Err(CipherError::Padding));
    }

    #[test]
    fn every_damaged_padding_is_refused() {
        let cipher = key().cipher();
        for (last, length) in [(0, 1), (17, 16), (255, 16), (3, 2), (16, 15)] {
            let mut block = [b'x'; BLOCK];
            block[BLOCK - length..].fill(last);
            cipher.encrypt_block((&mut block).into());
            assert_eq!(decrypt(&key(), &block), Err(CipherError::Padding), "{last} {length} times");
        }
    }

    #[test]
    fn a_key_is_32_hex_digits_and_shows_none_of_them() {
        for digits in
            ["", "FE448731", &"0".repeat(31), &"0".repeat(33), &"0".repeat(34), &"g".repeat(32), &"é".repeat(16)]
        {
            assert_eq!(Key::from_hex(digits), None, "{digits}");
        }
        assert_eq!(format!("{:?}", key()), "Key(<secret>)");
        assert_eq!(key().to_hex().expose(), "A9AB8E82D2D4A60E67C99D3A446D6088");
        assert_eq!(Key::from_hex("a9ab8e82d2d4a60e67c99d3a446d6088"), Some(key()));
    }

    #[test]
    fn a_nonce_that_is_pushed_out_of_the_key_is_told() {
        let derive = |session_id: &str, nonce| {
            let material = SessionMaterial { session_id: session_id.into(), nonce };
            session_key(&key(), &material, SessionContent::Text).unwrap()
        };
        assert!(derive("0123456789ABCD", 255).nonce_counts);
        assert!(!derive("0123456789ABCD", 256).nonce_counts);
        assert_eq!(derive("0123456789ABCDEF", 1).key, derive("0123456789ABCDEF", 2).key);
    }

    #[test]
    fn a_session_id_that_is_no_hex_cannot_be_taken_as_bytes() {
        let material = SessionMaterial { session_id: "3788433".into(), nonce: 4 };
        assert_eq!(session_key(&key(), &material, SessionContent::Bytes), Err(NoHexSessionId));
    }

    proptest! {
        #[test]
        fn what_is_encrypted_comes_back(bytes: [u8; 16], plain: Vec<u8>) {
            let key = Key::new(bytes);
            let encrypted = encrypt(&key, &plain);
            prop_assert!(encrypted.len() > plain.len() && encrypted.len() <= plain.len() + BLOCK);
            prop_assert_eq!(decrypt(&key, &encrypted), Ok(plain.clone()));
            prop_assert_eq!(decrypt_hex(&key, &encrypt_hex(&key, &plain).to_lowercase()), Ok(plain));
        }

        #[test]
        fn nothing_can_panic_the_cipher(bytes: Vec<u8>, text in "\\PC{0,64}", digits in "[0-9a-f]{0,128}", session_id in "\\PC{0,40}", nonce: u64) {
            let _ = (decrypt(&key(), &bytes), decrypt_hex(&key(), &text), decrypt_hex(&key(), &digits));
            let material = SessionMaterial { session_id, nonce };
            let _ = session_key(&key(), &material, SessionContent::Text);
            let _ = session_key(&key(), &material, SessionContent::Bytes);
        }
    }
}
