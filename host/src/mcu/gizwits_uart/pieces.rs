//! Cuts an image into the pieces of a transfer: blocks of one size, or the lines of an Intel HEX file. Pure; it asks for
//! the bytes that it needs.

use crate::mcu::transfer::Image;

use super::frame::MAX_PAYLOAD;

/// The pieces of one image, in their order.
#[derive(Debug)]
pub(super) struct Pieces {
    image_size: u32,
    max_len: usize,
    /// Number of the last piece.
    last_no: u16,
    /// What was asked for and has not come.
    asked: Option<(u32, usize)>,
    cut: Cut,
}

#[derive(Debug)]
enum Cut {
    Blocks { count: u16, block: Option<Vec<u8>> },
    Lines(Lines),
}

#[derive(Debug, Default)]
struct Lines {
    /// Bytes of the file that came and are in no line yet; at most [`READ_LEN`] and a line.
    unread: Vec<u8>,
    /// Where the first byte after `unread` stands in the file.
    read_to: u32,
    /// A line that waits until it is known whether another one follows.
    held: Option<Line>,
}

#[derive(Debug)]
struct Line {
    text: Vec<u8>,
    end: u32,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// These bytes are needed first.
    Bytes { offset: u32, len: usize },
    /// This piece.
    Piece(Piece),
}

/// One piece.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Flags of its frame.
    pub flags: u16,
    /// Payload of its frame: number, count, data.
    pub payload: Vec<u8>,
    /// How much of the image is sent with it.
    pub end: u32,
    pub is_last: bool,
}

impl Pieces {
    /// Pieces of at most so many bytes, 0: 256; as lines, or as blocks.
    pub fn new(image: &Image, as_lines: bool, max_len: u16) -> Result<Self, String> {
        let max_len = if max_len == 0 { DEFAULT_LEN } else { usize::from(max_len) }.min(MAX_PAYLOAD - HEAD_LEN);
        let cut = if as_lines {
            Cut::Lines(Lines::default())
        } else {
            let count = (image.size as usize).div_ceil(max_len);
            let count = u16::try_from(count).map_err(|_| {
                format!("it would be {count} pieces of {max_len} bytes, and {} is the most there can be", u16::MAX)
            })?;
            Cut::Blocks { count, block: None }
        };
        Ok(Self { image_size: image.size, max_len, last_no: 0, asked: None, cut })
    }

    /// The piece after the last one, or what is needed for it. Not to be asked after the last piece.
    pub fn next(&mut self) -> Result<Next, String> {
        let (no, image_size, max_len) = (self.last_no, self.image_size, self.max_len);
        let next = match &mut self.cut {
            Cut::Blocks { count, block } => {
                let offset = u32::from(no) * max_len as u32;
                let len = max_len.min((image_size - offset.min(image_size)) as usize);
                match block.take() {
                    None => Next::Bytes { offset, len },
                    Some(block) => {
                        let (end, is_last) = (offset + block.len() as u32, no + 1 == *count);
                        Next::Piece(Piece { flags: 0, payload: payload(no + 1, *count, &block), end, is_last })
                    }
                }
            }
            Cut::Lines(lines) => match lines.next(image_size, max_len)? {
                LineNext::Bytes { offset, len } => Next::Bytes { offset, len },
                LineNext::Line(Line { text, end }, is_last) => {
                    let no = no.checked_add(1).ok_or_else(|| format!("it has more than {} lines", u16::MAX))?;
                    let flags = if is_last { FLAG_LINE | FLAG_LAST_LINE } else { FLAG_LINE };
                    Next::Piece(Piece { flags, payload: payload(no, 0, &text), end, is_last })
                }
            },
        };
        match &next {
            Next::Bytes { offset, len } => self.asked = Some((*offset, *len)),
            Next::Piece(_) => self.last_no += 1,
        }
        Ok(next)
    }

    /// Takes bytes; false if they are not those that were asked for.
    pub fn take(&mut self, offset: u32, bytes: &[u8]) -> Result<bool, String> {
        let Some((_, len)) = self.asked.take_if(|(asked, _)| *asked == offset) else { return Ok(false) };
        if bytes.len() != len {
            return Err(format!("{} bytes from offset {offset} were given, {len} were wanted", bytes.len()));
        }
        match &mut self.cut {
            Cut::Blocks { block, .. } => *block = Some(bytes.to_vec()),
            Cut::Lines(lines) => {
                lines.unread.extend_from_slice(bytes);
                lines.read_to = offset + len as u32;
            }
        }
        Ok(true)
    }

    /// Bytes held.
    pub fn queued_bytes(&self) -> usize {
        match &self.cut {
            Cut::Blocks { block, .. } => block.as_ref().map_or(0, Vec::len),
            Cut::Lines(lines) => lines.unread.len() + lines.held.as_ref().map_or(0, |line| line.text.len()),
        }
    }
}

