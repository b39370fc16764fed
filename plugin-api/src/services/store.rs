//! `polylink.store/1`: what an instance must remember. Keys belong to the instance's name and survive restarts, also
//! when the plugin's file is replaced.
//!
//! Keys are 1 to 64 of `a-z 0-9 . _ -`. A value has at most 64 KiB, an instance at most 256 KiB in all unless the
//! configuration says otherwise. Writing is atomic and lasts: after [`STORED`] a power cut does not take it away.

use abi_stable::StableAbi;
use abi_stable::std_types::{ROption, RSlice, RStr, RString, RVec};

use crate::extension::Extension;
use crate::host::InstanceId;

/// The table.
#[repr(C)]
#[derive(StableAbi)]
pub struct Store {
    /// The value of a key, from memory; what was put is seen at once, before it is on the disk.
    pub get: extern "C" fn(InstanceId, RStr<'_>) -> ROption<RVec<u8>>,
    /// All keys, sorted.
    pub keys: extern "C" fn(InstanceId) -> RVec<RString>,
    /// Puts a value. Ends in [`STORED`] or [`super::FAILED`]; a value that could not be written stays in memory.
    pub put: extern "C" fn(InstanceId, RStr<'_>, RSlice<'_, u8>) -> u64,
    /// Removes a key. Ends in [`STORED`] or [`super::FAILED`]; removing what is not there succeeds.
    pub remove: extern "C" fn(InstanceId, RStr<'_>) -> u64,
}

impl Extension for Store {
    const ID: &'static str = "polylink.store/1";
}

/// It is on the disk. `token`: the call.
pub const STORED: u32 = 1;
