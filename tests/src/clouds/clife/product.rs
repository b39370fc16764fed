//! The product that the simulated platform has, its data points, and the settings that its device is given.

use super::cipher::{BLOCK, Key, hex};
use super::{DEV_ID, DEV_MAC, PRODUCT_CODE};
use crate::demo::product;

/// A product with one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// Level of authentication: 0 (device id and a key of its own), 1 or 2 (product code).
    pub auth_level: u8,
    /// How long the key of the registration is, and how it is given to the device.
    pub dev_key: DevKey,
    /// Bytes of the device secret that the registration gives: 16, 24 or 32.
    pub secret_len: usize,
    /// IV of both channels.
    pub iv: [u8; BLOCK],
    /// Timestamps of the device are texts of digits.
    pub timestamp_as_text: bool,
    /// Whether `data` on MQTT is encrypted, both ways. `data` of the registration always is.
    pub encrypted: bool,
    /// Whether the device asks for a clean session.
    pub clean_session: bool,
    /// Data points of the model: property of the product file, and its decimal id.
    pub points: Vec<(String, u32)>,
    /// More lines below `[cloud.clife.settings]`.
    pub more_settings: String,
}

/// The key that was issued to the product or, at level 0, to the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DevKey {
    /// Hexadecimal digits of so many bytes: 16, 24 or 32.
    Hex(usize),
    /// So many characters that are the key: 16, 24 or 32.
    Text(usize),
}

impl Product {
    /// Key of the registration, for this simulator only.
    pub(super) fn dev_key(&self) -> Key {
        let text = self.dev_key_text();
        let bytes = match self.dev_key {
            DevKey::Hex(n) => (0..n).map(dev_key_byte).collect(),
            DevKey::Text(_) => text.into_bytes(),
        };
        Key::new(&bytes, self.iv).expect(KEY_LENGTH)
    }

    /// The same as it is given to the device.
    fn dev_key_text(&self) -> String {
        match self.dev_key {
            DevKey::Hex(n) => hex(&(0..n).map(dev_key_byte).collect::<Vec<_>>()),
            DevKey::Text(n) => (0..n).map(|at| char::from(b'a' + (at % 26) as u8)).collect(),
        }
    }

    /// The n-th device secret that registrations give.
    pub(super) fn secret(&self, n: u32) -> (String, Key) {
        let mut bytes: Vec<u8> = (0..self.secret_len).map(|at| 0x5E ^ at as u8).collect();
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        (hex(&bytes), Key::new(&bytes, self.iv).expect(KEY_LENGTH))
    }

    pub(super) fn point(&self, property: &str) -> Option<u32> {
        self.points.iter().find(|(name, _)| name == property).map(|&(_, id)| id)
    }

    pub(super) fn has_point(&self, id: &str) -> bool {
        self.points.iter().any(|(_, point)| point.to_string() == id)
    }

    /// `[cloud.clife]` and everything below: the settings that are required, those that differ from their defaults, and
    /// the ids of the data points (Clife protocol, 2).
    pub(super) fn section(&self, host: &str) -> String {
        let mut text = format!(
            "[cloud.clife]\nplugin = \"clife\"\nplain_text = true\n\n[cloud.clife.settings]\n\
             scheme = \"http\"\nhost = \"{host}\"\nproduct_code = \"{PRODUCT_CODE}\"\ndev_mac = \"{DEV_MAC}\"\n\
             dev_key = \"{}\"\n",
            self.dev_key_text()
        );
        if self.auth_level != 2 {
            text += &format!("auth_level = {}\n", self.auth_level);
        }
        if self.auth_level == 0 {
            text += &format!("dev_id = \"{DEV_ID}\"\n");
        }
        if self.iv != [0; BLOCK] {
            text += &format!("cipher_iv_hex = \"{}\"\n", hex(&self.iv));
        }
        for (differs, line) in [
            (matches!(self.dev_key, DevKey::Text(_)), "dev_key_encoding = \"utf8\"\n"),
            (self.timestamp_as_text, "timestamp_type = \"string\"\n"),
            (!self.encrypted, "mqtt_encrypt_data = false\n"),
            (self.clean_session, "clean_session = true\n"),
        ] {
            if differs {
                text += line;
            }
        }
        text += &self.more_settings;
        for (property, id) in &self.points {
            text += &format!("\n[cloud.clife.map.{property:?}]\nname = \"{id}\"\n");
        }
        text
    }
}

impl Default for Product {
    /// Level 2, keys of 128 bits, encrypted, with the data points of the demo.
    fn default() -> Self {
        let attributes = product::schema().attributes;
        Self {
            auth_level: 2,
            dev_key: DevKey::Hex(16),
            secret_len: 16,
            iv: [0; BLOCK],
            timestamp_as_text: false,
            encrypted: true,
            clean_session: false,
            points: (1..).zip(attributes).map(|(id, attribute)| (attribute.name, id)).collect(),
            more_settings: String::new(),
        }
    }
}

/// Chosen by us; a key of the simulator only.
fn dev_key_byte(at: usize) -> u8 {
    0xC1 ^ (7 * at) as u8
}

const KEY_LENGTH: &str = "a product's keys have 16, 24 or 32 bytes";
