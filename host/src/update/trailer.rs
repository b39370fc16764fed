//! How a manifest travels: behind the image, in the same file, because every cloud delivers exactly one file.
//!
//! A signed file is the image, the manifest, the manifest's length (4 bytes, big endian) and `PLMANIF1`. What is installed
//! is the image alone; the digests of clouds are over the whole file.

use std::io::{self, Read, Seek, SeekFrom};

use super::digest::Digests;
use super::manifest::{Facts, MANIFEST_MAX};

/// What a file is made of, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Of the image, without what is behind it.
    pub image: Facts,
    /// What is behind it, without the footer.
    pub manifest: Option<Vec<u8>>,
}

/// Where the image ends in a file of this size, and its manifest, by the last bytes of the file: [`TAIL_MAX`] of them, or
/// all. None: there is no manifest.
#[must_use]
pub fn split(size: u64, tail: &[u8]) -> Option<(u64, &[u8])> {
    let (rest, magic) = tail.split_last_chunk::<8>()?;
    let (rest, length) = rest.split_last_chunk::<4>()?;
    if magic != MAGIC {
        return None;
    }
    let length = usize::try_from(u32::from_be_bytes(*length)).ok().filter(|length| *length <= MANIFEST_MAX)?;
    let (_, manifest) = rest.split_at_checked(rest.len().checked_sub(length)?)?;
    Some((size.checked_sub((length + FOOTER) as u64)?, manifest))
}

/// What goes behind the image.
#[must_use]
pub fn trailer(manifest: &[u8]) -> Vec<u8> {
    // No manifest is longer than `MANIFEST_MAX`; a longer one would not be found again, which is a refusal.
    let length = u32::try_from(manifest.len()).unwrap_or(u32::MAX);
    [manifest, &length.to_be_bytes(), MAGIC].concat()
}

/// Reads a file once: looks for a manifest at its end and hashes the image before it.
///
/// # Errors
/// The reader's; [`io::ErrorKind::UnexpectedEof`] if the file shrinks meanwhile.
pub fn read(file: &mut (impl Read + Seek)) -> io::Result<Contents> {
    let size = file.seek(SeekFrom::End(0))?;
    let tail_size = size.min(TAIL_MAX as u64);
    file.seek(SeekFrom::Start(size - tail_size))?;
    let mut tail = Vec::new();
    file.take(tail_size).read_to_end(&mut tail)?;
    let (image_size, manifest) = match split(size, &tail) {
        Some((image_size, manifest)) => (image_size, Some(manifest.to_vec())),
        None => (size, None),
    };
    file.seek(SeekFrom::Start(0))?;
    let mut digests = Digests::new(&[]);
    let mut buffer = vec![0; BUFFER];
    while digests.n_bytes() < image_size {
        let wanted = usize::try_from(image_size - digests.n_bytes()).unwrap_or(BUFFER).min(BUFFER);
        match file.read(&mut buffer[..wanted]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => digests.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Contents { image: Facts { size: image_size, sha256: digests.sha256() }, manifest })
}

/// Last bytes of a signed file; the digit is the version of the layout. Chosen by us.
const MAGIC: &[u8; 8] = b"PLMANIF1";

/// Length and magic.
const FOOTER: usize = 4 + MAGIC.len();

/// So many bytes at the end of a file have its manifest, if it has one.
pub const TAIL_MAX: usize = MANIFEST_MAX + FOOTER;

/// Bytes read at once. Not documented; chosen by us.
const BUFFER: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(file: &[u8], image: &[u8], manifest: Option<&[u8]>) {
        let mut digests = Digests::new(&[]);
        digests.update(image);
        let image = Facts { size: image.len() as u64, sha256: digests.sha256() };
        let expected = Contents { image, manifest: manifest.map(<[u8]>::to_vec) };
        assert_eq!(read(&mut Cursor::new(file)).expect("memory can be read"), expected);
    }

    #[test]
    fn a_signed_file_is_the_image_and_what_is_signed_about_it() {
        check(b"imagemanifest\0\0\0\x08PLMANIF1", b"image", Some(b"manifest"));
        check(b"manifest\0\0\0\x08PLMANIF1", b"", Some(b"manifest"));
        check(b"image\0\0\0\0PLMANIF1", b"image", Some(b""));
    }

    #[test]
    fn a_file_without_a_whole_trailer_is_all_image() {
        for file in
            [&b""[..], b"image", b"PLMANIF1", b"\0\0\0\x01PLMANIF1", b"image\0\0\x40\0PLMANIF1", b"m\0\0\0\x01PLMANIF2"]
        {
            check(file, file, None);
        }
    }

    proptest! {
        #[test]
        fn image_and_manifest_survive_the_file(image: Vec<u8>, manifest in proptest::collection::vec(any::<u8>(), 0..=MANIFEST_MAX)) {
            check(&[&image[..], &trailer(&manifest)].concat(), &image, Some(&manifest));
        }

        #[test]
        fn no_bytes_can_panic_the_search(size: u64, tail: Vec<u8>, length: u32) {
            let _ = split(size, &tail);
            let _ = split(size, &[&tail[..], &length.to_be_bytes(), MAGIC].concat());
        }
    }
}
