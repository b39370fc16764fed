//! Types 110, 112 and 113: what a gateway says for its sub-devices. Control of them is in [`super::script`].

use polylink_plugin_sdk::bytes::{Reader, Writer};

use super::script::open_inner;
use super::{Code, FeedId, WireError};
use crate::crypto::{CipherError, CipherKey};

/// How a sub-device is. Not the state in discovery, which is [`super::discovery::Enrolment`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubState(pub u8);

/// The states of JoyLink V1.79, sub-device heartbeat.
impl SubState {
    /// It answers.
    pub const ONLINE: Self = Self(0);
    /// It does not.
    pub const OFFLINE: Self = Self(1);
    /// It was unbound.
    pub const UNBOUND: Self = Self(2);
    /// The gateway does not know it.
    pub const UNKNOWN: Self = Self(3);
}

/// One sub-device in types 110 and 113.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubBeat {
    /// Number of its firmware.
    pub version: u16,
    /// Strength of its signal, 0 to 100, or [`Self::NO_RSSI`].
    pub rssi: u16,
    /// Who it is.
    pub feedid: FeedId,
    /// How it is.
    pub state: SubState,
}

impl SubBeat {
    /// It has no signal to speak of (JoyLink V1.79, sub-device heartbeat).
    pub const NO_RSSI: u16 = 0xFFFF;

    /// Bytes on the wire.
    const LEN: usize = 37;

    /// Their number and all of them. What cannot be counted is left out; a gateway has far fewer.
    fn write_all(all: &[Self], writer: &mut Writer) {
        let number = u16::try_from(all.len()).unwrap_or(u16::MAX);
        writer.u16_le(number);
        for sub in &all[..usize::from(number)] {
            writer.u16_le(sub.version).u16_le(sub.rssi).bytes(sub.feedid.field()).u8(sub.state.0);
        }
    }

    fn read_all(mut reader: Reader<'_>) -> Result<Vec<Self>, WireError> {
        let number = usize::from(reader.u16_le()?);
        if reader.len() != number * Self::LEN {
            return Err(WireError::Count);
        }
        let mut one = || {
            let (version, rssi) = (reader.u16_le()?, reader.u16_le()?);
            Ok(Self { version, rssi, feedid: FeedId::read(&mut reader)?, state: SubState(reader.u8()?) })
        };
        (0..number).map(|_| one()).collect()
    }
}

/// Type 110, up; its answer is [`super::CodeAnswer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubHeartbeat {
    /// Number of the gateway's firmware.
    pub version: u16,
    /// Strength of the gateway's signal, 0 to 100.
    pub rssi: u16,
    /// All sub-devices that are bound, also those that do not answer.
    pub subs: Vec<SubBeat>,
}

impl SubHeartbeat {
    /// The structure.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u16_le(self.version).u16_le(self.rssi);
        SubBeat::write_all(&self.subs, &mut writer);
        writer.finish()
    }

    /// Reads the structure.
    ///
    /// # Errors
    /// It is cut off or too long, or an identity is no text.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        Ok(Self { version: reader.u16_le()?, rssi: reader.u16_le()?, subs: SubBeat::read_all(reader)? })
    }
}

/// Type 113, both ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unbind {
    /// [`super::biz::UNBIND`], or [`super::biz::UNBOUND`] in the answer.
    pub biz_code: u32,
    /// Number of the request, and of its answer.
    pub serial: u32,
    /// Whom; in the answer with their new state.
    pub subs: Vec<SubBeat>,
}

impl Unbind {
    /// The structure.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u32_le(self.biz_code).u32_le(self.serial);
        SubBeat::write_all(&self.subs, &mut writer);
        writer.finish()
    }

    /// Reads the structure.
    ///
    /// # Errors
    /// It is cut off or too long, or an identity is no text.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        Ok(Self { biz_code: reader.u32_le()?, serial: reader.u32_le()?, subs: SubBeat::read_all(reader)? })
    }
}

/// Type 112, up: what a sub-device reports, encrypted once more under its access key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubUpload {
    /// The sub-device.
    pub feedid: FeedId,
    /// The encrypted report.
    pub sealed: Vec<u8>,
}

impl SubUpload {
    /// Encrypts the report.
    #[must_use]
    pub fn seal(feedid: FeedId, key: &CipherKey, report: &[u8]) -> Self {
        Self { feedid, sealed: key.encrypt(report) }
    }

    /// Decrypts the report. A missing one is taken for an empty one.
    ///
    /// # Errors
    /// It is encrypted with another key.
    pub fn open(&self, key: &CipherKey) -> Result<Vec<u8>, CipherError> {
        open_inner(&self.sealed, key)
    }

    /// The structure.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [self.feedid.field(), &*self.sealed].concat()
    }

    /// Reads the structure.
    ///
    /// # Errors
    /// It is cut off, or the identity is no text.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        Ok(Self { feedid: FeedId::read(&mut reader)?, sealed: reader.rest().to_vec() })
    }
}

/// Type 112, down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubUploadAnswer {
    /// The sub-device.
    pub feedid: FeedId,
    /// The result.
    pub code: Code,
}

impl SubUploadAnswer {
    /// The structure.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [&self.feedid.field()[..], &self.code.field().to_le_bytes()].concat()
    }

    /// Reads the structure.
    ///
    /// # Errors
    /// It is cut off, or the identity is no text.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        Ok(Self { feedid: FeedId::read(&mut reader)?, code: Code::of_field(reader.u32_le()?) })
    }
}
