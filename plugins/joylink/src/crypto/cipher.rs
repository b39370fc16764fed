//! The cipher of payloads, which is the same everywhere: AES-128 in CBC mode with PKCS#5 padding. What differs is where
//! key and first block come from.
//!
//! Nothing authenticates a payload; that is the protocol's choice. Who may change packets can therefore learn from the
//! silence after each of them whether its padding was right. At least the time that the check takes tells nothing more.

use aes::Aes128;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit};
use polylink_plugin_sdk::secret::Secret;
use serde::{Deserialize, Deserializer};

/// 32 bytes that key and first block are taken from: an access key, a local key or a session key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key32(Secret<[u8; 32]>);

impl Key32 {
    /// Takes the bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }

    /// Takes the characters of a key as they are, without reading them as hexadecimal (JoyLink V1.79, encryption mode
    /// 3); `None` unless there are exactly 32, all of them printable ASCII.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let bytes = *text.as_bytes().as_array()?;
        text.bytes().all(|byte| byte.is_ascii_graphic()).then(|| Self::new(bytes))
    }

    /// Shows the bytes to who needs them, such as to keep them.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// Shows the text that a key was made of; `None` if it was none.
    #[must_use]
    pub fn expose_text(&self) -> Option<&str> {
        std::str::from_utf8(self.expose()).ok()
    }

    /// What it encrypts with: the first half is the key, the second the first block (encryption modes 3 and 4).
    #[must_use]
    pub fn cipher_key(&self) -> CipherKey {
        let halves = self.expose().as_chunks::<BLOCK>().0;
        CipherKey::new(halves[0], halves[1])
    }
}

/// From a text; no error shows any of it.
impl<'de> Deserialize<'de> for Key32 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Secret::<String>::deserialize(deserializer)?;
        Self::from_text(text.expose()).ok_or_else(|| serde::de::Error::custom("a key has 32 printable characters"))
    }
}

/// A key of AES and the block that the chain begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CipherKey {
    key: Secret<[u8; BLOCK]>,
    iv: Secret<[u8; BLOCK]>,
}

impl CipherKey {
    /// Takes both.
    #[must_use]
    pub const fn new(key: [u8; BLOCK], iv: [u8; BLOCK]) -> Self {
        Self { key: Secret::new(key), iv: Secret::new(iv) }
    }

    /// The key of encryption mode 1, which everybody knows. No message of the protocol uses it.
    #[must_use]
    pub const fn fixed() -> Self {
        Self::new([0; BLOCK], *b"0123456789abcdef")
    }

    /// Encrypts anything: the result is 1 to 16 bytes longer.
    #[must_use]
    pub fn encrypt(&self, plain: &[u8]) -> Vec<u8> {
        let padding = BLOCK - plain.len() % BLOCK;
        // Never grown afterwards, so that no copy of the plain bytes is left behind.
        let mut bytes = Vec::with_capacity(plain.len() + padding);
        bytes.extend_from_slice(plain);
        bytes.resize(plain.len() + padding, u8::try_from(padding).expect("a padding is at most a block"));
        let mut cipher = cbc::Encryptor::inner_iv_init(self.aes(), self.iv.expose().into());
        for block in bytes.as_chunks_mut::<BLOCK>().0 {
            cipher.encrypt_block(block.into());
        }
        bytes
    }

    /// Takes back what [`Self::encrypt`] did.
    ///
    /// # Errors
    /// See [`CipherError`].
    pub fn decrypt(&self, encrypted: &[u8]) -> Result<Vec<u8>, CipherError> {
        if encrypted.is_empty() || !encrypted.len().is_multiple_of(BLOCK) {
            return Err(CipherError::Length);
        }
        let mut bytes = encrypted.to_vec();
        let mut cipher = cbc::Decryptor::inner_iv_init(self.aes(), self.iv.expose().into());
        for block in bytes.as_chunks_mut::<BLOCK>().0 {
            cipher.decrypt_block(block.into());
        }
        let last = bytes.last_chunk().expect("what is not empty and a multiple of a block has a last block");
        let padding = padding(last).ok_or(CipherError::Padding)?;
        bytes.truncate(bytes.len() - padding);
        Ok(bytes)
    }

