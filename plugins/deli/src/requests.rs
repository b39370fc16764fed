//! What the device asks of the platform: actions 100 to 105, outstanding by `mid`, repeated, given up.
//!
//! Invariant: at most [`MAX_OUTSTANDING`] requests wait for an answer, an action (for 105: an alarm code) at most once;
//! an answer belongs to the request with its `mid`, whatever action it carries. What an answer means is left to the
//! session.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use polylink_plugin_sdk::Timestamp;
use serde_json::value::RawValue;

use crate::message::Mid;
use crate::reaction::{NO_PERMISSION, Reaction, Retries, UNSUPPORTED};

/// Time request (Deli access document).
pub const TIME: i64 = 100;
/// Device info (Deli access document).
pub const DEVICE_INFO: i64 = 101;
/// Device query (Deli access document).
pub const DEVICE_QUERY: i64 = 102;
/// Firmware query (Deli access document).
pub const FIRMWARE_QUERY: i64 = 103;
/// Unbind by the device (Deli access document).
pub const UNBIND: i64 = 104;
/// Alarm (Deli access document).
pub const ALARM: i64 = 105;

/// One thing asked of the platform.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which action.
    pub action: i64,
    /// Its content.
    pub data: Option<Box<RawValue>>,
    alarm_code: i64,
    retries: Retries,
}

impl Request {
    /// A request; `data` is `None` where the action has none.
    #[must_use]
    pub fn new(action: i64, data: Option<Box<RawValue>>) -> Self {
        Self { action, data, alarm_code: 0, retries: Retries::default() }
    }

    /// Alarm 105 with this code.
    #[must_use]
    pub fn alarm(code: i64, message: &str) -> Self {
        let data = crate::message::raw(&serde_json::json!({ "code": code, "msg": message }));
        Self { alarm_code: code, ..Self::new(ALARM, Some(data)) }
    }

    const fn key(&self) -> (i64, i64) {
        (self.action, self.alarm_code)
    }
}

/// What is to be done now.
#[derive(Clone, Debug)]
pub enum Due {
    /// Send it, for the first time or again.
    Send(Mid, Request),
    /// Nobody answered, and it is not tried any more.
    GivenUp(Request),
}

/// An answer that found its request.
#[derive(Clone, Debug)]
pub struct Answered {
    /// What was asked.
    pub request: Request,
    /// What its code asks for.
    pub reaction: Reaction,
    /// True if the request will be sent again by itself.
    pub again: bool,
}

/// All requests of one session.
#[derive(Debug, Default)]
pub struct Requests {
    outstanding: BTreeMap<String, Pending>,
    waiting: VecDeque<Request>,
    later: Vec<(Timestamp, Request)>,
    refused: BTreeSet<i64>,
    alarms: BTreeMap<i64, Timestamp>,
}

#[derive(Debug)]
struct Pending {
    mid: Mid,
    request: Request,
    sends: u8,
    due: Timestamp,
}

impl Requests {
    /// Asks for something. The same thing waiting already, or outstanding with the same content, is enough.
    pub fn want(&mut self, request: Request) {
        if self.refused.contains(&request.action) {
            return;
        }
        let same = |other: &Request| {
            other.key() == request.key()
                && other.data.as_deref().map(RawValue::get) == request.data.as_deref().map(RawValue::get)
        };
        if self.outstanding.values().any(|pending| same(&pending.request)) {
            return;
        }
        self.waiting.retain(|other| other.key() != request.key());
        self.later.retain(|(_, other)| other.key() != request.key());
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(request);
    }

    /// Raises an alarm, but the same code at most every [`ALARM_PAUSE_MS`]: returns when it may be raised, if not now.
    pub fn alarm(&mut self, now: Timestamp, code: i64, message: &str) -> Option<Timestamp> {
        if let Some(last) = self.alarms.get(&code).filter(|last| now.since(**last) < ALARM_PAUSE_MS) {
            return Some(last.after(ALARM_PAUSE_MS));
        }
        self.alarms.retain(|_, last| now.since(*last) < ALARM_PAUSE_MS);
        if self.alarms.len() < MAX_WAITING {
            self.alarms.insert(code, now);
            self.want(Request::alarm(code, message));
        }
        None
    }

    /// The connection is new: what the last one refused may be tried again.
    pub fn connected(&mut self) {
        self.refused.clear();
    }

    /// The connection is gone: alarms are asked again on the next one; the start sequence asks everything else anew.
    pub fn disconnected(&mut self) {
        let open = std::mem::take(&mut self.outstanding).into_values().map(|pending| pending.request);
        let open: Vec<Request> = open.chain(self.later.drain(..).map(|(_, request)| request)).collect();
        self.waiting.retain(|request| request.action == ALARM);
        for request in open.into_iter().filter(|request| request.action == ALARM) {
            self.want(request);
        }
    }

    /// Forgets everything that is asked or about to be.
    pub fn clear(&mut self) {
        self.outstanding.clear();
        self.waiting.clear();
        self.later.clear();
    }

    /// The action asked under this `mid`.
    #[must_use]
    pub fn action_of(&self, mid: &str) -> Option<i64> {
        self.outstanding.get(mid).map(|pending| pending.request.action)
    }

