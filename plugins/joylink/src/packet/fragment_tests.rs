//! Fragments, in order and out of it, contradicting each other, late, and too many.

use proptest::prelude::*;

use super::super::{Network, Route, enctype};
use super::*;

fn whole(kind: Kind, payload: Vec<u8>) -> Packet {
    Packet { enctype: enctype::KEY32, ..Packet::plain(kind, payload) }
}

/// Takes fragments as they come from one source.
fn take(reassembly: &mut Reassembly<u8>, at: u64, source: u8, packet: Packet) -> Result<Option<usize>, Refused> {
    reassembly.take(Timestamp(at), source, packet).map(|whole| whole.map(|packet| packet.payload.len()))
}

fn cut(message_id: u8, length: usize) -> Vec<Packet> {
    fragments(whole(Kind::Json, vec![7; length]), message_id).unwrap()
}

#[test]
fn up_to_a_thousand_bytes_stay_whole() {
    assert_eq!(cut(5, CHUNK), [whole(Kind::Json, vec![7; CHUNK])]);
    let sizes: Vec<_> = cut(5, CHUNK + 1).iter().map(|f| (f.index, f.total, f.reserved, f.payload.len())).collect();
    assert_eq!(sizes, [(1, 2, 5, 1000), (2, 2, 5, 1)]);
    assert_eq!(cut(5, 255 * CHUNK).len(), 255);
    assert!(fragments(whole(Kind::Json, vec![7; 255 * CHUNK + 1]), 5).is_err());
}

#[test]
fn one_that_says_total_one_is_whole() {
    let mut packet = whole(Kind::Json, vec![1]);
    (packet.total, packet.index, packet.reserved) = (1, 1, 9);
    assert_eq!(take(&mut Reassembly::new(), 0, 1, packet), Ok(Some(1)));
}

#[test]
fn a_fragment_that_came_twice_is_ignored_and_one_that_contradicts_drops_the_message() {
    let changes: [fn(&mut Packet); 5] = [
        |fragment| fragment.total = 4,
        |fragment| fragment.index = 4,
        |fragment| fragment.index = 0,
        |fragment| fragment.opt = vec![1],
        |fragment| fragment.enctype = 0,
    ];
    for change in changes {
        let mut reassembly = Reassembly::new();
        let [first, second, third] = cut(1, 2500).try_into().unwrap();
        for fragment in [first.clone(), first.clone(), third.clone()] {
            assert_eq!(take(&mut reassembly, 0, 1, fragment), Ok(None));
        }
        let mut wrong = second.clone();
        change(&mut wrong);
        assert_eq!(take(&mut reassembly, 0, 1, wrong), Err(Refused::Fragment));
        assert_eq!(take(&mut reassembly, 0, 1, second), Ok(None), "begins anew");
        assert_eq!(take(&mut reassembly, 0, 1, first), Ok(None));
        assert_eq!(take(&mut reassembly, 0, 1, third), Ok(Some(2500)));
        assert_eq!(reassembly.n_lost(), 0);
    }
}

#[test]
fn messages_are_told_apart_by_source_type_and_name() {
    let mut reassembly = Reassembly::new();
    let [first, second] = cut(1, 1500).try_into().unwrap();
    assert_eq!(take(&mut reassembly, 0, 1, first), Ok(None));
    let other_kind = Packet { kind: Kind::Script, ..second.clone() };
    let other_name = Packet { reserved: 2, ..second.clone() };
    assert_eq!(take(&mut reassembly, 0, 2, second.clone()), Ok(None));
    assert_eq!(take(&mut reassembly, 0, 1, other_kind), Ok(None));
    assert_eq!(take(&mut reassembly, 0, 1, other_name), Ok(None));
    assert_eq!(take(&mut reassembly, 0, 1, second), Ok(Some(1500)));
}

#[test]
fn a_message_whose_fragments_are_late_is_lost() {
    let mut reassembly = Reassembly::new();
    let [first, second] = cut(1, 1500).try_into().unwrap();
    assert_eq!(take(&mut reassembly, 0, 1, first.clone()), Ok(None));
    assert_eq!(take(&mut reassembly, MAX_AGE_MS, 1, second.clone()), Ok(None));
    assert_eq!(reassembly.n_lost(), 1);
    assert_eq!(take(&mut reassembly, 2 * MAX_AGE_MS - 1, 1, first), Ok(Some(1500)));
}

#[test]
fn one_message_too_many_drops_the_oldest() {
    let mut reassembly = Reassembly::new();
    let [first, second] = cut(1, 1500).try_into().unwrap();
    for source in 0..=MAX_GROUPS as u8 {
        assert_eq!(take(&mut reassembly, 0, source, first.clone()), Ok(None));
    }
    assert_eq!(reassembly.n_lost(), 1);
    for source in 1..=MAX_GROUPS as u8 {
        assert_eq!(take(&mut reassembly, 0, source, second.clone()), Ok(Some(1500)));
    }
    assert_eq!(take(&mut reassembly, 0, 0, second), Ok(None));
}

#[test]
fn a_message_above_the_limit_is_dropped() {
    let mut reassembly = Reassembly::new();
    let all_of = |reassembly: &mut Reassembly<u8>, length| {
        cut(1, length).into_iter().map(|fragment| take(reassembly, 0, 1, fragment)).find(|got| *got != Ok(None))
    };
    assert_eq!(all_of(&mut reassembly, MAX_MESSAGE), Some(Ok(Some(MAX_MESSAGE))));
    assert_eq!(all_of(&mut reassembly, MAX_MESSAGE + 1), Some(Err(Refused::Fragment)));
}

fn any_bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..most)
}

proptest! {
    #[test]
    fn fragments_in_any_order_make_the_message(
        (payload, order) in any_bytes(6000).prop_flat_map(|payload| {
            let order: Vec<usize> = (0..payload.len().div_ceil(CHUNK).max(1)).collect();
            (Just(payload), Just(order).prop_shuffle())
        }),
        opt in any_bytes(30),
        message_id: u8,
    ) {
        let message = Packet { opt, ..whole(Kind::SubJson, payload) };
        let fragments = fragments(message.clone(), message_id).unwrap();
        let mut reassembly = Reassembly::new();
        let mut got = Vec::new();
        for at in order {
            let datagram = fragments[at].encode(Network::Lan).unwrap();
            prop_assert!(datagram.len() <= 1400);
            let fragment = Packet::decode_datagram(Route::AppToDevice, &datagram).unwrap();
            got.extend(reassembly.take(Timestamp(0), 1, fragment).unwrap());
        }
        prop_assert_eq!(got, [message]);
    }

    #[test]
    fn no_fragments_can_panic_the_reassembly_or_exceed_its_bounds(
        packets in prop::collection::vec((0_u8..12, 0_u8..5, 0_u8..5, 0_u8..3, 0_usize..12_000, 0_u64..3000), 0..60),
    ) {
        let mut reassembly = Reassembly::new();
        let mut now = 0;
        for (source, total, index, reserved, length, later) in packets {
            now += later;
            let packet = Packet { total, index, reserved, ..whole(Kind::Json, vec![0; length]) };
            if let Ok(Some(message)) = reassembly.take(Timestamp(now), source, packet) {
                prop_assert!(message.payload.len() <= MAX_MESSAGE);
            }
        }
    }
}
