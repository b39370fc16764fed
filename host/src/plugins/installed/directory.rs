//! Installed plugins on a real file system, one process at a time.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::state::{Release, State};
use super::{BUFFER, Installed, file_name, read_record};
use crate::disk::Directory;
use crate::update::digest::Digests;

/// The installed plugins of a directory, while nobody else has them.
pub struct OpenInstalled {
    /// What is installed.
    pub installed: Installed,
    directory: PathBuf,
    lock: File,
}

impl OpenInstalled {
    /// Opens them; the directory is made if it is not there.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] while another process has them; else as the system says.
    pub fn open(directory: &Path) -> io::Result<Self> {
        Self::locked(directory, |lock| lock.try_lock().map_err(io::Error::from))
    }

    /// The same, but waits for whoever has them.
    ///
    /// # Errors
    /// As the system says.
    pub fn wait(directory: &Path) -> io::Result<Self> {
        Self::locked(directory, File::lock)
    }

    fn locked(directory: &Path, take: impl FnOnce(&File) -> io::Result<()>) -> io::Result<Self> {
        if !directory.is_dir() {
            let parent = directory.parent().unwrap_or(directory);
            fs::create_dir_all(parent)?;
            make(directory)?;
            File::open(parent)?.sync_all()?;
        }
        let lock =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(directory.join(LOCK))?;
        take(&lock)?;
        let installed = Installed::open(Arc::new(Directory::new(directory)))?;
        Ok(Self { installed, directory: directory.to_owned(), lock })
    }

    /// Where a file is.
    #[must_use]
    pub fn path(&self, release: &Release) -> PathBuf {
        path(&self.directory, release)
    }
}

impl Drop for OpenInstalled {
    /// Closing the file is not enough: a child that is just being started has it too, until it is another program.
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

/// What is remembered in a directory, for who changes nothing; empty where nothing is installed.
///
/// # Errors
/// It is there and cannot be read.
pub fn peek(directory: &Path) -> io::Result<State> {
    let state = read_record(&Directory::new(directory))?;
    state.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the record of installed plugins is damaged"))
}

/// SHA-256 of a file, by which a built-in one is known; none: it cannot be read.
#[must_use]
pub fn sha256_of(file: &Path) -> Option<[u8; 32]> {
    let (mut file, mut digests) = (File::open(file).ok()?, Digests::new(&[]));
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Some(digests.sha256()),
            Ok(n) => digests.update(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

/// Where a file of this directory is.
#[must_use]
pub fn path(directory: &Path, release: &Release) -> PathBuf {
    directory.join(file_name(&release.facts))
}

/// Whether this process may write there for the host: what another user makes, the host could not read.
///
/// # Errors
/// Whose it is.
pub fn check_owner(state_dir: &Path) -> Result<(), String> {
    let (Ok(owner), Ok(own)) = (fs::metadata(state_dir), fs::metadata("/proc/self")) else { return Ok(()) };
    if owner.uid() == own.uid() {
        return Ok(());
    }
    let place = state_dir.display();
    Err(format!("{place} belongs to user {}, and this is user {}; the host could not use it", owner.uid(), own.uid()))
}

/// For its owner only: whoever can write there runs code in the host.
fn make(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o700).create(directory)
}

/// Held by whoever has the plugins. Chosen by us.
const LOCK: &str = "lock";
