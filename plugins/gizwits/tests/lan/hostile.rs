//! What a hostile neighbour may try: none of it panics, takes memory, or keeps others out.

use hex_literal::hex;
use polylink_gizwits::packet::{MAX_FRAME, VERSION};
use proptest::prelude::*;

use super::*;

#[track_caller]
fn check_cut(bytes: &[u8], reason: &str) {
    for logged_in in [false, true] {
        let mut rig = Rig::open(LanSettings::default());
        let stream = if logged_in { rig.client() } else { rig.connect() };
        let outputs = rig.tcp(tcp::Event::Received(stream, bytes.to_vec()));
        assert!(is_closed(&outputs, stream), "{reason}");
        assert_eq!(sent(&outputs, stream), [], "{reason}");
        assert_eq!(rig.lan.counters().tcp(reason), 1, "{reason}");
        assert_eq!(rig.lan.n_waiting(), 0);
        let others = rig.client();
        assert_eq!(sent(&rig.say(others, &Frame::empty(0x15)), others).len(), 1);
    }
}

#[test]
fn a_client_that_breaks_the_framing_is_cut_for_the_reason_that_is_counted() {
    check_cut(b"GET / HTTP/1.1\r\n\r\n", "version");
    check_cut(&hex!("00000004 03 00 0006"), "version");
    check_cut(&hex!("00000003 ffffffff"), "varlen");
    check_cut(&hex!("00000003 8080808080808080"), "varlen");
    check_cut(&hex!("00000003 ffffff7f"), "too_long");
    check_cut(&hex!("00000003 8021"), "too_long");
    check_cut(&hex!("00000003 02 00 00"), "length");
    check_cut(&hex!("00000003 03 01 0006"), "flag");
    check_cut(&hex!("00000003 04 00 0008 00"), "payload");
    check_cut(&[&hex!("00000003 26 00 0008 0021")[..], &[b'p'; 33]].concat(), "payload");
}

#[test]
fn frames_before_a_broken_one_are_answered() {
    let mut rig = Rig::open(LanSettings::default());
    let stream = rig.connect();
    let bytes = [&Frame::empty(0x0C).encode()[..], b"garbage"].concat();
    let outputs = rig.tcp(tcp::Event::Received(stream, bytes));
    assert_eq!(sent(&outputs, stream), [Frame::empty(0x0D)]);
    assert!(is_closed(&outputs, stream));
}

#[test]
fn bytes_that_drip_do_not_hold_a_place() {
    let mut rig = Rig::open(LanSettings::default());
    let stream = rig.connect();
    let slow = Frame::new(0x08, [0; 2000]).encode();
    let mut cut_after = 0;
    for byte in &slow {
        cut_after += 1;
        rig.tcp(tcp::Event::Received(stream, vec![*byte]));
        if is_closed(&rig.wait(1000), stream) {
            break;
        }
    }
    assert_eq!(cut_after, 12);
}

#[test]
fn a_thousand_connections_at_once_take_no_more_than_eight_places_and_those_are_free_again_soon() {
    let mut rig = Rig::open(LanSettings::default());
    for _ in 0..1000 {
        let stream = rig.connect();
        rig.tcp(tcp::Event::Received(stream, hex!("00000003 8020 00 0008").to_vec()));
        assert!(rig.lan.n_clients() <= 8);
        assert!(rig.lan.n_waiting() <= 8 * MAX_FRAME);
    }
    assert_eq!(rig.lan.counters().tcp("too_many_clients"), 992);
    rig.wait(12_000);
    assert_eq!(rig.lan.n_clients(), 0);
    assert_eq!(rig.lan.next_timeout(), None);
    rig.client();
}

#[test]
fn a_chunk_full_of_requests_leaves_sixteen() {
    let mut rig = Rig::open(LanSettings::default());
    let stream = rig.client();
    let chunk = P0Request { sn: None, p0: vec![2] }.frame().encode().repeat(1800);
    let outputs = rig.tcp(tcp::Event::Received(stream, chunk));
    assert_eq!(outputs.len(), 16);
    assert_eq!(rig.lan.counters().tcp("too_many_requests"), 1784);
}

#[test]
fn ten_thousand_networks_are_not_ten_thousand_joins() {
    let mut rig = Rig::open(LanSettings::default());
    rig.about.onboarding = true;
    let mut n_joins = 0;
    for n in 0..10_000_u32 {
        let network = Frame::new(0x01, [&[0, 4][..], format!("{n:04x}").as_bytes(), &[0, 0]].concat());
        let outputs = rig.datagram(&network.encode());
        n_joins += outputs.iter().filter(|output| matches!(output, LanOutput::JoinNetwork { .. })).count();
    }
    assert_eq!(n_joins, 100);
}

