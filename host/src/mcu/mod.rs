//! The line to the MCU: byte protocols as pure state machines ([`Link`]), and the port that feeds them.
//!
//! A link opens no port and reads no clock. It acknowledges a report to the MCU only when it hands the report over, so
//! what the MCU was told is safe has reached the host.

pub mod gizwits_uart;
pub mod jsonl;
pub mod port;
pub mod subdevices;
pub mod transfer;
#[cfg(test)]
mod virtual_line;

use std::sync::Arc;

use polylink_p0::Schema;
use polylink_plugin_api::{Cause, CommandBody, Now, Property, ReportBody, Timestamp};

use self::subdevices::{SubdeviceNews, SubdeviceRequest};
use self::transfer::{FirmwareInput, FirmwareOutput};
use crate::log::Redacted;
use crate::product::Product;

/// A byte protocol between host and MCU. Inputs go in by [`Link::handle`], and after each of them [`Link::poll`] is
/// asked until it has nothing more to say.
pub trait Link: Send {
    /// Takes one input.
    fn handle(&mut self, now: Now, input: LinkInput<'_>);

    /// What is to be done next.
    fn poll(&mut self) -> Option<LinkOutput>;

    /// When [`LinkInput::Timeout`] is wanted.
    fn next_timeout(&self) -> Option<Timestamp>;

    /// Whether its protocol can tell of subdevices.
    fn has_subdevices(&self) -> bool {
        false
    }

    /// Whether its protocol can carry firmware to the MCU.
    fn carries_firmware(&self) -> bool {
        false
    }
}

/// What happens to a link.
#[derive(Clone, Debug)]
pub enum LinkInput<'a> {
    /// The port is open; forget all that was under way, begin the handshake.
    Opened,
    /// The port is gone. Commands under way end as unreachable.
    Closed,
    /// Bytes came.
    Bytes(&'a [u8]),
    /// The time has come.
    Timeout,
    /// The product is known; reports that waited for it follow now.
    Product {
        /// Its thing model.
        product: Arc<Product>,
        /// How its payloads are laid out, for a link that speaks P0; properties and attributes are matched by name.
        layout: Option<Arc<Schema>>,
    },
    /// A checked command; an [`LinkOutput::Outcome`] with this ticket follows. The arbiter has at most 32 under way.
    Command {
        /// Names it.
        ticket: u64,
        /// 0: the device itself.
        device: u32,
        /// What is wanted.
        body: CommandBody,
        /// May be sent again without harm.
        idempotent: bool,
        /// Give up at this time.
        deadline: Timestamp,
    },
    /// How the module stands, for MCUs that want to know.
    Module(ModuleState),
    /// Something for the gateway of the subdevices; nothing for a link without. The link repeats it a few times and does not
    /// say what came of it, but for a fault if it was nothing.
    Subdevice(SubdeviceRequest),
    /// Restart the MCU, if the protocol can say so.
    RestartMcu,
    /// Firmware for the MCU. A link that cannot carry any refuses it.
    Firmware(FirmwareInput<'a>),
}

/// What a link wants done, or has to say.
#[derive(Clone, Debug, PartialEq)]
pub enum LinkOutput {
    /// Send these bytes.
    Write(Vec<u8>),
    /// The MCU has said who it is. Comes again if it changes its mind.
    Identified(Identity),
    /// The MCU answers (true) or has fallen silent (false).
    Online(bool),
    /// The device said something.
    Report {
        /// 0: the device itself.
        device: u32,
        /// Why.
        cause: Cause,
        /// The ticket that caused it, where the protocol tells.
        ticket: Option<u64>,
        /// What.
        body: ReportBody,
    },
    /// What became of a command.
    Outcome {
        /// The command.
        ticket: u64,
        /// What became of it.
        result: LinkResult,
    },
    /// The MCU said something of one of its subdevices. Within the bounds of [`SubdeviceNews::check`].
    Subdevice(SubdeviceNews),
    /// The user did something at the device.
    User(UserEvent),
    /// What the transfer of firmware has to say.
    Firmware(FirmwareOutput),
    /// Something on the line was wrong and is counted under this name; the text is for the log.
    Fault {
        /// A fixed name such as `checksum`.
        counter: &'static str,
        /// What exactly.
        detail: String,
    },
}

/// What became of a command, as far as the line knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkResult {
    /// Acknowledged; what was read or returned.
    Done(Vec<Property>),
    /// The MCU said no, or the protocol cannot carry it.
    Refused(String),
    /// The MCU does not answer at all; nothing was sent.
    Unreachable,
    /// No acknowledgement in time.
    TimedOut,
}

/// Who the MCU says it is. Texts that it does not tell are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Product key.
    pub product_key: String,
    /// Serial number of the device.
    pub serial: String,
    /// Hardware version of the MCU.
    pub hardware: String,
    /// Software version of the MCU.
    pub software: String,
    /// Seconds that the device may be bound after a user asked; none: always.
    pub bind_window_s: Option<u32>,
    /// Version of the payloads that it speaks.
    pub payload_version: String,
    /// Attributes of the device, bits whose meaning belongs to the link's protocol; 0: none.
    pub device_attributes: u64,
}

/// What a user did at the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserEvent {
    /// Enter a configuration mode (1 SoftAP, 2 AirLink; other numbers as the MCU sent them).
    Configure(u8),
    /// Join this network, which the MCU knows.
    Network {
        /// Its name.
        ssid: String,
        /// Its password; empty: an open network.
        password: Redacted<String>,
    },
    /// Factory reset.
    Reset,
    /// Open the binding window.
    Bind,
    /// End the bond with the owner.
    Unbind,
    /// Production test.
    ProductionTest,
    /// Restart the module.
    Restart,
}

/// How the module stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModuleState {
    /// Connected to a network.
    pub network: bool,
    /// Some cloud is online.
    pub cloud: bool,
    /// Some application watches the device.
    pub applications: bool,
    /// Wi-Fi signal, 0 to 100 percent.
    pub signal_percent: u8,
    /// Binding window open.
    pub bindable: bool,
    /// Onboarding is open.
    pub onboarding: bool,
    /// The module is an access point.
    pub access_point: bool,
    /// The module is a station.
    pub station: bool,
    /// Production test.
    pub production_test: bool,
    /// MAC as 12 upper-case hex characters; empty: none.
    pub mac: String,
    /// IPv4 address as text; empty: none.
    pub ip: String,
    /// Hardware version of the module, 8 characters.
    pub hardware: String,
    /// Software version of the module, 8 characters.
    pub software: String,
}
