//! Time as both sides see it: a monotonic clock for deadlines, a wall clock with a quality for everything shown to a
//! cloud.

use abi_stable::StableAbi;

/// Milliseconds since some fixed moment before the host started. Never goes back; counts on during suspend.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The moment `ms` milliseconds after this one; saturates at the end of time.
    #[must_use]
    pub const fn after(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment, 0 if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// How far the wall clock can be trusted. Larger is better; unknown values count as [`ClockQuality::UNSET`].
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClockQuality(pub u8);

impl ClockQuality {
    /// The clock was never set; its value is meaningless.
    pub const UNSET: Self = Self(0);
    /// Set once, by a battery-backed clock or a stored time; may be off by minutes.
    pub const ROUGH: Self = Self(1);
    /// Set by a cloud or a person, good to some seconds.
    pub const SECONDS: Self = Self(2);
    /// Disciplined by the system's time service.
    pub const SYNCED: Self = Self(3);
}

/// A moment of the wall clock.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct WallTime {
    /// Milliseconds since 1970-01-01 00:00 UTC, without leap seconds.
    pub unix_ms: i64,
    /// How far `unix_ms` can be trusted.
    pub quality: ClockQuality,
}

impl WallTime {
    /// Whole seconds since 1970-01-01 00:00 UTC, rounded down.
    #[must_use]
    pub const fn unix_seconds(self) -> i64 {
        self.unix_ms.div_euclid(1000)
    }
}

/// The current time, handed to a plugin with every call.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For deadlines and intervals.
    pub monotonic: Timestamp,
    /// For time stamps.
    pub wall: WallTime,
    /// Seconds that local time is ahead of UTC, -86400 to 86400.
    pub utc_offset_s: i32,
}
