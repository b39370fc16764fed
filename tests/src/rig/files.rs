//! The configuration directory of one rig.

use std::fmt::Write as _;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::binaries::Binaries;

/// Place of the control socket in the rig's directory.
pub const SOCKET: &str = "run/control.sock";

/// Place of what a device has on tmpfs, in the rig's directory.
pub const RUN: &str = "run";

/// What goes into the directory.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// `[mcu] link`.
    pub link: String,
    /// `[mcu] port`.
    pub port: String,
    /// Key of the product, which names its file.
    pub product_key: String,
    /// The product file: `[product]`, its datapoints, and the sections of its clouds.
    pub product: String,
    /// Libraries that go into the plugin directory, by their packages.
    pub plugins: Vec<String>,
    /// A layer above `host.toml`.
    pub overlay: String,
    /// Further files by their path in the directory.
    pub others: Vec<(String, String)>,
}

impl Files {
    pub(super) fn write(&self, dir: &Path, binaries: &Binaries) -> io::Result<()> {
        for sub in ["products", "conf.d", "plugins", "state"] {
            std::fs::create_dir_all(dir.join(sub))?;
        }
        for package in &self.plugins {
            let from = binaries.plugin(package).map_err(io::Error::other)?;
            let to = dir.join("plugins").join(from.file_name().unwrap_or_default());
            std::fs::copy(from, to)?;
        }
        put(dir, "host.toml", &self.host_toml(dir))?;
        if !self.product.is_empty() {
            put(dir, &format!("products/{}.toml", self.product_key), &self.product)?;
        }
        if !self.overlay.is_empty() {
            put(dir, "conf.d/50-overlay.toml", &self.overlay)?;
        }
        self.others.iter().try_for_each(|(name, text)| put(dir, name, text))
    }

    fn host_toml(&self, dir: &Path) -> String {
        let dir = dir.display();
        let mut text = String::new();
        let _ = writeln!(text, "[host]\nstate_dir = \"{dir}/state\"\n");
        let _ = writeln!(text, "[log]\nlevel = \"info\"\nformat = \"pretty\"\n");
        let _ = writeln!(text, "[mcu]\nlink = \"{}\"\nport = \"{}\"\n", self.link, self.port);
        let _ = writeln!(text, "[plugins]\ndirectories = [\"{dir}/plugins\"]\n");
        // Of the form that every cloud can take.
        let _ = writeln!(text, "[module]\nhardware = \"00000001\"\nsoftware = \"04020006\"\n");
        let _ = writeln!(text, "[control]\nsocket = \"{dir}/{SOCKET}\"");
        text
    }
}

/// Configuration may hold secrets, so it is written for its owner alone, as the host demands.
fn put(dir: &Path, name: &str, text: &str) -> io::Result<()> {
    let path = dir.join(name);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(&path, text)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
}

/// A directory that is removed when dropped.
#[derive(Debug)]
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> io::Result<Self> {
        Self::below(&std::env::temp_dir())
    }

    /// In memory, as `/run` of a device is, where the system has a place for it.
    pub(crate) fn in_memory() -> io::Result<Self> {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Self::below(memory) } else { Self::new() }
    }

    fn below(parent: &Path) -> io::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let path = loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            // Short, because the path of a unix socket has only 107 bytes.
            let path = parent.join(format!("polylink-rig-{}-{number}", std::process::id()));
            match std::fs::create_dir(&path) {
                Ok(()) => break path,
                // Of a process that was killed, and whose number is ours now.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        };
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_in_nobodys_way() {
        let name = |n: u32| format!("polylink-rig-{}-{n}", std::process::id());
        let parent = TempDir::new().expect("there is room");
        // Other tests take numbers meanwhile.
        (0..100).try_for_each(|n| std::fs::create_dir(parent.path().join(name(n)))).expect("there is room");
        let dir = TempDir::below(parent.path()).expect("it finds a name");
        let n_left = std::fs::read_dir(dir.path()).expect("it is a directory").count();
        assert_eq!((n_left, dir.path().parent()), (0, Some(parent.path())));
    }
}
