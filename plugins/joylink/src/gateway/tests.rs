use polylink_plugin_sdk::services::subdevices::Radio;
use proptest::prelude::*;

use super::*;
use crate::crypto::Key32;
use crate::wire::discovery::Enrolment;
use crate::wire::{FeedId, Flag, Json, SubHeartbeat};

const PRODUCT: &str = "XDFSSD";

/// A gateway, the host that carries its requests out, and the time.
struct Home {
    gateway: Gateway,
    list: Vec<Subdevice>,
    /// Open windows: who may join.
    windows: Vec<String>,
    now: Timestamp,
}

impl Home {
    fn new() -> Self {
        Self { gateway: Gateway::new(50), list: Vec::new(), windows: Vec::new(), now: Timestamp(0) }
    }

    /// One asks to join, or comes back.
    fn shows_up(&mut self, index: u32, mac: &str) -> Vec<Request> {
        self.list.push(sub(index, mac));
        self.tell()
    }

    /// The gateway hears of the host's list, and the host carries out what comes back.
    fn tell(&mut self) -> Vec<Request> {
        let requests = self.gateway.seen(self.now, &self.list);
        self.carry_out(&requests);
        requests
    }

    fn carry_out(&mut self, requests: &[Request]) {
        for request in requests {
            match request {
                Request::Admit { address, seconds, .. } => {
                    assert!((1..=600).contains(seconds));
                    self.windows.push(address.clone());
                }
                Request::Accept(index) => self.of(*index).accepted = true,
                Request::Remove(index) => self.list.retain(|sub| sub.index != *index),
            }
        }
    }

    fn of(&mut self, index: u32) -> &mut Subdevice {
        self.list.iter_mut().find(|sub| sub.index == index).expect("the host knows whom it is asked about")
    }

    fn authorize(&mut self, order: Authorization) -> (i32, Vec<Request>) {
        let (answer, requests) = self.gateway.authorize(self.now, order);
        assert_eq!(answer.msg, answer.code.text());
        self.carry_out(&requests);
        (answer.code.0, requests)
    }

    fn add(&mut self, mac: &str) -> (i32, Vec<Request>) {
        let order = AddSubDevice { mac: mac.into(), productuuid: PRODUCT.into(), protocol: Protocol::Radio433 };
        let (answer, requests) = self.gateway.add(self.now, &order);
        assert_eq!((answer.mac.as_str(), answer.productuuid.as_str()), (mac, PRODUCT));
        self.carry_out(&requests);
        (answer.code.0, requests)
    }

    fn unbind(&mut self, feedids: &[&str]) -> (Vec<u8>, Vec<Request>) {
        let beat = |feedid: &&str| SubBeat { version: 3, rssi: 4, feedid: feed(feedid), state: SubState::ONLINE };
        let order = Unbind { biz_code: 1060, serial: 9, subs: feedids.iter().map(beat).collect() };
        let (answer, requests) = self.gateway.unbind(&order);
        assert_eq!((answer.biz_code, answer.serial, answer.subs.len()), (160, 9, feedids.len()));
        for (asked, told) in order.subs.iter().zip(&answer.subs) {
            assert_eq!(*asked, SubBeat { state: SubState::ONLINE, ..*told });
        }
        self.carry_out(&requests);
        (answer.subs.iter().map(|sub| sub.state.0).collect(), requests)
    }

    /// A restart: only what was stored is left.
    fn restart(&mut self) {
        let stored = self.gateway.stored();
        self.gateway = Gateway::new(50);
        assert_eq!(self.gateway.restore(stored.expose()), Ok(()));
        assert!(!self.gateway.take_changed());
    }

    /// Addresses that discovery shows as bound, and as waiting.
    fn shown(&self) -> (Vec<String>, Vec<String>) {
        let (bound, waiting): (Vec<_>, Vec<_>) =
            self.gateway.discovery(TransferType::Lua).into_iter().partition(|sub| sub.state == Enrolment::Authorized);
        let macs = |subs: Vec<SubDevice>| subs.into_iter().map(|sub| sub.mac).collect();
        (macs(bound), macs(waiting))
    }
}

fn sub(index: u32, mac: &str) -> Subdevice {
    Subdevice {
        index,
        product: PRODUCT.into(),
        address: mac.into(),
        radio: Radio::Zigbee,
        online: true,
        signal_percent: Some(70),
        version: "12".into(),
        accepted: false,
    }
}

