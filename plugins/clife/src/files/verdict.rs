//! Whether a request is carried out: what the settings and the installed versions say of it.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use polylink_plugin_sdk::url::http_host;

use super::request::LONGEST_URL;
use super::version::{compare, same};
use super::{CheckSumBits, DevNums, Event, FileInfo, FileMode, Request};

/// What the settings say of file operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSettings {
    /// Hosts files may be moved from and to; empty: any.
    pub allowed_hosts: Vec<String>,
    /// Load nothing if all versions are those that are installed.
    pub skip_same: bool,
    /// Refuse a firmware for other hardware.
    pub check_hardware: bool,
    /// Install older versions too.
    pub allow_downgrade: bool,
    /// How many bits of the sum of a file are compared.
    pub check_sum_bits: CheckSumBits,
    /// An upgrade begins at a random moment within so many milliseconds.
    pub random_delay_ms: u64,
    /// Which part has which number.
    pub dev_nums: DevNums,
}

impl Default for FileSettings {
    fn default() -> Self {
        Self {
            allowed_hosts: Vec::new(),
            skip_same: true,
            check_hardware: true,
            allow_downgrade: true,
            check_sum_bits: CheckSumBits::default(),
            random_delay_ms: 0,
            dev_nums: DevNums::default(),
        }
    }
}

/// What runs on the device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// Version of the whole product.
    pub product_ver: i64,
    /// Versions of its parts by number; 0 is the communication module.
    pub modules: BTreeMap<u32, Versions>,
}

/// Versions of one part. An empty text is one that is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// Of its firmware.
    pub software: String,
    /// Of its hardware.
    pub hardware: String,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is carried out when it is due.
    Proceed,
    /// Nothing is moved, the versions are told: it is a query, or everything is installed already.
    TellVersions,
    /// It is not carried out.
    Refuse(Refusal),
}

/// Why a request is not carried out. The texts are what the platform is answered, except for [`Refusal::Host`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not one of the hosts the settings allow.
    #[error("host `{0}` is not in ota_allowed_hosts")]
    Host(String),
    /// The device has no such part.
    #[error("unknown devNum")]
    UnknownModule,
    /// A firmware for other hardware.
    #[error("hardware mismatch")]
    Hardware,
    /// An older version, which the settings do not allow.
    #[error("downgrade refused")]
    Downgrade,
}

impl Refusal {
    /// What is answered.
    #[must_use]
    pub fn event(&self) -> Event {
        match self {
            Self::Host(_) => Event::bad_url(),
            _ => Event::failure(self.to_string()),
        }
    }
}

/// Decides about a request (Clife access document, our reading: download).
#[must_use]
pub fn judge(request: &Request, installed: &Installed, settings: &FileSettings) -> Verdict {
    for file in &request.file_info {
        let host = http_host(&file.url, LONGEST_URL).unwrap_or_default();
        let allowed = settings.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host));
        if !settings.allowed_hosts.is_empty() && !allowed {
            return Verdict::Refuse(Refusal::Host(host.to_owned()));
        }
    }
    if request.file_mode == FileMode::Query || settings.skip_same && is_installed(request, installed) {
        return Verdict::TellVersions;
    }
    let mut is_older = request.is_upgrade() && request.product_ver < Some(installed.product_ver);
    for file in request.upgrades() {
        let Some(versions) = installed.modules.get(&file.dev_num) else {
            return Verdict::Refuse(Refusal::UnknownModule);
        };
        let hardware = file.hardware.as_deref().unwrap_or_default();
        if settings.check_hardware && !versions.hardware.is_empty() && !same(hardware, &versions.hardware) {
            return Verdict::Refuse(Refusal::Hardware);
        }
        let software = file.software.as_deref().unwrap_or_default();
        is_older |= compare(software, &versions.software) == Some(Ordering::Less);
    }
    if is_older && !settings.allow_downgrade {
        return Verdict::Refuse(Refusal::Downgrade);
    }
    Verdict::Proceed
}

