//! `polylink.ota/1`: new firmware. A plugin passes on what its cloud offers; the host loads, checks and installs it, one
//! update at a time for all clouds, and goes on after a restart where it was.
//!
//! An update has the id that the plugin gave it, which is best the cloud's own, and belongs to the cloud's instance also after
//! restarts. What becomes of it is in [`Ota::list`]; [`CHANGED`] says that there is something new there. An update that is over
//! stays in the list until the plugin has acknowledged it, so that its cloud hears of it even if the module restarted meanwhile.

use abi_stable::StableAbi;
use abi_stable::std_types::{RStr, RString, RVec};

use crate::extension::Extension;
use crate::host::InstanceId;

/// The table.
#[repr(C)]
#[derive(StableAbi)]
pub struct Ota {
    /// Offers an update. It is in the list when the call returns, perhaps as one that has failed already. An id that is in
    /// the list: its address and headers are taken over if it is the same file and not here yet, else nothing happens. False:
    /// not acceptable, see [`Offer`]; or this instance has [`UPDATES_MAX`] in the list, or too much waits for all clouds.
    pub offer: extern "C" fn(InstanceId, Offer) -> bool,
    /// The cloud takes an update back. One that is being installed goes on. False: there is none with this id, or it is too
    /// late.
    pub cancel: extern "C" fn(InstanceId, RStr<'_>) -> bool,
    /// The cloud knows how this update ended; it leaves the list. False: there is none with this id, or it is not over.
    pub acknowledge: extern "C" fn(InstanceId, RStr<'_>) -> bool,
    /// The updates of this instance, in the order in which they were offered.
    pub list: extern "C" fn(InstanceId) -> RVec<Update>,
}

impl Extension for Ota {
    const ID: &'static str = "polylink.ota/1";
}

/// The list changed; ask again. No token. Progress alone is told at most once a second.
pub const CHANGED: u32 = 1;

/// What a cloud offers.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// 1 to [`ID_MAX`] bytes, unique among the updates of this instance.
    pub id: RString,
    /// Whose firmware it is.
    pub target: Target,
    /// Index of the subdevice, for [`Target::SUBDEVICE`]; else 0.
    pub device: u32,
    /// The version that it brings, for people; at most [`VERSION_MAX`] bytes. Empty: the cloud does not say.
    pub version: RString,
    /// Where it is: `http://` or `https://`, at most [`URL_MAX`] bytes.
    pub url: RString,
    /// Headers of the request, `Name: value`; at most [`HEADERS_MAX`]. Not acceptable are those that say how the file comes, such
    /// as `Range`, `Host` and `Accept-Encoding`. They are not sent to another server that a redirect leads to.
    pub headers: RVec<RString>,
    /// Its size in bytes; 0: not told.
    pub size: u64,
    /// Digests, all of which must be right; at most [`DIGESTS_MAX`].
    pub digests: RVec<Digest>,
    /// Not to begin before this moment, Unix milliseconds; 0: from the offer on.
    pub not_before_ms: i64,
    /// Begins at a random moment within so many milliseconds after that, so that not all devices come at once.
    pub spread_ms: u64,
    /// Not to begin after this moment, Unix milliseconds; 0: no limit.
    pub not_after_ms: i64,
}

/// Whose firmware it is. Unknown values are not acceptable.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Target(pub u8);

impl Target {
    /// This module's.
    pub const MODULE: Self = Self(0);
    /// The MCU's.
    pub const MCU: Self = Self(1);
    /// A subdevice's.
    pub const SUBDEVICE: Self = Self(2);
}

/// A digest of the whole image.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// Which.
    pub kind: DigestKind,
    /// Its bytes, numbers big end first.
    pub value: RVec<u8>,
}

/// Which digest. Unknown values are not acceptable.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DigestKind(pub u8);

impl DigestKind {
    /// MD5, 16 bytes.
    pub const MD5: Self = Self(0);
    /// SHA-256, 32 bytes.
    pub const SHA256: Self = Self(1);
    /// CRC-32 as in zip files (ISO HDLC), 4 bytes.
    pub const CRC32: Self = Self(2);
    /// CRC-32 with the initial value 0 and without a final xor, 4 bytes.
    pub const CRC32_PLAIN: Self = Self(3);
    /// Sum of all bytes modulo 2^32, 4 bytes.
    pub const BYTE_SUM: Self = Self(4);
}

/// An update as it stands.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// As it was offered.
    pub id: RString,
    /// As it was offered.
    pub target: Target,
    /// As it was offered.
    pub device: u32,
    /// As it was offered.
    pub version: RString,
    /// How far it is.
    pub phase: Phase,
    /// Percent of the phase, 0 to 100.
    pub percent: u8,
    /// Why it failed; [`Failure::NONE`] if it did not.
    pub failure: Failure,
    /// The same for people.
    pub reason: RString,
}

/// How far an update is. Unknown values count as [`Phase::INSTALLING`].
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Phase(pub u8);

impl Phase {
    /// Its time has not come, or another update is under way.
    pub const WAITING: Self = Self(0);
    /// It is being loaded.
    pub const DOWNLOADING: Self = Self(1);
    /// It is loaded and right, and is being installed; also while the module restarts and proves that it works.
    pub const INSTALLING: Self = Self(2);
    /// The new firmware runs.
    pub const FINISHED: Self = Self(3);
    /// The old firmware goes on.
    pub const FAILED: Self = Self(4);
}

/// Why an update failed. Unknown values count as [`Failure::OTHER`].
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Failure(pub u8);

impl Failure {
    /// It did not.
    pub const NONE: Self = Self(0);
    /// For another reason.
    pub const OTHER: Self = Self(1);
    /// This device cannot install such firmware at all.
    pub const UNSUPPORTED: Self = Self(2);
    /// The owner's rules forbid it: no signature, an older version, an image for another product.
    pub const POLICY: Self = Self(3);
    /// It could not be loaded.
    pub const DOWNLOAD: Self = Self(4);
    /// It is not what was promised: size or digest.
    pub const DIGEST: Self = Self(5);
    /// It is too large for this device, or for the space that is left.
    pub const SPACE: Self = Self(6);
    /// It could not be installed, or did not start; the old firmware is back.
    pub const INSTALL: Self = Self(7);
    /// The cloud took it back.
    pub const CANCELLED: Self = Self(8);
    /// Its time was over before it could begin.
    pub const TOO_LATE: Self = Self(9);
}

/// Updates of an instance in the list. Not documented; chosen by us: a gateway's subdevices, and some that are over.
pub const UPDATES_MAX: usize = 16;
/// Longest id in bytes.
pub const ID_MAX: usize = 128;
/// Longest version in bytes.
pub const VERSION_MAX: usize = 128;
/// Longest address in bytes.
pub const URL_MAX: usize = 2_048;
/// Most headers; each has at most [`URL_MAX`] bytes.
pub const HEADERS_MAX: usize = 8;
/// Most digests.
pub const DIGESTS_MAX: usize = 5;