enum LineNext {
    Bytes {
        offset: u32,
        len: usize,
    },
    /// With whether it is the last one.
    Line(Line, bool),
}

impl Lines {
    fn next(&mut self, image_size: u32, max_len: usize) -> Result<LineNext, String> {
        loop {
            match self.cut(image_size, max_len)? {
                Some(line) => {
                    if let Some(before) = self.held.replace(line) {
                        return Ok(LineNext::Line(before, false));
                    }
                }
                None if self.read_to < image_size => {
                    let len = READ_LEN.min((image_size - self.read_to) as usize);
                    return Ok(LineNext::Bytes { offset: self.read_to, len });
                }
                None => {
                    let last = self.held.take().ok_or_else(|| "it has no line".to_owned())?;
                    return Ok(LineNext::Line(last, true));
                }
            }
        }
    }

    /// The next whole line; none: more bytes are needed, or there are no more lines. Empty lines are passed over.
    fn cut(&mut self, image_size: u32, max_len: usize) -> Result<Option<Line>, String> {
        let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let blank = self.unread.iter().take_while(|byte| is_end(byte)).count();
        self.unread.drain(..blank);
        let len = match self.unread.iter().position(is_end) {
            Some(len) => len,
            None if self.unread.is_empty() => return Ok(None),
            None if self.read_to >= image_size || self.unread.len() > LINE_LEN_MAX => self.unread.len(),
            None => return Ok(None),
        };
        let text: Vec<u8> = self.unread.drain(..len).collect();
        let end = self.read_to - self.unread.len() as u32;
        let is_record = text.len() <= LINE_LEN_MAX && text[0] == b':' && text[1..].iter().all(u8::is_ascii_hexdigit);
        if !is_record {
            return Err(format!("what ends at byte {end} is no record of Intel HEX"));
        }
        if text.len() > max_len {
            return Err(format!("a line has {} characters, the MCU takes {max_len}", text.len()));
        }
        Ok(Some(Line { text, end }))
    }
}

fn payload(no: u16, count: u16, data: &[u8]) -> Vec<u8> {
    [&no.to_be_bytes()[..], &count.to_be_bytes(), data].concat()
}

/// Length of a piece where the MCU names none (Gizwits serial protocol, big-data ready).
const DEFAULT_LEN: usize = 256;

/// Number and count before the data (Gizwits serial protocol, big-data piece).
const HEAD_LEN: usize = 4;

// Flags of a piece (Gizwits serial protocol, firmware transfer).
const FLAG_LINE: u16 = 0x0001;
const FLAG_LAST_LINE: u16 = 0x0002;

/// Longest record: a colon, and in two characters each a length, two bytes of address, a type, 255 bytes and a checksum
/// (Intel Hexadecimal Object File Format Specification, revision A).
const LINE_LEN_MAX: usize = 1 + 2 * (1 + 2 + 1 + 255 + 1);

