use proptest::prelude::*;

use super::*;
use crate::frame::{MessageIdType, raw};

mod model;

/// 2024-01-01 00:00 UTC.
const UNIX_MS: i64 = 1_704_067_200_000;

/// A queue, its clock, and who gives names.
struct Queue {
    uplink: Uplink,
    now: u64,
    has_clock: bool,
    publishes: u64,
    names: u32,
}

/// A frame as the platform sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sent {
    name: Option<String>,
    publish: RequestId,
    form: Form,
    seqs: Vec<u64>,
}

impl Queue {
    fn new() -> Self {
        Self { uplink: Uplink::new(HISTORY_AGE_MS), now: 1_000_000, has_clock: true, publishes: 0, names: 0 }
    }

    fn unix_ms(&self) -> i64 {
        UNIX_MS + i64::try_from(self.now).unwrap()
    }

    /// Takes this value of a property, said so many milliseconds ago.
    #[track_caller]
    fn say(&mut self, seq: u64, property: u32, age_ms: i64) {
        assert!(self.uplink.take(seq, Some(self.unix_ms() - age_ms), value(property)));
    }

    #[track_caller]
    fn say_undated(&mut self, seq: u64, content: Content) {
        assert!(self.uplink.take(seq, None, content));
    }

    fn send(&mut self) -> Option<Sent> {
        let unix_ms = self.has_clock.then(|| self.unix_ms());
        self.publishes += 1;
        let names = &mut self.names;
        let name = || {
            *names += 1;
            MessageId::new(*names, MessageIdType::Int)
        };
        let publish = RequestId(self.publishes);
        let frame = self.uplink.send_next(Timestamp(self.now), unix_ms, publish, name)?;
        assert_eq!(frame.publish, Some(publish));
        let seqs = frame.entries.iter().map(|entry| entry.seq).collect();
        let name = frame.id.as_ref().map(|id| id.as_str().to_owned());
        Some(Sent { name, publish, form: frame.form, seqs })
    }

    fn send_all(&mut self) -> Vec<Sent> {
        std::iter::from_fn(|| self.send()).collect()
    }

    fn answer(&mut self, sent: &Sent, ok: bool) -> Option<Ended> {
        self.uplink.answered(Timestamp(self.now), sent.name.as_deref(), ok)
    }

    #[track_caller]
    fn check_sends(&mut self, expected: &[(Form, &[u64])]) -> Vec<Sent> {
        let sent = self.send_all();
        let seen: Vec<(Form, &[u64])> = sent.iter().map(|sent| (sent.form, sent.seqs.as_slice())).collect();
        assert_eq!(seen, expected);
        sent
    }

    #[track_caller]
    fn check_ends(&mut self, sent: &Sent, ok: bool, settled: &[u64], refused: usize) {
        assert_eq!(self.answer(sent, ok), Some(Ended { settled: settled.to_vec(), refused }));
    }
}

fn value(property: u32) -> Content {
    Content::Properties(vec![DatapointId(property)], vec![("n".to_owned(), raw(&1))])
}

fn event() -> Content {
    Content::Event("alarm".to_owned(), Vec::new())
}

fn full_hex() -> Content {
    Content::FullHex(vec![1])
}

/// As [`value`], with about so many bytes.
fn large(property: u32, bytes: usize) -> Content {
    Content::Properties(vec![DatapointId(property)], vec![("n".to_owned(), raw(&"x".repeat(bytes)))])
}

const NEWS: Form = Form::News;
const HISTORY: Form = Form::History;

#[test]
fn reports_go_in_order_and_are_settled_by_their_own_answers() {
    let mut queue = Queue::new();
    (1..=3).for_each(|seq| queue.say(seq, 0, 0));
    let sent = queue.check_sends(&[(NEWS, &[1]), (NEWS, &[2]), (NEWS, &[3])]);
    queue.check_ends(&sent[1], true, &[2], 0);
    queue.check_ends(&sent[0], true, &[1], 0);
    assert_eq!(queue.answer(&sent[0], true), None);
    assert_eq!(queue.uplink.unsettled(), 1);
}