fn feed(text: &str) -> FeedId {
    FeedId::new(text).unwrap()
}

fn key(byte: u8) -> Key32 {
    Key32::new([byte; 32])
}

fn order(mac: &str, feedid: &str) -> Authorization {
    Authorization {
        feedid: feed(feedid),
        accesskey: key(b'a'),
        localkey: key(b'l'),
        productuuid: Some(PRODUCT.into()),
        joylink_server: Vec::new(),
        server: None,
        tcpaes: None,
        lancon: Some(Flag(true)),
        opt: None,
        mac: Some(mac.into()),
    }
}

fn admit(mac: &str) -> Request {
    Request::Admit { product: PRODUCT.into(), address: mac.into(), seconds: 60 }
}

#[test]
fn one_that_asks_to_join_is_found_by_discovery_and_bound() {
    let mut home = Home::new();
    assert_eq!(home.shows_up(7, "AA01"), []);
    assert_eq!(home.shown(), (vec![], vec!["AA01".to_owned()]));
    // The app wrote the address its own way.
    assert_eq!(home.authorize(order("aa01", "1001")), (0, vec![Request::Accept(7)]));
    assert!(home.gateway.take_changed() && !home.gateway.take_changed());
    assert_eq!(home.tell(), []);
    assert_eq!(home.shown(), (vec!["aa01".to_owned()], vec![]));
    let record = home.gateway.by_feedid("1001").unwrap();
    assert_eq!((record.device(), record.is_online(), record.lancon()), (Some(7), true, true));
    assert_eq!((record.accesskey(), record.localkey()), (&key(b'a'), &key(b'l')));
    assert_eq!((record.protocol(), record.version()), (Protocol::Zigbee, Some(12)));
    assert_eq!(home.gateway.by_feedid("Aa01").unwrap().feedid(), feed("1001"));
    assert_eq!(home.gateway.by_device(7).unwrap().feedid(), feed("1001"));
    assert!(home.gateway.by_device(8).is_none() && home.gateway.by_feedid("").is_none());
}

#[test]
fn one_that_was_announced_by_its_qr_code_is_bound_before_and_after_it_shows_up() {
    let mut home = Home::new();
    assert_eq!(home.authorize(order("AA01", "1001")), (19, vec![]));
    assert_eq!(home.add("AA01"), (0, vec![admit("AA01")]));
    assert_eq!(home.windows, ["AA01"]);
    // A transmitter never asks to join: it is bound although nobody has seen it, and may still come.
    assert_eq!(home.authorize(order("AA01", "1001")), (0, vec![admit("AA01")]));
    let record = home.gateway.by_feedid("1001").unwrap();
    assert_eq!((record.device(), record.is_online(), record.protocol()), (None, false, Protocol::Radio433));
    home.gateway.take_changed();
    assert_eq!(home.shows_up(3, "AA01"), [Request::Accept(3)]);
    // The host knows better what it speaks.
    assert_eq!(home.gateway.by_device(3).unwrap().protocol(), Protocol::Zigbee);
    assert!(home.gateway.take_changed());
    assert_eq!(home.gateway.by_device(3).unwrap().feedid(), feed("1001"));
    // The other order: it shows up after it was announced.
    assert_eq!(home.add("AA02"), (0, vec![admit("AA02")]));
    assert_eq!(home.shows_up(4, "aa02"), []);
    assert_eq!(home.authorize(order("AA02", "1002")), (0, vec![Request::Accept(4)]));
    // Announced once more while it is there: nothing to wait for.
    assert_eq!(home.tell(), []);
    assert_eq!(home.add("AA02"), (0, vec![]));
}

#[test]
fn an_announcement_is_forgotten_after_ten_minutes_and_a_waiting_one_when_it_leaves_the_list() {
    let mut home = Home::new();
    home.add("AA01");
    home.now = Timestamp(ANNOUNCED_MS);
    assert_eq!(home.authorize(order("AA01", "1001")).0, 19);
    home.shows_up(1, "AA02");
    home.list.clear();
    home.tell();
    assert_eq!(home.authorize(order("AA02", "1002")).0, 19);
    assert_eq!(home.shown(), (vec![], vec![]));
}

