//! [`Random`]: numbers for jitter, sampling and message ids, from [`crate::Context::seed`], so that a test can repeat
//! them. Not for keys: who sees a few outputs can compute the others.

/// xoshiro256** 1.0 (Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2018).
#[derive(Clone)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// A generator that is determined by the seed.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| seed[8 * at + i]));
        let state = std::array::from_fn(word);
        // From all zeros only zeros come.
        Self { state: if state == [0; 4] { [GOLDEN, 1, 2, 3] } else { state } }
    }

    /// 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// A number below `bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The bias of this way is below 2^-64 times the bound: nothing for jitter.
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// `value` and up to so many percent more or less; saturates.
    pub fn jitter(&mut self, value: u64, percent: u8) -> u64 {
        let spread = (u128::from(value) * u128::from(percent.min(100)) / 100) as u64;
        let offset = self.below(spread.saturating_mul(2).saturating_add(1));
        (value - spread).saturating_add(offset)
    }

    /// Bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| (self.next_u64() >> 56) as u8)
    }

    /// So many lower-case hexadecimal digits, such as for a message id.
    pub fn hex(&mut self, n_digits: usize) -> String {
        (0..n_digits).map(|_| char::from(HEX[(self.next_u64() >> 60) as usize])).collect()
    }
}

/// Does not show the state, which determines all that follows.
impl std::fmt::Debug for Random {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Random")
    }
}

/// 2^64 divided by the golden ratio: a word with mixed bits.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn gives_the_numbers_of_the_reference_implementation() {
        let mut seed = [0; 32];
        for (at, word) in [1_u64, 2, 3, 4].into_iter().enumerate() {
            seed[8 * at..8 * at + 8].copy_from_slice(&word.to_le_bytes());
        }
        let mut random = Random::new(seed);
        // First outputs of the published C code for the state 1, 2, 3, 4.
        assert_eq!(random.next_u64(), 11520);
        assert_eq!(random.next_u64(), 0);
        assert_eq!(random.next_u64(), 1_509_978_240);
        assert_eq!(random.next_u64(), 1_215_971_899_390_074_240);
    }

    #[test]
    fn a_seed_of_zeros_works() {
        let mut random = Random::new([0; 32]);
        assert_ne!(random.next_u64(), random.next_u64());
    }

    #[test]
    fn hex_has_as_many_digits_as_asked_for() {
        let text = Random::new([3; 32]).hex(17);
        assert_eq!(text.len(), 17);
        assert!(text.bytes().all(|digit| HEX.contains(&digit)), "{text}");
    }

    proptest! {
        #[test]
        fn a_number_below_a_bound_is_below_it(seed: [u8; 32], bound in 1_u64..) {
            prop_assert!(Random::new(seed).below(bound) < bound);
        }

        #[test]
        fn jitter_stays_within_its_percentage(seed: [u8; 32], value in 0_u64..1 << 60, percent in 0_u8..=100) {
            let got = Random::new(seed).jitter(value, percent);
            prop_assert!(u128::from(got.abs_diff(value)) * 100 <= u128::from(value) * u128::from(percent));
        }

        #[test]
        fn no_value_overflows_the_jitter(seed: [u8; 32], value: u64, percent: u8) {
            Random::new(seed).jitter(value, percent);
        }
    }
}
