//! `[journal]`: how reports are kept that wait for clouds.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::read::{Section, boolean, seconds, size, whole};
use crate::spool::{SEGMENT_BYTES, SpoolSettings};

/// `[journal]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct JournalSection {
    /// Reports kept for clouds that are behind; beyond it the oldest are lost, and counted.
    #[cfg_attr(test, schemars(range(min = 16, max = 1_000_000)))]
    pub max_reports: usize,
    /// Bytes kept for clouds that are behind.
    #[cfg_attr(test, schemars(range(min = 65_536, max = 1_073_741_824)))]
    pub max_bytes: usize,
    /// Reports that wait go to flash, so that a power cut does not lose them. Without it they survive a crash of the host
    /// only.
    pub flash: bool,
    /// Bytes on flash, at least three times `max_bytes`.
    #[cfg_attr(test, schemars(range(min = 196_608, max = 4_294_967_296_u64)))]
    pub flash_max_bytes: u64,
    /// Reports that have waited for so many days are lost, and counted. Only days on which the host runs count.
    #[serde(rename = "max_age_days", serialize_with = "as_days")]
    #[cfg_attr(test, schemars(with = "u64", range(min = 1, max = 3650)))]
    pub max_age: Duration,
    /// Flash is used when the oldest report has waited for so long. Seconds.
    #[serde(rename = "spill_after_s", serialize_with = "super::host::as_seconds")]
    #[cfg_attr(test, schemars(with = "u64", range(min = 1, max = 3600)))]
    pub spill_after: Duration,
    /// Values go to flash so often; events and alarms at once. Seconds.
    #[serde(rename = "sync_interval_s", serialize_with = "super::host::as_seconds")]
    #[cfg_attr(test, schemars(with = "u64", range(min = 1, max = 3600)))]
    pub sync_interval: Duration,
}

impl Default for JournalSection {
    fn default() -> Self {
        Self {
            max_reports: 20_000,
            max_bytes: 4 * 1024 * 1024,
            flash: true,
            flash_max_bytes: 16 * 1024 * 1024,
            max_age: Duration::from_secs(30 * DAY_S),
            spill_after: Duration::from_secs(5),
            sync_interval: Duration::from_secs(5),
        }
    }
}

impl JournalSection {
    pub(super) fn read(&mut self, mut section: Section<'_>) {
        let mut flash_max_bytes = i64::try_from(self.flash_max_bytes).unwrap_or(i64::MAX);
        let mut max_age_days = i64::try_from(self.max_age.as_secs() / DAY_S).unwrap_or(i64::MAX);
        section.read("max_reports", &mut self.max_reports, size("reports", 16..=1_000_000));
        section.read("max_bytes", &mut self.max_bytes, size("bytes", 65_536..=1_073_741_824));
        section.read("flash", &mut self.flash, boolean);
        section.read("flash_max_bytes", &mut flash_max_bytes, whole("bytes", 196_608..=4_294_967_296));
        section.read("max_age_days", &mut max_age_days, whole("days", 1..=3650));
        section.read("spill_after_s", &mut self.spill_after, seconds(1..=3600));
        section.read("sync_interval_s", &mut self.sync_interval, seconds(1..=3600));
        self.flash_max_bytes = flash_max_bytes.unsigned_abs();
        self.max_age = Duration::from_secs(max_age_days.unsigned_abs() * DAY_S);
        let least = self.max_bytes as u64 * ROOM;
        if self.flash && self.flash_max_bytes < least {
            section.wrong("flash_max_bytes", format!("must be at least {ROOM} times max_bytes, that is {least}"));
        }
        section.finish();
    }

    /// The same, as the journal on disks takes it.
    #[must_use]
    pub fn spool_settings(&self) -> SpoolSettings {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        SpoolSettings {
            flash: self.flash,
            flash_max_bytes: self.flash_max_bytes,
            max_age_ms: ms(self.max_age),
            spill_after_ms: ms(self.spill_after),
            sync_interval_ms: ms(self.sync_interval),
            segment_bytes: SEGMENT_BYTES,
        }
    }
}

fn as_days<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_secs() / DAY_S)
}

/// Seconds of a day.
const DAY_S: u64 = 86_400;

/// How often what waits must fit on flash: what is no longer needed lies between until it is written again. Chosen by us:
/// with less, a full journal would be written again and again.
const ROOM: u64 = 3;

#[cfg(test)]
mod tests {
    use crate::config::{Config, Overrides};

    /// What `max_bytes` and `flash_max_bytes` so are told, each with whether flash is used.
    fn check(flash: bool, max_bytes: u64, flash_max_bytes: u64, says: Option<&str>) {
        let set = [("flash", flash.to_string()), ("max_bytes", max_bytes.to_string())];
        let set = set.into_iter().chain([("flash_max_bytes", flash_max_bytes.to_string())]);
        let set = set.map(|(key, value)| (format!("journal.{key}"), value));
        let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
        let (_, errors) = Config::read_host(&directory, Overrides::new([], set));
        let text = errors.to_string();
        assert!(says.map_or(text.is_empty(), |says| text.contains(says)), "{text:?} instead of {says:?}");
    }

    #[test]
    fn flash_must_have_room_for_what_waits_and_what_lies_between() {
        check(true, 100_000, 300_000, None);
        check(true, 100_000, 299_999, Some("at least 3 times max_bytes, that is 300000"));
        check(false, 100_000, 200_000, None);
    }
}