#[test]
fn announcements_and_waiting_ones_are_bounded_and_announced_ones_come_first() {
    let mut home = Home::new();
    for n in 0..=ANNOUNCED_MAX {
        home.add(&format!("AA{n}"));
    }
    assert_eq!(home.gateway.announced.len(), ANNOUNCED_MAX);
    assert_eq!(home.authorize(order("AA0", "1000")).0, 19);
    home.list = (1..=200).map(|n| sub(n, &format!("CC{n}"))).collect();
    home.list.push(sub(999, "AA1"));
    home.tell();
    let (_, waiting) = home.shown();
    assert_eq!((waiting.len(), waiting[0].as_str(), waiting[1].as_str()), (WAITING_MAX, "AA1", "CC1"));
}

#[test]
fn who_is_bound_again_has_the_new_keys_and_nobody_takes_the_identity_of_another() {
    let mut home = Home::new();
    home.shows_up(1, "AA01");
    home.shows_up(2, "AA02");
    assert_eq!(home.authorize(order("AA01", "1001")).0, 0);
    assert_eq!(home.authorize(order("AA02", "1001")), (16, vec![]));
    home.tell();
    let again = Authorization { accesskey: key(b'b'), lancon: Some(Flag(false)), ..order("AA01", "1003") };
    assert_eq!(home.authorize(again), (0, vec![]));
    let record = home.gateway.by_feedid("1003").unwrap();
    assert_eq!((record.accesskey(), record.lancon(), record.device()), (&key(b'b'), false, Some(1)));
    assert_eq!(home.gateway.records().count(), 1);
    assert_eq!(home.authorize(order("AA02", "1001")).0, 0);
}

#[test]
fn what_cannot_be_stored_is_not_taken() {
    let mut home = Home::new();
    home.shows_up(1, "AA01");
    let opt = |text: &str| Authorization { opt: Json::new(text), ..order("AA01", "1001") };
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(OPT_MAX));
    for unusable in [
        opt("[]"),
        opt(&long),
        Authorization { mac: None, ..order("AA01", "1001") },
        Authorization { productuuid: None, ..order("AA01", "1001") },
        Authorization { productuuid: Some(String::new()), ..order("AA01", "1001") },
        Authorization { mac: Some("x".repeat(65)), ..order("AA01", "1001") },
        Authorization { mac: Some("AA01\n".into()), ..order("AA01", "1001") },
        Authorization { feedid: FeedId::EMPTY, ..order("AA01", "1001") },
    ] {
        assert_eq!(home.authorize(unusable), (5, vec![]));
    }
    assert_eq!(home.add(""), (9, vec![]));
    assert_eq!(home.add(&"x".repeat(65)), (9, vec![]));
    assert!(!home.gateway.take_changed());
    // Lists of the host with such names are no danger either.
    home.list = vec![sub(2, ""), sub(3, &"x".repeat(1000)), sub(4, "AA04"), sub(5, "aa04")];
    home.tell();
    assert_eq!(home.shown().1, ["AA04"]);
}

#[test]
fn who_is_unbound_is_removed_and_told_so_and_strangers_are_unknown() {
    let mut home = Home::new();
    home.shows_up(1, "AA01");
    home.shows_up(2, "AA02");
    home.authorize(order("AA01", "1001"));
    home.authorize(order("AA02", "1002"));
    home.tell();
    assert_eq!(home.unbind(&["1001", "77", "1001", ""]), (vec![2, 3, 2, 3], vec![Request::Remove(1)]));
    assert!(home.gateway.take_changed());
    assert_eq!(home.tell(), []);
    assert_eq!(home.shown(), (vec!["AA02".to_owned()], vec![]));
    assert_eq!(home.unbind(&["1001"]), (vec![3], vec![]));
    // It can ask to join again.
    home.shows_up(1, "AA01");
    assert_eq!(home.authorize(order("AA01", "1005")), (0, vec![Request::Accept(1)]));
}

