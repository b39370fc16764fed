//! What survives a restart, and how it is read back. Damaged values count as absent.

use std::collections::BTreeMap;

use polylink_plugin_sdk::Output;
use polylink_plugin_sdk::numbering::Numbers;
use polylink_plugin_sdk::services::store;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::ClifeSession;
use super::operations::{ProductVersion, Running};
use crate::files::Order;
use crate::registration::LoginData;

/// What the platform has given the device.
pub const LOGIN: &str = "login";
/// Numbers of messages up to this one may have been used.
pub const MESSAGE_ID_MARK: &str = "message_id_mark";
/// The file operation that is under way.
pub const ORDER: &str = "file_operation";
/// When the platform was asked for an upgrade.
pub const ASKED: &str = "upgrade_asked";
/// The version of the product that upgrades have brought.
pub const PRODUCT_VER: &str = "product_ver";

#[derive(Deserialize)]
struct StoredLogin {
    /// Whose it is; that of another device, or for another platform, is of no use.
    device: String,
    login: Box<RawValue>,
}

#[derive(Serialize)]
struct StoredLoginRef<'a> {
    device: &'a str,
    login: &'a LoginData,
}

impl ClifeSession {
    pub(super) fn restore(&mut self, stored: &BTreeMap<String, Vec<u8>>) {
        self.numbers = Numbers::new(read(stored, MESSAGE_ID_MARK));
        let version = read::<ProductVersion>(stored, PRODUCT_VER);
        let version = version.filter(|version| version.instead_of == self.settings.product_ver);
        self.files.product_ver = version.map(|version| version.product_ver).filter(|version| *version >= 1);
        self.files.asked_ms = read(stored, ASKED);
        let order = stored.get(ORDER).and_then(|stored| Order::restore(stored));
        let order = order.filter(|order| order.device == self.device());
        self.files.running = order.and_then(|order| order.operation().map(|operation| Running::new(order, operation)));
        let stored = read::<StoredLogin>(stored, LOGIN).filter(|stored| stored.device == self.device());
        let login = stored.and_then(|stored| LoginData::restore(stored.login.get().as_bytes()));
        // Settings may have lost what stood in for a missing member; then the device registers anew.
        let _ = login.map(|login| self.adopt(login));
    }

    /// By what a stored login is recognised as this device's, at this platform.
    pub(super) fn device(&self) -> String {
        let (host, identity) = (&self.settings.register.host, &self.settings.identity);
        let dev_id = identity.dev_id.as_deref().unwrap_or_default();
        // None of them has a `/`.
        format!("{host}/{}/{dev_id}/{}", identity.product_code, identity.dev_mac)
    }

    pub(super) fn store_login(&mut self) {
        let device = self.device();
        let Some(access) = &self.access else { return };
        let stored = json(&StoredLoginRef { device: &device, login: &access.login });
        self.put_bytes(LOGIN, stored);
    }

    pub(super) fn forget_login(&mut self) {
        self.access = None;
        let id = self.next_id();
        self.outputs.push(Output::Store(id, store::Request::Remove(LOGIN.to_owned())));
    }

    pub(super) fn put(&mut self, key: &str, value: &impl Serialize) {
        self.put_bytes(key, json(value));
    }

    pub(super) fn put_bytes(&mut self, key: &str, value: Vec<u8>) {
        let id = self.next_id();
        self.outputs.push(Output::Store(id, store::Request::Put(key.to_owned(), value)));
    }
}

pub fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("texts and numbers always become JSON")
}

fn read<T: for<'a> Deserialize<'a>>(stored: &BTreeMap<String, Vec<u8>>, key: &str) -> Option<T> {
    serde_json::from_slice(stored.get(key)?).ok()
}
