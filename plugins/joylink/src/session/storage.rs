//! What survives a restart, and how it is read back. Damaged values count as absent.

use std::collections::BTreeMap;

use polylink_plugin_sdk::services::store;
use polylink_plugin_sdk::{Now, Output, RequestId};

use super::JoylinkSession;
use crate::datapoints;
use crate::gateway::Record;
use crate::lan::Asker;
use crate::timers::table::Table;
use crate::wire::{Authorization, SubAnswer};

/// The private key of authorizations.
pub const PRIVATE_KEY: &str = "private_key";
/// What an app told when it bound the device.
pub const BOND: &str = "bond";
/// The product type, if it was told.
pub const PRODUCT_UUID: &str = "product_uuid";
/// Schedules.
pub const SCHEDULES: &str = "timers";
/// Subdevices.
pub const SUBDEVICES: &str = "subdevices";
/// A firmware order that is not done with.
pub const UPGRADE: &str = "upgrade";

/// Number of the firmware that an upgrade of this device brought.
pub const INSTALLED: &str = "firmware_number";

/// Who waits for something to be on the disk.
#[derive(Debug)]
pub enum Storing {
    /// An app that binds the device.
    Bond(Asker, Box<Authorization>),
    /// An app that binds a subdevice; how it was bound before.
    SubBond(Asker, SubAnswer, Option<Box<Record>>),
}

/// The private key, if there is one.
pub fn private_key(stored: &BTreeMap<String, Vec<u8>>) -> Option<[u8; 20]> {
    stored.get(PRIVATE_KEY)?.as_slice().try_into().ok()
}

/// The bond with an owner, if there is one.
pub fn bond(stored: &BTreeMap<String, Vec<u8>>) -> Option<Authorization> {
    Authorization::decode(stored.get(BOND)?).ok()
}

/// The product type, if it was told.
pub fn product_uuid(stored: &BTreeMap<String, Vec<u8>>) -> Option<String> {
    let uuid = String::from_utf8(stored.get(PRODUCT_UUID)?.clone()).ok()?;
    datapoints::uuid_ok(&uuid).then_some(uuid)
}

/// Number of the firmware that an upgrade brought, if one did.
pub fn installed(stored: &BTreeMap<String, Vec<u8>>) -> Option<u16> {
    std::str::from_utf8(stored.get(INSTALLED)?).ok()?.parse().ok()
}

impl JoylinkSession {
    /// Schedules, subdevices and orders; what of them is damaged is told.
    pub(super) fn restore(&mut self, stored: &BTreeMap<String, Vec<u8>>) {
        let mut problems: Vec<String> = Vec::new();
        if let Some(bytes) = stored.get(SCHEDULES) {
            let (table, damages) = Table::restore(bytes, self.schedule_settings());
            problems.extend(damages.iter().map(ToString::to_string));
            self.schedules = table;
        }
        if let Some(bytes) = stored.get(SUBDEVICES).filter(|_| self.is_gateway())
            && let Err(damage) = self.gateway.restore(bytes)
        {
            problems.push(damage.to_string());
        }
        if let Some(bytes) = stored.get(UPGRADE) {
            problems.extend(self.upgrades.restore(bytes).err().map(|damage| damage.to_string()));
        }
        // Whoever sets a higher number has brought other firmware to the device.
        if self.installed.take_if(|installed| *installed < self.settings.firmware_number).is_some() {
            self.remove(INSTALLED);
        }
        for problem in problems {
            self.warn(problem);
        }
    }

    pub(super) fn store_private_key(&mut self) {
        let key = self.key_pair.private().expose().to_vec();
        self.put(PRIVATE_KEY, key);
    }

    pub(super) fn store_bond(&mut self, asker: Asker, order: Authorization) {
        let id = self.put(BOND, order.encode().expose().clone());
        self.storing.insert(id, Storing::Bond(asker, Box::new(order)));
    }

    pub(super) fn store_product_uuid(&mut self) {
        if let Some(uuid) = &self.told_product_uuid {
            let uuid = uuid.clone().into_bytes();
            self.put(PRODUCT_UUID, uuid);
        }
    }

    pub(super) fn store_installed(&mut self, number: u16) {
        self.put(INSTALLED, number.to_string().into_bytes());
    }

    pub(super) fn store_schedules(&mut self) {
        let bytes = self.schedules.stored();
        self.put(SCHEDULES, bytes);
    }

    pub(super) fn store_gateway(&mut self) -> RequestId {
        let bytes = self.gateway.stored().expose().clone();
        self.put(SUBDEVICES, bytes)
    }

    pub(super) fn store_what_changed(&mut self) {
        if self.gateway.take_changed() {
            self.store_gateway();
        }
        if self.upgrades.take_changed() {
            let bytes = self.upgrades.stored();
            self.put(UPGRADE, bytes);
        }
    }

    pub(super) fn forget_owner(&mut self) {
        for key in [BOND, PRODUCT_UUID] {
            self.remove(key);
        }
    }

    pub(super) fn take_stored(&mut self, now: Now, id: RequestId, stored: Result<(), String>) {
        if let Err(why) = &stored {
            self.warn(format!("a value could not be stored: {why}"));
        }
        match self.storing.remove(&id) {
            Some(Storing::Bond(asker, order)) => self.bond_stored(now, &asker, *order, stored.is_ok()),
            Some(Storing::SubBond(asker, answer, before)) => {
                self.subdevice_stored(now, &asker, answer, before.map(|before| *before), stored.is_ok());
            }
            None => {}
        }
    }

    fn put(&mut self, key: &str, value: Vec<u8>) -> RequestId {
        let id = self.next_id();
        self.outputs.push(Output::Store(id, store::Request::Put(key.to_owned(), value)));
        id
    }

    fn remove(&mut self, key: &str) {
        let id = self.next_id();
        self.outputs.push(Output::Store(id, store::Request::Remove(key.to_owned())));
    }
}
