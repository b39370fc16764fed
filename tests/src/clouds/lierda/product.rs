//! The product that the simulated platform has, and the settings that a device of it is given.

use serde_json::{Map, Value as Json};

use super::cipher::{hex, unhex};
use super::{NODE_EUI, OPEN_ID, PRODUCT_ID, PRODUCT_KEY};

/// Properties by identifier.
pub type Properties = Map<String, Json>;

/// A product of the simulated account.
#[derive(Debug, Clone)]
pub struct Product {
    /// What its devices speak.
    pub kind: Kind,
    /// Whether application payloads are encrypted.
    pub encrypted: bool,
    /// Scheme of provisioning: 0, 1 or 2.
    pub auth_type: u8,
    /// Whether the timestamp of working connections is checked.
    pub timestamp_checked: bool,
    /// Its devices report full HEX, in this form, beside ordinary HEX frames.
    pub full_hex: Option<FullHex>,
    /// Events of the model; empty lets any pass.
    pub events: Vec<String>,
    /// Services of the model; empty says nothing about them to the device.
    pub services: Vec<String>,
    /// How properties are written in passthrough and HEX payloads.
    pub codec: Codec,
    /// Encryption where the vendor's text leaves it open.
    pub choices: Choices,
}

/// What the vendor's text does not say about encryption. The default is what a device does if nobody tells it otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Choices {
    /// A session key is made of the bytes of SessionID and Nonce, not of their text.
    pub session_of_bytes: bool,
    /// A session key is made with the DeviceSecret, not with the ProductKey.
    pub session_by_device_secret: bool,
    /// Versions, settings and acknowledgements of the device are encrypted too.
    pub everything_encrypted: bool,
    /// Of a HEX payload the bytes are encrypted, not their text.
    pub hex_as_bytes: bool,
}

/// What the devices of a product speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Objects that the platform does not look into.
    Passthrough,
    /// A thing model in JSON.
    Json,
    /// A thing model in hexadecimal texts, read by a script.
    Hex,
}

/// How a full-HEX report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FullHex {
    /// Text with quotes.
    JsonString,
    /// Text without quotes.
    BareText,
    /// Bytes.
    Binary,
}

/// The script of the product, run on the platform's side.
#[derive(Debug, Clone, Copy)]
pub struct Codec {
    /// Payload of a report to properties.
    pub decode: fn(&Json) -> Result<Properties, String>,
    /// Properties to be set to the payload of a command.
    pub encode: fn(&Properties) -> Json,
}

impl Product {
    /// A clear product of the first scheme that speaks this, with the codec of this file.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            encrypted: false,
            auth_type: 0,
            timestamp_checked: false,
            full_hex: None,
            events: Vec::new(),
            services: Vec::new(),
            codec: if kind == Kind::Hex { JSON_IN_HEX } else { PLAIN },
            choices: Choices::default(),
        }
    }

    /// The settings of its only device, below `[cloud.lierda.settings]`: those that are required, and those that differ
    /// from their defaults (Lierda protocol, 2).
    pub(super) fn settings(&self, broker: &str, device_secret: &str) -> String {
        let mut text = format!(
            "broker_url = \"tcp://{broker}\"\nopen_id = \"{OPEN_ID}\"\nproduct_id = \"{PRODUCT_ID}\"\n\
             product_key = \"{PRODUCT_KEY}\"\nnode_eui = \"{NODE_EUI}\"\n"
        );
        if self.auth_type == 2 {
            text += &format!("device_secret = \"{device_secret}\"\n");
        }
        if self.auth_type != 0 {
            text += &format!("auth_type = {}\n", self.auth_type);
        }
        if self.encrypted {
            text += "encrypted = true\n";
        }
        match self.kind {
            Kind::Passthrough => text += "product_kind = \"passthrough\"\n",
            Kind::Json => {}
            Kind::Hex => text += "product_kind = \"hex\"\n",
        }
        if self.timestamp_checked {
            text += "connect_type = 1\n";
        }
        match self.full_hex {
            Some(FullHex::BareText) => text += "full_hex_format = \"bare_text\"\n",
            Some(FullHex::Binary) => text += "full_hex_format = \"binary\"\n",
            Some(FullHex::JsonString) | None => {}
        }
        let Choices { session_of_bytes, session_by_device_secret, everything_encrypted, hex_as_bytes } = self.choices;
        for (chosen, line) in [
            (session_of_bytes, "session_content = \"bytes\"\n"),
            (session_by_device_secret, "session_key_source = \"device_secret\"\n"),
            (everything_encrypted, "encrypt_scope = \"all\"\n"),
            (hex_as_bytes, "hex_encrypt_input = \"raw_bytes\"\n"),
        ] {
            if chosen {
                text += line;
            }
        }
        for (key, identifiers) in [("events", &self.events), ("services", &self.services)] {
            if !identifiers.is_empty() {
                text += &format!("{key} = {identifiers:?}\n");
            }
        }
        text
    }
}

impl Default for Product {
    fn default() -> Self {
        Self::new(Kind::Json)
    }
}

/// The payload is the object of the properties.
pub const PLAIN: Codec = Codec {
    decode: |payload| payload.as_object().cloned().ok_or_else(|| format!("{payload} is no object")),
    encode: |properties| Json::Object(properties.clone()),
};

/// The payload is the JSON text of the properties, as hexadecimal text of its bytes.
pub const JSON_IN_HEX: Codec = Codec {
    decode: |payload| {
        let bytes = unhex(payload.as_str().ok_or_else(|| format!("{payload} is no text"))?)?;
        serde_json::from_slice(&bytes).map_err(|error| format!("{payload} holds no JSON object: {error}"))
    },
    encode: |properties| Json::String(hex(Json::Object(properties.clone()).to_string().as_bytes())),
};
