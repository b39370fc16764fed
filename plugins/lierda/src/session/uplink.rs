//! Reports on their way up: waiting, sent, acknowledged by the platform.
//!
//! Invariants: a report is settled exactly once, when the platform has acknowledged the frame it went in, or has refused it
//! for good; the platform never takes an older value for the present one: what is no longer news goes as history with
//! its own time, where the product has a history. Everything is bounded; what is lost is counted.

use std::collections::{HashMap, VecDeque};

use polylink_plugin_sdk::{DatapointId, RequestId, Timestamp};
use serde_json::value::RawValue;

use crate::datapoints::NamedValues;
use crate::frame::MessageId;

/// What a report says, in the words of the product's kind.
#[derive(Clone, Debug)]
pub enum Content {
    /// JSON model: values of properties.
    Properties(Vec<DatapointId>, NamedValues),
    /// JSON model: an event and its parameters.
    Event(String, NamedValues),
    /// Passthrough: the payload.
    Passthrough(Box<RawValue>),
    /// HEX model: 18, 19 or 26, and the bytes.
    Hex(i64, Vec<u8>),
    /// HEX model: bytes without an envelope.
    FullHex(Vec<u8>),
}

/// One report.
#[derive(Clone, Debug)]
pub struct Entry {
    /// To be settled; 0: nobody waits for it.
    pub seq: u64,
    /// Unix milliseconds of what it says, if they are known.
    pub at_ms: Option<i64>,
    /// What it says.
    pub content: Content,
    order: u64,
    /// Not to be sent together with others: together they were refused.
    alone: bool,
    refusals: u32,
}

/// How entries go up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One report, as news.
    News,
    /// One or more, with their times.
    History,
}

/// A frame on its way.
#[derive(Debug)]
pub struct Frame {
    /// Its name; `None` for a full HEX message, which has none.
    pub id: Option<MessageId>,
    /// How it goes.
    pub form: Form,
    /// What is in it, oldest first.
    pub entries: Vec<Entry>,
    publish: Option<RequestId>,
    /// How often it was sent since it was last refused.
    sent: u32,
    due: Timestamp,
}

/// What came of an acknowledgement.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Reports to settle.
    pub settled: Vec<u64>,
    /// How many of them were refused for good.
    pub refused: usize,
}

/// All reports of one session that are on their way.
#[derive(Debug)]
pub struct Uplink {
    /// Reports older than this are history.
    history_after_ms: i64,
    waiting: VecDeque<Entry>,
    in_flight: VecDeque<Frame>,
    /// The newest report of each property that went as news, by its order.
    newest: HashMap<DatapointId, u64>,
    paused_until: Option<Timestamp>,
    order: u64,
}

impl Uplink {
    /// Nothing is on its way; reports older than so many milliseconds will go as history.
    #[must_use]
    pub fn new(history_after_ms: i64) -> Self {
        Self {
            history_after_ms,
            waiting: VecDeque::new(),
            in_flight: VecDeque::new(),
            newest: HashMap::new(),
            paused_until: None,
            order: 0,
        }
    }

    /// Takes a report. False: too many are on their way, it is left with the host.
    #[must_use]
    pub fn take(&mut self, seq: u64, at_ms: Option<i64>, content: Content) -> bool {
        if self.unsettled() >= MOST {
            return false;
        }
        self.order += 1;
        let entry = Entry { seq, at_ms, content, order: self.order, alone: false, refusals: 0 };
        self.waiting.push_back(entry);
        true
    }

    /// The next frame to publish as `publish`, if there is one and the window has room: one that got no answer in time
    /// again, or a new one. `name` gives it its name.
    pub fn send_next(
        &mut self,
        now: Timestamp,
        unix_ms: Option<i64>,
        publish: RequestId,
        name: impl FnOnce() -> MessageId,
    ) -> Option<&Frame> {
        if self.paused_until.is_some_and(|until| now < until) {
            return None;
        }
        self.paused_until = None;
        if let Some(late) = self.in_flight.iter().position(|frame| frame.due <= now) {
            return self.send_again(late, now, unix_ms, publish, name);
        }
        self.send_new(now, unix_ms, publish, name)
    }

