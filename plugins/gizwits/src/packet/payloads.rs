//! What is inside the frames, each as a type that is made into a [`Frame`] and read out of one's payload.
//!
//! Texts are preceded by their length in two bytes. Bytes after the fields of a message are ignored: newer peers append
//! fields.

use polylink_plugin_sdk::bytes::{Reader, Writer};
use polylink_plugin_sdk::secret::Secret;

use super::{Frame, PacketError, VERSION, command};

/// Who a device is: the answer to a discovery, and the announce.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    /// The device's name at the vendor's cloud; empty before registration.
    pub did: String,
    /// Address of the interface.
    pub mac: [u8; 6],
    /// Release date of the firmware, or empty.
    pub firmware_version: String,
    /// Product key.
    pub product_key: String,
    /// Device attributes; the oldest devices have none.
    pub attributes: Option<u64>,
    /// API server and protocol version, which newer devices tell and we do not.
    pub server: Option<(String, String)>,
}

impl Discovery {
    /// As [`command::DISCOVERED`] or [`command::ANNOUNCE`].
    #[must_use]
    pub fn frame(&self, command: u16) -> Frame {
        let mut writer = Writer::new();
        put(&mut writer, self.did.as_bytes());
        put(&mut writer, &self.mac);
        put(&mut writer, self.firmware_version.as_bytes());
        put(&mut writer, self.product_key.as_bytes());
        if let Some(attributes) = self.attributes {
            writer.u64_be(attributes);
        }
        if let Some((server, version)) = &self.server {
            writer.bytes(server.as_bytes()).u8(0).bytes(version.as_bytes()).u8(0);
        }
        Frame::new(command, writer.finish())
    }

    /// Reads all three forms that are known.
    ///
    /// # Errors
    /// It is cut off before the attributes, or a text is none.
    pub fn decode(payload: &[u8]) -> Result<Self, PacketError> {
        let mut reader = Reader::new(payload);
        let did = take_text(&mut reader, "the DID is not UTF-8")?;
        let mac = take_mac(&mut reader)?;
        let firmware_version = take_text(&mut reader, "the firmware version is not UTF-8")?;
        let product_key = take_text(&mut reader, "the product key is not UTF-8")?;
        let attributes = reader.u64_be().ok();
        let mut strings = reader.rest().split(|byte| *byte == 0);
        let server = match (strings.next(), strings.next(), strings.next()) {
            (Some(server), Some(version), Some(_)) => Some((
                text(server, "the API server is not UTF-8")?,
                text(version, "the protocol version is not UTF-8")?,
            )),
            _ => None,
        };
        Ok(Self { did, mac, firmware_version, product_key, attributes, server })
    }
}

/// [`command::CONFIG_SUCCESS`]: the network that the device was told works. The order differs from [`Discovery`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigSuccess {
    /// Address of the interface.
    pub mac: [u8; 6],
    /// Product key.
    pub product_key: String,
    /// The device's name at the vendor's cloud; empty before registration.
    pub did: String,
}

impl ConfigSuccess {
    /// As a frame.
    #[must_use]
    pub fn frame(&self) -> Frame {
        let mut writer = Writer::new();
        put(&mut writer, &self.mac);
        put(&mut writer, self.product_key.as_bytes());
        put(&mut writer, self.did.as_bytes());
        Frame::new(command::CONFIG_SUCCESS, writer.finish())
    }

    /// Reads it.
    ///
    /// # Errors
    /// It is cut off, or a text is none.
    pub fn decode(payload: &[u8]) -> Result<Self, PacketError> {
        let mut reader = Reader::new(payload);
        let mac = take_mac(&mut reader)?;
        let product_key = take_text(&mut reader, "the product key is not UTF-8")?;
        Ok(Self { mac, product_key, did: take_text(&mut reader, "the DID is not UTF-8")? })
    }
}

/// [`command::PASSCODE`] and [`command::LOGIN`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passcode(pub Secret<Vec<u8>>);

impl Passcode {
    /// As one of those two commands; an empty passcode says that the device cannot be bound at present.
    #[must_use]
    pub fn frame(&self, command: u16) -> Frame {
        let mut writer = Writer::new();
        put(&mut writer, self.0.expose());
        Frame::new(command, writer.finish())
    }

    /// Reads it.
    ///
    /// # Errors
    /// It is cut off, or longer than any passcode.
    pub fn decode(payload: &[u8]) -> Result<Self, PacketError> {
        let passcode = take(&mut Reader::new(payload))?;
        if passcode.len() > MAX_PASSCODE {
            return Err(PacketError::Field("the passcode is longer than 32 bytes"));
        }
        Ok(Self(Secret::new(passcode.to_vec())))
    }
}

/// [`command::LOGIN_RESULT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginResult {
    /// The passcode was right.
    Accepted,
    /// It was wrong; the module closes the connection.
    Refused,
}

