//! Key agreement on secp160r1, as a textbook has it: affine points and big numbers (JoyLink, 4.3).
//!
//! Slow and not constant in time, which is fine for a simulator and for nothing else.

use std::fmt;

use num_bigint::BigUint;

use super::cipher::Secret;

/// A private number with its point.
#[derive(Clone)]
pub struct KeyPair {
    private: BigUint,
    public: [u8; PUBLIC],
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("public", &self.public).finish_non_exhaustive()
    }
}

impl KeyPair {
    /// Of a private number, which must not be zero.
    pub fn of(private: &[u8; FIELD]) -> Result<Self, String> {
        let private = BigUint::from_bytes_be(private);
        let curve = Curve::new();
        let point = curve.multiply(&private, &curve.generator).ok_or("the private number is zero")?;
        Ok(Self { private, public: curve.compress(&point) })
    }

    /// The point as it is sent: 02 or 03, then x.
    pub fn public(&self) -> &[u8; PUBLIC] {
        &self.public
    }

    /// What both sides then have in common: x of the product, 20 bytes.
    pub fn shared(&self, other: &[u8]) -> Result<[u8; FIELD], String> {
        let curve = Curve::new();
        let other = curve.decompress(other)?;
        let point = curve.multiply(&self.private, &other).ok_or("the product is no point of the plane")?;
        Ok(bytes(&point.x))
    }

    /// The key for messages to and from the owner of a point.
    pub fn agree(&self, other: &[u8]) -> Result<Secret, String> {
        self.shared(other).map(|shared| Secret::agreed(&shared))
    }
}

/// The point behind 21 bytes, or why there is none: x and y, 20 bytes each.
pub fn decompress(compressed: &[u8]) -> Result<([u8; FIELD], [u8; FIELD]), String> {
    let point = Curve::new().decompress(compressed)?;
    Ok((bytes(&point.x), bytes(&point.y)))
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Point {
    x: BigUint,
    y: BigUint,
}

struct Curve {
    p: BigUint,
    a: BigUint,
    b: BigUint,
    generator: Point,
}

impl Curve {
    fn new() -> Self {
        let number = |digits: &str| BigUint::parse_bytes(digits.as_bytes(), 16).unwrap_or_default();
        Self { p: number(P), a: number(A), b: number(B), generator: Point { x: number(GX), y: number(GY) } }
    }

    /// `None` is the point at infinity.
    fn multiply(&self, by: &BigUint, point: &Point) -> Option<Point> {
        let mut product = None;
        for bit in (0..by.bits()).rev() {
            product = self.add(product.as_ref(), product.as_ref());
            if by.bit(bit) {
                product = self.add(product.as_ref(), Some(point));
            }
        }
        product
    }

    fn add(&self, one: Option<&Point>, other: Option<&Point>) -> Option<Point> {
        let (Some(one), Some(other)) = (one, other) else { return one.or(other).cloned() };
        let slope = if one.x != other.x {
            self.divide(self.minus(&other.y, &one.y), &self.minus(&other.x, &one.x))
        } else if one.y == other.y && one.y != BigUint::ZERO {
            self.divide(BigUint::from(3_u8) * &one.x * &one.x + &self.a, &(BigUint::from(2_u8) * &one.y))
        } else {
            return None;
        };
        let x = self.minus(&(&slope * &slope % &self.p), &((&one.x + &other.x) % &self.p));
        let y = self.minus(&(&slope * self.minus(&one.x, &x) % &self.p), &one.y);
        Some(Point { x, y })
    }

    /// Both below p.
    fn minus(&self, from: &BigUint, what: &BigUint) -> BigUint {
        (from + &self.p - what) % &self.p
    }

    /// By something that is not zero: p is a prime, so it has an inverse.
    fn divide(&self, what: BigUint, by: &BigUint) -> BigUint {
        what * by.modinv(&self.p).unwrap_or_default() % &self.p
    }

    fn compress(&self, point: &Point) -> [u8; PUBLIC] {
        let mut compressed = [0; PUBLIC];
        compressed[0] = if point.y.bit(0) { 3 } else { 2 };
        compressed[1..].copy_from_slice(&bytes(&point.x));
        compressed
    }

    fn decompress(&self, compressed: &[u8]) -> Result<Point, String> {
        let (odd, x) = match compressed {
            [2, x @ ..] if x.len() == FIELD => (false, x),
            [3, x @ ..] if x.len() == FIELD => (true, x),
            _ => return Err("a point is 02 or 03 and 20 bytes".to_owned()),
        };
        let x = BigUint::from_bytes_be(x);
        if x >= self.p {
            return Err("x is not below p".to_owned());
        }
        let square = (&x * &x * &x + &self.a * &x + &self.b) % &self.p;
        let root = square.modpow(&((&self.p + 1_u8) >> 2), &self.p);
        if &root * &root % &self.p != square {
            return Err("no point has this x".to_owned());
        }
        let y = if root.bit(0) == odd { root } else { self.minus(&BigUint::ZERO, &root) };
        Ok(Point { x, y })
    }
}

/// Big-endian, with leading zeros.
fn bytes(number: &BigUint) -> [u8; FIELD] {
    let digits = number.to_bytes_be();
    let mut bytes = [0; FIELD];
    bytes[FIELD - digits.len()..].copy_from_slice(&digits);
    bytes
}

/// Bytes of a coordinate.
const FIELD: usize = 20;
/// Bytes of a point as it is sent.
pub const PUBLIC: usize = 21;
/// secp160r1 (SEC 2).
const P: &str = "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF7FFFFFFF";
const A: &str = "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF7FFFFFFC";
const B: &str = "1C97BEFC54BD7A8B65ACF89F81D4D4ADC565FA45";
const GX: &str = "4A96B5688EF573284664698968C38BB913CBFC82";
const GY: &str = "23A628553168947D59DCC912042351377AC5FB32";
