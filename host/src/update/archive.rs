//! Reads the image of a module: a flat tar archive (POSIX ustar), piece by piece, pure.
//!
//! An archive is program files side by side, because that is all a slot is: no directories, no links, no devices, no
//! name twice. Whatever else is in one is refused by name, so nothing is written outside of the slot.
//!
//! Make one with `tar --format=ustar -cf image.tar polylink libpolylink_deli.so …`.

use std::collections::BTreeSet;
use std::io;

/// What becomes of an archive's files.
pub trait Unpack {
    /// A file begins.
    ///
    /// # Errors
    /// It cannot be written.
    fn begin(&mut self, name: &str) -> io::Result<()>;

    /// Its next bytes.
    ///
    /// # Errors
    /// As for `begin`.
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// It is whole.
    ///
    /// # Errors
    /// As for `begin`.
    fn end(&mut self) -> io::Result<()>;
}

/// Why an archive is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Not an archive.
    #[error("the image is no tar archive in the ustar format: {0}")]
    Malformed(&'static str),
    /// Something that has no place in a slot.
    #[error("the archive has {what} `{name}`; a slot takes plain files, side by side")]
    Entry {
        /// What.
        what: &'static str,
        /// Its name, made printable.
        name: String,
    },
    /// Too many.
    #[error("the archive has more than {FILES_MAX} files")]
    TooMany,
    /// Not all of it came.
    #[error("the archive ends in the middle")]
    Torn,
    /// It cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// See the module.
#[derive(Debug)]
pub struct Archive {
    state: State,
    names: BTreeSet<String>,
}

#[derive(Debug)]
enum State {
    Header(Vec<u8>),
    /// Bytes of the file, then of its padding.
    File {
        rest: u64,
        padding: u64,
    },
    Padding(u64),
    /// The first zero block has come.
    Ended,
}

impl Archive {
    /// At the beginning.
    #[must_use]
    pub fn new() -> Self {
        Self { state: State::Header(Vec::new()), names: BTreeSet::new() }
    }

    /// The next bytes.
    ///
    /// # Errors
    /// [`ArchiveError`]; nothing more can be done with it then.
    pub fn feed(&mut self, mut bytes: &[u8], unpack: &mut dyn Unpack) -> Result<(), ArchiveError> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Header(header) => {
                    let taken = bytes.len().min(BLOCK - header.len());
                    header.extend_from_slice(&bytes[..taken]);
                    bytes = &bytes[taken..];
                    if header.len() == BLOCK {
                        let header = std::mem::take(header);
                        self.state = self.entry(&header, unpack)?;
                    }
                }
                State::File { rest, padding } => {
                    let taken = usize::try_from(*rest).unwrap_or(usize::MAX).min(bytes.len());
                    unpack.bytes(&bytes[..taken])?;
                    bytes = &bytes[taken..];
                    *rest -= taken as u64;
                    if *rest == 0 {
                        unpack.end()?;
                        self.state = padded(*padding);
                    }
                }
                State::Padding(rest) => {
                    let taken = usize::try_from(*rest).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = &bytes[taken..];
                    self.state = padded(*rest - taken as u64);
                }
                State::Ended if bytes.iter().all(|byte| *byte == 0) => return Ok(()),
                State::Ended => return Err(ArchiveError::Malformed("something stands behind its end")),
            }
        }
        Ok(())
    }

    /// Nothing more comes. The names of the files.
    ///
    /// # Errors
    /// [`ArchiveError::Torn`].
    pub fn finish(self) -> Result<BTreeSet<String>, ArchiveError> {
        match self.state {
            State::Ended => Ok(self.names),
            _ => Err(ArchiveError::Torn),
        }
    }

    fn entry(&mut self, header: &[u8], unpack: &mut dyn Unpack) -> Result<State, ArchiveError> {
        if header.iter().all(|byte| *byte == 0) {
            return Ok(State::Ended);
        }
        let malformed = ArchiveError::Malformed;
        let field = |from: usize, len: usize| header.get(from..from + len).unwrap_or_default();
        // GNU tar writes `ustar  ` and means the same for what is taken here.
        if !matches!(field(257, 8), b"ustar\x0000" | b"ustar  \0") {
            return Err(malformed("a header without its magic"));
        }
        let sum = octal(field(148, 8)).ok_or_else(|| malformed("a header without checksum"))?;
        let counted: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
        let own: u64 = field(148, 8).iter().map(|byte| u64::from(*byte)).sum();
        if counted - own + 8 * u64::from(b' ') != sum {
            return Err(malformed("a header with a wrong checksum"));
        }
        let size = octal(field(124, 12)).ok_or_else(|| malformed("a header without size"))?;
        let name = text(field(0, 100));
        let entry = |what| ArchiveError::Entry { what, name: name.escape_ascii().to_string() };
        let name = match header[156] {
            b'0' | 0 if field(257, 8) == b"ustar\x0000" && field(345, 1) != [0] => {
                return Err(entry("a file in a directory"));
            }
            b'0' | 0 => std::str::from_utf8(name).map_err(|_| entry("a name that is not text:"))?,
            // What `tar` writes for the directory that it was called in.
            b'5' if matches!(name, b"." | b"./") && size == 0 => return Ok(State::Header(Vec::new())),
            b'1' | b'2' => return Err(entry("a link")),
            b'5' => return Err(entry("a directory")),
            b'x' | b'g' | b'L' | b'K' => return Err(entry("an extended header for")),
            _ => return Err(entry("a special file")),
        };
        let name = name.strip_prefix("./").unwrap_or(name);
        let is_plain = !name.is_empty() && !name.starts_with('.') && !name.chars().any(|c| c == '/' || c.is_control());
        if !is_plain {
            return Err(entry("a file with the name"));
        }
        if self.names.len() >= FILES_MAX {
            return Err(ArchiveError::TooMany);
        }
        if !self.names.insert(name.to_owned()) {
            return Err(entry("twice a file"));
        }
        unpack.begin(name)?;
        if size == 0 {
            unpack.end()?;
            return Ok(State::Header(Vec::new()));
        }
        let padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        Ok(State::File { rest: size, padding })
    }
}