impl LoginResult {
    /// As a frame.
    #[must_use]
    pub fn frame(self) -> Frame {
        Frame::new(command::LOGIN_RESULT, [self as u8])
    }

    /// Reads it.
    ///
    /// # Errors
    /// It is cut off.
    pub fn decode(payload: &[u8]) -> Result<Self, PacketError> {
        Ok(if Reader::new(payload).u8()? == 0 { Self::Accepted } else { Self::Refused })
    }
}

/// [`command::ONBOARDING`]: the Wi-Fi network to join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Onboarding {
    /// Its name.
    pub ssid: String,
    /// Its password; empty: an open network.
    pub password: Secret<String>,
}

impl Onboarding {
    /// As a frame.
    #[must_use]
    pub fn frame(&self) -> Frame {
        let mut writer = Writer::new();
        put(&mut writer, self.ssid.as_bytes());
        put(&mut writer, self.password.expose().as_bytes());
        Frame::new(command::ONBOARDING, writer.finish())
    }

    /// Reads it; neither is checked beyond its length, as the protocol wants it.
    ///
    /// # Errors
    /// It is cut off, the name is empty, one is longer than 32 bytes, or not UTF-8, which the host cannot take.
    pub fn decode(payload: &[u8]) -> Result<Self, PacketError> {
        let mut reader = Reader::new(payload);
        let ssid = take_text(&mut reader, "the network's name is not UTF-8")?;
        let password = Secret::new(take_text(&mut reader, "the network's password is not UTF-8")?);
        if !(1..=MAX_CREDENTIAL).contains(&ssid.len()) {
            return Err(PacketError::Field("the network's name has 1 to 32 bytes"));
        }
        if password.expose().len() > MAX_CREDENTIAL {
            return Err(PacketError::Field("the network's password has at most 32 bytes"));
        }
        Ok(Self { ssid, password })
    }
}

/// A Wi-Fi network in sight; [`command::HOT_SPOTS_ARE`] lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HotSpot {
    /// Its name.
    pub ssid: String,
    /// Strength of its signal, 0 to 100.
    pub power: u8,
}

impl HotSpot {
    /// A list of them as a frame.
    #[must_use]
    pub fn frame(hot_spots: &[Self]) -> Frame {
        let mut writer = Writer::new();
        for hot_spot in hot_spots {
            put(&mut writer, hot_spot.ssid.as_bytes());
            writer.u8(hot_spot.power);
        }
        Frame::new(command::HOT_SPOTS_ARE, writer.finish())
    }

    /// Reads a list, which goes on to the end of the frame.
    ///
    /// # Errors
    /// It ends within an entry, or a name is not UTF-8.
    pub fn decode(payload: &[u8]) -> Result<Vec<Self>, PacketError> {
        let mut reader = Reader::new(payload);
        let mut hot_spots = Vec::new();
        while !reader.is_empty() {
            let ssid = take_text(&mut reader, "the network's name is not UTF-8")?;
            hot_spots.push(Self { ssid, power: reader.u8()? });
        }
        Ok(hot_spots)
    }
}

/// [`command::LOG_SWITCH`]: whether the application wants to see the log. That it has two bytes is a guess: the
/// protocol names no width, and the vendor's module ignores the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSwitch(pub bool);

impl LogSwitch {
    /// As a frame.
    #[must_use]
    pub fn frame(self) -> Frame {
        Frame::new(command::LOG_SWITCH, u16::from(self.0).to_be_bytes())
    }

    /// Reads it.
    ///
    /// # Errors
    /// It is cut off, or neither 0 nor 1.
    pub fn decode(payload: &[u8]) -> Result<Self, PacketError> {
        match Reader::new(payload).u16_be()? {
            0 => Ok(Self(false)),
            1 => Ok(Self(true)),
            _ => Err(PacketError::Field("the log switch is 0 or 1")),
        }
    }
}

/// [`command::LOG_LINE`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// 0 critical, 1 error, 2 warning, 3 info, 4 debug.
    pub level: u8,
    /// What part of the module speaks.
    pub tag: String,
    /// Where in it.
    pub source: String,
    /// The line.
    pub content: String,
}

impl LogLine {
    /// As a frame. Tag and source are cut to 64 bytes, the content to 1024, so that a line never is a burden.
    #[must_use]
    pub fn frame(&self) -> Frame {
        let mut writer = Writer::new();
        writer.u8(self.level);
        for (text, limit) in [(&self.tag, 64), (&self.source, 64), (&self.content, 1024)] {
            put(&mut writer, &text.as_bytes()[..text.floor_char_boundary(limit)]);
        }
        Frame::new(command::LOG_LINE, writer.finish())
    }