#[test]
fn a_removal_that_the_host_did_not_carry_out_is_asked_for_again_also_after_a_restart() {
    let mut home = Home::new();
    home.list = vec![Subdevice { accepted: true, ..sub(1, "AA01") }];
    home.tell();
    home.authorize(order("AA01", "1001"));
    let before = home.list.clone();
    assert_eq!(home.unbind(&["1001"]).1, [Request::Remove(1)]);
    // Lists that may be older than the request change nothing, and it does not count as waiting.
    for (now, again) in [(1, false), (2, false), (10_000, false), (10_001, true), (10_002, false)] {
        (home.now, home.list) = (Timestamp(now), before.clone());
        assert_eq!(home.tell() == [Request::Remove(1)], again, "{now}");
        assert_eq!(home.shown(), (vec![], vec![]));
    }
    home.restart();
    home.list = before;
    assert_eq!(home.tell(), [Request::Remove(1)]);
    assert_eq!(home.tell(), []);
    assert!(home.gateway.take_changed() && home.gateway.leaving.is_empty());
}

#[test]
fn one_that_was_let_go_and_still_asks_to_join_waits_and_an_old_announcement_does_not_count_for_it() {
    let mut home = Home::new();
    home.add("AA01");
    home.authorize(order("AA01", "1001"));
    home.unbind(&["1001"]);
    assert_eq!(home.authorize(order("AA01", "1001")).0, 19);
    assert_eq!(home.shows_up(1, "AA01"), []);
    assert_eq!(home.shown(), (vec![], vec!["AA01".to_owned()]));
}

#[test]
fn local_control_is_allowed_unless_the_app_says_otherwise() {
    let mut home = Home::new();
    home.shows_up(1, "AA01");
    for (lancon, allowed) in [(None, true), (Some(Flag(false)), false), (Some(Flag(true)), true)] {
        assert_eq!(home.authorize(Authorization { lancon, ..order("AA01", "1001") }).0, 0);
        assert_eq!(home.gateway.by_feedid("1001").unwrap().lancon(), allowed);
        assert_eq!(home.gateway.discovery(TransferType::Lua)[0].lancon, Flag(allowed));
    }
}

#[test]
fn one_that_the_host_accepted_without_us_is_not_removed_but_may_be_bound() {
    let mut home = Home::new();
    home.list = vec![Subdevice { accepted: true, ..sub(1, "AA01") }];
    assert_eq!(home.tell(), []);
    assert_eq!(home.shown(), (vec![], vec!["AA01".to_owned()]));
    assert_eq!(home.authorize(order("AA01", "1001")), (0, vec![]));
}

#[test]
fn fifty_are_bound_and_the_next_is_refused_until_one_goes() {
    let mut home = Home::new();
    for n in 1..=51 {
        home.shows_up(n, &format!("AA{n:02}"));
    }
    for n in 1..=50 {
        assert_eq!(home.authorize(order(&format!("aa{n:02}"), &format!("10{n:02}"))), (0, vec![Request::Accept(n)]));
    }
    assert_eq!(home.authorize(order("AA51", "1051")), (17, vec![]));
    assert_eq!(home.add("AA52"), (17, vec![]));
    assert_eq!(home.authorize(order("AA50", "1050")).0, 0);
    home.of(3).online = false;
    home.of(4).signal_percent = None;
    home.of(5).version = "v1.2".into();
    home.tell();
    let beats = home.gateway.beats();
    assert_eq!(beats.len(), 50);
    assert_eq!(beats[0], SubBeat { version: 12, rssi: 70, feedid: feed("1001"), state: SubState::ONLINE });
    assert_eq!((beats[2].state, beats[2].rssi), (SubState::OFFLINE, SubBeat::NO_RSSI));
    assert_eq!((beats[3].state, beats[3].rssi), (SubState::ONLINE, SubBeat::NO_RSSI));
    assert_eq!(beats[4].version, 0);
    let heartbeat = SubHeartbeat { version: 1, rssi: 50, subs: beats.clone() };
    assert_eq!(SubHeartbeat::decode(&heartbeat.encode()), Ok(heartbeat));
    // Apps put together answers of up to 20 480 bytes.
    assert!(serde_json::to_vec(&home.gateway.discovery(TransferType::Lua)).unwrap().len() < 16_000);
    home.restart();
    assert_eq!(home.tell(), []);
    assert_eq!(home.gateway.beats(), beats);
    assert_eq!(home.unbind(&["1010"]).0, [2]);
    home.tell();
    assert_eq!(home.authorize(order("AA51", "1051")).0, 0);
}

