//! [`Beacons`]: what the device broadcasts of itself after its start.

use polylink_plugin_sdk::Timestamp;

use super::About;
use crate::packet::{Frame, command};

/// What is broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beacon {
    /// Here I am.
    Announce,
    /// The network that I was told works.
    ConfigSuccess,
}

impl Beacon {
    /// Its frame.
    #[must_use]
    pub fn frame(self, about: &About) -> Frame {
        match self {
            Self::Announce => about.discovery().frame(command::ANNOUNCE),
            Self::ConfigSuccess => about.config_success().frame(),
        }
    }
}

/// The series that runs, if any.
#[derive(Clone, Debug, Default)]
pub struct Beacons {
    series: Option<Series>,
    /// An announce is not repeated, neither on a reconnect nor after the news of a configuration.
    begun: bool,
}

#[derive(Clone, Copy, Debug)]
struct Series {
    beacon: Beacon,
    n_left: u8,
    next: Timestamp,
}

impl Beacons {
    /// Begins the announce, unless something was begun before.
    pub const fn announce(&mut self, now: Timestamp) {
        if !self.begun {
            self.begin(Beacon::Announce, now);
        }
    }

    /// Begins to tell that the configuration worked, in place of whatever runs.
    pub const fn say_joined(&mut self, now: Timestamp) {
        self.begin(Beacon::ConfigSuccess, now);
    }

    /// When the next is due.
    #[must_use]
    pub fn next(&self) -> Option<Timestamp> {
        self.series.map(|series| series.next)
    }

    /// The one that is due. One that was missed is sent later, so that a series is complete, but never two at once.
    pub fn due(&mut self, now: Timestamp) -> Option<Beacon> {
        let series = self.series.as_mut().filter(|series| series.next <= now)?;
        let beacon = series.beacon;
        series.n_left -= 1;
        series.next = now.after(INTERVAL_MS);
        if series.n_left == 0 {
            self.series = None;
        }
        Some(beacon)
    }

    const fn begin(&mut self, beacon: Beacon, now: Timestamp) {
        self.begun = true;
        self.series = Some(Series { beacon, n_left: N_BEACONS, next: now });
    }
}

/// How many there are of each (Gizwits GAgent specification, discovery and configuration).
const N_BEACONS: u8 = 30;

/// One a second (Gizwits GAgent specification, discovery and configuration).
const INTERVAL_MS: u64 = 1000;
