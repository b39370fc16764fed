//! How `data` is written as text: AES in CBC mode with a fixed IV, PKCS7 padding, standard base64 (Clife protocol, 4).

use aes::cipher::{Block, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes192, Aes256};

/// A key of AES with the IV that goes with it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key {
    bytes: Vec<u8>,
    iv: [u8; BLOCK],
}

impl Key {
    /// 16, 24 or 32 bytes.
    pub fn new(bytes: &[u8], iv: [u8; BLOCK]) -> Result<Self, String> {
        if matches!(bytes.len(), 16 | 24 | 32) {
            Ok(Self { bytes: bytes.to_vec(), iv })
        } else {
            Err(format!("a key of {} bytes; 16, 24 or 32 expected", bytes.len()))
        }
    }

    /// Encrypts with padding, as base64.
    pub fn seal(&self, plain: &[u8]) -> String {
        let padding = BLOCK - plain.len() % BLOCK;
        let mut bytes = plain.to_vec();
        bytes.resize(plain.len() + padding, padding as u8);
        let mut before = self.iv;
        for chunk in bytes.chunks_exact_mut(BLOCK) {
            before = self.encrypt(xor(chunk, &before));
            chunk.copy_from_slice(&before);
        }
        base64(&bytes)
    }

    /// What a text holds, without its padding.
    pub fn open(&self, text: &str) -> Result<Vec<u8>, Unreadable> {
        let mut bytes = unbase64(text).ok_or(Unreadable::Base64)?;
        if bytes.is_empty() || !bytes.len().is_multiple_of(BLOCK) {
            return Err(Unreadable::Length);
        }
        let mut before = self.iv;
        for chunk in bytes.chunks_exact_mut(BLOCK) {
            let secret = xor(chunk, &[0; BLOCK]);
            chunk.copy_from_slice(&xor(&self.decrypt(secret), &before));
            before = secret;
        }
        let padding = usize::from(bytes.last().copied().unwrap_or_default());
        let end = bytes.len().checked_sub(padding).filter(|_| (1..=BLOCK).contains(&padding));
        let end = end.filter(|&end| bytes[end..].iter().all(|&byte| usize::from(byte) == padding));
        bytes.truncate(end.ok_or(Unreadable::Padding)?);
        Ok(bytes)
    }

    fn encrypt(&self, block: [u8; BLOCK]) -> [u8; BLOCK] {
        match self.bytes.len() {
            16 => one_block::<Aes128>(&self.bytes, block, |cipher, block| cipher.encrypt_block(block)),
            24 => one_block::<Aes192>(&self.bytes, block, |cipher, block| cipher.encrypt_block(block)),
            _ => one_block::<Aes256>(&self.bytes, block, |cipher, block| cipher.encrypt_block(block)),
        }
    }

    fn decrypt(&self, block: [u8; BLOCK]) -> [u8; BLOCK] {
        match self.bytes.len() {
            16 => one_block::<Aes128>(&self.bytes, block, |cipher, block| cipher.decrypt_block(block)),
            24 => one_block::<Aes192>(&self.bytes, block, |cipher, block| cipher.decrypt_block(block)),
            _ => one_block::<Aes256>(&self.bytes, block, |cipher, block| cipher.decrypt_block(block)),
        }
    }
}

/// Why a text cannot be decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("no standard base64")]
    Base64,
    #[error("no whole number of blocks")]
    Length,
    #[error("the padding is wrong")]
    Padding,
}

/// Lower-case hexadecimal text.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn one_block<C>(key: &[u8], block: [u8; BLOCK], act: impl FnOnce(&C, &mut Block<C>)) -> [u8; BLOCK]
where
    C: KeyInit + aes::cipher::BlockSizeUser,
{
    let cipher = C::new_from_slice(key).expect("the length of the key chose the cipher");
    let mut bytes = Block::<C>::default();
    bytes.copy_from_slice(&block);
    act(&cipher, &mut bytes);
    let mut block = [0; BLOCK];
    block.copy_from_slice(&bytes);
    block
}

/// The first block of `left`, with each byte changed by `right`.
fn xor(left: &[u8], right: &[u8; BLOCK]) -> [u8; BLOCK] {
    let mut sum = *right;
    sum.iter_mut().zip(left).for_each(|(sum, byte)| *sum ^= byte);
    sum
}

fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// Bytes of strict base64: all padding there, no blanks, no bits left over.
fn unbase64(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text);
    if !text.len().is_multiple_of(4) || digits.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::new();
    let (mut bits, mut n_bits) = (0_u32, 0);
    for digit in digits.bytes() {
        let value = DIGITS.iter().position(|&known| known == digit)?;
        bits = bits << 6 | u32::try_from(value).ok()?;
        n_bits += 6;
        if n_bits >= 8 {
            n_bits -= 8;
            bytes.push((bits >> n_bits) as u8);
            bits &= (1 << n_bits) - 1;
        }
    }
    (bits == 0).then_some(bytes)
}

/// Bytes of a block (FIPS 197).
pub(super) const BLOCK: usize = 16;
/// RFC 4648, 4.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::*;

    fn key(digits: &str) -> Key {
        let pairs = digits.as_bytes().chunks(2);
        let bytes: Vec<u8> =
            pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect();
        Key::new(&bytes, [0; BLOCK]).unwrap()
    }

    const KEY: &str = "00112233445566778899aabbccddeeff";

    /// Computed with two other implementations (vectors of the Clife protocol, C-enc); the algorithm is that of the
    /// vendor's web console.
    #[test]
    fn bodies_are_encrypted_as_two_other_implementations_do_it() {
        for (digits, plain, expected) in [
            (
                KEY,
                r#"{"params":[{"1":true},{"2":25}]}"#,
                "QsIWQAHGuTts+LD9iqFhKjkSDLMKz97IlZe2dDfsatlGyfHLaeO/Ga44falYCu8/",
            ),
            (KEY, "{}", "yKSnKUFGLK7Y5gCdo8S93Q=="),
            (KEY, r#"{"a":"12345678"}"#, "/QZuJsbl9GqHXAVrIs8TtSJj/xklS4qtDUeMx/FM+3g="),
            (
                "6d348c902ace4d09b6d62ce982dc8ace",
                r#"{"respCode":-1,"respCont":"磁盘空间不足"}"#,
                "VRgQQT0QVyoByoXZ76nod+w9ZVBaa+D61oHhVfXrwKr+wjPrqVOIEKozzLg0+noy",
            ),
            (
                "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
                r#"{"productCode":"P001","devMac":"AABBCCDDEEFF"}"#,
                "WyCqFbihpaH+bcZyBh2Pf49lRNYyntIp5cLm/bGhpAam6nuZaXDuIKZghqf615ue",
            ),
        ] {
            assert_eq!(key(digits).seal(plain.as_bytes()), expected, "{plain}");
            assert_eq!(key(digits).open(expected).unwrap(), plain.as_bytes());
        }
    }

    #[test]
    fn a_key_of_24_bytes_and_an_iv_of_ones_own_come_back() {
        // NIST SP 800-38A, F.2.3: the first block of CBC-AES192.
        let bytes = key("8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b0000000000000000").bytes;
        let key = Key::new(&bytes[..24], std::array::from_fn(|at| at as u8)).unwrap();
        let plain = b"\x6b\xc1\xbe\xe2\x2e\x40\x9f\x96\xe9\x3d\x7e\x11\x73\x93\x17\x2a";
        let sealed = key.seal(plain);
        let first = "4f021db243bc633d7178183a9fa071e8";
        assert_eq!(hex(&unbase64(&sealed).unwrap()[..BLOCK]), first);
        assert_eq!(key.open(&sealed).unwrap(), plain);
    }

    #[test]
    fn what_cannot_be_decrypted_is_refused_with_its_fault() {
        // Vectors of the Clife protocol, C-dec; the rest are ways of writing base64 that are not the standard one.
        for (text, fault) in [
            ("!!!!", Unreadable::Base64),
            ("yKSnKUFGLK7Y5gCdo8S93Q", Unreadable::Base64),
            ("yKSnKUFGLK7Y5gCdo8S93R==", Unreadable::Base64),
            ("yKSnKUFGLK7Y\r\n5gCdo8S93Q==", Unreadable::Base64),
            ("====", Unreadable::Base64),
            ("MTIz", Unreadable::Length),
            ("", Unreadable::Length),
        ] {
            assert_eq!(key(KEY).open(text), Err(fault), "{text:?}");
        }
        let other = key("6d348c902ace4d09b6d62ce982dc8ace");
        let sealed = "QsIWQAHGuTts+LD9iqFhKjkSDLMKz97IlZe2dDfsatlGyfHLaeO/Ga44falYCu8/";
        assert_eq!(other.open(sealed), Err(Unreadable::Padding));
        assert!(Key::new(b"too short", [0; BLOCK]).is_err());
    }
}
