//! Which plugin files there are: only in the configured directories, only files that nobody but root or we ourselves
//! could have put there, in a fixed order. Nothing is opened here.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a search found.
#[derive(Debug, Default)]
pub struct Found {
    /// Files by plugin name; the first directory that has a name wins.
    pub files: BTreeMap<String, PathBuf>,
    /// Directories and files that were passed over, and why.
    pub passed_over: Vec<DiscoverError>,
}

/// Why a directory or file is not used.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// Not absolute.
    #[error("plugin directory `{0}` is not an absolute path")]
    Relative(PathBuf),
    /// Cannot be read.
    #[error("cannot read `{path}`: {error}")]
    Unreadable {
        /// What.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Somebody else could have changed it.
    #[error("`{path}` is {how}; whoever may write there could run code in this process")]
    Untrusted {
        /// What.
        path: PathBuf,
        /// `owned by user 1000, not by root or user 33`, `writable for everybody`, …
        how: String,
    },
    /// Too many.
    #[error("`{0}` holds more than {FILES_MAX} plugins; the others are not looked at")]
    TooMany(PathBuf),
}

/// Looks for `lib<name>.so` in these directories. In the name of a file, a leading `polylink_` does not count and `_`
/// stands for `-`: `libpolylink_deli.so` is `deli`.
#[must_use]
pub fn discover(directories: &[PathBuf]) -> Found {
    let mut found = Found::default();
    for directory in directories {
        if let Err(error) = search(directory, &mut found) {
            found.passed_over.push(error);
        }
    }
    found
}

/// Whether this file may be loaded: owned by root or by our own user, and not writable for others.
///
/// # Errors
/// Why not.
pub fn check_trust(path: &Path) -> Result<(), DiscoverError> {
    check_trust_of(path, &metadata(path)?)
}

/// The same of a file that is open, whatever lies at its path meanwhile.
///
/// # Errors
/// Why not.
pub fn check_trust_of(path: &Path, metadata: &Metadata) -> Result<(), DiscoverError> {
    let ours = fs::metadata("/proc/self").map_or(0, |own| own.uid());
    match distrust(metadata, ours) {
        None => Ok(()),
        Some(how) => Err(DiscoverError::Untrusted { path: path.to_owned(), how }),
    }
}

/// Whether nobody else may put another file in this one's place: its directory is not writable for others, or has the
/// sticky bit, as `/tmp` has. A file that is named by its path may lie anywhere else.
///
/// # Errors
/// Why not.
pub fn check_parent(path: &Path) -> Result<(), DiscoverError> {
    let Some(directory) = path.parent() else { return Ok(()) };
    let how = "writable for everybody";
    match metadata(directory)?.mode() & (WRITABLE_FOR_OTHERS | STICKY) {
        WRITABLE_FOR_OTHERS => Err(DiscoverError::Untrusted { path: directory.to_owned(), how: how.to_owned() }),
        _ => Ok(()),
    }
}

/// The plugin name of a file name.
#[must_use]
pub fn plugin_name(file_name: &str) -> Option<String> {
    let stem = file_name.strip_prefix("lib")?.strip_suffix(".so")?;
    let name = stem.strip_prefix("polylink_").unwrap_or(stem).replace('_', "-");
    (!name.is_empty()).then_some(name)
}

fn search(directory: &Path, found: &mut Found) -> Result<(), DiscoverError> {
    if !directory.is_absolute() {
        return Err(DiscoverError::Relative(directory.to_owned()));
    }
    check_trust(directory)?;
    let unreadable = |error| DiscoverError::Unreadable { path: directory.to_owned(), error };
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let Some(name) = path.file_name().and_then(|name| plugin_name(name.to_str()?)) else { continue };
        if files.len() >= FILES_MAX {
            found.passed_over.push(DiscoverError::TooMany(directory.to_owned()));
            break;
        }
        files.insert(name, path);
    }
    for (name, path) in files {
        match check_trust(&path) {
            Ok(()) => drop(found.files.entry(name).or_insert(path)),
            Err(error) => found.passed_over.push(error),
        }
    }
    Ok(())
}