    /// True if this action is waiting, outstanding or will be repeated.
    #[must_use]
    pub fn is_asking(&self, action: i64) -> bool {
        self.outstanding.values().any(|pending| pending.request.action == action)
            || self.waiting.iter().any(|request| request.action == action)
            || self.later.iter().any(|(_, request)| request.action == action)
    }

    /// Takes an answer with this `code`; `None` if nobody asked under this `mid`.
    pub fn answered(&mut self, now: Timestamp, mid: &str, code: i64) -> Option<Answered> {
        let mut request = self.outstanding.remove(mid)?.request;
        let reaction = Reaction::to(code);
        if code == UNSUPPORTED {
            self.refused.insert(request.action);
        }
        // The device has promised to ask for its release until it is confirmed or refused.
        let delay = match request.action {
            UNBIND if code == 0 || code == NO_PERMISSION || code == UNSUPPORTED => None,
            UNBIND => Some(ANSWER_TIMEOUT_MS),
            _ => request.retries.delay_ms(reaction),
        };
        if let Some(delay) = delay {
            self.again(now.after(delay), request.clone());
        }
        Some(Answered { request, reaction, again: delay.is_some() })
    }

    /// What is to be sent or given up by now; `mid` names each request that is sent for the first time.
    pub fn due(&mut self, now: Timestamp, mut mid: impl FnMut() -> Mid) -> Vec<Due> {
        let mut due = Vec::new();
        let late: Vec<String> =
            self.outstanding.iter().filter(|(_, pending)| pending.due <= now).map(|(name, _)| name.clone()).collect();
        for name in late {
            self.silent(now, &name, &mut due);
        }
        let (ripe, later) = std::mem::take(&mut self.later).into_iter().partition(|(at, _)| *at <= now);
        self.later = later;
        self.waiting.extend(ripe.into_iter().map(|(_, request): (Timestamp, Request)| request));
        while self.outstanding.len() < MAX_OUTSTANDING {
            let Some(request) = self.waiting.pop_front() else { break };
            let mid = mid();
            due.push(Due::Send(mid.clone(), request.clone()));
            let pending = Pending { mid: mid.clone(), request, sends: 1, due: now.after(ANSWER_TIMEOUT_MS) };
            self.outstanding.insert(mid.as_str().to_owned(), pending);
        }
        due
    }

    /// When [`Self::due`] has something to do; a moment that has passed means at once.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        let at_once = (!self.waiting.is_empty() && self.outstanding.len() < MAX_OUTSTANDING).then_some(Timestamp(0));
        let timeouts = self.outstanding.values().map(|pending| pending.due);
        timeouts.chain(self.later.iter().map(|(at, _)| *at)).chain(at_once).min()
    }

    /// A request got no answer in time.
    fn silent(&mut self, now: Timestamp, name: &str, due: &mut Vec<Due>) {
        let Some(pending) = self.outstanding.get_mut(name) else { return };
        if pending.request.action != UNBIND && pending.sends < SENDS {
            pending.sends += 1;
            pending.due = now.after(ANSWER_TIMEOUT_MS);
            due.push(Due::Send(pending.mid.clone(), pending.request.clone()));
            return;
        }
        let Some(Pending { mut request, .. }) = self.outstanding.remove(name) else { return };
        match request.action {
            UNBIND => self.waiting.push_front(request),
            // Text 1.0 shows no answer to an alarm: silence is no failure.
            ALARM => {}
            _ => match request.retries.delay_ms(Reaction::Retry) {
                Some(delay) => self.again(now.after(delay), request),
                None => due.push(Due::GivenUp(request)),
            },
        }
    }

    fn again(&mut self, at: Timestamp, request: Request) {
        if self.waiting.iter().all(|other| other.key() != request.key()) {
            self.later.retain(|(_, other)| other.key() != request.key());
            if self.later.len() < MAX_WAITING {
                self.later.push((at, request));
            }
        }
    }
}

/// Requests that may wait for an answer at once (not documented; chosen by us).
pub const MAX_OUTSTANDING: usize = 8;
/// Requests that wait to be sent; when full, the oldest is dropped. Only alarms can be so many.
const MAX_WAITING: usize = 16;
/// After so long without an answer a request is sent again (later public text of the vendor: 30 s).
pub const ANSWER_TIMEOUT_MS: u64 = 30_000;
/// How often a request is sent with the same `mid` (not documented; chosen by us).
const SENDS: u8 = 3;
/// An alarm code is not raised again within this time (not documented; chosen by us).
pub const ALARM_PAUSE_MS: u64 = 600_000;

#[cfg(test)]
mod tests {
    use super::*;

    struct Rig {
        requests: Requests,
        names: u32,
    }

    impl Rig {
        fn asking(requests: &[Request]) -> Self {
            let mut rig = Self { requests: Requests::default(), names: 0 };
            requests.iter().cloned().for_each(|request| rig.requests.want(request));
            rig
        }

