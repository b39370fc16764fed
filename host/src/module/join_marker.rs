//! A file that says that a network was handed over and not seen since: the program that joins it may restart the
//! module. It holds no name and no password.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The file.
#[derive(Clone, Debug)]
pub struct JoinMarker {
    directory: PathBuf,
}

impl JoinMarker {
    /// In the host's directory of state.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Whether it is there.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.path().exists()
    }

    /// Makes it, whole and lasting.
    ///
    /// # Errors
    /// The system's.
    pub fn set(&self) -> io::Result<()> {
        if !self.directory.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        }
        let new = self.directory.join(format!("{NAME}.new"));
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.sync_all()?;
        fs::rename(&new, self.path())?;
        File::open(&self.directory)?.sync_all()
    }

    /// Removes it.
    ///
    /// # Errors
    /// The system's; none if it is not there.
    pub fn clear(&self) -> io::Result<()> {
        match fs::remove_file(self.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => File::open(&self.directory)?.sync_all(),
        }
    }

    /// Where it lies.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn path(&self) -> PathBuf {
        self.directory.join(NAME)
    }
}

/// Name of the file. Chosen by us.
const NAME: &str = "network-join-pending";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_is_made_for_its_owner_and_goes_away_again() {
        let directory = std::env::temp_dir().join(format!("polylink-join-marker-{}", std::process::id()));
        let marker = JoinMarker::new(&directory);
        assert!(!marker.is_set() && marker.clear().is_ok());
        marker.set().unwrap();
        marker.set().unwrap();
        assert!(marker.is_set());
        assert_eq!(fs::metadata(marker.path()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "nothing is left beside it");
        marker.clear().unwrap();
        assert!(!marker.is_set());
        fs::remove_dir_all(&directory).unwrap();
    }
}
