//! The protocol without a network: packets in, bytes and completions out.

use hex_literal::hex;
use proptest::prelude::*;
use rumqttc::{ConnAck, ConnectReturnCode, SubAck, UnsubAck};

use super::*;

fn message(topic: &str, qos: u8) -> MqttPublish<'_> {
    MqttPublish { topic: topic.into(), payload: b"x".as_slice().into(), qos, retain: false }
}

/// What goes out now.
fn sent(state: &mut State) -> Vec<u8> {
    let mut out = BytesMut::new();
    state.fill(0, &mut out);
    out.to_vec()
}

/// What a packet leads to, and what is answered at once.
fn take(state: &mut State, packet: Packet) -> (Reaction, Vec<u8>) {
    let mut out = BytesMut::new();
    let reaction = state.packet(packet, 0, &mut out).unwrap();
    (reaction, out.to_vec())
}

fn check(state: &mut State, packet: Packet, reaction: Reaction, answered: &[u8]) {
    assert_eq!(take(state, packet), (reaction, answered.to_vec()));
}

fn incoming(qos: QoS, id: u16) -> Packet {
    let mut publish = Publish::new("t", qos, b"x".as_slice());
    publish.pkid = id;
    Packet::Publish(publish)
}

const DONE: fn(u64) -> Reaction = |token| Reaction::Complete { kind: PUBLISHED, token, code: 0 };

#[test]
fn qos_0_is_done_once_it_is_written() {
    let mut state = State::new(Patience::new(0, 0, 0));
    state.publish(1, &message("t", 0)).unwrap();
    assert_eq!(sent(&mut state), hex!("30 04 0001 74 78"));
    assert_eq!((state.written(), state.written()), (vec![1], vec![]));
}

#[test]
fn qos_1_is_done_by_its_puback_and_by_no_other() {
    let mut state = State::new(Patience::new(0, 0, 0));
    state.publish(7, &message("t", 1)).unwrap();
    assert_eq!(sent(&mut state), hex!("32 06 0001 74 0001 78"));
    check(&mut state, Packet::PubAck(PubAck::new(2)), Reaction::Nothing, &[]);
    check(&mut state, Packet::PubComp(PubComp::new(1)), Reaction::Nothing, &[]);
    check(&mut state, Packet::PubAck(PubAck::new(1)), DONE(7), &[]);
    check(&mut state, Packet::PubAck(PubAck::new(1)), Reaction::Nothing, &[]);
}

#[test]
fn qos_2_is_done_by_pubcomp_also_when_pubrec_comes_twice() {
    let mut state = State::new(Patience::new(0, 0, 0));
    state.publish(7, &message("t", 2)).unwrap();
    assert_eq!(sent(&mut state), hex!("34 06 0001 74 0001 78"));
    for _ in 0..2 {
        check(&mut state, Packet::PubRec(PubRec::new(1)), Reaction::Nothing, &hex!("62 02 0001"));
    }
    check(&mut state, Packet::PubComp(PubComp::new(1)), DONE(7), &[]);
}

#[test]
fn subscriptions_are_answered_with_what_the_broker_granted() {
    let mut state = State::new(Patience::new(0, 0, 0));
    state.subscribe(1, "a/#", 1).unwrap();
    state.subscribe(2, "b", 0).unwrap();
    state.unsubscribe(3, "a/#").unwrap();
    assert_eq!(sent(&mut state), hex!("82 08 0001 0003 612F23 01  82 06 0002 0001 62 00  A2 07 0003 0003 612F23"));
    let granted = |token, code| Reaction::Complete { kind: SUBSCRIBED, token, code };
    let codes = |code| vec![code];
    check(&mut state, Packet::SubAck(SubAck::new(2, codes(SubscribeReasonCode::Failure))), granted(2, 0x80), &[]);
    let success = SubscribeReasonCode::Success(QoS::AtMostOnce);
    check(&mut state, Packet::SubAck(SubAck::new(1, codes(success))), granted(1, 0), &[]);
    let gone = Reaction::Complete { kind: UNSUBSCRIBED, token: 3, code: 0 };
    check(&mut state, Packet::UnsubAck(UnsubAck::new(3)), gone, &[]);
}

