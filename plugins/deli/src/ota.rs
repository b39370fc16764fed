//! Firmware decisions: whether, when and from where. Pure functions; nothing here loads or installs anything.
//!
//! Invariant: a [`Plan`] that exists passed every check of the answer to 103, and its random start was drawn once.

use md5::{Digest, Md5};
use polylink_plugin_sdk::hex;
use polylink_plugin_sdk::url::http_host;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::config::OtaSettings;
use crate::message::said;

/// True if the platform's version asks for a firmware query (Deli access document 102, 202: the versions differ). An
/// older version is executed too, unless only newer ones are wanted.
#[must_use]
pub fn wants_query(running: &str, offered: Option<&str>, only_newer: bool) -> bool {
    let (running, Some(offered)) = (running.trim(), offered.map(str::trim)) else { return false };
    if offered.is_empty() || offered == running {
        return false;
    }
    !only_newer || is_newer(running, offered)
}

/// Compares dotted numbers; what is not made of numbers is never newer.
fn is_newer(running: &str, offered: &str) -> bool {
    let numbers = |version: &str| version.split('.').map(|part| part.parse::<u64>().ok()).collect::<Option<Vec<_>>>();
    match (numbers(running), numbers(offered)) {
        (Some(running), Some(offered)) => offered > running,
        _ => false,
    }
}

/// What the answer to 103 offers, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firmware {
    /// Its version.
    pub version: String,
    /// True: `upgrade_type` is `force`.
    pub forced: bool,
    /// Where it is.
    pub url: String,
    /// MD5 of the file in lower case.
    pub md5: String,
}

/// Why an offered firmware is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FirmwareError {
    /// No object, or no version.
    #[error("the answer names no version")]
    NoVersion,
    /// Not an address that is loaded from.
    #[error("file_path is not an http or https address of at most {LONGEST_URL} characters")]
    Address,
    /// Not one of the hosts the settings allow.
    #[error("host `{0}` is not in ota_allowed_hosts")]
    Host(String),
    /// No MD5.
    #[error("checksum is not 32 hex digits")]
    Checksum,
}

impl Firmware {
    /// Reads and checks the content of an answer to 103.
    ///
    /// # Errors
    /// See [`FirmwareError`].
    pub fn parse(data: &RawValue, settings: &OtaSettings) -> Result<Self, FirmwareError> {
        #[derive(Deserialize)]
        struct Members<'a> {
            #[serde(borrow, default)]
            version: Option<&'a RawValue>,
            #[serde(borrow, default)]
            upgrade_type: Option<&'a RawValue>,
            #[serde(borrow, default)]
            file_path: Option<&'a RawValue>,
            #[serde(borrow, default)]
            checksum: Option<&'a RawValue>,
        }
        let members: Members<'_> = serde_json::from_str(data.get()).map_err(|_| FirmwareError::NoVersion)?;
        let version = said(members.version).filter(|version| version.len() <= LONGEST_VERSION);
        let version = version.ok_or(FirmwareError::NoVersion)?;
        let url = said(members.file_path).unwrap_or_default();
        let host = http_host(&url, LONGEST_URL).ok_or(FirmwareError::Address)?;
        if !settings.allowed_hosts.is_empty()
            && !settings.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host))
        {
            return Err(FirmwareError::Host(host.to_owned()));
        }
        let checksum = said(members.checksum)
            .filter(|checksum| hex::is_digits(checksum, MD5_DIGITS))
            .ok_or(FirmwareError::Checksum)?;
        let forced = said(members.upgrade_type).is_some_and(|kind| kind == "force");
        Ok(Self { version, forced, md5: checksum.to_ascii_lowercase(), url })
    }
}

/// A firmware that waits for its start, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Its version.
    pub version: String,
    /// True: the device is not usable before it runs.
    pub forced: bool,
    /// Where it is.
    pub url: String,
    /// MD5 of the file in lower case.
    pub md5: String,
    /// The seconds drawn once for this version.
    pub random_s: u32,
    /// Unix seconds of the start; `None` while the clock was never set.
    pub start: Option<i64>,
}

