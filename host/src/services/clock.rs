//! [`Clock`]: the host's monotonic and wall clock as one [`Now`], and how far the wall clock can be trusted.
//!
//! The host never sets the system's clock. A cloud's time is kept here as an offset to it, and only while the system's
//! own clock was never set or is only rough; once the system's time service has disciplined it, the offset is ignored.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use polylink_plugin_api::{ClockQuality, Now, Timestamp, WallTime};
use rustix::time::{ClockId, clock_gettime};
use tz::TimeZone;

/// Tells the time. Clones share what clouds have offered.
#[derive(Clone)]
pub struct Clock {
    shared: Arc<Shared>,
}

struct Shared {
    zone: Zone,
    /// What a cloud's time is ahead of the system's, in milliseconds; [`NO_OFFSET`]: none was offered.
    offset_ms: AtomicI64,
    /// When the system was last asked whether its clock is disciplined, on the monotonic clock; the lowest bit is the
    /// answer.
    synced: AtomicU64,
}

/// Where local time comes from.
#[derive(Clone, Debug)]
pub enum Zone {
    /// Always so many seconds ahead of UTC.
    Fixed(i32),
    /// The rules of a time zone.
    Rules(TimeZone),
}

/// A zone that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("time zone `{0}` is not known; accepted are \"system\" and an offset such as \"+08:00\"")]
pub struct ZoneError(String);

impl Zone {
    /// The zone of the system: `TZ`, else `/etc/localtime`, else UTC.
    #[must_use]
    pub fn system() -> Self {
        TimeZone::local().map_or(Self::Fixed(0), Self::Rules)
    }

    /// Seconds that local time is ahead of UTC at a moment.
    #[must_use]
    pub fn offset_s(&self, unix_s: i64) -> i32 {
        match self {
            Self::Fixed(seconds) => *seconds,
            Self::Rules(rules) => rules.find_local_time_type(unix_s).map_or(0, |local| local.ut_offset()),
        }
    }
}

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(text: &str) -> Result<Self, ZoneError> {
        if text == "system" {
            return Ok(Self::system());
        }
        fixed_offset(text).map(Self::Fixed).ok_or_else(|| ZoneError(text.to_owned()))
    }
}

impl Clock {
    /// A clock that shows local time by this zone.
    #[must_use]
    pub fn new(zone: Zone) -> Self {
        let shared = Shared { zone, offset_ms: AtomicI64::new(NO_OFFSET), synced: AtomicU64::new(0) };
        Self { shared: Arc::new(shared) }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Now {
        let monotonic = monotonic();
        let wall = corrected(system_wall_ms(), self.system_is_synced(monotonic), self.offset());
        Now { monotonic, wall, utc_offset_s: self.shared.zone.offset_s(wall.unix_seconds()) }
    }

    /// Takes the time of a trustworthy cloud, Unix milliseconds; used while the system's own clock is worse. False: it
    /// is nonsense, or the system's clock is better, and nothing changed.
    pub fn offer(&self, unix_ms: i64) -> bool {
        let is_sane = (EARLIEST_MS..LATEST_MS).contains(&unix_ms);
        if !is_sane || self.now().wall.quality == ClockQuality::SYNCED {
            return false;
        }
        self.shared.offset_ms.store(unix_ms.saturating_sub(system_wall_ms()), Ordering::Relaxed);
        true
    }

    fn offset(&self) -> Option<i64> {
        Some(self.shared.offset_ms.load(Ordering::Relaxed)).filter(|offset| *offset != NO_OFFSET)
    }

    /// Asks the file system at most once in [`SYNC_CHECK_MS`], so that telling the time stays cheap.
    fn system_is_synced(&self, monotonic: Timestamp) -> bool {
        let known = self.shared.synced.load(Ordering::Relaxed);
        if known != 0 && monotonic.since(Timestamp(known >> 1)) < SYNC_CHECK_MS {
            return known & 1 == 1;
        }
        let synced = SYNC_MARKS.iter().any(|mark| Path::new(mark).exists());
        self.shared.synced.store(monotonic.0 << 1 | u64::from(synced), Ordering::Relaxed);
        synced
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("offset_ms", &self.offset()).finish_non_exhaustive()
    }
}

/// The monotonic clock alone. It goes on while the system sleeps.
#[must_use]
pub fn monotonic() -> Timestamp {
    let time = clock_gettime(ClockId::Boottime);
    Timestamp(u64::try_from(time.tv_sec).unwrap_or(0) * 1000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000)
}

fn system_wall_ms() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    }
}

