//! What a neighbour may try.

use proptest::prelude::*;

use super::*;

#[test]
fn nobody_has_answers_sent_to_a_whole_network_or_nowhere() {
    let mut rig = Rig::open();
    let bytes = discovery("{}").encode(Network::Lan).unwrap();
    for peer in [
        "255.255.255.255:7",
        "224.0.0.1:7",
        "[ff02::1]:7",
        "[::ffff:224.0.0.1]:7",
        "0.0.0.0:7",
        "[::]:7",
        "192.0.2.7:0",
        "x",
        "",
    ] {
        assert_eq!(rig.datagram_from(peer, &bytes), [], "{peer}");
    }
    assert_eq!(rig.lan.counters().dropped("peer"), 9);
    assert_eq!(rig.datagram_from("[fe80::1%2]:7", &bytes).len(), 1);
}

#[test]
fn key_exchanges_are_not_made_more_often_than_twenty_times_a_second() {
    let mut rig = Rig::open();
    let bytes = rig.exchanged(Kind::Authorization, 1, b"{}").encode(Network::Lan).unwrap();
    let flood = |rig: &mut Rig| {
        (0..1000).map(|n| rig.datagram_from(&format!("192.0.2.{}:7", n % 250), &bytes).len()).sum::<usize>()
    };
    assert_eq!(flood(&mut rig), 20);
    assert_eq!(rig.lan.counters().dropped("exchange_rate"), 980);
    assert_eq!(rig.packet(&rig.sealed(Kind::Json, 1, br#"{"cmd":4}"#)).len(), 1, "control goes on");
    rig.wait(1000);
    assert!(flood(&mut rig) <= 20);
}

#[test]
fn a_flood_of_beginnings_of_messages_stays_bounded_and_is_counted() {
    let mut rig = Rig::open();
    let part = fragments(rig.sealed(Kind::Script, 1, &[0; 2000]), 1).unwrap().remove(0);
    for port in 1..=1000 {
        let bytes = part.encode(Network::Lan).unwrap();
        assert_eq!(rig.datagram_from(&format!("192.0.2.7:{port}"), &bytes), []);
    }
    assert_eq!(rig.lan.counters().dropped("incomplete"), 1000 - 8);
    rig.wait(5000);
    assert_eq!(rig.lan.counters().dropped("incomplete"), 1000);
}

/// Each datagram leads to one message or one request at most, and nothing else.
fn check(rig: &mut Rig, bytes: &[u8]) -> Result<(), TestCaseError> {
    let outputs = rig.datagram(bytes);
    let n_requests = outputs.iter().filter(|output| matches!(output, LanOutput::Request(..))).count();
    let n_sent = outputs.iter().filter(|output| matches!(output, LanOutput::Udp(udp::Request::SendTo(..)))).count();
    prop_assert_eq!(n_requests + n_sent, outputs.len());
    prop_assert!(messages(&outputs).len() + n_requests <= 1, "{:?}", outputs);
    for output in outputs {
        if let LanOutput::Request(asker, _) = output {
            prop_assert_eq!(messages(&rig.answer(&asker, b"body")).len(), 1);
        }
    }
    Ok(())
}

/// Packets whose header is right, with fragments among them.
fn any_packet() -> impl Strategy<Value = Packet> {
    let kinds = [Kind::Discovery, Kind::Authorization, Kind::Json, Kind::Script, Kind::Timers, Kind::SubScript];
    let payload = prop_oneof![any::<Vec<u8>>(), Just(b"{}".to_vec()), prop::collection::vec(any::<u8>(), 16)];
    let head = (prop::sample::select(kinds.to_vec()), 0_u8..4, 0_u8..4, 0_u8..5, 0_u8..3);
    (head, prop::collection::vec(any::<u8>(), 0..24), payload).prop_map(|(head, opt, payload)| {
        let (kind, total, index, enctype, reserved) = head;
        Packet { kind, total, index, enctype, reserved, opt, payload }
    })
}

proptest! {
    #[test]
    fn no_datagram_leads_to_more_than_one_answer(datagrams: Vec<Vec<u8>>) {
        let mut rig = Rig::gateway();
        for bytes in datagrams {
            check(&mut rig, &bytes)?;
        }
    }

    #[test]
    fn no_packet_leads_to_more_than_one_answer(packets in prop::collection::vec(any_packet(), 0..20)) {
        let mut rig = Rig::gateway();
        for packet in packets {
            check(&mut rig, &packet.encode(Network::Lan).unwrap())?;
        }
    }

    #[test]
    fn nothing_that_the_key_opens_leads_to_more_than_one_answer(
        messages in prop::collection::vec((prop::sample::select(Kind::ALL), any::<u32>(), any::<Vec<u8>>()), 0..20),
    ) {
        let mut rig = Rig::gateway();
        for (kind, timestamp, body) in messages {
            let bytes = rig.sealed(kind, timestamp, &body).encode(Network::Lan).unwrap();
            check(&mut rig, &bytes)?;
        }
    }

    #[test]
    fn no_peer_can_panic_the_device(peer: String) {
        Rig::open().datagram_from(&peer, &discovery("{}").encode(Network::Lan).unwrap());
    }
}
