//! Numbers and pieces in as few bytes as they need: LEB128, as in Protocol Buffers.

/// Adds a whole number, seven bits a byte, the lowest first.
pub(super) fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Adds a whole number that may be negative; small ones are short.
pub(super) fn put_signed(bytes: &mut Vec<u8>, number: i64) {
    put(bytes, (number << 1 ^ number >> 63) as u64);
}

/// Adds a piece with its length.
pub(super) fn put_piece(bytes: &mut Vec<u8>, piece: &[u8]) {
    put(bytes, piece.len() as u64);
    bytes.extend_from_slice(piece);
}

/// Adds ascending numbers as runs: how far from the end of the one before, how long.
pub(super) fn put_runs(bytes: &mut Vec<u8>, numbers: &[u64]) {
    let runs: Vec<&[u64]> = numbers.chunk_by(|a, b| a.checked_add(1) == Some(*b)).collect();
    put(bytes, runs.len() as u64);
    let mut end = 0;
    for run in runs {
        put(bytes, run[0].wrapping_sub(end));
        put(bytes, run.len() as u64);
        end = run[run.len() - 1];
    }
}

/// Reads what was put; none as soon as something cannot be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    pub fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if bits << shift >> shift != bits {
                return None;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    pub fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    pub fn small(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    pub fn piece(&mut self) -> Option<&'a [u8]> {
        let n = usize::try_from(self.number()?).ok()?;
        let (piece, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(piece)
    }

    pub fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.piece()?).ok()
    }

    /// As many things as a number says, which is not believed before they are there.
    pub fn list<T>(&mut self, one: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        (0..self.number()?).map(|_| one(self)).collect()
    }

    pub fn runs(&mut self) -> Option<Vec<u64>> {
        let mut numbers = Vec::new();
        let mut end = 0u64;
        for _ in 0..self.number()? {
            let first = end.wrapping_add(self.number()?);
            let n = self.number()?;
            // A run takes two bytes however long it is, so what it unfolds to has a limit of its own.
            if n == 0 || numbers.len() as u64 + n > NUMBERS_MAX {
                return None;
            }
            end = first.checked_add(n - 1)?;
            numbers.extend(first..=end);
        }
        Some(numbers)
    }
}

/// Most numbers in runs: more reports than any journal holds (`journal.max_reports`).
const NUMBERS_MAX: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_put_is_read(number: u64, signed: i64, piece: Vec<u8>, mut numbers: Vec<u64>) {
            numbers.sort_unstable();
            numbers.dedup();
            let mut bytes = Vec::new();
            put(&mut bytes, number);
            put_signed(&mut bytes, signed);
            put_piece(&mut bytes, &piece);
            put_runs(&mut bytes, &numbers);
            let mut reader = Reader(&bytes);
            prop_assert_eq!(reader.number(), Some(number));
            prop_assert_eq!(reader.signed(), Some(signed));
            prop_assert_eq!(reader.piece(), Some(&piece[..]));
            prop_assert_eq!(reader.runs(), Some(numbers));
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn no_bytes_can_panic_the_reader(bytes: Vec<u8>) {
            let _ = (Reader(&bytes).number(), Reader(&bytes).text(), Reader(&bytes).runs());
            let _ = Reader(&bytes).list(Reader::piece);
        }
    }

    #[test]
    fn small_numbers_are_short_and_a_long_run_is_no_trap() {
        let mut bytes = Vec::new();
        put(&mut bytes, 127);
        put_signed(&mut bytes, -64);
        assert_eq!(bytes.len(), 2);
        let mut bytes = vec![1, 1];
        put(&mut bytes, u64::MAX / 2);
        assert_eq!(Reader(&bytes).runs(), None);
    }
}
