//! What survives a restart, and how it is read back.

use std::collections::BTreeMap;

use polylink_plugin_sdk::Output;
use polylink_plugin_sdk::services::store;

use super::GizwitsSession;
use crate::identity::{Identity, STORE_KEY};
use crate::ota::{self, Upgrades};

/// What was stored.
pub(super) struct Stored {
    pub identity: Option<Identity>,
    pub upgrades: Upgrades,
}

/// Reads what was stored; what is damaged counts as absent, and the text says so.
pub(super) fn restore(stored: &BTreeMap<String, Vec<u8>>) -> (Stored, Option<String>) {
    let mut problem = None;
    let identity = stored.get(STORE_KEY).and_then(|bytes| match Identity::restore(bytes) {
        Ok(identity) => Some(identity),
        Err(error) => {
            problem = Some(error.to_string());
            None
        }
    });
    let upgrades = stored.get(ota::STORE_KEY).map(|bytes| Upgrades::restore(bytes)).unwrap_or_default();
    (Stored { identity, upgrades }, problem)
}

impl GizwitsSession {
    pub(super) fn save_identity(&mut self) {
        if self.saved_identity.as_ref() == Some(&self.identity) {
            return;
        }
        self.saved_identity = Some(self.identity.clone());
        let bytes = self.identity.to_stored();
        self.put(STORE_KEY, bytes);
    }

    pub(super) fn save_upgrades(&mut self) {
        let bytes = self.upgrades.to_stored();
        self.put(ota::STORE_KEY, bytes);
    }

    fn put(&mut self, key: &str, bytes: Vec<u8>) {
        let id = self.next_id();
        self.outputs.push(Output::Store(id, store::Request::Put(key.to_owned(), bytes)));
    }
}
