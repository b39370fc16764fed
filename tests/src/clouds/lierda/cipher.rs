//! AES-128-ECB with PKCS7 padding as the platform computes it, and what it is used for: the MQTT password, the session
//! key and encrypted payloads (Lierda protocol, 3.2 and 7).

use aes::Aes128;
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};

/// A key of AES-128.
pub(super) type Key = [u8; BLOCK];

/// Upper-case hexadecimal text.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Bytes of hexadecimal text of either case.
pub(super) fn unhex(text: &str) -> Result<Vec<u8>, String> {
    if text.len() % 2 == 1 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(format!("{text:?} is no hexadecimal text of an even length"));
    }
    let digit = |digit: u8| char::from(digit).to_digit(16).unwrap_or_default() as u8;
    Ok(text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect())
}

/// A key written as 32 hexadecimal digits.
pub(super) fn key(text: &str) -> Result<Key, String> {
    unhex(text)?.try_into().map_err(|_| format!("a key has {BLOCK} bytes"))
}

/// Encrypts with padding.
pub(super) fn encrypt(key: &Key, plain: &[u8]) -> Vec<u8> {
    let cipher = Aes128::new(&(*key).into());
    let padding = BLOCK - plain.len() % BLOCK;
    let mut bytes = plain.to_vec();
    bytes.resize(plain.len() + padding, padding as u8);
    for chunk in bytes.chunks_exact_mut(BLOCK) {
        let mut block = [0; BLOCK];
        block.copy_from_slice(chunk);
        let mut block = block.into();
        cipher.encrypt_block(&mut block);
        chunk.copy_from_slice(&block);
    }
    bytes
}

/// Decrypts and takes the padding off.
pub(super) fn decrypt(key: &Key, secret: &[u8]) -> Result<Vec<u8>, String> {
    if secret.is_empty() || !secret.len().is_multiple_of(BLOCK) {
        return Err(format!("{} bytes are no whole number of blocks", secret.len()));
    }
    let cipher = Aes128::new(&(*key).into());
    let mut bytes = secret.to_vec();
    for chunk in bytes.chunks_exact_mut(BLOCK) {
        let mut block = [0; BLOCK];
        block.copy_from_slice(chunk);
        let mut block = block.into();
        cipher.decrypt_block(&mut block);
        chunk.copy_from_slice(&block);
    }
    let padding = usize::from(bytes.last().copied().unwrap_or_default());
    let end = bytes.len().checked_sub(padding).filter(|_| (1..=BLOCK).contains(&padding));
    match end {
        Some(end) if bytes[end..].iter().all(|&byte| usize::from(byte) == padding) => {
            bytes.truncate(end);
            Ok(bytes)
        }
        _ => Err("the padding is wrong".to_owned()),
    }
}

/// Password of the working connection; the timestamp is part of it only where it is checked (Lierda protocol, 3.2).
pub(super) fn password(secret: &Key, client: &str, product_key: &str, timestamp: Option<&str>) -> String {
    let content = match timestamp {
        None => format!("{client}_{product_key}"),
        Some(timestamp) => format!("{client}_{product_key}_{timestamp}"),
    };
    hex(&encrypt(secret, content.as_bytes()))
}

/// The key of a session: the first block of its encrypted id and nonce, as text or as bytes (Lierda protocol, 7.2).
pub(super) fn session_key(key: &Key, session_id: &str, nonce: u32, as_bytes: bool) -> Result<Key, String> {
    let bytes = nonce.to_be_bytes();
    let first = bytes.iter().position(|&byte| byte != 0).unwrap_or(bytes.len() - 1);
    let content = format!("{session_id}{}", hex(&bytes[first..]));
    let content = if as_bytes { unhex(&content)? } else { content.into_bytes() };
    let mut session = [0; BLOCK];
    session.copy_from_slice(&encrypt(key, &content)[..BLOCK]);
    Ok(session)
}

