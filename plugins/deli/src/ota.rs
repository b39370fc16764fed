//! Firmware decisions: whether, when and from where. Pure functions; the host loads and installs.
//!
//! Invariant: a [`Firmware`] that exists passed every check of the answer to 103.

use polylink_plugin_sdk::hex;
use polylink_plugin_sdk::services::ota::{Digest, Offer, Target};
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
    /// MD5 of the file.
    pub md5: [u8; 16],
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
        let checksum = said(members.checksum).and_then(|checksum| hex::decode(&checksum));
        let md5 = checksum.and_then(|md5| md5.try_into().ok()).ok_or(FirmwareError::Checksum)?;
        let forced = said(members.upgrade_type).is_some_and(|kind| kind == "force");
        Ok(Self { version, forced, url, md5 })
    }

    /// The id of its update. The platform has none, so it is made of what makes an order another one; see [`is_forced`].
    #[must_use]
    pub fn id(&self) -> String {
        let kind = if self.forced { FORCED } else { NORMAL };
        format!("{kind}{}:{}", hex::lower(&self.md5), self.version)
    }

    /// When it is to begin, in Unix milliseconds; 0: at once. `draw` gives a uniform number from 0 to its argument, both
    /// included. `None`: a normal upgrade needs the time, and `unix_s` is `None` while the clock is not set.
    pub fn start(
        &self,
        unix_s: Option<i64>,
        utc_offset_s: i32,
        settings: &OtaSettings,
        draw: impl FnOnce(u32) -> u32,
    ) -> Option<i64> {
        // All devices of a model must not start at the same moment (Deli access document, 103). The host draws the moment
        // of a forced upgrade, which may come at once. That of a normal one is drawn here: in the middle of the window the
        // part of it that is over counts as tomorrow's, and a host would have all of those begin at once.
        if self.forced {
            return Some(0);
        }
        let random_s = draw(settings.window_len_s);
        Some(normal_start(unix_s?, utc_offset_s, settings.window_start_s, random_s).saturating_mul(1000))
    }

    /// What the host is to do.
    #[must_use]
    pub fn offer(self, target: Target, not_before_ms: i64, settings: &OtaSettings) -> Offer {
        Offer {
            id: self.id(),
            target,
            version: self.version,
            url: self.url,
            digests: vec![Digest::Md5(self.md5)],
            not_before_ms,
            spread_ms: if self.forced { u64::from(settings.force_spread_s) * 1000 } else { 0 },
            ..Offer::default()
        }
    }
}

/// True for the id of a forced upgrade.
#[must_use]
pub fn is_forced(id: &str) -> bool {
    id.starts_with(FORCED)
}

/// When an update begins, as it is stored: the moment is drawn once (Deli access document, 103), also if the platform names
/// another address for the same firmware, or names it again after a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Its id.
    pub id: String,
    /// Unix milliseconds; 0: at once.
    pub not_before_ms: i64,
}

/// An update that is over, as it is stored: the same firmware is not tried again for [`SETTLED_S`], unless the platform
/// names another one meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// Its id.
    pub id: String,
    /// Unix seconds; `None`: the clock was not set.
    pub at: Option<i64>,
}