#[test]
fn messages_are_acknowledged_only_after_their_delivery() {
    for (qos, id, ack, bytes) in [
        (QoS::AtMostOnce, 0, Receipt::None, &hex!("")[..]),
        (QoS::AtLeastOnce, 9, Receipt::PubAck(9), &hex!("40 02 0009")),
        (QoS::ExactlyOnce, 9, Receipt::PubRec(9), &hex!("50 02 0009")),
    ] {
        let mut state = State::new(Patience::new(0, 0, 0));
        let flags = (qos as i64) << 1;
        let deliver = Reaction::Deliver { topic: "t".into(), payload: Bytes::from_static(b"x"), flags, ack };
        check(&mut state, incoming(qos, id), deliver, &[]);
        let mut out = BytesMut::new();
        state.delivered(ack, 0, &mut out);
        assert_eq!(out, bytes);
    }
}

#[test]
fn a_message_of_qos_2_is_delivered_once_until_it_is_released() {
    let mut state = State::new(Patience::new(0, 0, 0));
    let mut out = BytesMut::new();
    state.delivered(Receipt::PubRec(5), 0, &mut out);
    check(&mut state, incoming(QoS::ExactlyOnce, 5), Reaction::Nothing, &hex!("50 02 0005"));
    check(&mut state, Packet::PubRel(PubRel::new(5)), Reaction::Nothing, &hex!("70 02 0005"));
    check(&mut state, Packet::PubRel(PubRel::new(6)), Reaction::Nothing, &hex!("70 02 0006"));
    assert!(matches!(take(&mut state, incoming(QoS::ExactlyOnce, 5)).0, Reaction::Deliver { .. }));
}

#[test]
fn retain_and_dup_are_told() {
    let mut publish = Publish::new("t", QoS::AtLeastOnce, b"x".as_slice());
    (publish.retain, publish.dup, publish.pkid) = (true, true, 3);
    let (reaction, _) = take(&mut State::new(Patience::new(0, 0, 0)), Packet::Publish(publish));
    assert!(matches!(reaction, Reaction::Deliver { flags: 0b1011, .. }), "{reaction:?}");
}

#[test]
fn the_window_and_the_queue_are_bounded_and_order_is_kept() {
    let mut state = State::new(Patience::new(0, 0, 0));
    for token in 0..QUEUE_MAX as u64 {
        state.publish(token, &message("t", 1)).unwrap();
    }
    assert_eq!(state.publish(999, &message("t", 1)).unwrap_err().code, HostRefusal::QUOTA);
    assert_eq!(sent(&mut state).len(), WINDOW * 8);
    state.publish(1000, &message("t", 0)).unwrap();
    assert!(sent(&mut state).is_empty(), "nothing overtakes");
    check(&mut state, Packet::PubAck(PubAck::new(1)), DONE(0), &[]);
    assert_eq!(sent(&mut state), hex!("32 06 0001 74 0041 78"));
}

#[test]
fn bytes_in_the_queue_are_bounded_too() {
    let mut state = State::new(Patience::new(0, 0, 0));
    let payload = vec![0; PAYLOAD_MAX];
    let large = MqttPublish { payload: payload.as_slice().into(), ..message("t", 0) };
    let taken = (0..20).filter(|token| state.publish(*token, &large).is_ok()).count();
    assert_eq!(taken, QUEUE_BYTES_MAX / (PAYLOAD_MAX + 1));
    while !sent(&mut state).is_empty() {}
    assert_eq!((state.queued_bytes(), state.written().len()), (0, taken));
}

#[test]
fn leaving_sends_everything_and_then_disconnect() {
    let mut state = State::new(Patience::new(0, 0, 0));
    (0..WINDOW as u64 + 1).for_each(|token| state.publish(token, &message("t", 1)).unwrap());
    state.disconnect();
    assert_eq!(state.publish(999, &message("t", 0)).unwrap_err().code, HostRefusal::CLOSED);
    let bytes = sent(&mut state);
    assert_eq!((bytes.len(), &bytes[bytes.len() - 2..]), ((WINDOW + 1) * 8 + 2, &DISCONNECT[..]));
    assert!(state.has_left());
    assert!(sent(&mut state).is_empty());
}