/// Follows symbolic links: what counts is what would be loaded.
fn metadata(path: &Path) -> Result<Metadata, DiscoverError> {
    fs::metadata(path).map_err(|error| DiscoverError::Unreadable { path: path.to_owned(), error })
}

fn distrust(metadata: &Metadata, ours: u32) -> Option<String> {
    if metadata.uid() != 0 && metadata.uid() != ours {
        return Some(format!("owned by user {}, not by root or user {ours}", metadata.uid()));
    }
    (metadata.mode() & WRITABLE_FOR_OTHERS != 0).then(|| "writable for everybody".to_owned())
}

/// `S_IWOTH` (POSIX `sys/stat.h`).
const WRITABLE_FOR_OTHERS: u32 = 0o002;

/// `S_ISVTX` (POSIX `sys/stat.h`): only its owner may remove or rename a file in it.
const STICKY: u32 = 0o1000;

/// Plugins looked at in one directory. Not documented; chosen by us.
const FILES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A directory of its own that is removed in the end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str, files: &[&str]) -> Self {
            let path = std::env::temp_dir().join(format!("polylink-discover-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).expect("the temporary directory is writable");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("our own directory");
            for file in files {
                let file = path.join(file);
                fs::write(&file, b"").expect("our own directory is writable");
                fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("our own file");
            }
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[track_caller]
    fn check(directories: &[&Path], names: &[&str], complaints: &[&str]) {
        let found = discover(&directories.iter().map(|path| path.to_path_buf()).collect::<Vec<_>>());
        assert_eq!(found.files.keys().collect::<Vec<_>>(), names);
        assert_eq!(found.passed_over.len(), complaints.len(), "{:?}", found.passed_over);
        for (error, part) in found.passed_over.iter().zip(complaints) {
            assert!(error.to_string().contains(part), "{error} does not say {part}");
        }
    }

    #[test]
    fn only_libraries_count_and_their_names_are_in_order() {
        let scratch =
            Scratch::new("names", &["libpolylink_smart_home.so", "libdeli.so", "deli.so", "libx.so.1", "lib.so"]);
        check(&[&scratch.0], &["deli", "smart-home"], &[]);
    }

    #[test]
    fn the_first_directory_that_has_a_name_wins() {
        let (first, second) = (Scratch::new("first", &["libdeli.so"]), Scratch::new("second", &["libdeli.so"]));
        let found = discover(&[first.0.clone(), second.0.clone()]);
        assert_eq!(found.files["deli"], first.0.join("libdeli.so"));
    }

    #[test]
    fn what_everybody_may_write_is_passed_over() {
        let scratch = Scratch::new("writable", &["libdeli.so", "libgood.so"]);
        fs::set_permissions(scratch.0.join("libdeli.so"), fs::Permissions::from_mode(0o666)).expect("our own file");
        check(&[&scratch.0], &["good"], &["libdeli.so` is writable for everybody"]);
        fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o777)).expect("our own directory");
        check(&[&scratch.0], &[], &["writable for everybody"]);
    }

    #[test]
    fn a_file_that_is_named_by_its_path_must_not_be_replaceable() {
        let scratch = Scratch::new("parent", &["libdeli.so"]);
        for (mode, accepted) in [(0o755, true), (0o777, false), (0o1777, true)] {
            fs::set_permissions(&scratch.0, fs::Permissions::from_mode(mode)).expect("our own directory");
            assert_eq!(check_parent(&scratch.0.join("libdeli.so")).is_ok(), accepted, "{mode:o}");
        }
    }

    #[test]
    fn relative_and_missing_directories_are_named() {
        check(&[Path::new("plugins"), Path::new("/nowhere/at/all")], &[], &["not an absolute path", "/nowhere/at/all"]);
    }
}
