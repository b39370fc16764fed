//! [`Record`]: a sub-device that is bound; and [`Name`], what tells it from all others.

use polylink_plugin_sdk::services::subdevices::{Radio, Request, Subdevice};

use crate::crypto::Key32;
use crate::wire::discovery::{Debugging, DeviceType, Enrolment, Protocol, TransferType};
use crate::wire::{FeedId, Flag, Json, SubBeat, SubDevice, SubState};

/// A sub-device that is bound: what its authorization said, and what the host says of it.
#[derive(Clone, Debug)]
pub struct Record {
    pub(super) name: Name,
    pub(super) protocol: Protocol,
    pub(super) feedid: FeedId,
    pub(super) accesskey: Key32,
    pub(super) localkey: Key32,
    pub(super) lancon: bool,
    pub(super) opt: Option<Json>,
    /// As in the host's last list; `None`: it was not in it. Not stored.
    pub(super) listed: Option<Subdevice>,
}

impl Record {
    /// Its identity, never empty.
    #[must_use]
    pub const fn feedid(&self) -> FeedId {
        self.feedid
    }

    /// Its key for the cloud.
    #[must_use]
    pub const fn accesskey(&self) -> &Key32 {
        &self.accesskey
    }

    /// Its key for the local network.
    #[must_use]
    pub const fn localkey(&self) -> &Key32 {
        &self.localkey
    }

    /// Whether it may be controlled on the local network.
    #[must_use]
    pub const fn lancon(&self) -> bool {
        self.lancon
    }

    /// An object to be shown in discovery.
    #[must_use]
    pub const fn opt(&self) -> Option<&Json> {
        self.opt.as_ref()
    }

    /// Its product type, as its app wrote it.
    #[must_use]
    pub fn productuuid(&self) -> &str {
        &self.name.productuuid
    }

    /// Its address, as its app wrote it.
    #[must_use]
    pub fn mac(&self) -> &str {
        &self.name.mac
    }

    /// What it speaks with the gateway.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// What the host calls it; `None` while it is not in the host's list.
    #[must_use]
    pub fn device(&self) -> Option<u32> {
        self.listed.as_ref().map(|sub| sub.index)
    }

    /// Whether the host can reach it.
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.listed.as_ref().is_some_and(|sub| sub.online)
    }

    /// Number of its firmware; `None` while the host does not know it, or knows it as something else than a number.
    #[must_use]
    pub fn version(&self) -> Option<u16> {
        self.listed.as_ref().and_then(version)
    }

    pub(super) fn beat(&self) -> SubBeat {
        // What the host heard last of one that is away is no signal.
        let heard = self.listed.as_ref().filter(|sub| sub.online);
        SubBeat {
            version: self.version().unwrap_or(0),
            rssi: heard.and_then(|sub| sub.signal_percent).map_or(SubBeat::NO_RSSI, |percent| percent.min(100).into()),
            feedid: self.feedid,
            state: if self.is_online() { SubState::ONLINE } else { SubState::OFFLINE },
        }
    }

    pub(super) fn shown(&self, trantype: TransferType) -> SubDevice {
        SubDevice {
            lancon: Flag(self.lancon),
            feedid: self.feedid,
            opt: self.opt.clone(),
            state: Enrolment::Authorized,
            ..shown(&self.name, self.protocol, trantype, self.listed.as_ref())
        }
    }
}

/// What tells a sub-device from all others: product type and address, both without regard to case. Apps read addresses
/// from QR codes, and these write them as they please.
#[derive(Clone, Debug)]
pub(super) struct Name {
    pub(super) productuuid: String,
    pub(super) mac: String,
}

impl Name {
    /// `None` if one of them is empty, too long, or no plain text.
    pub(super) fn new(productuuid: &str, mac: &str) -> Option<Self> {
        let fits = |text: &str, most| !text.is_empty() && text.len() <= most && !text.contains(char::is_control);
        let ok = fits(productuuid, PRODUCTUUID_MAX) && fits(mac, MAC_MAX);
        ok.then(|| Self { productuuid: productuuid.to_owned(), mac: mac.to_owned() })
    }

    pub(super) fn of(sub: &Subdevice) -> Option<Self> {
        Self::new(&sub.product, &sub.address)
    }

    /// The wish that the host lets it join, and nobody else.
    pub(super) fn admit(&self) -> Request {
        Request::Admit { product: self.productuuid.clone(), address: self.mac.clone(), seconds: ADMIT_S }
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.productuuid.eq_ignore_ascii_case(&other.productuuid) && self.mac.eq_ignore_ascii_case(&other.mac)
    }
}

/// One that waits to be bound.
pub(super) fn shown_waiting(name: &Name, trantype: TransferType, sub: &Subdevice) -> SubDevice {
    shown(name, protocol(sub.radio).unwrap_or(DEFAULT_PROTOCOL), trantype, Some(sub))
}

/// How JoyLink calls a radio; `None`: it has no word for it.
pub(super) const fn protocol(radio: Radio) -> Option<Protocol> {
    match radio {
        Radio::Wifi => Some(Protocol::Wifi),
        Radio::Zigbee => Some(Protocol::Zigbee),
        Radio::Bluetooth => Some(Protocol::Bluetooth),
        Radio::SubGhz => Some(Protocol::Radio433),
        Radio::Other => None,
    }
}

/// What of it is the same, bound or not.
fn shown(name: &Name, protocol: Protocol, trantype: TransferType, sub: Option<&Subdevice>) -> SubDevice {
    let debugging = |sub: &Subdevice| {
        let rssi = sub.signal_percent?.min(100).into();
        Some(Debugging { ver: version(sub).unwrap_or(0).into(), rssi })
    };
    SubDevice {
        mac: name.mac.clone(),
        productuuid: name.productuuid.clone(),
        // The host does not know these two.
        cid: String::new(),
        model_code: String::new(),
        firmware_version: sub.map(|sub| sub.version.chars().take(SHOWN_VERSION).collect()).unwrap_or_default(),
        lancon: Flag(false),
        trantype,
        feedid: FeedId::EMPTY,
        dbg: sub.and_then(debugging),
        opt: None,
        devtype: DeviceType::SubDevice,
        state: Enrolment::Waiting,
        protocol,
    }
}

fn version(sub: &Subdevice) -> Option<u16> {
    sub.version.trim().parse().ok()
}

/// Bytes of a product type (JoyLink V1.79 uses 6 letters and digits; chosen by us: room for those of other makers).
pub(super) const PRODUCTUUID_MAX: usize = 32;

/// Bytes of an address (not documented; chosen by us: a MAC address in any spelling, or another id).
pub(super) const MAC_MAX: usize = 64;

/// For so long a sub-device may join after it was announced (not documented; chosen by us: time to press a button on
/// it; who needs more announces it again).
const ADMIT_S: u16 = 60;

/// Taken for one whose radio the host does not know (not documented; chosen by us: the first in JoyLink's list of what
/// sub-devices are).
pub(super) const DEFAULT_PROTOCOL: Protocol = Protocol::Zigbee;

/// Characters of a version that discovery shows (JoyLink V1.79 has 8; chosen by us: room for other makers' words).
const SHOWN_VERSION: usize = 32;