/// True if a request brings only firmware, and only what is there.
fn is_installed(request: &Request, installed: &Installed) -> bool {
    let runs = |file: &FileInfo| {
        let versions = installed.modules.get(&file.dev_num);
        let (software, versions) = (file.software.as_deref(), versions.map(|versions| versions.software.as_str()));
        file.file_type.is_firmware() && software.zip(versions).is_some_and(|(wanted, runs)| same(wanted, runs))
    };
    request.is_upgrade() && request.product_ver == Some(installed.product_ver) && request.file_info.iter().all(runs)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::frame::raw;

    const MD5: &str = "ed6a354d63e6c2c3e78f05b70b7dc0b7";

    fn firmware(file_type: &str, dev_num: u32, software: &str) -> Value {
        json!({
            "fileType": file_type, "devNum": dev_num, "software": software, "hardware": "1.0",
            "url": "http://H:81/f", "md5": MD5, "checkSum": 1,
        })
    }

    fn installed() -> Installed {
        let versions = |software: &str| Versions { software: software.into(), hardware: "1".into() };
        Installed { product_ver: 3, modules: BTreeMap::from([(0, versions("1.0.2")), (4, versions("beta"))]) }
    }

    /// What becomes of an upgrade of the product to this version, by these files.
    #[track_caller]
    fn check(product_ver: i64, files: &[Value], settings: &FileSettings, expected: Verdict) {
        let request = json!({ "fileMode": "DOWN", "productVer": product_ver, "fileInfo": files });
        let request = Request::parse(&raw(&request)).unwrap();
        assert_eq!(judge(&request, &installed(), settings), expected, "{product_ver} {files:?}");
    }

    #[test]
    fn nothing_is_loaded_that_runs_already_unless_the_settings_want_it() {
        let settings = FileSettings::default();
        let (firm, sub) = (firmware("FIRM", 0, "1.0.2.0"), firmware("SUBFIRM", 4, "beta"));
        check(3, &[firm.clone(), sub.clone()], &settings, Verdict::TellVersions);
        check(4, &[firm.clone(), sub.clone()], &settings, Verdict::Proceed);
        check(3, &[firm.clone(), firmware("SUBFIRM", 4, "beta2")], &settings, Verdict::Proceed);
        check(3, &[firm, json!({ "fileType": "PHOTO", "url": "http://h/p" })], &settings, Verdict::Proceed);
        check(3, &[sub], &FileSettings { skip_same: false, ..settings }, Verdict::Proceed);
    }

    #[test]
    fn firmware_for_other_hardware_is_refused_unless_the_settings_want_it() {
        let settings = FileSettings::default();
        let mut firm = firmware("FIRM", 0, "1.0.3.0");
        firm["hardware"] = json!("1.1");
        let files = [firm];
        check(4, &files, &settings, Verdict::Refuse(Refusal::Hardware));
        check(4, &files, &FileSettings { check_hardware: false, ..settings.clone() }, Verdict::Proceed);
        let mut unknown = installed();
        unknown.modules.insert(0, Versions::default());
        let request = Request::parse(&raw(&json!({ "fileMode": "DOWN", "productVer": 4, "fileInfo": files }))).unwrap();
        assert_eq!(judge(&request, &unknown, &settings), Verdict::Proceed);
    }

    #[test]
    fn older_firmware_is_installed_unless_the_settings_refuse_it() {
        let strict = FileSettings { allow_downgrade: false, ..FileSettings::default() };
        let refused = Verdict::Refuse(Refusal::Downgrade);
        for (product_ver, file, expected) in [
            (4, firmware("FIRM", 0, "1.0.1.99"), &refused),
            (2, firmware("FIRM", 0, "1.0.3"), &refused),
            (4, firmware("FIRM", 0, "1.0.10"), &Verdict::Proceed),
            // Nobody can tell which of two is older if they are not numbers.
            (4, firmware("SUBFIRM", 4, "alpha"), &Verdict::Proceed),
        ] {
            check(product_ver, std::slice::from_ref(&file), &FileSettings::default(), Verdict::Proceed);
            check(product_ver, &[file], &strict, expected.clone());
        }
    }

    #[test]
    fn a_part_the_device_does_not_have_is_refused() {
        let unknown = firmware("SUBFIRM", 5, "1");
        check(4, &[unknown], &FileSettings::default(), Verdict::Refuse(Refusal::UnknownModule));
    }

    #[test]
    fn only_hosts_that_the_settings_allow_are_asked_in_either_direction() {
        let settings = FileSettings { allowed_hosts: vec!["other".into(), "h".into()], ..FileSettings::default() };
        check(4, &[firmware("FIRM", 0, "2")], &settings, Verdict::Proceed);
        let refused = Verdict::Refuse(Refusal::Host("e".into()));
        let evil = json!({ "fileType": "PHOTO", "url": "http://e/h" });
        check(4, &[firmware("FIRM", 0, "2"), evil.clone()], &settings, refused.clone());
        let upload = json!({ "fileMode": "UP", "fileInfo": [evil] });
        assert_eq!(judge(&Request::parse(&raw(&upload)).unwrap(), &installed(), &settings), refused);
    }

    #[test]
    fn a_refusal_is_answered_with_its_text_but_a_host_as_an_illegal_address() {
        assert_eq!(Refusal::Host("e".into()).event(), Event::bad_url());
        assert_eq!(Refusal::Hardware.event(), Event::failure("hardware mismatch".into()));
    }
}