/// Bytes that look like the protocol more often than chance would have it.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let any_bytes = || prop::collection::vec(any::<u8>(), 0..40);
    let frame = (0_u16..0x100, any_bytes()).prop_map(|(command, payload)| Frame::new(command, payload).encode());
    let cut_off = (0_u16..0x20, any_bytes(), 0_usize..12).prop_map(|(command, payload, keep)| {
        let mut bytes = Frame::new(command, payload).encode();
        bytes.truncate(keep);
        bytes
    });
    let almost = any_bytes().prop_map(|bytes| [&VERSION[..], &bytes].concat());
    prop_oneof![frame, cut_off, almost, any_bytes(), Just(login(PASSCODE).encode()), Just(login("wrong").encode())]
}

#[derive(Clone, Debug)]
enum Step {
    Connect(u8),
    Bytes(u8, Vec<u8>),
    Datagram(Vec<u8>),
    Closed(u8),
    Overflow(u8),
    Wait(u64),
    Joined,
    Up,
    Report(Vec<u8>),
    Breaks(bool),
    Opens(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => any::<u8>().prop_map(Step::Connect),
        12 => (0_u8..12, bytes()).prop_map(|(stream, bytes)| Step::Bytes(stream, bytes)),
        4 => bytes().prop_map(Step::Datagram),
        1 => (0_u8..12).prop_map(Step::Closed),
        1 => (0_u8..12).prop_map(Step::Overflow),
        2 => (0_u64..15_000).prop_map(Step::Wait),
        1 => Just(Step::Joined),
        1 => Just(Step::Up),
        2 => bytes().prop_map(Step::Report),
        1 => any::<bool>().prop_map(Step::Breaks),
        1 => any::<bool>().prop_map(Step::Opens),
    ]
}

proptest! {
    #[test]
    fn no_order_of_events_panics_or_takes_more_memory_than_eight_clients_need(
        steps in prop::collection::vec(step(), 0..120),
        onboarding: bool,
        log: bool,
    ) {
        let mut rig = Rig::open(LanSettings { log, ..Default::default() });
        rig.about.onboarding = onboarding;
        // The last twelve, of which some are closed.
        let stream_at = |rig: &Rig, at: u8| RequestId(rig.n_streams - u64::from(at));
        for step in steps {
            let outputs = match step {
                Step::Connect(host) => rig.connect_from(&format!("192.0.2.{host}:5000")).1,
                Step::Bytes(at, bytes) => rig.tcp(tcp::Event::Received(stream_at(&rig, at), bytes)),
                Step::Datagram(bytes) => rig.datagram(&bytes),
                Step::Closed(at) => rig.tcp(tcp::Event::Closed(stream_at(&rig, at), failure("left"))),
                Step::Overflow(at) => rig.tcp(tcp::Event::Overflow(stream_at(&rig, at), vec![1])),
                Step::Wait(ms) => rig.wait(ms),
                Step::Joined => {
                    rig.lan.network_joined(rig.now);
                    rig.lan.take_outputs()
                }
                Step::Up => {
                    rig.lan.network_up(rig.now);
                    rig.lan.take_outputs()
                }
                Step::Report(p0) => {
                    rig.lan.report(&p0);
                    rig.lan.take_outputs()
                }
                Step::Breaks(true) => rig.tcp(tcp::Event::Closed(LISTENER, failure("broke"))),
                Step::Breaks(false) => rig.udp(udp::Event::Closed(SOCKET, failure("broke"))),
                Step::Opens(true) => rig.tcp(tcp::Event::Listening(LISTENER, 12_416)),
                Step::Opens(false) => rig.udp(udp::Event::Bound(SOCKET, 12_414)),
            };
            prop_assert!(rig.lan.n_clients() <= 8);
            prop_assert!(rig.lan.n_waiting() <= 8 * MAX_FRAME);
            prop_assert!(rig.lan.next_timeout().is_none_or(|at| at >= rig.now || rig.lan.ports().1.is_some()));
            for output in outputs {
                if let LanOutput::Log(_, text) = output {
                    prop_assert!(!text.contains(PASSCODE), "{text}");
                }
            }
        }
        rig.lan.stop();
        rig.lan.take_outputs();
        prop_assert_eq!(rig.lan.next_timeout(), None);
    }
}
