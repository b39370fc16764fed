//! Messages between the module and the cloud's server on `ser2cli_res`, `ser2cli_noti` and `cli2ser_req`: the protocol
//! version, a command and its data, without length and flag.

use polylink_plugin_sdk::bytes::Reader;

use super::{PacketError, VERSION};
use crate::api::Kind;

/// What the server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerMessage {
    /// So many applications are connected to the cloud for this device.
    Applications(u16),
    /// There may be new firmware; look for it (push of version 4.1).
    FirmwareNews(Kind),
    /// There is this firmware (push of version 4.0).
    FirmwareOffer {
        /// For whom.
        kind: Kind,
        /// The vendor's FID; compare it with the one that runs.
        id: u32,
        /// Where it is.
        url: String,
    },
    /// A command that is not for us; to be ignored.
    Other(u16),
}

impl ServerMessage {
    /// Reads a message. Bytes after its fields are ignored: newer servers may append some.
    ///
    /// # Errors
    /// It has another version, or is cut off.
    pub fn decode(bytes: &[u8]) -> Result<Self, PacketError> {
        let mut reader = Reader::new(bytes);
        if reader.array()? != VERSION {
            return Err(PacketError::Version);
        }
        Ok(match reader.u16_be()? {
            APPLICATIONS => Self::Applications(reader.u16_be()?),
            FIRMWARE_NEWS => Self::FirmwareNews(kind(reader.u8()?)?),
            FIRMWARE_OFFER => {
                let kind = kind(reader.u8()?)?;
                let id = reader.u32_be()?;
                let length = reader.u16_be()?;
                let url = super::payloads::text(reader.take(usize::from(length))?, "the URL is not UTF-8")?;
                Self::FirmwareOffer { kind, id, url }
            }
            command => Self::Other(command),
        })
    }
}

fn kind(byte: u8) -> Result<Kind, PacketError> {
    Kind::of(byte).ok_or(PacketError::Field("firmware is for 1, the module, or 2, the MCU"))
}

/// The question how many applications are connected to the cloud, for the topic `cli2ser_req`.
#[must_use]
pub fn ask_applications() -> Vec<u8> {
    let mut bytes = VERSION.to_vec();
    bytes.extend(ASK_APPLICATIONS.to_be_bytes());
    bytes
}

// Commands of the server (Gizwits cloud protocol 4.0.2, as the vendor's open-source module sends and takes them).
const ASK_APPLICATIONS: u16 = 0x020F;
const APPLICATIONS: u16 = 0x0210;
const FIRMWARE_NEWS: u16 = 0x0211;
const FIRMWARE_OFFER: u16 = 0x020E;