    /// Reads it.
    ///
    /// # Errors
    /// It is cut off, or a text is none.
    pub fn decode(payload: &[u8]) -> Result<Self, PacketError> {
        let mut reader = Reader::new(payload);
        let level = reader.u8()?;
        let tag = take_text(&mut reader, "the tag is not UTF-8")?;
        let source = take_text(&mut reader, "the source is not UTF-8")?;
        Ok(Self { level, tag, source, content: take_text(&mut reader, "the content is not UTF-8")? })
    }
}

/// [`command::DEVICE_INFORMATION_IS`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceInformation {
    /// Version of the module's hardware; like the next four at most 8 bytes.
    pub module_hardware: String,
    /// Version of the module's software.
    pub module_software: String,
    /// Version of the MCU's hardware.
    pub mcu_hardware: String,
    /// Version of the MCU's software.
    pub mcu_software: String,
    /// Version of the P0 payloads.
    pub payload_version: String,
    /// Not used: zeros.
    pub firmware_id: [u8; 8],
    /// Release date of the firmware, or empty.
    pub firmware_version: String,
    /// Product key.
    pub product_key: String,
}

impl DeviceInformation {
    /// As a frame. The vendor's module tells a length that is too long by 32; this one tells the true one.
    #[must_use]
    pub fn frame(&self) -> Frame {
        let mut writer = Writer::new();
        for version in [
            &self.module_hardware,
            &self.module_software,
            &self.mcu_hardware,
            &self.mcu_software,
            &self.payload_version,
        ] {
            writer.bytes(&padded(version));
        }
        writer.bytes(&self.firmware_id);
        put(&mut writer, self.firmware_version.as_bytes());
        put(&mut writer, self.product_key.as_bytes());
        Frame::new(command::DEVICE_INFORMATION_IS, writer.finish())
    }

    /// Reads it.
    ///
    /// # Errors
    /// It is cut off, or a text is none.
    pub fn decode(payload: &[u8]) -> Result<Self, PacketError> {
        let mut reader = Reader::new(payload);
        let mut version = || -> Result<String, PacketError> {
            let padded: [u8; VERSION_WIDTH] = reader.array()?;
            let end = padded.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            text(&padded[..end], "a version is not UTF-8")
        };
        let (module_hardware, module_software) = (version()?, version()?);
        let (mcu_hardware, mcu_software, payload_version) = (version()?, version()?, version()?);
        let firmware_id = reader.array()?;
        let firmware_version = take_text(&mut reader, "the firmware version is not UTF-8")?;
        let product_key = take_text(&mut reader, "the product key is not UTF-8")?;
        Ok(Self {
            module_hardware,
            module_software,
            mcu_hardware,
            mcu_software,
            payload_version,
            firmware_id,
            firmware_version,
            product_key,
        })
    }
}

/// [`command::WIFI_VERSION_IS`]: the version of the module's software. No application is known that asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WifiVersion(pub String);

impl WifiVersion {
    /// As a frame.
    #[must_use]
    pub fn frame(&self) -> Frame {
        let mut writer = Writer::new();
        writer.bytes(&VERSION);
        put(&mut writer, self.0.as_bytes());
        Frame::new(command::WIFI_VERSION_IS, writer.finish())
    }

    /// Reads it.
    ///
    /// # Errors
    /// It is cut off, or no text.
    pub fn decode(payload: &[u8]) -> Result<Self, PacketError> {
        let mut reader = Reader::new(payload);
        if reader.array()? != VERSION {
            return Err(PacketError::Version);
        }
        take_text(&mut reader, "the version is not UTF-8").map(Self)
    }
}

pub(super) fn text(bytes: &[u8], otherwise: &'static str) -> Result<String, PacketError> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| PacketError::Field(otherwise))
}

fn take<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], PacketError> {
    let length = reader.u16_be()?;
    Ok(reader.take(usize::from(length))?)
}

fn take_text(reader: &mut Reader<'_>, otherwise: &'static str) -> Result<String, PacketError> {
    text(take(reader)?, otherwise)
}

fn take_mac(reader: &mut Reader<'_>) -> Result<[u8; 6], PacketError> {
    take(reader)?.try_into().map_err(|_| PacketError::Field("the MAC has 6 bytes"))
}

/// Writes bytes after their length; what does not fit the length is cut off.
fn put(writer: &mut Writer, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    writer.u16_be(length).bytes(&bytes[..usize::from(length)]);
}

/// A version in its fixed width, padded with zeros; a longer one is cut off.
fn padded(version: &str) -> [u8; VERSION_WIDTH] {
    let bytes = version.as_bytes();
    std::array::from_fn(|at| bytes.get(at).copied().unwrap_or(0))
}

/// Longest passcode: "10 to 32 bytes" (Gizwits GAgent specification, passcode).
const MAX_PASSCODE: usize = 32;

/// Longest name or password of a network (Gizwits LAN protocol 4.0.1, on-boarding).
const MAX_CREDENTIAL: usize = 32;

/// Versions have 8 characters (Gizwits LAN protocol 4.0.1, device information).
const VERSION_WIDTH: usize = 8;
