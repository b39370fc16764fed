//! Nothing that comes can panic, fill the memory, or stop the device from coming back.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::cloud::outgoing::MAX_BYTES;
use crate::packet::MAX_PACKET;

#[derive(Clone, Debug)]
enum Step {
    Open(u8),
    Close,
    Opened(u8),
    Received(u8, Vec<u8>),
    Overflow(u8, Vec<u8>),
    Drained(u8),
    Closed(u8),
    NetworkUp,
    Pass(u64),
    Jump(u64),
    Send(Vec<u8>),
    Beat,
    HangUp,
}

/// Anything, and packets that are right or nearly so.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let packets = prop::sample::select(vec![
        answer(),
        command(b"order"),
        heartbeat_answer(-1),
        from_cloud(Kind::SubHeartbeat, 4, &session_key(), b""),
        answer_with(vec![1, 2, 3, 4], 5, [0; 32], 4, &account().accesskey),
    ]);
    let damaged = (packets.clone(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut bytes, at, value)| {
        let at = at.index(bytes.len());
        bytes[at] = value;
        bytes
    });
    let random = vec(any::<u8>(), 0..200);
    let headed = random.clone().prop_map(|bytes| [&[0xCC, 0x55, 0x34, 0x12], &bytes[..]].concat());
    prop_oneof![6 => packets, 2 => damaged, 1 => random, 2 => headed]
}

fn any_step() -> impl Strategy<Value = Step> {
    // How many streams before the last: mostly the last.
    let which = || prop_oneof![9 => Just(0_u8), 1 => 1_u8..4];
    prop_oneof![
        1 => (0_u8..4).prop_map(Step::Open),
        1 => Just(Step::Close),
        6 => which().prop_map(Step::Opened),
        12 => (which(), any_bytes()).prop_map(|(which, bytes)| Step::Received(which, bytes)),
        2 => (which(), vec(any::<u8>(), 0..200)).prop_map(|(which, bytes)| Step::Overflow(which, bytes)),
        1 => (which(), 0_usize..100_000).prop_map(|(which, length)| Step::Overflow(which, vec![0; length])),
        1 => which().prop_map(Step::Drained),
        2 => which().prop_map(Step::Closed),
        1 => Just(Step::NetworkUp),
        4 => (0_u64..100_000).prop_map(Step::Pass),
        1 => any::<u64>().prop_map(Step::Jump),
        4 => vec(any::<u8>(), 0..200).prop_map(Step::Send),
        1 => (0_usize..70_000).prop_map(|length| Step::Send(vec![0; length])),
        1 => Just(Step::Beat),
        1 => Just(Step::HangUp),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_events_in_any_order_panic_or_fill_the_memory(steps in vec(any_step(), 0..60)) {
        let mut rig = Rig::opened(CloudSettings::default(), &["a:1", "b:2"]);
        for step in steps {
            let stream = |before: u8| RequestId(rig.stream().0 - u64::from(before));
            match step {
                Step::Open(n) => {
                    let servers = (0..n).map(|at| Server { host: at.to_string(), port: 1 }).collect();
                    rig.act(|cloud, now| cloud.open(now, Account { servers, ..account() }));
                }
                Step::Close => rig.act(|cloud, _| cloud.close()),
                Step::Opened(before) => rig.tcp(tcp::Event::Opened(stream(before))),
                Step::Received(before, bytes) => rig.tcp(tcp::Event::Received(stream(before), bytes)),
                Step::Overflow(before, bytes) => rig.tcp(tcp::Event::Overflow(stream(before), bytes)),
                Step::Drained(before) => rig.tcp(tcp::Event::Drained(stream(before))),
                Step::Closed(before) => rig.tcp(closed(stream(before), "gone")),
                Step::NetworkUp => rig.act(Cloud::network_up),
                Step::Pass(ms) => rig.pass(ms),
                Step::Jump(ms) => {
                    rig.now.monotonic = rig.now.monotonic.after(ms);
                    rig.act(Cloud::timeout);
                }
                Step::Send(body) => {
                    rig.act(|cloud, now| cloud.send(now, Kind::Upload, &body));
                }
                Step::Beat => rig.act(|cloud, now| cloud.beat(now, Kind::Heartbeat, HEARTBEAT)),
                Step::HangUp => rig.act(|cloud, now| cloud.hang_up(now, "why")),
            }
            prop_assert!(rig.cloud.n_waiting() <= MAX_PACKET + MAX_BYTES);
            prop_assert!(rig.cloud.counters().iter().count() <= 16);
            // Whoever has an account and no stream has a time to try again.
            prop_assert!(rig.cloud.phase() != Phase::Waiting || rig.cloud.next_timeout().is_some());
            rig.take_said();
            rig.take_asked();
        }
    }

    #[test]
    fn garbage_in_arbitrary_pieces_leads_to_another_attempt(
        valid in vec(any_bytes(), 0..5), garbage in vec(any::<u8>(), 4..3_000), sizes in vec(1_usize..400, 1..40),
        works: bool,
    ) {
        let mut rig = if works { Rig::working(CloudSettings::default()) } else { Rig::authenticating(CloudSettings::default()) };
        let stream = [valid.concat(), garbage].concat();
        let mut left = &stream[..];
        for size in sizes.iter().cycle() {
            let (piece, rest) = left.split_at((*size).min(left.len()));
            rig.tcp(tcp::Event::Received(FIRST, piece.to_vec()));
            prop_assert!(rig.cloud.n_waiting() <= MAX_PACKET);
            left = rest;
            if left.is_empty() {
                break;
            }
        }
        // Either the stream was closed for it, or heartbeats go unanswered.
        rig.pass(5 * HEARTBEAT_MS);
        prop_assert!(rig.stream() > FIRST);
    }
}