    fn send_again(
        &mut self,
        late: usize,
        now: Timestamp,
        unix_ms: Option<i64>,
        publish: RequestId,
        name: impl FnOnce() -> MessageId,
    ) -> Option<&Frame> {
        let frame = &self.in_flight[late];
        if frame.sent > RESENDS {
            // The platform answers nothing at present.
            self.disconnected();
            self.paused_until = Some(now.after(SILENT_PAUSE_MS));
            return None;
        }
        let is_overtaken = frame.entries.iter().any(|entry| self.is_overtaken(entry));
        // Without a clock there is no history to put it into.
        let becomes_history = frame.form == Form::News && unix_ms.is_some() && is_overtaken;
        let mut frame = self.in_flight.remove(late)?;
        if becomes_history {
            self.put_back(frame.entries);
            return self.send_new(now, unix_ms, publish, name);
        }
        frame.sent += 1;
        frame.due = now.after(ACK_TIMEOUT_MS);
        frame.publish = Some(publish);
        // Answers without a name come in the order of the publications.
        self.in_flight.push_back(frame);
        self.in_flight.back()
    }

    fn send_new(
        &mut self,
        now: Timestamp,
        unix_ms: Option<i64>,
        publish: RequestId,
        name: impl FnOnce() -> MessageId,
    ) -> Option<&Frame> {
        let in_flight: usize = self.in_flight.iter().flat_map(|frame| &frame.entries).map(weight).sum();
        if self.in_flight.len() >= WINDOW || in_flight >= WINDOW_BYTES {
            return None;
        }
        let first = self.waiting.pop_front()?;
        let form = if self.is_history(&first, unix_ms) { Form::History } else { Form::News };
        let mut bytes = weight(&first);
        let mut entries = vec![first];
        if form == Form::History && !entries[0].alone {
            while let Some(next) = self.waiting.front() {
                bytes += weight(next);
                let fits = entries.len() < HISTORY_MOST && bytes <= HISTORY_BYTES;
                if !fits || next.alone || !self.is_history(next, unix_ms) {
                    break;
                }
                entries.extend(self.waiting.pop_front());
            }
        }
        if form == Form::News {
            for entry in &entries {
                let Content::Properties(ids, _) = &entry.content else { continue };
                for id in ids {
                    let newest = self.newest.entry(*id).or_default();
                    *newest = entry.order.max(*newest);
                }
            }
        }
        let has_name = !matches!(entries[0].content, Content::FullHex(_));
        let id = has_name.then(name);
        let due = now.after(ACK_TIMEOUT_MS);
        self.in_flight.push_back(Frame { id, form, entries, publish: Some(publish), sent: 1, due });
        self.in_flight.back()
    }

    /// True if it says what is no longer so: it is old, or something newer was said already (9, our reading).
    fn is_history(&self, entry: &Entry, unix_ms: Option<i64>) -> bool {
        let (Some(at_ms), Some(unix_ms)) = (entry.at_ms, unix_ms) else { return false };
        let has_history = matches!(entry.content, Content::Properties(..) | Content::Event(..));
        let is_old = unix_ms.saturating_sub(at_ms) >= self.history_after_ms;
        has_history && (is_old || self.is_overtaken(entry))
    }

    fn is_overtaken(&self, entry: &Entry) -> bool {
        let Content::Properties(ids, _) = &entry.content else { return false };
        entry.at_ms.is_some() && ids.iter().any(|id| self.newest.get(id).is_some_and(|newest| *newest > entry.order))
    }

    /// The broker has it. If that is enough, it is done.
    pub fn published(&mut self, publish: RequestId, is_enough: bool) -> Ended {
        let Some(at) = self.in_flight.iter().position(|frame| frame.publish == Some(publish)) else {
            return Ended::default();
        };
        self.in_flight[at].publish = None;
        if is_enough { self.end(at) } else { Ended::default() }
    }

    /// The publish failed on a live connection: it keeps its place, and nothing is sent for a moment.
    pub fn failed(&mut self, now: Timestamp, publish: RequestId) {
        if let Some(frame) = self.take_published(publish) {
            self.put_back(frame.entries);
            self.paused_until = Some(now.after(PAUSE_MS));
        }
    }

    /// The host will never take this publish: it is given up.
    pub fn give_up(&mut self, publish: RequestId) -> Ended {
        let entries = self.take_published(publish).map(|frame| frame.entries).unwrap_or_default();
        Ended { refused: entries.len(), settled: seqs(&entries) }
    }

