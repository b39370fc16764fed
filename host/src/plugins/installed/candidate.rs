//! A file that somebody wants installed: opened, bounded, and held against the owner's policy.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::file_name;
use crate::config::ProductKey;
use crate::plugins::discover::{check_parent, check_trust_of};
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
        let verified = verified.map_err(|why: Rejected| format!("{}: {why}", self.path.display()))?;
        if verified.manifest().is_none() {
            // Nobody has signed for what is in it, so the file and where it lies must say who can have written it.
            let metadata = self.file.metadata().map_err(|error| format!("{}: {error}", self.path.display()))?;
            let checked = check_trust_of(&self.path, &metadata).and_then(|()| check_parent(&self.path));
            checked.map_err(|error| error.to_string())?;
        }
        Ok(verified)
    }

    /// What the owner signed it for; none: no owner did.
    #[must_use]
    pub fn target(&self, policy: &Policy) -> Option<Target> {
        let manifest = self.contents.manifest.as_deref()?;
        policy.authentic(manifest).ok().map(|manifest| manifest.target)
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn verify(candidate: &Candidate) -> Result<Verified, String> {
        let policy = Policy { require_manifest: false, keys: Vec::new(), allow_downgrade: false };
        candidate.verify(&policy, &ProductKey::parse("lamp").expect("a key"), 0)
    }

    #[track_caller]
    fn check(path: &Path, max_bytes: u64, expected: Result<&str, &str>) {
        let found = Candidate::open(path, max_bytes).and_then(|candidate| verify(&candidate));
        let found = found.map(|proof| described(&proof));
        let text = found.as_ref().unwrap_or_else(|why| why);
        assert!(found.is_ok() == expected.is_ok() && text.contains(expected.unwrap_or_else(|why| why)), "{text}");
    }

    #[test]
    fn a_file_that_nobody_signed_must_be_one_that_nobody_else_can_have_written() {
        let directory = std::env::temp_dir().join(format!("polylink-candidate-{}", std::process::id()));
        let file = directory.join("libx.so");
        let allow = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
        fs::create_dir_all(&directory).expect("writable");
        allow(&directory, 0o755);
        fs::write(&file, b"image").expect("writable");
        allow(&file, 0o644);
        check(&file, 5, Ok("5 bytes, no manifest"));
        check(&file, 4, Err("it has 5 bytes, [update] max_bytes is 4"));
        allow(&file, 0o666);
        check(&file, 5, Err("is writable for everybody"));
        // Another file in its place does not speak for the one that was opened.
        let opened = Candidate::open(&file, 5).expect("small");
        fs::remove_file(&file).expect("ours");
        fs::write(&file, b"image").expect("writable");
        allow(&file, 0o644);
        assert!(verify(&opened).is_err_and(|why| why.contains("is writable for everybody")));
        allow(&directory, 0o777);
        check(&file, 5, Err("is writable for everybody"));
        check(&directory, 5, Err("it is no file"));
        check(Path::new("/dev/zero"), 5, Err("it is no file"));
        check(&directory.join("gone"), 5, Err("No such file"));
        fs::remove_dir_all(&directory).expect("ours");
    }
}
