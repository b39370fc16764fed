//! [`Uploads`]: what the device said, on its way to the cloud, in order and until the cloud has taken it.
//!
//! An upload has no number, and neither has its answer (JoyLink V1.79, upload): the answers of a connection come in the
//! order of the uploads of the same device, which is how they are told apart. So an upload that stays without an answer
//! spoils the connection, and [`Uploads::is_silent`] says so.

use std::collections::VecDeque;

use polylink_plugin_sdk::value::Values;
use polylink_plugin_sdk::{DatapointId, Timestamp};

use crate::wire::FeedId;

/// What was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// New values of properties; none: the device is shown as it is.
    Values(Values),
    /// Something happened, with parameters.
    Event(DatapointId, Values),
    /// Bytes of the product's own.
    Raw(Vec<u8>),
}

/// One thing that was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// To be settled; 0: nobody waits for it.
    pub seq: u64,
    /// 0: the device itself, else a subdevice.
    pub device: u32,
    /// What.
    pub said: Said,
}

/// All that is on its way.
#[derive(Debug, Default)]
pub struct Uploads {
    waiting: VecDeque<Entry>,
    /// It is being put into words; nothing overtakes it.
    current: Option<Entry>,
    in_flight: VecDeque<Sent>,
}

#[derive(Debug)]
struct Sent {
    entry: Entry,
    /// The subdevice; `None`: the device itself.
    feedid: Option<FeedId>,
    at: Timestamp,
}

impl Entry {
    /// Shows a device as it is, and says nothing new.
    fn is_show(&self) -> bool {
        self.seq == 0 && matches!(&self.said, Said::Values(values) if values.is_empty())
    }
}

impl Uploads {
    /// Takes what was said. False: too much is on its way, it is left with the host.
    #[must_use]
    pub fn take(&mut self, entry: Entry) -> bool {
        let has_room = self.len() < MOST;
        if has_room {
            self.waiting.push_back(entry);
        }
        has_room
    }

    /// The next to put into words and send, if none is, and few enough wait for their answers. A device is shown as it is
    /// after all that it said before: the other way round its values would go back in time at the cloud.
    pub fn begin(&mut self) -> Option<&Entry> {
        if self.current.is_some() || self.in_flight.len() >= WINDOW {
            return None;
        }
        let mut next = self.waiting.pop_front()?;
        while next.is_show() && self.waiting.iter().any(|entry| entry.device == next.device) {
            if !self.waiting.contains(&next) {
                self.waiting.push_back(next);
            }
            next = self.waiting.pop_front()?;
        }
        self.current = Some(next);
        self.current.as_ref()
    }

    /// What this device said first goes before what others said; what one device said keeps its order.
    pub fn begin_with(&mut self, device: u32) {
        let first = self.waiting.iter().position(|entry| entry.device == device);
        if let Some(entry) = first.and_then(|at| self.waiting.remove(at)) {
            self.waiting.push_front(entry);
        }
    }

    /// The one that is being put into words.
    #[must_use]
    pub const fn current(&self) -> Option<&Entry> {
        self.current.as_ref()
    }

    /// The current one was sent.
    pub fn sent(&mut self, now: Timestamp, feedid: Option<FeedId>) {
        let sent = self.current.take().map(|entry| Sent { entry, feedid, at: now });
        self.in_flight.extend(sent);
    }

    /// The current one cannot be sent now.
    pub fn put_back(&mut self) {
        if let Some(entry) = self.current.take() {
            self.waiting.push_front(entry);
        }
    }

    /// The current one can never be sent; its number.
    pub fn give_up(&mut self) -> Option<u64> {
        self.current.take().map(|entry| entry.seq)
    }

    /// The cloud has answered an upload of this device; the number of it, or `None` if it sent none.
    pub fn answered(&mut self, feedid: Option<FeedId>) -> Option<u64> {
        let at = self.in_flight.iter().position(|sent| sent.feedid == feedid)?;
        self.in_flight.remove(at).map(|sent| sent.entry.seq)
    }

    /// This device is gone, and another may get its index. What it said and was not sent is not sent any more, and what was
    /// sent is not sent again. The numbers of the former.
    pub fn forget(&mut self, device: u32) -> Vec<u64> {
        let current = self.current.take_if(|entry| entry.device == device);
        let (gone, waiting) = self.waiting.drain(..).partition::<VecDeque<_>, _>(|entry| entry.device == device);
        self.waiting = waiting;
        let sent = self.in_flight.iter_mut().filter(|sent| sent.entry.device == device);
        sent.for_each(|sent| sent.entry.device = NOBODY);
        current.into_iter().chain(gone).map(|entry| entry.seq).collect()
    }

    /// The connection is gone: what was not answered goes again, in its place. Not what only shows a device as it is: the
    /// next connection begins with that, and behind it older reports would seem to be newer.
    pub fn disconnected(&mut self) {
        self.put_back();
        for sent in self.in_flight.drain(..).rev() {
            self.waiting.push_front(sent.entry);
        }
        self.waiting.retain(|entry| entry.seq != 0 || entry.said != Said::Values(Values::new()));
    }

    /// Forgets everything, such as when the device has another owner; the numbers.
    pub fn clear(&mut self) -> Vec<u64> {
        self.disconnected();
        self.waiting.drain(..).map(|entry| entry.seq).collect()
    }

    /// Whether the device itself has something on its way.
    #[must_use]
    pub fn has_any(&self, device: u32) -> bool {
        let in_flight = self.in_flight.iter().map(|sent| &sent.entry);
        self.waiting.iter().chain(&self.current).chain(in_flight).any(|entry| entry.device == device)
    }

