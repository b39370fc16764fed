//! The platform's time: asked for, and offered to the host (Lierda access protocol 4.6).

use polylink_plugin_sdk::services::module;
use polylink_plugin_sdk::{Now, Output, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::connection::Phase;
use super::{LierdaSession, Timer};
use crate::config::Content;
use crate::frame::{self, Frame, raw};

/// The question for the time, and what is known by it.
#[derive(Debug, Default)]
pub struct CloudClock {
    /// Name and time of a question without an answer.
    asked: Option<(String, Timestamp)>,
    /// The platform's time zone, as it names it.
    pub timezone: Option<String>,
}

impl CloudClock {
    /// No answer will come.
    pub fn disconnected(&mut self) {
        self.asked = None;
    }
}

impl LierdaSession {
    /// Asks now, and again after a day.
    pub(super) fn ask_time(&mut self, now: Now) {
        if !matches!(self.phase, Phase::Online { .. }) {
            return;
        }
        let id = self.new_message_id();
        self.clock.asked = Some((id.as_str().to_owned(), now.monotonic));
        // An empty text, and never encrypted (Lierda access protocol 4.6).
        self.send(self.topics.update_time(), &id, TIME, &raw(&""), Content::Never);
        self.timers.set(Timer::Time, now.monotonic.after(EVERY_MS));
    }

    pub(super) fn take_time(&mut self, now: Now, frame: &Frame, payload: &RawValue) {
        #[derive(Deserialize)]
        struct Payload {
            #[serde(rename = "Data")]
            data: Data,
        }
        #[derive(Deserialize)]
        struct Data {
            timestamp: i64,
            #[serde(default)]
            timezone: Option<String>,
        }
        let id = frame.id.as_ref().map_or("", |id| id.as_str());
        let Some((_, asked)) = self.clock.asked.take_if(|(asked, _)| *asked == id) else {
            self.told.counters.unmatched += 1;
            return;
        };
        let round_trip = now.monotonic.since(asked);
        let data = serde_json::from_str::<Payload>(payload.get()).map(|payload| payload.data);
        let (Ok(data), true) = (data, frame::code_ok(payload, frame::DONE)) else {
            return self.drop_input("an answer about the time without a time");
        };
        if round_trip > SLOWEST_MS || data.timestamp <= 0 {
            return self.drop_input("an answer about the time that came too late, or is no time");
        }
        let half = i64::try_from(round_trip / 2).unwrap_or_default();
        self.outputs.push(Output::Module(module::Request::OfferTime(data.timestamp.saturating_add(half))));
        self.shows = true;
        self.clock.timezone = data.timezone.filter(|zone| zone.len() <= LONGEST_ZONE);
    }
}

/// Time (Lierda access protocol, table 2.2).
pub const TIME: i64 = 29;
/// Not documented; chosen by us.
const EVERY_MS: u64 = 86_400_000;
/// Slower answers say too little (not documented; chosen by us).
const SLOWEST_MS: u64 = 10_000;
/// Names of time zones are shorter.
const LONGEST_ZONE: usize = 64;
