//! Brings a plugin's library into memory and says in one sentence why it does not fit. The only `unsafe` of the host.
//!
//! Loading runs the library's code, so what may be loaded is decided before, see [`super::discover`]. A library is never
//! unmapped: its code may still be on some stack, and its thread-locals have destructors.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use polylink_plugin_api::abi_stable::library::{LibraryError, lib_header_from_path};
use polylink_plugin_api::abi_stable::std_types::RResult;
use polylink_plugin_api::{
    ABI_MARK_SYMBOL, ABI_VERSION, AbiMark, Descriptor, Fault, HostBox, PluginBox, PluginConfig, PluginRootRef,
};

use super::discover::{DiscoverError, check_parent, check_trust};

/// A library in memory that fits this host.
#[derive(Clone)]
pub struct Loaded {
    root: PluginRootRef,
    /// What it says of itself.
    pub descriptor: Descriptor,
    /// Where it came from.
    pub path: PathBuf,
}

/// Why a file is not used as a plugin.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Its owner or mode.
    #[error(transparent)]
    Untrusted(#[from] DiscoverError),
    /// Not absolute.
    #[error("`{0}` is not an absolute path")]
    Relative(PathBuf),
    /// Cannot be opened.
    #[error("cannot load `{path}`: {reason}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// Not a library, or one without the mark.
    #[error("`{path}` is not a Polylink plugin: {reason}")]
    NotAPlugin {
        /// The file.
        path: PathBuf,
        /// What is missing.
        reason: &'static str,
    },
    /// For another machine.
    #[error("`{path}` is built for {plugin} bits, this host for {host} bits")]
    PointerWidth {
        /// The file.
        path: PathBuf,
        /// Its bits.
        plugin: u32,
        /// Ours.
        host: u32,
    },
    /// Built against another core interface.
    #[error(
        "`{path}` is built for plugin ABI {plugin}, this host speaks ABI {host}; {}",
        if plugin > host { "update the host" } else { "rebuild the plugin with this host's SDK" }
    )]
    AbiVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        plugin: u32,
        /// Ours.
        host: u32,
    },
    /// The mark fits and the types do not.
    #[error("`{path}` has the ABI version of this host but lays its types out differently: {tail}")]
    Layout {
        /// The file.
        path: PathBuf,
        /// The end of what the check says.
        tail: String,
    },
    /// It needs what is not offered.
    #[error("plugin `{plugin}` wants {wanted}, {offered}")]
    Service {
        /// The plugin.
        plugin: String,
        /// The table it wants.
        wanted: String,
        /// `this host offers polylink.mqtt/1`, or all that is offered.
        offered: String,
    },
    /// Too many files were loaded since the start.
    #[error("`{0}` is not loaded: {LOADED_MAX} libraries are in memory and none can be removed; restart the host")]
    TooMany(PathBuf),
}

/// Loads plugins, each file once.
#[derive(Default)]
pub struct Loader {
    loaded: Mutex<HashMap<FileId, Loaded>>,
}

/// A replaced file is another file, although its path is the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct FileId {
    path: PathBuf,
    device: u64,
    inode: u64,
    modified_ns: i128,
}

impl Loader {
    /// Loads a plugin whose wishes this host can fulfil.
    ///
    /// # Errors
    /// One sentence that says what does not fit.
    pub fn load(&self, path: &Path, offered: &[&str]) -> Result<Loaded, LoadError> {
        let loaded = self.open(path)?;
        check_services(&loaded.descriptor, offered)?;
        Ok(loaded)
    }

    /// The file of this plugin: the one whose file name says so, unless that describes itself as another; else the first
    /// one that describes itself by this name, whatever its file is called.
    #[must_use]
    pub fn find<'a>(&self, files: &'a BTreeMap<String, PathBuf>, plugin: &str) -> Option<&'a Path> {
        let calls_itself = |path: &Path| self.inspect(path).map(|descriptor| descriptor.name);
        if let Some(path) = files.get(plugin)
            && calls_itself(path).map_or(true, |name| name == plugin)
        {
            return Some(path);
        }
        files.values().map(PathBuf::as_path).find(|path| calls_itself(path).is_ok_and(|name| name == plugin))
    }

    /// What a plugin says of itself, whether or not this host can fulfil its wishes.
    ///
    /// # Errors
    /// It is not a plugin, or not one for this host.
    pub fn inspect(&self, path: &Path) -> Result<Descriptor, LoadError> {
        self.open(path).map(|loaded| loaded.descriptor)
    }

    fn open(&self, path: &Path) -> Result<Loaded, LoadError> {
        if !path.is_absolute() {
            return Err(LoadError::Relative(path.to_owned()));
        }
        check_trust(path)?;
        check_parent(path)?;
        let id = file_id(path)?;
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = loaded.get(&id) {
            return Ok(known.clone());
        }
        if loaded.len() >= LOADED_MAX {
            return Err(LoadError::TooMany(path.to_owned()));
        }
        check_elf(path)?;
        check_mark(path, read_mark(path)?)?;
        let root = lib_header_from_path(path)
            .and_then(|header| header.init_root_module::<PluginRootRef>())
            .map_err(|error| layout_error(path, &error))?;
        let known = Loaded { root, descriptor: root.describe()(), path: path.to_owned() };
        loaded.insert(id, known.clone());
        Ok(known)
    }
}

