//! Subdevices: devices without a network of their own behind this one, which is their gateway; see
//! [`polylink_plugin_api::services::subdevices`].

/// What a session asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Let this one join: of this product, with this address (empty: any). The gateway listens for so many seconds.
    Admit {
        /// The subdevice's product, in the words of the gateway.
        product: String,
        /// Its address.
        address: String,
        /// For so long, 1 to 600.
        seconds: u16,
    },
    /// Its owner has accepted this one, by its index: it belongs to the gateway from now on.
    Accept(u32),
    /// It no longer belongs to the gateway; its index may be given to another.
    Remove(u32),
}

/// What the service says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The subdevices are now these, by their index.
    Changed(Vec<Subdevice>),
}

/// One subdevice as its gateway knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subdevice {
    /// What reports and commands call it, from 1 on.
    pub index: u32,
    /// Its product, in the words of the gateway.
    pub product: String,
    /// What tells it from others of its product, such as its MAC address.
    pub address: String,
    /// How it talks to the gateway.
    pub radio: Radio,
    /// True if it belongs to the gateway, false while it asks to join.
    pub accepted: bool,
    /// True while the gateway can reach it.
    pub online: bool,
    /// Signal in percent, 0 to 100; `None`: unknown or meaningless.
    pub signal_percent: Option<u8>,
    /// Version of its firmware; empty: unknown.
    pub version: String,
}

/// How a subdevice talks to its gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Radio {
    /// Another way, or it is not known.
    #[default]
    Other,
    /// Wi-Fi.
    Wifi,
    /// ZigBee.
    Zigbee,
    /// Bluetooth.
    Bluetooth,
    /// A radio below 1 GHz, such as 433 MHz.
    SubGhz,
}