#[test]
fn the_end_names_each_call_without_an_answer_once() {
    let mut state = State::new(Patience::new(0, 0, 0));
    (0..70).for_each(|token| state.publish(token, &message("t", 1)).unwrap());
    state.publish(70, &message("t", 0)).unwrap();
    sent(&mut state);
    state.subscribe(71, "t", 0).unwrap();
    take(&mut state, Packet::PubAck(PubAck::new(30)));
    let expected: Vec<u64> = (0..72).filter(|token| *token != 29).collect();
    assert_eq!((state.end(), state.end()), (expected, vec![]));
    assert_eq!(state.publish(72, &message("t", 0)).unwrap_err().code, HostRefusal::CLOSED);
}

#[test]
fn a_silent_line_is_pinged_and_a_silent_broker_is_dead() {
    let mut state = State::new(Patience::new(60, 0, 0));
    let mut out = BytesMut::new();
    state.opened(0);
    assert_eq!(state.next_tick(true), Some(45_000));
    state.tick(44_999, true, &mut out).unwrap();
    assert!(out.is_empty());
    state.tick(45_000, true, &mut out).unwrap();
    assert_eq!(&out[..], &hex!("C0 00")[..]);
    assert_eq!(state.next_tick(true), Some(75_000));
    let verdict = state.tick(75_000, true, &mut out).unwrap_err();
    assert_eq!(verdict.code, HostRefusal::TIMEOUT);
    state.received(75_000);
    state.tick(75_000, true, &mut out).unwrap();
    assert!(state.next_tick(true) > Some(75_000));
}

#[test]
fn a_broker_that_is_not_read_is_not_blamed_but_still_hears_of_us() {
    let mut state = State::new(Patience::new(20, 0, 0));
    let mut out = BytesMut::new();
    state.opened(0);
    for now in [15_000, 30_000, 45_000] {
        assert_eq!(state.next_tick(false), Some(now));
        state.tick(now, false, &mut out).unwrap();
    }
    assert_eq!(&out[..], &hex!("C000 C000 C000")[..]);
    state.delivered(Receipt::None, 50_000, &mut out);
    assert_eq!(state.next_tick(true), Some(60_000), "its time begins when it is heard again");
}

#[test]
fn without_a_keepalive_nothing_is_watched() {
    assert_eq!(State::new(Patience::new(0, 0, 0)).next_tick(true), None);
}

#[test]
fn packets_of_a_client_end_the_connection_and_odd_ones_do_not() {
    let mut state = State::new(Patience::new(0, 0, 0));
    let mut out = BytesMut::new();
    for packet in [Packet::Subscribe(Subscribe::new("t", QoS::AtMostOnce)), Packet::Unsubscribe(Unsubscribe::new("t"))]
    {
        assert_eq!(state.packet(packet, 0, &mut out).unwrap_err().code, HostRefusal::PROTOCOL);
    }
    assert_eq!(state.packet(Packet::Disconnect, 0, &mut out).unwrap_err().code, HostRefusal::CONNECTION_LOST);
    let second = ConnAck::new(ConnectReturnCode::Success, false);
    for packet in [Packet::PingReq, Packet::PingResp, Packet::ConnAck(second)] {
        check(&mut state, packet, Reaction::Nothing, &[]);
    }
}

#[test]
fn what_cannot_be_published_is_refused_and_named() {
    let mut state = State::new(Patience::new(0, 0, 0));
    for topic in ["", "a/+", "a/#", "a\0b"] {
        assert_eq!(state.publish(1, &message(topic, 0)).unwrap_err().code, HostRefusal::INVALID, "{topic:?}");
    }
    assert!(state.publish(1, &message("t", 3)).unwrap_err().text.contains("QoS 3"));
    assert!(state.subscribe(1, "t", 3).unwrap_err().text.contains("QoS 3"));
    assert!(state.subscribe(1, "", 0).is_err() && state.unsubscribe(1, "a\0").is_err());
    assert!(state.end().is_empty());
}

proptest! {
    #[test]
    fn no_bytes_of_a_broker_can_panic_us(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut state = State::new(Patience::new(60, 0, 0));
        (0..5).for_each(|token| state.publish(token, &message("t", 2)).unwrap());
        sent(&mut state);
        let (mut input, mut out) = (BytesMut::from(&bytes[..]), BytesMut::new());
        while let Ok(packet) = Packet::read(&mut input, 1000) {
            match state.packet(packet, 1, &mut out) {
                Ok(Reaction::Deliver { ack, .. }) => state.delivered(ack, 1, &mut out),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        prop_assert!(state.end().len() <= 5);
    }
}
