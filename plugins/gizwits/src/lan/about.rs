//! [`About`]: what the device says of itself on the LAN.

use polylink_plugin_sdk::secret::Secret;

use crate::packet::{ConfigSuccess, DeviceInformation, Discovery};

/// What the device says of itself, as it is at the time of each call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The device's name at the vendor's cloud; empty before registration.
    pub did: String,
    /// Address of the interface.
    pub mac: [u8; 6],
    /// API server and protocol version, where they are told.
    pub server: Option<(String, String)>,
    /// Release date of the firmware, or empty.
    pub firmware_version: String,
    /// Product key.
    pub product_key: String,
    /// As the MCU tells them.
    pub device_attributes: u64,
    /// Version of the module's hardware.
    pub module_hardware: String,
    /// Version of the module's software.
    pub module_software: String,
    /// Version of the MCU's hardware.
    pub mcu_hardware: String,
    /// Version of the MCU's software.
    pub mcu_software: String,
    /// Version of the P0 payloads.
    pub payload_version: String,
    /// What clients log in with; while it is empty nobody can.
    pub passcode: Secret<String>,
    /// Whether who asks is told the passcode.
    pub bindable: bool,
    /// Whether the device waits to be told a Wi-Fi network.
    pub onboarding: bool,
}

impl About {
    pub(super) fn discovery(&self) -> Discovery {
        Discovery {
            did: self.did.clone(),
            mac: self.mac,
            firmware_version: self.firmware_version.clone(),
            product_key: self.product_key.clone(),
            attributes: Some(self.device_attributes),
            server: self.server.clone(),
        }
    }

    pub(super) fn config_success(&self) -> ConfigSuccess {
        ConfigSuccess { mac: self.mac, product_key: self.product_key.clone(), did: self.did.clone() }
    }

    pub(super) fn information(&self) -> DeviceInformation {
        DeviceInformation {
            module_hardware: self.module_hardware.clone(),
            module_software: self.module_software.clone(),
            mcu_hardware: self.mcu_hardware.clone(),
            mcu_software: self.mcu_software.clone(),
            payload_version: self.payload_version.clone(),
            firmware_id: [0; 8],
            firmware_version: self.firmware_version.clone(),
            product_key: self.product_key.clone(),
        }
    }
}
