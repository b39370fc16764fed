use super::*;
use crate::message::raw;

struct Rig {
    uplink: Uplink,
    ids: u64,
}

impl Rig {
    fn with_reports(seqs: impl Iterator<Item = u64>) -> Self {
        let mut uplink = Uplink::default();
        seqs.for_each(|seq| assert!(uplink.take_report(seq, raw(&seq))));
        Self { uplink, ids: 0 }
    }

    /// Sends all it can; `id=mid:content`.
    fn send(&mut self, second: u64) -> Vec<String> {
        let mut sent = Vec::new();
        loop {
            let id = self.ids + 1;
            let now = Timestamp(second * 1000);
            let Some(message) = self.uplink.send_next(now, RequestId(id), || Mid::Text(format!("m{id}"))) else {
                return sent;
            };
            sent.push(format!("{id}={}:{}", message.mid.as_ref().unwrap().as_str(), message.data.get()));
            self.ids = id;
        }
    }
}

#[test]
fn a_report_is_settled_on_puback_and_only_then() {
    let mut rig = Rig::with_reports(7..=8);
    assert_eq!(rig.send(0), ["1=m1:7", "2=m2:8"]);
    assert_eq!(rig.uplink.acknowledged(Timestamp(1), RequestId(2)), Some(8));
    assert_eq!(rig.uplink.acknowledged(Timestamp(1), RequestId(2)), None);
    assert_eq!(rig.uplink.pending(), 1);
}

#[test]
fn what_was_in_flight_goes_again_in_order_and_under_the_same_name() {
    let mut rig = Rig::with_reports(1..=3);
    rig.send(0);
    rig.uplink.acknowledged(Timestamp(1), RequestId(2));
    rig.uplink.failed(Timestamp(1), RequestId(1));
    rig.uplink.disconnected();
    assert!(rig.uplink.take_report(4, raw(&4)));
    assert_eq!(rig.send(0), ["4=m1:1", "5=m3:3", "6=m6:4"]);
}

#[test]
fn at_most_64_are_in_flight() {
    let mut rig = Rig::with_reports(1..=200);
    assert_eq!(rig.send(0).len(), WINDOW);
    rig.uplink.acknowledged(Timestamp(0), RequestId(5));
    assert_eq!(rig.send(0), ["65=m65:65"]);
}

#[test]
fn large_messages_are_in_flight_one_mebibyte_at_a_time_and_in_order() {
    let mut rig = Rig::with_reports(std::iter::empty());
    let large = "x".repeat(200 * 1024);
    (1..=8).for_each(|seq| assert!(rig.uplink.take_report(seq, raw(&large))));
    assert!(rig.uplink.take_report(9, raw(&9)));
    assert_eq!(rig.send(0).len(), 5);
    rig.uplink.acknowledged(Timestamp(0), RequestId(1));
    assert!(rig.send(0)[0].starts_with("6=m6:\"xxx"));
}

#[test]
fn a_publish_that_fails_on_a_live_connection_waits_a_second() {
    let mut rig = Rig::with_reports(1..=1);
    rig.send(0);
    rig.uplink.failed(Timestamp(0), RequestId(1));
    assert_eq!(rig.send(0), [""; 0]);
    assert_eq!(rig.uplink.next_due(), Some(Timestamp(1_000)));
    assert_eq!(rig.send(1), ["2=m1:1"]);
}

#[test]
fn a_refusal_finds_its_message_for_ten_seconds_after_puback() {
    let mut rig = Rig::with_reports(1..=2);
    rig.send(0);
    rig.uplink.acknowledged(Timestamp(0), RequestId(1));
    rig.uplink.acknowledged(Timestamp(0), RequestId(2));
    assert_eq!(rig.uplink.take_refused(Timestamp(9_999), "m1").unwrap().data.get(), "1");
    assert!(rig.uplink.take_refused(Timestamp(9_999), "m1").is_none());
    assert!(rig.uplink.take_refused(Timestamp(10_000), "m2").is_none());
}

#[test]
fn a_refused_message_comes_back_after_its_delay_under_a_new_name() {
    let mut rig = Rig::with_reports(1..=1);
    rig.send(0);
    let message = rig.uplink.take_refused(Timestamp(1), "m1").unwrap();
    assert_eq!(message.seq, Some(1));
    rig.uplink.put_off(Timestamp(5_000), message, true);
    rig.uplink.ripen(Timestamp(4_999));
    assert_eq!(rig.send(4), [""; 0]);
    rig.uplink.ripen(Timestamp(5_000));
    assert_eq!(rig.send(5), ["2=m2:1"]);
    assert_eq!(rig.uplink.acknowledged(Timestamp(6_000), RequestId(2)), Some(1));
}

#[test]
fn of_our_own_messages_the_newest_thousand_are_kept() {
    let mut rig = Rig::with_reports(1..=1);
    (0..1500).for_each(|n| rig.uplink.take_own(None, "app".into(), raw(&n)));
    assert_eq!((rig.uplink.dropped, rig.uplink.pending()), (500, MAX_OWN + 1));
    assert!(rig.send(0)[0].ends_with(":500"));
    assert!(rig.uplink.own_messages(1_000).len() < 10);
}

#[test]
fn reports_beyond_the_limit_stay_with_the_host_and_the_watch_is_bounded() {
    let mut rig = Rig::with_reports(1..=MAX_UNSETTLED as u64);
    assert!(!rig.uplink.take_report(9_999, raw(&0)));
    let content = raw(&"x".repeat(500));
    for seq in 0..12_000 {
        let last = rig.send(0).len() as u64;
        for id in rig.ids + 1 - last..=rig.ids {
            rig.uplink.acknowledged(Timestamp(0), RequestId(id));
        }
        let _ = rig.uplink.take_report(10_000 + seq, content.clone());
    }
    assert!(rig.uplink.watched.len() <= MAX_WATCHED && rig.uplink.watched_bytes <= MAX_WATCHED_BYTES);
    assert_eq!(rig.uplink.watched.values().map(weight).sum::<usize>(), rig.uplink.watched_bytes);
}

#[test]
fn a_wipe_keeps_the_reports_of_the_host() {
    let mut rig = Rig::with_reports(1..=2);
    rig.uplink.take_own(None, "app".into(), raw(&"old"));
    assert_eq!(rig.uplink.wipe(), 1);
    assert_eq!(rig.uplink.pending(), 2);
}
