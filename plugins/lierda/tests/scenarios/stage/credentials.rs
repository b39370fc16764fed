//! Passwords, session keys and payloads as the platform computes them. The cipher is not the plugin's.

use aes::Aes128;
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use polylink_plugin_sdk::hex;

use super::{DEVICE_SECRET, NODE_EUI, PRODUCT_ID, PRODUCT_KEY};

/// What the platform computes as the password of this client id, `V2_{ProductID}.{NodeEui}_{type}_{timestamp}`.
#[track_caller]
pub fn working_password(client_id: &str) -> String {
    let (kind, timestamp) = client_id_parts(client_id);
    let mut content = format!("{PRODUCT_ID}.{NODE_EUI}_{PRODUCT_KEY}");
    if kind == "1" {
        content = format!("{content}_{timestamp}");
    }
    encrypt(&bytes16(DEVICE_SECRET), content.as_bytes())
}

/// Type and timestamp of the client id of a working connection.
#[track_caller]
pub fn client_id_parts(client_id: &str) -> (&str, &str) {
    let parts = client_id.strip_prefix(&format!("V2_{PRODUCT_ID}.{NODE_EUI}_")).and_then(|rest| rest.split_once('_'));
    let (kind, timestamp) = parts.unwrap_or_else(|| panic!("no client id of this device: {client_id}"));
    assert!(["0", "1"].contains(&kind) && timestamp.parse::<u64>().is_ok(), "{client_id}");
    (kind, timestamp)
}

/// The session key of this SessionID and Nonce, by the default rule.
pub fn session_key(session_id: &str, nonce: u64) -> [u8; 16] {
    let digits = format!("{nonce:X}");
    let padding = if digits.len() % 2 == 1 { "0" } else { "" };
    let content = format!("{session_id}{padding}{digits}");
    bytes16(&encrypt(&bytes16(PRODUCT_KEY), content.as_bytes())[..32])
}

fn bytes16(digits: &str) -> [u8; 16] {
    hex::decode(digits).and_then(|bytes| bytes.try_into().ok()).expect("32 digits")
}

/// AES-128-ECB with PKCS#7 padding, as upper-case digits.
pub fn encrypt(key: &[u8; 16], plain: &[u8]) -> String {
    let cipher = Aes128::new(key.into());
    let padding = 16 - plain.len() % 16;
    let mut bytes = plain.to_vec();
    bytes.extend(std::iter::repeat_n(padding as u8, padding));
    for block in bytes.as_chunks_mut::<16>().0 {
        cipher.encrypt_block(block.into());
    }
    hex::upper(&bytes)
}

/// Takes back [`encrypt`]; `None`: another key.
pub fn decrypt(key: &[u8; 16], digits: &str) -> Option<String> {
    assert_eq!(digits, digits.to_uppercase(), "the device sends upper-case digits");
    let cipher = Aes128::new(key.into());
    let mut bytes = hex::decode(digits)?;
    for block in bytes.as_chunks_mut::<16>().0 {
        cipher.decrypt_block(block.into());
    }
    let padding = usize::from(*bytes.last()?);
    bytes.truncate(bytes.len().checked_sub(padding).filter(|_| (1..=16).contains(&padding))?);
    String::from_utf8(bytes).ok()
}
