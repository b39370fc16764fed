//! Releases of the module, packed as an owner packs them: by the system's `tar`, from the real files.

use std::path::Path;
use std::process::Command;

use crate::rig::RigError;
use crate::rig::binaries::Binaries;
use crate::rig::files::TempDir;

/// What goes into a slot.
#[derive(Debug)]
pub struct Release {
    dir: TempDir,
    names: Vec<String>,
}

impl Release {
    /// With nothing in it.
    pub fn new() -> Result<Self, RigError> {
        let dir = TempDir::new().map_err(|error| RigError::new(format!("temporary directory: {error}")))?;
        Ok(Self { dir, names: Vec::new() })
    }

    /// The real program and the real plugins of these packages.
    pub fn of(binaries: &Binaries, plugins: &[&str]) -> Result<Self, RigError> {
        let mut release = Self::new()?;
        release.copy("polylink", &binaries.polylink)?;
        for package in plugins {
            let file = binaries.plugin(package)?;
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            release.copy(&name, file)?;
        }
        Ok(release)
    }

    /// One whose program is this shell script.
    pub fn of_script(script: &str) -> Result<Self, RigError> {
        let mut release = Self::new()?;
        release.put("polylink", format!("#!/bin/sh\n{script}\n").as_bytes())?;
        Ok(release)
    }

    /// Adds a file.
    pub fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), RigError> {
        std::fs::write(self.dir.path().join(name), bytes).map_err(|error| RigError::new(format!("{name}: {error}")))?;
        self.names.push(name.to_owned());
        Ok(())
    }

    fn copy(&mut self, name: &str, from: &Path) -> Result<(), RigError> {
        let copied = std::fs::copy(from, self.dir.path().join(name));
        copied.map_err(|error| RigError::new(format!("{}: {error}", from.display())))?;
        self.names.push(name.to_owned());
        Ok(())
    }

    /// The image: a tar archive in the ustar format.
    pub fn image(&self) -> Result<Vec<u8>, RigError> {
        let mut tar = Command::new("tar");
        tar.args(["--format=ustar", "-cf", "-", "-C"]).arg(self.dir.path()).args(&self.names);
        let output = tar.output().map_err(|error| RigError::new(format!("tar: {error}")))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(RigError::new(format!("tar: {}: {said}", output.status)));
        }
        Ok(output.stdout)
    }
}
