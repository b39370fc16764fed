//! The curve, judged by the textbook: affine points, one rule for doubling and one for adding, long division.

use crypto_bigint::{NonZero, U384};
use hex_literal::hex;
use proptest::prelude::*;

use super::*;

/// Affine, `None` is the zero of the group. Slow, and of no secret.
type Textbook = Option<(U384, U384)>;

fn p() -> NonZero<U384> {
    let p = U384::from_be_slice(&[&[0; 28][..], &hex!("ffffffffffffffffffffffffffffffff7fffffff")].concat());
    NonZero::new(p).unwrap()
}

fn times(a: &U384, b: &U384) -> U384 {
    // Both are below 2^160, so the product fits.
    a.wrapping_mul(b).rem_vartime(&p())
}

fn minus(a: &U384, b: &U384) -> U384 {
    a.wrapping_add(&p()).wrapping_sub(b).rem_vartime(&p())
}

fn inverse(a: &U384) -> U384 {
    let exponent = p().get().wrapping_sub(&U384::from(2_u8));
    (0..160).rev().fold(U384::ONE, |power, bit| {
        let square = times(&power, &power);
        if exponent.bit_vartime(bit) { times(&square, a) } else { square }
    })
}

fn textbook_add(left: Textbook, right: Textbook) -> Textbook {
    let (Some((x1, y1)), Some((x2, y2))) = (left, right) else { return left.or(right) };
    let slope = if x1 != x2 {
        times(&minus(&y2, &y1), &inverse(&minus(&x2, &x1)))
    } else if y1 == y2 {
        let three = U384::from(3_u8);
        times(&minus(&times(&three, &times(&x1, &x1)), &three), &inverse(&times(&U384::from(2_u8), &y1)))
    } else {
        return None;
    };
    let x3 = minus(&minus(&times(&slope, &slope), &x1), &x2);
    Some((x3, minus(&times(&slope, &minus(&x1, &x3)), &y1)))
}

fn textbook_multiply(point: Textbook, scalar: &Bytes) -> Textbook {
    let bits = scalar.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1));
    bits.fold(None, |product, bit| {
        let product = textbook_add(product, product);
        if bit { textbook_add(product, point) } else { product }
    })
}

fn of(point: &Point) -> Textbook {
    let wide = |bytes: Bytes| U384::from_be_slice(&[&[0; 28][..], &bytes].concat());
    point.affine().map(|(x, y)| (wide(x), wide(y)))
}

fn scalar(value: u64) -> Bytes {
    let mut bytes = [0; WIDTH];
    bytes[WIDTH - 8..].copy_from_slice(&value.to_be_bytes());
    bytes
}

/// The order of the group less one, halved, so that it fits a scalar: n = 2h + 1.
const HALF_ORDER: Bytes = hex!("80000000 00000000 0000fa64 7c93d769 e53a912b");

#[test]
fn doubling_adding_and_multiplying_agree_for_the_first_multiples() {
    let generator = Point::generator();
    let mut sum = Point::ZERO;
    for factor in 0..20 {
        assert_eq!(of(&generator.multiply(&scalar(factor))), of(&sum), "{factor}");
        sum = sum.add(&generator);
    }
}

#[test]
fn the_order_of_the_group_times_a_point_is_zero() {
    let generator = Point::generator();
    let half = generator.multiply(&HALF_ORDER);
    let almost = half.add(&half);
    assert!(almost.affine().is_some());
    assert_eq!(almost.affine().unwrap().0, generator.affine().unwrap().0, "n - 1 times G is G, mirrored");
    assert_eq!(almost.add(&generator).affine(), None);
}

#[test]
fn zero_changes_no_point_and_is_no_point() {
    let generator = Point::generator();
    assert_eq!(generator.add(&Point::ZERO).affine(), generator.affine());
    assert_eq!(Point::ZERO.add(&generator).affine(), generator.affine());
    assert_eq!(Point::ZERO.add(&Point::ZERO).affine(), None);
    assert_eq!(Point::ZERO.multiply(&[0xFF; WIDTH]).affine(), None);
    assert_eq!(generator.multiply(&[0; WIDTH]).affine(), None);
}

#[test]
fn an_x_that_no_point_has_or_above_the_modulus_is_refused() {
    assert!(Point::decompress(&scalar(7), false).is_none());
    assert!(Point::decompress(&hex!("ffffffffffffffffffffffffffffffff7fffffff"), false).is_none());
    assert!(Point::decompress(&[0xFF; WIDTH], true).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn multiples_are_those_of_the_textbook(base in prop::array::uniform20(any::<u8>()), factor in prop::array::uniform20(any::<u8>())) {
        let point = Point::generator().multiply(&base);
        prop_assert_eq!(of(&point), textbook_multiply(of(&Point::generator()), &base));
        prop_assert_eq!(of(&point.multiply(&factor)), textbook_multiply(of(&point), &factor));
    }

    #[test]
    fn sums_are_those_of_the_textbook(left: u64, right: u64) {
        let (left, right) = (Point::generator().multiply(&scalar(left)), Point::generator().multiply(&scalar(right)));
        prop_assert_eq!(of(&left.add(&right)), textbook_add(of(&left), of(&right)));
        prop_assert_eq!(of(&left.add(&left)), textbook_add(of(&left), of(&left)));
    }

    #[test]
    fn a_point_comes_back_from_one_coordinate_and_a_sign(factor in prop::array::uniform20(1_u8..)) {
        let (x, y) = Point::generator().multiply(&factor).affine().unwrap();
        let odd = y[WIDTH - 1] & 1 == 1;
        prop_assert_eq!(Point::decompress(&x, odd).and_then(|point| point.affine()), Some((x, y)));
        let mirrored = Point::decompress(&x, !odd).unwrap();
        prop_assert_eq!(mirrored.add(&Point::decompress(&x, odd).unwrap()).affine(), None);
    }
}
