//! Firmware that the cloud keeps (5.4, 5.5). What a file is stands in the headers of its download alone.

use md5::{Digest, Md5};

use super::Gizwits;
use super::behaviour::{Firmware, Upgrade};
use crate::file_server::FileServer;

impl Gizwits {
    /// Where firmware lies, for faults.
    pub fn files(&self) -> &FileServer {
        &self.files
    }

    /// New firmware of the module (1) or the MCU (2) by the present scheme: a version of 8 characters. The path of its
    /// file.
    pub fn publish(&self, kind: u8, version: &str, file: &[u8]) -> String {
        let path = format!("/dev/ota/v4.1/download/{kind}-{version}");
        let url = self.put(&path, file, ("Soft-Version", version));
        let upgrade = Upgrade { soft_version: version.to_owned(), url };
        self.change(|behaviour| drop(behaviour.upgrades.insert(kind, upgrade)));
        path
    }

    /// The same by the old scheme: a number, with the release date `yymmddhh`. It is told to devices that ask by that
    /// scheme, or are told by [`Gizwits::push_firmware`].
    pub fn publish_by_fid(&self, kind: u8, fid: u32, release: &str, file: &[u8]) -> String {
        let path = format!("/dev/ota/download/{kind}-{fid}");
        let url = self.put(&path, file, ("Firmware-Version", release));
        self.change(|behaviour| drop(behaviour.firmwares.insert(kind, Firmware { fid, url })));
        path
    }

    fn put(&self, path: &str, file: &[u8], version: (&str, &str)) -> String {
        let url = self.files.serve(path, file);
        let md5: String = Md5::digest(file).iter().map(|byte| format!("{byte:02x}")).collect();
        let headers = [version, (MD5, md5.as_str()), ("Content-Disposition", "attachment; filename=\"firmware.bin\"")];
        self.files.change(path, |file| {
            file.headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        });
        url
    }

    /// From now on the headers promise another file than what lies there.
    pub fn promise_another(&self, path: &str) {
        self.files.change(path, |file| {
            let promised = file.headers.iter_mut().filter(|(name, _)| name == MD5);
            promised.for_each(|(_, md5)| *md5 = "00000000000000000000000000000000".to_owned());
        });
    }
}

/// 32 hex digits (5.4, 5.5).
const MD5: &str = "Firmware-MD5";