        /// What is due at this second, as `mid action` or `gone action`.
        fn at(&mut self, second: u64) -> Vec<String> {
            let names = &mut self.names;
            let due = self.requests.due(Timestamp(second * 1000), || {
                *names += 1;
                Mid::Text(format!("m{names}"))
            });
            due.into_iter()
                .map(|due| match due {
                    Due::Send(mid, request) => format!("{} {}", mid.as_str(), request.action),
                    Due::GivenUp(request) => format!("gone {}", request.action),
                })
                .collect()
        }

        fn answer(&mut self, second: u64, mid: &str, code: i64) -> Option<(Reaction, bool)> {
            let answered = self.requests.answered(Timestamp(second * 1000), mid, code)?;
            Some((answered.reaction, answered.again))
        }
    }

    fn ask(action: i64) -> Request {
        Request::new(action, None)
    }

    #[test]
    fn silence_is_met_with_the_same_mid_three_times_and_then_like_an_undefined_error() {
        let mut rig = Rig::asking(&[ask(DEVICE_QUERY)]);
        assert_eq!(rig.at(0), ["m1 102"]);
        assert_eq!(rig.at(29), [""; 0]);
        assert_eq!(rig.at(30), ["m1 102"]);
        assert_eq!(rig.at(60), ["m1 102"]);
        assert_eq!(rig.at(90), [""; 0]);
        assert_eq!(rig.requests.next_due(), Some(Timestamp(95_000)));
        for (start, mid) in [(95, "m2 102"), (215, "m3 102"), (425, "m4 102")] {
            assert_eq!(rig.at(start), [mid]);
            assert_eq!(rig.at(start + 30), [mid]);
            assert_eq!(rig.at(start + 60), [mid]);
            let end = rig.at(start + 90);
            assert_eq!(end.is_empty(), start != 425, "{end:?}");
        }
        assert_eq!(rig.requests.next_due(), None);
    }

    #[test]
    fn unbinding_is_asked_with_new_mids_without_end() {
        let mut rig = Rig::asking(&[ask(UNBIND)]);
        for round in 0..50 {
            assert_eq!(rig.at(round * 30), [format!("m{} 104", round + 1)]);
        }
        assert_eq!(rig.answer(1_501, "m50", -1), Some((Reaction::Retry, true)));
        assert_eq!(rig.at(1_531), ["m51 104"]);
        assert_eq!(rig.answer(1_532, "m51", 103), Some((Reaction::GiveUp, false)));
        assert_eq!(rig.requests.next_due(), None);
    }

    #[test]
    fn a_silent_answer_to_an_alarm_is_no_failure() {
        let mut rig = Rig::asking(&[]);
        assert_eq!(rig.requests.alarm(Timestamp(0), 200, "upgrade failed"), None);
        assert_eq!(rig.requests.alarm(Timestamp(599_999), 200, "again"), Some(Timestamp(600_000)));
        for second in [0, 30, 60] {
            assert_eq!(rig.at(second), ["m1 105"]);
        }
        assert_eq!(rig.at(90), [""; 0]);
        assert_eq!(rig.requests.next_due(), None);
        rig.requests.alarm(Timestamp(600_000), 200, "and again");
        assert_eq!(rig.at(600), ["m2 105"]);
    }

    #[test]
    fn an_expired_request_is_repeated_once_with_a_new_mid() {
        let mut rig = Rig::asking(&[ask(DEVICE_INFO)]);
        rig.at(0);
        assert_eq!(rig.answer(1, "m1", 104), Some((Reaction::ResyncTime, true)));
        assert_eq!(rig.at(3), ["m2 101"]);
        assert_eq!(rig.answer(4, "m2", 104), Some((Reaction::ResyncTime, false)));
    }

    #[test]
    fn a_refused_action_is_not_used_again_before_the_next_connection() {
        let mut rig = Rig::asking(&[ask(FIRMWARE_QUERY)]);
        rig.at(0);
        rig.answer(1, "m1", 106);
        rig.requests.want(ask(FIRMWARE_QUERY));
        assert_eq!(rig.at(1), [""; 0]);
        rig.requests.connected();
        rig.requests.want(ask(FIRMWARE_QUERY));
        assert_eq!(rig.at(2), ["m2 103"]);
    }

    #[test]
    fn at_most_eight_requests_wait_for_an_answer_and_alarms_do_not_pile_up() {
        let mut rig = Rig::asking(&[]);
        for code in 0..1000 {
            rig.requests.want(Request::alarm(code, ""));
        }
        assert_eq!(rig.at(0).len(), MAX_OUTSTANDING);
        assert_eq!(rig.requests.waiting.len(), MAX_WAITING - MAX_OUTSTANDING);
        assert_eq!(rig.answer(1, "m1", 0), Some((Reaction::Ok, false)));
        assert_eq!(rig.at(1).len(), 1);
        assert_eq!(rig.answer(1, "m1", 0), None);
    }

    #[test]
    fn alarms_outlive_a_connection_and_nothing_else_does() {
        let mut rig = Rig::asking(&[ask(TIME), Request::alarm(202, "disk"), ask(DEVICE_QUERY)]);
        rig.at(0);
        rig.requests.disconnected();
        assert_eq!(rig.at(1), ["m4 105"]);
    }
}