    /// The platform answered a frame with this name; `None`: one without. Answers come in the order of the frames, where
    /// names do not tell.
    pub fn answered(&mut self, now: Timestamp, id: Option<&str>, ok: bool) -> Option<Ended> {
        // One without a name that was refused is no longer waiting for an answer; the next answer is not its own.
        let waits = |frame: &Frame| frame.id.is_some() || frame.sent > 0;
        let is_it = |frame: &Frame| frame.id.as_ref().map(MessageId::as_str) == id && waits(frame);
        let at = self.in_flight.iter().position(is_it)?;
        if ok {
            return Some(self.end(at));
        }
        let frame = &mut self.in_flight[at];
        if frame.sent == 0 {
            // The same refusal again, of an earlier try.
            return Some(Ended::default());
        }
        if let [entry] = &mut frame.entries[..] {
            entry.refusals += 1;
            if entry.refusals > RESENDS {
                return Some(Ended { refused: 1, ..self.end(at) });
            }
            // Who refuses is not silent.
            frame.sent = 0;
            frame.due = now.after(REFUSED_PAUSE_MS);
            return Some(Ended::default());
        }
        // One part of a batch may be at fault, so each is tried alone.
        let mut entries = self.in_flight.remove(at)?.entries;
        entries.iter_mut().for_each(|entry| entry.alone = true);
        self.put_back(entries);
        Some(Ended::default())
    }

    /// The connection is gone: whatever was not acknowledged goes again on the next one.
    pub fn disconnected(&mut self) {
        self.paused_until = None;
        for frame in std::mem::take(&mut self.in_flight) {
            self.put_back(frame.entries);
        }
    }

    /// When [`Self::send_next`] has something to do again.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        // While there is a pause, something waits for its end.
        self.paused_until.or_else(|| self.in_flight.iter().map(|frame| frame.due).min())
    }

    /// How many reports are on their way.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.waiting.len() + self.in_flight.iter().map(|frame| frame.entries.len()).sum::<usize>()
    }

    fn end(&mut self, at: usize) -> Ended {
        let entries = self.in_flight.remove(at).map(|frame| frame.entries).unwrap_or_default();
        Ended { settled: seqs(&entries), refused: 0 }
    }

    fn take_published(&mut self, publish: RequestId) -> Option<Frame> {
        let at = self.in_flight.iter().position(|frame| frame.publish == Some(publish))?;
        self.in_flight.remove(at)
    }

    /// Each where it belongs by age.
    fn put_back(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            let place = self.waiting.partition_point(|other| other.order < entry.order);
            self.waiting.insert(place, entry);
        }
    }
}

fn seqs(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.seq).filter(|seq| *seq != 0).collect()
}

/// What an entry costs in memory and on the wire, roughly.
fn weight(entry: &Entry) -> usize {
    let named = |values: &NamedValues| values.iter().map(|(name, value)| name.len() + value.get().len() + 40).sum();
    let content: usize = match &entry.content {
        Content::Properties(_, values) => named(values),
        Content::Event(name, values) => name.len() + named(values),
        Content::Passthrough(payload) => payload.get().len(),
        Content::Hex(_, bytes) | Content::FullHex(bytes) => 2 * bytes.len(),
    };
    content + 128
}

/// Reports taken from the host, which stops at 256 unsettled ones, and service results beside them. Further ones are
/// left with it and counted (not documented; chosen by us).
pub const MOST: usize = 512;
/// Frames that wait for an answer at once (not documented; chosen by us: half of what the host's MQTT service keeps in
/// flight).
pub const WINDOW: usize = 32;
/// Bytes that wait for an answer at once; a single report may have more (not documented; chosen by us).
const WINDOW_BYTES: usize = 512 * 1024;
/// Time for the platform's answer (not documented; chosen by us).
pub const ACK_TIMEOUT_MS: u64 = 10_000;
/// How often a frame is repeated under its name (not documented; chosen by us).
pub const RESENDS: u32 = 2;
/// Pause after a frame that was repeated in vain (not documented; chosen by us).
pub const SILENT_PAUSE_MS: u64 = 60_000;
/// A refused report is tried again after so long, and [`RESENDS`] times (not documented; chosen by us).
pub const REFUSED_PAUSE_MS: u64 = 10_000;
/// Pause after a publish that failed on a live connection (not documented; chosen by us).
const PAUSE_MS: u64 = 1_000;
/// Reports in one history frame (not documented; chosen by us).
pub const HISTORY_MOST: usize = 100;
/// Bytes of one history frame, roughly (not documented; chosen by us: encryption doubles them, and 256 KiB is the most).
const HISTORY_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests;