impl Plan {
    /// A plan for this firmware. `draw` gives a uniform number from 0 to its argument, both included; it is asked only
    /// if `earlier` is no plan for the same version and urgency.
    #[must_use]
    pub fn of(
        firmware: Firmware,
        earlier: Option<&Self>,
        settings: &OtaSettings,
        draw: impl FnOnce(u32) -> u32,
    ) -> Self {
        let Firmware { version, forced, url, md5 } = firmware;
        if let Some(earlier) = earlier.filter(|plan| plan.version == version && plan.forced == forced) {
            return Self { url, md5, ..earlier.clone() };
        }
        let spread = if forced { settings.force_spread_s } else { settings.window_len_s };
        Self { version, forced, url, md5, random_s: draw(spread), start: None }
    }

    /// Sets the start if it is not set yet. `unix_s` is `None` while the clock is not set.
    pub fn schedule(&mut self, unix_s: Option<i64>, utc_offset_s: i32, settings: &OtaSettings) -> bool {
        let Some(unix_s) = unix_s.filter(|_| self.start.is_none()) else { return false };
        self.start = Some(if self.forced {
            unix_s.saturating_add(i64::from(self.random_s))
        } else {
            normal_start(unix_s, utc_offset_s, settings.window_start_s, self.random_s)
        });
        true
    }

    /// Reads what was stored; `None` if it is damaged.
    #[must_use]
    pub fn restore(stored: &[u8]) -> Option<Self> {
        serde_json::from_slice(stored)
            .ok()
            .filter(|plan: &Self| hex::is_digits(&plan.md5, MD5_DIGITS) && http_host(&plan.url, LONGEST_URL).is_some())
    }
}

/// First moment, not before `now`, at which local time is the window's start plus `random_s` (Deli access document 103:
/// all devices of a model must not start at the same moment). All in seconds.
#[must_use]
pub fn normal_start(now_unix_s: i64, utc_offset_s: i32, window_start_s: u32, random_s: u32) -> i64 {
    let local = now_unix_s.saturating_add(i64::from(utc_offset_s));
    let midnight = local.div_euclid(DAY_S).saturating_mul(DAY_S);
    let after_midnight = i64::from(window_start_s) + i64::from(random_s);
    // A window may reach over midnight, so yesterday's counts too.
    let mut start = midnight.saturating_add(after_midnight).saturating_sub(DAY_S);
    while start < local {
        start = start.saturating_add(DAY_S);
        if start == i64::MAX {
            break;
        }
    }
    start.saturating_sub(i64::from(utc_offset_s))
}

/// What to do with an answer to a download request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Append the body to what is there.
    Append,
    /// Throw away what is there and take the body, or ask again, from byte 0.
    Restart,
    /// Everything is there: check it.
    Verify,
    /// Try again later; keep what is there.
    Fail,
}

/// Value of the `Range` header when `have` bytes are there; `None`: no such header.
#[must_use]
pub fn range_header(have: u64) -> Option<String> {
    (have > 0).then(|| format!("bytes={have}-"))
}

/// Decides about an answer, after `have` bytes were asked to be continued (HTTP range rules, RFC 9110 14).
#[must_use]
pub fn resume(have: u64, status: u16, content_range: Option<&str>, expected_total: Option<u64>) -> Resume {
    let (start, total) = content_range.map_or((None, None), parse_content_range);
    match status {
        200 if have == 0 => Resume::Append,
        200 => Resume::Restart,
        206 if start == Some(have) => Resume::Append,
        206 => Resume::Restart,
        416 if total.or(expected_total) == Some(have) => Resume::Verify,
        416 => Resume::Restart,
        _ => Resume::Fail,
    }
}

/// First byte and total size of `bytes 1-2/3` or `bytes */3`.
fn parse_content_range(value: &str) -> (Option<u64>, Option<u64>) {
    let Some((range, total)) = value.trim().strip_prefix("bytes").and_then(|rest| rest.trim().split_once('/')) else {
        return (None, None);
    };
    let start = range.split_once('-').and_then(|(start, _)| start.trim().parse().ok());
    (start, total.trim().parse().ok())
}

/// True if this is the MD5 of the content, in whatever case; without a checksum nothing is right.
#[must_use]
pub fn verify(content: &[u8], checksum: Option<&str>) -> bool {
    let md5 = checksum.and_then(|checksum| hex::decode(checksum.trim()));
    md5.is_some_and(|md5| md5[..] == Md5::digest(content)[..])
}

