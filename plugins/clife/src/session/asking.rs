//! Asking for an upgrade (Clife access document 5.4, respCode 2), if the settings want it: when the device is online, at most
//! once a day also over restarts. A platform that answers with an order that fails must not be asked again at once.

use polylink_plugin_sdk::Now;

use super::connection::Phase;
use super::events::Told;
use super::{ClifeSession, Timer, known_ms, storage};
use crate::files::Event;

impl ClifeSession {
    /// Asks if it is time to, or waits for that.
    pub(super) fn consider_asking(&mut self, now: Now) {
        let Some(what) = self.settings.ask_upgrade else { return };
        self.timers.clear(&Timer::Ask);
        // Nobody can tell a day without a clock; the platform tells the time before it takes an answer.
        let Some(unix_ms) = known_ms(now.wall).or_else(|| self.clock.unix_ms(now)) else { return };
        if !matches!(self.phase, Phase::Online { .. }) || self.files.running.is_some() {
            return;
        }
        // A clock that was set back must not keep the device from asking for years.
        let since = self.files.asked_ms.map_or(EVERY_MS, |asked| unix_ms.abs_diff(asked)).min(EVERY_MS);
        if since < EVERY_MS {
            return self.timers.set(Timer::Ask, now.monotonic.after(EVERY_MS - since));
        }
        self.files.asked_ms = Some(unix_ms);
        self.put(storage::ASKED, &unix_ms);
        self.timers.set(Timer::Ask, now.monotonic.after(EVERY_MS));
        let id = self.new_id();
        self.files.told.push(Told::required(id, Event::ask(what)));
        self.info("asked the platform for an upgrade".to_owned());
    }
}

/// A day (not documented; chosen by us).
const EVERY_MS: u64 = 86_400_000;
