//! `polylink.subdevices/1`: devices without a network of their own behind this one, which is their gateway.
//!
//! The MCU knows the subdevices and numbers them; the host keeps what the MCU says in memory only. [`crate::Report`] and
//! [`crate::Command`] name a subdevice by its index. A call that returns true has been passed on to the MCU, no more: what
//! came of it is seen in [`Subdevices::list`] after [`CHANGED`], or is not seen.

use abi_stable::StableAbi;
use abi_stable::std_types::{ROption, RStr, RString, RVec};

use crate::extension::Extension;
use crate::host::InstanceId;

/// The table.
#[repr(C)]
#[derive(StableAbi)]
pub struct Subdevices {
    /// Those that are known now, by their index. At most [`SUBDEVICES_MAX`].
    pub list: extern "C" fn(InstanceId) -> RVec<Subdevice>,
    /// Lets one join: of this product (1 to [`PRODUCT_MAX`] bytes), with this address (at most [`ADDRESS_MAX`] bytes; empty:
    /// any), for 1 to [`ADMIT_SECONDS_MAX`] seconds. False: not acceptable, or the MCU does not answer or has no subdevices.
    pub admit: extern "C" fn(InstanceId, RStr<'_>, RStr<'_>, u16) -> bool,
    /// Its owner has accepted the one with this index: it belongs to the gateway from now on. False: there is none with this
    /// index, or the MCU does not answer or has no subdevices.
    pub accept: extern "C" fn(InstanceId, u32) -> bool,
    /// The one with this index no longer belongs to the gateway; the MCU may give its index to another. False: as for
    /// `accept`.
    pub remove: extern "C" fn(InstanceId, u32) -> bool,
}

impl Extension for Subdevices {
    const ID: &'static str = "polylink.subdevices/1";
}

/// The list changed; ask again. No token.
pub const CHANGED: u32 = 1;

/// One subdevice as its gateway knows it. Texts that are not known are empty.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, Default, PartialEq, Eq)]
pub struct Subdevice {
    /// What reports and commands call it, 1 to [`SUBDEVICES_MAX`].
    pub index: u32,
    /// Its product, in the words of the gateway. At most [`PRODUCT_MAX`] bytes.
    pub product: RString,
    /// What tells it from others of its product, such as its MAC address. At most [`ADDRESS_MAX`] bytes.
    pub address: RString,
    /// How it talks to the gateway.
    pub radio: Radio,
    /// True if it belongs to the gateway, false while it asks to join.
    pub accepted: bool,
    /// True while the gateway can reach it.
    pub online: bool,
    /// Signal in percent, 0 to 100; none: unknown or meaningless.
    pub signal_percent: ROption<u8>,
    /// Version of its firmware. At most [`VERSION_MAX`] bytes.
    pub version: RString,
}

/// How a subdevice talks to its gateway. Unknown values count as [`Radio::OTHER`].
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Radio(pub u8);

impl Radio {
    /// Another way, or it is not known.
    pub const OTHER: Self = Self(0);
    /// Wi-Fi.
    pub const WIFI: Self = Self(1);
    /// ZigBee.
    pub const ZIGBEE: Self = Self(2);
    /// Bluetooth.
    pub const BLUETOOTH: Self = Self(3);
    /// A radio below 1 GHz, such as 433 MHz.
    pub const SUB_GHZ: Self = Self(4);
}

/// Most subdevices of a gateway, and the highest index. Not documented; chosen by us: as many as a home has lamps, and each
/// instance gets a copy of the list.
pub const SUBDEVICES_MAX: u32 = 64;

/// Longest name of a product in bytes. Not documented; chosen by us: as for product keys.
pub const PRODUCT_MAX: usize = 64;

/// Longest address in bytes. Not documented; chosen by us.
pub const ADDRESS_MAX: usize = 64;

/// Longest version in bytes. Not documented; chosen by us.
pub const VERSION_MAX: usize = 32;

/// Longest time that a gateway listens for one that may join, in seconds. Not documented; chosen by us: a person stands at the
/// subdevice meanwhile.
pub const ADMIT_SECONDS_MAX: u16 = 600;
