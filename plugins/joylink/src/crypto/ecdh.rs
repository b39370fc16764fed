//! The key exchange of authorizations (encryption mode 2): ECDH on secp160r1, public keys as compressed points.

use polylink_plugin_sdk::hex;
use polylink_plugin_sdk::secret::Secret;

use super::CipherKey;
use super::curve::{Bytes, Point, WIDTH};

/// A point of the curve that was checked to be one, as it travels.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; Self::LEN]);

impl PublicKey {
    /// Bytes on the wire: the sign of y, and x.
    pub const LEN: usize = 1 + WIDTH;

    /// Reads a compressed point. As the group has a prime order, every point but zero, which has no such form, will do.
    ///
    /// # Errors
    /// See [`PublicKeyError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PublicKeyError> {
        let key = Self(bytes.try_into().map_err(|_| PublicKeyError::Length(bytes.len()))?);
        if !matches!(key.0[0], EVEN | ODD) {
            return Err(PublicKeyError::Sign(key.0[0]));
        }
        key.decompress().map(|_| key).ok_or(PublicKeyError::NoPoint)
    }

    /// Reads the member `devkey`: 42 hex digits of either case.
    ///
    /// # Errors
    /// See [`PublicKeyError`].
    pub fn from_text(text: &str) -> Result<Self, PublicKeyError> {
        Self::from_bytes(&hex::decode(text).ok_or(PublicKeyError::Digits)?)
    }

    /// The 21 bytes that an `opt` carries.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The member `devkey`: 42 lower-case hex digits.
    #[must_use]
    pub fn to_text(&self) -> String {
        hex::lower(&self.0)
    }

    /// Both coordinates.
    #[must_use]
    pub fn coordinates(&self) -> (Bytes, Bytes) {
        self.point().affine().expect("a point made of coordinates has some")
    }

    fn of(point: &Point) -> Self {
        let (x, y) = point.affine().expect("a scalar from 1 to below the order times a point is never zero");
        let mut bytes = [EVEN | y[WIDTH - 1] & 1; Self::LEN];
        bytes[1..].copy_from_slice(&x);
        Self(bytes)
    }

    fn point(&self) -> Point {
        self.decompress().expect("a public key was checked when it was made")
    }

    fn decompress(&self) -> Option<Point> {
        let [sign, x @ ..] = &self.0;
        Point::decompress(x, *sign == ODD)
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({})", self.to_text())
    }
}

/// Why bytes are no public key. Checked in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// As a text: not pairs of hex digits.
    #[error("the public key is not hexadecimal")]
    Digits,
    /// Other than 21 bytes.
    #[error("a public key has 21 bytes, not {0}")]
    Length(usize),
    /// Neither 2 nor 3.
    #[error("a public key begins with 2 or 3, not {0}")]
    Sign(u8),
    /// The coordinate is not below the modulus, or no point has it.
    #[error("the public key is no point of the curve")]
    NoPoint,
}

/// Zero is no private key. With 20 random bytes it happens once in 2^160 times: a broken random number generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("zero is no private key")]
pub struct ZeroKey;

/// A private key and the public key that belongs to it.
#[derive(Clone, Debug)]
pub struct KeyPair {
    private: Secret<Bytes>,
    public: PublicKey,
}

impl KeyPair {
    /// Makes a pair of 20 bytes, which must come from a generator that is fit for keys, or from storage. All of them but
    /// zero are below the order of the group, which has 161 bits.
    ///
    /// # Errors
    /// The bytes are all zero.
    pub fn new(private: Bytes) -> Result<Self, ZeroKey> {
        let private = Secret::new(private);
        // Not with `==`, which may take a time that depends on the bytes.
        if private.expose().iter().fold(0, |bits, byte| bits | byte) == 0 {
            return Err(ZeroKey);
        }
        let public = PublicKey::of(&Point::generator().multiply(private.expose()));
        Ok(Self { private, public })
    }

    /// The private key, to be stored.
    #[must_use]
    pub const fn private(&self) -> &Secret<Bytes> {
        &self.private
    }

