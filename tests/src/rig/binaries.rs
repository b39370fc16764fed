//! The real `polylink` and the real `.so` files: built by cargo in the profile of this run, or taken from a directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use serde_json::Value as Json;

use super::RigError;

/// Where the built files are.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// The host.
    pub polylink: PathBuf,
    /// Plugins by the names of their libraries, such as `polylink_deli`.
    pub plugins: BTreeMap<String, PathBuf>,
}

/// What becomes of cargo's own progress lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// They go to standard error as they come.
    Shown,
    /// They are shown only if the build fails.
    Kept,
}

impl Binaries {
    /// The host and the plugins of these packages, built once per process and set of packages. With `POLYLINK_BIN_DIR`
    /// set, nothing is built and that directory must hold them.
    pub fn of(packages: &[&str], progress: Progress) -> Result<Self, RigError> {
        static BUILT: Mutex<BTreeMap<Vec<String>, Binaries>> = Mutex::new(BTreeMap::new());
        let key: Vec<String> = packages.iter().map(|&package| package.to_owned()).collect();
        // Held while building: two tests that want the same files build them once.
        let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(binaries) = built.get(&key) {
            return Ok(binaries.clone());
        }
        let binaries = match std::env::var_os("POLYLINK_BIN_DIR") {
            Some(dir) => Self::in_directory(Path::new(&dir))?,
            None => Self::build(packages, progress)?,
        };
        built.insert(key, binaries.clone());
        Ok(binaries)
    }

    /// Takes the plugins of a directory instead of those of the same name that were built.
    pub fn with_plugins_of(mut self, dir: &Path) -> Result<Self, RigError> {
        let failed = |error| RigError::new(format!("plugins in {}: {error}", dir.display()));
        for entry in std::fs::read_dir(dir.canonicalize().map_err(failed)?).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if let Some(name) = library_name(&path) {
                self.plugins.insert(name, path);
            }
        }
        Ok(self)
    }

    /// The library of a package's plugin, such as `polylink-deli`.
    pub fn plugin(&self, package: &str) -> Result<&Path, RigError> {
        let name = package.replace('-', "_");
        let found = self.plugins.get(&name).map(PathBuf::as_path);
        found.ok_or_else(|| RigError::new(format!("no lib{name}.so among the built files: {:?}", self.plugins.keys())))
    }

    /// Bytes of the host and the plugins of these packages together.
    pub fn bytes(&self, packages: &[&str]) -> Result<u64, RigError> {
        let mut files = vec![self.polylink.as_path()];
        for package in packages {
            files.push(self.plugin(package)?);
        }
        let sizes = files.into_iter().map(|file| {
            let size = std::fs::metadata(file).map(|metadata| metadata.len());
            size.map_err(|error| RigError::new(format!("{}: {error}", file.display())))
        });
        sizes.sum()
    }

    fn in_directory(dir: &Path) -> Result<Self, RigError> {
        let failed = |error| RigError::new(format!("POLYLINK_BIN_DIR {}: {error}", dir.display()));
        let dir = dir.canonicalize().map_err(failed)?;
        let polylink = dir.join("polylink");
        if !polylink.is_file() {
            return Err(RigError::new(format!("POLYLINK_BIN_DIR {} holds no polylink", dir.display())));
        }
        Self { polylink, plugins: BTreeMap::new() }.with_plugins_of(&dir)
    }

    fn build(packages: &[&str], progress: Progress) -> Result<Self, RigError> {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(["build", "--message-format=json-render-diagnostics", "--manifest-path"]).arg(MANIFEST);
        command.args(["-p", "polylink"]);
        for package in packages {
            command.args(["-p", package]);
        }
        // What cargo tells a test of its package makes build scripts run again, here and after the next `cargo test`.
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_a_package(&name.to_string_lossy())) {
            command.env_remove(name);
        }
        if !cfg!(debug_assertions) {
            command.arg("--release");
        }
        command.stdout(Stdio::piped()).stderr(if progress == Progress::Shown {
            Stdio::inherit()
        } else {
            Stdio::piped()
        });
        let output = command.output().map_err(|error| RigError::new(format!("cargo: {error}")))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(RigError::new(format!("cargo build of {packages:?}: {}\n{said}", output.status)));
        }
        let mut polylink = None;
        let mut plugins = BTreeMap::new();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let Ok(message) = serde_json::from_str::<Json>(line) else { continue };
            if let Some(executable) = message["executable"].as_str().filter(|path| path.ends_with("/polylink")) {
                polylink = Some(PathBuf::from(executable));
            }
            // Procedural macros are libraries too; they lie in `deps`.
            let kinds = message["target"]["crate_types"].as_array();
            if kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind == "cdylib")) {
                let files = message["filenames"].as_array().into_iter().flatten().filter_map(Json::as_str);
                plugins.extend(files.map(PathBuf::from).filter_map(|path| Some((library_name(&path)?, path))));
            }
        }
        let polylink = polylink.ok_or_else(|| RigError::new("cargo built no executable polylink"))?;
        Ok(Self { polylink, plugins })
    }
}

/// Whether cargo sets this variable for the package whose program it runs.
fn is_of_a_package(name: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"]
        .iter()
        .any(|start| name.starts_with(start))
}

/// `deli` of `/somewhere/libdeli.so`.
fn library_name(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_str()?.strip_prefix("lib")?.strip_suffix(".so")?.to_owned())
}

const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
