//! A file that somebody wants installed: opened, bounded, and held against the owner's policy.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::file_name;
use crate::config::ProductKey;
use crate::update::manifest::{Device, Policy, Rejected, Target, Verified};
use crate::update::trailer::{self, Contents};

/// See the module.
#[derive(Debug)]
pub struct Candidate {
    /// The file, at its beginning.
    pub file: File,
    contents: Contents,
    path: PathBuf,
}

impl Candidate {
    /// Opens and hashes it.
    ///
    /// # Errors
    /// For a person: it is no file, too large, or cannot be read.
    pub fn open(path: &Path, max_bytes: u64) -> Result<Self, String> {
        let told = |error: std::io::Error| format!("{}: {error}", path.display());
        // A FIFO without a writer must not hold anybody up.
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(told)?;
        let metadata = file.metadata().map_err(told)?;
        if !metadata.is_file() {
            return Err(format!("{}: it is no file", path.display()));
        }
        if metadata.len() > max_bytes {
            let size = metadata.len();
            return Err(format!("{}: it has {size} bytes, [update] max_bytes is {max_bytes}", path.display()));
        }
        let contents = trailer::read(&mut file).map_err(told)?;
        file.seek(SeekFrom::Start(0)).map_err(told)?;
        Ok(Self { file, contents, path: path.to_owned() })
    }

    /// Whether it may be installed as a plugin of this product. Which plugin it is, is known only when it is loaded, and
    /// nothing is loaded that did not pass here; so this is asked a second time, with that plugin's counter.
    ///
    /// # Errors
    /// For a person: why not.
    pub fn verify(&self, policy: &Policy, product: &ProductKey, floor: u64) -> Result<Verified, String> {
        let device = Device { product, target: Target::Plugin, floor };
        let verified = policy.verify(&device, self.contents.manifest.as_deref(), &self.contents.image);
        verified.map_err(|why: Rejected| format!("{}: {why}", self.path.display()))
    }

    /// What it will be called.
    #[must_use]
    pub fn file_name(&self) -> String {
        file_name(&self.contents.image)
    }
}

/// What is proven, in words for a person.
#[must_use]
pub fn described(proof: &Verified) -> String {
    let size = proof.facts().size;
    match proof.manifest() {
        Some(manifest) => format!("{size} bytes, version {}, counter {}, signed", manifest.version, manifest.counter),
        None => format!("{size} bytes, no manifest, and none is required"),
    }
}