    /// The public key.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// What both sides get from their own pair and the other's public key.
    #[must_use]
    pub fn agree(&self, other: &PublicKey) -> SharedSecret {
        let point = other.point().multiply(self.private.expose());
        let (x, _) = point.affine().expect("a scalar from 1 to below the order times a point is never zero");
        SharedSecret(Secret::new(x))
    }
}

/// The x coordinate that both sides know, with its leading zeros and not hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedSecret(Secret<Bytes>);

impl SharedSecret {
    /// Takes the bytes.
    #[must_use]
    pub const fn new(bytes: Bytes) -> Self {
        Self(Secret::new(bytes))
    }

    /// Shows the bytes to who needs them.
    #[must_use]
    pub const fn expose(&self) -> &Bytes {
        self.0.expose()
    }

    /// What it encrypts with: the first 16 bytes are the key, the last 16 the first block, so that they overlap (JoyLink
    /// V1.79, encryption mode 2).
    #[must_use]
    pub fn cipher_key(&self) -> CipherKey {
        let bytes = self.expose();
        let key = bytes.first_chunk().expect("20 bytes begin with 16");
        CipherKey::new(*key, *bytes.last_chunk().expect("20 bytes end in 16"))
    }
}

/// First byte of a compressed point whose y is even (SEC 1 version 2.0, section 2.3.3).
const EVEN: u8 = 2;

/// And of one whose y is odd.
const ODD: u8 = 3;

#[cfg(test)]
mod tests {
    use hex_literal::hex;
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: Result<(), PublicKeyError>) {
        assert_eq!(PublicKey::from_text(text).map(|_| ()), expected, "{text}");
    }

    #[test]
    fn a_public_key_is_judged_by_digits_length_sign_and_curve() {
        check("03c82278b495d24631a27975e65110ec7098275ff4", Ok(()));
        check("03C82278B495D24631A27975E65110EC7098275FF4", Ok(()));
        check("03c82278b495d24631a27975e65110ec7098275ff", Err(PublicKeyError::Digits));
        check("03c82278b495d24631a27975e65110ec7098275f", Err(PublicKeyError::Length(20)));
        check("", Err(PublicKeyError::Length(0)));
        check("04c82278b495d24631a27975e65110ec7098275ff4", Err(PublicKeyError::Sign(4)));
        check("00c82278b495d24631a27975e65110ec7098275ff4", Err(PublicKeyError::Sign(0)));
        check("020000000000000000000000000000000000000007", Err(PublicKeyError::NoPoint));
        check("02ffffffffffffffffffffffffffffffff7fffffff", Err(PublicKeyError::NoPoint));
    }

    #[test]
    fn zero_is_no_private_key_and_no_private_key_is_shown() {
        assert_eq!(KeyPair::new([0; WIDTH]).unwrap_err(), ZeroKey);
        let pair = KeyPair::new(hex!("0000000000000000000000000000000000000001")).unwrap();
        let shown = format!("{pair:?}");
        assert!(shown.contains("private: <secret>") && shown.contains(&pair.public().to_text()), "{shown}");
        assert_eq!(format!("{:?}", pair.agree(pair.public())), "SharedSecret(<secret>)");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn both_sides_agree(a in prop::array::uniform20(any::<u8>()), b in prop::array::uniform20(any::<u8>())) {
            prop_assume!(a != [0; WIDTH] && b != [0; WIDTH]);
            let (a, b) = (KeyPair::new(a).unwrap(), KeyPair::new(b).unwrap());
            prop_assert_eq!(a.agree(b.public()), b.agree(a.public()));
            prop_assert_eq!(PublicKey::from_bytes(a.public().as_bytes()), Ok(*a.public()));
            prop_assert_eq!(PublicKey::from_text(&a.public().to_text()), Ok(*a.public()));
        }

        #[test]
        fn no_bytes_can_panic_the_point_decoder(bytes in prop::collection::vec(any::<u8>(), 0..24), sign in 2_u8..4, x: [u8; WIDTH]) {
            let _ = PublicKey::from_bytes(&bytes);
            let mut point = vec![sign];
            point.extend(x);
            if let Ok(key) = PublicKey::from_bytes(&point) {
                prop_assert_eq!(key.coordinates().0, x);
            }
        }
    }
}