#[test]
fn an_answer_to_an_unknown_name_ends_nothing() {
    let mut queue = Queue::new();
    queue.say(1, 0, 0);
    queue.send_all();
    for name in [None, Some(""), Some("77")] {
        assert_eq!(queue.uplink.answered(Timestamp(0), name, true), None);
    }
    assert_eq!(queue.uplink.unsettled(), 1);
}

#[test]
fn only_so_many_frames_wait_for_an_answer() {
    let mut queue = Queue::new();
    for seq in 1..=40 {
        queue.say(seq, u32::try_from(seq).unwrap(), 0);
    }
    let sent = queue.send_all();
    assert_eq!(sent.len(), WINDOW);
    queue.check_ends(&sent[5], true, &[6], 0);
    queue.check_sends(&[(NEWS, &[33])]);
}

#[test]
fn only_so_many_bytes_wait_for_an_answer_but_a_single_report_may_have_more() {
    let mut queue = Queue::new();
    queue.say_undated(1, large(0, WINDOW_BYTES + 1));
    queue.say_undated(2, value(1));
    let sent = queue.check_sends(&[(NEWS, &[1])]);
    queue.check_ends(&sent[0], true, &[1], 0);
    queue.check_sends(&[(NEWS, &[2])]);
}

#[test]
fn what_is_left_beyond_the_bound_is_not_taken() {
    let mut queue = Queue::new();
    for seq in 1..=MOST as u64 {
        queue.say(seq, 0, 0);
    }
    assert!(!queue.uplink.take(9999, None, value(0)));
    let sent = queue.send_all();
    assert!(!queue.uplink.take(9999, None, value(0)), "frames under way count as well");
    queue.answer(&sent[0], true);
    assert!(queue.uplink.take(9999, None, value(0)));
}

#[test]
fn what_nobody_waits_for_is_not_settled() {
    let mut queue = Queue::new();
    queue.say_undated(0, Content::Hex(18, vec![1]));
    let sent = queue.check_sends(&[(NEWS, &[0])]);
    queue.check_ends(&sent[0], true, &[], 0);
    assert_eq!(queue.uplink.unsettled(), 0);
}

#[test]
fn a_report_of_a_minute_ago_is_history() {
    for (age_ms, form) in [(HISTORY_AGE_MS - 1, NEWS), (HISTORY_AGE_MS, HISTORY), (-HISTORY_AGE_MS, NEWS)] {
        let mut queue = Queue::new();
        queue.say(1, 0, age_ms);
        queue.check_sends(&[(form, &[1])]);
        assert!(queue.uplink.take(2, Some(queue.unix_ms() - age_ms), event()));
        queue.check_sends(&[(form, &[2])]);
    }
}

#[test]
fn a_report_of_an_unknown_time_is_never_history() {
    let mut queue = Queue::new();
    queue.say_undated(1, value(0));
    queue.say_undated(2, event());
    queue.now += 86_400_000;
    queue.check_sends(&[(NEWS, &[1]), (NEWS, &[2])]);
    let mut queue = Queue::new();
    queue.has_clock = false;
    queue.say(1, 0, 86_400_000);
    queue.check_sends(&[(NEWS, &[1])]);
}

#[test]
fn only_the_json_model_has_a_history() {
    let mut queue = Queue::new();
    let old = Some(queue.unix_ms() - 86_400_000);
    for content in [Content::Passthrough(raw(&1)), Content::Hex(18, vec![1]), full_hex()] {
        assert!(queue.uplink.take(1, old, content));
        queue.check_sends(&[(NEWS, &[1])]);
    }
}

#[test]
fn history_goes_in_batches_of_a_hundred_each_with_one_name() {
    let mut queue = Queue::new();
    (1..=250).for_each(|seq| queue.say(seq, 0, 86_400_000));
    queue.say(251, 0, 0);
    let sent = queue.send_all();
    let sizes: Vec<usize> = sent.iter().map(|sent| sent.seqs.len()).collect();
    assert_eq!(sizes, [100, 100, 50, 1]);
    assert_eq!(sent.iter().flat_map(|sent| sent.seqs.clone()).collect::<Vec<_>>(), (1..=251).collect::<Vec<_>>());
    queue.check_ends(&sent[1], true, &(101..=200).collect::<Vec<_>>(), 0);
}

