//! What survives a restart, and how it is read back. Damaged values count as absent.

use std::collections::BTreeMap;

use polylink_plugin_sdk::Output;
use polylink_plugin_sdk::numbering::Numbers;
use polylink_plugin_sdk::secret::Secret;
use polylink_plugin_sdk::services::store;
use polylink_plugin_sdk::url::Endpoint;
use serde::{Deserialize, Serialize};

use super::LierdaSession;
use super::connection::Moved;
use crate::auth::SessionMaterial;
use crate::ota::Order;

/// What the platform has given the device.
pub const ENROLMENT: &str = "enrolment";
/// Message ids up to this one may have been used.
pub const MESSAGE_ID_MARK: &str = "message_id_mark";
/// The broker that the platform has moved the device to.
pub const BROKER: &str = "broker";
/// A firmware order that this host cannot carry out.
pub const ORDER: &str = "order";
/// Firmware orders that are over; see [`crate::ota::Settled`].
pub const SETTLED: &str = "orders_over";

#[derive(Deserialize)]
struct StoredEnrolment {
    /// Whose it is; another device's is of no use.
    device: String,
    device_secret: Option<Secret<String>>,
    session: Option<StoredSession>,
    previous_session: Option<StoredSession>,
}

#[derive(Serialize)]
struct StoredEnrolmentRef<'a> {
    device: &'a str,
    device_secret: Option<&'a str>,
    session: Option<StoredSession>,
    previous_session: Option<StoredSession>,
}

#[derive(Serialize, Deserialize)]
struct StoredSession {
    id: String,
    nonce: u64,
}

impl From<&SessionMaterial> for StoredSession {
    fn from(material: &SessionMaterial) -> Self {
        Self { id: material.session_id.clone(), nonce: material.nonce }
    }
}

impl From<StoredSession> for SessionMaterial {
    fn from(stored: StoredSession) -> Self {
        Self { session_id: stored.id, nonce: stored.nonce }
    }
}

#[derive(Serialize, Deserialize)]
struct StoredMove {
    /// From where, by the configuration; if that is another one by now, somebody wants the device there.
    configured: String,
    broker: String,
    proven: bool,
}

impl LierdaSession {
    pub(super) fn restore(&mut self, stored: &BTreeMap<String, Vec<u8>>) {
        if let Some(enrolment) = read::<StoredEnrolment>(stored, ENROLMENT)
            && enrolment.device == self.device()
        {
            let [current, previous] =
                [enrolment.session, enrolment.previous_session].map(|session| session.map(Into::into));
            self.enrolment.restore(&self.settings, enrolment.device_secret, current, previous);
        }
        self.ids = Numbers::new(read(stored, MESSAGE_ID_MARK));
        let configured = self.settings.broker.to_string();
        let moved = read::<StoredMove>(stored, BROKER)
            .filter(|moved| self.settings.allow_broker_change && moved.configured == configured);
        self.moved = moved.and_then(|moved| {
            let broker = Endpoint::parse(&moved.broker).ok()?;
            Some(Moved { broker, proven: moved.proven, failures: 0 })
        });
        self.upgrades.left = stored.get(ORDER).and_then(|bytes| Order::restore(bytes, &self.settings.ota));
        self.upgrades.settled = read(stored, SETTLED).unwrap_or_default();
    }

    /// By what a stored enrolment is recognised as this device's.
    fn device(&self) -> String {
        let identity = &self.settings.identity;
        format!("{}-{}-{}", identity.open_id, identity.product_id, identity.node_eui)
    }

    pub(super) fn store_enrolment(&mut self) {
        let device = self.device();
        // A secret that is burnt in needs no second place.
        let device_secret = self.enrolment.device_secret().filter(|_| self.settings.device_secret.is_none());
        let session = self.enrolment.session();
        let stored = StoredEnrolmentRef {
            device: &device,
            device_secret: device_secret.map(|secret| secret.expose().as_str()),
            session: session.map(|session| (&session.material).into()),
            previous_session: session.and_then(|session| Some((&session.previous.as_ref()?.material).into())),
        };
        let stored = json(&stored);
        self.put_bytes(ENROLMENT, stored);
    }

    pub(super) fn store_move(&mut self) {
        match &self.moved {
            Some(moved) => {
                let configured = self.settings.broker.to_string();
                let stored = StoredMove { configured, broker: moved.broker.to_string(), proven: moved.proven };
                self.put(BROKER, &stored);
            }
            None => self.remove(BROKER),
        }
    }

    pub(super) fn put(&mut self, key: &str, value: &impl Serialize) {
        self.put_bytes(key, json(value));
    }

    fn put_bytes(&mut self, key: &str, value: Vec<u8>) {
        let id = self.next_id();
        self.outputs.push(Output::Store(id, store::Request::Put(key.to_owned(), value)));
    }

    pub(super) fn remove(&mut self, key: &str) {
        let id = self.next_id();
        self.outputs.push(Output::Store(id, store::Request::Remove(key.to_owned())));
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("texts and numbers always become JSON")
}

fn read<T: for<'a> Deserialize<'a>>(stored: &BTreeMap<String, Vec<u8>>, key: &str) -> Option<T> {
    serde_json::from_slice(stored.get(key)?).ok()
}