    fn aes(&self) -> Aes128 {
        Aes128::new(self.key.expose().into())
    }
}

/// Why a payload is not decrypted. Checked in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CipherError {
    /// Nothing, or not a multiple of 16 bytes.
    #[error("not a whole number of blocks")]
    Length,
    /// The last block ends in no padding: most likely another key.
    #[error("wrong padding, most likely another key")]
    Padding,
}

/// Length of the padding that a block ends in, found with the same steps for all blocks.
fn padding(block: &[u8; BLOCK]) -> Option<usize> {
    let length = block[BLOCK - 1];
    // Outside of 1 to 16?
    let mut wrong = u8::from(length.wrapping_sub(1) >= BLOCK as u8);
    for (before_the_end, byte) in (1..=BLOCK as u8).zip(block.iter().rev()) {
        let counts = u8::from(before_the_end <= length);
        wrong |= counts.wrapping_neg() & (byte ^ length);
    }
    (std::hint::black_box(wrong) == 0).then_some(usize::from(length))
}

/// Bytes of a block, and of a key (FIPS 197, AES-128).
const BLOCK: usize = 16;

#[cfg(test)]
mod tests {
    use hex_literal::hex;
    use proptest::prelude::*;

    use super::*;

    fn key() -> CipherKey {
        Key32::from_text("8f14e45fceea167a5a36dedd4bea2543").unwrap().cipher_key()
    }

    fn check(encrypted: &[u8], expected: Result<&[u8], CipherError>) {
        assert_eq!(key().decrypt(encrypted), expected.map(<[u8]>::to_vec));
    }

    #[test]
    fn a_payload_is_judged_by_length_then_padding() {
        check(&hex!("85e161c36113be9ae504204d8a949111"), Ok(&hex!("80233356")));
        check(&hex!("85e161c36113be9ae504204d8a9491"), Err(CipherError::Length));
        check(&[], Err(CipherError::Length));
        check(&[0; 16], Err(CipherError::Padding));
    }

    #[test]
    fn every_padding_and_no_other_ending_is_taken() {
        for length in 1..=16_u8 {
            let mut block = [b'x'; BLOCK];
            block[BLOCK - usize::from(length)..].fill(length);
            assert_eq!(padding(&block), Some(usize::from(length)));
            for at in BLOCK - usize::from(length)..BLOCK - 1 {
                let mut damaged = block;
                damaged[at] ^= 0x80;
                assert_eq!(padding(&damaged), None, "{length}, byte {at}");
            }
        }
        for last in [0, 17, 128, 255] {
            assert_eq!(padding(&[last; BLOCK]), None, "{last}");
        }
    }

    #[test]
    fn a_text_is_a_key_if_it_has_32_characters_and_none_of_them_is_shown() {
        for text in ["", &"0".repeat(31), &"0".repeat(33), &"é".repeat(16), &" ".repeat(32), &"\0".repeat(32)] {
            assert_eq!(Key32::from_text(text), None, "{text}");
        }
        let key: Key32 = serde_json::from_str("\"8f14e45fceea167a5a36dedd4bea2543\"").unwrap();
        assert_eq!(format!("{key:?}"), "Key32(<secret>)");
        assert_eq!(key.expose_text(), Some("8f14e45fceea167a5a36dedd4bea2543"));
        let error = serde_json::from_str::<Key32>("\"8f14e45fceea167a5a36dedd4bea254\"").unwrap_err().to_string();
        assert!(!error.contains("8f14"), "{error}");
    }

    proptest! {
        #[test]
        fn what_is_encrypted_comes_back(bytes: [u8; 32], plain: Vec<u8>) {
            let key = Key32::new(bytes).cipher_key();
            let encrypted = key.encrypt(&plain);
            prop_assert!(encrypted.len() > plain.len() && encrypted.len() <= plain.len() + BLOCK);
            prop_assert_eq!(key.decrypt(&encrypted), Ok(plain));
        }

        #[test]
        fn no_bytes_can_panic_the_cipher(bytes: Vec<u8>, blocks: Vec<[u8; BLOCK]>) {
            let _ = (key().decrypt(&bytes), key().decrypt(blocks.as_flattened()));
        }
    }
}