#[test]
fn a_batch_of_history_is_bounded_in_bytes_and_what_is_larger_goes_alone() {
    let mut queue = Queue::new();
    for (seq, bytes) in [(1, HISTORY_BYTES / 3), (2, HISTORY_BYTES / 3), (3, HISTORY_BYTES), (4, 10), (5, 10)] {
        let at_ms = queue.unix_ms() - HISTORY_AGE_MS;
        assert!(queue.uplink.take(seq, Some(at_ms), large(0, bytes)));
    }
    queue.check_sends(&[(HISTORY, &[1, 2]), (HISTORY, &[3]), (HISTORY, &[4, 5])]);
}

#[test]
fn a_value_that_something_newer_was_said_after_goes_as_history() {
    let mut queue = Queue::new();
    queue.say(1, 0, 0);
    queue.say(2, 1, 0);
    queue.say(3, 0, 0);
    let sent = queue.check_sends(&[(NEWS, &[1]), (NEWS, &[2]), (NEWS, &[3])]);
    queue.check_ends(&sent[0], false, &[], 0);
    queue.check_ends(&sent[1], false, &[], 0);
    queue.check_ends(&sent[2], true, &[3], 0);
    queue.now += REFUSED_PAUSE_MS;
    // 1 is no longer so, and gets a name of its own; 2 still is, and keeps its name.
    let again = queue.check_sends(&[(HISTORY, &[1]), (NEWS, &[2])]);
    assert_ne!(again[0].name, sent[0].name);
    assert_eq!(again[1].name, sent[1].name);
}

#[test]
fn after_a_lost_connection_only_the_newest_value_is_news() {
    let mut queue = Queue::new();
    (1..=3).for_each(|seq| queue.say(seq, 0, 0));
    queue.check_sends(&[(NEWS, &[1]), (NEWS, &[2]), (NEWS, &[3])]);
    queue.uplink.disconnected();
    queue.check_sends(&[(HISTORY, &[1, 2]), (NEWS, &[3])]);
}

#[test]
fn an_old_value_of_an_unknown_time_does_not_make_later_ones_news_again() {
    let mut queue = Queue::new();
    queue.say_undated(1, value(0));
    queue.say(2, 0, 0);
    queue.say(3, 0, 0);
    let sent = queue.check_sends(&[(NEWS, &[1]), (NEWS, &[2]), (NEWS, &[3])]);
    queue.check_ends(&sent[0], false, &[], 0);
    queue.check_ends(&sent[1], false, &[], 0);
    queue.check_ends(&sent[2], true, &[3], 0);
    queue.uplink.disconnected();
    queue.check_sends(&[(NEWS, &[1]), (HISTORY, &[2])]);
}

#[test]
fn a_late_frame_of_a_device_whose_clock_was_lost_keeps_its_name() {
    let mut queue = Queue::new();
    queue.say(1, 0, 0);
    queue.say(2, 0, 0);
    let sent = queue.check_sends(&[(NEWS, &[1]), (NEWS, &[2])]);
    queue.has_clock = false;
    queue.now += ACK_TIMEOUT_MS;
    let again = queue.check_sends(&[(NEWS, &[1]), (NEWS, &[2])]);
    assert_eq!(again[0].name, sent[0].name);
}

#[test]
fn without_an_answer_a_frame_is_repeated_twice_and_then_the_platform_is_left_in_peace() {
    let mut queue = Queue::new();
    queue.say(1, 0, 0);
    let first = queue.send_all().remove(0);
    for _ in 0..RESENDS {
        assert_eq!(queue.uplink.next_due(), Some(Timestamp(queue.now + ACK_TIMEOUT_MS)));
        queue.now += ACK_TIMEOUT_MS - 1;
        assert_eq!(queue.send(), None);
        queue.now += 1;
        let again = queue.check_sends(&[(NEWS, &[1])]);
        assert_eq!(again[0].name, first.name);
    }
    queue.now += ACK_TIMEOUT_MS;
    assert_eq!(queue.send(), None);
    queue.say(2, 1, 0);
    assert_eq!(queue.uplink.next_due(), Some(Timestamp(queue.now + SILENT_PAUSE_MS)));
    queue.now += SILENT_PAUSE_MS - 1;
    assert_eq!(queue.send(), None);
    queue.now += 1;
    // By now 1 is older than a minute, and 2 just as old.
    let again = queue.check_sends(&[(HISTORY, &[1, 2])]);
    assert_ne!(again[0].name, first.name);
    queue.check_ends(&again[0], true, &[1, 2], 0);
}

