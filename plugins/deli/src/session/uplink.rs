//! Business messages (action 300) on their way up: waiting, in flight, acknowledged but still watched, put off.
//!
//! Invariant: a report handed over by the host is settled exactly once: when the broker acknowledged it, or when the
//! platform's answer says that it is of no use to send it again. Everything is bounded; what is lost is counted.
//!
//! The platform does not answer what it forwards, but may refuse a message some seconds after the broker's PUBACK. To
//! wait for that before settling would limit the device to a few reports a second, so a report is settled on PUBACK and
//! a copy is watched for [`WATCH_MS`]: a refusal that asks for another try finds it there.

use std::collections::{BTreeMap, HashMap, VecDeque};

use polylink_plugin_sdk::{RequestId, Timestamp};
use serde_json::value::RawValue;

use crate::message::Mid;
use crate::reaction::Retries;

/// One business message.
#[derive(Clone, Debug)]
pub struct Message {
    /// The report it carries, until that is settled.
    pub seq: Option<u64>,
    /// Its name; given when it is sent for the first time.
    pub mid: Option<Mid>,
    /// The application; empty: all that are bound.
    pub to: String,
    /// `{"cmd": …, "payload": …}`.
    pub data: Box<RawValue>,
    /// How often it was tried again.
    pub retries: Retries,
    order: u64,
}

/// All business messages of one session.
#[derive(Debug, Default)]
pub struct Uplink {
    reports: VecDeque<Message>,
    own: VecDeque<Message>,
    in_flight: BTreeMap<RequestId, Message>,
    put_off: BTreeMap<(Timestamp, u64), Message>,
    watched: HashMap<String, Message>,
    watched_until: VecDeque<(Timestamp, String)>,
    watched_bytes: usize,
    paused_until: Option<Timestamp>,
    order: u64,
    /// Messages of our own that were dropped for lack of room.
    pub dropped: u64,
    own_changed: bool,
}

impl Uplink {
    /// Takes a report. False: too many are unsettled, it is left with the host.
    #[must_use]
    pub fn take_report(&mut self, seq: u64, data: Box<RawValue>) -> bool {
        if self.unsettled() >= MAX_UNSETTLED {
            return false;
        }
        let message = self.message(Some(seq).filter(|seq| *seq != 0), None, String::new(), data);
        self.reports.push_back(message);
        true
    }

    /// Takes a message of the plugin's own: an answer to an application. When the queue is full, the oldest is dropped.
    pub fn take_own(&mut self, mid: Option<Mid>, to: String, data: Box<RawValue>) {
        let message = self.message(None, mid, to, data);
        self.enqueue(message);
    }

    /// The next message to send, if there is one and the window has room. It counts as in flight under `id`.
    pub fn send_next(&mut self, now: Timestamp, id: RequestId, mid: impl FnOnce() -> Mid) -> Option<&Message> {
        if self.in_flight.len() >= WINDOW || self.paused_until.is_some_and(|until| now < until) {
            return None;
        }
        // A large one that the host refused for want of room would be overtaken by the small ones behind it.
        let next = self.own.front().or_else(|| self.reports.front())?;
        let in_flight: usize = self.in_flight.values().map(weight).sum();
        if in_flight > 0 && in_flight + weight(next) > WINDOW_BYTES {
            return None;
        }
        let mut message = match self.own.pop_front() {
            Some(message) => {
                self.own_changed = true;
                message
            }
            None => self.reports.pop_front()?,
        };
        message.mid.get_or_insert_with(mid);
        Some(self.in_flight.entry(id).or_insert(message))
    }

    /// The broker acknowledged it. Returns the report to settle.
    pub fn acknowledged(&mut self, now: Timestamp, id: RequestId) -> Option<u64> {
        let mut message = self.in_flight.remove(&id)?;
        let seq = message.seq.take();
        self.watch(now, message);
        seq
    }

    /// The publish failed; the message keeps its place and its name. On a live connection nothing is sent for a moment.
    pub fn failed(&mut self, now: Timestamp, id: RequestId) {
        if let Some(message) = self.in_flight.remove(&id) {
            self.paused_until = Some(now.after(PAUSE_MS));
            self.enqueue(message);
        }
    }

    /// The host will never take this publish: it is given up. Returns the report to settle.
    pub fn give_up(&mut self, id: RequestId) -> Option<Option<u64>> {
        self.in_flight.remove(&id).map(|message| message.seq)
    }

    /// The connection is gone: whatever was in flight goes again on the next one, under the same name.
    pub fn disconnected(&mut self) {
        self.paused_until = None;
        for message in std::mem::take(&mut self.in_flight).into_values().rev() {
            self.enqueue(message);
        }
    }

    /// Takes the message with this name out of flight or watch, because the platform refused it.
    pub fn take_refused(&mut self, now: Timestamp, mid: &str) -> Option<Message> {
        self.unwatch(now);
        if let Some(message) = self.watched.remove(mid) {
            self.watched_bytes -= weight(&message);
            return Some(message);
        }
        let same = |message: &Message| message.mid.as_ref().is_some_and(|own| own.as_str() == mid);
        let id = *self.in_flight.iter().find(|(_, message)| same(message))?.0;
        self.in_flight.remove(&id)
    }

    /// Sends it again at `at`, under a new name if it is one of ours.
    pub fn put_off(&mut self, at: Timestamp, mut message: Message, rename: bool) {
        if rename {
            message.mid = None;
        }
        // A report that is dropped here stays unsettled, so the host hands it over again after a restart.
        if self.put_off.len() >= MAX_PUT_OFF && self.put_off.pop_first().is_some() {
            self.dropped += 1;
        }
        self.own_changed |= message.seq.is_none();
        self.put_off.insert((at, message.order), message);
    }

