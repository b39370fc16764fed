//! Times of connections that the platform checks (type 1, Lierda access protocol 2.2.5): later than the end of the last
//! connection, not later than the platform's time, never the same twice.

use polylink_plugin_sdk::{ClockQuality, Now, Timestamp};

/// What the device said the time was, and what the platform took.
#[derive(Debug, Default)]
pub struct Stamps {
    /// Unix seconds of the last attempt.
    used: Option<i64>,
    /// Those of the connection that is open, and when the broker took it.
    open: Option<(i64, Timestamp)>,
    /// When the last connection ended.
    ended: Option<i64>,
}

impl Stamps {
    /// Unix seconds for the next attempt; `None`: the clock does not tell one yet that the platform would take.
    pub fn next(&mut self, now: Now) -> Option<i64> {
        let unix_s = unix_s(now);
        let is_late_enough = self.ended.is_none_or(|ended| unix_s > ended) && self.used != Some(unix_s);
        if now.wall.quality == ClockQuality::UNSET || !is_late_enough {
            return None;
        }
        self.used = Some(unix_s);
        self.used
    }

    /// The platform took the last one.
    pub fn taken(&mut self, now: Now) {
        self.open = self.used.map(|used| (used, now.monotonic));
    }

    /// The connection is gone. Its end is counted from its begin, which the platform has checked: the wall clock may have
    /// been wrong meanwhile, and a device must not wait for years because of that.
    pub fn ended(&mut self, now: Now) {
        if let Some((begin, since)) = self.open.take() {
            let seconds = now.monotonic.since(since).div_ceil(1000);
            self.ended = Some(begin.saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX)));
        }
    }
}

/// Unix seconds of the wall clock, which may be before 1970 as long as nobody has set it.
pub fn unix_s(now: Now) -> i64 {
    now.wall.unix_ms.div_euclid(1000).max(0)
}