impl Default for Archive {
    fn default() -> Self {
        Self::new()
    }
}

fn padded(rest: u64) -> State {
    if rest == 0 { State::Header(Vec::new()) } else { State::Padding(rest) }
}

/// Octal digits, ended by a space or a zero byte.
fn octal(field: &[u8]) -> Option<u64> {
    let end = field.iter().position(|byte| matches!(byte, 0 | b' ')).unwrap_or(field.len());
    let digits = std::str::from_utf8(&field[..end]).ok()?;
    if digits.is_empty() || !digits.bytes().all(|byte| matches!(byte, b'0'..=b'7')) {
        return None;
    }
    u64::from_str_radix(digits, 8).ok()
}

fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Bytes of a block (POSIX.1-2017 pax, ustar interchange format).
const BLOCK: usize = 512;

/// Files of one archive. Not documented; chosen by us: a host and its plugins are some ten.
const FILES_MAX: usize = 256;

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Memory {
        files: BTreeMap<String, Vec<u8>>,
        open: Option<(String, Vec<u8>)>,
    }

    impl Unpack for Memory {
        fn begin(&mut self, name: &str) -> io::Result<()> {
            assert!(self.open.replace((name.to_owned(), Vec::new())).is_none());
            Ok(())
        }

        fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.open.as_mut().expect("begun").1.extend_from_slice(bytes);
            Ok(())
        }

        fn end(&mut self) -> io::Result<()> {
            self.files.extend(self.open.take());
            Ok(())
        }
    }

    /// A header as tar writes it.
    fn header(name: &str, size: usize, kind: u8) -> Vec<u8> {
        let mut header = vec![0; BLOCK];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..108].copy_from_slice(b"0000755\0");
        header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        header[156] = kind;
        header[257..265].copy_from_slice(b"ustar\x0000");
        sealed(header)
    }

    fn sealed(mut header: Vec<u8>) -> Vec<u8> {
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        header
    }

    fn entry(name: &str, bytes: &[u8], kind: u8) -> Vec<u8> {
        let padding = (BLOCK - bytes.len() % BLOCK) % BLOCK;
        [&header(name, bytes.len(), kind)[..], bytes, &vec![0; padding]].concat()
    }

    /// An archive with these files.
    pub(crate) fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes: Vec<u8> = files.iter().flat_map(|(name, bytes)| entry(name, bytes, b'0')).collect();
        bytes.resize(bytes.len() + 2 * BLOCK, 0);
        bytes
    }

    fn read(bytes: &[u8], piece: usize) -> Result<BTreeMap<String, Vec<u8>>, String> {
        let (mut archive, mut memory) = (Archive::new(), Memory::default());
        for piece in bytes.chunks(piece) {
            archive.feed(piece, &mut memory).map_err(|error| error.to_string())?;
        }
        let names = archive.finish().map_err(|error| error.to_string())?;
        assert!(names.iter().eq(memory.files.keys()));
        Ok(memory.files)
    }

    #[track_caller]
    fn check(entries: &[Vec<u8>], expected: Result<&[(&str, &[u8])], &str>) {
        let bytes = [entries.concat(), vec![0; 2 * BLOCK]].concat();
        let expected =
            expected.map(|files| files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect());
        for piece in [1, 100, BLOCK, 10_000] {
            assert_eq!(read(&bytes, piece), expected.clone().map_err(str::to_owned));
        }
    }

    #[test]
    fn files_come_out_as_they_went_in() {
        let big = vec![7; 1025];
        let entries = [entry("./", b"", b'5'), entry("polylink", &big, b'0'), entry("./x.so", b"", 0)];
        check(&entries, Ok(&[("polylink", &big), ("x.so", b"")]));
        let mut gnu = header("a", 0, b'0');
        gnu[257..265].copy_from_slice(b"ustar  \0");
        check(&[sealed(gnu)], Ok(&[("a", b"")]));
        check(&[], Ok(&[]));
    }

    #[test]
    fn what_has_no_place_in_a_slot_is_refused_by_name() {
        let wrong =
            |what: &str, name: &str| format!("the archive has {what} `{name}`; a slot takes plain files, side by side");
        for (name, kind, what) in [
            ("../etc/passwd", b'0', "a file with the name"),
            ("/etc/passwd", b'0', "a file with the name"),
            ("a/b", b'0', "a file with the name"),
            (".hidden", b'0', "a file with the name"),
            ("..", b'0', "a file with the name"),
            ("a", b'2', "a link"),
            ("a", b'1', "a link"),
            ("a", b'3', "a special file"),
            ("a", b'6', "a special file"),
            ("a/", b'5', "a directory"),
            ("a", b'x', "an extended header for"),
            ("a", b'L', "an extended header for"),
        ] {
            check(&[entry(name, b"", kind)], Err(&wrong(what, name)));
        }
        check(&[entry("a", b"1", b'0'), entry("./a", b"2", b'0')], Err(&wrong("twice a file", "./a")));
        let mut deep = header("a", 0, b'0');
        deep[345] = b'd';
        check(&[sealed(deep)], Err(&wrong("a file in a directory", "a")));
    }

    #[test]
    fn what_is_no_archive_is_refused() {
        let torn = archive(&[("a", &[1; 600])]);
        for end in [10, BLOCK, BLOCK + 300, BLOCK + 600, 3 * BLOCK] {
            assert_eq!(read(&torn[..end], 64), Err("the archive ends in the middle".to_owned()), "{end}");
        }
        let mut flipped = torn.clone();
        flipped[3] ^= 1;
        let wrong = "the image is no tar archive in the ustar format: a header with a wrong checksum";
        assert_eq!(read(&flipped, 64), Err(wrong.to_owned()));
        assert!(read(&[torn, vec![1]].concat(), 64).is_err());
        assert!(read(b"#!/bin/sh\n", 64).is_err());
        let many: Vec<_> = (0..300).map(|n| n.to_string()).collect();
        let many: Vec<_> = many.iter().map(|name| (name.as_str(), &b""[..])).collect();
        assert_eq!(read(&archive(&many), 9999), Err("the archive has more than 256 files".to_owned()));
    }

    proptest! {
        #[test]
        fn no_bytes_can_panic_the_reader(bytes: Vec<u8>, at in 0..BLOCK, byte: u8) {
            let _ = read(&bytes, 7);
            let mut header = header("a", 3, b'0');
            header[at] = byte;
            let _ = (read(&header, 100), read(&[sealed(header), bytes].concat(), 100));
        }
    }
}