#[test]
fn a_factory_reset_removes_all_of_ours_and_nothing_else() {
    let mut home = Home::new();
    home.shows_up(1, "AA01");
    home.authorize(order("AA01", "1001"));
    home.add("AA02");
    home.authorize(order("AA02", "1002"));
    home.list.push(Subdevice { accepted: true, ..sub(9, "FF") });
    home.tell();
    assert_eq!(home.gateway.forget_all(), [Request::Remove(1)]);
    assert!(home.gateway.beats().is_empty());
    // The one that was away was none of the host's.
    home.list.retain(|sub| sub.index == 9);
    assert_eq!(home.tell(), []);
    assert_eq!(home.shown(), (vec![], vec!["FF".to_owned()]));
}

#[test]
fn discovery_shows_what_is_stored_and_what_the_host_knows() {
    let mut home = Home::new();
    home.shows_up(1, "AA01");
    home.authorize(Authorization { opt: Json::new("{\"a\":1}"), ..order("AA01", "1001") });
    let shown = serde_json::to_string(&home.gateway.discovery(TransferType::Lua)).unwrap();
    let expected = r#"[{"mac":"AA01","productuuid":"XDFSSD","CID":"","firmwareVersion":"12","modelCode":"","lancon":1,"#
        .to_owned()
        + r#""trantype":1,"feedid":"1001","dbg":{"ver":12,"rssi":70},"opt":{"a":1},"devtype":2,"state":0,"protocol":1}]"#;
    assert_eq!(shown, expected);
    home.list.clear();
    home.tell();
    assert_eq!(home.shown().0, ["AA01"]);
}

/// As many as there can be, with the longest texts that are taken.
fn longest(n: usize) -> Gateway {
    let mut gateway = Gateway::new(n);
    for n in 0..n {
        let (mac, feedid) = (format!("{n:A>64}"), format!("{n:0>32}"));
        let productuuid = "P".repeat(32);
        gateway.add(Timestamp(0), &AddSubDevice { mac: mac.clone(), productuuid, protocol: Protocol::Wifi });
        let opt = Json::new(format!("{{\"a\":\"{}\"}}", "x".repeat(OPT_MAX - 8)));
        let order = Authorization { productuuid: Some("P".repeat(32)), opt, ..order(&mac, &feedid) };
        assert_eq!(gateway.authorize(Timestamp(0), order).0.code, Code::SUCCESS);
    }
    gateway
}

#[test]
fn the_longest_records_fit_a_stored_value_and_their_buffer() {
    for n in [50, SUBDEVICES_MAX] {
        let mut gateway = longest(n);
        gateway.forget_all();
        let leaving = gateway.leaving.clone();
        let gateway = Gateway { leaving, ..longest(n) };
        let stored = gateway.stored();
        assert!(stored.expose().len() < 64 * 1024, "{}", stored.expose().len());
        assert!(stored.expose().len() <= 1 + 2 * n * stored::PART_MAX);
        let mut restored = Gateway::new(n);
        assert_eq!(restored.restore(stored.expose()), Ok(()));
        assert_eq!(restored.stored(), stored);
    }
    assert_eq!(Gateway::new(usize::MAX).max, SUBDEVICES_MAX);
}

#[test]
fn what_is_damaged_costs_only_itself() {
    let stored = longest(3).stored().expose().clone();
    let mut gateway = Gateway::new(50);
    let mut check = |bytes: &[u8], damage, expected: &[&str]| {
        assert_eq!(gateway.restore(bytes), Err(damage));
        assert!(gateway.take_changed());
        let feedids: Vec<_> = gateway.records().map(|record| record.feedid().to_string()).collect();
        let expected: Vec<_> = expected.iter().map(|feedid| format!("{feedid:0>32}")).collect();
        assert_eq!(feedids, expected);
    };
    check(&[], Damage::Truncated, &[]);
    check(&[9], Damage::UnknownForm, &[]);
    check(&stored[..stored.len() - 1], Damage::Truncated, &["0", "1"]);
    let part = (stored.len() - 1) / 3;
    let mut flipped = stored.clone();
    flipped[1 + part + 60] ^= 1;
    check(&flipped, Damage::Parts(1), &["0", "2"]);
    let twice = [&stored[..], &stored[1..=part]].concat();
    check(&twice, Damage::Parts(1), &["0", "1", "2"]);
    let mut full = Gateway::new(2);
    assert_eq!(full.restore(&stored), Err(Damage::Parts(1)));
}

