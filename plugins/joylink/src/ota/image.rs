//! [`Image`]: firmware that an order offers, checked; and whether a file is it.

use polylink_plugin_sdk::calendar::days_in_month;
use polylink_plugin_sdk::url::http_host;
use serde::{Deserialize, Serialize};

use crate::crypto::Crc32;
use crate::wire::ota::Firmware;
use crate::wire::{Code, FeedId};

/// Whose firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// The device's, or the gateway's, with this identity.
    Own(FeedId),
    /// That of the sub-device with this identity.
    Sub(FeedId),
}

impl Target {
    /// The identity.
    #[must_use]
    pub const fn feedid(self) -> FeedId {
        match self {
            Self::Own(feedid) | Self::Sub(feedid) => feedid,
        }
    }
}

/// A device that may be upgraded: the one that the session is for, or a sub-device that is bound to it.
#[derive(Clone, Copy, Debug)]
pub struct Device<'a> {
    /// Which.
    pub target: Target,
    /// Its product type.
    pub productuuid: &'a str,
    /// Number of the firmware that it runs; `None`: not known.
    pub version: Option<u16>,
}

/// What the update engine is to load and install. It passed every check that does not need the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// For whom.
    pub target: Target,
    /// Product type of that device.
    pub productuuid: String,
    /// An http or https address.
    pub url: String,
    /// Check sum: [`crate::crypto::crc32`].
    pub crc32: u32,
    /// Number of the firmware.
    pub version: u16,
    /// Its name for people.
    pub versionname: String,
}

/// Why a file is not the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Nothing came.
    #[error("the image is empty")]
    Empty,
    /// Not as long as the server said. The check sum alone would not notice zeros in front of it.
    #[error("the image has {got} bytes instead of {expected}")]
    Length {
        /// Bytes that came.
        got: u64,
        /// Bytes that the server said.
        expected: u64,
    },
    /// Another check sum than ordered.
    #[error("the image has another check sum than ordered")]
    CheckSum,
}

impl Mismatch {
    /// The code for it.
    #[must_use]
    pub const fn code(self) -> Code {
        Code::FILE_DAMAGED
    }
}

impl Image {
    /// The image of an order for this device; `None` if it cannot be used: not a version or address, another product, or
    /// texts that are too long.
    ///
    /// The name may be any short text: JoyLink gives it a form ([`is_regular_name`]), but nothing here depends on it, and
    /// to refuse an image for its name would keep a device from its repair.
    pub(super) fn of(firmware: &Firmware, device: &Device<'_>) -> Option<Self> {
        let image = Self {
            target: device.target,
            productuuid: firmware.productuuid.clone(),
            url: firmware.url.clone(),
            crc32: firmware.crc32,
            version: u16::try_from(firmware.version).ok()?,
            versionname: firmware.versionname.clone(),
        };
        (image.is_usable() && image.productuuid == device.productuuid).then_some(image)
    }

    pub(super) fn is_usable(&self) -> bool {
        let fits = |text: &str, most| text.len() <= most && !text.contains(char::is_control);
        !self.target.feedid().is_empty()
            && http_host(&self.url, URL_MAX).is_some()
            && fits(&self.productuuid, PRODUCTUUID_MAX)
            && fits(&self.versionname, NAME_MAX)
    }

    /// Whether a file of this length and check sum is the image; `content_length` is what the server said, if it did. To
    /// be asked after the download, and again for what was copied to flash (JoyLink V1.79, OTA).
    ///
    /// # Errors
    /// Why it is not.
    pub fn matches(&self, length: u64, content_length: Option<u64>, crc: Crc32) -> Result<(), Mismatch> {
        match content_length {
            Some(expected) if expected != length => Err(Mismatch::Length { got: length, expected }),
            _ if length == 0 => Err(Mismatch::Empty),
            _ if crc.value() != self.crc32 => Err(Mismatch::CheckSum),
            _ => Ok(()),
        }
    }
}

/// Whether a name has the form of JoyLink, `major.minor.fix.yyyymmdd_release`. One that has not is worth a line in the
/// log.
#[must_use]
pub fn is_regular_name(name: &str) -> bool {
    let number = |text: &str, lengths: std::ops::RangeInclusive<usize>| {
        (lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| text.parse::<u32>().ok())?
    };
    let parts: Vec<_> = name.split('.').collect();
    let [major, minor, fix, release] = parts[..] else { return false };
    let Some(date) = release.strip_suffix("_release").and_then(|date| number(date, 8..=8)) else { return false };
    let (year, month, day) = (date / 10_000, (date / 100 % 100) as u8, (date % 100) as u8);
    [major, minor, fix].iter().all(|part| number(part, 1..=3).is_some())
        && (1..=days_in_month(year.into(), month)).contains(&day)
}

/// Bytes of an address (not documented; chosen by us: longer than any link with a signature in it that we have seen).
const URL_MAX: usize = 2048;

/// Bytes of a product type (JoyLink V1.79 uses 6 letters and digits; chosen by us: room for those of other makers).
const PRODUCTUUID_MAX: usize = 32;

/// Bytes of a name (the form in JoyLink V1.79 has at most 28; chosen by us: room for other makers' words).
const NAME_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_regular_in_the_form_of_the_document_only() {
        for name in ["1.2.1.20151030_release", "0.0.0.20160229_release", "999.1.001.20151231_release"] {
            assert!(is_regular_name(name), "{name}");
        }
        for name in [
            "",
            "1.2.1",
            "1.2.1.20151030",
            "1.2.1.20151030_Release",
            "1.2.1.20151030_release.5",
            "1000.2.1.20151030_release",
            "1..1.20151030_release",
            "+1.2.1.20151030_release",
            "1.2.1.20150229_release",
            "1.2.1.20151301_release",
            "1.2.1.2015103_release",
        ] {
            assert!(!is_regular_name(name), "{name}");
        }
    }

    #[track_caller]
    fn check(image: &[u8], content_length: Option<u64>, crc32: u32, expected: Result<(), Mismatch>) {
        let feedid = FeedId::new("1").unwrap();
        let (productuuid, url, versionname) = ("P".into(), "http://h".into(), String::new());
        let order = Image { target: Target::Own(feedid), productuuid, url, crc32, version: 1, versionname };
        let mut crc = Crc32::new();
        crc.update(image);
        assert_eq!(order.matches(image.len() as u64, content_length, crc), expected);
    }

    #[test]
    fn a_file_is_the_image_by_length_and_check_sum() {
        check(b"123456789", Some(9), 0x2DFD_2D88, Ok(()));
        check(b"123456789", None, 0x2DFD_2D88, Ok(()));
        // As zlib would have it.
        check(b"123456789", Some(9), 0xCBF4_3926, Err(Mismatch::CheckSum));
        check(b"12345678", Some(9), 0x2DFD_2D88, Err(Mismatch::Length { got: 8, expected: 9 }));
        check(b"\x00123456789", Some(9), 0x2DFD_2D88, Err(Mismatch::Length { got: 10, expected: 9 }));
        check(b"", Some(0), 0, Err(Mismatch::Empty));
        check(b"", None, 0, Err(Mismatch::Empty));
        assert_eq!(Mismatch::CheckSum.code(), Code::FILE_DAMAGED);
    }
}
