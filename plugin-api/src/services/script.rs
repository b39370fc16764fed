//! `polylink.script/1`: Lua 5.1 scripts of a product, run by the host.
//!
//! A script is text, not bytecode. It is run once from top to bottom when it is loaded, which defines its global
//! functions; after that it does nothing but answer calls. What it may use, and how much of memory, instructions and time,
//! is written in the host's documentation (docs/PLUGIN-GUIDE.md) and configuration (`[script]`).
//!
//! Arguments and results are lists of values in one encoding, see [`values`]. The strings of Lua are bytes, so a payload
//! and a JSON text travel alike.
//!
//! [`super::FAILED`] says with `code` whose fault it is: [`crate::HostRefusal::INVALID`] what was asked cannot be done (the
//! text is no Lua, there is no such function, a value cannot cross), [`crate::HostRefusal::QUOTA`] too much was asked, or
//! the script needed more memory or instructions than it may, [`crate::HostRefusal::TIMEOUT`] it needed more time,
//! [`crate::HostRefusal::OTHER`] it raised an error, [`crate::HostRefusal::UNKNOWN_HANDLE`] there is no such script (any
//! more), [`crate::HostRefusal::CLOSED`] it was unloaded meanwhile. `text` says more, for people: a script's own message is
//! shortened to its first line.

use abi_stable::StableAbi;
use abi_stable::std_types::{RSlice, RStr};

use crate::extension::Extension;
use crate::host::InstanceId;

pub mod values;

pub use values::{Value, ValuesError};

/// The table.
#[repr(C)]
#[derive(StableAbi)]
pub struct Script {
    /// Loads a script: a name for messages and logs (1 to 64 bytes without control characters), and its text (at most
    /// 256 KiB). The token is its handle. Ends in [`LOADED`] or [`super::FAILED`]; the handle of what failed is closed. At
    /// most 4 scripts are loaded for an instance at once; further ones fail with [`crate::HostRefusal::QUOTA`].
    pub load: extern "C" fn(InstanceId, RStr<'_>, RStr<'_>) -> u64,
    /// Calls a global function of a script (name of 1 to 64 bytes) with these encoded arguments. Ends in [`RETURNED`] or
    /// [`super::FAILED`]. Calls of one script run one after another in order, also those made before it is loaded, which
    /// fail with [`crate::HostRefusal::UNKNOWN_HANDLE`] if it cannot be. At most 64 calls of a script wait, with 1 MiB of
    /// arguments in all; further ones fail with [`crate::HostRefusal::QUOTA`].
    ///
    /// After a call that went beyond a limit the script is run anew before the next call: what it had put into its globals
    /// is gone. A call that does not even stop at its limit fails with [`crate::HostRefusal::TIMEOUT`] and closes the
    /// script; calls that wait, and later ones, fail with [`crate::HostRefusal::UNKNOWN_HANDLE`].
    pub call: extern "C" fn(InstanceId, u64, RStr<'_>, RSlice<'_, u8>) -> u64,
    /// Unloads a script. Its calls without an answer yet fail with [`crate::HostRefusal::CLOSED`]; no event follows for the
    /// script itself, also if it was not loaded yet.
    pub unload: extern "C" fn(InstanceId, u64),
}

impl Extension for Script {
    const ID: &'static str = "polylink.script/1";
}

/// The script waits for calls. `token`: its handle.
pub const LOADED: u32 = 1;
/// The function returned. `token`: the call; `body`: its results, encoded.
pub const RETURNED: u32 = 2;

/// Most scripts of an instance at once.
pub const SCRIPTS_MAX: usize = 4;

/// Longest text of a script in bytes.
pub const SOURCE_MAX: usize = 256 * 1024;

/// Longest name of a script or function in bytes.
pub const NAME_MAX: usize = 64;

/// Most calls of one script that wait.
pub const CALLS_MAX: usize = 64;

/// Most bytes of encoded arguments that wait for one script.
pub const WAITING_BYTES_MAX: usize = 1024 * 1024;
