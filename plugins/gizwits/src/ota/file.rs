//! [`FirmwareFile`]: what the headers of a download promise.

use polylink_plugin_sdk::hex;

use crate::api::is_version;
use crate::identity::is_firmware_version;

/// A firmware file, as the headers of its download describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirmwareFile {
    /// Software version (scheme 4.1).
    pub soft_version: Option<String>,
    /// Release date, `yymmddhh` (scheme 4.0).
    pub firmware_version: Option<String>,
    /// MD5 of the content.
    pub md5: [u8; 16],
    /// Bytes of the content.
    pub length: u64,
}

/// Why a download is no firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// Not found, or a server in trouble.
    #[error("the download of the firmware was answered with HTTP status {0}")]
    Status(u16),
    /// Without this header nothing can be checked.
    #[error("the download of the firmware has no usable header `{0}`")]
    Header(&'static str),
}

impl FirmwareFile {
    /// Reads the headers of a download, whose names are in lower case.
    ///
    /// # Errors
    /// The download failed, or length and MD5 are not told.
    pub fn parse(status: u16, headers: &[(String, String)]) -> Result<Self, FileError> {
        let length_header = match status {
            200 => LENGTH,
            206 => RANGE,
            _ => return Err(FileError::Status(status)),
        };
        let header = |name: &str| headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.trim());
        let text = |name: &str, fits: fn(&str) -> bool| header(name).filter(|value| fits(value)).map(str::to_owned);
        // A part says behind the slash how long the whole is (RFC 9110, 14.4).
        let length = header(length_header).map(|length| length.rsplit_once('/').map_or(length, |(_, whole)| whole));
        let length = length.filter(|length| length.bytes().all(|digit| digit.is_ascii_digit()));
        let length = length.and_then(|length| length.parse().ok()).filter(|length: &u64| *length > 0);
        Ok(Self {
            soft_version: text("soft-version", is_version),
            firmware_version: text("firmware-version", is_firmware_version),
            md5: header(MD5).and_then(digest).ok_or(FileError::Header(MD5))?,
            length: length.ok_or(FileError::Header(length_header))?,
        })
    }
}

fn digest(text: &str) -> Option<[u8; 16]> {
    hex::decode(text)?.try_into().ok()
}

const LENGTH: &str = "content-length";
const RANGE: &str = "content-range";
const MD5: &str = "firmware-md5";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vectors::vector;

    fn headers(edit: impl FnOnce(&mut Vec<(String, String)>)) -> Vec<(String, String)> {
        let mut headers = vec![
            ("content-length".into(), "3".into()),
            ("firmware-md5".into(), "900150983cd24fb0d6963f7d28e17f72".into()),
        ];
        edit(&mut headers);
        headers
    }

    #[test]
    fn the_headers_of_the_vector_are_read() {
        let vector = vector("http-007");
        let headers = vector["response"]["headers"].as_object().unwrap().iter();
        let headers: Vec<_> =
            headers.map(|(name, value)| (name.to_ascii_lowercase(), value.as_str().unwrap().to_owned())).collect();
        let file = FirmwareFile::parse(200, &headers).unwrap();
        let parsed = &vector["parsed"];
        assert_eq!(file.soft_version.as_deref(), parsed["soft_version"].as_str());
        assert_eq!(Some(file.md5), digest(parsed["md5"].as_str().unwrap()));
        assert_eq!(file.length, 5_000);
    }

    #[test]
    fn a_part_of_the_file_says_how_long_the_whole_is() {
        let with = |range: &str| {
            headers(|headers| headers[0] = ("content-length".into(), "1".into()))
                .into_iter()
                .chain([("content-range".into(), range.into())])
                .collect::<Vec<(String, String)>>()
        };
        assert_eq!(FirmwareFile::parse(206, &with("bytes 0-0/5000")).map(|file| file.length), Ok(5_000));
        for range in ["bytes 0-0/*", "bytes 0-0/", "bytes */0", ""] {
            assert_eq!(FirmwareFile::parse(206, &with(range)), Err(FileError::Header(RANGE)), "{range}");
        }
    }

    #[test]
    fn without_status_length_and_digest_there_is_no_file() {
        assert_eq!(FirmwareFile::parse(404, &headers(|_| ())), Err(FileError::Status(404)));
        for (at, value, name) in [(0, "0", LENGTH), (0, "-3", LENGTH), (0, "", LENGTH), (1, "9001", MD5), (1, "", MD5)]
        {
            let headers = headers(|headers| headers[at].1 = value.into());
            assert_eq!(FirmwareFile::parse(200, &headers), Err(FileError::Header(name)), "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_header_can_panic_the_reader(part: bool, name in "content-length|content-range|firmware-md5|firmware-version|soft-version", value in "\\PC{0,40}") {
            let headers = headers(|headers| headers.insert(0, (name, value)));
            let _ = FirmwareFile::parse(if part { 206 } else { 200 }, &headers);
        }
    }
}