#[test]
fn a_late_answer_to_an_earlier_try_counts() {
    let mut queue = Queue::new();
    queue.say(1, 0, 0);
    let first = queue.send_all().remove(0);
    queue.now += ACK_TIMEOUT_MS;
    queue.send_all();
    queue.check_ends(&first, true, &[1], 0);
    assert_eq!(queue.uplink.next_due(), None);
}

#[test]
fn a_report_that_is_refused_three_times_is_given_up_and_others_go_on_meanwhile() {
    let mut queue = Queue::new();
    queue.say(1, 0, 0);
    for round in 0..=u64::from(RESENDS) {
        let sent = queue.check_sends(&[(NEWS, &[1])]).remove(0);
        queue.say(10 + round, 1, 0);
        let other = queue.check_sends(&[(NEWS, &[10 + round])]).remove(0);
        let is_last = round == u64::from(RESENDS);
        let settled: &[u64] = if is_last { &[1] } else { &[] };
        queue.check_ends(&sent, false, settled, usize::from(is_last));
        queue.check_ends(&other, true, &[10 + round], 0);
        queue.now += REFUSED_PAUSE_MS - 1;
        assert_eq!(queue.send(), None);
        queue.now += 1;
    }
    assert_eq!((queue.send(), queue.uplink.unsettled()), (None, 0));
}

#[test]
fn one_refusal_that_comes_twice_is_one() {
    let mut queue = Queue::new();
    queue.say(1, 0, 0);
    let sent = queue.send_all().remove(0);
    for _ in 0..5 {
        queue.check_ends(&sent, false, &[], 0);
    }
    queue.check_ends(&sent, true, &[1], 0);
}

#[test]
fn the_parts_of_a_refused_batch_are_tried_one_by_one() {
    let mut queue = Queue::new();
    (1..=3).for_each(|seq| queue.say(seq, 0, HISTORY_AGE_MS));
    let batch = queue.check_sends(&[(HISTORY, &[1, 2, 3])]).remove(0);
    queue.say(4, 0, HISTORY_AGE_MS);
    queue.check_ends(&batch, false, &[], 0);
    let singles = queue.check_sends(&[(HISTORY, &[1]), (HISTORY, &[2]), (HISTORY, &[3]), (HISTORY, &[4])]);
    queue.check_ends(&singles[0], true, &[1], 0);
    queue.check_ends(&singles[1], false, &[], 0);
    queue.check_ends(&singles[2], true, &[3], 0);
    queue.now += REFUSED_PAUSE_MS;
    let again = queue.check_sends(&[(HISTORY, &[2]), (HISTORY, &[4])]);
    queue.check_ends(&again[0], false, &[], 0);
    queue.now += REFUSED_PAUSE_MS;
    let last = queue.send().unwrap();
    queue.check_ends(&last, false, &[2], 1);
}

#[test]
fn what_is_tried_alone_joins_no_batch_of_others() {
    let mut queue = Queue::new();
    queue.say(1, 0, HISTORY_AGE_MS);
    let first = queue.check_sends(&[(HISTORY, &[1])]).remove(0);
    (2..=3).for_each(|seq| queue.say(seq, 0, HISTORY_AGE_MS));
    let batch = queue.check_sends(&[(HISTORY, &[2, 3])]).remove(0);
    queue.uplink.failed(Timestamp(queue.now), first.publish);
    queue.check_ends(&batch, false, &[], 0);
    queue.now += PAUSE_MS;
    queue.check_sends(&[(HISTORY, &[1]), (HISTORY, &[2]), (HISTORY, &[3])]);
}

#[test]
fn a_new_connection_ends_a_pause() {
    let mut queue = Queue::new();
    queue.say(1, 0, 0);
    let sent = queue.send_all().remove(0);
    queue.uplink.failed(Timestamp(queue.now), sent.publish);
    queue.uplink.disconnected();
    queue.check_sends(&[(NEWS, &[1])]);
}

