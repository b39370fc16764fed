//! Orders of firmware, and what the device says of them: 101 with the new version is the success, alarm 105 with code 200
//! the failure (Deli access document, 101 to 105). There is no progress. No I/O and no clock.

use md5::{Digest, Md5};

use super::behaviour::Firmware;

/// A firmware that the device was given in an answer to 103, and what it said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// What was ordered.
    pub firmware: Firmware,
    /// How often the device has asked for it.
    pub asked: u32,
    /// Told by 101 with its version, or by the text of the alarm.
    pub outcome: Option<Result<(), String>>,
    /// Its end may be told once more: it was asked for again, or its alarm had no answer.
    again: bool,
}

/// All orders of one device, oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Upgrades {
    pub list: Vec<Upgrade>,
    /// Version that the device told last.
    running: Option<String>,
}

impl Firmware {
    /// One for a file at an address, with its right MD5.
    pub fn of(version: &str, upgrade_type: &str, url: &str, file: &[u8]) -> Self {
        let checksum = Md5::digest(file).iter().map(|byte| format!("{byte:02x}")).collect();
        let (version, upgrade_type) = (version.to_owned(), upgrade_type.to_owned());
        Self { version, upgrade_type, file_path: url.to_owned(), checksum }
    }
}

impl Upgrades {
    /// 103 was answered with this firmware. Of one that runs already nothing is expected.
    pub fn ordered(&mut self, firmware: &Firmware) {
        if self.running.as_ref() == Some(&firmware.version) {
            return;
        }
        if let Some(last) = self.list.last_mut().filter(|last| last.firmware == *firmware) {
            last.asked = last.asked.saturating_add(1);
            last.again = last.outcome.is_some();
        } else if self.list.len() < MAX_UPGRADES {
            self.list.push(Upgrade { firmware: firmware.clone(), asked: 1, outcome: None, again: false });
        }
    }

    /// 101: this version runs.
    pub fn runs(&mut self, version: &str) -> Result<(), String> {
        self.running = Some(version.to_owned());
        let Some(upgrade) = self.list.iter_mut().rfind(|upgrade| upgrade.firmware.version == version) else {
            return Ok(());
        };
        if let (Some(Err(reason)), false) = (&upgrade.outcome, upgrade.again) {
            return Err(format!("101 with version {version}, whose upgrade failed: {reason}"));
        }
        upgrade.outcome = Some(Ok(()));
        Ok(())
    }

    /// 105 with code 200: an upgrade failed. It can only be the last one, since an order takes the place of the one before.
    /// Without an answer the device may say so again, under another mid after a restart.
    pub fn failed(&mut self, reason: &str, is_answered: bool) -> Result<(), String> {
        let Some(upgrade) = self.list.last_mut() else {
            return Err(format!("alarm {UPGRADE_FAILED} without an order: {reason}"));
        };
        // A new version may run on trial, and be left again.
        let has_left = upgrade.outcome == Some(Ok(())) && self.running.as_ref() != Some(&upgrade.firmware.version);
        if let (Some(before), false) = (&upgrade.outcome, upgrade.again || has_left) {
            return Err(format!("alarm {UPGRADE_FAILED} after {before:?}: {reason}"));
        }
        upgrade.outcome = Some(Err(reason.to_owned()));
        upgrade.again = !is_answered;
        Ok(())
    }
}

/// "Device alarm: upgrade failed" (Deli access document, error codes).
pub(super) const UPGRADE_FAILED: i64 = 200;
/// Orders that are judged. Chosen by us.
const MAX_UPGRADES: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn firmware(version: &str) -> Firmware {
        Firmware::of(version, "normal", "http://127.0.0.1/f", b"firmware")
    }

    fn ordered(version: &str) -> Upgrades {
        let mut upgrades = Upgrades { running: Some("1.0".to_owned()), ..Upgrades::default() };
        upgrades.ordered(&firmware(version));
        upgrades
    }

    #[test]
    fn the_new_version_is_the_success_and_the_alarm_the_failure() {
        let mut upgrades = ordered("1.1");
        upgrades.runs("1.0").unwrap();
        assert_eq!(upgrades.list[0].outcome, None);
        let mut failed = upgrades.clone();
        upgrades.runs("1.1").unwrap();
        assert_eq!(upgrades.list[0].outcome, Some(Ok(())));
        failed.failed("too large", true).unwrap();
        assert_eq!(failed.list[0].outcome, Some(Err("too large".to_owned())));
        // Computed by md5sum.
        assert_eq!(upgrades.list[0].firmware.checksum, "74b5b5e9570efc5c0553bb327cd41940");
    }

    #[test]
    fn of_a_firmware_that_runs_nothing_is_expected() {
        assert_eq!(ordered("1.0").list, []);
    }

    #[test]
    fn an_order_ends_once() {
        let mut upgrades = ordered("1.1");
        upgrades.failed("first", true).unwrap();
        assert!(upgrades.failed("second", true).unwrap_err().contains("after Err(\"first\")"));
        assert!(upgrades.runs("1.1").unwrap_err().contains("failed: first"));
        let mut upgrades = ordered("1.1");
        upgrades.runs("1.1").unwrap();
        assert!(upgrades.failed("late", true).unwrap_err().contains("after Ok"));
        assert!(Upgrades::default().failed("none", true).unwrap_err().contains("without an order"));
    }

    #[test]
    fn a_version_that_was_left_again_has_failed() {
        let mut upgrades = ordered("1.1");
        upgrades.runs("1.1").unwrap();
        upgrades.runs("1.0").unwrap();
        upgrades.failed("it did not come up", true).unwrap();
        assert!(upgrades.runs("1.1").is_err());
    }

    #[test]
    fn an_alarm_that_had_no_answer_may_come_again() {
        let mut upgrades = ordered("1.1");
        upgrades.failed("first", false).unwrap();
        upgrades.failed("first", true).unwrap();
        assert!(upgrades.failed("first", true).is_err());
    }

    #[test]
    fn what_is_asked_for_again_may_end_again_and_another_order_takes_its_place() {
        let mut upgrades = ordered("1.1");
        upgrades.failed("first", true).unwrap();
        upgrades.ordered(&firmware("1.1"));
        assert_eq!(upgrades.list[0].asked, 2);
        upgrades.runs("1.1").unwrap();
        upgrades.ordered(&firmware("1.2"));
        upgrades.failed("second", true).unwrap();
        assert_eq!(upgrades.list[1].outcome, Some(Err("second".to_owned())));
    }
}
