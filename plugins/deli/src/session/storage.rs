//! What survives a restart, and how it is read back. Damaged values count as absent.

use std::collections::BTreeMap;

use polylink_plugin_sdk::Output;
use polylink_plugin_sdk::services::store;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::DeliSession;
use crate::message::Mid;
use crate::ota::Settled;

/// Organisation last seen; empty: unbound.
pub const ORGANISATION: &str = "organisation";
/// Applications that are bound, as a JSON array.
pub const APPLICATIONS: &str = "applications";
/// Present while an unbinding is not confirmed.
pub const UNBINDING: &str = "unbinding";
/// Present while the wipe action is to be done.
pub const WIPE: &str = "wipe";
/// Name that the platform gave the device.
pub const NAME: &str = "name";
/// The last firmware update that was over.
pub const OTA: &str = "ota";
/// When the last firmware update that the host was offered begins.
pub const OTA_PLAN: &str = "ota_plan";
/// Our own messages that could not be sent yet, as a JSON array.
pub const QUEUE: &str = "queue";

/// One of our own messages, as it is stored.
#[derive(Deserialize)]
struct StoredMessage {
    mid: Option<String>,
    to: String,
    data: Box<RawValue>,
}

#[derive(Serialize)]
struct StoredMessageRef<'a> {
    mid: Option<&'a str>,
    to: &'a str,
    data: &'a RawValue,
}

impl DeliSession {
    pub(super) fn restore(&mut self, stored: &BTreeMap<String, Vec<u8>>) {
        let text = |key: &str| stored.get(key).and_then(|bytes| String::from_utf8(bytes.clone()).ok());
        self.bond.organisation = text(ORGANISATION);
        self.bond.adopted_name = text(NAME);
        self.bond.unbinding = stored.contains_key(UNBINDING);
        self.bond.wipe_pending = stored.contains_key(WIPE) && self.settings.wipe_action.is_some();
        let applications = stored.get(APPLICATIONS).and_then(|bytes| serde_json::from_slice(bytes).ok());
        self.bond.applications = applications.unwrap_or_default();
        self.upgrade.settled = stored.get(OTA).and_then(|bytes| serde_json::from_slice::<Settled>(bytes).ok());
        self.upgrade.plan = stored.get(OTA_PLAN).and_then(|bytes| serde_json::from_slice(bytes).ok());
        let queue: Option<Vec<StoredMessage>> = stored.get(QUEUE).and_then(|bytes| serde_json::from_slice(bytes).ok());
        for message in queue.into_iter().flatten() {
            self.uplink.take_own(message.mid.map(Mid::Text), message.to, message.data);
        }
        self.uplink.take_own_changed();
        self.queue_stored = stored.contains_key(QUEUE);
    }

    pub(super) fn save_queue(&mut self) {
        let messages = self.uplink.own_messages(MAX_QUEUE_BYTES);
        let stored: Vec<StoredMessageRef<'_>> = messages
            .iter()
            .map(|message| StoredMessageRef {
                mid: message.mid.as_ref().map(Mid::as_str),
                to: &message.to,
                data: &message.data,
            })
            .collect();
        if !stored.is_empty() {
            let stored = serde_json::to_vec(&stored).expect("texts and checked JSON always become JSON");
            self.put(QUEUE, stored);
            self.queue_stored = true;
        } else if self.queue_stored {
            // Most answers leave at once and never need the disk.
            self.remove(QUEUE);
            self.queue_stored = false;
        }
    }

    pub(super) fn put(&mut self, key: &str, value: Vec<u8>) {
        let id = self.next_id();
        self.outputs.push(Output::Store(id, store::Request::Put(key.to_owned(), value)));
    }

    pub(super) fn remove(&mut self, key: &str) {
        let id = self.next_id();
        self.outputs.push(Output::Store(id, store::Request::Remove(key.to_owned())));
    }
}

/// Content of our own messages that is stored; older ones are kept in memory only. The store takes 64 KiB a value.
const MAX_QUEUE_BYTES: usize = 48 * 1024;
