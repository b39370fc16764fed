//! The module and the MCU behind it; see [`polylink_plugin_api::services::module`].

use crate::secret::Secret;

/// What a session asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Restart the module, for this reason.
    Restart(String),
    /// The cloud's time, Unix milliseconds.
    OfferTime(i64),
    /// So many applications watch the device.
    Applications(u32),
    /// Join this Wi-Fi network, which an application told during onboarding.
    JoinNetwork {
        /// Its name.
        ssid: String,
        /// Its password; empty: an open network.
        password: Secret<String>,
    },
    /// End the production test.
    EndProductionTest,
    /// The cloud says that the product belongs to another cloud too.
    ThirdPartyCloud {
        /// That cloud, in this cloud's words.
        name: String,
        /// What was said beyond that: `key=value` separated by `&`.
        parameters: String,
    },
}

/// What the service says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The facts are now these.
    Changed(Facts),
    /// Factory reset: forget what belongs to the owner.
    Reset,
    /// The user wants to bind the device; the window stays open for so many seconds, 0: without limit.
    BindWindow(u32),
    /// The user wants to end the bond with the cloud's organisation.
    Unbind,
    /// The network was joined for the first time with what [`Request::JoinNetwork`] handed over.
    NetworkJoined,
}

/// What is known; empty: not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Product key.
    pub product_key: String,
    /// Serial number.
    pub serial: String,
    /// Version of the module's hardware.
    pub module_hardware: String,
    /// Version of the module's software.
    pub module_software: String,
    /// Version of the MCU's hardware.
    pub mcu_hardware: String,
    /// Version of the MCU's software.
    pub mcu_software: String,
    /// True while the MCU answers.
    pub mcu_online: bool,
    /// Version of the payloads that the MCU speaks.
    pub mcu_payload_version: String,
    /// The device's attributes as its MCU tells them; 0: none.
    pub device_attributes: u64,
    /// True while a new owner may bind the device.
    pub bindable: bool,
    /// True while the module waits to be told a Wi-Fi network.
    pub onboarding: bool,
}
