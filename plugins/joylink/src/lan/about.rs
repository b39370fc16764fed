//! [`About`]: what the device says of itself on the local network, and [`Access`]: the keys that apps use.

use crate::crypto::{Key32, KeyPair};
use crate::wire::discovery::{Debugging, DeviceType, TransferType};
use crate::wire::{FeedId, Json, SubDevice};

/// What the device says of itself, as it is at the time of each call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Its address, or another id that no other has.
    pub mac: String,
    /// Product type; empty: not known yet, and discoveries are not answered.
    pub productuuid: String,
    /// Product category.
    pub cid: String,
    /// Version of the firmware, for people.
    pub firmware_version: String,
    /// Model.
    pub model_code: String,
    /// Who translates its bytes.
    pub trantype: TransferType,
    /// Whether it is a gateway. Types 102 to 105 are for gateways only.
    pub devtype: DeviceType,
    /// Its identity; empty: it is not bound.
    pub feedid: FeedId,
    /// Whether it may be controlled on the local network.
    pub lancon: bool,
    /// Facts for developers.
    pub debug: Option<Debugging>,
    /// As stored by the authorization, else an empty object. The caller bounds its length: a discovery answer above
    /// [`crate::packet::fragment::MAX_MESSAGE`] is not sent.
    pub opt: Json,
    /// Of a gateway: all that it knows, bound or not. The first ones that the app looks for and that fit into an answer
    /// are told.
    pub subdevices: Vec<SubDevice>,
}

impl About {
    /// Whether an app has bound it.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        !self.feedid.is_empty()
    }

    /// Whether it speaks for sub-devices.
    #[must_use]
    pub fn is_gateway(&self) -> bool {
        self.devtype == DeviceType::Gateway
    }
}

/// The keys that apps use.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// For authorizations, and shown in discovery.
    pub pair: &'a KeyPair,
    /// For all the rest; none before the device is bound.
    pub localkey: Option<&'a Key32>,
}