/// Bytes of a block and of a key.
const BLOCK: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// Key and text of the sample in the vendor's document, chapter 4.2.1.
    const SAMPLE_KEY: &str = "A9AB8E82D2D4A60E67C99D3A446D6088";
    const SAMPLE: &str = r#"{"deviceId":"10000001","power":99}"#;
    /// Keys of the sample in the vendor's document, chapter 2.2.5.
    const SECRET: &str = "326086233FAB8A96566796551EB1DFF8";
    const PRODUCT_KEY: &str = "DB6FACEF35BEBA0517712F0E4BE32936";

    #[test]
    fn both_passwords_printed_in_the_document_come_out() {
        for (timestamp, expected) in [
            (
                None,
                "5EB6BBC8DE5233E632389FA3E8E133F14DC0378BDDE5EDD73E64F682A79D14515CF9C8D4C5A0F469AD773DF9F4BFC8F0\
                 5876680DBB4A7CB546B1EE27FF10134B",
            ),
            (
                Some("1675404867"),
                "5EB6BBC8DE5233E632389FA3E8E133F14DC0378BDDE5EDD73E64F682A79D14515CF9C8D4C5A0F469AD773DF9F4BFC8F0\
                 725CDE013D77D74F22A59C33F8FE51622BE8CFAD9396E7811545F61CEDA9E4F9",
            ),
        ] {
            let found = password(&key(SECRET).unwrap(), "AA30C505.20MQTTJ000121", PRODUCT_KEY, timestamp);
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn the_encrypted_payload_begins_as_printed_in_the_document_and_comes_back() {
        let key = key(SAMPLE_KEY).unwrap();
        let secret = encrypt(&key, SAMPLE.as_bytes());
        assert!(hex(&secret).starts_with("CB96395F5065FD121D88B1593EFE"), "{}", hex(&secret));
        // Whole, computed with another implementation; the document prints only the beginning.
        let whole = "cb96395f5065fd121d88b1593efe44ea9c6a716a807b4aea693cc0d0c2984b8b8f8d4f2dc41f8b3d973bdc4ec63ef974";
        assert_eq!(unhex(whole).unwrap(), secret);
        assert_eq!(decrypt(&key, &secret).unwrap(), SAMPLE.as_bytes());
    }

    #[test]
    fn what_cannot_be_decrypted_is_refused_with_its_fault() {
        let check = |key: &str, text: &str, fault: &str| {
            let found = unhex(text).and_then(|secret| decrypt(&super::key(key).unwrap(), &secret)).unwrap_err();
            assert!(found.contains(fault), "{found:?} should name {fault:?}");
        };
        check(SAMPLE_KEY, "CB96395F5065FD121D88B1593EFE", "blocks");
        check(SAMPLE_KEY, "", "blocks");
        check(SAMPLE_KEY, "CB9", "hexadecimal");
        check(SAMPLE_KEY, "ZZ", "hexadecimal");
        check("000102030405060708090A0B0C0D0E0F", &hex(&encrypt(&key(SAMPLE_KEY).unwrap(), b"{}")), "padding");
    }

    #[test]
    fn a_session_key_is_made_of_id_and_nonce() {
        // Computed with another implementation; the document prints no key to its sample session.
        for (id, nonce, as_bytes, expected) in [
            ("4655434B", 128, false, "3F81A97DDA9B30089BB31CE21826E745"),
            ("4655434B", 128, true, "A3BEEAE7477CE0F8753A5BC040212EDB"),
            ("3788433", 4, false, "C722C2DC29BB9B603BF352E651D89071"),
            ("0000ABCD", 0, false, "66C610022467496CBD9B2FC045C73CBE"),
            ("0000ABCD", 300, false, "1DD37D5515843C6B59C96338B1CA7CD3"),
            ("0123456789ABCDEF", 9, false, "97CD3315DCAFB8435B4F614F5FE19DD8"),
        ] {
            let found = session_key(&key(PRODUCT_KEY).unwrap(), id, nonce, as_bytes).unwrap();
            assert_eq!(hex(&found), expected, "{id} {nonce}");
        }
        assert!(session_key(&key(PRODUCT_KEY).unwrap(), "3788433", 4, true).is_err());
    }
}
