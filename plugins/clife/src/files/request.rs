//! What the platform asks for.

use std::collections::BTreeMap;
use std::str::FromStr;

use polylink_plugin_sdk::hex;
use polylink_plugin_sdk::url::http_host;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Event, Kind, Window, WindowError, log_window, window};
use crate::frame::{list, members, text};

/// What is done with the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum FileMode {
    /// The device loads them.
    Down,
    /// The device uploads them.
    Up,
    /// The device tells its versions.
    Query,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum FileType {
    /// Firmware of the device.
    Firm,
    /// Firmware of a subdevice.
    SubFirm,
    /// Settings of the product.
    Profile,
    /// A log.
    Log,
    /// A picture.
    Photo,
    /// A film.
    Video,
    /// Sound.
    Voice,
    /// Anything else.
    Data,
}

/// A request that can be carried out as far as it can be judged without settings.
///
/// It is serialised to the members it was read from; a stored one is read with [`Request::parse`], so that it passes the
/// same checks again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// What is done.
    pub file_mode: FileMode,
    /// Version of the whole product afterwards; there for every upgrade.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product_ver: Option<i64>,
    /// The files in the order they came; empty for a query, and only then.
    pub file_info: Vec<FileInfo>,
    /// Seconds from receipt; see [`Request::window`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<i64>,
    /// Seconds from receipt; see [`Request::window`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_time: Option<i64>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileInfo {
    /// What it is.
    pub file_type: FileType,
    /// Which part of the device it is for; 0, the communication module, if the request does not say.
    pub dev_num: u32,
    /// Version of a firmware; there for every upgrade.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub software: Option<String>,
    /// Hardware that a firmware is made for; there for every upgrade.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hardware: Option<String>,
    /// An http or https address with a host.
    pub url: String,
    /// 32 lower-case hex digits; there for every upgrade.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub md5: Option<String>,
    /// Sum of the bytes; there for every upgrade.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check_sum: Option<u64>,
}

/// Why a request cannot be read. The texts are what the platform is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// A member is missing, null or empty.
    #[error("missing {0}")]
    Missing(&'static str),
    /// A wrong type, a value outside of its range, or a file that is not moved in this direction.
    #[error("bad parameter")]
    Parameter,
    /// Not an address that files are moved to or from.
    #[error("illegal url")]
    Url,
}

impl BadRequest {
    /// What is answered.
    #[must_use]
    pub fn event(self) -> Event {
        match self {
            Self::Url => Event::bad_url(),
            _ => Event::failure(self.to_string()),
        }
    }
}

impl Request {
    /// Reads a request. Members it does not need are not looked at; of a query that is all but `fileMode`.
    ///
    /// # Errors
    /// See [`BadRequest`].
    pub fn parse(data: &RawValue) -> Result<Self, BadRequest> {
        let members = Members(members(data).ok_or(BadRequest::Parameter)?);
        let file_mode = match members.text("fileMode")?.ok_or(BadRequest::Missing("fileMode"))?.as_str() {
            "DOWN" => FileMode::Down,
            "UP" => FileMode::Up,
            "QUERY" => {
                let file_mode = FileMode::Query;
                return Ok(Self { file_mode, product_ver: None, file_info: vec![], start_time: None, stop_time: None });
            }
            _ => return Err(BadRequest::Parameter),
        };
        let files = list(members.get("fileInfo").ok_or(BadRequest::Missing("fileInfo"))?);
        let files = files.filter(|files| files.len() <= MOST_FILES).ok_or(BadRequest::Parameter)?;
        let request = Self {
            file_mode,
            product_ver: members.number("productVer")?,
            file_info: files.iter().map(|file| FileInfo::parse(file, file_mode)).collect::<Result<_, _>>()?,
            start_time: members.number("startTime")?,
            stop_time: members.number("stopTime")?,
        };
        request.check()?;
        Ok(request)
    }

    fn check(&self) -> Result<(), BadRequest> {
        if self.file_info.is_empty() {
            return Err(BadRequest::Missing("fileInfo"));
        }
        if self.is_upgrade() && self.product_ver.is_none() {
            return Err(BadRequest::Missing("productVer"));
        }
        // The lowest version of a product (Clife access document 4.3.2.8).
        if self.product_ver.is_some_and(|version| version < 1) {
            return Err(BadRequest::Parameter);
        }
        for file in self.upgrades() {
            let missing = match file {
                FileInfo { software: None, .. } => "software",
                FileInfo { hardware: None, .. } => "hardware",
                FileInfo { md5: None, .. } => "md5",
                FileInfo { check_sum: None, .. } => "checkSum",
                _ => continue,
            };
            return Err(BadRequest::Missing(missing));
        }
        // Last, so that what can be told more exactly is (Clife access document, our reading: order of the checks).
        if self.file_info.iter().any(|file| http_host(&file.url, LONGEST_URL).is_none()) {
            return Err(BadRequest::Url);
        }
        Ok(())
    }

