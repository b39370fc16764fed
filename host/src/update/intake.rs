//! The way of a verified image from where it lies to where it is installed: each byte is hashed again as it passes, since the
//! file may have changed since it was verified.

use std::io::{self, Read};

use super::digest::Digests;
use super::manifest::Facts;

/// Gives as many bytes as were verified to `take`, piece by piece. False: they are not those that were verified, and what was
/// made of them must not count.
///
/// # Errors
/// Those of the image and of `take`.
pub fn pass<E: From<io::Error>>(
    facts: &Facts,
    image: &mut dyn Read,
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<bool, E> {
    let mut digests = Digests::new(&[]);
    let mut image = image.take(facts.size);
    let mut buffer = vec![0; BUFFER];
    loop {
        match image.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                digests.update(&buffer[..n]);
                take(&buffer[..n])?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(digests.n_bytes() == facts.size && digests.sha256() == facts.sha256)
}

/// Bytes that are read at once. Not documented; chosen by us.
const BUFFER: usize = 64 * 1024;
