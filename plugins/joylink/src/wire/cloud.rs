//! Types 9, 10, 14, 15 and 16: what a device says to the cloud, and the answers.

use polylink_plugin_sdk::bytes::{Reader, Writer};

use super::{Code, FeedId, Text, WireError};
use crate::crypto::Key32;

/// Type 9, up: the device proves who it is. Both `opt` and the encrypted body carry the random number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthRequest {
    /// The device.
    pub feedid: FeedId,
    /// The random number in plain text.
    pub opt_random: u32,
    /// The random number in the body; the same, if the device has the key.
    pub random: u32,
}

impl AuthRequest {
    /// A request with this random number.
    #[must_use]
    pub const fn new(feedid: FeedId, random: u32) -> Self {
        Self { feedid, opt_random: random, random }
    }

    /// What goes in `opt`: the identity without padding, and the number.
    #[must_use]
    pub fn encode_opt(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.bytes(self.feedid.as_str().as_bytes()).u32_le(self.opt_random);
        writer.finish()
    }

    /// The body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.random.to_le_bytes().to_vec()
    }

    /// Reads whose key opens the body: the identity in `opt`, with or without padding.
    ///
    /// # Errors
    /// `opt` is cut off, or has no identity.
    pub fn feedid_in(opt: &[u8]) -> Result<FeedId, WireError> {
        let length = opt.len().saturating_sub(4);
        let mut field = opt[..length].to_vec();
        if length == 0 || length > FeedId::EMPTY.field().len() {
            return Err(WireError::Count);
        }
        field.resize(FeedId::EMPTY.field().len(), 0);
        FeedId::read(&mut Reader::new(&field))
    }

    /// Reads both parts.
    ///
    /// # Errors
    /// One is cut off, or the identity is none.
    pub fn decode(opt: &[u8], body: &[u8]) -> Result<Self, WireError> {
        let feedid = Self::feedid_in(opt)?;
        let opt_random = Reader::new(&opt[opt.len() - 4..]).u32_le()?;
        Ok(Self { feedid, opt_random, random: Reader::new(body).u32_le()? })
    }

    /// Whether both random numbers are the same.
    #[must_use]
    pub const fn randoms_agree(&self) -> bool {
        self.opt_random == self.random
    }
}

/// Type 9, down: the key of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthAnswer {
    /// The cloud's random number in plain text; `None`: `opt` has another size.
    pub opt_random: Option<u32>,
    /// The cloud's random number in the body.
    pub random: u32,
    /// What everything else on the connection is encrypted with.
    pub session_key: Key32,
}

impl AuthAnswer {
    /// What goes in `opt`.
    #[must_use]
    pub fn encode_opt(&self) -> Vec<u8> {
        self.opt_random.map(u32::to_le_bytes).into_iter().flatten().collect()
    }

    /// The body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u32_le(self.random).bytes(self.session_key.expose());
        writer.finish()
    }

    /// Reads both parts.
    ///
    /// # Errors
    /// The body is cut off.
    pub fn decode(opt: &[u8], body: &[u8]) -> Result<Self, WireError> {
        let opt_random = opt.try_into().ok().map(u32::from_le_bytes);
        let mut reader = Reader::new(body);
        Ok(Self { opt_random, random: reader.u32_le()?, session_key: Key32::new(reader.array()?) })
    }

    /// Whether both random numbers are the same, so that the cloud has the key. JD's own SDK acting as a cloud fails this.
    #[must_use]
    pub fn randoms_agree(&self) -> bool {
        self.opt_random == Some(self.random)
    }
}

/// Type 10, up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Number of the firmware.
    pub version: u16,
    /// Strength of the signal, 0 to 100.
    pub rssi: u16,
}

impl Heartbeat {
    /// The structure.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u16_le(self.version).u16_le(self.rssi);
        writer.finish()
    }

    /// Reads the structure.
    ///
    /// # Errors
    /// It is cut off.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        Ok(Self { version: reader.u16_le()?, rssi: reader.u16_le()? })
    }
}

/// Types 10, 12 and 110, down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeAnswer(pub Code);

impl CodeAnswer {
    /// The structure.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.0.field().to_le_bytes().to_vec()
    }

    /// Reads the structure.
    ///
    /// # Errors
    /// It is cut off.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        Ok(Self(Code::of_field(Reader::new(body).u32_le()?)))
    }
}

/// Type 14, up, never answered: what happened without a command of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsyncResult {
    /// Not defined; 0.
    pub biz_code: u32,
    /// Number of the report.
    pub serial: u32,
    /// The device or sub-device.
    pub feedid: FeedId,
    /// Why: one of [`controltype`].
    pub controltype: u8,
    /// When it happened, in seconds since 1970 UTC.
    pub executed_at: u32,
    /// The id of the timer in decimal digits, or `0`.
    pub id: Text<32>,
    /// What the main controller says.
    pub content: Vec<u8>,
}

/// Why something happened (JoyLink V1.79, asynchronous result).
pub mod controltype {
    /// A timer.
    pub const TIMER: u8 = 0;
    /// A button or a remote control.
    pub const PANEL: u8 = 1;
}

impl AsyncResult {
    /// The structure.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u32_le(self.biz_code).u32_le(self.serial).bytes(self.feedid.field());
        writer.u8(self.controltype).u32_le(self.executed_at).bytes(self.id.field()).bytes(&self.content);
        writer.finish()
    }

    /// Reads the structure.
    ///
    /// # Errors
    /// It is cut off, or an id is no text.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        Ok(Self {
            biz_code: reader.u32_le()?,
            serial: reader.u32_le()?,
            feedid: Text::read(&mut reader)?,
            controltype: reader.u8()?,
            executed_at: reader.u32_le()?,
            id: Text::read(&mut reader)?,
            content: reader.rest().to_vec(),
        })
    }
}

/// Type 15, both ways: JSON of [`super::information`] under a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Information {
    /// Number of the request, and of its answer.
    pub serial: u32,
    /// The JSON.
    pub info: Vec<u8>,
}

impl Information {
    /// The structure.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // A packet has no room for what would not fit the length.
        let length = u32::try_from(self.info.len()).unwrap_or(u32::MAX);
        let mut writer = Writer::new();
        writer.u32_le(self.serial).u32_le(length).bytes(&self.info);
        writer.finish()
    }

    /// Reads the structure.
    ///
    /// # Errors
    /// It is cut off, or of another length than it tells.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let (serial, length) = (reader.u32_le()?, reader.u32_le()?);
        if usize::try_from(length) != Ok(reader.len()) {
            return Err(WireError::Count);
        }
        Ok(Self { serial, info: reader.rest().to_vec() })
    }
}

/// Type 16, up: JSON of [`super::recipe`] under a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipeReport {
    /// Number of the report.
    pub serial: u32,
    /// The JSON.
    pub report: Vec<u8>,
}

impl RecipeReport {
    /// The structure.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u32_le(self.serial).bytes(&self.report);
        writer.finish()
    }

    /// Reads the structure.
    ///
    /// # Errors
    /// It is cut off.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        Ok(Self { serial: reader.u32_le()?, report: reader.rest().to_vec() })
    }
}

/// Type 16, down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SerialAnswer {
    /// Number of the report.
    pub serial: u32,
    /// The result.
    pub code: Code,
}

impl SerialAnswer {
    /// The structure.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u32_le(self.serial).u32_le(self.code.field());
        writer.finish()
    }

    /// Reads the structure.
    ///
    /// # Errors
    /// It is cut off.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        Ok(Self { serial: reader.u32_le()?, code: Code::of_field(reader.u32_le()?) })
    }
}
