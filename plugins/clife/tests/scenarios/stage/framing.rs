//! Encrypted bodies as the platform makes and reads them. The chain of blocks and base64 are not the plugin's.

use aes::Aes128;
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use polylink_plugin_sdk::hex;

/// AES-128 in CBC mode, beginning with zeros, with PKCS#7 padding, as base64. The key is 32 hexadecimal digits.
pub fn seal(key: &str, plain: impl AsRef<[u8]>) -> String {
    let cipher = cipher(key);
    let mut bytes = plain.as_ref().to_vec();
    let padding = 16 - bytes.len() % 16;
    bytes.extend(std::iter::repeat_n(padding as u8, padding));
    let mut last = [0; 16];
    for block in bytes.as_chunks_mut::<16>().0 {
        block.iter_mut().zip(last).for_each(|(byte, mask)| *byte ^= mask);
        cipher.encrypt_block(block.into());
        last = *block;
    }
    base64(&bytes)
}

/// Takes back [`seal`]; `None`: another key, or another form.
pub fn unseal(key: &str, text: &str) -> Option<String> {
    let cipher = cipher(key);
    let mut bytes = unbase64(text)?;
    if bytes.is_empty() || bytes.len() % 16 != 0 {
        return None;
    }
    let mut last = [0; 16];
    for block in bytes.as_chunks_mut::<16>().0 {
        let sealed = *block;
        cipher.decrypt_block(block.into());
        block.iter_mut().zip(last).for_each(|(byte, mask)| *byte ^= mask);
        last = sealed;
    }
    let padding = bytes[bytes.len() - 1];
    if !(1..=16).contains(&padding) {
        return None;
    }
    let ending = bytes.split_off(bytes.len() - usize::from(padding));
    ending.iter().all(|&byte| byte == padding).then_some(bytes).and_then(|bytes| String::from_utf8(bytes).ok())
}

fn cipher(key: &str) -> Aes128 {
    let bytes: [u8; 16] = hex::decode(key).and_then(|bytes| bytes.try_into().ok()).expect("32 digits");
    Aes128::new(&bytes.into())
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let word = three.iter().fold(0_u32, |word, &byte| word << 8 | u32::from(byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let digit = word >> (18 - 6 * place) & 63;
            text.push(if place <= three.len() { char::from(ALPHABET[digit as usize]) } else { '=' });
        }
    }
    text
}

fn unbase64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let digits = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    for four in digits.as_bytes().chunks(4) {
        let mut word = 0;
        for digit in four {
            word = word << 6 | ALPHABET.iter().position(|known| known == digit)? as u32;
        }
        word <<= 6 * (4 - four.len());
        bytes.extend_from_slice(&word.to_be_bytes()[1..four.len()]);
    }
    Some(bytes)
}

#[test]
fn the_platform_of_the_tests_seals_as_the_vectors_say() {
    let file: serde_json::Value = serde_json::from_str(include_str!("../../vectors/clife.json")).unwrap();
    let mut checked = 0;
    for vector in file["vectors"].as_array().unwrap() {
        let (input, expected) = (&vector["input"], &vector["expected"]);
        let key = input["key"].as_str().filter(|key| key.len() == 32);
        let (Some(key), true) = (key, vector["kind"] == "data_encrypt") else { continue };
        let (plain, sealed) = (input["plaintext"].as_str().unwrap(), expected["data"].as_str().unwrap());
        assert_eq!(seal(key, plain), sealed, "{vector}");
        assert_eq!(unseal(key, sealed).as_deref(), Some(plain));
        checked += 1;
    }
    assert!(checked > 0);
}
