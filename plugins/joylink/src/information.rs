//! [`Fetch`]: the weather and the quality of the air, asked of the cloud again and again (type 15).
//!
//! One request is under way at a time, and its answer is known by its number. What was told is handed out as JSON and not
//! kept; nothing survives a restart.

use polylink_plugin_sdk::Timestamp;

use crate::wire::Information;
use crate::wire::information::{InformationAnswer, InformationRequest};

/// When to ask, and what was asked.
#[derive(Clone, Debug)]
pub struct Fetch {
    kinds: Vec<String>,
    every_ms: Option<u64>,
    is_working: bool,
    next_serial: u32,
    due: Timestamp,
    /// Number of the request that is under way, and until when.
    asked: Option<(u32, Timestamp)>,
    n_unanswered: u64,
    n_unexpected: u64,
}

impl Fetch {
    /// Asks for these kinds every so many seconds, but no more often than once a minute; 0: never. Requests are numbered from
    /// `first_serial` on.
    #[must_use]
    pub fn new(kinds: Vec<String>, every_s: u32, first_serial: u32) -> Self {
        Self {
            kinds,
            every_ms: (every_s > 0).then(|| u64::from(every_s.max(EVERY_MIN_S)) * 1000),
            is_working: false,
            next_serial: first_serial,
            due: Timestamp(0),
            asked: None,
            n_unanswered: 0,
            n_unexpected: 0,
        }
    }

    /// The cloud let the device in: it is asked as soon as it is time, or at once if it did not answer last time.
    pub const fn authenticated(&mut self) {
        self.is_working = true;
    }

    /// The connection is gone: nothing is asked until the next authentication.
    pub fn disconnected(&mut self) {
        self.is_working = false;
        if self.asked.take().is_some() {
            self.due = Timestamp(0);
        }
    }

    /// A request to send now.
    pub fn poll(&mut self, now: Timestamp) -> Option<Information> {
        let every_ms = self.every_ms.filter(|_| self.is_working)?;
        if self.asked.take_if(|(_, until)| *until <= now).is_some() {
            self.n_unanswered += 1;
        }
        if self.asked.is_some() || now < self.due {
            return None;
        }
        let serial = self.next_serial;
        self.next_serial = serial.wrapping_add(1);
        self.asked = Some((serial, now.after(ANSWER_MS)));
        self.due = now.after(every_ms);
        let kinds = self.kinds.clone();
        Some(Information { serial, info: InformationRequest { kinds }.encode() })
    }

    /// When to ask [`Fetch::poll`] next; `None`: when something happens.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let until = self.asked.map(|(_, until)| until);
        self.every_ms.filter(|_| self.is_working).map(|_| until.unwrap_or(self.due))
    }

    /// Takes an answer: its JSON, if it is the one that was waited for and says what it should.
    pub fn answered(&mut self, now: Timestamp, answer: &Information) -> Option<String> {
        if self.asked.take_if(|(serial, until)| *serial == answer.serial && now < *until).is_none() {
            self.n_unexpected += 1;
            return None;
        }
        let told =
            InformationAnswer::decode(&answer.info).ok().and_then(|_| String::from_utf8(answer.info.clone()).ok());
        self.n_unanswered += u64::from(told.is_none());
        told
    }

    /// How many requests had no answer in time, or one that says nothing.
    #[must_use]
    pub const fn n_unanswered(&self) -> u64 {
        self.n_unanswered
    }

    /// How many answers had a number that was not asked for, or came too late.
    #[must_use]
    pub const fn n_unexpected(&self) -> u64 {
        self.n_unexpected
    }
}

/// How long the cloud may take to answer (not documented; chosen by us, as for other messages). It is asked again when it
/// is time anyway.
const ANSWER_MS: u64 = 10_000;