#[test]
fn a_publish_that_failed_goes_again_in_its_place_after_a_moment() {
    let mut queue = Queue::new();
    queue.say(1, 0, 0);
    queue.say(2, 1, 0);
    let sent = queue.check_sends(&[(NEWS, &[1]), (NEWS, &[2])]);
    queue.uplink.failed(Timestamp(queue.now), sent[0].publish);
    queue.say(3, 2, 0);
    assert_eq!((queue.send(), queue.uplink.next_due()), (None, Some(Timestamp(queue.now + PAUSE_MS))));
    queue.now += PAUSE_MS;
    queue.check_sends(&[(NEWS, &[1]), (NEWS, &[3])]);
}

#[test]
fn the_failure_of_a_publish_of_an_earlier_connection_changes_nothing() {
    let mut queue = Queue::new();
    queue.say(1, 0, 0);
    let sent = queue.send_all().remove(0);
    queue.uplink.disconnected();
    queue.send_all();
    queue.uplink.failed(Timestamp(queue.now), sent.publish);
    assert_eq!(queue.uplink.give_up(sent.publish), Ended::default());
    assert_eq!(queue.uplink.published(sent.publish, true), Ended::default());
    assert_eq!(queue.uplink.next_due(), Some(Timestamp(queue.now + ACK_TIMEOUT_MS)));
}

#[test]
fn what_can_never_be_published_is_given_up_and_counted() {
    let mut queue = Queue::new();
    (1..=2).for_each(|seq| queue.say(seq, 0, HISTORY_AGE_MS));
    let sent = queue.send_all().remove(0);
    assert_eq!(queue.uplink.give_up(sent.publish), Ended { settled: vec![1, 2], refused: 2 });
    assert_eq!(queue.uplink.unsettled(), 0);
}

#[test]
fn where_the_brokers_word_is_enough_it_settles() {
    let mut queue = Queue::new();
    queue.say(1, 0, 0);
    queue.say(2, 0, 0);
    let sent = queue.send_all();
    assert_eq!(queue.uplink.published(sent[0].publish, false), Ended::default());
    assert_eq!(queue.uplink.published(sent[0].publish, true), Ended::default(), "each publish is told once");
    assert_eq!(queue.uplink.published(sent[1].publish, true), Ended { settled: vec![2], refused: 0 });
}

#[test]
fn answers_without_a_name_come_in_the_order_of_the_frames() {
    let mut queue = Queue::new();
    (1..=3).for_each(|seq| queue.say_undated(seq, full_hex()));
    let sent = queue.check_sends(&[(NEWS, &[1]), (NEWS, &[2]), (NEWS, &[3])]);
    assert!(sent.iter().all(|sent| sent.name.is_none()));
    queue.check_ends(&sent[0], true, &[1], 0);
    queue.check_ends(&sent[0], true, &[2], 0);
}

#[test]
fn a_refused_frame_without_a_name_leaves_the_next_answer_to_the_next_frame() {
    let mut queue = Queue::new();
    (1..=3).for_each(|seq| queue.say_undated(seq, full_hex()));
    let sent = queue.send_all();
    queue.check_ends(&sent[0], false, &[], 0);
    queue.check_ends(&sent[0], true, &[2], 0);
    queue.now += REFUSED_PAUSE_MS - 1;
    queue.say_undated(4, full_hex());
    queue.check_sends(&[(NEWS, &[4])]);
    queue.check_ends(&sent[0], true, &[3], 0);
    queue.now += 1;
    // It was sent again after 4, so its answer comes after 4's.
    queue.check_sends(&[(NEWS, &[1])]);
    queue.check_ends(&sent[0], true, &[4], 0);
    queue.check_ends(&sent[0], true, &[1], 0);
    assert_eq!(queue.answer(&sent[0], true), None);
}

#[test]
fn nothing_is_due_where_nothing_waits_for_an_answer() {
    let mut queue = Queue::new();
    assert_eq!(queue.uplink.next_due(), None);
    queue.say(1, 0, 0);
    let sent = queue.send_all().remove(0);
    queue.uplink.failed(Timestamp(queue.now), sent.publish);
    queue.now += PAUSE_MS;
    let sent = queue.send_all().remove(0);
    queue.answer(&sent, true);
    assert_eq!(queue.uplink.next_due(), None);
}

/// After so long a report is history here.
const HISTORY_AGE_MS: i64 = 60_000;
