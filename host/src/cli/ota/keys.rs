//! Private keys of owners: PKCS#8 in PEM, as `openssl genpkey -algorithm ed25519` writes them too.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;

use crate::config::source::read_text;
use crate::update::manifest::PublicKey;

/// A private key. Never shown.
pub struct PrivateKey(Vec<u8>);

/// A new one.
pub(super) fn generate() -> Result<PrivateKey, String> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| format!("there is no randomness: {error}"))?;
    Ok(PrivateKey([&PKCS8[..], &seed].concat()))
}

/// From a file.
pub(super) fn read(file: &Path) -> Result<PrivateKey, String> {
    let text = read_text(file, KEY_MAX).map_err(|error| format!("{}: {error}", file.display()))?;
    let key = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes())
        .map_err(|_| format!("{}: no private key in PEM (PKCS#8)", file.display()))?;
    let key = PrivateKey(key.secret_pkcs8_der().to_vec());
    key.pair().map_err(|why| format!("{}: {why}", file.display()))?;
    Ok(key)
}

impl PrivateKey {
    /// What signs.
    pub(super) fn pair(&self) -> Result<Ed25519KeyPair, String> {
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(&self.0).map_err(|_| "no Ed25519 key".to_owned())
    }

    /// What goes into `[update] keys`.
    pub(super) fn public(&self) -> Result<PublicKey, String> {
        let pair = self.pair()?;
        let bytes = pair.public_key().as_ref().try_into().map_err(|_| "no Ed25519 key".to_owned())?;
        PublicKey::of(bytes).ok_or_else(|| "a key that anybody can sign with".to_owned())
    }

    /// As it is stored.
    pub(super) fn pem(&self) -> String {
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(&self.0))
    }
}

/// What stands before the 32 bytes of an Ed25519 key (RFC 8410 7, version 1, without the public key: OpenSSL reads no
/// other).
const PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Longest file of a key. Not documented; chosen by us.
const KEY_MAX: u64 = 16 * 1024;