/// Not documented; chosen by us: no weather changes faster.
const EVERY_MIN_S: u32 = 60;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOLD: &str = r#"{"result":[{"type":"air","value":{"pm25":"35"}}]}"#;

    fn fetch(every_s: u32, first_serial: u32) -> Fetch {
        Fetch::new(vec!["weather".to_owned(), "air".to_owned()], every_s, first_serial)
    }

    fn working() -> Fetch {
        let mut fetch = fetch(600, 40);
        fetch.authenticated();
        fetch
    }

    fn answer(serial: u32, info: &str) -> Information {
        Information { serial, info: info.into() }
    }

    /// Numbers of all requests until then, with the time; polled only when it wants to be.
    fn until(fetch: &mut Fetch, mut now: u64, end: u64) -> Vec<(u64, u32)> {
        let mut asked = Vec::new();
        while let Some(next) = fetch.next_timeout().filter(|next| next.0 <= end) {
            now = next.0.max(now);
            asked.extend(fetch.poll(Timestamp(now)).map(|request| (now, request.serial)));
        }
        asked
    }

    #[test]
    fn weather_and_air_are_asked_for_and_told_as_they_came() {
        let mut fetch = working();
        let request = fetch.poll(Timestamp(5)).unwrap();
        assert_eq!(request, answer(40, r#"{"type":["weather","air"]}"#));
        assert_eq!(fetch.poll(Timestamp(6)), None);
        assert_eq!(fetch.answered(Timestamp(7), &answer(40, TOLD)).as_deref(), Some(TOLD));
        assert_eq!(until(&mut fetch, 7, 1_800_000), [(600_005, 41), (1_200_005, 42)]);
        assert_eq!((fetch.n_unanswered(), fetch.n_unexpected()), (2, 0));
    }

    #[test]
    fn answers_with_a_wrong_number_or_after_ten_seconds_are_counted_and_not_told() {
        let mut fetch = working();
        fetch.poll(Timestamp(0)).unwrap();
        assert_eq!(fetch.answered(Timestamp(1), &answer(39, TOLD)), None);
        assert_eq!(fetch.answered(Timestamp(10_000), &answer(40, TOLD)), None);
        assert_eq!(fetch.poll(Timestamp(10_000)), None);
        assert_eq!(fetch.answered(Timestamp(10_001), &answer(40, TOLD)), None);
        assert_eq!((fetch.n_unanswered(), fetch.n_unexpected()), (1, 3));
    }

    #[test]
    fn an_answer_that_says_nothing_is_not_told() {
        for info in ["", "[]", "{}", r#"{"result":1}"#, "{\"result\":[]} x"] {
            let mut fetch = working();
            fetch.poll(Timestamp(0)).unwrap();
            assert_eq!(fetch.answered(Timestamp(1), &answer(40, info)), None, "{info}");
            assert_eq!(fetch.n_unanswered(), 1);
        }
    }

    #[test]
    fn a_new_connection_asks_at_once_only_if_the_last_one_did_not_answer() {
        let mut fetch = working();
        fetch.poll(Timestamp(0)).unwrap();
        fetch.disconnected();
        assert_eq!((fetch.next_timeout(), fetch.poll(Timestamp(1))), (None, None));
        fetch.authenticated();
        assert_eq!(fetch.poll(Timestamp(2)).unwrap().serial, 41);
        fetch.answered(Timestamp(3), &answer(41, TOLD)).unwrap();
        fetch.disconnected();
        fetch.authenticated();
        assert_eq!(fetch.poll(Timestamp(4)), None);
        assert_eq!(fetch.next_timeout(), Some(Timestamp(600_002)));
    }

    #[test]
    fn zero_never_asks_and_nobody_asks_more_than_once_a_minute() {
        let mut never = fetch(0, 1);
        never.authenticated();
        assert_eq!((never.next_timeout(), never.poll(Timestamp(u64::MAX))), (None, None));
        let mut often = fetch(1, u32::MAX);
        often.authenticated();
        assert_eq!(until(&mut often, 0, 119_999), [(0, u32::MAX), (60_000, 0)]);
    }

    proptest! {
        #[test]
        fn no_answer_can_panic_and_what_is_told_is_what_came(serial in 39..42_u32, info: Vec<u8>, wait in 0..20_000_u64) {
            let mut fetch = working();
            fetch.poll(Timestamp(0)).unwrap();
            let told = fetch.answered(Timestamp(wait), &Information { serial, info: info.clone() });
            prop_assert!(told.is_none_or(|told| serial == 40 && told.as_bytes() == info));
        }
    }
}
