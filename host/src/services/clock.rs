//! [`Clock`]: the host's two clocks as one [`Now`], and how far the wall clock can be trusted.
//!
//! The host never sets the system's clock: a cloud's time is kept as an offset here, and only where the system's own
//! clock is worse.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use polylink_plugin_api::{ClockQuality, Now, Timestamp, WallTime};
use rustix::time::{ClockId, clock_gettime};
use tz::TimeZone;

/// Reads the time. Cheap to clone; clones share what clouds offered.
#[derive(Clone, Debug)]
pub struct Clock {
    zone: Arc<Zone>,
    /// Milliseconds to add to the system's clock; [`NO_OFFSET`]: no cloud offered a time.
    offset_ms: Arc<AtomicI64>,
}

/// Where local time comes from.
#[derive(Clone, Debug)]
pub enum Zone {
    /// Seconds ahead of UTC.
    Fixed(i32),
    /// The rules of a time zone.
    Rules(TimeZone),
}

impl Zone {
    /// The system's zone (`TZ`, else `/etc/localtime`); UTC where there is none.
    #[must_use]
    pub fn system() -> Self {
        TimeZone::local().map_or(Self::Fixed(0), Self::Rules)
    }

    /// Reads `system`, or an offset such as `+08:00`.
    ///
    /// # Errors
    /// The text, if it is neither.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "system" {
            return Ok(Self::system());
        }
        fixed_offset(text).map(Self::Fixed).ok_or_else(|| text.to_owned())
    }

    fn offset_s(&self, unix_s: i64) -> i32 {
        match self {
            Self::Fixed(offset) => *offset,
            Self::Rules(zone) => zone.find_local_time_type(unix_s).map_or(0, |local| local.ut_offset()),
        }
    }
}

impl Clock {
    /// A clock that shows local time by `zone`.
    #[must_use]
    pub fn new(zone: Zone) -> Self {
        Self { zone: Arc::new(zone), offset_ms: Arc::new(AtomicI64::new(NO_OFFSET)) }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Now {
        let boot = clock_gettime(ClockId::Boottime);
        let monotonic = Timestamp(millis(boot.tv_sec, boot.tv_nsec).max(0).unsigned_abs());
        let wall = self.wall();
        Now { monotonic, wall, utc_offset_s: self.zone.offset_s(wall.unix_seconds()) }
    }

    /// Takes a cloud's time, Unix milliseconds, if the system's own clock was never set. True: it was taken.
    pub fn offer(&self, unix_ms: i64) -> bool {
        if unix_ms < EARLIEST_MS || system_wall().quality >= ClockQuality::SECONDS {
            return false;
        }
        self.offset_ms.store(unix_ms.saturating_sub(system_wall().unix_ms), Ordering::Relaxed);
        true
    }

    fn wall(&self) -> WallTime {
        let system = system_wall();
        let offset = self.offset_ms.load(Ordering::Relaxed);
        if offset == NO_OFFSET || system.quality >= ClockQuality::SECONDS {
            return system;
        }
        WallTime { unix_ms: system.unix_ms.saturating_add(offset), quality: ClockQuality::SECONDS }
    }
}

fn system_wall() -> WallTime {
    let real = clock_gettime(ClockId::Realtime);
    let unix_ms = millis(real.tv_sec, real.tv_nsec);
    // The kernel does not tell a program without privileges cheaply whether a time service steers its clock; a clock
    // that is past the earliest possible date was set by somebody.
    let quality = if unix_ms < EARLIEST_MS { ClockQuality::UNSET } else { ClockQuality::SECONDS };
    WallTime { unix_ms, quality }
}

fn millis(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(1000).saturating_add(nanoseconds / 1_000_000)
}

fn fixed_offset(text: &str) -> Option<i32> {
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = digits.split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 || !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b':') {
        return None;
    }
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours <= 14 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

const NO_OFFSET: i64 = i64::MIN;

/// 2024-01-01: no module with this program was made before. A clock that shows less was never set. Chosen by us.
const EARLIEST_MS: i64 = 1_704_067_200_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_system_or_a_signed_offset() {
        assert_eq!(fixed_offset("+08:00"), Some(28_800));
        assert_eq!(fixed_offset("-05:30"), Some(-19_800));
        for wrong in ["", "08:00", "+8:00", "+08.00", "+15:00", "+08:60", "+é", "Z", "+-1:00"] {
            assert_eq!(fixed_offset(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_clock_that_was_set_ignores_the_time_of_a_cloud() {
        let clock = Clock::new(Zone::Fixed(0));
        assert!(!clock.offer(EARLIEST_MS + 1));
        assert_eq!(clock.now().wall.quality, ClockQuality::SECONDS);
    }

    #[test]
    fn monotonic_time_does_not_go_back() {
        let clock = Clock::new(Zone::Fixed(0));
        let first = clock.now().monotonic;
        assert!(clock.now().monotonic >= first);
    }
}