impl Loaded {
    /// Makes an instance.
    ///
    /// # Errors
    /// The plugin does not want to work with this configuration.
    pub fn create(&self, host: HostBox, config: PluginConfig) -> Result<PluginBox, Fault> {
        match self.root.create()(host, config) {
            RResult::ROk(plugin) => Ok(plugin),
            RResult::RErr(fault) => Err(fault),
        }
    }
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded").field("path", &self.path).field("descriptor", &self.descriptor).finish_non_exhaustive()
    }
}

/// Whether the host offers what the plugin cannot do without.
///
/// # Errors
/// The first table that is not offered, and what is.
pub fn check_services(descriptor: &Descriptor, offered: &[&str]) -> Result<(), LoadError> {
    let Some(wanted) = descriptor.services.iter().find(|wanted| !offered.contains(&wanted.as_str())) else {
        return Ok(());
    };
    let family = |id: &str| id.rsplit_once('/').map_or(id.to_owned(), |(family, _)| family.to_owned());
    let other = offered.iter().find(|id| family(id) == family(wanted));
    let offered = match other {
        Some(other) => format!("this host offers {other}"),
        None => format!("this host offers only {}", offered.join(", ")),
    };
    let plugin = descriptor.name.to_string();
    Err(LoadError::Service { plugin, wanted: wanted.to_string(), offered })
}

fn file_id(path: &Path) -> Result<FileId, LoadError> {
    let metadata = std::fs::metadata(path).map_err(|error| open_error(path, error.to_string()))?;
    Ok(FileId {
        path: path.to_owned(),
        device: metadata.dev(),
        inode: metadata.ino(),
        modified_ns: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
    })
}

/// Reads the first bytes before the system's loader does, whose messages name numbers instead of causes.
fn check_elf(path: &Path) -> Result<(), LoadError> {
    let mut head = [0; 5];
    let mut file = File::open(path).map_err(|error| open_error(path, error.to_string()))?;
    let is_elf = file.read_exact(&mut head).is_ok() && head.starts_with(&ELF_MAGIC);
    if !is_elf {
        return Err(LoadError::NotAPlugin { path: path.to_owned(), reason: "it is not a shared library" });
    }
    let plugin = match head[4] {
        ELF_CLASS_32 => 32,
        ELF_CLASS_64 => 64,
        _ => return Err(LoadError::NotAPlugin { path: path.to_owned(), reason: "it is not a shared library" }),
    };
    check_width(path, plugin)
}

fn read_mark(path: &Path) -> Result<AbiMark, LoadError> {
    // SAFETY: loading runs the library's initializers; the caller has checked that only root or we could have written
    // the file, and plugins are trusted code.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
    let library = library.map_err(|error| open_error(path, cause(&error)))?;
    // SAFETY: the symbol's type is frozen (`AbiMark`); what else might bear its name is recognised by the magic number.
    // An `AbiMark` is plain bytes, valid whatever they are, and the symbol is aligned as the linker placed it.
    let mark = unsafe { library.get::<*const AbiMark>(ABI_MARK_SYMBOL.as_bytes()).map(|mark| mark.read_unaligned()) };
    // Never unmapped, see the module.
    std::mem::forget(library);
    mark.map_err(|_| LoadError::NotAPlugin { path: path.to_owned(), reason: "it has no symbol POLYLINK_PLUGIN_ABI" })
}

fn check_mark(path: &Path, mark: AbiMark) -> Result<(), LoadError> {
    if mark.magic != AbiMark::MAGIC {
        let reason = "its symbol POLYLINK_PLUGIN_ABI is not a plugin's mark";
        return Err(LoadError::NotAPlugin { path: path.to_owned(), reason });
    }
    check_width(path, mark.pointer_width.saturating_mul(8))?;
    if mark.abi_version != ABI_VERSION {
        let (plugin, host) = (mark.abi_version, ABI_VERSION);
        return Err(LoadError::AbiVersion { path: path.to_owned(), plugin, host });
    }
    Ok(())
}

