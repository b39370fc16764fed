//! The owner of a product: makes a key and signs images with the real `polylink ota`, as a person would.

use std::path::Path;
use std::process::Command;

use crate::rig::RigError;
use crate::rig::binaries::Binaries;
use crate::rig::files::TempDir;

/// An owner with a key of its own, which nobody else has.
#[derive(Debug)]
pub struct Owner {
    binaries: Binaries,
    dir: TempDir,
    public_key: String,
}

impl Owner {
    /// Makes the key.
    pub fn new(binaries: &Binaries) -> Result<Self, RigError> {
        let dir = TempDir::new().map_err(|error| RigError::new(format!("temporary directory: {error}")))?;
        let mut owner = Self { binaries: binaries.clone(), dir, public_key: String::new() };
        owner.public_key = owner.ota(&["keygen", &owner.path("owner.pem")])?;
        Ok(owner)
    }

    /// For `update.keys` of a device that is to trust this owner.
    pub fn public_key(&self) -> &str {
        &self.public_key
    }

    /// The image with its manifest behind it: one file, as a cloud delivers it. Target: `module`, `mcu` or `subdevice`.
    pub fn sign(
        &self,
        image: &[u8],
        product: &str,
        target: &str,
        version: &str,
        counter: u64,
    ) -> Result<Vec<u8>, RigError> {
        let (file, out) = (self.path("image"), self.path("signed"));
        let failed = |error| RigError::new(format!("signing: {error}"));
        std::fs::write(&file, image).map_err(failed)?;
        let key = format!("key={}", self.path("owner.pem"));
        let (product, target) = (format!("product={product}"), format!("target={target}"));
        let (version, counter) = (format!("version={version}"), format!("counter={counter}"));
        self.ota(&["sign", &file, &out, &key, &product, &target, &version, &counter])?;
        std::fs::read(out).map_err(failed)
    }

    fn path(&self, name: &str) -> String {
        Path::join(self.dir.path(), name).display().to_string()
    }

    /// `polylink ota …`; what it prints.
    fn ota(&self, words: &[&str]) -> Result<String, RigError> {
        let output = Command::new(&self.binaries.polylink).arg("ota").args(words).output();
        let output = output.map_err(|error| RigError::new(format!("polylink ota {words:?}: {error}")))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(RigError::new(format!("polylink ota {words:?}: {}: {said}", output.status)));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}