impl Settled {
    /// True if this one is not to be tried again yet. Where no time is known it is not.
    #[must_use]
    pub fn holds(&self, id: &str, unix_s: Option<i64>) -> bool {
        // A clock that was set back must not hold an update for years.
        let recent = |(at, now): (i64, i64)| now.abs_diff(at) < SETTLED_S;
        self.id == id && self.at.zip(unix_s).is_none_or(recent)
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

/// How the id of a forced upgrade begins.
const FORCED: &str = "force:";
/// How the id of a normal upgrade begins.
const NORMAL: &str = "normal:";
/// Seconds before a firmware is tried again (not documented; chosen by us: the platform is asked daily).
pub const SETTLED_S: u64 = 86_400;
/// Seconds of a day.
const DAY_S: i64 = 86_400;
/// Longest version taken (not documented; chosen by us).
const LONGEST_VERSION: usize = 64;
/// Longest address taken (not documented; chosen by us).
const LONGEST_URL: usize = 2048;

#[cfg(test)]
mod tests {
    use polylink_plugin_sdk::services::ota::ID_MAX;
    use proptest::prelude::*;

    use super::*;

    const MD5: &str = "4C56ff4ce4aaf9573aa5dff913df997a";

    fn settings(allowed: &[&str]) -> OtaSettings {
        OtaSettings {
            window_start_s: 0,
            window_len_s: 7200,
            force_spread_s: 300,
            allowed_hosts: allowed.iter().map(|&host| host.into()).collect(),
            only_newer: false,
            force_holds_reports: false,
            target: None,
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

    fn firmware(version: &str, forced: bool) -> Firmware {
        Firmware { version: version.into(), forced, url: "http://h/x".into(), md5: [0xAB; 16] }
    }

    #[test]
    fn a_normal_upgrade_starts_in_the_window_of_the_next_night_and_needs_the_clock() {
        let (firmware, settings) = (firmware("1.1", false), settings(&[]));
        let start = |unix_s| firmware.start(unix_s, 3_600, &settings, |most| most - 1);
        assert_eq!(start(None), None);
        // 01:00 local; 01:59:59 was drawn.
        let start = start(Some(DAY_S)).unwrap();
        assert_eq!(start, (DAY_S + 3_599) * 1000);
        let offer = firmware.offer(Target::Mcu, start, &settings);
        assert_eq!((offer.not_before_ms, offer.spread_ms, offer.not_after_ms), (start, 0, 0));
        assert_eq!((offer.target, offer.digests), (Target::Mcu, vec![Digest::Md5([0xAB; 16])]));
        assert_eq!((offer.version.as_str(), offer.url.as_str()), ("1.1", "http://h/x"));
    }

    #[test]
    fn a_forced_upgrade_starts_within_minutes_whatever_the_clock_says() {
        let (firmware, settings) = (firmware("1.1", true), settings(&[]));
        assert_eq!(firmware.start(None, 0, &settings, |_| panic!("drawn")), Some(0));
        let offer = firmware.offer(Target::Module, 0, &settings);
        assert_eq!((offer.not_before_ms, offer.spread_ms), (0, 300_000));
    }

    #[test]
    fn another_version_content_or_urgency_is_another_update() {
        let one = firmware("1.1", false);
        let others = [firmware("1.2", false), firmware("1.1", true), Firmware { md5: [0; 16], ..one.clone() }];
        assert!(others.iter().all(|other| other.id() != one.id()));
        assert_eq!(Firmware { url: "http://elsewhere/".into(), ..one.clone() }.id(), one.id());
        assert!(is_forced(&others[1].id()) && !is_forced(&one.id()));
        assert!(firmware(&"9".repeat(LONGEST_VERSION), true).id().len() <= ID_MAX);
    }

    #[test]
    fn a_firmware_that_failed_rests_for_a_day() {
        let settled = |at| Settled { id: "a".into(), at };
        for (at, now, holds) in [
            (Some(0), Some(86_399), true),
            (Some(0), Some(86_400), false),
            (Some(86_400), Some(0), false),
            (None, Some(86_400), true),
            (Some(0), None, true),
        ] {
            assert_eq!(settled(at).holds("a", now), holds, "{at:?} {now:?}");
        }
        assert!(!settled(Some(0)).holds("b", Some(1)));
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
        fn no_time_can_panic_the_decisions(now: i64, at: i64, offset: i32, random: u32) {
            let _ = (normal_start(now, offset, 0, random), Settled { id: String::new(), at: Some(at) }.holds("", Some(now)));
            let _ = firmware("1", false).start(Some(now), offset, &settings(&[]), |_| random);
        }
    }
}
