//! Points of secp160r1 (SEC 2 version 1.0, section 2.4.2), as much as the key exchange needs.
//!
//! Points are projective, and added by one formula that is right for all pairs of them (Renes, Costello and Batina,
//! "Complete addition formulas for prime order elliptic curves", algorithm 4), so nothing branches on what is secret.

use crypto_bigint::modular::ConstMontyParams;
use crypto_bigint::{Choice, CtAssign, CtEq, U192, const_monty_form, const_monty_params};

const_monty_params!(Modulus, U192, "00000000ffffffffffffffffffffffffffffffff7fffffff", "2^160 - 2^31 - 1.");
const_monty_form!(Field, Modulus, "A number of the field, which has 2^160 - 2^31 - 1 of them.");

/// A coordinate or a scalar, big end first.
pub type Bytes = [u8; WIDTH];

/// A point, or the zero of their group.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    x: Field,
    y: Field,
    z: Field,
}

impl Point {
    /// The zero of the group.
    pub const ZERO: Self = Self { x: Field::ZERO, y: Field::ONE, z: Field::ZERO };

    /// The point that public keys are multiples of.
    #[must_use]
    pub const fn generator() -> Self {
        let x = Field::new(&U192::from_be_hex("000000004a96b5688ef573284664698968c38bb913cbfc82"));
        let y = Field::new(&U192::from_be_hex("0000000023a628553168947d59dcc912042351377ac5fb32"));
        Self { x, y, z: Field::ONE }
    }

    /// The point with this x coordinate whose y coordinate is odd or even; `None` if x is not below the modulus, or no
    /// point has it. Takes a time that depends on the point, which is public.
    #[must_use]
    pub fn decompress(x: &Bytes, odd: bool) -> Option<Self> {
        let x = integer(x);
        if x >= *Field::MODULUS.as_ref() {
            return None;
        }
        let x = Field::new(&x);
        let three = Field::ONE.double().add(&Field::ONE);
        let square = x.square().sub(&three).mul(&x).add(&B);
        let root = square.pow_vartime(&ROOT_EXPONENT);
        if root.square() != square {
            return None;
        }
        let y = if root.retrieve().is_odd().to_bool() == odd { root } else { root.neg() };
        // The root of 0 is even only. No point has it: the group's order is odd.
        (y.retrieve().is_odd().to_bool() == odd).then_some(Self { x, y, z: Field::ONE })
    }

    /// Sum of two points.
    #[must_use]
    pub fn add(&self, other: &Self) -> Self {
        let xx = self.x.mul(&other.x);
        let yy = self.y.mul(&other.y);
        let zz = self.z.mul(&other.z);
        let xy_pairs = self.x.add(&self.y).mul(&other.x.add(&other.y)).sub(&xx.add(&yy));
        let yz_pairs = self.y.add(&self.z).mul(&other.y.add(&other.z)).sub(&yy.add(&zz));
        let xz_pairs = self.x.add(&self.z).mul(&other.x.add(&other.z)).sub(&xx.add(&zz));

        let bzz3 = triple(&xz_pairs.sub(&B.mul(&zz)));
        let (yy_minus, yy_plus) = (yy.sub(&bzz3), yy.add(&bzz3));
        let zz3 = triple(&zz);
        let bxz3 = triple(&B.mul(&xz_pairs).sub(&zz3.add(&xx)));
        let xx3_minus_zz3 = triple(&xx).sub(&zz3);

        Self {
            x: yy_plus.mul(&xy_pairs).sub(&yz_pairs.mul(&bxz3)),
            y: yy_plus.mul(&yy_minus).add(&xx3_minus_zz3.mul(&bxz3)),
            z: yy_minus.mul(&yz_pairs).add(&xy_pairs.mul(&xx3_minus_zz3)),
        }
    }

    /// The point so many times, with the same steps for all scalars: each bit doubles, adds, and keeps the sum or not.
    #[must_use]
    pub fn multiply(&self, scalar: &Bytes) -> Self {
        let mut product = Self::ZERO;
        for byte in scalar {
            for bit in (0..8).rev() {
                product = product.add(&product);
                let sum = product.add(self);
                product.assign(&sum, Choice::from_u8_lsb(byte >> bit));
            }
        }
        product
    }

    /// Both coordinates; `None` for the zero of the group, which has none.
    #[must_use]
    pub fn affine(&self) -> Option<(Bytes, Bytes)> {
        // Fermat: the inverse of z. It takes the same time for every z.
        let inverse = self.z.pow(&INVERSE_EXPONENT);
        let coordinate = |product: &Field| bytes(&product.mul(&inverse).retrieve());
        (!self.z.ct_eq(&Field::ZERO).to_bool()).then(|| (coordinate(&self.x), coordinate(&self.y)))
    }

    fn assign(&mut self, other: &Self, choice: Choice) {
        self.x.ct_assign(&other.x, choice);
        self.y.ct_assign(&other.y, choice);
        self.z.ct_assign(&other.z, choice);
    }
}

fn triple(value: &Field) -> Field {
    value.double().add(value)
}

fn integer(bytes: &Bytes) -> U192 {
    let mut wide = [0; U192::BYTES];
    wide[U192::BYTES - WIDTH..].copy_from_slice(bytes);
    U192::from_be_slice(&wide)
}

fn bytes(integer: &U192) -> Bytes {
    let wide = integer.to_be_bytes();
    *wide.as_ref().last_chunk().expect("192 bits are more than 160")
}

/// Bytes of a coordinate, and of a private key.
pub const WIDTH: usize = 20;

/// The curve is y² = x³ - 3x + b.
const B: Field = Field::new(&U192::from_be_hex("000000001c97befc54bd7a8b65acf89f81d4d4adc565fa45"));

/// (p + 1) / 4, by which roots are taken, as p is 3 modulo 4.
const ROOT_EXPONENT: U192 = U192::from_be_hex("000000003fffffffffffffffffffffffffffffffe0000000");

/// p - 2.
const INVERSE_EXPONENT: U192 = U192::from_be_hex("00000000ffffffffffffffffffffffffffffffff7ffffffd");

#[cfg(test)]
#[path = "curve_tests.rs"]
mod tests;