/// Digits of an MD5.
const MD5_DIGITS: usize = 32;
/// Seconds of a day.
const DAY_S: i64 = 86_400;
/// Longest version taken (not documented; chosen by us).
const LONGEST_VERSION: usize = 64;
/// Longest address taken (not documented; chosen by us).
const LONGEST_URL: usize = 2048;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MD5: &str = "4c56ff4ce4aaf9573aa5dff913df997a";

    fn settings(allowed: &[&str]) -> OtaSettings {
        OtaSettings {
            window_start_s: 0,
            window_len_s: 7200,
            force_spread_s: 300,
            allowed_hosts: allowed.iter().map(|&host| host.into()).collect(),
            max_bytes: 1,
            only_newer: false,
            force_holds_reports: false,
        }
    }

    fn check(url: &str, checksum: &str, allowed: &[&str], expected: Result<(), FirmwareError>) {
        let data =
            serde_json::json!({ "version": "1.1", "upgrade_type": "force", "file_path": url, "checksum": checksum });
        let got = Firmware::parse(&crate::message::raw(&data), &settings(allowed));
        assert_eq!(got.map(|_| ()), expected, "{url} {checksum}");
    }

    #[test]
    fn an_offer_is_checked_before_it_becomes_a_plan() {
        check("http://delicloud.com/oss/xxx.zip", MD5, &[], Ok(()));
        check("https://DeliCloud.com:8443/x", MD5, &["delicloud.com"], Ok(()));
        check("http://evil/x", MD5, &["delicloud.com"], Err(FirmwareError::Host("evil".into())));
        for url in ["", "ftp://h/x", "http://", "http:///x", "http://good@evil/x", "http://a b/"] {
            check(url, MD5, &[], Err(FirmwareError::Address));
        }
        for checksum in ["", "4c56", &"g".repeat(32), &"a".repeat(33)] {
            check("http://h/x", checksum, &[], Err(FirmwareError::Checksum));
        }
    }

    #[test]
    fn the_random_start_is_drawn_once_per_version() {
        let firmware = |version: &str| Firmware {
            version: version.into(),
            forced: false,
            url: "http://h/x".into(),
            md5: MD5.into(),
        };
        let first = Plan::of(firmware("1.1"), None, &settings(&[]), |most| most - 1);
        assert_eq!(first.random_s, 7199);
        let again = Plan::of(firmware("1.1"), Some(&first), &settings(&[]), |_| panic!("drawn again"));
        assert_eq!(again, first);
        assert_eq!(Plan::of(firmware("1.2"), Some(&first), &settings(&[]), |_| 3).random_s, 3);
        assert_eq!(Plan::restore(&serde_json::to_vec(&first).unwrap()), Some(first));
    }

    #[test]
    fn a_plan_is_scheduled_once_the_clock_is_set() {
        let firmware = Firmware { version: "1.1".into(), forced: true, url: "http://h/x".into(), md5: MD5.into() };
        let mut plan = Plan::of(firmware, None, &settings(&[]), |most| most);
        assert!(!plan.schedule(None, 0, &settings(&[])));
        assert!(plan.schedule(Some(1_000), 0, &settings(&[])));
        assert!(!plan.schedule(Some(9_000), 0, &settings(&[])));
        assert_eq!(plan.start, Some(1_300));
    }

    #[test]
    fn versions_are_compared_as_texts_unless_only_newer_ones_are_wanted() {
        assert!(wants_query("1.2", Some("1.1"), false));
        assert!(!wants_query("1.2", Some("1.1"), true));
        assert!(wants_query("1.9", Some("1.10"), true));
        assert!(!wants_query("1.9", Some("beta"), true));
        assert!(!wants_query("1.9", Some(" 1.9 "), false));
    }

    #[test]
    fn a_window_over_midnight_counts_from_yesterday() {
        // 00:10 local, window from 23:00, 90 minutes drawn: 00:30 today.
        assert_eq!(normal_start(600, 0, 82_800, 5_400), 1_800);
    }

    proptest! {
        #[test]
        fn a_start_is_never_in_the_past_and_at_most_a_day_away(now in -4_000_000_000_i64..4_000_000_000, offset in -86_400..86_400_i32, start in 0..86_400_u32, random in 0..=86_400_u32) {
            let at = normal_start(now, offset, start, random);
            prop_assert!(at >= now && at - now < 2 * DAY_S);
        }

        #[test]
        fn no_answer_can_panic_the_decisions(have: u64, status: u16, range in "\\PC{0,30}", now: i64, stored: Vec<u8>) {
            let _ = (resume(have, status, Some(&range), None), Plan::restore(&stored));
            let _ = normal_start(now, 86_400, 0, 0);
        }
    }
}