#[test]
fn no_key_is_shown() {
    let gateway = longest(1);
    let shown = format!("{gateway:?} {:?}", gateway.stored());
    assert!(!shown.contains("aaaa") && !shown.contains("97, 97"), "{shown}");
}

#[derive(Clone, Debug)]
enum Step {
    Seen(Vec<(u32, u8, bool)>),
    Add(u8),
    Authorize(u8, u8),
    Unbind(Vec<u8>),
    ForgetAll,
    Restart,
    Wait(u16),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        proptest::collection::vec((0..6_u32, 0..6_u8, any::<bool>()), 0..6).prop_map(Step::Seen),
        (0..6_u8).prop_map(Step::Add),
        (0..6_u8, 0..8_u8).prop_map(|(mac, feedid)| Step::Authorize(mac, feedid)),
        proptest::collection::vec(0..8_u8, 0..4).prop_map(Step::Unbind),
        Just(Step::ForgetAll),
        Just(Step::Restart),
        any::<u16>().prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn no_bytes_can_panic_the_restoring_and_what_is_kept_is_stored_the_same(
        bytes: Vec<u8>, at: usize, flip: u8, end: usize,
    ) {
        let mut damaged = longest(2).stored().expose().clone();
        let at = at % damaged.len();
        damaged[at] ^= flip;
        damaged.truncate(end % (2 * damaged.len()));
        for bytes in [bytes, damaged] {
            let mut gateway = Gateway::new(50);
            let _ = gateway.restore(&bytes);
            let stored = gateway.stored();
            prop_assert_eq!(gateway.restore(stored.expose()), Ok(()));
            prop_assert_eq!(gateway.stored(), stored);
        }
    }

    #[test]
    fn whatever_happens_records_are_few_and_different_and_only_ours_are_removed(
        steps in proptest::collection::vec(any_step(), 0..60),
    ) {
        let mut gateway = Gateway::new(4);
        let mut now = Timestamp(0);
        let mut list: Vec<Subdevice> = Vec::new();
        let mut ours = std::collections::BTreeSet::new();
        for step in steps {
            let requests = match step {
                Step::Seen(subs) => {
                    list = subs.iter().map(|(index, mac, accepted)| {
                        Subdevice { accepted: *accepted, ..sub(*index, &mac.to_string()) }
                    }).collect();
                    gateway.seen(now, &list)
                }
                Step::Add(mac) => {
                    let (mac, productuuid) = (mac.to_string(), PRODUCT.to_owned());
                    gateway.add(now, &AddSubDevice { mac, productuuid, protocol: Protocol::Zigbee }).1
                }
                Step::Authorize(mac, feedid) => {
                    let (answer, requests) = gateway.authorize(now, order(&mac.to_string(), &format!("f{feedid}")));
                    if answer.code.is_success() {
                        ours.insert(mac.to_string());
                    }
                    requests
                }
                Step::Unbind(feedids) => {
                    let beat = |feedid: &u8| SubBeat {
                        version: 0, rssi: 0, feedid: feed(&format!("f{feedid}")), state: SubState::ONLINE,
                    };
                    let order = Unbind { biz_code: 1060, serial: 0, subs: feedids.iter().map(beat).collect() };
                    gateway.unbind(&order).1
                }
                Step::ForgetAll => gateway.forget_all(),
                Step::Restart => {
                    let stored = gateway.stored();
                    gateway = Gateway::new(4);
                    prop_assert_eq!(gateway.restore(stored.expose()), Ok(()));
                    Vec::new()
                }
                Step::Wait(ms) => {
                    now = now.after(u64::from(ms) * 100);
                    Vec::new()
                }
            };
            for request in requests {
                if let Request::Remove(index) = request {
                    prop_assert!(list.iter().any(|sub| sub.index == index && ours.contains(&sub.address)));
                }
            }
            prop_assert!(gateway.records.len() <= 4);
            for (at, record) in gateway.records.iter().enumerate() {
                let same = |other: &Record| other.feedid == record.feedid || other.name == record.name;
                prop_assert!(!gateway.records[at + 1..].iter().any(same));
                prop_assert!(!gateway.waiting.iter().any(|(name, _)| *name == record.name));
            }
        }
    }
}
