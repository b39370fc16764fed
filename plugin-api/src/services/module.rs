//! `polylink.module/1`: the module itself, and the MCU behind it.

use abi_stable::StableAbi;
use abi_stable::std_types::{RStr, RString};

use crate::extension::Extension;
use crate::host::InstanceId;

/// The table.
#[repr(C)]
#[derive(StableAbi)]
pub struct Module {
    /// What is known now.
    pub facts: extern "C" fn(InstanceId) -> Facts,
    /// Asks for a restart of the module, with a reason for the log. The host decides; false: not offered here.
    pub request_restart: extern "C" fn(InstanceId, RStr<'_>) -> bool,
    /// Offers the time of a trustworthy cloud, Unix milliseconds. The host uses it where its own clock is worse.
    pub offer_time: extern "C" fn(InstanceId, i64),
    /// Tells how many applications of the cloud watch this device, for the MCU's status.
    pub applications: extern "C" fn(InstanceId, u32),
    /// Hands over the name and the password of a Wi-Fi network (1 to 32 and 0 to 64 bytes; an empty password: an open
    /// network) that an application told while [`Facts::onboarding`] was true. The host keeps no copy and does not look
    /// whether they are right. False: onboarding is not open, or this host joins no networks.
    pub join_network: extern "C" fn(InstanceId, RStr<'_>, RStr<'_>) -> bool,
    /// Ends the production test: the module leaves the test network. False: not offered here.
    pub end_production_test: extern "C" fn(InstanceId) -> bool,
    /// Passes on that, as this cloud says, the product belongs to another cloud too: that cloud's name in this cloud's
    /// words, and what it said beyond that, `key=value` separated by `&`. The host may start an instance for it.
    pub third_party_cloud: extern "C" fn(InstanceId, RStr<'_>, RStr<'_>),
}

impl Extension for Module {
    const ID: &'static str = "polylink.module/1";
}

/// Facts changed; ask again. No token.
pub const CHANGED: u32 = 1;
/// The user asked for a factory reset; forget what belongs to the owner. No token.
pub const RESET: u32 = 2;
/// The user asked to bind this device to a new owner; `code`: seconds the window stays open, 0: without limit.
pub const BIND_WINDOW: u32 = 3;
/// A user asked at the device to end its bond with the cloud's organisation. No token.
pub const UNBIND: u32 = 4;
/// The network was joined for the first time with what [`Module::join_network`] handed over, also if the module was
/// restarted in between. No token.
pub const NETWORK_JOINED: u32 = 5;

/// What is known of the module. Texts that are not known are empty.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Product key of the device.
    pub product_key: RString,
    /// Serial number of the device.
    pub serial: RString,
    /// Version of the module's hardware.
    pub module_hardware: RString,
    /// Version of the module's software.
    pub module_software: RString,
    /// Version of the MCU's hardware.
    pub mcu_hardware: RString,
    /// Version of the MCU's software.
    pub mcu_software: RString,
    /// True while the MCU answers.
    pub mcu_online: bool,
    /// Version of the payloads that the MCU speaks.
    pub mcu_payload_version: RString,
    /// The device's attributes as its MCU tells them: 64 bits whose meaning belongs to the MCU's protocol; 0: none.
    pub device_attributes: u64,
    /// True while a new owner may bind the device.
    pub bindable: bool,
    /// True while the module waits to be told a Wi-Fi network.
    pub onboarding: bool,
}