    /// True if a firmware is among what is loaded.
    #[must_use]
    pub fn is_upgrade(&self) -> bool {
        self.upgrades().next().is_some()
    }

    /// True if the first file is a firmware.
    #[must_use]
    pub fn begins_with_firmware(&self) -> bool {
        self.file_info.first().is_some_and(|file| file.file_type.is_firmware())
    }

    /// The firmwares among what is loaded.
    pub fn upgrades(&self) -> impl Iterator<Item = &FileInfo> {
        self.file_info.iter().filter(|file| file.file_type.is_firmware())
    }

    /// What kind of operation it becomes; `None` for a query.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        match self.file_mode {
            FileMode::Down if self.is_upgrade() => Some(Kind::Upgrade),
            FileMode::Down => Some(Kind::Download),
            FileMode::Up => Some(Kind::Upload),
            FileMode::Query => None,
        }
    }

    /// When it is due.
    ///
    /// # Errors
    /// See [`WindowError`].
    pub fn window(&self) -> Result<Window, WindowError> {
        let is_log = self.file_info.iter().any(|file| file.file_type == FileType::Log);
        if is_log { log_window(self.start_time, self.stop_time) } else { window(self.start_time, self.stop_time) }
    }
}

impl FileInfo {
    fn parse(file: &RawValue, mode: FileMode) -> Result<Self, BadRequest> {
        let members = Members(members(file).ok_or(BadRequest::Parameter)?);
        let file_type = members.get("fileType").ok_or(BadRequest::Missing("fileType"))?;
        let file_type: FileType = serde_json::from_str(file_type.get()).map_err(|_| BadRequest::Parameter)?;
        if !file_type.moves(mode) {
            return Err(BadRequest::Parameter);
        }
        let dev_num = members.number("devNum")?;
        if file_type == FileType::SubFirm && dev_num.is_none() {
            return Err(BadRequest::Missing("devNum"));
        }
        let md5 = members.text("md5")?;
        if md5.as_ref().is_some_and(|md5| !hex::is_digits(md5, 32)) {
            return Err(BadRequest::Parameter);
        }
        let url = members.get("url").ok_or(BadRequest::Missing("url"))?;
        Ok(Self {
            file_type,
            dev_num: dev_num.unwrap_or(0),
            software: members.version("software")?,
            hardware: members.version("hardware")?,
            url: text(url).ok_or(BadRequest::Parameter)?,
            md5: md5.map(|md5| md5.to_ascii_lowercase()),
            check_sum: members.number("checkSum")?,
        })
    }
}

impl FileType {
    /// True for what can be installed.
    #[must_use]
    pub const fn is_firmware(self) -> bool {
        matches!(self, Self::Firm | Self::SubFirm)
    }

    /// True if files of this type go in this direction (Clife access document 4.3.2.8).
    #[must_use]
    pub const fn moves(self, mode: FileMode) -> bool {
        match self {
            Self::Firm | Self::SubFirm | Self::Profile => matches!(mode, FileMode::Down),
            Self::Log => matches!(mode, FileMode::Up),
            Self::Photo | Self::Video | Self::Voice | Self::Data => matches!(mode, FileMode::Down | FileMode::Up),
        }
    }
}

/// Members of an object, where null and an empty text count as missing.
struct Members(BTreeMap<String, Box<RawValue>>);

impl Members {
    fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.get(name).map(AsRef::as_ref).filter(|raw| raw.get() != "null")
    }

    fn text(&self, name: &str) -> Result<Option<String>, BadRequest> {
        let Some(raw) = self.get(name) else { return Ok(None) };
        let text = text(raw).ok_or(BadRequest::Parameter)?;
        Ok((!text.is_empty()).then_some(text))
    }

    fn version(&self, name: &str) -> Result<Option<String>, BadRequest> {
        match self.text(name)? {
            Some(version) if version.len() > LONGEST_VERSION => Err(BadRequest::Parameter),
            version => Ok(version),
        }
    }

    fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, BadRequest> {
        self.get(name).map(|raw| raw.get().parse().map_err(|_| BadRequest::Parameter)).transpose()
    }
}

/// Longest address taken (Clife access document, our reading: download).
pub const LONGEST_URL: usize = 2048;
/// Longest version taken (not documented; chosen by us: it is stored).
const LONGEST_VERSION: usize = 128;
/// Most files of one request (not documented; chosen by us: a request is stored, and its files are all on the device
/// before the first is installed).
const MOST_FILES: usize = 16;

#[cfg(test)]
mod tests;