    /// Puts it back in its place, to be sent as soon as messages may be sent.
    pub fn put_back(&mut self, message: Message) {
        self.enqueue(message);
    }

    /// Moves what was put off until now back into the queues.
    pub fn ripen(&mut self, now: Timestamp) {
        if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
        }
        while let Some(entry) = self.put_off.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let message = entry.remove();
            self.enqueue(message);
        }
    }

    /// When [`Self::ripen`] or sending has something to do again.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        let waits = !self.own.is_empty() || !self.reports.is_empty();
        let pause = self.paused_until.filter(|_| waits);
        self.put_off.first_key_value().map(|((at, _), _)| *at).into_iter().chain(pause).min()
    }

    /// Drops the plugin's own messages and everything watched, because they belong to a former owner. Returns how many.
    pub fn wipe(&mut self) -> usize {
        let before = self.own.len() + self.put_off.len();
        self.own.clear();
        self.put_off.retain(|_, message| message.seq.is_some());
        self.watched.clear();
        self.watched_until.clear();
        self.watched_bytes = 0;
        self.own_changed = true;
        before - self.put_off.len()
    }

    /// The plugin's own messages that wait, for storing: newest last, at most `max_bytes` of content.
    #[must_use]
    pub fn own_messages(&self, max_bytes: usize) -> Vec<&Message> {
        let own = self.own.iter().chain(self.put_off.values().filter(|message| message.seq.is_none()));
        let mut messages: Vec<&Message> = own.collect();
        messages.sort_by_key(|message| message.order);
        let mut bytes = 0;
        let fits = messages.iter().rev().take_while(|message| {
            bytes += weight(message);
            bytes <= max_bytes
        });
        let kept = fits.count();
        messages.split_off(messages.len() - kept)
    }

    /// True once after the plugin's own waiting messages changed.
    pub fn take_own_changed(&mut self) -> bool {
        std::mem::take(&mut self.own_changed)
    }

    /// How many messages wait, are in flight or put off.
    #[cfg(test)]
    fn pending(&self) -> usize {
        self.reports.len() + self.own.len() + self.in_flight.len() + self.put_off.len()
    }

    fn message(&mut self, seq: Option<u64>, mid: Option<Mid>, to: String, data: Box<RawValue>) -> Message {
        self.order += 1;
        Message { seq, mid, to, data, retries: Retries::default(), order: self.order }
    }

    fn unsettled(&self) -> usize {
        let open = |message: &&Message| message.seq.is_some();
        self.reports.len() + self.in_flight.values().filter(open).count() + self.put_off.values().filter(open).count()
    }

    /// Where it belongs: among the reports or among our own, by age.
    fn enqueue(&mut self, message: Message) {
        let queue = if message.seq.is_some() { &mut self.reports } else { &mut self.own };
        self.own_changed |= message.seq.is_none();
        let place = queue.partition_point(|other| other.order < message.order);
        queue.insert(place, message);
        if self.own.len() > MAX_OWN {
            self.own.pop_front();
            self.dropped += 1;
        }
    }

    fn watch(&mut self, now: Timestamp, message: Message) {
        self.unwatch(now);
        let Some(mid) = message.mid.as_ref().map(|mid| mid.as_str().to_owned()) else { return };
        self.watched_bytes += weight(&message);
        self.watched_until.push_back((now.after(WATCH_MS), mid.clone()));
        if let Some(earlier) = self.watched.insert(mid, message) {
            self.watched_bytes -= weight(&earlier);
        }
        while self.watched_until.len() > MAX_WATCHED || self.watched_bytes > MAX_WATCHED_BYTES {
            self.unwatch_oldest();
        }
    }

    fn unwatch(&mut self, now: Timestamp) {
        while self.watched_until.front().is_some_and(|(until, _)| *until <= now) {
            self.unwatch_oldest();
        }
    }

    fn unwatch_oldest(&mut self) {
        let Some((_, mid)) = self.watched_until.pop_front() else { return };
        if let Some(message) = self.watched.remove(&mid) {
            self.watched_bytes -= weight(&message);
        }
    }
}

/// What a message costs in memory, roughly.
fn weight(message: &Message) -> usize {
    message.data.get().len() + message.to.len() + 128
}

/// Publishes that wait for PUBACK at once: what the host's MQTT service keeps in flight. Others wait in the queues.
pub const WINDOW: usize = 64;
/// Bytes that wait for PUBACK at once; a single message may have more. Not documented; chosen by us: half of what
/// `polylink.mqtt/1` queues, so that it always has room.
const WINDOW_BYTES: usize = 1024 * 1024;
/// Unsettled reports taken from the host, which stops at 256. Further ones are left with it and counted.
pub const MAX_UNSETTLED: usize = 512;
/// Messages of our own that wait; when full, the oldest is dropped and counted (not documented; chosen by us).
pub const MAX_OWN: usize = 1000;
/// Messages put off; when full, the one that is due first is dropped and counted.
const MAX_PUT_OFF: usize = MAX_OWN + MAX_UNSETTLED;
/// How long a refusal may follow PUBACK (not documented; chosen by us).
pub const WATCH_MS: u64 = 10_000;
/// Messages watched: ten seconds at some 800 a second; when full, the oldest is watched no longer.
const MAX_WATCHED: usize = 8192;
/// Bytes watched; when full, the oldest are watched no longer.
const MAX_WATCHED_BYTES: usize = 2 * 1024 * 1024;
/// Pause after a publish that failed on a live connection (not documented; chosen by us).
const PAUSE_MS: u64 = 1_000;

#[cfg(test)]
mod tests;