/// What the wall clock shows, given the system's clock, whether that is disciplined, and a cloud's offset.
fn corrected(system_ms: i64, synced: bool, offset_ms: Option<i64>) -> WallTime {
    let is_set = system_ms >= EARLIEST_MS;
    match offset_ms {
        _ if synced && is_set => WallTime { unix_ms: system_ms, quality: ClockQuality::SYNCED },
        Some(offset) => WallTime { unix_ms: system_ms.saturating_add(offset), quality: ClockQuality::SECONDS },
        None if is_set => WallTime { unix_ms: system_ms, quality: ClockQuality::ROUGH },
        None => WallTime { unix_ms: system_ms, quality: ClockQuality::UNSET },
    }
}

/// Seconds of an offset such as `+08:00` or `-03:30`, less than a day.
fn fixed_offset(text: &str) -> Option<i32> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let number = |digits: &str, below: i32| {
        let plain = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<i32>().ok().filter(|number| plain && *number < below)
    };
    Some(sign * (number(hours, 24)? * 3600 + number(minutes, 60)? * 60))
}

/// No cloud has offered a time.
const NO_OFFSET: i64 = i64::MIN;

/// 2024-01-01: a clock that shows less was never set. Not documented; chosen by us: before the first Polylink.
const EARLIEST_MS: i64 = 1_704_067_200_000;

/// 2100-01-01: an offered time beyond is nonsense. Chosen by us.
const LATEST_MS: i64 = 4_102_444_800_000;

/// Files that exist once the clock is disciplined (systemd-timesyncd.service(8), "FILES"). The kernel's own flag would
/// need a call that no safe crate offers; without such a file the clock counts as rough.
const SYNC_MARKS: [&str; 1] = ["/run/systemd/timesync/synchronized"];

/// Chosen by us: a clock is disciplined once in a boot, so a minute's delay in seeing it is harmless.
const SYNC_CHECK_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    const IN_2026: i64 = 1_795_213_043_000;

    fn check(system_ms: i64, synced: bool, offset_ms: Option<i64>, unix_ms: i64, quality: ClockQuality) {
        assert_eq!(corrected(system_ms, synced, offset_ms), WallTime { unix_ms, quality });
    }

    #[test]
    fn a_clock_that_was_never_set_is_known_by_its_year() {
        check(12_000, false, None, 12_000, ClockQuality::UNSET);
        check(12_000, true, None, 12_000, ClockQuality::UNSET);
        check(IN_2026, false, None, IN_2026, ClockQuality::ROUGH);
        check(IN_2026, true, None, IN_2026, ClockQuality::SYNCED);
    }

    #[test]
    fn a_clouds_time_replaces_a_worse_clock_and_yields_to_a_disciplined_one() {
        check(12_000, false, Some(IN_2026), IN_2026 + 12_000, ClockQuality::SECONDS);
        check(IN_2026, false, Some(-500), IN_2026 - 500, ClockQuality::SECONDS);
        check(IN_2026, true, Some(-500), IN_2026, ClockQuality::SYNCED);
        check(i64::MAX, false, Some(i64::MAX), i64::MAX, ClockQuality::SECONDS);
    }

    #[test]
    fn an_offered_time_is_kept_unless_it_is_nonsense() {
        let clock = Clock::new(Zone::Fixed(0));
        for nonsense in [0, -1, i64::MIN, i64::MAX] {
            assert!(!clock.offer(nonsense), "{nonsense}");
            assert_eq!(clock.offset(), None, "{nonsense}");
        }
        let taken = clock.clone().offer(IN_2026);
        assert_eq!(clock.offset().is_some(), taken, "only a disciplined clock refuses a time");
    }

    #[test]
    fn zones_are_the_systems_or_a_fixed_offset() {
        for (text, seconds) in [("+08:00", 28_800), ("-03:30", -12_600), ("+00:00", 0), ("+23:59", 86_340)] {
            assert_eq!(text.parse::<Zone>().unwrap().offset_s(0), seconds, "{text}");
        }
        assert!("system".parse::<Zone>().is_ok());
        for text in ["", "8", "+8:00", "+24:00", "+08:60", "08:00", "+08:0x", "+é:00", "Asia/Shanghai"] {
            assert!(text.parse::<Zone>().unwrap_err().to_string().contains("+08:00"), "{text}");
        }
    }

    #[test]
    fn monotonic_time_never_goes_back_and_local_time_follows_the_zone() {
        let clock = Clock::new("+08:00".parse().unwrap());
        let (first, second) = (clock.now(), clock.now());
        assert!(second.monotonic >= first.monotonic);
        assert_eq!(first.utc_offset_s, 28_800);
    }
}