    /// True if an upload has waited for its answer for too long.
    #[must_use]
    pub fn is_silent(&self, now: Timestamp, timeout_ms: u64) -> bool {
        self.next_due(timeout_ms).is_some_and(|due| due <= now)
    }

    /// When an answer is overdue.
    #[must_use]
    pub fn next_due(&self, timeout_ms: u64) -> Option<Timestamp> {
        self.in_flight.front().map(|sent| sent.at.after(timeout_ms))
    }

    fn len(&self) -> usize {
        self.waiting.len() + usize::from(self.current.is_some()) + self.in_flight.len()
    }
}

/// The index of a device that is gone; none is called so.
const NOBODY: u32 = u32::MAX;

/// Reports taken from the host, which stops at 256 unsettled ones, and snapshots beside them. Further ones are left with it
/// and counted (not documented; chosen by us).
pub const MOST: usize = 512;
/// Uploads that wait for an answer at once (not documented; chosen by us).
pub const WINDOW: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seq: u64, device: u32) -> Entry {
        Entry { seq, device, said: Said::Raw(Vec::new()) }
    }

    fn sub() -> Option<FeedId> {
        FeedId::new("7")
    }

    /// Sends all that can be sent; their numbers.
    fn send(uploads: &mut Uploads, at: u64) -> Vec<u64> {
        std::iter::from_fn(|| {
            let Entry { seq, device, .. } = uploads.begin()?.clone();
            uploads.sent(Timestamp(at), sub().filter(|_| device != 0));
            Some(seq)
        })
        .collect()
    }

    fn with(entries: &[(u64, u32)]) -> Uploads {
        let mut uploads = Uploads::default();
        entries.iter().for_each(|(seq, device)| assert!(uploads.take(entry(*seq, *device))));
        uploads
    }

    #[test]
    fn a_device_is_shown_once_and_after_all_that_it_said() {
        let show = |device| Entry { seq: 0, device, said: Said::Values(Values::new()) };
        let mut uploads = Uploads::default();
        for next in [show(0), entry(1, 0), show(4), show(0), entry(2, 0), entry(3, 4)] {
            assert!(uploads.take(next));
        }
        let shown = |uploads: &mut Uploads| {
            let Entry { seq, device, .. } = uploads.begin()?.clone();
            uploads.sent(Timestamp(0), sub().filter(|_| device != 0));
            Some((seq, device))
        };
        let sent: Vec<_> = std::iter::from_fn(|| shown(&mut uploads)).collect();
        assert_eq!(sent, [(1, 0), (2, 0), (3, 4), (0, 4), (0, 0)]);
    }

    #[test]
    fn answers_belong_to_the_uploads_of_their_device_in_order() {
        let mut uploads = with(&[(1, 0), (2, 5), (3, 0)]);
        assert_eq!(send(&mut uploads, 0), [1, 2, 3]);
        assert_eq!(uploads.answered(sub()), Some(2));
        assert_eq!((uploads.answered(None), uploads.answered(None), uploads.answered(None)), (Some(1), Some(3), None));
    }

    #[test]
    fn what_was_not_answered_goes_again_in_its_place() {
        let mut uploads = with(&[(1, 0), (2, 0), (3, 0)]);
        assert_eq!(send(&mut uploads, 0), [1, 2, 3]);
        assert!(uploads.take(entry(4, 0)));
        uploads.begin();
        uploads.answered(None);
        uploads.disconnected();
        assert_eq!(send(&mut uploads, 0), [2, 3, 4]);
    }

    #[test]
    fn one_device_can_begin() {
        let mut uploads = with(&[(1, 5), (2, 5), (3, 0), (4, 5), (5, 0)]);
        uploads.begin_with(0);
        uploads.begin_with(7);
        assert_eq!(send(&mut uploads, 0), [3, 1, 2, 4, 5]);
    }

    #[test]
    fn nothing_overtakes_what_is_being_put_into_words() {
        let mut uploads = with(&[(1, 0), (2, 0)]);
        assert_eq!(uploads.begin().map(|entry| entry.seq), Some(1));
        assert_eq!(uploads.begin(), None);
        uploads.put_back();
        assert_eq!(uploads.begin().map(|entry| entry.seq), Some(1));
        assert_eq!(uploads.give_up(), Some(1));
        assert_eq!(send(&mut uploads, 0), [2]);
    }

    #[test]
    fn what_is_forgotten_is_named() {
        let mut uploads = with(&[(1, 0), (2, 0), (3, 5)]);
        send(&mut uploads, 0);
        assert!(uploads.take(entry(4, 0)));
        uploads.begin();
        assert_eq!(uploads.clear(), [1, 2, 3, 4]);
        assert!(uploads.begin().is_none() && uploads.answered(None).is_none());
    }

    #[test]
    fn the_window_and_the_queue_are_bounded() {
        let mut uploads = Uploads::default();
        let n_taken = (0..1000).filter(|seq| uploads.take(entry(*seq, 0))).count();
        assert_eq!((n_taken, send(&mut uploads, 0).len()), (MOST, WINDOW));
        uploads.answered(None);
        assert_eq!(send(&mut uploads, 0).len(), 1);
    }

    #[test]
    fn a_cloud_that_leaves_the_oldest_without_an_answer_is_silent() {
        let mut uploads = with(&[(1, 0)]);
        assert_eq!(uploads.next_due(10), None);
        send(&mut uploads, 5);
        assert!(uploads.take(entry(2, 0)));
        send(&mut uploads, 9);
        assert_eq!(uploads.next_due(10), Some(Timestamp(15)));
        assert!(!uploads.is_silent(Timestamp(14), 10) && uploads.is_silent(Timestamp(15), 10));
        uploads.answered(None);
        assert!(!uploads.is_silent(Timestamp(15), 10));
    }
}
