//! What the platform is told of file operations.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Installed, MODULE, Versions};
use crate::frame::raw;

/// Body of an answer to a file operation, or of one of its events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// What it is about.
    pub resp_code: i64,
    /// How far it is, or what is wrong. A text even where it is a number.
    pub resp_cont: String,
    /// Version of the product; only where versions are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product_ver: Option<i64>,
    /// Versions of the parts; only where versions are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev_ver: Option<Vec<DevVersion>>,
}

/// Versions of one part of the device, as they are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DevVersion {
    /// Of its firmware.
    pub software: String,
    /// Of its hardware.
    pub hardware: String,
    /// Which part; 0 is the communication module.
    pub dev_num: u32,
}

/// What the device asks an upgrade for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpgradeOf {
    /// Everything.
    #[default]
    All,
    /// Its own firmware.
    Firm,
    /// That of its subdevices.
    SubFirm,
}

// Codes and contents: Clife access document 5.4, upgrade result codes.
impl Event {
    /// The transfer is so many percent complete: 1 begun, 100 complete.
    #[must_use]
    pub fn transfer(percent: u8) -> Self {
        Self::new(1, percent.to_string())
    }

    /// The installation is so many percent complete: 1 begun, 100 complete.
    #[must_use]
    pub fn installation(percent: u8) -> Self {
        Self::new(0, percent.to_string())
    }

    /// The device asks for an upgrade.
    #[must_use]
    pub fn ask(what: UpgradeOf) -> Self {
        let what = match what {
            UpgradeOf::All => "ALL",
            UpgradeOf::Firm => "FIRM",
            UpgradeOf::SubFirm => "SUBFIRM",
        };
        Self::new(2, what.to_owned())
    }

    /// What is installed, the communication module first. Of other parts only those that have told a version.
    #[must_use]
    pub fn versions(installed: &Installed) -> Self {
        let is_told = |(dev_num, versions): &(&u32, &Versions)| **dev_num == MODULE || !versions.software.is_empty();
        let parts = installed.modules.iter().filter(is_told);
        let versions = parts.map(|(&dev_num, versions)| DevVersion {
            software: versions.software.clone(),
            hardware: versions.hardware.clone(),
            dev_num,
        });
        Self {
            product_ver: Some(installed.product_ver),
            dev_ver: Some(versions.collect()),
            ..Self::new(3, "ver".to_owned())
        }
    }

    /// An address is illegal.
    #[must_use]
    pub fn bad_url() -> Self {
        Self::failure("0".to_owned())
    }

    /// Another operation is not finished.
    #[must_use]
    pub fn busy() -> Self {
        Self::failure("0".to_owned())
    }

    /// The transfer or the installation broke off.
    #[must_use]
    pub fn interrupted() -> Self {
        Self::failure("1".to_owned())
    }

    /// Everything was loaded, but something else came than was announced.
    #[must_use]
    pub fn verification_failed() -> Self {
        Self::failure("2".to_owned())
    }

    /// Anything else that went wrong.
    #[must_use]
    pub const fn failure(text: String) -> Self {
        Self::new(-1, text)
    }

    const fn new(resp_code: i64, resp_cont: String) -> Self {
        Self { resp_code, resp_cont, product_ver: None, dev_ver: None }
    }

    /// The body of its frame.
    #[must_use]
    pub fn body(&self) -> Box<RawValue> {
        raw(self)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn versions_are_told_with_the_communication_module_first() {
        let versions = |software: &str| Versions { software: software.into(), hardware: "1.0".into() };
        let modules = BTreeMap::from([(2, versions("01")), (0, versions("1.0.2.0")), (3, versions(""))]);
        assert_eq!(
            Event::versions(&Installed { product_ver: 3, modules }).body().get(),
            r#"{"respCode":3,"respCont":"ver","productVer":3,"devVer":[{"software":"1.0.2.0","hardware":"1.0","devNum":0},{"software":"01","hardware":"1.0","devNum":2}]}"#
        );
        assert_eq!(Event::transfer(100).body().get(), r#"{"respCode":1,"respCont":"100"}"#);
    }
}
