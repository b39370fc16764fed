//! [`Image`]: firmware that an order offers, checked; and [`Build`], what tells it from others.

use polylink_plugin_sdk::calendar::days_in_month;
use polylink_plugin_sdk::url::http_host;
use serde::{Deserialize, Serialize};

use crate::wire::FeedId;
use crate::wire::ota::Firmware;

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

/// Which firmware, and for whom: what tells one order from another. The address does not, as servers sign theirs anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// Whose.
    pub feedid: FeedId,
    /// Its number.
    pub version: u16,
    /// Its check sum.
    pub crc32: u32,
}

impl Build {
    /// What the engine calls it.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/{}/{:08x}", self.feedid.as_str(), self.version, self.crc32)
    }

    /// Reads [`Self::id`]; `None`: that is none.
    #[must_use]
    pub fn of_id(id: &str) -> Option<Self> {
        let mut parts = id.rsplitn(3, '/');
        let (crc32, version, feedid) = (parts.next()?, parts.next()?, parts.next()?);
        let crc32 = u32::from_str_radix(crc32, 16).ok()?;
        let build = Self { feedid: FeedId::new(feedid)?, version: version.parse().ok()?, crc32 };
        // One spelling each.
        (build.id() == id).then_some(build)
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

    fn is_usable(&self) -> bool {
        let fits = |text: &str, most| text.len() <= most && !text.contains(char::is_control);
        !self.target.feedid().is_empty()
            && http_host(&self.url, URL_MAX).is_some()
            && fits(&self.productuuid, PRODUCTUUID_MAX)
            && fits(&self.versionname, NAME_MAX)
    }

    /// Which firmware, and for whom.
    #[must_use]
    pub const fn build(&self) -> Build {
        Build { feedid: self.target.feedid(), version: self.version, crc32: self.crc32 }
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
    fn check(id: &str, expected: Option<(&str, u16, u32)>) {
        let build = Build::of_id(id);
        assert_eq!(build.as_ref().map(|build| (build.feedid.as_str(), build.version, build.crc32)), expected, "{id}");
        assert!(build.is_none_or(|build| build.id() == id));
    }

    #[test]
    fn an_engine_gets_an_id_from_which_the_order_can_be_read() {
        check("1001/6/2dfd2d88", Some(("1001", 6, 0x2DFD_2D88)));
        check("a/b/65535/00000001", Some(("a/b", 65_535, 1)));
        for id in ["", "6/2dfd2d88", "1001/6/", "1001/65536/2dfd2d88", "1001/6/2DFD2D88", "1001/06/2dfd2d88", "1/6/1"] {
            check(id, None);
        }
        let longest = Build { feedid: FeedId::new(&"9".repeat(32)).unwrap(), version: u16::MAX, crc32: u32::MAX };
        assert!(longest.id().len() <= polylink_plugin_sdk::services::ota::ID_MAX);
    }
}