fn check_width(path: &Path, plugin: u32) -> Result<(), LoadError> {
    if plugin == usize::BITS {
        return Ok(());
    }
    Err(LoadError::PointerWidth { path: path.to_owned(), plugin, host: usize::BITS })
}

fn layout_error(path: &Path, error: &LibraryError) -> LoadError {
    match error {
        LibraryError::OpenError { err, .. } => open_error(path, err.to_string()),
        LibraryError::GetSymbolError { .. } => {
            LoadError::NotAPlugin { path: path.to_owned(), reason: "it exports no root module" }
        }
        error => LoadError::Layout { path: path.to_owned(), tail: tail(&error.to_string()) },
    }
}

/// The last words of a report that is tens of kilobytes long.
fn tail(report: &str) -> String {
    let lines: Vec<&str> = report.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let text = lines[lines.len().saturating_sub(TAIL_LINES)..].join(" ");
    let skip = text.chars().count().saturating_sub(TAIL_CHARS);
    text.chars().skip(skip).collect()
}

/// The innermost reason: "dlopen failed" helps nobody.
fn cause(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).last().map_or_else(String::new, ToString::to_string)
}

fn open_error(path: &Path, reason: String) -> LoadError {
    LoadError::Open { path: path.to_owned(), reason }
}

/// ELF identification (System V ABI, "ELF Header").
const ELF_MAGIC: [u8; 4] = *b"\x7fELF";
/// `ELFCLASS32` (System V ABI, "ELF Header").
const ELF_CLASS_32: u8 = 1;
/// `ELFCLASS64` (System V ABI, "ELF Header").
const ELF_CLASS_64: u8 = 2;

/// Libraries in memory at a time; replaced files stay there too. Not documented; chosen by us: each costs about half a
/// megabyte.
const LOADED_MAX: usize = 64;

/// How much of the layout check's report is shown. Not documented; chosen by us.
const TAIL_LINES: usize = 4;
/// See [`TAIL_LINES`].
const TAIL_CHARS: usize = 240;

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(services: &[&str]) -> Descriptor {
        Descriptor {
            name: "deli".into(),
            version: "1".into(),
            cloud: "Deli".into(),
            build: "test".into(),
            settings_schema: "{}".into(),
            services: services.iter().map(|&id| id.into()).collect(),
            capabilities: "{}".into(),
        }
    }

    #[track_caller]
    fn check<T>(result: Result<T, LoadError>, sentence: &str) {
        assert_eq!(result.err().expect("it is refused").to_string(), sentence);
    }

    #[test]
    fn a_service_of_another_revision_is_named_with_the_one_we_have() {
        let offered = ["polylink.mqtt/1", "polylink.http/1"];
        assert!(check_services(&descriptor(&["polylink.http/1", "polylink.mqtt/1"]), &offered).is_ok());
        check(
            check_services(&descriptor(&["polylink.mqtt/2"]), &offered),
            "plugin `deli` wants polylink.mqtt/2, this host offers polylink.mqtt/1",
        );
        check(
            check_services(&descriptor(&["com.example.bus/1"]), &offered),
            "plugin `deli` wants com.example.bus/1, this host offers only polylink.mqtt/1, polylink.http/1",
        );
    }

    #[test]
    fn a_mark_says_which_side_is_older() {
        let path = Path::new("/p/libx.so");
        let mark = AbiMark { abi_version: ABI_VERSION + 1, ..AbiMark::CURRENT };
        check(
            check_mark(path, mark),
            &format!(
                "`/p/libx.so` is built for plugin ABI {}, this host speaks ABI {ABI_VERSION}; update the host",
                ABI_VERSION + 1
            ),
        );
        assert!(check_mark(path, AbiMark::CURRENT).is_ok());
    }

    #[test]
    fn another_pointer_width_and_a_foreign_symbol_have_their_own_sentences() {
        let path = Path::new("/p/libx.so");
        let width = if usize::BITS == 64 { 4 } else { 8 };
        check(
            check_mark(path, AbiMark { pointer_width: width, ..AbiMark::CURRENT }),
            &format!("`/p/libx.so` is built for {} bits, this host for {} bits", width * 8, usize::BITS),
        );
        check(
            check_mark(path, AbiMark { magic: *b"SOMEBODY", ..AbiMark::CURRENT }),
            "`/p/libx.so` is not a Polylink plugin: its symbol POLYLINK_PLUGIN_ABI is not a plugin's mark",
        );
    }

    #[test]
    fn a_long_report_is_cut_to_its_end() {
        let report = format!("{}\nlast words\n\n", "x".repeat(50_000));
        let shown = tail(&report);
        assert!(shown.ends_with("last words") && shown.chars().count() == TAIL_CHARS);
    }
}
