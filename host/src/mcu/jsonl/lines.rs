//! Splits a stream of bytes into lines of bounded length.

/// Collects a line. Holds at most [`MAX_LINE_BYTES`].
#[derive(Debug, Default)]
pub(super) struct Lines {
    line: Vec<u8>,
    /// The line was too long and is passed over to its end.
    skipping: bool,
}

/// A line longer than [`MAX_LINE_BYTES`]; it is passed over to the next newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line of more than {MAX_LINE_BYTES} bytes is passed over")]
pub(super) struct TooLong;

impl Lines {
    /// Takes bytes; `found` gets the complete lines without their end. Blank lines are passed over.
    pub(super) fn push(&mut self, bytes: &[u8], mut found: impl FnMut(Result<Vec<u8>, TooLong>)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            if !self.skipping && self.line.len() + text.len() > MAX_LINE_BYTES {
                self.skipping = true;
                self.line.clear();
                found(Err(TooLong));
            }
            if !self.skipping {
                self.line.extend_from_slice(text);
            }
            if ends {
                let line = std::mem::take(&mut self.line);
                if !std::mem::take(&mut self.skipping) && !line.trim_ascii().is_empty() {
                    found(Ok(line));
                }
            }
        }
    }

    /// Bytes held.
    pub(super) fn queued_bytes(&self) -> usize {
        self.line.len()
    }
}

/// Longest line without its end. Not documented; chosen by us: more than a microcontroller holds.
pub(super) const MAX_LINE_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn split(bytes: &[u8], size: usize) -> Vec<Result<Vec<u8>, TooLong>> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for piece in bytes.chunks(size) {
            lines.push(piece, |line| found.push(line));
            assert!(lines.queued_bytes() <= MAX_LINE_BYTES);
        }
        found
    }

    #[test]
    fn lines_come_without_their_ends_and_blank_ones_not_at_all() {
        let found = split(b"{}\r\n\n \r\n{\"a\":1}\nrest", 100);
        assert_eq!(found, [Ok(b"{}\r".to_vec()), Ok(b"{\"a\":1}".to_vec())]);
    }

    #[test]
    fn a_line_that_is_too_long_is_told_once_and_the_next_is_whole() {
        let bytes = [vec![b'x'; 3 * MAX_LINE_BYTES], b"\n{}\n".to_vec()].concat();
        for size in [1000, MAX_LINE_BYTES, usize::MAX] {
            assert_eq!(split(&bytes, size), [Err(TooLong), Ok(b"{}".to_vec())]);
        }
    }

    #[test]
    fn a_line_of_just_the_longest_length_is_taken() {
        let bytes = [vec![b'x'; MAX_LINE_BYTES], b"\n".to_vec()].concat();
        assert_eq!(split(&bytes, 1), [Ok(vec![b'x'; MAX_LINE_BYTES])]);
    }

    proptest::proptest! {
        #[test]
        fn pieces_of_any_size_split_as_the_whole(bytes: Vec<u8>, size in 1_usize..9) {
            let bytes: Vec<_> = bytes.iter().map(|byte| if byte % 7 == 0 { b'\n' } else { *byte }).collect();
            proptest::prop_assert_eq!(split(&bytes, size), split(&bytes, usize::MAX));
        }
    }
}