/// Bytes of a HEX file that are asked for at a time. Not documented; chosen by us: some twenty usual lines.
const READ_LEN: usize = 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::vectors;
    use super::*;
    use crate::mcu::transfer::ImageFormat;

    /// All pieces of a file, whose bytes are given as they are asked for.
    fn cut(file: &[u8], as_lines: bool, max_len: u16) -> Result<Vec<Piece>, String> {
        let image = Image { size: file.len() as u32, md5: [0; 16], format: ImageFormat::Binary };
        let mut pieces = Pieces::new(&image, as_lines, max_len)?;
        let mut found = Vec::new();
        loop {
            match pieces.next()? {
                Next::Bytes { offset, len } => {
                    assert!(len > 0, "nothing is asked for in vain");
                    assert!(pieces.take(offset, &file[offset as usize..][..len])?);
                }
                Next::Piece(piece) => {
                    let is_last = piece.is_last;
                    found.push(piece);
                    if is_last {
                        return Ok(found);
                    }
                }
            }
            assert!(pieces.queued_bytes() <= READ_LEN + 2 * LINE_LEN_MAX + MAX_PAYLOAD);
        }
    }

    /// The lines of a text, each with whether it says that it is the last.
    #[track_caller]
    fn check_lines(text: &str, expected: &[(&str, bool)]) {
        let pieces = cut(text.as_bytes(), true, 0).unwrap();
        let found: Vec<_> = pieces
            .iter()
            .map(|piece| {
                assert_eq!((piece.flags & FLAG_LINE, &piece.payload[2..4]), (FLAG_LINE, &[0, 0][..]));
                (std::str::from_utf8(&piece.payload[4..]).unwrap(), piece.flags & FLAG_LAST_LINE != 0)
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[track_caller]
    fn check_refused(file: &[u8], as_lines: bool, max_len: u16, why: &str) {
        let error = cut(file, as_lines, max_len).unwrap_err();
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn lines_go_without_their_ends_and_the_last_one_says_so() {
        check_lines(":0101\r\n:0202\r\n:00000001FF\r\n", &[(":0101", false), (":0202", false), (":00000001FF", true)]);
        check_lines(":01", &[(":01", true)]);
        check_lines("\n\r\n:01\n\n\r\n:02\n\n\n", &[(":01", false), (":02", true)]);
        let trailing = format!(":01\n:02{}", "\r\n".repeat(5000));
        check_lines(&trailing, &[(":01", false), (":02", true)]);
    }

    #[test]
    fn the_recorded_lines_are_numbered_and_flagged_as_recorded() {
        let vectors = ["ser-040", "ser-041"].map(vectors::named);
        let payloads = vectors.each_ref().map(|vector| vectors::unhex(vector.payload_hex.as_ref().unwrap()));
        let lines = payloads.each_ref().map(|payload| std::str::from_utf8(&payload[4..]).unwrap());
        let text = ":00\r\n".repeat(6) + lines[0] + "\r\n" + lines[1] + "\r\n";
        let found = cut(text.as_bytes(), true, 128).unwrap();
        for ((piece, payload), vector) in found[6..].iter().zip(&payloads).zip(&vectors) {
            assert_eq!((&piece.payload, Some(piece.flags)), (payload, vector.flags), "{}", vector.id);
        }
    }

    #[test]
    fn what_is_no_intel_hex_is_refused() {
        check_refused(b"", true, 0, "has no line");
        check_refused(b"\r\n\r\n", true, 0, "has no line");
        check_refused(b"hello\n", true, 0, "no record");
        check_refused(b":01\x1A\n", true, 0, "no record");
        check_refused(&[b'A'; 3000], true, 0, "no record");
        check_refused(&[b":".as_slice(), &[b'0'; 3000]].concat(), true, 0, "no record");
        check_refused(b":0123456789\n", true, 10, "has 11 characters, the MCU takes 10");
        check_refused(&b":00\n".repeat(65_536), true, 0, "more than 65535 lines");
    }

    #[test]
    fn an_image_of_more_blocks_than_can_be_numbered_is_refused() {
        check_refused(&[0; 65_536], false, 1, "65536 pieces of 1 bytes");
        assert_eq!(cut(&[0; 65_535], false, 1).unwrap().len(), 65_535);
    }

    #[test]
    fn a_block_is_never_longer_than_a_frame() {
        let found = cut(&[7; 10_000], false, u16::MAX).unwrap();
        assert_eq!(found.iter().map(|piece| piece.payload.len()).collect::<Vec<_>>(), [4096, 4096, 1820]);
    }

    #[test]
    fn bytes_that_were_not_asked_for_change_nothing() {
        let image = Image { size: 10, md5: [0; 16], format: ImageFormat::Binary };
        let mut pieces = Pieces::new(&image, false, 4).unwrap();
        assert_eq!(pieces.take(0, &[1; 4]), Ok(false));
        assert_eq!(pieces.next(), Ok(Next::Bytes { offset: 0, len: 4 }));
        assert_eq!(pieces.take(4, &[1; 4]), Ok(false));
        assert!(pieces.take(0, &[1; 3]).unwrap_err().contains("3 bytes from offset 0 were given, 4 were wanted"));
    }

    /// What an Intel HEX file is made of, and what it is not.
    fn any_part() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            4 => (1..60_usize).prop_map(|n| [b":".as_slice(), &b"0A".repeat(n), b"\r\n"].concat()),
            2 => (0..40_usize).prop_map(|n| b"\n".repeat(n)),
            1 => prop_oneof![Just(b":00".to_vec()), Just(vec![0xFF]), (1..900_usize).prop_map(|n| b":0".repeat(n))],
        ]
    }

    proptest! {
        #[test]
        fn blocks_put_together_are_the_file(file in prop::collection::vec(any::<u8>(), 1..2000), max_len in 0..700_u16) {
            let pieces = cut(&file, false, max_len).unwrap();
            let data: Vec<u8> = pieces.iter().flat_map(|piece| piece.payload[4..].to_vec()).collect();
            prop_assert_eq!(data, file);
            for (index, piece) in pieces.iter().enumerate() {
                prop_assert_eq!(&piece.payload[..4], &payload(index as u16 + 1, pieces.len() as u16, &[])[..]);
                prop_assert_eq!(piece.flags, 0);
            }
        }

        #[test]
        fn no_file_panics_or_hangs_the_cutting_of_lines(parts in prop::collection::vec(any_part(), 0..60)) {
            let file = parts.concat();
            let _ = cut(&file, true, 0);
        }
    }
}
