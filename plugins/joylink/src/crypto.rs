//! Check sums, the cipher of payloads and the key exchange.
//!
//! Invariant: no key can be printed, every key that exists has its full length, and it is zeroed when dropped. Which key
//! opens which packet is left to [`crate::packet`] and the session.
//!
//! Module map: [`crc`] check sums · [`cipher`] AES and the keys of it · [`ecdh`] the key exchange · [`curve`] points of
//! secp160r1.

pub mod cipher;
pub mod crc;
pub mod curve;
pub mod ecdh;

pub use cipher::{CipherError, CipherKey, Key32};
pub use crc::{Crc16, Crc32, crc16, crc32};
pub use ecdh::{KeyPair, PublicKey, PublicKeyError, SharedSecret, ZeroKey};
