//! AES-128-CBC with PKCS#5 padding, and where its keys come from (JoyLink, 4).

use std::fmt;

use aes::Aes128;
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};

/// A key with the vector that every message under it begins with.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    key: [u8; BLOCK],
    iv: [u8; BLOCK],
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl Secret {
    /// enctype 1: known to everybody, used by no message.
    pub const STATIC: Self = Self { key: [0; BLOCK], iv: *b"0123456789abcdef" };

    /// enctype 2: of the 20 bytes that both sides of a key agreement have. The two parts overlap.
    pub fn agreed(shared: &[u8; 20]) -> Self {
        Self { key: part(&shared[..BLOCK]), iv: part(&shared[4..]) }
    }

    /// enctype 3: of 32 bytes.
    pub fn of_bytes(bytes: &[u8; 32]) -> Self {
        Self { key: part(&bytes[..BLOCK]), iv: part(&bytes[BLOCK..]) }
    }

    /// The same of a key written as 32 characters, whose text is the key.
    pub fn of_text(text: &str) -> Result<Self, String> {
        let bytes =
            text.as_bytes().try_into().map_err(|_| format!("a key of {} characters, 32 expected", text.len()))?;
        Ok(Self::of_bytes(bytes))
    }

    /// Whether the vector has a zero in it, which SDKs in C trip over (4.6).
    pub fn has_nul(&self) -> bool {
        self.iv.contains(&0)
    }

    /// Key and vector.
    pub fn parts(&self) -> (&[u8; 16], &[u8; 16]) {
        (&self.key, &self.iv)
    }

    /// Pads and encrypts.
    pub fn encrypt(&self, plain: &[u8]) -> Vec<u8> {
        let cipher = Aes128::new(&self.key.into());
        let padding = BLOCK - plain.len() % BLOCK;
        let mut bytes = plain.to_vec();
        bytes.resize(plain.len() + padding, padding as u8);
        let mut before = self.iv;
        for chunk in bytes.chunks_exact_mut(BLOCK) {
            let mut block = xor(part(chunk), before).into();
            cipher.encrypt_block(&mut block);
            before = block.into();
            chunk.copy_from_slice(&before);
        }
        bytes
    }

    /// Decrypts and takes the padding off.
    pub fn decrypt(&self, secret: &[u8]) -> Result<Vec<u8>, String> {
        if secret.is_empty() || !secret.len().is_multiple_of(BLOCK) {
            return Err(format!("{} bytes are no whole number of blocks", secret.len()));
        }
        let cipher = Aes128::new(&self.key.into());
        let mut bytes = Vec::with_capacity(secret.len());
        let mut before = self.iv;
        for chunk in secret.chunks_exact(BLOCK) {
            let mut block = part(chunk).into();
            cipher.decrypt_block(&mut block);
            bytes.extend_from_slice(&xor(block.into(), before));
            before = part(chunk);
        }
        let padding = usize::from(bytes.last().copied().unwrap_or_default());
        let end = bytes.len().checked_sub(padding).filter(|_| (1..=BLOCK).contains(&padding));
        match end {
            Some(end) if bytes[end..].iter().all(|&byte| usize::from(byte) == padding) => {
                bytes.truncate(end);
                Ok(bytes)
            }
            _ => Err("the padding is wrong, so the key is not the right one".to_owned()),
        }
    }
}

fn part(bytes: &[u8]) -> [u8; BLOCK] {
    let mut part = [0; BLOCK];
    part.copy_from_slice(bytes);
    part
}

fn xor(mut one: [u8; BLOCK], other: [u8; BLOCK]) -> [u8; BLOCK] {
    one.iter_mut().zip(other).for_each(|(byte, with)| *byte ^= with);
    one
}

/// Block of AES.
const BLOCK: usize = 16;
