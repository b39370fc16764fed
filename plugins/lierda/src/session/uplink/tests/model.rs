//! Whatever the platform and the connection do, against what must be true of every queue.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// Something that happens.
#[derive(Clone, Debug)]
enum Happening {
    /// A report of these properties; `None` for its age: its time is not known.
    Report(Vec<u32>, Option<i64>),
    Event(i64),
    FullHex,
    /// So much time passes.
    Wait(u64),
    /// The platform answers one of the frames that it ever saw.
    Answer(prop::sample::Index, bool),
    /// The broker's word about one of the publishes; true: it is enough.
    Published(prop::sample::Index, bool),
    Failed(prop::sample::Index),
    GiveUp(prop::sample::Index),
    Disconnected,
}

fn happening() -> impl Strategy<Value = Happening> {
    use prop::sample::Index;
    let age = prop_oneof![3 => 0..1_000_i64, 1 => 50_000..70_000_i64, 1 => Just(86_400_000)];
    let properties = prop::collection::vec(0..3_u32, 1..3);
    prop_oneof![
        12 => (properties, prop::option::weighted(0.8, age.clone())).prop_map(|(ids, age)| Happening::Report(ids, age)),
        3 => age.prop_map(Happening::Event),
        3 => Just(Happening::FullHex),
        4 => prop_oneof![Just(999_u64), Just(10_000), Just(60_000), 0..30_000_u64].prop_map(Happening::Wait),
        12 => (any::<Index>(), any::<bool>()).prop_map(|(frame, ok)| Happening::Answer(frame, ok)),
        2 => (any::<Index>(), any::<bool>()).prop_map(|(frame, enough)| Happening::Published(frame, enough)),
        2 => any::<Index>().prop_map(Happening::Failed),
        1 => any::<Index>().prop_map(Happening::GiveUp),
        2 => Just(Happening::Disconnected),
    ]
}

/// All that ever happened, written down at length.
#[derive(Default)]
struct Ledger {
    /// What each report says of which properties, and whether its time is known.
    reports: BTreeMap<u64, (Vec<u32>, bool)>,
    ended: BTreeSet<u64>,
    frames: Vec<Sent>,
    /// The newest report of each property that went as news.
    newest: BTreeMap<u32, u64>,
}

impl Ledger {
    fn ends(&mut self, ended: Ended) {
        assert!(ended.refused <= ended.settled.len());
        for seq in ended.settled {
            assert!(self.reports.contains_key(&seq), "{seq} was never reported");
            assert!(self.ended.insert(seq), "{seq} ends twice");
        }
    }

    fn sees(&mut self, sent: Sent) {
        assert!(!sent.seqs.is_empty() && sent.seqs.len() <= HISTORY_MOST);
        assert!(sent.form == HISTORY || sent.seqs.len() == 1);
        for seq in &sent.seqs {
            assert!(!self.ended.contains(seq), "{seq} is sent after its end");
            let (properties, has_time) = &self.reports[seq];
            assert!(sent.form == NEWS || *has_time, "{seq} has no time and is history");
            for property in properties.iter().filter(|_| sent.form == NEWS) {
                let newest = self.newest.entry(*property).or_default();
                assert!(!has_time || *newest <= *seq, "{seq} is news after {newest}");
                *newest = (*newest).max(*seq);
            }
        }
        self.frames.push(sent);
    }

    fn frame(&self, index: &prop::sample::Index) -> Option<&Sent> {
        (!self.frames.is_empty()).then(|| index.get(&self.frames))
    }
}

fn carry_out(queue: &mut Queue, ledger: &mut Ledger, seq: u64, happening: Happening) {
    let (now, unix_ms) = (Timestamp(queue.now), queue.unix_ms());
    let mut report = |content: Content, properties: Vec<u32>, at_ms: Option<i64>| {
        if queue.uplink.take(seq, at_ms, content) {
            ledger.reports.insert(seq, (properties, at_ms.is_some()));
        }
    };
    match happening {
        Happening::Report(properties, age) => {
            let ids = properties.iter().copied().map(DatapointId).collect();
            let at_ms = age.map(|age| unix_ms - age);
            report(Content::Properties(ids, Vec::new()), properties, at_ms);
        }
        Happening::Event(age) => report(event(), Vec::new(), Some(unix_ms - age)),
        Happening::FullHex => report(full_hex(), Vec::new(), None),
        Happening::Wait(ms) => queue.now += ms,
        Happening::Answer(frame, ok) => {
            let Some(sent) = ledger.frame(&frame).cloned() else { return };
            if let Some(ended) = queue.answer(&sent, ok) {
                assert!(sent.name.is_none() || ended.settled.iter().all(|seq| sent.seqs.contains(seq)));
                ledger.ends(ended);
            }
        }
        Happening::Published(frame, enough) => {
            let Some(sent) = ledger.frame(&frame).cloned() else { return };
            let ended = queue.uplink.published(sent.publish, enough);
            ledger.ends(ended);
        }
        Happening::Failed(frame) => {
            let Some(sent) = ledger.frame(&frame) else { return };
            queue.uplink.failed(now, sent.publish);
        }
        Happening::GiveUp(frame) => {
            let Some(sent) = ledger.frame(&frame) else { return };
            let ended = queue.uplink.give_up(sent.publish);
            ledger.ends(ended);
        }
        Happening::Disconnected => queue.uplink.disconnected(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_report_ends_once_and_no_news_steps_back(happenings in prop::collection::vec(happening(), 0..120)) {
        let mut queue = Queue::new();
        let mut ledger = Ledger::default();
        for (seq, happening) in (1..).zip(happenings) {
            carry_out(&mut queue, &mut ledger, seq, happening);
            for sent in queue.send_all() {
                ledger.sees(sent);
            }
            prop_assert_eq!(queue.uplink.unsettled(), ledger.reports.len() - ledger.ended.len());
            prop_assert!(queue.uplink.in_flight.len() <= WINDOW);
            // Nothing is due that nothing is done about.
            prop_assert!(queue.uplink.next_due().is_none_or(|due| due.0 > queue.now));
        }
        // At last the platform answers everything.
        while queue.uplink.unsettled() > 0 {
            queue.now = queue.uplink.next_due().map_or(queue.now, |due| due.0.max(queue.now));
            for sent in queue.send_all() {
                ledger.sees(sent.clone());
                if let Some(ended) = queue.answer(&sent, true) {
                    ledger.ends(ended);
                }
            }
        }
        prop_assert_eq!(ledger.ended.len(), ledger.reports.len());
    }
}
