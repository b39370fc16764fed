//! Types 4, 11, 104 and 111: control with bytes that a script made, and that go to the main controller unchanged. Types
//! 200 and 201 have the same head.

use polylink_plugin_sdk::bytes::{Reader, Writer};

use super::{FeedId, WireError};
use crate::crypto::{CipherError, CipherKey};

/// What a structure is about (JoyLink V1.79, table of biz codes). Timers have their own.
pub mod biz {
    /// Not known; of type 14.
    pub const UNKNOWN: u32 = 0;
    /// Control.
    pub const CONTROL: u32 = 1002;
    /// Its answer.
    pub const CONTROLLED: u32 = 102;
    /// Tell all values.
    pub const SNAPSHOT: u32 = 1004;
    /// Its answer.
    pub const SNAPSHOT_IS: u32 = 104;
    /// Take a recipe.
    pub const RECIPE: u32 = 1050;
    /// Its answer.
    pub const RECIPE_TAKEN: u32 = 150;
    /// Unbind sub-devices.
    pub const UNBIND: u32 = 1060;
    /// Its answer.
    pub const UNBOUND: u32 = 160;

    /// The code in the answer to a request with this code; `None`: no request that we know.
    #[must_use]
    pub const fn answer_to(request: u32) -> Option<u32> {
        match request {
            CONTROL => Some(CONTROLLED),
            SNAPSHOT => Some(SNAPSHOT_IS),
            RECIPE => Some(RECIPE_TAKEN),
            UNBIND => Some(UNBOUND),
            _ => None,
        }
    }
}

/// Types 4 and 11, both ways; of types 200 and 201 the content is JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// What it is about: one of [`biz`].
    pub biz_code: u32,
    /// Number of the request, and of its answer.
    pub serial: u32,
    /// The command, or the answer to it.
    pub content: Vec<u8>,
}

impl Script {
    /// The answer to this request; `None` if it is no request.
    #[must_use]
    pub fn answer(&self, content: Vec<u8>) -> Option<Self> {
        Some(Self { biz_code: biz::answer_to(self.biz_code)?, serial: self.serial, content })
    }

    /// The structure.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u32_le(self.biz_code).u32_le(self.serial).bytes(&self.content);
        writer.finish()
    }

    /// Reads the structure.
    ///
    /// # Errors
    /// It is cut off.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let (biz_code, serial) = (reader.u32_le()?, reader.u32_le()?);
        Ok(Self { biz_code, serial, content: reader.rest().to_vec() })
    }
}

/// Types 104 and 111, both ways: the same for a sub-device, with a content that is encrypted once more, under its local
/// key on the local network and its access key in the cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubScript {
    /// What it is about: one of [`biz`].
    pub biz_code: u32,
    /// Number of the request, and of its answer.
    pub serial: u32,
    /// The sub-device.
    pub feedid: FeedId,
    /// The encrypted content.
    pub sealed: Vec<u8>,
}

impl SubScript {
    /// Encrypts the content.
    #[must_use]
    pub fn seal(biz_code: u32, serial: u32, feedid: FeedId, key: &CipherKey, content: &[u8]) -> Self {
        Self { biz_code, serial, feedid, sealed: key.encrypt(content) }
    }

    /// Decrypts the content. A missing one is taken for an empty one.
    ///
    /// # Errors
    /// It is encrypted with another key.
    pub fn open(&self, key: &CipherKey) -> Result<Vec<u8>, CipherError> {
        open_inner(&self.sealed, key)
    }

    /// The structure.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u32_le(self.biz_code).u32_le(self.serial).bytes(self.feedid.field()).bytes(&self.sealed);
        writer.finish()
    }

    /// Reads the structure.
    ///
    /// # Errors
    /// It is cut off, or the identity is no text.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let (biz_code, serial) = (reader.u32_le()?, reader.u32_le()?);
        let feedid = FeedId::read(&mut reader)?;
        Ok(Self { biz_code, serial, feedid, sealed: reader.rest().to_vec() })
    }
}

pub(super) fn open_inner(sealed: &[u8], key: &CipherKey) -> Result<Vec<u8>, CipherError> {
    if sealed.is_empty() { Ok(Vec::new()) } else { key.decrypt(sealed) }
}
